// Live tables of the built package over a fake socket.
import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { createClient, TidewireError } from "../dist/index.js";
import { wasm } from "./bundle.mjs";
import { FakeSocket, settle, sockets, WELCOME } from "./fake.mjs";

const bytes = await wasm("tables");
const COLUMNS = [
  { name: "id", type: "integer" },
  { name: "name", type: "text" },
  { name: "priority", type: "bigint" },
];
let client;

beforeEach(() => {
  globalThis.WebSocket = FakeSocket;
  sockets.length = 0;
});

afterEach(() => {
  client?.close();
  client = undefined;
  delete globalThis.WebSocket;
});

async function connect(options = {}) {
  const token = async () => "token";
  const given = { url: "https://chat.example", token, storage: "memory", wasm: bytes, tables: true, ...options };
  client = await createClient(given);
  await settle();
  return client;
}

async function online() {
  await connect();
  sockets[0].open();
  sockets[0].receive(WELCOME);
  await settle();
}

const subs = () => sockets.at(-1).sent.filter((frame) => frame.t === "tbl.sub");
const receive = async (...frames) => {
  sockets.at(-1).receive(...frames);
  await settle();
};

/** Answers the latest subscription with a snapshot and makes it live at position 1. */
async function answer(rows, more = {}) {
  const { sid } = subs().at(-1);
  await receive(
    { t: "tbl.ok", sid, mode: "snapshot", columns: COLUMNS, key: [0], pos: 1, rows, more: false, ...more },
    { t: "tbl.live", sid, feed: `f-${sid}`, prev: 1, pos: 1, cursor: "c1" },
  );
  return sid;
}

let place = 1;
const tx = (to, changes, { tx: name = "tx1", at = 5, ...more } = {}) => {
  place = more.prev ?? place;
  const txs = [[name, at, changes]];
  const frame = { t: "tbl.tx", ...to, prev: place, pos: place + 1, cursor: "c", txs, ...more };
  place += 1;
  return frame;
};
const insert = (row) => ({ op: "insert", row });
const update = (row) => ({ op: "update", row });
const remove = (id, more = {}) => ({ op: "delete", key: [id], ...more });

beforeEach(() => {
  place = 1;
});

test("a client without tables has none, and one with them is a client like any other", async () => {
  const chat = await createClient({ url: "https://x.example", storage: "memory", wasm: await wasm(), autoConnect: false });
  assert.equal(chat.table, undefined);
  chat.close();
  await online();
  client.dialog("demo");
  assert.equal(client.getState().status.state, "online");
});

test("rows are loaded, ordered and limited, and then follow every change", async () => {
  await online();
  const table = client.table("rules", { where: { name: { neq: "x" } }, orderBy: { priority: "desc" }, limit: 2 });
  assert.deepEqual([table.name, table.status, table.rows, table.error], ["rules", "loading", [], null]);
  await settle();
  const [{ sid, table: name, filter }] = subs();
  assert.deepEqual([name, filter], ["rules", "name=neq.x"]);
  await answer([
    [1, "one", "9"],
    [2, "two", "10"],
    [3, "three", null],
  ]);
  assert.equal(table.status, "live");
  assert.deepEqual(table.rows, [
    { id: 3, name: "three", priority: null },
    { id: 2, name: "two", priority: "10" },
  ]);
  const changes = [];
  const commits = [];
  table.on("change", (change) => changes.push([change, table.rows.length]));
  table.on("commit", (list) => commits.push(list));
  const feed = `f-${sid}`;
  await receive(tx({ feed }, [insert([4, "four", "11"]), update([2, "zwei", "10"]), remove(3)], { tx: "77", at: 1234 }));
  const common = { table: "rules", why: "commit", tx: "77", at: 1234 };
  const expected = [
    { ...common, event: "INSERT", new: { id: 4, name: "four", priority: "11" }, old: null },
    {
      ...common,
      event: "UPDATE",
      new: { id: 2, name: "zwei", priority: "10" },
      old: { id: 2, name: "two", priority: "10" },
    },
    { ...common, event: "DELETE", new: null, old: { id: 3, name: "three", priority: null } },
  ];
  assert.deepEqual(changes, [
    [expected[0], 2],
    [expected[1], 2],
    [expected[2], 2],
  ]);
  assert.deepEqual(commits, [expected]);
  assert.deepEqual(
    table.rows.map((row) => row.name),
    ["four", "zwei"],
  );
  await receive(tx({ feed }, [{ ...insert([5, "five", "1"]), moved: true }, remove(2, { moved: true })]));
  assert.deepEqual(
    commits.at(-1).map(({ event, why }) => [event, why]),
    [
      ["INSERT", "moved_in"],
      ["DELETE", "moved_out"],
    ],
  );
});

