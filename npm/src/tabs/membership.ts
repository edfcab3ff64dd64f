import { monotonic } from "../driver.ts";
import type { Election, Input, Output } from "./election.ts";
import { OUT, step } from "./election.ts";
import type { Message, MessageBody } from "./messages.ts";
import { nameOf } from "./messages.ts";

/**
 * What the tab does for the election: one method for each output that needs more than the browser.
 */
export interface MembershipHost extends Readonly<Record<Exclude<Output, Browser>, () => void>> {
  /** Whether ops of this tab wait for a leader. */
  pending(): boolean;
  hear(message: Message): void;
  /** Gives up the core; see {@link Output} for the other methods. */
  leave(): void;
  /** This tab can't take part. */
  failed(error: unknown): void;
}

/** Outputs that need the browser only. */
type Browser = "enter" | "queue" | "steal" | "ask";

/**
 * Carries out what `election.ts` decides, with two Web Locks, a BroadcastChannel and one timer.
 *
 * Every tab holds a lock of its own: when the tab ends, however it ends, the leader is granted that
 * lock. Every tab also queues for the leader's lock, so the browser chooses the next leader.
 */
export class Membership {
  readonly #name: string;
  readonly #host: MembershipHost;
  readonly #outputs: { readonly [O in Output]: () => void };
  #election = OUT;
  /** This tab's id. It is new each time the tab enters. */
  id = "";
  #channel: BroadcastChannel | undefined;
  /** Aborts all requests for locks; held locks are released when `#left` resolves. */
  #leaving = new AbortController();
  #left: Promise<unknown> | undefined;
  #requests = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** When the timer fires; `null` if none runs. */
  #armed: number | null = null;

  constructor(scope: string | null, host: MembershipHost) {
    this.#name = nameOf(scope);
    this.#host = host;
    this.#outputs = {
      ...host,
      enter: () => this.#enter(),
      queue: () => this.#request({ signal: this.#leaving.signal }),
      steal: () => this.#request({ steal: true }),
      ask: () => this.post({ t: "ask" }),
      leave: () => {
        this.post({ t: "bye" });
        this.#channel?.close();
        this.#channel = undefined;
        host.leave();
        // The locks are released last, so that the next leader finds what this one wrote.
        this.#leaving.abort();
      },
    };
  }

  /** The election as this tab sees it. */
  get election(): Election {
    return this.#election;
  }

  /** Feeds an input to the election and carries out its outputs. */
  feed(input: Input): void {
    const at = { now: monotonic(), pending: this.#host.pending(), random: Math.random() };
    const [next, outputs] = step(this.#election, input, at);
    this.#election = next;
    this.#arm(next.timer, at.now);
    for (const output of outputs) this.#outputs[output]();
  }

  /** Sends a message to all other tabs. */
  post(body: MessageBody): void {
    this.#channel?.postMessage({ from: this.id, ...body });
  }

  /**
   * Calls `gone` when a tab has ended, however it ended. Abort the returned controller to stop
   * watching.
   */
  watch(tab: string, gone: () => void): AbortController {
    const watching = new AbortController();
    this.#lock(tab, { signal: watching.signal }, gone).catch(() => {});
    return watching;
  }

  #lock(name: string, options: LockOptions, granted: () => unknown): Promise<unknown> {
    return navigator.locks.request(`${this.#name}/${name}`, options, granted);
  }

  #enter(): void {
    this.id = crypto.randomUUID();
    this.#leaving = new AbortController();
    const { signal } = this.#leaving;
    const left = new Promise((resolve) => signal.addEventListener("abort", resolve));
    this.#left = left;
    // The lock is held before the first message is sent, and as long as this tab takes part.
    const granted = () => {
      if (signal.aborted) return;
      this.#channel = new BroadcastChannel(this.#name);
      this.#channel.onmessage = ({ data }: MessageEvent<Message>) => this.#host.hear(data);
      this.feed({ i: "entered" });
      return left;
    };
    this.#lock(this.id, {}, granted).catch(this.#host.failed);
  }

  #request(options: LockOptions): void {
    this.#requests += 1;
    const request = this.#requests;
    const { signal } = this.#leaving;
    const left = this.#left;
    const granted = () => {
      if (signal.aborted) return;
      this.feed({ i: "granted", request, steal: options.steal === true });
      return left;
    };
    // The request rejects when the lock is stolen, or when this tab leaves the queue.
    this.#lock("leader", options, granted).catch(() => this.feed({ i: "stolen", request }));
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

/** Whether the browser lets this page use Web Locks and BroadcastChannel. */
export async function canShare(): Promise<boolean> {
  try {
    new BroadcastChannel("tidewire").close();
    await navigator.locks.query();
    return true;
  } catch {
    return false;
  }
}
