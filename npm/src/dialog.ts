import type { Command, CoreEvent, RowChange, WireRow } from "./driver.ts";
import type { Scheduler } from "./store.ts";
import { StateStore } from "./store.ts";
import type { DialogState, Listener, Outgoing, Row, Store } from "./types.ts";
import { TidewireError } from "./types.ts";

const EMPTY: DialogState = { rows: [], sync: "local", error: null, run: null };

/** What a dialog asks its client to do. */
export interface DialogHost {
  command(command: Command): unknown;
  send(command: Command): Outgoing;
  forget(id: string): void;
}

/** One conversation: its rows, and what can be done in it. All methods are bound. */
export class Dialog implements Store<DialogState> {
  /** The dialog's id. */
  readonly id: string;
  readonly #store: StateStore<DialogState>;
  readonly #host: DialogHost;

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
   * `too_large`, `outbox_full`.
   */
  readonly send = (text: string): Outgoing => this.#host.send({ c: "send_text", dialog: this.id, text });

  /** Sends a failed message again. `false` if it is not a failed one. */
  readonly retry = (id: string): boolean => this.#host.command({ c: "retry", op: id }) === true;

  /** Gives up a message that waits or failed. `false` if it is on its way, or not known: then nobody can say whether it arrived. */
  readonly discard = (id: string): boolean => this.#host.command({ c: "discard", op: id }) === true;

  /** Asks for the end of the answer under way, whoever asked the question. */
  readonly stop = (): Outgoing => {
    const { run } = this.getState();
    if (run === null) throw new TidewireError("run_not_found", "no answer is under way", false);
    return this.#host.send({ c: "stop", dialog: this.id, run });
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
      const rows = event.changes.reduce(applyChange, [...state.rows]);
      const run = rows.findLast((row) => row.kind === "answer" && row.state === "streaming")?.id ?? null;
      this.#store.set({ ...state, rows, run });
    } else if (event.state === "failed") {
      const error = { code: event.code ?? "internal", message: event.message ?? "" };
      this.#store.set({ ...state, sync: "failed", error });
    } else {
      this.#store.set({ ...state, sync: event.state === "live" ? "live" : "syncing", error: null });
    }
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
