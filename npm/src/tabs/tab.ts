import type { Command, CoreEvent, Draft } from "../core.ts";
import type { Driver } from "../driver.ts";
import type { Report } from "../types.ts";
import type { Membership } from "./membership.ts";
import type { Lease, Refusal, TabState } from "./messages.ts";
import type { Pending } from "./pending.ts";
import type { View } from "./views.ts";

/** What a role uses of its tab. */
export interface Tab {
  readonly membership: Membership;
  readonly pending: Pending;
  /** What this tab wants. */
  state(): TabState;
  /** Passes an event of the core to this tab's client. */
  apply(event: CoreEvent): void;
  /** A command of this tab was carried out, or refused. */
  ran(key: string, refusal: Refusal | undefined): void;
  /** Another tab has ended. */
  gone(tab: string): void;
}

/** What a tab does for its client, as leader or follower. */
export interface Role {
  /** The shared core, or in a follower an idle one that checks ops and gives them ids. */
  readonly driver: Driver;
  /** Sends an op. Throws what the core refuses, if the core is here. */
  send(draft: Draft): void;
  /**
   * Retries or discards an op. Returns whether the core did it; if the core is in another tab,
   * `likely`.
   */
  decide(command: Command & { readonly op: string }, likely: boolean): boolean;
  /** Carries out an ephemeral command. Throws what the core refuses. */
  run(command: Command): void;
  /** Opens a view; events with its content follow. Throws what the core refuses. */
  open(view: View): void;
  /** Closes a view in this tab. */
  close(view: View): void;
  /** Has the core take a lease that is about to be in the tab's state. Throws what it refuses. */
  takeLease(lease: Lease): void;
  /** Connects, at once. */
  connect(): void;
  /** What this tab wants has changed. */
  changed(): void;
  /** This tab went online or offline. */
  listen(online: boolean): void;
  explain(): Report;
  /** The tab takes no part any more. */
  leave(): void;
}
