import type { Command, TableEvent } from "../core.ts";

/**
 * A feature that uses the shared core beside the chat: live tables. Its code is loaded only in tabs
 * that ask for it.
 */
export interface TabExtension {
  /** There is a new leader, here or in another tab, that knows nothing of this tab yet. */
  begin(): void;
  /**
   * There is no leader, or it has been silent too long. If this tab led, its core still answers
   * until this returns.
   */
  pause(): void;
  /** This tab leads, and its core emitted this event. */
  happened(event: TableEvent): void;
  /** A message from the extension of another tab, as that one gave it to {@link TabPort.post}. */
  receive(from: string, payload: unknown): void;
  /** A tab that follows this one has ended. */
  gone(tab: string): void;
  /** The user was logged out (`logged_out`), or this tab's client was closed (`closed`). */
  end(code: string): void;
}

/** What an extension may use of its tab. */
export interface TabPort {
  /** Whether this tab leads, so that the shared core is here. */
  leads(): boolean;
  /** Runs a command in this tab's core: see {@link Driver.command}. */
  command(command: Command, accepted?: (answer: unknown) => void): unknown;
  /** Sends a message to the extension of the tab `to`; without `to`, of the leader. */
  post(to: string | undefined, payload: unknown): void;
}
