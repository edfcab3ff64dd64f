// The messages between tabs. They travel over a BroadcastChannel as structured clones.
import type { Command, CoreEvent } from "../core.ts";
import type { JsonObject, Report } from "../types.ts";
import type { View } from "./views.ts";

/**
 * The version of the messages. It is part of the names of the channel and the locks, so pages of
 * releases with other messages share nothing.
 */
const VERSION = 8;

/** The name of a scope's channel, and the beginning of the names of its locks. */
export const nameOf = (scope: string | null): string => `tidewire/${VERSION}/${scope}`;

/** A lease that a tab holds in a channel that it has open. */
export interface Lease {
  readonly channel: string;
  readonly kind: string;
  readonly body: JsonObject;
  /** When the tab got this body, ms since the Unix epoch: of two tabs' bodies the newer one counts. */
  readonly at: number;
}

/** What a tab wants, and whether it is visible and online. */
export interface TabState {
  readonly connect: boolean;
  readonly views: readonly View[];
  readonly leases: readonly Lease[];
  readonly shown: boolean;
  readonly online: boolean;
}

/** Why the leader's core refused a command. */
export interface Refusal {
  readonly code: string;
  readonly retryable: boolean;
}

/** A message and the id of the tab that sent it. */
export type Message = { readonly from: string } & MessageBody;

/** The body of a message. `term` is the leader's term: tabs ignore messages of other terms. */
export type MessageBody =
  /** To the leader: are you there? */
  | { readonly t: "ask" }
  /**
   * The answer to `ask`, and a new leader's first message. `full`: its core has live tables too.
   */
  | { readonly t: "lead"; readonly term: number; readonly storeId: string; readonly full: boolean }
  /**
   * To the leader: the state of a tab, commands to carry out, and the views whose content the tab
   * lacks. `lacks` is `null` if the tab needs no snapshot.
   */
  | {
      readonly t: "tab";
      readonly term: number;
      readonly tab: TabState;
      readonly run: readonly Command[];
      readonly lacks: readonly View[] | null;
    }
  /** To one tab: its command was carried out, or refused with `error`. */
  | { readonly t: "ran"; readonly term: number; readonly to: string; readonly key: string; readonly error?: Refusal }
  /** To one tab or to all: events that the core emitted. */
  | {
      readonly t: "events";
      readonly term: number;
      readonly to?: string;
      readonly list: readonly CoreEvent[];
      readonly report?: Report;
    }
  /** To the extension of one tab, or without `to` of the leader: a message of another extension. */
  | { readonly t: "extension"; readonly term: number; readonly to: string | undefined; readonly payload: unknown }
  /** `bye`: the tab takes no part any more. `logout`: the user was logged out. */
  | { readonly t: "bye" | "logout" };
