import type { Command, CoreEvent, Driver, RowChange, TableEvent, WireRow } from "./driver.ts";
import { monotonic } from "./driver.ts";
import type { Hint } from "./lifecycle.ts";
import { watchLifecycle } from "./lifecycle.ts";
import { report } from "./store.ts";
import type { Report } from "./types.ts";
import { TidewireError } from "./types.ts";

/** The version of what tabs say to each other: a page of another release has another one, and shares nothing with this. */
const VERSION = 2;
/** What the channels of dialogs begin with. */
export const CHANNEL = "dialog:";
/** How often a visible follower asks whether the leader is there, and how long an answer may take: ms. */
const ASK = 2000;
/** So many questions in a row without an answer show that the leader is frozen. */
const MISSES = 2;
/** A timer that fires later than this shows that this tab itself did not run: ms. */
const LATE = 1000;
/** Most time that a new tab waits for the first word of its leader, ms. */
const PATIENCE = 1000;
/** Most ids of discarded ops that are remembered. */
const DISCARDED = 1000;

/** An op with its id, checked by the core: the command that sends it, here or in the tab that leads. */
export type Draft = Command & { readonly c: "send"; readonly id: string; readonly channel: string };

/** What a tab wants and how it stands. */
export interface TabState {
  readonly connect: boolean;
  readonly dialogs: readonly string[];
  readonly shown: boolean;
  readonly online: boolean;
}

type Message = { readonly from: string } & (
  | { readonly t: "ask" }
  /** `full`: the leader's core has all that cores may have. */
  | { readonly t: "lead"; readonly term: number; readonly life: string; readonly full: boolean }
  /** All that the leader must know of a tab, commands to carry out, and the dialogs whose rows it lacks; `null`: it lacks nothing. */
  | {
      readonly t: "tab";
      readonly term: number;
      readonly tab: TabState;
      readonly run: Command[];
      readonly lacks: string[] | null;
    }
  | { readonly t: "ran"; readonly term: number; readonly to: string; readonly key: string; readonly error?: Refusal }
  | { readonly t: "told"; readonly term: number; readonly to?: string; readonly list: CoreEvent[]; readonly report?: Report }
  /** A passenger's word: to one of another tab, or to the leader's. */
  | { readonly t: "along"; readonly term: number; readonly to: string | undefined; readonly word: unknown }
  | { readonly t: "bye" | "logout" }
);

interface Refusal {
  readonly code: string;
  readonly retryable: boolean;
}

/** A core that has the store to itself. */
export interface Leadership {
  readonly driver: Driver;
  /** Counts leaders: a higher one ends a lower one. */
  readonly term: number;
  /** Names the store's content from one logout to the next. */
  readonly life: string;
  readonly failure: string | null;
}

/** What needs the core that all tabs share beside the chat; its code is loaded by tabs that want it. */
export interface Passenger {
  /** There is a leader, here or elsewhere, that knows nothing of what this tab wants. */
  begin(): void;
  /** There is none, or what it told may be old. If it was here, its core answers for the last time. */
  pause(): void;
  /** The leader's core, here, tells this. */
  told(event: TableEvent): void;
  /** Another tab's passenger says this. */
  heard(from: string, word: unknown): void;
  /** A tab of this leader's is gone. */
  gone(tab: string): void;
  /** The user was logged out (`logged_out`), or this tab is of no more use (`closed`). */
  end(code: string): void;
}

/** What a passenger has of the tabs. */
export interface Seat {
  /** Whether the core that all share is here. */
  leads(): boolean;
  /** Carries out a command by the core that is here: see {@link Driver.command}. */
  command(command: Command, accepted?: (answer: unknown) => void): void;
  /** Says something to the passenger of a tab, or of the leader. */
  post(to: string | undefined, word: unknown): void;
}

