// How far a channel was read, in the built package over a fake socket.
import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { createClient } from "../dist/index.js";
import { wasm } from "./bundle.mjs";
import { event, FakeSocket, SUB_OK, settle, sockets, WELCOME } from "./fake.mjs";

const bytes = await wasm();
const ch = "dialog:demo";
const BOB = { id: "user:2", name: "Bob", kind: "user" };
const EVE = { id: "user:3", name: "Eve", kind: "user" };
const UNREAD = { status: "syncing", code: null, position: 0, unread: null, more: false, receipts: [] };
let client;
let reported;

beforeEach(() => {
  globalThis.WebSocket = FakeSocket;
  reported = [];
  globalThis.reportError = (error) => reported.push(error.message);
  sockets.length = 0;
});

afterEach(() => {
  client?.close();
  client = undefined;
  delete globalThis.WebSocket;
  delete globalThis.reportError;
});

const message = (offset, more = {}) => event(offset, "message", { text: `text ${offset}` }, more);
const events = (...offsets) => offsets.map((offset) => message(offset));

/** A client that is online in the dialog, which has these events. */
async function live(...offsets) {
  const token = async () => "token";
  client = await createClient({ url: "https://chat.example", token, storage: "memory", wasm: bytes });
  const dialog = client.dialog("demo");
  await settle();
  sockets[0].open();
  sockets[0].receive(WELCOME, { ...SUB_OK, head: offsets.length, events: events(...offsets) });
  await settle();
  return { dialog, reads: dialog.reads, socket: sockets[0] };
}

const marks = (more) => ({ t: "marks", ch, users: [], ...more });
const receipt = (user, offset, at = 5) => ({ user, offset, at });
const sent = (socket, ...types) => socket.sent.filter(({ t }) => types.includes(t));
const said = () => sockets.flatMap((socket) => sent(socket, "mark")).map(({ offset }) => offset);
async function until(check) {
  while (!check()) await settle();
}

test("the first listener of any handle asks, the last one ends it", async () => {
  const { dialog, reads, socket } = await live(1, 2, 3);
  const again = client.dialog("demo");
  assert.deepEqual([reads.getState(), reads.getInitialState()], [UNREAD, UNREAD]);
  await settle();
  assert.deepEqual(sent(socket, "marks"), []);
  const seen = [];
  const ends = [
    reads.subscribe((state, before) => seen.push([before.unread, state.unread])),
    reads.subscribe(() => {}),
    again.reads.subscribe(() => {}),
  ];
  await settle();
  assert.deepEqual(sent(socket, "marks"), [{ t: "marks", ch }]);
  socket.receive(marks({ offset: 1, unread: 2, head: 3, users: [receipt(BOB, 3)] }));
  const live1 = { ...UNREAD, status: "live", position: 1, unread: 2, receipts: [receipt(BOB, 3)] };
  assert.deepEqual(reads.getState(), live1);
  assert.equal(again.reads.getState(), reads.getState());
  await settle();
  assert.deepEqual(seen, [[null, 2]]);
  socket.receive(message(4), message(5));
  assert.equal(reads.getState().unread, 4);
  ends[0]();
  ends[0]();
  ends[1]();
  again.close();
  assert.deepEqual([reads.getState().status, reads.getState().unread], ["syncing", 4], "as of then");
  reads.subscribe(() => {})();
  reads.subscribe(() => {});
  await settle();
  socket.receive(marks({ offset: 2, unread: 3, head: 5 }));
  assert.deepEqual([reads.getState().position, reads.getState().unread], [2, 3]);
  dialog.close();
  await settle();
  assert.deepEqual([reads.getState().status, reads.getState().position, reported], ["syncing", 2, []]);
});

test("what did not change is the same object", async () => {
  const { reads, socket } = await live(1, 2, 3);
  reads.subscribe(() => {});
  await settle();
  socket.receive(marks({ offset: 1, unread: 2, head: 3, users: [receipt(BOB, 1), receipt(EVE, 2)] }));
  const before = reads.getState();
  socket.receive(marks({ users: [receipt(BOB, 1), receipt(EVE, 2)] }), marks({ offset: 1 }));
  assert.equal(reads.getState(), before);
  socket.receive(marks({ users: [receipt(BOB, 3, 9)] }));
  const after = reads.getState();
  assert.deepEqual(after.receipts, [receipt(BOB, 3, 9), receipt(EVE, 2)]);
  assert.equal(after.receipts[1], before.receipts[1]);
  socket.receive(message(4));
  assert.equal(reads.getState().receipts, after.receipts);
  assert.equal(reads.getState().unread, 3);
});

