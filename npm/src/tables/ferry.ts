import type { Command, TableEvent, TableUpdate } from "../core.ts";
import { report } from "../store.ts";
import type { Passenger, Seat } from "../tabs/passenger.ts";
import { TidewireError } from "../types.ts";
import type { Patch } from "./patch.ts";
import { patched, patchOf } from "./patch.ts";
import type { Look, TableHost } from "./table.ts";

/** A table as far as it is carried: see the methods of a table. */
export interface Passage {
  readonly waits: readonly string[];
  hear(list: readonly TableUpdate[], look: Look): void;
  hold(): void;
  pause(): void;
  end(code: string): void;
  clear(): void;
}

/** What ferries of two tabs say to each other. A tab names its tables by numbers of its own. */
type Word =
  /** To the leader: serve this, and wait for these transactions. Said again it asks for all rows again. */
  | { readonly w: "open"; readonly id: number; readonly command: Command; readonly waits: readonly string[] }
  | { readonly w: "await"; readonly id: number; readonly tx: string }
  | { readonly w: "close"; readonly id: number }
  /** From the leader: what happened, and how the rows are after it; `whole`: of all rows, not of those told last. */
  | {
      readonly w: "told";
      readonly id: number;
      readonly list: readonly TableUpdate[];
      readonly rows?: Patch;
      readonly key?: readonly string[];
      readonly whole: boolean;
    };

const NOTHING: Look = { rows: () => [], key: () => [] };

/** A table of this tab. */
interface Own {
  readonly table: Passage;
  readonly command: Command;
  /** The rows as another tab told them last; `null` until it has told all. */
  base: readonly string[] | null;
  key: readonly string[];
}

/** A view of the core's, and the table that it is for. */
interface Served {
  /** The tab; none if it is this one. */
  readonly to: string | undefined;
  readonly id: number;
  /** The rows that the tab was told last; `null` if it lacks them all. */
  told: readonly string[] | null;
}

/**
 * Carries live tables between the core and the tabs that look at them. Where the core is, each table of each tab is a view of it; views that ask the
 * same share a subscription there. Everywhere else tables hear of theirs by messages.
 */
export class Ferry implements Passenger {
  readonly #seat: Seat;
  readonly #own = new Map<number, Own>();
  #last = 0;
  /** By the core's numbers; empty where the core is not. */
  readonly #served = new Map<number, Served>();
  /** What the core told and nobody has heard, because it is still being drained. */
  readonly #waiting = new Map<number, TableUpdate[]>();

  constructor(seat: Seat) {
    this.#seat = seat;
  }

