import { baseOf } from "./address.ts";
import { reasonOf } from "./json.ts";
import * as local from "./localstorage.ts";
import type { TokenProvider } from "./types.ts";
import { TidewireError } from "./types.ts";
import { settings, text } from "./validate.ts";

const TIMEOUT = 15_000;
/** Statuses below 500 that are of the moment: time-out, too early, too many. */
const PASSING = [408, 425, 429];

/** Where a guest's session may be kept. */
export interface SessionPlace {
  get(): string | null;
  set(value: string): void;
}

/** What {@link guestToken} may be told. */
export interface GuestOptions {
  /** What the guest is called. */
  nickname?: string;
  /** The name under which this browser keeps the session; by default the server's address. */
  name?: string;
  /** Another place for it. */
  place?: SessionPlace;
}

/**
 * Tokens of a guest session of the server's (`POST /v1/guest`). The session is kept in this browser
 * under `name`, so that the same guest comes back; with the old token, even an expired one, the
 * server renews it.
 */
export function guestToken(server: string | URL, given: GuestOptions = {}): TokenProvider {
  const options = settings<GuestOptions>(given, "guestToken", {
    nickname: text,
    name: text,
    place: (place) => place,
  });
  const base = baseOf(server, "guestToken: server", "bad_config");
  const place = options.place ?? browserPlace(guestKey(options.name ?? base));
  const ask = (old: string | undefined): Promise<Response> =>
    fetch(`${base}/v1/guest`, {
      method: "POST",
      headers: { "content-type": "application/json", ...(old === undefined ? {} : { authorization: `Bearer ${old}` }) },
      body: JSON.stringify({ nickname: options.nickname ?? "Guest" }),
      signal: AbortSignal.timeout(TIMEOUT),
    });

  // Asked even while a kept token would last: only the server knows whether it is still good.
  return async () => {
    const old = read(place, base);
    let response = await ask(old);
    // The server no longer knows this guest: a new one is better than none.
    if (response.status === 401 && old !== undefined) response = await ask(undefined);
    if (!response.ok) throw await refusalOf(response);
    const token = ((await response.json()) as { token?: unknown } | null)?.token;
    // A portal that stands in for the server answers everything with a page of its own.
    if (typeof token !== "string") throw new TidewireError("bad_response", "the server's answer holds no token", true);
    place.set(JSON.stringify({ server: base, token }));
    return token;
  };
}

/**
 * An endpoint's refusal. Only the server itself, by its own code, refuses for good: what stands
 * before it may answer anything.
 */
export async function refusalOf(response: Response): Promise<TidewireError> {
  const { status } = response;
  let error: { code?: unknown; message?: unknown; retry_after_ms?: unknown } | null | undefined;
  try {
    error = ((await response.json()) as { error?: typeof error } | null)?.error;
  } catch (cause) {
    return new TidewireError(`http_${status}`, `the server answered ${status}: ${reasonOf(cause)}`, true);
  }
  const known = typeof error?.code === "string";
  const code = known ? String(error?.code) : `http_${status}`;
  const message = typeof error?.message === "string" ? error.message : `the server answered ${status}`;
  const wait = typeof error?.retry_after_ms === "number" ? error.retry_after_ms : undefined;
  return new TidewireError(code, message, !known || status >= 500 || PASSING.includes(status), undefined, wait);
}

/** The name under which a guest's session is kept. */
export function guestKey(scope: string): string {
  return local.keyOf("guest", scope);
}

/** The kept token, if it is this server's: no other one ever sees it. */
function read(place: SessionPlace, base: string): string | undefined {
  try {
    const value: unknown = JSON.parse(place.get() ?? "null");
    if (typeof value !== "object" || value === null) return undefined;
    const { token, server } = value as { token?: unknown; server?: unknown };
    return typeof token === "string" && server === base ? token : undefined;
  } catch {
    return undefined;
  }
}

function browserPlace(key: string): SessionPlace {
  return { get: () => local.get(key), set: (value) => void local.set(key, value) };
}
