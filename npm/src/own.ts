import { ours } from "./given.ts";
import { reasonOf } from "./json.ts";
import * as kept from "./kept.ts";
import { refusalOf } from "./token.ts";
import type { TokenProvider } from "./types.ts";
import { TidewireError } from "./types.ts";

const TIMEOUT = 15_000;
/** First pause between attempts, and the longest, ms. */
const PAUSE = 1000;
const LONGEST_PAUSE = 30_000;
/** A token that is refused so may have been good when it was fetched. */
const EXPIRED = ["token_expired", "unauthorized"];

/** What the conversation of a user's own needs of their client. */
export interface OwnHost {
  readonly origin: string;
  readonly scope: string;
  readonly token: TokenProvider;
  /** Resolves when there is a connection: before that the server can't be reached either. */
  online(): Promise<void>;
}

/**
 * The conversation that belongs to this user alone. It is made at the server the first time (`POST /v1/dialogs`), under an id that is chosen
 * and kept here before, so that asking again makes no second one.
 */
export class OwnConversation {
  readonly #host: OwnHost;
  readonly #key: string;
  #making: Promise<string> | undefined;

  constructor(host: OwnHost) {
    this.#host = host;
    this.#key = kept.keyOf("own", host.scope);
  }

  /** Its id, once it is there. Rejects with what the server refuses for good. */
  id(): Promise<string> {
    const { id, made } = this.#known();
    if (made) return Promise.resolve(id);
    this.#making ??= this.#make(id).finally(() => {
      this.#making = undefined;
    });
    return this.#making;
  }

  /** Forgets it: it is no longer this user's. The next one is another. */
  forget(id: string): void {
    if (this.#known().id === id) kept.remove(this.#key);
  }

  #known(): { id: string; made: boolean } {
    try {
      const { id, made } = JSON.parse(kept.get(this.#key) ?? "") as { id?: unknown; made?: unknown };
      if (typeof id === "string") return { id, made: made === true };
    } catch {
      // None yet, or not ours.
    }
    return this.#choose();
  }

  #choose(): { id: string; made: boolean } {
    const random = crypto.getRandomValues(new Uint8Array(16));
    const chosen = { id: Array.from(random, (byte) => byte.toString(16).padStart(2, "0")).join(""), made: false };
    kept.set(this.#key, JSON.stringify(chosen));
    return chosen;
  }

  async #make(first: string): Promise<string> {
    let id = first;
    let why: "connect" | "renew" = "connect";
    for (let pause = PAUSE; ; pause = Math.min(pause * 2, LONGEST_PAUSE)) {
      await this.#host.online();
      const error = await this.#ask(id, why);
      if (error === undefined) {
        kept.set(this.#key, JSON.stringify({ id, made: true }));
        return id;
      }
      if (error.code === "conflict") id = this.#choose().id;
      else if (EXPIRED.includes(error.code) && why === "connect") why = "renew";
      else if (!error.retryable) throw error;
      await new Promise((resolve) => setTimeout(resolve, pause * Math.random()));
    }
  }

  async #ask(id: string, why: "connect" | "renew"): Promise<TidewireError | undefined> {
    try {
      const token = await this.#host.token(why);
      if (typeof token !== "string") return new TidewireError("unauthorized", "there is no token for this user", false);
      const response = await fetch(`${this.#host.origin}/v1/dialogs`, {
        method: "POST",
        headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
        body: JSON.stringify({ id }),
        signal: AbortSignal.timeout(TIMEOUT),
      });
      return response.ok ? undefined : await refusalOf(response);
    } catch (error) {
      return ours(error) ?? new TidewireError("network", reasonOf(error), true);
    }
  }
}
