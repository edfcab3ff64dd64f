// Channels in several tabs with the real core in virtual time: every tab gets each event once and
// in order, whichever tab leads.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { afterEach, beforeEach, test } from "node:test";
import { source, wasm } from "./bundle.mjs";
import { World } from "./world.mjs";

const { Conversation, Driver, Events, Tabs, createCore, eventsOf, loadCore, rowsOf } = await source(
  "conversation.ts",
  "events.ts",
  "tabs/tabs.ts",
  "tabs/views.ts",
  "driver.ts",
  "wasm.ts",
);
await loadCore(await wasm());

const BOB = { id: "user:2", name: "Bob", kind: "user" };
const handle = () => ({ show: () => {}, signalled: () => {} });
let world;

beforeEach(() => {
  world = new World();
});

afterEach(() => world.end());

/** A store that all tabs share, in which only the current leader may write. */
function storageOf(tab, term) {
  const { store } = world;
  const carryOut = (change) => {
    const { channel } = change;
    if (change.t === "put_op") store.ops.set(change.id, change.record);
    if (change.t === "delete_op") store.ops.delete(change.id);
    if (change.t === "clear_channel") store.channels.delete(channel);
    if (change.t !== "put_events") return;
    const { epoch, cursor, runs, trim_below } = change;
    const events = [...(store.channels.get(channel)?.events ?? []), ...change.events];
    store.channels.set(channel, { epoch, cursor, runs, events: events.filter(({ offset }) => offset >= trim_below) });
  };
  return {
    apply: (change) =>
      new Promise((resolve) => {
        world.later(null, () => {
          const fenced = store.term !== term;
          if (!fenced) carryOut(change);
          world.later(tab, () => resolve(fenced ? "unavailable" : null));
        });
      }),
    close: () => {},
  };
}

function restored() {
  const { ops, channels } = world.store;
  const list = [...channels].map(([channel, { epoch, cursor, runs, events }]) => {
    return { channel, epoch, cursor, runs, events: events.map(({ text }) => text) };
  });
  return { ops: [...ops.values()], channels: list, tables: [] };
}

/** A tab with channels and dialogs, as the client has them. */
class Page {
  dead = false;
  frozen = false;
  asleep = false;
  channels = new Map();
  dialogs = new Map();
  /** The offsets that a listener heard of, in its order. */
  heard = [];
  /** What became of what this tab published: the offset, or why not. */
  outcomes = [];
  window = new EventTarget();
  document = Object.assign(new EventTarget(), { visibilityState: "visible" });

  constructor() {
    const drive = (storage, given, event) => {
      const core = createCore({}, given, Math.floor(world.now), Date.now());
      return new Driver({ core, base: "http://x", storage, token: async () => "token", event });
    };
    world.as(this, () => {
      this.tabs = new Tabs("scope", {
        wants: () => ({
          connect: true,
          views: [...[...this.dialogs.keys()].map(rowsOf), ...[...this.channels.keys()].map(eventsOf)],
          leases: [],
        }),
        event: (event) => this.apply(event),
        refused: () => {},
        wiped: () => {},
        take: async (known, event) => {
          const { store } = world;
          const term = Math.max(known, store.term) + 1;
          store.term = term;
          const given = restored();
          await new Promise((resolve) => world.later(this, resolve));
          return { driver: drive(storageOf(this, term), given, event), term, storeId: store.storeId, failure: null };
        },
        idle: () => drive({ apply: async () => null, close: () => {} }, { ops: [], channels: [], tables: [] }, () => {}),
      });
      void this.tabs.join();
    });
  }

  apply(event) {
    if (event.t === "received") this.channels.get(event.event.ch)?.add([event.event]);
    if (event.t === "recent") this.channels.get(event.channel)?.recent(event.events);
    if (event.t === "dialog") this.dialogs.get(event.dialog)?.apply(event);
    if (event.t !== "channel" && event.t !== "older") return;
    const { channel } = event;
    for (const one of [this.channels.get(channel), this.dialogs.get(channel.replace("dialog:", ""))]) {
      if (event.t === "older") one?.older(event);
      else one?.follow(event);
    }
  }

