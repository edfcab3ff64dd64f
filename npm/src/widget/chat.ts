import type { Client } from "../client.ts";
import type { Dialog } from "../dialog.ts";
import { keyOf, transientKey } from "../localstorage.ts";
import type { People } from "../people.ts";
import type { ConnectionState, DialogState, Row } from "../types.ts";
import { Announcer } from "./announcer.ts";
import { Composer } from "./composer.ts";
import { el } from "./dom.ts";
import { Draft } from "./draft.ts";
import { Header } from "./header.ts";
import { LogView } from "./log.ts";
import { dialogErrorText, gapText, refusalText, seenRow, statusLine, storageText } from "./texts.ts";
import { TypingView } from "./typing.ts";
import { Unsent } from "./unsent.ts";

/** What the view uses of a client. Any object of this shape will do. */
export type ChatClient = Pick<Client, "getState" | "subscribe" | "connect"> & {
  dialog(id: string): ChatDialog;
  retryNow?: Client["retryNow"];
  ownDialog?(): Promise<ChatDialog>;
};

/** What the view uses of a dialog. */
export type ChatDialog = Pick<Dialog, "getState" | "subscribe" | "send" | "stop" | "retry" | "discard"> & {
  reads?: Dialog["reads"];
  markRead?: Dialog["markRead"];
  close?: Dialog["close"];
  loadOlder?: Dialog["loadOlder"];
  people?: Pick<People, "getState" | "subscribe" | "typing">;
};

/** Identifies a conversation: unsent text of one never gets into another. */
export interface Whose {
  /** The scope of stored data; `null` if nothing may be stored, because the user is not known. */
  readonly scope: string | null;
  /** The dialog's id, or `own`. */
  readonly dialog: string;
  /** The user, where users are distinguished; `null` before one is known. */
  readonly user: string | null;
  /** The server's address and the client's name. */
  readonly where: string;
}

/** Codes after which a visitor's own conversation is replaced by a new one. */
const GONE: readonly string[] = ["forbidden", "unknown_channel"];

/** Shows a client's dialog on the page: shows their states and passes on what people do. */
export class ChatView {
  readonly element: HTMLElement;
  readonly #header = new Header();
  readonly #announcer = new Announcer();
  readonly #composer: Composer;
  readonly #log: LogView;
  readonly #typing = new TypingView();
  readonly #unsent = new Unsent();
  readonly #draft = new Draft();
  #whose: Whose | undefined;
  #client: ChatClient | undefined;
  #dialog: ChatDialog | undefined;
  #ends: (() => void)[] = [];
  #said: ConnectionState = "idle";
  #loggedOut = false;
  /** The offset of the newest row that was marked as read. */
  #marked = 0;
  #again: ReturnType<typeof setTimeout> | undefined;
  /** Why there is no dialog, and a function that tries to open it again. */
  #trouble:
    | { readonly text: string | null; readonly again: (() => void) | undefined; readonly passing: boolean }
    | undefined;
  /** Opens a new conversation of the visitor, once, if the stored one is refused. */
  #replace: (() => void) | undefined;

