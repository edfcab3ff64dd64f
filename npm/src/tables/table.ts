import type { TableUpdate, WireChange } from "../core.ts";
import { callable, settings, text, wrong } from "../given.ts";
import type { Scheduler } from "../store.ts";
import { report } from "../store.ts";
import type { Listener, Store } from "../types.ts";
import { TidewireError } from "../types.ts";
import type { TableChange, TableEventName, TableRow, TableState, TableStatus } from "./types.ts";

/** A table's rows as they are now, each a text, and the names of its key's columns. */
export interface Look {
  readonly rows: () => readonly string[];
  readonly key: () => readonly string[];
}

/** What a table asks of what serves it. */
export interface TableHost {
  awaitTx(tx: string): void;
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

/** A row by its columns' names. */
type Cells = Readonly<Record<string, unknown>>;

/** Longest delay that timers take, ms. */
const LONGEST_TIMER = 2 ** 31 - 1;

const EMPTY: TableState<never> = { rows: [], state: "loading", error: null };

/** A live table: its rows as they are now, and what happens to them. All methods are bound. */
export class Table<R extends TableRow> implements Store<TableState<R>> {
  /** The table's name. */
  readonly name: string;
  readonly #parts: TableParts;
  readonly #listeners = new Map<symbol, { readonly listener: Listener<TableState<R>>; seen: TableState<R> }>();
  readonly #told: Listeners<R> = { rows: new Set(), change: new Set(), commit: new Set() };
  readonly #waits = new Set<Wait>();
  /** The rows' texts, all of them, in their order. */
  #texts: readonly string[] = [];
  /** Gets newer ones: they are many, and read only when somebody looks. */
  #newer: (() => readonly string[]) | undefined;
  #parsed = new Map<string, R>();
  #shown: TableState<R> = EMPTY;
  #dirty = false;
  #state: TableStatus = "loading";
  #error: TableState<R>["error"] = null;
  /**
   * Another core serves from here on: until it is live these rows stay, and then they are compared with its own, because it may be behind or
   * ahead of the one before.
   */
  #held = false;
  /** What may only be told once it is. */
  #late: TableUpdate[] = [];
  /** Calls of the application's code, in their order: none is made while the core is being drained. */
  #calls: (() => void)[] = [];
  #closed = false;

  /** @internal */
  constructor(parts: TableParts) {
    this.name = parts.name;
    this.#parts = parts;
  }

