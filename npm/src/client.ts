import type { DialogHost } from "./dialog.ts";
import { Dialog } from "./dialog.ts";
import type { Command, CoreEvent } from "./driver.ts";
import { Driver, monotonic } from "./driver.ts";
import { openIndexedDb } from "./indexeddb.ts";
import type { Restored, Storage } from "./storage.ts";
import { memoryStorage } from "./storage.ts";
import { Scheduler, StateStore } from "./store.ts";
import { guestToken } from "./token.ts";
import type { ClientOptions, ClientState, ConnectionState, Listener, Outgoing, Report, Store } from "./types.ts";
import { TidewireError } from "./types.ts";
import { createCore, loadCore } from "./wasm.ts";

const CHANNEL = "dialog:";
const INITIAL: ClientState = {
  status: { state: "idle", attempt: 0, retryAt: null, cause: null, waiting: 0 },
  user: null,
  storage: null,
};

interface Waiting {
  resolve(at: { offset: number }): void;
  reject(error: TidewireError): void;
}

/**
 * Loads the core and what this browser kept, then returns a client with which everything is synchronous. It connects by itself
 * unless `autoConnect` is `false`. Rejects only if the core can't be loaded or the options make no sense.
 */
export async function createClient(options: ClientOptions): Promise<Client> {
  const server = new URL(options.url);
  const [store] = await Promise.all([openStorage(options), loadCore(options.wasm)]);
  const client = new Client(options, server, store);
  if (options.autoConnect !== false) client.connect();
  return client;
}

interface OpenedStorage {
  readonly storage: Storage;
  readonly restored: Restored;
  readonly failure: string | null;
}

/** The store of the options' choice, or, where the browser denies it, memory that says so for each message. */
async function openStorage(options: ClientOptions): Promise<OpenedStorage> {
  if (options.storage !== "memory") {
    try {
      const storage = await openIndexedDb(options.name ?? "default");
      return { storage, restored: await storage.load(), failure: null };
    } catch {
      const storage = memoryStorage("unavailable");
      return { storage, restored: await storage.load(), failure: "storage_unavailable" };
    }
  }
  const storage = memoryStorage(null);
  return { storage, restored: await storage.load(), failure: null };
}

/** One user's connection to a server. All methods are bound. */
export class Client implements Store<ClientState> {
  readonly #scheduler = new Scheduler();
  readonly #store: StateStore<ClientState>;
  readonly #dialogs = new Map<string, Dialog>();
  readonly #waiting = new Map<string, Waiting>();
  readonly #driver: Driver;
  readonly #host: DialogHost;

