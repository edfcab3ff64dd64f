import type { Command, CoreEvent } from "./core.ts";
import { makeRequest } from "./http.ts";
import { encode, reasonOf } from "./json.ts";
import type { Hint } from "./lifecycle.ts";
import type { Link, PlainRequest } from "./link.ts";
import { openSocket } from "./socket.ts";
import type { Storage, StoreChange } from "./storage.ts";
import { report } from "./store.ts";
import type { TokenProvider } from "./types.ts";
import { TidewireError } from "./types.ts";
import { kindOf, ours } from "./validate.ts";
import type { CoreInstance } from "./wasm.ts";

/** Outputs that are still carried out after `close`, while the last connection ends. */
type Farewell =
  | { readonly t: "open"; readonly conn: number }
  | { readonly t: "transmit"; readonly conn: number; readonly text: string }
  | { readonly t: "close"; readonly conn: number; readonly code: number }
  | ({ readonly t: "request"; readonly request: number } & PlainRequest)
  | { readonly t: "abort"; readonly request: number }
  | { readonly t: "wait"; readonly until?: number };

type Effect =
  | Farewell
  | { readonly t: "token"; readonly ask: number; readonly renew: boolean }
  | { readonly t: "store"; readonly store: number; readonly change: StoreChange };

type Input =
  | Hint
  | { readonly t: "opened"; readonly conn: number }
  | { readonly t: "closed"; readonly conn: number; readonly code: number }
  | { readonly t: "response"; readonly request: number; readonly status: number }
  | { readonly t: "response"; readonly request: number; readonly failed: boolean }
  | { readonly t: "token"; readonly ask: number; readonly token: string }
  | {
      readonly t: "token";
      readonly ask: number;
      readonly error: string;
      readonly message: string;
      readonly terminal: boolean;
      readonly retry_after_ms?: number;
    }
  | { readonly t: "stored"; readonly store: number; readonly error?: string };

/** The core's refusal of a command. */
interface Refused {
  readonly code: string;
  readonly retryable: boolean;
  readonly message?: string;
  readonly at?: number;
}

/** Longest delay that timers take, ms. */
const LONGEST_TIMER = 2 ** 31 - 1;

/** What a driver needs around a core. */
export interface DriverParts {
  readonly core: CoreInstance;
  /** The server's base address: see {@link baseOf}. */
  readonly base: string;
  readonly storage: Storage;
  /** Whether plain requests carry cookies to another origin. By default they don't. */
  readonly credentials?: RequestCredentials;
  readonly token: TokenProvider;
  readonly event: (event: CoreEvent) => void;
}

/** Ms on a clock that never jumps. */
export const monotonic = (): number => Math.floor(performance.now());

/**
 * The loop around a core: feed it, drain it, carry out its effects, arm one timer. It decides
 * nothing.
 *
 * No code of the application runs inside the loop: tokens are asked for later, and listeners hear
 * of events with the next frame.
 */
export class Driver {
  readonly #parts: DriverParts;
  /** Open links by the core's connection numbers. During a handover there are two. */
  readonly #links = new Map<number, Link>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** Requests under way, by the core's request numbers. */
  readonly #requests = new Map<number, AbortController>();
  #draining = false;
  /** The driver was closed, or the core crashed: it takes no commands. */
  #over = false;
  /** The core was freed. */
  #freed = false;

  constructor(parts: DriverParts) {
    this.#parts = parts;
  }

