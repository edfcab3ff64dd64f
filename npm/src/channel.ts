import type { Events } from "./events.ts";
import type { Beside } from "./handle.ts";
import { Handle } from "./handle.ts";
import { NO_EVENTS } from "./initial.ts";
import { plainObject } from "./json.ts";
import type { Scheduler } from "./store.ts";
import type { Held, Subscription } from "./subscription.ts";
import type { AnyEvent, Bodies, ChannelEvent, ChannelState, Kinds, Outgoing, SendOptions } from "./types.ts";
import { callable, settings, text } from "./validate.ts";

/**
 * A handle of one channel: its newest events, and the methods that publish and listen. The
 * subscription stays open until the last handle is closed. All methods are bound.
 *
 * `E` maps the kinds of events to the types of their bodies. It is a promise of the application's:
 * bodies are not checked, and events of kinds that it does not name come too.
 */
export class Channel<E extends Bodies<E> = Kinds> extends Handle<ChannelState<E>> {
  /** The channel's name. */
  readonly name: string;
  readonly #events: Events;

  /** @internal */
  constructor(events: Events, scheduler: Scheduler, beside: Beside) {
    const typed = events as unknown as Subscription<ChannelState<E>>;
    super("channel", events.channel, typed, NO_EVENTS as ChannelState<E>, scheduler, beside);
    this.name = events.channel;
    this.#events = events;
  }

  /**
   * Publishes an event, now or once the client is online. As a message, it survives reloads and is
   * committed once. If the server refuses it, `acked` is rejected and the event is discarded; in a
   * dialog, a refused `message` has a row that can be retried. Throws a {@link TidewireError}:
   * `bad_argument`, `bad_body`, `too_large`, `outbox_full`, `bad_op_id`, `closed`. If the core is
   * in another tab and the outbox is full, `acked` is rejected instead.
   */
  readonly publish = <K extends keyof E & string>(kind: K, body: E[K], options: SendOptions = {}): Outgoing => {
    const { id } = settings<SendOptions>(options, "channel.publish: options", { id: text });
    this.assertOpen();
    return this.#events.publish(text(kind, "channel.publish: kind"), plainObject(body, "channel.publish: body"), id);
  };

  /**
   * Calls `listener` with each event of this kind that joins the state's `events` from now on, once
   * and in order, whichever tab leads; with `*`, with each of any kind. What the channel begins with
   * may be in the state already or join later, so `getState().events` right before this call and
   * what the listener gets are each event once. Returns a function that ends it.
   */
  readonly on = <K extends (keyof E & string) | "*">(
    kind: K,
    listener: (event: K extends keyof E & string ? ChannelEvent<K, Readonly<E[K]>> : AnyEvent<E>) => void,
  ): (() => void) => {
    const known = text(kind, "channel.on: kind");
    callable(listener, "channel.on: listener");
    if (this.isClosed) return () => {};
    return this.#events.listen(this as Held<never>, known, listener as (event: ChannelEvent) => void);
  };
}
