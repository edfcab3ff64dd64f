// Node's harness with limits: what hangs fails by its name, and the tests after it still run.
import * as node from "node:test";

/** How long a test may take, ms; and what is done before or after one. */
const TEST = 180_000;
const HOOK = 60_000;

export const test = (name, body) => node.test(name, { timeout: TEST }, body);
export const before = (body) => node.before(body, { timeout: HOOK });
export const after = (body) => node.after(body, { timeout: HOOK });
export const beforeEach = (body) => node.beforeEach(body, { timeout: HOOK });
export const afterEach = (body) => node.afterEach(body, { timeout: HOOK });
