// Several tabs with the real core in virtual time: whichever tab leads and whenever tabs end,
// messages arrive once and in order.
import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { source, wasm } from "./bundle.mjs";
import { World } from "./world.mjs";

const { Tabs, Driver, createCore, loadCore, rowsOf } = await source("tabs/tabs.ts", "tabs/views.ts", "driver.ts", "wasm.ts");
await loadCore(await wasm());

const EMPTY = { ops: [], channels: [], tables: [] };
let world;

beforeEach(() => {
  world = new World();
});

afterEach(() => world.end());

/**
 * The store that all tabs share. Each change is a step, and as in the real store only the current
 * leader may write.
 */
function storageOf(tab, term) {
  const { store } = world;
  return {
    apply: (change) =>
      new Promise((resolve) => {
        // The browser writes even if the page ends meanwhile, but then nobody gets the answer.
        world.later(null, () => {
          if (store.term !== term) {
            world.fenced += 1;
            world.later(tab, () => resolve("unavailable"));
            return;
          }
          if (change.t === "put_op") store.ops.set(change.id, change.record);
          if (change.t === "delete_op") store.ops.delete(change.id);
          if (change.t === "put_profile") store.profile = change.record;
          world.later(tab, () => resolve(null));
        });
      }),
    close: () => {},
  };
}

/** A tab with one dialog: only the parts that matter for tabs. */
class Page {
  dead = false;
  frozen = false;
  asleep = false;
  rows = [];
  outcomes = new Map();
  events = [];
  wiped = 0;
  wants = { connect: true, views: [rowsOf("demo")], leases: [] };
  window = new EventTarget();
  document = Object.assign(new EventTarget(), { visibilityState: "visible" });

  constructor(scope = "scope") {
    const drive = (storage, restored, event) =>
      new Driver({
        core: createCore({}, restored, this.mono(), Date.now()),
        base: "http://x",
        storage,
        token: async () => "token",
        event,
      });
    world.as(this, () => {
      this.tabs = new Tabs(scope, {
        wants: () => this.wants,
        event: (event) => this.apply(event),
        refused: (id, error) => this.outcomes.set(id, error.code),
        wiped: () => {
          this.wiped += 1;
          this.wants = { connect: false, views: [], leases: [] };
        },
        take: async (known, event) => {
          const { store } = world;
          const term = Math.max(known, store.term) + 1;
          store.term = term;
          const restored = { ops: [...store.ops.values()], channels: [], tables: [] };
          if (store.profile !== undefined) restored.profile = store.profile;
          const { storeId } = store;
          // Reading the store takes a step.
          await new Promise((resolve) => world.later(this, resolve));
          return { driver: drive(storageOf(this, term), restored, event), term, storeId, failure: null };
        },
        idle: () => drive({ apply: async () => null, close: () => {} }, EMPTY, () => {}),
      });
      void this.tabs.join();
    });
  }

  mono() {
    return Math.floor(world.now);
  }

  apply(event) {
    this.events.push(event);
    if (event.t === "op" && event.state !== "queued" && event.state !== "sending") this.outcomes.set(event.id, event.state);
    if (event.t !== "dialog") return;
    for (const change of event.changes) {
      const last = change.t === "insert" ? this.rows.length : this.rows.length - 1;
      assert.ok(change.t === "reset" || change.index <= last, `${change.t} at ${change.index} of ${this.rows.length}`);
      if (change.t === "reset") this.rows = [...change.rows];
      else if (change.t === "insert") this.rows.splice(change.index, 0, change.row);
      else if (change.t === "update") this.rows[change.index] = change.row;
      else if (change.t === "remove") this.rows.splice(change.index, 1);
      else assert.fail(change.t);
    }
  }

  send(text) {
    return world.as(this, () => {
      const draft = this.tabs.draft({ c: "draft_text", dialog: "demo", text });
      this.tabs.send(draft);
      return draft.id;
    });
  }

  ask(call) {
    return world.as(this, () => call(this.tabs));
  }

  /** The browser freezes the page (`freeze`) or wakes it (`resume`), with the event for that. */
  hears(type) {
    world.as(this, () => this.document.dispatchEvent(new Event(type)));
  }

  get status() {
    return this.events.findLast((event) => event.t === "status")?.state;
  }

  get texts() {
    return this.rows.map((row) => row.text);
  }
}

const texts = () => world.log.map((event) => event.body.text);

/** Two tabs that are online: the first leads. */
async function pair() {
  const pages = [new Page()];
  await world.pass(1000);
  pages.push(new Page());
  await world.pass(1000);
  assert.deepEqual(
    pages.map((page) => [page.tabs.role, page.status]),
    [
      ["leader", "online"],
      ["follower", "online"],
    ],
  );
  return pages;
}