  #opened(all, name, view, make) {
    return world.as(this, () => {
      const one = make(() => {
        all.delete(name);
        this.tabs.close(view);
      });
      all.set(name, one);
      one.held = handle();
      one.hold(one.held);
      this.tabs.open(view);
      return one;
    });
  }

  channel(name) {
    const events = this.#opened(this.channels, name, eventsOf(name), (ended) => new Events(name, this.tabs, ended));
    events.listen(events.held, "*", ({ offset }) => this.heard.push(offset));
    return events;
  }

  dialog(id) {
    const host = { commands: this.tabs, user: () => null };
    return this.#opened(this.dialogs, id, rowsOf(id), (ended) => new Conversation(id, host, ended));
  }

  close(one) {
    world.as(this, () => one.release(one.held));
  }

  publish(name, kind, body) {
    const { id, acked } = world.as(this, () => this.channels.get(name).publish(kind, body, undefined));
    acked.then(
      ({ offset }) => this.outcomes.push(offset),
      ({ code }) => this.outcomes.push(code),
    );
    return id;
  }
}

/** Bob votes. */
function vote(ch = "guild:7") {
  return world.append({ id: randomUUID(), ch, kind: "poll.vote", body: { option: "a" } }, BOB);
}

const to = (last, from = 1) => Array.from({ length: last - from + 1 }, (_, index) => from + index);
const offsetsOf = (events) => events.state.events.map(({ offset }) => offset);

/** Two tabs with the channel `guild:7`: the first leads. */
async function pair() {
  const pages = [new Page()];
  await world.pass(1000);
  pages.push(new Page());
  await world.pass(100);
  const channels = pages.map((page) => page.channel("guild:7"));
  await world.pass(1000);
  assert.deepEqual(
    pages.map((page) => page.tabs.role),
    ["leader", "follower"],
  );
  return { pages, channels };
}

test("every tab gets each event once, whoever published it, and one that comes late begins with the newest", async () => {
  const { pages, channels } = await pair();
  pages[1].publish("guild:7", "poll.vote", { option: "b" });
  await world.pass(100);
  for (let n = 0; n < 249; n += 1) vote();
  await world.pass(1000);
  assert.deepEqual(pages[1].outcomes, [1]);
  for (const [index, page] of pages.entries()) {
    assert.deepEqual(page.heard, to(250));
    assert.deepEqual(offsetsOf(channels[index]), to(250, 51), "the newest 200");
  }
  const [, kept] = channels[0].state.events;
  const late = new Page();
  const channel = late.channel("guild:7");
  await world.pass(1000);
  assert.deepEqual([late.heard, offsetsOf(channel), channel.state.status], [to(250, 51), to(250, 51), "live"]);
  vote();
  await world.pass(100);
  assert.deepEqual([late.heard.at(-1), late.heard.length, world.sockets.size], [251, 201, 1]);
  assert.equal(channels[0].state.events[0], kept, "the same object as before");
});

/** The server's log begins with votes that the tabs don't have. */
function before(count, ch = "guild:7") {
  for (let n = 0; n < count; n += 1) vote(ch);
}

test("older events come into the tab that asks for them, until there are none, and the listeners hear of none", async () => {
  before(120);
  const { pages, channels } = await pair();
  assert.deepEqual([offsetsOf(channels[1]), channels[1].state.hasOlder], [to(120, 71), true]);
  const [kept] = channels[1].state.events;
  const heard = [...pages[1].heard];
  for (const [first, hasOlder] of [
    [31, true],
    [1, false],
  ]) {
    const [one, other] = [channels[1].loadOlder(40), channels[1].loadOlder(40)];
    assert.equal(one, other, "the same request");
    vote();
    await world.pass(100);
    await one;
    assert.deepEqual([channels[1].state.events[0].offset, channels[1].state.hasOlder], [first, hasOlder]);
  }
  await channels[1].loadOlder(40);
  assert.deepEqual(offsetsOf(channels[1]), to(122));
  assert.equal(channels[1].state.events[70], kept, "the same object as before");
  assert.deepEqual(pages[1].heard, [...heard, 121, 122]);
  assert.deepEqual(offsetsOf(channels[0]), to(122, 71), "the other tab did not ask");
  for (let n = 0; n < 150; n += 1) vote();
  await world.pass(1000);
  assert.deepEqual(offsetsOf(channels[1]), to(272, 3), "as many more as were loaded are kept");
  assert.equal(channels[1].state.hasOlder, true);
});

