import { monotonic } from "../driver.ts";
import type { Election, Input, Output } from "./election.ts";
import { OUT, step } from "./election.ts";
import type { Message, Said } from "./messages.ts";
import { nameOf } from "./messages.ts";

/** What the election leaves to the tab. */
export interface MembershipHost {
  /** Whether ops of this tab wait for a leader. */
  pending(): boolean;
  hear(message: Message): void;
  /** See {@link Output}. */
  take(): void;
  follow(): void;
  doubt(): void;
  stepDown(): void;
  part(): void;
  park(): void;
  /** This tab can't take part. */
  failed(error: unknown): void;
}

/**
 * A tab's part in the election: carries out what `election.ts` decides, with two Web Locks, a
 * BroadcastChannel and one timer.
 *
 * Every tab holds a lock of its own, so that the leader hears of its end however it ends, and
 * requests the leader's lock, so that the browser names the next leader.
 */
export class Membership {
  readonly #scope: string | null;
  readonly #host: MembershipHost;
  #election = OUT;
  /** This tab's name among the others. */
  id = "";
  #channel: BroadcastChannel | undefined;
  /** Ends what this membership requested of the browser. */
  #leaving = new AbortController();
  #requests = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** When the timer fires; `null` if none runs. */
  #armed: number | null = null;
  readonly #outputs: { readonly [O in Output]: () => void };

  constructor(scope: string | null, host: MembershipHost) {
    this.#scope = scope;
    this.#host = host;
    const { take, follow, doubt, stepDown, park } = host;
    this.#outputs = {
      take,
      follow,
      doubt,
      stepDown,
      park,
      enter: () => this.#enter().catch(host.failed),
      queue: () => this.#request({ signal: this.#leaving.signal }),
      steal: () => this.#request({ steal: true }),
      ask: () => this.post({ t: "ask" }),
      part: () => {
        this.post({ t: "bye" });
        this.#channel?.close();
        this.#channel = undefined;
        host.part();
      },
      release: () => this.#leaving.abort(),
    };
  }

  /** The election as this tab sees it. */
  get election(): Election {
    return this.#election;
  }

  /** Something happened: takes the step and carries out all that follows. */
  feed(input: Input): void {
    const at = { now: monotonic(), pending: this.#host.pending(), luck: Math.random() };
    const [next, outputs] = step(this.#election, input, at);
    this.#election = next;
    this.#arm(next.timer, at.now);
    for (const output of outputs) this.#outputs[output]();
  }

  /** Says something to all other tabs. */
  post(said: Said): void {
    this.#channel?.postMessage({ from: this.id, ...said });
  }

  /** Calls `gone` when a tab has ended, however it ended; aborting the returned signal ends that. */
  watch(tab: string, gone: () => void): AbortController {
    const watching = new AbortController();
    this.#lock(tab, { signal: watching.signal }, gone).catch(() => {});
    return watching;
  }

  #lock(name: string, options: LockOptions, granted: () => unknown): Promise<unknown> {
    return navigator.locks.request(nameOf(String(this.#scope), name), options, granted);
  }

  async #enter(): Promise<void> {
    this.id = crypto.randomUUID();
    this.#leaving = new AbortController();
    const { signal } = this.#leaving;
    // Held before the first message, and for as long as this tab takes part.
    await new Promise<void>((held, refused) => {
      const granted = () => {
        held();
        return aborted(signal);
      };
      this.#lock(this.id, {}, granted).catch(refused);
    });
    if (signal.aborted) return;
    this.#channel = new BroadcastChannel(nameOf(String(this.#scope)));
    this.#channel.onmessage = ({ data }: MessageEvent<Message>) => this.#host.hear(data);
    this.feed({ i: "entered" });
  }

  #request(options: LockOptions): void {
    this.#requests += 1;
    const turn = this.#requests;
    const { signal } = this.#leaving;
    const granted = () => {
      if (signal.aborted) return;
      this.feed({ i: "granted", turn, steal: options.steal === true });
      return aborted(signal);
    };
    // It fails when the lock is stolen, or when this tab leaves the queue.
    this.#lock("leader", options, granted).catch(() => this.feed({ i: "stolen", turn }));
  }

  #arm(timer: number | null, now: number): void {
    if (timer === this.#armed) return;
    clearTimeout(this.#timer);
    this.#armed = timer;
    if (timer === null) return;
    this.#timer = setTimeout(() => {
      this.#armed = null;
      this.feed({ i: "timer" });
    }, timer - now);
  }
}

/** Resolves once a signal is aborted. */
function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve());
  });
}

/** Whether the browser has what tabs need, and lets this page use it. */
export async function canShare(): Promise<boolean> {
  try {
    new BroadcastChannel("tidewire").close();
    await navigator.locks.query();
    return true;
  } catch {
    return false;
  }
}
