import { UNREAD } from "./initial.ts";
import { plainObject } from "./json.ts";
import { People } from "./people.ts";
import type { Positions } from "./positions.ts";
import type { Roster } from "./roster.ts";
import type { Scheduler } from "./store.ts";
import { report, StateStore } from "./store.ts";
import type { Held, Subscription } from "./subscription.ts";
import type { ChannelState, DialogState, Listener, ReadsState, Signal, Store } from "./types.ts";
import { TidewireError } from "./types.ts";
import { callable, text, whole } from "./validate.ts";
import { WatchedPart } from "./watched.ts";

/** Most events that one request for older ones brings. */
const MOST_OLDER = 256;

/** What a channel has beside its content. */
export interface Beside {
  readonly roster: Roster;
  readonly positions: Positions;
}

/** What a handle of a dialog and one of a channel have in common. All methods are bound. */
export abstract class Handle<S extends DialogState | ChannelState> implements Store<S> {
  /** @internal */
  readonly what: "dialog" | "channel";
  /** @internal */
  readonly channel: string;
  /** Who is here, and what they are doing. */
  readonly people: People;
  /** How far the user and others have read. */
  readonly reads: Store<ReadsState>;
  readonly #reads: WatchedPart<ReadsState>;
  readonly #positions: Positions;
  readonly #subscription: Subscription<S>;
  readonly #initial: S;
  readonly #store: StateStore<S>;
  readonly #signals = new Set<(signal: Signal) => void>();
  #closed = false;

  /** @internal */
  constructor(
    what: "dialog" | "channel",
    channel: string,
    subscription: Subscription<S>,
    initial: S,
    scheduler: Scheduler,
    { roster, positions }: Beside,
  ) {
    this.what = what;
    this.channel = channel;
    this.people = new People(this, roster);
    this.#positions = positions;
    this.#reads = new WatchedPart(positions, UNREAD, `${what}.reads`);
    this.reads = this.#reads;
    this.#subscription = subscription;
    this.#initial = initial;
    this.#store = new StateStore(initial, scheduler);
    this.#store.set(subscription.state);
    subscription.hold(this as Held<S>);
  }

  readonly getState = (): S => this.#store.getState();

  readonly getInitialState = (): S => this.#initial;

  readonly subscribe = (listener: Listener<S>): (() => void) =>
    this.#store.subscribe(callable(listener, `${this.what}.subscribe: listener`));

  /**
   * Sends an ephemeral signal to everybody else who has the channel open. It is not stored and may
   * be lost. A signal replaces an earlier one of the same kind and key that was not sent yet.
   * Throws a {@link TidewireError}: `bad_argument`, `bad_body`, `too_large`, `outbox_full`,
   * `closed`.
   */
  readonly signal = (kind: string, body: Signal["body"], key?: string): void => {
    const { what, channel } = this;
    const named = key === undefined ? {} : { key: text(key, `${what}.signal: key`) };
    const command = { c: "signal", channel, kind: text(kind, `${what}.signal: kind`), ...named };
    this.assertOpen();
    this.#subscription.commands.run({ ...command, body: plainObject(body, `${what}.signal: body`) });
  };

  /**
   * Loads about `count` events, by default 50 and at most 256, from before those that are shown; see
   * `hasOlder`. What is shown stays as it is, so an interface can keep its place. Resolves once they
   * are there, or once it is certain that they will not come; while offline it waits. Throws a
   * {@link TidewireError}: `bad_argument`, `closed`.
   */
  readonly loadOlder = (count = 50): Promise<void> => {
    const known = whole(count, `${this.what}.loadOlder: count`, 1, MOST_OLDER);
    this.assertOpen();
    return this.#subscription.loadOlder(known);
  };

  /**
   * Says that this client's user has read up to the event at `offset`; without it, up to the newest
   * one that is here. A position never goes back, and the server keeps it for all devices of the user.
   * Others are told where the channel has receipts. Throws a {@link TidewireError}: `bad_argument`,
   * `bad_offset` if the event is not here, `closed`. If the core is in another tab, an event that is
   * not there is ignored instead.
   */
  readonly markRead = (offset?: number): void => {
    const { newest } = this.#subscription;
    const known = whole(offset === undefined ? newest : offset, `${this.what}.markRead: offset`, 0, Number.MAX_SAFE_INTEGER);
    this.assertOpen();
    this.#positions.mark(known, newest);
  };

  /** Calls `listener` with each signal that others send. Returns a function that ends it. */
  readonly onSignal = (listener: (signal: Signal) => void): (() => void) => {
    callable(listener, `${this.what}.onSignal: listener`);
    const own = (signal: Signal) => listener(signal);
    if (!this.#closed) this.#signals.add(own);
    return () => {
      this.#signals.delete(own);
    };
  };

  /**
   * Closes this handle; closing the last one ends the subscription. The last state can still be
   * read.
   */
  readonly close = (): void => {
    if (this.#closed) return;
    this.#closed = true;
    this.#signals.clear();
    this.people.end();
    this.#reads.end();
    this.#store.set({ ...this.getState(), status: "closed", error: null, retryAt: null });
    this.#subscription.release(this as Held<S>);
  };

  /** As {@link close}: for `using`. */
  [Symbol.dispose](): void {
    this.close();
  }

  /** @internal */
  show(state: S): void {
    this.#store.set(state);
  }

  /** @internal */
  signalled(signal: Signal): void {
    for (const listener of [...this.#signals]) {
      try {
        listener(signal);
      } catch (error) {
        report(error);
      }
    }
  }

  /** @internal */
  get isClosed(): boolean {
    return this.#closed;
  }

  /** @internal Throws `closed` if this handle was closed. */
  assertOpen(): void {
    if (!this.#closed) return;
    throw new TidewireError("closed", `this ${this.what} was closed; client.${this.what}() opens it again`, false);
  }
}
