import type { Command, CoreEvent, Draft } from "./core.ts";
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

/** One subscription of a client, with all its handles and the state that they show. */
export class Subscription<S extends DialogState | ChannelState> {
  readonly commands: Commands;
  readonly #ended: () => void;
  readonly #handles = new Set<Held<S>>();
  #state: S;

  /** `ended` is called when the last handle was closed. */
  constructor(state: S, commands: Commands, ended: () => void) {
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

  /** Adds a handle. */
  hold(handle: Held<S>): void {
    this.#handles.add(handle);
  }

  /** Removes a handle that was closed. */
  release(handle: Held<S>): void {
    if (this.#handles.delete(handle) && this.#handles.size === 0) this.#ended();
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
  }

  async signalled({ kind, key, body, by }: Extract<CoreEvent, { t: "signal" }>): Promise<void> {
    // Listeners must not run while the core is being drained.
    await Promise.resolve();
    for (const handle of [...this.#handles]) handle.signalled({ kind, key: key ?? null, body, by });
  }
}
