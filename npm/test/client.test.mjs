// The client of the built package over a fake socket.
import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { createClient, guestToken, TidewireError } from "../dist/index.js";
import { wasm } from "./bundle.mjs";
import { event, FakeSocket, ME, SUB_OK, settle, sockets, WELCOME } from "./fake.mjs";

const bytes = await wasm();
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

async function connect(options = {}) {
  const token = async () => "token";
  client = await createClient({ url: "https://chat.example", token, storage: "memory", wasm: bytes, ...options });
  return client;
}

/** A client that is online in the dialog `demo`. */
async function live(options = {}) {
  await connect(options);
  const dialog = client.dialog("demo");
  await settle();
  sockets[0].open();
  sockets[0].receive(WELCOME, SUB_OK);
  await settle();
  return dialog;
}

test("it connects by itself, in order: token, socket, hello, welcome", async () => {
  const asked = [];
  await connect({
    token: async (why) => {
      asked.push([why, sockets.length]);
      return "secret";
    },
  });
  assert.equal(client.getState().status.state, "connecting");
  const dialog = client.dialog("demo");
  await settle();
  assert.deepEqual(asked, [["connect", 0]]);
  assert.equal(sockets.length, 1);
  assert.equal(sockets[0].url, "wss://chat.example/v1/ws");
  assert.deepEqual(sockets[0].protocols, ["tidewire.v1"]);
  sockets[0].open();
  assert.equal(sockets[0].sent[0].t, "hello");
  assert.equal(sockets[0].sent[0].token, "secret");
  assert.deepEqual(
    sockets[0].sent[0].subs.map((sub) => sub.ch),
    ["dialog:demo"],
  );
  sockets[0].receive(WELCOME, SUB_OK);
  assert.equal(client.getState().status.state, "online");
  assert.deepEqual(client.getState().user, ME);
  assert.equal(dialog.getState().status, "live");
});

test("autoConnect: false waits for connect()", async () => {
  await connect({ autoConnect: false });
  await settle();
  assert.equal(client.getState().status.state, "idle");
  assert.equal(sockets.length, 0);
  client.connect();
  await settle();
  assert.equal(sockets.length, 1);
});

test("send is synchronous, its row is there at once, and acked tells the offset", async () => {
  const dialog = await live();
  const { send } = dialog;
  const { id, acked } = send("hello");
  assert.deepEqual(
    dialog.getState().rows.map((row) => [row.id, row.text, row.own, row.offset]),
    [[id, "hello", true, null]],
  );
  await settle();
  const op = sockets[0].sent.find((frame) => frame.t === "op");
  assert.deepEqual([op.id, op.body], [id, { text: "hello" }]);
  sockets[0].receive(event(1, "message", { text: "hello" }, { id, by: ME }), {
    t: "ok",
    id,
    ch: "dialog:demo",
    offset: 1,
    at: 5,
  });
  assert.deepEqual(await acked, { offset: 1 });
  assert.deepEqual(
    dialog.getState().rows.map((row) => [row.state, row.offset]),
    [["sent", 1]],
  );
});

test("what is refused at once throws with a code, and what fails later rejects with one, unheard or not", async () => {
  const dialog = await live();
  assert.throws(
    () => dialog.send("  "),
    (error) => error instanceof TidewireError && error.code === "empty" && !error.retryable,
  );
  assert.throws(() => dialog.send("x".repeat(20_000)), { code: "too_large" });
  assert.throws(() => client.dialog("no spaces here"), { code: "bad_channel" });
  const unhandled = [];
  const listen = (error) => unhandled.push(error);
  process.on("unhandledRejection", listen);
  const first = dialog.send("one");
  const second = dialog.send("two");
  await settle();
  const nack = { t: "nack", code: "forbidden", message: "no", retryable: false };
  sockets[0].receive({ ...nack, id: first.id });
  await assert.rejects(first.acked, { code: "forbidden" });
  assert.equal(dialog.getState().rows[0].state, "failed");
  assert.equal(dialog.discard(second.id), false, "nobody knows yet what became of it");
  sockets[0].receive({ ...nack, id: second.id });
  assert.equal(dialog.discard(second.id), true);
  assert.equal(dialog.discard(first.id), true);
  assert.equal(dialog.retry(first.id), false);
  await settle();
  assert.deepEqual(dialog.getState().rows, []);
  await assert.rejects(second.acked, { code: "forbidden" });
  process.off("unhandledRejection", listen);
  assert.deepEqual(unhandled, []);
});

