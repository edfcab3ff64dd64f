import type { Client } from "../client.ts";
import { serverScopeOf } from "../options.ts";
import { report } from "../store.ts";
import type { ClientOptions } from "../types.ts";
import type { ChatClient, Whose } from "./chat.ts";
import { ChatView } from "./chat.ts";
import { STYLES } from "./styles.ts";
import { startText } from "./texts.ts";

export type { ChatClient, ChatDialog } from "./chat.ts";

// On a server there are no elements; importing must still work there.
const Base: typeof HTMLElement = globalThis.HTMLElement ?? class {};

/** Attributes that make another client or another dialog. */
const IDENTITY = ["server", "dialog", "name", "user", "nickname"];
const TAG = "tidewire-chat";
const HEADING = "Chat";
/** First pause before the code is asked for again, and the longest, ms. */
const PAUSE = 2000;
const LONGEST_PAUSE = 60_000;

let sheet: CSSStyleSheet | undefined;

/**
 * `<tidewire-chat server="https://…">`: a conversation with everything around it.
 *
 * Attributes: `server`, `dialog` (without it each visitor has a conversation of their own),
 * `nickname` (what a guest is called), `user` (a stable id of the signed-in user, beside the
 * property `token`), `name` (separates what is stored), `theme` (`auto`, `light`, `dark`),
 * `heading`. Set the property `client` to share a client that the page made; else the element makes
 * one and ends it when it leaves the page.
 *
 * People can write from the first moment: what they send before the client is loaded is kept and
 * goes out with it.
 */
export class TidewireChat extends Base {
  static readonly observedAttributes = [...IDENTITY, "heading"];

  #view: ChatView | undefined;
  #given: ChatClient | undefined;
  #token: ClientOptions["token"];
  #own: Client | undefined;
  /** Counts starts: an answer to an earlier one is of no more use. */
  #start = 0;
  #planned = false;
  #pause = PAUSE;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** The client in use. */
  get client(): ChatClient | undefined {
    return this.#given ?? this.#own;
  }

  set client(client: ChatClient | undefined) {
    this.#given = client;
    this.#plan();
  }

  /** Where tokens of your own users come from; without it the visitor is a guest. */
  get token(): ClientOptions["token"] {
    return this.#token;
  }

  set token(token: ClientOptions["token"]) {
    this.#token = token;
    this.#plan();
  }

  /** Puts the cursor into the text field. */
  focusComposer(): void {
    this.#view?.focusComposer();
  }

  connectedCallback(): void {
    if (this.#view === undefined) {
      // What a page set before this class was there hides what the class has.
      for (const name of ["client", "token"] as const) this.#adopt(name);
      const root = this.attachShadow({ mode: "open", delegatesFocus: true });
      if (sheet === undefined) {
        sheet = new CSSStyleSheet();
        sheet.replaceSync(STYLES);
      }
      root.adoptedStyleSheets = [sheet];
      this.#view = new ChatView(this.closest("[lang]")?.getAttribute("lang") ?? undefined);
      root.append(this.#view.element);
      // Whoever writes before the start must already be somebody.
      this.#view.belongTo(this.#whose());
    }
    this.#head();
    this.#plan();
  }

  disconnectedCallback(): void {
    this.#plan();
  }

  attributeChangedCallback(name: string, before: string | null, now: string | null): void {
    if (before === now || this.#view === undefined) return;
    if (name === "heading") this.#head();
    else this.#plan();
  }

  #adopt(name: "client" | "token"): void {
    if (!Object.hasOwn(this, name)) return;
    const value = this[name];
    delete (this as Partial<TidewireChat>)[name];
    (this as Record<typeof name, unknown>)[name] = value;
  }

  /** Chats on one page are told apart by more than their heading. */
  #head(): void {
    const heading = this.getAttribute("heading") ?? HEADING;
    const all = [...this.ownerDocument.querySelectorAll(TAG)];
    const same = all.filter((other) => (other.getAttribute("heading") ?? HEADING) === heading);
    const place = same.indexOf(this);
    if (this.#view === undefined) return;
    this.#view.heading = heading;
    this.#view.label = place > 0 ? `${heading} ${place + 1}` : heading;
  }

  /**
   * Begins anew once all changes of this moment are made: a page sets several attributes, or moves
   * the element.
   */
  #plan(): void {
    if (this.#planned) return;
    this.#planned = true;
    queueMicrotask(() => {
      this.#planned = false;
      void this.#begin();
    });
  }

  async #begin(): Promise<void> {
    const view = this.#view;
    if (view === undefined) return;
    this.#start += 1;
    const start = this.#start;
    clearTimeout(this.#timer);
    view.detach();
    this.#own?.close();
    this.#own = undefined;
    if (!this.isConnected) return;
    view.belongTo(this.#whose());
    const dialog = this.getAttribute("dialog");
    if (this.#given !== undefined) {
      view.attach(this.#given, dialog);
      return;
    }
    view.waiting();
    try {
      const client = await this.#make();
      if (start !== this.#start) {
        client.close();
        return;
      }
      this.#own = client;
      this.#pause = PAUSE;
      view.attach(client, dialog);
      this.dispatchEvent(new CustomEvent("tidewire-ready", { bubbles: true, composed: true }));
    } catch (error) {
      if (start === this.#start) this.#failed(view, error);
    }
  }

  /**
   * The client and its core are asked for together: on a slow line one after the other would take
   * twice as long.
   */
  async #make(): Promise<Client> {
    const wasm = fetch(new URL("./core.wasm", import.meta.url));
    // Its failure is told where it is awaited, if it is.
    wasm.catch(() => {});
    if (this.getAttribute("dialog") === null) import("../own.ts").catch(() => {});
    const { createClient } = await import("../index.ts");
    return createClient({ ...this.#options(), wasm });
  }

  #failed(view: ChatView, error: unknown): void {
    report(error);
    const { code } = error as { code?: unknown };
    const again = (): void => this.#plan();
    // What is wrong with the page stays wrong.
    if (code !== "bad_config") {
      this.#timer = setTimeout(again, this.#pause);
      this.#pause = Math.min(this.#pause * 2, LONGEST_PAUSE);
    }
    view.broken(startText(code === "bad_config"), again);
  }

  #whose(): Whose {
    const options = this.#options();
    const { user = null } = this.#given === undefined ? options : {};
    const where = JSON.stringify([options.url, options.name]);
    let scope: string | null = null;
    // Beside a token, or a client, that does not say whose it is, another user's words might be
    // shown.
    if (this.#given === undefined && (this.#token === undefined || user !== null)) {
      try {
        scope = serverScopeOf(options).scope;
      } catch {
        // The start says what is wrong.
      }
    }
    return { scope, dialog: this.getAttribute("dialog") ?? "own", user, where };
  }

  #options(): ClientOptions {
    const nickname = this.getAttribute("nickname");
    const name = this.getAttribute("name");
    const user = this.getAttribute("user");
    return {
      url: this.getAttribute("server") ?? location.origin,
      ...(this.#token === undefined ? {} : { token: this.#token }),
      ...(nickname === null ? {} : { guest: { nickname } }),
      ...(name === null ? {} : { name }),
      ...(user === null ? {} : { user }),
    };
  }
}

declare global {
  interface HTMLElementTagNameMap {
    "tidewire-chat": TidewireChat;
  }
}

if (globalThis.customElements !== undefined && customElements.get(TAG) === undefined) {
  customElements.define(TAG, TidewireChat);
}
