// Several tabs of one user over one connection, in real Chromium with the real server.
import assert from "node:assert/strict";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { launch, serveFiles, top } from "./browser.mjs";
import { Server } from "./server.mjs";

let browser;
let server;
let site;
let contexts;

before(async () => {
  // Chromium keeps pages for the back button only if it is not told otherwise.
  browser = await launch({ ignoreDefaultArgs: ["--disable-back-forward-cache"] });
  const folders = { "/dist/": join(top, "npm/dist"), "/site/": join(top, "npm/e2e/site") };
  site = await serveFiles(folders, { "access-control-allow-origin": "*" });
});

after(async () => {
  await browser?.close();
  site?.close();
});

beforeEach(async () => {
  contexts = [];
  server = new Server();
  await server.start(["--allowed-origin", site.origin, "--model", "off"]);
});

afterEach(async (context) => {
  if (context.error) console.error(server.log.split("\n").slice(-20).join("\n"));
  for (const one of contexts) await one.close();
  await server.remove();
});

/** A browser profile of its own. */
async function profile() {
  const context = await browser.newContext();
  contexts.push(context);
  return context;
}

async function tokenOf(person, role = "user") {
  return (await server.token({ role, name: person })).token;
}

function address(options) {
  const query = new URLSearchParams({ server: server.origin, url: server.origin, ...options });
  return `${site.origin}/site/tab.html?${query}`;
}

const isReady = (page) => page.waitForFunction(() => window.ready);

/** A tab of a user's, by default of Ada's. */
async function tab(context, options = {}, prepare) {
  const person = options.user ?? "Ada";
  const page = await context.newPage();
  await prepare?.(page);
  page.problems = [];
  page.on("pageerror", (error) => page.problems.push(String(error)));
  await page.goto(address({ user: person, token: await tokenOf(person), ...options }));
  await isReady(page);
  return page;
}

async function until(what, check, limit = 15_000) {
  const end = Date.now() + limit;
  let last;
  while (Date.now() < end) {
    last = await check();
    if (last) return last;
    await new Promise((resolve) => setTimeout(resolve, 40));
  }
  assert.fail(`not within ${limit} ms: ${what}`);
}

const roleOf = (page) => page.evaluate(() => window.client.explain().tab);
const stateOf = (page) => page.evaluate(() => window.client.getState());
const rowsOf = (page) => page.evaluate(() => window.dialog.getState().rows);
const textsOf = async (page) => (await rowsOf(page)).map((row) => row.text);
const send = (page, text) => page.evaluate((text) => window.send(text), text);
const isLive = (page) => page.waitForFunction(() => window.dialog.getState().sync === "live");
const isOnline = (page) => page.waitForFunction(() => window.client.getState().status.state === "online");
const leads = (page) => page.waitForFunction(() => window.client.explain().tab === "leader", null, { timeout: 20_000 });
const connections = async () => (await (await fetch(`${server.origin}/healthz`)).json()).connections;
const settled = (page, text) =>
  page.waitForFunction((text) => window.outcomes[text] !== undefined, text, { timeout: 30_000 });
const outcome = (page, text) => page.evaluate((text) => window.outcomes[text], text);

/** What the server has, as somebody sees it who shares nothing with anybody. */
async function log(dialog = "demo") {
  const page = await tab(await profile(), {
    token: await tokenOf("Olivia", "operator"),
    dialog,
    user: "operator",
    storage: "memory",
  });
  await isLive(page);
  const texts = await textsOf(page);
  await page.context().close();
  return texts;
}

/** Two tabs of Ada's: the first leads. */
async function pair(prepare) {
  const context = await profile();
  const leader = await tab(context, {}, prepare);
  await isOnline(leader);
  const follower = await tab(context);
  assert.deepEqual([await roleOf(leader), await roleOf(follower)], ["leader", "follower"]);
  await isLive(follower);
  return [leader, follower];
}

const protocol = (page) => page.context().newCDPSession(page);

