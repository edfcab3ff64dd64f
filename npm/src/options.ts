import { baseOf } from "./address.ts";
import type { Transport } from "./link.ts";
import type { ClientOptions } from "./types.ts";
import { list, settings, text, wrong } from "./validate.ts";

const CODE = "bad_config";
/** All transports, the best first. */
export const TRANSPORTS: readonly Transport[] = ["websocket", "stream", "long_poll", "poll"];
/** The core's settings whose values are numbers. */
const NUMBERS = [
  "connect_timeout_ms",
  "backoff_base_ms",
  "backoff_cap_ms",
  "op_ttl_ms",
  "session_ttl_ms",
  "batch_ms",
  "cached_events",
  "tail",
  "outbox_ops",
  "outbox_bytes",
  "batch_ops",
  "cached_table_bytes",
];
/** Longest `agent` that servers accept, in characters. */
const LONGEST_AGENT = 64;

const flag = (value: unknown, what: string) =>
  typeof value === "boolean" ? value : wrong(what, "true or false", value, CODE);
const word = (value: unknown, what: string) => text(value, what, CODE);
const name = (value: unknown, what: string) => text(value, what, CODE) || wrong(what, "a name", value, CODE);
const whole = (value: unknown, what: string) => {
  const number = typeof value === "string" && /^\d{1,16}$/.test(value) ? Number(value) : value;
  return Number.isSafeInteger(number) && Number(number) >= 0
    ? number
    : wrong(what, "a whole number, 0 or more", value, CODE);
};
const agent = (value: unknown, what: string) =>
  text(value, what, CODE).length <= LONGEST_AGENT ? value : wrong(what, `at most ${LONGEST_AGENT} characters`, value, CODE);

/**
 * Checks the options of a client. Throws `bad_config` with a message that names the wrong option.
 */
export function optionsOf(given: ClientOptions): ClientOptions {
  const options = settings(
    given,
    "createClient",
    {
      url: (value, what) => (value instanceof URL ? value : text(value, what, CODE)),
      token: (value, what) =>
        typeof value === "function" ? value : wrong(what, "a function that gets tokens", value, CODE),
      cookie: (value, what) => {
        const renew = (hook: unknown, name: string) =>
          typeof hook === "function" ? hook : wrong(name, "a function that renews the cookie", hook, CODE);
        return settings(value as object, what, { renew }, CODE);
      },
      guest: (value, what) => settings(value as object, what, { nickname: word, site: word }, CODE),
      user: name,
      name,
      storage: (value, what) =>
        value === "indexeddb" || value === "memory" ? value : wrong(what, "indexeddb or memory", value, CODE),
      tables: flag,
      wasm: (value, what) =>
        typeof value === "string" || typeof value === "object" ? value : wrong(what, "an address or bytes", value, CODE),
      transports: (value, what) => {
        const names = list(value) as Transport[];
        if (names.length > 0 && names.every((one) => TRANSPORTS.includes(one))) return names;
        return wrong(what, `a list of some of ${TRANSPORTS.join(", ")}`, value, CODE);
      },
      autoConnect: flag,
      config: (value, what) => {
        const known = { agent, ...Object.fromEntries(NUMBERS.map((number) => [number, whole])) };
        return settings(value as Record<string, string | number>, what, known, CODE);
      },
    },
    CODE,
  );
  if (options.cookie !== undefined && options.token !== undefined) {
    wrong("createClient: cookie", "given without `token`: one of them is the credential", "both", CODE);
  }
  if (options.url === undefined) wrong("createClient: url", "an address such as https://chat.example.com", undefined, CODE);
  // With nothing to store, the core need not emit events for the store.
  return options.storage === "memory" ? { ...options, config: { ...options.config, cached_events: 0 } } : options;
}

/**
 * A server's address, and the scope: the name under which a client stores data and shares it
 * between tabs. Clients of different scopes share nothing.
 */
export interface ServerScope {
  /** The server's base: see {@link baseOf}. */
  readonly base: string;
  readonly scope: string;
}

/** The server scope of a client with these options. Throws `bad_config` for a wrong address. */
export function serverScopeOf({
  url,
  name,
  user,
  token,
  cookie,
}: Pick<ClientOptions, "url" | "name" | "user" | "token" | "cookie">): ServerScope {
  const base = baseOf(url, "createClient: url", CODE);
  const guest = token === undefined && cookie === undefined ? "guest" : "any";
  const whose = user === undefined ? guest : `user ${user}`;
  return { base, scope: [base, name ?? "default", whose].map(encodeURIComponent).join("/") };
}
