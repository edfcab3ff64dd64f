import type { Status } from "../types.ts";
import { el, icon } from "./dom.ts";
import type { Line } from "./texts.ts";

/** The heading with the line that says at every moment what goes on, and below it what a person should do about it. */
export class Header {
  readonly element: HTMLElement;
  readonly notices: HTMLElement;
  readonly #heading = el("h2", { part: "heading" });
  readonly #words = el("span", { class: "words" });
  readonly #status = el("div", { class: "status", part: "status" }, el("span", { class: "dot" }), this.#words);
  readonly #problem = new Notice("bad");
  readonly #storage = new Notice("warn");
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor() {
    const titles = el("div", { class: "titles" }, this.#heading, this.#status);
    this.element = el("div", { class: "header", part: "header" }, el("div", { class: "badge" }, icon("wave", 22)), titles);
    this.notices = el("div", {}, this.#problem.element, this.#storage.element);
  }

  set heading(text: string) {
    this.#heading.textContent = text;
  }

  /** Shows what `line` says, and again each second while a countdown runs to `status.retryAt`. */
  show(status: Status | null, line: (now: number) => Line): void {
    clearTimeout(this.#timer);
    const now = Date.now();
    const { tone, text } = line(now);
    this.#status.dataset["tone"] = tone;
    if (this.#words.textContent !== text) this.#words.textContent = text;
    const left = status?.state === "reconnecting" && status.retryAt !== null ? status.retryAt - now : 0;
    if (left > 0) this.#timer = setTimeout(() => this.show(status, line), (left % 1000) + 10);
  }

  /** Shows what stopped everything, with a way out if there is one. */
  problem(text: string | null, action?: { readonly label: string; readonly run: () => void }): void {
    this.#problem.show(text, action);
  }

  /** Shows that messages are not kept. */
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
