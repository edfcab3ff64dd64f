// What tabs say to each other, over a BroadcastChannel as structured clones.
import type { Command, CoreEvent } from "../core.ts";
import type { Report } from "../types.ts";

/**
 * The version of the messages. It is part of the names of the channel and the locks, so pages of
 * two releases share nothing.
 */
const VERSION = 4;

/** The name of a scope's channel; the names of its locks begin with it. */
export const nameOf = (scope: string | null): string => `tidewire/${VERSION}/${scope}`;

/** What a tab wants, and whether it is seen and has a network. */
export interface TabState {
  readonly connect: boolean;
  readonly dialogs: readonly string[];
  readonly shown: boolean;
  readonly online: boolean;
}

/** Why the leader's core refused a command. */
export interface Refusal {
  readonly code: string;
  readonly retryable: boolean;
}

/** A message, and the tab that it is from. */
export type Message = { readonly from: string } & MessageBody;

/** What a message says. `term` is the leader's: tabs ignore messages of any other term. */
export type MessageBody =
  /** To the leader: are you there? */
  | { readonly t: "ask" }
  /** The answer, and a new leader's first word. `full`: its core has live tables too. */
  | { readonly t: "lead"; readonly term: number; readonly storeId: string; readonly full: boolean }
  /**
   * To the leader: all that it must know of a tab, commands to carry out, and the dialogs whose
   * rows the tab lacks; `null`: it lacks nothing.
   */
  | {
      readonly t: "tab";
      readonly term: number;
      readonly tab: TabState;
      readonly run: readonly Command[];
      readonly lacks: readonly string[] | null;
    }
  /** To one tab: its command was carried out, or refused. */
  | { readonly t: "ran"; readonly term: number; readonly to: string; readonly key: string; readonly error?: Refusal }
  /** To one tab or to all: what the core emitted. */
  | {
      readonly t: "events";
      readonly term: number;
      readonly to?: string;
      readonly list: readonly CoreEvent[];
      readonly report?: Report;
    }
  /** To the extension of one tab, or without `to` of the leader: a message of another extension. */
  | { readonly t: "extension"; readonly term: number; readonly to: string | undefined; readonly payload: unknown }
  /** The tab takes no part any more; the user was logged out. */
  | { readonly t: "bye" | "logout" };
