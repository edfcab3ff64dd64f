// Conditions and orders as text, parsed by the core: values never change the meaning of a filter.
import assert from "node:assert/strict";
import { before, test } from "node:test";
import { source, wasm } from "./bundle.mjs";
import { WELCOME } from "./fake.mjs";

const { filterOf, orderOf } = await source("tables/where.ts");
const { createCore, loadCore } = await source("wasm.ts", { tables: true });

before(async () => loadCore(await wasm("tables")));

const at = [1, 1_700_000_000_000];

/** The filter as the core sends it to the server, or the code with which it is refused. */
function asked(filter) {
  const core = createCore({}, { ops: [], channels: [], tables: [] }, ...at);
  try {
    const run = (command) => JSON.parse(core.command(JSON.stringify(command), ...at));
    const poll = () => JSON.parse(core.poll(...at));
    const answer = run({ c: "open_table", table: "t", filter });
    if (answer.error !== undefined) return answer.error.code;
    run({ c: "connect" });
    const { ask } = poll().find((output) => output.t === "token");
    core.handle(JSON.stringify({ t: "token", ask, token: "x" }), ...at);
    const { conn } = poll().find((output) => output.t === "open");
    core.handle(JSON.stringify({ t: "opened", conn }), ...at);
    core.received(conn, JSON.stringify(WELCOME), ...at);
    const sent = poll().flatMap((output) => (output.t === "transmit" ? [JSON.parse(output.text)].flat() : []));
    return sent.find((frame) => frame.t === "tbl.sub").filter;
  } finally {
    core.free();
  }
}

/** The only term's column, operator and value. */
function term(filter) {
  const [, column, operator, value] = /^([^=]+)=(\w+)\.(.*)$/s.exec(filter);
  return [column, operator, value.startsWith('"') ? value.slice(1, -1).replace(/\\(.)/gs, "$1") : value];
}

test("conditions become a filter", () => {
  const cases = [
    [undefined, ""],
    [{}, ""],
    ["a = 1 & b > 2", "a = 1 & b > 2"],
    [{ owner: "ada" }, 'owner=eq."ada"'],
    [
      { owner: "ada", age: { gt: 3, lte: 9n }, state: { in: ["open", "held"] }, deleted_at: null },
      'owner=eq."ada"&age=gt."3"&age=lte."9"&state=in.("open","held")&deleted_at=is.null',
    ],
    [{ done: false, note: { neq: null } }, 'done=eq."false"&note=is.not_null'],
    [{ at: { lt: new Date(0) } }, 'at=lt."1970-01-01T00:00:00.000Z"'],
    [{ name: { ilike: "*tide%" }, and: 1, or: 2, not: 3 }, 'name=ilike."*tide%"&and=eq."1"&or=eq."2"&not=eq."3"'],
    [{ state: { in: [] } }, "state=in.()"],
    [[{ a: 1 }, { b: 2, c: null }], 'or=(a.eq."1",and(b.eq."2",c.is.null))'],
    [[{ not: 1 }, { and: 2 }, { or: { in: [3] } }], 'or=(not.eq."1",and.eq."2",or.in.("3"))'],
  ];
  for (const [where, expected] of cases) assert.equal(filterOf(where), expected);
  const parsed = [
    ["owner=eq.ada&age=gt.3&age=lte.9&state=in.(open,held)&deleted_at=is.null", 4],
    ["or=(a.eq.1,and(b.eq.2,c.is.null))", 9],
    ["or=(not.eq.1,and.eq.2,or.in.(3))", 10],
  ];
  for (const [canonical, place] of parsed) assert.equal(asked(filterOf(cases[place][0])), canonical);
});

test("a value says nothing but itself, whatever is in it", () => {
  const hostile = [
    "",
    " ",
    "null",
    '"',
    '""',
    "\\",
    '\\"',
    'x"&secret=is.null',
    'x","y',
    "x),or=(secret.is.null",
    "not.is.null",
    "eq.1",
    "%",
    "a&b=c",
    "'; DROP TABLE users; --",
    "line\nbreak\r\ttab",
    "\u0000",
    "ünï\u2028cödé 🌊",
    "{a,b}",
    "(",
    ")",
    ",",
    "=",
    "*",
  ];
  for (const value of hostile) {
    assert.deepEqual(term(asked(filterOf({ owner: value }))), ["owner", "eq", value], JSON.stringify(value));
    const group = asked(filterOf([{ owner: value }, { other: 1 }]));
    assert.ok(group.startsWith("or=(owner.eq.") && group.endsWith(",other.eq.1)"), group);
    const several = asked(filterOf({ owner: { in: [value, "x"] } }));
    assert.ok(several.startsWith("owner=in.(") && several.endsWith(",x)"), several);
  }
});

test("what could be mistaken for fewer conditions, or is none, is refused", () => {
  const bad = [
    { a: undefined },
    { a: {} },
    { a: { eq: undefined } },
    { a: { in: "x" } },
    { a: { in: [undefined] } },
    { a: { in: [null] } },
    { a: { gt: null } },
    { a: { fly: 1 } },
    { a: ["x"] },
    { a: () => {} },
    { a: Symbol("a") },
    { a: new Date("never") },
    [],
    [{}],
    [{ a: 1 }, {}],
  ];
  for (const where of bad) assert.throws(() => filterOf(where), { name: "TidewireError", code: "bad_filter" });
  for (const name of ["", "a b", 'a"', "a=eq.1&b", "1a", "é", "a.b", "x".repeat(64)]) {
    assert.throws(() => filterOf({ [name]: 1 }), { code: "bad_column" }, name);
    assert.throws(() => orderOf({ [name]: "desc" }), { code: "bad_column" }, name);
  }
});

test("orders become text", () => {
  const cases = [
    [undefined, ""],
    ["priority.desc,name", "priority.desc,name"],
    [{ created_at: "desc" }, "created_at.desc"],
    [[{ priority: "desc.nullslast" }, "name", { id: "asc" }], "priority.desc.nullslast,name,id.asc"],
  ];
  for (const [order, expected] of cases) assert.equal(orderOf(order), expected);
});
