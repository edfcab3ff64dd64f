import { Channel } from "./channel.ts";
import type { ConversationHost } from "./conversation.ts";
import { Conversation } from "./conversation.ts";
import type { CoreEvent } from "./core.ts";
import { CHANNEL, channelOf } from "./core.ts";
import { Dialog } from "./dialog.ts";
import { Driver, monotonic } from "./driver.ts";
import { Events } from "./events.ts";
import type { Beside } from "./handle.ts";
import { openIndexedDb } from "./indexeddb.ts";
import { NEW_CLIENT } from "./initial.ts";
import { reasonOf } from "./json.ts";
import { forgetScope } from "./localstorage.ts";
import type { ServerScope } from "./options.ts";
import { optionsOf, serverScopeOf, TRANSPORTS } from "./options.ts";
import type { OwnConversation } from "./own.ts";
import { Positions } from "./positions.ts";
import { withResolvers } from "./resolvers.ts";
import { Roster } from "./roster.ts";
import type { Restored, Storage } from "./storage.ts";
import { memoryStorage, NOTHING } from "./storage.ts";
import { Scheduler, StateStore } from "./store.ts";
import type { LiveTables } from "./tables/ready.ts";
import type { TabPort } from "./tabs/extension.ts";
import type { Leadership } from "./tabs/leader.ts";
import { canShare } from "./tabs/membership.ts";
import type { TabsHost } from "./tabs/tabs.ts";
import { Tabs } from "./tabs/tabs.ts";
import type { View } from "./tabs/views.ts";
import { eventsOf, rowsOf } from "./tabs/views.ts";
import { cookieToken, credentialsOf, guestToken } from "./token.ts";
import type {
  Bodies,
  ClientOptions,
  ClientState,
  ConnectionState,
  Kinds,
  Listener,
  Metrics,
  Report,
  Status,
  Store,
  TokenProvider,
} from "./types.ts";
import { TidewireError } from "./types.ts";
import { callable, text } from "./validate.ts";
import { createCore, loadCore } from "./wasm.ts";
import type { WatchHost } from "./watched.ts";

type Tables = typeof import("./tables.ts");

/** A client with live tables. */
export interface TablesClient extends Client, LiveTables {}

/**
 * Loads the core and the stored data, then resolves with a client. The client connects by itself
 * unless `autoConnect` is `false`. Rejects with a {@link TidewireError} if the core can't be loaded
 * (`core_unavailable`) or the options are wrong (`bad_config`).
 */
export function createClient(options: ClientOptions & { tables: true }): Promise<TablesClient>;
export function createClient(options: ClientOptions): Promise<Client>;
export async function createClient(given: ClientOptions): Promise<Client> {
  const options = optionsOf(given);
  const server = serverScopeOf(options);
  const [shared, add] = await Promise.all([isShared(options, server.scope), load(options)]);
  const client = new Client(options, server, shared, add);
  try {
    await client.begin();
  } catch (error) {
    client.close();
    throw error;
  }
  if (options.autoConnect !== false) client.connect();
  return client;
}

async function load({ tables, wasm }: ClientOptions): Promise<Tables | undefined> {
  if (tables === true) {
    const add = await import("./tables.ts").catch((error: unknown) => {
      throw new TidewireError("core_unavailable", `tables.js could not be loaded: ${String(error)}`, true);
    });
    await add.loadTables(wasm);
    return add;
  }
  await loadCore(wasm ?? new URL("./core.wasm", import.meta.url));
  return undefined;
}

/**
 * Whether this tab shares a connection with other tabs. It does if they surely have the same user,
 * and if the browser offers IndexedDB, Web Locks and BroadcastChannel.
 */
async function isShared(options: ClientOptions, scope: string): Promise<boolean> {
  const isGuest = options.token === undefined && options.cookie === undefined;
  if (options.storage === "memory" || (!isGuest && options.user === undefined)) return false;
  if (!(await canShare())) return false;
  try {
    (await openIndexedDb(scope)).close();
    return true;
  } catch {
    return false;
  }
}

interface OpenedStorage extends Omit<Leadership, "driver"> {
  readonly storage: Storage;
  readonly restored: Restored;
}

