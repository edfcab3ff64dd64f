import type { Conversation, Handle } from "./conversation.ts";
import { EMPTY } from "./conversation.ts";
import { channelOf } from "./core.ts";
import { plainObject } from "./json.ts";
import type { Scheduler } from "./store.ts";
import { report, StateStore } from "./store.ts";
import type { DialogState, Listener, Outgoing, Row, SendOptions, Signal, Store } from "./types.ts";
import { TidewireError } from "./types.ts";
import { callable, settings, text } from "./validate.ts";

/**
 * A handle of one conversation: its rows, and what can be done in it. The conversation stays open
 * until the last of its handles is closed. All methods are bound.
 */
export class Dialog implements Store<DialogState>, Handle {
  /** The dialog's id. */
  readonly id: string;
  readonly #conversation: Conversation;
  readonly #store: StateStore<DialogState>;
  readonly #signals = new Set<(signal: Signal) => void>();
  #closed = false;

  /** @internal */
  constructor(conversation: Conversation, scheduler: Scheduler) {
    this.id = conversation.id;
    this.#conversation = conversation;
    this.#store = new StateStore(EMPTY, scheduler);
    this.#store.set(conversation.state);
  }

  readonly getState = (): DialogState => this.#store.getState();

  readonly getInitialState = (): DialogState => EMPTY;

  readonly subscribe = (listener: Listener<DialogState>): (() => void) =>
    this.#store.subscribe(callable(listener, "dialog.subscribe: listener"));

  /**
   * Takes a message, online or not; its row is there before this returns. Throws a {@link
   * TidewireError} when it is refused: `empty`, `too_large`, `outbox_full`, `bad_op_id`; a full
   * outbox in another tab makes the row `failed` instead.
   */
  readonly send = (message: string, options: SendOptions = {}): Outgoing => {
    const { id } = settings<SendOptions>(options, "dialog.send: options", { id: text });
    return this.#open.send(text(message, "dialog.send: text"), id);
  };

  /** Sends a failed message again. `false` if it is not a failed one. */
  readonly retry = (id: string): boolean => this.#open.retry(text(id, "dialog.retry: id"));

  /**
   * Gives up a message that waits or failed. `false` if it is on its way, or not known: then nobody
   * can say whether it arrived. Where another tab leads, `true` says that it is asked for; the row
   * stays if the message was on its way.
   */
  readonly discard = (id: string): boolean => this.#open.discard(text(id, "dialog.discard: id"));

  /** Asks for the end of the answer under way, whoever asked the question. */
  readonly stop = (): Outgoing => this.#open.stop();

  /**
   * Tells everybody else who has the dialog open, now or never; of signals of one kind and key only
   * the newest matters. Throws a {@link TidewireError}: `bad_body`, `too_large`, `outbox_full`.
   */
  readonly signal = (kind: string, body: Signal["body"], key?: string): void => {
    const named = key === undefined ? {} : { key: text(key, "dialog.signal: key") };
    const command = { c: "signal", channel: channelOf(this.id), kind: text(kind, "dialog.signal: kind"), ...named };
    this.#open.run({ ...command, body: plainObject(body, "dialog.signal: body") });
  };

  /** Calls `listener` with each signal of somebody else's. Returns what ends it. */
  readonly onSignal = (listener: (signal: Signal) => void): (() => void) => {
    callable(listener, "dialog.onSignal: listener");
    const own = (signal: Signal) => listener(signal);
    if (!this.#closed) this.#signals.add(own);
    return () => {
      this.#signals.delete(own);
    };
  };

  /** One row: its listeners hear of nothing else. */
  readonly row = (id: string): Store<Row | undefined> => {
    const known = text(id, "dialog.row: id");
    const find = (state: DialogState) => state.rows.find((row) => row.id === known);
    return {
      getState: () => find(this.getState()),
      getInitialState: () => undefined,
      subscribe: (listener) => {
        callable(listener, "dialog.row: listener");
        return this.subscribe((state, previous) => {
          const [now, before] = [find(state), find(previous)];
          if (now !== before) listener(now, before);
        });
      },
    };
  };

  /**
   * Closes this handle, and with the last one the subscription. The rows can still be read; they
   * are as they were.
   */
  readonly close = (): void => {
    if (this.#closed) return;
    this.#closed = true;
    this.#signals.clear();
    this.#store.set({ ...this.getState(), status: "closed", error: null, retryAt: null });
    this.#conversation.release(this);
  };

  /** As {@link close}: for `using`. */
  [Symbol.dispose](): void {
    this.close();
  }

  /** @internal */
  show(state: DialogState): void {
    this.#store.set(state);
  }

  /** @internal */
  signalled(signal: Signal): void {
    for (const listener of [...this.#signals]) {
      try {
        listener(signal);
      } catch (error) {
        report(error);
      }
    }
  }

  get #open(): Conversation {
    if (!this.#closed) return this.#conversation;
    throw new TidewireError("closed", "this dialog was closed; client.dialog(id) opens it again", false);
  }
}
