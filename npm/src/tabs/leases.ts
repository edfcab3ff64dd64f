import type { Driver } from "../driver.ts";
import { encode } from "../json.ts";
import type { Lease } from "./messages.ts";

/** The leases that tabs hold together, as a core was told. */
export class Leases {
  readonly #driver: Driver;
  /** By channel and kind. */
  readonly #told = new Map<string, Lease>();

  constructor(driver: Driver) {
    this.#driver = driver;
  }

  /** Has the core take a lease that a tab is about to hold. Throws what it refuses. */
  take(lease: Lease): void {
    const { channel, kind, body } = lease;
    this.#driver.command({ c: "set_lease", channel, kind, body });
    this.#told.set(keyOf(lease), lease);
  }

  /**
   * Tells the core to hold these leases and no others: of each kind in a channel the one with the
   * newest body. One that the core refuses is tried again with the next call.
   */
  hold(leases: readonly Lease[]): void {
    const wanted = new Map<string, Lease>();
    for (const lease of leases) {
      const key = keyOf(lease);
      const other = wanted.get(key);
      if (other === undefined || other.at <= lease.at) wanted.set(key, lease);
    }
    for (const [key, { channel, kind }] of this.#told) {
      if (wanted.has(key)) continue;
      this.#told.delete(key);
      tried(() => this.#driver.command({ c: "set_lease", channel, kind }));
    }
    for (const [key, lease] of wanted) {
      const told = this.#told.get(key);
      if (told !== undefined && encode(told.body) === encode(lease.body)) continue;
      tried(() => this.take(lease));
    }
  }
}

/** Does what fails if the channel was closed or could not be opened: then it has no leases. */
function tried(call: () => void): void {
  try {
    call();
  } catch {
    // The handles of the channel show why.
  }
}

/** Names of channels have no spaces. */
const keyOf = ({ channel, kind }: Lease): string => `${channel} ${kind}`;
