import { baseOf } from "./address.ts";
import { reasonOf } from "./json.ts";
import * as local from "./localstorage.ts";
import type { CookieOptions, TokenProvider } from "./types.ts";
import { TidewireError } from "./types.ts";
import { settings, text } from "./validate.ts";

const TIMEOUT = 15_000;
/** HTTP statuses below 500 after which a retry may work: timeout, too early, too many requests. */
const PASSING = [408, 425, 429];

/** A place where a guest's session may be stored. */
export interface SessionPlace {
  get(): string | null;
  set(value: string): void;
}

/** Options of {@link guestToken}. */
export interface GuestOptions {
  /** The guest's name. */
  nickname?: string;
  /** The key of the site that the page belongs to, if the server knows its pages by sites. */
  site?: string;
  /** The name under which this browser stores the session. Default: the server's address. */
  name?: string;
  /** Another place to store the session. Default: `localStorage`. */
  place?: SessionPlace;
}

/**
 * A provider of guest tokens, which the server issues (`POST /v1/guest`). The session is stored in
 * this browser, so that the guest stays the same after a reload. The server renews a session for
 * its old token, even an expired one.
 */
export function guestToken(server: string | URL, given: GuestOptions = {}): TokenProvider {
  const options = settings<GuestOptions>(given, "guestToken", {
    nickname: text,
    site: text,
    name: text,
    place: (place) => place,
  });
  const base = baseOf(server, "guestToken: server", "bad_config");
  const place = options.place ?? browserPlace(guestKey(options.name ?? base));
  const ask = (old: string | undefined): Promise<Response> =>
    fetch(`${base}/v1/guest`, {
      method: "POST",
      headers: { "content-type": "application/json", ...(old === undefined ? {} : { authorization: `Bearer ${old}` }) },
      body: JSON.stringify({ nickname: options.nickname ?? "Guest", site: options.site }),
      signal: AbortSignal.timeout(TIMEOUT),
    });

  // The server is asked even if the stored token has not expired, because only the server knows
  // whether it is still valid.
  return async () => {
    const old = read(place, base);
    let response = await ask(old);
    // The server no longer knows this guest, so the visitor gets a new guest session.
    if (response.status === 401 && old !== undefined) response = await ask(undefined);
    if (!response.ok) throw await refusalOf(response);
    const token = ((await response.json()) as { token?: unknown } | null)?.token;
    // A captive portal answers every request with a page of its own.
    if (typeof token !== "string") throw new TidewireError("bad_response", "the server's answer holds no token", true);
    place.set(JSON.stringify({ server: base, token }));
    return token;
  };
}

/** The provider for a client whose credential is a cookie. Nobody reads what it gives. */
export function cookieToken({ renew }: CookieOptions): TokenProvider {
  return async (why) => {
    if (why === "renew") await renew?.();
    return "cookie";
  };
}

/** Whether requests carry cookies to another origin too. */
export function credentialsOf(cookie: CookieOptions | undefined): RequestCredentials {
  return cookie === undefined ? "same-origin" : "include";
}

/**
 * The error for a refused request. It is final only if it has a code of the server's: a proxy in
 * between may answer with any status.
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

/** The name under which a guest's session is stored. */
export function guestKey(scope: string): string {
  return local.keyOf("guest", scope);
}

/** The stored token, if this server issued it. No other server ever gets it. */
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