test("older rows come into every tab of a dialog, and their objects stay", async () => {
  for (let n = 1; n <= 90; n += 1) {
    world.append({ id: randomUUID(), ch: "dialog:d", kind: "message", body: { text: `${n}` } }, BOB);
  }
  const pages = [new Page(), new Page()];
  const dialogs = pages.map((page) => page.dialog("d"));
  await world.pass(2000);
  const texts = (dialog) => dialog.state.rows.map(({ text }) => Number(text));
  assert.deepEqual(dialogs.map(texts), [to(90, 41), to(90, 41)]);
  const [, , kept] = dialogs[1].state.rows;
  const asked = dialogs[1].loadOlder(256);
  await world.pass(100);
  await asked;
  assert.deepEqual([dialogs.map(texts), dialogs[1].state.hasOlder], [[to(90), to(90)], false]);
  assert.equal(dialogs[1].state.rows[42], kept);
  const late = new Page().dialog("d");
  await world.pass(1000);
  assert.deepEqual([texts(late), late.state.hasOlder], [to(90), false]);
});

test("the leader dies at any step of a request for older events: they come once, from the next leader", async () => {
  for (let steps = 0; steps <= 25; steps += 1) {
    world.end();
    world = new World();
    before(120);
    const { pages, channels } = await pair();
    let done = false;
    void channels[1].loadOlder(30).then(() => {
      done = true;
    });
    for (let taken = 0; taken < steps; taken += 1) await world.step(world.now);
    world.kill(pages[0]);
    await world.pass(20_000);
    assert.deepEqual([done, offsetsOf(channels[1])], [true, to(120, 41)], `after ${steps} steps`);
  }
});

test("a request for older events ends with the handle, the channel's refusal or a reset, without events", async () => {
  before(120);
  const { pages, channels } = await pair();
  world.remembers = false;
  let ended = 0;
  const count = () => {
    ended += 1;
  };
  for (const channel of channels) void channel.loadOlder(30).then(count);
  await world.pass(100);
  assert.equal(ended, 0, "it waits for the answer");
  pages[0].close(channels[0]);
  await world.pass(100);
  assert.equal(ended, 1);
  for (const socket of world.sockets)
    socket.say({ t: "sub_err", ch: "guild:7", code: "forbidden", message: "", retryable: false });
  await world.pass(100);
  assert.deepEqual([ended, channels[1].state.status, channels[1].state.hasOlder], [2, "failed", false]);
});

test("the leader dies at any step of votes: each other tab hears of each once and in order", async () => {
  for (let steps = 0; steps <= 60; steps += 1) {
    world.end();
    world = new World();
    const { pages, channels } = await pair();
    const third = new Page();
    const other = third.channel("guild:7");
    await world.pass(100);
    for (let n = 0; n < 4; n += 1) vote();
    for (let done = 0; done < steps; done += 1) await world.step(world.now);
    world.kill(pages[0]);
    vote();
    pages[1].publish("guild:7", "poll.vote", { option: "b" });
    await world.pass(20_000);
    vote();
    await world.pass(1000);
    for (const page of [pages[1], third]) assert.deepEqual(page.heard, to(7), `after ${steps} steps`);
    for (const channel of [channels[1], other]) {
      assert.deepEqual([offsetsOf(channel), channel.state.missed, channel.state.gap], [to(7), 0, null], `${steps}`);
    }
    assert.deepEqual(pages[1].outcomes.length, 1);
  }
});

