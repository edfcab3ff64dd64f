// Channels of the built package over a fake socket.
import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { createClient } from "../dist/index.js";
import { wasm } from "./bundle.mjs";
import { event, FakeSocket, ME, SUB_OK, settle, sockets, WELCOME } from "./fake.mjs";

const bytes = await wasm();
const ch = "guild:7";
const vote = (offset, more = {}) => event(offset, "poll.vote", { option: `${offset}` }, { ch, ...more });
const page = (...events) => ({ ...SUB_OK, ch, head: events.length, events });
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

/** A client that is online in the channel. */
async function live(...events) {
  const token = async () => "token";
  client = await createClient({ url: "https://chat.example", token, storage: "memory", wasm: bytes });
  const channel = client.channel(ch);
  await settle();
  sockets[0].open();
  sockets[0].receive(WELCOME, page(...events));
  await settle();
  return { channel, socket: sockets[0] };
}

const offsetsOf = (channel) => channel.getState().events.map(({ offset }) => offset);
const subs = (socket, t) => socket.sent.filter((frame) => frame.t === t).map((frame) => frame.ch);

test("the state begins with the newest events and grows; what did not change is the same object", async () => {
  const { channel, socket } = await live(vote(1), vote(2));
  const { getState, getInitialState } = channel;
  assert.deepEqual(getInitialState(), {
    events: [],
    status: "syncing",
    error: null,
    retryAt: null,
    hasOlder: false,
    missed: 0,
    gap: null,
  });
  const before = getState();
  const { ch: _, t: __, ...first } = vote(1, { at: before.events[0].at });
  assert.deepEqual([before.status, before.events[0]], ["live", first]);
  const seen = [];
  channel.subscribe((state, previous) => seen.push([state.events.length, previous.events.length]));
  socket.receive(vote(3), vote(4));
  assert.deepEqual(offsetsOf(channel), [1, 2, 3, 4]);
  assert.equal(getState().events[1], before.events[1]);
  await settle();
  assert.deepEqual(seen, [[4, 2]]);
});

test("a listener hears of each event that joins after it, once, in order and of its kind", async () => {
  const { channel, socket } = await live(vote(1));
  const heard = { all: [], votes: [], late: [] };
  channel.on("*", ({ offset, kind }) => heard.all.push(`${offset} ${kind}`));
  const end = channel.on("poll.vote", ({ offset, body }) => heard.votes.push([offset, body.option]));
  socket.receive(vote(2), event(3, "poll.end", {}, { ch }), vote(3), vote(2));
  channel.on("*", ({ offset }) => heard.late.push(offset));
  assert.deepEqual([heard.all, offsetsOf(channel)], [[], [1, 2, 3]], "not while the core is being drained");
  await settle();
  socket.receive(vote(4));
  await settle();
  end();
  end();
  socket.receive(vote(5));
  await settle();
  assert.deepEqual(heard, {
    all: ["2 poll.vote", "3 poll.end", "4 poll.vote", "5 poll.vote"],
    votes: [
      [2, "2"],
      [4, "4"],
    ],
    late: [4, 5],
  });
});

test("a listener that throws, publishes, closes or listens harms no other", async () => {
  const { channel, socket } = await live();
  const other = client.channel(ch);
  const heard = [];
  channel.on("*", ({ offset }) => {
    if (offset === 1) throw new Error("the application's own");
    if (offset === 2) channel.publish("poll.vote", { option: "x" });
    if (offset === 3) channel.on("*", ({ offset: later }) => heard.push(`new ${later}`));
    if (offset === 4) channel.close();
  });
  channel.on("*", ({ offset }) => heard.push(`same ${offset}`));
  other.on("*", ({ offset }) => heard.push(`other ${offset}`));
  socket.receive(vote(1), vote(2), vote(3), vote(4));
  await settle();
  socket.receive(vote(5));
  await settle();
  const of = (name) => heard.filter((one) => one.startsWith(name)).map((one) => Number(one.split(" ")[1]));
  assert.deepEqual([of("same"), of("other"), of("new")], [[1, 2, 3], [1, 2, 3, 4, 5], []]);
  assert.deepEqual(reported, ["the application's own"]);
  assert.equal(socket.sent.filter((frame) => frame.t === "op").length, 1);
});

test("publish sends an op, and its promise tells the offset or why not; a refused one blocks nothing", async () => {
  const { channel, socket } = await live();
  const { id, acked } = channel.publish("poll.vote", { option: "a", no: undefined });
  await settle();
  const ops = () => socket.sent.filter((frame) => frame.t === "op");
  assert.deepEqual([ops()[0].ch, ops()[0].kind, ops()[0].body, ops()[0].id], [ch, "poll.vote", { option: "a" }, id]);
  socket.receive({ t: "ok", id, ch, offset: 1, at: 5 }, vote(1, { id, by: ME }));
  assert.deepEqual(await acked, { offset: 1 });
  assert.deepEqual([channel.getState().events[0].id, channel.getState().events[0].by], [id, ME]);
  const refused = channel.publish("poll.secret", {});
  await settle();
  socket.receive({ t: "nack", id: refused.id, code: "forbidden", message: "not yours", retryable: false });
  await assert.rejects(refused.acked, { name: "TidewireError", code: "forbidden", message: "not yours" });
  const next = channel.publish("poll.vote", { option: "b" }, { id: crypto.randomUUID() });
  await settle();
  assert.equal(next.id, ops().at(-1).id);
  assert.equal(ops().at(-1).after, undefined);
  socket.receive({ t: "ok", id: next.id, ch, offset: 2, at: 5 });
  assert.deepEqual([await next.acked, client.getState().status.waiting], [{ offset: 2 }, 0]);
});

