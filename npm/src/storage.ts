/** A change of the store, as the core asks for it. */
export type StoreChange =
  | { readonly t: "put_op"; readonly id: string; readonly record: string }
  | { readonly t: "delete_op"; readonly id: string }
  | {
      readonly t: "put_events";
      readonly channel: string;
      readonly epoch: string;
      readonly cursor: number;
      /**
       * The texts so far of answers under way, as the core encodes them. Replaces the value stored
       * before.
       */
      readonly runs: string;
      readonly events: readonly { readonly offset: number; readonly text: string }[];
      readonly trim_below: number;
    }
  | { readonly t: "clear_channel"; readonly channel: string }
  | { readonly t: "put_table"; readonly name: string; readonly record: string }
  | { readonly t: "clear_table"; readonly name: string }
  | { readonly t: "put_profile"; readonly record: string };

/** The content of the store, for a core that starts. */
export interface Restored {
  readonly profile?: string;
  readonly ops: readonly string[];
  readonly channels: readonly {
    channel: string;
    epoch: string;
    cursor: number;
    runs: string;
    events: string[];
  }[];
  readonly tables: readonly { name: string; record: string }[];
}

/** The content of an empty store. */
export const NOTHING: Restored = { ops: [], channels: [], tables: [] };

/** Why a change failed. */
export type StorageFailure = "full" | "unavailable";

/** A store for ops, cursors, events and tables. */
export interface Storage {
  /** Reads everything that is stored. */
  load(): Promise<Restored>;
  /**
   * Carries out a change, after all changes given before. Resolves with `null` once it is durable,
   * otherwise with the failure. Never rejects.
   */
  apply(change: StoreChange): Promise<StorageFailure | null>;
  /** Closes what the store holds open. */
  close(): void;
}

/**
 * A store that keeps nothing. With `null` the application asked for it and every change succeeds;
 * with a failure the browser has no better store and every change reports that failure.
 */
export function memoryStorage(failure: StorageFailure | null): Storage {
  return {
    load: () => Promise.resolve(NOTHING),
    apply: () => Promise.resolve(failure),
    close: () => {},
  };
}
