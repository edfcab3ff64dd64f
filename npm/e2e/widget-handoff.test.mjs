// What the element says of who answers and of who has read, with a fake client.
import assert from "node:assert/strict";
import { shoot } from "./browser.mjs";
import { ADA, AI, close, OLIVIA, open, page, row, say, status } from "./gallery.mjs";
import { afterEach, test } from "./limits.mjs";

afterEach(close);

const online = { state: "online" };
const LONG = "A name that is far too long for one line of a small window";
const EVE = { id: "op:1", name: "Eve", kind: "operator" };

const hear = () =>
  page.evaluate(() => {
    window.heard = [];
    const region = window.chat.shadowRoot.querySelector("[aria-live=polite]");
    new MutationObserver(() => window.heard.push(region.textContent)).observe(region, { childList: true });
  });
const heard = () => page.evaluate(() => window.heard.splice(0));
const marked = () => page.evaluate(() => window.client.marked.splice(0));
const sideways = () => page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
/** The texts of all rows' marks that can be seen. */
const marks = () =>
  page.evaluate(() =>
    [...window.chat.shadowRoot.querySelectorAll(".row")]
      .map((row) => row.querySelector(".mark:not([hidden]) span:not(.unseen)")?.textContent)
      .filter(Boolean),
  );

for (const scheme of ["light", "dark"]) {
  for (const width of [360, 460]) {
    test(`who answers is said in the header and to a screen reader, ${scheme}, ${width} px`, async () => {
      await open({ colorScheme: scheme, viewport: { width, height: 600 } });
      await say("status", online);
      await say("state", { user: ADA });
      const rows = [row(ADA, "Can I talk to a person?", "sent"), row(AI, "I have asked for one.", "done")];
      await say("show", { rows, status: "live", handler: { state: "ai" } });
      assert.equal(await status(), "Online");
      await hear();
      await say("show", { handler: { state: "queued", since: 1 } });
      assert.equal(await status(), "Online · a person was asked for");
      await shoot(page, `widget-queued-${scheme}-${width}`);
      await say("show", { handler: { state: "operator", since: 2, user: EVE } });
      assert.equal(await status(), "You are talking to Eve");
      const more = [...rows, row(EVE, "Hello, this is Eve. How can I help?", "sent")];
      await say("show", { rows: more });
      await shoot(page, `widget-operator-${scheme}-${width}`);
      await say("show", { handler: { state: "closed", since: 3 } });
      assert.equal(await status(), "Closed · write to open it again");
      await shoot(page, `widget-closed-${scheme}-${width}`);
      await say("show", { handler: { state: "ai" } });
      assert.equal(await status(), "Online");
      assert.deepEqual(await heard(), [
        "Online · a person was asked for",
        "You are talking to Eve",
        "Eve: Hello, this is Eve. How can I help?",
        "Closed · write to open it again",
        "The assistant answers again",
      ]);
      // The operator's first message takes the dialog.
      const handler = { state: "operator", since: 4, user: { ...OLIVIA, name: LONG } };
      await say("show", { rows: [...more, row(OLIVIA, "Hello again", "sent")], handler });
      assert.equal(await status(), "You are talking to A name that is far too…");
      assert.deepEqual(await heard(), ["You are talking to A name that is far too…. Olivia: Hello again"]);
      assert.equal(await sideways(), false);
      // A connection that is lost comes first.
      await say("status", { state: "reconnecting" });
      assert.equal(await status(), "Reconnecting…");
      await say("status", online);
      assert.equal(await status(), "You are talking to A name that is far too…");
      await say("state", { user: OLIVIA });
      assert.equal(await status(), "You answer here");
      assert.deepEqual(page.problems, []);
    });

    test(`the newest own message that somebody has read says so, ${scheme}, ${width} px`, async () => {
      await open({ colorScheme: scheme, viewport: { width, height: 600 } });
      await say("status", online);
      const rows = [row(ADA, "One", "sent"), row(OLIVIA, "Two", "sent"), row(ADA, "Three", "sent")];
      await say("show", { rows, status: "live", handler: { state: "operator", since: 1, user: OLIVIA } });
      assert.deepEqual(await marks(), []);
      const [one, , three] = rows;
      await say("read", [{ user: OLIVIA, offset: one.offset, at: 1 }]);
      assert.deepEqual(await marks(), ["Seen"]);
      await say("read", [
        { user: OLIVIA, offset: one.offset, at: 1 },
        { user: EVE, offset: three.offset, at: 2 },
      ]);
      const under = () => page.locator(`tidewire-chat [data-id="${three.id}"] .mark`);
      assert.equal(await under().textContent(), "Seen");
      assert.deepEqual(await marks(), ["Seen"], "below one only");
      await shoot(page, `widget-seen-${scheme}-${width}`);
      const failed = row(ADA, "Four", "failed", { offset: null, code: "forbidden" });
      await say("show", { rows: [...rows, failed] });
      assert.deepEqual(await marks(), ["Seen", "Not sent: you may not write here"]);
      assert.equal(await under().textContent(), "Seen");
      assert.deepEqual(page.problems, []);
    });
  }
}

