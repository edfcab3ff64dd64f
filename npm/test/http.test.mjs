// Connections over HTTP requests: the core and its driver with a scripted server. How the core
// handles each response is tested in its own suite.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { afterEach, beforeEach, test } from "node:test";
import { source, wasm } from "./bundle.mjs";
import { SUB_OK, WELCOME } from "./fake.mjs";

const { Driver, createCore, loadCore, makeRequest } = await source("driver.ts", "wasm.ts", "http.ts");
await loadCore(await wasm());

let server;
let origin;
/** Every request, in the order in which they came: `{method, url, connection, seq, body}`. */
let asked;
/** The responses by path without the query, or a function that gets the response object. */
let answers;
let drivers;
/** The driver's events: `["status", state, cause]`, and the names of others. */
let told;
let refused;
/** Requests that the client aborted. */
let left;

beforeEach(async () => {
  asked = [];
  told = [];
  drivers = [];
  refused = [];
  left = [];
  answers = {
    "/v1/http": (response) => response.writeHead(201).end('{"connection":"secret"}'),
    "/v1/http/up": (response) => response.writeHead(204).end(),
    "/v1/http/down": (response) => response.writeHead(200).flushHeaders(),
  };
  server = createServer(async (request, response) => {
    const { method, url, headers } = request;
    let body = "";
    for await (const chunk of request) body += chunk;
    const one = { method, url, connection: headers["tidewire-connection"], seq: headers["tidewire-seq"], body };
    asked.push(one);
    response.on("close", () => response.writableFinished || left.push(url));
    answers[url.split("?")[0]](response, one);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  origin = `http://127.0.0.1:${server.address().port}`;
  process.on("unhandledRejection", unhandled);
});

afterEach(() => {
  process.off("unhandledRejection", unhandled);
  for (const driver of drivers) driver.close();
  server.closeAllConnections();
  server.close();
  assert.deepEqual(refused, [], "no rejection is left to itself");
});

function unhandled(error) {
  refused.push(error);
}

/** A client that uses this transport only. */
function open(transport) {
  const list = told;
  const restored = { ops: [], channels: [], tables: [] };
  const core = createCore({ transports: [transport] }, restored, Math.floor(performance.now()), Date.now());
  let frees = 0;
  const free = core.free.bind(core);
  core.free = () => {
    frees += 1;
    free();
  };
  const driver = new Driver({
    core,
    base: origin,
    storage: { apply: async () => null, close() {} },
    token: async () => "token",
    event: (event) => list.push(event.t === "status" ? ["status", event.state, event.cause] : event.t),
  });
  drivers.push(driver);
  driver.command({ c: "connect" });
  driver.command({ c: "open_dialog", dialog: "demo" });
  return { driver, core, frees: () => frees };
}

async function until(check, limit = 5000) {
  const end = Date.now() + limit;
  while (!check()) {
    assert.ok(Date.now() < end, `${check}\n${JSON.stringify({ told, asked })}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

const pass = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const ups = () => asked.filter(({ url }) => url === "/v1/http/up");
const downs = () => asked.filter(({ url }) => url.startsWith("/v1/http/down"));
const state = () => told.findLast(([what]) => what === "status")?.slice(1);
const lines = (...frames) => frames.map((frame) => `${JSON.stringify(frame)}\n`).join("");

/** The first response is a welcome; `rest` handles the later requests. */
function welcomes(rest = () => {}, ending = true) {
  let first = true;
  answers["/v1/http/down"] = (response) => {
    if (!first) return rest(response);
    first = false;
    response.writeHead(200);
    const text = lines(WELCOME, SUB_OK);
    if (ending) response.end(text);
    else response.write(text);
  };
}

test("it is opened by a request, and its id is in a header only", async () => {
  open("stream");
  await until(() => ups().length === 1);
  assert.deepEqual(
    asked.map(({ method, url, connection, seq }) => [method, url, connection, seq]),
    [
      ["POST", "/v1/http", undefined, undefined],
      ["GET", "/v1/http/down?mode=stream", "secret", "0"],
      ["POST", "/v1/http/up", "secret", "1"],
    ],
  );
  assert.equal(JSON.parse(ups()[0].body).t, "hello");
});

test("messages come as they are streamed, also cut in the middle of a character", async () => {
  let stream;
  answers["/v1/http/down"] = (response) => {
    stream = response.writeHead(200);
    stream.flushHeaders();
  };
  const { driver } = open("stream");
  await until(() => stream !== undefined);
  stream.write(lines(WELCOME, SUB_OK));
  await until(() => state()[0] === "online");
  const body = { text: "grüße 漢" };
  const by = { id: "user:2", name: "Bob", kind: "user" };
  const id = "00000000-0000-7000-8000-000000000001";
  const event = { t: "event", ch: "dialog:demo", offset: 1, id, kind: "message", at: Date.now(), by, body };
  for (const byte of Buffer.from(lines(event))) {
    stream.write(Buffer.from([byte]));
    await pass(1);
  }
  await until(() => told.includes("dialog"));
  assert.deepEqual(
    driver.command({ c: "rows", dialog: "demo" }).rows.map(({ text }) => text),
    [body.text],
  );
  stream.end(lines({ t: "close", code: 4503, reason: "forbidden" }));
  await until(() => state()[0] === "failed");
});

for (const path of ["/v1/http", "/v1/http/up", "/v1/http/down"]) {
  for (const [what, answer, cause] of [
    ["is refused", (response) => response.writeHead(503).end('{"error":{"code":"goaway"}}'), "http_503"],
    ["breaks", (response) => response.destroy(), "connection_lost"],
    ["is sent elsewhere", (response) => response.writeHead(307, { location: "/elsewhere" }).end(), "connection_lost"],
  ]) {
    test(`a request to ${path} that ${what} ends the connection`, async () => {
      answers[path] = answer;
      open("long_poll");
      await until(() => state()?.[0] === "reconnecting");
      assert.deepEqual(state(), ["reconnecting", cause]);
      assert.ok(!asked.some(({ url }) => url === "/elsewhere"));
    });
  }
}

test("a response that breaks off ends the connection", async () => {
  answers["/v1/http/down"] = (response) => response.writeHead(200).write("[", () => response.destroy());
  open("stream");
  await until(() => state()?.[0] === "reconnecting");
});

test("closing says goodbye where the server would not notice it, after what waits", async () => {
  const waiting = [];
  welcomes();
  const { driver } = open("long_poll");
  await until(() => state()?.[0] === "online");
  answers["/v1/http/up"] = (response) => waiting.push(response);
  driver.command({ c: "signal", channel: "dialog:demo", kind: "typing", body: {} });
  await until(() => waiting.length === 1);
  driver.command({ c: "disconnect" });
  waiting[0].writeHead(204).end();
  await until(() => waiting.length === 2);
  assert.deepEqual(JSON.parse(ups().at(-1).body), { t: "bye" });
  assert.deepEqual(left, []);
  waiting[1].writeHead(204).end();
  await until(() => left.length === 1);
});

test("ending it says goodbye too, and frees the core when that is done", async () => {
  const waiting = [];
  welcomes();
  const { driver, frees } = open("long_poll");
  await until(() => state()?.[0] === "online" && downs().length === 2);
  answers["/v1/http/up"] = (response) => waiting.push(response);
  told.length = 0;
  driver.close();
  assert.equal(driver.isUsable, false);
  assert.throws(() => driver.command({ c: "connect" }), { code: "closed" });
  await until(() => waiting.length === 1);
  assert.deepEqual([JSON.parse(ups().at(-1).body), frees()], [{ t: "bye" }, 0]);
  waiting[0].writeHead(204).end();
  await until(() => frees() === 1 && left.length === 1);
  driver.close();
  assert.deepEqual([frees(), told], [1, []]);
});

test("ending it while it is being opened asks for nothing more", async () => {
  answers["/v1/http"] = () => {};
  const { driver, frees } = open("poll");
  await until(() => asked.length === 1);
  driver.close();
  assert.equal(frees(), 1);
  await until(() => left.length === 1);
  assert.equal(asked.length, 1);
});

test("a core that traps gives its requests up", async () => {
  let stream;
  answers["/v1/http/down"] = (response) => {
    stream = response.writeHead(200);
    stream.flushHeaders();
  };
  globalThis.reportError = () => {};
  const { core } = open("stream");
  await until(() => stream !== undefined);
  core.body = () => {
    throw new WebAssembly.RuntimeError("unreachable");
  };
  stream.write("x");
  await until(() => left.length === 1);
  assert.deepEqual(state(), ["failed", "core_crashed"]);
  delete globalThis.reportError;
});

test("a request that is given up ends, and whoever made it is told", async () => {
  answers["/v1/http/down"] = (response) => response.writeHead(200).write("x");
  const parts = [];
  const given = new AbortController();
  const report = {
    status: (status) => parts.push(status),
    received: (bytes) => parts.push(bytes.length),
    ended: (failed) => parts.push(failed),
  };
  const request = { path: "/v1/http/down", method: "GET", headers: {}, keepalive: false };
  const done = makeRequest(origin, request, given.signal, report);
  await until(() => parts.length === 2);
  given.abort();
  await done;
  assert.deepEqual(parts, [200, 1, true]);
  await makeRequest("http://127.0.0.1:1", request, new AbortController().signal, report);
  assert.equal(parts.length, 4);
  await makeRequest(origin, request, AbortSignal.abort(), report);
  assert.deepEqual(parts, [200, 1, true, true, true]);
});
