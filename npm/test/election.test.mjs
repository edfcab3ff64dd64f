// The election: every input in every phase by a table, and invariants in random walks.
import assert from "node:assert/strict";
import { test } from "node:test";
import { source } from "./bundle.mjs";

const { ASK, LATE, MISSES, OUT, SPREAD, step, TRANSITIONS } = await source("tabs/election.ts");

const NOW = 50_000;
const AT = { now: NOW, pending: false, random: 0.5 };
/** A state for each phase, as it usually is. */
const PHASES = {
  out: OUT,
  parked: { ...OUT, phase: "parked", trust: "behind", term: 5 },
  entering: { ...OUT, phase: "entering", term: 5 },
  queued: { ...OUT, phase: "queued", term: 5, inQueue: true, question: "open", timer: NOW + 500 },
  taking: { ...OUT, phase: "taking", term: 5, request: 1 },
  leading: { ...OUT, phase: "leading", term: 5, request: 1 },
};
const INPUTS = {
  join: { i: "join", shared: true },
  joinAlone: { i: "join", shared: false },
  entered: { i: "entered" },
  granted: { i: "granted", request: 2, steal: false },
  stolen: { i: "stolen", request: 1 },
  stolenBefore: { i: "stolen", request: 0.5 },
  taken: { i: "taken", term: 6 },
  heardOld: { i: "heard", term: 4, fits: true },
  heardSame: { i: "heard", term: 5, fits: true },
  heardNext: { i: "heard", term: 6, fits: true },
  heardUnfit: { i: "heard", term: 6, fits: false },
  posted: { i: "posted" },
  timer: { i: "timer" },
  shown: { i: "shown" },
  hidden: { i: "hidden" },
  frozen: { i: "frozen" },
  resumed: { i: "resumed" },
  leave: { i: "leave" },
};
/** The next phase and the outputs for each input. Inputs that are not listed change nothing. */
const TABLE = {
  out: { join: ["entering", "enter"], joinAlone: ["taking", "take"] },
  parked: { resumed: ["entering", "enter"], shown: ["entering", "enter"], leave: ["out"] },
  entering: { entered: ["queued", "queue", "ask"], frozen: ["parked", "leave", "park"], leave: ["out", "leave"] },
  queued: {
    granted: ["taking", "take"],
    heardSame: ["queued"],
    heardNext: ["queued", "follow"],
    heardUnfit: ["queued", "follow", "steal"],
    timer: ["queued", "ask"],
    shown: ["queued", "ask"],
    frozen: ["parked", "leave", "park"],
    leave: ["out", "leave"],
  },
  taking: {
    granted: ["taking", "stepDown", "take"],
    stolen: ["queued", "stepDown", "queue", "ask"],
    taken: ["leading"],
    heardNext: ["taking", "follow"],
    heardUnfit: ["taking", "follow"],
    frozen: ["parked", "leave", "park"],
    leave: ["out", "leave"],
  },
  leading: {
    granted: ["taking", "stepDown", "take"],
    stolen: ["queued", "stepDown", "queue", "ask"],
    heardNext: ["queued", "stepDown", "queue", "ask", "follow"],
    heardUnfit: ["queued", "stepDown", "queue", "ask", "follow", "steal"],
    frozen: ["parked", "leave", "park"],
    leave: ["out", "leave"],
  },
};

test("every input in every phase does what the table says", () => {
  assert.deepEqual(Object.keys(TRANSITIONS), Object.keys(PHASES));
  for (const [phase, state] of Object.entries(PHASES)) {
    for (const [name, input] of Object.entries(INPUTS)) {
      const before = structuredClone(state);
      const [next, outputs] = step(state, input, AT);
      const [to = phase, ...expected] = TABLE[phase][name] ?? [];
      assert.deepEqual([next.phase, ...outputs], [to, ...expected], `${name} while ${phase}`);
      assert.deepEqual(state, before, "the state before is not changed");
    }
  }
});

