// How far a dialog was read, in real Chromium with the real server: two devices that are offline in
// turn, and tabs that share a connection.
import assert from "node:assert/strict";
import { test } from "./limits.mjs";
import { isLive, send, settled, useStage } from "./stage.mjs";
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
