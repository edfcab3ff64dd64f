import type { Command, TableEvent } from "../core.ts";

/**
 * What needs the shared core beside the chat: live tables. Its code is loaded only by tabs that
 * want it.
 */
export interface Passenger {
  /** There is a leader, here or in another tab, that knows nothing of what this tab wants. */
  begin(): void;
  /**
   * There is no leader, or what it told may be old. If it was here, its core answers a last time.
   */
  pause(): void;
  /** The core is here, and emitted this. */
  told(event: TableEvent): void;
  /** The passenger of another tab says this. */
  heard(from: string, word: unknown): void;
  /** A tab of this leader's is gone. */
  gone(tab: string): void;
  /** The user was logged out (`logged_out`), or this tab is of no more use (`closed`). */
  end(code: string): void;
}

/** What a passenger can use of the tabs. */
export interface Seat {
  /** Whether the shared core is here. */
  leads(): boolean;
  /** Carries out a command by the core that is here: see {@link Driver.command}. */
  command(command: Command, accepted?: (answer: unknown) => void): unknown;
  /** Says something to the passenger of a tab, or of the leader. */
  post(to: string | undefined, word: unknown): void;
}
