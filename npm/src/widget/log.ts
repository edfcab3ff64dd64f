import type { Row } from "../types.ts";
import { el, icon } from "./dom.ts";
import type { Around, Formats, RowActions } from "./rows.ts";
import { RowView } from "./rows.ts";

/** A reader closer to the end than this counts as reading the newest rows, px. */
const NEAR = 48;

/** The list of rows. It scrolls to new rows only while the reader is at the end. */
export class LogView {
  readonly element: HTMLElement;
  readonly #list = el("div", { class: "log", part: "log", role: "log", "aria-live": "off", tabindex: "0" });
  readonly #empty: HTMLElement;
  readonly #gap = el("div", { class: "gap", part: "gap", role: "note" });
  readonly #jump = el("button", { type: "button", class: "jump", part: "jump" }, "New messages", icon("down", 16));
  readonly #views = new Map<string, RowView>();
  readonly #actions: RowActions;
  readonly #formats: Formats;
  #following = true;
  #last: Row | undefined;

  constructor(actions: RowActions, formats: Formats) {
    this.#actions = actions;
    this.#formats = formats;
    this.#list.setAttribute("aria-label", "Messages");
    this.#empty = el(
      "div",
      { class: "empty" },
      icon("wave", 34),
      el("strong", {}, "Write a message to begin"),
      el("span", {}, "It is kept here until it has arrived, even offline."),
    );
    this.#jump.hidden = true;
    this.#gap.hidden = true;
    this.#list.append(this.#empty, this.#gap);
    this.element = el("div", { class: "stage" }, this.#list, this.#jump);
    this.#list.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    this.#jump.addEventListener("click", () => {
      this.toEnd();
      this.#list.focus({ preventScroll: true });
    });
    new ResizeObserver(() => this.#following && this.toEnd()).observe(this.#list);
  }

  /**
   * Shows rows. `loading`: the rows are not known yet, so an empty list means nothing. `gap`: a
   * text about rows before these that are missing.
   */
  show(rows: readonly Row[], around: Around, loading: boolean, gap: string | null): void {
    const last = rows.at(-1);
    const news = last !== undefined && (last.id !== this.#last?.id || last.text !== this.#last.text);
    const mine = news && last.own && last.id !== this.#last?.id;
    this.#last = last;
    this.#empty.hidden = rows.length > 0 || loading || gap !== null;
    this.#gap.hidden = gap === null;
    if (this.#gap.textContent !== gap) this.#gap.textContent = gap;
    this.#place(rows, around);
    if (this.#following || mine) this.toEnd();
    else if (news) this.#jump.hidden = false;
  }

  /** Forgets everything, for another dialog. */
  clear(): void {
    for (const view of this.#views.values()) view.element.remove();
    this.#views.clear();
    this.#last = undefined;
    this.#following = true;
    this.#jump.hidden = true;
  }

  /** Scrolls to the newest row, and follows from now on. */
  toEnd(): void {
    this.#following = true;
    this.#jump.hidden = true;
    this.#list.scrollTop = this.#list.scrollHeight;
  }

  #scrolled(): void {
    const list = this.#list;
    this.#following = list.scrollHeight - list.scrollTop - list.clientHeight < NEAR;
    if (this.#following) this.#jump.hidden = true;
  }

  #place(rows: readonly Row[], around: Around): void {
    const ids = new Set(rows.map((row) => row.id));
    for (const [id, view] of this.#views) {
      if (ids.has(id)) continue;
      view.element.remove();
      this.#views.delete(id);
    }
    let next = this.#gap.nextElementSibling;
    for (const [index, row] of rows.entries()) {
      let view = this.#views.get(row.id);
      if (view === undefined) {
        view = new RowView(row, this.#actions, this.#formats);
        this.#views.set(row.id, view);
      }
      view.show(row, rows[index - 1], around);
      // Only elements in the wrong position are moved, because a moved element loses its focus.
      if (view.element === next) next = next.nextElementSibling;
      else this.#list.insertBefore(view.element, next);
    }
  }
}
