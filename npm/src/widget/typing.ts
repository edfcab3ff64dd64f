import type { User } from "../types.ts";
import { el } from "./dom.ts";
import { typingText } from "./texts.ts";

/**
 * The line under the rows that says who is writing. Its place is always there, so that nothing moves
 * when somebody begins. Screen readers hear of it from the announcer, because the line changes often.
 */
export class TypingView {
  readonly #words = el("span", { class: "words", dir: "auto" });
  readonly #line = el(
    "div",
    { class: "typing", part: "typing" },
    el("span", { class: "dots" }, dot(), dot(), dot()),
    this.#words,
  );
  readonly element = el("div", { class: "below" }, this.#line);

  constructor() {
    this.show([]);
  }

  /** Shows who is writing, and returns the text. */
  show(users: readonly User[]): string {
    const text = typingText(users);
    this.#line.hidden = text === "";
    if (text !== "" && this.#words.textContent !== text) this.#words.textContent = text;
    return text;
  }
}

const dot = (): HTMLElement => el("i");
