// The WebAssembly boundary: unreadable input is refused with a code, and never breaks the core.
import assert from "node:assert/strict";
import { test } from "node:test";
import { source, wasm } from "./bundle.mjs";

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