test("a reset drops the events before it and says what is missing; a refusal shows its code and no events", async () => {
  const { channel, socket } = await live(vote(1), vote(2));
  const heard = [];
  channel.on("*", ({ offset }) => heard.push(offset));
  socket.drop();
  client.retryNow();
  while (sockets.length === 1) await settle();
  sockets[1].open();
  const reset = { ...page(), mode: "reset", reason: "trimmed", from: 7, head: 8, events: [vote(8)] };
  sockets[1].receive(WELCOME, reset);
  await settle();
  const { events, ...rest } = channel.getState();
  assert.deepEqual(rest, { status: "live", error: null, retryAt: null, hasOlder: true, missed: 5, gap: "trimmed" });
  assert.deepEqual([offsetsOf(channel), heard], [[8], [8]]);
  sockets[1].receive({ t: "sub_err", ch, code: "forbidden", message: "no longer", retryable: false });
  const { status, error } = channel.getState();
  assert.deepEqual([status, error, offsetsOf(channel)], ["failed", { code: "forbidden", message: "no longer" }, []]);
  // The next handle asks again once all are closed.
  channel.close();
  assert.equal(client.channel(ch).getState().status, "syncing");
});

test("a subscription has many handles and ends with the last; a closed handle does nothing", async () => {
  const { channel, socket } = await live(vote(1));
  const second = client.channel(ch);
  assert.deepEqual(offsetsOf(second), [1]);
  const heard = [];
  channel.on("*", ({ offset }) => heard.push(offset));
  channel.close();
  channel.close();
  socket.receive(vote(2));
  await settle();
  assert.deepEqual([channel.getState().status, offsetsOf(channel), offsetsOf(second), heard], ["closed", [1], [1, 2], []]);
  for (const call of [() => channel.publish("poll.vote", {}), () => channel.signal("typing", {})]) {
    assert.throws(call, { code: "closed" });
  }
  channel.on("*", () => assert.fail("closed"))();
  channel.onSignal(() => assert.fail("closed"))();
  assert.deepEqual(subs(socket, "unsub"), []);
  second[Symbol.dispose]();
  await settle();
  assert.deepEqual(subs(socket, "unsub"), [ch]);
  // Mounting twice.
  client.channel(ch).close();
  const third = client.channel(ch);
  await settle();
  socket.receive(page(vote(1), vote(2)));
  assert.deepEqual([third.getState().status, offsetsOf(third)], ["live", [1, 2]]);
});

test("a dialog's channel may be open both ways; each ends for itself, and signals reach both", async () => {
  const { socket } = await live();
  const dialog = client.dialog("demo");
  const channel = client.channel("dialog:demo");
  const heard = [];
  dialog.onSignal(({ kind }) => heard.push(`dialog ${kind}`));
  channel.onSignal(({ kind, by }) => heard.push(`channel ${kind} of ${by.name}`));
  await settle();
  const said = event(1, "message", { text: "hello" });
  socket.receive({ ...SUB_OK, head: 1, events: [said] });
  socket.receive({ t: "signal", ch: "dialog:demo", kind: "typing", body: {}, by: ME });
  await settle();
  assert.deepEqual([dialog.getState().rows[0].text, channel.getState().events[0].body.text], ["hello", "hello"]);
  assert.deepEqual(heard, ["channel typing of Ada", "dialog typing"]);
  channel.signal("cursor", { x: 1 }, "mine");
  await settle();
  assert.deepEqual(
    socket.sent.filter((frame) => frame.t === "signal"),
    [{ t: "signal", ch: "dialog:demo", kind: "cursor", key: "mine", body: { x: 1 } }],
  );
  dialog.close();
  socket.receive(event(2, "message", { text: "again" }));
  await settle();
  assert.deepEqual([channel.getState().events.length, dialog.getState().rows.length, subs(socket, "unsub")], [2, 1, []]);
  channel.close();
  await settle();
  assert.deepEqual(subs(socket, "unsub"), ["dialog:demo"]);
});

test("logout forgets the events", async () => {
  const { channel, socket } = await live(vote(1));
  const heard = [];
  channel.on("*", ({ offset }) => heard.push(offset));
  socket.receive(vote(2));
  const out = client.logout();
  assert.deepEqual(channel.getState(), channel.getInitialState());
  await out;
  await settle();
  assert.deepEqual(heard, []);
});
