// Live tables of several tabs with the real core in virtual time: whichever tab leads, rows are
// those of the database, and no change is emitted twice.
import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { source, wasm } from "./bundle.mjs";
import { World } from "./world.mjs";

const { Tabs, Driver, Scheduler, addTables, createCore, loadCore } = await source(
  "tabs/tabs.ts",
  "driver.ts",
  "store.ts",
  "wasm.ts",
  "tables.ts",
  { tables: true },
);
await loadCore(await wasm("tables"));

const EMPTY = { ops: [], channels: [], tables: [] };
let world;

beforeEach(() => {
  world = new World();
});

afterEach(() => world.end());

function storageOf(tab, term) {
  const { store } = world;
  return {
    apply: (change) =>
      new Promise((resolve) => {
        world.later(null, () => {
          const fenced = store.term !== term;
          if (!fenced && change.t === "put_table") store.tables.set(change.name, change.record);
          if (!fenced && change.t === "clear_table") store.tables.delete(change.name);
          if (!fenced && change.t === "put_profile") store.profile = change.record;
          world.later(tab, () => resolve(fenced ? "unavailable" : null));
        });
      }),
    close: () => {},
  };
}

/**
 * The rows of an application that applies change events only. They must always equal the table's
 * rows.
 */
class Follower {
  rows = new Map();
  told = [];
  /** Changes that did not fit: of rows that it did not have, or inserts of rows that it had. */
  wrong = [];

  constructor(table) {
    this.table = table;
    table.on("rows", (rows) => {
      this.told.push(`all ${rows.length}`);
      this.rows = new Map(rows.map((row) => [row.id, row]));
    });
    table.on("change", ({ event, new: now, old, why, tx }) => {
      this.told.push(`${event} ${why} ${(now ?? old).id}${tx === null ? "" : ` ${tx}`}`);
      const known = this.rows.get((now ?? old).id);
      if (JSON.stringify(known ?? null) !== JSON.stringify(old)) this.wrong.push(this.told.at(-1));
      if (now === null) this.rows.delete(old.id);
      else this.rows.set(now.id, now);
    });
  }
}

/** A tab that may have tables. */
class Page {
  dead = false;
  frozen = false;
  asleep = false;
  status = undefined;
  window = new EventTarget();
  document = Object.assign(new EventTarget(), { visibilityState: "visible" });

  constructor({ tables = true } = {}) {
    const mono = () => Math.floor(world.now);
    const drive = (storage, restored, event) =>
      new Driver({
        core: createCore({}, restored, mono(), Date.now()),
        base: "http://x",
        storage,
        token: async () => "token",
        event,
      });
    const host = {
      wants: () => ({ connect: true, views: [], leases: [] }),
      event: (event) => {
        if (event.t === "status") this.status = event.state;
      },
      refused: () => {},
      wiped: () => {},
      take: async (known, event) => {
        const { store } = world;
        const term = Math.max(known, store.term) + 1;
        store.term = term;
        const kept = [...store.tables].map(([name, record]) => ({ name, record }));
        const restored = { ...EMPTY, tables: kept, ...(store.profile === undefined ? {} : { profile: store.profile }) };
        await new Promise((resolve) => world.later(this, resolve));
        return { driver: drive(storageOf(this, term), restored, event), term, storeId: store.storeId, failure: null };
      },
      idle: () => drive({ apply: async () => null, close: () => {} }, EMPTY, () => {}),
    };
    world.as(this, () => {
      const scheduler = new Scheduler();
      this.tabs = new Tabs("scope", host, tables ? (port) => addTables(port, this, scheduler) : undefined);
      void this.tabs.join();
    });
  }

  open(options) {
    return world.as(this, () => this.table("rules", options));
  }

  ask(call) {
    return world.as(this, () => call(this.tabs));
  }

  hears(type) {
    world.as(this, () => this.document.dispatchEvent(new Event(type)));
  }
}

const insert = (id, name) => ({ op: "insert", key: [id], row: [id, name] });
const update = (id, name) => ({ op: "update", key: [id], row: [id, name] });
const remove = (id) => ({ op: "delete", key: [id] });
const objects = (rows) => [...rows.values()].map(([id, name]) => ({ id, name })).sort((a, b) => a.id - b.id);

