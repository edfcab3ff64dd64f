// The element in every visible state, with a fake client.
import assert from "node:assert/strict";
import { shoot } from "./browser.mjs";
import { ADA, AI, close, OLIVIA, open, page, row, say, status } from "./gallery.mjs";
import { afterEach, test } from "./limits.mjs";

afterEach(close);

const online = { state: "online" };

const conversation = () => [
  row(ADA, "Hello! Is the ferry to Tromsø running on Sunday?", "sent"),
  row(AI, "Yes. On Sundays it leaves at 09:40 and 17:15, and takes about two hours and a half.", "done"),
  row(ADA, "And with a bicycle?", "sent"),
  row(OLIVIA, "Bicycles travel free: just be there ten minutes early.", "sent"),
];

test("every state of the connection is said in words", async () => {
  await open();
  await say("show", { rows: [], status: "local" });
  await say("status", { state: "connecting" });
  assert.equal(await status(), "Connecting…");
  await say("status", online);
  assert.equal(await status(), "Online · catching up…");
  await say("show", { status: "live" });
  assert.equal(await status(), "Online");
  await shoot(page, "widget-empty");
  await say("status", { state: "online", waiting: 1 });
  assert.equal(await status(), "Online · sending 1 message");
  await say("status", { state: "offline", waiting: 2 });
  assert.equal(await status(), "Offline: 2 messages waiting");
  // All texts are read in one call, because the clock runs on while the test waits for the browser.
  const first = await page.evaluate(() => {
    const words = window.chat.shadowRoot.querySelector(".status .words");
    window.said = [];
    new MutationObserver(() => window.said.push(words.textContent)).observe(words, { childList: true });
    window.client.status({ state: "reconnecting", retryAt: Date.now() + 3900, waiting: 2 });
    return words.textContent;
  });
  assert.equal(first, "Reconnecting in 4 s · 2 messages waiting");
  await page.waitForFunction(() => window.said.some((words) => words.startsWith("Reconnecting in 3 s")));
  await say("status", { state: "reconnecting", retryAt: null });
  assert.equal(await status(), "Reconnecting…");
  await say("status", { state: "failed", cause: "unauthorized" });
  assert.equal(await status(), "Not connected");
  assert.match(await page.locator("tidewire-chat [data-tone=bad] .words").last().textContent(), /Sign in again/);
  await shoot(page, "widget-refused");
  await page.getByRole("button", { name: "Try again" }).click();
  assert.deepEqual(await page.evaluate(() => window.client.calls[0][0]), "connect");
  await say("status", online);
  await say("state", { storage: "storage_unavailable" });
  await page.getByText("keeps nothing for this page").waitFor();
  assert.deepEqual(page.problems, []);
});

for (const scheme of ["light", "dark"]) {
  for (const width of [360, 460, 1100]) {
    test(`rows in all their states, ${scheme}, ${width} px`, async () => {
      await open({ colorScheme: scheme, viewport: { width, height: 900 } });
      await page.evaluate((wide) => {
        window.chat.style.maxInlineSize = wide ? "none" : "";
        window.chat.style.blockSize = "860px";
      }, width > 1000);
      await say("status", { state: "reconnecting", retryAt: Date.now() + 6500, waiting: 3 });
      const rows = [
        ...conversation(),
        row(ADA, "What about winter?", "sent"),
        row(AI, "In winter the boat goes on weekdays only, because", "interrupted"),
        row(ADA, "שלום, מה שלומך? This one mixes directions.", "sending"),
        row(ADA, "Written while the server was away", "queued"),
        row(ADA, "Refused by the server", "failed", { code: "rate_limited" }),
        row(AI, "The tide comes in twice a day, and", "streaming"),
      ];
      await say("show", { rows, status: "syncing", run: rows.at(-1).id });
      await page.waitForTimeout(100);
      await shoot(page, `widget-rows-${scheme}-${width}`);
      const text = await page.locator("tidewire-chat .log").textContent();
      assert.match(text, /Interrupted: the server stopped/);
      assert.match(text, /Queued/);
      assert.match(text, /Not sent: too many messages at once/);
      assert.match(text, /Waiting for the connection/);
      const sideways = await page.evaluate(() => {
        const log = window.chat.shadowRoot.querySelector(".log");
        return log.scrollWidth > log.clientWidth || document.documentElement.scrollWidth > innerWidth;
      });
      assert.equal(sideways, false, "nothing scrolls sideways");
      assert.deepEqual(page.problems, []);
    });
  }
}

