import type { Command, CoreEvent, Draft } from "../core.ts";
import type { Driver } from "../driver.ts";
import type { Report } from "../types.ts";
import type { Membership } from "./membership.ts";
import type { Refusal, TabState } from "./messages.ts";
import type { Pending } from "./pending.ts";

/** What both roles use of their tab. */
export interface Tab {
  readonly membership: Membership;
  readonly pending: Pending;
  /** What this tab wants. */
  state(): TabState;
  /** Hands an event of the core's to this tab's client. */
  apply(event: CoreEvent): void;
  /** A command of this tab's was carried out, or refused. */
  ran(key: string, refusal: Refusal | undefined): void;
  /** Another tab has ended. */
  gone(tab: string): void;
}

/** What a tab does for its client, as the leader or as a follower. */
export interface Role {
  /** The shared core, or an idle one that checks and names ops. */
  readonly driver: Driver;
  /** Sends an op. Throws what the core refuses, if the core is here. */
  send(draft: Draft): void;
  /** Retries or discards an op. `likely` is the answer where the core is in another tab. */
  decide(command: Command & { readonly op: string }, likely: boolean): boolean;
  /** Carries out an ephemeral command. Throws what the core refuses. */
  run(command: Command): void;
  /** Opens a dialog; its rows follow. Throws what the core refuses. */
  open(dialog: string): void;
  /** This tab wants a dialog no longer. */
  close(dialog: string): void;
  /** This tab wants to be connected, now. */
  connect(): void;
  /** This tab wants something else than before. */
  changed(): void;
  /** What this tab says of the network has changed. */
  listen(online: boolean): void;
  explain(): Report;
  /** The tab takes no part any more. */
  leave(): void;
}
