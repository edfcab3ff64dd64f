import assert from "node:assert/strict";
import { test } from "node:test";
import { source } from "./bundle.mjs";

const { Scheduler, StateStore } = await source("store.ts");
const frame = () => new Promise((resolve) => setTimeout(resolve, 5));

test("the state changes at once, and listeners hear of many changes once", async () => {
  const store = new StateStore(0, new Scheduler());
  const heard = [];
  store.subscribe((now, before) => heard.push([now, before]));
  store.set(1);
  store.set(2);
  assert.equal(store.getState(), 2);
  assert.deepEqual(heard, []);
  await frame();
  assert.deepEqual(heard, [[2, 0]]);
  assert.equal(store.getInitialState(), 0);
});

test("a change back, and the same state again, are no news", async () => {
  const store = new StateStore("a", new Scheduler());
  let calls = 0;
  store.subscribe(() => {
    calls += 1;
  });
  store.set("b");
  store.set("a");
  store.set("a");
  await frame();
  assert.equal(calls, 0);
});

test("a listener that throws stops nobody, and is reported", async () => {
  const store = new StateStore(0, new Scheduler());
  const reported = [];
  globalThis.reportError = (error) => reported.push(error.message);
  let heard = 0;
  store.subscribe(() => {
    throw new Error("mine");
  });
  store.subscribe(() => {
    heard += 1;
  });
  store.set(1);
  await frame();
  delete globalThis.reportError;
  assert.equal(heard, 1);
  assert.deepEqual(reported, ["mine"]);
});

test("a listener may end itself, end another, and be there twice", async () => {
  const store = new StateStore(0, new Scheduler());
  const heard = [];
  const twice = () => heard.push("twice");
  store.subscribe(twice);
  const end = store.subscribe(twice);
  let endLast = () => {};
  const endSelf = store.subscribe(() => {
    heard.push("self");
    endSelf();
    endLast();
  });
  endLast = store.subscribe(() => heard.push("last"));
  store.set(1);
  await frame();
  end();
  store.set(2);
  await frame();
  assert.deepEqual(heard, ["twice", "twice", "self", "twice"]);
});

test("a change made by a listener is told with the next frame", async () => {
  const store = new StateStore(0, new Scheduler());
  const heard = [];
  store.subscribe((now) => {
    heard.push(now);
    if (now < 3) store.set(now + 1);
  });
  store.set(1);
  for (let n = 0; n < 4; n += 1) await frame();
  assert.deepEqual(heard, [1, 2, 3]);
});
