import type { CoreEvent } from "../core.ts";
import type { Membership } from "./membership.ts";
import type { Refusal, TabState } from "./messages.ts";
import type { Pending } from "./pending.ts";

/** What a leader and a follower both use of their tab. */
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
