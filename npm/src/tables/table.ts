import type { TableUpdate, WireCells, WireChange } from "../core.ts";
import { NO_TABLE } from "../initial.ts";
import { changed } from "../list.ts";
import type { Scheduler } from "../store.ts";
import { report } from "../store.ts";
import type { Listener, Store } from "../types.ts";
import { TidewireError } from "../types.ts";
import { callable, settings, text, wrong } from "../validate.ts";
import type { TableChange, TableEventName, TableRow, TableState, TableStatus } from "./types.ts";

/** What a table asks of the relay. */
export interface TableHost {
  awaitTx(tx: string): void;
  /** Asks for all rows again. */
  again(): void;
  close(): void;
}

/** What a table is made of: the parts of its query that it needs itself, and what it uses. */
export interface TableParts {
  readonly name: string;
  readonly limit: number | undefined;
  readonly events: ReadonlySet<TableEventName>;
  readonly host: TableHost;
  readonly scheduler: Scheduler;
}

interface Wait {
  readonly tx: string;
  end(error?: TidewireError): void;
}

interface Listeners<R> {
  readonly rows: Set<(rows: readonly R[]) => void>;
  readonly change: Set<(change: TableChange<R>) => void>;
  readonly commit: Set<(changes: readonly TableChange<R>[]) => void>;
}

/** Longest delay that timers take, ms. */
const LONGEST_TIMER = 2 ** 31 - 1;

/** A live table: its current rows and their changes. All methods but `on` are bound. */
export class Table<R extends TableRow> implements Store<TableState<R>> {
  /** The table's name. */
  readonly name: string;
  readonly #parts: TableParts;
  readonly #listeners = new Map<symbol, { readonly listener: Listener<TableState<R>>; seen: TableState<R> }>();
  readonly #callbacks: Listeners<R> = { rows: new Set(), change: new Set(), commit: new Set() };
  readonly #waits = new Set<Wait>();
  #shown: TableState<R> = NO_TABLE;
  #rows: readonly R[] = NO_TABLE.rows;
  #status: TableStatus = "loading";
  #error: TableState<R>["error"] = null;
  /**
   * Set while another core begins to serve this table. The old rows stay until that core is live.
   * Then they are compared with its rows, because it may be behind or ahead of the core before.
   */
  #syncing: Syncing<R> | undefined;
  /**
   * Calls of the application's code, in order. They are made in a microtask, never while the core
   * is being drained.
   */
  #calls: (() => void)[] = [];
  #closed = false;

  /** @internal */
  constructor(parts: TableParts) {
    this.name = parts.name;
    this.#parts = parts;
  }

  /** The rows and the status. The same object until something changes. */
  readonly getState = (): TableState<R> => {
    const { rows, status, error } = this.#shown;
    if (rows !== this.#rows || status !== this.#status || error !== this.#error) {
      this.#shown = { rows: this.#rows, status: this.#status, error: this.#error };
    }
    return this.#shown;
  };

  readonly getInitialState = (): TableState<R> => NO_TABLE;

