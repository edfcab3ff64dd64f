import type { Code } from "./codes.ts";
import type { Transport } from "./link.ts";

/**
 * A read-only store with the same shape as Zustand's, so that Zustand's `useStore` and React's
 * `useSyncExternalStore` work with it.
 */
export interface Store<S> {
  /** The current state. It never changes in place. */
  getState(): S;
  /** The initial state, for rendering on a server. */
  getInitialState(): S;
  /**
   * Calls `listener` after changes, at most once per animation frame. Returns a function that ends
   * it.
   */
  subscribe(listener: Listener<S>): () => void;
}

/** Called with the current state and the one that this listener got before. */
export type Listener<S> = (state: S, previous: S) => void;

/** A JSON object. */
export type JsonObject = Readonly<Record<string, unknown>>;

/** The author of a row, an event or a signal, or who is in a channel. */
export interface User {
  readonly id: string;
  readonly name: string;
  readonly kind: "guest" | "user" | "operator" | "service" | "ai" | "system";
  /** What else is shown of them, if the application says anything. */
  readonly profile?: Profile;
}

/** What is shown of a user besides the name. The server has checked the forms. */
export interface Profile {
  readonly role?: string;
  /** As `#3366cc`. */
  readonly color?: string;
  /** An https address. */
  readonly picture?: string;
  /** Attributes of the application's own. */
  readonly [attribute: string]: string | undefined;
}

/**
 * States of the connection. `failed` is final until `connect()` is called: `cause` says why. `parked`:
 * the page sleeps, or, with the cause `idle_timeout`, the server closed a connection on which nothing
 * was done; the next message, typing or visit to the page connects again.
 */
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

/** The state of the connection. */
export interface Status {
  readonly state: ConnectionState;
  /** How many attempts have failed in a row. */
  readonly attempt: number;
  /** When the next attempt is made, ms since the Unix epoch; `null` if none is planned. */
  readonly retryAt: number | null;
  /** Why there is no connection: a stable code; `null` if there is one. */
  readonly cause: string | null;
  /** A message about the cause, from the server or the token provider; `null` if there is none. */
  readonly message: string | null;
  /** How many messages are not yet acknowledged. */
  readonly waiting: number;
}

/** The state of a client. */
export interface ClientState {
  readonly status: Status;
  /** The user that the server identified this client as; `null` until then. */
  readonly user: User | null;
  /**
   * Why messages are not kept across reloads: `storage_full`, `storage_unavailable`, or `null` if
   * they are.
   */
  readonly storage: string | null;
}

/** One entry of a report. Entries never hold a token or the text of a message. */
export interface ReportEntry {
  /** When it happened, ms since the Unix epoch. */
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
   * The state, code or channel that the entry is about. For `transport` and `handover`: the
   * transport that is used from then on.
   */
  readonly about: string;
  /** How often it happened in a row. For `closed`: the close code. For `asleep`: how long, ms. */
  readonly number: number;
}

/** How much a client has done since it was created. */
export interface Metrics {
  /**
   * Whose numbers these are: in a `follower` those of the leading tab, which has the connection, as of
   * its last report.
   */
  readonly tab: "leader" | "follower" | "alone";
  /** When these numbers were read, ms since the Unix epoch. */
  readonly at: number;
  /** When the client was created, ms since the Unix epoch. */
  readonly since: number;
  /** Connections that were welcomed. */
  readonly connections: number;
  /** Sessions after the first one. */
  readonly reconnects: number;
  /** Messages of the user's that are not yet acknowledged. */
  readonly waiting: number;
  /** Messages of the connection received. One may hold several events. */
  readonly received: number;
  /** Messages of the connection sent. */
  readonly sent: number;
  /** Messages received in a second, on average over the last ten. */
  readonly receivedPerSecond: number;
  /** Messages sent in a second, on average over the last ten. */
  readonly sentPerSecond: number;
  /**
   * Time from sending to the answer, ms, of messages and pings: an average in which the latest count
   * most. `null` until something was answered.
   */
  readonly latencyMs: number | null;
}

