import { NOBODY } from "./initial.ts";
import { plainObject } from "./json.ts";
import type { Roster } from "./roster.ts";
import type { JsonObject, PeopleState } from "./types.ts";
import { text, wrong } from "./validate.ts";
import type { Owner } from "./watched.ts";
import { WatchedPart } from "./watched.ts";

/**
 * Who is in a channel or dialog, and what this client's user is doing there: a part of a handle. The
 * server tells it while anybody subscribes. All methods are bound.
 */
export class People extends WatchedPart<PeopleState> {
  readonly #owner: Owner;
  readonly #roster: Roster;
  /** Whether this handle said that the user is writing. */
  #typing = false;

  /** @internal */
  constructor(owner: Owner, roster: Roster) {
    super(roster, NOBODY, `${owner.what}.people`);
    this.#owner = owner;
    this.#roster = roster;
  }

  /**
   * Says that this client's user is writing, or with `false` that they have stopped. Call it with
   * each change of the text: others are told of it now and then, and of the end after 6 s without
   * another call, or with the user's next message. It may be lost, and does nothing once the handle
   * was closed. Throws a {@link TidewireError}: `bad_argument`.
   */
  readonly typing = (on = true): void => {
    if (typeof on !== "boolean") wrong(`${this.#owner.what}.people.typing: on`, "true or false", on);
    // The empty field of one tab does not end what the user writes in another one.
    if (this.isEnded || !(on || this.#typing)) return;
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
  override end(): void {
    this.typing(false);
    super.end();
  }
}