test("one tab leads, the others see what it sees, and there is one socket", async () => {
  const [leader, follower] = await pair();
  assert.equal(world.sockets.size, 1);
  const ids = [follower.send("one"), leader.send("two")];
  await world.pass(1000);
  assert.equal(texts().length, 2);
  assert.deepEqual(leader.texts, texts());
  assert.deepEqual(follower.texts, texts());
  assert.deepEqual([follower.outcomes.get(ids[0]), leader.outcomes.get(ids[1])], ["acked", "acked"]);
  const late = new Page();
  await world.pass(100);
  assert.deepEqual(late.texts, texts());
  assert.equal(world.sockets.size, 1);
});

test("the leader dies at any step of a follower's messages: each arrives once, in order", async () => {
  let most = 0;
  for (let steps = 0; steps <= most; steps += 1) {
    world.end();
    world = new World();
    const [leader, follower] = await pair();
    const ids = ["one", "two", "three"].map((text) => follower.send(text));
    let done = 0;
    while (done < steps && (await world.step(world.now))) done += 1;
    if (steps === 0) {
      // Counts the steps in a world of its own.
      while (await world.step(world.now)) most += 1;
      continue;
    }
    world.kill(leader);
    ids.push(follower.send("four"));
    await world.pass(20_000);
    assert.equal(world.leader, follower);
    assert.deepEqual(texts(), ["one", "two", "three", "four"], `after ${steps} steps`);
    assert.deepEqual(
      ids.map((id) => follower.outcomes.get(id)),
      ["acked", "acked", "acked", "acked"],
      `after ${steps} steps`,
    );
    assert.deepEqual([follower.texts, world.store.ops.size], [texts(), 0]);
  }
  assert.ok(most > 20, `${most} steps`);
});

test("a leader freezes at any step and wakes up later: one leads, both tabs' messages arrive once and in order", async () => {
  let fenced = 0;
  for (let steps = 0; steps <= 40; steps += 1) {
    world.end();
    world = new World();
    const [leader, follower] = await pair();
    const sent = {
      leader: ["l1", "l2"].map((text) => leader.send(text)),
      follower: ["f1", "f2"].map((text) => follower.send(text)),
    };
    for (let done = 0; done < steps; done += 1) await world.step(world.now);
    leader.frozen = true;
    // Written by a core that has not noticed yet that it slept.
    sent.leader.push(leader.send("l3"));
    await world.pass(10_000);
    assert.equal(follower.tabs.role, "leader", `after ${steps} steps`);
    sent.follower.push(follower.send("f3"));
    await world.pass(1000);
    leader.frozen = false;
    sent.leader.push(leader.send("l4"));
    await world.pass(30_000);
    assert.deepEqual([leader.tabs.role, follower.tabs.role], ["follower", "leader"], `after ${steps} steps`);
    for (const [page, letter, ids] of [
      [leader, "l", sent.leader],
      [follower, "f", sent.follower],
    ]) {
      const own = texts().filter((text) => text.startsWith(letter));
      assert.deepEqual(own, [...own].sort(), `after ${steps} steps`);
      assert.equal(own.length, ids.length, `after ${steps} steps: ${texts()}`);
      assert.deepEqual(new Set(ids.map((id) => page.outcomes.get(id))), new Set(["acked"]));
    }
    assert.deepEqual([leader.texts, follower.texts], [texts(), texts()]);
    assert.equal(world.sockets.size, 1);
    fenced += world.fenced;
  }
  assert.ok(fenced > 0, "the fence was needed at least once");
});

test("a leader that is only slow, or whose tab is hidden, keeps its place", async () => {
  const [leader, follower] = await pair();
  for (let n = 0; n < 20; n += 1) {
    leader.frozen = true;
    await world.pass(3000);
    leader.frozen = false;
    await world.pass(1500);
  }
  assert.deepEqual([leader.tabs.role, follower.tabs.role], ["leader", "follower"]);
});

test("three tabs, the leader and its heir die: the last one still has everything", async () => {
  const [first, second] = await pair();
  const third = new Page();
  await world.pass(100);
  const ids = [third.send("one")];
  world.kill(first);
  await world.pass(5);
  ids.push(third.send("two"));
  world.kill(second);
  ids.push(third.send("three"));
  await world.pass(20_000);
  assert.deepEqual(texts(), ["one", "two", "three"]);
  assert.deepEqual(
    ids.map((id) => third.outcomes.get(id)),
    ["acked", "acked", "acked"],
  );
});

