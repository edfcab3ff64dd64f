import type { Command, CoreEvent, RowChange, WireRow } from "./driver.ts";
import type { Scheduler } from "./store.ts";
import { report, StateStore } from "./store.ts";
import type { Draft } from "./tabs.ts";
import { CHANNEL } from "./tabs.ts";
import type { DialogState, Listener, Outgoing, Row, Signal, Store, User } from "./types.ts";
import { TidewireError } from "./types.ts";

const EMPTY: DialogState = { rows: [], sync: "local", error: null, run: null, missed: 0 };

/** What a dialog asks its client to do. */
export interface DialogHost {
  draft(command: Command): Draft;
  send(draft: Draft): Outgoing;
  decide(command: Command & { readonly op: string }, likely: boolean): boolean;
  run(command: Command): void;
  user(): User | null;
  forget(id: string): void;
}

/** One conversation: its rows, and what can be done in it. All methods are bound. */
export class Dialog implements Store<DialogState> {
  /** The dialog's id. */
  readonly id: string;
  readonly #store: StateStore<DialogState>;
  readonly #host: DialogHost;
  readonly #signals = new Set<(signal: Signal) => void>();
  /** The rows as the core has them. */
  #rows: readonly Row[] = [];
  /** What was written here and is not yet among them, because the core is in another tab. */
  readonly #own = new Map<string, { readonly draft: Draft; readonly row: Row }>();

  /** @internal */
  constructor(id: string, host: DialogHost, scheduler: Scheduler) {
    this.id = id;
    this.#host = host;
    this.#store = new StateStore(EMPTY, scheduler);
  }

  readonly getState = (): DialogState => this.#store.getState();

  readonly getInitialState = (): DialogState => EMPTY;

  readonly subscribe = (listener: Listener<DialogState>): (() => void) => this.#store.subscribe(listener);

  /**
   * Takes a message, online or not; its row is there before this returns. Throws a {@link TidewireError} when it is refused: `empty`,
   * `too_large`, `outbox_full`; a full outbox in another tab makes the row `failed` instead.
   */
  readonly send = (text: string): Outgoing => {
    const draft = this.#host.draft({ c: "draft_text", dialog: this.id, text });
    const outgoing = this.#host.send(draft);
    const { id } = draft;
    const by = this.#host.user() ?? { id: "", name: "", kind: "user" };
    const row: Row = { id, kind: "message", by, own: true, text, at: Date.now(), offset: null, state: "saving", code: null };
    this.#own.set(id, { draft, row });
    this.#show(this.#rows);
    return outgoing;
  };

  /** Sends a failed message again. `false` if it is not a failed one. */
  readonly retry = (id: string): boolean => {
    const own = this.#own.get(id);
    if (own === undefined) return this.#host.decide({ c: "retry", op: id }, this.#is(id, "failed"));
    if (own.row.state !== "failed") return false;
    this.#own.set(id, { ...own, row: { ...own.row, state: "saving", code: null } });
    this.#host.send(own.draft);
    this.#show(this.#rows);
    return true;
  };

  /**
   * Gives up a message that waits or failed. `false` if it is on its way, or not known: then nobody can say whether it arrived. Where another tab
   * leads, `true` says that it is asked for; the row stays if the message was on its way.
   */
  readonly discard = (id: string): boolean => {
    if (this.#own.get(id)?.row.state !== "failed") {
      return this.#host.decide({ c: "discard", op: id }, this.#is(id, "failed", "queued", "saving"));
    }
    this.dropped(id);
    return true;
  };

  /** Asks for the end of the answer under way, whoever asked the question. */
  readonly stop = (): Outgoing => {
    const { run } = this.getState();
    if (run === null) throw new TidewireError("run_not_found", "no answer is under way", false);
    return this.#host.send(this.#host.draft({ c: "draft_stop", dialog: this.id, run }));
  };

  /**
   * Tells everybody else who has the dialog open, now or never; of signals of one kind and key only the newest matters. Throws a
   * {@link TidewireError}: `bad_body`, `too_large`, `outbox_full`.
   */
  readonly signal = (kind: string, body: Signal["body"], key?: string): void =>
    this.#host.run({ c: "signal", channel: CHANNEL + this.id, kind, body, ...(key === undefined ? {} : { key }) });

