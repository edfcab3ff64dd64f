// What a visitor sees and can do in every state of a conversation, with a fake client.
import assert from "node:assert/strict";
import { shoot } from "./browser.mjs";
import { ADA, AI, close, OLIVIA, open, page, row, say, status } from "./gallery.mjs";
import { afterEach, test } from "./limits.mjs";
import { until } from "./until.mjs";

afterEach(close);

const online = { state: "online" };
const field = () => page.getByRole("textbox", { name: "Message" });
const marks = () => page.locator("tidewire-chat .row .mark").allTextContents();
const focused = () => page.evaluate(() => window.chat.shadowRoot.activeElement?.tagName);

test("a stretch that is not shown is said where it is missing", async () => {
  await open();
  await say("status", online);
  await say("show", { rows: [row(OLIVIA, "Much later", "sent")], status: "live" });
  assert.equal(await page.locator("tidewire-chat .gap").isVisible(), false);
  for (const [state, words] of [
    [{ missed: 812, gap: "trimmed" }, /before this is not shown/],
    [{ missed: 3, gap: null }, /before this is not shown/],
    [{ missed: 0, gap: "epoch" }, /begins anew here/],
  ]) {
    await say("show", { missed: 0, gap: null, ...state });
    assert.match(await page.getByRole("note").textContent(), words);
  }
  const above = await page.evaluate(() => {
    const top = (part) => window.chat.shadowRoot.querySelector(part).getBoundingClientRect().top;
    return top(".gap") < top(".bubble");
  });
  assert.ok(above);
  await shoot(page, "visitor-gap");
});

test("a queued message says what it waits for, and counts down", async () => {
  await open();
  await say("status", { ...online, waiting: 3 });
  const rows = [
    row(ADA, "refused", "failed", { code: "forbidden" }),
    row(ADA, "behind it", "queued", { code: "blocked" }),
    row(ADA, "too many", "queued", { code: "rate_limited", retryAt: Date.now() + 12_500 }),
    row(ADA, "in the tunnel", "queued"),
  ];
  await say("show", { rows, status: "live" });
  assert.deepEqual(await marks(), [
    "Not sent: you may not write here",
    "Waits: a message before it was not sent",
    "Many messages at once: sent in 13 s",
    "Queued",
  ]);
  assert.equal(await status(), "Online · sending 2 messages");
  await page.getByText("sent in 11 s").waitFor({ timeout: 4000 });
  await shoot(page, "visitor-queued");
  await say("status", { ...online, waiting: 1 });
  await say("show", { rows: rows.slice(0, 2) });
  assert.equal(await status(), "Online · 1 message held back");
});

test("after Retry and Discard the focus is where one writes, not nowhere", async () => {
  await open();
  const rows = [row(ADA, "one", "failed"), row(ADA, "two", "failed"), row(ADA, "three", "sent")];
  await say("show", { rows, status: "live" });
  for (const [name, left] of [
    ["Discard", rows.slice(1)],
    ["Retry", rows.slice(2)],
  ]) {
    await page.getByRole("button", { name }).first().focus();
    await page.keyboard.press("Enter");
    await say("show", { rows: left });
    assert.equal(await focused(), "TEXTAREA", name);
  }
});

test("what waits for its next attempt can be tried now", async () => {
  await open();
  await say("show", { rows: [], status: "syncing" });
  const button = page.getByRole("button", { name: "Try now" });
  await say("status", { state: "reconnecting", retryAt: Date.now() + 9000 });
  await button.click();
  assert.deepEqual(await page.evaluate(() => window.client.calls.map(([name]) => name)), ["retryNow"]);
  await shoot(page, "visitor-try-now");
  await say("status", { state: "reconnecting", retryAt: null });
  assert.equal(await button.isVisible(), false, "it is being tried");
  await say("status", online);
  const error = { code: "too_many_connections", message: "no more than 3 connections" };
  await say("show", { status: "waiting", error, retryAt: Date.now() + 20_000 });
  assert.match(await status(), /^Online · the conversation is full, next try in (20|19) s$/);
  assert.equal(await button.isVisible(), true);
  await shoot(page, "visitor-full");
});

test("a refusal is told in the server's words, an engine's never", async () => {
  await open();
  const problem = () => page.locator("tidewire-chat .notice[data-tone=bad] .words").textContent();
  await say("status", { state: "failed", cause: "bad_request", message: "`nickname` must have 1 to 40 characters" });
  assert.match(await problem(), /nickname.* must have 1 to 40 characters/);
  await say("status", { state: "failed", cause: "bad_token", message: "the token provider gave undefined" });
  assert.doesNotMatch(await problem(), /provider|undefined/);
  await page.evaluate(() => {
    window.errors = [];
    window.addEventListener("error", (event) => window.errors.push(event.message));
    window.chat.client = undefined;
    window.chat.setAttribute("server", "nonsense");
  });
  await page.getByText("not set up correctly").waitFor();
  assert.match(await page.evaluate(() => window.errors.join()), /url must be an address/);
});