test("a follower's message that the leader's core does not take is told, not lost in silence", async () => {
  const [, follower] = await pair();
  const id = "not a uuid";
  follower.ask((tabs) => tabs.send({ c: "send", id, channel: "dialog:demo", kind: "message", body: { text: "x" } }));
  await world.pass(100);
  assert.equal(follower.outcomes.get(id), "bad_op_id");
  await world.pass(5000);
  assert.deepEqual(texts(), []);
});

test("what was discarded stays discarded, also for a tab that did not hear of it", async () => {
  const [leader, follower] = await pair();
  world.serving = false;
  for (const socket of world.sockets) world.as(leader, () => socket.onclose({ code: 1006 }));
  const id = follower.send("never mind");
  await world.pass(500);
  follower.ask((tabs) => tabs.draft({ c: "draft_text", dialog: "demo", text: "x" }));
  // As if it had been away while another tab discarded its message.
  follower.frozen = true;
  assert.equal(
    leader.ask((tabs) => tabs.decide({ c: "discard", op: id }, false)),
    true,
  );
  await world.pass(100);
  follower.ask((tabs) =>
    tabs.send({ c: "send", id, channel: "dialog:demo", kind: "message", body: { text: "never mind" } }),
  );
  follower.frozen = false;
  world.serving = true;
  await world.pass(60_000);
  assert.deepEqual(texts(), []);
  assert.equal(follower.outcomes.get(id), "discarded");
});

test("a follower's metrics are the leader's, and say so", async () => {
  const [leader, follower] = await pair();
  follower.send("hello");
  await world.pass(1000);
  const ask = (tab) => world.as(tab, () => tab.ask((tabs) => tabs.explain()));
  ask(follower);
  await world.pass(100);
  const [of, own] = [ask(follower), ask(leader)];
  assert.deepEqual([of.tab, own.tab], ["follower", "leader"]);
  assert.equal(of.metrics.connections, 1);
  assert.equal(of.metrics.sent, own.metrics.sent);
  assert.ok(of.metrics.at <= own.metrics.at && of.metrics.latencyMs !== null);
});

test("all hidden is hidden, any shown is shown; dialogs are open while any tab has them open", async () => {
  const [leader, follower] = await pair();
  const subs = () => world.as(leader, () => leader.ask((tabs) => tabs.explain()).tab);
  assert.equal(subs(), "leader");
  follower.wants = { connect: true, views: [rowsOf("demo"), rowsOf("other")], leases: [] };
  follower.ask((tabs) => tabs.open(rowsOf("other")));
  await world.pass(100);
  assert.ok(
    leader.events.some((event) => event.t === "channel" && event.channel === "dialog:other" && event.state === "live"),
  );
  follower.wants = { connect: true, views: [rowsOf("demo")], leases: [] };
  follower.ask((tabs) => tabs.close(rowsOf("other")));
  leader.wants = { connect: true, views: [], leases: [] };
  leader.ask((tabs) => tabs.close(rowsOf("demo")));
  await world.pass(100);
  const { length } = world.log;
  follower.send("still open");
  await world.pass(1000);
  assert.equal(world.log.length, length + 1);
  assert.deepEqual(follower.texts, ["still open"]);
});

test("connected while any tab wants it", async () => {
  const [leader, follower] = await pair();
  leader.wants = { connect: false, views: [rowsOf("demo")], leases: [] };
  leader.ask((tabs) => tabs.changed());
  await world.pass(100);
  assert.equal(world.sockets.size, 1);
  follower.wants = { connect: false, views: [rowsOf("demo")], leases: [] };
  follower.ask((tabs) => tabs.changed());
  await world.pass(100);
  assert.equal(world.sockets.size, 0);
  follower.wants = { connect: true, views: [rowsOf("demo")], leases: [] };
  follower.ask((tabs) => tabs.connect());
  await world.pass(1000);
  assert.deepEqual([world.sockets.size, follower.status], [1, "online"]);
  world.kill(follower);
  await world.pass(1000);
  assert.equal(world.sockets.size, 0, "a tab that is gone wants nothing");
});

test("a logout that a sleeping tab did not hear of is found out when it hears of the next leader", async () => {
  const [leader, follower] = await pair();
  follower.frozen = true;
  world.kill(leader);
  world.store = { term: world.store.term + 1, storeId: "another", ops: new Map(), profile: undefined };
  const next = new Page();
  await world.pass(20_000);
  assert.deepEqual([next.tabs.role, next.wiped], ["leader", 0]);
  follower.frozen = false;
  await world.pass(20_000);
  assert.equal(follower.wiped, 1);
  assert.equal(next.tabs.role, "leader");
});

