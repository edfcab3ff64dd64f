/** A row: an object of its columns. What each column's type becomes is in docs/tables.md. */
export type TableRow = object;

/** How far a table's rows can be trusted. */
export type TableStatus = "loading" | "live" | "stale" | "failed" | "closed";

/** What is known of a table. */
export interface TableState<R> {
  /**
   * In the order and up to the limit that was asked for. Rows that did not change are the same
   * objects as before.
   */
  readonly rows: readonly R[];
  /**
   * `loading`: none are known yet; `live`: they are what the database has; `stale`: they are what
   * it had, because there is no connection or they are just being compared; `failed`: refused, see
   * `error`; `closed`: they are no longer followed.
   */
  readonly status: TableStatus;
  /** Why it failed: a stable code, a text for people, and where in the filter, in bytes. */
  readonly error: { readonly code: string; readonly message: string; readonly at: number | null } | null;
}

/** The kinds of changes. */
export type TableEventName = "INSERT" | "UPDATE" | "DELETE";

/** A row came, changed, or is gone. */
export type TableChange<R> = ChangeOfRow & RowsOfChange<R>;

interface ChangeOfRow {
  /** The table's name. */
  readonly table: string;
  /**
   * `commit`: the database committed it; `moved_in`, `moved_out`: the row was there before or still
   * is, and only came to belong to what was asked for, or no longer does; `resync`: found by
   * comparing with all rows, after changes were missed.
   */
  readonly why: "commit" | "moved_in" | "moved_out" | "resync";
  /** The transaction, as the database calls it; `null` of a `resync`. */
  readonly tx: string | null;
  /** When it was committed, ms since the Unix epoch; `null` of a `resync`. */
  readonly at: number | null;
}

type RowsOfChange<R> =
  | { readonly event: "INSERT"; readonly new: R; readonly old: null }
  | { readonly event: "UPDATE"; readonly new: R; readonly old: R }
  /** `old` is what this client knew of it. */
  | { readonly event: "DELETE"; readonly new: null; readonly old: R };

/** What to ask a table for. */
export interface TableOptions<R> {
  /**
   * Which rows: an object, of which all must hold, an array of those, of which any must hold, or a
   * filter's text. Default: all.
   */
  where?: Where<R> | string;
  /**
   * How they are ordered: `"created_at.desc"`, `{ created_at: "desc" }`, or several. Default: by
   * the key.
   */
  orderBy?: OrderBy<R>;
  /** Only the first so many rows; changes are told of all. */
  limit?: number;
  /** Which columns, beside those of the key. Default: all that this user may see. */
  select?: readonly Column<R>[];
  /** Which changes are told; `rows` follow all of them. Default: all. */
  events?: readonly TableEventName[];
}

/** A column's name. */
export type Column<R> = keyof R & string;

/** A value to compare with. Dates are moments; of others the database reads the text. */
export type Literal = string | number | bigint | boolean | Date;

/**
 * Conditions on columns: `{ owner: "ada", age: { gte: 18 }, state: { in: ["open", "held"] },
 * deleted_at: null }`.
 */
export type Conditions<R> = { readonly [K in Column<R>]?: Literal | null | Tests };

/** Conditions of which all must hold, or several of those, of which any must hold. */
export type Where<R> = Conditions<R> | readonly Conditions<R>[];

/** Tests of one column; all must hold. */
export interface Tests {
  readonly eq?: Literal | null;
  readonly neq?: Literal | null;
  readonly gt?: Literal;
  readonly gte?: Literal;
  readonly lt?: Literal;
  readonly lte?: Literal;
  /** `%` and `*` stand for any characters, `_` for one. */
  readonly like?: string;
  /** As `like`, whatever the case. */
  readonly ilike?: string;
  readonly in?: readonly Literal[];
}

/** Directions: nulls are greater than all else, if nothing is said of them. */
export type Direction = "asc" | "desc" | "asc.nullsfirst" | "asc.nullslast" | "desc.nullsfirst" | "desc.nullslast";

/** An order by one column. */
export type OrderTerm<R> = { readonly [K in Column<R>]?: Direction } | string;

/** An order by columns, the first one first. */
export type OrderBy<R> = OrderTerm<R> | readonly OrderTerm<R>[];
