// Histories of browsers: what a checker says of them, and a long one under every fault that a page
// and its network can have.
import assert from "node:assert/strict";
import { crash, freeze, thaw, withoutAWord } from "./browser.mjs";
import { BrokenPromises, figures, judge } from "./history.mjs";
import { test } from "./limits.mjs";
import { startProxy } from "./networks.mjs";
import { isReady, send, settled, useStage } from "./stage.mjs";
import { until } from "./until.mjs";

const stage = useStage({ server: ["--model", "off"] });

test("a history of pages is found right, and each way to tamper with it is found out", async () => {
  const context = await stage.profile();
  const ada = [await stage.tab(context), await stage.tab(context)];
  const bob = await stage.tab(await stage.profile(), { user: "Bob" });
  for (const [index, page] of [ada[0], ada[1], bob, ada[0], bob].entries()) {
    await send(page, `message ${index}`);
    assert.equal(await settled(page, `message ${index}`), index + 1);
  }
  const { report } = await stage.history.check(stage.server);
  // Each page tells its rows as they come, and all of them once more at the end.
  assert.deepEqual([report.sent, report.acked, report.logged, report.applied], [5, 5, 5, 3 * 2 * 5]);

  const { events } = stage.history;
  const at = (e, id) => events.findIndex((event) => event.e === e && event.id === id);
  const but = (...gone) => events.filter((_, index) => !gone.includes(index));
  const changed = (index, change) => events.with(index, { ...events[index], ...change });
  const swapped = (one, other) => events.with(one, events[other]).with(other, events[one]);
  const isLast = ({ id, e }) => id === "message 4" && (e === "log" || e === "apply");
  for (const [kind, tampered] of [
    ["lost", events.filter((event) => !isLast(event))],
    ["duplicated", [...events, { ...events[at("log", "message 4")], offset: 6 }]],
    ["duplicated", events.toSpliced(at("apply", "message 1"), 0, events[at("apply", "message 1")])],
    ["reordered", swapped(at("send", "message 0"), at("send", "message 3"))],
    ["skipped", but(at("apply", "message 2"))],
    ["diverged", but(at("log", "message 2"))],
    ["nonmonotonic", changed(at("apply", "message 3"), { epoch: "another" })],
    ["invented", but(at("send", "message 2"))],
    ["diverged", changed(at("ack", "message 2"), { offset: 4 })],
  ]) {
    const found = (error) => error instanceof BrokenPromises && error.report[kind] > 0;
    await assert.rejects(judge(tampered), found, kind);
  }
});

/** How long the faults last, ms. */
const CHAOS = 40_000;
/**
 * Connections that each user's pages may lose to the network: with twelve attempts a minute they
 * would spend the rest of it waiting.
 */
const CUTS = 8;
const USERS = ["Ada", "Bob"];
const TABS = 3;
/** Clients that return soon and show the whole log. */
const CONFIG = { backoff_base_ms: 100, backoff_cap_ms: 2000, tail: 1000, cached_events: 1000 };