  constructor(locale: string | undefined) {
    const formats = {
      time: new Intl.DateTimeFormat(locale, { hour: "numeric", minute: "2-digit" }),
      day: new Intl.DateTimeFormat(locale, { dateStyle: "long" }),
    };
    this.#log = new LogView(
      { retry: (id) => this.#retry(id), discard: (id) => this.#discard(id) },
      formats,
      async () => this.#dialog?.loadOlder?.(),
      () => this.#mark(),
    );
    this.#composer = new Composer({
      send: (text) => this.#send(text),
      // The answer may have ended since the button was shown.
      stop: () => this.#dialog?.getState().run != null && this.#dialog.stop(),
      changed: (text) => this.#draft.set(text),
      typing: (on) => this.#dialog?.people?.typing(on),
    });
    this.element = el(
      "section",
      { class: "panel", part: "panel" },
      this.#header.element,
      this.#header.notices,
      this.#log.element,
      this.#typing.element,
      this.#composer.element,
      this.#announcer.element,
    );
    this.waiting();
  }

  set heading(text: string) {
    this.#header.heading = text;
  }

  /** The accessible name, different from that of other chats on the page. */
  set label(text: string) {
    this.element.setAttribute("aria-label", text);
  }

  /** Puts the cursor into the text field. */
  focusComposer(): void {
    this.#composer.focus();
  }

  /** Sets whose conversation this is from now on. */
  belongTo(whose: Whose): void {
    const before = this.#whose;
    this.#whose = whose;
    // If the user was not known before, the new user may be the one who wrote. If another user was
    // known, it is somebody else.
    const same = before === undefined || before.user === null || before.user === whose.user;
    const along = same && before?.dialog === whose.dialog && before.where === whose.where;
    const { scope, dialog, where, user } = whose;
    const key = (what: string): string =>
      scope === null ? transientKey(what, where, user ?? "", dialog) : keyOf(what, scope, dialog);
    this.#unsent.move(key("unsent"), along);
    const text = this.#draft.move(key("draft"), along);
    if (before === undefined || !along) this.#composer.text = text;
  }

  /** Shows a dialog of this client: the one with this id, or the user's own. */
  attach(client: ChatClient, id: string | null): void {
    this.detach();
    this.#client = client;
    const shown = (): void => this.#mark();
    document.addEventListener("visibilitychange", shown);
    this.#ends = [client.subscribe(() => this.#show()), () => document.removeEventListener("visibilitychange", shown)];
    const failed = (error: unknown, again?: () => void): void => {
      const code = codeOf(error);
      // Opening the dialog failed with the connection, so the next connection tries again.
      const passing = code === "closed" || code === "logged_out";
      this.#trouble = { text: passing ? null : dialogErrorText(code), again, passing };
      this.#show();
    };
    if (id !== null) {
      try {
        this.#open(client.dialog(id));
      } catch (error) {
        failed(error);
      }
      return;
    }
    let replaced = false;
    const open = (): void => {
      this.#trouble = undefined;
      const own = client.ownDialog?.() ?? Promise.reject(new Error("this client has no conversations of its own"));
      own.then(
        (dialog) => (this.#client === client ? this.#open(dialog) : dialog.close?.()),
        (error) => this.#client === client && failed(error, open),
      );
    };
    this.#replace = () => {
      if (replaced) return;
      replaced = true;
      open();
    };
    open();
    this.#show();
  }

  /** Closes the dialog and stops following the client. */
  detach(): void {
    for (const end of this.#ends) end();
    clearTimeout(this.#again);
    this.#ends = [];
    this.#dialog?.close?.();
    this.#client = undefined;
    this.#dialog = undefined;
    this.#replace = undefined;
    this.#trouble = undefined;
    this.#unsent.again();
    this.#header.stop();
    this.#announcer.clear();
    this.#typing.show([]);
    this.#log.clear();
    this.#composer.running = false;
  }

  /** Shows that the client is still loading. */
  waiting(): void {
    this.#header.show(() => ({ tone: "busy", text: "Starting…" }), null);
    this.#header.problem(null);
    this.#showLog(undefined, false);
  }

  /** Shows that the client could not be started. */
  broken(text: string, retry?: () => void): void {
    this.#header.show(() => ({ tone: "bad", text: "Not available" }), null);
    this.#header.problem(text, retry === undefined ? undefined : { label: "Try again", run: retry });
    this.#showLog(this.#dialog?.getState(), false);
  }

  #open(dialog: ChatDialog): void {
    this.#dialog?.close?.();
    this.#dialog = dialog;
    this.#marked = 0;
    for (const part of [dialog, dialog.reads]) if (part) this.#ends.push(part.subscribe(() => this.#show()));
    const typing = (): void => this.#announcer.typing(this.#typing.show(dialog.people?.getState().typing ?? []));
    this.#ends.push(dialog.people?.subscribe(typing) ?? (() => {}));
    typing();
    this.#show();
    this.#log.toEnd();
  }

  #send(text: string): void {
    if (this.#dialog === undefined) this.#unsent.add(text);
    else this.#dialog.send(text);
    this.#refresh();
  }

  #retry(id: string): void {
    if (this.#unsent.has(id)) this.#unsent.retry(id);
    else this.#dialog?.retry(id);
    this.#decided();
  }

  #discard(id: string): void {
    if (this.#unsent.has(id)) this.#unsent.discard(id);
    else this.#dialog?.discard(id);
    this.#decided();
  }

  /** The button that had the focus disappears, so the focus moves to the text field. */
  #decided(): void {
    this.#refresh();
    this.#composer.focus();
  }

  #refresh(): void {
    if (this.#client === undefined) this.#showLog(undefined, false);
    else this.#show();
  }

  #show(): void {
    const client = this.#client;
    if (client === undefined) return;
    const { status, storage, user } = client.getState();
    if (status.cause === "logged_out" && !this.#loggedOut) this.#forget();
    this.#loggedOut = status.cause === "logged_out";
    if (this.#dialog !== undefined) this.#unsent.give(this.#dialog);
    const dialog = this.#dialog?.getState();
    const connected = status.state === "online";
    const rows = this.#showLog(dialog, connected);
    const waiting = status.waiting + (rows.length - (dialog?.rows.length ?? 0));
    const until = connected ? (dialog?.retryAt ?? null) : status.retryAt;
    this.#header.show(
      (now) => statusLine(status, dialog, waiting, now, this.#trouble?.text != null, user),
      until,
      client.retryNow,
    );
    this.#header.storage(storage === null ? null : storageText(storage));
    if (dialog?.error != null && GONE.includes(dialog.error.code)) this.#replace?.();
    if (connected && this.#trouble?.passing) this.#trouble.again?.();
    if (status.state === "failed") {
      const again = status.cause === "core_crashed" ? undefined : { label: "Try again", run: client.connect };
      this.#header.problem(refusalText(status.cause, status.message), again);
    } else if (status.state === "disconnected") {
      this.#header.problem("You are disconnected.", { label: "Connect", run: client.connect });
    } else if (this.#trouble !== undefined) {
      const { text, again } = this.#trouble;
      this.#header.problem(text, again === undefined ? undefined : { label: "Try again", run: again });
    } else {
      const failed = dialog?.status === "failed" ? dialog.error : null;
      this.#header.problem(failed === null ? null : dialogErrorText(failed.code));
    }
    this.#composer.running = dialog?.run != null;
    if (dialog !== undefined) this.#announcer.follow({ ...dialog, rows }, user);
    this.#announce(status.state);
    this.#mark();
  }

  /** Marks the newest row as read, if it is in sight. */
  #mark(): void {
    const dialog = this.#dialog;
    if (dialog === undefined || !this.#log.endShown || document.visibilityState !== "visible") return;
    const newest = dialog.getState().rows.reduce((newest, { offset }) => Math.max(newest, offset ?? 0), 0);
    if (newest === this.#marked) return;
    try {
      dialog.markRead?.(newest);
      this.#marked = newest;
    } catch {
      // The client was closed, or is about to begin this dialog anew.
    }
  }

  /** Shows the dialog's rows, followed by unsent messages. */
  #showLog(dialog: DialogState | undefined, connected: boolean): readonly Row[] {
    const known = dialog?.rows ?? [];
    const more = this.#unsent.rows(known);
    const rows = more.length === 0 ? known : [...known, ...more];
    const now = Date.now();
    const gap = dialog === undefined ? null : gapText(dialog);
    const seen = seenRow(rows, this.#dialog?.reads?.getState().receipts ?? []);
    this.#log.show(rows, { connected, now, seen }, dialog?.status !== "live", gap, dialog?.hasOlder ?? false);
    clearTimeout(this.#again);
    // The text about the next attempt counts down.
    if (rows.some((row) => row.retryAt != null && row.retryAt > now)) this.#again = setTimeout(() => this.#refresh(), 1000);
    return rows;
  }

  /** Deletes everything that the user wrote and did not send. */
  #forget(): void {
    this.#unsent.clear();
    this.#draft.set("");
    this.#composer.text = "";
  }

  /**
   * Announces changes of the state only: a countdown that is read out every second would drown
   * everything else.
   */
  #announce(state: ConnectionState): void {
    if (state === this.#said) return;
    const before = this.#said;
    if (state === "online") {
      if (before === "reconnecting" || before === "offline") this.#announcer.say("Online again");
    } else if (state === "reconnecting" || state === "offline") {
      if (before === "online") this.#announcer.say("Connection lost. What you write is kept and sent later.");
    } else if (state === "connecting") {
      return;
    }
    this.#said = state;
  }
}

/** The shape is checked, not the class: the client may come from another copy of the package. */
function codeOf(error: unknown): string {
  const { code } = error as { code?: unknown };
  return typeof code === "string" ? code : "internal";
}