  /** Serves a table from now on. Throws what the core refuses. */
  open<T extends Passage>(command: Command, make: (host: TableHost) => T): T {
    this.#last += 1;
    const id = this.#last;
    const table = make({ awaitTx: (tx) => this.#await(id, tx), close: () => this.#close(id) });
    if (this.#seat.leads()) {
      this.#own.set(id, { table, command, base: null, key: [] });
      try {
        this.#serve(undefined, id, command, []);
      } catch (error) {
        this.#own.delete(id);
        throw error;
      }
    } else {
      // The core here checks it, and forgets it.
      const view = this.#seat.command(command);
      this.#seat.command({ c: "close_table", view });
      this.#own.set(id, { table, command, base: null, key: [] });
      this.#seat.post(undefined, { w: "open", id, command, waits: [] } satisfies Word);
    }
    return table;
  }

  begin(): void {
    for (const [id, own] of this.#own) {
      own.base = null;
      own.table.hold();
      const { command, table } = own;
      if (this.#seat.leads()) this.#serveOrFail(undefined, id, command, table.waits);
      else this.#seat.post(undefined, { w: "open", id, command, waits: table.waits } satisfies Word);
    }
  }

  pause(): void {
    this.#flush();
    this.#served.clear();
    for (const { table } of this.#own.values()) table.pause();
  }

  told({ view, t: _, ...update }: TableEvent): void {
    if (this.#waiting.size === 0) queueMicrotask(() => this.#flush());
    const list = this.#waiting.get(view);
    if (list === undefined) this.#waiting.set(view, [update]);
    else list.push(update);
  }

  heard(from: string, said: unknown): void {
    const word = said as Word;
    if (word.w === "told") {
      const own = this.#own.get(word.id);
      if (own !== undefined) this.#hear(own, word);
      return;
    }
    const found = this.#find(from, word.id);
    switch (word.w) {
      case "open": {
        if (found === undefined) {
          this.#serveOrFail(from, word.id, word.command, word.waits);
          break;
        }
        const [view, served] = found;
        served.told = null;
        const state = this.#seat.command({ c: "table_state", view }) as StateUpdate;
        this.told({ t: "table", view, ...state, what: "state" });
        if (state.state !== "loading") this.told({ t: "table", view, what: "rows" });
        break;
      }
      case "await":
        if (found !== undefined) this.#awaitHere(found[0], word.tx);
        break;
      case "close":
        if (found !== undefined) this.#leave(found[0]);
    }
  }

  gone(tab: string): void {
    for (const [view, { to }] of [...this.#served]) if (to === tab) this.#leave(view);
  }

  end(code: string): void {
    for (const { table } of this.#own.values()) {
      table.end(code);
      if (code === "logged_out") table.clear();
    }
  }

  // A table of this tab.

  #await(id: number, tx: string): void {
    if (!this.#seat.leads()) {
      this.#seat.post(undefined, { w: "await", id, tx } satisfies Word);
      return;
    }
    const found = this.#find(undefined, id);
    if (found !== undefined) this.#seat.command({ c: "await_tx", view: found[0], tx });
  }

  #close(id: number): void {
    this.#own.delete(id);
    const found = this.#find(undefined, id);
    try {
      if (found !== undefined) this.#leave(found[0]);
    } catch (error) {
      // A core that crashed has no views any more.
      report(error);
    }
    if (found === undefined && !this.#seat.leads()) this.#seat.post(undefined, { w: "close", id } satisfies Word);
  }

  #hear(own: Own, { list, rows, key, whole }: Extract<Word, { w: "told" }>): void {
    // Changes of rows that this tab lacks belong to what it asked for before.
    if (own.base === null && !whole) return;
    if (rows !== undefined) own.base = patched(whole ? [] : (own.base ?? []), rows);
    if (key !== undefined) own.key = key;
    const { base } = own;
    own.table.hear(list, { rows: () => base ?? [], key: () => own.key });
  }

  // The core's views.

  #serve(to: string | undefined, id: number, command: Command, waits: readonly string[]): void {
    let view = 0;
    this.#seat.command(command, (answer) => {
      view = Number(answer);
      this.#served.set(view, { to, id, told: null });
    });
    for (const tx of waits) this.#awaitHere(view, tx);
  }

  #serveOrFail(to: string | undefined, id: number, command: Command, waits: readonly string[]): void {
    try {
      this.#serve(to, id, command, waits);
    } catch (error) {
      // All tabs together have more tables than a client may have.
      const { code, message } = error instanceof TidewireError ? error : { code: "internal", message: String(error) };
      this.#tell({ to, id, told: null }, [{ what: "state", state: "failed", code, message }], NOTHING);
    }
  }

  #awaitHere(view: number, tx: string): void {
    try {
      this.#seat.command({ c: "await_tx", view, tx });
    } catch (error) {
      this.told({ t: "table", view, what: "seen", tx, code: error instanceof TidewireError ? error.code : "internal" });
    }
  }

  #leave(view: number): void {
    this.#served.delete(view);
    this.#seat.command({ c: "close_table", view });
  }

  #flush(): void {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const [view, list] of waiting) {
      const served = this.#served.get(view);
      if (served === undefined) continue;
      try {
        const ask = (c: string) => this.#seat.command({ c, view }) as string[];
        this.#tell(served, list, { rows: () => ask("table_rows"), key: () => ask("table_key") });
      } catch (error) {
        // The core crashed, and has no rows any more.
        report(error);
      }
    }
  }

  #tell(served: Served, list: readonly TableUpdate[], look: Look): void {
    const { to, id, told } = served;
    if (to === undefined) {
      this.#own.get(id)?.table.hear(list, look);
      return;
    }
    if (list.every((update) => update.what === "seen")) {
      this.#seat.post(to, { w: "told", id, list, whole: false } satisfies Word);
      return;
    }
    served.told = look.rows();
    this.#seat.post(to, {
      w: "told",
      id,
      list,
      rows: patchOf(told ?? [], served.told),
      key: look.key(),
      whole: told === null,
    } satisfies Word);
  }

  #find(to: string | undefined, id: number): [view: number, served: Served] | undefined {
    return [...this.#served].find(([, served]) => served.to === to && served.id === id);
  }
}

type StateUpdate = Extract<TableUpdate, { what: "state" }>;
