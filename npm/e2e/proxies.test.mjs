// Networks that let no WebSocket through, or not for long: real Chromium, the real server, and what
// stands between them.
import assert from "node:assert/strict";
import { shoot } from "./browser.mjs";
import { test } from "./limits.mjs";
import { startImpatientProxy, startProxy, startRelay } from "./networks.mjs";
import { rowsOf, send, settled, useStage } from "./stage.mjs";
import { until } from "./until.mjs";

/** Settings with which a client soon knows that a way is blocked. */
const HASTY = { connect_timeout_ms: 1200, backoff_base_ms: 50, backoff_cap_ms: 200 };
/** An answer may wait for the next of a poll's questions. */
const PATIENT = { ...HASTY, connect_timeout_ms: 8000 };

// Slow enough that a slow machine shows an answer in steps.
const stage = useStage({ server: ["--model-pace-ms", "120"] });
const put = (starting) => stage.put(starting);
const profile = (options) => stage.profile(options);
const log = () => stage.log();

/** A tab of Ada's whose client reaches the server at `url` and remembers how it stood. */
async function tab(context, url, config = HASTY, options = {}) {
  const page = await stage.tab(context, { url, config, ...options });
  await page.evaluate(() => {
    window.states = [];
    window.client.subscribe(({ status }) => window.states.push(status.state));
  });
  return page;
}

const isLive = (page) => page.waitForFunction(() => window.dialog.getState().status === "live", null, { timeout: 40_000 });
const acked = async (page, text) => assert.equal(typeof (await settled(page, text)), "number");
const transportOf = (page) =>
  page.evaluate(() => {
    const entries = window.client.explain().entries.filter(({ what }) => what === "transport" || what === "handover");
    return entries.at(-1)?.about;
  });
const reaches = async (page, transport) => {
  const is = (transport) =>
    window.client.getState().status.state === "online" &&
    window.client.explain().entries.findLast(({ what }) => what === "transport")?.about === transport;
  await page.waitForFunction(is, transport, { timeout: 40_000 });
};
const statesOf = (page) => page.evaluate(() => window.states);

/** Asks something; returns how long its answer grew, as a list of its lengths. */
async function ask(page, text) {
  // What was written before is answered before.
  const isOver = () => ["done", undefined].includes(window.dialog.getState().rows.at(-1)?.state);
  await page.waitForFunction(isOver, null, { timeout: 40_000 });
  await page.evaluate(() => {
    window.lengths = [];
    window.dialog.subscribe(({ rows }) => {
      const { kind, text } = rows.at(-1) ?? {};
      if (kind === "answer" && window.lengths.at(-1) !== text.length) window.lengths.push(text.length);
    });
  });
  const before = (await rowsOf(page)).filter((row) => row.state === "done").length;
  await send(page, text);
  await page.waitForFunction(
    (before) => window.dialog.getState().rows.filter((row) => row.state === "done").length > before,
    before,
    { timeout: 60_000 },
  );
  return page.evaluate(() => window.lengths);
}

/**
 * A chat over what lets `transport` through, with an answer that grows, reloads, and messages
 * written while it changes.
 */
async function chats(page, transport, growth) {
  await send(page, "written before");
  await isLive(page);
  await acked(page, "written before");
  await reaches(page, transport);
  const lengths = await ask(page, "How are you?");
  assert.ok(lengths.length >= growth, `the answer came in ${lengths.length} steps`);
  await page.reload();
  await page.waitForFunction(() => window.ready);
  await send(page, "written at once after the reload");
  await isLive(page);
  await acked(page, "written at once after the reload");
  await reaches(page, transport);
  const texts = ["written before", "How are you?", "written at once after the reload"];
  assert.deepEqual(await log(), texts);
  const rows = await rowsOf(page);
  assert.deepEqual(
    rows.filter((row) => row.own).map((row) => row.text),
    texts,
  );
  assert.deepEqual(page.problems, []);
}

test("where upgrades are refused a chat goes over a response that stays open", async () => {
  const proxy = await put(startProxy(stage.server.origin, "kill-upgrade"));
  await chats(await tab(await profile(), proxy.origin), "stream", 10);
  assert.ok((await proxy.counters()).upgrades_killed >= 6);
});

test("where WebSockets die young a chat goes over a response that stays open", async () => {
  const proxy = await put(startProxy(stage.server.origin, "kill-early"));
  await chats(await tab(await profile(), proxy.origin), "stream", 10);
});

test("where responses are held back until they are whole a chat goes over requests that wait", async () => {
  const proxy = await put(startProxy(stage.server.origin, "buffer"));
  await chats(await tab(await profile(), proxy.origin), "long_poll", 5);
});

test("where no response may take long either a chat goes over requests every few seconds", async () => {
  const proxy = await put(startImpatientProxy(stage.server.origin));
  await chats(await tab(await profile(), proxy.origin, PATIENT), "poll", 1);
});

