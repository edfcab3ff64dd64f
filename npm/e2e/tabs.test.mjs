// Several tabs of one user over one connection, in real Chromium with the real server.
import assert from "node:assert/strict";
import { crash, freeze, hide, launch, pastTheDriver, thaw, withoutAWord } from "./browser.mjs";
import { test } from "./limits.mjs";
import { isLive, isReady, rowsOf, send, settled, useStage } from "./stage.mjs";
import { until } from "./until.mjs";

// Chromium keeps pages for the back button only if it is not told otherwise.
const stage = useStage({
  chromium: { ignoreDefaultArgs: ["--disable-back-forward-cache"] },
  server: ["--model", "off"],
});
const profile = () => stage.profile();
const tab = (...given) => stage.tab(...given);
const connections = () => stage.connections();
const log = () => stage.log();

const roleOf = (page) => page.evaluate(() => window.client.explain().tab);
const stateOf = (page) => page.evaluate(() => window.client.getState());
const textsOf = async (page) => (await rowsOf(page)).map((row) => row.text);
const isOnline = (page) => page.waitForFunction(() => window.client.getState().status.state === "online");
const leads = (page) => page.waitForFunction(() => window.client.explain().tab === "leader", null, { timeout: 20_000 });
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

test("two tabs have one connection, and what either sends both see once and in one order", async () => {
  const [leader, follower] = await pair();
  assert.equal(await connections(), 1);
  assert.equal((await stateOf(follower)).status.state, "online", "a new tab knows at once how things stand");
  assert.equal((await stateOf(follower)).user.name, "Ada");
  stage.history.sent(follower, "from the follower");
  const shown = await follower.evaluate(() => {
    const id = window.send("from the follower");
    return window.dialog.getState().rows.map((row) => [row.id === id, row.text, row.own, row.state]);
  });
  assert.deepEqual(shown, [[true, "from the follower", true, "saving"]], "its row is there before send returns");
  assert.equal(await settled(follower, "from the follower"), 1);
  await send(leader, "from the leader");
  assert.equal(await settled(leader, "from the leader"), 2);
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
  const texts = ["two", "three", "four"];
  for (const text of texts) await send(follower, text);
  const crashed = crash(leader);
  await send(follower, "five");
  await crashed;
  await leads(follower);
  await send(follower, "six");
  for (const text of ["one", ...texts, "five", "six"]) await settled(follower, text);
  assert.deepEqual(await log(), ["one", "two", "three", "four", "five", "six"]);
});

test("a leader that is told of its freezing hands over at once, and follows when it wakes up", async () => {
  const [leader, follower] = await pair();
  await follower.evaluate(() => {
    window.causes = [];
    window.client.subscribe(({ status }) => window.causes.push(status.cause));
  });
  await freeze(leader);
  const begun = Date.now();
  await send(follower, "while it sleeps");
  await settled(follower, "while it sleeps");
  assert.ok(Date.now() - begun < 3000, `it took ${Date.now() - begun} ms`);
  const causes = await follower.evaluate(() => window.causes);
  assert.ok(!causes.includes("leader_silent"), "it heard of it, and did not have to notice");
  assert.equal(await roleOf(follower), "leader");
  await thaw(leader);
  await until("it follows", async () => (await roleOf(leader)) === "follower");
  await until("it sees what it slept through", async () => (await textsOf(leader)).includes("while it sleeps"));
  await send(leader, "awake");
  await settled(leader, "awake");
  assert.deepEqual(await log(), ["while it sleeps", "awake"]);
  await until("one connection", async () => (await connections()) === 1);
});

test("a follower that slept follows the same leader again, and sees what it missed", async () => {
  const [leader, follower] = await pair();
  await freeze(follower);
  await until("it says so", async () => (await stateOf(follower)).status.state === "parked");
  await send(leader, "while it sleeps");
  await settled(leader, "while it sleeps");
  await thaw(follower);
  await until("it sees it", async () => (await textsOf(follower)).includes("while it sleeps"));
  assert.equal((await stateOf(follower)).status.state, "online");
  await send(follower, "awake");
  await settled(follower, "awake");
  assert.deepEqual(await log(), ["while it sleeps", "awake"]);
  assert.deepEqual([await roleOf(leader), await roleOf(follower)], ["leader", "follower"]);
});

