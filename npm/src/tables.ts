// Live tables. This module is loaded only by clients with `tables: true`, together with a core that
// has them.

import type { Scheduler } from "./store.ts";
import type { LiveTables, OpenTable, ReadyQuery } from "./tables/ready.ts";
import { readyTables } from "./tables/ready.ts";
import { TableRelay } from "./tables/relay.ts";
import { Table } from "./tables/table.ts";
import type { TableEventName, TableOptions, TableRow } from "./tables/types.ts";
import { filterOf, orderOf } from "./tables/where.ts";
import type { TabExtension, TabPort } from "./tabs/extension.ts";
import type { WasmSource } from "./types.ts";
import { isList, list, settings, text, wrong } from "./validate.ts";
import { loadCore } from "./wasm.ts";

export { createCore } from "./wasm.ts";

const EVENTS: readonly TableEventName[] = ["INSERT", "UPDATE", "DELETE"];

/** Checks a list of strings; with `all`, that each is one of those. */
function texts(value: unknown, what: string, all?: readonly string[]): string[] {
  const given = list(value);
  const known = (one: unknown) => typeof one === "string" && (all?.includes(one) ?? true);
  if (isList(value) && given.every(known)) return given as string[];
  return wrong(what, all === undefined ? "a list of strings" : `a list of some of ${all.join(", ")}`, value);
}

/** Loads the core with tables; see {@link loadCore}. */
export const loadTables = (source: WasmSource = new URL("./tables.wasm", import.meta.url)): Promise<void> =>
  loadCore(source);

/**
 * Adds the methods for live tables to a client. Returns the relay that carries them between tabs.
 */
export function addTables(port: TabPort, client: object, scheduler: Scheduler): TabExtension {
  const relay = new TableRelay(port);
  const table: OpenTable = <R extends TableRow>(given: string, options: TableOptions<R> = {}): Table<R> => {
    const name = text(given, "client.table: name");
    const {
      where,
      orderBy,
      limit,
      select,
      events = EVENTS,
    } = settings<TableOptions<R>>(options, "client.table", {
      where: (value) => value,
      orderBy: (value) => value,
      limit: (value, what) =>
        Number.isSafeInteger(value) && Number(value) >= 0
          ? value
          : wrong(what, "a whole number, 0 or more", value, "bad_limit"),
      select: (value, what) => texts(value, what),
      events: (value, what) => texts(value, what, EVENTS),
    });
    const command = {
      c: "open_table",
      table: name,
      filter: filterOf(where),
      order: orderOf(orderBy),
      events: events.map((event) => event.toLowerCase()),
      ...(select === undefined ? {} : { select }),
      ...(limit === undefined ? {} : { limit }),
    };
    const parts = { name, limit, events: new Set(events), scheduler };
    return relay.open(command, (host) => new Table<R>({ ...parts, host }));
  };
  const ask = (ready: string, of: string | undefined, column: string | undefined) => {
    const names = { ...(of === undefined ? {} : { of }), ...(column === undefined ? {} : { column }) };
    return port.command({ c: "ready_table", ready, ...names }) as ReadyQuery;
  };
  Object.assign(client, { table, tables: readyTables(table, ask) } satisfies LiveTables);
  return relay;
}