test("a mark without an offset is of the newest event here, counts at once and never goes back", async () => {
  const { dialog, reads, socket } = await live(1, 2, 3);
  reads.subscribe(() => {});
  await settle();
  socket.receive(marks({ offset: 0, unread: 3, head: 3 }));
  dialog.markRead(2);
  assert.equal(reads.getState().position, 2, "what is unread after it is the server's to count");
  dialog.markRead(1);
  dialog.markRead();
  dialog.markRead(0);
  assert.deepEqual([reads.getState().position, reads.getState().unread], [3, 0]);
  await until(() => said().length > 0);
  socket.receive(marks({ offset: said().at(-1) }));
  await until(() => said().at(-1) === 3);
  assert.ok(said().length <= 2, "at most one a second");
  socket.receive(marks({ offset: 3 }));
  // Another device was faster.
  socket.receive(message(4), message(5), marks({ offset: 5 }));
  assert.deepEqual([reads.getState().position, reads.getState().unread], [5, 0]);
});

test("what can't be marked is refused, and says why", async () => {
  const { dialog, socket } = await live(1, 2);
  const channel = client.channel(ch);
  for (const handle of [dialog, channel]) {
    for (const wrong of [null, "1", -1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53, {}, [], true, 1n, Symbol()]) {
      assert.throws(() => handle.markRead(wrong), { name: "TidewireError", code: "bad_argument" }, String(typeof wrong));
    }
    assert.throws(() => handle.markRead(3), { code: "bad_offset", retryable: false });
    assert.throws(() => handle.markRead(Number.MAX_SAFE_INTEGER), { code: "bad_offset" });
    for (const wrong of [undefined, null, 5, {}]) {
      assert.throws(() => handle.reads.subscribe(wrong), { code: "bad_argument" });
    }
  }
  dialog.close();
  assert.throws(() => dialog.markRead(), { code: "closed" });
  assert.equal(typeof dialog.reads.subscribe(() => {}), "function");
  client.close();
  assert.throws(() => channel.markRead(), { code: "closed" });
  await settle();
  assert.deepEqual([sent(socket, "mark"), reported], [[], []]);
});

test("a refusal says why, a crowd has no receipts, and without a connection all is as of then", async () => {
  const { dialog, reads, socket } = await live(1, 2);
  reads.subscribe(() => {});
  await settle();
  socket.receive(marks({ offset: 0, unread: 2, head: 2, users: [receipt(BOB, 2)] }));
  socket.drop();
  assert.deepEqual(reads.getState(), { ...UNREAD, unread: 2, receipts: [receipt(BOB, 2)] });
  dialog.markRead();
  assert.deepEqual([reads.getState().status, reads.getState().position, reads.getState().unread], ["syncing", 2, 0]);
  await until(() => sockets.length === 2);
  sockets[1].open();
  sockets[1].receive(WELCOME, { ...SUB_OK, mode: "resumed", from: 2, head: 2 });
  await settle();
  assert.deepEqual([sent(sockets[1], "marks").length, said()], [1, [2]]);
  sockets[1].receive(marks({ offset: 2, unread: 0, head: 2, users: [], crowded: true }));
  assert.deepEqual(reads.getState(), { ...UNREAD, status: "crowded", position: 2, unread: 0 });
  sockets[1].receive({ t: "sub_err", ch, code: "forbidden", message: "no" });
  const { status, code, receipts } = reads.getState();
  assert.deepEqual([status, code, receipts], ["refused", "forbidden", []]);
});

test("a channel that begins anew has positions of its own, and nothing of the old log is said there", async () => {
  const { dialog, reads, socket } = await live(1, 2, 3);
  reads.subscribe(() => {});
  await settle();
  socket.receive(marks({ offset: 0, unread: 3, head: 3 }));
  dialog.markRead();
  await until(() => said().length === 1);
  socket.receive(marks({ offset: 3 }));
  socket.drop();
  await until(() => sockets.length === 2);
  sockets[1].open();
  const anew = { epoch: "e2", mode: "reset", reason: "epoch", head: 4, events: events(1, 2, 3, 4) };
  sockets[1].receive(WELCOME, { ...SUB_OK, ...anew });
  await settle();
  sockets[1].receive(marks({ offset: 0, unread: 4, head: 4 }));
  assert.deepEqual([reads.getState().position, reads.getState().unread], [0, 4]);
  dialog.markRead();
  await until(() => said().length === 2);
  assert.deepEqual(said(), [3, 4]);
});

test("another user has not read what the former one has", async () => {
  const { dialog, reads, socket } = await live(1, 2, 3);
  reads.subscribe(() => {});
  await settle();
  socket.receive(marks({ offset: 1, unread: 2, head: 3, users: [receipt(BOB, 3)] }));
  dialog.markRead(2);
  socket.drop();
  await until(() => sockets.length === 2);
  sockets[1].open();
  sockets[1].receive({ ...WELCOME, user: EVE });
  assert.deepEqual(reads.getState(), UNREAD);
  await settle();
  sockets[1].receive({ ...SUB_OK, head: 3, events: events(1, 2, 3) });
  await settle();
  assert.deepEqual(sent(sockets[1], "mark"), []);
});
