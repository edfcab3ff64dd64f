import { settings, text } from "../validate.ts";
import type { Table } from "./table.ts";
import type { Column, OrderBy, TableEventName, TableOptions, TableRow } from "./types.ts";

/** What a ready-made table may be told otherwise. */
export interface ReadyOptions<R> {
  /** The table, by the name that the server gave it. */
  table?: string;
  /** The column that says whose the rows are. */
  column?: Column<R>;
  orderBy?: OrderBy<R>;
  limit?: number;
  select?: readonly Column<R>[];
}

/** Opens a table. */
export type OpenTable = <R extends TableRow = Record<string, unknown>>(name: string, options?: TableOptions<R>) => Table<R>;

type Ids = string | number | bigint;

/** Tables that many applications have, with names that may be told otherwise. */
export interface ReadyTables {
  /**
   * The messages of a session, `chat_messages` by `session_id`, in the order of `created_at`; new
   * ones are told.
   */
  messages<R extends TableRow = Record<string, unknown>>(session: Ids, options?: ReadyOptions<R>): Table<R>;
  /** One session, `chat_sessions` by `id`; its changes are told. */
  session<R extends TableRow = Record<string, unknown>>(id: Ids, options?: ReadyOptions<R>): Table<R>;
  /** All rules of the context, `context_rules`; everything is told. */
  contextRules<R extends TableRow = Record<string, unknown>>(options?: Omit<ReadyOptions<R>, "column">): Table<R>;
  /**
   * A user's configurations of widgets, `widget_configurations` by `user_id`; everything is told.
   */
  widgetConfigurations<R extends TableRow = Record<string, unknown>>(user: Ids, options?: ReadyOptions<R>): Table<R>;
  /** A user's notifications, `notifications` by `user_id`, the newest first; new ones are told. */
  notifications<R extends TableRow = Record<string, unknown>>(user: Ids, options?: ReadyOptions<R>): Table<R>;
}

/** What a client with live tables has beside the chat. */
export interface LiveTables {
  /**
   * Opens a live table: its rows now, and every change of them. Throws a {@link TidewireError} at
   * once for what can't be asked: `bad_filter`, with the place `at` in the filter's text,
   * `bad_column`, `bad_order`, `bad_limit`, `too_many_subscriptions`. What only the server knows,
   * such as whether the table exists and this user may read it, becomes the state `failed`.
   */
  readonly table: OpenTable;
  /** Ready-made tables. */
  readonly tables: ReadyTables;
}

/** A question that the core has ready. */
export interface ReadyQuery {
  readonly table: string;
  readonly filter: string;
  readonly order: string;
  readonly events: readonly string[];
}

/** The ready-made tables over what opens any, and what knows their questions. */
export function readyTables(
  open: OpenTable,
  ask: (ready: string, of: string | undefined, column: string | undefined) => ReadyQuery,
): ReadyTables {
  const ready = <R extends TableRow>(name: string, of: string | undefined, options: ReadyOptions<R> = {}): Table<R> => {
    const any = (value: unknown): unknown => value;
    // The others are checked where every table's are.
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
