// Channels by rules of the server's configuration, in real Chromium: two users, several tabs, and
// one who may not.
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "./limits.mjs";
import { SECRET } from "./server.mjs";
import { isReady, useStage } from "./stage.mjs";
import { until } from "./until.mjs";

const RULES = `
[[channel]]
name = "guild:{id}"
read = ["claim:guilds"]
write = []
open = true
[channel.kinds]
"poll.vote" = ["claim:guilds"]

[[channel]]
name = "news"
read = ["everyone"]
write = ["role:editor"]
open = true
`;
const folder = await mkdtemp(join(tmpdir(), "tidewire-channels-"));
const file = join(folder, "tidewire.toml");
await writeFile(file, RULES);
after(() => rm(folder, { recursive: true, force: true }));

const stage = useStage({ server: ["--model", "off", "--config", file] });

/** A user's token with more claims, signed as the application's backend would do it. */
async function tokenOf(user, claims) {
  const [header, payload] = (await stage.tokenOf(user)).split(".");
  const said = { ...JSON.parse(Buffer.from(payload, "base64url")), ...claims };
  const signed = `${header}.${Buffer.from(JSON.stringify(said)).toString("base64url")}`;
  return `${signed}.${createHmac("sha256", SECRET).update(signed).digest("base64url")}`;
}

/** A tab with the channel `guild:7` that notes what its listener hears of. */
async function tab(context, user, claims = { guilds: ["7"] }) {
  const token = await tokenOf(user, claims);
  const page = await stage.tab(context, { user, dialog: "", token });
  await isReady(page);
  await page.evaluate(() => {
    window.channel = window.client.channel("guild:7");
    window.heard = [];
    window.outcomes = [];
    window.channel.on("poll.vote", ({ offset, body, by }) => window.heard.push([offset, body.option, by.name]));
    window.vote = (option) => {
      window.channel.publish("poll.vote", { option }).acked.then(
        ({ offset }) => window.outcomes.push([option, offset]),
        ({ code }) => window.outcomes.push([option, code]),
      );
    };
  });
  return page;
}

const statusOf = (page) => page.evaluate(() => window.channel.getState().status);
const isLive = (page) => until("it is live", async () => (await statusOf(page)) === "live");
const roleOf = (page) => page.evaluate(() => window.client.explain().tab);
const vote = (page, ...options) => page.evaluate((list) => list.map(window.vote) && undefined, options);
const heardBy = (page) => page.evaluate(() => window.heard);
const shownBy = (page) =>
  page.evaluate(() => window.channel.getState().events.map(({ offset, body, by }) => [offset, body.option, by.name]));
const votes = (page, count) => until(`${count} votes`, async () => (await heardBy(page)).length >= count, 30_000);