test("signals and a new token go by way of the leader, and every tab hears what others signal", async () => {
  const [leader, follower] = await pair();
  const typing = { channel: "dialog:demo", kind: "typing", body: { on: true } };
  follower.ask((tabs) => tabs.run({ c: "signal", ...typing }));
  follower.ask((tabs) => tabs.run({ c: "renew_token" }));
  await world.pass(100);
  const { channel: ch, ...rest } = typing;
  assert.deepEqual(world.heard, [
    { t: "signal", ch, ...rest },
    { t: "auth", token: "token" },
  ]);
  assert.throws(() => follower.ask((tabs) => tabs.run({ c: "signal", ...typing, body: 1 })), { code: "bad_body" });
  const by = { id: "op", name: "Olivia", kind: "operator" };
  for (const socket of world.sockets) socket.say({ t: "signal", ch, ...rest, by });
  await world.pass(100);
  for (const page of [leader, follower]) assert.deepEqual(page.events.at(-1), { t: "signal", ...typing, by });
});

test("a tab that nobody shares with never asks for locks or channels", async () => {
  const locks = navigator.locks;
  navigator.locks = undefined;
  const Channel = BroadcastChannel;
  delete globalThis.BroadcastChannel;
  const page = new Page(null);
  await world.pass(1000);
  page.send("alone");
  await world.pass(1000);
  assert.deepEqual([page.tabs.role, texts(), page.texts], ["alone", ["alone"], ["alone"]]);
  page.ask((tabs) => tabs.end());
  navigator.locks = locks;
  globalThis.BroadcastChannel = Channel;
});

test("the heir gets a third tab's messages in their order, whenever that one hears of it", async () => {
  for (let steps = 0; steps <= 60; steps += 1) {
    world.end();
    world = new World();
    const [first, heir] = await pair();
    const third = new Page();
    await world.pass(100);
    heir.send("before");
    third.send("t1");
    world.kill(first);
    for (let done = 0; done < steps; done += 1) await world.step(world.now);
    third.send("t2");
    third.send("t3");
    await world.pass(20_000);
    assert.equal(world.leader, heir);
    assert.deepEqual(
      texts().filter((text) => text.startsWith("t")),
      ["t1", "t2", "t3"],
      `after ${steps} steps: ${texts()}`,
    );
    assert.deepEqual([heir.texts, third.texts], [texts(), texts()], `after ${steps} steps`);
  }
});

test("a tab that comes in the middle of everything gets all rows, then each change, and never one without its beginning", async () => {
  for (let steps = 0; steps <= 40; steps += 1) {
    world.end();
    world = new World();
    const [leader, follower] = await pair();
    for (const text of ["one", "two", "three"]) follower.send(text);
    for (let done = 0; done < steps; done += 1) await world.step(world.now);
    const late = new Page();
    leader.send("four");
    for (let done = 0; done < steps; done += 1) await world.step(world.now);
    leader.send("five");
    await world.pass(5000);
    assert.equal(texts().length, 5);
    assert.deepEqual([late.texts, follower.texts], [texts(), texts()], `after ${steps} steps`);
  }
});

test("a leader whose timers and sockets stand still, though it hears messages, is replaced and stops before it wakes up", async () => {
  const [leader, follower] = await pair();
  leader.asleep = true;
  follower.send("while it sleeps");
  await world.pass(10_000);
  assert.deepEqual([leader.tabs.role, follower.tabs.role], ["follower", "leader"]);
  assert.deepEqual(texts(), ["while it sleeps"]);
});

test("a leader whose lock is gone stops, whoever took it", async () => {
  const [leader] = await pair();
  const stranger = {};
  let name;
  world.as(stranger, () => {
    [name] = [...world.names].filter((one) => one.endsWith("/leader"));
    void navigator.locks.request(name, { steal: true }, () => new Promise(() => {}));
  });
  await world.pass(10);
  assert.equal(leader.tabs.role, "follower");
});

test("a tab that leaves while it takes the lead leads nothing", async () => {
  const page = new Page();
  while (world.store.term === 0) await world.step(world.now);
  page.ask((tabs) => tabs.end());
  await world.pass(5000);
  assert.deepEqual([page.tabs.role, world.sockets.size, world.leader], ["follower", 0, undefined]);
  const next = new Page();
  await world.pass(1000);
  assert.deepEqual([next.tabs.role, next.status], ["leader", "online"]);
});

