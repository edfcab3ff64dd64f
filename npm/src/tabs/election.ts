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
 * it waits for its own lock; `queued`: it follows, and waits for the leader's lock; `taking`: it has
 * the lock and reads the store; `leading`: it has the lock and the core.
 */
export type Place = "out" | "parked" | "entering" | "queued" | "taking" | "leading";

/** All that a tab knows of the election. */
export interface Election {
  readonly place: Place;
  readonly shown: boolean;
  /** The term of the leader known last; 0 before the first. */
  readonly term: number;
  /** The lock request that was granted and not lost since; 0 if there is none. */
  readonly turn: number;
  /** Whether a request of this tab waits in the lock's queue. */
  readonly inQueue: boolean;
  /**
   * What the leader's word is worth. `behind`: this tab took no part for a while, so it lacks what
   * the leader told the others; `doubtful`: the leader has been silent too long.
   */
  readonly trust: "fresh" | "behind" | "doubtful";
  /** `open`: a question waits for its answer; `stealing`: so many did that the lock is stolen soon. */
  readonly question: "none" | "open" | "stealing";
  /** Questions in a row that got no answer. */
  readonly misses: number;
  /** When the answer to the last question is due, ms. */
  readonly due: number;
  /** When the one timer fires, ms; `null` if none runs. */
  readonly timer: number | null;
  /** The term of the last leader whose place was claimed because its core does not do for this tab. */
  readonly claimed: number;
}

/** What happens to a tab. */
export type Input =
  /** It wants to take part. `shared`: there may be other tabs. */
  | { readonly i: "join"; readonly shared: boolean }
  /** It has its own lock and hears the others. */
  | { readonly i: "entered" }
  /** A request for the leader's lock was granted; `steal`: one that did not queue. */
  | { readonly i: "granted"; readonly turn: number; readonly steal: boolean }
  /** The lock that a request was granted was stolen. */
  | { readonly i: "stolen"; readonly turn: number }
  /** The store was read, and this tab has a core. */
  | { readonly i: "taken"; readonly term: number }
  /** A leader says that it is there. `fits`: its core does for this tab. */
  | { readonly i: "heard"; readonly term: number; readonly fits: boolean }
  /** This tab has told the leader something, and expects it to be there. */
  | { readonly i: "told" }
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
  | "doubt"
  /** Give up the core. */
  | "stepDown"
  /** Say goodbye, and hear nothing more. */
  | "part"
  /** Give back all locks, and leave their queues. */
  | "release"
  /** Say that this tab sleeps. */
  | "park";

/** What a transition may look at beside the state. */
export interface At {
  /** Ms on a clock that never jumps. */
  readonly now: number;
  /** Whether ops of this tab wait for a leader. */
  readonly pending: boolean;
  /** A random number, at least 0 and below 1. */
  readonly luck: number;
}

/** The next state, and what to do. */
export type Step = readonly [next: Election, outputs: readonly Output[]];

/** A tab before anything has happened. */
export const OUT: Election = {
  place: "out",
  shown: true,
  term: 0,
  turn: 0,
  inQueue: false,
  trust: "fresh",
  question: "none",
  misses: 0,
  due: 0,
  timer: null,
  claimed: 0,
};

type Kind = Input["i"];
type Of<K extends Kind> = Extract<Input, { readonly i: K }>;
type Transitions = { readonly [K in Kind]?: (state: Election, input: Of<K>, at: At) => Step };

/** Every transition. An input that a place does not list changes nothing there. */
export const TRANSITIONS: { readonly [P in Place]: Transitions } = {
  out: { join: enter },
  parked: { resumed: enter, shown: enter, leave: (state) => [{ ...state, place: "out" }, []] },
  entering: { entered: queue, frozen: park, leave },
  queued: { granted: take, heard: hear, told: watch, timer: ask, shown: ask, frozen: park, leave },
  taking: { granted: retake, stolen: lose, taken: lead, heard: hear, frozen: park, leave },
  leading: { granted: retake, stolen: lose, heard: yieldTo, frozen: park, leave },
};