test("the newest row is marked as read while its end is in sight, once", async () => {
  await open();
  await say("status", online);
  const many = Array.from({ length: 40 }, (_, n) => row(n % 2 === 0 ? ADA : OLIVIA, `Row ${n}\nwith two lines`, "sent"));
  const newest = () => many.at(-1).offset;
  await say("show", { rows: many, status: "live" });
  await page.waitForFunction(() => window.client.marked.length > 0);
  assert.deepEqual(await marked(), [newest()]);
  const add = async (...more) => {
    many.push(...more);
    await say("show", { rows: many });
    await page.waitForTimeout(150);
  };
  await add(row(AI, "", "streaming", { offset: newest() + 1 }), row(ADA, "Waits", "queued", { offset: null }));
  many.pop();
  assert.deepEqual(await marked(), [newest()]);
  many[many.length - 1] = { ...many.at(-1), text: "Growing" };
  await add();
  assert.deepEqual(await marked(), [], "an answer that grows is not said again");

  // A reader of old rows has not seen the new ones.
  await page.locator("tidewire-chat .log").evaluate((list) => {
    list.scrollTop = 0;
  });
  await page.waitForTimeout(150);
  await add(row(OLIVIA, "News", "sent"));
  assert.deepEqual(await marked(), []);
  await page.getByRole("button", { name: "New messages" }).click();
  await page.waitForFunction(() => window.client.marked.length > 0);
  assert.deepEqual(await marked(), [newest()]);

  // Nor has who sees another part of the page, or none of the element.
  for (const [hide, show] of [
    ["window.chat.style.marginBlockStart = '3000px'", "window.chat.style.marginBlockStart = ''"],
    ["window.chat.hidden = true", "window.chat.hidden = false"],
  ]) {
    await page.evaluate(hide);
    await page.waitForTimeout(150);
    await add(row(OLIVIA, `Not seen: ${hide}`, "sent"));
    assert.deepEqual(await marked(), [], hide);
    await page.evaluate(show);
    await page.waitForFunction(() => window.client.marked.length > 0);
    assert.deepEqual(await marked(), [newest()], show);
  }

  // Nor has who looks at another page.
  const turn = (state) =>
    page.evaluate((state) => {
      Object.defineProperty(document, "visibilityState", { value: state, configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    }, state);
  await turn("hidden");
  await add(row(OLIVIA, "Behind another tab", "sent"));
  assert.deepEqual(await marked(), []);
  await turn("visible");
  assert.deepEqual(await marked(), [newest()]);
  // After the element is gone nothing is.
  await page.evaluate(() => window.chat.remove());
  await turn("hidden");
  await turn("visible");
  assert.deepEqual([await marked(), page.problems], [[], []]);
});
