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
import type { Lease, Message, Refusal, TabState } from "./messages.ts";
import { Pending } from "./pending.ts";
import type { Tab } from "./tab.ts";
import type { View } from "./views.ts";
import { opening } from "./views.ts";

/** Longest time that a new tab waits for the first message of its leader, ms. */
const PATIENCE = 1000;

/** What this class uses of its client. */
export interface TabsHost {
  wants(): Pick<TabState, "connect" | "views" | "leases">;
  event(event: CoreEvent): void;
  /** The leader refused an op. */
  refused(id: string, error: Refusal): void;
  /** The user was logged out: the client must forget all of the user's data. */
  wiped(): void;
  /** Opens the store as a new leader, with a term above `known`, and starts a core with it. */
  take(known: number, event: (event: CoreEvent) => void): Promise<Leadership>;
  /**
   * Makes a core without a store that never connects. Followers use it to check ops and to get ids.
   */
  idle(): Driver;
}

/**
 * This tab's part in sharing a core between tabs. The leader has the core; followers forward
 * commands to it and get its events. Without a scope the tab shares nothing and leads from the
 * start.
 */
export class Tabs {
  /** The ops of this tab that are not settled. */
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
  /** Resolves or rejects the promise of `join`. */
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

  /** This tab's role. */
  get role(): Report["tab"] {
    if (this.#scope === null) return "alone";
    return this.#role instanceof Leader ? "leader" : "follower";
  }

  /**
   * Joins the other tabs. Resolves once this tab leads or has got the first message of its leader,
   * at the latest after {@link PATIENCE}.
   */
  join(): Promise<void> {
    const { promise, resolve, reject } = withResolvers<void>();
    this.#settle = (error) => (error === undefined ? resolve() : reject(error));
    const shared = this.#scope !== null;
    if (shared) setTimeout(resolve, PATIENCE);
    this.#membership.feed({ i: "join", shared });
    return promise;
  }

  /** Leaves the other tabs and closes the core for good. */
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

  /**
   * Sends an op. If the core is in this tab, this throws what the core refuses; otherwise
   * `host.refused` is called later.
   */
  send(draft: Draft): Outgoing {
    return this.pending.send(draft, () => this.#role.send(draft));
  }

  /** Retries or discards an op. `likely` is the answer where the core is in another tab. */
  decide(command: Command & { readonly op: string }, likely: boolean): boolean {
    return this.#role.decide(command, likely);
  }

  /**
   * Carries out an ephemeral command. It is lost if there is no leader. Throws what the core
   * refuses.
   */
  run(command: Command): void {
    this.#role.run(command);
  }

  /** Has the core take a lease that the host is about to want. Throws what the core refuses. */
  takeLease(lease: Lease): void {
    this.#role.takeLease(lease);
  }

  /** The host wants other leases. */
  leasesChanged(): void {
    // A core that was closed or crashed holds nothing.
    if (this.#role.driver.isUsable) this.#role.changed();
  }

  /** Opens a view. Throws what the core refuses. */
  open(view: View): void {
    this.#role.open(view);
  }

  /** Closes a view. */
  close(view: View): void {
    // A core that was closed or crashed has nothing open.
    if (this.#role.driver.isUsable) this.#role.close(view);
  }

  /** Connects, at once. Throws `closed` if the core was closed or has crashed. */
  connect(): void {
    if (!this.#role.driver.isUsable) {
      throw new TidewireError("closed", "this client is of no more use; reload the page", false);
    }
    if (this.#membership.election.phase === "out") this.join().catch(report);
    this.#role.connect();
  }

  /** What the host wants has changed: updates the core, or the leader. */
  changed(): void {
    this.#role.changed();
  }

  /** The core's report; in a follower the leader's last one. */
  explain(): Report {
    return { ...this.#role.explain(), tab: this.role };
  }

  /**
   * Logs the user out in all tabs, this one first. `erase` then wipes the store; it gets the last
   * known term.
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

  /** The term of the last known leader. While this tab steps down it is still its own term. */
  get #term(): number {
    return this.#leader?.term ?? this.#membership.election.term;
  }

  #leave(): void {
    this.#membership.feed({ i: "leave" });
  }

  readonly #failed = (error: unknown): void => {
    // The stored data can't be read, and another attempt would fail too.
    this.#leave();
    this.#settle(error);
    this.#host.event({ t: "status", state: "failed", attempt: 0, cause: "bad_config", waiting: this.pending.size });
  };

  async #take(): Promise<void> {
    const { request } = this.#membership.election;
    const leadership = await this.#host.take(this.#term, (event) => this.#happened(event));
    const { driver, term, storeId, failure } = leadership;
    // While this tab read the store it may have left, or another tab may have stolen the lock.
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
    // After a crash no new core can be made. The crashed driver stays, so that later calls report
    // it.
    const { driver } = leader;
    const crashed = !driver.isUsable;
    // Others must not see the user leave and come back.
    driver.close(leader.isFollowed || this.#membership.election.phase !== "out");
    this.#role = new Follower(crashed ? driver : this.#host.idle(), this.#tab);
    if (crashed) return;
    for (const view of this.#host.wants().views) this.#role.driver.command(opening(view));
  }

  /** Handles an event that this tab's core emitted. */
  #happened(event: CoreEvent): void {
    if (!this.#role.driver.isUsable) {
      // The core crashed. Another tab may be able to lead with the stored data.
      this.#leave();
      this.#host.event(event);
    } else if (event.t === "table") {
      this.#extension?.happened(event);
    } else {
      this.#leader?.happened(event);
    }
  }

  /**
   * Whether the store still has the content that this tab knows. False if the user was logged out
   * meanwhile. An empty id, of a store that can't be read, counts as the same.
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
        // The answer goes through a timer: a frozen page may still get messages while its timers
        // and sockets are stopped, and must not answer.
        setTimeout(() => this.#announce());
        // Timers of a hidden leader are late. Questions of visible tabs are not, so they wake the
        // core.
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
