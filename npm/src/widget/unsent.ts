import type { Dialog } from "../dialog.ts";
import * as local from "../localstorage.ts";
import type { Row } from "../types.ts";
import { uuid } from "./uuid.ts";

/** What takes the messages in the end. */
export type Taker = Pick<Dialog, "getState" | "send">;

/** States in which a row is in the client's hands for good: stored, in the log, or refused. */
const TAKEN: readonly Row["state"][] = ["queued", "sent", "failed"];
const ME = { id: "", name: "", kind: "guest" } as const;

interface Message {
  readonly text: string;
  readonly at: number;
  /** Why it was not taken. */
  code: string | null;
  /** A client has it, but may not have stored it yet. */
  given: boolean;
}

/**
 * Messages that people send before there is a client to take them. Each has its id from the start
 * and is kept in this browser until a client has stored it, so that it is sent once, however often
 * the page is loaded meanwhile.
 */
export class Unsent {
  /** What the names of what is kept begin with. */
  #place = "";
  readonly #messages = new Map<string, Message>();

  /**
   * Belongs to another user or conversation from now on. What was written here goes along if
   * `along`, because its writer and where it goes to are the same; else it stays for when that
   * place is looked at again.
   */
  move(place: string, along: boolean): void {
    if (place === this.#place) return;
    const mine = along ? [...this.#messages].filter(([, message]) => !message.given) : [];
    for (const [id] of mine) this.discard(id);
    this.#messages.clear();
    this.#place = place;
    for (const key of local.keys(`${place}:`)) this.#read(key);
    for (const [id, message] of mine) this.#put(id, message);
  }

  /** Takes a message. */
  add(text: string): void {
    this.#put(uuid(), { text, at: Date.now(), code: null, given: false });
  }

  /** As rows, except for those that the dialog has. */
  rows(known: readonly Row[]): readonly Row[] {
    const ids = new Set(known.map((row) => row.id));
    return [...this.#messages].flatMap(([id, { text, at, code }]) =>
      ids.has(id)
        ? []
        : {
            id,
            kind: "message",
            by: ME,
            own: true,
            text,
            at,
            offset: null,
            state: code === null ? "queued" : "failed",
            code,
            retryAt: null,
          },
    );
  }

  /** Gives all to a dialog that has not got them, and lets go of those that it has stored. */
  give(dialog: Taker): void {
    for (const [id, message] of [...this.#messages]) {
      if (message.given || message.code !== null) continue;
      try {
        message.given = true;
        dialog.send(message.text, { id });
      } catch (error) {
        const { code } = error as { code?: unknown };
        message.code = typeof code === "string" ? code : "internal";
        message.given = false;
      }
    }
    const { rows } = dialog.getState();
    for (const [id, { given }] of [...this.#messages]) {
      if (!given) continue;
      const state = rows.find((row) => row.id === id)?.state;
      if (state === undefined || TAKEN.includes(state)) this.discard(id);
    }
  }

  /** Whether a message is here. */
  has(id: string): boolean {
    return this.#messages.get(id)?.given === false;
  }

  /** Gives it to the dialog again, next time. */
  retry(id: string): void {
    const message = this.#messages.get(id);
    if (message !== undefined) message.code = null;
  }

  /** Another client is to have all. */
  again(): void {
    for (const message of this.#messages.values()) message.given = false;
  }

  /** Gives a message up. */
  discard(id: string): void {
    this.#messages.delete(id);
    local.remove(`${this.#place}:${id}`);
  }

  /** Gives all up. */
  clear(): void {
    for (const id of [...this.#messages.keys()]) this.discard(id);
  }

  #put(id: string, message: Message): void {
    this.#messages.set(id, message);
    local.set(`${this.#place}:${id}`, JSON.stringify({ text: message.text, at: message.at }));
  }

  #read(key: string): void {
    try {
      const { text, at } = JSON.parse(local.get(key) ?? "") as { text?: unknown; at?: unknown };
      if (typeof text !== "string" || typeof at !== "number") return;
      this.#messages.set(key.slice(this.#place.length + 1), { text, at, code: null, given: false });
    } catch {
      // Not ours.
    }
  }
}
