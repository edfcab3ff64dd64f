import type { CoreEvent, Draft, RowChange, WireRow } from "./core.ts";
import { channelOf, MESSAGE } from "./core.ts";
import { MODEL, NO_ROWS } from "./initial.ts";
import { encode } from "./json.ts";
import { changed } from "./list.ts";
import type { Commands, Older } from "./subscription.ts";
import { Subscription } from "./subscription.ts";
import type { DialogState, Handler, HandOffStep, Outgoing, Row, User } from "./types.ts";

/** What a conversation uses of its client. */
export interface ConversationHost {
  readonly commands: Commands;
  user(): User | null;
}

/** The conversation in one dialog, with all its handles. */
export class Conversation extends Subscription<DialogState> {
  readonly id: string;
  readonly #host: ConversationHost;
  /** The rows that the core has. */
  #rows: readonly Row[] = [];
  #handler: Handler = MODEL;
  /**
   * Messages written in this tab that are not among the core's rows yet, because the core is in
   * another tab.
   */
  readonly #own = new Map<string, { readonly draft: Draft; readonly row: Row }>();

  /** `ended` is called when the last handle was closed. */
  constructor(id: string, host: ConversationHost, ended: () => void) {
    super(channelOf(id), NO_ROWS, host.commands, ended);
    this.id = id;
    this.#host = host;
  }

  send(text: string, id: string | undefined): Outgoing {
    const drafted = this.commands.draft({ c: "draft_text", dialog: this.id, text });
    const draft = id === undefined ? drafted : { ...drafted, id };
    const outgoing = this.commands.send(draft);
    if (this.state.rows.some((row) => row.id === draft.id)) return outgoing;
    const by = this.#host.user() ?? { id: "", name: "", kind: "user" };
    const none = { offset: null, code: null, retryAt: null };
    const row: Row = { id: draft.id, kind: MESSAGE, by, own: true, text, at: Date.now(), state: "saving", ...none };
    this.#own.set(draft.id, { draft, row });
    this.#show(this.#rows);
    return outgoing;
  }

  retry(id: string): boolean {
    const own = this.#own.get(id);
    if (own === undefined) return this.commands.decide({ c: "retry", op: id }, this.#is(id, "failed"));
    if (own.row.state !== "failed") return false;
    this.#own.set(id, { ...own, row: { ...own.row, state: "saving", code: null } });
    this.commands.send(own.draft);
    this.#show(this.#rows);
    return true;
  }

  discard(id: string): boolean {
    if (this.#own.get(id)?.row.state !== "failed") {
      return this.commands.decide({ c: "discard", op: id }, this.#is(id, "failed", "queued", "saving"));
    }
    this.dropped(id);
    return true;
  }

  stop(): Outgoing {
    const { run } = this.state;
    const named = run === null ? {} : { run };
    return this.commands.send(this.commands.draft({ c: "draft_stop", dialog: this.id, ...named }));
  }

  handOff(body: HandOffStep): Outgoing {
    return this.commands.send(this.commands.draft({ c: "draft_handoff", dialog: this.id, body }));
  }

  /** Applies the core's changes of the rows. */
  apply({ changes, run, older = false, handler = MODEL }: Extract<CoreEvent, { t: "dialog" }>): void {
    const before = this.state.handler;
    this.#handler = encode(handler) === encode(before) ? before : handler;
    this.#show(changes.reduce(applyChange, [...this.#rows]), run ?? null, older);
  }

  override get newest(): number {
    return this.state.rows.reduce((newest, { offset }) => Math.max(newest, offset ?? 0), 0);
  }

  /** The leading tab refused a message. */
  refused(id: string, code: string): void {
    const own = this.#own.get(id);
    if (own === undefined) return;
    this.#own.set(id, { ...own, row: { ...own.row, state: "failed", code } });
    this.#show(this.#rows);
  }

  /** The message will never be among the core's rows. */
  dropped(id: string): void {
    if (this.#own.delete(id)) this.#show(this.#rows);
  }

  override clear(): void {
    super.clear();
    this.#own.clear();
    this.#rows = [];
    this.#handler = MODEL;
    this.set(NO_ROWS);
  }

  // The core knows which rows it has.
  protected override before(): undefined {}

  protected override joins({ joined, events, more }: Older): boolean {
    return joined || (events.length === 0 && more);
  }

  #show(rows: readonly Row[], run = this.state.run, hasOlder = this.state.hasOlder): void {
    this.#rows = rows;
    for (const id of [...this.#own.keys()]) if (rows.some((row) => row.id === id)) this.#own.delete(id);
    const shown = this.#own.size === 0 ? rows : [...rows, ...[...this.#own.values()].map((own) => own.row)];
    if (shown !== this.state.rows) this.set({ ...this.state, rows: shown, run, hasOlder, handler: this.#handler });
  }

  #is(id: string, ...states: Row["state"][]): boolean {
    const row = this.state.rows.find((row) => row.id === id);
    return row !== undefined && states.includes(row.state);
  }
}

/** Applies a change to `rows`, which must be a copy. */
const applyChange = (rows: Row[], change: RowChange): Row[] =>
  changed(rows, change, toRow, (row, text) => ({ ...row, text: row.text + text }));

function toRow(row: WireRow): Row {
  const { kind = MESSAGE, own = false, state = "sent", offset = null, code = null, retryAt = null } = row;
  return { ...row, kind, own, state, offset, code, retryAt };
}
