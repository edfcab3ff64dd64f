import type { Restored, Storage, StorageFailure, StoreChange } from "./storage.ts";

const VERSION = 2;
const STORES = ["ops", "channels", "events", "profile", "leader", "tables"];
/**
 * The property of the leader's record with a unique index, so that there can't be a second record.
 */
const SLOT = "slot";
/** How long another tab may block the opening, ms. */
const BLOCKED_LIMIT = 3000;
/** How long opening may take at all, ms: some browsers never answer. */
const OPEN_LIMIT = 8000;
/** Names of the errors that a connection throws after the browser has ended it. */
const OVER = ["InvalidStateError", "UnknownError", "AbortError", "TransactionInactiveError"];
const PROFILE_KEY = "profile";

interface Waiting {
  readonly change: StoreChange;
  readonly done: (failure: StorageFailure | null) => void;
}

/**
 * The leader that the store knows. The record has `life` in the place of `storeId`, the name that
 * earlier releases gave it.
 */
interface Leader {
  readonly term: number;
  readonly storeId: string;
}

/**
 * A store in IndexedDB. Opens a scope's database. Rejects if the browser denies access; later
 * failures are reported for each change.
 */
export async function openIndexedDb(scope: string): Promise<IndexedDbStorage> {
  const store = new IndexedDbStorage(`tidewire:${scope}`);
  await store.open();
  return store;
}

/**
 * A store that several tabs may open. After `lead` it writes until another tab calls `lead` or
 * `wipe`. Every transaction writes the leader's record, and the unique index aborts the whole
 * transaction if another leader's record is there.
 */
export class IndexedDbStorage implements Storage {
  readonly #name: string;
  #leader: Leader | undefined;
  #replaced = false;
  #database: Promise<IDBDatabase> | undefined;
  #waiting: Waiting[] = [];
  #writing = false;

  constructor(name: string) {
    this.#name = name;
  }

  /**
   * The connection to the database. Opens a new one if the browser or another tab ended the last.
   */
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
    return read(await this.#begin("readonly"));
  }

  /**
   * Makes this tab the only one that writes, with a term above `known`, and reads what earlier
   * leaders wrote.
   */
  async lead(known: number): Promise<Leader & { readonly restored: Restored }> {
    try {
      const transaction = await this.#begin();
      const work = [replaceLeader(transaction, known, false), read(transaction), finished(transaction)] as const;
      const [leader, restored] = await Promise.all(work);
      this.#leader = leader;
      return { ...leader, restored };
    } catch (error) {
      if (failureOf(error) !== "full") throw error;
      // The quota is used up, so the leader's record can't be written. The stored data can still be
      // read.
      return { term: known + 1, storeId: "", restored: await this.load() };
    }
  }

  /** Empties the store. Its leader can't write any more. */
  async wipe(known: number): Promise<void> {
    const transaction = await this.#begin();
    for (const store of STORES) if (store !== "leader") transaction.objectStore(store).clear();
    await Promise.all([replaceLeader(transaction, known, true), finished(transaction)]);
  }

  async #begin(mode: "readonly" | "readwrite" = "readwrite"): Promise<IDBTransaction> {
    const begin = async () => (await this.open()).transaction(STORES, mode, { durability: "strict" });
    try {
      return await begin();
    } catch (error) {
      if (!isOver(error)) throw error;
      this.#database = undefined;
      return begin();
    }
  }

  apply(change: StoreChange): Promise<StorageFailure | null> {
    return new Promise((done) => {
      this.#waiting.push({ change, done });
      void this.#drain();
    });
  }

  /** Writes all waiting changes now, then closes the connection. */
  close(): void {
    const batch = this.#waiting;
    this.#waiting = [];
    const closing = this.#database;
    if (batch.length > 0) {
      void this.#write(batch).then((failure) => {
        for (const one of batch) one.done(failure);
      });
    }
    // After the transaction above has begun: a database closes once those under way are done.
    void closing?.then(
      (database) => {
        database.close();
        if (this.#database === closing) this.#database = undefined;
      },
      () => {},
    );
  }

  /**
   * One transaction at a time, each with all waiting changes. So changes stay in order and share
   * one wait for the disk.
   */
  async #drain(): Promise<void> {
    if (this.#writing) return;
    this.#writing = true;
    // Changes of one turn of the event loop go into one transaction: when a page ends, only the
    // first transaction is sure to be carried out.
    await Promise.resolve();
    while (this.#waiting.length > 0) {
      const batch = this.#waiting;
      this.#waiting = [];
      const failure = await this.#write(batch);
      if (failure === null || batch.length === 1) {
        for (const one of batch) one.done(failure);
      } else {
        // One change may have failed the whole batch, so each is tried by itself.
        for (const one of batch) one.done(await this.#write([one]));
      }
    }
    this.#writing = false;
  }

  async #write(batch: readonly Waiting[], again = true): Promise<StorageFailure | null> {
    if (this.#replaced) return "unavailable";
    try {
      const transaction = await this.#begin();
      if (this.#leader !== undefined) {
        const { term, storeId } = this.#leader;
        transaction.objectStore("leader").put({ [SLOT]: 0, life: storeId }, term);
      }
      for (const { change } of batch) carryOut(transaction, change);
      // No request of the transaction waits for a result, so it commits even if the page is frozen
      // meanwhile.
      transaction.commit();
      await finished(transaction);
      return null;
    } catch (error) {
      if (error instanceof DOMException && error.name === "ConstraintError") this.#replaced = true;
      if (!again || !isOver(error)) return failureOf(error);
      // The whole batch is repeated on a new connection; writing the same data twice is harmless.
      this.#database = undefined;
      return this.#write(batch, false);
    }
  }
}