test("votes arrive once and in order in all tabs of two users, also when the leading tab is closed in between", async () => {
  const [adas, bobs] = [await stage.profile(), await stage.profile()];
  const leader = await tab(adas, "Ada");
  await isLive(leader);
  const follower = await tab(adas, "Ada");
  const bob = await tab(bobs, "Bob");
  for (const page of [follower, bob]) await isLive(page);
  assert.deepEqual([await roleOf(leader), await roleOf(follower), await stage.connections()], ["leader", "follower", 2]);

  await vote(leader, "a1", "a2");
  await vote(follower, "f1", "f2");
  await vote(bob, "b1", "b2");
  for (const page of [leader, follower, bob]) await votes(page, 6);
  const log = await shownBy(bob);
  for (const page of [leader, follower, bob]) assert.deepEqual([await heardBy(page), await shownBy(page)], [log, log]);
  assert.deepEqual(
    log.map(([offset]) => offset),
    [1, 2, 3, 4, 5, 6],
  );

  const late = await tab(adas, "Ada");
  await isLive(late);
  assert.deepEqual(await shownBy(late), log, "a late tab begins with what the leader has");

  // Bob goes on voting while the leading tab is closed.
  const going = bob.evaluate(async () => {
    for (let n = 0; n < 30; n += 1) {
      window.vote(`w${n}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  });
  await votes(follower, 8);
  await vote(follower, "f3");
  await leader.close();
  await vote(follower, "f4");
  await vote(late, "l1");
  await going;
  for (const page of [follower, late, bob]) await votes(page, 6 + 30 + 3);
  const all = await shownBy(bob);
  for (const page of [follower, late, bob]) {
    assert.deepEqual([await heardBy(page), await shownBy(page), page.problems], [all, all, []]);
    assert.deepEqual(await page.evaluate(() => [window.channel.getState().missed, window.channel.getState().gap]), [
      0,
      null,
    ]);
  }
  assert.deepEqual(
    all.map(([offset]) => offset),
    Array.from({ length: 39 }, (_, index) => index + 1),
  );
  for (const [writer, letter] of [
    ["Bob", "w"],
    ["Ada", "f"],
  ]) {
    const own = all
      .filter(([, option, by]) => by === writer && option.startsWith(letter))
      .map(([, option]) => option.slice(1));
    assert.deepEqual(
      own.map(Number),
      own.map(Number).toSorted((a, b) => a - b),
      `${writer}'s in their order`,
    );
  }
  const told = await follower.evaluate(() => window.outcomes);
  assert.deepEqual(
    told.map(([option, offset]) => all[offset - 1]?.[1] === option),
    [true, true, true, true],
  );
});

test("someone without the claim is refused, and so is a kind that nobody may write; nothing is blocked by it", async () => {
  const context = await stage.profile();
  const eve = await tab(context, "Eve", { guilds: ["8"] });
  await until("she is refused", async () => (await statusOf(eve)) === "failed");
  assert.equal(await eve.evaluate(() => window.channel.getState().error.code), "forbidden");
  await vote(eve, "e1");
  await until("her vote is refused", async () => (await eve.evaluate(() => window.outcomes.length)) === 1);
  assert.deepEqual(await eve.evaluate(() => window.outcomes), [["e1", "forbidden"]]);

  const ada = await tab(await stage.profile(), "Ada");
  await isLive(ada);
  const code = await ada.evaluate(() => window.channel.publish("poll.close", {}).acked.catch((error) => error.code));
  assert.match(code, /^(forbidden|unknown_kind)$/);
  await vote(ada, "a1");
  await votes(ada, 1);
  assert.deepEqual(await heardBy(ada), [[1, "a1", "Ada"]]);
  const news = await eve.evaluate(async () => {
    const channel = window.client.channel("news");
    while (channel.getState().status !== "live") await new Promise((resolve) => setTimeout(resolve, 20));
    return channel.publish("headline", { text: "x" }).acked.catch((error) => error.code);
  });
  assert.match(news, /^(forbidden|unknown_kind)$/);
});

test("after a reload the channel begins with what is stored, and what was published before is sent once", async () => {
  const context = await stage.profile();
  const page = await tab(context, "Ada");
  await isLive(page);
  await vote(page, "one");
  await votes(page, 1);
  await stage.server.stop("SIGKILL");
  await vote(page, "two");
  // What was published is stored a moment later.
  await until("it is stored", () => page.evaluate(() => window.client.getState().status.waiting === 1));
  await page.waitForTimeout(300);
  await page.reload();
  await isReady(page);
  await page.evaluate(() => {
    window.channel = window.client.channel("guild:7");
    window.heard = [];
    const hear = ({ offset, body }) => window.heard.push([offset, body.option]);
    window.channel.getState().events.forEach(hear);
    window.channel.on("*", hear);
  });
  assert.deepEqual(await heardBy(page), [[1, "one"]], "without a server");
  await stage.restart(["--model", "off", "--config", file]);
  await votes(page, 2);
  await isLive(page);
  assert.deepEqual(await heardBy(page), [
    [1, "one"],
    [2, "two"],
  ]);
});