/** Checks that the rows of a table and of its follower are those of the database. */
function same(page, table, follower, note) {
  const rows = world.as(page, () => table.rows);
  assert.deepEqual([...rows], objects(world.tableAt()), note);
  if (follower !== undefined) {
    assert.deepEqual(follower.wrong, [], `${note}: ${follower.told.join(", ")}`);
    assert.deepEqual(
      [...follower.rows.values()].sort((a, b) => a.id - b.id),
      objects(world.tableAt()),
      `${note}: ${follower.told.join(", ")}`,
    );
  }
}

/** Two tabs with a table each and a follower of it: the first leads. */
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
  const tables = pages.map((page) => page.open());
  const followers = tables.map((table) => new Follower(table));
  await world.pass(1000);
  return { pages, tables, followers };
}

test("tabs share one subscription, and each has all rows and each change once", async () => {
  const { pages, tables, followers } = await pair();
  world.commit(insert(1, "one"), insert(2, "two"));
  world.commit(update(2, "zwei"));
  await world.pass(100);
  world.commit(remove(1));
  await world.pass(100);
  assert.equal(world.subscribed, 1);
  for (const [n, page] of pages.entries()) {
    same(page, tables[n], followers[n], `tab ${n}`);
    assert.equal(tables[n].status, "live");
    assert.deepEqual(followers[n].told, [
      "all 0",
      "INSERT commit 1 x1",
      "INSERT commit 2 x1",
      "UPDATE commit 2 x2",
      "DELETE commit 1 x3",
    ]);
  }
  const late = new Page();
  await world.pass(100);
  const table = late.open({ orderBy: "name.desc", limit: 1 });
  await world.pass(100);
  world.commit(insert(9, "zz"));
  await world.pass(100);
  assert.deepEqual([world.subscribed, table.status, table.rows.map((row) => row.id)], [1, "live", [9]]);
});

test("a subscription is left with the last tab that looks at it, however that one ends", async () => {
  const { pages, tables } = await pair();
  world.as(pages[0], () => tables[0].close());
  await world.pass(100);
  assert.equal(world.ended, 0);
  world.kill(pages[1]);
  await world.pass(1000);
  assert.equal(world.ended, 1);
});

test("the leader dies at any step of what is committed: the heir has every row, and no change is lost or told twice", async () => {
  for (let steps = 0; steps <= 60; steps += 1) {
    world.end();
    world = new World();
    const { pages, tables, followers } = await pair();
    const [leader, heir] = pages;
    const third = new Page();
    await world.pass(100);
    const table = third.open();
    const follower = new Follower(table);
    await world.pass(100);
    world.commit(insert(1, "one"), insert(2, "two"));
    world.commit(update(2, "zwei"));
    for (let done = 0; done < steps; done += 1) await world.step(world.now);
    world.commit(remove(1), insert(3, "three"));
    for (let done = 0; done < steps % 7; done += 1) await world.step(world.now);
    world.kill(leader);
    world.commit(update(2, "deux"));
    await world.pass(20_000);
    world.commit(insert(4, "four"));
    await world.pass(1000);
    const note = `after ${steps} steps`;
    assert.equal(world.leader, heir, note);
    same(heir, tables[1], followers[1], `heir, ${note}`);
    same(third, table, follower, `third, ${note}`);
    assert.deepEqual([tables[1].status, table.status], ["live", "live"]);
  }
});

test("while nobody leads rows stay and are stale", async () => {
  const { pages, tables, followers } = await pair();
  world.commit(insert(1, "one"));
  await world.pass(100);
  world.serving = false;
  world.kill(pages[0]);
  await world.pass(5000);
  assert.equal(world.leader, pages[1]);
  assert.deepEqual([tables[1].status, tables[1].rows.length], ["stale", 1]);
  world.serving = true;
  world.commit(insert(2, "two"));
  await world.pass(60_000);
  same(pages[1], tables[1], followers[1], "online again");
  assert.equal(tables[1].status, "live");
});

