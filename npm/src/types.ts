import type { Code } from "./codes.ts";
import type { Transport } from "./link.ts";

/**
 * Same shape as Zustand's read-only store, so that its `useStore` and React's
 * `useSyncExternalStore` work as they are.
 */
export interface Store<S> {
  /** The state now. It never changes in place. */
  getState(): S;
  /** The state before anything happened, for rendering on a server. */
  getInitialState(): S;
  /** Calls `listener` after changes, at most once a frame. Returns what ends it. */
  subscribe(listener: Listener<S>): () => void;
}

/** Called with the state now and the one that this listener was told before. */
export type Listener<S> = (state: S, previous: S) => void;

/** Who wrote something. */
export interface User {
  readonly id: string;
  readonly name: string;
  readonly kind: "guest" | "user" | "operator" | "ai" | "system";
}

/** States of the connection. `failed` is final until `connect()` is called: `cause` says why. */
export type ConnectionState =
  | "idle"
  | "connecting"
  | "online"
  | "reconnecting"
  | "offline"
  | "parked"
  | "disconnected"
  | "closed"
  | "failed";

/** The connection as people see it. */
export interface Status {
  readonly state: ConnectionState;
  /** Attempts that failed in a row. */
  readonly attempt: number;
  /** When the next attempt is made, ms since the Unix epoch. */
  readonly retryAt: number | null;
  /** Why the connection is not there: a stable code. */
  readonly cause: string | null;
  /** The same in words, where the server, or what gets the tokens, gave some. */
  readonly message: string | null;
  /** How many messages are not yet acknowledged. */
  readonly waiting: number;
}

/** What a client knows. */
export interface ClientState {
  readonly status: Status;
  /** Who this client is, once the server said so. */
  readonly user: User | null;
  /**
   * Why messages are not kept across reloads: `storage_full`, `storage_unavailable`, or `null` if
   * they are.
   */
  readonly storage: string | null;
}

/** One thing that happened to a client. No entry holds a token or a text. */
export interface ReportEntry {
  /** When, ms since the Unix epoch. */
  readonly at: number;
  readonly what:
    | "state"
    | "closed"
    | "asleep"
    | "goaway"
    | "transport"
    | "handover"
    | "repair"
    | "reset"
    | "op_failed"
    | "storage";
  /**
   * The state, code or channel it is about; of `transport` and `handover` how the server is reached
   * from then on.
   */
  readonly about: string;
  /** How often in a row; of `closed` the close code, of `asleep` how many ms. */
  readonly number: number;
}

/** What happened to a client lately, and counters since it was made. */
export interface Report {
  /**
   * `leader`: this tab has the connection for all of this user's; `follower`: another one has;
   * `alone`: tabs share nothing.
   */
  readonly tab: "leader" | "follower" | "alone";
  /** At most 200, oldest first. */
  readonly entries: readonly ReportEntry[];
  readonly counters: {
    /** Welcomes after the first. */
    readonly reconnects: number;
    /** Messages sent again because their answer was lost. */
    readonly resent: number;
    /** Events that came a second time and were dropped. */
    readonly duplicated: number;
    /** Gaps that were noticed and asked for. */
    readonly repaired: number;
    /** Events that a reset skipped. */
    readonly lost: number;
    /** Events that could not be read; their rows are `unreadable`. */
    readonly unreadable: number;
    /** Messages not yet acknowledged. */
    readonly waiting: number;
    /** From sending to the answer, of the last answered message, ms. */
    readonly roundTripMs: number;
  };
}

/** How a row stands. */
export type RowState =
  | "saving"
  | "queued"
  | "sending"
  | "sent"
  | "failed"
  | "streaming"
  | "done"
  | "stopped"
  | "interrupted"
  | "error";

/** One row of a dialog. */
export interface Row {
  /** The message's id, or the answer's. It stays the same for the row's whole life. */
  readonly id: string;
  /** `unreadable`: something is here that this version can't read; it has no text. */
  readonly kind: "message" | "answer" | "unreadable";
  readonly by: User;
  /** Whether this client's user wrote it. */
  readonly own: boolean;
  /** The text; an answer's grows while the state is `streaming`. */
  readonly text: string;
  /** ms since the Unix epoch. */
  readonly at: number;
  /** Its place in the log, once committed. */
  readonly offset: number | null;
  readonly state: RowState;
  /**
   * Why it failed, ended early, or still waits: a stable code. Of a `queued` row `blocked`, if a
   * failed one stands before it, or `rate_limited`, if there were too many.
   */
  readonly code: string | null;
  /** When a `queued` row is tried next, ms since the Unix epoch. */
  readonly retryAt: number | null;
}

