import { createClient } from "../index.ts";
import type { ClientOptions } from "../types.ts";
import type { ChatClient } from "./chat.ts";
import { ChatView } from "./chat.ts";
import { STYLES } from "./styles.ts";

export type { ChatClient } from "./chat.ts";

// On a server there are no elements; importing must still work there.
const Base: typeof HTMLElement = globalThis.HTMLElement ?? class {};

/** Attributes that make another client or another dialog. */
const IDENTITY = ["server", "dialog", "name", "user", "nickname"];
const HEADING = "Chat";

let sheet: CSSStyleSheet | undefined;

/**
 * `<tidewire-chat server="https://…" dialog="demo">`: a conversation with everything around it.
 *
 * Attributes: `server`, `dialog`, `nickname` (what a guest is called), `user` (a stable id of the signed-in user, beside the property
 * `token`), `name` (separates what is stored), `theme` (`auto`, `light`, `dark`), `heading`. Set the property `client` to share a client that the page made; else the
 * element makes one and ends it when it leaves the page.
 */
export class TidewireChat extends Base {
  static readonly observedAttributes = [...IDENTITY, "heading"];

  #view: ChatView | undefined;
  #given: ChatClient | undefined;
  #token: ClientOptions["token"];
  #own: Awaited<ReturnType<typeof createClient>> | undefined;
  /** Counts starts: an answer to an earlier one is of no more use. */
  #start = 0;
  #planned = false;

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
      const root = this.attachShadow({ mode: "open", delegatesFocus: true });
      if (sheet === undefined) {
        sheet = new CSSStyleSheet();
        sheet.replaceSync(STYLES);
      }
      root.adoptedStyleSheets = [sheet];
      this.#view = new ChatView(this.closest("[lang]")?.getAttribute("lang") ?? undefined);
      this.#view.heading = this.getAttribute("heading") ?? HEADING;
      root.append(this.#view.element);
    }
    this.#plan();
  }

  disconnectedCallback(): void {
    this.#plan();
  }

  attributeChangedCallback(name: string, before: string | null, now: string | null): void {
    if (before === now || this.#view === undefined) return;
    if (name === "heading") this.#view.heading = now ?? HEADING;
    else this.#plan();
  }

  /** Begins anew once all changes of this moment are made: a page sets several attributes, or moves the element. */
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
    view.detach();
    this.#own?.dispose();
    this.#own = undefined;
    if (!this.isConnected) return;
    const dialog = this.getAttribute("dialog");
    if (dialog === null) {
      view.broken("The attribute “dialog” is missing.");
      return;
    }
    if (this.#given !== undefined) {
      view.attach(this.#given, dialog);
      return;
    }
    view.waiting();
    try {
      const client = await createClient(this.#options());
      if (start !== this.#start) {
        client.dispose();
        return;
      }
      this.#own = client;
      view.attach(client, dialog);
      this.dispatchEvent(new CustomEvent("tidewire-ready", { bubbles: true, composed: true }));
    } catch (error) {
      if (start !== this.#start) return;
      const text = error instanceof Error ? error.message : String(error);
      view.broken(`The chat could not start: ${text}.`, () => this.#plan());
    }
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

if (globalThis.customElements !== undefined && customElements.get("tidewire-chat") === undefined) {
  customElements.define("tidewire-chat", TidewireChat);
}