/** Lets a page be hidden: the driver pretends that each has the focus, from a session of its own. */
async function hide(page) {
  const { _client: own } = page._connection.toImpl(page).delegate._mainFrameSession;
  await own.send("Emulation.setFocusEmulationEnabled", { enabled: false });
}

async function freeze(page) {
  // One with the focus does not freeze.
  await hide(page);
  await (await protocol(page)).send("Page.setWebLifecycleState", { state: "frozen" });
  await until("it is hidden", () => page.evaluate(() => document.visibilityState === "hidden"));
}

async function thaw(page) {
  await (await protocol(page)).send("Page.setWebLifecycleState", { state: "active" });
  await page.bringToFront();
}

test("two tabs have one connection, and what either sends both see once and in one order", async () => {
  const [leader, follower] = await pair();
  assert.equal(await connections(), 1);
  assert.equal((await stateOf(follower)).status.state, "online", "a new tab knows at once how things stand");
  assert.equal((await stateOf(follower)).user.name, "Ada");
  const shown = await follower.evaluate(() => {
    const id = window.send("from the follower");
    return window.dialog.getState().rows.map((row) => [row.id === id, row.text, row.own, row.state]);
  });
  assert.deepEqual(shown, [[true, "from the follower", true, "saving"]], "its row is there before send returns");
  await settled(follower, "from the follower");
  await send(leader, "from the leader");
  await settled(leader, "from the leader");
  assert.deepEqual([await outcome(follower, "from the follower"), await outcome(leader, "from the leader")], [1, 2]);
  for (const page of [leader, follower]) {
    await until("both see both", async () => (await rowsOf(page)).filter((row) => row.state === "sent").length === 2);
    assert.deepEqual(await textsOf(page), ["from the follower", "from the leader"]);
    assert.deepEqual(page.problems, []);
  }
  assert.equal(await connections(), 1);
  assert.deepEqual(await log(), ["from the follower", "from the leader"]);
});

test("a follower refuses at once what the leader would refuse", async () => {
  const [, follower] = await pair();
  const codes = await follower.evaluate(() => {
    const code = (call) => {
      try {
        call();
        return "taken";
      } catch (error) {
        return error.code;
      }
    };
    return [
      code(() => window.dialog.send("  ")),
      code(() => window.dialog.send("x".repeat(20_000))),
      code(() => window.client.dialog("no spaces here")),
      code(() => window.dialog.stop()),
      window.dialog.retry("unknown"),
      window.dialog.discard("unknown"),
    ];
  });
  assert.deepEqual(codes, ["empty", "too_large", "bad_channel", "run_not_found", false, false]);
  assert.deepEqual(await rowsOf(follower), []);
});

test("the leader's tab is closed: the next one goes on, and nothing is lost or doubled", async () => {
  const [leader, follower] = await pair();
  await send(leader, "one");
  await settled(leader, "one");
  await send(follower, "two");
  await leader.close();
  await send(follower, "three");
  await leads(follower);
  for (const text of ["two", "three"]) await settled(follower, text);
  assert.deepEqual(await log(), ["one", "two", "three"]);
  await until("one connection", async () => (await connections()) === 1);
  assert.deepEqual(await textsOf(follower), ["one", "two", "three"]);
});

test("the leader's renderer crashes: the next one goes on, and nothing is lost or doubled", async () => {
  const [leader, follower] = await pair();
  await send(follower, "one");
  const crashed = new Promise((resolve) => leader.once("crash", resolve));
  const texts = ["two", "three", "four"];
  for (const text of texts) await send(follower, text);
  void (await protocol(leader)).send("Page.crash").catch(() => {});
  await send(follower, "five");
  await crashed;
  await leads(follower);
  await send(follower, "six");
  for (const text of ["one", ...texts, "five", "six"]) await settled(follower, text);
  assert.deepEqual(await log(), ["one", "two", "three", "four", "five", "six"]);
});