/** What an input makes of a state. */
export function step(before: Election, input: Input, at: At): Step {
  const { i } = input;
  const state = i === "shown" || i === "hidden" ? { ...before, shown: i === "shown" } : before;
  const transition = TRANSITIONS[state.place][i] as ((state: Election, input: Input, at: At) => Step) | undefined;
  return transition?.(state, input, at) ?? [state, []];
}

function enter(state: Election, input: Input): Step {
  // Where there is nobody to share with there is no lock either.
  const alone = input.i === "join" && !input.shared;
  return alone ? [{ ...state, place: "taking" }, ["take"]] : [{ ...state, place: "entering" }, ["enter"]];
}

function queue(state: Election, _: Input, at: At): Step {
  const queued: Election = { ...state, place: "queued", turn: 0, inQueue: true, question: "none" };
  return then(ask(queued, _, at), state.inQueue ? [] : ["queue"]);
}

function take(state: Election, { turn, steal }: Of<"granted">): Step {
  return [{ ...state, place: "taking", turn, inQueue: steal && state.inQueue, timer: null }, ["take"]];
}

/** The lock was lost and granted again before anybody said that it was lost. */
function retake(state: Election, input: Of<"granted">): Step {
  return then(take(state, input), ["stepDown"]);
}

function lead(state: Election, { term }: Of<"taken">): Step {
  return [{ ...state, place: "leading", term, trust: "fresh", question: "none" }, []];
}

/** Another tab took the lock: what it writes must not be mixed with what this one still would. */
function lose(state: Election, input: Of<"stolen">, at: At): Step {
  return input.turn === state.turn ? then(queue(state, input, at), ["stepDown"]) : [state, []];
}

function yieldTo(state: Election, input: Of<"heard">, at: At): Step {
  if (input.term <= state.term) return [state, []];
  const [queued, outputs] = queue(state, input, at);
  return then(hear(queued, input), ["stepDown", ...outputs]);
}

function hear(state: Election, { term, fits }: Of<"heard">): Step {
  if (term < state.term) return [state, []];
  const follows = term > state.term || state.trust !== "fresh";
  const claims = !fits && term > state.claimed && state.place === "queued";
  return [
    { ...state, term, trust: "fresh", question: "none", claimed: claims ? term : state.claimed },
    [...(follows ? ["follow" as const] : []), ...(claims ? ["steal" as const] : [])],
  ];
}

function watch(state: Election, input: Of<"told">, at: At): Step {
  return state.timer === null ? ask(state, input, at) : [state, []];
}

/**
 * Asks whether the leader is there, and takes its place if it has been silent too long. Hidden tabs
 * ask only while they wait for something: their timers are held back, and nobody looks at them.
 */
function ask(state: Election, { i }: Input, { now, pending, luck }: At): Step {
  const slept = state.shown && now > state.due + LATE;
  const open = state.question !== "none" && !slept;
  const steals = open && state.question === "stealing" && i === "timer";
  const misses = open && !steals ? state.misses + (now >= state.due ? 1 : 0) : 0;
  const silent = misses > 0;
  const next: Election = { ...state, misses, trust: silent ? "doubtful" : state.trust };
  const doubts: Output[] = silent && state.trust !== "doubtful" ? ["doubt"] : [];
  if (misses >= MISSES) return [{ ...next, question: "stealing", timer: now + luck * SPREAD }, doubts];
  const due = now + ASK;
  const asked: Election =
    state.shown || pending
      ? { ...next, due, question: "open", timer: due }
      : { ...next, due, question: "none", timer: null };
  return [asked, [...(steals ? ["steal" as const] : []), ...doubts, "ask"]];
}

function leave(state: Election): Step {
  return [
    { ...state, place: "out", turn: 0, inQueue: false, trust: "behind", question: "none", timer: null },
    ["part", "stepDown", "release"],
  ];
}

/** A page that sleeps must neither have a lock nor be waited for. */
function park(state: Election): Step {
  const [left, outputs] = leave(state);
  return [{ ...left, place: "parked" }, [...outputs, "park"]];
}

function then([state, outputs]: Step, first: readonly Output[]): Step {
  return [state, [...first, ...outputs]];
}
