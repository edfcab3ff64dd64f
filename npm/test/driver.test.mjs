// The loop around a pretended core: what is carried out, in which order, and what happens when the core traps.
import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { source } from "./bundle.mjs";
import { FakeSocket, settle, sockets } from "./fake.mjs";

const { Driver } = await source("driver.ts");
let told;
let stored;
let reported;

beforeEach(() => {
  told = [];
  stored = [];
  reported = [];
  sockets.length = 0;
  globalThis.WebSocket = FakeSocket;
  globalThis.reportError = (error) => reported.push(error.message);
});

afterEach(() => {
  delete globalThis.WebSocket;
  delete globalThis.reportError;
});

/** A core that answers each poll with the next list, and remembers what it was told. */
function fakeCore(...lists) {
  const inputs = [];
  return {
    inputs,
    free: () => inputs.push("free"),
    received: (conn, text) => inputs.push([conn, text]),
    handle: (text) => inputs.push(JSON.parse(text)) > 0,
    command: (text) => {
      inputs.push(JSON.parse(text));
      return '{"ok":"id"}';
    },
    poll: () => JSON.stringify(lists.shift() ?? [{ t: "wait", why: "idle" }]),
  };
}

function drive(core, parts = {}) {
  const storage = {
    apply: async (change) => {
      stored.push(change);
      return parts.failure ?? null;
    },
    close: () => stored.push("close"),
  };
  const token = parts.token ?? (async () => "token");
  return new Driver({ core, url: "ws://x", storage, token, event: (event) => told.push(event) });
}

test("it polls until a wait, carries effects out in their order, and reports back", async () => {
  const change = { t: "put_op", id: "1", record: "{}" };
  const core = fakeCore(
    [
      { t: "store", store: 1, change },
      { t: "token", ask: 2, renew: true },
    ],
    [
      { t: "open", conn: 3 },
      { t: "status", state: "connecting", attempt: 0, waiting: 1 },
      { t: "wait", why: "x" },
    ],
  );
  const asked = [];
  const token = async (why) => {
    asked.push(why);
    return null;
  };
  const driver = drive(core, { token, failure: "full" });
  driver.command({ c: "connect" });
  assert.equal(sockets.length, 1);
  assert.deepEqual(asked, [], "the application's code does not run inside the loop");
  assert.deepEqual(
    told.map((event) => event.t),
    ["status"],
  );
  await settle();
  assert.deepEqual(asked, ["renew"]);
  assert.deepEqual(stored, [change]);
  sockets[0].open();
  sockets[0].drop(4020);
  const answers = core.inputs.slice(1);
  assert.deepEqual(new Set(answers.slice(0, 2).map((input) => input.t)), new Set(["stored", "token"]));
  assert.deepEqual(
    answers.find((input) => input.t === "stored"),
    { t: "stored", store: 1, error: "full" },
  );
  assert.deepEqual(
    answers.find((input) => input.t === "token"),
    { t: "token", ask: 2, error: "unauthorized" },
  );
  assert.deepEqual(answers.slice(2), [
    { t: "opened", conn: 3 },
    { t: "closed", conn: 3, code: 4020 },
  ]);
  driver.dispose();
});

test("it wakes up when the core asked for it, and only once for several waits", async () => {
  let polls = 0;
  const core = fakeCore();
  core.poll = () => {
    polls += 1;
    const until = polls < 3 ? Math.floor(performance.now()) + 20 : undefined;
    return JSON.stringify([{ t: "wait", why: "x", ...(until === undefined ? {} : { until }) }]);
  };
  const driver = drive(core);
  driver.command({ c: "connect" });
  driver.command({ c: "connect" });
  assert.equal(polls, 2);
  await settle();
  await settle();
  assert.equal(polls, 3);
  driver.dispose();
});

test("a transmit for a connection that is gone is dropped", async () => {
  const core = fakeCore(
    [
      { t: "open", conn: 1 },
      { t: "wait", why: "x" },
    ],
    [
      { t: "transmit", conn: 1, text: '{"t":"early"}' },
      { t: "close", conn: 1, code: 4500 },
      { t: "transmit", conn: 1, text: '{"t":"late"}' },
      { t: "wait", why: "x" },
    ],
  );
  const driver = drive(core);
  driver.command({ c: "connect" });
  sockets[0].readyState = 1;
  driver.command({ c: "close" });
  assert.deepEqual(sockets[0].sent, [{ t: "early" }]);
  assert.equal(sockets[0].closed, 4500);
  driver.dispose();
});

test("a core that traps is told once as a final state, and nothing calls it again", async () => {
  const core = fakeCore([
    { t: "open", conn: 1 },
    { t: "wait", why: "x", until: 1 },
  ]);
  const driver = drive(core);
  driver.command({ c: "connect" });
  sockets[0].open();
  core.received = () => {
    throw new WebAssembly.RuntimeError("unreachable");
  };
  sockets[0].receive({ t: "event" });
  assert.deepEqual(reported, ["unreachable"]);
  assert.deepEqual(told.at(-1), { t: "status", state: "failed", attempt: 0, cause: "core_crashed", waiting: 0 });
  assert.equal(sockets[0].closed, 1000);
  assert.throws(() => driver.command({ c: "connect" }), { code: "closed" });
  assert.equal(driver.isUsable, false);
  driver.dispose();
  await settle();
  assert.ok(!core.inputs.includes("free"));
});
