import { reasonOf } from "./json.ts";
import * as local from "./localstorage.ts";
import { refusalOf } from "./token.ts";
import type { TokenProvider } from "./types.ts";
import { TidewireError } from "./types.ts";
import { ours } from "./validate.ts";

const TIMEOUT = 15_000;
/** First and longest pause between attempts, ms. */
const PAUSE = 1000;
const LONGEST_PAUSE = 30_000;
/** Upper limit of a pause that the server asks for, ms. */
const LONGEST_FLOOR = 3_600_000;
/**
 * Codes for a token that may have expired since it was fetched: one attempt follows with a new one.
 */
const EXPIRED = ["token_expired", "unauthorized"];

/** What this module uses of the client. */
export interface OwnHost {
  readonly base: string;
  readonly scope: string;
  readonly token: TokenProvider;
  /** `include` if the credential is a cookie, which is sent in the place of the token. */
  readonly credentials?: RequestCredentials;
  /**
   * Resolves when the client is online. Before that the server can't be reached by a request
   * either.
   */
  online(): Promise<void>;
}

/**
 * The id of the dialog that belongs to this user alone. The server creates the dialog at the first
 * call (`POST /v1/dialogs`) and chooses its id, which this browser stores. If the response is lost,
 * an empty dialog is left behind, which the server deletes.
 */
export class OwnConversation {
  readonly #host: OwnHost;
  readonly #key: string;
  #making: Promise<string> | undefined;

  constructor(host: OwnHost) {
    this.#host = host;
    this.#key = local.keyOf("own", host.scope);
  }

  /**
   * The dialog's id, stored or created. Rejects with a {@link TidewireError} if the server refuses
   * finally.
   */
  id(): Promise<string> {
    const known = local.get(this.#key);
    if (known !== null) return Promise.resolve(known);
    this.#making ??= this.#make().finally(() => {
      this.#making = undefined;
    });
    return this.#making;
  }

  /**
   * Forgets a stored id that is no longer this user's, so that the next call creates a new dialog.
   */
  forget(id: string): void {
    if (local.get(this.#key) === id) local.remove(this.#key);
  }

  async #make(): Promise<string> {
    let why: "connect" | "renew" = "connect";
    for (let pause = PAUSE; ; pause = Math.min(pause * 2, LONGEST_PAUSE)) {
      await this.#host.online();
      const made = await this.#ask(why);
      if (typeof made === "string") {
        // Another tab may have stored an id meanwhile. Both tabs must use the same one.
        const known = local.get(this.#key);
        if (known !== null) return known;
        local.set(this.#key, made);
        return made;
      }
      if (EXPIRED.includes(made.code) && why === "connect") why = "renew";
      else if (!made.retryable) throw made;
      // Full jitter on top of the server's floor, as in the core: the floor is the same for all
      // clients, so the jitter must not shrink with it.
      const floor = Math.min(Math.max(made.retryAfterMs ?? 0, 0), LONGEST_FLOOR);
      const wait = floor + pause * Math.random();
      await new Promise((resolve) => setTimeout(resolve, wait));
    }
  }

  async #ask(why: "connect" | "renew"): Promise<string | TidewireError> {
    try {
      const token = await this.#host.token(why);
      if (typeof token !== "string") return new TidewireError("unauthorized", "there is no token for this user", false);
      const { base, credentials = "same-origin" } = this.#host;
      const response = await fetch(`${base}/v1/dialogs`, {
        method: "POST",
        credentials,
        headers: {
          ...(credentials === "include" ? {} : { authorization: `Bearer ${token}` }),
          "content-type": "application/json",
        },
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
