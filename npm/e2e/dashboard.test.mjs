// The dashboard with the real server in Chromium, while another program writes to the database.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { shoot, top } from "./browser.mjs";
import { after, before, beforeEach, test } from "./limits.mjs";
import { isLive, send, settled, useStage } from "./stage.mjs";
import { until } from "./until.mjs";

const stage = useStage();
const demo = join(top, "examples/demo");
let folder;
let database;
let count = 0;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "tidewire-tables-"));
});

after(() => rm(folder, { recursive: true, force: true }));

beforeEach(async () => {
  count += 1;
  database = join(folder, `${count}.db`);
  sql(await readFile(join(demo, "tables.sql"), "utf8"));
  await stage.restart(settings());
});

const settings = () => ["--config", join(demo, "server.toml"), "--tables-source", `sqlite:${database}`];

/** What another program does to the database, in a transaction each time. */
function sql(text) {
  return execFileSync("sqlite3", ["-bail", database], { input: `.timeout 5000\n${text};\n`, encoding: "utf8" });
}

async function visit(options = {}) {
  return another(await stage.profile({ viewport: { width: 1200, height: 1150 }, ...options }));
}

async function another(context) {
  const page = await context.newPage();
  page.problems = [];
  page.on("pageerror", (error) => page.problems.push(String(error)));
  await page.goto(`${stage.server.origin}/dashboard/`);
  return page;
}

const texts = (page, selector) => page.locator(selector).evaluateAll((all) => all.map((one) => one.textContent));
const rules = (page) => texts(page, "#rules td.name");
const sessions = (page) => texts(page, "#sessions .card strong");
const notes = (page) => texts(page, "#notifications .card p");
const states = (page) => texts(page, ".panel [data-part=state]");
const log = async (page) => (await texts(page, "#log li")).map((line) => line.replace(/^\S+( [AP]M)?(?=[IUD][A-Z]+)/, ""));

const live = (page) => until("all tables are live", async () => String(await states(page)) === "live,live,live");
const becomes = (what, read, expected) =>
  until(`${what}: ${JSON.stringify(expected)}`, async () => JSON.stringify(await read()) === JSON.stringify(expected));

test("three tables are live, and follow whoever writes to them", async () => {
  const page = await visit();
  await live(page);
  assert.deepEqual(await rules(page), ["refunds", "tone", "holidays"]);
  assert.deepEqual(await sessions(page), ["Noor", "Mateo"]);
  assert.equal((await notes(page)).length, 2);
  assert.equal(await page.locator("#connection").textContent(), "Online");
  await shoot(page, "dashboard-1-live");

  sql("UPDATE context_rules SET priority = 40, enabled = 1 WHERE name = 'holidays'");
  await becomes("the order", () => rules(page), ["holidays", "refunds", "tone"]);
  assert.equal(await page.locator("#rules tr[data-id='3']").getAttribute("data-changed"), "update");
  sql(
    "BEGIN; DELETE FROM context_rules WHERE id = 2; INSERT INTO context_rules (name, instruction) VALUES ('names', 'x'); COMMIT",
  );
  await becomes("rules", () => rules(page), ["holidays", "refunds", "names"]);
  sql("BEGIN; DELETE FROM context_rules; ROLLBACK");
  sql("UPDATE chat_sessions SET state = 'closed' WHERE visitor = 'Noor'");
  await becomes("sessions", () => sessions(page), ["Mateo"]);
  sql("UPDATE chat_sessions SET state = 'open' WHERE visitor = 'Yuki'");
  await becomes("sessions", () => sessions(page), ["Mateo", "Yuki"]);
  sql("INSERT INTO notifications (title, created_at) VALUES ('fire', '2099-01-01 00:00:00')");
  sql("INSERT INTO notifications (user_id, title) VALUES ('demo:operator:Oscar', 'not for Olivia')");
  await until("a notification", async () => (await notes(page))[0] === "fire");
  assert.equal((await notes(page)).length, 3, "another's are not shown");
  assert.deepEqual(await log(page), [
    "INSERTnotifications: fire",
    "INSERTchat_sessions: Yuki · moved in",
    "DELETEchat_sessions: Noor · moved out",
    "INSERTcontext_rules: names",
    "DELETEcontext_rules: tone",
    "UPDATEcontext_rules: holidays",
  ]);
  await shoot(page, "dashboard-2-changed");
  assert.deepEqual(page.problems, []);
});

test("without a server the rows stay and are stale, after a reload too; what was written meanwhile is there when it is back", async () => {
  const page = await visit();
  await live(page);
  await page.evaluate(async () => {
    await navigator.serviceWorker.ready;
    while ((await caches.keys()).length === 0 || navigator.serviceWorker.controller === null) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  });
  await stage.server.stop("SIGKILL");
  await until("stale", async () => String(await states(page)) === "stale,stale,stale");
  assert.equal((await rules(page)).length, 3);
  sql("UPDATE context_rules SET priority = 50 WHERE name = 'tone'");
  sql("UPDATE chat_sessions SET state = 'closed'");
  await page.reload();
  await until("what was kept", async () => String(await states(page)) === "stale,stale,stale");
  assert.deepEqual(await rules(page), ["refunds", "tone", "holidays"]);
  await shoot(page, "dashboard-3-offline");
  await stage.server.start(["--allowed-origin", stage.origin, ...settings()]);
  await live(page);
  await becomes("rules", () => rules(page), ["tone", "refunds", "holidays"]);
  await becomes("sessions", () => sessions(page), []);
  assert.deepEqual(page.problems, []);
});

