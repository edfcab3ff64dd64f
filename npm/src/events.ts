import type { CoreEvent, WireEvent } from "./core.ts";
import { NEWEST } from "./core.ts";
import { NO_EVENTS } from "./initial.ts";
import { report } from "./store.ts";
import type { Commands, Held, Older } from "./subscription.ts";
import { Subscription } from "./subscription.ts";
import type { ChannelEvent, ChannelState, Outgoing } from "./types.ts";

/** A listener of the application's. */
interface Listening {
  /** The handle that it was given to. */
  readonly handle: Held<ChannelState>;
  /** The kind that it hears of, or `*`. */
  readonly kind: string;
  readonly listener: (event: ChannelEvent) => void;
  /** How many events had come before it. */
  readonly since: number;
}

/** The events of one channel, with all its handles and the listeners. */
export class Events extends Subscription<ChannelState> {
  readonly #listening = new Set<Listening>();
  /** Events that the listeners have not heard of yet. */
  #unheard: ChannelEvent[] = [];
  /** How many events have come. */
  #count = 0;
  /** The offset of the last event since the last reset. */
  #last = 0;
  /** How many of the newest events are kept. */
  #kept = NEWEST;
  /** No event before this offset can be loaded. */
  #oldest = 1;

  /** `ended` is called when the last handle was closed. */
  constructor(channel: string, commands: Commands, ended: () => void) {
    super(channel, NO_EVENTS, commands, ended);
  }

  override get newest(): number {
    return this.#last;
  }

  publish(kind: string, body: object, id: string | undefined): Outgoing {
    const { channel } = this;
    const drafted = this.commands.draft({ c: "draft_op", channel, kind, body });
    return this.commands.send(id === undefined ? drafted : { ...drafted, id });
  }

  /** Adds a listener for the events that come from now on. Returns a function that ends it. */
  listen(handle: Held<ChannelState>, kind: string, listener: Listening["listener"]): () => void {
    const listening = { handle, kind, listener, since: this.#count };
    this.#listening.add(listening);
    return () => {
      this.#listening.delete(listening);
    };
  }

  override release(handle: Held<ChannelState>): void {
    for (const listening of this.#listening) if (listening.handle === handle) this.#listening.delete(listening);
    super.release(handle);
  }

  /** Adds events. Those that came before are dropped: each leading tab may send some again. */
  add(list: readonly WireEvent[]): void {
    const fresh = list.filter(({ offset }) => offset > this.#last).map(toEvent);
    const newest = fresh.at(-1);
    if (newest === undefined) return;
    this.#last = newest.offset;
    this.#count += fresh.length;
    // Listeners must not run while the core is being drained.
    if (this.#unheard.length === 0) queueMicrotask(() => this.#tell());
    this.#unheard.push(...fresh);
    this.#show([...this.state.events, ...fresh].slice(-this.#kept));
  }

  /**
   * Adds the newest events of the leading tab. If they don't follow those that are known, this tab
   * missed a reset or too many events.
   */
  recent(list: readonly WireEvent[]): void {
    const known = new Map(this.state.events.map(({ offset, id }) => [offset, id]));
    const skipped = known.size === 0 ? 0 : Math.max((list[0]?.offset ?? 0) - this.#last - 1, 0);
    if (skipped > 0 || list.some(({ offset, id }) => (known.get(offset) ?? id) !== id)) {
      this.follow({ t: "channel", channel: this.channel, state: "reset", reason: "gap", missed: skipped });
    }
    this.add(list);
  }

  override follow(event: Extract<CoreEvent, { t: "channel" }>): void {
    if (event.state === "reset") this.#begin();
    // After a refusal the events may not be shown any more, but they still have been heard of.
    if (event.state === "reset" || event.state === "failed") this.#show([]);
    super.follow(event);
  }

  override clear(): void {
    super.clear();
    this.#unheard = [];
    this.#begin();
    this.set(NO_EVENTS);
  }

  protected override before(): number | undefined {
    return this.state.events[0]?.offset;
  }

  protected override joins({ before, events, more }: Older): boolean {
    const first = this.before();
    if (events.length === 0 && more) return true;
    if (before !== first) return false;
    this.#kept += events.length;
    if (!more) this.#oldest = events[0]?.offset ?? first;
    this.#show([...events.map(toEvent), ...this.state.events]);
    return true;
  }

  /** The log is another one. */
  #begin(): void {
    this.#last = 0;
    this.#kept = NEWEST;
    this.#oldest = 1;
  }

  #show(events: readonly ChannelEvent[]): void {
    this.set({ ...this.state, events, hasOlder: (events[0]?.offset ?? 0) > this.#oldest });
  }

  #tell(): void {
    const events = this.#unheard;
    this.#unheard = [];
    let number = this.#count - events.length;
    for (const event of events) {
      number += 1;
      // A listener that ends meanwhile is skipped; one that begins meanwhile has a later `since`.
      for (const { kind, listener, since } of this.#listening) {
        if (since >= number || (kind !== "*" && kind !== event.kind)) continue;
        try {
          listener(event);
        } catch (error) {
          report(error);
        }
      }
    }
  }
}

const toEvent = ({ kind, body, id, offset, at, by }: WireEvent): ChannelEvent => ({ kind, body, id, offset, at, by });
