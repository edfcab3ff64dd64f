// What stores show before anything is known: on a server, and until the client has loaded.
import type { TableState } from "./tables/types.ts";
import type { ChannelState, ClientState, DialogState, Handler, PeopleState, ReadsState } from "./types.ts";

/** The state of a client that has not connected yet. */
export const NEW_CLIENT: ClientState = {
  status: { state: "idle", attempt: 0, retryAt: null, cause: null, message: null, waiting: 0 },
  user: null,
  storage: null,
};

/** The model answers. */
export const MODEL: Handler = { state: "ai" };

/** The state of a dialog before anything is known. */
export const NO_ROWS: DialogState = {
  rows: [],
  status: "local",
  error: null,
  retryAt: null,
  run: null,
  handler: MODEL,
  hasOlder: false,
  missed: 0,
  gap: null,
};

/** The state of a channel before anything is known. */
export const NO_EVENTS: ChannelState = {
  events: [],
  status: "syncing",
  error: null,
  retryAt: null,
  hasOlder: false,
  missed: 0,
  gap: null,
};

/** The state of a channel's people before anything is known. */
export const NOBODY: PeopleState = { status: "syncing", code: null, count: 0, people: [], typing: [] };

/** How far a channel was read, before anything is known. */
export const UNREAD: ReadsState = { status: "syncing", code: null, position: 0, unread: null, more: false, receipts: [] };

/** The state of a table before anything is known. */
export const NO_TABLE: TableState<never> = { rows: [], status: "loading", error: null };