/** Recent events of a client, counters and metrics since it was created. */
export interface Report {
  /**
   * `leader`: this tab has the connection for all of the user's tabs. `follower`: another tab has
   * it. `alone`: this tab shares nothing with others.
   */
  readonly tab: "leader" | "follower" | "alone";
  /** At most 200, oldest first. */
  readonly entries: readonly ReportEntry[];
  readonly counters: {
    /** Sessions after the first one. */
    readonly reconnects: number;
    /** Messages that were sent again because no answer had come. */
    readonly resent: number;
    /** Events that came twice; the second one was dropped. */
    readonly duplicated: number;
    /** Gaps in the events that were noticed and filled. */
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
  readonly metrics: Omit<Metrics, "tab">;
}

/** The state of a row. */
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
  /** The message's id, or the answer's. It never changes. */
  readonly id: string;
  /** `unreadable`: an event that this version can't read. Its row has no text. */
  readonly kind: "message" | "answer" | "unreadable";
  readonly by: User;
  /** Whether this client's user wrote it. */
  readonly own: boolean;
  /** The text. That of an answer grows while the state is `streaming`. */
  readonly text: string;
  /** When it was written, ms since the Unix epoch. */
  readonly at: number;
  /** Its offset in the log; `null` until it is committed. */
  readonly offset: number | null;
  readonly state: RowState;
  /**
   * Why it failed, ended early or still waits: a stable code. For a `queued` row: `blocked` if a
   * failed one is before it, `rate_limited` if too many were sent.
   */
  readonly code: string | null;
  /** When a `queued` row is sent next, ms since the Unix epoch; `null` if that is not known. */
  readonly retryAt: number | null;
}

/**
 * Who answers in a dialog. `ai`: the model. `queued`: the model, and somebody has asked for a person.
 * `operator`: this person; the model is silent. `closed`: nobody, until a visitor writes again.
 * `since` is in ms since the Unix epoch by the server's clock.
 */
export type Handler =
  | { readonly state: "ai" }
  | { readonly state: "queued" | "closed"; readonly since: number }
  | { readonly state: "operator"; readonly since: number; readonly user: User };

/**
 * A step of a hand-off. `request`: asks for a person. `take`: an operator takes the dialog, from the
 * operator `from` if one has it. `transfer`: gives it to another operator. `release`: the model
 * answers again, with `from` only if this operator has the dialog; it also ends a request. `close`:
 * the dialog ends.
 */
export type HandOffStep =
  | { readonly step: "request" | "close" }
  | { readonly step: "take" | "release"; readonly from?: string | undefined }
  | { readonly step: "transfer"; readonly to: { readonly id: string; readonly name: string } };

/** The state of a dialog. */
export interface DialogState {
  /** The rows in order. Rows that did not change are the same objects as before. */
  readonly rows: readonly Row[];
  /**
   * `local`: only stored rows. `syncing`: new events are being loaded. `live`: up to date; changes
   * follow as they happen. `waiting`: refused temporarily, tried again at `retryAt`. `failed`:
   * refused, see `error`. `closed`: this handle was closed and gets no more changes.
   */
  readonly status: "local" | "syncing" | "live" | "waiting" | "failed" | "closed";
  /** Why the server refused the dialog; `null` if it did not. */
  readonly error: { readonly code: string; readonly message: string } | null;
  /** When a refused dialog is tried again, ms since the Unix epoch. */
  readonly retryAt: number | null;
  /** The id of the answer under way; `null` if there is none. */
  readonly run: string | null;
  /**
   * Who answers; until the status is `live`, as far as the rows here tell. The same object as before
   * if it did not change.
   */
  readonly handler: Handler;
  /** Whether `loadOlder` may find rows before the first one. */
  readonly hasOlder: boolean;
  /**
   * How many events were skipped since the dialog was opened, because the server no longer had them
   * or there were too many.
   */
  readonly missed: number;
  /**
   * Why the rows were reset and earlier ones are missing: `trimmed`, `epoch`, `ahead` or `gap`;
   * `null` if nothing was skipped.
   */
  readonly gap: string | null;
}

/** The kinds of a channel's events, each with the type of its body: here any kinds and bodies. */
export type Kinds = Readonly<Record<string, Readonly<Record<string, unknown>>>>;

/** What an application's own kinds must be: their bodies are objects. */
export type Bodies<E> = { readonly [K in keyof E]: object };