test("a leader that is told of its freezing hands over at once, and follows when it wakes up", async () => {
  const [leader, follower] = await pair();
  const begun = Date.now();
  await freeze(leader);
  await send(follower, "while it sleeps");
  await settled(follower, "while it sleeps");
  assert.ok(Date.now() - begun < 3000, `it took ${Date.now() - begun} ms`);
  assert.equal(await roleOf(follower), "leader");
  await thaw(leader);
  await until("it follows", async () => (await roleOf(leader)) === "follower");
  await until("it sees what it slept through", async () => (await textsOf(leader)).includes("while it sleeps"));
  await send(leader, "awake");
  await settled(leader, "awake");
  assert.deepEqual(await log(), ["while it sleeps", "awake"]);
  await until("one connection", async () => (await connections()) === 1);
});

test("a leader that froze without a word loses its place, and stops at once when it wakes up", async () => {
  const [leader, follower] = await pair((page) =>
    page.addInitScript(() => {
      window.addEventListener("freeze", (event) => event.stopImmediatePropagation(), true);
      window.addEventListener("resume", (event) => event.stopImmediatePropagation(), true);
    }),
  );
  await send(leader, "before");
  await settled(leader, "before");
  await freeze(leader);
  const begun = Date.now();
  await send(follower, "while it sleeps");
  await settled(follower, "while it sleeps");
  const took = Date.now() - begun;
  assert.ok(took > 3000 && took < 12_000, `it took ${took} ms`);
  assert.equal(await roleOf(follower), "leader");
  // The first thing that the old leader does is to write: its core is still there, its lock and its place in the store are not.
  await leader.evaluate(() => setTimeout(() => window.send("first word")) && undefined);
  await thaw(leader);
  await until("it follows", async () => (await roleOf(leader)) === "follower");
  await settled(leader, "first word");
  await send(follower, "last word");
  await settled(follower, "last word");
  assert.deepEqual(await log(), ["before", "while it sleeps", "first word", "last word"]);
  await until("one connection", async () => (await connections()) === 1);
  for (const page of [leader, follower]) {
    await until("both see all", async () => (await rowsOf(page)).filter((row) => row.state === "sent").length === 4);
    assert.equal((await stateOf(page)).storage, null);
  }
});

test("a leader too busy to answer is replaced, and what it writes afterwards arrives once", async () => {
  const [leader, follower] = await pair();
  void leader
    .evaluate(() => {
      const end = Date.now() + 9000;
      while (Date.now() < end);
      // Still in the same task: nothing told it yet that another tab leads.
      window.send("after the long task");
    })
    .catch(() => {});
  await send(follower, "meanwhile");
  await settled(follower, "meanwhile");
  assert.equal(await roleOf(follower), "leader");
  await settled(leader, "after the long task");
  await until("it follows", async () => (await roleOf(leader)) === "follower");
  assert.deepEqual(await log(), ["meanwhile", "after the long task"]);
  await until("one connection", async () => (await connections()) === 1);
});

test("ten reloads of the leader with messages in both tabs: none is lost, none doubled, all in order", async () => {
  const pages = await pair();
  const sent = [[], []];
  for (let round = 0; round < 10; round += 1) {
    const [leader, follower] = round % 2 === 0 ? pages : pages.toReversed();
    assert.equal(await roleOf(leader), "leader");
    for (const page of [follower, leader]) {
      const which = pages.indexOf(page);
      const texts = [0, 1].map((n) => `tab ${which}, round ${round}, ${n}`);
      sent[which].push(...texts);
      const loaded = page === leader ? page.waitForEvent("load") : undefined;
      // The leader's page goes in the same moment in which it takes them.
      const write = ({ texts, goes }) => {
        for (const text of texts) window.send(text);
        if (goes) location.reload();
      };
      await page.evaluate(write, { texts, goes: page === leader });
      await loaded;
    }
    await isReady(leader);
  }
  for (const page of pages) {
    await until("all are sent", async () => {
      const rows = await rowsOf(page);
      return rows.length === 40 && rows.every((row) => row.state === "sent");
    });
  }
  const texts = await log();
  assert.equal(texts.length, 40);
  for (const which of [0, 1]) {
    const own = texts.filter((text) => text.startsWith(`tab ${which}`));
    assert.deepEqual(own, sent[which], "each once and in the order in which it was written");
  }
  await until("one connection", async () => (await connections()) === 1);
});

