/** A change of the store, as the core asks for it. */
export type StoreChange =
  | { readonly t: "put_op"; readonly id: string; readonly record: string }
  | { readonly t: "delete_op"; readonly id: string }
  | {
      readonly t: "put_events";
      readonly channel: string;
      readonly epoch: string;
      readonly cursor: number;
      /** What answers under way have said so far, in the place of what was kept before. */
      readonly runs: string;
      readonly events: readonly { readonly offset: number; readonly text: string }[];
      readonly trim_below: number;
    }
  | { readonly t: "clear_channel"; readonly channel: string }
  | { readonly t: "put_table"; readonly name: string; readonly record: string }
  | { readonly t: "clear_table"; readonly name: string }
  | { readonly t: "put_profile"; readonly record: string };

/** What the store held: given to the core when it starts. */
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

/** What a store holds in which nothing was ever kept. */
export const NOTHING: Restored = { ops: [], channels: [], tables: [] };

/** How a change failed. */
export type StorageFailure = "full" | "unavailable";

/** Where ops, cursors, events and tables are kept. */
export interface Storage {
  /** Everything kept. */
  load(): Promise<Restored>;
  /**
   * Carries out a change after all changes given before; `null` once it is durable. Never rejects.
   */
  apply(change: StoreChange): Promise<StorageFailure | null>;
  /** Lets go of what is held open. */
  close(): void;
}

/**
 * Keeps nothing, because the application wants it so (`null`) or because there is no better place
 * (the failure).
 */
export function memoryStorage(failure: StorageFailure | null): Storage {
  return {
    load: () => Promise.resolve(NOTHING),
    apply: () => Promise.resolve(failure),
    close: () => {},
  };
}
