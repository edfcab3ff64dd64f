// A browser with several tabs, and a server, in virtual time: every message, timer, lock, write and
// frame is a step that a test may stop at.

/** The original globals that the world replaces. */
const NAMES = [
  "setTimeout",
  "clearTimeout",
  "performance",
  "navigator",
  "BroadcastChannel",
  "WebSocket",
  "window",
  "document",
];

export class World {
  /** The tab whose code runs. */
  current = null;
  now = 10_000;
  /** Steps that are due, in their order. */
  #due = [];
  #timers = new Map();
  #lastTimer = 0;
  #held = new Map();
  #queues = new Map();
  #channels = new Set();
  #saved = new Map();
  /** The store that all tabs share. */
  store = { term: 0, storeId: "store", ops: new Map(), profile: undefined, tables: new Map(), channels: new Map() };
  /** Writes that came from a tab that no longer leads. */
  fenced = 0;
  /** The server's log of all channels, and the sockets that are open. */
  log = [];
  sockets = new Set();
  /** The epoch of the log. */
  epoch = "e";
  /** Whether the server says that more pages follow. It has none. */
  more = false;
  /** The code with which the server refuses an op, or `null`. */
  refuses = () => null;
  /** Frames that the server got and does not store. */
  heard = [];
  /** The channels that were unsubscribed. */
  left = [];
  /** Whether the server answers. */
  serving = true;
  /** Whether the server answers requests for older events. */
  remembers = true;
  /** Who is in a channel when somebody begins to watch. */
  people = [];
  /** How often it was told what changed about them. */
  told = 0;
  /** Who answers in a dialog, if it is not the model. */
  handler = undefined;
  /** How far the user has read, and others, each channel. */
  position = 0;
  receipts = [];
  /** Whether more users have read than are told. */
  crowded = false;
  /** The one table: its transactions, and how many subscriptions began and ended. */
  commits = [];
  subscribed = 0;
  ended = 0;

