// Who answers in a dialog, and the steps of a hand-off, in the built package over a fake socket.
import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { createClient } from "../dist/index.js";
import { wasm } from "./bundle.mjs";
import { event, FakeSocket, SUB_OK, settle, sockets, WELCOME } from "./fake.mjs";

const bytes = await wasm();
const ch = "dialog:demo";
const EVE = { id: "op:1", name: "Eve", kind: "operator" };
const BOB = { id: "op:2", name: "Bob", kind: "operator" };
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

/** A client that is online in the dialog. */
async function live(more = {}) {
  const token = async () => "token";
  client = await createClient({ url: "https://chat.example", token, storage: "memory", wasm: bytes });
  const dialog = client.dialog("demo");
  await settle();
  sockets[0].open();
  sockets[0].receive(WELCOME, { ...SUB_OK, ...more });
  await settle();
  return { dialog, socket: sockets[0] };
}

const step = (offset, body, by, at) => event(offset, "handoff", body, { by, at });
const ops = (socket) => socket.sent.filter(({ t }) => t === "op");

test("the state says who answers, whoever takes the steps, and is the same object until it changes", async () => {
  const { dialog, socket } = await live();
  assert.deepEqual(dialog.getInitialState().handler, { state: "ai" });
  assert.equal(dialog.getState().handler, dialog.getInitialState().handler);
  const seen = [];
  dialog.subscribe(({ handler }, before) => handler !== before.handler && seen.push(handler.state));
  const shows = async (...frames) => {
    socket.receive(...frames);
    await settle();
    return dialog.getState().handler;
  };
  assert.deepEqual(await shows(step(1, { step: "request" }, WELCOME.user, 5)), { state: "queued", since: 5 });
  const taken = await shows(step(2, { step: "take" }, EVE, 6));
  assert.deepEqual(taken, { state: "operator", since: 6, user: EVE });
  assert.equal(await shows(event(3, "message", { text: "hello" }, { by: EVE, at: 7 })), taken);
  const given = await shows(step(4, { step: "transfer", to: { id: BOB.id, name: BOB.name } }, EVE, 8));
  assert.deepEqual(given, { state: "operator", since: 8, user: BOB });
  assert.deepEqual(await shows(step(5, { step: "close" }, BOB, 9)), { state: "closed", since: 9 });
  const reopened = event(6, "message", { text: "one more" }, { by: WELCOME.user, at: 10 });
  assert.deepEqual(await shows(reopened), { state: "ai" });
  assert.deepEqual(seen, ["queued", "operator", "operator", "closed", "ai"]);
  assert.deepEqual(
    dialog.getState().rows.map(({ text }) => text),
    ["hello", "one more"],
    "steps are no rows",
  );
});

test("a dialog that an operator has is shown so from the start, and after a reconnect as it is then", async () => {
  const handler = { state: "operator", since: 4, user: EVE };
  const { dialog, socket } = await live({ handler });
  assert.deepEqual(dialog.getState().handler, handler);
  // A handle that is opened later has it too.
  assert.equal(client.dialog("demo").getState().handler, dialog.getState().handler);
  socket.drop();
  assert.deepEqual(dialog.getState().handler, handler);
  while (sockets.length < 2) await settle();
  sockets[1].open();
  sockets[1].receive(WELCOME, { ...SUB_OK, mode: "resumed" });
  await settle();
  assert.deepEqual(dialog.getState().handler, { state: "ai" });
});

test("each step is an op with its body; the server's refusal rejects `acked` with its code", async () => {
  const { dialog, socket } = await live();
  const steps = [
    { step: "request" },
    { step: "take" },
    { step: "take", from: "op:2" },
    { step: "transfer", to: { id: "op:2", name: "Bob" } },
    { step: "release", from: "op:1" },
    { step: "release" },
    { step: "close" },
  ];
  const given = steps.map((body) => dialog.handOff(body));
  while (ops(socket).length < steps.length) await settle();
  assert.deepEqual(
    ops(socket).map(({ kind, body }) => ({ kind, ...body })),
    steps.map((body) => ({ kind: "handoff", ...body })),
  );
  const refused = { code: "handoff_conflict", message: "an operator was asked for already", retryable: false };
  for (const [at, { id }] of given.entries()) {
    assert.equal(ops(socket)[at].id, id);
    socket.receive(at === 0 ? { t: "nack", id, ...refused } : { t: "ok", id, ch, offset: at, at: 1, dup: false });
  }
  await assert.rejects(given[0].acked, { name: "TidewireError", code: "handoff_conflict", message: refused.message });
  for (const [at, { acked }] of given.entries()) if (at > 0) assert.deepEqual(await acked, { offset: at });
  assert.deepEqual(dialog.getState().rows, [], "a refused step leaves no row");
});

test("asking for a person waits for the connection; nothing else outlives the client's", async () => {
  const token = async () => "token";
  client = await createClient({ url: "https://chat.example", token, storage: "memory", wasm: bytes });
  const dialog = client.dialog("demo");
  const { acked } = dialog.handOff({ step: "request" });
  await settle();
  assert.equal(client.getState().status.waiting, 1);
  sockets[0].open();
  sockets[0].receive(WELCOME, SUB_OK);
  await settle();
  const [{ id }] = ops(sockets[0]);
  sockets[0].receive({ t: "ok", id, ch, offset: 1, at: 1, dup: false });
  assert.deepEqual(await acked, { offset: 1 });
});

test("a step that is none is refused, and says why", async () => {
  const { dialog, socket } = await live();
  const revoked = Proxy.revocable({}, {});
  revoked.revoke();
  const throwing = {
    get step() {
      throw new Error("no");
    },
  };
  const wrong = [undefined, null, "request", 5, [], () => {}, Symbol(), revoked.proxy, throwing];
  wrong.push({ step: 5 }, { step: "take", from: 5 }, { step: "take", from: null }, { step: "request", why: "?" });
  wrong.push(...[null, "Bob", [], {}, { id: "op:2" }, { id: 5, name: "Bob" }, { id: "a", name: "b", kind: "c" }].map(toBob));
  for (const [at, one] of wrong.entries()) {
    const codes = ["bad_argument", "bad_body"];
    assert.throws(
      () => dialog.handOff(one),
      (error) => error.name === "TidewireError" && codes.includes(error.code),
      `number ${at}`,
    );
  }
  for (const one of [{}, { step: "" }, { step: "steal" }, { step: "transfer" }, toBob({ id: "", name: "" })]) {
    assert.throws(() => dialog.handOff(one), { code: "bad_body", retryable: false });
  }
  assert.throws(() => dialog.handOff(toBob({ id: "x".repeat(257), name: "Bob" })), { code: "bad_body" });
  dialog.close();
  assert.throws(() => dialog.handOff({ step: "request" }), { code: "closed" });
  await settle();
  assert.deepEqual(ops(socket), []);
});

const toBob = (to) => ({ step: "transfer", to });
