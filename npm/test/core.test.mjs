// The WebAssembly boundary: unreadable input is refused with a code, and never breaks the core.
import assert from "node:assert/strict";
import { test } from "node:test";
import { source, wasm } from "./bundle.mjs";
import { ME, SUB_OK, WELCOME } from "./fake.mjs";

const { createCore, loadCore } = await source("wasm.ts");
await loadCore(await wasm());

const EMPTY = { ops: [], channels: [], tables: [] };
const make = (config = {}, restored = EMPTY) => createCore(config, restored, 1, 1_700_000_000_000);
const at = [1, 1_700_000_000_000];

test("settings and stores that can't be read are refused", () => {
  assert.throws(() => make({}, { ops: [1], channels: [] }), { code: "bad_config" });
  assert.throws(() => make({}, {}), { code: "bad_config" });
  assert.throws(() => make([]), { code: "bad_config" });
});

test("inputs that can't be read are refused, and the core works on", () => {
  const core = make();
  const deep = `${"[".repeat(100_000)}${"]".repeat(100_000)}`;
  for (const bad of ["", "{", "null", "[]", '{"t":"nothing"}', '{"t":"opened","conn":"x"}', deep, "\u0000", "\ud800"]) {
    assert.equal(core.handle(bad, ...at), false, bad.slice(0, 20));
  }
  assert.equal(core.handle('{"t":"network","state":"online"}', ...at), true);
  core.free();
});

test("commands that can't be read answer with a code", () => {
  const core = make();
  for (const bad of [
    "",
    "{}",
    '{"c":"fly"}',
    '{"c":"draft_text"}',
    '{"c":"draft_text","dialog":1,"text":2}',
    '{"c":"send"}',
  ]) {
    assert.deepEqual(JSON.parse(core.command(bad, ...at)), { error: { code: "bad_command", retryable: false } });
  }
  const empty = core.command(JSON.stringify({ c: "draft_text", dialog: "demo", text: " " }), ...at);
  assert.equal(JSON.parse(empty).error.code, "empty");
  const big = core.command(JSON.stringify({ c: "draft_text", dialog: "demo", text: "x".repeat(16_385) }), ...at);
  assert.equal(JSON.parse(big).error.code, "too_large");
  core.free();
});

test("messages of a connection that is not there, or no frames at all, are ignored", () => {
  const core = make();
  for (const text of ["", "nonsense", '{"t":"welcome"}', "[".repeat(50_000), '{"t":"event","offset":1e999}']) {
    core.received(7, text, ...at);
    core.received(Number.NaN, text, ...at);
    core.received(-1, text, Number.POSITIVE_INFINITY, -5);
  }
  assert.equal(JSON.parse(core.poll(...at)).at(-1).t, "wait");
  core.free();
});

test("every answer of poll ends in a wait or asks for another call", () => {
  const core = make();
  core.command('{"c":"connect"}', ...at);
  for (let n = 0; n < 200; n += 1) {
    const draft = core.command(JSON.stringify({ c: "draft_text", dialog: "demo", text: `message ${n}` }), ...at);
    const { id, ...rest } = JSON.parse(draft).ok;
    assert.equal(JSON.parse(core.command(JSON.stringify({ ...rest, id }), ...at)).ok, id);
    assert.equal(JSON.parse(core.command(JSON.stringify({ ...rest, id: "x" }), ...at)).error.code, "bad_op_id");
  }
  const outputs = [];
  let calls = 0;
  do {
    outputs.push(...JSON.parse(core.poll(...at)));
    calls += 1;
    assert.ok(calls < 20, "it comes to an end");
  } while (outputs.at(-1).t !== "wait");
  assert.equal(outputs.filter((output) => output.t === "wait").length, 1);
  assert.ok(outputs.some((output) => output.t === "token"));
  core.free();
});

test("people cross the boundary without what is usual", () => {
  const core = make();
  const command = (asked) => JSON.parse(core.command(JSON.stringify(asked), ...at));
  const events = () => JSON.parse(core.poll(...at)).filter(({ t }) => t === "people");
  const channel = "guild:7";
  const refused = (code) => ({ error: { code, retryable: false } });
  assert.deepEqual(command({ c: "people", channel }), { ok: { people: [], status: "syncing", count: 0 } });
  assert.deepEqual(command({ c: "watch_people", channel }), refused("not_subscribed"));
  assert.deepEqual(command({ c: "watch_people", channel: "no channel" }), refused("bad_channel"));
  assert.deepEqual(command({ c: "set_lease", channel, kind: "status", body: {} }), refused("not_subscribed"));
  assert.deepEqual(command({ c: "typing", channel, on: true }), refused("not_subscribed"));
  command({ c: "connect" });
  command({ c: "subscribe", channel });
  for (const asked of [
    { c: "watch_people", channel },
    { c: "set_lease", channel, kind: "status", body: { task: "x" } },
    { c: "set_lease", channel, kind: "status" },
    { c: "typing", channel, on: false },
  ]) {
    assert.deepEqual(command(asked), { ok: null }, asked.c);
  }
  assert.deepEqual(command({ c: "set_lease", channel, kind: "here", body: {} }), refused("bad_kind"));
  assert.deepEqual(command({ c: "set_lease", channel, kind: "k", body: "text" }), refused("bad_body"));
  for (const bad of [{ c: "watch_people" }, { c: "set_lease", channel }, { c: "typing" }, { c: "people", channel: 5 }]) {
    assert.deepEqual(command(bad), refused("bad_command"), bad.c);
  }
  assert.deepEqual(events(), [{ t: "people", channel, status: "syncing", count: 0 }]);

  core.handle('{"t":"token","ask":1,"token":"x"}', ...at);
  const conn = JSON.parse(core.poll(...at)).find(({ t }) => t === "open")?.conn ?? 1;
  core.handle(JSON.stringify({ t: "opened", conn }), ...at);
  const say = (frame) => core.received(conn, JSON.stringify(frame), ...at);
  say(WELCOME);
  say({ ...SUB_OK, ch: channel });
  core.poll(...at);
  const lease = { kind: "here", since: 5 };
  const typing = { kind: "typing", since: 6, brief: true };
  const status = { kind: "status", since: 7, body: { task: "x" } };
  const frame = { t: "people", ch: channel, count: 1, gone: [] };
  say({ ...frame, n: 0, full: true, people: [{ user: ME, leases: [{ ...lease, body: {}, brief: false }] }] });
  const row = { user: ME, leases: [lease] };
  assert.deepEqual(events(), [{ t: "people", channel, changes: [{ t: "insert", index: 0, row }], count: 1 }]);
  say({ ...frame, n: 1, people: [{ user: ME, leases: [lease, typing, status] }] });
  const known = { user: ME, leases: [lease, typing, status] };
  assert.deepEqual(events(), [{ t: "people", channel, changes: [{ t: "update", index: 0, row: known }], count: 1 }]);
  assert.deepEqual(command({ c: "people", channel }), { ok: { people: [known], count: 1 } });
  say({ ...frame, n: 1, count: 0, full: true, people: [], refused: "people_off" });
  const [end] = events();
  assert.deepEqual(end, {
    t: "people",
    channel,
    changes: [{ t: "reset", rows: [] }],
    status: "refused",
    code: "people_off",
    count: 0,
  });
  assert.deepEqual(command({ c: "unwatch_people", channel }), { ok: null });
  core.free();
});