/** What the seed decides: mulberry32. */
function dice(seed) {
  let state = seed;
  return (most) => {
    state = (state + 0x6d2b79f5) | 0;
    let z = Math.imul(state ^ (state >>> 15), 1 | state);
    z = (z + Math.imul(z ^ (z >>> 7), 61 | z)) ^ z;
    return ((z ^ (z >>> 14)) >>> 0) % most;
  };
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** A user with some tabs behind a network of their own. */
class User {
  counts = {};
  #name;
  #roll;
  #context;
  #proxy;
  #tabs = [];
  #written = 0;
  #cuts = 0;

  constructor(name, seed) {
    this.#name = name;
    this.#roll = dice(seed);
  }

  async begin() {
    this.#proxy = await stage.put(startProxy(stage.server.origin));
    this.#context = await stage.profile();
    for (let n = 0; n < TABS; n += 1) await this.#open();
  }

  /** Writes in one tab after the other, in those that are there. */
  async write(end) {
    while (Date.now() < end) {
      const tab = this.#pick();
      if (tab !== undefined) {
        tab.writing = send(tab.page, this.#text()).catch(() => stage.history.ended(tab.page));
        await tab.writing;
      }
      await pause(this.#roll(300));
    }
  }

  /** One fault after the other, of the network and of the pages. */
  async suffer(end) {
    while (Date.now() < end) {
      await (this.#roll(3) > 0 ? this.#harmNetwork() : this.#harmPage());
      await pause(100 + this.#roll(600));
    }
    await this.#proxy.set({});
    await this.#context.setOffline(false);
  }

  #text() {
    this.#written += 1;
    // Of different lengths, so that they are cut at different places.
    return `${this.#name} ${this.#written} ${"x".repeat(this.#roll(700))}`;
  }

  #pick() {
    const free = this.#tabs.filter((tab) => !tab.away);
    return free[this.#roll(Math.max(free.length, 1))];
  }

  async #open() {
    const options = { user: this.#name, url: this.#proxy.origin, config: CONFIG };
    // Every other tab sleeps without a word.
    const prepare = this.#tabs.length % 2 === 0 ? withoutAWord : undefined;
    this.#tabs.push({ page: await stage.tab(this.#context, options, prepare), away: false, writing: undefined });
  }

  #count(what) {
    this.counts[what] = (this.counts[what] ?? 0) + 1;
  }

  async #harmNetwork() {
    const late = { delay_ms: this.#roll(200), jitter_ms: 100 };
    const slow = { bytes_per_s: 500 + this.#roll(3000) };
    const hole = { black_hole: true };
    const short = { truncate_after: 1 + this.#roll(2000) };
    const twice = { duplicate_one_in: 1 + this.#roll(8) };
    const gentle = [{}, { up: late, down: late }, { up: slow }, { down: slow }, { up: hole }, { down: hole }];
    const rude = [{ up: short }, { down: short }, { up: twice }, { down: twice }, "cut", "offline"];
    const faults = this.#cuts < CUTS ? [...gentle, ...rude] : gentle;
    const fault = faults[this.#roll(faults.length)];
    if (rude.includes(fault)) this.#cuts += 1;
    if (fault === "cut") {
      await this.#proxy.cut();
    } else if (fault === "offline") {
      await this.#context.setOffline(true);
      await pause(500 + this.#roll(1500));
      await this.#context.setOffline(false);
    } else {
      await this.#proxy.set(fault);
    }
    this.#count("of networks");
  }

  async #harmPage() {
    const tab = this.#pick();
    if (tab === undefined) return;
    tab.away = true;
    await tab.writing;
    const faults = ["reloads", "closed", "crashes", "frozen"];
    const fault = faults[this.#roll(faults.length)];
    this.#count(fault);
    switch (fault) {
      case "reloads": {
        const text = this.#text();
        stage.history.sent(tab.page, text);
        const loaded = tab.page.waitForEvent("load");
        // It goes in the same moment in which it takes a message.
        const write = (text) => {
          window.send(text);
          location.reload();
        };
        await tab.page.evaluate(write, text);
        await loaded;
        stage.history.ended(tab.page);
        await isReady(tab.page);
        break;
      }
      case "frozen":
        await freeze(tab.page);
        await pause(this.#roll(8000));
        await thaw(tab.page);
        break;
      default:
        if (fault === "crashes") await crash(tab.page);
        await tab.page.close();
        this.#tabs.splice(this.#tabs.indexOf(tab), 1);
        await this.#open();
    }
    tab.away = false;
  }

  /** Whether every tab is online. */
  async isOnline() {
    const online = () => window.client.getState().status.state === "online";
    const states = await Promise.all(this.#tabs.map(({ page }) => page.evaluate(online)));
    return states.every(Boolean);
  }
}

test("two users' tabs under faults of network and pages: nothing is lost, doubled, reordered, skipped or invented", async () => {
  const seed = Number(process.env.SEED ?? 20_261_121);
  const users = USERS.map((name, number) => new User(name, seed + number));
  for (const user of users) await user.begin();
  const end = Date.now() + CHAOS;
  await Promise.all(users.flatMap((user) => [user.write(end), user.suffer(end)]));
  const healed = Date.now();
  await until("all online", async () => (await Promise.all(users.map((user) => user.isOnline()))).every(Boolean), 40_000);
  const allOnline = Date.now() - healed;
  const { report } = await stage.history.check(stage.server);
  const allThere = Date.now() - healed;
  const counts = users.flatMap((user, number) =>
    Object.entries(user.counts).map((count) => `${USERS[number]} ${count.join(" ")}`),
  );
  console.log(`figures: browser, seed ${seed}: ${counts.join(", ")}`);
  console.log(`figures: browser: ${figures(report)}`);
  console.log(`figures: browser: healed, all online after ${allOnline} ms, all there after ${allThere} ms`);
  assert.ok(allThere < 60_000, "L2");
  assert.ok(report.sent > 100 && report.applied > report.sent, "too little was done");
});
