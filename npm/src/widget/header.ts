import { el, icon } from "./dom.ts";
import type { Line } from "./texts.ts";

/** The button to retry is shown only if the next attempt is further away than this, ms. */
const SOON = 1500;

/**
 * The heading with a line about the current state, and below it a notice about what the person can
 * do.
 */
export class Header {
  readonly element: HTMLElement;
  readonly notices: HTMLElement;
  readonly #heading = el("h2", { part: "heading" });
  readonly #words = el("span", { class: "words" });
  readonly #status = el("div", { class: "status", part: "status" }, el("span", { class: "dot" }), this.#words);
  readonly #now = el("button", { type: "button", class: "small", part: "try-now" }, "Try now");
  readonly #problem = new Notice("bad");
  readonly #storage = new Notice("warn");
  #timer: ReturnType<typeof setTimeout> | undefined;
  #tryNow: (() => void) | undefined;

  constructor() {
    const titles = el("div", { class: "titles" }, this.#heading, this.#status);
    const badge = el("div", { class: "badge" }, icon("wave", 22));
    this.element = el("div", { class: "header", part: "header" }, badge, titles, this.#now);
    this.#now.hidden = true;
    this.#now.addEventListener("click", () => this.#tryNow?.());
    this.notices = el("div", {}, this.#problem.element, this.#storage.element);
  }

  set heading(text: string) {
    this.#heading.textContent = text;
  }

  /**
   * Shows the text of `line`. Until the time `until` it is updated each second. `tryNow` adds a
   * button that ends the wait.
   */
  show(line: (now: number) => Line, until: number | null, tryNow?: () => void): void {
    clearTimeout(this.#timer);
    const now = Date.now();
    const { tone, text } = line(now);
    this.#status.dataset["tone"] = tone;
    if (this.#words.textContent !== text) this.#words.textContent = text;
    const left = until === null ? 0 : until - now;
    this.#tryNow = tryNow;
    // A short wait needs no button.
    const offered = tryNow !== undefined && left > SOON;
    if (!this.#now.hidden || offered) this.#now.hidden = tryNow === undefined || left <= 0;
    if (left > 0) this.#timer = setTimeout(() => this.show(line, until, tryNow), (left % 1000) + 10);
  }

  /** Shows an error that stopped the chat, with a button to continue if there is one. */
  problem(text: string | null, action?: { readonly label: string; readonly run: () => void }): void {
    this.#problem.show(text, action);
  }

  /** Shows that messages are not stored on this device. */
  storage(text: string | null): void {
    this.#storage.show(text);
  }

  /** Ends the countdown. */
  stop(): void {
    clearTimeout(this.#timer);
  }
}

class Notice {
  readonly element: HTMLElement;
  readonly #words = el("span", { class: "words" });
  readonly #button = el("button", { type: "button", class: "small" });
  #run: (() => void) | undefined;

  constructor(tone: string) {
    this.element = el(
      "div",
      { class: "notice", part: "notice", role: "alert", "data-tone": tone },
      this.#words,
      this.#button,
    );
    this.element.hidden = true;
    this.#button.addEventListener("click", () => this.#run?.());
  }

  show(text: string | null, action?: { readonly label: string; readonly run: () => void }): void {
    this.element.hidden = text === null;
    if (this.#words.textContent !== text) this.#words.textContent = text;
    this.#button.hidden = action === undefined;
    if (action !== undefined && this.#button.textContent !== action.label) this.#button.textContent = action.label;
    this.#run = action?.run;
  }
}
