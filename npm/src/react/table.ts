import type { TablesClient } from "../client.ts";
import type { Table } from "../tables/table.ts";
import type { TableOptions, TableRow, TableState } from "../tables/types.ts";
import { fingerprint } from "./fingerprint.ts";
import { internal, TidewireError, useMemo } from "./imports.ts";
import type { Nothing, Open, Part } from "./place.ts";
import { itself, usePlace, useSelected } from "./place.ts";

const TABLE: Part<Table<TableRow>, TableState<TableRow>> = { initial: internal.NO_TABLE };

/**
 * The rows of a live table, as `client.table(name, options)` has them. The options are compared by
 * value, so they may be new with each render.
 */
export function useTable<R extends TableRow = Record<string, unknown>>(
  name: string | Nothing,
  options?: TableOptions<R>,
): TableState<R> {
  const value = fingerprint(options);
  // Options of the same value are the same query.
  const open = useMemo<Open<Table<TableRow>>>(
    () => (client, table) => {
      const { table: open } = client as TablesClient;
      if (open) return open(table, options as TableOptions<TableRow>);
      throw new TidewireError("bad_config", "the client needs `tables: true`", false);
    },
    [value],
  );
  return useSelected(usePlace(open, name), TABLE, itself) as TableState<R>;
}
