// Which tab leads, decided by one tab for itself. A pure state machine: inputs and the time go in,
// the next state and what to do come out. `membership.ts` carries it out.

/** How often a follower asks whether the leader is there, and how long an answer may take: ms. */
export const ASK = 2000;
/** So many questions in a row without an answer show that the leader is frozen. */
export const MISSES = 2;
/** A timer of a visible tab that fires later than this shows that the tab itself was asleep: ms. */
export const LATE = 1000;
/** Followers spread their steals over this time, so that the first one is heard by the rest: ms. */
export const SPREAD = 300;

/**
 * Where a tab stands. `out`: it takes no part; `parked`: no part while the page sleeps; `entering`:
 * it waits for its own lock; `queued`: it follows, and waits for the leader's lock; `taking`: it
 * has the lock and reads the store; `leading`: it has the lock and the core.
 */
export type Phase = "out" | "parked" | "entering" | "queued" | "taking" | "leading";

/** All that a tab knows of the election. */
export interface Election {
  readonly phase: Phase;
  readonly shown: boolean;
  /** The term of the leader known last; 0 before the first. */
  readonly term: number;
  /** The lock request that was granted and not lost since; 0 if there is none. */
  readonly request: number;
  /** Whether a request of this tab waits in the lock's queue. */
  readonly inQueue: boolean;
  /**
   * What the leader's word is worth. `behind`: this tab took no part for a while, so it lacks what
   * the leader told the others; `suspected`: the leader has been silent too long.
   */
  readonly trust: "fresh" | "behind" | "suspected";
  /**
   * `open`: a question waits for its answer; `stealing`: so many did that the lock is stolen soon.
   */
  readonly question: "none" | "open" | "stealing";
  /** Questions in a row that got no answer. */
  readonly misses: number;
  /** When the one timer fires and an answer is due, ms; `null` if no timer runs. */
  readonly timer: number | null;
  /** The term of the last leader that this tab replaced because that core has no live tables. */
  readonly claimed: number;
}

/** What happens to a tab. */
export type Input =
  /** It wants to take part. `shared`: there may be other tabs. */
  | { readonly i: "join"; readonly shared: boolean }
  /** It has its own lock and hears the others. */
  | { readonly i: "entered" }
  /** A request for the leader's lock was granted; `steal`: one that did not queue. */
  | { readonly i: "granted"; readonly request: number; readonly steal: boolean }
  /** The lock that a request was granted was stolen. */
  | { readonly i: "stolen"; readonly request: number }
  /** The store was read, and this tab has a core. */
  | { readonly i: "taken"; readonly term: number }
  /** A leader says that it is there. `fits`: its core does for this tab. */
  | { readonly i: "heard"; readonly term: number; readonly fits: boolean }
  /** This tab has told the leader something, and expects it to be there. */
  | { readonly i: "posted" }
  /** The timer has fired. */
  | { readonly i: "timer" }
  /** The page's life. */
  | { readonly i: "shown" | "hidden" | "frozen" | "resumed" }
  /** It has no part in anything any more. */
  | { readonly i: "leave" };

/** What to do, in this order. */
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
  /** Tell the leader all that this tab wants. */
  | "follow"
  /** Say that what is shown may be old. */
  | "suspect"
  /** Give up the core. */
  | "stepDown"
  /** Say goodbye, give up the core, then give back all locks and leave their queues. */
  | "leave"
  /** Say that this tab sleeps. */
  | "park";

/** What a transition may look at beside the state. */
export interface At {
  /** Ms on a clock that never jumps. */
  readonly now: number;
  /** Whether ops of this tab wait for a leader. */
  readonly pending: boolean;
  /** A random number, at least 0 and below 1. */
  readonly random: number;
}

/** The next state, and what to do. */
export type Step = readonly [next: Election, outputs: readonly Output[]];

/** A tab before anything has happened. */
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
/** Changes the draft of the next state, and returns what to do. */
type Transition<I extends Input = Input> = (next: Draft, input: I, at: At) => Output[];

/** Every transition. An input that a phase does not list changes nothing there. */
export const TRANSITIONS: { readonly [P in Phase]: { readonly [K in Kind]?: Transition<Of<K>> } } = {
  out: { join: enter },
  parked: { resumed: enter, shown: enter, leave: forget },
  entering: { entered: queue, frozen: park, leave },
  queued: { granted: take, heard: hear, posted: watch, timer: ask, shown: ask, frozen: park, leave },
  taking: { granted: retake, stolen: lose, taken: lead, heard: hear, frozen: park, leave },
  leading: { granted: retake, stolen: lose, heard: yieldTo, frozen: park, leave },
};

/** What an input makes of a state. */
export function step(state: Election, input: Input, at: At): Step {
  const { i } = input;
  const next = { ...state };
  if (i === "shown" || i === "hidden") next.shown = i === "shown";
  const transition = TRANSITIONS[next.phase][i] as Transition | undefined;
  return [next, transition?.(next, input, at) ?? []];
}

function enter(next: Draft, input: Input): Output[] {
  // Where there is nobody to share with there is no lock either.
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
  // A request that steals leaves the one in the queue where it is.
  next.inQueue &&= steal;
  next.timer = null;
  return ["take"];
}

/** The lock was lost and granted again before anybody said that it was lost. */
function retake(next: Draft, input: Of<"granted">): Output[] {
  return ["stepDown", ...take(next, input)];
}

function lead(next: Draft, { term }: Of<"taken">): Output[] {
  next.phase = "leading";
  next.term = term;
  next.trust = "fresh";
  return [];
}

/** Another tab took the lock: what it writes must not be mixed with what this one still would. */
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
 * Asks whether the leader is there, and takes its place if it has been silent too long. Hidden tabs
 * ask only while they wait for something: their timers are held back, and nobody looks at them.
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

/** A page that sleeps must neither have a lock nor be waited for. */
function park(next: Draft): Output[] {
  const outputs = leave(next);
  next.phase = "parked";
  return [...outputs, "park"];
}

function forget(next: Draft): Output[] {
  next.phase = "out";
  return [];
}