/** What tabs need of their client. */
export interface TabsHost {
  wants(): Pick<TabState, "connect" | "dialogs">;
  event(event: CoreEvent): void;
  /** The leader did not take an op. */
  refused(id: string, error: Refusal): void;
  /** This user was logged out; everything of theirs goes. */
  wiped(): void;
  /** Takes the store, as the leader after the one of the term `known`, and starts a core with it. */
  take(known: number, event: (event: CoreEvent) => void): Promise<Leadership>;
  /** A core without a store that never connects: for checks and ids. */
  idle(): Driver;
}

/**
 * One of the tabs that share a core: the leader has it, the followers forward commands to it and hear its events. Every tab asks for one Web
 * Lock, so that the next one leads when the leader is gone; a leader that froze while it held the lock is told by its silence.
 * Without a scope there is nobody to share with, and this tab leads from the start.
 */
export class Tabs {
  readonly #scope: string | null;
  readonly #host: TabsHost;
  readonly #unwatch: () => void;
  readonly #passenger: Passenger | undefined;
  #id = "";
  #driver: Driver;
  #leading = false;
  #joined = false;
  /** Left only because the page sleeps. */
  #parked = false;
  /** The leader known last. */
  #term = 0;
  #life = "";
  #shown = true;
  #online = true;
  /** Commands that are not settled, in their order: the next leader gets them again. */
  readonly #kept = new Map<string, Command>();
  readonly #discarded = new Set<string>();
  #channel: BroadcastChannel | undefined;
  /** Ends what this membership asked of the browser: queued locks, its own lock. */
  #leaving = new AbortController();
  /** Names the lock request that was granted. */
  #turn: object | undefined;

  // A follower's.
  #timer: ReturnType<typeof setTimeout> | undefined;
  #due = 0;
  #asked = false;
  #heard = false;
  #misses = 0;
  /** The leader was silent so long that what it told may be old. */
  #doubtful = false;
  /** This tab took no part for a while, so the leader it knows may have told others what it lacks. */
  #behind = false;
  /** Dialogs whose rows this leader has told; changes of others would lack their beginning. */
  readonly #told = new Set<string>();
  #report: Report | undefined;
  /** The last leader that this tab took the place of, because it could not serve it. */
  #claimed = 0;
  /** Lets `join` go on, or fail. */
  #settled: ((error?: unknown) => void) | undefined;

  // The leader's.
  readonly #members = new Map<string, { tab: TabState; gone: AbortController }>();
  readonly #open = new Set<string>();
  /** The last event of each kind: what a new follower has missed. */
  readonly #last = new Map<string, CoreEvent>();
  #statusAt = 0;
  #wanted = false;
  #anyShown = true;
  #network = true;

