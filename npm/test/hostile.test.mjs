// Wrong arguments: the call throws an error of the package that names what is wrong, and the client
// keeps working.
import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { createClient, guestToken, TidewireError } from "../dist/index.js";
import { source, wasm } from "./bundle.mjs";
import { event, FakeSocket, ME, SUB_OK, settle, sockets, WELCOME } from "./fake.mjs";
import { HOSTILE, tried } from "./hostile.mjs";

const bytes = await wasm();
let clients = [];
let reported;

beforeEach(() => {
  globalThis.WebSocket = FakeSocket;
  reported = [];
  globalThis.reportError = (error) => reported.push(error);
  sockets.length = 0;
});

afterEach(() => {
  for (const client of clients) client.close();
  clients = [];
  delete globalThis.WebSocket;
  delete globalThis.reportError;
});

async function connect(options = {}) {
  const token = async () => "token";
  const client = await createClient({ url: "https://chat.example", token, storage: "memory", wasm: bytes, ...options });
  clients.push(client);
  return client;
}

async function live(options) {
  const client = await connect(options);
  const dialog = client.dialog("demo");
  const channel = client.channel("guild:7");
  while (sockets.length === 0) await settle();
  sockets.at(-1).open();
  sockets.at(-1).receive(WELCOME, SUB_OK, { ...SUB_OK, ch: "guild:7" });
  await settle();
  return { client, dialog, channel, socket: sockets.at(-1) };
}

/** Checks that the client still works. */
async function lives({ client, dialog, channel, socket }) {
  assert.equal(client.getState().status.state, "online");
  assert.equal(channel?.getState().status ?? "live", "live");
  const { id, acked } = dialog.send("still here");
  await settle();
  socket.receive({ t: "ok", id, ch: "dialog:demo", offset: 1, at: 5 });
  assert.deepEqual(await acked, { offset: 1 });
}

function isOurs(error, where) {
  if (error === undefined) return;
  assert.ok(error instanceof TidewireError, `${where}: ${error?.stack ?? String(error)}`);
  assert.match(error.code, /^[a-z_0-9]+$/, where);
  assert.notEqual(error.code, "bad_command", `${where}: the core was asked what it can't read`);
  assert.notEqual(error.code, "core_crashed", where);
  assert.notEqual(error.message, "", where);
}

/** The server refuses an event, which then is discarded: the next one is not blocked by it. */
function discarded({ socket }, { id }) {
  socket.receive({ t: "nack", id, code: "unknown_kind", message: "no", retryable: false });
}

/** What is held is given up again, because a user may hold eight leases. */
function held({ people }, kind, body) {
  people.hold(kind, body);
  people.release(kind);
}