/** Reads everything that is stored. */
async function read(transaction: IDBTransaction): Promise<Restored> {
  const all = <T>(store: string) => result(transaction.objectStore(store).getAll() as IDBRequest<unknown>) as Promise<T>;
  const keys = (store: string) => result(transaction.objectStore(store).getAllKeys());
  const [ops, cursors, names, tableNames, records, profile, events] = await Promise.all([
    all<string[]>("ops"),
    all<{ epoch: string; cursor: number; runs?: string }[]>("channels"),
    keys("channels"),
    keys("tables"),
    all<string[]>("tables"),
    result(transaction.objectStore("profile").get(PROFILE_KEY) as IDBRequest<string | undefined>),
    all<{ channel: string; offset: number; text: string }[]>("events"),
  ]);
  const channels = cursors.map((kept, index) => {
    const channel = String(names[index]);
    // Another tab may have stored events beyond the cursor that was written last.
    const known = events.filter((event) => event.channel === channel && event.offset <= kept.cursor);
    const { epoch, cursor, runs = "" } = kept;
    return { channel, epoch, cursor, runs, events: known.map((event) => event.text) };
  });
  const tables = records.map((record, index) => ({ name: String(tableNames[index]), record }));
  return { ...(profile === undefined ? {} : { profile }), ops, channels, tables };
}

/** Writes a new leader's record. With `anew` the store gets a new id. */
async function replaceLeader(transaction: IDBTransaction, known: number, anew: boolean): Promise<Leader> {
  const store = transaction.objectStore("leader");
  const [terms, records] = await Promise.all([
    result(store.getAllKeys()),
    result(store.getAll() as IDBRequest<{ life: string }[]>),
  ]);
  const term = Math.max(known, Number(terms[0] ?? 0)) + 1;
  const storeId = (anew ? undefined : records[0]?.life) ?? crypto.randomUUID();
  store.clear();
  store.put({ [SLOT]: 0, life: storeId }, term);
  return { term, storeId };
}

/**
 * Whether an error says that the connection was ended. iOS ends connections of background pages,
 * some without an event.
 */
function isOver(error: unknown): boolean {
  return error === null || (error instanceof DOMException && OVER.includes(error.name));
}

function failureOf(error: unknown): StorageFailure {
  return error instanceof DOMException && error.name === "QuotaExceededError" ? "full" : "unavailable";
}

function finished(transaction: IDBTransaction): Promise<void> {
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onabort = () => reject(transaction.error);
  });
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
      const { channel, epoch, cursor, runs } = change;
      store("channels").put({ epoch, cursor, runs }, channel);
      for (const { offset, text } of change.events) store("events").put({ channel, offset, text });
      if (change.trim_below > 0) {
        store("events").delete(IDBKeyRange.bound([channel], [channel, change.trim_below], false, true));
      }
      break;
    }
    case "clear_channel":
      store("channels").delete(change.channel);
      // An array sorts after every number, so this is the upper bound of the channel's keys.
      store("events").delete(IDBKeyRange.bound([change.channel], [change.channel, []]));
      break;
    case "put_table":
      store("tables").put(change.record, change.name);
      break;
    case "clear_table":
      store("tables").delete(change.name);
      break;
    case "put_profile":
      store("profile").put(change.record, PROFILE_KEY);
      break;
  }
}

function openDatabase(name: string, lost: () => void): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(name, VERSION);
    let late = false;
    const give = (why: string) => () => {
      late = true;
      reject(new Error(why));
    };
    let timer = setTimeout(give("the browser does not answer"), OPEN_LIMIT);
    request.onupgradeneeded = ({ oldVersion }) => {
      const database = request.result;
      if (oldVersion < 1) {
        database.createObjectStore("ops");
        database.createObjectStore("channels");
        database.createObjectStore("events", { keyPath: ["channel", "offset"] });
        database.createObjectStore("profile");
        database.createObjectStore("leader").createIndex(SLOT, SLOT, { unique: true });
      }
      database.createObjectStore("tables");
    };
    request.onblocked = () => {
      clearTimeout(timer);
      timer = setTimeout(give("another tab blocks the store"), BLOCKED_LIMIT);
    };
    request.onerror = () => {
      clearTimeout(timer);
      reject(request.error);
    };
    request.onsuccess = () => {
      clearTimeout(timer);
      const database = request.result;
      // The opening has timed out: nobody waits for this connection.
      if (late) return database.close();
      // Another tab wants to upgrade the database: close, so that it can.
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
