import type { Command, Draft } from "../core.ts";
import { channelOf } from "../core.ts";
import type { Driver } from "../driver.ts";
import type { Report } from "../types.ts";
import type { Message } from "./messages.ts";
import type { Role, Tab } from "./tab.ts";

/**
 * A tab without the core. It sends the leader what it wants, and gets the core's events from it.
 */
export class Follower implements Role {
  readonly driver: Driver;
  readonly #tab: Tab;
  /**
   * Dialogs of which this tab has got a snapshot from this leader. Changes of other dialogs are
   * ignored, because they could not be applied.
   */
  readonly #shown = new Set<string>();
  /** The leader's last report. */
  #report: Report | undefined;

  constructor(driver: Driver, tab: Tab) {
    this.driver = driver;
    this.#tab = tab;
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
    // The idle core only checks the command.
    this.driver.command(command);
    this.#tell([command]);
  }

  open(dialog: string): void {
    this.driver.command({ c: "open_dialog", dialog });
    this.#tell([], [dialog]);
  }

  close(dialog: string): void {
    this.driver.command({ c: "close_dialog", dialog });
    this.#shown.delete(dialog);
    this.changed();
  }

  connect(): void {
    this.#tell([{ c: "connect" }]);
  }

  changed(): void {
    this.#tell([]);
  }

  listen(): void {
    this.changed();
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
    this.#tell(this.#tab.pending.commands, this.#tab.state().dialogs);
  }

  /** Handles events of the leader's core. */
  hear({ list, to, report }: Extract<Message, { t: "events" }>): void {
    this.#report = report ?? this.#report;
    for (const event of list) {
      if (event.t === "dialog") {
        if (to !== undefined) this.#shown.add(event.dialog);
        else if (!this.#shown.has(event.dialog)) continue;
      }
      this.#tab.apply(event);
    }
  }

  /**
   * The leader is silent, so the data may be old: shows the client as reconnecting and its dialogs
   * as syncing.
   */
  suspect(): void {
    const { connect, dialogs } = this.#tab.state();
    const waiting = this.#tab.pending.size;
    if (connect) {
      this.#tab.apply({ t: "status", state: "reconnecting", attempt: 0, cause: "leader_silent", waiting });
    }
    for (const dialog of dialogs) this.#tab.apply({ t: "channel", channel: channelOf(dialog), state: "syncing" });
  }

  #tell(run: readonly Command[], lacks: readonly string[] | null = null): void {
    const { membership } = this.#tab;
    membership.post({ t: "tab", term: membership.election.term, tab: this.#tab.state(), run, lacks });
    membership.feed({ i: "posted" });
  }
}
