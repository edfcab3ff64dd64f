import type { Client } from "../client.ts";
import type { Dialog } from "../dialog.ts";
import type { ConnectionState } from "../types.ts";
import { Announcer } from "./announcer.ts";
import { Composer } from "./composer.ts";
import { el } from "./dom.ts";
import { Header } from "./header.ts";
import { LogView } from "./log.ts";
import { dialogErrorText, refusalText, statusLine, storageText } from "./texts.ts";

/** What the view needs of a client, so that any object of this shape will do. */
export type ChatClient = Pick<Client, "getState" | "subscribe" | "connect"> & {
  dialog(id: string): Pick<Dialog, "getState" | "subscribe" | "send" | "stop" | "retry" | "discard">;
};

type ChatDialog = ReturnType<ChatClient["dialog"]>;

/** A dialog of a client on the page: it shows their states and passes on what people do. */
export class ChatView {
  readonly element: HTMLElement;
  readonly #header = new Header();
  readonly #announcer = new Announcer();
  readonly #composer: Composer;
  readonly #log: LogView;
  #client: ChatClient | undefined;
  #dialog: ChatDialog | undefined;
  #ends: (() => void)[] = [];
  #said: ConnectionState = "idle";

  constructor(locale: string | undefined) {
    const formats = {
      time: new Intl.DateTimeFormat(locale, { hour: "numeric", minute: "2-digit" }),
      day: new Intl.DateTimeFormat(locale, { dateStyle: "long" }),
    };
    this.#log = new LogView({ retry: (id) => this.#dialog?.retry(id), discard: (id) => this.#dialog?.discard(id) }, formats);
    this.#composer = new Composer({
      send: (text) => void this.#dialog?.send(text),
      // The answer may have ended since the button was drawn.
      stop: () => this.#dialog?.getState().run != null && this.#dialog.stop(),
    });
    this.element = el(
      "section",
      { class: "panel", part: "panel" },
      this.#header.element,
      this.#header.notices,
      this.#log.element,
      this.#composer.element,
      this.#announcer.element,
    );
    this.waiting();
  }

  set heading(text: string) {
    this.#header.heading = text;
    this.element.setAttribute("aria-label", text);
  }

  /** Puts the cursor into the text field. */
  focusComposer(): void {
    this.#composer.focus();
  }

  /** Shows this dialog from now on. */
  attach(client: ChatClient, dialogId: string): void {
    this.detach();
    this.#client = client;
    try {
      this.#dialog = client.dialog(dialogId);
    } catch (error) {
      this.broken(dialogErrorText(error instanceof Error ? error.message : String(error)));
      return;
    }
    this.#ends = [client.subscribe(() => this.#show()), this.#dialog.subscribe(() => this.#show())];
    this.#show();
    this.#log.toEnd();
  }

  /** Lets go of the client. */
  detach(): void {
    for (const end of this.#ends) end();
    this.#ends = [];
    this.#client = undefined;
    this.#dialog = undefined;
    this.#header.stop();
    this.#announcer.clear();
    this.#log.clear();
    this.#composer.running = false;
  }

  /** Nothing is there yet. */
  waiting(): void {
    this.#header.show(null, () => ({ tone: "busy", text: "Starting…" }));
    this.#header.problem(null);
    this.#log.show([], false, true);
  }

  /** It could not even start. */
  broken(text: string, retry?: () => void): void {
    this.#header.show(null, () => ({ tone: "bad", text: "Not available" }));
    this.#header.problem(text, retry === undefined ? undefined : { label: "Try again", run: retry });
  }

  #show(): void {
    const client = this.#client;
    const dialog = this.#dialog?.getState();
    if (client === undefined || dialog === undefined) return;
    const { status, storage } = client.getState();
    const connected = status.state === "online";
    this.#header.show(status, (now) => statusLine(status, dialog.sync, now));
    this.#header.storage(storage === null ? null : storageText(storage));
    if (status.state === "failed") {
      const again = status.cause === "core_crashed" ? undefined : { label: "Try again", run: client.connect };
      this.#header.problem(refusalText(status.cause), again);
    } else if (status.state === "closed") {
      this.#header.problem("You are disconnected.", { label: "Connect", run: client.connect });
    } else {
      this.#header.problem(dialog.error === null ? null : dialogErrorText(dialog.error.code));
    }
    this.#log.show(dialog.rows, connected, dialog.sync !== "live");
    this.#composer.running = dialog.run !== null;
    this.#announcer.follow(dialog);
    this.#announce(status.state);
  }

  /** Says the turning points only: a countdown read aloud each second would drown everything else. */
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
