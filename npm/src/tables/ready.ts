import { settings, text } from "../validate.ts";
import type { Table } from "./table.ts";
import type { Column, OrderBy, TableEventName, TableOptions, TableRow } from "./types.ts";

/** Options of a ready-made table, where it differs from the defaults. */
export interface ReadyOptions<R> {
  /** The table's name at the server. */
  table?: string;
  /** The column with the id of the session or user. */
  column?: Column<R>;
  orderBy?: OrderBy<R>;
  limit?: number;
  select?: readonly Column<R>[];
}

/** A function that opens a table. */
export type OpenTable = <R extends TableRow = Record<string, unknown>>(name: string, options?: TableOptions<R>) => Table<R>;

type Ids = string | number | bigint;

/** Tables that many applications have. Names of tables and columns can be changed by options. */
export interface ReadyTables {
  /**
   * The messages of a session: `chat_messages` by `session_id`, ordered by `created_at`. Change
   * events: `INSERT`.
   */
  messages<R extends TableRow = Record<string, unknown>>(session: Ids, options?: ReadyOptions<R>): Table<R>;
  /** One session: `chat_sessions` by `id`. Change events: `UPDATE`. */
  session<R extends TableRow = Record<string, unknown>>(id: Ids, options?: ReadyOptions<R>): Table<R>;
  /** All rules of the context: `context_rules`. Change events: all. */
  contextRules<R extends TableRow = Record<string, unknown>>(options?: Omit<ReadyOptions<R>, "column">): Table<R>;
  /**
   * A user's configurations of widgets: `widget_configurations` by `user_id`. Change events: all.
   */
  widgetConfigurations<R extends TableRow = Record<string, unknown>>(user: Ids, options?: ReadyOptions<R>): Table<R>;
  /**
   * A user's notifications: `notifications` by `user_id`, the newest first. Change events:
   * `INSERT`.
   */
  notifications<R extends TableRow = Record<string, unknown>>(user: Ids, options?: ReadyOptions<R>): Table<R>;
}

/** What a client with live tables has in addition. */
export interface LiveTables {
  /**
   * Opens a live table: its current rows and every change of them. Throws a {@link TidewireError}
   * for a wrong query: `bad_filter` (with the position `at` in the filter), `bad_table`,
   * `bad_select`, `bad_column`, `bad_order`, `bad_limit`, `bad_argument`, `too_many_subscriptions`.
   * What only the server can refuse, such as an unknown table, sets the status `failed` later.
   */
  readonly table: OpenTable;
  /** Ready-made tables. */
  readonly tables: ReadyTables;
}

/** A query of a ready-made table, as the core returns it. */
export interface ReadyQuery {
  readonly table: string;
  readonly filter: string;
  readonly order: string;
  readonly events: readonly string[];
}

/**
 * Makes the ready-made tables. `open` opens a table, `ask` gets the query of a ready-made one from
 * the core.
 */
export function readyTables(
  open: OpenTable,
  ask: (ready: string, of: string | undefined, column: string | undefined) => ReadyQuery,
): ReadyTables {
  const ready = <R extends TableRow>(name: string, of: string | undefined, options: ReadyOptions<R> = {}): Table<R> => {
    const any = (value: unknown): unknown => value;
    // `client.table` checks the other options.
    const known = { table: text, column: text, orderBy: any, limit: any, select: any };
    const { table, column, ...rest } = settings<ReadyOptions<R>>(options, `tables.${name}`, known);
    const query = ask(name, of, column);
    return open<R>(table ?? query.table, {
      where: query.filter,
      orderBy: query.order as OrderBy<R>,
      events: query.events.map((event) => event.toUpperCase() as TableEventName),
      ...rest,
    });
  };
  const id = (given: unknown): string =>
    typeof given === "number" || typeof given === "bigint" ? String(given) : text(given, "tables: id");
  return {
    messages: (session, options) => ready("messages", id(session), options),
    session: (of, options) => ready("session", id(of), options),
    contextRules: (options) => ready("context_rules", undefined, options),
    widgetConfigurations: (user, options) => ready("widget_configurations", id(user), options),
    notifications: (user, options) => ready("notifications", id(user), options),
  };
}
