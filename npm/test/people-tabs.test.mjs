// The people of a channel in several tabs with the real core in virtual time: all tabs show the
// same, and a lease is held as long as one of them holds it, whichever tab leads.
import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { source, wasm } from "./bundle.mjs";
import { pageOf } from "./page.mjs";
import { World } from "./world.mjs";

const { Driver, Roster, Scheduler, Tabs, createCore, eventsOf, loadCore, whoOf } = await source(
  "roster.ts",
  "store.ts",
  "tabs/tabs.ts",
  "tabs/views.ts",
  "driver.ts",
  "wasm.ts",
);
await loadCore(await wasm());

const CH = "guild:7";
const BOB = { id: "user:2", name: "Bob", kind: "user" };
const EVE = { id: "user:3", name: "Eve", kind: "user" };
const here = (user, ...kinds) => ({ user, leases: ["here", ...kinds].map((kind) => ({ kind, since: 1 })) });
let world;

beforeEach(() => {
  world = new World();
  world.people = [here(BOB)];
});

afterEach(() => world.end());

/** A tab with the channel, as the client has it. */
class Page extends pageOf({ Driver, Tabs, createCore }) {
  user = null;
  isOpen = false;
  /** Every state that a listener heard of: the names. */
  seen = [];

  get views() {
    return [...(this.isOpen ? [eventsOf(CH)] : []), ...(this.roster?.isWatched ? [whoOf(CH)] : [])];
  }

  get leases() {
    return this.roster?.leases ?? [];
  }

  apply(event) {
    if (event.t === "people") this.roster?.apply(event);
    if (event.t !== "user") return;
    this.user = event.user;
    this.roster?.identified();
  }

  /** Opens the channel, and with `watches` listens to who is there. */
  open(watches = true) {
    world.as(this, () => {
      this.isOpen = true;
      this.tabs.open(eventsOf(CH));
      const host = { tabs: this.tabs, scheduler: new Scheduler(), user: () => this.user };
      this.roster = new Roster(CH, host, () => {});
      this.roster.add(this);
      if (watches) this.watch();
    });
    return this;
  }

  watch() {
    this.end = world.as(this, () => this.roster.listen((state) => this.seen.push(namesIn(state))));
  }

  unwatch() {
    world.as(this, () => this.end());
  }

  hold(kind, body) {
    // The wall clock is not virtual, and of two bodies of one ms neither is the newer one.
    const before = Date.now();
    while (Date.now() === before);
    world.as(this, () => this.roster.hold(this, kind, body));
  }

  release(kind) {
    world.as(this, () => this.roster.release(this, kind));
  }

  typing(on) {
    world.as(this, () => this.roster.typing(on));
  }

  /** The tab's client is closed. */
  leave() {
    world.as(this, () => this.tabs.end());
  }
}

const namesIn = (state) => state.people.map(({ user }) => user.name).join();
const shownBy = (page) => [page.roster.state.status, namesIn(page.roster.state)];
const watches = () => world.heard.filter(({ t }) => t === "watch" || t === "unwatch").map(({ t }) => t);
const leases = () => world.heard.filter(({ t }) => t === "lease").map(({ kind, body }) => [kind, body?.n ?? body]);

/** Tabs of which the first leads. */
async function tabs(count, watch = true) {
  const pages = [];
  while (pages.length < count) {
    pages.push(new Page(world));
    await world.pass(500);
  }
  for (const page of pages) page.open(watch);
  await world.pass(500);
  assert.equal(pages[0].tabs.role, "leader");
  return pages;
}

test("a follower alone watches, a late tab has the state at once, and the last one ends it, however it ends", async () => {
  const [leader, follower] = await tabs(2, false);
  assert.deepEqual(watches(), []);
  follower.watch();
  await world.pass(200);
  assert.deepEqual(
    [shownBy(follower), shownBy(leader)],
    [
      ["live", "Bob"],
      ["syncing", ""],
    ],
    "only who listens",
  );
  world.tell({ people: [here(EVE)], count: 2 });
  await world.pass(200);
  assert.deepEqual(shownBy(follower), ["live", "Bob,Eve"]);
  leader.watch();
  assert.deepEqual(shownBy(leader), ["live", "Bob,Eve"], "at once");
  const late = new Page(world);
  await world.pass(500);
  late.open();
  await world.pass(100);
  assert.deepEqual([shownBy(late), watches()], [["live", "Bob,Eve"], ["watch"]]);
  leader.unwatch();
  world.kill(late);
  world.tell({ gone: [{ kind: "user", id: BOB.id }], count: 1 });
  await world.pass(500);
  assert.deepEqual([shownBy(follower), shownBy(leader), watches()], [["live", "Eve"], ["syncing", "Bob,Eve"], ["watch"]]);
  world.kill(follower);
  await world.pass(500);
  assert.deepEqual(watches(), ["watch", "unwatch"]);
  leader.watch();
  await world.pass(500);
  assert.deepEqual(
    [shownBy(leader), watches()],
    [
      ["live", "Bob"],
      ["watch", "unwatch", "watch"],
    ],
  );
});