test("a leader that never had the channel open itself serves it, and after a restart too", async () => {
  const [leader, heir] = [new Page(), new Page()];
  await world.pass(1000);
  const follower = new Page();
  const channel = follower.channel("guild:7");
  await world.pass(100);
  vote();
  await world.pass(100);
  world.kill(leader);
  await world.pass(5000);
  vote();
  await world.pass(100);
  assert.deepEqual([heir.tabs.role, follower.heard, channel.state.status], ["leader", to(2), "live"]);
  for (const page of [heir, follower]) world.kill(page);
  vote();
  world.serving = false;
  const next = new Page();
  const again = next.channel("guild:7");
  await world.pass(1000);
  assert.deepEqual([next.heard, again.state.status], [to(2), "syncing"], "what is stored, without a server");
  world.serving = true;
  await world.pass(60_000);
  assert.deepEqual([next.heard, offsetsOf(again)], [to(3), to(3)]);
});

test("another log begins anew in every tab, also in one that slept meanwhile", async () => {
  const { pages, channels } = await pair();
  const sleeper = new Page();
  const slept = sleeper.channel("guild:7");
  await world.pass(100);
  for (let n = 0; n < 3; n += 1) vote();
  await world.pass(100);
  world.as(sleeper, () => sleeper.document.dispatchEvent(new Event("freeze")));
  world.log = [];
  world.epoch = "another";
  vote();
  for (const socket of world.sockets) world.as(pages[0], () => socket.onclose({ code: 1006 }));
  world.sockets.clear();
  await world.pass(60_000);
  for (const [index, page] of pages.entries()) {
    assert.deepEqual(page.heard, [...to(3), 1]);
    assert.deepEqual([offsetsOf(channels[index]), channels[index].state.gap], [[1], "epoch"]);
  }
  world.as(sleeper, () => sleeper.document.dispatchEvent(new Event("resume")));
  await world.pass(1000);
  assert.deepEqual([sleeper.heard, offsetsOf(slept), slept.state.gap], [[...to(3), 1], [1], "gap"]);
});

test("a tab that comes in the middle of votes has all of them, and never one without its beginning", async () => {
  for (let steps = 0; steps <= 40; steps += 1) {
    world.end();
    world = new World();
    const { pages } = await pair();
    for (let n = 0; n < 4; n += 1) vote();
    for (let done = 0; done < steps; done += 1) await world.step(world.now);
    const late = new Page();
    for (let done = 0; done < steps; done += 1) await world.step(world.now);
    const channel = late.channel("guild:7");
    for (let n = 0; n < 4; n += 1) vote();
    await world.pass(1000);
    for (const page of [...pages, late]) assert.deepEqual(page.heard, to(8), `after ${steps} steps`);
    assert.deepEqual(offsetsOf(channel), to(8), `after ${steps} steps`);
  }
});

test("a tab that follows again while a reset is not over hears of nothing twice", async () => {
  const { pages, channels } = await pair();
  for (let n = 0; n < 3; n += 1) vote();
  await world.pass(100);
  Object.assign(world, { log: [], epoch: "another", more: true });
  vote();
  for (const socket of world.sockets) world.as(pages[0], () => socket.onclose({ code: 1006 }));
  world.sockets.clear();
  while (pages[1].heard.length < 4) await world.step(world.now + 60_000);
  for (const type of ["freeze", "resume"]) {
    world.as(pages[1], () => pages[1].document.dispatchEvent(new Event(type)));
    await world.pass(100);
  }
  assert.deepEqual([pages[1].heard, offsetsOf(channels[1]), channels[1].state.status], [[...to(3), 1], [1], "syncing"]);
});

test("more events than a tail while no tab leads, beside a dialog: the gap is told, and nothing comes twice", async () => {
  const [leader, follower] = [new Page(), new Page()];
  await world.pass(1000);
  for (const page of [leader, follower]) {
    page.dialog("demo");
    page.channel("dialog:demo");
  }
  await world.pass(100);
  vote("dialog:demo");
  await world.pass(1000);
  world.kill(leader);
  for (let n = 0; n < 60; n += 1) vote("dialog:demo");
  await world.pass(5000);
  const { gap, missed } = follower.channels.get("dialog:demo").state;
  assert.deepEqual([follower.heard, gap, missed], [[1, ...to(61, 12)], "gap", 10]);
});