test("a new leader's rows are compared by their keys: one that changed is an update", async () => {
  const { pages, tables, followers } = await pair();
  world.commit(insert(1, "one"), insert(2, "two"), insert(3, "three"));
  await world.pass(100);
  followers[1].told = [];
  world.serving = false;
  world.kill(pages[0]);
  await world.pass(5000);
  world.commit(update(1, "eins"), remove(2), insert(4, "four"));
  world.serving = true;
  await world.pass(60_000);
  same(pages[1], tables[1], followers[1], "after the change of the leader");
  assert.deepEqual(followers[1].told, ["DELETE resync 2", "UPDATE resync 1", "INSERT resync 4"]);
});

test("a leader that freezes is replaced, and wakes up as a follower whose rows are right", async () => {
  for (let steps = 0; steps <= 20; steps += 1) {
    world.end();
    world = new World();
    const { pages, tables, followers } = await pair();
    world.commit(insert(1, "one"), insert(2, "two"));
    for (let done = 0; done < steps; done += 1) await world.step(world.now);
    pages[0].frozen = true;
    world.commit(update(1, "eins"));
    await world.pass(10_000);
    assert.equal(pages[1].tabs.role, "leader", `after ${steps} steps`);
    world.commit(remove(2));
    await world.pass(1000);
    pages[0].frozen = false;
    await world.pass(30_000);
    for (const n of [0, 1]) same(pages[n], tables[n], followers[n], `tab ${n} after ${steps} steps`);
    assert.deepEqual([tables[0].status, tables[1].status], ["live", "live"]);
  }
});

test("a follower that slept has from the same leader what it missed, as changes found by comparing", async () => {
  const { pages, tables, followers } = await pair();
  world.commit(insert(1, "one"));
  await world.pass(100);
  pages[1].hears("freeze");
  world.commit(insert(2, "two"), update(1, "eins"));
  await world.pass(1000);
  assert.deepEqual([tables[1].status, tables[1].rows.length], ["stale", 1]);
  pages[1].hears("resume");
  await world.pass(1000);
  same(pages[1], tables[1], followers[1], "awake");
  assert.deepEqual(followers[1].told, ["all 0", "INSERT commit 1 x1", "UPDATE resync 1", "INSERT resync 2"]);
  assert.equal(tables[1].status, "live");
});

test("a tab with tables takes the lead from one without, and another with tables does not take it again", async () => {
  const chat = new Page({ tables: false });
  await world.pass(1000);
  assert.equal(chat.tabs.role, "leader");
  const first = new Page();
  const table = first.open();
  await world.pass(2000);
  const second = new Page();
  await world.pass(2000);
  assert.deepEqual(
    [chat, first, second].map((page) => page.tabs.role),
    ["follower", "leader", "follower"],
  );
  world.commit(insert(1, "one"));
  await world.pass(100);
  same(first, table, undefined, "the one that leads");
  const { term } = world.store;
  await world.pass(30_000);
  assert.equal(world.store.term, term, "nobody leads anew");
});

test("a transaction is waited for by way of the leader, and by the next one if that ends", async () => {
  const { pages, tables, followers } = await pair();
  world.commit(insert(1, "one"));
  const order = [];
  const wait = (tx) =>
    world.as(pages[1], () =>
      tables[1].awaitTx(tx).then(
        () => order.push(`${tx} ${followers[1].rows.size}`),
        (error) => order.push(`${tx} ${error.code}`),
      ),
    );
  wait("x1");
  wait("x99");
  await world.pass(100);
  assert.deepEqual(order.splice(0), ["x1 1", "x99 unknown_tx"]);
  world.serving = false;
  for (const socket of world.sockets) world.as(pages[0], () => socket.onclose({ code: 1006 }));
  world.commit(insert(2, "two"));
  wait("x2");
  await world.pass(100);
  world.kill(pages[0]);
  await world.pass(1000);
  assert.deepEqual(order, []);
  world.serving = true;
  await world.pass(60_000);
  assert.deepEqual(order, ["x2 2"]);
});