/** Applies inputs one after the other. Returns the last state and all outputs. */
function walk(state, ...steps) {
  const outputs = [];
  let now = state;
  for (const [input, at] of steps) {
    const [next, done] = step(now, INPUTS[input] ?? input, { ...AT, ...at });
    outputs.push(...done);
    now = next;
  }
  return [now, outputs];
}

test("a visible follower steals from a leader that left two questions without an answer, and not at once", () => {
  const entered = walk(PHASES.entering, ["entered"])[0];
  const [suspecting, first] = walk(entered, ["timer", { now: NOW + ASK }]);
  assert.deepEqual([first, suspecting.trust], [["suspect", "ask"], "suspected"]);
  const [stealing, second] = walk(suspecting, ["timer", { now: NOW + MISSES * ASK }]);
  assert.deepEqual([second, stealing.timer], [[], NOW + MISSES * ASK + SPREAD / 2]);
  assert.deepEqual(walk(stealing, ["timer", { now: stealing.timer }])[1], ["steal", "ask"]);
  assert.deepEqual(walk(stealing, ["heardSame"], ["timer", { now: stealing.timer }])[1], ["follow", "ask"]);
});

test("a follower that was asleep itself blames nobody, whatever it was about to do", () => {
  const entered = walk(PHASES.entering, ["entered"])[0];
  const late = { now: NOW + 60_000 };
  assert.deepEqual(walk(entered, ["timer", late])[1], ["ask"]);
  const stealing = walk(entered, ["timer", { now: NOW + ASK }], ["timer", { now: NOW + 2 * ASK }])[0];
  assert.equal(stealing.question, "stealing");
  assert.deepEqual(walk(stealing, ["timer", { now: stealing.timer + LATE + 1 }])[1], ["ask"]);
});

test("a hidden follower asks only while it waits for something", () => {
  const hidden = { ...PHASES.entering, shown: false };
  const [idle, asked] = walk(hidden, ["entered"]);
  assert.deepEqual([asked, idle.timer], [["queue", "ask"], null]);
  assert.equal(walk(idle, ["posted", { pending: true }])[0].timer, NOW + ASK);
  assert.equal(walk(hidden, ["entered", { pending: true }])[0].timer, NOW + ASK);
  assert.equal(walk(idle, ["shown"])[0].timer, NOW + ASK);
});

test("a leader is followed again under the same term by a tab that doubted it or took no part", () => {
  for (const trust of ["behind", "suspected"]) {
    const [next, outputs] = walk({ ...PHASES.queued, trust }, ["heardSame"]);
    assert.deepEqual([outputs, next.trust], [["follow"], "fresh"]);
  }
});

test("the place of a leader whose core does not do is claimed once", () => {
  const steps = [["heardUnfit"], ["heardUnfit"], ["heardUnfit"]];
  assert.deepEqual(walk(PHASES.queued, ...steps)[1], ["follow", "steal"]);
});

