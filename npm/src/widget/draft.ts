import * as local from "../localstorage.ts";

/**
 * What somebody began to write and has not sent: kept in this browser, apart for each conversation.
 */
export class Draft {
  #key = "";

  /**
   * Belongs to another conversation from now on; returns what was begun there. `along` takes the
   * text with it.
   */
  move(key: string, along: boolean): string {
    if (key === this.#key) return this.#text;
    const before = this.#text;
    if (along) this.set("");
    this.#key = key;
    if (along && before !== "") this.set(before);
    return this.#text;
  }

  /** Keeps it. */
  set(text: string): void {
    if (this.#key === "") return;
    if (text === "") local.remove(this.#key);
    else local.set(this.#key, text);
  }

  get #text(): string {
    return this.#key === "" ? "" : (local.get(this.#key) ?? "");
  }
}