test("what happened can be read afterwards", async () => {
  const dialog = await live();
  dialog.send("hello");
  await settle();
  sockets[0].drop(1006);
  await settle();
  const { entries, counters } = client.explain();
  const said = entries.map(({ what, about, number }) => `${what} ${about} ${number}`.trim());
  assert.deepEqual(said.slice(-3), ["state online 1", "closed  1006", "state reconnecting connection_lost 1"]);
  assert.deepEqual(
    { ...counters, roundTripMs: 0 },
    {
      reconnects: 0,
      resent: 0,
      duplicated: 0,
      repaired: 0,
      lost: 0,
      unreadable: 0,
      waiting: 1,
      roundTripMs: 0,
    },
  );
});

test("how much the client does can be read at any time", async () => {
  const dialog = await live();
  const { at, since, latencyMs, ...before } = client.metrics();
  assert.ok(since <= at && at <= Date.now());
  assert.equal(latencyMs, null, "nothing was answered yet");
  assert.deepEqual([before.tab, before.connections, before.reconnects, before.waiting], ["alone", 1, 0, 0]);
  assert.ok(before.received >= 2 && before.sent >= 1);
  dialog.send("hello");
  await settle();
  const after = client.metrics();
  assert.deepEqual([after.waiting, after.sent - before.sent], [1, 1]);
  assert.ok(after.sentPerSecond >= 0.2 && after.receivedPerSecond >= 0.2);
  assert.deepEqual({ ...after, at: 0 }, { tab: "alone", ...client.explain().metrics, at: 0 });
});

test("a signal goes to the others of a dialog, and theirs are heard outside the loop", async () => {
  const dialog = await live();
  const heard = [];
  const end = dialog.onSignal((signal) => {
    heard.push(signal);
    // A listener may use the client.
    dialog.signal("seen", {});
    throw new Error("of the listener");
  });
  const reported = [];
  globalThis.reportError = (error) => reported.push(error.message);
  dialog.signal("typing", { on: true }, "field");
  await settle();
  const typing = { t: "signal", ch: "dialog:demo", kind: "typing", key: "field", body: { on: true } };
  assert.deepEqual(sockets[0].sent.at(-1), typing);
  const by = { id: "op", name: "Olivia", kind: "operator" };
  sockets[0].receive({ ...typing, by }, { t: "signal", ch: "dialog:demo", kind: "waves", body: {}, by });
  assert.deepEqual(heard, []);
  await settle();
  assert.deepEqual(heard, [
    { kind: "typing", key: "field", body: { on: true }, by },
    { kind: "waves", key: null, body: {}, by },
  ]);
  assert.deepEqual(reported, ["of the listener", "of the listener"]);
  assert.equal(sockets[0].sent.at(-1).kind, "seen");
  end();
  sockets[0].receive({ ...typing, by });
  await settle();
  assert.equal(heard.length, 2);
  assert.throws(() => dialog.signal("typing", { text: "x".repeat(100_000) }), { code: "too_large" });
  delete globalThis.reportError;
});

test("a token asked for anew takes the place of the old one without a break", async () => {
  const asked = [];
  const token = async (why) => {
    asked.push(why);
    return `token-${asked.length}`;
  };
  await live({ token });
  client.renewToken();
  await settle();
  assert.deepEqual(asked, ["connect", "renew"]);
  assert.deepEqual(sockets[0].sent.at(-1), { t: "auth", token: "token-2" });
  assert.deepEqual([sockets.length, client.getState().status.state], [1, "online"]);
});

