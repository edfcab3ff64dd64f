import type { Dialog } from "../dialog.ts";
import * as local from "../localstorage.ts";
import type { Row } from "../types.ts";
import { uuid } from "./uuid.ts";

/** The dialog that takes the messages. */
export type Taker = Pick<Dialog, "getState" | "send">;

/** States of rows that the client has for good: stored, in the log, or refused. */
const TAKEN: readonly Row["state"][] = ["queued", "sent", "failed"];
const ME = { id: "", name: "", kind: "guest" } as const;

interface Message {
  readonly text: string;
  readonly at: number;
  /** Why it was not taken. */
  code: string | null;
  /** The client got it, but may not have stored it yet. */
  given: boolean;
}

/**
 * Messages that people send before the client is loaded. Each gets its id at once and is stored in
 * this browser until a client has stored it. So it is sent exactly once, however often the page is
 * reloaded.
 */
export class Unsent {
  /** The prefix of the keys in the browser's storage. */
  #place = "";
  readonly #messages = new Map<string, Message>();

  /**
   * Switches to another user or conversation. With `along` the messages move with it, because
   * author and conversation are the same. Otherwise they stay stored until that conversation is
   * shown again.
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

  /** Adds a message. */
  add(text: string): void {
    this.#put(uuid(), { text, at: Date.now(), code: null, given: false });
  }

  /** The messages as rows, without those that the dialog has. */
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

  /**
   * Sends all messages to a dialog that does not have them, and removes those that it has stored.
   */
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

  /** Whether a message is among these. */
  has(id: string): boolean {
    return this.#messages.get(id)?.given === false;
  }

  /** Sends a message to the dialog again, next time. */
  retry(id: string): void {
    const message = this.#messages.get(id);
    if (message !== undefined) message.code = null;
  }

  /** Sends all messages again, because there is another client. */
  again(): void {
    for (const message of this.#messages.values()) message.given = false;
  }

  /** Discards a message. */
  discard(id: string): void {
    this.#messages.delete(id);
    local.remove(`${this.#place}:${id}`);
  }

  /** Discards all messages. */
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
      // The stored value was not written by this class.
    }
  }
}
