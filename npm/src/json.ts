import { TidewireError } from "./types.ts";

/** Deepest nesting of a value from the application, in levels (protocol, section 3). */
const DEEPEST = 24;
/** Matches an unpaired surrogate, which has no UTF-8 form. */
const LONE = /\p{Surrogate}/gu;

/** The text with each unpaired surrogate replaced by U+FFFD, as browsers do when they send text. */
export function wellFormed(text: string): string {
  return text.replace(LONE, "\uFFFD");
}

/**
 * The JSON text of the library's own plain data. Unlike `JSON.stringify` it ignores `toJSON`,
 * because old libraries add one to arrays that returns a string.
 */
export function encode(value: unknown): string {
  return write(value, false, []) ?? "null";
}

/**
 * An application's value as plain data, with `JSON.stringify`'s rules for what JSON lacks. Throws
 * `bad_body`, naming `what`, if the value is not an object, holds a bigint or a circular reference,
 * has more than 24 levels, or if a `toJSON`, getter or proxy throws.
 */
export function plainObject(value: unknown, what: string): Readonly<Record<string, unknown>> {
  let text: string | undefined;
  try {
    text = write(value, true, []);
  } catch (error) {
    throw new TidewireError("bad_body", `${what} has no JSON form: ${reasonOf(error)}`, false);
  }
  if (!text?.startsWith("{")) throw new TidewireError("bad_body", `${what} must be an object`, false);
  return JSON.parse(text) as Readonly<Record<string, unknown>>;
}

/** A message for anything that may have been thrown. */
export function reasonOf(error: unknown): string {
  try {
    return (error instanceof Error ? error.message : String(error)) || "unknown";
  } catch {
    return "unknown";
  }
}

function write(value: unknown, theirs: boolean, around: readonly unknown[]): string | undefined {
  let bare = value;
  if (theirs && typeof bare === "object" && bare !== null && !Array.isArray(bare)) {
    const { toJSON } = bare as { toJSON?: unknown };
    if (typeof toJSON === "function") bare = toJSON.call(bare, "");
  }
  if (typeof bare === "string") return JSON.stringify(wellFormed(bare));
  if (typeof bare === "bigint") throw new TypeError("a bigint is no number of JSON; make it a string");
  if (typeof bare !== "object" || bare === null) return JSON.stringify(bare);
  if (around.includes(value)) throw new TypeError("it contains itself");
  if (theirs && around.length >= DEEPEST) throw new TypeError(`it has more than ${DEEPEST} levels`);
  const inner = [...around, value];
  if (Array.isArray(bare)) {
    const parts: string[] = [];
    for (let at = 0; at < bare.length; at += 1) parts.push(write(bare[at], theirs, inner) ?? "null");
    return `[${parts.join()}]`;
  }
  const parts: string[] = [];
  for (const name of Object.keys(bare)) {
    const part = write((bare as Record<string, unknown>)[name], theirs, inner);
    if (part !== undefined) parts.push(`${JSON.stringify(wellFormed(name))}:${part}`);
  }
  return `{${parts.join()}}`;
}
