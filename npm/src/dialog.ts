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
 * A handle of one dialog: its rows, and the methods that change it. The subscription stays open
 * until the last handle is closed. All methods are bound.
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
   * Sends a message, now or once the client is online. Its row is there before this returns. Throws
   * a {@link TidewireError}: `empty`, `too_large`, `outbox_full`, `bad_op_id`, `bad_argument`,
   * `closed`. If the core is in another tab and the outbox is full, the row becomes `failed`
   * instead.
   */
  readonly send = (message: string, options: SendOptions = {}): Outgoing => {
    const { id } = settings<SendOptions>(options, "dialog.send: options", { id: text });
    return this.#open.send(text(message, "dialog.send: text"), id);
  };

  /** Sends a failed message again. Returns `false` if the message has not failed. */
  readonly retry = (id: string): boolean => this.#open.retry(text(id, "dialog.retry: id"));

  /**
   * Discards a message that waits or has failed. Returns `false` if the message is unknown or being
   * sent, because then nobody can say whether it arrived. If another tab leads, `true` means that
   * the leader was asked to discard it; the row stays if the message was already being sent.
   */
  readonly discard = (id: string): boolean => this.#open.discard(text(id, "dialog.discard: id"));

  /**
   * Stops the answer under way, whoever asked the question. Throws `run_not_found` if there is
   * none.
   */
  readonly stop = (): Outgoing => this.#open.stop();

  /**
   * Sends an ephemeral signal to everybody else who has the dialog open. It is not stored and may
   * be lost. A signal replaces an earlier one of the same kind and key that was not sent yet.
   * Throws a {@link TidewireError}: `bad_body`, `too_large`, `outbox_full`.
   */
  readonly signal = (kind: string, body: Signal["body"], key?: string): void => {
    const named = key === undefined ? {} : { key: text(key, "dialog.signal: key") };
    const command = { c: "signal", channel: channelOf(this.id), kind: text(kind, "dialog.signal: kind"), ...named };
    this.#open.run({ ...command, body: plainObject(body, "dialog.signal: body") });
  };

  /** Calls `listener` with each signal that others send. Returns a function that ends it. */
  readonly onSignal = (listener: (signal: Signal) => void): (() => void) => {
    callable(listener, "dialog.onSignal: listener");
    const own = (signal: Signal) => listener(signal);
    if (!this.#closed) this.#signals.add(own);
    return () => {
      this.#signals.delete(own);
    };
  };

  /** A store of one row. Its listeners are called only when that row changes. */
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
   * Closes this handle; closing the last one ends the subscription. The last rows can still be
   * read.
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