test("an answer streams into its row, and Stop is offered while it does", async () => {
  await open({ colorScheme: "dark" });
  await say("status", online);
  const rows = conversation();
  const answer = row(AI, "", "streaming");
  await say("show", { rows: [...rows, answer], status: "live", run: answer.id });
  await page.evaluate((id) => {
    window.kept = window.chat.shadowRoot.querySelector(`[data-id="${id}"]`);
  }, answer.id);
  await say("show", { rows: [...rows, { ...answer, text: "The tide comes in twice a day, pulled by the moon" }] });
  await shoot(page, "widget-streaming");
  assert.ok(await page.evaluate(() => window.kept.isConnected && window.kept.textContent.includes("pulled by the moon")));
  await page.getByRole("button", { name: "Stop the answer" }).click();
  assert.equal(await page.evaluate(() => window.client.calls.at(-1)[0]), "stop");
  await say("show", { rows: [...rows, { ...answer, text: "The tide comes in", state: "stopped" }], run: null });
  assert.equal(await page.getByRole("button", { name: "Stop the answer" }).count(), 0);
  assert.match(await page.locator("tidewire-chat .log").textContent(), /Stopped/);
});

test("the keyboard is enough: Enter sends, Shift+Enter breaks the line, Escape leaves, input methods keep their Enter", async () => {
  await open();
  await say("status", online);
  await say("show", { status: "live" });
  const input = page.getByRole("textbox", { name: "Message" });
  await input.focus();
  await page.keyboard.type("one");
  await page.keyboard.press("Shift+Enter");
  await page.keyboard.type("two");
  await shoot(page, "widget-composer");
  await input.dispatchEvent("keydown", { key: "Enter", isComposing: true });
  assert.equal(await page.evaluate(() => window.client.calls.length), 0);
  await page.keyboard.press("Enter");
  assert.deepEqual(await page.evaluate(() => window.client.calls), [["send", "one\ntwo"]]);
  assert.equal(await input.inputValue(), "");
  await page.keyboard.press("Escape");
  assert.equal(await page.evaluate(() => window.chat.shadowRoot.activeElement), null);
});

test("a message that is too long is told so before it is sent", async () => {
  await open();
  const input = page.getByRole("textbox", { name: "Message" });
  await input.fill("ä".repeat(8_193));
  await page.getByText("Too long by 2 bytes").waitFor();
  assert.equal(await page.getByRole("button", { name: "Send" }).isDisabled(), true);
  await shoot(page, "widget-too-long");
  await input.fill("short");
  assert.equal(await page.getByText("Too long by").isVisible(), false);
});

test("a message that the client refuses stays in the field, with the reason", async () => {
  await open();
  await page.evaluate(() => {
    const dialog = window.client.dialog();
    const send = () => {
      throw Object.assign(new Error("refused"), { code: "outbox_full" });
    };
    window.chat.client = { ...window.client, dialog: () => ({ ...dialog, send }) };
  });
  await page.waitForTimeout(20);
  const input = page.getByRole("textbox", { name: "Message" });
  await input.fill("one more");
  await input.press("Enter");
  await page.getByText("Not sent: too many messages wait already.").waitFor();
  assert.equal(await input.inputValue(), "one more");
});

const BOB = { id: "user:2", name: "Bob", kind: "user" };

for (const scheme of ["light", "dark"]) {
  for (const width of [360, 460]) {
    test(`who is writing is said under the rows, and nothing moves, ${scheme}, ${width} px`, async () => {
      await open({ colorScheme: scheme, viewport: { width, height: 600 } });
      await say("status", online);
      await say("show", { rows: conversation(), status: "live" });
      const line = page.locator("tidewire-chat .typing");
      const place = () => page.evaluate(() => window.chat.shadowRoot.querySelector(".log").getBoundingClientRect().bottom);
      assert.equal(await line.isVisible(), false);
      const before = await place();
      for (const [users, words] of [
        [[OLIVIA], "Olivia is typing…"],
        [[OLIVIA, BOB], "Olivia and Bob are typing…"],
        [[OLIVIA, BOB, AI], "Several people are typing…"],
        [
          [{ ...BOB, name: "A name that is far too long for one line of a small window ".repeat(2) }],
          "A name that is far too… is typing…",
        ],
      ]) {
        await say("write", users);
        assert.equal(await line.textContent(), words);
        assert.equal(await place(), before, "nothing moves");
        await shoot(page, `widget-typing-${users.length}${users[0] === OLIVIA ? "" : "-long"}-${scheme}-${width}`);
      }
      const sideways = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
      assert.equal(sideways, false, "nothing scrolls sideways");
      await say("write", []);
      assert.equal(await line.isVisible(), false);
      assert.deepEqual(page.problems, []);
    });
  }
}