/** One user's connection to a server. All methods are bound. */
export class Client implements Store<ClientState> {
  readonly #options: ClientOptions;
  readonly #server: ServerScope;
  readonly #scheduler = new Scheduler();
  readonly #store = new StateStore<ClientState>(NEW_CLIENT, this.#scheduler);
  readonly #dialogs = new Map<string, Conversation>();
  readonly #channels = new Map<string, Events>();
  /** By channel: a dialog and its channel have the same. */
  readonly #rosters = new Map<string, Roster>();
  readonly #positions = new Map<string, Positions>();
  readonly #tabs: Tabs;
  readonly #tables: Tables | undefined;
  readonly #host: ConversationHost & WatchHost;
  readonly #token: TokenProvider;
  #own: Promise<OwnConversation> | undefined;
  /** The last token that this tab fetched. */
  #lastToken: string | undefined;
  /** Each rejects a promise that waits for the connection or for an id. */
  readonly #endings = new Set<(error: TidewireError) => void>();
  /** The status of the shared connection, even if this tab is disconnected from it. */
  #status: Status = NEW_CLIENT.status;
  /**
   * The state that this tab shows instead while it wants no connection; `null` while it wants one.
   */
  #rest: "idle" | "disconnected" | "closed" | null = "idle";
  /** Why this client can't be used any more. */
  #over: TidewireError | undefined;
  /** Whether a logout has a store to wipe. */
  #keeps = false;

