import { el, icon } from "./dom.ts";
import { failureText } from "./texts.ts";

/** Longest message that servers accept, in bytes of UTF-8. */
const MOST_BYTES = 16_384;
/** The length is shown from so many bytes on. */
const SHOWN_FROM = 14_000;

/** What the composer calls. */
export interface ComposerActions {
  /** Sends a message. Throws an error with a `code` to refuse it. */
  send(text: string): void;
  stop(): unknown;
  /** The text in the field changed. */
  changed(text: string): void;
  /** The person writes, or has emptied the field. */
  typing(on: boolean): void;
}

/**
 * The text field with its buttons. Enter sends, Shift+Enter starts a new line, Escape leaves the
 * field.
 */
export class Composer {
  readonly element: HTMLElement;
  readonly #input = el("textarea", {
    rows: "1",
    part: "input",
    dir: "auto",
    placeholder: "Write a message…",
    "aria-label": "Message",
    "aria-describedby": "hint",
    enterkeyhint: "send",
  });
  readonly #send = el("button", { type: "submit", class: "round", part: "send", "aria-label": "Send" }, icon("send", 18));
  readonly #stop = el(
    "button",
    { type: "button", class: "round stop", part: "stop" },
    icon("stop", 16),
    el("span", { class: "word" }, "Stop"),
  );
  readonly #hint = el("div", { class: "hint", id: "hint" });
  /** Announces a refusal once, although the hint is updated with each key. */
  readonly #alert = el("div", { class: "unseen", role: "alert" });
  readonly #actions: ComposerActions;

  constructor(actions: ComposerActions) {
    this.#actions = actions;
    this.#stop.setAttribute("aria-label", "Stop the answer");
    this.#stop.hidden = true;
    this.#hint.hidden = true;
    this.#send.disabled = true;
    const form = el("form", { class: "composer", part: "composer" }, this.#input, this.#stop, this.#send);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#stop.addEventListener("click", () => {
      this.#actions.stop();
      this.#input.focus();
    });
    this.#input.addEventListener("input", () => {
      this.#changed();
      this.#actions.typing(this.#input.value.trim() !== "");
    });
    this.#input.addEventListener("keydown", (event) => this.#key(event));
    for (const type of ["keydown", "keypress", "keyup"] as const) form.addEventListener(type, keepInside);
    this.element = el("div", { class: "footer" }, this.#hint, this.#alert, form);
  }

  /** Puts the cursor into the text field. */
  focus(): void {
    this.#input.focus();
  }

  /** The text that is not sent. */
  set text(text: string) {
    this.#input.value = text;
    this.#changed();
  }

  /** Whether to show the button that stops the answer under way. */
  set running(running: boolean) {
    this.#stop.hidden = !running;
  }

  #key(event: KeyboardEvent): void {
    // While an input method composes a character, Enter belongs to it; 229 is what some browsers
    // send instead of the flag.
    if (event.isComposing || event.keyCode === 229) return;
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      this.#submit();
    } else if (event.key === "Escape") {
      this.#input.blur();
    }
  }

  #submit(): void {
    const text = this.#input.value;
    if (text.trim() === "" || this.#send.disabled) return;
    try {
      this.#actions.send(text);
    } catch (error) {
      // The shape is checked, not the class: the error may come from another copy of the package.
      const { code } = error as { code?: unknown };
      this.#say(`Not sent: ${failureText(typeof code === "string" ? code : String(error))}.`, true);
      return;
    }
    this.#input.value = "";
    this.#changed();
    this.#actions.typing(false);
  }

  #changed(): void {
    const text = this.#input.value;
    const bytes = new TextEncoder().encode(text).length;
    const tooLong = bytes > MOST_BYTES;
    this.#send.disabled = text.trim() === "" || tooLong;
    if (tooLong) {
      const over = (bytes - MOST_BYTES).toLocaleString();
      this.#say(`Too long by ${over} bytes: shorten it, or send it in parts.`, true, "The message is too long.");
    } else if (bytes > SHOWN_FROM) {
      this.#say(`${(MOST_BYTES - bytes).toLocaleString()} bytes left.`, false, "");
    } else {
      this.#hint.hidden = true;
      this.#alert.textContent = "";
    }
    this.#actions.changed(text);
    // The script may set a style where a page's policy forbids style attributes in markup.
    this.#input.style.blockSize = "auto";
    this.#input.style.blockSize = `${this.#input.scrollHeight}px`;
  }

  /** Shows a hint. Screen readers read out `alert` once, or without it the hint. */
  #say(text: string, bad: boolean, alert?: string): void {
    this.#hint.dataset["tone"] = bad ? "bad" : "warn";
    if (alert === undefined) this.#hint.setAttribute("role", "alert");
    else this.#hint.removeAttribute("role");
    if (this.#hint.textContent !== text) this.#hint.textContent = text;
    if (this.#alert.textContent !== alert) this.#alert.textContent = alert ?? "";
    this.#hint.hidden = false;
  }
}

/**
 * Keeps typed keys from the page, which may have shortcuts of single keys. Escape, Tab and key
 * combinations still reach the page.
 */
function keepInside(event: KeyboardEvent): void {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (!/^(Escape|Tab|F\d+)$/.test(event.key)) event.stopPropagation();
}
