// What a received message costs: `cargo xtask bench client`, after the package was built.
//
// Both measurements receive messages with a text of 256 bytes, in dialogs with 100 and 1,000 rows.
//
// - The core alone: `received` and the `poll` after it, in microseconds and in bytes out per byte in,
//   beside `JSON.parse` of the same frames.
// - Whole clients, each a process of its own with a real WebSocket to a server in this process, in
//   microseconds of CPU: `ws` with `JSON.parse` and nothing else, `centrifuge`, and this one. Only
//   this one has rows; `centrifuge` checks offsets.
import { fork } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { WebSocketServer } from "ws";
import { Core, initSync } from "../wasm/core.js";
import { event, publication, subscribed, WELCOME } from "./frames.mjs";

const MESSAGES = 200;
const ROUNDS = 40;
/** Of a whole client. */
const BURST = 500;
const BURSTS = 20;
const CHANNEL = "dialog:demo";
const WALL = 1_795_000_000_000;

const json = process.argv.includes("--json");
const median = (numbers) => numbers.sort((a, b) => a - b)[Math.floor(numbers.length / 2)];
const round = (number, digits = 1) => Number(number.toFixed(digits));

// The core alone.

/** A core that is online in a dialog with so many rows; `keeps` says whether there is a store. */
function online(rows, keeps) {
  const config = keeps ? {} : { cached_events: 0 };
  const empty = JSON.stringify({ ops: [], channels: [], tables: [] });
  const core = Core.create(JSON.stringify(config), new Uint8Array(32).fill(7), empty, 1, WALL);
  const now = [1, WALL];
  let conn;
  const report = (input) => core.handle(JSON.stringify(input), ...now);
  const carryOut = ({ t, ask, store, conn: opened }) => {
    if (t === "token") return report({ t: "token", ask, token: "t" });
    if (t === "store") return report({ t: "stored", store });
    if (t !== "open") return false;
    conn = opened;
    return report({ t: "opened", conn });
  };
  const drain = () => {
    while (
      JSON.parse(core.poll(...now))
        .map(carryOut)
        .includes(true)
    );
  };
  core.command('{"c":"connect"}', ...now);
  core.command('{"c":"open_dialog","dialog":"demo"}', ...now);
  drain();
  core.received(conn, JSON.stringify(WELCOME), ...now);
  core.received(conn, JSON.stringify(subscribed(CHANNEL, rows)), ...now);
  drain();
  const shown = JSON.parse(core.command('{"c":"rows","dialog":"demo"}', ...now)).ok.rows.length;
  if (shown !== rows) throw new Error(`${shown} rows instead of ${rows}`);
  return { core, conn };
}

function measureCore(rows, keeps) {
  const frames = Array.from({ length: MESSAGES }, (_, at) => JSON.stringify(event(CHANNEL, rows + at + 1)));
  const times = { core: [], stored: [], parse: [] };
  let [bytesIn, bytesOut] = [0, 0];
  for (let turn = 0; turn < ROUNDS; turn += 1) {
    const { core, conn } = online(rows, keeps);
    let [inside, stored] = [0, 0];
    for (const frame of frames) {
      bytesIn += frame.length;
      const before = performance.now();
      core.received(conn, frame, 2, WALL);
      const text = core.poll(2, WALL);
      const after = performance.now();
      inside += after - before;
      bytesOut += text.length;
      for (const output of JSON.parse(text)) {
        if (output.t !== "store") continue;
        const begin = performance.now();
        core.handle(JSON.stringify({ t: "stored", store: output.store }), 2, WALL);
        bytesOut += core.poll(2, WALL).length;
        stored += performance.now() - begin;
      }
    }
    core.free();
    const begin = performance.now();
    for (const frame of frames) JSON.parse(frame);
    times.parse.push(((performance.now() - begin) * 1000) / MESSAGES);
    times.core.push((inside * 1000) / MESSAGES);
    times.stored.push((stored * 1000) / MESSAGES);
  }
  const [us, stored_us, parse_us] = [median(times.core), median(times.stored), median(times.parse)];
  const [bytes_in, bytes_out] = [bytesIn, bytesOut].map((bytes) => round(bytes / MESSAGES / ROUNDS, 0));
  const out_per_in = round(bytesOut / bytesIn, 2);
  return {
    rows,
    keeps,
    us: round(us),
    stored_us: round(stored_us),
    parse_us: round(parse_us, 2),
    bytes_in,
    bytes_out,
    out_per_in,
  };
}

