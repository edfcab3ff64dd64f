// The hooks for React of the built package over a fake socket, with each version that they support.
import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { createClient } from "../dist/index.js";
import { wasm } from "./bundle.mjs";
import { event, FakeSocket, ME, SUB_OK, settle, sockets, WELCOME } from "./fake.mjs";
import { react } from "./react.mjs";

const bytes = await wasm();
const tablesBytes = await wasm("tables");
const RUN = "00000000-0000-7000-8000-0000000000aa";
const BOB = { id: "user:2", name: "Bob", kind: "user" };
const message = (offset, text, more) => event(offset, "message", { text }, more);

/** What was mounted, clients that were made by hand, and what React and the page complained of. */
let roots;
let clients;
let complaints;

beforeEach(() => {
  globalThis.WebSocket = FakeSocket;
  sockets.length = 0;
  roots = [];
  clients = [];
  complaints = [];
  console.error = (...given) => complaints.push(given.map(String).join(" "));
  globalThis.reportError = (error) => complaints.push(String(error));
});

afterEach(async () => {
  for (const unmount of roots) await unmount();
  for (const client of clients) client.close();
  await settle();
});

for (const version of [18, 19]) {
  const library = await react(version);
  const { React, dom, server, act, document } = library;
  const { TidewireProvider, useTidewire, useConnection, useDialog, useMessages, useMessageIds, useMessage } = library;
  const { useChannel, usePresence, useTyping, useAgentStatus, useTable, useStore } = library;
  const { createElement: h, StrictMode } = React;
  const it = (name, body) => test(`React ${version}: ${name}`, body);

  const options = (more = {}) => ({
    url: "https://chat.example",
    token: async () => "token",
    storage: "memory",
    wasm: bytes,
    ...more,
  });
  async function clientOf(more) {
    const client = await createClient(options(more));
    clients.push(client);
    return client;
  }

  /** Renders an element in strict mode, and says what the page shows. */
  async function show(element, { strict = true } = {}) {
    const container = document.createElement("div");
    const root = dom.createRoot(container, { onUncaughtError: () => {} });
    const unmount = () => act(async () => root.unmount());
    roots.push(unmount);
    const render = (next) => act(async () => root.render(strict ? h(StrictMode, null, next) : next));
    await render(element);
    return { container, render, text: () => container.textContent, unmount };
  }
  const step = (run = () => {}) =>
    act(async () => {
      run();
      await settle();
    });
  /** Waits until this many connections were begun: the core is compiled first. */
  const dialled = async (count) => {
    for (let n = 0; n < 500 && sockets.length < count; n += 1) await step();
    assert.equal(sockets.length, count);
  };
  /** Lets the newest connection come online with these subscriptions. */
  const online = (...frames) =>
    step(() => {
      sockets.at(-1).open();
      sockets.at(-1).receive(WELCOME, ...frames);
    });
  const receive = (...frames) => step(() => sockets.at(-1).receive(...frames));
  const sent = (...types) => sockets.flatMap(({ sent }) => sent).filter(({ t }) => types.includes(t));
  /** The channels that were subscribed to, in hello or later. */
  const subscribed = () => [...sent("hello").flatMap(({ subs }) => subs), ...sent("sub")].map(({ ch }) => ch);
  const provided = (props, ...children) => h(TidewireProvider, props, ...children);
  const Rows = ({ id }) =>
    useMessages(id)
      .rows.map(({ text, state }) => `${text}:${state}`)
      .join();

  it("a provider makes one client in strict mode, keeps it while options are equal, and closes it", async () => {
    let client;
    const State = () => {
      client = useTidewire().client;
      return useConnection().state;
    };
    const asked = [];
    const element = (n) =>
      provided({ options: options({ token: async () => asked.push(n) && "token", config: { tail: 10 } }) }, h(State));
    const page = await show(element(1));
    await dialled(1);
    assert.deepEqual([sockets.length, page.text(), asked], [1, "connecting", [1]]);
    await online();
    for (const n of [2, 3]) await page.render(element(n));
    await step();
    assert.deepEqual([sockets.length, page.text(), sent("hello").length], [1, "online", 1]);
    await step(() => client.renewToken());
    assert.deepEqual(asked.at(-1), 3, "the newest function is asked");
    await page.unmount();
    await step();
    assert.ok(sockets.every(({ closed }) => closed !== undefined));
    assert.deepEqual(complaints, []);
  });

  it("an option of another value replaces the client, and nothing of the one before is shown", async () => {
    const shown = new Set();
    const Shows = ({ user }) => {
      const [row] = useMessages("demo").rows;
      shown.add(`${user} sees ${row?.text}`);
      return row?.text;
    };
    const element = (user) => provided({ options: options({ user }) }, h(Shows, { user }));
    const page = await show(element("ada"));
    await dialled(1);
    await online({ ...SUB_OK, head: 1, events: [message(1, "of Ada")] });
    assert.equal(page.text(), "of Ada");
    await page.render(element("bob"));
    assert.equal(page.text(), "");
    await dialled(2);
    assert.ok(sockets[0].closed !== undefined);
    await online({ ...SUB_OK, head: 1, events: [message(1, "of Bob")] });
    assert.equal(page.text(), "of Bob");
    assert.ok(!shown.has("bob sees of Ada"), [...shown].join());
    assert.deepEqual(complaints, []);
  });

  it("a provider that leaves while its client is made closes it; one that comes back has another", async () => {
    const element = provided({ options: options() }, h(Rows, { id: "demo" }));
    const page = await show(element);
    await page.unmount();
    await step();
    await step();
    assert.ok(sockets.every(({ closed }) => closed !== undefined));
    const before = sockets.length;
    const again = await show(element);
    await dialled(before + 1);
    await online({ ...SUB_OK, head: 1, events: [message(1, "there")] });
    assert.equal(again.text(), "there:sent");
    assert.deepEqual(complaints, []);
  });

  it("what a client can't be made of is told, and made again on demand", async () => {
    let broken = true;
    const given = options();
    Object.defineProperty(given, "name", {
      enumerable: true,
      get() {
        if (broken) throw new Error("not yet");
        return "shop";
      },
    });
    const seen = [];
    const Look = () => {
      const { client, error } = useTidewire();
      const { state, cause, retryNow } = useConnection();
      seen.push(retryNow);
      return [client !== null, error?.code, state, cause].join();
    };
    const page = await show(provided({ options: options({ url: "nonsense" }) }, h(Look)));
    await step();
    assert.equal(page.text(), "false,bad_config,failed,bad_config");
    await page.render(provided({ options: given }, h(Look)));
    await step();
    assert.match(page.text(), /^false,.*,failed,/);
    broken = false;
    await step(() => seen.at(-1)());
    await step();
    assert.equal(page.text(), "true,,connecting,");
  });

  it("hooks outside of a provider, and a provider without a client, say what to do", async () => {
    for (const element of [h(Rows), provided({}, h(Rows, { id: "demo" }))]) {
      const message = /put <TidewireProvider options=\{…\}> around this component/;
      assert.throws(() => server.renderToString(element), { name: "TidewireError", code: "bad_config", message });
    }
  });

  it("components share a subscription, which ends after the last; ids that are not known open nothing", async () => {
    const client = await clientOf();
    const element = (...ids) => provided({ client }, ...ids.map((id, key) => h(Rows, { id, key })));
    const page = await show(element("demo", "demo", null, undefined));
    await step();
    await online({ ...SUB_OK, head: 1, events: [message(1, "hi")] });
    assert.equal(page.text(), "hi:senthi:sent");
    assert.deepEqual([subscribed(), sent("unsub").length], [["dialog:demo"], 0]);
    await page.render(element("demo"));
    await step();
    assert.deepEqual([page.text(), sent("unsub").length], ["hi:sent", 0]);
    await page.render(element());
    await step();
    assert.deepEqual(sent("unsub"), [{ t: "unsub", ch: "dialog:demo" }]);
    await page.unmount();
    assert.equal(client.getState().status.state, "online", "a client that was given is not closed");
    assert.deepEqual(complaints, []);
  });

  it("another id never shows the rows of the one before", async () => {
    const client = await clientOf();
    const shown = [];
    const Dialog = ({ id }) => {
      const { rows, status } = useMessages(id);
      shown.push([id, status, rows.map(({ text }) => text).join()].join(" "));
      return null;
    };
    const page = await show(provided({ client }, h(Dialog, { id: "a" })), { strict: false });
    await step();
    await online({ ...SUB_OK, ch: "dialog:a", head: 1, events: [message(1, "of a", { ch: "dialog:a" })] });
    assert.equal(shown.at(-1), "a live of a");
    await page.render(provided({ client }, h(Dialog, { id: "b" })));
    await step();
    await receive({ ...SUB_OK, ch: "dialog:b", head: 1, events: [message(1, "of b", { ch: "dialog:b" })] });
    assert.equal(shown.at(-1), "b live of b");
    assert.deepEqual(
      shown.filter((line) => line.startsWith("b") && line.includes("of a")),
      [],
    );
    assert.deepEqual(sent("unsub"), [{ t: "unsub", ch: "dialog:a" }]);
  });

  it("a message renders only what shows it, and a piece of an answer only its row", async () => {
    const client = await clientOf();
    const renders = {};
    const count = (name) => {
      renders[name] = (renders[name] ?? 0) + 1;
    };
    const Row = React.memo(({ id }) => {
      const row = useMessage("demo", id);
      count(`row ${row?.text.slice(0, 3)}`);
      return row?.text ?? null;
    });
    const List = () => {
      count("list");
      return useMessageIds("demo").map((id) => h(Row, { id, key: id }));
    };
    const Composer = () => {
      count("composer");
      useDialog("demo");
      return null;
    };
    const Header = () => {
      count("header");
      useConnection();
      useTyping("dialog:demo");
      return null;
    };
    const page = await show(provided({ client }, h(List), h(Composer), h(Header)), { strict: false });
    await step();
    const bob = { id: "user:2", name: "Bob", kind: "user" };
    await online({ ...SUB_OK, head: 1, events: [message(1, "one")] });
    const took = () => {
      const counted = { ...renders };
      for (const name of Object.keys(renders)) delete renders[name];
      return counted;
    };
    took();
    await receive(message(2, "two", { by: bob }));
    assert.deepEqual([page.text(), took()], ["onetwo", { list: 1, "row undefined": 1, "row two": 1 }]);
    const by = { id: "ai", name: "Assistant", kind: "ai" };
    await receive(event(3, "answer.start", { run: RUN }, { by }));
    assert.deepEqual(Object.keys(took()).sort(), ["composer", "list", "row ", "row undefined"], "an answer can be stopped");
    for (let n = 0; n < 3; n += 1) {
      await receive({ t: "piece", ch: "dialog:demo", run: RUN, at: n * 3, text: "ab " });
    }
    assert.deepEqual([page.text(), took()], ["onetwoab ab ab ", { "row ab ": 3 }]);
    assert.deepEqual(complaints, []);
  });

  it("actions throw until it is ready, then send with a row at once; they stay the same functions", async () => {
    let seen;
    const sends = new Set();
    const Chat = () => {
      seen = useMessages("demo");
      sends.add(seen.send);
      return null;
    };
    const page = await show(provided({ client: null }, h(Chat)));
    assert.equal(seen.ready, false);
    assert.throws(() => seen.send("early"), { code: "closed", retryable: true });
    seen.setTyping();
    const client = await clientOf();
    await page.render(provided({ client }, h(Chat)));
    assert.equal(seen.ready, true);
    sends.clear();
    sends.add(seen.send);
    let outgoing;
    await step(() => {
      outgoing = seen.send("offline");
    });
    assert.deepEqual([seen.rows[0].text, seen.rows[0].id], ["offline", outgoing.id]);
    assert.throws(() => seen.send(""), { code: "empty" });
    assert.throws(() => seen.send(7), { code: "bad_argument" });
    assert.throws(() => seen.stop(), { code: "run_not_found" });
    await step();
    await online(SUB_OK);
    const op = sent("op")[0];
    await receive({ t: "ok", id: op.id, ch: op.ch, offset: 1, at: 1, dup: false });
    assert.deepEqual(await outgoing.acked, { offset: 1 });
    assert.deepEqual([seen.rows[0].state, seen.status], ["sent", "live"]);
    assert.equal(sends.size, 1);
    const refused = seen.send("no");
    await step();
    await receive({ t: "nack", id: refused.id, code: "forbidden", message: "no", retryable: false });
    assert.deepEqual([seen.rows[1].state, seen.rows[1].code], ["failed", "forbidden"]);
    await step(() => assert.equal(seen.discard(refused.id), true));
    assert.equal(seen.rows.length, 1);
    assert.deepEqual(complaints, []);
  });

  it("what the client refuses to open is a state, and breaks no page", async () => {
    const client = await clientOf();
    const seen = {};
    const Wrong = ({ name }) => {
      const { status, error, ready } = useDialog(name);
      const channel = useChannel(name);
      const people = usePresence(name);
      const table = useTable(name);
      seen[String(name)] = [status, error?.code, ready, channel.error?.code, people.code, people.status];
      seen.table = [table.status, table.error?.code, table.error?.at];
      return null;
    };
    await show(provided({ client }, h(Wrong, { name: "no good" })));
    assert.deepEqual(seen["no good"], ["failed", "bad_channel", false, "bad_channel", "bad_channel", "refused"]);
    assert.deepEqual(seen.table, ["failed", "bad_config", null]);
    client.close();
    await show(provided({ client }, h(Wrong, { name: "late" })));
    assert.deepEqual(seen.late.slice(0, 2), ["failed", "closed"]);
    assert.deepEqual(complaints, []);
  });

  it("a channel has events, and calls the newest listeners once for each", async () => {
    const client = await clientOf();
    const heard = [];
    let seen;
    const Guild = ({ n }) => {
      seen = useChannel("guild:7", {
        onEvent: ({ offset }) => heard.push(`${n}: ${offset}`),
        onSignal: ({ kind }) => heard.push(`${n}: ${kind}`),
      });
      return seen.events.map(({ offset }) => offset).join();
    };
    const page = await show(provided({ client }, h(Guild, { n: 1 })));
    await step();
    const ch = "guild:7";
    await online({ ...SUB_OK, ch, head: 1, events: [event(1, "poll", {}, { ch })] });
    await receive(event(2, "poll", {}, { ch }));
    await page.render(provided({ client }, h(Guild, { n: 2 })));
    await receive(event(3, "poll", {}, { ch }), { t: "signal", ch, kind: "wave", body: {}, by: BOB });
    assert.equal(page.text(), "1,2,3");
    assert.deepEqual(heard.slice(-3), ["1: 2", "2: 3", "2: wave"]);
    const { acked } = seen.publish("poll", { option: "a" });
    seen.signal("wave", {});
    await step();
    const [op] = sent("op");
    assert.deepEqual([op.kind, op.body, sent("signal").length], ["poll", { option: "a" }, 1]);
    await receive({ t: "ok", id: op.id, ch, offset: 4, at: 1, dup: false });
    assert.deepEqual(await acked, { offset: 4 });
    assert.deepEqual([subscribed(), complaints], [[ch], []]);
  });

  it("people, who writes and agents' status are shown; what a component holds ends with it", async () => {
    const client = await clientOf();
    const seen = {};
    const renders = { agents: 0 };
    const Who = () => {
      seen.presence = usePresence("dialog:demo");
      return null;
    };
    const Agents = () => {
      renders.agents += 1;
      seen.agents = useAgentStatus("dialog:demo");
      seen.typing = useTyping("dialog:demo");
      return null;
    };
    const Only = () => {
      renders.agents += 1;
      seen.agents = useAgentStatus("dialog:demo");
      return null;
    };
    const page = await show(provided({ client }, h(Who), h(Agents)), { strict: false });
    await step();
    await online(SUB_OK);
    assert.deepEqual(sent("watch"), [{ t: "watch", ch: "dialog:demo" }]);
    const here = { kind: "here", since: 1 };
    const status = (body) => ({ kind: "status", since: 2, body });
    let n = 0;
    const people = async (...leases) => {
      const list = [
        { user: ME, leases: [here] },
        { user: BOB, leases: [here, ...leases] },
      ];
      await receive({ t: "people", ch: "dialog:demo", n, full: n === 0, count: 2, people: list, gone: [] });
      n += 1;
    };
    await people(status({ active: true, progress: 0.5, task: "search" }));
    const agent = { user: BOB, own: false, active: true, progress: 0.5, task: "search" };
    assert.deepEqual([seen.presence.count, seen.presence.status, seen.agents.agents], [2, "live", [agent]]);
    await people(status({ active: "x", progress: "much", task: { html: 1 } }), { kind: "typing", since: 3, brief: true });
    assert.deepEqual(seen.agents.agents, [{ ...agent, progress: null, task: null }]);
    assert.deepEqual([seen.typing.isTyping, seen.typing.typing], [true, [BOB]]);

    await step(() => {
      seen.typing.setTyping();
      seen.agents.setStatus({ task: "plan" });
      seen.presence.hold("viewing", { page: 2 });
    });
    assert.throws(() => seen.presence.hold("here", {}), { code: "bad_kind" });
    const leases = () => sent("lease").map(({ kind, body, end }) => [kind, body, end]);
    assert.deepEqual(
      leases()
        .map(([kind]) => kind)
        .sort(),
      ["status", "typing", "viewing"],
    );
    assert.deepEqual(leases().find(([kind]) => kind === "status")[1], { active: true, task: "plan" });
    const before = sent("lease").length;
    await page.render(provided({ client }, h(Who)));
    await step();
    const ended = sent("lease")
      .slice(before)
      .map(({ kind }) => kind)
      .sort();
    assert.deepEqual(ended, ["status", "typing"], "what the other component holds stays");

    await page.render(provided({ client }, h(Who), h(Only)));
    await step();
    renders.agents = 0;
    await people(status({ task: "search" }));
    await people(status({ task: "search" }), { kind: "typing", since: 9, brief: true });
    assert.equal(renders.agents, 1, "who writes is nothing to the list of agents");
    assert.deepEqual(complaints, []);
  });

  it("a table's options may be new objects; others open another table", async () => {
    const client = await clientOf({ tables: true, wasm: tablesBytes });
    const seen = [];
    const Rules = ({ where }) => {
      const { rows, status } = useTable("rules", { where, orderBy: "id.asc" });
      seen.push([status, rows.map(({ name }) => name).join()].join(" "));
      return null;
    };
    const element = (where) => provided({ client }, h(Rules, { where }));
    const page = await show(element({ id: { gt: 0 } }), { strict: false });
    await step();
    await online();
    const columns = [
      { name: "id", type: "integer" },
      { name: "name", type: "text" },
    ];
    const answer = (name) => {
      const { sid } = sent("tbl.sub").at(-1);
      return receive(
        { t: "tbl.ok", sid, mode: "snapshot", columns, key: [0], pos: 1, rows: [[1, name]], more: false },
        { t: "tbl.live", sid, feed: `f-${sid}`, prev: 1, pos: 1, cursor: "c1" },
      );
    };
    await answer("first");
    assert.equal(seen.at(-1), "live first");
    await page.render(element({ id: { gt: 0 } }));
    await step();
    assert.equal(sent("tbl.sub").length, 1);
    // Each of these is another question than the one before, although JSON writes some alike.
    for (const value of [9n, null, Number.NaN, undefined, new Date(Number.NaN)]) {
      await page.render(element({ id: value === null ? value : { gt: value } }));
      assert.ok(!seen.at(-1).includes("first"), String(value));
      await step();
    }
    assert.equal(seen.at(-1), "failed ", "no value to compare with");
    await page.render(element({ id: 5 }));
    await step();
    await answer("second");
    assert.equal(seen.at(-1), "live second");
    assert.deepEqual(complaints, []);
  });

  it("a server renders the initial states without a network, and a page is hydrated without a mismatch", async () => {
    const made = [];
    globalThis.WebSocket = class extends FakeSocket {
      constructor(...given) {
        super(...given);
        made.push(given);
      }
    };
    const Page = () => {
      const { rows, status, typing } = useMessages("demo");
      const { state } = useConnection();
      const { events } = useChannel("guild:7");
      const { count } = usePresence("guild:7");
      const { agents } = useAgentStatus("guild:7");
      const table = useTable("rules");
      const ids = useMessageIds("demo");
      const parts = [state, status, rows.length, typing.length, events.length, count, agents.length, table.status];
      return h("p", null, [...parts, ids.length, useMessage("demo", "x") === undefined].join());
    };
    const html = server.renderToString(provided({ options: options() }, h(Page)));
    await settle();
    assert.deepEqual([html, made], ["<p>idle,local,0,0,0,0,0,loading,0,true</p>", []]);

    const client = await clientOf();
    client.dialog("demo").send("waits");
    const container = document.createElement("div");
    container.innerHTML = html;
    const recovered = [];
    await act(async () => {
      const element = h(StrictMode, null, provided({ client }, h(Page)));
      const root = dom.hydrateRoot(container, element, { onRecoverableError: (error) => recovered.push(String(error)) });
      roots.push(() => act(async () => root.unmount()));
    });
    await step();
    assert.match(container.textContent, /^connecting,\w+,1,/);
    assert.deepEqual([recovered, complaints], [[], []]);
  });

  it("handles work with Zustand's useStore as they are", async () => {
    const client = await clientOf();
    const dialog = client.dialog("demo");
    const Last = () => useStore(dialog, ({ rows }) => rows.at(-1)?.text ?? "nothing");
    const page = await show(h(Last));
    assert.equal(page.text(), "nothing");
    await step(() => dialog.send("hello"));
    assert.equal(page.text(), "hello");
    assert.deepEqual(complaints, []);
  });
}
