// Wrong arguments for live tables: the call throws an error of the package, and the client keeps
// working.
import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { createClient, TidewireError } from "../dist/index.js";
import { wasm } from "./bundle.mjs";
import { FakeSocket, settle, sockets, WELCOME } from "./fake.mjs";
import { HOSTILE, tried } from "./hostile.mjs";

const bytes = await wasm("tables");
let client;

beforeEach(async () => {
  globalThis.WebSocket = FakeSocket;
  sockets.length = 0;
  const token = async () => "token";
  client = await createClient({ url: "https://chat.example", token, storage: "memory", wasm: bytes, tables: true });
  while (sockets.length === 0) await settle();
  sockets[0].open();
  sockets[0].receive(WELCOME);
  await settle();
});

afterEach(() => {
  client.close();
  delete globalThis.WebSocket;
});

/** Opens a table and closes it again. */
const open = (name, options) => client.table(name, options).close();
const CALLS = {
  name: (value) => open(value),
  options: (value) => open("rules", value),
  where: (value) => open("rules", { where: value }),
  "where, any of": (value) => open("rules", { where: [value] }),
  "where, a value": (value) => open("rules", { where: { a: value } }),
  "where, a test": (value) => open("rules", { where: { a: { gte: value } } }),
  "where, a list": (value) => open("rules", { where: { a: { in: value } } }),
  "where, in a list": (value) => open("rules", { where: { a: { in: [value] } } }),
  "where, like": (value) => open("rules", { where: { a: { like: value } } }),
  orderBy: (value) => open("rules", { orderBy: value }),
  "orderBy, a column": (value) => open("rules", { orderBy: { a: value } }),
  "orderBy, a list": (value) => open("rules", { orderBy: [value] }),
  limit: (value) => open("rules", { limit: value }),
  select: (value) => open("rules", { select: value }),
  "select, a column": (value) => open("rules", { select: [value] }),
  events: (value) => open("rules", { events: value }),
  "events, one": (value) => open("rules", { events: [value] }),
  "ready-made, id": (value) => client.tables.messages(value).close(),
  "ready-made, options": (value) => client.tables.notifications("7", value).close(),
  "ready-made, column": (value) => client.tables.session("7", { column: value }).close(),
  "a listener": (value) => {
    const table = client.table("rules");
    try {
      table.on("change", value)();
    } finally {
      table.close();
    }
  },
  "an event": (value) => {
    const table = client.table("rules");
    try {
      table.on(value, () => {})();
    } finally {
      table.close();
    }
  },
  "a subscriber": (value) => {
    const table = client.table("rules");
    try {
      table.subscribe(value)();
    } finally {
      table.close();
    }
  },
  "a transaction": async (value) => {
    const table = client.table("rules");
    const waited = table.awaitTx(value);
    table.close();
    await waited;
  },
  "a time": async (value) => {
    const table = client.table("rules");
    const waited = table.awaitTx("7", value);
    table.close();
    await waited;
  },
  ms: async (value) => {
    const table = client.table("rules");
    const waited = table.awaitTx("7", { timeoutMs: value });
    table.close();
    await waited;
  },
};

for (const [call, run] of Object.entries(CALLS)) {
  test(`no value as ${call} harms the client`, async () => {
    for (const [name, value] of HOSTILE) {
      const error = await tried(() => run(value));
      if (error === undefined) continue;
      const where = `${call}: ${name}`;
      assert.ok(error instanceof TidewireError, `${where}: ${error?.stack ?? String(error)}`);
      assert.ok(!["bad_command", "core_crashed", "internal"].includes(error.code), `${where}: ${error.code}`);
      assert.notEqual(error.message, "", where);
    }
    assert.equal(client.getState().status.state, "online");
    const table = client.table("rules", { where: { a: 1 } });
    assert.equal(table.status, "loading");
    await settle();
    assert.ok(sockets[0].sent.some((frame) => frame.t === "tbl.sub"));
  });
}

test("what is refused says by what", () => {
  const refused = (code, words, call) =>
    assert.throws(call, (error) => error.code === code && words.test(error.message), `${code} ${words}`);
  refused("bad_filter", /where/, () => open("rules", { where: null }));
  refused("bad_argument", /events/, () => open("rules", { events: ["*"] }));
  refused("bad_argument", /were/, () => open("rules", { were: {} }));
  refused("bad_limit", /limit/, () => open("rules", { limit: -1 }));
  refused("bad_order", /orderBy/, () => open("rules", { orderBy: 7 }));
  refused("bad_argument", /select/, () => open("rules", { select: "name" }));
});

test("a table whose client is gone says closed, and nobody waits for it", async () => {
  const table = client.table("rules");
  const waiting = table.awaitTx("7");
  client.close();
  await assert.rejects(waiting, { code: "closed" });
  await assert.rejects(table.awaitTx("8"), { code: "closed" });
  assert.equal(table.status, "closed");
  table.close();
  table.close();
});
