// Connections over plain requests, with a server that does what it is told.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { afterEach, beforeEach, test } from "node:test";
import { source } from "./bundle.mjs";

const { openRequests } = await source("http.ts");

let server;
let origin;
/** Every request, in the order of their coming: `{method, path, headers, body}`. */
let asked;
/** What to answer, by path without the query; a function gets the response. */
let answers;
let told;
/** Why connections ended, as far as it is known. */
let causes;
let refused;

beforeEach(async () => {
  asked = [];
  told = [];
  causes = [];
  refused = [];
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
    answers[url.split("?")[0]](response, one);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  origin = `http://127.0.0.1:${server.address().port}`;
  process.on("unhandledRejection", unhandled);
});

afterEach(() => {
  process.off("unhandledRejection", unhandled);
  server.closeAllConnections();
  server.close();
  assert.deepEqual(refused, [], "no rejection is left to itself");
});

function unhandled(error) {
  refused.push(error);
}

function open(transport) {
  // What is still reported after a test is nobody's.
  const list = told;
  return openRequests(origin, transport, {
    opened: () => list.push("opened"),
    received: (text) => list.push(text),
    closed: (code, cause) => {
      list.push(code);
      causes.push(cause);
    },
  });
}

async function until(check, limit = 4000) {
  const end = Date.now() + limit;
  while (!check()) {
    assert.ok(Date.now() < end, `${check}\n${JSON.stringify({ told, asked })}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

const pass = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const ups = () => asked.filter(({ url }) => url === "/v1/http/up");
const downs = () => asked.filter(({ url }) => url.startsWith("/v1/http/down"));

test("it is opened by a request, and its id is in a header only", async () => {
  const link = open("stream");
  assert.deepEqual(told, [], "nothing is told from inside the call");
  await until(() => downs().length === 1);
  link.transmit('{"t":"hello"}');
  await until(() => ups().length === 1);
  assert.deepEqual(told, ["opened"]);
  assert.deepEqual(
    asked.map(({ method, url, connection, seq }) => [method, url, connection, seq]),
    [
      ["POST", "/v1/http", undefined, undefined],
      ["GET", "/v1/http/down?mode=stream", "secret", undefined],
      ["POST", "/v1/http/up", "secret", "1"],
    ],
  );
  link.close(1000);
});

test("one message goes up at a time, and what comes meanwhile goes together", async () => {
  const waiting = [];
  answers["/v1/http/up"] = (response) => waiting.push(response);
  const link = open("stream");
  await until(() => told.length === 1);
  link.transmit('{"n":1}');
  await until(() => waiting.length === 1);
  for (const text of ['{"n":2}', '[{"n":3},{"n":[4]}]', '{"n":"[5]"}']) link.transmit(text);
  await pass(30);
  assert.equal(waiting.length, 1);
  waiting[0].writeHead(204).end();
  await until(() => waiting.length === 2);
  waiting[1].writeHead(204).end();
  assert.deepEqual(
    ups().map(({ seq, body }) => [seq, JSON.parse(body)]),
    [
      ["1", { n: 1 }],
      ["2", [{ n: 2 }, { n: 3 }, { n: [4] }, { n: "[5]" }]],
    ],
  );
  link.close(1000);
});

test("messages that go together stay below what a server takes, and each goes whole", async () => {
  const link = open("stream");
  await until(() => told.length === 1);
  for (const size of [15_000, 9_000, 9_000, 9_000, 10, 21_000, 5]) link.transmit(`"${"漢".repeat(size)}"`);
  await until(() => ups().length === 5);
  await pass(20);
  const lengths = ups().map(({ body }) => [JSON.parse(body)].flat().map((text) => text.length));
  assert.deepEqual(lengths, [[15_000], [9_000, 9_000], [9_000, 10], [21_000], [5]]);
  assert.ok(ups().every(({ body }) => Buffer.byteLength(body) < 65_536));
  link.close(1000);
});

test("lines come one by one however the stream is cut, also in the middle of a character", async () => {
  let stream;
  answers["/v1/http/down"] = (response) => {
    stream = response.writeHead(200);
    stream.flushHeaders();
  };
  open("stream");
  await until(() => stream !== undefined);
  const bytes = Buffer.from(
    '{"a":"grüße"}\n{"b":1}\n[{"c":2}]\n{"t":"event","kind":"close"}\n{"t":"close","code":4000,"reason":"goaway"}\n',
  );
  for (const byte of bytes) {
    stream.write(Buffer.from([byte]));
    await pass(1);
  }
  await until(() => told.at(-1) === 4000);
  assert.deepEqual(told, ["opened", '{"a":"grüße"}', '{"b":1}', '[{"c":2}]', '{"t":"event","kind":"close"}', 4000]);
});

for (const [what, answer] of [
  ["ends without saying why", (response) => response.writeHead(200).end('{"a":1}\n')],
  ["ends within a line", (response) => response.writeHead(200).end('{"a":1}\n{"t":"close","code":4000')],
  ["breaks", (response) => response.writeHead(200).write('{"a":1}\n', () => response.destroy())],
]) {
  test(`a stream that ${what} is over`, async () => {
    answers["/v1/http/down"] = answer;
    open("stream");
    await until(() => told.includes(1006));
    assert.deepEqual(told, ["opened", '{"a":1}', 1006]);
  });
}

for (const path of ["/v1/http", "/v1/http/up", "/v1/http/down"]) {
  for (const [what, answer] of [
    ["is refused", (response) => response.writeHead(503).end('{"error":{"code":"goaway"}}')],
    ["breaks", (response) => response.destroy()],
    ["is sent elsewhere", (response) => response.writeHead(307, { location: "/elsewhere" }).end()],
  ]) {
    test(`a request to ${path} that ${what} ends the connection`, async () => {
      answers[path] = answer;
      const link = open("long_poll");
      if (path === "/v1/http/up") {
        await until(() => told.length > 0);
        link.transmit("{}");
        link.transmit("{}");
      }
      await until(() => told.includes(1006));
      await pass(20);
      assert.deepEqual(told, path === "/v1/http" ? [1006] : ["opened", 1006]);
      assert.deepEqual(causes, [what === "is refused" ? "http_503" : undefined]);
      assert.ok(!asked.some(({ url }) => url === "/elsewhere"));
    });
  }
}

test("an answer to the opening that is no connection at all is a failed attempt", async () => {
  answers["/v1/http"] = (response) => response.writeHead(200).end("<html>Log in to the hotel's network</html>");
  open("poll");
  await until(() => told.length > 0);
  assert.deepEqual(told, [1006]);
});

test("a long poll asks again at once, and rests when nobody holds its question", async () => {
  const waiting = [];
  answers["/v1/http/down"] = (response) => waiting.push(response);
  const link = open("long_poll");
  await until(() => waiting.length === 1);
  assert.equal(downs()[0].url, "/v1/http/down?mode=poll&wait=25000");
  const since = Date.now();
  for (const n of [1, 2, 3]) {
    waiting.at(-1).writeHead(200).end(`{"n":${n}}\n`);
    await until(() => waiting.length === n + 1);
  }
  assert.ok(Date.now() - since < 1000);
  waiting.at(-1).writeHead(200).end();
  await pass(300);
  assert.equal(waiting.length, 4, "an empty answer at once is not asked for again at once");
  await until(() => waiting.length === 5);
  waiting.at(-1).writeHead(200).end('{"t":"close","code":4500,"reason":"x"}\n');
  await until(() => told.at(-1) === 4500);
  link.close(1000);
  assert.deepEqual(told, ["opened", '{"n":1}', '{"n":2}', '{"n":3}', 4500]);
});

test("plain polling asks every three seconds", async () => {
  answers["/v1/http/down"] = (response) => response.writeHead(200).end('{"n":1}\n');
  const link = open("poll");
  await pass(2500);
  assert.equal(downs().length, 1);
  assert.equal(downs()[0].url, "/v1/http/down?mode=poll&wait=0");
  await until(() => downs().length === 2);
  link.close(1000);
  await pass(3200);
  assert.equal(downs().length, 2);
});

test("closing says goodbye where the server would not notice it, after what waits", async () => {
  const waiting = [];
  let left = 0;
  answers["/v1/http/up"] = (response) => waiting.push(response);
  answers["/v1/http/down"] = (response) => response.on("close", () => left++);
  const link = open("long_poll");
  await until(() => told.length === 1);
  link.transmit('{"n":1}');
  await until(() => waiting.length === 1);
  link.transmit('{"n":2}');
  link.close(1000);
  waiting[0].writeHead(204).end();
  await until(() => waiting.length === 2);
  assert.deepEqual(JSON.parse(ups()[1].body), [{ n: 2 }, { t: "bye" }]);
  assert.equal(left, 0);
  waiting[1].writeHead(204).end();
  await until(() => left === 1);
});

test("a goodbye that was said is not said again, and a stream's end is one", async () => {
  const polls = open("poll");
  await until(() => told.length === 1);
  polls.transmit('{"n":1}');
  await until(() => ups().length === 1);
  polls.transmit('{"t":"bye"}');
  polls.close(1000);
  await until(() => ups().length === 2);
  const streams = open("stream");
  let left = 0;
  answers["/v1/http/down"] = (response) => response.on("close", () => left++);
  await until(() => downs().length === 2);
  streams.transmit('{"n":2}');
  await until(() => ups().length === 3);
  await pass(20);
  streams.close(1000);
  await until(() => left === 1);
  assert.deepEqual(
    ups().map(({ body }) => body),
    ['{"n":1}', '{"t":"bye"}', '{"n":2}'],
  );
});

test("closing while it is being opened asks for nothing more", async () => {
  answers["/v1/http"] = () => {};
  const link = open("poll");
  await until(() => asked.length === 1);
  link.close(1000);
  await pass(50);
  assert.equal(asked.length, 1);
});