  /** @internal */
  constructor(options: ClientOptions, server: URL, opened: OpenedStorage) {
    this.#store = new StateStore<ClientState>({ ...INITIAL, storage: opened.failure }, this.#scheduler);
    const name = options.name ?? "default";
    this.#driver = new Driver({
      core: createCore({ agent: "tidewire-js", ...options.config }, opened.restored, monotonic(), Date.now()),
      url: socketUrl(server),
      storage: opened.storage,
      token: options.token ?? guestToken(server, { ...options.guest, name }),
      event: (event) => this.#apply(event),
    });
    this.#host = {
      command: (command) => {
        let answer: unknown;
        this.#driver.command(command, (given) => {
          answer = given;
        });
        return answer;
      },
      send: (command) => this.#send(command),
      forget: (id) => this.#forget(id),
    };
  }

  readonly getState = (): ClientState => this.#store.getState();

  readonly getInitialState = (): ClientState => INITIAL;

  readonly subscribe = (listener: Listener<ClientState>): (() => void) => this.#store.subscribe(listener);

  /** Wants to be connected, from now on and whatever happens. Also the way out of `failed`, and at once out of a pause. */
  readonly connect = (): void => this.#driver.command({ c: "connect" });

  /** Wants to be disconnected. What waits stays stored; its promises are rejected with `closed`. */
  readonly close = (): void => {
    this.#driver.command({ c: "close" });
    this.#rejectAll();
  };

  /** Closes, and frees the memory. The client is of no more use. */
  readonly dispose = (): void => {
    if (this.#driver.isUsable) this.close();
    this.#driver.dispose();
  };

  /** What happened lately, and the counters: for a bug report. */
  readonly explain = (): Report => {
    let report: Report | undefined;
    this.#driver.command({ c: "explain" }, (answer) => {
      report = answer as Report;
    });
    if (report === undefined) throw new TidewireError("internal", "explain gave no answer", false);
    return report;
  };

  /** A dialog, always the same object for the same id. Throws a {@link TidewireError}: `bad_channel`, `too_many_subscriptions`. */
  readonly dialog = (id: string): Dialog => {
    const known = this.#dialogs.get(id);
    if (known !== undefined) return known;
    const dialog = new Dialog(id, this.#host, this.#scheduler);
    this.#dialogs.set(id, dialog);
    try {
      this.#driver.command({ c: "open_dialog", dialog: id });
    } catch (error) {
      this.#dialogs.delete(id);
      throw error;
    }
    return dialog;
  };

  #forget(id: string): void {
    if (this.#dialogs.delete(id)) this.#driver.command({ c: "close_dialog", dialog: id });
  }

  #send(command: Command): Outgoing {
    let outgoing: Outgoing | undefined;
    this.#driver.command(command, (answer) => {
      const id = String(answer);
      const acked = new Promise<{ offset: number }>((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
      // The row shows a failure too, so nobody has to look at the promise.
      acked.catch(() => {});
      outgoing = { id, acked };
    });
    if (outgoing === undefined) throw new TidewireError("internal", `${command.c} gave no answer`, false);
    return outgoing;
  }

  #apply(event: CoreEvent): void {
    const state = this.getState();
    switch (event.t) {
      case "status": {
        const retryAt = event.retry_in_ms === undefined ? null : Date.now() + event.retry_in_ms;
        const { attempt, waiting } = event;
        const status = { state: event.state as ConnectionState, attempt, retryAt, cause: event.cause ?? null, waiting };
        this.#store.set({ ...state, status });
        break;
      }
      case "user":
        this.#store.set({ ...state, user: event.user });
        break;
      case "storage":
        this.#store.set({ ...state, storage: event.code ?? null });
        break;
      case "op":
        this.#settle(event);
        break;
      case "dialog":
        this.#dialogs.get(event.dialog)?.apply(event);
        break;
      case "channel":
        if (event.channel.startsWith(CHANNEL)) this.#dialogs.get(event.channel.slice(CHANNEL.length))?.apply(event);
        break;
    }
  }

  #settle(event: Extract<CoreEvent, { t: "op" }>): void {
    const waiting = this.#waiting.get(event.id);
    if (waiting === undefined || event.state === "queued" || event.state === "sending") return;
    this.#waiting.delete(event.id);
    if (event.state === "acked") waiting.resolve({ offset: event.offset ?? 0 });
    else if (event.state === "discarded") waiting.reject(new TidewireError("discarded", "it was discarded", false));
    else waiting.reject(new TidewireError(event.code ?? "internal", event.message ?? "", true));
  }

  #rejectAll(): void {
    const error = new TidewireError("closed", "the client was closed; the message is sent by the next connection", true);
    for (const waiting of this.#waiting.values()) waiting.reject(error);
    this.#waiting.clear();
  }
}

function socketUrl(server: URL): string {
  const url = new URL("/v1/ws", server);
  if (url.protocol === "http:") url.protocol = "ws:";
  if (url.protocol === "https:") url.protocol = "wss:";
  if (url.protocol !== "ws:" && url.protocol !== "wss:") {
    throw new TidewireError("bad_config", `url must begin with http: or https:, not ${server.protocol}`, false);
  }
  return url.href;
}
