// Who is in a channel, in the built package over a fake socket.
import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { createClient } from "../dist/index.js";
import { wasm } from "./bundle.mjs";
import { FakeSocket, ME, SUB_OK, settle, sockets, WELCOME } from "./fake.mjs";

const bytes = await wasm();
const ch = "guild:7";
const BOB = { id: "user:2", name: "Bob", kind: "user" };
const EVE = { id: "user:3", name: "Eve", kind: "user" };
const NOBODY = { status: "syncing", code: null, count: 0, people: [], typing: [] };
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
async function live() {
  const token = async () => "token";
  client = await createClient({ url: "https://chat.example", token, storage: "memory", wasm: bytes });
  const channel = client.channel(ch);
  await settle();
  sockets[0].open();
  sockets[0].receive(WELCOME, { ...SUB_OK, ch });
  await settle();
  return { channel, people: channel.people, socket: sockets[0] };
}

const lease = (kind, since, more = {}) => ({ kind, since, ...more });
const person = (user, ...leases) => ({ user, leases });
/** The number of the last frame with changes; a list has it too. */
let last = 0;
function told(people, more = {}) {
  if (more.full !== true) last += 1;
  return { t: "people", ch, n: last, count: people.length, people, gone: [], ...more };
}
const listed = (...people) => told(people, { full: true });
const sent = (socket, ...types) => socket.sent.filter(({ t }) => types.includes(t));
const namesOf = (people) => people.getState().people.map(({ user }) => user.name);

test("the first listener of any handle watches, the last one ends it, and nobody is told twice", async () => {
  const { channel, people, socket } = await live();
  const again = client.channel(ch);
  assert.deepEqual([people.getState(), people.getInitialState()], [NOBODY, NOBODY]);
  assert.deepEqual(sent(socket, "watch"), []);
  const seen = [];
  const ends = [
    people.subscribe((state, before) => seen.push([state.count, before.count])),
    people.subscribe(() => {}),
    again.people.subscribe(() => {}),
  ];
  await settle();
  assert.deepEqual(sent(socket, "watch"), [{ t: "watch", ch }]);
  socket.receive(listed(person(ME, lease("here", 5)), person(BOB, lease("here", 7))));
  assert.deepEqual([people.getState(), again.people.getState() === people.getState()], [people.getState(), true]);
  assert.deepEqual([people.getState().status, people.getState().count, namesOf(people)], ["live", 2, ["Ada", "Bob"]]);
  await settle();
  assert.deepEqual(seen, [[2, 0]]);
  ends[0]();
  ends[0]();
  ends[1]();
  assert.deepEqual(sent(socket, "unwatch"), []);
  again.close();
  await settle();
  assert.deepEqual(sent(socket, "unwatch"), [{ t: "unwatch", ch }]);
  assert.equal(people.getState().status, "syncing", "what is shown is as of then");
  // Mounting twice, as React does in its strict mode.
  people.subscribe(() => {})();
  people.subscribe(() => {});
  socket.receive(listed(person(BOB, lease("here", 7))));
  assert.deepEqual([people.getState().status, namesOf(people)], ["live", ["Bob"]]);
  channel.close();
  await settle();
  assert.deepEqual(sent(socket, "unsub").length, 1);
  assert.deepEqual(
    [people.getState().status, namesOf(people), reported],
    ["syncing", ["Bob"], []],
    "a closed handle keeps its last state",
  );
});

test("a person has what they are and do by kind; who did not change is the same object", async () => {
  const { people, socket } = await live();
  people.subscribe(() => {});
  const status = lease("status", 9, { body: { task: "search" } });
  socket.receive(listed(person(ME, lease("here", 5)), person(BOB, lease("here", 7), status)));
  const before = people.getState();
  const [ada, bob] = before.people;
  assert.deepEqual([ada.own, ada.here, ada.since, bob.own, bob.here, bob.since], [true, true, 5, false, true, 7]);
  assert.deepEqual({ ...bob.leases }, { status: { body: { task: "search" }, since: 9, brief: false } });

  // The same list again, as after a reconnect.
  socket.receive(listed(person(ME, lease("here", 5)), person(BOB, lease("here", 7), status)));
  assert.equal(people.getState(), before, "the same state");
  const writing = lease("typing", 11, { brief: true });
  socket.receive(told([person(ME, lease("here", 5), writing), person(BOB, lease("here", 7), status, writing)]));
  const { typing } = people.getState();
  assert.deepEqual(typing, [BOB], "not the user themselves");
  assert.equal(typing[0], bob.user);
  socket.receive(told([person(EVE, lease("typing", 12, { brief: true }))], { count: 2 }));
  const now = people.getState();
  assert.deepEqual([namesOf(people), now.count, now.people[2].here], [["Ada", "Bob", "Eve"], 2, false]);
  assert.deepEqual(now.typing, [BOB, EVE]);
  socket.receive(told([person(EVE, lease("typing", 12, { brief: true }), lease("here", 13))], { count: 3 }));
  assert.equal(people.getState().people[1], now.people[1]);
  socket.receive(told([], { count: 2, gone: [{ kind: "user", id: BOB.id }] }));
  assert.deepEqual([namesOf(people), people.getState().typing], [["Ada", "Eve"], [EVE]]);
  assert.equal(people.getState().people[0], now.people[0]);
});

