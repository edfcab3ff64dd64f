// The store in real Chromium's IndexedDB: the cases of every store, its durability, its upgrades,
// its one leader, a full disk.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { build } from "esbuild";
import { launch, serveFiles, top } from "./browser.mjs";
import { after, before, beforeEach, test } from "./limits.mjs";

let browser;
let site;
let context;
let page;
let code;

before(async () => {
  browser = await launch();
  site = await serveFiles({ "/site/": join(top, "npm/e2e/site") });
  const entry = join(top, "npm/src/indexeddb.ts");
  const result = await build({ entryPoints: [entry], bundle: true, format: "esm", write: false });
  code = result.outputFiles[0].text;
});

after(async () => {
  await browser?.close();
  site?.close();
});

beforeEach(async () => {
  await context?.close();
  context = await browser.newContext();
  page = await tab();
});

/**
 * A tab that has the store's module as `store`, and remembers with which promise transactions were
 * made.
 */
async function tab() {
  const page = await context.newPage();
  await page.addInitScript(() => {
    window.durabilities = [];
    const original = IDBDatabase.prototype.transaction;
    IDBDatabase.prototype.transaction = function (stores, mode, options) {
      const transaction = original.call(this, stores, mode, options);
      if (mode === "readwrite") window.durabilities.push(transaction.durability);
      return transaction;
    };
  });
  await page.goto(`${site.origin}/site/empty.html`);
  await page.evaluate(async (code) => {
    window.store = await import(URL.createObjectURL(new Blob([code], { type: "text/javascript" })));
  }, code);
  return page;
}

const sorted = ({ profile, ops, channels, tables }) => ({
  ...(profile === undefined ? {} : { profile }),
  ops: [...ops].sort(),
  channels: [...channels].sort((a, b) => (a.channel < b.channel ? -1 : 1)),
  tables: [...tables].sort((a, b) => (a.name < b.name ? -1 : 1)),
});

test("changes one at a time and together end the same, opened again too, for a leader and alone", async () => {
  const cases = JSON.parse(await readFile(join(top, "sdk-core/vectors/store-cases.json"), "utf8"));
  assert.ok(cases.length > 10);
  for (const { name, changes, then } of cases) {
    for (const [together, leads] of [
      [false, false],
      [false, true],
      [true, false],
      [true, true],
    ]) {
      const run = async ({ name, changes, together, leads }) => {
        const storage = await window.store.openIndexedDb(name);
        if (leads) await storage.lead(0);
        const failures = [];
        if (together) failures.push(...(await Promise.all(changes.map((change) => storage.apply(change)))));
        else for (const change of changes) failures.push(await storage.apply(change));
        const held = await storage.load();
        storage.close();
        const again = await window.store.openIndexedDb(name);
        const { restored } = await again.lead(0);
        again.close();
        return { failures, held, again: restored };
      };
      const given = { name: `${name} ${together} ${leads}`, changes, together, leads };
      const { failures, held, again } = await page.evaluate(run, given);
      assert.ok(
        failures.every((failure) => failure === null),
        name,
      );
      assert.deepEqual(sorted(held), sorted(then), name);
      assert.deepEqual(sorted(again), sorted(then), `${name}, opened again`);
    }
  }
  const durabilities = await page.evaluate(() => window.durabilities);
  assert.ok(durabilities.length > cases.length);
  assert.deepEqual(new Set(durabilities), new Set(["strict"]), "what is called stored is on disk");
});

test("what is handed over in one go is one transaction, of a page that ends too", async () => {
  const run = async ({ ends }) => {
    const storage = await window.store.openIndexedDb(`together ${ends}`);
    const before = window.durabilities.length;
    const changes = ["a", "b", "c"].map((name) => storage.apply({ t: "put_table", name, record: "{}" }));
    if (ends) storage.close();
    const failures = await Promise.all(changes);
    return { failures, transactions: window.durabilities.length - before, kept: (await storage.load()).tables.length };
  };
  for (const ends of [false, true]) {
    assert.deepEqual(await page.evaluate(run, { ends }), { failures: [null, null, null], transactions: 1, kept: 3 });
  }
});

