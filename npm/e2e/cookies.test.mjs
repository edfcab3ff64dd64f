// A token in an HttpOnly cookie, in real Chromium with the real server. The page and the server
// are of one site and of two origins, as https://app.example.com and https://chat.example.com are.
import assert from "node:assert/strict";
import { test } from "./limits.mjs";
import { isLive, isReady, send, settled, useStage } from "./stage.mjs";
import { until } from "./until.mjs";

const SERVER = ["--model", "off", "--cookie", "session"];
const stage = useStage({ server: SERVER });

/** Signs somebody in: the browser has the cookie, and no script can read it. */
async function signIn(context, name, ttl_s = 3600) {
  const { token } = await stage.server.token({ role: "user", name, ttl_s });
  const { hostname: domain } = new URL(stage.server.origin);
  await context.addCookies([{ name: "session", value: token, domain, path: "/", httpOnly: true, sameSite: "Lax" }]);
}

/** A page of somebody who is signed in, or not. */
async function open(context, user, options = {}, origin = stage.origin) {
  const page = await context.newPage();
  await stage.watch(page, user);
  page.renewals = 0;
  await page.exposeFunction("renew", async () => {
    page.renewals += 1;
    await page.onrenew?.();
  });
  await page.goto(stage.address({ user, cookie: "true", ...options }).replace(stage.origin, origin));
  await isReady(page);
  return page;
}

const statusOf = (page) => page.evaluate(() => window.client.getState().status);

for (const transport of ["websocket", "stream", "poll"]) {
  test(`a page of another origin of the site is signed in by its cookie over ${transport}`, async () => {
    const context = await stage.profile();
    await signIn(context, "Ada");
    const page = await open(context, "Ada", { transports: JSON.stringify([transport]) });
    await isLive(page);
    await send(page, `by cookie over ${transport}`);
    await settled(page, `by cookie over ${transport}`);
    assert.equal(await page.evaluate(() => window.client.getState().user.name), "Ada");
    assert.equal(await page.evaluate(() => document.cookie), "", "no script sees it");
    const id = await page.evaluate(async () => {
      const own = await window.client.ownDialog();
      return own.id;
    });
    assert.ok(id, "requests carry it too");
    assert.deepEqual(await stage.log(), [`by cookie over ${transport}`]);
  });
}

test("the page renews its cookie before it ends, and the application hears of no interruption", async () => {
  const context = await stage.profile();
  await signIn(context, "Ada", 8);
  const page = await open(context, "Ada");
  page.onrenew = () => signIn(context, "Ada");
  await isLive(page);
  await page.evaluate(() => {
    window.states = [];
    window.client.subscribe(({ status }) => window.states.push(status.state));
  });
  await until("the renewal", async () => page.renewals > 0);
  // Its new connection has the new cookie, so the old one's end is not noticed.
  await send(page, "before the old one ended");
  await settled(page, "before the old one ended");
  await until("a connection that lasts", async () => (await stage.connections()) === 1);
  await send(page, "after it");
  await settled(page, "after it");
  assert.deepEqual([...new Set(await page.evaluate(() => window.states))], ["online"]);
  assert.equal(page.renewals, 1);
  assert.deepEqual(await stage.log(), ["before the old one ended", "after it"]);
});

test("whoever is not signed in is told so, and a page that is not listed is refused", async () => {
  const context = await stage.profile();
  const page = await open(context, "Ada");
  await until("the refusal", async () => (await statusOf(page)).state === "failed");
  assert.equal((await statusOf(page)).cause, "unauthorized");
  await signIn(context, "Ada");
  const strange = await open(context, "Ada", {}, stage.origin.replace("127.0.0.1", "localhost"));
  await until("the refusal", async () => (await statusOf(strange)).state === "failed");
  assert.equal((await statusOf(strange)).cause, "origin_not_allowed");
});
