import type { Table } from "./table.ts";
import type { Column, OrderBy, TableOptions, TableRow, Where } from "./types.ts";

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
  /** The messages of a session, `chat_messages` by `session_id`, in the order of `created_at`; new ones are told. */
  messages<R extends TableRow = Record<string, unknown>>(session: Ids, options?: ReadyOptions<R>): Table<R>;
  /** One session, `chat_sessions` by `id`; its changes are told. */
  session<R extends TableRow = Record<string, unknown>>(id: Ids, options?: ReadyOptions<R>): Table<R>;
  /** All rules of the context, `context_rules`; everything is told. */
  contextRules<R extends TableRow = Record<string, unknown>>(options?: Omit<ReadyOptions<R>, "column">): Table<R>;
  /** A user's configurations of widgets, `widget_configurations` by `user_id`; everything is told. */
  widgetConfigurations<R extends TableRow = Record<string, unknown>>(user: Ids, options?: ReadyOptions<R>): Table<R>;
  /** A user's notifications, `notifications` by `user_id`, the newest first; new ones are told. */
  notifications<R extends TableRow = Record<string, unknown>>(user: Ids, options?: ReadyOptions<R>): Table<R>;
}

/** The ready-made tables over what opens any. */
export function readyTables(open: OpenTable): ReadyTables {
  const ready = <R extends TableRow>(
    defaults: { table: string; column?: string; order?: string; events?: TableOptions<R>["events"] },
    id: Ids | undefined,
    { table, column, ...rest }: ReadyOptions<R> = {},
  ): Table<R> => {
    const name = column ?? defaults.column;
    const { order, events } = defaults;
    return open<R>(table ?? defaults.table, {
      ...(name === undefined || id === undefined ? {} : { where: { [name]: id } as Where<R> }),
      ...(order === undefined ? {} : { orderBy: order }),
      ...(events === undefined ? {} : { events }),
      ...rest,
    });
  };
  return {
    messages: (session, options) =>
      ready({ table: "chat_messages", column: "session_id", order: "created_at", events: ["INSERT"] }, session, options),
    session: (id, options) => ready({ table: "chat_sessions", column: "id", events: ["UPDATE"] }, id, options),
    contextRules: (options) => ready({ table: "context_rules" }, undefined, options),
    widgetConfigurations: (user, options) => ready({ table: "widget_configurations", column: "user_id" }, user, options),
    notifications: (user, options) =>
      ready({ table: "notifications", column: "user_id", order: "created_at.desc", events: ["INSERT"] }, user, options),
  };
}