test("kinds and users may be called what they like", async () => {
  const { people, socket } = await live();
  people.subscribe(() => {});
  const odd = ["__proto__", "constructor", "hasOwnProperty"].map((id) => ({ id, name: id, kind: "user" }));
  const leases = odd.map(({ id }, at) => lease(id, at + 1, { body: { id } }));
  socket.receive(listed(...odd.map((user) => person(user, ...leases))));
  const { people: list } = people.getState();
  assert.deepEqual(namesOf(people), ["__proto__", "constructor", "hasOwnProperty"]);
  for (const one of list) {
    assert.deepEqual(Object.keys(one.leases), ["__proto__", "constructor", "hasOwnProperty"]);
    assert.deepEqual(
      [Object.values(one.leases)[0].body.id, one.leases["toString"], one.here],
      ["__proto__", undefined, false],
    );
  }
  people.hold("__proto__", JSON.parse('{"__proto__":1}'));
  people.hold("constructor");
  await settle();
  assert.deepEqual(
    sent(socket, "lease").map(({ kind, body }) => [kind, JSON.stringify(body)]),
    [
      ["__proto__", '{"__proto__":1}'],
      ["constructor", "{}"],
    ],
  );
  people.release("__proto__");
  people.release("toString");
  await settle();
  assert.deepEqual(sent(socket, "lease").slice(2), [{ t: "lease", ch, kind: "__proto__" }]);
});

test("a crowd is counted, a refusal says why, and without a connection the list is as of then", async () => {
  const { people, socket } = await live();
  people.subscribe(() => {});
  socket.receive(listed(person(BOB, lease("here", 7), lease("typing", 8, { brief: true }))));
  const [bob] = people.getState().people;
  socket.drop();
  const offline = people.getState();
  assert.deepEqual([offline.status, namesOf(people), offline.typing], ["syncing", ["Bob"], []], "nobody writes any more");
  await until(() => sockets.length === 2);
  sockets[1].open();
  sockets[1].receive(WELCOME, { ...SUB_OK, ch, mode: "resumed" });
  await settle();
  assert.deepEqual(sent(sockets[1], "watch"), [{ t: "watch", ch }]);
  sockets[1].receive(listed(person(BOB, lease("here", 7))));
  assert.deepEqual([people.getState().status, people.getState().people[0].user], ["live", bob.user]);
  sockets[1].receive(told([], { count: 4000, crowded: true }));
  assert.deepEqual(people.getState(), { status: "crowded", code: null, count: 4000, people: [], typing: [] });
  sockets[1].receive(told([], { full: true, refused: "people_off" }));
  assert.deepEqual(people.getState(), { status: "refused", code: "people_off", count: 0, people: [], typing: [] });
});

async function until(check) {
  while (!check()) await settle();
}

test("a lease is held as long as one handle holds it, with the newest body, and on each connection", async () => {
  const { channel, people, socket } = await live();
  const again = client.channel(ch);
  people.hold("viewing", { page: 1 });
  await settle();
  again.people.hold("viewing", { page: 2 });
  again.people.hold("viewing", { page: 2 });
  again.people.hold("status");
  await settle();
  const said = () => sent(sockets.at(-1), "lease").map(({ kind, body }) => [kind, body?.page ?? typeof body]);
  assert.deepEqual(said(), [
    ["viewing", 1],
    ["viewing", 2],
    ["status", "object"],
  ]);
  again.close();
  await settle();
  assert.deepEqual(said().slice(3), [
    ["status", "undefined"],
    ["viewing", 1],
  ]);
  assert.throws(() => again.people.hold("status"), { code: "closed" });
  assert.throws(() => again.people.release("viewing"), { code: "closed" });
  socket.drop();
  people.hold("status", { page: 3 });
  await until(() => sockets.length === 2);
  sockets[1].open();
  sockets[1].receive(WELCOME, { ...SUB_OK, ch, mode: "resumed" });
  await settle();
  assert.deepEqual(said().sort(), [
    ["status", 3],
    ["viewing", 1],
  ]);
  for (let n = 0; n < 6; n += 1) people.hold(`kind ${n}`);
  assert.throws(() => people.hold("one more"), { code: "too_many_leases", retryable: false });
  people.release("kind 1");
  people.hold("one more");
  await settle();
  channel.close();
  await settle();
  const count = said().length;
  client.channel(ch);
  await settle();
  sockets[1].receive({ ...SUB_OK, ch });
  await settle();
  assert.equal(said().length, count, "all end with the channel");
});

