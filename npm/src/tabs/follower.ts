import type { Command, Draft } from "../core.ts";
import type { Driver } from "../driver.ts";
import type { Report } from "../types.ts";
import { Leases } from "./leases.ts";
import type { Lease, Message } from "./messages.ts";
import type { Role, Tab } from "./tab.ts";
import type { View } from "./views.ts";
import { channelIn, closing, opening, viewOf } from "./views.ts";

/**
 * A tab without the core. It sends the leader what it wants, and gets the core's events from it.
 */
export class Follower implements Role {
  readonly driver: Driver;
  readonly #tab: Tab;
  /**
   * Views of which this tab has got a snapshot from this leader. Changes of other views are
   * ignored, because they could not be applied.
   */
  readonly #shown = new Set<View>();
  /** What the idle core was told, so that it refuses what is too many. */
  readonly #leases: Leases;
  /** The leader's last report. */
  #report: Report | undefined;

  constructor(driver: Driver, tab: Tab) {
    this.driver = driver;
    this.#tab = tab;
    this.#leases = new Leases(driver);
  }

  send(draft: Draft): void {
    this.#tell([draft]);
  }

  decide(command: Command, likely: boolean): boolean {
    if (likely) {
      this.#tab.pending.decide(command);
      this.#tell([command]);
    }
    return likely;
  }

  run(command: Command): void {
    // The idle core only checks the command. It has no events, so it can't check an offset.
    this.driver.command({ ...command, offset: undefined });
    this.#tell([command]);
  }

  open(view: View): void {
    this.driver.command(opening(view));
    this.#tell([], [view]);
  }

  close(view: View): void {
    this.driver.command(closing(view));
    this.#shown.delete(view);
    this.changed();
  }

  connect(): void {
    this.#tell([{ c: "connect" }]);
  }

  changed(): void {
    this.#leases.hold(this.#tab.state().leases);
    this.#tell([]);
  }

  listen(): void {
    this.changed();
  }

  takeLease(lease: Lease): void {
    this.#leases.take(lease);
  }

  /** Returns the leader's last report and requests the next. */
  explain(): Report {
    const explain = { c: "explain" };
    this.#tell([explain]);
    return this.#report ?? (this.driver.command(explain) as Report);
  }

  leave(): void {
    this.#shown.clear();
    this.#report = undefined;
  }

  /** There is a new leader, which knows nothing of this tab. */
  follow(): void {
    this.#shown.clear();
    this.#tell(this.#tab.pending.commands, this.#tab.state().views);
  }

  /** Handles events of the leader's core. */
  hear({ list, to, report }: Extract<Message, { t: "events" }>): void {
    this.#report = report ?? this.#report;
    for (const event of list) {
      const view = viewOf(event);
      if (view !== undefined) {
        if (to !== undefined) this.#shown.add(view);
        else if (!this.#shown.has(view)) continue;
      }
      this.#tab.apply(event);
    }
  }

  /**
   * The leader is silent, so the data may be old: shows the client as reconnecting and its views as
   * syncing.
   */
  suspect(): void {
    const { connect, views } = this.#tab.state();
    const waiting = this.#tab.pending.size;
    if (connect) {
      this.#tab.apply({ t: "status", state: "reconnecting", attempt: 0, cause: "leader_silent", waiting });
    }
    for (const channel of new Set(views.map(channelIn))) {
      this.#tab.apply({ t: "channel", channel, state: "syncing" });
      this.#tab.apply({ t: "people", channel, status: "syncing" });
      this.#tab.apply({ t: "reads", channel, status: "syncing" });
    }
  }

  #tell(run: readonly Command[], lacks: readonly View[] | null = null): void {
    const { membership } = this.#tab;
    membership.post({ t: "tab", term: membership.election.term, tab: this.#tab.state(), run, lacks });
    membership.feed({ i: "posted" });
  }
}
