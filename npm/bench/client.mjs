// A client as a process: `client.mjs KIND PORT ROWS BURST BURSTS`. It tells its parent when it is
// ready for a burst, and at the end what a message of each burst cost.
import { WebSocket } from "ws";

const [kind, port, ...numbers] = process.argv.slice(2);
const [rows, burst, bursts] = numbers.map(Number);
globalThis.WebSocket = WebSocket;

/** The application saw the event at an offset. */
let seen = () => {};
const base = `127.0.0.1:${port}`;

async function plain() {
  const socket = new WebSocket(`ws://${base}/`);
  socket.onmessage = ({ data }) => seen(JSON.parse(data).offset);
  await new Promise((resolve) => {
    socket.onopen = resolve;
  });
  return { open() {}, close() {} };
}

async function centrifuge() {
  const { Centrifuge } = await import("centrifuge");
  const client = new Centrifuge(`ws://${base}/`, { websocket: WebSocket });
  client.connect();
  await client.ready();
  return {
    open: async (channel) => {
      const subscription = client.newSubscription(channel);
      subscription.on("publication", ({ offset }) => seen(offset));
      subscription.subscribe();
      await subscription.ready();
      return subscription;
    },
    close: (subscription) => client.removeSubscription(subscription),
  };
}

async function tidewire() {
  const { readFile } = await import("node:fs/promises");
  const { createClient } = await import("../dist/index.js");
  const wasm = await readFile(new URL("../dist/core.wasm", import.meta.url));
  const token = async () => "token";
  const client = await createClient({ url: `http://${base}`, token, storage: "memory", wasm, transports: ["websocket"] });
  return {
    open: async (channel) => {
      const dialog = client.dialog(channel.slice("dialog:".length));
      await new Promise((resolve) => {
        const end = dialog.subscribe(({ rows: shown, status }) => {
          if (shown.length < rows || status !== "live") return;
          end();
          resolve();
        });
      });
      dialog.subscribe(({ rows: shown }) => seen(shown.at(-1)?.offset));
      return dialog;
    },
    close: (dialog) => dialog.close(),
  };
}

const client = await { ws: plain, centrifuge, tidewire }[kind]();
const us = [];
for (let turn = 0; turn < bursts; turn += 1) {
  const channel = `dialog:demo-${turn}`;
  const handle = await client.open(channel);
  const all = new Promise((resolve) => {
    seen = (offset) => {
      if (offset === rows + burst) resolve();
    };
  });
  const before = process.cpuUsage();
  process.send({ ready: channel });
  await all;
  const { user, system } = process.cpuUsage(before);
  us.push((user + system) / burst);
  await client.close(handle);
}
process.send({ us });
