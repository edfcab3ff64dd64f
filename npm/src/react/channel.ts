import type { Channel } from "../channel.ts";
import type { AnyEvent, Bodies, ChannelState, Kinds, Signal } from "../types.ts";
import { internal, useEffect, useRef } from "./imports.ts";
import type { Nothing, Open, Part, Ready } from "./place.ts";
import { all, itself, useMethods, usePlace, useSelected } from "./place.ts";

const open: Open<Channel> = (client, name) => client.channel(name);

const EVENTS: Part<Channel, ChannelState> = { initial: internal.NO_EVENTS };

/** What a component hears of a channel. They may be new functions with each render. */
export interface ChannelListeners<E extends Bodies<E> = Kinds> {
  /** Called with each event that joins `events` while the component is mounted, once and in order. */
  onEvent?(event: AnyEvent<E>): void;
  /** Called with each signal that others send. */
  onSignal?(signal: Signal): void;
}

/** What components do in a channel: as the methods of `Channel`. All throw `closed` until `ready`. */
export type ChannelActions<E extends Bodies<E> = Kinds> = Pick<Channel<E>, "publish" | "signal" | "loadOlder" | "markRead">;

/** A channel: its events and its state, and what can be done in it. */
export function useChannel<E extends Bodies<E> = Kinds>(
  name: string | Nothing,
  listeners: ChannelListeners<E> = {},
): ChannelState<E> & Ready & ChannelActions<E> {
  const place = usePlace(open, name);
  const state = useSelected(place, EVENTS, all);
  const newest = useRef(listeners as ChannelListeners);
  useEffect(() => {
    newest.current = listeners as ChannelListeners;
  });
  useEffect(() => {
    const leave = place.use();
    const { handle } = place;
    const endEvents = handle?.on("*", (event) => newest.current.onEvent?.(event));
    const endSignals = handle?.onSignal((signal) => newest.current.onSignal?.(signal));
    return () => {
      endEvents?.();
      endSignals?.();
      leave();
    };
  }, [place]);
  return {
    ...state,
    ...useMethods(place, itself as (channel: Channel) => Channel, "publish", "signal", "loadOlder", "markRead"),
  } as unknown as ChannelState<E> & Ready & ChannelActions<E>;
}