/** An event of a channel. */
export interface ChannelEvent<K extends string = string, B = Readonly<Record<string, unknown>>> {
  readonly kind: K;
  readonly body: B;
  /** The id under which it was published. */
  readonly id: string;
  /** Its place in the channel. It grows from event to event until the channel is reset. */
  readonly offset: number;
  /** When it was committed, ms since the Unix epoch. */
  readonly at: number;
  readonly by: User;
}

/** An event of one of these kinds: its `kind` tells the type of its `body`. */
export type AnyEvent<E extends Bodies<E> = Kinds> = {
  [K in keyof E & string]: ChannelEvent<K, Readonly<E[K]>>;
}[keyof E & string];

/** The state of a channel. */
export interface ChannelState<E extends Bodies<E> = Kinds> {
  /**
   * The newest events, the oldest first, at most 200 and those that `loadOlder` added. Those that did
   * not change are the same objects as before.
   */
  readonly events: readonly AnyEvent<E>[];
  /**
   * `syncing`: new events are being loaded. `live`: up to date; events follow as they happen.
   * `waiting`: refused temporarily, tried again at `retryAt`. `failed`: refused, see `error`.
   * `closed`: this handle was closed and gets no more events.
   */
  readonly status: "syncing" | "live" | "waiting" | "failed" | "closed";
  /** Why the server refused the channel; `null` if it did not. */
  readonly error: { readonly code: string; readonly message: string } | null;
  /** When a refused channel is tried again, ms since the Unix epoch. */
  readonly retryAt: number | null;
  /** Whether `loadOlder` may find events before the first one. */
  readonly hasOlder: boolean;
  /**
   * How many events were skipped since the channel was opened, because the server no longer had
   * them or there were too many.
   */
  readonly missed: number;
  /**
   * Why the events were reset and earlier ones are missing: `trimmed`, `epoch`, `ahead` or `gap`;
   * `null` if nothing was skipped.
   */
  readonly gap: string | null;
}

/**
 * An ephemeral message, such as a typing notice or a cursor. It is never stored and may be lost.
 */
export interface Signal {
  readonly kind: string;
  /** A signal replaces the previous one with the same user, kind and key. */
  readonly key: string | null;
  readonly body: Readonly<Record<string, unknown>>;
  readonly by: User;
}

/** What a person is or does in a channel at the moment. */
export interface PersonLease {
  readonly body: JsonObject;
  /** Since when, ms since the Unix epoch by the server's clock. */
  readonly since: number;
  /** Whether it ends by itself unless it is renewed. */
  readonly brief: boolean;
}

/** A user who is in a channel, or does something there. */
export interface Person {
  readonly user: User;
  /** Whether it is this client's user. */
  readonly own: boolean;
  /** Whether a client of theirs has the channel open. */
  readonly here: boolean;
  /** The beginning of their oldest lease, ms since the Unix epoch by the server's clock. */
  readonly since: number;
  /**
   * What they do, by kind: `typing`, and the application's own kinds. The object has no prototype, so
   * any kind may be looked up.
   */
  readonly leases: Readonly<Record<string, PersonLease>>;
}

/** Who is in a channel. */
export interface PeopleState {
  /**
   * `syncing`: the list is as of earlier, because the server has not answered yet, there is no
   * connection, or nobody subscribes. `live`: up to date. `crowded`: too many to be listed; `count`
   * is up to date. `refused`: the server does not tell, see `code`.
   */
  readonly status: "syncing" | "live" | "crowded" | "refused";
  /**
   * Why the server does not tell: `people_off` if the channel's rule does not have people, or why the
   * channel can't be read; otherwise `null`.
   */
  readonly code: string | null;
  /** How many users are here. */
  readonly count: number;
  /** The people in the order in which they came. Those who did not change are the same objects. */
  readonly people: readonly Person[];
  /** The others who are writing. The same array as before if they are the same. */
  readonly typing: readonly User[];
}

/** How far somebody else has read a channel. */
export interface Receipt {
  readonly user: User;
  /** The offset of the newest event that they have read. */
  readonly offset: number;
  /** When they said so, ms since the Unix epoch by the server's clock. */
  readonly at: number;
}

