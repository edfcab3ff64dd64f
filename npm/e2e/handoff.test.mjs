// Hand-off in real Chromium with the real server: an operator takes a dialog in the middle of an
// answer, and the visitor sees it in the element.
import assert from "node:assert/strict";
import { shoot } from "./browser.mjs";
import { test } from "./limits.mjs";
import { isLive, rowsOf, send, settled, useStage } from "./stage.mjs";
import { until } from "./until.mjs";

const stage = useStage();

/** A tab of an operator that follows how far others have read `demo`. */
async function operator(user) {
  const page = await stage.tab(await stage.profile(), { user, token: await stage.tokenOf(user, "operator") });
  await isLive(page);
  await page.evaluate(() => void window.dialog.reads.subscribe(() => {}));
  return page;
}

/** A page of a visitor with the element. */
async function visit(colorScheme) {
  const context = await stage.profile({ colorScheme, viewport: { width: 460, height: 640 } });
  const page = await context.newPage();
  page.problems = [];
  page.on("pageerror", (error) => page.problems.push(String(error)));
  await page.goto(`${stage.origin}/site/index.html`);
  const token = await stage.tokenOf("Ada");
  await page.evaluate(
    ([server, token]) => {
      const chat = document.createElement("tidewire-chat");
      for (const [name, value] of Object.entries({ server, dialog: "demo", user: "ada" })) chat.setAttribute(name, value);
      chat.token = async () => token;
      document.body.append(chat);
    },
    [stage.server.origin, token],
  );
  const line = page.locator("tidewire-chat .status .words");
  page.says = (text) => until(`it says "${text}"`, async () => (await line.textContent()) === text);
  page.write = async (text) => {
    const input = page.getByRole("textbox", { name: "Message" });
    await input.fill(text);
    await input.press("Enter");
  };
  await page.says("Online");
  return page;
}

for (const colorScheme of ["light", "dark"]) {
  test(`an operator takes over in mid-answer: the answer ends, and the visitor sees who it is, ${colorScheme}`, async () => {
    const visitor = await visit(colorScheme);
    const [olivia, oscar] = [await operator("Olivia"), await operator("Oscar")];
    const step = (page, body) =>
      page.evaluate(
        (body) =>
          window.dialog.handOff(body).acked.then(
            () => "done",
            ({ code }) => code,
          ),
        body,
      );
    const handler = (page) => page.evaluate(() => window.dialog.getState().handler);

    await visitor.write("Tell me a long story");
    const streams = (rows) => rows.find(({ state, text }) => state === "streaming" && text.length > 10);
    await until("it streams", async () => streams(await rowsOf(olivia)));
    assert.equal(await step(oscar, { step: "request" }), "done");
    await visitor.says("Online · a person was asked for");
    assert.equal(await step(oscar, { step: "request" }), "handoff_conflict");
    await shoot(visitor, `handoff-asked-${colorScheme}`);
    assert.ok(streams(await rowsOf(olivia)), "the model answers until then");

    assert.equal(await step(olivia, { step: "take" }), "done");
    await visitor.says("You are talking to Olivia");
    const answer = async () => (await rowsOf(oscar)).find(({ kind }) => kind === "answer");
    await until("the answer has ended", async () => (await answer()).state !== "streaming");
    const { text } = await answer();
    assert.deepEqual([(await handler(oscar)).state, (await handler(oscar)).user.name], ["operator", "Olivia"]);
    assert.equal(await step(oscar, { step: "take" }), "handoff_conflict");

    await send(olivia, "Hello, this is Olivia.");
    await settled(olivia, "Hello, this is Olivia.");
    await visitor.getByText("Hello, this is Olivia.").first().waitFor();
    await until("what is on the screen is read", () =>
      olivia.evaluate(() => window.dialog.reads.getState().receipts.length === 1),
    );
    await visitor.write("Thank you!");
    await until("she has it", async () => (await rowsOf(olivia)).some(({ text }) => text === "Thank you!"));
    const seen = visitor.locator("tidewire-chat .mark", { hasText: "Seen" });
    assert.equal(await seen.count(), 0);
    await olivia.evaluate(() => window.dialog.markRead());
    await seen.waitFor();
    await shoot(visitor, `handoff-operator-${colorScheme}`);
    await visitor.waitForTimeout(1500);
    const rows = await rowsOf(olivia);
    assert.equal(rows.filter(({ kind }) => kind === "answer").length, 1, "the model is silent");
    assert.equal((await answer()).text, text);

    assert.equal(await step(oscar, { step: "release" }), "handoff_conflict");
    assert.equal(await step(olivia, { step: "close" }), "done");
    await visitor.says("Closed · write to open it again");
    await visitor.write("One more question");
    await visitor.says("Online");
    await until(
      "the model answers",
      async () => (await rowsOf(olivia)).filter(({ kind }) => kind === "answer").length === 2,
    );
    for (const page of [visitor, olivia, oscar]) assert.deepEqual(page.problems, []);
  });
}
