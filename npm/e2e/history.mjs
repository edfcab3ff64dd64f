// Records what pages send, get and show as a history, and runs the checker on it
// (`testing/history`).
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

const PROGRAM = process.env.TIDEWIRE_HISTORY;
const CHANNEL = "dialog:";
/** The epoch of a test. Clients don't know its name, so it is a constant. */
const EPOCH = "only";
/** How long pages may take to come to the log's end: ms. */
const PATIENCE = 60_000;
/**
 * The client's codes for ops that may be in the log all the same, and for one that the next
 * connection sends.
 */
const GIVEN_UP = new Set(["discarded", "logged_out"]);
const STILL_WAITS = "closed";

/**
 * Runs in the page: defines a function that reports all that a dialog's client shows and emits to
 * the test.
 */
function install() {
  window.record = (client, dialog) => {
    /** The offset of each row that was reported. */
    const places = new Map();
    const queued = new Set();
    let missed = 0;
    let told = Promise.resolve();
    let ends = 0;
    // Each document starts from the store, so it is an observer of its own.
    const view = `page of ${performance.timeOrigin}`;
    const tell = (list, seenBy = view) => {
      const said = window.tidewireTold({ view: seenBy, dialog: dialog.id, list });
      told = Promise.all([told, said.catch(() => {})]);
    };
    const nameOf = ({ id, kind, text }) => (kind === "message" ? text : `answer ${id}`);
    const isCommitted = ({ offset }) => offset !== null;
    const shown = (row) => ({ what: "row", id: nameOf(row), offset: row.offset });
    /**
     * How many rows have no gap before them. While the client catches up, one of its own messages
     * may be acknowledged before earlier events have come. Its row then follows a gap, and the
     * dialog is not `live`.
     */
    const dense = (dialogStatus, rows) =>
      dialogStatus === "live" ? rows.length : 1 + rows.findLastIndex((row) => isCommitted(row) && !row.own);
    const look = () => {
      const { status: dialogStatus, rows, missed: now } = dialog.getState();
      const list = now === missed ? [] : [{ what: "missed" }];
      missed = now;
      const applied = dense(dialogStatus, rows);
      for (const [index, row] of rows.entries()) {
        if (row.state === "queued" && !queued.has(row.id)) {
          queued.add(row.id);
          list.push({ what: "queued", id: nameOf(row) });
        }
        if (index >= applied || !isCommitted(row) || places.get(row.id) === row.offset) continue;
        places.set(row.id, row.offset);
        list.push(shown(row));
      }
      if (list.length > 0) tell(list);
    };
    const { send, retry } = dialog;
    const texts = new Map();
    dialog.send = (text, ...more) => {
      const outgoing = send(text, ...more);
      texts.set(outgoing.id, text);
      outgoing.acked.then(
        ({ offset }) => tell([{ what: "acked", id: text, offset }]),
        ({ code }) => tell([{ what: "refused", id: text, code }]),
      );
      return outgoing;
    };
    dialog.retry = (id) => {
      const again = retry(id);
      if (again && texts.has(id)) tell([{ what: "retried", id: texts.get(id) }]);
      return again;
    };
    dialog.subscribe(look);
    look();
    window.recorded = {
      /**
       * Whether the client has everything up to this offset and nothing waits; `null` for a client
       * that is disconnected or failed.
       */
      isThere: (offset) => {
        const { status } = client.getState();
        if (["disconnected", "failed", "closed"].includes(status.state)) return null;
        const { status: dialogStatus, rows } = dialog.getState();
        const newest = rows.findLast(isCommitted)?.offset ?? 0;
        return status.state === "online" && status.waiting === 0 && dialogStatus === "live" && newest >= offset;
      },
      /**
       * Reports all that is shown at the end. Resolves with the names of the views that must be
       * complete.
       */
      finish: async () => {
        look();
        ends += 1;
        const end = `end ${ends} of ${view}`;
        tell(dialog.getState().rows.filter(isCommitted).map(shown), end);
        await told;
        return [view, end];
      },
    };
  };
  window.addEventListener("tidewire-ready", ({ target }) => {
    window.record(target.client, target.client.dialog(target.getAttribute("dialog")));
  });
}

/**
 * The history of one dialog in one test. Ops are named by their texts, which must differ: a test
 * knows them before a page that may crash has made an id.
 */
export class History {
  /** What was checked last. */
  events = [];
  #dialog;
  #events = [];
  /** Senders by their pages, gone ones too. */
  #senders = new Map();
  /** Observers that applied anything since their last reset. */
  #observers = new Set();