test("whoever leads next, those who are there never disappear, and stay the same objects", async () => {
  const [leader, follower, third] = await tabs(3);
  const [bob] = follower.roster.state.people;
  world.kill(leader);
  await world.pass(3000);
  assert.deepEqual([follower.tabs.role, shownBy(follower), shownBy(third)], ["leader", ["live", "Bob"], ["live", "Bob"]]);
  follower.leave();
  await world.pass(3000);
  assert.deepEqual([third.tabs.role, shownBy(third)], ["leader", ["live", "Bob"]]);
  for (const page of [follower, third]) {
    assert.deepEqual([...new Set(page.seen)], ["Bob"], "in all states");
    assert.equal(page.roster.state.people[0], page === follower ? bob : third.roster.state.people[0]);
  }
  assert.equal(watches().length, 3, "each leader asks");
  assert.deepEqual(world.heard.filter(({ t }) => t === "bye").length, 0, "the user is still there in another tab");
  third.leave();
  await world.pass(500);
  assert.deepEqual(world.heard.filter(({ t }) => t === "bye").length, 1, "now nobody is");
});

test("a page that ends without closing its client does not say that the user leaves", async () => {
  const [page] = await tabs(1);
  world.as(page, () => page.window.dispatchEvent(new Event("pagehide")));
  await world.pass(500);
  assert.deepEqual([world.sockets.size, world.heard.filter(({ t }) => t === "bye").length], [0, 0]);
});

test("a silent leader's list is as of earlier", async () => {
  const [leader, follower] = await tabs(2);
  leader.frozen = true;
  await world.pass(4500);
  assert.deepEqual([shownBy(follower), follower.roster.state.count], [["syncing", "Bob"], 1]);
  await world.pass(10_000);
  assert.deepEqual([follower.tabs.role, shownBy(follower)], ["leader", ["live", "Bob"]]);
});

test("a lease is held as long as one tab holds it, with the newest body", async () => {
  const [leader, follower, third] = await tabs(3);
  follower.hold("viewing", { n: 1 });
  await world.pass(300);
  third.hold("viewing", { n: 2 });
  await world.pass(300);
  leader.hold("viewing", { n: 3 });
  await world.pass(300);
  assert.deepEqual(leases(), [
    ["viewing", 1],
    ["viewing", 2],
    ["viewing", 3],
  ]);
  leader.release("viewing");
  await world.pass(300);
  assert.deepEqual(leases().slice(3), [["viewing", 2]], "the newest one that is left");
  world.kill(third);
  await world.pass(300);
  assert.deepEqual(leases().slice(4), [["viewing", 1]]);
  follower.leave();
  await world.pass(300);
  assert.deepEqual(leases().slice(5), [["viewing", undefined]]);
});

test("leases are said again by the next leader, those of the dead one are not", async () => {
  const [leader, follower, third] = await tabs(3);
  leader.hold("dead", { n: 1 });
  leader.hold("shared", { n: 2 });
  await world.pass(300);
  follower.hold("mine", { n: 3 });
  third.hold("shared", { n: 4 });
  await world.pass(300);
  world.heard.length = 0;
  world.kill(leader);
  // Held while nobody leads.
  follower.hold("late", { n: 5 });
  await world.pass(3000);
  assert.equal(follower.tabs.role, "leader");
  assert.deepEqual(leases().sort(), [
    ["late", 5],
    ["mine", 3],
    ["shared", 4],
  ]);
});

test("what a follower writes is told by the leader; what it may not hold it is told at once", async () => {
  const [leader, follower] = await tabs(2);
  follower.typing(true);
  follower.typing(true);
  await world.pass(300);
  assert.deepEqual(leases(), [["typing", {}]]);
  follower.typing(false);
  await world.pass(300);
  assert.deepEqual(leases().slice(1), [["typing", undefined]]);
  assert.throws(() => follower.hold("here", {}), { code: "bad_kind" });
  for (let n = 0; n < 8; n += 1) follower.hold(`kind ${n}`, { n });
  assert.throws(() => follower.hold("one more", {}), { code: "too_many_leases" });
  await world.pass(300);
  assert.throws(() => leader.hold("one more", {}), { code: "too_many_leases" });
  follower.release("kind 7");
  await world.pass(300);
  leader.hold("one more", { n: 9 });
  // All tabs together hold eight already, so this one waits.
  follower.hold("waits", { n: 10 });
  await world.pass(300);
  assert.deepEqual(leases().at(-1), ["one more", 9]);
  leader.release("one more");
  await world.pass(300);
  assert.deepEqual(leases().slice(-2), [
    ["one more", undefined],
    ["waits", 10],
  ]);
});
