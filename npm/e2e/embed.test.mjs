// The embed as the README has it, in a page of another origin, on the lines that visitors have.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { join } from "node:path";
import { shoot, top } from "./browser.mjs";
import { after, before, test } from "./limits.mjs";
import { useStage } from "./stage.mjs";
import { until } from "./until.mjs";

const stage = useStage();
let shop;
/** What the shop's page has. */
let markup;

before(async () => {
  const readme = await readFile(join(top, "README.md"), "utf8");
  const block = /<!-- embedded by the tests[^>]*-->\n```html\n([\s\S]*?)```/.exec(readme);
  assert.ok(block, "the README has the block");
  markup = block[1];
  const server = createServer((request, response) => {
    response.writeHead(200, { "content-type": "text/html" });
    const name = new URL(request.url, "http://localhost").searchParams.get("name") ?? "Visitor";
    const body = markup.replaceAll("https://chat.example.com", stage.server.origin).replace('"Visitor"', `"${name}"`);
    response.end(
      `<!doctype html><html lang="en"><meta charset="utf-8"><title>Shop</title><style>html{font-size:62.5%}</style>${body}`,
    );
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  // Another site, not only another port: names of hosts tell them apart.
  shop = { origin: `http://localhost:${server.address().port}`, close: () => server.close() };
});
after(() => shop?.close());

/** A visitor's page, with the line throttled as `network` says. */
async function visit({ context, network, allowed = true } = {}) {
  if (allowed) await stage.restart(["--allowed-origin", shop.origin]);
  const own = context ?? (await stage.profile({ viewport: { width: 420, height: 700 } }));
  const page = await own.newPage();
  page.problems = [];
  page.on("console", (message) => message.type() === "error" && page.problems.push(message.text()));
  if (network !== undefined) {
    const session = await own.newCDPSession(page);
    await session.send("Network.enable");
    await session.send("Network.emulateNetworkConditions", { offline: false, uploadThroughput: network.bytes, ...network });
  }
  return page;
}

const rowsOf = (page) =>
  page.locator("tidewire-chat .row").evaluateAll((rows) =>
    rows.map((row) => ({
      state: row.dataset.state,
      own: row.classList.contains("own"),
      text: row.querySelector(".bubble").textContent,
      mark: row.querySelector(".mark").textContent,
    })),
  );
const statusOf = (page) => page.locator("tidewire-chat .status .words").textContent();
const field = (page) => page.getByRole("textbox", { name: "Message" });
const own = async (page) => (await rowsOf(page)).filter((row) => row.own).map((row) => row.text);

async function say(page, text) {
  await field(page).fill(text);
  await field(page).press("Enter");
}

/** As a phone far out: the core takes seconds, the page and its first script come before. */
const SLOW = { latency: 150, downloadThroughput: 12_000, bytes: 12_000 };

test("on a slow line, what is sent before the core is there is a row at once, survives a reload, and is answered once", async () => {
  const page = await visit({ network: SLOW });
  await page.goto(shop.origin);
  await field(page).waitFor();
  await say(page, "Sent in the first second");
  assert.deepEqual(await rowsOf(page), [{ state: "queued", own: true, text: "Sent in the first second", mark: "Queued" }]);
  assert.equal(await field(page).inputValue(), "");
  assert.match(await statusOf(page), /Starting/);
  await shoot(page, "embed-1-first-second");
  await field(page).pressSequentially("half a thou");
  await page.reload();
  await field(page).waitFor();
  assert.deepEqual(await own(page), ["Sent in the first second"]);
  assert.equal(await field(page).inputValue(), "half a thou", "what was begun is there too");
  await say(page, "And another one");
  await until(
    "both are sent",
    async () => (await rowsOf(page)).filter((row) => row.own && row.state === "sent").length === 2,
    60_000,
  );
  await until(
    "they are answered",
    async () => (await rowsOf(page)).filter((row) => row.state === "done").length >= 1,
    60_000,
  );
  await shoot(page, "embed-2-answered");
  assert.deepEqual(await own(page), ["Sent in the first second", "And another one"]);
  await page.reload();
  await until("nothing was doubled", async () => /Online/.test(await statusOf(page)), 60_000);
  assert.deepEqual(await own(page), ["Sent in the first second", "And another one"]);
  assert.equal(
    await page.evaluate(() => Object.keys(localStorage).filter((key) => key.startsWith("tidewire:unsent")).length),
    0,
  );
  assert.deepEqual(page.problems, []);
});

test("each visitor has a conversation of their own, and finds it again", async () => {
  const ada = await visit();
  await ada.goto(shop.origin);
  await say(ada, "My order is 4711");
  await until("it is answered", async () => (await rowsOf(ada)).some((row) => row.state === "done"), 30_000);
  const bob = await visit({ allowed: false });
  await bob.goto(shop.origin);
  await until("Bob is online", async () => (await statusOf(bob)) === "Online");
  assert.deepEqual(await rowsOf(bob), [], "he sees nothing of hers");
  await say(bob, "Hello");
  await until("it is sent", async () => (await rowsOf(bob)).some((row) => row.state === "sent"));
  await ada.reload();
  await until("hers is back", async () => (await own(ada)).join() === "My order is 4711");
  // Her session is lost, and with it her right to the conversation: she gets another one instead of
  // an error.
  await ada.evaluate(() => {
    for (const key of Object.keys(localStorage)) if (key.startsWith("tidewire:guest:")) localStorage.removeItem(key);
  });
  await ada.reload();
  await until("she is online", async () => (await statusOf(ada)) === "Online");
  await say(ada, "I am back");
  await until("it is sent", async () => (await rowsOf(ada)).some((row) => row.text === "I am back" && row.state === "sent"));
});

test("files are compressed, kept by their hash, and the widget alone is asked for again", async () => {
  const page = await visit();
  const seen = new Map();
  page.on("response", async (response) => {
    const path = new URL(response.url()).pathname;
    if (path.startsWith("/tidewire/")) seen.set(path, await response.allHeaders());
  });
  await page.goto(shop.origin);
  await until("online", async () => (await statusOf(page)) === "Online");
  const paths = [...seen.keys()].map((path) => path.replace("/tidewire/", "").replace(/-[0-9a-f]{16}\./, "-HASH.")).sort();
  assert.deepEqual(paths, ["core-HASH.wasm", "index-HASH.js", "own-HASH.js", "widget.js"]);
  for (const [path, headers] of seen) {
    assert.equal(headers["content-encoding"], "br", path);
    assert.equal(headers["cache-control"], path.includes("-") ? "public, max-age=31536000, immutable" : "no-cache", path);
  }
  await page.close();
});

test("a site that is not allowed is told so, for good, and nothing is asked again and again", async () => {
  const page = await visit({ allowed: false });
  const asked = [];
  page.on("request", (request) => request.url().includes("/v1/") && asked.push(request.url()));
  await page.goto(shop.origin);
  await page.getByText("This site may not use this chat server").waitFor();
  assert.equal(await statusOf(page), "Not connected");
  const before = asked.length;
  await page.waitForTimeout(3000);
  assert.equal(asked.length, before);
  await shoot(page, "embed-not-allowed");
});

for (const [what, nickname] of [
  ["is empty", ""],
  ["is too long", "W".repeat(41)],
]) {
  test(`a visitor whose name ${what} is told so in the server's words, once, and comes in with another name`, async () => {
    const page = await visit();
    const asked = [];
    page.on("request", (request) => request.url().endsWith("/v1/guest") && asked.push(request.method()));
    await page.goto(`${shop.origin}/?name=${nickname}`);
    await page.getByText("must have 1 to 40 characters").waitFor();
    await say(page, "Can you hear me?");
    await page.waitForTimeout(2500);
    assert.equal(asked.filter((method) => method === "POST").length, 1);
    await page.evaluate(() => document.querySelector("tidewire-chat").setAttribute("nickname", "Ada"));
    await until("it is sent", async () => (await rowsOf(page)).some((row) => row.own && row.state === "sent"), 20_000);
    assert.deepEqual(await own(page), ["Can you hear me?"]);
  });
}

test("when the core can't be loaded what was sent stays, and goes out once it can", async () => {
  const page = await visit();
  await page.route(/core-[0-9a-f]{16}\.wasm$/, (route) => route.abort());
  await page.goto(shop.origin);
  await say(page, "Is anybody there?");
  await page.getByText("The chat could not be loaded").waitFor();
  assert.deepEqual(await own(page), ["Is anybody there?"]);
  await shoot(page, "embed-core-missing");
  const text = await page.locator("tidewire-chat").evaluate((chat) => chat.shadowRoot.textContent);
  assert.doesNotMatch(text, /Error|fetch|wasm/i, "no words of an engine");
  await page.unroute(/core-[0-9a-f]{16}\.wasm$/);
  await page.getByRole("button", { name: "Try again" }).click();
  await until("it is sent", async () => (await rowsOf(page)).some((row) => row.own && row.state === "sent"), 20_000);
});
