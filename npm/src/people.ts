import { NOBODY } from "./initial.ts";
import { plainObject } from "./json.ts";
import type { Roster } from "./roster.ts";
import type { JsonObject, Listener, PeopleState, Store } from "./types.ts";
import { callable, text, wrong } from "./validate.ts";

/** The handle that has the people. */
interface Owner {
  readonly what: string;
  /** Throws `closed` if the handle was closed. */
  assertOpen(): void;
}

/**
 * Who is in a channel or dialog, and what this client's user is doing there: a part of a handle. The
 * server tells it while anybody subscribes. All methods are bound.
 */
export class People implements Store<PeopleState> {
  readonly #owner: Owner;
  readonly #roster: Roster;
  /** Each ends a listener. */
  readonly #ends = new Set<() => void>();
  /** Whether this handle said that the user is writing. */
  #typing = false;
  /** The last state, once the handle was closed. */
  #last: PeopleState | undefined;

  /** @internal */
  constructor(owner: Owner, roster: Roster) {
    this.#owner = owner;
    this.#roster = roster;
    roster.add(this);
  }

  readonly getState = (): PeopleState => this.#last ?? this.#roster.state;

  readonly getInitialState = (): PeopleState => NOBODY;

  /**
   * Calls `listener` after changes, at most once per animation frame. The first listener begins to
   * follow who is there, the last one ends it. Returns a function that ends it.
   */
  readonly subscribe = (listener: Listener<PeopleState>): (() => void) => {
    callable(listener, `${this.#owner.what}.people.subscribe: listener`);
    if (this.#last !== undefined) return () => {};
    const stop = this.#roster.listen(listener);
    const end = (): void => {
      this.#ends.delete(end);
      stop();
    };
    this.#ends.add(end);
    return end;
  };

  /**
   * Says that this client's user is writing, or with `false` that they have stopped. Call it with
   * each change of the text: others are told of it now and then, and of the end after 6 s without
   * another call, or with the user's next message. It may be lost, and does nothing once the handle
   * was closed. Throws a {@link TidewireError}: `bad_argument`.
   */
  readonly typing = (on = true): void => {
    if (typeof on !== "boolean") wrong(`${this.#owner.what}.people.typing: on`, "true or false", on);
    // The empty field of one tab does not end what the user writes in another one.
    if (this.#last !== undefined || !(on || this.#typing)) return;
    this.#typing = on;
    this.#roster.typing(on);
  };

  /**
   * Holds a lease: something that this client's user is or does here, which others see until it is
   * given up, until the handle is closed, or until the user's last tab that holds it has ended. It is
   * held across reconnects. The newest body counts. `kind` has 1 to 64 bytes and is neither `here`
   * nor `typing`; `body` has up to 1,024 bytes as JSON. A user holds up to 8 leases in a channel.
   * Throws a {@link TidewireError}: `bad_argument`, `bad_kind`, `bad_body`, `too_large`,
   * `too_many_leases`, `closed`. If the core is in another tab and all tabs together hold too many,
   * this one waits until another is given up.
   */
  readonly hold = (kind: string, body: JsonObject = {}): void => {
    const { what } = this.#owner;
    const known = text(kind, `${what}.people.hold: kind`);
    const plain = plainObject(body, `${what}.people.hold: body`);
    this.#owner.assertOpen();
    this.#roster.hold(this, known, plain);
  };

  /**
   * Gives up a lease that this handle holds. Others see it on if another handle or tab of the user
   * holds it too. Throws a {@link TidewireError}: `bad_argument`, `closed`.
   */
  readonly release = (kind: string): void => {
    const known = text(kind, `${this.#owner.what}.people.release: kind`);
    this.#owner.assertOpen();
    this.#roster.release(this, known);
  };

  /** @internal The handle was closed. */
  end(): void {
    this.typing(false);
    for (const end of [...this.#ends]) end();
    this.#last = { ...this.#roster.state, status: "syncing", code: null, typing: [] };
    this.#roster.remove(this);
  }
}