test("only the last leader writes: what an earlier one still tries is aborted whole", async () => {
  const second = await tab();
  await page.evaluate(async () => {
    window.first = await window.store.openIndexedDb("shared");
    window.term = (await window.first.lead(0)).term;
    await window.first.apply({ t: "put_op", id: "a", record: "1" });
  });
  const heir = await second.evaluate(async () => {
    window.next = await window.store.openIndexedDb("shared");
    const { term, restored } = await window.next.lead(0);
    return { term, ops: restored.ops };
  });
  assert.deepEqual(heir, { term: (await page.evaluate(() => window.term)) + 1, ops: ["1"] });
  const late = () =>
    Promise.all([
      window.first.apply({ t: "put_op", id: "b", record: "2" }),
      window.first.apply({ t: "delete_op", id: "a" }),
      window.first.apply({ t: "put_profile", record: "me" }),
    ]);
  assert.deepEqual(await page.evaluate(late), ["unavailable", "unavailable", "unavailable"]);
  const held = () => window.next.load();
  assert.deepEqual(await second.evaluate(held), { ops: ["1"], channels: [], tables: [] });
  assert.equal(await second.evaluate(() => window.next.apply({ t: "put_op", id: "c", record: "3" })), null);
  assert.deepEqual((await second.evaluate(held)).ops, ["1", "3"]);
});

test("a wiped store is empty, has another name for its content, and takes nothing from those who had it", async () => {
  const run = async () => {
    const first = await window.store.openIndexedDb("wiped");
    const before = await first.lead(0);
    for (const change of [
      { t: "put_op", id: "a", record: "1" },
      { t: "put_profile", record: "me" },
      { t: "put_table", name: "rules", record: "{}" },
      { t: "put_events", channel: "c", epoch: "e", cursor: 1, events: [{ offset: 1, text: "1" }], trim_below: 0 },
    ]) {
      await first.apply(change);
    }
    const other = await window.store.openIndexedDb("wiped");
    await other.wipe(0);
    const failure = await first.apply({ t: "put_op", id: "b", record: "2" });
    const { term, storeId, restored } = await other.lead(before.term);
    return { failure, restored, sameStore: storeId === before.storeId, later: term > before.term + 1 };
  };
  assert.deepEqual(await page.evaluate(run), {
    failure: "unavailable",
    restored: { ops: [], channels: [], tables: [] },
    sameStore: false,
    later: true,
  });
});

test("what the release before live tables kept is still there, and tables are kept beside it", async () => {
  const run = async () => {
    const database = await new Promise((resolve, reject) => {
      const request = indexedDB.open("tidewire:before", 1);
      request.onupgradeneeded = () => {
        for (const name of ["ops", "channels", "profile"]) request.result.createObjectStore(name);
        request.result.createObjectStore("events", { keyPath: ["channel", "offset"] });
        request.result.createObjectStore("leader").createIndex("slot", "slot", { unique: true });
        request.transaction.objectStore("ops").put("1", "a");
      };
      request.onerror = () => reject(request.error);
      request.onsuccess = () => resolve(request.result);
    });
    database.close();
    const storage = await window.store.openIndexedDb("before");
    await storage.lead(0);
    const failure = await storage.apply({ t: "put_table", name: "rules", record: "{}" });
    return { failure, ...(await storage.load()) };
  };
  assert.deepEqual(await page.evaluate(run), {
    failure: null,
    ops: ["1"],
    channels: [],
    tables: [{ name: "rules", record: "{}" }],
  });
});

test("a newer release's tab is not kept waiting, and an older one says that it can't go on", async () => {
  const newer = await tab();
  await page.evaluate(async () => {
    window.first = await window.store.openIndexedDb("upgraded");
    await window.first.apply({ t: "put_op", id: "a", record: "1" });
  });
  const upgrade = () =>
    new Promise((resolve, reject) => {
      const request = indexedDB.open("tidewire:upgraded", 1000);
      request.onupgradeneeded = ({ oldVersion }) => {
        request.result.createObjectStore("of the future");
        window.oldVersion = oldVersion;
      };
      request.onerror = () => reject(request.error);
      request.onsuccess = () => {
        request.result.transaction("ops").objectStore("ops").getAll().onsuccess = ({ target }) => resolve(target.result);
      };
    });
  assert.deepEqual(await newer.evaluate(upgrade), ["1"], "nothing is lost on the way");
  assert.equal(await page.evaluate(() => window.first.apply({ t: "put_op", id: "b", record: "2" })), "unavailable");
  const code = () =>
    window.store.openIndexedDb("upgraded").then(
      () => "opened",
      (error) => error.name,
    );
  assert.equal(await page.evaluate(code), "VersionError", "a downgrade is refused, not carried out");
});

