// The leader election, as one tab sees it: a pure state machine. It takes an input and the time,
// and returns the next state and a list of outputs, which `membership.ts` carries out.

/** How often a follower asks whether the leader is there, and how long the answer may take, ms. */
export const ASK = 2000;
/** After so many unanswered questions in a row the leader counts as frozen. */
export const MISSES = 2;
/** If a visible tab's timer is later than this, the tab itself was asleep, ms. */
export const LATE = 1000;
/** Followers spread their steals over this time, so that the others hear of the first one, ms. */
export const SPREAD = 300;

/**
 * The phase of a tab. `out`: it takes no part; `parked`: no part while the page sleeps; `entering`:
 * it waits for its own lock; `queued`: it follows, and waits for the leader's lock; `taking`: it
 * has the lock and reads the store; `leading`: it has the lock and the core.
 */
export type Phase = "out" | "parked" | "entering" | "queued" | "taking" | "leading";

/** The state of the election, as one tab knows it. */
export interface Election {
  readonly phase: Phase;
  readonly shown: boolean;
  /** The term of the last known leader; 0 before the first. */
  readonly term: number;
  /** The number of the lock request that was granted and not lost since; 0 if there is none. */
  readonly request: number;
  /** Whether a request of this tab waits in the lock's queue. */
  readonly inQueue: boolean;
  /**
   * How far this tab can trust what it has from the leader. `fresh`: fully. `behind`: this tab took
   * no part for a while, so it lacks events. `suspected`: the leader has been silent too long.
   */
  readonly trust: "fresh" | "behind" | "suspected";
  /**
   * `open`: a question waits for its answer. `stealing`: too many were unanswered, so the lock is
   * stolen when the timer fires.
   */
  readonly question: "none" | "open" | "stealing";
  /** How many questions in a row got no answer. */
  readonly misses: number;
  /** When the timer fires, which is also when the answer is due, ms; `null` if no timer runs. */
  readonly timer: number | null;
  /**
   * The term of the last leader whose lock this tab stole because that leader's core has no live
   * tables, which this tab needs.
   */
  readonly claimed: number;
}

/** An input of the state machine. */
export type Input =
  /** The tab wants to take part. `shared`: there may be other tabs. */
  | { readonly i: "join"; readonly shared: boolean }
  /** The tab has its own lock and gets the others' messages. */
  | { readonly i: "entered" }
  /** A request for the leader's lock was granted; `steal`: one that did not queue. */
  | { readonly i: "granted"; readonly request: number; readonly steal: boolean }
  /** The lock that this request was granted was stolen. */
  | { readonly i: "stolen"; readonly request: number }
  /** This tab has read the store and has a core. */
  | { readonly i: "taken"; readonly term: number }
  /** A leader's message came. `fits`: its core has all that this tab needs. */
  | { readonly i: "heard"; readonly term: number; readonly fits: boolean }
  /** This tab has sent the leader a message, so it should check that the leader is there. */
  | { readonly i: "posted" }
  /** The timer has fired. */
  | { readonly i: "timer" }
  /** The page's state changed. */
  | { readonly i: "shown" | "hidden" | "frozen" | "resumed" }
  /** The tab takes no part any more. */
  | { readonly i: "leave" };

/** An output: what to do next. Outputs are carried out in their order. */
export type Output =
  /** Request this tab's own lock, then open the channel. */
  | "enter"
  /** Request the leader's lock, and wait in its queue. */
  | "queue"
  /** Request the leader's lock, and take it from whichever tab has it. */
  | "steal"
  /** Read the store, as its next leader. */
  | "take"
  /** Ask whether the leader is there. */
  | "ask"
  /** Send the leader all that this tab wants. */
  | "follow"
  /** Show that the data may be old, because the leader is silent. */
  | "suspect"
  /** Give up the core and follow. */
  | "stepDown"
  /** Send `bye`, give up the core, then release all locks and leave their queues. */
  | "leave"
  /** Show that this tab sleeps. */
  | "park";

/** The surroundings that a transition may look at. */
export interface At {
  /** Time of a monotonic clock, ms. */
  readonly now: number;
  /** Whether ops of this tab wait for a leader. */
  readonly pending: boolean;
  /** A random number, at least 0 and below 1. */
  readonly random: number;
}

/** The next state and the outputs. */
export type Step = readonly [next: Election, outputs: readonly Output[]];

/** The initial state. */
export const OUT: Election = {
  phase: "out",
  shown: true,
  term: 0,
  request: 0,
  inQueue: false,
  trust: "fresh",
  question: "none",
  misses: 0,
  timer: null,
  claimed: 0,
};

type Kind = Input["i"];
type Of<K extends Kind> = Extract<Input, { readonly i: K }>;
type Draft = { -readonly [K in keyof Election]: Election[K] };
/** Changes the draft of the next state and returns the outputs. */
type Transition<I extends Input = Input> = (next: Draft, input: I, at: At) => Output[];