/** Methods that end a client are tested below. */
const CALLS = {
  "client.dialog": ({ client }, value) => client.dialog(value).close(),
  "client.channel": ({ client }, value) => client.channel(value).close(),
  "client.subscribe": ({ client }, value) => client.subscribe(value)(),
  "dialog.send": ({ dialog }, value) => dialog.discard(dialog.send(value).id),
  "dialog.send, options": ({ dialog }, value) => dialog.discard(dialog.send("x", value).id),
  "dialog.send, id": ({ dialog }, value) => dialog.discard(dialog.send("x", { id: value }).id),
  "dialog.retry": ({ dialog }, value) => dialog.retry(value),
  "dialog.discard": ({ dialog }, value) => dialog.discard(value),
  "dialog.signal, kind": ({ dialog }, value) => dialog.signal(value, {}),
  "dialog.signal, body": ({ dialog }, value) => dialog.signal("cursor", value),
  "dialog.signal, member": ({ dialog }, value) => dialog.signal("cursor", { value }),
  "dialog.signal, key": ({ dialog }, value) => dialog.signal("cursor", {}, value),
  "dialog.onSignal": ({ dialog }, value) => dialog.onSignal(value)(),
  "dialog.subscribe": ({ dialog }, value) => dialog.subscribe(value)(),
  "dialog.row": ({ dialog }, value) => dialog.row(value).getState(),
  "dialog.row, listener": ({ dialog }, value) => dialog.row("x").subscribe(value)(),
  "channel.publish, kind": (all, value) => discarded(all, all.channel.publish(value, {})),
  "channel.publish, body": (all, value) => discarded(all, all.channel.publish("vote", value)),
  "channel.publish, member": (all, value) => discarded(all, all.channel.publish("vote", { value })),
  "channel.publish, options": (all, value) => discarded(all, all.channel.publish("vote", {}, value)),
  "channel.publish, id": (all, value) => discarded(all, all.channel.publish("vote", {}, { id: value })),
  "channel.on, kind": ({ channel }, value) => channel.on(value, () => {})(),
  "channel.on, listener": ({ channel }, value) => channel.on("vote", value)(),
  "channel.signal, kind": ({ channel }, value) => channel.signal(value, {}),
  "channel.signal, body": ({ channel }, value) => channel.signal("cursor", value),
  "channel.signal, key": ({ channel }, value) => channel.signal("cursor", {}, value),
  "channel.onSignal": ({ channel }, value) => channel.onSignal(value)(),
  "dialog.people.subscribe": ({ dialog }, value) => dialog.people.subscribe(value)(),
  "dialog.people.typing": ({ dialog }, value) => dialog.people.typing(value),
  "dialog.people.hold, kind": ({ dialog }, value) => held(dialog, value, {}),
  "dialog.people.hold, body": ({ dialog }, value) => held(dialog, "status", value),
  "dialog.people.hold, member": ({ dialog }, value) => held(dialog, "status", { value }),
  "channel.people.hold, kind": ({ channel }, value) => held(channel, value, {}),
  "channel.people.release": ({ channel }, value) => channel.people.release(value),
  "dialog.reads.subscribe": ({ dialog }, value) => dialog.reads.subscribe(value)(),
  "dialog.markRead": ({ dialog }, value) => dialog.markRead(value),
  "channel.markRead": ({ channel }, value) => channel.markRead(value),
  "dialog.handOff": (all, value) => discarded(all, all.dialog.handOff(value)),
  "dialog.handOff, step": (all, value) => discarded(all, all.dialog.handOff({ step: value })),
  "dialog.handOff, from": (all, value) => discarded(all, all.dialog.handOff({ step: "take", from: value })),
  "dialog.handOff, to": (all, value) => discarded(all, all.dialog.handOff({ step: "transfer", to: value })),
  "dialog.handOff, id": (all, id) => discarded(all, all.dialog.handOff({ step: "transfer", to: { id, name: "Bob" } })),
  "channel.subscribe": ({ channel }, value) => channel.subscribe(value)(),
};

test("no argument of any method harms the client, and what is refused names the argument", async () => {
  const all = await live();
  for (const [call, run] of Object.entries(CALLS)) {
    for (const [name, value] of HOSTILE) {
      const error = await tried(() => run(all, value));
      isOurs(error, `${call} with ${name}`);
      if (error?.code === "bad_argument")
        assert.match(error.message, /^(client|dialog|channel)(\.(people|reads))?\.\w+: \w+/, `${call} with ${name}`);
    }
    assert.equal(all.client.getState().status.cause, null, call);
  }
  await settle();
  await lives(all);
  assert.deepEqual(reported, []);
});

