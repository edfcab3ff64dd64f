import type { Scheduler } from "./store.ts";
import { StateStore } from "./store.ts";
import type { Tabs } from "./tabs/tabs.ts";
import type { View } from "./tabs/views.ts";
import type { Listener, Store, User } from "./types.ts";
import { callable } from "./validate.ts";

/** What a watched part of a channel uses of its client. */
export interface WatchHost {
  readonly tabs: Pick<Tabs, "run" | "open" | "close" | "takeLease" | "leasesChanged">;
  readonly scheduler: Scheduler;
  user(): User | null;
}

/** What the server tells about a channel while anybody listens, for all handles of the channel. */
export abstract class Watched<S> {
  readonly channel: string;
  protected readonly host: WatchHost;
  readonly #view: View;
  readonly #ended: () => void;
  readonly #store: StateStore<S>;
  readonly #handles = new Set<object>();
  #listeners = 0;

  /** `ended` is called when the last handle was closed. */
  constructor(channel: string, view: View, initial: S, host: WatchHost, ended: () => void) {
    this.channel = channel;
    this.host = host;
    this.#view = view;
    this.#ended = ended;
    this.#store = new StateStore(initial, host.scheduler);
  }

  get state(): S {
    return this.#store.getState();
  }

  /** The view, if anybody listens. */
  get views(): View[] {
    return this.isWatched ? [this.#view] : [];
  }

  /** Whether anybody listens. */
  get isWatched(): boolean {
    return this.#listeners > 0;
  }

  /** Adds a handle. */
  add(handle: object): void {
    this.#handles.add(handle);
  }

  /** Removes a handle that was closed. */
  remove(handle: object): void {
    if (this.#handles.delete(handle) && this.#handles.size === 0) this.#ended();
  }

  /** Adds a listener; the first one begins to watch. Returns a function that ends it, once. */
  listen(listener: Listener<S>): () => void {
    const end = this.#store.subscribe(listener);
    this.#listeners += 1;
    if (this.#listeners === 1) this.#watch();
    let ended = false;
    return () => {
      if (ended) return;
      ended = true;
      end();
      this.#listeners -= 1;
      if (this.#listeners === 0) this.#unwatch();
    };
  }

  /** The state once nobody tells of changes any more. */
  abstract asOfEarlier(): S;

  /** Nobody listens any more. */
  protected unwatched(): void {
    this.set(this.asOfEarlier());
  }

  protected set(state: S): void {
    this.#store.set(state);
  }

  #watch(): void {
    try {
      this.host.tabs.open(this.#view);
    } catch {
      // The channel itself could not be opened, which its handles show. Once it is, so is this.
    }
  }

  #unwatch(): void {
    this.unwatched();
    this.host.tabs.close(this.#view);
  }
}

/** The handle that has a part. */
export interface Owner {
  readonly what: string;
  /** Throws `closed` if the handle was closed. */
  assertOpen(): void;
}

/** One handle's part in what is watched of a channel. All methods are bound. */
export class WatchedPart<S> implements Store<S> {
  readonly #watched: Watched<S>;
  readonly #initial: S;
  /** What it is called in errors. */
  readonly #name: string;
  /** Each ends a listener. */
  readonly #ends = new Set<() => void>();
  /** The last state, once the handle was closed. */
  #last: S | undefined;

  /** @internal */
  constructor(watched: Watched<S>, initial: S, name: string) {
    this.#watched = watched;
    this.#initial = initial;
    this.#name = name;
    watched.add(this);
  }

  readonly getState = (): S => this.#last ?? this.#watched.state;

  readonly getInitialState = (): S => this.#initial;

  /**
   * Calls `listener` after changes, at most once per animation frame. The first listener begins to
   * follow them, the last one ends it. Returns a function that ends it.
   */
  readonly subscribe = (listener: Listener<S>): (() => void) => {
    callable(listener, `${this.#name}.subscribe: listener`);
    if (this.isEnded) return () => {};
    const stop = this.#watched.listen(listener);
    const end = (): void => {
      this.#ends.delete(end);
      stop();
    };
    this.#ends.add(end);
    return end;
  };

  /** @internal Whether the handle was closed. */
  get isEnded(): boolean {
    return this.#last !== undefined;
  }

  /** @internal The handle was closed. */
  end(): void {
    for (const end of [...this.#ends]) end();
    this.#last = this.#watched.asOfEarlier();
    this.#watched.remove(this);
  }
}
