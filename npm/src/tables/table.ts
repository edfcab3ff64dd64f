import type { TableUpdate, WireCells, WireChange } from "../core.ts";
import { changed } from "../list.ts";
import type { Scheduler } from "../store.ts";
import { report } from "../store.ts";
import type { Listener, Store } from "../types.ts";
import { TidewireError } from "../types.ts";
import { callable, settings, text, wrong } from "../validate.ts";
import type { TableChange, TableEventName, TableRow, TableState, TableStatus } from "./types.ts";

/** What a table asks of what serves it. */
export interface TableHost {
  awaitTx(tx: string): void;
  /** Has all rows told once more. */
  again(): void;
  close(): void;
}

/** How a table was asked for, as far as it matters on this side. */
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

const EMPTY: TableState<never> = { rows: [], status: "loading", error: null };

/** A live table: its rows as they are now, and what happens to them. All methods are bound. */
export class Table<R extends TableRow> implements Store<TableState<R>> {
  /** The table's name. */
  readonly name: string;
  readonly #parts: TableParts;
  readonly #listeners = new Map<symbol, { readonly listener: Listener<TableState<R>>; seen: TableState<R> }>();
  readonly #callbacks: Listeners<R> = { rows: new Set(), change: new Set(), commit: new Set() };
  readonly #waits = new Set<Wait>();
  #shown: TableState<R> = EMPTY;
  #rows: readonly R[] = EMPTY.rows;
  #status: TableStatus = "loading";
  #error: TableState<R>["error"] = null;
  /**
   * Another core serves from here on: until it is live the rows stay, and then they are compared
   * with its own, because it may be behind or ahead of the one before.
   */
  #syncing: Syncing<R> | undefined;
  /**
   * Calls of the application's code, in their order: none is made while the core is being drained.
   */
  #calls: (() => void)[] = [];
  #closed = false;

  /** @internal */
  constructor(parts: TableParts) {
    this.name = parts.name;
    this.#parts = parts;
  }

  /** The rows and how far they can be trusted. The same object until something changes. */
  readonly getState = (): TableState<R> => {
    const { rows, status, error } = this.#shown;
    if (rows !== this.#rows || status !== this.#status || error !== this.#error) {
      this.#shown = { rows: this.#rows, status: this.#status, error: this.#error };
    }
    return this.#shown;
  };

  readonly getInitialState = (): TableState<R> => EMPTY;

  /**
   * Calls `listener` after changes of the rows or the state, at most once a frame. Returns what
   * ends it.
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

  /** The rows, ordered and limited as asked for. */
  get rows(): readonly R[] {
    return this.getState().rows;
  }

  /** How far the rows can be trusted. */
  get status(): TableStatus {
    return this.#status;
  }

  /** Why it failed. */
  get error(): TableState<R>["error"] {
    return this.#error;
  }

  /**
   * Calls `listener` with each change as it comes (`change`), or with all changes of a transaction
   * at once (`commit`); `rows` have them already. Or with all rows (`rows`), whatever the limit,
   * once they are known and changes of them follow, and with none when they are another user's no
   * longer. Returns what ends it.
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
   * Resolves once a transaction has been applied to these rows, its changes told: so who wrote
   * something by another way knows when it can be read here. `tx` is what the database calls it:
   * `pg_current_xact_id()` in PostgreSQL, `max(seq)` of the change log in SQLite. Rejects with a
   * {@link TidewireError}: `unknown_tx`, `aborted_tx`, `timeout`, `closed`, `logged_out`, or the
   * code with which the table failed. Without a connection it waits for one, if `timeoutMs` does
   * not end it.
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
   * Ends the subscription: nothing is told any more but the state `closed`, and nothing of it is
   * left at the server. The last rows can still be read.
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

  /** @internal Transactions that are waited for. */
  get waits(): readonly string[] {
    return [...this.#waits].map((wait) => wait.tx);
  }

  /** @internal What the core told. */
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

  /** @internal Another core serves from now on. */
  resync(): void {
    if (this.#closed) return;
    if (this.#status === "live" || this.#status === "stale") {
      this.#syncing = { rows: undefined, key: [], seen: this.#syncing?.seen ?? [] };
      this.#status = "stale";
    }
    this.#changed();
  }

  /** @internal There is nobody to ask, or what was told may be old. */
  pause(): void {
    if (this.#status === "live") this.#status = "stale";
    this.#changed();
  }

  /** @internal Nobody waits any more; `closed`: nothing more is heard either. */
  end(code: string): void {
    for (const wait of [...this.#waits]) wait.end(failed(code, "awaitTx"));
    if (code !== "closed") return;
    this.#closed = true;
    this.#status = "closed";
    this.#error = null;
    this.#changed();
  }

  /** @internal Nothing of this user's stays. */
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
    // One that says that it has no rows after it had some forgot them: another user signed in.
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
      // What is beyond the limit was not compared.
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

/** What a table waits for that another core is to serve. */
interface Syncing<R> {
  /** Its rows; none before it told them. */
  readonly rows: readonly R[] | undefined;
  /** The names of the columns that tell them apart. */
  readonly key: readonly string[];
  /** What may only be told once it is live. */
  readonly seen: Extract<TableUpdate, { what: "seen" }>[];
}

type Changes = Extract<TableUpdate, { what: "changes" }>;
type EmittedChange = Omit<WireChange, "new"> & { readonly new: unknown };

/** A copy of the rows with the changes of the list. */
function listed<R>(rows: readonly R[], { list }: Changes): readonly R[] {
  return list.reduce((all, change) => changed(all, change, (row) => row as unknown as R), [...rows]);
}

/** The row after a change. */
function rowOf({ new: now }: WireChange, { list }: Changes): WireCells | null {
  if (typeof now !== "number") return now;
  const change = list[now];
  return change !== undefined && "row" in change ? change.row : null;
}

/** What makes `after` of `before`, of these kinds: first what goes, then what comes or differs. */
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