test("messages sent while one way after the other is closed arrive once and in order", async () => {
  await stage.restart(["--model", "off"]);
  const proxy = await put(startProxy(stage.server.origin));
  const page = await tab(await profile(), proxy.origin);
  await isLive(page);
  const texts = [];
  const write = async () => {
    texts.push(`message ${texts.length + 1}`);
    await send(page, texts.at(-1));
  };
  await write();
  for (const [http, transport] of [
    ["kill-upgrade", "stream"],
    ["buffer", "long_poll"],
  ]) {
    await proxy.set({ http });
    await write();
    await proxy.cut();
    let writing = true;
    const reached = reaches(page, transport).finally(() => {
      writing = false;
    });
    while (writing) {
      await write();
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    await reached;
  }
  await proxy.set({});
  await proxy.cut();
  for (let n = 0; n < 5; n += 1) await write();
  for (const text of texts) await acked(page, text);
  assert.deepEqual(await log(), texts);
  assert.deepEqual(page.problems, []);
});

test("tabs share a connection over plain requests, and the next one goes on with it", async () => {
  const proxy = await put(startProxy(stage.server.origin, "kill-upgrade"));
  const context = await profile();
  const first = await tab(context, proxy.origin);
  await isLive(first);
  const second = await tab(context, proxy.origin);
  await isLive(second);
  await second.evaluate(() => window.client.explain());
  await send(second, "from the follower");
  await acked(second, "from the follower");
  await first.close();
  await send(second, "from the heir");
  await acked(second, "from the heir");
  await isLive(second);
  assert.equal(await transportOf(second), "stream");
  assert.deepEqual(await log(), ["from the follower", "from the heir"]);
});

test("a page that is left says goodbye where the server would not notice it", async () => {
  const proxy = await put(startImpatientProxy(stage.server.origin));
  const context = await profile();
  const page = await tab(context, proxy.origin, PATIENT, { transports: '["poll"]' });
  await isLive(page);
  assert.equal(await stage.connections(), 1);
  await page.goto("about:blank");
  // The server keeps the end for 5 s; the silence of a connection would be noticed after 35 s.
  const end = Date.now() + 10_000;
  while ((await stage.connections()) > 0) {
    assert.ok(Date.now() < end);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
});

test("a server that goes away while it answers is left without a word: online all the time, two sockets for a moment", async () => {
  const relay = await put(startRelay(stage.server.origin));
  const page = await tab(await profile(), relay.origin, {});
  await isLive(page);
  const answer = ask(page, "Tell me something long");
  await page.waitForFunction(() => (window.dialog.getState().rows.at(-1)?.text.length ?? 0) > 20);
  await page.evaluate(() => {
    window.states.length = 0;
  });
  relay.say({ t: "goaway", reason: "restart", after_ms: 10_000, spread_ms: 0 });
  const lengths = await answer;
  assert.ok(lengths.length > 10);
  assert.deepEqual(
    lengths,
    lengths.toSorted((a, b) => a - b),
    "the answer never shrank",
  );
  await page.waitForFunction(() => window.client.explain().entries.some(({ what }) => what === "handover"));
  assert.deepEqual(new Set(await statesOf(page)), new Set(["online"]));
  await until("the old one ends", () => relay.open() === 1);
  assert.deepEqual(relay.counts, { most: 2, all: 2 });
  await send(page, "over the new one");
  await acked(page, "over the new one");
  assert.deepEqual(await log(), ["Tell me something long", "over the new one"]);
  assert.deepEqual(page.problems, []);
});

test("when the network heals the client returns to the WebSocket, online all the time", async () => {
  await stage.restart(["--model", "off"]);
  const proxy = await put(startProxy(stage.server.origin, "kill-upgrade"));
  const page = await tab(await profile(), proxy.origin);
  await isLive(page);
  assert.equal(await transportOf(page), "stream");
  await page.evaluate(() => {
    window.states.length = 0;
  });
  await proxy.set({});
  const texts = [];
  const since = Date.now();
  while ((await transportOf(page)) !== "websocket") {
    assert.ok(Date.now() < since + 75_000, "it is tried again after a minute");
    texts.push(`message ${texts.length + 1}`);
    await send(page, texts.at(-1));
    await new Promise((resolve) => setTimeout(resolve, 1500));
  }
  for (const text of texts) await acked(page, text);
  assert.deepEqual(new Set(await statesOf(page)), new Set(["online"]));
  assert.deepEqual(await log(), texts);
  assert.deepEqual(page.problems, []);
});

test("the chat looks the same whatever carries it", async () => {
  const ways = [
    ["websocket", startProxy(stage.server.origin)],
    ["stream", startProxy(stage.server.origin, "kill-upgrade")],
    ["long_poll", startProxy(stage.server.origin, "buffer")],
    ["poll", startImpatientProxy(stage.server.origin, 400)],
  ];
  for (const [index, [transport, starting]] of ways.entries()) {
    const { origin } = await put(starting);
    const context = await profile({ viewport: { width: 1200, height: 860 } });
    const page = await context.newPage();
    await page.goto(origin);
    const words = page.locator("tidewire-chat .status .words");
    await page.waitForFunction(
      () => document.querySelector("tidewire-chat").shadowRoot.querySelector(".status .words").textContent === "Online",
      null,
      { timeout: 90_000 },
    );
    assert.equal(await words.textContent(), "Online");
    const input = page.getByRole("textbox", { name: "Message" });
    await input.fill(`Hello over ${transport}`);
    await input.press("Enter");
    const answers = page.locator('tidewire-chat .row[data-kind="answer"][data-state="done"]');
    await answers.nth(index).waitFor({ timeout: 60_000 });
    await shoot(page, `transport-${transport}`);
    await context.close();
  }
});