test("a conversation that can't be opened is said to be so for as long as it is, and begins with the connection that it missed", async () => {
  await open();
  const give = (code) =>
    page.evaluate((code) => {
      const fail = () => {
        window.asked = (window.asked ?? 0) + 1;
        throw Object.assign(new Error("no"), { code });
      };
      window.chat.client = { ...window.client, dialog: fail, ownDialog: async () => fail() };
    }, code);
  await give("bad_channel");
  await page.getByText("can't be opened (bad_channel)").waitFor();
  await say("status", online);
  assert.equal(await page.getByText("can't be opened (bad_channel)").isVisible(), true);
  assert.equal(await status(), "Online · no access to this dialog");
  await say("status", { state: "reconnecting", retryAt: null });
  await page.evaluate(() => window.chat.removeAttribute("dialog"));
  await give("closed");
  await field().fill("kept");
  await field().press("Enter");
  await page.waitForTimeout(50);
  const before = await page.evaluate(() => window.asked);
  await page.evaluate(() => {
    window.chat.client.ownDialog = async () => window.client.dialog();
  });
  await say("status", online);
  await until("it went out", () =>
    page.evaluate(() => window.client.calls.some(([name, text]) => name === "send" && text === "kept")),
  );
  assert.equal(await page.evaluate(() => window.asked), before);
});

test("typing stays inside, ways out and combinations go on", async () => {
  await open();
  await page.evaluate(() => {
    window.keys = [];
    for (const type of ["keydown", "keypress", "keyup"]) {
      document.addEventListener(type, (event) => window.keys.push(`${type} ${event.key}`));
    }
  });
  await field().focus();
  await page.keyboard.type("jk/?");
  await page.keyboard.press("Enter");
  await page.keyboard.press("Backspace");
  assert.deepEqual(await page.evaluate(() => window.keys), []);
  await page.keyboard.press("Control+k");
  await page.keyboard.press("Escape");
  const keys = await page.evaluate(() => window.keys);
  assert.ok(keys.includes("keydown k") && keys.includes("keydown Escape"), keys.join());
});

test("what was begun belongs to its conversation, and comes back with it", async () => {
  await open();
  // The user of a client that the page provides is not known, so nothing is stored.
  await field().fill("for the first");
  const dialog = (id) => page.evaluate((id) => window.chat.setAttribute("dialog", id), id);
  await dialog("other");
  await page.waitForTimeout(50);
  assert.equal(await field().inputValue(), "");
  await page.evaluate(() => {
    window.chat.client = undefined;
    window.chat.setAttribute("server", "http://127.0.0.1:9");
  });
  await page.waitForTimeout(50);
  await field().fill("for another server's");
  await dialog("demo");
  await page.waitForTimeout(50);
  assert.equal(await field().inputValue(), "");
  await dialog("other");
  await page.waitForTimeout(50);
  assert.equal(await field().inputValue(), "for another server's");
  await page.evaluate(() => window.chat.setAttribute("user", "bob"));
  await page.waitForTimeout(50);
  assert.equal(await field().inputValue(), "for another server's", "who signs in now may go on with it");
  await page.evaluate(() => window.chat.setAttribute("user", "carol"));
  await page.waitForTimeout(50);
  assert.equal(await field().inputValue(), "", "another one may not");
});

test("what is sent while attributes, token and client change is sent by the client that comes, once", async () => {
  await open();
  const send = async (text) => {
    await field().fill(text);
    await field().press("Enter");
  };
  const texts = () => page.locator("tidewire-chat .bubble").allTextContents();
  // It never comes.
  await page.route(/core\.wasm$/, () => {});
  await page.evaluate(() => {
    window.chat.client = undefined;
    window.chat.setAttribute("server", "http://127.0.0.1:9");
  });
  await send("one");
  await page.evaluate(() => {
    window.chat.token = async () => "token";
  });
  await send("two");
  await page.evaluate(() => window.chat.setAttribute("nickname", "Ada"));
  await send("three");
  await page.evaluate(() => window.chat.remove());
  await page.evaluate(() => document.body.append(window.chat));
  assert.deepEqual(await texts(), ["one", "two", "three"]);
  await page.evaluate(() => window.chat.setAttribute("dialog", "other"));
  await page.waitForTimeout(30);
  assert.deepEqual(await texts(), [], "they were not meant for another dialog");
  await page.evaluate(() => window.chat.setAttribute("dialog", "demo"));
  await page.waitForTimeout(30);
  assert.deepEqual(await texts(), ["one", "two", "three"]);
  await page.evaluate(() => {
    window.chat.client = window.client;
  });
  await page.waitForTimeout(30);
  await page.evaluate(() => {
    window.chat.client = { ...window.client };
  });
  await page.waitForTimeout(30);
  const calls = await page.evaluate(() => window.client.calls.filter(([name]) => name === "send").map(([, text]) => text));
  assert.deepEqual(calls, ["one", "two", "three"]);
});