  /** The rows and how far they can be trusted. The same object until something changes. */
  readonly getState = (): TableState<R> => {
    if (this.#dirty) this.#show();
    return this.#shown;
  };

  readonly getInitialState = (): TableState<R> => EMPTY;

  /** Calls `listener` after changes of the rows or the state, at most once a frame. Returns what ends it. */
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
  get state(): TableStatus {
    return this.#state;
  }

  /** Why it failed. */
  get error(): TableState<R>["error"] {
    return this.#error;
  }

  /**
   * Calls `listener` with each change as it comes (`change`), or with all changes of a transaction at once (`commit`); `rows` have them already. Or
   * with all rows (`rows`), whatever the limit, once they are known and changes of them follow, and with none when they are another user's no longer.
   * Returns what ends it.
   */
  on(event: "rows", listener: (rows: readonly R[]) => void): () => void;
  on(event: "change", listener: (change: TableChange<R>) => void): () => void;
  on(event: "commit", listener: (changes: readonly TableChange<R>[]) => void): () => void;
  on(event: "rows" | "change" | "commit", listener: (told: never) => void): () => void {
    callable(listener, "table.on: listener");
    const known = Object.keys(this.#told);
    if (!known.includes(event)) wrong("table.on: event", known.join(" or "), event);
    const all = this.#told[event] as Set<unknown>;
    const own = (told: never) => listener(told);
    all.add(own);
    return () => {
      all.delete(own);
    };
  }

  /**
   * Resolves once a transaction has been applied to these rows, its changes told: so who wrote something by another way knows when it can be read
   * here. `tx` is what the database calls it: `pg_current_xact_id()` in PostgreSQL, `max(seq)` of the change log in SQLite. Rejects with a
   * {@link TidewireError}: `unknown_tx`, `aborted_tx`, `timeout`, `closed`, `logged_out`, or the code with which the table failed. Without a connection it
   * waits for one, if `timeoutMs` does not end it.
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

  /** Ends the subscription: nothing is told any more but the state `closed`, and nothing of it is left at the server. The last rows can still be read. */
  readonly close = (): void => {
    if (this.#closed) return;
    this.#closed = true;
    this.#keep();
    this.end("closed");
    for (const listeners of Object.values(this.#told)) listeners.clear();
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

  /** @internal What the core told, and all rows as they are after it. */
  hear(list: readonly TableUpdate[], { rows, key }: Look): void {
    if (this.#closed) return;
    for (const update of list) {
      if (update.what !== "state") continue;
      this.#state = update.state;
      const { code, message = "", at } = update;
      this.#error = code === undefined ? null : { code, message, at: at ?? null };
    }
    if (this.#held) {
      const over =
        this.#state === "live" ||
        this.#state === "failed" ||
        (this.#state === "loading" && list.some((update) => update.what === "rows"));
      if (!over) {
        this.#state = "stale";
        this.#late.push(...list.filter((update) => update.what === "seen"));
        this.#changed();
        return;
      }
      this.#held = false;
      if (this.#state === "live") this.#compare(rows(), key());
      list = [...this.#late.splice(0), ...list.filter((update) => update.what === "seen" || this.#state !== "live")];
    }
    if (list.some((update) => update.what !== "seen")) this.#newer = rows;
    // All rows, as they are after this list, have in them what comes behind that.
    const whole = list.findLastIndex((update) => update.what === "rows");
    for (const [place, update] of list.entries()) {
      if (update.what === "seen") this.#seen(update.tx, update.code);
      else if (update.what === "rows" && place === whole) this.#tellAll(rows);
      else if (update.what === "changes" && (whole < 0 || place < whole)) {
        this.#commit(update.changes, update.tx ?? null, update.at ?? null);
      }
    }
    this.#changed();
  }

  /** @internal Another core serves from now on. */
  hold(): void {
    if (this.#closed) return;
    this.#keep();
    this.#held = this.#state === "live" || this.#state === "stale";
    if (this.#held) this.#state = "stale";
    this.#changed();
  }

  /** @internal There is nobody to ask, or what was told may be old. */
  pause(): void {
    this.#keep();
    if (this.#state === "live") this.#state = "stale";
    this.#changed();
  }

  /** @internal Nobody waits any more; `closed`: nothing more is heard either. */
  end(code: string): void {
    for (const wait of [...this.#waits]) wait.end(failed(code, "awaitTx"));
    if (code !== "closed") return;
    this.#keep();
    this.#closed = true;
    this.#state = "closed";
    this.#error = null;
    this.#changed();
  }

  /** @internal Nothing of this user's stays. */
  clear(): void {
    if (this.#closed) return;
    this.#newer = undefined;
    this.#texts = [];
    this.#late = [];
    this.#held = false;
    this.#state = "loading";
    this.#error = null;
    this.#changed();
  }

  /** Reads the rows while there is somebody who has them. */
  #keep(): void {
    const newer = this.#newer;
    this.#newer = undefined;
    if (newer === undefined) return;
    try {
      this.#texts = newer();
    } catch (error) {
      // A core that crashed: what was read last stays.
      report(error);
    }
  }

  #compare(after: readonly string[], key: readonly string[]): void {
    const [before, now] = [new Set(this.#texts), new Set(after)];
    this.#texts = after;
    this.#newer = undefined;
    const row = (text: string) => this.#parsed.get(text) ?? (JSON.parse(text) as R);
    const gone = [...before].filter((text) => !now.has(text));
    const come = after.filter((text) => !before.has(text));
    // Of a core that does not say the key each row is one of its own.
    const named = (row: R) => JSON.stringify(key.length > 0 ? key.map((column) => (row as Cells)[column]) : row);
    const old = new Map(gone.map(row).map((row) => [named(row), row]));
    const news = come.map(row).map((row) => [named(row), row] as const);
    const names = new Set(news.map(([name]) => name));
    const { events } = this.#parts;
    const changes = [
      ...[...old].filter(([name]) => !names.has(name)).map(([, row]) => resync(null, row)),
      ...news.map(([name, row]) => resync(row, old.get(name) ?? null)),
    ].filter((change) => events.has(nameOf(change)));
    if (changes.length > 0) this.#commit(changes, null, null);
  }

  #commit(told: readonly WireChange[], tx: string | null, at: number | null): void {
    const of = ({ new: now, old, why, event }: WireChange) =>
      ({ table: this.name, event: nameOf({ event }), new: now, old, why, tx, at }) as TableChange<R>;
    const changes = told.map(of);
    for (const change of changes) this.#call(() => this.#tell(this.#told.change, change));
    this.#call(() => this.#tell(this.#told.commit, changes));
  }

  #tell<T>(listeners: ReadonlySet<(told: T) => void>, told: T): void {
    for (const listener of [...listeners]) {
      if (!listeners.has(listener)) continue;
      try {
        listener(told);
      } catch (error) {
        report(error);
      }
    }
  }

  #tellAll(rows: () => readonly string[]): void {
    if (this.#told.rows.size === 0) return;
    const all = rows().map((text) => this.#parsed.get(text) ?? (JSON.parse(text) as R));
    this.#call(() => this.#tell(this.#told.rows, all));
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
    this.#dirty = true;
    this.#parts.scheduler.schedule(this.#flush);
  }

  #show(): void {
    this.#dirty = false;
    this.#keep();
    const { limit } = this.#parts;
    const texts = limit === undefined ? this.#texts : this.#texts.slice(0, limit);
    const parsed = new Map<string, R>();
    for (const text of texts) parsed.set(text, this.#parsed.get(text) ?? (JSON.parse(text) as R));
    this.#parsed = parsed;
    const [now, before] = [[...parsed.values()], this.#shown.rows];
    const same = now.length === before.length && now.every((row, place) => row === before[place]);
    const rows = same ? before : now;
    const { state, error } = this.#shown;
    if (same && state === this.#state && error === this.#error) return;
    this.#shown = { rows, state: this.#state, error: this.#error };
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

function nameOf({ event }: Pick<WireChange, "event">): TableEventName {
  return event.toUpperCase() as TableEventName;
}

function resync(now: TableRow | null, old: TableRow | null): WireChange {
  const event = old === null ? "insert" : now === null ? "delete" : "update";
  return { event, new: now as Cells | null, old: old as Cells | null, why: "resync" };
}

function failed(code: string, what: string): TidewireError {
  return new TidewireError(code, `${what}: ${code}`, code === "timeout");
}