test("what has a meaning is not refused, and what has none is", async () => {
  const { dialog, channel, client, socket } = await live();
  const refused = (code, ...calls) => {
    for (const call of calls) assert.throws(call, { name: "TidewireError", code, retryable: false }, String(call));
  };
  refused(
    "bad_argument",
    () => dialog.send(undefined),
    () => dialog.send(5n),
    () => client.dialog(1n),
    () => client.subscribe(null),
    () => dialog.send("x", { idd: "y" }),
    () => dialog.retry({}),
    () => client.channel(null),
    () => channel.publish(5, {}),
    () => channel.publish("vote", {}, { idd: "y" }),
    () => channel.on("vote"),
    () => channel.on(() => {}),
    () => channel.onSignal(null),
    () => channel.subscribe({}),
    () => channel.signal(undefined, {}),
    () => channel.people.subscribe(),
    () => channel.people.typing(null),
    () => channel.people.typing(1),
    () => channel.people.hold(),
    () => channel.people.release(7),
    () => channel.reads.subscribe(null),
    () => channel.markRead(null),
    () => channel.markRead("1"),
    () => dialog.handOff(),
    () => dialog.handOff({ step: "take", to: "op:1" }),
    () => dialog.handOff({ step: "take", form: "op:1" }),
  );
  refused("bad_offset", () => channel.markRead(1));
  refused(
    "bad_body",
    () => dialog.signal("cursor", { x: 10n }),
    () => dialog.signal("cursor", HOSTILE.get("circular")),
    () => dialog.signal("cursor", HOSTILE.get("a throwing toJSON")),
    () => dialog.signal("cursor", HOSTILE.get("30 arrays deep")),
    () => dialog.signal("cursor", ["an array"]),
    () => dialog.signal("cursor", undefined),
    () => channel.signal("cursor", []),
    () => channel.publish("vote", undefined),
    () => channel.publish("vote", "text"),
    () => channel.publish("vote", ["an array"]),
    () => channel.publish("vote", { x: 10n }),
    () => channel.publish("vote", HOSTILE.get("a throwing getter")),
    () => channel.publish("vote", HOSTILE.get("30 objects deep")),
    () => channel.people.hold("status", "text"),
    () => channel.people.hold("status", null),
    () => channel.people.hold("status", HOSTILE.get("circular")),
  );
  refused(
    "too_large",
    () => channel.publish("k".repeat(65), {}),
    () => channel.publish("vote", { text: "x".repeat(70_000) }),
    () => channel.signal("cursor", { text: "x".repeat(2000) }),
    () => channel.people.hold("k".repeat(65)),
    () => channel.people.hold("status", { text: "x".repeat(1100) }),
  );
  refused("bad_kind", ...["", "here", "typing"].map((kind) => () => channel.people.hold(kind)));
  refused(
    "bad_op_id",
    () => dialog.send("x", { id: "not a UUID" }),
    () => channel.publish("vote", {}, { id: "not a UUID" }),
  );
  refused(
    "bad_channel",
    () => client.dialog(""),
    () => client.channel(""),
    () => client.channel("no spaces here"),
    () => client.channel("x".repeat(129)),
  );
  const body = { n: Number.NaN, at: new Date(0), no: undefined, half: "a\ud83d", list: [undefined], zero: -0 };
  dialog.signal("cursor", body);
  await settle();
  const said = socket.sent.find((frame) => frame.t === "signal");
  assert.deepEqual(said.body, { n: null, at: "1970-01-01T00:00:00.000Z", half: "a\ufffd", list: [null], zero: 0 });
  dialog.send("half an emoji: \ud83d");
  await settle();
  assert.equal(socket.sent.find((frame) => frame.t === "op").body.text, "half an emoji: \ufffd");
});

test("an id of the application's own is sent as it is, and sending it again sends nothing twice", async () => {
  const { dialog, socket } = await live();
  const { uuid } = await source("widget/uuid.ts");
  const id = uuid();
  const first = dialog.send("once", { id });
  const second = dialog.send("once", { id });
  await settle();
  assert.equal(socket.sent.filter((frame) => frame.t === "op" && frame.id === id).length, 1);
  assert.equal(dialog.getState().rows.length, 1);
  socket.receive(event(1, "message", { text: "once" }, { id, by: ME }), {
    t: "ok",
    id,
    ch: "dialog:demo",
    offset: 1,
    at: 5,
  });
  assert.deepEqual(await Promise.all([first.acked, second.acked]), [{ offset: 1 }, { offset: 1 }]);
  assert.deepEqual(await dialog.send("once", { id }).acked, { offset: 1 }, "also of one that is in the log already");
});

const OPTIONS = [
  "url",
  "token",
  "guest",
  "user",
  "name",
  "storage",
  "tables",
  "wasm",
  "transports",
  "autoConnect",
  "config",
];

test("options that make no sense are refused by name, whatever they are", async () => {
  for (const [name, value] of HOSTILE) {
    isOurs(await tried(() => createClient(value)), `createClient(${name})`);
    for (const option of OPTIONS) {
      // The module is loaded once, so the first source counts.
      if (option === "tables" && value === true) continue;
      const error = await tried(async () => {
        const client = await connect({ autoConnect: false, [option]: value });
        client.close();
      });
      isOurs(error, `${option}: ${name}`);
      if (error?.code === "bad_config") assert.ok(error.message.includes(option), `${option}: ${error.message}`);
    }
    for (const setting of ["tail", "outbox_ops", "agent", "backoff_cap_ms"]) {
      const error = await tried(async () => (await connect({ autoConnect: false, config: { [setting]: value } })).close());
      isOurs(error, `config.${setting}: ${name}`);
    }
    isOurs(await tried(() => guestToken("https://chat.example", value)), `guestToken(${name})`);
  }
  for (const [given, named] of [
    [{ tokn: async () => "x" }, /tokn/],
    [{ config: { nope: 1 } }, /nope/],
    [{ config: { tail: "x" } }, /tail/],
    [{ transports: [] }, /transports/],
    [{ transports: ["websocket", "pigeon"] }, /transports/],
    [{ token: "abc" }, /token/],
    [{ guest: { nick: "x" } }, /nick/],
    [{ storage: "disk" }, /storage/],
    [{ url: "x" }, /url/],
    [{ url: "ftp://chat.example" }, /url/],
    [{ user: "" }, /user/],
    [{ guest: { site: 7 } }, /site/],
    [{ token: undefined, cookie: "session" }, /cookie/],
    [{ token: undefined, cookie: { renew: "/renew" } }, /renew/],
    [{ token: undefined, cookie: { name: "session" } }, /name/],
    [{ token: async () => "x", cookie: {} }, /cookie/],
  ]) {
    await assert.rejects(connect(given), (error) => error.code === "bad_config" && named.test(error.message), String(named));
  }
});

