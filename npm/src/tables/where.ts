import { reasonOf, wellFormed } from "../json.ts";
import { TidewireError } from "../types.ts";
import { kindOf, ours, wrong } from "../validate.ts";
import type { Conditions, Literal, OrderBy, Tests, Where } from "./types.ts";

/** A column's name, as the filter's grammar allows it. */
const COLUMN = /^[A-Za-z_][A-Za-z0-9_$]{0,62}$/;
const COMPARE = new Set(["eq", "neq", "gt", "gte", "lt", "lte", "like", "ilike"]);

/**
 * The filter's text. Every value is quoted, so a value can't change the filter's meaning. Throws
 * `bad_filter` or `bad_column`.
 */
export function filterOf<R>(where: Where<R> | string | undefined): string {
  if (where === undefined || typeof where === "string") return wellFormed(where ?? "");
  return wellFormed(reading("where", "bad_filter", () => filterText(where)));
}

/**
 * Reads a value from the application. A getter or proxy of it may throw anything; this throws a
 * {@link TidewireError} instead.
 */
function reading<T>(what: string, code: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (ours(error) !== undefined) throw error;
    throw new TidewireError(code, `${what} can't be read: ${reasonOf(error)}`, false);
  }
}

function filterText<R>(where: Where<R>): string {
  if (!Array.isArray(where)) return termsOf(where as Conditions<R>, "=").join("&");
  const alternatives = (where as readonly Conditions<R>[]).map((one) => {
    const terms = termsOf(one, ".");
    if (terms.length === 0) throw refused("where", "each of several `where`s needs a condition");
    return terms.length === 1 ? terms[0] : `and(${terms.join(",")})`;
  });
  // An empty list of alternatives would match no row, which is more likely a mistake than meant.
  if (alternatives.length === 0) throw refused("where", "an empty list has no condition; leave `where` out for all rows");
  return `or=(${alternatives.join(",")})`;
}

/** The order's text. Throws `bad_order` or `bad_column`. */
export function orderOf<R>(order: OrderBy<R> | undefined): string {
  if (order === undefined) return "";
  return wellFormed(
    reading("orderBy", "bad_order", () =>
      [order]
        .flat()
        .flatMap((term) => orderTerms(term as unknown))
        .join(","),
    ),
  );
}

function orderTerms(term: unknown): string | string[] {
  if (typeof term === "string") return term;
  if (typeof term !== "object" || term === null) return wrong("orderBy", "texts or objects", term, "bad_order");
  return Object.entries(term).map(([name, way]) => {
    if (typeof way !== "string") wrong(`orderBy: ${name}`, "asc or desc", way, "bad_order");
    return `${column(name)}.${way}`;
  });
}

/**
 * The terms of a condition. `between` separates column and test: `=` outside of parentheses, `.`
 * inside.
 */
function termsOf<R>(conditions: Conditions<R>, between: "=" | "."): string[] {
  if (!isTests(conditions)) throw refused("where", `${kindOf(conditions)} is no condition`);
  return Object.entries(conditions as Readonly<Record<string, unknown>>).flatMap(([name, test]) => {
    const left = column(name) + between;
    if (!isTests(test)) return left + compare("eq", test, name);
    const tests = Object.entries(test);
    if (tests.length === 0) throw refused(name, "an empty condition");
    return tests.map(([operator, value]) => {
      if (operator === "in") return `${left}in.(${list(value, name)})`;
      if (COMPARE.has(operator)) return left + compare(operator, value, name);
      throw refused(name, `\`${operator}\` is none of ${[...COMPARE].join(", ")} and in`);
    });
  });
}

function isTests(value: unknown): value is Tests {
  return typeof value === "object" && value !== null && !(value instanceof Date) && !Array.isArray(value);
}

function compare(operator: string, value: unknown, name: string): string {
  if (value !== null) return `${operator}.${quoted(value, name)}`;
  if (operator === "eq") return "is.null";
  if (operator === "neq") return "is.not_null";
  throw refused(name, "null can only be asked for with `eq` and `neq`");
}

function list(values: unknown, name: string): string {
  if (!Array.isArray(values)) throw refused(name, "`in` wants an array");
  return values.map((value: unknown) => quoted(value, name)).join(",");
}

function quoted(value: unknown, name: string): string {
  const text = textOf(value as Literal);
  // A condition without a value is an error: leaving it out would show more rows than were asked
  // for.
  if (text === undefined)
    throw refused(name, `${value === undefined ? "undefined" : typeof value} is no value to compare with`);
  return `"${text.replace(/["\\]/g, "\\$&")}"`;
}

function textOf(value: Literal): string | undefined {
  switch (typeof value) {
    case "string":
      return value;
    case "number":
    case "bigint":
    case "boolean":
      return String(value);
    default:
      return value instanceof Date && !Number.isNaN(value.getTime()) ? value.toISOString() : undefined;
  }
}

function column(name: string): string {
  if (COLUMN.test(name)) return name;
  throw new TidewireError("bad_column", `\`${name}\` can't be a column's name`, false);
}

function refused(name: string, why: string): TidewireError {
  return new TidewireError("bad_filter", `${name}: ${why}`, false);
}
