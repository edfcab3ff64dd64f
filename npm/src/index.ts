export type { Channel } from "./channel.ts";
export type { Client, TablesClient } from "./client.ts";
export { createClient } from "./client.ts";
export type { Code } from "./codes.ts";
export type { Dialog } from "./dialog.ts";
/** @internal */
export * as internal from "./internal.ts";
export type { Transport } from "./link.ts";
export type { People } from "./people.ts";
export type { OpenTable, ReadyOptions, ReadyTables } from "./tables/ready.ts";
export type { Table } from "./tables/table.ts";
export type {
  Conditions,
  Direction,
  Literal,
  OrderBy,
  TableChange,
  TableEventName,
  TableOptions,
  TableRow,
  TableState,
  TableStatus,
  Tests,
  Where,
} from "./tables/types.ts";
export type { GuestOptions, SessionPlace } from "./token.ts";
export { guestToken } from "./token.ts";
export type {
  AnyEvent,
  Bodies,
  ChannelEvent,
  ChannelState,
  ClientOptions,
  ClientState,
  ConnectionState,
  CookieOptions,
  DialogState,
  Handler,
  HandOffStep,
  JsonObject,
  Kinds,
  Listener,
  Metrics,
  Outgoing,
  PeopleState,
  Person,
  PersonLease,
  Profile,
  ReadsState,
  Receipt,
  Report,
  ReportEntry,
  Row,
  RowState,
  SendOptions,
  Signal,
  Status,
  Store,
  TokenProvider,
  User,
  WasmSource,
} from "./types.ts";
export { TidewireError } from "./types.ts";