test("what a reset skipped is counted", async () => {
  const dialog = await live();
  sockets[0].receive(event(1, "message", { text: "one" }));
  sockets[0].drop();
  client.connect();
  while (sockets.length < 2) await settle();
  sockets[1].open();
  const reset = { ...SUB_OK, mode: "reset", reason: "trimmed", from: 40, head: 41 };
  sockets[1].receive(WELCOME, { ...reset, events: [event(41, "message", { text: "far" })] });
  await settle();
  assert.deepEqual([dialog.getState().status, dialog.getState().missed], ["live", 39]);
  assert.equal(client.explain().counters.lost, 39);
});

test("a server that goes away is left only once another connection is welcomed", async () => {
  const dialog = await live();
  const states = [];
  client.subscribe(({ status }) => states.push(status.state));
  sockets[0].receive({ t: "goaway", reason: "restart", after_ms: 10000, spread_ms: 0 });
  while (sockets.length < 2) await settle();
  assert.deepEqual([sockets.length, sockets[0].closed], [2, undefined]);
  sockets[0].receive(event(1, "message", { text: "over the old one" }));
  sockets[1].open();
  sockets[0].receive(event(2, "message", { text: "still" }));
  sockets[1].receive(WELCOME);
  assert.equal(sockets[0].closed, 1000);
  sockets[1].receive({
    ...SUB_OK,
    mode: "resumed",
    from: 2,
    head: 3,
    events: [event(3, "message", { text: "over the new one" })],
  });
  await settle();
  assert.deepEqual(
    dialog.getState().rows.map((row) => row.text),
    ["over the old one", "still", "over the new one"],
  );
  assert.ok(
    states.every((state) => state === "online"),
    states,
  );
  const said = client.explain().entries.map(({ what, about }) => `${what} ${about}`);
  assert.deepEqual(
    said.filter((what) => /^(transport|goaway|handover)/.test(what)),
    ["transport websocket", "goaway restart", "handover websocket"],
  );
});

test("closing settles every promise", async () => {
  const dialog = await live();
  const { acked } = dialog.send("one");
  client.disconnect();
  await assert.rejects(acked, { code: "closed", retryable: true });
  assert.equal(client.getState().status.state, "disconnected");
  await settle();
  assert.ok(sockets[0].closed !== undefined);
});

test("rows that did not change are the same objects, and an answer grows in one row", async () => {
  const dialog = await live();
  sockets[0].receive(event(1, "message", { text: "question" }));
  const [question] = dialog.getState().rows;
  const run = "0193c000-0000-7000-8000-000000000001";
  const by = { id: "ai", name: "Assistant", kind: "ai" };
  sockets[0].receive(event(2, "answer.start", { run }, { by }), {
    t: "piece",
    ch: "dialog:demo",
    run,
    at: 0,
    text: "Hello ",
  });
  const early = dialog.getState();
  assert.equal(early.run, run);
  sockets[0].receive({ t: "piece", ch: "dialog:demo", run, at: 6, text: "Ada" });
  assert.deepEqual(
    dialog.getState().rows.map((row) => row.text),
    ["question", "Hello Ada"],
  );
  assert.equal(dialog.getState().rows[0], question);
  assert.equal(early.rows[1].text, "Hello ", "states that were handed out never change");
  sockets[0].receive(event(3, "answer.end", { run, status: "done", text: "Hello Ada." }, { by }));
  assert.deepEqual(
    [dialog.getState().run, dialog.getState().rows[1].text, dialog.getState().rows[1].state],
    [null, "Hello Ada.", "done"],
  );
});

test("a row has listeners of its own", async () => {
  const dialog = await live();
  sockets[0].receive(event(1, "message", { text: "one" }));
  await settle();
  const row = dialog.row(dialog.getState().rows[0].id);
  const heard = [];
  row.subscribe((now) => heard.push(now?.text));
  sockets[0].receive(event(2, "message", { text: "two" }));
  await settle();
  assert.deepEqual(heard, []);
  assert.equal(row.getState().text, "one");
});