test("a tab that slept through more events than are kept says how many it missed", async () => {
  const { pages } = await pair();
  const sleeper = new Page();
  const slept = sleeper.channel("guild:7");
  await world.pass(100);
  vote();
  await world.pass(100);
  world.as(sleeper, () => sleeper.document.dispatchEvent(new Event("freeze")));
  for (let n = 0; n < 300; n += 1) vote();
  await world.pass(1000);
  world.as(sleeper, () => sleeper.document.dispatchEvent(new Event("resume")));
  await world.pass(1000);
  assert.deepEqual([sleeper.heard, offsetsOf(slept)], [[1, ...to(301, 102)], to(301, 102)]);
  assert.deepEqual([slept.state.missed, slept.state.gap], [100, "gap"]);
  assert.deepEqual(pages[0].heard, to(301));
});

for (const [order, open] of Object.entries({
  "the dialog first": (page) => [page.dialog("demo"), page.channel("dialog:demo")],
  "the channel first": (page) => [page.channel("dialog:demo"), page.dialog("demo")].reverse(),
})) {
  test(`a dialog that is also open as a channel shows both, in all tabs and after a change of the leader: ${order}`, async () => {
    const say = () =>
      world.append({ id: randomUUID(), ch: "dialog:demo", kind: "message", body: { text: `${world.log.length}` } }, BOB);
    say();
    const [leader, follower] = [new Page(), new Page()];
    await world.pass(1000);
    const opened = [leader, follower].map(open);
    await world.pass(1000);
    say();
    await world.pass(1000);
    const shows = ([dialog, channel], count) => {
      assert.deepEqual(
        [dialog.state.rows.map(({ text }) => text), offsetsOf(channel)],
        [to(count - 1, 0).map(String), to(count)],
      );
      assert.deepEqual(
        [dialog.state.status, channel.state.status, dialog.state.gap, channel.state.gap],
        ["live", "live", null, null],
      );
    };
    for (const one of opened) shows(one, 2);
    world.kill(leader);
    say();
    await world.pass(5000);
    say();
    await world.pass(100);
    shows(opened[1], 4);
    assert.deepEqual(follower.heard, to(4));
    // Each of the two ends for itself.
    follower.close(opened[1][0]);
    say();
    await world.pass(100);
    assert.deepEqual([follower.heard, world.left], [to(5), []]);
    const late = new Page().channel("dialog:demo");
    await world.pass(100);
    assert.deepEqual([offsetsOf(late), late.state.status], [to(5), "live"]);
    late.release(late.held);
    follower.close(opened[1][1]);
    await world.pass(100);
    assert.deepEqual(world.left, ["dialog:demo"]);
  });
}

test("the subscription ends with the last handle of all tabs", async () => {
  const { pages, channels } = await pair();
  pages[0].close(channels[0]);
  await world.pass(100);
  vote();
  await world.pass(100);
  assert.deepEqual([pages[1].heard, pages[0].heard, world.left], [[1], [], []]);
  pages[1].close(channels[1]);
  await world.pass(100);
  assert.deepEqual([world.left, world.store.channels.size], [["guild:7"], 0]);
  // Mounting twice, as React does in its strict mode.
  pages[1].close(pages[1].channel("guild:7"));
  const again = pages[1].channel("guild:7");
  await world.pass(1000);
  vote();
  await world.pass(100);
  assert.deepEqual([offsetsOf(again), again.state.status], [to(2), "live"]);
});

test("a refused event is given up and blocks nothing, in either tab", async () => {
  const { pages } = await pair();
  world.refuses = ({ kind }) => (kind === "secret" ? "forbidden" : null);
  pages[1].dialog("demo");
  pages[1].channel("dialog:demo");
  await world.pass(100);
  for (const page of pages) {
    page.publish("guild:7", "secret", {});
    page.publish("guild:7", "poll.vote", { option: "a" });
  }
  pages[1].publish("dialog:demo", "secret", {});
  pages[1].publish("dialog:demo", "reaction", { to: "x" });
  await world.pass(5000);
  assert.deepEqual(pages[0].outcomes.toSorted(), [pages[0].outcomes.find(Number), "forbidden"]);
  assert.deepEqual(pages[1].outcomes.filter((outcome) => outcome === "forbidden").length, 2);
  assert.deepEqual(
    [world.log.map(({ kind }) => kind).toSorted(), world.store.ops.size],
    [["poll.vote", "poll.vote", "reaction"], 0],
  );
});