  constructor(dialog = "demo") {
    this.#dialog = dialog;
  }

  /**
   * Records a page from its next document on. `name` is the sender's, `outbox` names what it shares
   * with other tabs of its user.
   */
  async watch(page, name, outbox = name) {
    const sender = { name, outbox, gone: false, unsafe: new Set() };
    this.#senders.set(page, sender);
    page.history = this;
    for (const end of ["close", "crash"]) {
      page.once(end, () => {
        sender.gone = true;
        this.ended(page);
      });
    }
    await page.exposeFunction("tidewireTold", (told) => this.#hear(sender, told));
    await page.addInitScript(install);
  }

  /** The page is about to send this. */
  sent(page, text) {
    const { name, unsafe } = this.#senders.get(page);
    unsafe.add(text);
    this.#push({ e: "send", client: name, id: text });
  }

  /**
   * The page's document ended. Messages that were not reported as stored may be in the log or not.
   */
  ended(page) {
    const { name, unsafe } = this.#senders.get(page);
    for (const id of unsafe) this.#push({ e: "discard", client: name, id });
    unsafe.clear();
  }

  /**
   * Waits until every open page has everything, then checks what all pages got against the server's
   * log. Returns the log and the checker's report.
   */
  async check(server) {
    const end = Date.now() + PATIENCE;
    for (;;) {
      const log = await readLog(server, this.#dialog);
      const claims = await this.#finishPages(log.findLast(isShown)?.offset ?? 0);
      const events = [...this.#events, ...claims];
      // Later events, such as those of an answer under way, are left out.
      const { length } = await readLog(server, this.#dialog);
      if (length === log.length) {
        this.events = withUnshown([...events, ...log.flatMap((event) => this.#logged(event))], log);
        return { log, report: await judge(this.events) };
      }
      if (Date.now() > end) throw new Error("the log does not come to an end");
    }
  }

  /** Waits for the open pages and returns the claims about them. */
  async #finishPages(head) {
    const claims = [];
    for (const [page, { name, outbox, gone }] of this.#senders) {
      if (gone || !(await isThere(page, head))) continue;
      const views = await page.evaluate(() => window.recorded.finish());
      const observers = views.map((view) => `${name}, ${view}`).filter((observer) => this.#observers.has(observer));
      for (const observer of observers) claims.push({ e: "caught_up", observer });
      for (const sender of this.#senders.values()) {
        if (sender.outbox === outbox) claims.push({ e: "drained", client: sender.name });
      }
    }
    return claims.map((claim) => this.#complete(claim));
  }

  #logged(event) {
    const id = nameOf(event);
    const entry = this.#complete({ e: "log", offset: event.offset, id });
    return event.kind === "message" ? [entry] : [{ e: "server", id }, entry];
  }

  #push(event) {
    this.#events.push(this.#complete(event));
  }

  #complete(event) {
    return complete(event, CHANNEL + this.#dialog);
  }

  #hear({ name, unsafe }, { view, dialog, list }) {
    if (dialog !== this.#dialog) return;
    const observer = `${name}, ${view}`;
    for (const { what, id, offset, code } of list) {
      // Any tab may report it for the op of another tab.
      if (what === "queued" || what === "row") for (const sender of this.#senders.values()) sender.unsafe.delete(id);
      else unsafe.delete(id);
      switch (what) {
        case "missed":
          this.#observers.delete(observer);
          break;
        case "row":
          if (!this.#observers.has(observer)) this.#push({ e: "reset", observer, from: offset - 1, reason: "told" });
          this.#observers.add(observer);
          this.#push({ e: "apply", observer, offset, id });
          break;
        case "acked":
          this.#push({ e: "ack", client: name, id, offset });
          break;
        case "retried":
          this.#push({ e: "retry", client: name, id });
          break;
        case "refused":
          if (GIVEN_UP.has(code)) this.#push({ e: "discard", client: name, id });
          else if (code !== STILL_WAITS) this.#push({ e: "fail", client: name, id, code });
      }
    }
  }
}

/** An event with the members that all of its kind have. */
function complete(event, ch) {
  const { e } = event;
  if (["retry", "discard", "drained", "server"].includes(e)) return event;
  return ["apply", "reset", "log"].includes(e) ? { ...event, ch, epoch: EPOCH } : { ...event, ch };
}

/** Whether an event has a row of its own in a dialog. */
const isShown = ({ kind }) => kind === "message" || kind === "answer.start";

/** The name of a row, or of an event without a row, in the history. */
function nameOf({ kind, id, body }) {
  if (kind === "message") return body.text;
  return kind === "answer.start" ? `answer ${body.run}` : `${kind} ${id}`;
}

/** Waits until a page has everything up to an offset; false for one whose client is closed. */
async function isThere(page, offset) {
  const look = (offset) => {
    const there = window.recorded?.isThere(offset);
    return there === null ? "left out" : there && "there";
  };
  const answer = await page.waitForFunction(look, offset, { timeout: PATIENCE });
  return (await answer.jsonValue()) === "there";
}

/**
 * Every event of a dialog, page by page, as a client without any browser reads it over plain
 * requests. Nothing may be trimmed.
 */
export async function readLog(server, dialog) {
  const ch = CHANNEL + dialog;
  const { token } = await server.token({ role: "operator", name: "Reader" });
  const ask = async (path, init, headers = {}) => {
    const response = await fetch(`${server.origin}/v1/http${path}`, { ...init, headers });
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
    return response;
  };
  const { connection } = await (await ask("", { method: "POST" })).json();
  const headers = { "tidewire-connection": connection };
  let seq = 0;
  const say = (frame) => {
    seq += 1;
    return ask("/up", { method: "POST", body: JSON.stringify(frame) }, { ...headers, "tidewire-seq": String(seq) });
  };
  const log = [];
  let anew = false;
  await say({ t: "hello", v: 1, client: crypto.randomUUID(), token, subs: [{ ch, tail: 0 }] });
  for (;;) {
    const lines = await (await ask("/down?mode=poll&wait=5000", {}, headers)).text();
    for (const frame of lines.split("\n").filter(Boolean).flatMap(JSON.parse)) {
      if (["error", "sub_err", "close"].includes(frame.t)) throw new Error(JSON.stringify(frame));
      if (frame.t === "sub_ok" && !anew) {
        anew = true;
        await say({ t: "sub", ch, epoch: frame.epoch, offset: 0 });
      } else if (frame.t === "page" || (frame.t === "sub_ok" && frame.mode === "resumed")) {
        log.push(...frame.events);
        if (frame.more) await say({ t: "next", ch, from: log.at(-1).offset });
        else return say({ t: "bye" }).then(() => log);
      } else if (frame.t === "sub_ok") {
        throw new Error(`the log does not begin at 1: ${JSON.stringify(frame)}`);
      }
    }
  }
}

/**
 * Events that make no row, such as the end of an answer, count as applied with the row after them,
 * or at the end.
 */
function withUnshown(events, log) {
  const unshown = new Map(log.filter((event) => !isShown(event)).map((event) => [event.offset, nameOf(event)]));
  const cursors = new Map();
  return events.flatMap((event) => {
    const { e, observer, offset = Number.POSITIVE_INFINITY } = event;
    if (e === "reset") cursors.set(observer, event.from);
    if (e !== "apply" && e !== "caught_up") return [event];
    const passed = [];
    let at = cursors.get(observer);
    for (; at + 1 < offset && unshown.has(at + 1); at += 1) {
      passed.push(complete({ e: "apply", observer, offset: at + 1, id: unshown.get(at + 1) }, event.ch));
    }
    cursors.set(observer, e === "apply" ? Math.max(at, offset) : at);
    return [...passed, event];
  });
}

/**
 * The checker's report. Throws when a promise is broken or could not be checked; the history stays
 * in a file then.
 */
export async function judge(events) {
  const folder = await mkdtemp(join(tmpdir(), "tidewire-history-"));
  const file = join(folder, "history.jsonl");
  await writeFile(file, events.map((event) => `${JSON.stringify(event)}\n`).join(""));
  const said = await new Promise((resolve, reject) => {
    execFile(PROGRAM, ["check", file, "--json"], (error, stdout, stderr) => {
      if (error === null || error.code === 1) resolve(stdout);
      else reject(new Error(`${error.message}\n${stderr}`));
    });
  });
  const report = JSON.parse(said);
  if (report.examples.length > 0 || report.unverified > 0) throw new BrokenPromises(report, file);
  await rm(folder, { recursive: true });
  return report;
}

/** What the checker found. */
export class BrokenPromises extends Error {
  constructor(report, file) {
    const examples = report.examples.map(({ kind, what }) => `\n  ${kind}: ${what}`).join("");
    super(`${figures(report)}${examples}\nthe history is in ${file}`);
    this.report = report;
  }
}

/** A report in one line. */
export function figures({ examples: _, ...counts }) {
  return Object.entries(counts)
    .map(([name, count]) => `${count} ${name}`)
    .join(", ");
}
