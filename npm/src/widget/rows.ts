import type { Row } from "../types.ts";
import type { IconName } from "./dom.ts";
import { el, icon } from "./dom.ts";
import type { Around } from "./texts.ts";
import { markText, SEEN } from "./texts.ts";

/** Rows of one author within this time are grouped, ms. */
const GROUP = 5 * 60_000;

/** What people can do with a failed message. */
export interface RowActions {
  retry(id: string): void;
  discard(id: string): void;
}

/** The locale for dates and times. */
export interface Formats {
  readonly time: Intl.DateTimeFormat;
  readonly day: Intl.DateTimeFormat;
}

const MARKS: Partial<Record<Row["state"], IconName>> = {
  saving: "clock",
  queued: "clock",
  sending: "up",
  sent: "check",
  failed: "alert",
  stopped: "stop",
  interrupted: "alert",
  error: "alert",
};

/**
 * One row on the page. It changes in place, so that focus, selection and screen readers keep their
 * position.
 */
export class RowView {
  readonly element = el("div", { class: "row", part: "row" });
  readonly #day = el("div", { class: "day" });
  readonly #by = el("div", { class: "by" });
  readonly #text = document.createTextNode("");
  readonly #bubble = el("div", { class: "bubble", part: "bubble", dir: "auto" }, this.#text);
  readonly #time = el("time");
  readonly #mark = el("span", { class: "mark" });
  readonly #actions = el("span", { class: "actions" });
  readonly #formats: Formats;
  #shown: string | undefined;

  constructor(row: Row, actions: RowActions, formats: Formats) {
    this.#formats = formats;
    const retry = el("button", { type: "button", class: "small" }, "Retry");
    retry.addEventListener("click", () => actions.retry(row.id));
    const discard = el("button", { type: "button", class: "small" }, "Discard");
    discard.addEventListener("click", () => actions.discard(row.id));
    this.#actions.append(retry, " ", discard);
    const meta = el("div", { class: "meta" }, this.#time, this.#mark, this.#actions);
    this.element.append(this.#day, this.#by, this.#bubble, meta);
    this.element.dataset["id"] = row.id;
  }

  /** Shows `row`, which follows `before`. */
  show(row: Row, before: Row | undefined, around: Around): void {
    const { element } = this;
    if (this.#text.data !== row.text) this.#text.data = row.text;
    // The text of an answer grows many times a second; the rest changes rarely.
    const newDay = before === undefined || !sameDay(before.at, row.at);
    const grouped = !newDay && before.by.id === row.by.id && before.kind === row.kind && row.at - before.at < GROUP;
    const paused = row.state === "streaming" && !around.connected;
    const words = markText(row, around);
    const key = JSON.stringify([row.state, row.at, row.by.name, row.own, newDay, grouped, paused, words]);
    if (key === this.#shown) return;
    this.#shown = key;
    element.className = `row${row.own ? " own" : ""}${grouped ? " grouped" : ""}`;
    element.setAttribute("part", row.own ? "row row-own" : `row row-${row.by.kind}`);
    element.dataset["state"] = row.state;
    element.dataset["kind"] = row.kind;
    element.toggleAttribute("data-paused", paused);
    this.#day.hidden = !newDay;
    this.#day.textContent = dayName(row.at, this.#formats.day);
    this.#by.textContent = row.own ? "You" : row.by.name;
    const at = new Date(row.at);
    this.#time.dateTime = at.toISOString();
    this.#time.textContent = this.#formats.time.format(at);
    this.#showMark(row, paused, words);
    this.#actions.hidden = row.state !== "failed";
  }

  #showMark(row: Row, paused: boolean, text: string): void {
    const name = paused ? "clock" : MARKS[row.state];
    const drawing = name === undefined ? [] : [icon(name, 14)];
    // "Sent" is the usual case: shown as a check mark, with a text for screen readers.
    const words = el("span", row.state === "sent" && text !== SEEN ? { class: "unseen" } : {}, text);
    this.#mark.hidden = text === "" || (row.state === "sent" && !row.own);
    this.#mark.replaceChildren(...drawing, words);
  }
}

function sameDay(a: number, b: number): boolean {
  return new Date(a).toDateString() === new Date(b).toDateString();
}

function dayName(at: number, format: Intl.DateTimeFormat): string {
  const day = 24 * 3_600_000;
  if (sameDay(at, Date.now())) return "Today";
  if (sameDay(at, Date.now() - day)) return "Yesterday";
  return format.format(at);
}
