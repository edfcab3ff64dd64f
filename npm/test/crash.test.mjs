// A core that traps in any call: the application gets one event, every promise settles, and only
// errors of the package are thrown.
import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { fileURLToPath } from "node:url";
import { source, wasm } from "./bundle.mjs";
import { FakeSocket, SUB_OK, settle, sockets, WELCOME } from "./fake.mjs";
import { tried } from "./hostile.mjs";

const glue = fileURLToPath(new URL("trapping-glue.mjs", import.meta.url));
const { createClient, TidewireError } = await source("index.ts", { glue });
const bytes = await wasm();
let reported;

beforeEach(() => {
  globalThis.WebSocket = FakeSocket;
  sockets.length = 0;
  reported = [];
  globalThis.reportError = (error) => reported.push(error.message);
});

afterEach(() => {
  delete globalThis.WebSocket;
  delete globalThis.reportError;
  delete globalThis.trap;
});

/** How to reach each call that may trap. */
const TRAPS = {
  command: ({ client }) => tried(() => client.explain()),
  poll: ({ client }) => tried(() => client.explain()),
  received: ({ socket }) => socket.receive({ t: "ping", n: "1" }),
  handle: ({ socket }) => socket.drop(),
};

for (const [call, run] of Object.entries(TRAPS)) {
  test(`a core that traps in \`${call}\` is told once, and every promise settles`, async () => {
    const token = async () => "token";
    const client = await createClient({ url: "https://chat.example", token, storage: "memory", wasm: bytes });
    const dialog = client.dialog("demo");
    while (sockets.length === 0) await settle();
    const [socket] = sockets;
    socket.open();
    socket.receive(WELCOME, SUB_OK);
    await settle();
    const { acked } = dialog.send("on its way");
    const own = client.ownDialog();
    own.catch(() => {});
    globalThis.trap = call;
    await run({ client, socket });
    delete globalThis.trap;
    await assert.rejects(acked, { code: "core_crashed" });
    await assert.rejects(own, { name: "TidewireError" });
    const { state, cause } = client.getState().status;
    assert.deepEqual([state, cause, reported], ["failed", "core_crashed", ["unreachable"]]);
    for (const after of [
      () => dialog.send("later").acked,
      () => dialog.signal("x", {}),
      () => dialog.retry("x"),
      () => dialog.discard("x"),
      () => client.connect(),
      () => client.retryNow(),
      () => client.explain(),
      () => client.renewToken(),
      () => client.dialog("other"),
      () => client.ownDialog(),
    ]) {
      const error = await tried(after);
      assert.ok(error === undefined || error instanceof TidewireError, `${after}: ${error?.stack}`);
    }
    dialog.close();
    client.disconnect();
    await client.logout();
    client.close();
    client.close();
    assert.equal(dialog.getState().status, "closed");
  });
}