test("a client that is disconnected holds nothing; what it held and was given meanwhile is said when it connects", async () => {
  const { people } = await live();
  people.hold("viewing", { page: 1 });
  await settle();
  client.disconnect();
  people.hold("status", { page: 2 });
  client.connect();
  await until(() => sockets.length === 2);
  sockets[1].open();
  sockets[1].receive(WELCOME, { ...SUB_OK, ch, mode: "resumed" });
  await settle();
  assert.deepEqual(
    sent(sockets[1], "lease")
      .map(({ kind, body }) => [kind, body.page])
      .sort(),
    [
      ["status", 2],
      ["viewing", 1],
    ],
  );
});

test("writing is said now and then, its end by whoever wrote, and a closed handle says nothing", async () => {
  const { channel, people, socket } = await live();
  const again = client.channel(ch);
  const said = () => sent(socket, "lease").map(({ kind, body, for_ms: ms }) => [kind, body !== undefined, ms]);
  again.people.typing(false);
  for (let n = 0; n < 5; n += 1) people.typing();
  again.people.typing(false);
  await settle();
  assert.deepEqual(said(), [["typing", true, 6000]], "the empty field of another handle ends nothing");
  people.typing(false);
  people.typing(false);
  await settle();
  assert.deepEqual(said().slice(1), [["typing", false, undefined]]);
  people.typing(true);
  channel.close();
  people.typing();
  await settle();
  assert.deepEqual(said().slice(2), [
    ["typing", true, 6000],
    ["typing", false, undefined],
  ]);
  client.disconnect();
  again.people.typing();
  client.close();
  again.people.typing();
  again.people.subscribe(() => {})();
  assert.throws(() => again.people.hold("status"), { code: "closed" });
  again.people.release("status");
  assert.deepEqual([socket.sent.filter(({ t }) => t === "lease").length, reported], [4, []]);
});

test("a dialog and its channel have the same people", async () => {
  const { socket } = await live();
  const [dialog, channel] = [client.dialog("demo"), client.channel("dialog:demo")];
  await settle();
  socket.receive(SUB_OK);
  channel.people.subscribe(() => {});
  dialog.people.subscribe(() => {});
  await settle();
  socket.receive({ ...listed(person(BOB, lease("here", 1))), ch: "dialog:demo" });
  assert.deepEqual([namesOf(dialog.people), dialog.people.getState()], [["Bob"], channel.people.getState()]);
  dialog.close();
  socket.receive({ ...told([person(EVE, lease("here", 2))], { count: 2 }), ch: "dialog:demo" });
  assert.deepEqual([namesOf(dialog.people), namesOf(channel.people)], [["Bob"], ["Bob", "Eve"]]);
  assert.equal(sent(socket, "watch").length, 1);
});

test("another user is nobody's own, and does nothing of what the former one did", async () => {
  const { people, socket } = await live();
  people.subscribe(() => {});
  people.hold("status", { task: "a secret" });
  socket.receive(listed(person(ME, lease("here", 5))));
  assert.equal(people.getState().people[0].own, true);
  socket.drop();
  await until(() => sockets.length === 2);
  sockets[1].open();
  sockets[1].receive({ ...WELCOME, user: BOB });
  assert.deepEqual(people.getState(), NOBODY);
  await settle();
  sockets[1].receive({ ...SUB_OK, ch });
  await settle();
  sockets[1].receive(listed(person(ME, lease("here", 5)), person(BOB, lease("here", 6))));
  assert.deepEqual(
    people.getState().people.map(({ own }) => own),
    [false, true],
  );
  assert.deepEqual(sent(sockets[1], "lease"), []);
});