test("dialogs: the leader opens what any tab opened, a late tab gets all rows, the last one closes", async () => {
  const context = await profile();
  const said = [];
  const leader = await tab(context, { dialog: "" }, (page) => {
    page.on("websocket", (socket) => socket.on("framesent", ({ payload }) => said.push(payload)));
  });
  await isOnline(leader);
  const first = await tab(context);
  await isLive(first);
  await send(first, "hello");
  await settled(first, "hello");
  const second = await tab(context);
  await isLive(second);
  assert.deepEqual(await textsOf(second), ["hello"]);
  await send(second, "again");
  await until("in order", async () => (await textsOf(first)).join() === "hello,again");
  await first.evaluate(() => window.dialog.close());
  await send(second, "still there");
  await settled(second, "still there");
  assert.ok(!said.some((frame) => frame.includes("unsub")), "the other tab still has it open");
  await second.close();
  await until("the last one's end closes it", () => said.some((frame) => frame.includes('"unsub"')));
  assert.deepEqual(await leader.evaluate(() => window.client.dialog("demo").getState().sync), "syncing");
});

test("two users in two tabs share nothing: no message, no row, no store, no connection", async () => {
  const context = await profile();
  const spy = (page) =>
    page.addInitScript(() => {
      window.overheard = [];
      const Channel = window.BroadcastChannel;
      window.BroadcastChannel = class extends Channel {
        constructor(name) {
          super(name);
          this.addEventListener("message", ({ data }) => window.overheard.push([name, JSON.stringify(data)]));
        }
      };
    });
  const ada = await tab(context, { user: "Ada" }, spy);
  const adaToo = await tab(context, { user: "Ada" }, spy);
  const bob = await tab(context, { user: "Bob", dialog: "" }, spy);
  const bobToo = await tab(context, { user: "Bob", dialog: "" }, spy);
  for (const page of [ada, adaToo, bob, bobToo]) await isOnline(page);
  assert.equal(await connections(), 2);
  await send(ada, "for nobody else");
  await settled(ada, "for nobody else");
  await send(adaToo, "nor this");
  await settled(adaToo, "nor this");
  assert.deepEqual([(await stateOf(adaToo)).user.name, (await stateOf(bobToo)).user.name], ["Ada", "Bob"]);
  const heard = await Promise.all([adaToo, bobToo].map((page) => page.evaluate(() => window.overheard)));
  assert.ok(
    heard[0].some(([, text]) => text.includes("for nobody else")),
    "the spy hears what there is",
  );
  assert.ok(heard[1].length > 0 && !heard[1].some(([, text]) => /nobody else|nor this|Ada/.test(text)));
  assert.ok(!heard.flat().some(([, text]) => text.includes("eyJ")), "no token is ever told");
  const names = heard.map((list) => [...new Set(list.map(([name]) => name))]);
  assert.deepEqual([names[0].length, names[1].length], [1, 1]);
  assert.notEqual(names[0][0], names[1][0]);
  const kept = await bob.evaluate(async () => {
    const found = [];
    for (const { name } of await indexedDB.databases()) {
      const database = await new Promise((resolve) => {
        indexedDB.open(name).onsuccess = (event) => resolve(event.target.result);
      });
      const events = await new Promise((resolve) => {
        database.transaction("events").objectStore("events").getAll().onsuccess = (event) => resolve(event.target.result);
      });
      found.push([name, events.length]);
      database.close();
    }
    return found.sort();
  });
  assert.equal(kept.length, 2);
  assert.ok(kept[0][0].endsWith("user%20Ada") && kept[0][1] === 2, String(kept));
  assert.ok(kept[1][0].endsWith("user%20Bob") && kept[1][1] === 0, String(kept));
});

