import type { Listener, Store } from "./types.ts";

/** Longest delay of a notification while the page is hidden and gets no frames, ms. */
const HIDDEN_DELAY = 50;

/**
 * Runs callbacks at most once per animation frame, or after a short delay when there are no frames.
 */
export class Scheduler {
  #pending = new Set<() => void>();
  #frame: number | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** Calls `flush` with the next frame, once however often it was scheduled. */
  schedule(flush: () => void): void {
    this.#pending.add(flush);
    if (this.#timer !== undefined) return;
    const frames = typeof requestAnimationFrame === "function";
    if (frames) this.#frame = requestAnimationFrame(() => this.#run());
    // A hidden page gets no frames, and may become hidden after asking for one.
    this.#timer = setTimeout(() => this.#run(), frames ? HIDDEN_DELAY : 0);
  }

  #run(): void {
    clearTimeout(this.#timer);
    if (this.#frame !== undefined) cancelAnimationFrame(this.#frame);
    this.#timer = undefined;
    this.#frame = undefined;
    const flushes = this.#pending;
    this.#pending = new Set();
    for (const flush of flushes) flush();
  }
}

/** A store whose state changes at once and whose listeners are called at most once per frame. */
export class StateStore<S> implements Store<S> {
  readonly #initial: S;
  readonly #scheduler: Scheduler;
  readonly #listeners = new Map<symbol, { listener: Listener<S>; seen: S }>();
  #state: S;

  constructor(initial: S, scheduler: Scheduler) {
    this.#initial = initial;
    this.#state = initial;
    this.#scheduler = scheduler;
  }

  readonly getState = (): S => this.#state;

  readonly getInitialState = (): S => this.#initial;

  readonly subscribe = (listener: Listener<S>): (() => void) => {
    // A key of its own, so that the same function may subscribe twice.
    const key = Symbol();
    this.#listeners.set(key, { listener, seen: this.#state });
    return () => {
      this.#listeners.delete(key);
    };
  };

  /** Replaces the state. */
  set(state: S): void {
    if (Object.is(state, this.#state)) return;
    this.#state = state;
    this.#scheduler.schedule(this.#flush);
  }

  readonly #flush = (): void => {
    for (const [key, entry] of [...this.#listeners]) {
      const state = this.#state;
      if (!this.#listeners.has(key) || Object.is(entry.seen, state)) continue;
      const previous = entry.seen;
      entry.seen = state;
      try {
        entry.listener(state, previous);
      } catch (error) {
        report(error);
      }
    }
  };
}

/**
 * Reports an error of the application's code as an uncaught error, without interrupting the caller.
 */
export function report(error: unknown): void {
  if (typeof reportError === "function") reportError(error);
  else console.error(error);
}
