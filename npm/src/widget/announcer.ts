import type { DialogState, Row } from "../types.ts";
import { el } from "./dom.ts";

/** Announces events to screen readers, each once: an answer is not read out piece by piece. */
export class Announcer {
  readonly element = el("div", { class: "unseen", "aria-live": "polite", "aria-atomic": "true" });
  #known: ReadonlyMap<string, Row> | undefined;

  /** Announces `text`. */
  say(text: string): void {
    // A screen reader would not read the same text again, so the old one is removed first.
    this.element.textContent = this.element.textContent === text ? `${text}\u00a0` : text;
  }

  /** Announces new rows of a dialog. Rows that are there at first are not announced. */
  follow(state: DialogState): void {
    const before = this.#known;
    if (before === undefined && state.status !== "live") return;
    this.#known = new Map(state.rows.map((row) => [row.id, row]));
    if (before === undefined) return;
    const news: string[] = [];
    for (const row of state.rows) {
      const old = before.get(row.id);
      if (row.state === old?.state) continue;
      if (row.state === "failed") news.push("A message was not sent.");
      else if (row.own) continue;
      else if (row.state === "streaming") news.push("Answer started");
      else if (row.kind === "answer" || old === undefined) news.push(`${row.by.name}: ${row.text}`);
    }
    if (news.length > 3) this.say(`${news.length} new messages`);
    else if (news.length > 0) this.say(news.join(". "));
  }

  /** Forgets the dialog. */
  clear(): void {
    this.#known = undefined;
  }
}