test("tabs with tokens of their own and no user named are alone; guests are not", async () => {
  const context = await profile();
  const query = { url: server.origin, dialog: "demo" };
  const open = async (options) => {
    const page = await context.newPage();
    await page.goto(`${site.origin}/site/tab.html?${new URLSearchParams({ ...query, ...options })}`);
    await isReady(page);
    await isOnline(page);
    return page;
  };
  const alone = [await open({ token: await tokenOf("Ada") }), await open({ token: await tokenOf("Bob") })];
  assert.deepEqual([await roleOf(alone[0]), await roleOf(alone[1])], ["alone", "alone"]);
  assert.equal(await connections(), 2);
  const guests = [await open({}), await open({})];
  assert.deepEqual([await roleOf(guests[0]), await roleOf(guests[1])], ["leader", "follower"]);
  assert.equal(await connections(), 3);
  assert.deepEqual((await stateOf(guests[0])).user, (await stateOf(guests[1])).user);
});

for (const [what, block] of [
  ["IndexedDB", () => Object.defineProperty(window, "indexedDB", { get: () => undefined })],
  ["Web Locks", () => Object.defineProperty(navigator, "locks", { get: () => undefined })],
  ["BroadcastChannel", () => delete window.BroadcastChannel],
  [
    "everything",
    () => {
      const denied = () => {
        throw new DOMException("denied", "SecurityError");
      };
      Object.defineProperty(window, "indexedDB", { get: denied });
      Object.defineProperty(window, "localStorage", { get: denied });
      navigator.locks.query = async () => denied();
    },
  ],
]) {
  test(`without ${what} every tab works alone`, async () => {
    const context = await profile();
    const blocked = (page) => page.addInitScript(block);
    const pages = [await tab(context, {}, blocked), await tab(context, {}, blocked)];
    for (const page of pages) {
      await isOnline(page);
      await isLive(page);
      assert.equal(await roleOf(page), "alone");
    }
    await send(pages[0], "alone");
    await settled(pages[0], "alone");
    await until("the other one sees it", async () => (await textsOf(pages[1])).includes("alone"));
    assert.equal(await connections(), 2);
    const without = what === "IndexedDB" || what === "everything" ? "storage_unavailable" : null;
    assert.equal((await stateOf(pages[0])).storage, without);
    assert.deepEqual(pages[0].problems, []);
  });
}

test("a frame that the browser denies everything works alone, and says that nothing is kept", async () => {
  await server.stop();
  await server.start(["--allowed-origin", "*", "--model", "off"]);
  const page = await (await profile()).newPage();
  await page.goto(`${site.origin}/site/empty.html`);
  await page.evaluate(
    (address) => {
      const frame = document.createElement("iframe");
      // Of no origin, as a frame of another site is where the browser keeps sites apart.
      frame.setAttribute("sandbox", "allow-scripts");
      frame.src = address;
      document.body.append(frame);
    },
    address({ user: "Ada", token: await tokenOf("Ada") }),
  );
  const frame = await until("the frame", () => page.frames().find((one) => one !== page.mainFrame()));
  await isReady(frame);
  await isOnline(frame);
  await isLive(frame);
  assert.deepEqual([await roleOf(frame), (await stateOf(frame)).storage], ["alone", "storage_unavailable"]);
  await send(frame, "from a frame");
  await settled(frame, "from a frame");
  assert.deepEqual(await log(), ["from a frame"]);
});