/** What is known of a dialog. */
export interface DialogState {
  /** In their order. Rows that did not change are the same objects as before. */
  readonly rows: readonly Row[];
  /**
   * `local`: only what was stored; `syncing`: on the way to the head; `live`: there; `waiting`:
   * refused for now, and tried again at `retryAt`; `failed`: refused, see `error`; `closed`: this
   * handle was closed and hears nothing more.
   */
  readonly status: "local" | "syncing" | "live" | "waiting" | "failed" | "closed";
  /** Why the server refused the dialog. */
  readonly error: { readonly code: string; readonly message: string } | null;
  /** When a refused dialog is tried again, ms since the Unix epoch. */
  readonly retryAt: number | null;
  /** The id of the answer under way. */
  readonly run: string | null;
  /**
   * How many events were skipped since the dialog was opened, because the server no longer had them
   * or they were too many.
   */
  readonly missed: number;
  /**
   * Why the rows begin anew, behind what was here before: `trimmed`, `epoch`, `ahead`; `null` if
   * nothing was skipped.
   */
  readonly gap: string | null;
}

/** Something of the moment, as typing or a cursor: it is never stored, and may be lost. */
export interface Signal {
  readonly kind: string;
  /** It takes the place of the one before with the same user, kind and key. */
  readonly key: string | null;
  readonly body: Readonly<Record<string, unknown>>;
  readonly by: User;
}

/** A message on its way. */
export interface Outgoing {
  /** The message's id; its row has the same. */
  readonly id: string;
  /**
   * Settles once: with the place in the log, or with a {@link TidewireError}. Nobody has to handle
   * it.
   */
  readonly acked: Promise<{ readonly offset: number }>;
}

/**
 * Gets a token, a string. `null`: this user may not connect, ever. Throwing: it did not work this
 * time, and is tried again, unless it is a {@link TidewireError} that is not `retryable`; the
 * status says its code and message.
 */
export type TokenProvider = (why: "connect" | "renew") => Promise<string | null>;

/** Where a WebAssembly module comes from. */
export type WasmSource = URL | string | BufferSource | Response | PromiseLike<Response>;

/** What may be said beside a message. */
export interface SendOptions {
  /**
   * The message's id, a UUID that the application chose; version 7 tells the message's age too.
   * Sending the same id again sends nothing twice. Default: a new one.
   */
  id?: string;
}

/** Settings of {@link createClient}. */
export interface ClientOptions {
  /** The server's origin, `https://…`. */
  url: string | URL;
  /** Tokens of your own users. Without it, the server makes a guest session. */
  token?: TokenProvider;
  /** What a guest is called. */
  guest?: { nickname?: string };
  /**
   * A stable id of the signed-in user, for clients with `token`. With it, the user's tabs share one
   * connection, and nothing that is stored or told between tabs is ever another user's. Without it
   * each tab is alone, and what another user stored is wiped at the welcome. Guests need none:
   * their tabs share.
   */
  user?: string;
  /**
   * Separates what is stored and shared, as one application from another on the same site. Default
   * `default`.
   */
  name?: string;
  /** Where messages wait. Default `indexeddb`. */
  storage?: "indexeddb" | "memory";
  /**
   * `true`: the client has live tables, `client.table(…)`. Their code is loaded only then, and
   * `tables.wasm` in the place of `core.wasm`.
   */
  tables?: boolean;
  /**
   * Where `core.wasm` is, its bytes, or a response with them; with `tables`, the same of
   * `tables.wasm`. Default: beside this module.
   */
  wasm?: WasmSource;
  /** The ways to reach the server that may be tried, the best first. Default: all four. */
  transports?: readonly Transport[];
  /** `false`: connect only when `connect()` is called. */
  autoConnect?: boolean;
  /** Settings of the core by its names, such as `{ tail: 100 }`. */
  config?: Readonly<Record<string, string | number>>;
}

/** Why something was refused or failed. `code` is stable and the same in every language. */
export class TidewireError extends Error {
  override readonly name = "TidewireError";
  /**
   * A stable code. A token provider may throw codes of its own, and an endpoint that gives tokens
   * may make it `http_` with the HTTP status.
   */
  readonly code: Code | (string & {});
  /** Whether the same call may succeed later. */
  readonly retryable: boolean;
  /** Where in a table's filter, in bytes. */
  readonly at: number | undefined;
  /**
   * Not before so many ms, where that is known. A token provider that throws it is not asked
   * sooner.
   */
  readonly retryAfterMs: number | undefined;

  constructor(code: string, message: string, retryable: boolean, at?: number, retryAfterMs?: number) {
    super(message);
    this.code = code;
    this.retryable = retryable;
    this.at = at;
    this.retryAfterMs = retryAfterMs;
  }
}
