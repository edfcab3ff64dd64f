// Changes of ordered lists of rows: the core's one vocabulary for dialogs and live tables.

/** One change of a list. Indexes count from 0 in the list as the changes before left it. */
export type ListChange<W> =
  | { readonly t: "reset"; readonly rows: readonly W[] }
  | { readonly t: "insert" | "update"; readonly index: number; readonly row: W }
  | { readonly t: "append"; readonly index: number; readonly text: string }
  /** The row at `from` was taken out, and put before what stood at `to` then. */
  | { readonly t: "move"; readonly from: number; readonly to: number }
  | { readonly t: "remove"; readonly index: number };

/**
 * Makes a change in `rows`, and returns them, or others after a reset; `read` makes rows of what
 * the core writes, and `grown` a row of one that was appended to. Rows themselves are never
 * changed.
 */
export function changed<W, R>(
  rows: R[],
  change: ListChange<W>,
  read: (row: W) => R,
  grown: (row: R, text: string) => R = (row) => row,
): R[] {
  switch (change.t) {
    case "reset":
      return change.rows.map(read);
    case "insert":
      rows.splice(change.index, 0, read(change.row));
      break;
    case "update":
      rows[change.index] = read(change.row);
      break;
    case "append": {
      const row = rows[change.index];
      if (row !== undefined) rows[change.index] = grown(row, change.text);
      break;
    }
    case "move":
      rows.splice(change.to, 0, ...rows.splice(change.from, 1));
      break;
    case "remove":
      rows.splice(change.index, 1);
      break;
  }
  return rows;
}