/** A small random generator with the same numbers in every run. */
function random(seed) {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

/**
 * A browser around one election. It has the lock's queue and other tabs that may take the lock at
 * any time.
 */
class Browser {
  state = OUT;
  now = 1000;
  /** Waiting requests of this tab, and the holder of the lock. */
  waiting = [];
  holder = null;
  requests = 0;
  term = 0;
  core = false;
  asleep = false;
  inChannel = false;

  feed(input, random = 0.5) {
    const [next, outputs] = step(this.state, input, { now: this.now, pending: false, random });
    this.state = next;
    for (const output of outputs) this.carryOut(output);
    if (input.i === "taken") this.core = true;
    this.check(input.i);
  }

  carryOut(output) {
    if (output === "queue" || output === "steal") this.waiting.push({ request: ++this.requests, steal: output === "steal" });
    if (output === "stepDown" || output === "leave") this.core = false;
    if (output === "leave") {
      this.waiting = [];
      this.holder = null;
      this.inChannel = false;
    }
  }

  /** Checks the invariants. */
  check(why) {
    const { phase, request, timer, shown } = this.state;
    const holds = phase === "taking" || phase === "leading";
    if (this.core) assert.equal(phase, "leading", `${why}: a core only while it leads`);
    if (phase === "leading") assert.ok(this.core, `${why}: it leads with a core`);
    // The tab learns of a stolen lock one message later.
    if (holds) assert.ok(this.holder?.request === request || this.robbed === request, `${why}: it leads with the lock`);
    if (!holds) assert.equal(request, 0, why);
    assert.ok(this.waiting.filter((one) => !one.steal).length <= 1, `${why}: it waits in the queue once`);
    if (phase === "queued")
      assert.ok(
        this.waiting.some((one) => !one.steal),
        `${why}: a follower is in the queue`,
      );
    if (phase !== "queued") assert.equal(timer, null, `${why}: a timer only while it follows`);
    if (phase === "queued" && shown) assert.ok(timer !== null && timer <= this.now + ASK, `${why}: it asks`);
    if (this.asleep || phase === "out" || phase === "parked") {
      assert.deepEqual([this.waiting, this.holder], [[], null], `${why}: asleep, it neither holds nor waits`);
    }
  }
}

/** The random events, as far as the browser's state allows them. */
const EVENTS = {
  join: (b) => !b.asleep && b.state.phase === "out" && b.feed({ i: "join", shared: true }),
  enter: (b) => {
    if (b.state.phase !== "entering") return;
    b.inChannel = true;
    b.feed({ i: "entered" });
  },
  grant: (b) => {
    const at = b.waiting.findIndex((one) => one.steal || b.holder === null);
    if (at < 0) return;
    const [one] = b.waiting.splice(at, 1);
    const before = b.holder;
    b.holder = one;
    if (before !== null) b.robbed = before.request;
    b.feed({ i: "granted", ...one });
    if (before !== null) b.feed({ i: "stolen", request: before.request });
    b.robbed = undefined;
  },
  take: (b) => b.state.phase === "taking" && b.feed({ i: "taken", term: ++b.term }),
  /** Another tab steals the lock. Its first message may come before the input `stolen`. */
  rob: (b, draw) => {
    if (b.holder === null) return;
    const { request } = b.holder;
    b.holder = null;
    b.robbed = request;
    if (draw(2) === 0) b.feed({ i: "heard", term: ++b.term, fits: true });
    b.feed({ i: "stolen", request });
    b.robbed = undefined;
    assert.ok(b.state.phase !== "leading" && b.state.phase !== "taking", "a lock that was stolen ends leading");
  },
  hear: (b, draw) => {
    if (!b.inChannel || b.holder !== null) return;
    b.term += draw(2);
    b.feed({ i: "heard", term: b.term - draw(2), fits: draw(4) > 0 });
  },
  tell: (b) => b.feed({ i: "posted" }),
  tick: (b, draw) => {
    if (b.asleep || b.state.timer === null) return;
    b.now = Math.max(b.now, b.state.timer) + (draw(10) === 0 ? 60_000 : draw(20));
    b.feed({ i: "timer" }, draw(1000) / 1000);
  },
  show: (b) => !b.asleep && b.feed({ i: "shown" }),
  hide: (b) => b.feed({ i: "hidden" }),
  freeze: (b) => {
    // The state machine gets its input before the page sleeps.
    b.feed({ i: "frozen" });
    b.asleep = true;
    b.check("asleep");
  },
  resume: (b) => {
    b.asleep = false;
    b.feed({ i: "resumed" });
  },
  leave: (b, draw) => draw(5) === 0 && b.feed({ i: "leave" }),
};

test("whatever happens in whichever order: no leading without the lock, no place in the queue twice, none asleep", () => {
  const seen = new Map();
  for (let seed = 1; seed <= 500; seed += 1) {
    const draw = random(seed);
    const browser = new Browser();
    for (let n = 0; n < 300; n += 1) {
      const names = Object.keys(EVENTS);
      const name = names[draw(names.length)];
      EVENTS[name](browser, draw);
      browser.now += draw(100);
      seen.set(browser.state.phase, (seen.get(browser.state.phase) ?? 0) + 1);
    }
  }
  for (const phase of Object.keys(PHASES)) assert.ok(seen.get(phase) > 1000, `${phase}: ${seen.get(phase)} steps`);
});
