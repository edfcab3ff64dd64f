import type { Command, CoreEvent, Draft } from "../core.ts";
import { withResolvers } from "../resolvers.ts";
import type { Outgoing } from "../types.ts";
import { TidewireError } from "../types.ts";
import type { Refusal } from "./messages.ts";

/** How many ids of discarded ops are remembered. */
const DISCARDED = 1000;

/** A command of this tab that is not settled. */
interface Entry {
  readonly command: Command;
  /** The promise that the application has for an op, unless it was rejected already. */
  readonly acked: ReturnType<typeof withResolvers<{ offset: number }>> | undefined;
}

/**
 * The ops that this tab sent and its decisions about ops (retry, discard), in order, until each is
 * settled. A new leader gets all of them again under the same ids.
 */
export class Pending {
  readonly #entries = new Map<string, Entry>();
  /** Ops that were discarded in any tab. A tab that does not know of it may still send them. */
  readonly #discarded = new Set<string>();

  /** How many commands are pending. */
  get size(): number {
    return this.#entries.size;
  }

  /** All pending commands, the oldest first. */
  get commands(): Command[] {
    return [...this.#entries.values()].map((entry) => entry.command);
  }

  /** Adds an op and calls `send`. If `send` throws, the op is removed again and this throws. */
  send(draft: Draft, send: () => void): Outgoing {
    const { id } = draft;
    const before = this.#entries.get(id);
    // An op that is sent again has the same promise.
    const acked = before?.acked ?? withResolvers<{ offset: number }>();
    // The row shows a failure too, so the application need not handle the promise.
    acked.promise.catch(() => {});
    const entry = { command: draft, acked };
    this.#entries.set(id, entry);
    try {
      send();
    } catch (error) {
      // An op that was pending under this id before stays pending.
      if (before === undefined) this.#entries.delete(id);
      else if (this.#entries.get(id) === entry) this.#entries.set(id, before);
      throw error;
    }
    return { id, acked: acked.promise };
  }

  /** Adds a decision to retry or discard an op. */
  decide(command: Command): void {
    this.#entries.set(keyOf(command), { command, acked: undefined });
  }

  /** The core carried out a command, or refused it. Returns whether an op was removed by that. */
  ran(key: string, refusal: Refusal | undefined): boolean {
    const entry = this.#entries.get(key);
    if (entry === undefined) return false;
    const isOp = entry.command.c === "send";
    // An op that the core took is settled by a later event.
    if (isOp && refusal === undefined) return false;
    this.#entries.delete(key);
    if (refusal !== undefined)
      entry.acked?.reject(new TidewireError(refusal.code, `send: ${refusal.code}`, refusal.retryable));
    return isOp;
  }

  /** Handles the core's event about the state of an op. */
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

  /** Whether an op was discarded recently. */
  isDiscarded(id: string): boolean {
    return this.#discarded.has(id);
  }

  /** Rejects all promises. The commands stay and are still sent. */
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

/**
 * A command's key: an op's id, or for a decision its kind and op. Equal commands have equal keys.
 */
export function keyOf(command: Command): string {
  return String(command["id"] ?? `${command.c} ${command["op"] ?? ""}`);
}