/** How far a channel was read. */
export interface ReadsState {
  /**
   * `syncing`: as of earlier, because the server has not answered yet, there is no connection, or
   * nobody subscribes. `live`: up to date. `crowded`: as `live`, but too many users have read it to
   * be told of others. `refused`: the server does not tell, see `code`.
   */
  readonly status: "syncing" | "live" | "crowded" | "refused";
  /** Why the server does not tell; otherwise `null`. */
  readonly code: string | null;
  /** The offset of the newest event that the user has read on any device; 0 for none. */
  readonly position: number;
  /**
   * How many events of others come after it; `null` while that is not known. Events that only change
   * something shown before don't count.
   */
  readonly unread: number | null;
  /** Whether there may be older unread events: the server counts the newest 1,000 only. */
  readonly more: boolean;
  /** How far others have read. Those that did not change are the same objects as before. */
  readonly receipts: readonly Receipt[];
}

/** A message or an event that was sent. */
export interface Outgoing {
  /** Its id, which is also its row's or its event's. */
  readonly id: string;
  /**
   * Resolves with its offset in the log, or rejects with a {@link TidewireError}. It need
   * not be handled: an unhandled rejection is not reported.
   */
  readonly acked: Promise<{ readonly offset: number }>;
}

/**
 * Fetches a token. `null` means that this user may not connect. If it throws, the client tries
 * again later, except after a {@link TidewireError} that is not `retryable`. The client's status
 * then has the error's code and message.
 */
export type TokenProvider = (why: "connect" | "renew") => Promise<string | null>;

/** A cookie as the credential: see {@link ClientOptions.cookie}. */
export interface CookieOptions {
  /**
   * Has the page's server set a new cookie, before the present one ends and after it was refused as
   * expired. Errors count as those of a {@link TokenProvider}. Without it the client only connects
   * again.
   */
  renew?: () => Promise<void>;
}

/** The source of a WebAssembly module. */
export type WasmSource = URL | string | BufferSource | Response | PromiseLike<Response>;

/** Options of `send` and `publish`. */
export interface SendOptions {
  /**
   * The message's id, a UUID. One of version 7 also holds the message's time. Sending the same id
   * again does not send the message twice. Default: a new id.
   */
  id?: string;
}

/** Settings of {@link createClient}. */
export interface ClientOptions {
  /** The server's address, `https://…`, with a path if it is below one. */
  url: string | URL;
  /** Provides tokens of your own users. Without it the server creates a guest session. */
  token?: TokenProvider;
  /**
   * The credential is a cookie that the browser sends by itself (the server's setting `cookie`), in
   * the place of `token`.
   */
  cookie?: CookieOptions;
  /**
   * The guest's name, and the key of the site that the page belongs to, if the server knows its
   * pages by sites.
   */
  guest?: { nickname?: string; site?: string };
  /**
   * A stable id of the signed-in user, for clients with `token` or `cookie`. With it the user's tabs
   * share one connection, and each user's data is stored and shared separately. Without it each tab
   * has its own connection, and another user's stored data is wiped once the server has identified
   * the user. Guests need no id: their tabs share a connection.
   */
  user?: string;
  /** Separates the data of several applications on one site. Default `default`. */
  name?: string;
  /** Where waiting messages and rows are stored. Default `indexeddb`. */
  storage?: "indexeddb" | "memory";
  /**
   * `true`: the client has live tables, `client.table(…)`. It then loads `tables.js`, and
   * `tables.wasm` instead of `core.wasm`.
   */
  tables?: boolean;
  /**
   * The address of `core.wasm`, its bytes, or a response with them; with `tables`, those of
   * `tables.wasm`. Default: the file beside this module.
   */
  wasm?: WasmSource;
  /** The transports that may be used, the best first. Default: all four. */
  transports?: readonly Transport[];
  /** `false`: connect only when `connect()` is called. */
  autoConnect?: boolean;
  /** Settings of the core, by the core's names, such as `{ tail: 100 }`. */
  config?: Readonly<Record<string, string | number>>;
}

/** An error of this package. `code` is stable and the same in every language. */
export class TidewireError extends Error {
  override readonly name = "TidewireError";
  /**
   * A stable code. Token providers may throw codes of their own. If a request to the server fails
   * without a code, it is `http_` with the HTTP status.
   */
  readonly code: Code | (string & {});
  /** Whether the same call may succeed later. */
  readonly retryable: boolean;
  /** The position of the error in a table's filter, in bytes. */
  readonly at: number | undefined;
  /**
   * Earliest retry, in ms from now, if that is known. A token provider that throws the error is not
   * called sooner.
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
