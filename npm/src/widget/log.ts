import type { Row } from "../types.ts";
import { el, icon } from "./dom.ts";
import type { Formats, RowActions } from "./rows.ts";
import { RowView } from "./rows.ts";
import type { Around } from "./texts.ts";

/** A reader closer to the end than this counts as reading the newest rows, px. */
const NEAR = 48;
/** A reader closer to the beginning than this gets earlier rows, px. */
const EARLY = 160;

/**
 * The list of rows. It scrolls to new rows only while the reader is at the end. Earlier rows come as
 * the reader gets near the first one, and what the reader looks at stays where it is.
 */
export class LogView {
  readonly element: HTMLElement;
  readonly #list = el("div", { class: "log", part: "log", role: "log", "aria-live": "off", tabindex: "0" });
  readonly #empty: HTMLElement;
  readonly #earlier = el("button", { type: "button", class: "small earlier", part: "earlier" });
  readonly #gap = el("div", { class: "gap", part: "gap", role: "note" });
  /** Comes after the last row, and is on the screen while the reader sees the end. */
  readonly #end = el("div", { class: "end" });
  readonly #jump = el("button", { type: "button", class: "jump", part: "jump" }, "New messages", icon("down", 16));
  readonly #views = new Map<string, RowView>();
  readonly #actions: RowActions;
  readonly #formats: Formats;
  readonly #older: () => Promise<void>;
  #following = true;
  #endShown = false;
  #loading = false;
  #last: Row | undefined;

  /**
   * `older` loads earlier rows; it resolves once they were shown, or will not come. `seen` is called
   * when the end of the list comes into sight.
   */
  constructor(actions: RowActions, formats: Formats, older: () => Promise<void>, seen: () => void) {
    this.#actions = actions;
    this.#older = older;
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
    this.#earlier.hidden = true;
    this.#list.append(this.#empty, this.#earlier, this.#gap, this.#end);
    this.element = el("div", { class: "stage" }, this.#list, this.#jump);
    this.#list.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    this.#earlier.addEventListener("click", () => void this.#load());
    this.#jump.addEventListener("click", () => {
      this.toEnd();
      this.#list.focus({ preventScroll: true });
    });
    new IntersectionObserver((entries) => {
      this.#endShown = entries.at(-1)?.isIntersecting === true;
      if (this.#endShown) seen();
    }).observe(this.#end);
    new ResizeObserver(() => this.#following && this.toEnd()).observe(this.#list);
  }

  /** Whether the end of the list is in sight, if the page is. */
  get endShown(): boolean {
    return this.#endShown;
  }

  /**
   * Shows rows. `loading`: the rows are not known yet, so an empty list means nothing. `gap`: a
   * text about rows before these that are missing. `hasOlder`: there may be rows to load.
   */
  show(rows: readonly Row[], around: Around, loading: boolean, gap: string | null, hasOlder: boolean): void {
    const last = rows.at(-1);
    const news = last !== undefined && (last.id !== this.#last?.id || last.text !== this.#last.text);
    const mine = news && last.own && last.id !== this.#last?.id;
    this.#last = last;
    this.#empty.hidden = rows.length > 0 || loading || gap !== null;
    this.#gap.hidden = gap === null;
    if (this.#gap.textContent !== gap) this.#gap.textContent = gap;
    this.#earlier.hidden = !hasOlder || rows.length === 0;
    this.#earlier.textContent = this.#loading ? "Loading…" : "Earlier messages";
    const [held, at] = this.#held();
    this.#place(rows, around);
    if (this.#following || mine) {
      this.toEnd();
    } else {
      if (held?.isConnected) this.#list.scrollTop += held.getBoundingClientRect().top - at;
      if (news) this.#jump.hidden = false;
    }
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
    if (list.scrollTop < EARLY && !this.#earlier.hidden) void this.#load();
  }

  async #load(): Promise<void> {
    if (this.#loading) return;
    this.#loading = true;
    this.#earlier.textContent = "Loading…";
    await this.#older().catch(() => {});
    this.#loading = false;
    this.#earlier.textContent = "Earlier messages";
  }

  /** The first row of all, as a mark for what the reader looks at, and where it stands on the screen. */
  #held(): readonly [HTMLElement | undefined, number] {
    const first = this.#gap.nextElementSibling as HTMLElement | null;
    return [first ?? undefined, first?.getBoundingClientRect().top ?? 0];
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