test("states and rows keep their identity until they change, and listeners hear once a frame", async () => {
  await online();
  const table = client.table("rules");
  assert.equal(table.getState(), table.getInitialState());
  const heard = [];
  const end = table.subscribe((now, before) => heard.push([now, before]));
  await settle();
  const sid = await answer([
    [1, "one", "1"],
    [2, "two", "2"],
  ]);
  const first = table.getState();
  assert.equal(first, table.getState());
  assert.equal(heard.length, 1);
  assert.equal(heard[0][0], first);
  await receive(tx({ sid }, [update([2, "zwei", "2"])]), tx({ sid }, [update([2, "deux", "2"])]));
  const second = table.getState();
  assert.equal(heard.length, 2);
  assert.deepEqual(heard[1], [second, first]);
  assert.equal(second.rows[0], first.rows[0], "a row that did not change is the same object");
  assert.notEqual(second.rows[1], first.rows[1]);
  await receive({ t: "tbl.mark", sid, prev: place, pos: place + 1, cursor: "c9" });
  assert.equal(table.getState(), second);
  end();
  place += 1;
  await receive(tx({ sid }, [remove(1)]));
  assert.equal(heard.length, 2);
  assert.equal(table.rows.length, 1);
});

test("only the kinds of changes that were asked for are told; rows follow all", async () => {
  await online();
  const table = client.table("rules", { events: ["DELETE"], select: ["id", "name"] });
  await settle();
  assert.deepEqual(subs()[0].select, ["id", "name"]);
  const told = [];
  table.on("change", ({ event }) => told.push(event));
  const sid = await answer([[1, "one", "1"]]);
  await receive(tx({ sid }, [insert([2, "two", "2"]), update([1, "eins", "1"])]), tx({ sid }, [remove(1)]));
  assert.deepEqual(told, ["DELETE"]);
  assert.deepEqual(
    table.rows.map((row) => row.name),
    ["two"],
  );
});

test("what can't be asked is refused at once, with the place in the filter", async () => {
  await online();
  const refused = (options, code, at) =>
    assert.throws(
      () => client.table("rules", options),
      (error) => error instanceof TidewireError && error.code === code && error.at === at && error.message.length > 10,
      code,
    );
  refused({ where: "a = 1 & b ~ 2" }, "bad_filter", 10);
  refused({ where: 'a=eq."x' }, "bad_literal", 5);
  refused({ where: "1=eq.1" }, "bad_column", 0);
  refused({ where: `a=eq.${"x".repeat(5000)}` }, "filter_too_long", 4096);
  refused({ where: { "a b": 1 } }, "bad_column", undefined);
  refused({ where: { a: undefined } }, "bad_filter", undefined);
  refused({ orderBy: "a.up" }, "bad_order", undefined);
  refused({ limit: -1 }, "bad_limit", undefined);
  refused({ select: [""] }, "bad_select", undefined);
  assert.throws(() => client.table(""), { code: "bad_table" });
  await settle();
  assert.deepEqual(subs(), []);
});

test("what the server refuses is a state with its code, its message and the place", async () => {
  await online();
  const table = client.table("secrets", { where: "owner = ada" });
  await settle();
  const { sid } = subs()[0];
  const waiting = assert.rejects(table.awaitTx("9"), { code: "bad_column" });
  await receive({ t: "tbl.err", sid, code: "bad_column", message: "no column `owner`", at: 0, retryable: false });
  assert.equal(table.status, "failed");
  assert.deepEqual(table.error, { code: "bad_column", message: "no column `owner`", at: 0 });
  await waiting;
  const ordered = client.table("rules", { orderBy: "nothing" });
  await settle();
  await answer([[1, "one", "1"]]);
  assert.deepEqual([ordered.status, ordered.error.code, ordered.rows], ["failed", "bad_order", []]);
});

test("without a connection rows are stale; what was missed comes as it was committed, or is found by comparing", async () => {
  await online();
  const table = client.table("rules");
  await settle();
  await answer([
    [1, "one", "1"],
    [2, "two", "2"],
  ]);
  const told = [];
  table.on("change", (change) => told.push([change.event, change.why, change.tx, (change.new ?? change.old).name]));
  sockets[0].drop();
  await settle();
  assert.deepEqual([table.status, table.rows.length], ["stale", 2]);
  while (sockets.length < 2) await settle();
  sockets[1].open();
  sockets[1].receive(WELCOME);
  await settle();
  assert.equal(subs()[0].cursor, "c1");
  const { sid } = subs()[0];
  await receive({
    t: "tbl.ok",
    sid,
    mode: "resumed",
    columns: COLUMNS,
    key: [0],
    pos: 1,
    cursor: "c1",
    rows: [],
    more: false,
  });
  await receive(tx({ sid }, [update([1, "eins", "1"])], { prev: 1 }), {
    t: "tbl.live",
    sid,
    feed: "f",
    prev: 2,
    pos: 2,
    cursor: "c2",
  });
  assert.equal(table.status, "live");
  assert.deepEqual(told.splice(0), [["UPDATE", "commit", "tx1", "eins"]]);
  await receive({ t: "tbl.reset", sid, reason: "trimmed", spread_ms: 0 });
  assert.equal(table.status, "stale");
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.equal(subs().at(-1).cursor, undefined);
  await answer([
    [1, "uno", "1"],
    [3, "three", "3"],
  ]);
  assert.deepEqual(told, [
    ["DELETE", "resync", null, "two"],
    ["UPDATE", "resync", null, "uno"],
    ["INSERT", "resync", null, "three"],
  ]);
});

