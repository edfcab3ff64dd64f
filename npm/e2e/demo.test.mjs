// The demo page with the real server in Chromium: the story that the project promises, click by
// click.
import assert from "node:assert/strict";
import { join } from "node:path";
import { serveFiles, shoot, top } from "./browser.mjs";
import { test } from "./limits.mjs";
import { useStage } from "./stage.mjs";
import { until } from "./until.mjs";

const stage = useStage();
const VIEWPORT = { width: 1200, height: 860 };

/** A browser profile of its own with the demo page in it. */
async function visit(query = "", options = {}) {
  const page = await another(await stage.profile({ viewport: VIEWPORT, ...options }));
  await page.goto(`${stage.server.origin}/${query}`);
  return page;
}

/** A page in a profile; what its visitor does is in the history. */
async function another(context) {
  const page = await context.newPage();
  await stage.watch(page, "Visitor");
  page.problems = [];
  page.on("pageerror", (error) => page.problems.push(String(error)));
  return page;
}

const rowsOf = (page) =>
  page.locator("tidewire-chat .row").evaluateAll((rows) =>
    rows.map((row) => ({
      id: row.dataset.id,
      state: row.dataset.state,
      kind: row.dataset.kind,
      own: row.classList.contains("own"),
      by: row.querySelector(".by").textContent,
      text: row.querySelector(".bubble").textContent,
    })),
  );
const statusOf = (page) => page.locator("tidewire-chat .status .words").textContent();

const online = (page) => until("online", async () => (await statusOf(page)) === "Online");
const row = (page, test) => async () => (await rowsOf(page)).find(test);

async function say(page, text) {
  page.history?.sent(page, text);
  const input = page.getByRole("textbox", { name: "Message" });
  await input.fill(text);
  await input.press("Enter");
}

async function operatorSays(page, text) {
  await page.locator("#operator-text").fill(text);
  await page.locator("#operator-text").press("Enter");
}

/** Waits until the demo's service worker keeps the page. */
const pageIsKept = (page) =>
  page.evaluate(async () => {
    await navigator.serviceWorker.ready;
    while ((await caches.keys()).length === 0 || navigator.serviceWorker.controller === null) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  });

test("stop in the middle of an answer, write, reload, start: everything once, in order, honestly marked", async () => {
  const page = await visit();
  await online(page);
  await pageIsKept(page);
  await shoot(page, "demo-1-empty");

  await say(page, "Tell me about the tide");
  const streaming = await until(
    "an answer streams",
    row(page, (r) => r.state === "streaming" && r.text.length > 20),
  );
  await shoot(page, "demo-2-streaming");
  await stage.server.stop("SIGINT");
  await until("the page says so", async () => /Reconnecting/.test(await statusOf(page)));
  const partial = (await rowsOf(page)).find((r) => r.id === streaming.id).text;
  await shoot(page, "demo-3-stopped");

  await say(page, "first while away");
  await say(page, "second while away");
  await until("both are queued", async () => (await rowsOf(page)).filter((r) => r.state === "queued").length === 2);
  assert.match(await statusOf(page), /2 messages waiting/);
  await shoot(page, "demo-4-queued");

  await page.reload();
  await until("the rows are back", async () => (await rowsOf(page)).filter((r) => r.state === "queued").length === 2);
  assert.match(await statusOf(page), /Reconnecting|Connecting/);
  assert.deepEqual(
    (await rowsOf(page)).filter((r) => r.own).map((r) => r.text),
    ["Tell me about the tide", "first while away", "second while away"],
  );
  const kept = (await rowsOf(page)).find((r) => r.id === streaming.id)?.text ?? "";
  assert.ok(kept.length > 20 && (partial.startsWith(kept) || kept.startsWith(partial)), `the answer is there: ${kept}`);
  await shoot(page, "demo-5-reloaded-offline");

  await stage.server.start();
  await until(
    "all is sent",
    async () => (await rowsOf(page)).every((r) => !["queued", "sending", "saving"].includes(r.state)),
    45_000,
  );
  await until("the answers are over", async () => (await rowsOf(page)).every((r) => r.state !== "streaming"), 45_000);
  await online(page);
  const rows = await rowsOf(page);
  await shoot(page, "demo-6-recovered");
  assert.deepEqual(
    rows.filter((r) => r.own).map((r) => [r.text, r.state]),
    [
      ["Tell me about the tide", "sent"],
      ["first while away", "sent"],
      ["second while away", "sent"],
    ],
  );
  assert.equal(new Set(rows.map((r) => r.id)).size, rows.length, "nothing is doubled");
  const answer = rows.find((r) => r.id === streaming.id);
  assert.ok(["done", "interrupted"].includes(answer.state), `the answer is ${answer.state}`);
  assert.ok(answer.text.startsWith(partial), "what was read before is still there");
  // The operator's table shows the same log, once that client is back as well.
  const table = () => page.locator("#operator-rows tr td.text").allTextContents();
  await until("the operator has the same", async () => {
    // An answer may have begun since the rows were looked at.
    const now = await rowsOf(page);
    const texts = now.map((r) => r.text);
    return now.every((r) => r.state !== "streaming") && JSON.stringify(await table()) === JSON.stringify(texts);
  });
  assert.deepEqual(await stage.log(), ["Tell me about the tide", "first while away", "second while away"]);
  assert.deepEqual(page.problems, []);
});

