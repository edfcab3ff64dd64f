import type { Command, CoreEvent, Draft, RowChange, WireRow } from "../core.ts";
import { channelOf } from "../core.ts";
import type { Driver } from "../driver.ts";
import { monotonic } from "../driver.ts";
import type { Report } from "../types.ts";
import { TidewireError } from "../types.ts";
import type { Message, Refusal, TabState } from "./messages.ts";
import { keyOf } from "./pending.ts";
import type { Role, Tab } from "./tab.ts";

/** A core that has the store to itself. */
export interface Leadership {
  readonly driver: Driver;
  /** Counts leaders: a higher term ends a lower one. */
  readonly term: number;
  /** Names the store's content from one logout to the next. */
  readonly storeId: string;
  /** Why the store does not work. */
  readonly failure: string | null;
}

interface Member {
  readonly tab: TabState;
  readonly watching: AbortController;
}

/**
 * A tab with the core, for one term: carries out what any tab wants, and tells all what happens.
 */
export class Leader implements Role {
  readonly driver: Driver;
  readonly term: number;
  readonly #tab: Tab;
  readonly #members = new Map<string, Member>();
  /** The dialogs that the core has open. */
  readonly #open = new Set<string>();
  /** The last event of each kind, and of each channel: what a new follower has missed. */
  readonly #last = new Map<string, CoreEvent>();
  #statusAt = 0;
  // What the core was told.
  #connect = false;
  #shown = true;
  #online = true;

  constructor({ driver, term }: Leadership, tab: Tab) {
    this.driver = driver;
    this.term = term;
    this.#tab = tab;
  }

  /** Takes up what this tab wants, and its pending commands. */
  begin(failure: string | null): void {
    this.happened({ t: "storage", ...(failure === null ? {} : { code: failure }) });
    this.changed();
    this.listen(this.#tab.state().online);
    for (const command of this.#tab.pending.commands) this.#run(undefined, command);
  }

  /** Has the core no longer. */
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

  open(dialog: string): void {
    if (this.#open.has(dialog)) {
      // Open for another tab: the core counts a user's tabs as one, so it emits nothing by itself.
      for (const event of this.#snapshot([dialog])) this.#tab.apply(event);
    } else {
      this.driver.command({ c: "open_dialog", dialog });
      this.#open.add(dialog);
    }
  }

  close(): void {
    this.changed();
  }

  connect(): void {
    this.changed();
    this.run({ c: "connect" });
  }

  explain(): Report {
    return this.driver.command({ c: "explain" }) as Report;
  }

  leave(): void {
    // What the core would store a little later must not go with it.
    this.driver.hint({ t: "lifecycle", state: "hidden" });
  }

  /** The core emitted something: every tab hears it. */
  happened(event: CoreEvent): void {
    const { t } = event;
    if (t === "channel") this.#last.set(event.channel, event);
    else if (t === "status" || t === "user" || t === "storage") this.#last.set(t, event);
    if (t === "status") this.#statusAt = monotonic();
    if (this.#members.size > 0) this.#tab.membership.post({ t: "events", term: this.term, list: [event] });
    this.#tab.apply(event);
  }

  /** A tab tells what it wants. */
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

  /** A tab is gone, and wants nothing any more. */
  forget(tab: string): void {
    this.#members.get(tab)?.watching.abort();
    if (this.#members.delete(tab)) this.changed();
  }

  /** Wants what any tab wants: dialogs, the connection, to be seen. */
  changed(): void {
    const tabs = [this.#tab.state(), ...[...this.#members.values()].map((member) => member.tab)];
    const dialogs = new Set(tabs.flatMap((tab) => tab.dialogs));
    for (const dialog of this.#open) {
      if (dialogs.has(dialog)) continue;
      this.#open.delete(dialog);
      this.#last.delete(channelOf(dialog));
      this.driver.command({ c: "close_dialog", dialog });
    }
    for (const dialog of dialogs) {
      if (!this.#open.has(dialog)) this.#openOrFail(dialog);
    }
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
   * What a tab says of the network counts when it changes: all tabs hear the same of the system.
   */
  listen(online: boolean): void {
    if (online === this.#online) return;
    this.#online = online;
    this.driver.hint({ t: "network", state: online ? "online" : "offline" });
  }

  /** Carries out a command of a tab's; without `tab`, of this one's. */
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

  /** A pause between attempts is shorter by now than when it began. */
  #asOfNow(event: CoreEvent): CoreEvent {
    if (event.t !== "status" || event.retry_in_ms === undefined) return event;
    return { ...event, retry_in_ms: Math.max(event.retry_in_ms - (monotonic() - this.#statusAt), 0) };
  }

  #openOrFail(dialog: string): void {
    try {
      this.driver.command({ c: "open_dialog", dialog });
      this.#open.add(dialog);
    } catch (error) {
      // All tabs together have more dialogs than a client may have.
      const { code, message } = error as TidewireError;
      const channel = channelOf(dialog);
      if (this.#last.get(channel) === undefined) this.happened({ t: "channel", channel, state: "failed", code, message });
    }
  }

  /** Rows and state of dialogs as events: they contain all events before, and none after. */
  #snapshot(dialogs: readonly string[]): CoreEvent[] {
    return dialogs.flatMap((dialog) => {
      const { rows, ...run } = this.driver.command({ c: "rows", dialog }) as { rows: WireRow[]; run?: string };
      const changes: RowChange[] = [{ t: "reset", rows }];
      return [{ t: "dialog" as const, dialog, changes, ...run }, this.#last.get(channelOf(dialog)) ?? []].flat();
    });
  }
}