  constructor(scope: string | null, host: TabsHost, board?: (seat: Seat) => Passenger) {
    this.#scope = scope;
    this.#host = host;
    this.#driver = host.idle();
    this.#passenger = board?.({
      leads: () => this.#leading,
      command: (command, accepted) => this.#driver.command(command, accepted),
      post: (to, word) => this.#post({ t: "along", term: this.#term, to, word }),
    });
    this.#unwatch = watchLifecycle((hint) => this.#hint(hint));
  }

  /** How this tab takes part. */
  get role(): Report["tab"] {
    if (this.#scope === null) return "alone";
    return this.#leading ? "leader" : "follower";
  }

  /** Takes part: resolves once this tab leads or has heard of the leader, or has waited long enough. */
  async join(): Promise<void> {
    if (this.#joined) return;
    this.#joined = true;
    this.#parked = false;
    if (this.#scope === null) return this.#lead({});
    this.#id = crypto.randomUUID();
    const leaving = new AbortController();
    this.#leaving = leaving;
    const left = new Promise<void>((resolve) => leaving.signal.addEventListener("abort", () => resolve()));
    // Held before the first word and for as long as this tab takes part, so that the leader hears of its end.
    await new Promise<void>((held, refused) => {
      const granted = () => {
        held();
        return left;
      };
      navigator.locks.request(this.#lockOf(this.#id), granted).catch(refused);
    });
    if (leaving.signal.aborted) return;
    const channel = new BroadcastChannel(`tidewire/${VERSION}/${this.#scope}`);
    channel.onmessage = ({ data }: MessageEvent<Message>) => this.#hear(data);
    this.#channel = channel;
    const settled = new Promise<void>((resolve, reject) => {
      this.#settled = (error) => (error === undefined ? resolve() : reject(error));
      setTimeout(resolve, PATIENCE);
    });
    this.#queue();
    await settled;
  }

  /** Has no part in anything any more. */
  dispose(): void {
    this.#unwatch();
    this.#leave();
    this.#passenger?.end("closed");
    this.#driver.dispose();
  }

  /** Checks an op and gives it its id. Throws what the core refuses. */
  draft(command: Command): Draft {
    return this.#carryOut(command) as Draft;
  }

  /** Sends an op. Throws what the core refuses, if the core is here; else the host hears of it. */
  send(draft: Draft): void {
    this.#kept.set(draft.id, draft);
    if (!this.#leading) {
      this.#tell([draft]);
      return;
    }
    try {
      this.#carryOut(draft);
    } catch (error) {
      this.#kept.delete(draft.id);
      throw error;
    }
  }

  /** Retries or discards an op. `likely` is the answer where the core is in another tab. */
  decide(command: Command & { readonly op: string }, likely: boolean): boolean {
    if (this.#leading) return this.#carryOut(command) === true;
    if (likely) {
      this.#kept.set(keyOf(command), command);
      this.#tell([command]);
    }
    return likely;
  }

  /** Carries out what is of the moment: what the leader does not hear is lost. Throws what the core refuses. */
  run(command: Command): void {
    // The core here checks it, and forgets it soon.
    this.#carryOut(command);
    if (!this.#leading) this.#tell([command]);
  }

  /** Opens a dialog that the host wants from now on; its rows follow. Throws what the core refuses. */
  open(dialog: string): void {
    if (this.#leading && this.#open.has(dialog)) {
      // Open already, for another tab: the core counts this user's tabs as one, and nothing follows by itself.
      for (const event of this.#snapshot([dialog])) this.#host.event(event);
      return;
    }
    this.#carryOut({ c: "open_dialog", dialog });
    if (this.#leading) this.#open.add(dialog);
    else this.#tell([], [dialog]);
  }

  /** Closes a dialog that the host wants no longer. */
  close(dialog: string): void {
    // A core that is gone has nothing open.
    if (!this.#driver.isUsable) return;
    if (!this.#leading) {
      this.#carryOut({ c: "close_dialog", dialog });
      this.#told.delete(dialog);
    }
    this.changed();
  }

  /** The host wants to be connected, now. */
  connect(): void {
    if (!this.#driver.isUsable) throw new TidewireError("closed", "this client is of no more use; reload the page", false);
    if (!this.#joined && !this.#parked) this.join().catch(report);
    if (this.#leading) {
      this.#combine();
      this.#carryOut({ c: "connect" });
    } else {
      this.#tell([{ c: "connect" }]);
    }
  }

  /** The host wants something else than before. */
  changed(): void {
    if (this.#leading) this.#combine();
    else this.#tell([]);
  }

  /** What happened lately: in a follower, as the leader told it last; asking brings the next. */
  explain(): Report {
    if (!this.#leading) this.#tell([{ c: "explain" }]);
    const known = this.#leading ? undefined : this.#report;
    return { ...(known ?? (this.#carryOut({ c: "explain" }) as Report)), tab: this.role };
  }

  /** Ends every tab of this user, this one first; `erase` gets the term from which on the store is nobody's. */
  async logout(erase: (known: number) => Promise<void>): Promise<void> {
    this.#post({ t: "logout" });
    this.#wiped();
    await erase(this.#term);
  }

  // Membership.

  #leave(): void {
    if (!this.#joined) return;
    this.#joined = false;
    this.#post({ t: "bye" });
    this.#channel?.close();
    this.#channel = undefined;
    clearTimeout(this.#timer);
    this.#behind = true;
    this.#told.clear();
    // What the core would store a little later must not go with it.
    if (this.#leading) this.#driver.hint({ t: "lifecycle", state: "hidden" });
    this.#stepDown();
    // Last of all, so that the next leader finds what this one wrote.
    this.#leaving.abort();
  }

  #queue(): void {
    this.#asked = false;
    this.#misses = 0;
    this.#request({ signal: this.#leaving.signal });
    this.#tick();
  }

  #request(options: LockOptions): void {
    const turn = {};
    const leaving = this.#leaving.signal;
    const granted = async (): Promise<void> => {
      if (leaving.aborted) return;
      const left = new Promise((resolve) => leaving.addEventListener("abort", resolve));
      await this.#lead(turn).catch((error: unknown) => {
        // What is stored can't be read: leading again would not help.
        this.#leave();
        this.#settled?.(error);
        this.#host.event({ t: "status", state: "failed", attempt: 0, cause: "bad_config", waiting: this.#kept.size });
      });
      await left;
    };
    // It fails when the lock is stolen, or when this tab leaves the queue.
    navigator.locks.request(this.#lockOf("leader"), options, granted).catch(() => {
      if (this.#turn === turn && !leaving.aborted) this.#lost();
    });
  }

  /** Another tab took the lock away: what it wrote since must not be mixed with what this one still would. */
  #lost(): void {
    this.#stepDown();
    this.#queue();
  }

  #stepDown(): void {
    this.#passenger?.pause();
    this.#turn = undefined;
    for (const { gone } of this.#members.values()) gone.abort();
    this.#members.clear();
    if (!this.#leading) return;
    this.#leading = false;
    // Where the core crashed none can be made again: what is called after that says so.
    if (!this.#driver.isUsable) return;
    this.#driver.dispose();
    this.#driver = this.#host.idle();
    for (const dialog of this.#host.wants().dialogs) this.#carryOut({ c: "open_dialog", dialog });
  }

  async #lead(turn: object): Promise<void> {
    this.#turn = turn;
    const taken = await this.#host.take(this.#term, (event) => this.#happened(event));
    // While the store was read the lock may have been stolen, or this tab may have left.
    if (this.#turn !== turn || !this.#joined) return taken.driver.dispose();
    this.#driver.dispose();
    this.#driver = taken.driver;
    this.#leading = true;
    this.#doubtful = false;
    this.#term = taken.term;
    this.#open.clear();
    this.#last.clear();
    this.#wanted = false;
    this.#anyShown = true;
    this.#network = true;
    clearTimeout(this.#timer);
    if (!this.#isSameLife(taken.life)) return this.#wiped();
    this.#happened({ t: "storage", ...(taken.failure === null ? {} : { code: taken.failure }) });
    this.#combine();
    this.#listen(this.#online, undefined);
    for (const command of this.#kept.values()) this.#runFor(this.#id, command);
    this.#passenger?.begin();
    this.#announce();
    this.#settled?.();
  }

  /** False if the user was logged out meanwhile, without this tab hearing of it. A store that can't be read says nothing. */
  #isSameLife(life: string): boolean {
    const before = this.#life;
    if (life !== "") this.#life = life;
    return before === "" || before === this.#life;
  }

  #wiped(): void {
    this.#leave();
    this.#life = "";
    this.#kept.clear();
    this.#report = undefined;
    this.#passenger?.end("logged_out");
    this.#host.wiped();
  }

  #hint(hint: Hint): void {
    switch (hint.state) {
      // A page that sleeps must neither hold the lock nor be waited for.
      case "frozen":
        if (this.#scope === null) {
          this.#driver.hint(hint);
        } else if (this.#joined) {
          this.#leave();
          this.#parked = true;
          this.#host.event({ t: "status", state: "parked", attempt: 0, waiting: this.#kept.size });
        }
        break;
      case "resumed":
        if (this.#scope === null) this.#driver.hint(hint);
        else if (this.#parked) this.join().catch(report);
        break;
      case "shown":
      case "hidden":
        this.#shown = hint.state === "shown";
        // What is looked at does not sleep, whatever the browser said before.
        if (this.#shown && this.#parked) this.join().catch(report);
        this.changed();
        this.#tick();
        break;
      case "online":
      case "offline": {
        const before = this.#online;
        this.#online = hint.state === "online";
        if (this.#leading) this.#listen(this.#online, before);
        else this.changed();
        break;
      }
      case "changed":
        if (this.#leading) this.#driver.hint(hint);
    }
  }

  // Both sides.

  #hear(message: Message): void {
    switch (message.t) {
      case "ask":
        if (!this.#leading) break;
        // By way of a timer: a frozen page may still get messages, while its timers and sockets stand still.
        setTimeout(() => this.#announce());
        // A hidden leader's timers are late, the questions of visible tabs are not.
        this.#driver.wake();
        break;
      case "lead":
        if (message.term < this.#term || (this.#leading && message.term === this.#term)) break;
        if (this.#leading) this.#lost();
        this.#heard = true;
        if (message.term > this.#term || this.#doubtful || this.#behind) this.#follow(message.term, message.life);
        // It has no core for this tab, which has one for all.
        if (this.#passenger !== undefined && !message.full && message.term > this.#claimed) {
          this.#claimed = message.term;
          this.#request({ steal: true });
        }
        break;
      case "tab":
        if (this.#leading && message.term === this.#term) this.#hearTab(message);
        break;
      case "ran":
        if (this.#leading || message.term !== this.#term) break;
        if (message.to === this.#id) this.#ran(message.key, message.error);
        break;
      case "told":
        if (this.#leading || message.term !== this.#term) break;
        if (message.to === undefined || message.to === this.#id) this.#hearTold(message);
        break;
      case "along":
        if (message.term === this.#term && (this.#leading ? message.to === undefined : message.to === this.#id)) {
          this.#passenger?.heard(message.from, message.word);
        }
        break;
      case "bye":
        this.#forget(message.from);
        break;
      case "logout":
        this.#wiped();
        break;
    }
  }

  #post(message: WithoutFrom<Message>): void {
    this.#channel?.postMessage({ from: this.#id, ...message });
  }

  #carryOut(command: Command): unknown {
    let answer: unknown;
    this.#driver.command(command, (given) => {
      answer = given;
    });
    return answer;
  }

  #apply(event: CoreEvent): void {
    if (event.t === "op" && event.state !== "queued" && event.state !== "sending") {
      this.#kept.delete(event.id);
      if (event.state === "discarded") {
        const [oldest] = this.#discarded;
        if (this.#discarded.size >= DISCARDED && oldest !== undefined) this.#discarded.delete(oldest);
        this.#discarded.add(event.id);
      }
    }
    this.#host.event(event);
  }

  #lockOf(what: string): string {
    return `tidewire/${VERSION}/${this.#scope}/${what}`;
  }

  get #state(): TabState {
    return { ...this.#host.wants(), shown: this.#shown, online: this.#online };
  }

  // The follower.

  #tell(run: Command[], lacks: string[] | null = null): void {
    this.#post({ t: "tab", term: this.#term, tab: this.#state, run, lacks });
    // A hidden tab asks for the leader only while it waits for something.
    if (this.#timer === undefined) this.#tick();
  }

  #follow(term: number, life: string): void {
    if (!this.#isSameLife(life)) {
      this.#wiped();
      return;
    }
    this.#term = term;
    this.#doubtful = false;
    this.#behind = false;
    this.#told.clear();
    this.#tell([...this.#kept.values()], [...this.#host.wants().dialogs]);
    this.#passenger?.begin();
  }

  #hearTold({ list, to, report: told }: Extract<Message, { t: "told" }>): void {
    if (told !== undefined) this.#report = told;
    for (const event of list) {
      if (event.t === "dialog") {
        if (to !== undefined) this.#told.add(event.dialog);
        else if (!this.#told.has(event.dialog)) continue;
      }
      this.#apply(event);
    }
    if (to !== undefined) this.#settled?.();
  }

  #ran(key: string, error: Refusal | undefined): void {
    const command = this.#kept.get(key);
    if (command === undefined || (command.c === "send" && error === undefined)) return;
    this.#kept.delete(key);
    if (command.c === "send" && error !== undefined) this.#host.refused(key, error);
  }

  /**
   * Asks whether the leader is there, and takes its place if it has been silent too long. Only visible tabs do so by themselves: the timers
   * of hidden ones are held back, and nobody looks at them.
   */
  readonly #tick = (): void => {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#turn !== undefined || this.#channel === undefined) return;
    const now = monotonic();
    const slept = this.#shown && now > this.#due + LATE;
    if (!this.#asked || this.#heard || slept) this.#misses = 0;
    else if (now >= this.#due) this.#misses += 1;
    if (this.#misses > 0 && !this.#doubtful) this.#doubt();
    if (this.#misses >= MISSES) {
      this.#steal();
      return;
    }
    this.#post({ t: "ask" });
    this.#asked = true;
    this.#heard = false;
    this.#due = now + ASK;
    if (this.#shown || this.#kept.size > 0) this.#timer = setTimeout(this.#tick, ASK);
    else this.#asked = false;
  };

  /** Nobody knows whether what is shown is still so: that must be seen. */
  #doubt(): void {
    this.#doubtful = true;
    this.#passenger?.pause();
    const { connect, dialogs } = this.#host.wants();
    if (connect)
      this.#host.event({ t: "status", state: "reconnecting", attempt: 0, cause: "leader_silent", waiting: this.#kept.size });
    for (const dialog of dialogs) this.#host.event({ t: "channel", channel: channelOf(dialog), state: "syncing" });
  }

  #steal(): void {
    // Not all at once: the first one speaks, and the others hear it.
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      if (this.#heard || this.#turn !== undefined || this.#channel === undefined) return this.#tick();
      this.#request({ steal: true });
      this.#asked = false;
      this.#tick();
    }, Math.random() * 300);
  }

  // The leader.

  /** What the core tells, handed to every tab. */
  #happened(event: CoreEvent): void {
    if (this.#leading && !this.#driver.isUsable) {
      // Another tab may fare better with what is stored.
      this.#leave();
      this.#host.event(event);
      return;
    }
    const { t } = event;
    if (t === "table") {
      this.#passenger?.told(event);
      return;
    }
    if (t === "channel") this.#last.set(event.channel, event);
    else if (t === "status" || t === "user" || t === "storage") this.#last.set(t, event);
    if (t === "status") this.#statusAt = monotonic();
    if (this.#members.size > 0) this.#post({ t: "told", term: this.#term, list: [event] });
    this.#apply(event);
  }

  #announce(): void {
    if (this.#leading) this.#post({ t: "lead", term: this.#term, life: this.#life, full: this.#passenger !== undefined });
  }

  #hearTab({ from, tab, run, lacks }: Extract<Message, { t: "tab" }>): void {
    const known = this.#members.get(from);
    const gone = known?.gone ?? this.#watch(from);
    this.#members.set(from, { tab, gone });
    this.#combine();
    this.#listen(tab.online, known?.tab.online);
    for (const command of run) this.#runFor(from, command);
    if (lacks === null) return;
    const general = ["status", "user", "storage"].flatMap((kind) => this.#last.get(kind) ?? []);
    const list = [...general.map((event) => this.#asOfNow(event)), ...this.#snapshot(lacks)];
    this.#post({ t: "told", term: this.#term, to: from, list, report: this.#carryOut({ c: "explain" }) as Report });
  }

  /** A pause between attempts is shorter by now than when it began. */
  #asOfNow(event: CoreEvent): CoreEvent {
    if (event.t !== "status" || event.retry_in_ms === undefined) return event;
    return { ...event, retry_in_ms: Math.max(event.retry_in_ms - (monotonic() - this.#statusAt), 0) };
  }

  /** Hears of a tab's end, however it ends. */
  #watch(tab: string): AbortController {
    const gone = new AbortController();
    const granted = () => this.#forget(tab);
    navigator.locks.request(this.#lockOf(tab), { signal: gone.signal }, granted).catch(() => {});
    return gone;
  }

  #forget(tab: string): void {
    this.#members.get(tab)?.gone.abort();
    this.#passenger?.gone(tab);
    if (this.#members.delete(tab)) this.#combine();
  }

  #runFor(tab: string, command: Command): void {
    const key = keyOf(command);
    if (command.c === "send" && this.#discarded.has(key)) {
      this.#happened({ t: "op", id: key, channel: String(command["channel"]), state: "discarded" });
      return;
    }
    let refusal: Refusal | undefined;
    try {
      const answer = this.#carryOut(command);
      if (command.c === "explain") {
        this.#post({ t: "told", term: this.#term, to: tab, list: [], report: answer as Report });
      }
    } catch (error) {
      const { code, retryable } = error instanceof TidewireError ? error : { code: "internal", retryable: false };
      refusal = { code, retryable };
    }
    if (tab === this.#id) this.#ran(key, refusal);
    else this.#post({ t: "ran", term: this.#term, to: tab, key, ...(refusal === undefined ? {} : { error: refusal }) });
  }

  /** Wants what any tab wants: dialogs, the connection, to be seen. */
  #combine(): void {
    const tabs = [this.#state, ...[...this.#members.values()].map((member) => member.tab)];
    const dialogs = new Set(tabs.flatMap((tab) => tab.dialogs));
    for (const dialog of this.#open) {
      if (dialogs.has(dialog)) continue;
      this.#open.delete(dialog);
      this.#last.delete(channelOf(dialog));
      this.#carryOut({ c: "close_dialog", dialog });
    }
    for (const dialog of dialogs) {
      if (!this.#open.has(dialog)) this.#openFor(dialog);
    }
    const wanted = tabs.some((tab) => tab.connect);
    if (wanted !== this.#wanted) {
      this.#wanted = wanted;
      this.#carryOut({ c: wanted ? "connect" : "close" });
    }
    const shown = tabs.some((tab) => tab.shown);
    if (shown !== this.#anyShown) {
      this.#anyShown = shown;
      this.#driver.hint({ t: "lifecycle", state: shown ? "shown" : "hidden" });
    }
  }

  #openFor(dialog: string): void {
    try {
      this.#carryOut({ c: "open_dialog", dialog });
      this.#open.add(dialog);
    } catch (error) {
      // All tabs together have more dialogs than a client may have.
      const { code, message } = error as TidewireError;
      const channel = channelOf(dialog);
      if (this.#last.get(channel) === undefined) this.#happened({ t: "channel", channel, state: "failed", code, message });
    }
  }

  /** What a tab says about the network counts when it changes: every tab hears the same of the system. */
  #listen(online: boolean, before: boolean | undefined): void {
    if (online === before || online === this.#network) return;
    this.#network = online;
    this.#driver.hint({ t: "network", state: online ? "online" : "offline" });
  }

  /** Rows and state of dialogs as events: every event before is in them, every one after is not. */
  #snapshot(dialogs: readonly string[]): CoreEvent[] {
    return dialogs.flatMap((dialog) => {
      const rows = this.#carryOut({ c: "rows", dialog }) as WireRow[];
      const changes: RowChange[] = [{ t: "reset", rows }];
      return [{ t: "dialog" as const, dialog, changes }, this.#last.get(channelOf(dialog)) ?? []].flat();
    });
  }
}

type WithoutFrom<T> = T extends unknown ? Omit<T, "from"> : never;

/** An op's id, or what makes a command the same as another. */
function keyOf(command: Command): string {
  return String(command["id"] ?? `${command.c} ${command["op"] ?? ""}`);
}

function channelOf(dialog: string): string {
  return CHANNEL + dialog;
}

/** Whether the browser has what tabs need, and lets this page use it. */
export async function canShare(): Promise<boolean> {
  try {
    new BroadcastChannel("tidewire").close();
    await navigator.locks.query();
    return true;
  } catch {
    return false;
  }
}