test("a page with small roots has text that can be read, and fields that phones do not zoom into", async () => {
  await open();
  await page.evaluate(() => {
    document.documentElement.style.fontSize = "62.5%";
  });
  await say("show", { rows: [row(OLIVIA, "Hello", "sent")], status: "live" });
  const sizes = await page.evaluate(() =>
    ["textarea", ".bubble", ".meta", "h2", ".status"].map((part) =>
      Number.parseFloat(getComputedStyle(window.chat.shadowRoot.querySelector(part)).fontSize),
    ),
  );
  assert.ok(sizes[0] >= 16 && sizes[1] >= 16, sizes.join());
  assert.ok(
    sizes.every((size) => size >= 12),
    sizes.join(),
  );
});

test("a phone shows all of it, whatever people are called", async () => {
  await open({ viewport: { width: 320, height: 480 } });
  // The page says nothing of its size.
  await page.evaluate(() => {
    document.body.style.margin = "0";
    for (const sheet of document.styleSheets) sheet.disabled = true;
  });
  const long = { ...OLIVIA, name: "W".repeat(40) };
  await say("status", { state: "reconnecting", retryAt: Date.now() + 29_000, waiting: 12 });
  await say("show", { rows: [row(long, "Hello", "sent"), row(ADA, "x".repeat(300), "failed")], status: "live" });
  const { sideways, height, out } = await page.evaluate(() => {
    const root = window.chat.shadowRoot;
    const log = root.querySelector(".log");
    const width = window.chat.getBoundingClientRect().right;
    const out = [...root.querySelectorAll(".row *, .header *")].filter(
      (part) => part.getBoundingClientRect().right > width + 1,
    );
    return {
      sideways: log.scrollWidth > log.clientWidth || document.documentElement.scrollWidth > innerWidth,
      height: window.chat.getBoundingClientRect().height,
      out: out.map((part) => part.className),
    };
  });
  assert.deepEqual({ sideways, out }, { sideways: false, out: [] });
  assert.ok(height <= 480, `${height}`);
  await shoot(page, "visitor-phone");
});

test("in forced colours the focus and the states can be seen", async () => {
  await open({ forcedColors: "active" });
  await say("show", { rows: [row(OLIVIA, "Hello", "sent"), row(ADA, "no", "failed")], status: "live" });
  await field().focus();
  const outline = await page.evaluate(
    () => getComputedStyle(window.chat.shadowRoot.querySelector(".composer")).outlineStyle,
  );
  assert.equal(outline, "solid");
  await shoot(page, "visitor-forced-colours");
});

test("who wrote what, and which chat is which, is there for those who do not see it", async () => {
  await open();
  await say("show", {
    rows: [row(ADA, "mine", "sent"), row(ADA, "mine too", "sent"), row(AI, "theirs", "done")],
    status: "live",
  });
  const snapshot = await page.locator("tidewire-chat").ariaSnapshot();
  assert.equal(snapshot.match(/You/g)?.length, 2, snapshot);
  assert.match(snapshot, /Assistant/);
  await page.evaluate(() => {
    const second = document.createElement("tidewire-chat");
    second.setAttribute("heading", "Ask us anything");
    second.setAttribute("dialog", "demo");
    second.client = window.client;
    document.body.append(second);
  });
  const names = await page
    .locator("tidewire-chat section")
    .evaluateAll((sections) => sections.map((section) => section.getAttribute("aria-label")));
  assert.deepEqual(names, ["Ask us anything", "Ask us anything 2"]);
});

test("how much room is left is not read out at each key; that it is too long is, once", async () => {
  await open();
  await page.evaluate(() => {
    window.alerts = [];
    const root = window.chat.shadowRoot;
    new MutationObserver((records) => {
      for (const { target } of records) {
        const region = target.parentElement?.closest("[role=alert], [aria-live]") ?? target.closest?.("[role=alert]");
        if (region?.textContent) window.alerts.push(region.textContent);
      }
    }).observe(root.querySelector(".footer"), { childList: true, characterData: true, subtree: true });
  });
  await field().fill("x".repeat(14_100));
  await page.getByText("2,284 bytes left.").waitFor();
  await page.keyboard.type("yyy");
  assert.deepEqual(await page.evaluate(() => window.alerts), []);
  await field().fill("x".repeat(16_390));
  await page.keyboard.type("yyy");
  await page.getByText("Too long by 9 bytes").waitFor();
  assert.deepEqual(await page.evaluate(() => window.alerts), ["The message is too long."]);
});
