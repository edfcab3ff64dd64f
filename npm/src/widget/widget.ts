import type { Client } from "../client.ts";
import { serverScopeOf } from "../options.ts";
import { report } from "../store.ts";
import type { ClientOptions } from "../types.ts";
import type { ChatClient, Whose } from "./chat.ts";
import { ChatView } from "./chat.ts";
import { STYLES } from "./styles.ts";
import { startText } from "./texts.ts";

export type { ChatClient, ChatDialog } from "./chat.ts";

// On a server there is no `HTMLElement`, and importing must still work.
const Base: typeof HTMLElement = globalThis.HTMLElement ?? class {};

/** Attributes that, when changed, need another client or dialog. */
const IDENTITY = ["server", "dialog", "name", "user", "nickname", "site"];
const TAG = "tidewire-chat";
const HEADING = "Chat";
/** First and longest pause before the code is loaded again, ms. */
const PAUSE = 2000;
const LONGEST_PAUSE = 60_000;

let sheet: CSSStyleSheet | undefined;

/**
 * `<tidewire-chat server="https://…">`: a conversation with everything around it.
 *
 * Attributes: `server`, `dialog` (without it each visitor has a conversation of their own),
 * `nickname` (what a guest is called), `site` (the key of the site that the page belongs to, if the
 * server knows its pages by sites), `user` (a stable id of the signed-in user, beside the
 * property `token`), `name` (separates what is stored), `theme` (`auto`, `light`, `dark`),
 * `heading`. Set the property `client` to share a client of the page. Otherwise the element creates
 * one, and closes it when it leaves the page.
 *
 * People can write at once: messages that they send before the client is loaded are stored and sent
 * by it.
 */
export class TidewireChat extends Base {
  static readonly observedAttributes = [...IDENTITY, "heading"];

  #view: ChatView | undefined;
  #given: ChatClient | undefined;
  #token: ClientOptions["token"];
  #own: Client | undefined;
  /** Counts starts, so that the result of an earlier start is ignored. */
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

  /** Provides tokens of your own users. Without it the visitor is a guest. */
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
      // A property that the page set before the element was defined hides the accessor of the
      // class.
      for (const name of ["client", "token"] as const) this.#adopt(name);
      const root = this.attachShadow({ mode: "open", delegatesFocus: true });
      if (sheet === undefined) {
        sheet = new CSSStyleSheet();
        sheet.replaceSync(STYLES);
      }
      root.adoptedStyleSheets = [sheet];
      this.#view = new ChatView(this.closest("[lang]")?.getAttribute("lang") ?? undefined);
      root.append(this.#view.element);
      // People may write before the start, so the user must be known before.
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

  /** Several chats with the same heading on one page get numbers in their labels. */
  #head(): void {
    const heading = this.getAttribute("heading") ?? HEADING;
    const all = [...this.ownerDocument.querySelectorAll(TAG)];
    const same = all.filter((other) => (other.getAttribute("heading") ?? HEADING) === heading);
    const place = same.indexOf(this);
    if (this.#view === undefined) return;
    this.#view.heading = heading;
    this.#view.label = place > 0 ? `${heading} ${place + 1}` : heading;
  }

  /** Restarts in a microtask, because a page may set several attributes or move the element. */
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
   * Loads the client's code and the core at the same time: one after the other would take twice as
   * long on a slow connection.
   */
  async #make(): Promise<Client> {
    const wasm = fetch(new URL("./core.wasm", import.meta.url));
    // A failure is reported where the promise is awaited.
    wasm.catch(() => {});
    if (this.getAttribute("dialog") === null) import("../own.ts").catch(() => {});
    const { createClient } = await import("../index.ts");
    return createClient({ ...this.#options(), wasm });
  }

  #failed(view: ChatView, error: unknown): void {
    report(error);
    const { code } = error as { code?: unknown };
    const again = (): void => this.#plan();
    // An error in the page's use of the element does not go away by itself.
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
    // With a token provider or a client but without a user's id nothing may be stored: another
    // user's text might be shown.
    if (this.#given === undefined && (this.#token === undefined || user !== null)) {
      try {
        scope = serverScopeOf(options).scope;
      } catch {
        // The start reports what is wrong.
      }
    }
    return { scope, dialog: this.getAttribute("dialog") ?? "own", user, where };
  }

  #options(): ClientOptions {
    const nickname = this.getAttribute("nickname");
    const site = this.getAttribute("site");
    const name = this.getAttribute("name");
    const user = this.getAttribute("user");
    return {
      url: this.getAttribute("server") ?? location.origin,
      ...(this.#token === undefined ? {} : { token: this.#token }),
      guest: { ...(nickname === null ? {} : { nickname }), ...(site === null ? {} : { site }) },
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