  /**
   * Carries out a command and all that follows from it, and returns the core's answer. Throws what
   * the core refuses. `accepted` gets the answer before anything that follows, so that no event
   * about it comes too early.
   */
  command(command: Command, accepted?: (answer: unknown) => void): unknown {
    if (this.#over) throw new TidewireError("closed", "this client was closed", false);
    // Outside of the guard, because an argument that has no JSON form is not the core's fault.
    const written = encode(command);
    const text = this.#guard(() => this.#parts.core.command(written, monotonic(), Date.now()));
    if (text === undefined) throw new TidewireError("core_crashed", "the core crashed; reload the page", false);
    const answer = JSON.parse(text) as { ok?: unknown; error?: Refused };
    if (answer.error === undefined) accepted?.(answer.ok);
    this.#drain();
    if (answer.error !== undefined) {
      const { code, message = code, retryable, at } = answer.error;
      throw new TidewireError(code, `${command.c}: ${message}`, retryable, at);
    }
    return answer.ok;
  }

  /** Passes a hint about the page or the network to the core. */
  hint(hint: Hint): void {
    if (!this.#over) this.#handle(hint);
  }

  /**
   * Carries out what is due by now. Timers of hidden pages are late, so other events call this too.
   */
  wake(): void {
    if (!this.#freed) this.#drain();
  }

  /** Whether it takes commands: the driver was not closed and the core has not crashed. */
  get isUsable(): boolean {
    return !this.#over;
  }

  /**
   * Ends everything; the driver can't be used again. Requests that tell the server about the end
   * are still made. `returns`: the user is expected back at once, with another tab or page, so the
   * server is not told that they leave.
   */
  close(returns = false): void {
    if (this.#over) return;
    this.#over = true;
    this.#guard(() => {
      // A core that is asleep has dropped its connection without a word.
      if (returns) this.#parts.core.handle('{"t":"lifecycle","state":"frozen"}', monotonic(), Date.now());
      this.#parts.core.command('{"c":"close"}', monotonic(), Date.now());
    });
    this.#drain();
    this.#stop();
  }

  #stop(): void {
    this.#over = true;
    for (const conn of [...this.#links.keys()]) this.#close(conn, 1000);
    this.#parts.storage.close();
  }

  /** Frees the core once nothing needs it. */
  #release(): void {
    if (!this.#over || this.#freed || this.#draining || this.#requests.size > 0) return;
    this.#freed = true;
    clearTimeout(this.#timer);
    this.#parts.core.free();
  }

  #handle(input: Input): void {
    if (this.#freed) return;
    const written = encode(input);
    if (this.#guard(() => this.#parts.core.handle(written, monotonic(), Date.now())) === false) {
      report(new TidewireError("bad_input", `the core did not understand ${input.t}`, false));
    }
    this.#drain();
  }

  #drain(): void {
    // An effect that reports at once must not start a second loop inside this one. The loop that
    // already runs picks up what it caused.
    if (this.#draining) return;
    this.#draining = true;
    try {
      for (let waiting = this.#freed; !waiting; ) {
        const text = this.#guard(() => this.#parts.core.poll(monotonic(), Date.now()));
        if (text === undefined) return;
        const list = JSON.parse(text) as (Effect | CoreEvent)[];
        for (const output of list) {
          waiting = output.t === "wait";
          this.#carryOut(output);
        }
      }
    } finally {
      this.#draining = false;
    }
    this.#release();
  }

  /**
   * Calls the core. A trap inside the WebAssembly module makes the core unusable. That is reported
   * once, as the state `failed`, which only a reload ends; later calls do not throw. What is stored
   * is safe.
   */
  #guard<T>(call: () => T): T | undefined {
    try {
      return call();
    } catch (error) {
      this.#freed = true;
      clearTimeout(this.#timer);
      for (const request of [...this.#requests.keys()]) this.#abort(request);
      this.#stop();
      report(error);
      this.#parts.event({ t: "status", state: "failed", attempt: 0, cause: "core_crashed", waiting: 0 });
      return undefined;
    }
  }

  #carryOut(output: Effect | CoreEvent): void {
    switch (output.t) {
      case "open":
        this.#open(output.conn);
        break;
      case "transmit":
        this.#links.get(output.conn)?.transmit(output.text);
        break;
      case "close":
        this.#close(output.conn, output.code);
        break;
      case "request":
        this.#request(output.request, output);
        break;
      case "abort":
        this.#abort(output.request);
        break;
      case "wait":
        this.#arm(output.until);
        break;
      default:
        // A closed driver only ends its connections.
        if (!this.#over) this.#serve(output);
    }
  }

  #serve(output: Exclude<Effect, Farewell> | CoreEvent): void {
    switch (output.t) {
      case "token":
        void this.#fetchToken(output.ask, output.renew);
        break;
      case "store":
        void this.#store(output.store, output.change);
        break;
      default:
        this.#parts.event(output);
    }
  }

  #request(request: number, asked: PlainRequest): void {
    const controller = new AbortController();
    this.#requests.set(request, controller);
    const { base, credentials = "same-origin" } = this.#parts;
    void makeRequest(base, { ...asked, credentials }, controller.signal, {
      status: (status) => {
        if (this.#requests.has(request)) this.#handle({ t: "response", request, status });
      },
      received: (bytes) => {
        if (!this.#requests.has(request)) return;
        this.#guard(() => this.#parts.core.body(request, bytes, monotonic(), Date.now()));
        this.#drain();
      },
      ended: (failed) => {
        if (this.#requests.delete(request)) this.#handle({ t: "response", request, failed });
      },
    });
  }

  #abort(request: number): void {
    this.#requests.get(request)?.abort();
    this.#requests.delete(request);
  }

  #open(conn: number): void {
    const link = openSocket(this.#parts.base, {
      opened: () => {
        if (this.#links.has(conn)) this.#handle({ t: "opened", conn });
      },
      received: (text) => {
        if (!this.#links.has(conn)) return;
        this.#guard(() => this.#parts.core.received(conn, text, monotonic(), Date.now()));
        this.#drain();
      },
      closed: (code) => {
        if (this.#links.delete(conn)) this.#handle({ t: "closed", conn, code });
      },
    });
    this.#links.set(conn, link);
  }

  #close(conn: number, code: number): void {
    const link = this.#links.get(conn);
    this.#links.delete(conn);
    link?.close(code);
  }

  async #fetchToken(ask: number, renew: boolean): Promise<void> {
    // The provider is the application's: it must not run while the core is being drained.
    await Promise.resolve();
    try {
      const token: unknown = await this.#parts.token(renew ? "renew" : "connect");
      if (typeof token === "string" && token !== "") return this.#handle({ t: "token", ask, token });
      if (token === null) throw new TidewireError("unauthorized", "there is no token for this user", false);
      throw new TidewireError(
        "bad_token",
        `the token provider gave ${kindOf(token)}; it must give a string, or null`,
        false,
      );
    } catch (error) {
      const { code = "token_unavailable", retryable = true, retryAfterMs } = ours(error) ?? {};
      const refused = { t: "token", ask, error: code, message: reasonOf(error), terminal: !retryable } as const;
      const wait = Math.ceil(Number(retryAfterMs));
      this.#handle(wait >= 0 && wait <= LONGEST_TIMER ? { ...refused, retry_after_ms: wait } : refused);
    }
  }

  async #store(store: number, change: StoreChange): Promise<void> {
    const failure = await this.#parts.storage.apply(change);
    this.#handle(failure === null ? { t: "stored", store } : { t: "stored", store, error: failure });
  }

  #arm(until: number | undefined): void {
    clearTimeout(this.#timer);
    if (until === undefined) return;
    const delay = Math.min(Math.max(until - performance.now(), 1), LONGEST_TIMER);
    this.#timer = setTimeout(() => this.wake(), Math.ceil(delay));
  }
}
