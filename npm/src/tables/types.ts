/**
 * A row: an object with its columns. docs/tables.md lists the JavaScript type for each type of
 * column.
 */
export type TableRow = object;

/** How far a table's rows can be trusted. */
export type TableStatus = "loading" | "live" | "stale" | "failed" | "closed";

/** The state of a table. */
export interface TableState<R> {
  /**
   * The rows, in the order and up to the limit of the options. Rows that did not change are the
   * same objects as before.
   */
  readonly rows: readonly R[];
  /**
   * `loading`: no rows are known yet. `live`: the rows follow the database. `stale`: the rows may
   * be old, because there is no connection or they are being compared with new ones. `failed`:
   * refused, see `error`. `closed`: the table was closed.
   */
  readonly status: TableStatus;
  /**
   * Why it failed: a stable code, a message, and the position in the filter in bytes, if there is
   * one. `null` if it did not fail.
   */
  readonly error: { readonly code: string; readonly message: string; readonly at: number | null } | null;
}

/** The kinds of changes. */
export type TableEventName = "INSERT" | "UPDATE" | "DELETE";

/** A change of one row. */
export type TableChange<R> = ChangeOfRow & RowsOfChange<R>;

interface ChangeOfRow {
  /** The table's name. */
  readonly table: string;
  /**
   * `commit`: the row was inserted, updated or deleted in the database. `moved_in`: it existed
   * before and now matches the filter. `moved_out`: it still exists and no longer matches.
   * `resync`: found by comparing with all rows, after changes were missed.
   */
  readonly why: "commit" | "moved_in" | "moved_out" | "resync";
  /** The transaction's id in the database; `null` for a `resync`. */
  readonly tx: string | null;
  /** When it was committed, ms since the Unix epoch; `null` for a `resync`. */
  readonly at: number | null;
}

type RowsOfChange<R> =
  | { readonly event: "INSERT"; readonly new: R; readonly old: null }
  | { readonly event: "UPDATE"; readonly new: R; readonly old: R }
  /** `old` is the row as this client had it. */
  | { readonly event: "DELETE"; readonly new: null; readonly old: R };

/** The options of a table. */
export interface TableOptions<R> {
  /**
   * Which rows: an object of conditions that must all hold, an array of such objects of which one
   * must hold, or a filter as text. Default: all.
   */
  where?: Where<R> | string;
  /**
   * The order of the rows: `"created_at.desc"`, `{ created_at: "desc" }`, or several. Default: by
   * the key.
   */
  orderBy?: OrderBy<R>;
  /** The maximum number of rows in `rows`. Change events come for all rows. */
  limit?: number;
  /** Which columns, in addition to the key columns. Default: all that this user may see. */
  select?: readonly Column<R>[];
  /** Which kinds of changes are emitted as events; `rows` contain all changes. Default: all. */
  events?: readonly TableEventName[];
}

/** A column's name. */
export type Column<R> = keyof R & string;

/** A value to compare with. A `Date` is a point in time; other values are passed on as text. */
export type Literal = string | number | bigint | boolean | Date;

/**
 * Conditions on columns: `{ owner: "ada", age: { gte: 18 }, state: { in: ["open", "held"] },
 * deleted_at: null }`.
 */
export type Conditions<R> = { readonly [K in Column<R>]?: Literal | null | Tests };

/** Conditions that must all hold, or several such objects of which one must hold. */
export type Where<R> = Conditions<R> | readonly Conditions<R>[];

/** Tests of one column, which must all hold. */
export interface Tests {
  readonly eq?: Literal | null;
  readonly neq?: Literal | null;
  readonly gt?: Literal;
  readonly gte?: Literal;
  readonly lt?: Literal;
  readonly lte?: Literal;
  /** A pattern: `%` and `*` match any characters, `_` matches one. */
  readonly like?: string;
  /** As `like`, but case-insensitive. */
  readonly ilike?: string;
  readonly in?: readonly Literal[];
}

/** A direction. By default nulls count as greater than all other values. */
export type Direction = "asc" | "desc" | "asc.nullsfirst" | "asc.nullslast" | "desc.nullsfirst" | "desc.nullslast";

/** An order by one column. */
export type OrderTerm<R> = { readonly [K in Column<R>]?: Direction } | string;

/** An order by columns, the first one first. */
export type OrderBy<R> = OrderTerm<R> | readonly OrderTerm<R>[];
