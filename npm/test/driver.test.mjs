// The driver around a fake core: what it carries out, in which order, and what happens when the
// core traps.
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

/** A fake core that answers each poll with the next list and records its inputs. */
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
  const { credentials } = parts;
  const more = credentials === undefined ? {} : { credentials };
  return new Driver({ core, base: "http://x", storage, token, event: (event) => told.push(event), ...more });
}

test("it polls until a wait, carries effects out in their order, and reports back", async () => {
  const change = { t: "put_op", id: "1", record: "{}" };
  const core = fakeCore(
    [
      { t: "store", store: 1, change },
      { t: "token", ask: 2, renew: true },
    ],
    [
      { t: "open", conn: 3, transport: "websocket" },
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
    { t: "token", ask: 2, error: "unauthorized", message: "there is no token for this user", terminal: true },
  );
  assert.deepEqual(answers.slice(2), [
    { t: "opened", conn: 3 },
    { t: "closed", conn: 3, code: 4020 },
  ]);
  driver.close();
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
  driver.close();
});

test("a transmit for a connection that is gone is dropped", async () => {
  const core = fakeCore(
    [
      { t: "open", conn: 1, transport: "websocket" },
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
  driver.close();
});

test("a second connection is opened while the first one works, and each has its own reports", () => {
  const wait = { t: "wait", why: "x" };
  const core = fakeCore(
    [{ t: "open", conn: 1, transport: "websocket" }, wait],
    [wait],
    [{ t: "open", conn: 2, transport: "websocket" }, wait],
    [wait],
    [{ t: "transmit", conn: 2, text: '{"t":"hello"}' }, { t: "transmit", conn: 1, text: '{"t":"ping"}' }, wait],
    [{ t: "transmit", conn: 1, text: '{"t":"bye"}' }, { t: "close", conn: 1, code: 1000 }, wait],
  );
  const driver = drive(core);
  driver.command({ c: "connect" });
  sockets[0].open();
  sockets[0].receive({ t: "goaway" });
  sockets[0].receive({ t: "event", n: 1 });
  assert.equal(sockets.length, 2);
  assert.equal(sockets[0].closed, undefined, "the first one is left as it is");
  sockets[1].open();
  assert.deepEqual([sockets[0].sent, sockets[1].sent], [[{ t: "ping" }], [{ t: "hello" }]]);
  sockets[1].receive({ t: "welcome" });
  assert.deepEqual(sockets[0].sent.at(-1), { t: "bye" });
  assert.deepEqual([sockets[0].closed, sockets[1].closed], [1000, undefined]);
  sockets[0].receive({ t: "late" });
  sockets[0].drop();
  sockets[1].drop(4000);
  assert.deepEqual(core.inputs.slice(1), [
    { t: "opened", conn: 1 },
    [1, '{"t":"goaway"}'],
    [1, '{"t":"event","n":1}'],
    { t: "opened", conn: 2 },
    [2, '{"t":"welcome"}'],
    { t: "closed", conn: 2, code: 4000 },
  ]);
  driver.close();
});

test("disposing closes every connection", () => {
  const opens = [1, 2].map((conn) => ({ t: "open", conn, transport: "websocket" }));
  const driver = drive(fakeCore([...opens, { t: "wait", why: "x" }]));
  driver.command({ c: "connect" });
  driver.close();
  assert.deepEqual(
    sockets.map((socket) => socket.closed),
    [1000, 1000],
  );
});

test("a core that traps is told once as a final state, and nothing calls it again", async () => {
  const core = fakeCore([
    { t: "open", conn: 1, transport: "websocket" },
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
  driver.close();
  await settle();
  assert.ok(!core.inputs.includes("free"));
});

test("plain requests carry cookies to another origin only if a cookie is the credential", async () => {
  const { fetch } = globalThis;
  const asked = [];
  globalThis.fetch = async (_url, options) => {
    asked.push(options.credentials);
    return new Response("");
  };
  try {
    for (const credentials of [undefined, "include"]) {
      const request = { t: "request", request: 1, path: "/v1/http", method: "POST", headers: {}, keepalive: false };
      drive(fakeCore([request]), { credentials }).command({ c: "connect" });
      await settle();
    }
  } finally {
    globalThis.fetch = fetch;
  }
  assert.deepEqual(asked, ["same-origin", "include"]);
});
