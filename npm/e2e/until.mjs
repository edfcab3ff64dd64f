import assert from "node:assert/strict";

/** How long one look may take, ms: what is asked of a page that goes away may never be answered. */
const LOOK = 5_000;

/**
 * Waits until `check` gives something true, and returns it; fails after `limit` ms with `what` was
 * waited for.
 */
export async function until(what, check, limit = 15_000) {
  const end = Date.now() + limit;
  let last;
  while (Date.now() < end) {
    last = await within(LOOK, check());
    if (last) return last;
    await sleep(40);
  }
  assert.fail(`not within ${limit} ms: ${what}`);
}

/** What becomes of `work`; nothing if that takes longer than `limit` ms. */
async function within(limit, work) {
  let timer;
  const late = new Promise((resolve) => {
    timer = setTimeout(resolve, limit);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
