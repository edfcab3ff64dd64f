import type { DialogState, Row, User } from "../types.ts";
import { el } from "./dom.ts";
import { handlerText } from "./texts.ts";

/** After a notice that somebody is writing there is none for so long, ms. */
const QUIET = 30_000;

/** Announces events to screen readers, each once: an answer is not read out piece by piece. */
export class Announcer {
  readonly element = el("div", { class: "unseen", "aria-live": "polite", "aria-atomic": "true" });
  #known: ReadonlyMap<string, Row> | undefined;
  /** What was said about who answers. */
  #handler = "";
  #typing = false;
  /** When somebody was said to be writing. */
  #typingSaid = Number.NEGATIVE_INFINITY;

  /** Announces `text`. */
  say(text: string): void {
    // A screen reader would not read the same text again, so the old one is removed first.
    this.element.textContent = this.element.textContent === text ? `${text}\u00a0` : text;
  }

  /**
   * Announces new rows of a dialog, and who answers from now on, to the user `me`. What is there at
   * first is not announced.
   */
  follow(state: DialogState, me: User | null): void {
    const handler = handlerText(state.handler, me);
    const changed = handler !== this.#handler;
    const before = this.#known;
    if (before === undefined && state.status !== "live") return;
    this.#known = new Map(state.rows.map((row) => [row.id, row]));
    this.#handler = handler;
    if (before === undefined) return;
    const news: string[] = changed ? [handler || "The assistant answers again"] : [];
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

  /**
   * Announces that somebody begins to write, but neither who joins them nor the end, nor those who
   * begin again and again.
   */
  typing(text: string): void {
    const begins = text !== "" && !this.#typing;
    this.#typing = text !== "";
    const now = performance.now();
    if (!begins || now - this.#typingSaid < QUIET) return;
    this.#typingSaid = now;
    this.say(text);
  }

  /** Forgets the dialog. */
  clear(): void {
    this.#typing = false;
    this.#typingSaid = Number.NEGATIVE_INFINITY;
    this.#known = undefined;
    this.#handler = "";
  }
}
