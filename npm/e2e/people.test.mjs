// Who is in a dialog and what they are doing there, in real Chromium with the real server.
import assert from "node:assert/strict";
import { shoot } from "./browser.mjs";
import { test } from "./limits.mjs";
import { isLive, send, settled, useStage } from "./stage.mjs";
import { until } from "./until.mjs";

/** Tokens must name the same users after a restart. */
const SERVER = ["--model", "off"];
const stage = useStage({ server: SERVER });

/** A tab of a user in `demo` that notes every state of the people that it is told. */
async function tab(context, user, { watches = true, ...options } = {}) {
  const page = await stage.tab(context, { user, token: await tokenOf(user), ...options });
  await page.evaluate((watches) => {
    const { people } = window.dialog;
    window.people = people;
    window.states = [];
    const note = () => {
      const { status, code, count, people: list, typing } = people.getState();
      const kinds = Object.fromEntries(list.map(({ user, leases }) => [user.name, Object.keys(leases)]));
      window.states.push({ status, code, count, kinds, typing: typing.map(({ name }) => name) });
    };
    window.watch = () => people.subscribe(note);
    if (watches) window.end = window.watch();
    note();
  }, watches);
  await isLive(page);
  return page;
}

const tokens = new Map();
/** One token for each user, so that all tabs, and a tab after a restart, are the same user's. */
async function tokenOf(user) {
  if (!tokens.has(user)) tokens.set(user, await stage.tokenOf(user));
  return tokens.get(user);
}

const stateOf = (page) => page.evaluate(() => window.states.at(-1));
const statesOf = (page) => page.evaluate(() => window.states);
const namesIn = ({ kinds }) => Object.keys(kinds).sort().join();
/** Waits until exactly these are shown as there, in a live list. */
const shows = (page, names, limit) =>
  until(
    `${names} are there`,
    async () => {
      const state = await stateOf(page);
      return state.status === "live" && namesIn(state) === names && state;
    },
    limit,
  );
const writing = (page, names) => until(`"${names}" write`, async () => (await stateOf(page)).typing.join() === names);
/** Fails if a state since the mark lacks somebody. */
async function neverLacked(page, names, since = 0) {
  for (const state of (await statesOf(page)).slice(since)) {
    for (const name of names) assert.ok(state.kinds[name], `${name} is missing in ${JSON.stringify(state)}`);
  }
}
const mark = (page) => page.evaluate(() => window.states.length);

test("two users see each other come, write, send and leave, each at once", async () => {
  tokens.clear();
  const ada = await tab(await stage.profile(), "Ada");
  const alone = await shows(ada, "Ada");
  assert.deepEqual([alone.count, alone.kinds], [1, { Ada: [] }]);
  const bob = await tab(await stage.profile(), "Bob");
  for (const page of [ada, bob]) assert.equal((await shows(page, "Ada,Bob")).count, 2);
  assert.deepEqual(
    await bob.evaluate(() => window.people.getState().people.map(({ own, here, user }) => [user.name, own, here])),
    [
      ["Ada", false, true],
      ["Bob", true, true],
    ],
  );

  await bob.evaluate(() => window.people.typing());
  await writing(ada, "Bob");
  assert.deepEqual((await stateOf(bob)).typing, [], "not to himself");
  await send(bob, "hello");
  await settled(bob, "hello");
  await writing(ada, "");
  // The text says so by itself.
  await bob.evaluate(() => window.people.typing());
  await writing(ada, "Bob");
  await bob.evaluate(() => window.people.typing(false));
  await writing(ada, "");
  // Who only stops is forgotten after a while.
  await bob.evaluate(() => window.people.typing());
  await writing(ada, "Bob");
  await writing(ada, "");

  await bob.evaluate(() => window.people.hold("status", { task: "search" }));
  await until("the status is there", async () => (await stateOf(ada)).kinds.Bob?.includes("status"));
  const lease = await ada.evaluate(() => window.people.getState().people[1].leases.status);
  assert.deepEqual([lease.body, lease.brief], [{ task: "search" }, false]);
  await bob.evaluate(() => window.people.release("status"));
  await until("the status is gone", async () => !(await stateOf(ada)).kinds.Bob?.includes("status"));

  for (const [leave, back] of [
    [() => window.dialog.close(), () => void window.client.dialog("demo")],
    [() => window.client.disconnect(), () => window.client.connect()],
    [() => window.client.close()],
  ]) {
    const left = Date.now();
    await bob.evaluate(leave);
    await shows(ada, "Ada");
    assert.ok(Date.now() - left < 3000, `gone at once, not after ${Date.now() - left} ms`);
    if (back === undefined) break;
    await bob.evaluate(back);
    await shows(ada, "Ada,Bob");
  }
  assert.deepEqual([ada.problems, bob.problems], [[], []]);
});