test("a leader that froze without a word loses its place, and stops at once when it wakes up", async () => {
  const [leader, follower] = await pair(withoutAWord);
  await send(leader, "before");
  await settled(leader, "before");
  await freeze(leader);
  const begun = Date.now();
  await send(follower, "while it sleeps");
  await settled(follower, "while it sleeps");
  const took = Date.now() - begun;
  assert.ok(took > 3000 && took < 12_000, `it took ${took} ms`);
  assert.equal(await roleOf(follower), "leader");
  // The old leader writes first. It still has its core, but no longer the lock and the leader's
  // record in the store.
  stage.history.sent(leader, "first word");
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
  stage.history.sent(leader, "after the long task");
  void leader
    .evaluate(() => {
      const end = Date.now() + 9000;
      while (Date.now() < end);
      // Still in the same task, so the tab does not know yet that another tab leads.
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
    await leads(leader);
    for (const page of [follower, leader]) {
      const which = pages.indexOf(page);
      const texts = [0, 1].map((n) => `tab ${which}, round ${round}, ${n}`);
      sent[which].push(...texts);
      for (const text of texts) stage.history.sent(page, text);
      const loaded = page === leader ? page.waitForEvent("load") : undefined;
      // The leader's page is closed at the moment at which it takes the messages.
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
  await first.evaluate(() => {
    window.other = window.client.dialog("demo");
    window.dialog.close();
    window.dialog.close();
  });
  await send(second, "still there");
  await settled(second, "still there");
  await until("the other handle hears it", () =>
    first.evaluate(() => window.other.getState().rows.some((row) => row.text === "still there")),
  );
  assert.deepEqual(await first.evaluate(() => [window.dialog, window.other].map((handle) => handle.getState().status)), [
    "closed",
    "live",
  ]);
  await first.evaluate(() => window.other.close());
  await settled(second, "still there");
  assert.ok(!said.some((frame) => frame.includes("unsub")), "the other tab still has it open");
  await second.close();
  await until("the last one's end closes it", () => said.some((frame) => frame.includes('"unsub"')));
  assert.deepEqual(await leader.evaluate(() => window.client.dialog("demo").getState().status), "syncing");
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
  const read = async () => {
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
  };
  const kept = await until("hers are stored", async () => {
    const found = await bob.evaluate(read);
    return found.some(([, events]) => events === 2) && found;
  });
  assert.equal(kept.length, 2);
  assert.ok(kept[0][0].endsWith("user%20Ada") && kept[0][1] === 2, String(kept));
  assert.ok(kept[1][0].endsWith("user%20Bob") && kept[1][1] === 0, String(kept));
});

test("tabs with tokens of their own and no user named are alone; guests are not", async () => {
  const context = await profile();
  const open = async (options) => {
    const page = await context.newPage();
    await page.goto(stage.address(options));
    await isReady(page);
    await isOnline(page);
    return page;
  };
  const alone = [await open({ token: await stage.tokenOf("Ada") }), await open({ token: await stage.tokenOf("Bob") })];
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
  await stage.restart(["--allowed-origin", "*", "--model", "off"]);
  const page = await (await profile()).newPage();
  await page.goto(`${stage.origin}/site/empty.html`);
  await page.evaluate(
    (address) => {
      const frame = document.createElement("iframe");
      // Of no origin, as a frame of another site is where the browser keeps sites apart.
      frame.setAttribute("sandbox", "allow-scripts");
      frame.src = address;
      document.body.append(frame);
    },
    stage.address({ user: "Ada", token: await stage.tokenOf("Ada") }),
  );
  const frame = await until("the frame", () => page.frames().find((one) => one !== page.mainFrame()));
  await isReady(frame);
  await isOnline(frame);
  await isLive(frame);
  assert.deepEqual([await roleOf(frame), (await stateOf(frame)).storage], ["alone", "storage_unavailable"]);
  await send(frame, "from a frame");
  await settled(frame, "from a frame");
  assert.deepEqual(await stage.bareLog(), ["from a frame"]);
});

test("a page that was kept for the back button takes part again", async () => {
  const context = await profile();
  const address = stage.address({ user: "Ada", token: await stage.tokenOf("Ada") });
  const open = async () => {
    const page = await context.newPage();
    await page.goto(address);
    await isReady(page);
    await isLive(page);
    return page;
  };
  const [first, follower] = [await open(), await open()];
  const leader = await pastTheDriver(first);
  await send(leader, "before");
  await leader.evaluate(() => {
    window.mark = "the same page";
    window.addEventListener("pageshow", (event) => {
      window.persisted = event.persisted;
    });
  });
  await until("it is sent", async () => (await stage.bareLog()).join() === "before");
  await first.goto(`${stage.origin}/site/index.html?elsewhere`);
  await leads(follower);
  await send(follower, "while it was away");
  await settled(follower, "while it was away");
  await leader.evaluate(() => history.back());
  const back = await until("it is back", () =>
    leader.evaluate(() => window.persisted !== undefined && [window.mark, window.persisted]),
  );
  assert.deepEqual(back, ["the same page", true]);
  await until("it follows", async () => (await roleOf(leader)) === "follower");
  await until("it sees what it missed", async () => (await textsOf(leader)).join() === "before,while it was away");
  await send(leader, "back");
  await until("it is sent", async () => (await stage.bareLog()).join() === "before,while it was away,back");
  await until("the other sees it", async () => (await textsOf(follower)).join() === "before,while it was away,back");
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
  assert.equal(await settled(leader, "never mind"), "discarded");
  await until("it is gone", async () => (await textsOf(follower)).join() === "this one");
  await leader.context().setOffline(false);
  await settled(leader, "this one");
  assert.deepEqual(await log(), ["this one"]);
});

test("what the leader's outbox has no room for fails in the follower's row, and can be retried or given up there", async () => {
  const context = await profile();
  const config = { outbox_ops: 2 };
  const leader = await tab(context, { config });
  await isOnline(leader);
  const follower = await tab(context, { config });
  await isLive(follower);
  await context.setOffline(true);
  await until("it notices", async () => (await stateOf(leader)).status.state === "offline");
  for (const text of ["one", "two", "three", "four"]) await send(follower, text);
  for (const text of ["three", "four"]) assert.equal(await settled(follower, text), "outbox_full");
  // A refusal is immediate, storing takes time.
  await until("the others are stored", async () => (await rowsOf(follower)).every((row) => row.state !== "saving"));
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
  assert.equal(await settled(leader, "never sent"), "logged_out");
  for (const page of [leader, follower]) {
    const { status, user } = await stateOf(page);
    assert.deepEqual([status.state, status.cause, user], ["disconnected", "logged_out", null]);
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
  assert.equal((await stateOf(follower)).status.state, "disconnected");
});

test("closing in one tab leaves the other one connected, and a follower may go and come", async () => {
  const [leader, follower] = await pair();
  await leader.evaluate(() => window.client.disconnect());
  assert.equal((await stateOf(leader)).status.state, "disconnected");
  await send(follower, "still connected");
  await settled(follower, "still connected");
  await follower.evaluate(() => window.client.disconnect());
  await until("nobody wants it", async () => (await connections()) === 0);
  await follower.evaluate(() => window.client.connect());
  await isOnline(follower);
  assert.equal((await stateOf(leader)).status.state, "disconnected");
  await leader.evaluate(() => window.client.close());
  await leads(follower);
  await send(follower, "alone now");
  await settled(follower, "alone now");
  assert.deepEqual(await log(), ["still connected", "alone now"]);
});
