// Checks of arguments from the application. TypeScript's types don't protect callers who write
// JavaScript.
import { reasonOf, wellFormed } from "./json.ts";
import { TidewireError } from "./types.ts";

/**
 * Throws a {@link TidewireError} with this code: `what` must be `must`. The message does not show
 * the value.
 */
export function wrong(what: string, must: string, given: unknown, code = "bad_argument"): never {
  throw new TidewireError(code, `${what} must be ${must}, not ${kindOf(given)}`, false);
}

/** Checks that a value is a string, and makes it well-formed Unicode. */
export function text(given: unknown, what: string, code?: string): string {
  return typeof given === "string" ? wellFormed(given) : wrong(what, "a string", given, code);
}

/** Checks that a value is a whole number in a range. */
export function whole(given: unknown, what: string, least: number, most: number): number {
  const fits = Number.isInteger(given) && (given as number) >= least && (given as number) <= most;
  if (fits) return given as number;
  const must = `a whole number from ${least} to ${most}`;
  return wrong(what, must, given);
}

/** Checks that a value is a function. */
export function callable<F>(given: F, what: string): F {
  return typeof given === "function" ? given : wrong(what, "a function", given);
}

/**
 * Checks an object of settings and returns a copy. Each member is read once, so a getter can't
 * return another value after the check. Members that are `undefined` count as absent. Members that
 * are not in `known` throw, because a misspelt name would otherwise go unnoticed.
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

/** Describes the type of a value. It does not show the value, which may be a secret. */
export function kindOf(given: unknown): string {
  if (given === null || given === undefined) return String(given);
  if (given === "") return "an empty string";
  if (typeof given === "object") return isList(given) ? "an array" : "an object";
  return `a ${typeof given}`;
}

/** The value if it is a {@link TidewireError}. Reading it never throws. */
export function ours(error: unknown): TidewireError | undefined {
  try {
    return error instanceof TidewireError ? error : undefined;
  } catch {
    return undefined;
  }
}

/** Whether a value is an array. False for a revoked proxy, about which `Array.isArray` throws. */
export function isList(given: unknown): given is unknown[] {
  try {
    return Array.isArray(given);
  } catch {
    return false;
  }
}

/** A copy of an array; empty if the value is no array or can't be read. */
export function list(given: unknown): unknown[] {
  try {
    return isList(given) ? [...given] : [];
  } catch {
    return [];
  }
}