  /** Calls `listener` with each signal of somebody else's. Returns what ends it. */
  readonly onSignal = (listener: (signal: Signal) => void): (() => void) => {
    const own = (signal: Signal) => listener(signal);
    this.#signals.add(own);
    return () => {
      this.#signals.delete(own);
    };
  };

  /** One row: its listeners hear of nothing else. */
  readonly row = (id: string): Store<Row | undefined> => {
    const find = (state: DialogState) => state.rows.find((row) => row.id === id);
    return {
      getState: () => find(this.getState()),
      getInitialState: () => undefined,
      subscribe: (listener) =>
        this.subscribe((state, previous) => {
          const [now, before] = [find(state), find(previous)];
          if (now !== before) listener(now, before);
        }),
    };
  };

  /** Ends the subscription; `client.dialog(id)` begins a new one. */
  readonly close = (): void => this.#host.forget(this.id);

  /** @internal */
  apply(event: Extract<CoreEvent, { t: "dialog" | "channel" }>): void {
    const state = this.getState();
    if (event.t === "dialog") {
      this.#show(event.changes.reduce(applyChange, [...this.#rows]));
    } else if (event.state === "failed") {
      const error = { code: event.code ?? "internal", message: event.message ?? "" };
      this.#store.set({ ...state, sync: "failed", error });
    } else {
      const missed = state.missed + (event.missed ?? 0);
      this.#store.set({ ...state, sync: event.state === "live" ? "live" : "syncing", error: null, missed });
    }
  }

  /** @internal */
  async signalled({ kind, key, body, by }: Extract<CoreEvent, { t: "signal" }>): Promise<void> {
    // Listeners must not run while the core is being drained.
    await Promise.resolve();
    for (const listener of this.#signals) {
      try {
        listener({ kind, key: key ?? null, body, by });
      } catch (error) {
        report(error);
      }
    }
  }

  /** @internal The tab that leads did not take it. */
  refused(id: string, code: string): void {
    const own = this.#own.get(id);
    if (own === undefined) return;
    this.#own.set(id, { ...own, row: { ...own.row, state: "failed", code } });
    this.#show(this.#rows);
  }

  /** @internal It will never be among the core's rows. */
  dropped(id: string): void {
    if (this.#own.delete(id)) this.#show(this.#rows);
  }

  /** @internal */
  clear(): void {
    this.#own.clear();
    this.#rows = [];
    this.#store.set(EMPTY);
  }

  #show(rows: readonly Row[]): void {
    this.#rows = rows;
    for (const id of [...this.#own.keys()]) if (rows.some((row) => row.id === id)) this.#own.delete(id);
    const shown = this.#own.size === 0 ? rows : [...rows, ...[...this.#own.values()].map((own) => own.row)];
    const run = rows.findLast((row) => row.kind === "answer" && row.state === "streaming")?.id ?? null;
    const state = this.getState();
    if (shown !== state.rows) this.#store.set({ ...state, rows: shown, run });
  }

  #is(id: string, ...states: Row["state"][]): boolean {
    const row = this.getState().rows.find((row) => row.id === id);
    return row !== undefined && states.includes(row.state);
  }
}

/** Changes `rows`, which is a copy, and returns it; the rows themselves are never changed. */
function applyChange(rows: Row[], change: RowChange): Row[] {
  switch (change.t) {
    case "reset":
      return change.rows.map(toRow);
    case "insert":
      rows.splice(change.index, 0, toRow(change.row));
      break;
    case "update":
      rows[change.index] = toRow(change.row);
      break;
    case "append": {
      const row = rows[change.index];
      if (row !== undefined) rows[change.index] = { ...row, text: row.text + change.text };
      break;
    }
    case "remove":
      rows.splice(change.index, 1);
      break;
  }
  return rows;
}

function toRow(row: WireRow): Row {
  return { ...row, offset: row.offset ?? null, code: row.code ?? null };
}
