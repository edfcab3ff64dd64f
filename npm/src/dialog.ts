import type { Conversation } from "./conversation.ts";
import { channelOf } from "./core.ts";
import type { Beside } from "./handle.ts";
import { Handle } from "./handle.ts";
import { NO_ROWS } from "./initial.ts";
import type { Scheduler } from "./store.ts";
import type { DialogState, HandOffStep, Outgoing, Row, SendOptions, Store } from "./types.ts";
import { callable, settings, text } from "./validate.ts";

/**
 * A handle of one dialog: its rows, and the methods that change it. The subscription stays open
 * until the last handle is closed. All methods are bound.
 */
export class Dialog extends Handle<DialogState> {
  /** The dialog's id. */
  readonly id: string;
  readonly #conversation: Conversation;

  /** @internal */
  constructor(conversation: Conversation, scheduler: Scheduler, beside: Beside) {
    super("dialog", channelOf(conversation.id), conversation, NO_ROWS, scheduler, beside);
    this.id = conversation.id;
    this.#conversation = conversation;
  }

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
   * Takes a step of a hand-off: who answers is the state's `handler`. `acked` is rejected with
   * `handoff_conflict` if the dialog's state does not allow the step, and with `forbidden` if it is
   * not this user's to take. Asking for a person waits for the next connection, as a message does; the
   * other steps are given up with this client. Throws a {@link TidewireError}: `bad_argument`,
   * `bad_body`, `too_large`, `outbox_full`, `closed`.
   */
  readonly handOff = (step: HandOffStep): Outgoing => {
    type Members = { step: string; from?: string; to?: { id: string; name: string } };
    const what = "dialog.handOff: step";
    const to = (given: unknown, what: string): unknown => settings(given as object, what, { id: text, name: text } as never);
    const body = settings<Members>(step as Members, what, { step: text, from: text, to });
    return this.#open.handOff(body as HandOffStep);
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

  get #open(): Conversation {
    this.assertOpen();
    return this.#conversation;
  }
}
