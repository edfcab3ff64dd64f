import * as kept from "../kept.ts";

/** What somebody began to write and has not sent: kept in this browser, apart for each conversation. */
export class Draft {
  #key: string | null = null;
  #text = "";

  /** Belongs to another conversation from now on; returns what was begun there. `along` takes the text with it. */
  move(key: string | null, along: boolean): string {
    if (key !== this.#key) {
      const before = this.#text;
      if (along && this.#key !== null) kept.remove(this.#key);
      this.#key = key;
      this.#text = (key === null ? null : kept.get(key)) ?? "";
      if (along && before !== "") this.set(before);
    }
    return this.#text;
  }

  /** Keeps it. */
  set(text: string): void {
    this.#text = text;
    if (this.#key === null) return;
    if (text === "") kept.remove(this.#key);
    else kept.set(this.#key, text);
  }
}
