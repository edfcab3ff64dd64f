import type { Command, CoreEvent, Draft, RowChange, WireRow } from "./core.ts";
import { changed } from "./list.ts";
import type { DialogState, Outgoing, Row, Signal, User } from "./types.ts";

/** The state of a dialog before anything is known. */
export const EMPTY: DialogState = {
  rows: [],
  status: "local",
  error: null,
  retryAt: null,
  run: null,
  missed: 0,
  gap: null,
};

/** Runs a conversation's commands in the core, in whichever tab it is. */
export interface Commands {
  /** Checks an op and gives it its id. Throws what the core refuses. */
  draft(command: Command): Draft;
  send(draft: Draft): Outgoing;
  /**
   * Retries or discards an op. Returns whether the core did it; if the core is in another tab,
   * `likely`.
   */
  decide(command: Command & { readonly op: string }, likely: boolean): boolean;
  run(command: Command): void;
}

/** What a conversation uses of its client. */
export interface ConversationHost {
  readonly commands: Commands;
  user(): User | null;
  /** The last handle of the conversation was closed. */
  forget(id: string): void;
}

/** One handle of a conversation, as the application has it. */
export interface Handle {
  show(state: DialogState): void;
  signalled(signal: Signal): void;
}

/** One conversation of a client, with all its handles. */
export class Conversation {
  readonly id: string;
  readonly #host: ConversationHost;
  readonly #handles = new Set<Handle>();
  #state = EMPTY;
  /** The rows that the core has. */
  #rows: readonly Row[] = [];
  /**
   * Messages written in this tab that are not among the core's rows yet, because the core is in
   * another tab.
   */
  readonly #own = new Map<string, { readonly draft: Draft; readonly row: Row }>();

  constructor(id: string, host: ConversationHost) {
    this.id = id;
    this.#host = host;
  }

  get state(): DialogState {
    return this.#state;
  }

  /** Adds a handle. */
  hold(handle: Handle): void {
    this.#handles.add(handle);
  }

  /** Removes a handle that was closed. */
  release(handle: Handle): void {
    if (this.#handles.delete(handle) && this.#handles.size === 0) this.#host.forget(this.id);
  }

  run(command: Command): void {
    this.#host.commands.run(command);
  }

  send(text: string, id: string | undefined): Outgoing {
    const drafted = this.#host.commands.draft({ c: "draft_text", dialog: this.id, text });
    const draft = id === undefined ? drafted : { ...drafted, id };
    const outgoing = this.#host.commands.send(draft);
    if (this.#state.rows.some((row) => row.id === draft.id)) return outgoing;
    const by = this.#host.user() ?? { id: "", name: "", kind: "user" };
    const none = { offset: null, code: null, retryAt: null };
    const row: Row = { id: draft.id, kind: "message", by, own: true, text, at: Date.now(), state: "saving", ...none };
    this.#own.set(draft.id, { draft, row });
    this.#show(this.#rows);
    return outgoing;
  }

  retry(id: string): boolean {
    const own = this.#own.get(id);
    if (own === undefined) return this.#host.commands.decide({ c: "retry", op: id }, this.#is(id, "failed"));
    if (own.row.state !== "failed") return false;
    this.#own.set(id, { ...own, row: { ...own.row, state: "saving", code: null } });
    this.#host.commands.send(own.draft);
    this.#show(this.#rows);
    return true;
  }

  discard(id: string): boolean {
    if (this.#own.get(id)?.row.state !== "failed") {
      return this.#host.commands.decide({ c: "discard", op: id }, this.#is(id, "failed", "queued", "saving"));
    }
    this.dropped(id);
    return true;
  }

  stop(): Outgoing {
    const { run } = this.#state;
    const named = run === null ? {} : { run };
    return this.#host.commands.send(this.#host.commands.draft({ c: "draft_stop", dialog: this.id, ...named }));
  }

  apply(event: Extract<CoreEvent, { t: "dialog" | "channel" }>): void {
    const state = this.#state;
    if (event.t === "dialog") {
      this.#show(event.changes.reduce(applyChange, [...this.#rows]), event.run ?? null);
      return;
    }
    const { code = "internal", message = code, reason, retry_in_ms: pause } = event;
    const refused = { error: { code, message }, retryAt: pause === undefined ? null : Date.now() + pause };
    switch (event.state) {
      case "failed":
      case "waiting":
        this.#set({ ...state, status: event.state, ...refused });
        break;
      case "reset": {
        // Rows of another user are not a gap in this user's.
        const gap = reason === "user" ? null : (reason ?? "trimmed");
        this.#set({
          ...state,
          status: "syncing",
          error: null,
          retryAt: null,
          missed: state.missed + (event.missed ?? 0),
          gap,
        });
        break;
      }
      default:
        this.#set({ ...state, status: event.state, error: null, retryAt: null });
    }
  }

  async signalled({ kind, key, body, by }: Extract<CoreEvent, { t: "signal" }>): Promise<void> {
    // Listeners must not run while the core is being drained.
    await Promise.resolve();
    for (const handle of [...this.#handles]) handle.signalled({ kind, key: key ?? null, body, by });
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

  /** Forgets all rows, because the user was logged out. */
  clear(): void {
    this.#own.clear();
    this.#rows = [];
    this.#set(EMPTY);
  }

  #show(rows: readonly Row[], run = this.#state.run): void {
    this.#rows = rows;
    for (const id of [...this.#own.keys()]) if (rows.some((row) => row.id === id)) this.#own.delete(id);
    const shown = this.#own.size === 0 ? rows : [...rows, ...[...this.#own.values()].map((own) => own.row)];
    if (shown !== this.#state.rows) this.#set({ ...this.#state, rows: shown, run });
  }

  #set(state: DialogState): void {
    this.#state = state;
    for (const handle of this.#handles) handle.show(state);
  }

  #is(id: string, ...states: Row["state"][]): boolean {
    const row = this.#state.rows.find((row) => row.id === id);
    return row !== undefined && states.includes(row.state);
  }
}

/** Applies a change to `rows`, which must be a copy. */
const applyChange = (rows: Row[], change: RowChange): Row[] =>
  changed(rows, change, toRow, (row, text) => ({ ...row, text: row.text + text }));

function toRow(row: WireRow): Row {
  const { kind = "message", own = false, state = "sent", offset = null, code = null, retryAt = null } = row;
  return { ...row, kind, own, state, offset, code, retryAt };
}
