// Read positions in several tabs with the real core in virtual time: all tabs show the same, and what
// any of them has read reaches the server, whichever tab leads. So does who answers in a dialog.
import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { source, wasm } from "./bundle.mjs";
import { pageOf } from "./page.mjs";
import { World } from "./world.mjs";

const { Conversation, Driver, Positions, Scheduler, Tabs, createCore, loadCore, rowsOf } = await source(
  "conversation.ts",
  "positions.ts",
  "store.ts",
  "tabs/tabs.ts",
  "tabs/views.ts",
  "driver.ts",
  "wasm.ts",
);
await loadCore(await wasm());

const CH = "dialog:demo";
const BOB = { id: "user:2", name: "Bob", kind: "user" };
const EVE = { id: "op:1", name: "Eve", kind: "operator" };
let world;

beforeEach(() => {
  world = new World();
  for (let n = 0; n < 3; n += 1) write();
});

afterEach(() => world.end());

let written = 0;
function write(kind = "message", body = { text: "hello" }, by = BOB) {
  written += 1;
  const id = `00000000-0000-7000-8000-${String(written).padStart(12, "0")}`;
  return world.append({ id, ch: CH, kind, body }, by);
}

/** A tab with the dialog, as the client has it. */
class Page extends pageOf({ Driver, Tabs, createCore }) {
  dialog = undefined;
  positions = undefined;
  /** Every position that a listener heard of. */
  seen = [];

  get views() {
    return [...(this.dialog === undefined ? [] : [rowsOf("demo")]), ...(this.positions?.views ?? [])];
  }

  get leases() {
    return [];
  }

  apply(event) {
    if (event.t === "dialog") this.dialog?.apply(event);
    if (event.t === "reads") this.positions?.apply(event);
    if (event.t !== "channel") return;
    this.dialog?.follow(event);
    this.positions?.follow(event);
  }

  /** Opens the dialog, and with `watches` listens to how far it was read. */
  open(watches = true) {
    world.as(this, () => {
      this.dialog = new Conversation("demo", { commands: this.tabs, user: () => null }, () => {});
      this.tabs.open(rowsOf("demo"));
      const host = { tabs: this.tabs, scheduler: new Scheduler(), user: () => null };
      this.positions = new Positions(CH, host, () => {});
      this.positions.add(this);
      if (watches) this.watch();
    });
    return this;
  }

  watch() {
    this.end = world.as(this, () => this.positions.listen(({ position }) => this.seen.push(position)));
  }

  unwatch() {
    world.as(this, () => this.end());
  }

  mark(offset = this.dialog.newest) {
    world.as(this, () => this.positions.mark(offset, this.dialog.newest));
  }
}

const shownBy = ({ positions: { state } }) => [state.status, state.position, state.unread];
const asked = () => world.heard.filter(({ t }) => t === "marks").length;
const said = () => world.heard.filter(({ t }) => t === "mark").map(({ offset }) => offset);

/** Tabs of which the first leads. */
async function tabs(count, watch = true) {
  const pages = [];
  while (pages.length < count) {
    pages.push(new Page(world));
    await world.pass(500);
  }
  for (const page of pages) page.open(watch);
  await world.pass(1500);
  assert.equal(pages[0].tabs.role, "leader");
  return pages;
}

test("one tab asks for all, a late one has the state at once, and what any has read all show", async () => {
  const [leader, follower] = await tabs(2, false);
  assert.equal(asked(), 0);
  follower.watch();
  await world.pass(500);
  assert.deepEqual([shownBy(follower), shownBy(leader), asked()], [["live", 0, 3], ["syncing", 0, null], 1]);
  leader.watch();
  assert.deepEqual([shownBy(leader), asked()], [["live", 0, 3], 1], "at once");
  follower.mark();
  await world.pass(500);
  for (const page of [leader, follower]) assert.deepEqual(shownBy(page), ["live", 3, 0]);
  assert.deepEqual(said(), [3]);
  write();
  await world.pass(500);
  const late = new Page(world);
  await world.pass(500);
  late.open();
  await world.pass(200);
  for (const page of [leader, follower, late]) assert.deepEqual(shownBy(page), ["live", 3, 1]);
  leader.unwatch();
  follower.unwatch();
  world.mark({ ch: CH, offset: 4 });
  await world.pass(500);
  assert.deepEqual(
    [shownBy(late), shownBy(follower)],
    [
      ["live", 4, 0],
      ["syncing", 3, 1],
    ],
  );
  world.kill(late);
  await world.pass(500);
  follower.watch();
  await world.pass(500);
  assert.deepEqual([shownBy(follower), asked()], [["live", 4, 0], 2], "it had ended for all, and is asked anew");
});

