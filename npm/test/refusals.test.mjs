// Refusals by the token provider and the server: a final one ends the client with its code, a
// temporary one shows the time of the next attempt.
import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { createClient, TidewireError } from "../dist/index.js";
import { wasm } from "./bundle.mjs";
import { FakeSocket, SUB_OK, settle, sockets, WELCOME } from "./fake.mjs";
import { HOSTILE } from "./hostile.mjs";

const bytes = await wasm();
/** Shortest pause between attempts that the application requests, ms. */
const SOON = 5000;
const { performance: clock, fetch: network } = globalThis;
let client;
let ahead;

beforeEach(() => {
  globalThis.WebSocket = FakeSocket;
  sockets.length = 0;
  ahead = 0;
  Object.defineProperty(globalThis, "performance", { value: { now: () => clock.now() + ahead }, configurable: true });
});

afterEach(() => {
  client?.close();
  client = undefined;
  delete globalThis.WebSocket;
  Object.defineProperty(globalThis, "performance", { value: clock, configurable: true });
  globalThis.fetch = network;
});

const connect = async (options) => {
  client = await createClient({ url: "https://chat.example", storage: "memory", wasm: bytes, ...options });
  await settle();
  return client.getState().status;
};

/** Lets time pass and wakes the core. */
async function pass(ms) {
  ahead += ms;
  client.explain();
  await settle();
  return client.getState().status;
}

test("a provider that gives no token ends it at once, with a word about what it gave, until the application says so", async () => {
  let asked = 0;
  for (const [name, value] of HOSTILE) {
    // Checking whether the value is a promise throws, which counts as a failure of the provider.
    if (name.includes("proxy") || (typeof value === "string" && value !== "")) continue;
    if (value === null || value instanceof Promise) continue;
    const { state, cause, message, retryAt } = await connect({
      token: async () => {
        asked += 1;
        return value;
      },
    });
    assert.deepEqual([state, cause, retryAt], ["failed", "bad_token", null], name);
    assert.match(message, /token provider gave (a |an |undefined)|token is empty/, name);
    assert.equal(sockets.length, 0);
    const before = asked;
    assert.equal((await pass(120_000)).state, "failed");
    assert.equal(asked, before, "nobody is asked again");
    client.connect();
    await settle();
    assert.equal(asked, before + 1);
    client.close();
  }
});

test("null, and an error that says so, are for good, with code and message", async () => {
  let status = await connect({ token: async () => null });
  assert.deepEqual([status.state, status.cause], ["failed", "unauthorized"]);
  client.close();
  status = await connect({
    token: async () => {
      throw new TidewireError("trial_over", "your trial ended on Monday", false);
    },
  });
  assert.deepEqual([status.state, status.cause, status.message], ["failed", "trial_over", "your trial ended on Monday"]);
});

test("whatever a provider throws is told, with when it is asked again, and retryNow does not wait for that", async () => {
  for (const [name, thrown] of HOSTILE) {
    let asked = 0;
    const { state, cause, retryAt, message } = await connect({
      config: { backoff_base_ms: 3_000_000, backoff_cap_ms: 3_000_000 },
      token: () => {
        asked += 1;
        throw thrown;
      },
    });
    assert.deepEqual([state, cause, asked], ["reconnecting", "token_unavailable", 1], name);
    assert.ok(retryAt !== null && typeof message === "string", name);
    client.retryNow();
    await settle();
    assert.ok(asked >= 2 || client.getState().status.retryAt < Date.now() + SOON, name);
    if (asked < 2) await pass(SOON);
    assert.ok(asked >= 2, name);
    const before = asked;
    client.disconnect();
    client.retryNow();
    await settle();
    assert.deepEqual([asked, client.getState().status.state], [before, "disconnected"], "a disconnected client stays so");
    client.close();
  }
  const { message } = await connect({
    token: async () => {
      throw new Error("the sign-in service is down");
    },
  });
  assert.equal(message, "the sign-in service is down");
});

test("a provider that never answers has half a minute, and then a code", async () => {
  let asked = 0;
  const before = await connect({
    token: () => {
      asked += 1;
      return new Promise(() => {});
    },
  });
  assert.equal(before.state, "connecting");
  const { state, cause, retryAt } = await pass(31_000);
  assert.deepEqual([state, cause], ["reconnecting", "token_timeout"]);
  // The pause before the next attempt may be over already: it is random from 0.
  assert.ok(retryAt !== null || asked === 2, `${asked} asked`);
});

test("a guest whom the server refuses is told why, for good", async () => {
  let asked = 0;
  globalThis.fetch = async () => {
    asked += 1;
    const error = { code: "bad_request", message: "`nickname` must have 1 to 40 characters and no control characters" };
    return new Response(JSON.stringify({ error }), { status: 400 });
  };
  const { state, cause, message } = await connect({ guest: { nickname: "" } });
  assert.deepEqual([state, cause], ["failed", "bad_request"]);
  assert.match(message, /1 to 40 characters/);
  await pass(60_000);
  assert.equal(asked, 1);
});

test("what the server says of when to come back is kept to", async () => {
  for (const [status, wait, least] of [
    [429, 9000, 9000],
    [503, 20_000, 20_000],
    [503, "soon", 0],
    [429, -5, 0],
    [429, 1e300, 0],
  ]) {
    globalThis.fetch = async () =>
      new Response(JSON.stringify({ error: { code: "rate_limited", message: "wait", retry_after_ms: wait } }), { status });
    const { state, cause, retryAt } = await connect({ guest: { nickname: "Ada" } });
    assert.deepEqual([state, cause], ["reconnecting", "rate_limited"]);
    assert.ok(retryAt >= Date.now() + least - 500 && retryAt < Date.now() + least + 31_000, `${wait}: ${retryAt}`);
    client.close();
  }
});

test("a guest's half an emoji is made whole", async () => {
  let body;
  globalThis.fetch = async (_, init) => {
    body = JSON.parse(init.body);
    return new Response('{"token":"t"}');
  };
  await connect({ guest: { nickname: "Ada \ud83d" } });
  assert.deepEqual(body, { nickname: "Ada \ufffd" });
});

test("a dialog that is full says so, and when it is tried again", async () => {
  await connect({ token: async () => "token" });
  const dialog = client.dialog("demo");
  sockets[0].open();
  const refusal = { t: "sub_err", ch: "dialog:demo", code: "too_many_connections", message: "full", retryable: true };
  sockets[0].receive(WELCOME, { ...refusal, retry_after_ms: 30_000 });
  await settle();
  const { status, error, retryAt } = dialog.getState();
  assert.deepEqual([status, error], ["waiting", { code: "too_many_connections", message: "full" }]);
  assert.ok(retryAt > Date.now() + 20_000);
  sockets[0].sent.length = 0;
  client.retryNow();
  await settle();
  assert.equal(sockets[0].sent.length, 0, "not before the server said");
  await pass(31_000);
  assert.equal(sockets[0].sent.filter((frame) => frame.t === "sub").length, 1);
  sockets[0].receive(SUB_OK);
  assert.deepEqual([dialog.getState().status, dialog.getState().error, dialog.getState().retryAt], ["live", null, null]);
});
