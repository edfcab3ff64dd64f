import type { Command, TableEvent, TableUpdate } from "../core.ts";
import { report } from "../store.ts";
import type { TabExtension, TabPort } from "../tabs/extension.ts";
import { TidewireError } from "../types.ts";
import type { TableHost } from "./table.ts";

/** What the relay uses of a table: see the methods of {@link Table}. */
export interface RelayedTable {
  readonly waits: readonly string[];
  update(list: readonly TableUpdate[]): void;
  resync(): void;
  pause(): void;
  end(code: string): void;
  clear(): void;
}

/** A message between the relays of two tabs. `id` is the number that a tab gave to its table. */
type RelayMessage =
  /**
   * To the leader: open a view for this table and wait for these transactions. Sent again, it asks
   * for all rows again.
   */
  | { readonly m: "open"; readonly id: number; readonly command: Command; readonly waits: readonly string[] }
  | { readonly m: "await"; readonly id: number; readonly tx: string }
  | { readonly m: "again"; readonly id: number }
  | { readonly m: "close"; readonly id: number }
  /** From the leader: updates of the table. `first`: the first ones since it serves this table. */
  | { readonly m: "updates"; readonly id: number; readonly list: readonly TableUpdate[]; readonly first: boolean };

/** A table that this tab has open. */
interface Own {
  readonly table: RelayedTable;
  readonly command: Command;
  /** Whether the first updates from the current leader have come. */
  served: boolean;
}

/** A view of this tab's core, and the table that it serves. */
interface Served {
  /** The tab that has the table; `undefined` if it is this one. */
  readonly to: string | undefined;
  readonly id: number;
  /** Whether the tab has got no updates yet. */
  first: boolean;
}

/**
 * Carries live tables between the leader's core and the tabs that show them. In the leader each
 * table of each tab is a view of the core; equal views share a subscription. Followers get the
 * updates of their tables as messages.
 */
export class TableRelay implements TabExtension {
  readonly #port: TabPort;
  readonly #own = new Map<number, Own>();
  #last = 0;
  /** The views by the core's numbers; empty in a follower. */
  readonly #served = new Map<number, Served>();
  /**
   * Updates from the core that are not passed on yet. They are passed on in a microtask, because
   * the core is still being drained.
   */
  readonly #waiting = new Map<number, TableUpdate[]>();

  constructor(port: TabPort) {
    this.#port = port;
  }

  /** Opens a table. Throws what the core refuses. */
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
      // The idle core only checks the command.
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
      // Updates before the first ones of this leader belong to an earlier leader.
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

  // Tables of this tab.

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
      // A crashed core has no views any more.
      report(error);
    }
    if (found === undefined && !this.#port.leads()) this.#port.post(undefined, { m: "close", id } satisfies RelayMessage);
  }

  // Views of the core, in the leader.

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
      // All tabs together have more tables than a client may have open.
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
    // The tab can't apply changes that come before the first full list of rows.
    const all = first ? list.findIndex(({ what }) => what === "rows") : -1;
    const updates = list.filter(({ what }, index) => index >= all || what !== "changes");
    this.#port.post(to, { m: "updates", id, list: updates, first } satisfies RelayMessage);
  }

  #find(to: string | undefined, id: number): [view: number, served: Served] | undefined {
    return [...this.#served].find(([, served]) => served.to === to && served.id === id);
  }
}
