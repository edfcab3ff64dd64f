// The core's vocabulary: the commands that it takes and the events that it emits. It has types and
// names only, so files that use it need no driver.
import type { ListChange } from "./list.ts";
import type { Handler, JsonObject, PeopleState, Receipt, Row, Signal, User } from "./types.ts";

/** A command by the core's name and its arguments. */
export type Command = { readonly c: string; readonly [member: string]: unknown };

/** An op that the core has checked and given an id: the command that sends it. */
export type Draft = Command & { readonly c: "send"; readonly id: string; readonly channel: string };

/** What the names of dialogs' channels begin with. */
export const CHANNEL = "dialog:";

/** The kind of the events that dialogs show as messages. */
export const MESSAGE = "message";

/** The channel of a dialog. */
export const channelOf = (dialog: string): string => CHANNEL + dialog;

/** One change of a dialog's rows. */
export type RowChange = ListChange<WireRow>;

/**
 * A row as the core writes it: members with the most common value are left out. Defaults: `kind`
 * `message`, `own` `false`, `state` `sent`; `offset`, `code` and `retryAt` `null`.
 */
export type WireRow = Pick<Row, "id" | "by" | "text" | "at"> & {
  readonly [K in "kind" | "own" | "state"]?: Row[K];
} & {
  readonly [K in "offset" | "code" | "retryAt"]?: NonNullable<Row[K]>;
};

/** An event of a channel, as the server sent it. */
export interface WireEvent {
  readonly ch: string;
  readonly offset: number;
  readonly id: string;
  readonly kind: string;
  readonly at: number;
  readonly by: User;
  readonly body: Readonly<Record<string, unknown>>;
}

/**
 * A person as the core writes them, with at least one lease. Members with the most common value are
 * left out. Defaults: `body` `{}`, `brief` `false`.
 */
export interface WirePerson {
  readonly user: User;
  readonly leases: readonly {
    readonly kind: string;
    readonly since: number;
    readonly brief?: boolean;
    readonly body?: JsonObject;
  }[];
}

/** How many of the newest events of a channel are kept. */
export const NEWEST = 200;

/** An event that the core emits for the application. */
export type CoreEvent =
  | {
      readonly t: "status";
      readonly state: string;
      readonly attempt: number;
      readonly retry_in_ms?: number;
      readonly cause?: string;
      readonly message?: string;
      readonly waiting: number;
    }
  | { readonly t: "user"; readonly user: User }
  | {
      readonly t: "op";
      readonly id: string;
      readonly channel: string;
      readonly state: "queued" | "sending" | "acked" | "failed" | "discarded";
      readonly offset?: number;
      readonly code?: string;
      readonly message?: string;
    }
  | {
      readonly t: "channel";
      readonly channel: string;
      readonly state: "syncing" | "live" | "waiting" | "reset" | "failed";
      readonly reason?: string;
      readonly missed?: number;
      readonly retry_in_ms?: number;
      readonly code?: string;
      readonly message?: string;
    }
  | {
      readonly t: "signal";
      readonly channel: string;
      readonly kind: string;
      readonly key?: string;
      readonly body: Signal["body"];
      readonly by: User;
    }
  | { readonly t: "received"; readonly event: WireEvent }
  /**
   * Not from the core but from the leader, to a tab that lacks them: the newest events of a
   * channel.
   */
  | { readonly t: "recent"; readonly channel: string; readonly events: readonly WireEvent[] }
  | {
      readonly t: "dialog";
      readonly dialog: string;
      readonly changes: readonly RowChange[];
      readonly run?: string;
      /** Whether there may be rows before the first one. */
      readonly older?: boolean;
      /** Who answers. Default: the model. */
      readonly handler?: Handler;
    }
  /**
   * The events just before an offset that was asked for. `joined`: a dialog's rows begin with them
   * now. `more` without events: the request was dropped.
   */
  | {
      readonly t: "older";
      readonly channel: string;
      readonly before: number;
      readonly events: readonly WireEvent[];
      readonly joined: boolean;
      readonly more: boolean;
    }
  /**
   * Who is in a channel changed. Default: `status` `live`. Without `count` only the status changed.
   */
  | {
      readonly t: "people";
      readonly channel: string;
      readonly changes?: readonly ListChange<WirePerson>[];
      readonly status?: PeopleState["status"];
      readonly code?: string;
      readonly count?: number;
    }
  /**
   * How far a channel was read changed. Default: `status` `live`. `unread` is left out while it is not
   * known, `receipts` if they did not change. Without `position` only the status changed.
   */
  | {
      readonly t: "reads";
      readonly channel: string;
      readonly status?: PeopleState["status"];
      readonly code?: string;
      readonly position?: number;
      readonly unread?: number;
      readonly more?: boolean;
      readonly receipts?: readonly Receipt[];
    }
  | TableEvent
  | { readonly t: "storage"; readonly code?: string }
  | { readonly t: "problem"; readonly code: string; readonly message: string };

/** An event of one view of a table. */
export type TableEvent = { readonly t: "table"; readonly view: number } & TableUpdate;

/** A row of a table as the core writes it. */
export type WireCells = Readonly<Record<string, unknown>>;

/**
 * An update of a view. `status`: its status changed. `rows`: all of its rows, those that are shown
 * and those beyond the limit, with the names of the key columns. `changes`: some rows changed.
 * `seen`: a transaction that the view waited for was applied, or failed with `code`.
 */
export type TableUpdate =
  | {
      readonly what: "status";
      readonly status: "loading" | "live" | "stale" | "failed";
      readonly code?: string;
      readonly message?: string;
      readonly at?: number;
    }
  | {
      readonly what: "rows";
      readonly key: readonly string[];
      readonly rows: readonly WireCells[];
      readonly beyond: readonly WireCells[];
    }
  | {
      readonly what: "changes";
      /** Changes of the list of the rows that are shown. */
      readonly list: readonly ListChange<WireCells>[];
      readonly changes: readonly WireChange[];
      readonly tx?: string;
      readonly at?: number;
    }
  | { readonly what: "seen"; readonly tx: string; readonly code?: string };

/** One row's change. */
export interface WireChange {
  readonly event: "insert" | "update" | "delete";
  /** The row after the change, or the index of the change in `list` that has it. */
  readonly new: WireCells | number | null;
  readonly old: WireCells | null;
  readonly why: "commit" | "moved_in" | "moved_out" | "resync";
}