/** All transitions. An input that a phase does not list changes nothing. */
export const TRANSITIONS: { readonly [P in Phase]: { readonly [K in Kind]?: Transition<Of<K>> } } = {
  out: { join: enter },
  parked: { resumed: enter, shown: enter, leave: forget },
  entering: { entered: queue, frozen: park, leave },
  queued: { granted: take, heard: hear, posted: watch, timer: ask, shown: ask, frozen: park, leave },
  taking: { granted: retake, stolen: lose, taken: lead, heard: hear, frozen: park, leave },
  leading: { granted: retake, stolen: lose, heard: yieldTo, frozen: park, leave },
};

/** Applies an input to a state. */
export function step(state: Election, input: Input, at: At): Step {
  const { i } = input;
  const next = { ...state };
  if (i === "shown" || i === "hidden") next.shown = i === "shown";
  const transition = TRANSITIONS[next.phase][i] as Transition | undefined;
  return [next, transition?.(next, input, at) ?? []];
}

function enter(next: Draft, input: Input): Output[] {
  // A tab that shares with nobody needs no lock.
  const alone = input.i === "join" && !input.shared;
  next.phase = alone ? "taking" : "entering";
  return [alone ? "take" : "enter"];
}

function queue(next: Draft, input: Input, at: At): Output[] {
  const outputs: Output[] = next.inQueue ? [] : ["queue"];
  next.phase = "queued";
  next.request = 0;
  next.inQueue = true;
  next.question = "none";
  return [...outputs, ...ask(next, input, at)];
}

function take(next: Draft, { request, steal }: Of<"granted">): Output[] {
  next.phase = "taking";
  next.request = request;
  // A request that steals does not remove the one in the queue.
  next.inQueue &&= steal;
  next.timer = null;
  return ["take"];
}

/** The lock was lost and granted again before the input `stolen` came. */
function retake(next: Draft, input: Of<"granted">): Output[] {
  return ["stepDown", ...take(next, input)];
}

function lead(next: Draft, { term }: Of<"taken">): Output[] {
  next.phase = "leading";
  next.term = term;
  next.trust = "fresh";
  return [];
}

/** Another tab stole the lock. This tab must stop, so that the writes of two leaders don't mix. */
function lose(next: Draft, input: Of<"stolen">, at: At): Output[] {
  return input.request === next.request ? ["stepDown", ...queue(next, input, at)] : [];
}

function yieldTo(next: Draft, input: Of<"heard">, at: At): Output[] {
  if (input.term <= next.term) return [];
  return ["stepDown", ...queue(next, input, at), ...hear(next, input)];
}

function hear(next: Draft, { term, fits }: Of<"heard">): Output[] {
  const outputs: Output[] = [];
  if (term < next.term) return outputs;
  if (term > next.term || next.trust !== "fresh") outputs.push("follow");
  next.term = term;
  next.trust = "fresh";
  next.question = "none";
  if (!fits && term > next.claimed && next.phase === "queued") {
    next.claimed = term;
    outputs.push("steal");
  }
  return outputs;
}

function watch(next: Draft, input: Input, at: At): Output[] {
  return next.timer === null ? ask(next, input, at) : [];
}

/**
 * Asks whether the leader is there, and steals its lock if it has been silent too long. Hidden tabs
 * ask only while ops wait, because their timers are throttled and nobody looks at them.
 */
function ask(next: Draft, { i }: Input, { now, pending, random }: At): Output[] {
  const outputs: Output[] = [];
  const due = next.timer ?? now;
  if (next.question === "none" || (next.shown && now > due + LATE)) {
    next.misses = 0;
  } else if (next.question === "stealing" && i === "timer") {
    next.misses = 0;
    outputs.push("steal");
  } else if (now >= due) {
    next.misses += 1;
  }
  if (next.misses > 0 && next.trust !== "suspected") {
    next.trust = "suspected";
    outputs.push("suspect");
  }
  if (next.misses >= MISSES) {
    next.question = "stealing";
    next.timer = now + random * SPREAD;
    return outputs;
  }
  const waits = next.shown || pending;
  next.question = waits ? "open" : "none";
  next.timer = waits ? now + ASK : null;
  return [...outputs, "ask"];
}

function leave(next: Draft): Output[] {
  next.phase = "out";
  next.request = 0;
  next.inQueue = false;
  next.trust = "behind";
  next.timer = null;
  return ["leave"];
}

/** A sleeping page must not hold a lock or wait in a queue. */
function park(next: Draft): Output[] {
  const outputs = leave(next);
  next.phase = "parked";
  return [...outputs, "park"];
}

function forget(next: Draft): Output[] {
  next.phase = "out";
  return [];
}