test("tabs share what they see, and the one that is left has it all", async () => {
  const first = await visit();
  await live(first);
  const second = await another(first.context());
  await live(second);
  sql("UPDATE context_rules SET priority = 40 WHERE name = 'tone'");
  for (const page of [first, second]) await becomes("rules", () => rules(page), ["tone", "refunds", "holidays"]);
  await first.close();
  sql("UPDATE context_rules SET priority = 60 WHERE name = 'holidays'");
  await becomes("rules", () => rules(second), ["holidays", "tone", "refunds"]);
  await live(second);
  const written = await log(second);
  assert.ok(written.filter((line) => line.startsWith("UPDATE") && line.includes("tone")).length === 1, String(written));
  assert.deepEqual(second.problems, []);
});

test("a tab with a chat alone and one with tables are one client: who has tables leads", async () => {
  const context = await stage.profile();
  const roles = (...pages) => Promise.all(pages.map((page) => page.evaluate(() => window.client.explain().tab)));
  const chat = await stage.tab(context, { user: "Noor" });
  await isLive(chat);
  const look = async () => {
    const page = await stage.tab(context, { user: "Noor", tables: "true" });
    await page.evaluate(() => {
      window.sessions = window.client.table("chat_sessions");
    });
    await until("its table is live", () => page.evaluate(() => window.sessions.status === "live"));
    return page;
  };
  const topics = (page) => page.evaluate(() => window.sessions.rows.map((row) => row.topic));
  const first = await look();
  assert.deepEqual(await roles(chat, first), ["follower", "leader"]);
  await send(chat, "from the chat");
  await settled(chat, "from the chat");
  await send(first, "from beside the table");
  await settled(first, "from beside the table");
  sql("UPDATE chat_sessions SET topic = 'On its way' WHERE visitor = 'Noor'");
  await becomes("the topic", () => topics(first), ["On its way"]);
  // The chat's tab leads again, without tables, until there is another one with them.
  await first.close();
  await until("the chat leads", async () => String(await roles(chat)) === "leader");
  await send(chat, "alone again");
  await settled(chat, "alone again");
  sql("UPDATE chat_sessions SET topic = 'It is here' WHERE visitor = 'Noor'");
  const second = await look();
  assert.deepEqual(await topics(second), ["It is here"]);
  await isLive(chat);
  await until("one connection", async () => (await stage.connections()) === 1);
  assert.deepEqual(await stage.log(), ["from the chat", "from beside the table", "alone again"]);
  for (const page of [chat, second]) assert.deepEqual(page.problems, []);
});

test("who wrote something waits until it is here; what can't be asked or seen has a code", async () => {
  const page = await visit();
  await live(page);
  const open = async () => {
    const { createClient } = await import("/tidewire/index.js");
    const body = JSON.stringify({ role: "operator", name: "Olivia" });
    const headers = { "content-type": "application/json" };
    const { token } = await (await fetch("/demo/token", { method: "POST", headers, body })).json();
    const options = { url: location.origin, token: async () => token, tables: true, storage: "memory" };
    window.client = await createClient(options);
    window.rules = window.client.table("context_rules", { where: { name: "tone" } });
    while (window.rules.status !== "live") await new Promise((resolve) => setTimeout(resolve, 10));
  };
  await page.evaluate(open);
  for (let n = 0; n < 5; n += 1) {
    const written = `BEGIN; UPDATE context_rules SET priority = ${100 + n} WHERE name = 'tone'; SELECT max(seq) FROM _tidewire_change; COMMIT`;
    const tx = sql(written).trim();
    const read = async (tx) => {
      await window.rules.awaitTx(tx, { timeoutMs: 10_000 });
      return window.rules.rows[0].priority;
    };
    assert.equal(await page.evaluate(read, tx), String(100 + n));
  }
  const codes = async () => {
    const unknown = window.client.table("nothing");
    const column = window.client.table("context_rules", { where: { name: "x", colour: "red" } });
    const literal = window.client.table("context_rules", { where: { priority: { gt: "high" } } });
    const all = [unknown, column, literal];
    while (all.some(({ status }) => status !== "failed")) await new Promise((resolve) => setTimeout(resolve, 10));
    const seen = await window.rules.awaitTx("nonsense").catch((error) => error.code);
    return [...all.map(({ error }) => [error.code, error.at]), seen];
  };
  assert.deepEqual(await page.evaluate(codes), [
    ["unknown_table", null],
    ["bad_column", 10],
    ["bad_literal", 12],
    "unknown_tx",
  ]);
  await page.evaluate(() => window.client.close());
});

test("it can be used in the dark, on a narrow screen and by keyboard", async () => {
  for (const [name, options] of [
    ["dark", { colorScheme: "dark" }],
    ["narrow", { viewport: { width: 390, height: 844 } }],
  ]) {
    const page = await visit(options);
    await live(page);
    sql(
      `UPDATE context_rules SET enabled = 1 - enabled WHERE id = 3; INSERT INTO context_rules (name, instruction) VALUES ('${name}', 'y')`,
    );
    await until("the change", async () => (await rules(page)).includes(name));
    const { width, inner } = await page.evaluate(() => ({ width: document.documentElement.scrollWidth, inner: innerWidth }));
    assert.ok(width <= inner, `${name}: ${width} of ${inner}`);
    const shot = join(top, "test-output/screenshots", `dashboard-4-${name}.png`);
    await page.screenshot({ path: shot, fullPage: true });
    const reached = [];
    for (let n = 0; n < 12; n += 1) {
      await page.keyboard.press("Tab");
      reached.push(
        await page.evaluate(() => document.activeElement?.getAttribute("aria-label") ?? document.activeElement?.textContent),
      );
    }
    assert.ok(reached.includes("Chat demo") && reached.includes("Copy: Change a rule"), reached.join("; "));
  }
});