test("a page that was kept for the back button takes part again", async () => {
  const [leader, follower] = await pair();
  await send(leader, "before");
  await settled(leader, "before");
  await leader.evaluate(() => {
    window.mark = "the same page";
    window.addEventListener("pageshow", (event) => {
      window.persisted = event.persisted;
    });
  });
  await leader.goto(`${site.origin}/site/index.html?elsewhere`);
  await leads(follower);
  await send(follower, "while it was away");
  await settled(follower, "while it was away");
  // Nothing is loaded, so the driver would wait in vain.
  void leader.evaluate(() => history.back()).catch(() => {});
  await until("it is back", () => leader.evaluate(() => window.persisted !== undefined).catch(() => false));
  assert.deepEqual(await leader.evaluate(() => [window.mark, window.persisted]), ["the same page", true]);
  await until("it follows", async () => (await roleOf(leader)) === "follower");
  await until("it sees what it missed", async () => (await textsOf(leader)).join() === "before,while it was away");
  await send(leader, "back");
  await settled(leader, "back");
  assert.deepEqual(await log(), ["before", "while it was away", "back"]);
  await until("one connection", async () => (await connections()) === 1);
});

test("without a network both tabs say so, keep what is written, and send it once when it is back", async () => {
  const [leader, follower] = await pair();
  await leader.context().setOffline(true);
  for (const page of [leader, follower]) {
    await until("it notices", async () => (await stateOf(page)).status.state === "offline");
  }
  await send(follower, "one");
  await until("it is queued", async () => (await rowsOf(follower)).every((row) => row.state === "queued"));
  await send(leader, "two");
  await until("both wait", async () => (await stateOf(follower)).status.waiting === 2);
  assert.deepEqual(await textsOf(follower), ["one", "two"]);
  await leader.context().setOffline(false);
  await settled(follower, "one");
  await settled(leader, "two");
  assert.deepEqual(await log(), ["one", "two"]);
});

test("what one tab wrote offline can be discarded and retried in another", async () => {
  const [leader, follower] = await pair();
  await leader.context().setOffline(true);
  await until("it notices", async () => (await stateOf(leader)).status.state === "offline");
  const id = await send(leader, "never mind");
  await send(leader, "this one");
  await until("it is queued", async () => (await rowsOf(follower)).filter((row) => row.state === "queued").length === 2);
  assert.equal(await follower.evaluate((id) => window.dialog.discard(id), id), true);
  await settled(leader, "never mind");
  assert.equal(await outcome(leader, "never mind"), "discarded");
  await until("it is gone", async () => (await textsOf(follower)).join() === "this one");
  await leader.context().setOffline(false);
  await settled(leader, "this one");
  assert.deepEqual(await log(), ["this one"]);
});

test("what the leader's outbox has no room for fails in the follower's row, and can be retried or given up there", async () => {
  const context = await profile();
  const config = JSON.stringify({ outbox_ops: 2 });
  const leader = await tab(context, { config });
  await isOnline(leader);
  const follower = await tab(context, { config });
  await isLive(follower);
  await context.setOffline(true);
  await until("it notices", async () => (await stateOf(leader)).status.state === "offline");
  for (const text of ["one", "two", "three", "four"]) await send(follower, text);
  await settled(follower, "three");
  await settled(follower, "four");
  assert.deepEqual([await outcome(follower, "three"), await outcome(follower, "four")], ["outbox_full", "outbox_full"]);
  const rows = await rowsOf(follower);
  assert.deepEqual(
    rows.map((row) => [row.text, row.state, row.code]),
    [
      ["one", "queued", null],
      ["two", "queued", null],
      ["three", "failed", "outbox_full"],
      ["four", "failed", "outbox_full"],
    ],
  );
  await context.setOffline(false);
  await settled(follower, "two");
  const [, , three, four] = rows.map((row) => row.id);
  const decided = ([three, four]) => [window.dialog.retry(three), window.dialog.discard(four), window.dialog.retry(four)];
  assert.deepEqual(await follower.evaluate(decided, [three, four]), [true, true, false]);
  await until("it is sent", async () => (await rowsOf(follower)).every((row) => row.state === "sent"));
  assert.deepEqual(await textsOf(follower), ["one", "two", "three"]);
  assert.deepEqual(await log(), ["one", "two", "three"]);
});

