import type { Command, CoreEvent, Draft } from "./core.ts";
import { withResolvers } from "./resolvers.ts";
import type { ChannelState, DialogState, Outgoing, Signal } from "./types.ts";

/** Runs commands in the core, in whichever tab it is. */
export interface Commands {
  /** Checks an op and gives it its id. Throws what the core refuses. */
  draft(command: Command): Draft;
  send(draft: Draft): Outgoing;
  /**
   * Retries or discards an op. Returns whether the core did it; if the core is in another tab,
   * `likely`.
   */
  decide(command: Command & { readonly op: string }, likely: boolean): boolean;
  run(command: Command): void;
}

/** What a subscription needs of one of its handles. */
export interface Held<S> {
  show(state: S): void;
  signalled(signal: Signal): void;
}

/** The core's answer to a request for older content. */
export type Older = Extract<CoreEvent, { t: "older" }>;

/** One subscription of a client, with all its handles and the state that they show. */
export abstract class Subscription<S extends DialogState | ChannelState> {
  readonly commands: Commands;
  /** The channel's name. */
  readonly channel: string;
  readonly #ended: () => void;
  readonly #handles = new Set<Held<S>>();
  /** The request for older content that is not answered yet. */
  #loading: { readonly count: number; readonly promise: Promise<void>; resolve(): void } | undefined;
  #state: S;

  /** `ended` is called when the last handle was closed. */
  constructor(channel: string, state: S, commands: Commands, ended: () => void) {
    this.channel = channel;
    this.#state = state;
    this.commands = commands;
    this.#ended = ended;
  }

  get state(): S {
    return this.#state;
  }

  set(state: S): void {
    this.#state = state;
    for (const handle of this.#handles) handle.show(state);
  }

  /** The offset of the newest event that is here; 0 if there is none. */
  abstract get newest(): number;

  /** Adds a handle. */
  hold(handle: Held<S>): void {
    this.#handles.add(handle);
  }

  /** Removes a handle that was closed. */
  release(handle: Held<S>): void {
    if (!this.#handles.delete(handle) || this.#handles.size > 0) return;
    this.#loaded();
    this.#ended();
  }

  /**
   * Requests content from before what is shown. Resolves once it is there, or once it is certain
   * that it will not come.
   */
  loadOlder(count: number): Promise<void> {
    if (!this.#state.hasOlder) return Promise.resolve();
    if (this.#loading === undefined) {
      const { promise, resolve } = withResolvers<void>();
      this.#loading = { count, promise, resolve: () => resolve() };
      this.#request();
    }
    return this.#loading?.promise ?? Promise.resolve();
  }

  /** Takes older content, if this subscription waits for it. */
  older(event: Older): void {
    if (this.#loading !== undefined && this.joins(event)) this.#loaded();
  }

  /** The offset before which content is requested; `undefined` if the core knows it. */
  protected abstract before(): number | undefined;

  /** Adds older content; false if it is the answer to another request. */
  protected abstract joins(event: Older): boolean;

  /** Forgets everything, because the user was logged out. */
  clear(): void {
    this.#loaded();
  }

  #request(): void {
    const { channel } = this;
    const before = this.before();
    const most = this.#loading?.count;
    try {
      this.commands.run({ c: "load_older", channel, most, ...(before !== undefined && { before }) });
    } catch (error) {
      this.#loaded();
      throw error;
    }
  }

  #loaded(): void {
    this.#loading?.resolve();
    this.#loading = undefined;
  }

  /** Shows what the core says about the channel. */
  follow({ state: now, code = "internal", message = code, ...event }: Extract<CoreEvent, { t: "channel" }>): void {
    const { reason, missed = 0, retry_in_ms: pause } = event;
    const refused = now === "failed" || now === "waiting";
    const before = this.#state;
    // What another user saw is not a gap in this user's.
    const reset = reason === "user" ? null : (reason ?? "trimmed");
    this.set({
      ...before,
      status: now === "reset" ? "syncing" : now,
      error: refused ? { code, message } : null,
      retryAt: refused && pause !== undefined ? Date.now() + pause : null,
      missed: before.missed + missed,
      gap: now === "reset" ? reset : before.gap,
    });
    if (now === "failed") this.#loaded();
    // The request may have been lost with another tab, or with a connection.
    if (now === "live" && this.#loading !== undefined) this.#request();
  }

  async signalled({ kind, key, body, by }: Extract<CoreEvent, { t: "signal" }>): Promise<void> {
    // Listeners must not run while the core is being drained.
    await Promise.resolve();
    for (const handle of [...this.#handles]) handle.signalled({ kind, key: key ?? null, body, by });
  }
}