test("each opening is a handle of its own: closing one, however often, ends no other's, and a closed one says so", async () => {
  const first = await live();
  const second = client.dialog("demo");
  assert.notEqual(second, first);
  assert.equal(second.getState().status, "live", "it knows at once what the first one knows");
  first.close();
  first.close();
  await settle();
  assert.deepEqual([first.getState().status, second.getState().status], ["closed", "live"]);
  assert.equal(sockets[0].sent.filter((frame) => frame.t === "unsub").length, 0);
  const { id, acked } = second.send("still here");
  await settle();
  const ok = { t: "ok", id, ch: "dialog:demo", offset: 1, at: 5 };
  sockets[0].receive(event(1, "message", { text: "still here" }, { id, by: ME }), ok);
  assert.deepEqual(await acked, { offset: 1 });
  assert.deepEqual([first.getState().rows.length, second.getState().rows[0].state], [0, "sent"]);
  for (const call of ["send", "retry", "discard", "stop", "signal"]) {
    assert.throws(() => first[call]("x", {}), { code: "closed" }, call);
  }
  second.close();
  await settle();
  assert.equal(sockets[0].sent.filter((frame) => frame.t === "unsub").length, 1);
  const third = client.dialog("demo");
  second.close();
  await settle();
  assert.equal(sockets[0].sent.filter((frame) => frame.t === "unsub").length, 1, "a late close ends no newer holder's");
  assert.notEqual(third.getState().status, "closed");
});

test("a dropped socket is forgotten at once: what it says later changes nothing", async () => {
  const dialog = await live();
  const old = sockets[0];
  old.drop();
  assert.equal(client.getState().status.state, "reconnecting");
  assert.ok(client.getState().status.retryAt >= Date.now() - 5);
  old.receive(event(1, "message", { text: "from the grave" }));
  old.drop();
  assert.deepEqual(dialog.getState().rows, []);
});

test("a binary message ends the connection", async () => {
  await live();
  sockets[0].onmessage({ data: new ArrayBuffer(4) });
  assert.notEqual(client.getState().status.state, "online");
  assert.ok(sockets[0].closed !== undefined);
});

test("a provider that says null ends it; one that throws is asked again", async () => {
  await connect({ token: async () => null });
  await settle();
  assert.deepEqual([client.getState().status.state, client.getState().status.cause], ["failed", "unauthorized"]);
  assert.equal(sockets.length, 0);
  client.close();
  let asked = 0;
  await connect({
    config: { backoff_base_ms: 1, backoff_cap_ms: 1 },
    token: async () => {
      asked += 1;
      if (asked < 3) throw new Error("no network");
      return "token";
    },
  });
  for (let n = 0; n < 100 && sockets.length === 0; n += 1) await settle();
  assert.equal(asked, 3);
  assert.equal(sockets.length, 1);
});

test("a token provider may use the client", async () => {
  const ids = [];
  client = await createClient({
    url: "https://chat.example",
    storage: "memory",
    wasm: bytes,
    autoConnect: false,
    token: async () => {
      ids.push(client.dialog("demo").send("from inside").id);
      return "token";
    },
  });
  client.connect();
  await settle();
  assert.equal(ids.length, 1);
});

test("a socket that can't even be made counts as a failed attempt", async () => {
  globalThis.WebSocket = class {
    constructor() {
      throw new Error("blocked by policy");
    }
  };
  await connect();
  await settle();
  assert.equal(client.getState().status.state, "reconnecting");
});

test("options that make no sense are refused", async () => {
  await assert.rejects(connect({ url: "ftp://chat.example" }), { code: "bad_config" });
  await assert.rejects(connect({ url: "nonsense" }), { code: "bad_config" });
});

