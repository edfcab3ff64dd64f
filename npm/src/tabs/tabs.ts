import type { Command, CoreEvent, Draft } from "../core.ts";
import type { Driver } from "../driver.ts";
import type { Hint } from "../lifecycle.ts";
import { watchLifecycle } from "../lifecycle.ts";
import { withResolvers } from "../resolvers.ts";
import { report } from "../store.ts";
import type { Outgoing, Report } from "../types.ts";
import { TidewireError } from "../types.ts";
import type { TabExtension, TabPort } from "./extension.ts";
import { Follower } from "./follower.ts";
import type { Leadership } from "./leader.ts";
import { Leader } from "./leader.ts";
import { Membership } from "./membership.ts";
import type { Message, Refusal, TabState } from "./messages.ts";
import { Pending } from "./pending.ts";
import type { Tab } from "./tab.ts";

/** Most time that a new tab waits for the first word of its leader, ms. */
const PATIENCE = 1000;

/** What tabs need of their client. */
export interface TabsHost {
  wants(): Pick<TabState, "connect" | "dialogs">;
  event(event: CoreEvent): void;
  /** The leader did not take an op. */
  refused(id: string, error: Refusal): void;
  /** This user was logged out; everything of theirs goes. */
  wiped(): void;
  /**
   * Takes the store, as the leader after the one of the term `known`, and starts a core with it.
   */
  take(known: number, event: (event: CoreEvent) => void): Promise<Leadership>;
  /** A core without a store that never connects: for checks and ids. */
  idle(): Driver;
}

/**
 * One of the tabs that share a core: the leader has it, the followers forward commands to it and
 * hear its events. Without a scope there is nobody to share with, and this tab leads from the
 * start.
 */
export class Tabs {
  /** What this tab sent and is not settled. */
  readonly pending = new Pending();
  readonly #scope: string | null;
  readonly #host: TabsHost;
  readonly #membership: Membership;
  readonly #tab: Tab;
  readonly #extension: TabExtension | undefined;
  readonly #unwatch: () => void;
  #role: Leader | Follower;
  #storeId = "";
  #online = true;
  /** Lets `join` return, or throw. */
  #settle: (error?: unknown) => void = () => {};

