import type { CoreEvent } from "./core.ts";
import { UNREAD } from "./initial.ts";
import { encode } from "./json.ts";
import { kept } from "./list.ts";
import { seenOf } from "./tabs/views.ts";
import type { ReadsState } from "./types.ts";
import type { WatchHost } from "./watched.ts";
import { Watched } from "./watched.ts";

/** How far one channel was read, for all its handles. */
export class Positions extends Watched<ReadsState> {
  /** The greatest offset of the channel's log that this tab has said. */
  #said = 0;

  /** `ended` is called when the last handle was closed. */
  constructor(channel: string, host: WatchHost, ended: () => void) {
    super(channel, seenOf(channel), UNREAD, host, ended);
  }

  /**
   * Says that the user has read up to an event, of which `newest` is the last one here. Throws what
   * the core refuses.
   */
  mark(offset: number, newest: number): void {
    this.#tell(offset);
    // What the core of another tab will refuse is not said again.
    if (offset <= newest) this.#said = Math.max(this.#said, offset);
  }

  /** Follows what the core says about the channel. */
  follow({ state }: Extract<CoreEvent, { t: "channel" }>): void {
    if (state === "reset") this.#said = 0;
    if (state !== "live" || this.#said === 0) return;
    // The tab that leads now may not know it. A position never goes back, so it may be said twice.
    try {
      this.#tell(this.#said);
    } catch {
      // Of another log, or the core was closed.
    }
  }

  /** Applies what the core says. */
  apply({ status = "live", code, ...now }: Extract<CoreEvent, { t: "reads" }>): void {
    if (!this.isWatched) return;
    const before = this.state;
    const { position = 0, unread, more = false, receipts } = now;
    // A new leader's core knows nothing until the server has answered.
    const earlier = status === "syncing" && position <= before.position;
    const counted = unread === undefined && earlier ? before : { unread: unread ?? null, more };
    const isTold = status === "live" || status === "syncing";
    const told = isTold ? (receipts ?? before.receipts) : [];
    const state: ReadsState = {
      status,
      code: code ?? null,
      position: earlier ? before.position : position,
      unread: counted.unread,
      more: counted.more,
      receipts: earlier && told.length === 0 ? before.receipts : told,
    };
    const known = new Map(before.receipts.map((receipt) => [encode(receipt), receipt]));
    const same = state.receipts.map((receipt) => known.get(encode(receipt)) ?? receipt);
    this.#show({ ...state, receipts: kept(before.receipts, same) });
  }

  override asOfEarlier(): ReadsState {
    return { ...this.state, status: "syncing", code: null };
  }

  /** Forgets everything, because it was another user. */
  clear(): void {
    this.#said = 0;
    this.set(UNREAD);
  }

  #tell(offset: number): void {
    this.host.tabs.run({ c: "mark_read", channel: this.channel, offset });
  }

  #show(state: ReadsState): void {
    const { state: before } = this;
    const isSame = (Object.keys(state) as (keyof ReadsState)[]).every((member) => state[member] === before[member]);
    if (!isSame) this.set(state);
  }
}