  /** @internal */
  constructor(options: ClientOptions, server: ServerScope, shared: boolean, tables: Tables | undefined) {
    this.#options = options;
    this.#server = server;
    this.#tables = tables;
    const { cookie } = options;
    const provider =
      options.token ??
      (cookie === undefined ? guestToken(server.base, { ...options.guest, name: server.scope }) : cookieToken(cookie));
    this.#token = async (why) => {
      const token = await provider(why);
      this.#lastToken = typeof token === "string" ? token : undefined;
      return token;
    };
    const host: TabsHost = {
      wants: () => ({
        connect: this.#rest === null,
        views: [
          ...[...this.#channels.keys()].map(eventsOf),
          ...[...this.#dialogs.keys()].map(rowsOf),
          ...[...this.#rosters.values(), ...this.#positions.values()].flatMap(({ views }) => views),
        ],
        // Who is disconnected does nothing that others see.
        leases: this.#rest === null ? [...this.#rosters.values()].flatMap(({ leases }) => leases) : [],
      }),
      event: (event) => this.#apply(event),
      refused: (id, { code }) => {
        for (const dialog of this.#dialogs.values()) dialog.refused(id, code);
      },
      wiped: () => this.#wiped(),
      take: async (known, event) => {
        const { storage, restored, ...leadership } = await this.#openStorage(shared, known);
        return { ...leadership, driver: this.#drive(storage, restored, event) };
      },
      idle: () => this.#drive(memoryStorage(null), NOTHING, () => {}),
    };
    const extend = tables && ((port: TabPort) => tables.addTables(port, this, this.#scheduler));
    this.#tabs = new Tabs(shared ? server.scope : null, host, extend);
    this.#host = {
      commands: this.#tabs,
      tabs: this.#tabs,
      scheduler: this.#scheduler,
      user: () => this.getState().user,
    };
    this.#keeps = shared;
  }

  /** @internal */
  readonly begin = (): Promise<void> => this.#tabs.join();

  readonly getState = (): ClientState => this.#store.getState();

  readonly getInitialState = (): ClientState => NEW_CLIENT;

  readonly subscribe = (listener: Listener<ClientState>): (() => void) =>
    this.#store.subscribe(callable(listener, "client.subscribe: listener"));

  /**
   * Connects, and keeps the client connected from now on. It also leaves the state `failed` and
   * ends a pause between attempts.
   */
  readonly connect = (): void => {
    if (this.#rest === "closed") return;
    this.#rest = null;
    this.#store.set({ ...this.getState(), status: this.#status });
    this.#tabs.connect();
  };

  /**
   * Retries at once what waits for its next attempt: the connection, or a dialog or channel that was
   * refused temporarily. Does nothing while the client is disconnected or closed.
   */
  readonly retryNow = (): void => {
    if (this.#rest === null) this.#tabs.connect();
  };

  /**
   * Disconnects until {@link connect}. Waiting messages stay stored, and their promises are
   * rejected with `closed`. Other tabs of the same user stay connected and send the waiting
   * messages.
   */
  readonly disconnect = (): void => {
    if (this.#rest === "closed") return;
    this.#rest = "disconnected";
    this.#tabs.changed();
    this.#show({ ...this.#status, state: "disconnected", attempt: 0, retryAt: null, cause: null, message: null });
    this.#rejectAll(
      new TidewireError("closed", "the client was disconnected; the message is sent by the next connection", true),
    );
  };

  /** Ends the client for good and frees its memory. The next client sends what is stored. */
  readonly close = (): void => {
    if (this.#rest === "closed") return;
    if (this.#rest !== "disconnected") this.disconnect();
    this.#rest = "closed";
    this.#show({ ...this.#status, state: "closed" });
    this.#tabs.end();
    // This also rejects messages that were written after `disconnect`.
    this.#finish(new TidewireError("closed", "the client was closed; what is stored is sent by the next one", true));
  };

  /** As {@link close}: for `using`. */
  [Symbol.dispose](): void {
    this.close();
  }

  /**
   * Deletes this user's data on this device, in all tabs: waiting messages, stored rows, a guest's
   * session. Their clients become `disconnected` with the cause `logged_out`; `connect()` starts
   * again. Rejects with `storage_unavailable` if the browser could not wipe its store.
   */
  readonly logout = async (): Promise<void> => {
    const { scope } = this.#server;
    forgetScope(scope);
    this.#lastToken = undefined;
    await this.#tabs.logout(async (known) => {
      if (!this.#keeps) return;
      try {
        const storage = await openIndexedDb(scope);
        await storage.wipe(known);
        storage.close();
      } catch {
        throw new TidewireError("storage_unavailable", "what this browser keeps could not be wiped; try again", true);
      }
    });
  };

  /**
   * Fetches a new token, for example after the user's rights have changed. The connection stays
   * open and uses the new token.
   */
  readonly renewToken = (): void => this.#tabs.run({ c: "renew_token" });

  /**
   * Recent events and counters, for a bug report. A follower returns the leader's last report and
   * requests a new one.
   */
  readonly explain = (): Report => this.#tabs.explain();

  /**
   * How much the client has done: connections, messages, the time until an answer. A follower returns
   * the leader's last numbers and requests new ones; `tab` and `at` say so.
   */
  readonly metrics = (): Metrics => {
    const { metrics, tab } = this.#tabs.explain();
    return { ...metrics, tab };
  };

  /**
   * Opens a dialog. Each call returns a handle of its own; close it when it is no longer needed.
   * Throws a {@link TidewireError}: `bad_argument`, `bad_channel`, `too_many_subscriptions`.
   */
  readonly dialog = (id: string): Dialog => {
    const name = text(id, "client.dialog: id");
    if (name === "") throw new TidewireError("bad_channel", "client.dialog: id must not be empty", false);
    const make = (ended: () => void) => new Conversation(name, this.#host, ended);
    const conversation = this.#opened(this.#dialogs, name, rowsOf(name), make);
    return new Dialog(conversation, this.#scheduler, this.#beside(channelOf(name)));
  };

  /**
   * Opens a channel that the server's configuration has a rule for. `E` maps the kinds of its
   * events to the types of their bodies: `client.channel<{ "poll.vote": { option: string } }>(…)`.
   * Each call returns a handle of its own; close it when it is no longer needed. A dialog's channel
   * may be open as a dialog too. Throws a {@link TidewireError}: `bad_argument`, `bad_channel`,
   * `too_many_subscriptions`.
   */
  readonly channel = <E extends Bodies<E> = Kinds>(name: string): Channel<E> => {
    const known = text(name, "client.channel: name");
    const make = (ended: () => void) => new Events(known, this.#tabs, ended);
    const events = this.#opened(this.#channels, known, eventsOf(known), make);
    return new Channel<E>(events, this.#scheduler, this.#beside(known));
  };

  /**
   * Opens the dialog that belongs to this user alone. The first call needs a connection, because
   * the server creates the dialog. Later calls use the stored id. Rejects with a {@link
   * TidewireError}: `closed`, `logged_out`, or the server's code for a final refusal.
   */
  readonly ownDialog = async (): Promise<Dialog> => {
    const ended = this.#ending();
    try {
      const find = async (): Promise<string> => {
        const own = await this.#loadOwn();
        const id = await own.id();
        const refused = this.#dialogs.get(id)?.state.error?.code;
        if (refused !== "forbidden" && refused !== "unknown_channel") return id;
        // The guest session that the dialog was created for no longer exists.
        own.forget(id);
        return own.id();
      };
      const id = await Promise.race([find(), ended.promise]);
      return this.dialog(id);
    } finally {
      ended.cancel();
    }
  };

  #loadOwn(): Promise<OwnConversation> {
    const { base, scope } = this.#server;
    const token: TokenProvider = async (why) => (why === "connect" ? this.#lastToken : undefined) ?? this.#token(why);
    this.#own ??= import("./own.ts").then(
      ({ OwnConversation }) =>
        new OwnConversation({
          base,
          scope,
          token,
          credentials: credentialsOf(this.#options.cookie),
          online: () => this.#whenOnline(),
        }),
      (error) => {
        this.#own = undefined;
        throw new TidewireError("core_unavailable", `own.js could not be loaded: ${reasonOf(error)}`, true);
      },
    );
    return this.#own;
  }

  /** The subscription in `all` with this name. The first time it is made, and its view opened. */
  #opened<T>(all: Map<string, T>, name: string, view: View, make: (ended: () => void) => T): T {
    const known = all.get(name);
    if (known !== undefined) return known;
    const made = make(() => {
      if (all.delete(name)) this.#tabs.close(view);
    });
    all.set(name, made);
    try {
      this.#tabs.open(view);
    } catch (error) {
      all.delete(name);
      throw error;
    }
    return made;
  }

  #beside(channel: string): Beside {
    return {
      roster: this.#part(this.#rosters, channel, Roster),
      positions: this.#part(this.#positions, channel, Positions),
    };
  }

  /** The part in `all` of this channel. The first time it is made. */
  #part<T>(all: Map<string, T>, channel: string, Part: new (...made: ConstructorParameters<typeof Roster>) => T): T {
    const part = all.get(channel) ?? new Part(channel, this.#host, () => all.delete(channel));
    all.set(channel, part);
    return part;
  }

  /** A promise that rejects when the client is disconnected, logged out or closed. */
  #ending(): { readonly promise: Promise<never>; cancel(): void } {
    const { promise, reject } = withResolvers<never>();
    promise.catch(() => {});
    if (this.#over !== undefined) reject(this.#over);
    this.#endings.add(reject);
    return { promise, cancel: () => this.#endings.delete(reject) };
  }

  /** Resolves when the client is online. */
  async #whenOnline(): Promise<void> {
    const ended = this.#ending();
    let end = (): void => {};
    const online = new Promise<void>((resolve) => {
      const look = (): void => {
        if (this.#status.state === "online" && this.#rest === null) resolve();
      };
      end = this.#store.subscribe(look);
      look();
    });
    try {
      if (this.#rest === "disconnected" || this.#rest === "closed") {
        throw new TidewireError("closed", `this client was ${this.#rest}`, this.#rest === "disconnected");
      }
      await Promise.race([online, ended.promise]);
    } finally {
      end();
      ended.cancel();
    }
  }

  #drive(storage: Storage, restored: Restored, event: (event: CoreEvent) => void): Driver {
    const { config, cookie, transports = TRANSPORTS } = this.#options;
    return new Driver({
      core: (this.#tables?.createCore ?? createCore)(
        { agent: "tidewire-js", transports, cookie: cookie !== undefined, ...config },
        restored,
        monotonic(),
        Date.now(),
      ),
      base: this.#server.base,
      credentials: credentialsOf(cookie),
      storage,
      token: this.#token,
      event,
    });
  }

  /**
   * Opens the store that the options ask for. If the browser denies IndexedDB, messages are kept in
   * memory and each one reports that it is not stored.
   */
  async #openStorage(shared: boolean, known: number): Promise<OpenedStorage> {
    const nothing = { restored: NOTHING, term: known + 1, storeId: "" };
    if (this.#options.storage === "memory") return { ...nothing, storage: memoryStorage(null), failure: null };
    try {
      const storage = await openIndexedDb(this.#server.scope);
      const opened = shared ? await storage.lead(known) : { ...nothing, restored: await storage.load() };
      // A core without tables can't delete them when another user signs in, so they are deleted
      // now.
      if (this.#tables === undefined) {
        for (const { name } of opened.restored.tables) void storage.apply({ t: "clear_table", name });
      }
      this.#keeps = true;
      return { ...opened, storage, failure: null };
    } catch {
      return { ...nothing, storage: memoryStorage("unavailable"), failure: "storage_unavailable" };
    }
  }

  #apply(event: CoreEvent): void {
    const state = this.getState();
    switch (event.t) {
      case "status": {
        const retryAt = event.retry_in_ms === undefined ? null : Date.now() + event.retry_in_ms;
        const { attempt, waiting } = event;
        const { cause = null, message = null } = event;
        this.#show({ state: event.state as ConnectionState, attempt, retryAt, cause, message, waiting });
        break;
      }
      case "user":
        if (state.user !== null && state.user.id !== event.user.id) for (const one of this.#positions.values()) one.clear();
        this.#store.set({ ...state, user: event.user });
        for (const roster of this.#rosters.values()) roster.identified();
        break;
      case "storage":
        this.#store.set({ ...state, storage: event.code ?? null });
        break;
      case "op":
        if (event.state !== "discarded") break;
        for (const dialog of this.#dialogs.values()) dialog.dropped(event.id);
        break;
      case "dialog":
        this.#dialogs.get(event.dialog)?.apply(event);
        break;
      case "received":
        this.#channels.get(event.event.ch)?.add([event.event]);
        break;
      case "recent":
        this.#channels.get(event.channel)?.recent(event.events);
        break;
      case "people":
        this.#rosters.get(event.channel)?.apply(event);
        break;
      case "reads":
        this.#positions.get(event.channel)?.apply(event);
        break;
      case "older":
        for (const one of this.#about(event.channel)) one.older(event);
        break;
      case "signal":
        for (const one of this.#about(event.channel)) void one.signalled(event);
        break;
      case "channel":
        for (const one of this.#about(event.channel)) one.follow(event);
        this.#positions.get(event.channel)?.follow(event);
        break;
    }
  }

  /** What this client has open of a channel. */
  #about(channel: string): Pick<Events, "follow" | "older" | "signalled">[] {
    const dialog = channel.startsWith(CHANNEL) ? channel.slice(CHANNEL.length) : "";
    return [this.#channels.get(channel) ?? [], this.#dialogs.get(dialog) ?? []].flat();
  }

  #show(status: Status): void {
    this.#status = status;
    // A crashed core is shown even while this tab wants no connection.
    const shown =
      this.#rest === null || status.cause === "core_crashed" ? status : { ...status, state: this.#rest, retryAt: null };
    this.#store.set({ ...this.getState(), status: shown });
    if (status.cause === "core_crashed") {
      this.#finish(
        new TidewireError("core_crashed", "the core crashed; reload the page: what is stored is sent then", true),
      );
    }
  }

  /** Rejects everything that waits, because nothing more will happen. */
  #finish(error: TidewireError): void {
    this.#over ??= error;
    this.#rejectAll(error);
  }

  #rejectAll(error: TidewireError): void {
    this.#tabs.pending.abandon(error);
    for (const end of [...this.#endings]) end(error);
    this.#endings.clear();
  }

  #wiped(): void {
    this.#rest = "disconnected";
    this.#status = { ...NEW_CLIENT.status, state: "disconnected", cause: "logged_out" };
    this.#store.set({ ...this.getState(), user: null, status: this.#status });
    for (const all of [this.#dialogs, this.#channels, this.#rosters, this.#positions]) {
      for (const one of all.values()) one.clear();
    }
    this.#rejectAll(new TidewireError("logged_out", "this user was logged out", false));
  }
}
