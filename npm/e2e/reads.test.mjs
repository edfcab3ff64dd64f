// Read positions and hand-off in real Chromium with the real server: two devices that are offline in
// turn, and an operator who takes a dialog in the middle of an answer.
import assert from "node:assert/strict";
import { shoot } from "./browser.mjs";
import { test } from "./limits.mjs";
import { isLive, rowsOf, send, settled, useStage } from "./stage.mjs";
import { until } from "./until.mjs";

const stage = useStage({ server: ["--model", "off"] });

/** A tab that follows how far `demo` was read, and notes every position that it shows. */
async function tab(context, user, token) {
  const page = await stage.tab(context, { user, token: token ?? (await stage.tokenOf(user)) });
  await isLive(page);
  await page.evaluate(() => {
    const { reads } = window.dialog;
    window.positions = [];
    reads.subscribe(() => window.positions.push(reads.getState().position));
  });
  return page;
}

const stateOf = (page) => page.evaluate(() => window.dialog.reads.getState());
const mark = (page, offset) => page.evaluate((offset) => window.dialog.markRead(offset ?? undefined), offset ?? null);
/** Waits until a page shows this position and so many unread events. */
const shows = (page, status, position, unread) =>
  until(`${status}, ${position} read, ${unread} not`, async () => {
    const state = await stateOf(page);
    return state.status === status && state.position === position && state.unread === unread;
  });
const write = async (page, ...texts) => {
  for (const text of texts) {
    await send(page, text);
    await settled(page, text);
  }
};
const receiptsOf = async (page) => (await stateOf(page)).receipts.map(({ user, offset }) => [user.name, offset]);

test("two devices of a user, offline in turn, agree on what is unread, and nothing becomes unread again", async () => {
  const token = await stage.tokenOf("Ada");
  const [phone, laptop] = [await tab(await stage.profile(), "Ada", token), await tab(await stage.profile(), "Ada", token)];
  const bob = await tab(await stage.profile(), "Bob");
  await write(bob, "one", "two", "three");
  for (const page of [phone, laptop]) await shows(page, "live", 0, 3);
  await shows(bob, "live", 0, 0);

  await phone.context().setOffline(true);
  await shows(phone, "syncing", 0, 3);
  await mark(laptop);
  await shows(laptop, "live", 3, 0);
  await until("Bob is told", async () => (await receiptsOf(bob)).join() === "Ada,3");
  await write(bob, "four", "five");
  await shows(laptop, "live", 3, 2);
  await phone.context().setOffline(false);
  await shows(phone, "live", 3, 2);

  await laptop.context().setOffline(true);
  await until("it is offline", async () => (await stateOf(laptop)).status === "syncing");
  // What is read without a connection is told later.
  await mark(laptop, 4);
  await until("it is read there", async () => (await stateOf(laptop)).position === 4);
  await mark(phone);
  await shows(phone, "live", 5, 0);
  await write(bob, "six");
  await shows(phone, "live", 5, 1);
  await laptop.context().setOffline(false);
  await shows(laptop, "live", 5, 1);
  await mark(laptop);
  for (const page of [laptop, phone]) await shows(page, "live", 6, 0);
  await until("Bob is told", async () => (await receiptsOf(bob)).join() === "Ada,6");

  // Also after a restart of the server, and in a tab that has nothing stored.
  await stage.server.stop("SIGKILL");
  await stage.restart(["--model", "off"]);
  const late = await tab(await stage.profile(), "Ada", token);
  for (const page of [phone, laptop, late]) await shows(page, "live", 6, 0);
  for (const page of [phone, laptop, late]) {
    const positions = await page.evaluate(() => window.positions);
    assert.deepEqual(
      positions,
      [...positions].sort((a, b) => a - b),
      "a position never goes back",
    );
    assert.deepEqual(page.problems, []);
  }
});

test("what a following tab has read counts for all, and reaches the server though the leader is closed", async () => {
  const token = await stage.tokenOf("Ada");
  const adas = await stage.profile();
  const leader = await tab(adas, "Ada", token);
  const follower = await tab(adas, "Ada", token);
  const bob = await tab(await stage.profile(), "Bob");
  await write(bob, "one", "two");
  for (const page of [leader, follower]) await shows(page, "live", 0, 2);
  await mark(follower, 1);
  await shows(leader, "live", 1, 1);
  await mark(follower);
  await leader.close();
  await until("the follower leads", () => follower.evaluate(() => window.client.explain().tab === "leader"));
  await shows(follower, "live", 2, 0);
  await until("Bob is told", async () => (await receiptsOf(bob)).join() === "Ada,2");
});

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
    await stage.restart([]);
    const visitor = await visit(colorScheme);
    const operator = (name) => stage.tokenOf(name, "operator");
    const olivia = await tab(await stage.profile(), "Olivia", await operator("Olivia"));
    const oscar = await tab(await stage.profile(), "Oscar", await operator("Oscar"));
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

    await write(olivia, "Hello, this is Olivia.");
    await visitor.getByText("Hello, this is Olivia.").first().waitFor();
    await until("what is on the screen is read", async () => (await receiptsOf(olivia)).length === 1);
    await visitor.write("Thank you!");
    await until("she has it", async () => (await rowsOf(olivia)).some(({ text }) => text === "Thank you!"));
    const seen = visitor.locator("tidewire-chat .mark", { hasText: "Seen" });
    assert.equal(await seen.count(), 0);
    await mark(olivia);
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