test("those who write are announced once, not each time; the dots stand still for who wants no motion", async () => {
  await open({ reducedMotion: "reduce" });
  await say("status", online);
  await say("show", { rows: [], status: "live" });
  await page.evaluate(() => {
    window.heard = [];
    const region = window.chat.shadowRoot.querySelector("[aria-live=polite]");
    new MutationObserver(() => window.heard.push(region.textContent)).observe(region, { childList: true });
  });
  for (const users of [[OLIVIA], [OLIVIA, BOB], [BOB], [], [BOB], []]) await say("write", users);
  assert.deepEqual(await page.evaluate(() => window.heard), ["Olivia is typing…"]);
  await say("write", [OLIVIA]);
  const moves = await page.evaluate(
    () => window.chat.shadowRoot.querySelector(".dots").getAnimations({ subtree: true }).length,
  );
  assert.equal(moves, 0);
});

test("typing is told with each change of the text, its end when the field is empty, and nothing of a draft", async () => {
  await open();
  await say("status", online);
  await say("show", { status: "live" });
  const input = page.getByRole("textbox", { name: "Message" });
  const typed = () => page.evaluate(() => window.client.typed.splice(0));
  assert.deepEqual(await typed(), []);
  await input.pressSequentially("ab");
  await input.press("Backspace");
  await input.press("Backspace");
  assert.deepEqual(await typed(), [true, true, true, false]);
  await input.pressSequentially("a");
  await input.press("Enter");
  assert.deepEqual(await typed(), [true, false]);
});

test("a failed message can be retried and discarded", async () => {
  await open();
  const failed = row(ADA, "x", "failed", { code: "forbidden" });
  await say("show", { rows: [failed], status: "live" });
  await page.getByText("Not sent: you may not write here").waitFor();
  await page.getByRole("button", { name: "Retry" }).click();
  await page.getByRole("button", { name: "Discard" }).click();
  assert.deepEqual(await page.evaluate(() => window.client.calls), [
    ["retry", failed.id],
    ["discard", failed.id],
  ]);
});

test("a reader of old rows stays there and is told of new ones", async () => {
  await open();
  await say("status", online);
  const many = Array.from({ length: 40 }, (_, n) => row(n % 2 === 0 ? ADA : OLIVIA, `Row ${n}\nwith two lines`, "sent"));
  await say("show", { rows: many, status: "live" });
  const log = page.locator("tidewire-chat .log");
  const end = () => log.evaluate((list) => list.scrollHeight - list.scrollTop - list.clientHeight < 2);
  assert.ok(await end(), "it begins at the newest");
  await log.evaluate((list) => {
    const scrolled = new Promise((resolve) => list.addEventListener("scroll", resolve, { once: true }));
    list.scrollTop = 100;
    return scrolled;
  });
  await say("show", { rows: [...many, row(OLIVIA, "News", "sent")] });
  assert.equal(await log.evaluate((list) => list.scrollTop), 100);
  await shoot(page, "widget-new-messages");
  await page.getByRole("button", { name: "New messages" }).click();
  assert.ok(await end());
});

test("text is shown as it is: markup in a message stays text", async () => {
  await open();
  const evil = '<img src=x onerror="window.evil=1"><b>bold</b>';
  await say("show", { rows: [row(OLIVIA, evil, "sent")], status: "live" });
  assert.equal(await page.locator("tidewire-chat .bubble").textContent(), evil);
  assert.equal(await page.evaluate(() => window.evil), undefined);
});

test("a screen reader hears the beginning and the whole of an answer, once each", async () => {
  await open();
  await say("status", online);
  await say("show", { rows: [], status: "live" });
  await page.evaluate(() => {
    window.heard = [];
    const region = window.chat.shadowRoot.querySelector("[aria-live=polite]");
    new MutationObserver(() => window.heard.push(region.textContent)).observe(region, { childList: true });
  });
  const answer = row(AI, "", "streaming");
  await say("show", { rows: [answer], run: answer.id });
  await say("show", { rows: [{ ...answer, text: "One" }] });
  await say("show", { rows: [{ ...answer, text: "One two" }] });
  await say("show", { rows: [{ ...answer, text: "One two three", state: "done" }], run: null });
  assert.deepEqual(await page.evaluate(() => window.heard), ["Answer started", "Assistant: One two three"]);
  assert.equal(await page.locator("tidewire-chat .log").getAttribute("aria-live"), "off");
});
