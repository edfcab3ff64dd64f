import type { TokenProvider } from "./types.ts";

const TIMEOUT = 15_000;

/** Where a guest's session may be kept. */
export interface SessionPlace {
  get(): string | null;
  set(value: string): void;
}

/**
 * Tokens of a guest session of the server's (`POST /v1/guest`). The session is kept in this browser under `name`, so that the
 * same guest comes back; with the old token, even an expired one, the server renews it.
 */
export function guestToken(
  server: string | URL,
  options: { nickname?: string; name?: string; place?: SessionPlace } = {},
): TokenProvider {
  const place = options.place ?? browserPlace(keyOf(options.name ?? "default"));
  const ask = (old: string | undefined): Promise<Response> =>
    fetch(new URL("/v1/guest", server), {
      method: "POST",
      headers: { "content-type": "application/json", ...(old === undefined ? {} : { authorization: `Bearer ${old}` }) },
      body: JSON.stringify({ nickname: options.nickname ?? "Guest" }),
      signal: AbortSignal.timeout(TIMEOUT),
    });

  // Asked even while a kept token would last: only the server knows whether it is still good.
  return async () => {
    const old = read(place);
    let response = await ask(old);
    // The server no longer knows this guest: a new one is better than none.
    if (response.status === 401 && old !== undefined) response = await ask(undefined);
    if (response.status === 401 || response.status === 403) return null;
    if (!response.ok) throw new Error(`the server answered ${response.status}`);
    const { token } = (await response.json()) as { token: string };
    place.set(JSON.stringify({ token }));
    return token;
  };
}

/** Forgets the guest session kept under `name`. */
export function forgetGuest(name: string): void {
  try {
    localStorage.removeItem(keyOf(name));
  } catch {
    // Denied: then nothing was kept there.
  }
}

function keyOf(name: string): string {
  return `tidewire:guest:${name}`;
}

function read(place: SessionPlace): string | undefined {
  try {
    const value: unknown = JSON.parse(place.get() ?? "null");
    if (typeof value !== "object" || value === null) return undefined;
    const { token } = value as { token?: unknown };
    return typeof token === "string" ? token : undefined;
  } catch {
    return undefined;
  }
}

/** `localStorage`, or this page's memory where that is denied. */
function browserPlace(key: string): SessionPlace {
  let memory: string | null = null;
  return {
    get: () => {
      try {
        return localStorage.getItem(key) ?? memory;
      } catch {
        return memory;
      }
    },
    set: (value) => {
      memory = value;
      try {
        localStorage.setItem(key, value);
      } catch {
        // Kept for this page only.
      }
    },
  };
}
