import assert from "node:assert/strict";

/**
 * Waits until `check` gives something true, and returns it; fails after `limit` ms with `what` was
 * waited for.
 */
export async function until(what, check, limit = 15_000) {
  const end = Date.now() + limit;
  let last;
  while (Date.now() < end) {
    last = await check();
    if (last) return last;
    await new Promise((resolve) => setTimeout(resolve, 40));
  }
  assert.fail(`not within ${limit} ms: ${what}`);
}
