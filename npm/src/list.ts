// Changes of ordered lists of rows, the same for dialogs, people and live tables.

/** One change of a list. Indexes count from 0 in the list as the changes before left it. */
export type ListChange<W> =
  | { readonly t: "reset"; readonly rows: readonly W[] }
  | { readonly t: "insert" | "update"; readonly index: number; readonly row: W }
  | { readonly t: "append"; readonly index: number; readonly text: string }
  /** The row at `from` was removed, then inserted at `to`. */
  | { readonly t: "move"; readonly from: number; readonly to: number }
  | { readonly t: "remove"; readonly index: number };

/**
 * Applies a change to the array `rows` and returns it; after a reset it returns a new array. `read`
 * converts a row that the core wrote, `grown` makes a row with appended text. Row objects are never
 * changed in place.
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

/** The new list, or the one before if it has the same items. */
export const kept = <T>(before: readonly T[], now: readonly T[]): readonly T[] =>
  before.length === now.length && before.every((item, index) => item === now[index]) ? before : now;
