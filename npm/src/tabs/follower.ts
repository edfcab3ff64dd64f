import type { Command } from "../core.ts";
import { channelOf } from "../core.ts";
import type { Report } from "../types.ts";
import type { Message } from "./messages.ts";
import type { Tab } from "./tab.ts";

/** A tab without the core: tells the leader what it wants, and hears the core's events from it. */
export class Follower {
  readonly #tab: Tab;
  /** Dialogs whose rows this leader has told: changes of others would lack their beginning. */
  readonly #told = new Set<string>();
  /** The core's report, as the leader told it last. */
  report: Report | undefined;

  constructor(tab: Tab) {
    this.#tab = tab;
  }

  /** Tells the leader what this tab wants, with commands to carry out and dialogs whose rows it lacks. */
  tell(run: readonly Command[], lacks: readonly string[] | null = null): void {
    const { membership } = this.#tab;
    membership.post({ t: "tab", term: membership.election.term, tab: this.#tab.state(), run, lacks });
    membership.feed({ i: "told" });
  }

  /** There is a leader that knows nothing of this tab. */
  follow(): void {
    this.#told.clear();
    this.tell(this.#tab.pending.commands, this.#tab.state().dialogs);
  }

  /** The rows of a dialog are wanted no longer; without one, of all dialogs. */
  forget(dialog?: string): void {
    if (dialog === undefined) this.#told.clear();
    else this.#told.delete(dialog);
  }

  /** The leader tells what its core emitted. */
  hear({ list, to, report }: Extract<Message, { t: "told" }>): void {
    this.report = report ?? this.report;
    for (const event of list) {
      if (event.t === "dialog") {
        if (to !== undefined) this.#told.add(event.dialog);
        else if (!this.#told.has(event.dialog)) continue;
      }
      this.#tab.apply(event);
    }
  }

  /** The leader is silent, so nobody knows whether what is shown is still so: that must be seen. */
  doubt(): void {
    const { connect, dialogs } = this.#tab.state();
    const waiting = this.#tab.pending.size;
    if (connect) {
      this.#tab.apply({ t: "status", state: "reconnecting", attempt: 0, cause: "leader_silent", waiting });
    }
    for (const dialog of dialogs) this.#tab.apply({ t: "channel", channel: channelOf(dialog), state: "syncing" });
  }
}