  constructor(scope: string | null, host: TabsHost, extend?: (port: TabPort) => TabExtension) {
    this.#scope = scope;
    this.#host = host;
    this.#membership = new Membership(scope, {
      pending: () => this.pending.size > 0,
      hear: (message) => this.#hear(message),
      take: () => void this.#take().catch(this.#failed),
      follow: () => {
        this.#follower?.follow();
        this.#extension?.begin();
      },
      suspect: () => {
        this.#extension?.pause();
        this.#follower?.suspect();
      },
      stepDown: () => this.#stepDown(),
      leave: () => {
        this.#role.leave();
        this.#stepDown();
      },
      park: () => {
        this.#settle = (error) => error === undefined || report(error);
        host.event({ t: "status", state: "parked", attempt: 0, waiting: this.pending.size });
      },
      failed: this.#failed,
    });
    this.#tab = {
      membership: this.#membership,
      pending: this.pending,
      state: () => ({ ...host.wants(), shown: this.#membership.election.shown, online: this.#online }),
      apply: (event) => {
        if (event.t === "op") this.pending.apply(event);
        host.event(event);
      },
      ran: (key, refusal) => {
        if (this.pending.ran(key, refusal) && refusal !== undefined) host.refused(key, refusal);
      },
      gone: (tab) => {
        this.#extension?.gone(tab);
        this.#leader?.forget(tab);
      },
    };
    this.#role = new Follower(host.idle(), this.#tab);
    this.#extension = extend?.({
      leads: () => this.#leader !== undefined,
      command: (command, accepted) => this.#role.driver.command(command, accepted),
      post: (to, payload) => this.#membership.post({ t: "extension", term: this.#term, to, payload }),
    });
    this.#unwatch = watchLifecycle((hint) => this.#hint(hint));
  }

  /** How this tab takes part. */
  get role(): Report["tab"] {
    if (this.#scope === null) return "alone";
    return this.#role instanceof Leader ? "leader" : "follower";
  }

  /** Takes part: resolves once this tab leads or follows, or has waited long enough. */
  join(): Promise<void> {
    const { promise, resolve, reject } = withResolvers<void>();
    this.#settle = (error) => (error === undefined ? resolve() : reject(error));
    const shared = this.#scope !== null;
    if (shared) setTimeout(resolve, PATIENCE);
    this.#membership.feed({ i: "join", shared });
    return promise;
  }

  /** Takes no part in anything any more. */
  end(): void {
    this.#unwatch();
    this.#leave();
    this.#extension?.end("closed");
    this.#role.driver.close();
  }

  /** Checks an op and gives it its id. Throws what the core refuses. */
  draft(command: Command): Draft {
    return this.#role.driver.command(command) as Draft;
  }

  /** Sends an op. Throws what the core refuses, if the core is here; else the host hears of it. */
  send(draft: Draft): Outgoing {
    return this.pending.send(draft, () => this.#role.send(draft));
  }

  /** Retries or discards an op. `likely` is the answer where the core is in another tab. */
  decide(command: Command & { readonly op: string }, likely: boolean): boolean {
    return this.#role.decide(command, likely);
  }

  /**
   * Carries out an ephemeral command, which is lost if no leader hears it. Throws what the core
   * refuses.
   */
  run(command: Command): void {
    this.#role.run(command);
  }

  /** Opens a dialog that the host wants from now on. Throws what the core refuses. */
  open(dialog: string): void {
    this.#role.open(dialog);
  }

  /** Closes a dialog that the host wants no longer. */
  close(dialog: string): void {
    // A core that is gone has nothing open.
    if (this.#role.driver.isUsable) this.#role.close(dialog);
  }

  /** The host wants to be connected, now. */
  connect(): void {
    if (!this.#role.driver.isUsable) {
      throw new TidewireError("closed", "this client is of no more use; reload the page", false);
    }
    if (this.#membership.election.phase === "out") this.join().catch(report);
    this.#role.connect();
  }

  /** The host wants something else than before. */
  changed(): void {
    this.#role.changed();
  }

  /** What happened lately; in a follower as the leader told it last. */
  explain(): Report {
    return { ...this.#role.explain(), tab: this.role };
  }

  /**
   * Ends every tab of this user, this one first; `erase` gets the term from which on the store is
   * nobody's.
   */
  async logout(erase: (known: number) => Promise<void>): Promise<void> {
    this.#membership.post({ t: "logout" });
    this.#wiped();
    await erase(this.#term);
  }

  get #leader(): Leader | undefined {
    return this.#role instanceof Leader ? this.#role : undefined;
  }

  get #follower(): Follower | undefined {
    return this.#role instanceof Follower ? this.#role : undefined;
  }

  /** The term of the leader known last. While this tab steps down it is still its own. */
  get #term(): number {
    return this.#leader?.term ?? this.#membership.election.term;
  }

  #leave(): void {
    this.#membership.feed({ i: "leave" });
  }

  readonly #failed = (error: unknown): void => {
    // What is stored can't be read: taking part again would not help.
    this.#leave();
    this.#settle(error);
    this.#host.event({ t: "status", state: "failed", attempt: 0, cause: "bad_config", waiting: this.pending.size });
  };

  async #take(): Promise<void> {
    const { request } = this.#membership.election;
    const leadership = await this.#host.take(this.#term, (event) => this.#happened(event));
    const { driver, term, storeId, failure } = leadership;
    // While the store was read the lock may have been stolen, or this tab may have left.
    const { election } = this.#membership;
    if (election.phase !== "taking" || election.request !== request) return driver.close();
    this.#role.driver.close();
    const leader = new Leader(leadership, this.#tab);
    this.#role = leader;
    this.#membership.feed({ i: "taken", term });
    if (!this.#isSameStore(storeId)) return this.#wiped();
    leader.begin(failure);
    this.#extension?.begin();
    this.#announce();
    this.#settle();
  }

  #stepDown(): void {
    this.#extension?.pause();
    const leader = this.#leader;
    if (leader === undefined) return;
    leader.end();
    // Where the core crashed none can be made again: what is called after that says so.
    const { driver } = leader;
    const crashed = !driver.isUsable;
    driver.close();
    this.#role = new Follower(crashed ? driver : this.#host.idle(), this.#tab);
    if (crashed) return;
    for (const dialog of this.#host.wants().dialogs) this.#role.driver.command({ c: "open_dialog", dialog });
  }

  /** The core emitted something. */
  #happened(event: CoreEvent): void {
    if (!this.#role.driver.isUsable) {
      // Another tab may fare better with what is stored.
      this.#leave();
      this.#host.event(event);
    } else if (event.t === "table") {
      this.#extension?.happened(event);
    } else {
      this.#leader?.happened(event);
    }
  }

  /**
   * False if the user was logged out meanwhile, without this tab hearing of it. A store that can't
   * be read says nothing.
   */
  #isSameStore(storeId: string): boolean {
    const before = this.#storeId;
    if (storeId !== "") this.#storeId = storeId;
    return before === "" || before === this.#storeId;
  }

  #wiped(): void {
    this.#leave();
    this.#storeId = "";
    this.#extension?.end("logged_out");
    this.#host.wiped();
    this.pending.clear();
  }

  #announce(): void {
    if (this.#leader === undefined) return;
    this.#membership.post({ t: "lead", term: this.#term, storeId: this.#storeId, full: this.#extension !== undefined });
  }

  #hint(hint: Hint): void {
    switch (hint.state) {
      case "frozen":
      case "resumed":
        if (this.#scope === null) this.#role.driver.hint(hint);
        else this.#membership.feed({ i: hint.state });
        break;
      case "shown":
      case "hidden":
        this.#membership.feed({ i: hint.state });
        this.changed();
        break;
      case "online":
      case "offline":
        if (this.#online === (hint.state === "online")) break;
        this.#online = !this.#online;
        this.#role.listen(this.#online);
        break;
      case "changed":
        this.#leader?.driver.hint(hint);
    }
  }

  #hear(message: Message): void {
    const leader = this.#leader;
    const follower = this.#follower;
    const { term } = this.#membership.election;
    const isOfTerm = "term" in message && message.term === term;
    const { id } = this.#membership;
    switch (message.t) {
      case "ask":
        if (leader === undefined) break;
        // By way of a timer: a frozen page may still get messages, while its timers and sockets
        // stand still.
        setTimeout(() => this.#announce());
        // A hidden leader's timers are late, the questions of visible tabs are not.
        leader.driver.wake();
        break;
      case "lead":
        if (message.term < term) break;
        if (!this.#isSameStore(message.storeId)) this.#wiped();
        else this.#membership.feed({ i: "heard", term: message.term, fits: message.full || this.#extension === undefined });
        break;
      case "tab":
        if (isOfTerm) leader?.hear(message);
        break;
      case "ran":
        if (isOfTerm && follower !== undefined && message.to === id) this.#tab.ran(message.key, message.error);
        break;
      case "events":
        if (!isOfTerm || follower === undefined || (message.to ?? id) !== id) break;
        follower.hear(message);
        if (message.to !== undefined) this.#settle();
        break;
      case "extension":
        if (isOfTerm && message.to === (leader === undefined ? id : undefined)) {
          this.#extension?.receive(message.from, message.payload);
        }
        break;
      case "bye":
        this.#tab.gone(message.from);
        break;
      case "logout":
        this.#wiped();
        break;
    }
  }
}
