import type { CoreEvent, WirePerson } from "./core.ts";
import { NOBODY } from "./initial.ts";
import { encode } from "./json.ts";
import { changed, kept } from "./list.ts";
import type { Lease } from "./tabs/messages.ts";
import { whoOf } from "./tabs/views.ts";
import type { JsonObject, PeopleState, Person, PersonLease, User } from "./types.ts";
import type { WatchHost } from "./watched.ts";
import { Watched } from "./watched.ts";

/** The kinds that the protocol keeps for itself. */
const HERE = "here";
const TYPING = "typing";

/** Who is in one channel, for all its handles, and the leases that those hold. */
export class Roster extends Watched<PeopleState> {
  /** The leases of each handle by kind. */
  readonly #held = new Map<object, Map<string, Lease>>();
  /** The list that the core has. */
  #listed: Person[] = [];
  /** The user that the leases are of. */
  #user: User | null;
  /** When a lease got its body last. */
  #heldAt = 0;

  /** `ended` is called when the last handle was closed. */
  constructor(channel: string, host: WatchHost, ended: () => void) {
    super(channel, whoOf(channel), NOBODY, host, ended);
    this.#user = host.user();
  }

  /** The leases of all handles: of each kind the one with the newest body. */
  get leases(): Lease[] {
    const newest = new Map<string, Lease>();
    for (const lease of [...this.#held.values()].flatMap((held) => [...held.values()])) {
      if ((newest.get(lease.kind)?.at ?? 0) < lease.at) newest.set(lease.kind, lease);
    }
    return [...newest.values()];
  }

  override add(handle: object): void {
    super.add(handle);
    this.#held.set(handle, new Map());
  }

  /** Removes a handle that was closed, with its leases. */
  override remove(handle: object): void {
    const held = this.#held.get(handle)?.size ?? 0;
    this.#held.delete(handle);
    if (held > 0) this.host.tabs.leasesChanged();
    super.remove(handle);
  }

  /** Holds a lease for a handle. Throws what the core refuses. */
  hold(handle: object, kind: string, body: JsonObject): void {
    this.#heldAt = Math.max(this.#heldAt + 1, Date.now());
    const lease = { channel: this.channel, kind, body, at: this.#heldAt };
    this.host.tabs.takeLease(lease);
    this.#held.get(handle)?.set(kind, lease);
    this.host.tabs.leasesChanged();
  }

  /** Gives up a lease of a handle. */
  release(handle: object, kind: string): void {
    if (this.#held.get(handle)?.delete(kind)) this.host.tabs.leasesChanged();
  }

  /** Says that the user is writing, or has stopped. It is lost while nobody can take it. */
  typing(on: boolean): void {
    try {
      this.host.tabs.run({ c: "typing", channel: this.channel, on });
    } catch {
      // It is said with each key, so there is nobody who could do anything about it.
    }
  }

  /** Applies what the core says. */
  apply({ changes = [], status = "live", code, count }: Extract<CoreEvent, { t: "people" }>): void {
    // Without listeners this tab has no list that changes could be applied to.
    if (!this.isWatched) return;
    const read = (row: WirePerson): Person => this.#read(row);
    this.#listed = changes.reduce((list, change) => changed(list, change, read), [...this.#listed]);
    // A new leader's core has nobody until the server has answered.
    const keeps = count === undefined || (status === "syncing" && this.#listed.length === 0);
    const shown = { ...this.state, status, code: code ?? null };
    this.#show(keeps ? shown : { ...shown, count, people: this.#listed });
  }

  /** The server said who the user is. */
  identified(): void {
    const before = this.#user;
    this.#user = this.host.user();
    if (before !== null && before.id !== this.#user?.id) this.clear();
    this.#listed = this.#listed.map((person) => this.#owned(person));
    this.#show({ ...this.state, people: this.state.people.map((person) => this.#owned(person)) });
  }

  /** Forgets everybody, and what the user did, because it was another user. */
  clear(): void {
    const held = this.leases.length;
    for (const leases of this.#held.values()) leases.clear();
    this.#listed = [];
    this.#show(NOBODY);
    if (held > 0) this.host.tabs.leasesChanged();
  }

  override asOfEarlier(): PeopleState {
    return { ...this.state, status: "syncing", code: null, typing: [] };
  }

  protected override unwatched(): void {
    this.#listed = [];
    super.unwatched();
  }

  /** Shows a state. What is the same as before stays the same object. */
  #show(state: PeopleState): void {
    const before = this.state;
    const { status, code, count } = state;
    const people = kept(before.people, state.people);
    const others = status === "live" ? people.filter(({ own, leases }) => !own && leases[TYPING] !== undefined) : [];
    const typing = kept(
      before.typing,
      others.map(({ user }) => user),
    );
    const same = before.status === status && before.code === code && before.count === count;
    if (same && people === before.people && typing === before.typing) return;
    this.set({ status, code, count, people, typing });
  }

  /** A person that the core wrote: the object that is shown already, if nothing changed. */
  #read({ user, leases }: WirePerson): Person {
    const held: Record<string, PersonLease> = Object.create(null);
    for (const { kind, since, brief = false, body = {} } of leases) {
      if (kind !== HERE) held[kind] = { body, since, brief };
    }
    const since = Math.min(...leases.map((lease) => lease.since));
    const known = this.state.people.find((person) => isSame(person.user, user));
    const same = known !== undefined && known.user.name === user.name ? known.user : user;
    const person = {
      user: same,
      own: this.#isOwn(user),
      here: leases.some(({ kind }) => kind === HERE),
      since,
      leases: held,
    };
    return known !== undefined && encode(known) === encode(person) ? known : person;
  }

  #isOwn(user: User): boolean {
    return this.#user !== null && isSame(user, this.#user);
  }

  #owned(person: Person): Person {
    const own = this.#isOwn(person.user);
    return own === person.own ? person : { ...person, own };
  }
}

const isSame = (one: User, other: User): boolean => one.id === other.id && one.kind === other.kind;
