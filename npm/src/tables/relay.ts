import type { Command, TableEvent, TableUpdate } from "../core.ts";
import { report } from "../store.ts";
import type { TabExtension, TabPort } from "../tabs/extension.ts";
import { TidewireError } from "../types.ts";
import type { TableHost } from "./table.ts";

/** A table as far as it is carried: see the methods of a table. */
export interface RelayedTable {
  readonly waits: readonly string[];
  update(list: readonly TableUpdate[]): void;
  resync(): void;
  pause(): void;
  end(code: string): void;
  clear(): void;
}

/** What ferries of two tabs say to each other. A tab names its tables by numbers of its own. */
type RelayMessage =
  /**
   * To the leader: serve this, and wait for these transactions. Said again it asks for all rows
   * again.
   */
  | { readonly m: "open"; readonly id: number; readonly command: Command; readonly waits: readonly string[] }
  | { readonly m: "await"; readonly id: number; readonly tx: string }
  | { readonly m: "again"; readonly id: number }
  | { readonly m: "close"; readonly id: number }
  /** From the leader: what happened; `first`: since it serves this. */
  | { readonly m: "updates"; readonly id: number; readonly list: readonly TableUpdate[]; readonly first: boolean };

/** A table of this tab. */
interface Own {
  readonly table: RelayedTable;
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
export class TableRelay implements TabExtension {
  readonly #port: TabPort;
  readonly #own = new Map<number, Own>();
  #last = 0;
  /** By the core's numbers; empty where the core is not. */
  readonly #served = new Map<number, Served>();
  /** What the core told and nobody has heard, because it is still being drained. */
  readonly #waiting = new Map<number, TableUpdate[]>();

  constructor(port: TabPort) {
    this.#port = port;
  }

  /** Serves a table from now on. Throws what the core refuses. */
  open<T extends RelayedTable>(command: Command, make: (host: TableHost) => T): T {
    this.#last += 1;
    const id = this.#last;
    const table = make({
      awaitTx: (tx) => this.#await(id, tx),
      again: () => this.#again(id),
      close: () => this.#close(id),
    });
    if (this.#port.leads()) {
      this.#own.set(id, { table, command, served: false });
      try {
        this.#serve(undefined, id, command, []);
      } catch (error) {
        this.#own.delete(id);
        throw error;
      }
    } else {
      // The core here checks it, and forgets it.
      const view = this.#port.command(command);
      this.#port.command({ c: "close_table", view });
      this.#own.set(id, { table, command, served: false });
      this.#port.post(undefined, { m: "open", id, command, waits: [] } satisfies RelayMessage);
    }
    return table;
  }

  begin(): void {
    for (const [id, own] of this.#own) {
      own.served = false;
      own.table.resync();
      const { command, table } = own;
      if (this.#port.leads()) this.#serveOrFail(undefined, id, command, table.waits);
      else this.#port.post(undefined, { m: "open", id, command, waits: table.waits } satisfies RelayMessage);
    }
  }

  pause(): void {
    this.#flush();
    this.#served.clear();
    for (const { table } of this.#own.values()) table.pause();
  }

  happened({ view, t: _, ...update }: TableEvent): void {
    if (this.#waiting.size === 0) queueMicrotask(() => this.#flush());
    const list = this.#waiting.get(view);
    if (list === undefined) this.#waiting.set(view, [update]);
    else list.push(update);
  }

  receive(from: string, payload: unknown): void {
    const message = payload as RelayMessage;
    if (message.m === "updates") {
      const own = this.#own.get(message.id);
      // What comes before belongs to what was asked for before.
      if (own === undefined || !(own.served || message.first)) return;
      own.served = true;
      own.table.update(message.list);
      return;
    }
    const found = this.#find(from, message.id);
    if (found === undefined) {
      if (message.m === "open") this.#serveOrFail(from, message.id, message.command, message.waits);
      return;
    }
    const [view, served] = found;
    switch (message.m) {
      case "open":
        served.first = true;
        this.#port.command({ c: "tell_table", view });
        break;
      case "again":
        this.#port.command({ c: "tell_table", view });
        break;
      case "await":
        this.#awaitHere(view, message.tx);
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
    if (this.#port.leads()) this.#ask(id, { c: "await_tx", tx });
    else this.#port.post(undefined, { m: "await", id, tx } satisfies RelayMessage);
  }

  #again(id: number): void {
    if (this.#port.leads()) this.#ask(id, { c: "tell_table" });
    else this.#port.post(undefined, { m: "again", id } satisfies RelayMessage);
  }

  #ask(id: number, command: Command): void {
    const found = this.#find(undefined, id);
    if (found !== undefined) this.#port.command({ ...command, view: found[0] });
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
    if (found === undefined && !this.#port.leads()) this.#port.post(undefined, { m: "close", id } satisfies RelayMessage);
  }

  // The core's views.

  #serve(to: string | undefined, id: number, command: Command, waits: readonly string[]): void {
    let view = 0;
    this.#port.command(command, (answer) => {
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
      this.#send({ to, id, first: true }, [{ what: "status", status: "failed", code, message }]);
    }
  }

  #awaitHere(view: number, tx: string): void {
    try {
      this.#port.command({ c: "await_tx", view, tx });
    } catch (error) {
      this.happened({ t: "table", view, what: "seen", tx, code: error instanceof TidewireError ? error.code : "internal" });
    }
  }

  #leave(view: number): void {
    this.#served.delete(view);
    this.#port.command({ c: "close_table", view });
  }

  #flush(): void {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const [view, list] of waiting) {
      const served = this.#served.get(view);
      if (served !== undefined) this.#send(served, list);
    }
  }

  #send(served: Served, list: readonly TableUpdate[]): void {
    const { to, id, first } = served;
    served.first = false;
    if (to === undefined) {
      this.#own.get(id)?.table.update(list);
      return;
    }
    // Changes of rows that the tab lacks are of no use to it.
    const all = first ? list.findIndex(({ what }) => what === "rows") : -1;
    const updates = list.filter(({ what }, index) => index >= all || what !== "changes");
    this.#port.post(to, { m: "updates", id, list: updates, first } satisfies RelayMessage);
  }

  #find(to: string | undefined, id: number): [view: number, served: Served] | undefined {
    return [...this.#served].find(([, served]) => served.to === to && served.id === id);
  }
}