test("a guest session is kept, renewed with its old token, and replaced when the server forgot it", async () => {
  const asked = [];
  const answers = [];
  let kept = null;
  const place = {
    get: () => kept,
    set: (value) => {
      kept = value;
    },
  };
  const original = globalThis.fetch;
  globalThis.fetch = async (url, init) => {
    asked.push([String(url), init.headers.authorization, JSON.parse(init.body)]);
    const { status, token, code } = answers.shift();
    const error = code && { code, message: `why ${code}` };
    return new Response(JSON.stringify({ token, expires_ms: 3_600_000, error }), { status });
  };
  try {
    const provider = guestToken("https://chat.example", { nickname: "Ada", place });
    answers.push({ status: 200, token: "t1" });
    assert.equal(await provider("connect"), "t1");
    answers.push({ status: 200, token: "t2" });
    assert.equal(await provider("connect"), "t2", "only the server knows whether a kept token is still good");
    answers.push({ status: 401 }, { status: 200, token: "t3" });
    assert.equal(await provider("renew"), "t3");
    const refusals = [
      [{ status: 503 }, { code: "http_503", retryable: true }],
      [
        { status: 503, code: "goaway" },
        { code: "goaway", message: "why goaway", retryable: true },
      ],
      [
        { status: 429, code: "rate_limited" },
        { code: "rate_limited", retryable: true },
      ],
      [
        { status: 400, code: "bad_request" },
        { code: "bad_request", message: "why bad_request", retryable: false },
      ],
      [
        { status: 403, code: "origin_not_allowed" },
        { code: "origin_not_allowed", retryable: false },
      ],
      // A proxy in front of the server may answer anything, temporarily.
      [{ status: 404 }, { code: "http_404", retryable: true }],
      [{ status: 200 }, { code: "bad_response", retryable: true }],
    ];
    for (const [answer, error] of refusals) {
      answers.push(answer);
      await assert.rejects(provider("renew"), { name: "TidewireError", ...error });
    }
    answers.push({ status: 401, code: "unauthorized" }, { status: 401, code: "unauthorized" });
    await assert.rejects(provider("renew"), { code: "unauthorized", retryable: false });
    assert.deepEqual(asked.slice(0, 4), [
      ["https://chat.example/v1/guest", undefined, { nickname: "Ada" }],
      ["https://chat.example/v1/guest", "Bearer t1", { nickname: "Ada" }],
      ["https://chat.example/v1/guest", "Bearer t2", { nickname: "Ada" }],
      ["https://chat.example/v1/guest", undefined, { nickname: "Ada" }],
    ]);
  } finally {
    globalThis.fetch = original;
  }
});

test("importing the widget where there is no page does nothing", async () => {
  const { TidewireChat } = await import("../dist/widget.js");
  assert.equal(typeof TidewireChat, "function");
});

test("a cookie is in no frame, and the page renews it", async () => {
  const asked = [];
  const cookie = { renew: async () => void asked.push(sockets.length) };
  await live({ token: undefined, cookie });
  assert.equal(sockets[0].sent[0].t, "hello");
  assert.ok(!("token" in sockets[0].sent[0]));
  assert.deepEqual(asked, [], "it is there");
  client.renewToken();
  await settle();
  assert.deepEqual(asked, [1]);
  for (let look = 0; sockets.length < 2 && look < 500; look += 1) await new Promise((done) => setTimeout(done, 10));
  assert.equal(sockets.length, 2, "a new cookie travels with a new connection");
  sockets[1].open();
  assert.ok(!("token" in sockets[1].sent[0]));
  assert.equal(client.getState().status.state, "online");
  sockets[1].receive(WELCOME, SUB_OK);
  sockets[1].receive({ t: "error", code: "token_expired", message: "the token expired" });
  sockets[1].drop(4020);
  await settle();
  assert.deepEqual(asked, [1, 2], "an expired one is renewed at once");
});

test("a renewal that says so ends the connection for good", async () => {
  const renew = async () => {
    throw new TidewireError("signed_out", "please sign in", false);
  };
  await live({ token: undefined, cookie: { renew } });
  sockets[0].drop(4020);
  await settle();
  const { state, cause, message } = client.getState().status;
  assert.deepEqual([state, cause, message], ["failed", "signed_out", "please sign in"]);
});

test("what is shown of a user comes with their events", async () => {
  const dialog = await live();
  const profile = { role: "Editor", color: "#3366cc", picture: "https://cdn.example/1.png" };
  sockets[0].receive(event(1, "message", { text: "hi" }, { by: { id: "2", name: "Eve", kind: "user", profile } }));
  await settle();
  assert.deepEqual(dialog.getState().rows[0].by, { id: "2", name: "Eve", kind: "user", profile });
});