test("a dialog that another tab has open shows its rows at once where the core is, and is left with the last tab", async () => {
  const [leader, follower] = await pair();
  leader.wants = { connect: true, views: [], leases: [] };
  leader.ask((tabs) => tabs.close(rowsOf("demo")));
  follower.send("hello");
  await world.pass(1000);
  leader.rows = [];
  leader.wants = { connect: true, views: [rowsOf("demo")], leases: [] };
  leader.ask((tabs) => tabs.open(rowsOf("demo")));
  assert.deepEqual(leader.texts, ["hello"]);
  world.kill(follower);
  await world.pass(1000);
  assert.deepEqual(world.left, []);
  leader.wants = { connect: true, views: [], leases: [] };
  leader.ask((tabs) => tabs.close(rowsOf("demo")));
  await world.pass(1000);
  assert.deepEqual(world.left, ["dialog:demo"]);
});

test("a follower says so while its leader is silent, and that all is well when it speaks again", async () => {
  const [leader, follower] = await pair();
  const sync = () => follower.events.findLast((event) => event.t === "channel")?.state;
  assert.deepEqual([follower.status, sync()], ["online", "live"]);
  leader.frozen = true;
  await world.pass(4100);
  assert.equal(follower.tabs.role, "follower");
  assert.equal(follower.events.findLast((event) => event.t === "status").cause, "leader_silent");
  assert.equal(sync(), "syncing");
  leader.frozen = false;
  await world.pass(2100);
  assert.deepEqual([leader.tabs.role, follower.tabs.role], ["leader", "follower"]);
  assert.deepEqual([follower.status, sync()], ["online", "live"]);
});

test("a follower that slept gets from the same leader what it missed, and shows nothing before that", async () => {
  const [leader, follower] = await pair();
  leader.send("before");
  await world.pass(1000);
  follower.hears("freeze");
  leader.send("while it sleeps");
  await world.pass(1000);
  assert.deepEqual([follower.status, follower.texts], ["parked", ["before"]]);
  follower.hears("resume");
  leader.send("as it wakes up");
  const end = world.now + 1000;
  while (await world.step(end)) assert.deepEqual(follower.texts, texts().slice(0, follower.texts.length));
  assert.deepEqual([follower.status, follower.texts], ["online", texts()]);
  assert.equal(texts().length, 3);
});

test("a tab that comes in a pause between attempts knows how much of it is left", async () => {
  const page = new Page();
  await world.pass(1000);
  world.serving = false;
  for (const socket of world.sockets) world.as(page, () => socket.onclose({ code: 1006 }));
  while (page.status !== "reconnecting" || (page.events.findLast((event) => event.t === "status").retry_in_ms ?? 0) < 1000) {
    await world.step(world.now + 60_000);
  }
  const { retry_in_ms } = page.events.findLast((event) => event.t === "status");
  await world.pass(600);
  const late = new Page();
  await world.pass(100);
  const told = late.events.findLast((event) => event.t === "status").retry_in_ms;
  assert.ok(told <= retry_in_ms - 600 && told >= retry_in_ms - 700, `${told} of ${retry_in_ms}`);
});

test("what the server refused can be retried and discarded in any tab, and is kept when the leader dies", async () => {
  const [leader, follower] = await pair();
  world.refuses = () => "forbidden";
  const ids = ["one", "two"].map((text) => follower.send(text));
  await world.pass(1000);
  assert.deepEqual(
    ids.map((id) => follower.outcomes.get(id)),
    ["failed", "failed"],
  );
  world.kill(leader);
  await world.pass(1000);
  assert.equal(follower.tabs.role, "leader");
  const late = new Page();
  await world.pass(100);
  assert.deepEqual(
    late.rows.map((row) => [row.text, row.state]),
    [
      ["one", "failed"],
      ["two", "failed"],
    ],
  );
  world.refuses = () => null;
  assert.equal(
    late.ask((tabs) => tabs.decide({ c: "retry", op: ids[0] }, true)),
    true,
  );
  assert.equal(
    late.ask((tabs) => tabs.decide({ c: "discard", op: ids[1] }, true)),
    true,
  );
  await world.pass(1000);
  assert.deepEqual(texts(), ["one"]);
  assert.deepEqual([follower.outcomes.get(ids[0]), follower.outcomes.get(ids[1])], ["acked", "discarded"]);
  assert.deepEqual([late.texts, follower.texts], [["one"], ["one"]]);
});

test("a decision whose leader dies before it hears of it is made by the next", async () => {
  const [leader, follower] = await pair();
  world.refuses = () => "forbidden";
  const id = follower.send("one");
  await world.pass(1000);
  world.refuses = () => null;
  leader.dead = true;
  follower.ask((tabs) => tabs.decide({ c: "retry", op: id }, true));
  world.kill(leader);
  await world.pass(20_000);
  assert.deepEqual(texts(), ["one"]);
});