const SETTLED_AFTER = {
  disconnect: (client) => client.disconnect(),
  close: (client) => client.close(),
  "disconnect, then close": (client) => {
    client.disconnect();
    client.close();
  },
  "close twice": (client) => {
    client.close();
    client.close();
  },
  logout: (client) => void client.logout(),
};

for (const [how, end] of Object.entries(SETTLED_AFTER)) {
  test(`every promise settles after ${how}, whatever is asked before and after it`, async () => {
    const { client, dialog, channel, socket } = await live();
    const own = client.ownDialog();
    own.catch(() => {});
    const before = dialog.send("before").acked;
    const published = channel.publish("vote", {}).acked;
    end(client, socket);
    const late = tried(() => dialog.send("after").acked);
    client.close();
    assert.ok((await late) instanceof TidewireError);
    assert.ok((await tried(() => published)) instanceof TidewireError);
    const all = await Promise.allSettled([before, own, client.ownDialog(), client.logout()]);
    for (const { reason } of all.slice(0, 3)) assert.ok(reason instanceof TidewireError, String(reason));
    for (const call of [
      () => dialog.send("x"),
      () => client.dialog("other"),
      () => client.channel("other"),
      () => channel.publish("vote", {}),
      () => channel.signal("x", {}),
      () => client.connect(),
      () => dialog.signal("x", {}),
      () => dialog.people.typing(),
      () => dialog.people.hold("status"),
      () => dialog.people.release("status"),
      () => dialog.people.subscribe(() => {}),
    ]) {
      isOurs(await tried(call), String(call));
    }
    dialog.close();
    client.disconnect();
  });
}

test("what was written while the client was disconnected is told too when it is closed", async () => {
  const { client, dialog } = await live();
  client.disconnect();
  const { acked } = dialog.send("into the drawer");
  client.close();
  await assert.rejects(acked, { code: "closed" });
});

test("old libraries may give arrays a toJSON of their own", async () => {
  const frames = [WELCOME, SUB_OK].map((frame) => JSON.stringify(frame));
  Object.defineProperty(Array.prototype, "toJSON", { value: () => "spoilt", configurable: true, writable: true });
  try {
    const client = await connect({ config: { tail: 7 } });
    const dialog = client.dialog("demo");
    while (sockets.length === 0) await settle();
    sockets[0].open();
    for (const data of frames) sockets[0].onmessage({ data });
    const all = { client, dialog, socket: sockets[0] };
    all.dialog.signal("list", { list: [1, [2]] });
    await settle();
    assert.deepEqual(all.socket.sent.find((frame) => frame.t === "signal").body, { list: [1, [2]] });
    await lives(all);
  } finally {
    delete Array.prototype.toJSON;
  }
});

test("the writer of JSON says what JSON.stringify says of all that it takes", async () => {
  const { encode, plainObject } = await source("json.ts");
  for (const [name, value] of HOSTILE) {
    let expected;
    try {
      expected = JSON.stringify({ value });
    } catch {
      await assert.rejects(async () => plainObject({ value }, "it"), { code: "bad_body" }, name);
      continue;
    }
    // Deeper than the package's limit.
    if (/deep/.test(name)) continue;
    const wellFormed = expected.replaceAll(/(?<!\\)\\ud[89a-f]../g, "\ufffd");
    if (name === "boxed text" || name === "a toJSON that gives itself") continue;
    assert.deepEqual(plainObject({ value }, "it"), JSON.parse(wellFormed), name);
  }
  const plain = { a: [1, null, "x", { b: true }], c: '\n"\\\u2028' };
  assert.equal(encode(plain), JSON.stringify(plain));
});
