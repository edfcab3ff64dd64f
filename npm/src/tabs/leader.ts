import type { Command, CoreEvent, Draft, RowChange, WireEvent, WirePerson, WireRow } from "../core.ts";
import { NEWEST } from "../core.ts";
import type { Driver } from "../driver.ts";
import { monotonic } from "../driver.ts";
import type { Report } from "../types.ts";
import { TidewireError } from "../types.ts";
import { Leases } from "./leases.ts";
import type { Lease, Message, Refusal, TabState } from "./messages.ts";
import { keyOf } from "./pending.ts";
import type { Role, Tab } from "./tab.ts";
import type { View } from "./views.ts";
import { channelIn, closing, dialogIn, eventsOf, isOfEvents, isOfReads, opening } from "./views.ts";

/** A core with exclusive use of the store. */
export interface Leadership {
  readonly driver: Driver;
  /** The number of this leader. A higher term ends a lower one. */
  readonly term: number;
  /** Names the store's content from one logout to the next; empty if the store can't be read. */
  readonly storeId: string;
  /** Why the store does not work: a stable code; `null` if it works. */
  readonly failure: string | null;
}

interface Member {
  readonly tab: TabState;
  readonly watching: AbortController;
}

/**
 * The leading tab, for one term. It has the core, carries out what any tab wants, and sends all
 * tabs the core's events.
 */
export class Leader implements Role {
  readonly driver: Driver;
  readonly term: number;
  readonly #tab: Tab;
  readonly #members = new Map<string, Member>();
  /** The views that the core has open. For those of events: the newest ones. */
  readonly #open = new Map<View, readonly WireEvent[]>();
  readonly #leases: Leases;
  /** The last event of each kind, and of each channel: what a new follower has missed. */
  readonly #last = new Map<string, CoreEvent>();
  #statusAt = 0;
  // The hints and commands that the core was given last.
  #connect = false;
  #shown = true;
  #online = true;

  constructor({ driver, term }: Leadership, tab: Tab) {
    this.driver = driver;
    this.term = term;
    this.#tab = tab;
    this.#leases = new Leases(driver);
  }

  /** Whether other tabs follow this one. */
  get isFollowed(): boolean {
    return this.#members.size > 0;
  }