test("a transaction can be waited for: its changes are told before", async () => {
  await online();
  const table = client.table("rules");
  await settle();
  const sid = await answer([]);
  const order = [];
  table.on("commit", (changes) => order.push(changes.length));
  const seen = table.awaitTx("tx1").then(() => order.push("seen"));
  assert.deepEqual(sockets[0].sent.at(-1), { t: "tbl.wait", sid, tx: "tx1" });
  await receive(tx({ sid }, [insert([1, "one", "1"])]), { t: "tbl.seen", sid, tx: "tx1" });
  await seen;
  assert.deepEqual(order, [1, "seen"]);
  const unknown = assert.rejects(table.awaitTx("nonsense"), { name: "TidewireError", code: "unknown_tx" });
  await receive({ t: "tbl.seen", sid, tx: "nonsense", code: "unknown_tx" });
  await unknown;
  await assert.rejects(table.awaitTx("never", { timeoutMs: 10 }), { code: "timeout", retryable: true });
});

test("a closed table is left at the server, says so, hears nothing more, and nobody waits", async () => {
  await online();
  const table = client.table("rules");
  const other = client.table("rules");
  await settle();
  assert.equal(subs().length, 1, "the same question is asked once");
  const sid = await answer([[1, "one", "1"]]);
  const told = [];
  table.on("change", (change) => told.push(change));
  table.subscribe((state) => told.push(state));
  const waiting = table.awaitTx("9");
  table.close();
  table.close();
  await assert.rejects(waiting, { code: "closed" });
  await assert.rejects(table.awaitTx("9"), { code: "closed" });
  await receive(tx({ sid }, [insert([2, "two", "2"])]));
  assert.deepEqual(
    told.map((state) => state.status),
    ["closed"],
  );
  assert.deepEqual([table.status, table.rows.length], ["closed", 1]);
  assert.equal(other.rows.length, 2);
  other[Symbol.dispose]();
  assert.deepEqual(sockets[0].sent.at(-1), { t: "tbl.unsub", sid });
});

test("listeners may throw, end themselves and each other, and open and close tables", async () => {
  await online();
  const table = client.table("rules");
  await settle();
  const sid = await answer([]);
  const reported = [];
  globalThis.reportError = (error) => reported.push(error.message);
  const heard = [];
  table.on("change", () => {
    throw new Error("mine");
  });
  let endLast = () => {};
  const endSelf = table.on("change", () => {
    heard.push("self");
    endSelf();
    endLast();
    client.table("others").close();
  });
  endLast = table.on("change", () => heard.push("last"));
  table.on("change", () => heard.push("always"));
  await receive(tx({ sid }, [insert([1, "one", "1"]), insert([2, "two", "2"])]));
  delete globalThis.reportError;
  assert.deepEqual(heard, ["self", "always", "always"]);
  assert.deepEqual(reported, ["mine", "mine"]);
});

test("ready-made tables ask what their names say, and take other names", async () => {
  await online();
  client.tables.messages("s1");
  client.tables.session(7);
  client.tables.contextRules({ orderBy: "priority.desc" });
  client.tables.widgetConfigurations("u&1");
  client.tables.notifications("u1", { table: "notes", column: "owner", limit: 5 });
  await settle();
  assert.deepEqual(
    subs().map(({ table, filter }) => [table, filter]),
    [
      ["chat_messages", "session_id=eq.s1"],
      ["chat_sessions", "id=eq.7"],
      ["context_rules", undefined],
      ["widget_configurations", 'user_id=eq."u&1"'],
      ["notes", "owner=eq.u1"],
    ],
  );
  for (const column of ["", "id=eq.1&x"]) {
    assert.throws(() => client.tables.session("7", { column }), { code: "bad_column" }, column);
  }
});

test("after a logout nothing of a table is left to read, and nobody waits", async () => {
  await online();
  const table = client.table("rules");
  await settle();
  await answer([[1, "one", "1"]]);
  const waiting = table.awaitTx("9");
  const [, over] = await Promise.all([client.logout(), assert.rejects(waiting, { code: "logged_out" })]);
  assert.equal(over, undefined);
  assert.deepEqual([table.status, table.rows], ["loading", []]);
});
