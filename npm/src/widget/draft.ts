import * as local from "../localstorage.ts";

/** The unsent text of the text field, stored in this browser for each conversation. */
export class Draft {
  #key = "";

  /**
   * Switches to another conversation and returns its stored text. With `along` the current text
   * moves to it.
   */
  move(key: string, along: boolean): string {
    if (key === this.#key) return this.#text;
    const before = this.#text;
    if (along) this.set("");
    this.#key = key;
    if (along && before !== "") this.set(before);
    return this.#text;
  }

  /** Stores the text. */
  set(text: string): void {
    if (this.#key === "") return;
    if (text === "") local.remove(this.#key);
    else local.set(this.#key, text);
  }

  get #text(): string {
    return this.#key === "" ? "" : (local.get(this.#key) ?? "");
  }
}