test("a killed server loses nothing that was marked as sent", async () => {
  const page = await visit();
  await online(page);
  for (const text of ["one", "two", "three"]) await say(page, text);
  await until("all are sent", async () => (await rowsOf(page)).filter((r) => r.own && r.state === "sent").length === 3);
  await stage.server.stop("SIGKILL");
  await stage.server.start();
  await until("back", async () => /Online/.test(await statusOf(page)), 40_000);
  await until("no answer is left open", async () => (await rowsOf(page)).every((r) => r.state !== "streaming"), 40_000);
  const texts = (await rowsOf(page)).filter((r) => r.own).map((r) => r.text);
  assert.deepEqual(texts, ["one", "two", "three"]);
  assert.deepEqual(await stage.log(), texts);
  await until("the operator is back too", async () => (await page.locator("#operator-state").textContent()) === "Online");
});

test("what an answer had said when the server was killed is there after a reload, while the server is still away", async () => {
  const page = await visit();
  await online(page);
  await pageIsKept(page);
  await say(page, "Tell me a long story");
  const streaming = await until(
    "it streams",
    row(page, (r) => r.state === "streaming" && r.text.length > 40),
  );
  await stage.server.stop("SIGKILL");
  const before = (await rowsOf(page)).find((r) => r.id === streaming.id).text;
  await page.waitForTimeout(500);
  await page.reload();
  const after = await until(
    "the row is back",
    row(page, (r) => r.id === streaming.id),
  );
  assert.ok(after.text.length > 20 && before.startsWith(after.text), `${before} | ${after.text}`);
  await shoot(page, "demo-killed-reloaded");
  await stage.server.start();
  await until(
    "it ends honestly",
    row(page, (r) => r.id === streaming.id && r.state === "interrupted" && r.text.startsWith(before)),
    40_000,
  );
});

test("the operator stops an answer, and both sides see where it ended", async () => {
  const page = await visit();
  await online(page);
  await say(page, "Tell me a long story");
  await until(
    "it streams",
    row(page, (r) => r.state === "streaming" && r.text.length > 10),
  );
  await page.getByRole("button", { name: "Stop answer" }).click();
  const stopped = await until(
    "it is stopped",
    row(page, (r) => r.state === "stopped"),
  );
  assert.ok(stopped.text.length > 0);
  await until(
    "the table says so",
    async () => (await page.locator('#operator-rows tr[data-state="stopped"]').count()) === 1,
  );
  await shoot(page, "demo-answer-stopped");
});

test("two tabs of different users and an operator share one dialog in one order", async () => {
  const ada = await visit("?name=Ada");
  const bob = await visit("?name=Bob", { colorScheme: "dark" });
  await online(ada);
  await online(bob);
  await say(ada, "from Ada");
  await until(
    "Bob sees Ada",
    row(bob, (r) => r.text === "from Ada" && !r.own && r.by === "Ada"),
  );
  await say(bob, "from Bob");
  await until(
    "Ada sees Bob",
    row(ada, (r) => r.text === "from Bob" && !r.own && r.by === "Bob"),
  );
  await operatorSays(bob, "from the operator");
  await until(
    "Ada sees the operator",
    row(ada, (r) => r.text === "from the operator" && !r.own),
  );
  await until("answers are over", async () => (await rowsOf(ada)).every((r) => r.state !== "streaming"), 30_000);
  const ids = async (page) => (await rowsOf(page)).map((r) => r.id);
  await until("the same order", async () => (await ids(ada)).join() === (await ids(bob)).join());
  await shoot(bob, "demo-two-users-dark");
});

test("an expired token is renewed without the user noticing", async () => {
  const page = await visit("?token-ttl=4");
  await online(page);
  const asked = [];
  page.on("request", (request) => request.url().endsWith("/demo/token") && asked.push(request.url()));
  const seen = [];
  await page.exposeFunction("seen", (text) => seen.push(text));
  await page.evaluate(() => {
    const words = document.querySelector("tidewire-chat").shadowRoot.querySelector(".status .words");
    new MutationObserver(() => window.seen(words.textContent)).observe(words, {
      childList: true,
      characterData: true,
      subtree: true,
    });
  });
  await until("it was renewed twice", () => asked.length >= 4, 20_000);
  await say(page, "still here");
  await until(
    "it is sent",
    row(page, (r) => r.text === "still here" && r.state === "sent"),
  );
  assert.ok(!seen.some((text) => /Reconnecting|Not connected|Offline/.test(text)), `the user saw: ${seen.join(" | ")}`);
});