test("a full disk refuses what does not fit, keeps the rest, can be read, and takes more when there is room", async () => {
  const protocol = await context.newCDPSession(page);
  // This is set before the first write, because the browser caches the available quota for a while.
  await protocol.send("Storage.overrideQuotaForOrigin", { origin: site.origin, quotaSize: 1_000_000 });
  await page.evaluate(async () => {
    window.first = await window.store.openIndexedDb("full");
    await window.first.lead(0);
  });
  const put = (id, record) => page.evaluate((change) => window.first.apply(change), { t: "put_op", id, record });
  assert.equal(await put("a", "1"), null);
  const big = "x".repeat(4_000_000);
  const together = page.evaluate(
    (big) =>
      Promise.all([
        // The first change is written alone; the others follow together in one transaction.
        window.first.apply({ t: "put_op", id: "b", record: "2" }),
        window.first.apply({ t: "put_op", id: "big", record: big }),
        window.first.apply({ t: "put_op", id: "c", record: "3" }),
      ]),
    big,
  );
  assert.deepEqual(await together, [null, "full", null]);
  const second = await tab();
  const read = async () => (await (await window.store.openIndexedDb("full")).lead(0)).restored.ops;
  assert.deepEqual(await second.evaluate(read), ["1", "2", "3"]);
  await page.evaluate(() => window.first.lead(0));
  await protocol.send("Storage.overrideQuotaForOrigin", { origin: site.origin });
  const end = Date.now() + 20_000;
  let failure = "full";
  while (failure === "full" && Date.now() < end) failure = await put("big", big);
  assert.equal(failure, null);
});

for (const [how, spoil] of [
  ["is told with the event `close`", () => window.handle.dispatchEvent(new Event("close"))],
  ["ended without a word, so that each transaction throws", () => window.handle.close()],
  [
    "breaks in the middle of a transaction",
    () => {
      const { put } = IDBObjectStore.prototype;
      IDBObjectStore.prototype.put = function (...given) {
        IDBObjectStore.prototype.put = put;
        const request = put.apply(this, given);
        this.transaction.abort();
        return request;
      };
    },
  ],
]) {
  test(`a connection to the store that ${how} is replaced by another one, and nothing is lost`, async () => {
    await page.evaluate(async (spoil) => {
      const { open } = indexedDB;
      window.opened = 0;
      IDBFactory.prototype.open = function (...given) {
        const request = open.apply(this, given);
        request.addEventListener("success", () => {
          window.opened += 1;
          window.handle = request.result;
        });
        return request;
      };
      const storage = await window.store.openIndexedDb("dying");
      const put = (id) => storage.apply({ t: "put_op", id, record: `{"id":"${id}"}` });
      const first = await put("1");
      // biome-ignore lint/security/noGlobalEval: the test's own function
      eval(`(${spoil})`)();
      window.outcomes = [first, ...(await Promise.all([put("2"), put("3")])), await put("4")];
      window.kept = (await storage.load()).ops;
    }, String(spoil));
    assert.deepEqual(await page.evaluate(() => window.outcomes), [null, null, null, null]);
    assert.equal((await page.evaluate(() => window.kept)).length, 4);
    assert.equal(await page.evaluate(() => window.opened), 2);
  });
}

test("a browser that never answers is not waited for without end", async () => {
  const code = await page.evaluate(async () => {
    IDBFactory.prototype.open = () => ({});
    const started = performance.now();
    const outcome = await window.store.openIndexedDb("silent").then(
      () => "opened",
      (error) => error.message,
    );
    return `${outcome} ${performance.now() - started < 12_000}`;
  });
  assert.equal(code, "the browser does not answer true");
});