test("what all tabs together may not have is refused to the one that asks, as a state", async () => {
  const { pages } = await pair();
  for (let n = 1; n < 100; n += 1) pages[0].open({ where: { id: n } });
  const table = pages[1].open({ where: { id: 1000 } });
  await world.pass(100);
  assert.deepEqual([table.status, table.error?.code], ["failed", "too_many_subscriptions"]);
  assert.throws(() => pages[1].open({ where: "no filter" }), { code: "bad_filter" });
});

/** Numbers from a seed, below 1. */
function random(seed) {
  let state = seed * 2_654_435_761 + 1;
  return () => {
    state = (Math.imul(state ^ (state >>> 15), 2_246_822_519) + 0x9e3779b9) | 0;
    return ((state ^ (state >>> 13)) >>> 0) / 2 ** 32;
  };
}

test("whatever tabs, network and database do, rows are those of one moment, and in the end those of now", async () => {
  for (let seed = 1; seed <= 60; seed += 1) {
    world.end();
    world = new World();
    const below = random(seed);
    const one = (list) => list[Math.floor(below() * list.length)];
    const trace = [];
    const note = () => `seed ${seed}: ${trace.join(", ")}`;
    let pages = [];
    const alive = () => pages.filter(({ page }) => !page.dead);
    const arrive = () => {
      const page = new Page({ tables: below() < 0.85 });
      if (page.table === undefined) return pages.push({ page });
      const table = page.open();
      pages.push({ page, table, follower: new Follower(table) });
    };
    const moments = () =>
      [...Array(world.commits.length + 1).keys()].map((place) => JSON.stringify(objects(world.tableAt(place))));
    const look = () => {
      const known = new Set(moments());
      for (const { page, table } of alive()) {
        if (table === undefined || page.frozen) continue;
        const rows = world.as(page, () => table.rows);
        assert.ok(known.has(JSON.stringify(rows)), `${note()}: ${JSON.stringify(rows)} was never so`);
      }
    };
    let next = 0;
    const actions = {
      commit: () => {
        const rows = [...world.tableAt().keys()];
        next += 1;
        const change =
          rows.length === 0 || below() < 0.4
            ? insert(next, "new")
            : below() < 0.6
              ? update(one(rows), `at ${next}`)
              : remove(one(rows));
        world.commit(change);
      },
      arrive: () => alive().length < 4 && arrive(),
      kill: () => alive().length > 1 && world.kill(one(alive()).page),
      freeze: () => {
        one(alive()).page.frozen = true;
      },
      thaw: () => {
        for (const { page } of alive()) page.frozen = false;
      },
      sleep: () => {
        const { page } = one(alive());
        if (!page.frozen) page.hears("freeze");
      },
      wake: () => {
        for (const { page } of alive()) if (!page.frozen) page.hears("resume");
      },
      drop: () => {
        for (const socket of world.sockets)
          if (socket.owner?.frozen !== true) world.as(socket.owner, () => socket.onclose?.({ code: 1006 }));
        for (const socket of world.sockets) world.sockets.delete(socket);
      },
      outage: () => {
        world.serving = !world.serving;
      },
      close: () => {
        const open = alive().filter(({ table, page }) => table !== undefined && !page.frozen);
        if (open.length < 2) return;
        const { page, table } = one(open);
        world.as(page, () => table.close());
        pages = pages.filter((other) => other.page !== page);
        world.kill(page);
      },
    };
    arrive();
    for (let n = 0; n < 40; n += 1) {
      const name = one([...Object.keys(actions), "commit", "commit", "commit", "commit"]);
      trace.push(name);
      actions[name]();
      const steps = Math.floor(below() * 30);
      for (let done = 0; done < steps; done += 1) await world.step(world.now);
      if (below() < 0.3) await world.pass(below() * 8000);
      look();
    }
    trace.push("calm");
    actions.thaw();
    actions.wake();
    world.serving = true;
    await world.pass(90_000);
    world.commit(insert(1_000_000, "last"));
    await world.pass(5_000);
    for (const { page, table, follower } of alive()) {
      if (table === undefined) continue;
      assert.equal(table.status, "live", note());
      same(page, table, follower, note());
    }
  }
});
