import type { Command, CoreEvent, Draft } from "../core.ts";
import { withResolvers } from "../resolvers.ts";
import type { Outgoing } from "../types.ts";
import { TidewireError } from "../types.ts";
import type { Refusal } from "./messages.ts";

/** Most ids of discarded ops that are remembered. */
const DISCARDED = 1000;

/** A command of this tab that no core has settled yet. */
interface Entry {
  readonly command: Command;
  /** The promise of an op that the application still waits for. */
  readonly acked: ReturnType<typeof withResolvers<{ offset: number }>> | undefined;
}

/**
 * The ops that this tab sent and its decisions about ops, in their order, until each is settled. A
 * new leader gets all of them again under the same ids. An op's promise is part of its entry.
 */
export class Pending {
  readonly #entries = new Map<string, Entry>();
  /** Ops that were discarded in any tab: a tab that did not hear of it may still send them. */
  readonly #discarded = new Set<string>();

  /** How many there are. */
  get size(): number {
    return this.#entries.size;
  }

  /** All of them, the oldest first. */
  get commands(): Command[] {
    return [...this.#entries.values()].map((entry) => entry.command);
  }

  /** Adds an op while `send` hands it over, and gives it up if that throws. */
  send(draft: Draft, send: () => void): Outgoing {
    const { id } = draft;
    const before = this.#entries.get(id);
    // The same op again has the same promise.
    const acked = before?.acked ?? withResolvers<{ offset: number }>();
    // The row shows a failure too, so nobody has to look at the promise.
    acked.promise.catch(() => {});
    const entry = { command: draft, acked };
    this.#entries.set(id, entry);
    try {
      send();
    } catch (error) {
      // What was sent before under this id is as pending as it was.
      if (before === undefined) this.#entries.delete(id);
      else if (this.#entries.get(id) === entry) this.#entries.set(id, before);
      throw error;
    }
    return { id, acked: acked.promise };
  }

  /** Adds a decision: to retry or discard an op. */
  decide(command: Command): void {
    this.#entries.set(keyOf(command), { command, acked: undefined });
  }

  /** The core carried out a command, or refused it. Returns whether that ends an op. */
  ran(key: string, refusal: Refusal | undefined): boolean {
    const entry = this.#entries.get(key);
    if (entry === undefined) return false;
    const isOp = entry.command.c === "send";
    // An op that was taken is settled by its event.
    if (isOp && refusal === undefined) return false;
    this.#entries.delete(key);
    if (refusal !== undefined)
      entry.acked?.reject(new TidewireError(refusal.code, `send: ${refusal.code}`, refusal.retryable));
    return isOp;
  }

  /** The core says how an op stands. */
  apply({ id, state, offset = 0, code = "internal", message = "" }: Extract<CoreEvent, { t: "op" }>): void {
    if (state === "queued" || state === "sending") return;
    const acked = this.#entries.get(id)?.acked;
    this.#entries.delete(id);
    if (state === "acked") acked?.resolve({ offset });
    else if (state === "failed") acked?.reject(new TidewireError(code, message, true));
    else {
      acked?.reject(new TidewireError("discarded", "it was discarded", false));
      const [oldest] = this.#discarded;
      if (this.#discarded.size >= DISCARDED && oldest !== undefined) this.#discarded.delete(oldest);
      this.#discarded.add(id);
    }
  }

  /** Whether an op was discarded lately. */
  isDiscarded(id: string): boolean {
    return this.#discarded.has(id);
  }

  /** Rejects all promises; the commands stay, and are still sent. */
  abandon(error: TidewireError): void {
    for (const [key, { command, acked }] of this.#entries) {
      acked?.reject(error);
      this.#entries.set(key, { command, acked: undefined });
    }
  }

  /** Forgets all commands. */
  clear(): void {
    this.#entries.clear();
  }
}

/** An op's id, or what makes a command the same as another. */
export function keyOf(command: Command): string {
  return String(command["id"] ?? `${command.c} ${command["op"] ?? ""}`);
}
