// What was written before the rows that a page begins with, in real Chromium: it comes as people
// scroll up or press the button, and what they look at stays where it is.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { shoot } from "./browser.mjs";
import { test } from "./limits.mjs";
import { useStage } from "./stage.mjs";

const stage = useStage({ server: ["--model", "off"] });
const COUNT = 130;

/** Ada writes numbers, each as a request of its own. */
async function fill(server) {
  const headers = { authorization: `Bearer ${await stage.tokenOf("Ada")}`, "content-type": "application/json" };
  for (let n = 1; n <= COUNT; n += 1) {
    const body = JSON.stringify({ id: randomUUID(), kind: "message", body: { text: `message ${n}` } });
    for (;;) {
      const response = await fetch(`${server.origin}/v1/channels/dialog:demo/events`, { method: "POST", headers, body });
      if (response.ok) break;
      assert.equal(response.status, 429, await response.text());
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  }
}

test("earlier rows come as one scrolls up, and the row that one looks at stays where it is", async () => {
  await fill(stage.server);
  const context = await stage.profile({ viewport: { width: 460, height: 640 } });
  const page = await context.newPage();
  const problems = [];
  page.on("pageerror", (error) => problems.push(String(error)));
  await page.goto(stage.server.origin);
  const rows = page.locator("tidewire-chat .row");
  const texts = () => rows.locator(".bubble").allTextContents();
  const numbers = (from) => Array.from({ length: COUNT - from + 1 }, (_, index) => `message ${from + index}`);
  await page.waitForFunction(
    () => document.querySelector("tidewire-chat").shadowRoot.querySelectorAll(".row").length === 50,
  );
  assert.deepEqual(await texts(), numbers(81));
  const scroll = (top) => page.locator("tidewire-chat .log").evaluate((log, top) => log.scrollTo({ top }), top);
  const placeOf = (text) => rows.filter({ hasText: text }).evaluate((row) => Math.round(row.getBoundingClientRect().top));
  await scroll(120);
  const before = await placeOf("message 81");
  await page.waitForFunction(
    () => document.querySelector("tidewire-chat").shadowRoot.querySelectorAll(".row").length === 100,
  );
  assert.ok(Math.abs((await placeOf("message 81")) - before) <= 2, "it did not move");
  await shoot(page, "older-middle");
  // By keyboard, from the button.
  await scroll(200);
  const button = page.getByRole("button", { name: "Earlier messages" });
  await button.focus();
  await page.keyboard.press("Enter");
  await page.waitForFunction(
    () => document.querySelector("tidewire-chat").shadowRoot.querySelectorAll(".row").length === 130,
  );
  assert.deepEqual(await texts(), numbers(1));
  await button.waitFor({ state: "hidden" });
  assert.deepEqual(problems, []);
});

test("a request made offline is answered once the connection is back", async () => {
  await fill(stage.server);
  const context = await stage.profile({ viewport: { width: 460, height: 640 } });
  const page = await context.newPage();
  await page.goto(stage.server.origin);
  await page.waitForFunction(
    () => document.querySelector("tidewire-chat").shadowRoot.querySelectorAll(".row").length === 50,
  );
  await context.setOffline(true);
  await page.getByText("Offline").first().waitFor();
  await page.locator("tidewire-chat .log").evaluate((log) => log.scrollTo({ top: 0 }));
  await page.getByRole("button", { name: "Loading…" }).waitFor();
  await shoot(page, "older-offline");
  await context.setOffline(false);
  await page.waitForFunction(() => document.querySelector("tidewire-chat").shadowRoot.querySelectorAll(".row").length > 50);
});
