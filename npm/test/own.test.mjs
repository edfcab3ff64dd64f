// A user's own dialog: there is one, however often and from however many tabs it is requested.
import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { source } from "./bundle.mjs";
import { settle } from "./fake.mjs";

const { OwnConversation, TidewireError } = await source("own.ts", "types.ts");
const { fetch: network } = globalThis;
let stored;
let asked;
let answers;
let online;

beforeEach(() => {
  stored = new Map();
  asked = [];
  answers = [];
  let open = () => {};
  online = Object.assign(
    new Promise((resolve) => {
      open = resolve;
    }),
    { open: () => open() },
  );
  globalThis.localStorage = {
    getItem: (key) => stored.get(key) ?? null,
    setItem: (key, value) => stored.set(key, value),
    removeItem: (key) => stored.delete(key),
    key: (at) => [...stored.keys()][at] ?? null,
    get length() {
      return stored.size;
    },
  };
  globalThis.fetch = async (url, { headers, body }) => {
    asked.push([String(url), headers.authorization, body]);
    const answer = answers.shift() ?? [201];
    if (answer instanceof Error) throw answer;
    const [status, code] = answer;
    return new Response(
      JSON.stringify(code === undefined ? { id: `made-${asked.length}` } : { error: { code, message: "why" } }),
      { status },
    );
  };
});

afterEach(() => {
  globalThis.fetch = network;
  delete globalThis.localStorage;
});

const make = (scope = "scope", token = async (why) => why) =>
  new OwnConversation({ base: "https://chat.example", scope, token, online: () => online });

test("it is made once there is a connection, and known from then on without one", async () => {
  const own = make();
  const [first, second] = [own.id(), own.id()];
  await settle();
  assert.deepEqual(asked, []);
  online.open();
  const id = await first;
  assert.equal(await second, id);
  assert.deepEqual(asked, [["https://chat.example/v1/dialogs", "Bearer connect", "{}"]]);
  assert.equal(await make().id(), id, "after a reload too");
  assert.notEqual(await make("another user's").id(), id);
});

test("what fails for now is asked again", async () => {
  online.open();
  answers = [new TypeError("Failed to fetch"), [503, "goaway"], [201]];
  assert.equal(await make().id(), "made-3");
});

test("a server's pause is waited for, and a random one on top of it, so that not all come back at once", async (t) => {
  online.open();
  t.mock.method(Math, "random", () => 0.5);
  const pauses = [];
  const timer = globalThis.setTimeout;
  t.mock.method(globalThis, "setTimeout", (run, pause) => {
    pauses.push(pause);
    return timer(run, 0);
  });
  const busy = (pause) => new TidewireError("rate_limited", "wait", true, undefined, pause);
  answers = [new TypeError("Failed to fetch"), busy(60_000), busy(Number.MAX_VALUE), busy(-1), [201]];
  await make().id();
  assert.deepEqual(pauses, [500, 61_000, 3_602_000, 4000]);
});

test("a token that was good when it was fetched is fetched again, once; what else is refused is for good", async () => {
  online.open();
  answers = [[401, "token_expired"], [201]];
  await make().id();
  assert.deepEqual(
    asked.map((one) => one[1]),
    ["Bearer connect", "Bearer renew"],
  );
  answers = [
    [401, "unauthorized"],
    [401, "unauthorized"],
  ];
  await assert.rejects(make("two").id(), { code: "unauthorized", message: "why", retryable: false });
  answers = [[403, "origin_not_allowed"]];
  await assert.rejects(make("three").id(), { code: "origin_not_allowed" });
  await assert.rejects(
    make("four", async () => null).id(),
    (error) => error instanceof TidewireError && error.code === "unauthorized",
  );
});

test("tabs of a first visit that do not know of each other have the same one in the end", async () => {
  const [one, other] = [make(), make()];
  const first = one.id();
  // As if both tabs had looked at the same time.
  stored.clear();
  const second = other.id();
  online.open();
  assert.equal(await first, await second);
  assert.equal(await make().id(), await first);
});

test("one that is no longer this user's is forgotten, and only that one", async () => {
  online.open();
  const own = make();
  const id = await own.id();
  own.forget("another");
  assert.equal(await own.id(), id);
  own.forget(id);
  assert.notEqual(await own.id(), id);
});

test("a cookie is sent in the place of a token", async () => {
  online.open();
  const { fetch: fake } = globalThis;
  const sent = [];
  globalThis.fetch = (url, options) => {
    sent.push(options.credentials);
    return fake(url, options);
  };
  const host = { base: "https://chat.example", scope: "scope", token: async () => "cookie", online: () => online };
  await new OwnConversation({ ...host, credentials: "include" }).id();
  await new OwnConversation({ ...host, scope: "other" }).id();
  assert.deepEqual(sent, ["include", "same-origin"]);
  assert.deepEqual(
    asked.map(([, authorization]) => authorization),
    [undefined, "Bearer cookie"],
  );
});