  /** Starts with what this tab wants and with its pending commands. */
  begin(failure: string | null): void {
    this.happened({ t: "storage", ...(failure === null ? {} : { code: failure }) });
    this.changed();
    this.listen(this.#tab.state().online);
    for (const command of this.#tab.pending.commands) this.#run(undefined, command);
  }

  /** Stops watching the other tabs, because this tab no longer leads. */
  end(): void {
    for (const { watching } of this.#members.values()) watching.abort();
  }

  send(draft: Draft): void {
    this.driver.command(draft);
  }

  decide(command: Command): boolean {
    return this.driver.command(command) === true;
  }

  run(command: Command): void {
    this.driver.command(command);
  }

  open(view: View): void {
    if (this.#open.has(view)) {
      // The view is open for another tab already, so the core emits nothing: this tab gets a
      // snapshot.
      for (const event of this.#snapshot([view])) this.#tab.apply(event);
    } else {
      this.#openHere(view);
    }
  }

  close(): void {
    this.changed();
  }

  connect(): void {
    this.changed();
    this.run({ c: "connect" });
  }

  takeLease(lease: Lease): void {
    this.#leases.take(lease);
  }

  explain(): Report {
    return this.driver.command({ c: "explain" }) as Report;
  }

  leave(): void {
    // Makes the core write what it would store a little later.
    this.driver.hint({ t: "lifecycle", state: "hidden" });
  }

  /** Passes an event of the core to every tab. */
  happened(event: CoreEvent): void {
    const { t } = event;
    if (t === "channel") this.#follow(event);
    else if (t === "received") this.#keep(event.event);
    else if (t === "status" || t === "user" || t === "storage") this.#last.set(t, event);
    if (t === "status") this.#statusAt = monotonic();
    if (this.isFollowed) this.#tab.membership.post({ t: "events", term: this.term, list: [event] });
    this.#tab.apply(event);
  }

  /** Handles a follower's message. */
  hear({ from, tab, run, lacks }: Extract<Message, { t: "tab" }>): void {
    const known = this.#members.get(from);
    const watching = known?.watching ?? this.#tab.membership.watch(from, () => this.#tab.gone(from));
    this.#members.set(from, { tab, watching });
    this.changed();
    if (tab.online !== known?.tab.online) this.listen(tab.online);
    for (const command of run) this.#run(from, command);
    if (lacks === null) return;
    const general = ["status", "user", "storage"].flatMap((kind) => this.#last.get(kind) ?? []);
    const list = [...general.map((event) => this.#asOfNow(event)), ...this.#snapshot(lacks)];
    this.#tell(from, list, this.explain());
  }

  /** Forgets a tab that has ended, and what it wanted. */
  forget(tab: string): void {
    this.#members.get(tab)?.watching.abort();
    if (this.#members.delete(tab)) this.changed();
  }

  /** Applies to the core what the tabs want together: views, leases, a connection, being visible. */
  changed(): void {
    const tabs = [this.#tab.state(), ...[...this.#members.values()].map((member) => member.tab)];
    const views = new Set(tabs.flatMap((tab) => tab.views));
    for (const view of this.#open.keys()) {
      if (views.has(view)) continue;
      this.#open.delete(view);
      this.#forgetState(channelIn(view));
      this.driver.command(closing(view));
    }
    // Sorted, so that events are opened before the rows of the same channel: then the core goes on
    // with the events from where the store has them. What is watched of a channel comes after both.
    for (const view of [...views].sort()) {
      if (!this.#open.has(view)) this.#openOrFail(view);
    }
    this.#leases.hold(tabs.flatMap((tab) => tab.leases));
    const connect = tabs.some((tab) => tab.connect);
    if (connect !== this.#connect) {
      this.#connect = connect;
      this.driver.command({ c: connect ? "connect" : "disconnect" });
    }
    const shown = tabs.some((tab) => tab.shown);
    if (shown !== this.#shown) {
      this.#shown = shown;
      this.driver.hint({ t: "lifecycle", state: shown ? "shown" : "hidden" });
    }
  }

  /**
   * Passes a change of the network to the core. The last change counts, because all tabs get the
   * same from the system.
   */
  listen(online: boolean): void {
    if (online === this.#online) return;
    this.#online = online;
    this.driver.hint({ t: "network", state: online ? "online" : "offline" });
  }

  /** Carries out a command of a follower; without `tab`, of this tab. */
  #run(tab: string | undefined, command: Command): void {
    const key = keyOf(command);
    if (command.c === "send" && this.#tab.pending.isDiscarded(key)) {
      this.happened({ t: "op", id: key, channel: String(command["channel"]), state: "discarded" });
      return;
    }
    let error: Refusal | undefined;
    try {
      const answer = this.driver.command(command);
      if (command.c === "explain" && tab !== undefined) this.#tell(tab, [], answer as Report);
    } catch (thrown) {
      const { code, retryable } = thrown instanceof TidewireError ? thrown : { code: "internal", retryable: false };
      error = { code, retryable };
    }
    if (tab === undefined) this.#tab.ran(key, error);
    else this.#tab.membership.post({ t: "ran", term: this.term, to: tab, key, ...(error && { error }) });
  }

  #tell(to: string, list: readonly CoreEvent[], report: Report): void {
    this.#tab.membership.post({ t: "events", term: this.term, to, list, report });
  }

  /** An event as it would be emitted now: the pause until the next attempt has become shorter. */
  #asOfNow(event: CoreEvent): CoreEvent {
    if (event.t !== "status" || event.retry_in_ms === undefined) return event;
    return { ...event, retry_in_ms: Math.max(event.retry_in_ms - (monotonic() - this.#statusAt), 0) };
  }

  #openHere(view: View): void {
    const stored = this.driver.command(opening(view));
    this.#open.set(view, []);
    // The core emits a dialog's rows; the stored events of a channel are its answer. Of people and
    // of read positions it emits changes only.
    if (dialogIn(view) !== undefined) return;
    if (isOfEvents(view)) for (const event of stored as WireEvent[]) this.#keep(event);
    this.#tab.apply(this.#content(view));
  }

  /** Keeps an event for tabs that open its channel later. */
  #keep(event: WireEvent): void {
    const view = eventsOf(event.ch);
    const kept = this.#open.get(view);
    if (kept !== undefined) this.#open.set(view, [...kept, event].slice(-NEWEST));
  }

  #follow(event: Extract<CoreEvent, { t: "channel" }>): void {
    const { t, channel, state } = event;
    const view = eventsOf(channel);
    if ((state === "reset" || state === "failed") && this.#open.has(view)) this.#open.set(view, []);
    // A tab that comes later begins after the reset.
    this.#last.set(channel, state === "reset" ? { t, channel, state: "syncing" } : event);
  }

  #forgetState(channel: string): void {
    if (![...this.#open.keys()].some((view) => channelIn(view) === channel)) this.#last.delete(channel);
  }

  #openOrFail(view: View): void {
    try {
      this.#openHere(view);
    } catch (error) {
      // All tabs together have more channels than a client may have.
      const { code, message } = error as TidewireError;
      const channel = channelIn(view);
      if (this.#last.get(channel) === undefined) this.happened({ t: "channel", channel, state: "failed", code, message });
    }
  }

  /**
   * A snapshot of views, as events with their content and state. It contains all events before this
   * call.
   */
  #snapshot(views: readonly View[]): CoreEvent[] {
    return views.flatMap((view) => [this.#content(view), this.#last.get(channelIn(view)) ?? []].flat());
  }

  #content(view: View): CoreEvent {
    const dialog = dialogIn(view);
    const channel = channelIn(view);
    if (isOfEvents(view)) return { t: "recent", channel, events: this.#open.get(view) ?? [] };
    if (isOfReads(view)) return { t: "reads", channel, ...(this.driver.command({ c: "reads", channel }) as object) };
    if (dialog === undefined) {
      const { people, ...rest } = this.driver.command({ c: "people", channel }) as { people: WirePerson[]; count: number };
      return { t: "people", channel, changes: [{ t: "reset", rows: people }], ...rest };
    }
    const { rows, ...run } = this.driver.command({ c: "rows", dialog }) as { rows: WireRow[] };
    const changes: RowChange[] = [{ t: "reset", rows }];
    return { t: "dialog", dialog, changes, ...run };
  }
}
