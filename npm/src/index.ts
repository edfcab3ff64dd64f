export type { Client } from "./client.ts";
export { createClient } from "./client.ts";
export type { Dialog } from "./dialog.ts";
export type { Transport } from "./link.ts";
export { guestToken } from "./token.ts";
export type {
  ClientOptions,
  ClientState,
  ConnectionState,
  DialogState,
  Listener,
  Outgoing,
  Report,
  ReportEntry,
  Row,
  RowState,
  Signal,
  Status,
  Store,
  TokenProvider,
  User,
} from "./types.ts";
export { TidewireError } from "./types.ts";