test("a tampered token ends in a visible error, and nothing dials any more", async () => {
  const sockets = [];
  const page = await visit();
  page.on("websocket", (socket) => sockets.push(socket.url()));
  await page.goto(`${stage.server.origin}/?tamper&name=mallory`);
  await page.getByText("Sign in again").waitFor();
  // The operator on the same page may have a token from before.
  const isSettled = async () => /Online|Failed/.test(await page.locator("#operator-state").textContent());
  await until("the operator's side knows too", isSettled);
  assert.equal(await statusOf(page), "Not connected");
  const dialled = sockets.length;
  await page.waitForTimeout(4000);
  assert.equal(sockets.length, dialled, "no further dial");
  await shoot(page, "demo-tampered");
});

test("a browser that denies storage works on, and says that nothing is kept", async () => {
  const context = await stage.profile({ viewport: VIEWPORT });
  await context.addInitScript(() => {
    const denied = () => {
      throw new DOMException("denied", "SecurityError");
    };
    Object.defineProperty(window, "indexedDB", { get: denied });
    Object.defineProperty(window, "localStorage", { get: denied });
  });
  const page = await context.newPage();
  await page.goto(stage.server.origin);
  await online(page);
  await page.locator("tidewire-chat").getByText("keeps nothing for this page").waitFor();
  await say(page, "hello without storage");
  await until(
    "it is sent",
    row(page, (r) => r.text === "hello without storage" && r.state === "sent"),
  );
  await shoot(page, "demo-storage-denied");
});

test("a full disk is told, and messages go nevertheless", async () => {
  const context = await stage.profile({ viewport: VIEWPORT });
  await context.addInitScript(() => {
    IDBObjectStore.prototype.put = () => {
      throw new DOMException("no space", "QuotaExceededError");
    };
  });
  const page = await context.newPage();
  await page.goto(stage.server.origin);
  await online(page);
  await say(page, "hello on a full disk");
  await until(
    "it is sent",
    row(page, (r) => r.text === "hello on a full disk" && r.state === "sent"),
  );
  await page.locator("tidewire-chat").getByText("storage is full").waitFor();
});

test("two tabs of one user share what waits, and each message arrives once", async () => {
  const first = await visit();
  await online(first);
  await pageIsKept(first);
  const second = await another(first.context());
  await second.goto(`${stage.server.origin}/`);
  await online(second);
  await stage.server.stop("SIGKILL");
  await say(first, "written in one tab");
  await until(
    "it is queued",
    row(first, (r) => r.state === "queued"),
  );
  await second.reload();
  await until(
    "the other tab found it",
    row(second, (r) => r.text === "written in one tab"),
  );
  await stage.server.start();
  for (const page of [first, second]) {
    await until(
      "it is sent",
      row(page, (r) => r.text === "written in one tab" && r.state === "sent"),
      40_000,
    );
    await until("it is answered", async () => (await rowsOf(page)).some((r) => r.state === "done"), 40_000);
    assert.equal((await rowsOf(page)).filter((r) => r.own).length, 1);
  }
  assert.deepEqual(await stage.log(), ["written in one tab"]);
});

test("without a network the page says so, and goes on by itself when it is back", async () => {
  const page = await visit();
  await online(page);
  await page.context().setOffline(true);
  await until("it notices", async () => /Offline|Reconnecting/.test(await statusOf(page)));
  await say(page, "from the tunnel");
  await until("it waits", async () => /1 message waiting/.test(await statusOf(page)));
  await page.context().setOffline(false);
  await until(
    "it is sent",
    row(page, (r) => r.text === "from the tunnel" && r.state === "sent"),
    40_000,
  );
  assert.deepEqual(await stage.log(), ["from the tunnel"]);
});

test("a page of another site uses the element with one tag and one script", async () => {
  const other = await serveFiles(
    { "/dist/": join(top, "npm/dist"), "/site/": join(top, "npm/e2e/site") },
    {
      "content-security-policy": `default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self' ${stage.server.origin} ws:`,
    },
  );
  try {
    await stage.server.stop();
    await stage.server.start(["--allowed-origin", other.origin]);
    const page = await (await stage.profile()).newPage();
    const problems = [];
    page.on("console", (message) => message.type() === "error" && problems.push(message.text()));
    await page.goto(`${other.origin}/site/index.html`);
    await page.evaluate((origin) => {
      const chat = document.createElement("tidewire-chat");
      for (const [name, value] of Object.entries({ server: origin, dialog: "demo", name: "elsewhere" }))
        chat.setAttribute(name, value);
      document.body.append(chat);
    }, stage.server.origin);
    await online(page).catch(async (error) => assert.fail(`${error.message}: ${await statusOf(page)}: ${problems.join()}`));
    await say(page, "from elsewhere");
    await until(
      "it is sent",
      row(page, (r) => r.text === "from elsewhere" && r.state === "sent"),
    );
    assert.deepEqual(problems, []);
  } finally {
    other.close();
  }
});

test("a narrow screen shows everything without scrolling sideways", async () => {
  const page = await visit("", { viewport: { width: 360, height: 740 }, colorScheme: "dark" });
  await online(page);
  await say(page, "Hello from a phone");
  await until(
    "answered",
    row(page, (r) => r.state === "done"),
    30_000,
  );
  assert.equal(await page.evaluate(() => document.documentElement.scrollWidth > innerWidth), false);
  await page.screenshot({ path: "../test-output/screenshots/demo-narrow-dark.png", fullPage: true });
});
