import type { Restored, Storage, StorageFailure, StoreChange } from "./storage.ts";

const VERSION = 1;
const STORES = ["ops", "channels", "events", "profile"];
/** How long another tab may block the opening, ms. */
const BLOCKED_LIMIT = 3000;
const PROFILE_KEY = "profile";

interface Waiting {
  readonly change: StoreChange;
  readonly done: (failure: StorageFailure | null) => void;
}

/** A store in IndexedDB. Rejects if the browser denies it; later failures are reported for each change. */
export async function openIndexedDb(name: string): Promise<Storage> {
  const store = new IndexedDbStorage(`tidewire:${name}`);
  await store.open();
  return store;
}

class IndexedDbStorage implements Storage {
  readonly #name: string;
  #database: Promise<IDBDatabase> | undefined;
  #waiting: Waiting[] = [];
  #writing = false;

  constructor(name: string) {
    this.#name = name;
  }

  /** The connection; a new one if the browser or another tab ended the last. */
  open(): Promise<IDBDatabase> {
    if (this.#database === undefined) {
      const opening = openDatabase(this.#name, () => {
        if (this.#database === opening) this.#database = undefined;
      });
      this.#database = opening;
      opening.catch(() => {
        if (this.#database === opening) this.#database = undefined;
      });
    }
    return this.#database;
  }

  async load(): Promise<Restored> {
    const database = await this.open();
    const transaction = database.transaction(STORES, "readonly");
    const all = <T>(store: string) => result(transaction.objectStore(store).getAll() as IDBRequest<unknown>) as Promise<T>;
    const [ops, cursors, names, profile, events] = await Promise.all([
      all<string[]>("ops"),
      all<{ epoch: string; cursor: number }[]>("channels"),
      result(transaction.objectStore("channels").getAllKeys()),
      result(transaction.objectStore("profile").get(PROFILE_KEY) as IDBRequest<string | undefined>),
      all<{ channel: string; offset: number; text: string }[]>("events"),
    ]);
    const channels = cursors.map((kept, index) => {
      const channel = String(names[index]);
      // Another tab may have been further than the one that wrote its cursor last.
      const known = events.filter((event) => event.channel === channel && event.offset <= kept.cursor);
      return { channel, epoch: kept.epoch, cursor: kept.cursor, events: known.map((event) => event.text) };
    });
    return profile === undefined ? { ops, channels } : { profile, ops, channels };
  }

  apply(change: StoreChange): Promise<StorageFailure | null> {
    return new Promise((done) => {
      this.#waiting.push({ change, done });
      void this.#drain();
    });
  }

  close(): void {
    void this.#database?.then(
      (database) => database.close(),
      () => {},
    );
  }

  /** One transaction at a time, each with all that waits: one wait for the disk instead of many, and never out of order. */
  async #drain(): Promise<void> {
    if (this.#writing) return;
    this.#writing = true;
    while (this.#waiting.length > 0) {
      const batch = this.#waiting;
      this.#waiting = [];
      const failure = await this.#write(batch);
      if (failure === null || batch.length === 1) {
        for (const one of batch) one.done(failure);
      } else {
        // One of them may be at fault, so each gets its own answer.
        for (const one of batch) one.done(await this.#write([one]));
      }
    }
    this.#writing = false;
  }

  async #write(batch: readonly Waiting[]): Promise<StorageFailure | null> {
    try {
      const database = await this.open();
      await new Promise<void>((resolve, reject) => {
        const transaction = database.transaction(STORES, "readwrite", { durability: "strict" });
        transaction.oncomplete = () => resolve();
        transaction.onabort = () => reject(transaction.error);
        for (const { change } of batch) carryOut(transaction, change);
      });
      return null;
    } catch (error) {
      return error instanceof DOMException && error.name === "QuotaExceededError" ? "full" : "unavailable";
    }
  }
}

function carryOut(transaction: IDBTransaction, change: StoreChange): void {
  const store = (name: string) => transaction.objectStore(name);
  switch (change.t) {
    case "put_op":
      store("ops").put(change.record, change.id);
      break;
    case "delete_op":
      store("ops").delete(change.id);
      break;
    case "put_events": {
      const { channel, epoch, cursor } = change;
      store("channels").put({ epoch, cursor }, channel);
      for (const { offset, text } of change.events) store("events").put({ channel, offset, text });
      if (change.trim_below > 0) {
        store("events").delete(IDBKeyRange.bound([channel], [channel, change.trim_below], false, true));
      }
      break;
    }
    case "clear_channel":
      store("channels").delete(change.channel);
      // An array sorts after every number: this is the end of the channel's keys.
      store("events").delete(IDBKeyRange.bound([change.channel], [change.channel, []]));
      break;
    case "put_profile":
      store("profile").put(change.record, PROFILE_KEY);
      break;
  }
}

function openDatabase(name: string, lost: () => void): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(name, VERSION);
    let timer: ReturnType<typeof setTimeout> | undefined;
    request.onupgradeneeded = () => {
      const database = request.result;
      database.createObjectStore("ops");
      database.createObjectStore("channels");
      database.createObjectStore("events", { keyPath: ["channel", "offset"] });
      database.createObjectStore("profile");
    };
    request.onblocked = () => {
      timer = setTimeout(() => reject(new Error("another tab blocks the store")), BLOCKED_LIMIT);
    };
    request.onerror = () => reject(request.error);
    request.onsuccess = () => {
      clearTimeout(timer);
      const database = request.result;
      // Another tab wants a newer version: let it.
      database.onversionchange = () => {
        database.close();
        lost();
      };
      database.onclose = lost;
      resolve(database);
    };
  });
}

function result<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}