test("what a follower has read reaches the server though the leader dies before it could say so", async () => {
  const [leader, follower, third] = await tabs(3);
  leader.mark(1);
  await world.pass(100);
  assert.deepEqual(said(), [1]);
  // The leader's core waits for a second to pass since the last mark.
  follower.mark(3);
  await world.pass(100);
  assert.deepEqual([shownBy(third)[1], said()], [3, [1]]);
  world.kill(leader);
  // Read while nobody leads.
  third.mark(2);
  await world.pass(5000);
  assert.equal(follower.tabs.role, "leader");
  assert.equal(world.position, 3);
  for (const page of [follower, third]) {
    assert.deepEqual(shownBy(page), ["live", 3, 0]);
    assert.deepEqual(page.seen, [...page.seen].sort(), "a position never goes back");
  }
});

test("a silent leader's positions are as of earlier", async () => {
  const [leader, follower] = await tabs(2);
  leader.frozen = true;
  for (let n = 0; n < 10 && shownBy(follower)[0] === "live"; n += 1) await world.pass(1000);
  assert.deepEqual(shownBy(follower), ["syncing", 0, 3]);
  follower.mark();
  await world.pass(10_000);
  assert.deepEqual([follower.tabs.role, shownBy(follower), world.position], ["leader", ["live", 3, 0], 3]);
});

test("receipts stay the same objects whoever leads, and go if there are too many of them", async () => {
  world.receipts = [{ user: BOB, offset: 2, at: 5 }];
  const [leader, follower, third] = await tabs(3);
  const receipts = (page) => page.positions.state.receipts;
  const [first] = receipts(third);
  assert.deepEqual(first, world.receipts[0]);
  world.kill(leader);
  await world.pass(5000);
  assert.equal(follower.tabs.role, "leader");
  assert.equal(receipts(third)[0], first);
  world.crowded = true;
  world.receipts = [];
  world.kill(follower);
  await world.pass(5000);
  assert.deepEqual([third.tabs.role, third.positions.state.status, receipts(third)], ["leader", "crowded", []]);
});

test("an event that is not there is refused where the core is, and ignored where it is not", async () => {
  const [leader, follower] = await tabs(2);
  assert.throws(() => leader.mark(4), { code: "bad_offset" });
  follower.mark(4);
  await world.pass(2000);
  write();
  world.kill(leader);
  await world.pass(5000);
  assert.deepEqual([follower.tabs.role, said(), shownBy(follower)], ["leader", [], ["live", 0, 4]], "also not later");
});

test("every tab shows who answers, a late one and after a change of the leader too", async () => {
  world.handler = { state: "operator", since: 1, user: EVE };
  const [leader, follower] = await tabs(2);
  const late = new Page(world);
  await world.pass(500);
  late.open();
  await world.pass(500);
  const who = ({ dialog }) => dialog.state.handler.user?.name ?? dialog.state.handler.state;
  assert.deepEqual([leader, follower, late].map(who), ["Eve", "Eve", "Eve"]);
  world.kill(leader);
  await world.pass(5000);
  assert.deepEqual([follower.tabs.role, [follower, late].map(who)], ["leader", ["Eve", "Eve"]]);
  const { handler } = late.dialog.state;
  write();
  await world.pass(500);
  assert.equal(late.dialog.state.handler, handler, "the same object");
  world.as(late, () => late.dialog.handOff({ step: "request" }));
  await world.pass(500);
  assert.equal(world.log.at(-1).kind, "handoff", "a follower's step is sent by the leader");
  write("handoff", { step: "release" }, EVE);
  await world.pass(500);
  assert.deepEqual([follower, late].map(who), ["ai", "ai"]);
});