test("a reload is no leave: the others see no change, and a lease that is held again goes on", async () => {
  tokens.clear();
  const ada = await tab(await stage.profile(), "Ada");
  const bobs = await stage.profile();
  for (const options of [{}, { storage: "memory" }]) {
    const bob = await tab(bobs, "Bob", options);
    await bob.evaluate(() => window.people.hold("viewing", { page: 1 }));
    await until("he views", async () => (await stateOf(ada)).kinds.Bob?.includes("viewing"));
    const from = await mark(ada);
    for (let n = 0; n < 3; n += 1) {
      await bob.reload();
      await bob.waitForFunction(() => window.ready);
      await bob.evaluate(() => window.client.dialog("demo").people.hold("viewing", { page: 1 }));
      await isLive(bob);
    }
    await ada.waitForTimeout(500);
    await neverLacked(ada, ["Ada", "Bob"], from - 1);
    for (const { kinds } of (await statesOf(ada)).slice(from - 1)) assert.ok(kinds.Bob.includes("viewing"));
    // The page ends without a word, so the user may come back within the grace.
    await bob.close();
    await shows(ada, "Ada", 25_000);
  }
});

test("two tabs of a user count once, and the leading one may go without being noticed", async () => {
  tokens.clear();
  const [adas, bobs] = [await stage.profile(), await stage.profile()];
  const ada = await tab(adas, "Ada");
  const leader = await tab(bobs, "Bob");
  const follower = await tab(bobs, "Bob");
  // Two more connections of Bob's.
  const others = [await tab(await stage.profile(), "Bob"), await tab(bobs, "Bob", { storage: "memory" })];
  assert.equal((await shows(ada, "Ada,Bob")).count, 2);
  assert.deepEqual(await follower.evaluate(() => window.client.explain().tab), "follower");
  assert.equal(await stage.connections(), 4);
  for (const page of others) await page.evaluate(() => window.client.close());
  assert.deepEqual((await shows(follower, "Ada,Bob")).count, 2);

  await follower.evaluate(() => {
    window.people.typing();
    window.people.hold("viewing", { page: 2 });
  });
  await writing(ada, "Bob");
  await until("he views", async () => (await stateOf(ada)).kinds.Bob?.includes("viewing"));
  await leader.evaluate(() => window.people.hold("viewing", { page: 3 }));
  const viewed = () => ada.evaluate(() => window.people.getState().people[1].leases.viewing?.body.page);
  await until("the newest body", async () => (await viewed()) === 3);
  const [from, own] = [await mark(ada), await mark(follower)];
  await leader.evaluate(() => window.client.close());
  await until("the follower leads", () => follower.evaluate(() => window.client.explain().tab === "leader"));
  await until("it says again what it holds", async () => (await viewed()) === 2);
  await shows(follower, "Ada,Bob");
  await neverLacked(ada, ["Ada", "Bob"], from - 1);
  await neverLacked(follower, ["Ada", "Bob"], own - 1);

  // A late tab has the state at once; a lease ends with the tab that held it.
  const late = await tab(bobs, "Bob", { watches: false });
  const first = await late.evaluate(async () => {
    window.end = window.watch();
    for (let n = 0; n < 50 && window.people.getState().status !== "live"; n += 1) {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    return window.people.getState().count;
  });
  assert.equal(first, 2);
  await late.evaluate(() => window.people.hold("late"));
  await until("it is held", async () => (await stateOf(ada)).kinds.Bob?.includes("late"));
  await late.close();
  await until("it is not", async () => !(await stateOf(ada)).kinds.Bob?.includes("late"));
  await neverLacked(ada, ["Ada", "Bob"], from - 1);
});

test("a server that is killed and starts again within the grace is no leave; without a connection the list is as of then", async () => {
  tokens.clear();
  const ada = await tab(await stage.profile(), "Ada");
  const bob = await tab(await stage.profile(), "Bob");
  await bob.evaluate(() => window.people.hold("status", { task: "search" }));
  await until("the status is there", async () => (await stateOf(ada)).kinds.Bob?.includes("status"));
  await bob.evaluate(() => window.people.typing());
  await writing(ada, "Bob");
  const from = await mark(ada);
  await stage.server.stop("SIGKILL");
  await until("it is as of then", async () => (await stateOf(ada)).status === "syncing");
  assert.deepEqual((await stateOf(ada)).typing, [], "nobody is writing any more");
  await stage.restart(SERVER);
  for (const page of [ada, bob]) await shows(page, "Ada,Bob", 30_000);
  // Those whom the server has not heard of again would be gone after its grace.
  await ada.waitForTimeout(16_000);
  await neverLacked(ada, ["Ada", "Bob"], from - 1);
  for (const { kinds } of (await statesOf(ada)).slice(from - 1)) assert.ok(kinds.Bob.includes("status"));

  await ada.context().setOffline(true);
  await until("she is offline", async () => (await stateOf(ada)).status === "syncing");
  assert.equal(namesIn(await stateOf(ada)), "Ada,Bob");
  await ada.context().setOffline(false);
  await shows(ada, "Ada,Bob", 30_000);
});

test("the element shows who is writing, and tells the others when its person does", async () => {
  tokens.clear();
  const ada = await tab(await stage.profile(), "Ada");
  const bob = await tab(await stage.profile(), "Bob");
  for (const colorScheme of ["light", "dark"]) {
    const context = await stage.profile({ colorScheme, viewport: { width: 460, height: 640 } });
    const page = await context.newPage();
    const problems = [];
    page.on("pageerror", (error) => problems.push(String(error)));
    await page.goto(`${stage.origin}/site/index.html`);
    await page.evaluate(
      ([server, token]) => {
        const chat = document.createElement("tidewire-chat");
        for (const [name, value] of Object.entries({ server, dialog: "demo", user: "eve" })) chat.setAttribute(name, value);
        chat.token = async () => token;
        document.body.append(chat);
      },
      [stage.server.origin, await tokenOf("Eve")],
    );
    await shows(ada, "Ada,Bob,Eve");
    await send(ada, `hello, ${colorScheme}`);
    await page.getByText(`hello, ${colorScheme}`, { exact: true }).first().waitFor();
    const line = page.locator("tidewire-chat .typing");
    assert.equal(await line.isVisible(), false);
    await bob.evaluate(() => window.people.typing());
    await page.getByText("Bob is typing…").first().waitFor();
    await shoot(page, `people-typing-${colorScheme}`);
    await ada.evaluate(() => window.people.typing());
    await until("both are shown", async () => /^(Ada and Bob|Bob and Ada) are typing…$/.test(await line.textContent()));
    for (const one of [ada, bob]) await one.evaluate(() => window.people.typing(false));
    await line.waitFor({ state: "hidden" });

    const input = page.getByRole("textbox", { name: "Message" });
    await input.pressSequentially("hi");
    await writing(ada, "Eve");
    assert.equal(await line.isVisible(), false, "not to herself");
    await input.fill("");
    await writing(ada, "");
    await input.pressSequentially(`from Eve, ${colorScheme}`);
    await writing(ada, "Eve");
    await input.press("Enter");
    await writing(ada, "");
    // The element leaves the page, and its client ends.
    await page.evaluate(() => document.querySelector("tidewire-chat").remove());
    await shows(ada, "Ada,Bob", 5000);
    assert.deepEqual(problems, []);
  }
});