  constructor() {
    for (const name of NAMES) this.#saved.set(name, Object.getOwnPropertyDescriptor(globalThis, name));
    const world = this;
    const define = (name, value) => Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
    define("setTimeout", (run, ms = 0) => this.#setTimer(run, ms));
    define("clearTimeout", (timer) => this.#timers.delete(timer));
    define("performance", { now: () => this.now });
    define("navigator", { locks: { request: (...given) => this.#request(...given), query: async () => ({}) } });
    define(
      "BroadcastChannel",
      class {
        constructor(name) {
          Object.assign(this, { name, owner: world.current });
          world.#channels.add(this);
        }
        postMessage(data) {
          for (const other of world.#channels) {
            if (other === this || other.name !== this.name) continue;
            const copy = structuredClone(data);
            world.later(other.owner, () => world.#channels.has(other) && other.onmessage?.({ data: copy }), true);
          }
        }
        close() {
          world.#channels.delete(this);
        }
      },
    );
    define("WebSocket", socketsOf(this));
    // Each tab has its own.
    for (const name of ["window", "document"]) {
      Object.defineProperty(globalThis, name, { get: () => this.current?.[name], configurable: true });
    }
  }

  end() {
    for (const [name, descriptor] of this.#saved) {
      if (descriptor === undefined) delete globalThis[name];
      else Object.defineProperty(globalThis, name, descriptor);
    }
  }

  /** Runs code as a tab. */
  as(tab, run) {
    const before = this.current;
    this.current = tab;
    try {
      return run();
    } finally {
      this.current = before;
    }
  }

  /**
   * Adds a step for a tab. A frozen tab takes no steps; one that is half asleep only those for
   * messages.
   */
  later(tab, run, message = false) {
    this.#due.push({ tab, run, message });
  }

  /** Takes one step. False if there is none before `until`. */
  async step(until) {
    const at = this.#due.findIndex(({ tab, message }) => !tab?.frozen && (message || !tab?.asleep));
    if (at >= 0) {
      const [{ tab, run }] = this.#due.splice(at, 1);
      if (!tab?.dead) await this.#run(tab, run);
      return true;
    }
    const ready = [...this.#timers].filter(([, { tab }]) => !tab?.frozen && !tab?.asleep && !tab?.dead);
    const [next] = ready.sort(([, a], [, b]) => a.at - b.at);
    if (next === undefined || next[1].at > until) return false;
    const [id, { at: time, tab, run }] = next;
    this.#timers.delete(id);
    this.now = Math.max(this.now, time);
    await this.#run(tab, run);
    return true;
  }

  /** Lets time pass and takes all steps that are due. */
  async pass(ms) {
    const end = this.now + ms;
    while (await this.step(end));
    this.now = end;
  }

  async #run(tab, run) {
    this.as(tab, run);
    await this.#microtasks(tab);
  }

  /** Lets promises run, as code of the tab whose step it was. */
  async #microtasks(tab) {
    this.current = tab;
    for (let n = 0; n < 40; n += 1) await null;
    this.current = null;
  }

  /** A tab crashes, or is closed: nothing of it runs again, and the browser frees what it held. */
  kill(tab) {
    tab.dead = true;
    for (const channel of this.#channels) if (channel.owner === tab) this.#channels.delete(channel);
    for (const socket of this.sockets) if (socket.owner === tab) this.sockets.delete(socket);
    for (const [name, queue] of this.#queues) {
      this.#queues.set(
        name,
        queue.filter((one) => one.tab !== tab),
      );
    }
    for (const [name, one] of this.#held) if (one.tab === tab) this.#free(name, one);
  }

  #setTimer(run, ms) {
    this.#lastTimer += 1;
    this.#timers.set(this.#lastTimer, { at: this.now + Math.max(ms, 1), tab: this.current, run });
    return this.#lastTimer;
  }

  // Web Locks.

  #request(name, ...given) {
    const run = given.pop();
    const { steal = false, signal } = given[0] ?? {};
    const tab = this.current;
    return new Promise((resolve, reject) => {
      const one = { tab, run, resolve, reject };
      if (steal) {
        const holder = this.#held.get(name);
        this.#held.delete(name);
        if (holder !== undefined) this.later(holder.tab, () => holder.reject(new DOMException("stolen", "AbortError")));
        this.#grant(name, one);
        return;
      }
      const queue = this.#queues.get(name) ?? [];
      this.#queues.set(name, [...queue, one]);
      signal?.addEventListener("abort", () => {
        const left = this.#queues.get(name);
        if (!left.includes(one)) return;
        this.#queues.set(
          name,
          left.filter((other) => other !== one),
        );
        reject(new DOMException("aborted", "AbortError"));
      });
      this.#next(name);
    });
  }

  #next(name) {
    const [first, ...rest] = this.#queues.get(name) ?? [];
    if (first === undefined || this.#held.has(name)) return;
    this.#queues.set(name, rest);
    this.#grant(name, first);
  }

  #grant(name, one) {
    this.#held.set(name, one);
    this.later(one.tab, async () => {
      await one.run({ name });
      one.resolve();
      this.#free(name, one);
    });
  }

  #free(name, one) {
    if (this.#held.get(name) !== one) return;
    this.#held.delete(name);
    this.#next(name);
  }

  /** The locks that are held. */
  get names() {
    return this.#held.keys();
  }

  /** Adds an event to the log, and sends it to everybody. */
  append({ id, ch, kind, body }, by) {
    const offset = this.log.filter((event) => event.ch === ch).length + 1;
    const event = { t: "event", ch, offset, id, kind, at: 1, by, body };
    this.log.push(event);
    for (const socket of this.sockets) if (socket.live) socket.say(event);
    return event;
  }

  /** Tells those who watch what changed about the people. */
  tell(change) {
    this.told += 1;
    for (const socket of this.sockets) {
      if (socket.watches !== undefined) socket.say(peopleOf(socket.watches, { n: this.told, ...change }));
    }
  }

  /** The user has read up to an event, on any device. */
  mark({ ch, offset }) {
    this.position = Math.max(this.position, offset);
    for (const socket of this.sockets) if (socket.live) socket.say({ t: "marks", ch, offset: this.position, users: [] });
  }

  /** Another program commits changes to the table. */
  commit(...changes) {
    this.commits.push(changes);
    const place = this.commits.length;
    for (const socket of this.sockets) if (socket.feeds) socket.say(committed({ feed: "f" }, place, changes));
  }

  /** The table's rows by their ids, at a position. */
  tableAt(place = this.commits.length) {
    const rows = new Map();
    for (const change of this.commits.slice(0, place).flat()) {
      if (change.op === "delete") rows.delete(change.key[0]);
      else rows.set(change.row[0], change.row);
    }
    return rows;
  }

  /** The tab that has the leader's lock. */
  get leader() {
    return [...this.#held].find(([name]) => name.endsWith("/leader"))?.[1].tab;
  }
}

const peopleOf = (ch, more) => ({ t: "people", ch, people: [], gone: [], ...more });

function committed(to, place, changes) {
  return { t: "tbl.tx", ...to, prev: place - 1, pos: place, cursor: `c${place}`, txs: [[`x${place}`, place, changes]] };
}

/**
 * A WebSocket to the world's server, which stores each op once and in order, as the protocol
 * requires.
 */
function socketsOf(world) {
  const limits = {
    message_bytes: 65536,
    subscriptions: 100,
    inflight: 32,
    inflight_bytes: 262144,
    ops: 20,
    per_ms: 1000,
    burst: 40,
  };
  const user = { id: "user:1", name: "Ada", kind: "user" };
  const welcome = { t: "welcome", conn: "c", user, now: 0, ping_ms: 25000, grace_ms: 10000, token_ttl_ms: 3600000, limits };
  return class FakeSocket {
    static OPEN = 1;
    readyState = 0;
    owner = world.current;
    /** Whether this connection gets events. */
    live = false;
    /** Whether this connection gets committed changes. */
    feeds = false;
    /** The channel whose people this connection watches. */
    watches;

    constructor() {
      world.sockets.add(this);
      this.#tell(() => {
        if (!world.serving) {
          this.readyState = 3;
          this.onclose?.({ code: 1006 });
          return;
        }
        this.readyState = 1;
        this.onopen?.({});
      });
    }

    send(text) {
      for (const frame of [JSON.parse(text)].flat()) {
        // A socket that is closed sends what it was given before.
        const counts = () => frame.t === "bye" || world.sockets.has(this);
        world.later(null, () => counts() && this.#serve(frame));
      }
    }

    close() {
      this.readyState = 3;
      world.sockets.delete(this);
    }

    /** Frames that the server sends by itself. */
    say(frame) {
      this.#say(frame);
    }

    #tell(run) {
      world.later(this.owner, () => world.sockets.has(this) && run());
    }

    #say(...frames) {
      for (const frame of frames) this.#tell(() => this.onmessage?.({ data: JSON.stringify(frame) }));
    }

    #serve(frame) {
      if (frame.t === "hello") this.#say(welcome, ...frame.subs.map((sub) => this.#subscribe(sub)));
      if (frame.t === "sub") this.#say(this.#subscribe(frame));
      if (frame.t === "prev" && world.remembers) this.#say(this.#before(frame));
      if (frame.t === "unsub") world.left.push(frame.ch);
      if (["signal", "auth", "lease", "watch", "unwatch", "mark", "marks", "bye"].includes(frame.t)) {
        world.heard.push(frame);
      }
      if (frame.t === "mark") world.mark(frame);
      if (frame.t === "marks") {
        const head = world.log.filter(({ ch }) => ch === frame.ch).length;
        const offset = world.position;
        this.#say({
          t: "marks",
          ch: frame.ch,
          offset,
          unread: head - offset,
          head,
          users: world.receipts,
          crowded: world.crowded,
        });
      }
      if (frame.t === "watch")
        this.#say(peopleOf(frame.ch, { n: world.told, full: true, count: world.people.length, people: world.people }));
      if (frame.t === "watch") this.watches = frame.ch;
      if (frame.t === "ping") this.#say({ t: "pong", n: frame.n });
      if (frame.t.startsWith("tbl.")) this.#serveTable(frame);
      if (frame.t !== "op") return;
      const code = world.refuses(frame);
      if (code !== null) {
        this.#say({ t: "nack", id: frame.id, code, message: "no", retryable: false });
        return;
      }
      let stored = world.log.find((event) => event.id === frame.id);
      const dup = stored !== undefined;
      if (!dup) {
        if (frame.after !== undefined && !world.log.some((event) => event.id === frame.after)) {
          this.#say({ t: "nack", id: frame.id, code: "blocked", message: "", retryable: true });
          return;
        }
        stored = world.append(frame, user);
      }
      this.#say({ t: "ok", id: frame.id, ch: frame.ch, offset: stored.offset, at: 1, dup });
    }

    #serveTable({ t, sid, cursor, tx }) {
      const place = world.commits.length;
      if (t === "tbl.sub") {
        world.subscribed += 1;
        const columns = [
          { name: "id", type: "integer" },
          { name: "name", type: "text" },
        ];
        const ok = { t: "tbl.ok", sid, columns, key: [0], more: false };
        const from = cursor === undefined ? place : Number(cursor.slice(1));
        if (cursor === undefined) this.#say({ ...ok, mode: "snapshot", pos: from, rows: [...world.tableAt().values()] });
        else this.#say({ ...ok, mode: "resumed", pos: from, cursor, rows: [] });
        for (let at = from + 1; at <= place; at += 1) this.#say(committed({ sid }, at, world.commits[at - 1]));
        this.#say({ t: "tbl.live", sid, feed: "f", prev: place, pos: place, cursor: `c${place}` });
        this.feeds = true;
      } else if (t === "tbl.wait") {
        const known = Number(tx.slice(1)) <= place;
        this.#say({ t: "tbl.seen", sid, tx, ...(known ? {} : { code: "unknown_tx" }) });
      } else if (t === "tbl.unsub") {
        world.ended += 1;
        this.feeds = false;
      }
    }

    #before({ ch, before, most }) {
      const log = world.log.filter((event) => event.ch === ch);
      const from = Math.max(before - 1 - most, 0);
      const events = log.slice(from, before - 1);
      return { t: "past", ch, from, head: log.length, events, more: from > 0, runs: [] };
    }

    #subscribe({ ch, epoch, offset, tail = 50 }) {
      this.live = true;
      const { epoch: now } = world;
      const log = world.log.filter((event) => event.ch === ch);
      const resumes = epoch === now && offset <= log.length;
      const from = resumes ? offset : Math.max(log.length - tail, 0);
      const mode = resumes ? "resumed" : epoch === undefined ? "fresh" : "reset";
      const reason = mode === "reset" ? { reason: "epoch" } : {};
      const events = log.slice(from);
      return {
        t: "sub_ok",
        ch,
        epoch: now,
        mode,
        ...reason,
        from,
        head: log.length,
        events,
        more: world.more,
        runs: [],
        handler: world.handler,
      };
    }
  };
}
