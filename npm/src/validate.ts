// What an application hands over, checked where it comes in: TypeScript's types hold nobody who
// writes JavaScript.
import { reasonOf, wellFormed } from "./json.ts";
import { TidewireError } from "./types.ts";

/** Throws that an argument is not what it must be. */
export function wrong(what: string, must: string, given: unknown, code = "bad_argument"): never {
  throw new TidewireError(code, `${what} must be ${must}, not ${kindOf(given)}`, false);
}

/** A text. */
export function text(given: unknown, what: string, code?: string): string {
  return typeof given === "string" ? wellFormed(given) : wrong(what, "a string", given, code);
}

/** Something to call. */
export function callable<F>(given: F, what: string): F {
  return typeof given === "function" ? given : wrong(what, "a function", given);
}

/**
 * The members of an object of settings, read once, so that what was checked is what is used.
 * Members that are `undefined` count as absent; others than those of `known` are refused, because a
 * misspelt one would be taken silently.
 */
export function settings<T extends object>(
  given: T | undefined,
  what: string,
  known: { readonly [K in keyof T]-?: (value: unknown, what: string) => unknown },
  code = "bad_argument",
): T {
  if (typeof given !== "object" || given === null || isList(given)) return wrong(what, "an object", given, code);
  let members: [string, unknown][];
  try {
    members = Object.entries(given).filter(([, value]) => value !== undefined);
  } catch (error) {
    throw new TidewireError(code, `${what} can't be read: ${reasonOf(error)}`, false);
  }
  const taken: Record<string, unknown> = {};
  for (const [name, value] of members) {
    if (!Object.hasOwn(known, name)) {
      throw new TidewireError(code, `${what} has no \`${name}\`; there are ${Object.keys(known).join(", ")}`, false);
    }
    try {
      taken[name] = known[name as keyof T](value, `${what}: ${name}`);
    } catch (error) {
      if (ours(error) !== undefined) throw error;
      throw new TidewireError(code, `${what}: ${name} can't be read: ${reasonOf(error)}`, false);
    }
  }
  return taken as T;
}

/** What a value is, without showing it: it may be a secret. */
export function kindOf(given: unknown): string {
  if (given === null || given === undefined) return String(given);
  if (given === "") return "an empty string";
  if (typeof given === "object") return isList(given) ? "an array" : "an object";
  return `a ${typeof given}`;
}

/** An error if it is one of ours; anything may be thrown. */
export function ours(error: unknown): TidewireError | undefined {
  try {
    return error instanceof TidewireError ? error : undefined;
  } catch {
    return undefined;
  }
}

/** Whether it is an array; one that can't even say so is none. */
export function isList(given: unknown): given is unknown[] {
  try {
    return Array.isArray(given);
  } catch {
    return false;
  }
}

/** The members of an array as they are now; none if it is no array or can't be read. */
export function list(given: unknown): unknown[] {
  try {
    return isList(given) ? [...given] : [];
  } catch {
    return [];
  }
}