  /**
   * Calls `listener` after changes of the rows or the status, at most once per animation frame.
   * Returns a function that ends it.
   */
  readonly subscribe = (listener: Listener<TableState<R>>): (() => void) => {
    callable(listener, "table.subscribe: listener");
    const key = Symbol();
    if (this.#closed) return () => {};
    this.#listeners.set(key, { listener, seen: this.getState() });
    return () => {
      this.#listeners.delete(key);
    };
  };

  /** The rows, ordered and limited as the options say. */
  get rows(): readonly R[] {
    return this.getState().rows;
  }

  /** The status of the table: see {@link TableState}. */
  get status(): TableStatus {
    return this.#status;
  }

  /** Why the table failed; `null` if it did not. */
  get error(): TableState<R>["error"] {
    return this.#error;
  }

  /**
   * Calls `listener` for an event. `change`: one changed row. `commit`: all changed rows of a
   * transaction. In both cases `rows` contain the change already. `rows`: a new full list of rows,
   * whatever the limit; changes of these rows follow. The list is empty when another user has
   * signed in. Returns a function that ends it.
   */
  on(event: "rows", listener: (rows: readonly R[]) => void): () => void;
  on(event: "change", listener: (change: TableChange<R>) => void): () => void;
  on(event: "commit", listener: (changes: readonly TableChange<R>[]) => void): () => void;
  on(event: "rows" | "change" | "commit", listener: (value: never) => void): () => void {
    callable(listener, "table.on: listener");
    const known = Object.keys(this.#callbacks);
    if (!known.includes(event)) wrong("table.on: event", known.join(" or "), event);
    const all = this.#callbacks[event] as Set<unknown>;
    const own = (value: never) => listener(value);
    all.add(own);
    return () => {
      all.delete(own);
    };
  }

  /**
   * Resolves once a transaction of the database has been applied to these rows and its changes were
   * emitted. So an application that writes to the database directly knows when its write is visible
   * here. Without a connection it waits, at most `timeoutMs` ms if that is set.
   *
   * `tx` is the transaction's id: `pg_current_xact_id()` in PostgreSQL, `max(seq)` of the change
   * log in SQLite. Rejects with a {@link TidewireError}: `unknown_tx`, `aborted_tx`, `timeout`,
   * `closed`, `logged_out`, or the code with which the table failed.
   */
  readonly awaitTx = (tx: string, options: { readonly timeoutMs?: number } = {}): Promise<void> =>
    new Promise((resolve, reject) => {
      const { timeoutMs } = settings<{ timeoutMs?: number }>(options, "awaitTx: options", {
        timeoutMs: (value, what) =>
          typeof value === "number" && value >= 0 && value <= LONGEST_TIMER
            ? value
            : wrong(what, "ms, 0 to 2,147,483,647", value),
      });
      text(tx, "awaitTx: tx");
      let timer: ReturnType<typeof setTimeout> | undefined;
      const wait: Wait = {
        tx,
        end: (error) => {
          clearTimeout(timer);
          this.#waits.delete(wait);
          if (error === undefined) resolve();
          else reject(error);
        },
      };
      if (this.#closed) {
        wait.end(failed("closed", "awaitTx"));
        return;
      }
      this.#waits.add(wait);
      if (timeoutMs !== undefined) timer = setTimeout(() => wait.end(failed("timeout", "awaitTx")), timeoutMs);
      try {
        this.#parts.host.awaitTx(tx);
      } catch (error) {
        wait.end(error instanceof TidewireError ? error : failed("internal", String(error)));
      }
    });

  /**
   * Ends the subscription, here and at the server. The status becomes `closed`, and no events
   * follow. The last rows can still be read.
   */
  readonly close = (): void => {
    if (this.#closed) return;
    this.#closed = true;
    this.end("closed");
    for (const listeners of Object.values(this.#callbacks)) listeners.clear();
    this.#parts.host.close();
  };

  /** As {@link close}: for `using`. */
  [Symbol.dispose](): void {
    this.close();
  }

  /** @internal The transactions that are waited for. */
  get waits(): readonly string[] {
    return [...this.#waits].map((wait) => wait.tx);
  }

  /** @internal Applies updates from the core. */
  update(list: readonly TableUpdate[]): void {
    if (this.#closed) return;
    for (const update of list) {
      switch (update.what) {
        case "status":
          this.#follow(update);
          break;
        case "rows":
          if (this.#syncing !== undefined)
            this.#syncing = { ...this.#syncing, rows: update.rows as unknown as R[], key: update.key };
          else {
            this.#rows = update.rows as unknown as R[];
            const all = [...update.rows, ...update.beyond] as unknown as R[];
            if (this.#callbacks.rows.size > 0) this.#call(() => this.#notify(this.#callbacks.rows, all));
          }
          break;
        case "changes":
          if (this.#syncing?.rows !== undefined)
            this.#syncing = { ...this.#syncing, rows: listed(this.#syncing.rows, update) };
          else if (this.#syncing === undefined) {
            if (update.list.length > 0) this.#rows = listed(this.#rows, update);
            this.#commit(
              update.changes.map((change) => ({ ...change, new: rowOf(change, update) })),
              update,
            );
          }
          break;
        case "seen":
          if (this.#syncing === undefined) this.#seen(update.tx, update.code);
          else this.#syncing.seen.push(update);
      }
    }
    this.#changed();
  }

  /** @internal Another core serves the table from now on. */
  resync(): void {
    if (this.#closed) return;
    if (this.#status === "live" || this.#status === "stale") {
      this.#syncing = { rows: undefined, key: [], seen: this.#syncing?.seen ?? [] };
      this.#status = "stale";
    }
    this.#changed();
  }

  /** @internal There is no leader, or it is silent, so the rows may be old. */
  pause(): void {
    if (this.#status === "live") this.#status = "stale";
    this.#changed();
  }

  /** @internal Rejects all waiting promises. With `closed` it also ends the table. */
  end(code: string): void {
    for (const wait of [...this.#waits]) wait.end(failed(code, "awaitTx"));
    if (code !== "closed") return;
    this.#closed = true;
    this.#status = "closed";
    this.#error = null;
    this.#changed();
  }

  /** @internal Forgets all rows, because the user was logged out. */
  clear(): void {
    if (this.#closed) return;
    this.#rows = [];
    this.#syncing = undefined;
    this.#status = "loading";
    this.#error = null;
    this.#changed();
  }

  #follow({ status, code, message = "", at }: Extract<TableUpdate, { what: "status" }>): void {
    const syncing = this.#syncing;
    // A core that is loading after it had rows has forgotten them, because another user signed in.
    const over = status === "live" || status === "failed" || (status === "loading" && syncing?.rows !== undefined);
    if (syncing !== undefined && !over) return;
    this.#status = status;
    this.#error = code === undefined ? null : { code, message, at: at ?? null };
    if (syncing === undefined) return;
    this.#syncing = undefined;
    const before = this.#rows;
    this.#rows = syncing.rows ?? [];
    if (status === "live") {
      this.#commit(difference(before, this.#rows, syncing.key, this.#parts.events), {});
      // Rows beyond the limit were not compared, so all rows are requested.
      if (this.#parts.limit !== undefined) this.#parts.host.again();
    }
    for (const { tx, code } of syncing.seen) this.#seen(tx, code);
  }

  #commit(list: readonly EmittedChange[], { tx = null, at = null }: { tx?: string | null; at?: number | null }): void {
    if (list.length === 0) return;
    const changes = list.map(
      ({ new: now, old, why, event }) =>
        ({ table: this.name, event: nameOf(event), new: now, old, why, tx, at }) as unknown as TableChange<R>,
    );
    for (const change of changes) this.#call(() => this.#notify(this.#callbacks.change, change));
    this.#call(() => this.#notify(this.#callbacks.commit, changes));
  }

  #notify<T>(listeners: ReadonlySet<(value: T) => void>, value: T): void {
    for (const listener of [...listeners]) {
      if (!listeners.has(listener)) continue;
      try {
        listener(value);
      } catch (error) {
        report(error);
      }
    }
  }

  #seen(tx: string, code: string | undefined): void {
    const waits = [...this.#waits].filter((wait) => wait.tx === tx);
    this.#call(() => {
      for (const wait of waits) wait.end(code === undefined ? undefined : failed(code, "awaitTx"));
    });
  }

  #call(call: () => void): void {
    this.#calls.push(call);
    if (this.#calls.length > 1) return;
    queueMicrotask(() => {
      for (const call of this.#calls.splice(0)) call();
    });
  }

  #changed(): void {
    this.#parts.scheduler.schedule(this.#flush);
  }

  readonly #flush = (): void => {
    if (this.#listeners.size === 0) return;
    const state = this.getState();
    for (const [key, entry] of [...this.#listeners]) {
      if (!this.#listeners.has(key) || Object.is(entry.seen, state)) continue;
      const { seen } = entry;
      entry.seen = state;
      try {
        entry.listener(state, seen);
      } catch (error) {
        report(error);
      }
    }
  };
}

/** The state of a table while another core begins to serve it. */
interface Syncing<R> {
  /** That core's rows; `undefined` until they come. */
  readonly rows: readonly R[] | undefined;
  /** The names of the key columns. */
  readonly key: readonly string[];
  /** Transactions to report once the core is live. */
  readonly seen: Extract<TableUpdate, { what: "seen" }>[];
}

type Changes = Extract<TableUpdate, { what: "changes" }>;
type EmittedChange = Omit<WireChange, "new"> & { readonly new: unknown };

/** A copy of the rows with the changes applied. */
function listed<R>(rows: readonly R[], { list }: Changes): readonly R[] {
  return list.reduce((all, change) => changed(all, change, (row) => row as unknown as R), [...rows]);
}

/** The row after a change; `null` if it was deleted. */
function rowOf({ new: now }: WireChange, { list }: Changes): WireCells | null {
  if (typeof now !== "number") return now;
  const change = list[now];
  return change !== undefined && "row" in change ? change.row : null;
}

/**
 * The changes from `before` to `after`, filtered by `events`: deletes first, then inserts and
 * updates.
 */
function difference<R>(
  before: readonly R[],
  after: readonly R[],
  key: readonly string[],
  events: ReadonlySet<TableEventName>,
): EmittedChange[] {
  const named = (row: R) => JSON.stringify(key.map((column) => (row as WireCells)[column]));
  const old = new Map(before.map((row) => [named(row), row]));
  const now = new Map(after.map((row) => [named(row), row]));
  const gone = [...old].filter(([name]) => !now.has(name)).map(([, row]) => resync("delete", null, row));
  const come = [...now].flatMap(([name, row]) => {
    const was = old.get(name);
    if (was === undefined) return [resync("insert", row, null)];
    return JSON.stringify(was) === JSON.stringify(row) ? [] : [resync("update", row, was)];
  });
  return [...gone, ...come].filter(({ event }) => events.has(nameOf(event)));
}

function resync(event: WireChange["event"], now: unknown, old: unknown): EmittedChange {
  return { event, new: now, old: old as WireCells | null, why: "resync" };
}

function nameOf(event: WireChange["event"]): TableEventName {
  return event.toUpperCase() as TableEventName;
}

function failed(code: string, what: string): TidewireError {
  return new TidewireError(code, `${what}: ${code}`, code === "timeout");
}
