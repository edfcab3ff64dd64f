import { reasonOf } from "./json.ts";
import * as local from "./localstorage.ts";
import { refusalOf } from "./token.ts";
import type { TokenProvider } from "./types.ts";
import { TidewireError } from "./types.ts";
import { ours } from "./validate.ts";

const TIMEOUT = 15_000;
/** First pause between attempts, and the longest, ms. */
const PAUSE = 1000;
const LONGEST_PAUSE = 30_000;
/** Longest floor of the server's that counts, ms. */
const LONGEST_FLOOR = 3_600_000;
/** A token that is refused so may have been good when it was fetched. */
const EXPIRED = ["token_expired", "unauthorized"];

/** What the conversation of a user's own needs of their client. */
export interface OwnHost {
  readonly base: string;
  readonly scope: string;
  readonly token: TokenProvider;
  /** Resolves when there is a connection: before that the server can't be reached either. */
  online(): Promise<void>;
}

/**
 * The conversation that belongs to this user alone. The server makes it the first time (`POST
 * /v1/dialogs`) and chooses its id, which is kept here. One whose answer was lost is empty, and
 * forgotten by the server.
 */
export class OwnConversation {
  readonly #host: OwnHost;
  readonly #key: string;
  #making: Promise<string> | undefined;

  constructor(host: OwnHost) {
    this.#host = host;
    this.#key = local.keyOf("own", host.scope);
  }

  /** Its id, once it is there. Rejects with what the server refuses for good. */
  id(): Promise<string> {
    const known = local.get(this.#key);
    if (known !== null) return Promise.resolve(known);
    this.#making ??= this.#make().finally(() => {
      this.#making = undefined;
    });
    return this.#making;
  }

  /** Forgets it: it is no longer this user's. The next one is another. */
  forget(id: string): void {
    if (local.get(this.#key) === id) local.remove(this.#key);
  }

  async #make(): Promise<string> {
    let why: "connect" | "renew" = "connect";
    for (let pause = PAUSE; ; pause = Math.min(pause * 2, LONGEST_PAUSE)) {
      await this.#host.online();
      const made = await this.#ask(why);
      if (typeof made === "string") {
        // Another tab of a first visit may have been faster: both have the same one from here on.
        const known = local.get(this.#key);
        if (known !== null) return known;
        local.set(this.#key, made);
        return made;
      }
      if (EXPIRED.includes(made.code) && why === "connect") why = "renew";
      else if (!made.retryable) throw made;
      // Full jitter on top of the server's floor, as everywhere in the core: the floor is the same
      // for all.
      const floor = Math.min(Math.max(made.retryAfterMs ?? 0, 0), LONGEST_FLOOR);
      const wait = floor + pause * Math.random();
      await new Promise((resolve) => setTimeout(resolve, wait));
    }
  }

  async #ask(why: "connect" | "renew"): Promise<string | TidewireError> {
    try {
      const token = await this.#host.token(why);
      if (typeof token !== "string") return new TidewireError("unauthorized", "there is no token for this user", false);
      const response = await fetch(`${this.#host.base}/v1/dialogs`, {
        method: "POST",
        headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
        body: "{}",
        signal: AbortSignal.timeout(TIMEOUT),
      });
      if (!response.ok) return await refusalOf(response);
      const { id } = (await response.json()) as { id?: unknown };
      return typeof id === "string" ? id : new TidewireError("bad_response", "the server's answer holds no id", true);
    } catch (error) {
      return ours(error) ?? new TidewireError("network", reasonOf(error), true);
    }
  }
}