test("a hidden leader, its timers held back to one a minute, keeps its place beside a visible follower", async () => {
  const other = await launch({
    ignoreDefaultArgs: [
      "--disable-background-timer-throttling",
      "--disable-renderer-backgrounding",
      "--disable-backgrounding-occluded-windows",
    ],
    args: ["--enable-features=IntensiveWakeUpThrottling:grace_period_seconds/1"],
  });
  try {
    const context = await other.newContext();
    const leader = await tab(context);
    await isOnline(leader);
    await leader.evaluate(() => {
      window.ticks = 0;
      const tick = () => {
        window.ticks += 1;
        setTimeout(tick, 100);
      };
      tick();
    });
    const follower = await tab(context);
    await hide(leader);
    await follower.bringToFront();
    await leader.waitForTimeout(15_000);
    await leader.evaluate(() => {
      window.ticks = 0;
    });
    await leader.waitForTimeout(10_000);
    assert.ok((await leader.evaluate(() => window.ticks)) <= 1, "its timers are held back");
    assert.deepEqual([await roleOf(leader), await roleOf(follower)], ["leader", "follower"]);
    await send(follower, "hello");
    await settled(follower, "hello");
    const { entries } = await leader.evaluate(() => window.client.explain());
    assert.deepEqual(
      entries.map(({ what, about }) => `${what} ${about}`),
      ["state connecting", "transport websocket", "state online"],
    );
  } finally {
    await other.close();
  }
});

test("logging out in one tab wipes and closes all, and another login begins anew", async () => {
  const [leader, follower] = await pair();
  await send(leader, "secret");
  await settled(leader, "secret");
  await leader.context().setOffline(true);
  await until("it notices", async () => (await stateOf(leader)).status.state === "offline");
  await send(leader, "never sent");
  await until("it is queued", async () => (await rowsOf(leader)).some((row) => row.state === "queued"));
  await follower.evaluate(() => window.client.logout());
  await settled(leader, "never sent");
  assert.equal(await outcome(leader, "never sent"), "logged_out");
  for (const page of [leader, follower]) {
    const { status, user } = await stateOf(page);
    assert.deepEqual([status.state, status.cause, user], ["closed", "logged_out", null]);
    assert.deepEqual(await rowsOf(page), []);
  }
  const kept = await leader.evaluate(async () => {
    const [{ name }] = await indexedDB.databases();
    const database = await new Promise((resolve) => {
      indexedDB.open(name).onsuccess = (event) => resolve(event.target.result);
    });
    const stores = ["ops", "events", "channels", "profile"];
    const transaction = database.transaction(stores);
    const counts = stores.map(
      (store) =>
        new Promise((resolve) => {
          transaction.objectStore(store).count().onsuccess = (event) => resolve(event.target.result);
        }),
    );
    return Promise.all(counts);
  });
  assert.deepEqual(kept, [0, 0, 0, 0]);
  await leader.context().setOffline(false);
  await leader.evaluate(() => window.client.connect());
  await isOnline(leader);
  await isLive(leader);
  assert.deepEqual(await textsOf(leader), ["secret"], "from the server, not from the device");
  assert.equal((await stateOf(follower)).status.state, "closed");
});

test("closing in one tab leaves the other one connected, and a follower may go and come", async () => {
  const [leader, follower] = await pair();
  await leader.evaluate(() => window.client.close());
  assert.equal((await stateOf(leader)).status.state, "closed");
  await send(follower, "still connected");
  await settled(follower, "still connected");
  await follower.evaluate(() => window.client.close());
  await until("nobody wants it", async () => (await connections()) === 0);
  await follower.evaluate(() => window.client.connect());
  await isOnline(follower);
  assert.equal((await stateOf(leader)).status.state, "closed");
  await leader.evaluate(() => window.client.dispose());
  await leads(follower);
  await send(follower, "alone now");
  await settled(follower, "alone now");
  assert.deepEqual(await log(), ["still connected", "alone now"]);
});
