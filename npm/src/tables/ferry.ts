import type { Command, TableEvent, TableUpdate } from "../core.ts";
import { report } from "../store.ts";
import type { Passenger, Seat } from "../tabs/passenger.ts";
import { TidewireError } from "../types.ts";
import type { TableHost } from "./table.ts";

/** A table as far as it is carried: see the methods of a table. */
export interface Passage {
  readonly waits: readonly string[];
  hear(list: readonly TableUpdate[]): void;
  hold(): void;
  pause(): void;
  end(code: string): void;
  clear(): void;
}

/** What ferries of two tabs say to each other. A tab names its tables by numbers of its own. */
type Word =
  /**
   * To the leader: serve this, and wait for these transactions. Said again it asks for all rows
   * again.
   */
  | { readonly w: "open"; readonly id: number; readonly command: Command; readonly waits: readonly string[] }
  | { readonly w: "await"; readonly id: number; readonly tx: string }
  | { readonly w: "again"; readonly id: number }
  | { readonly w: "close"; readonly id: number }
  /** From the leader: what happened; `first`: since it serves this. */
  | { readonly w: "told"; readonly id: number; readonly list: readonly TableUpdate[]; readonly first: boolean };

/** A table of this tab. */
interface Own {
  readonly table: Passage;
  readonly command: Command;
  /** Whether the tab that leads has begun to tell of it. */
  served: boolean;
}

/** A view of the core's, and the table that it is for. */
interface Served {
  /** The tab; none if it is this one. */
  readonly to: string | undefined;
  readonly id: number;
  /** Whether the tab has not heard of it yet. */
  first: boolean;
}

/**
 * Carries live tables between the core and the tabs that look at them. Where the core is, each
 * table of each tab is a view of it; views that ask the same share a subscription there. Everywhere
 * else tables hear of theirs by messages.
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
    const table = make({
      awaitTx: (tx) => this.#await(id, tx),
      again: () => this.#again(id),
      close: () => this.#close(id),
    });
    if (this.#seat.leads()) {
      this.#own.set(id, { table, command, served: false });
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
      this.#own.set(id, { table, command, served: false });
      this.#seat.post(undefined, { w: "open", id, command, waits: [] } satisfies Word);
    }
    return table;
  }

  begin(): void {
    for (const [id, own] of this.#own) {
      own.served = false;
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
      // What comes before belongs to what was asked for before.
      if (own === undefined || !(own.served || word.first)) return;
      own.served = true;
      own.table.hear(word.list);
      return;
    }
    const found = this.#find(from, word.id);
    if (found === undefined) {
      if (word.w === "open") this.#serveOrFail(from, word.id, word.command, word.waits);
      return;
    }
    const [view, served] = found;
    switch (word.w) {
      case "open":
        served.first = true;
        this.#seat.command({ c: "tell_table", view });
        break;
      case "again":
        this.#seat.command({ c: "tell_table", view });
        break;
      case "await":
        this.#awaitHere(view, word.tx);
        break;
      case "close":
        this.#leave(view);
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
    if (this.#seat.leads()) this.#ask(id, { c: "await_tx", tx });
    else this.#seat.post(undefined, { w: "await", id, tx } satisfies Word);
  }

  #again(id: number): void {
    if (this.#seat.leads()) this.#ask(id, { c: "tell_table" });
    else this.#seat.post(undefined, { w: "again", id } satisfies Word);
  }

  #ask(id: number, command: Command): void {
    const found = this.#find(undefined, id);
    if (found !== undefined) this.#seat.command({ ...command, view: found[0] });
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

  // The core's views.

  #serve(to: string | undefined, id: number, command: Command, waits: readonly string[]): void {
    let view = 0;
    this.#seat.command(command, (answer) => {
      view = Number(answer);
      this.#served.set(view, { to, id, first: true });
    });
    for (const tx of waits) this.#awaitHere(view, tx);
  }

  #serveOrFail(to: string | undefined, id: number, command: Command, waits: readonly string[]): void {
    try {
      this.#serve(to, id, command, waits);
    } catch (error) {
      // All tabs together have more tables than a client may have.
      const { code, message } = error instanceof TidewireError ? error : { code: "internal", message: String(error) };
      this.#tell({ to, id, first: true }, [{ what: "status", status: "failed", code, message }]);
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
      if (served !== undefined) this.#tell(served, list);
    }
  }

  #tell(served: Served, list: readonly TableUpdate[]): void {
    const { to, id, first } = served;
    served.first = false;
    if (to === undefined) {
      this.#own.get(id)?.table.hear(list);
      return;
    }
    // Changes of rows that the tab lacks are of no use to it.
    const all = first ? list.findIndex(({ what }) => what === "rows") : -1;
    const told = list.filter(({ what }, place) => place >= all || what !== "changes");
    this.#seat.post(to, { w: "told", id, list: told, first } satisfies Word);
  }

  #find(to: string | undefined, id: number): [view: number, served: Served] | undefined {
    return [...this.#served].find(([, served]) => served.to === to && served.id === id);
  }
}