// Whole clients.

/** A server for all three, which sends a burst when it is told to. */
async function serve(rows) {
  const server = new WebSocketServer({ port: 0, host: "127.0.0.1", handleProtocols: (offered) => [...offered][0] });
  await once(server, "listening");
  let latest;
  server.on("connection", (socket) => {
    latest = socket;
    const send = (frame) => socket.send(JSON.stringify(frame));
    socket.on("message", (data) => {
      for (const line of String(data).split("\n")) {
        for (const frame of [JSON.parse(line)].flat()) {
          if (frame.t === "hello") send(WELCOME);
          for (const sub of frame.subs ?? (frame.t === "sub" ? [frame] : [])) send(subscribed(sub.ch, rows));
          if (frame.connect) send({ id: frame.id, connect: { client: "c1", version: "1", ping: 25, pong: true } });
          if (frame.subscribe) {
            send({ id: frame.id, subscribe: { recoverable: true, positioned: true, epoch: "e1", offset: rows } });
          }
          if (frame.unsubscribe) send({ id: frame.id, unsubscribe: {} });
        }
      }
    });
  });
  const burst = (kind, channel, from) => {
    const frame = kind === "centrifuge" ? publication : event;
    for (let at = 1; at <= BURST; at += 1) latest.send(JSON.stringify(frame(channel, from + at)));
  };
  return { server, burst };
}

async function measureClient(kind, rows) {
  const { server, burst } = await serve(rows);
  const { port } = server.address();
  const child = fork(fileURLToPath(new URL("client.mjs", import.meta.url)), [kind, port, rows, BURST, BURSTS]);
  const figures = await new Promise((resolve, reject) => {
    child.on("exit", (code) => reject(new Error(`the client ${kind} ended with ${code}`)));
    child.on("message", (said) => {
      if (said.ready !== undefined) burst(kind, said.ready, rows);
      else resolve(said.us);
    });
  });
  child.removeAllListeners("exit");
  child.kill();
  server.close();
  for (const socket of server.clients) socket.terminate();
  // The first bursts are for the compilers.
  return { client: kind, rows, cpu_us: round(median(figures.slice(5))) };
}

initSync({ module: await WebAssembly.compile(await readFile(new URL("../wasm/core.wasm", import.meta.url))) });
measureCore(100, true);
const core = [100, 1000].flatMap((rows) => [false, true].map((keeps) => measureCore(rows, keeps)));
const clients = [];
for (const rows of [100, 1000]) {
  for (const kind of ["ws", "centrifuge", "tidewire"]) clients.push(await measureClient(kind, rows));
}
if (json) {
  console.log(JSON.stringify({ core, clients }));
} else {
  console.log("The core in WebAssembly, a message received: us inside, bytes out per byte in; us of JSON.parse(frame)");
  for (const one of core) {
    const { rows, keeps, us, stored_us, parse_us, bytes_in, bytes_out, out_per_in } = one;
    const store = keeps ? `with a store (its answer: ${stored_us} us)` : "without a store";
    const bytes = `${bytes_out}/${bytes_in} = ${out_per_in}`;
    console.log(`  ${rows} rows, ${store}: ${us} us, ${bytes}; parse ${parse_us} us, ratio ${round(us / parse_us)}`);
  }
  console.log("Whole clients over a real WebSocket: us of CPU for a message received");
  for (const { client, rows, cpu_us } of clients) {
    const beside = clients.find((other) => other.client === "ws" && other.rows === rows).cpu_us;
    console.log(`  ${rows} rows, ${client}: ${cpu_us} us, ${round(cpu_us / beside, 2)} times ws`);
  }
}
