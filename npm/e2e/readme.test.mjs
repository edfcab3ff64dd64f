// What the README tells a reader to type does what it says.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { top } from "./browser.mjs";
import { after, before, test } from "./limits.mjs";
import { Server } from "./server.mjs";

const server = new Server();
before(() => server.start());
after(() => server.remove());

test("the lines by hand get a guest's token, say hello, send a message and see the answer stream", async () => {
  const readme = await readFile(join(top, "README.md"), "utf8");
  const block = /<!-- executed by the tests -->\n```sh\n([\s\S]*?)```/.exec(readme);
  assert.ok(block, "the README has the block");
  assert.ok(block[1].includes("http://127.0.0.1:8080"), "it speaks to the demo's address");
  const script = block[1].replaceAll("127.0.0.1:8080", new URL(server.origin).host);
  const { stdout } = await promisify(execFile)("bash", ["-euo", "pipefail", "-c", script], { timeout: 60_000 });
  const frames = stdout
    .trim()
    .split("\n")
    .flatMap((line) => JSON.parse(line));
  const types = new Set(frames.map((frame) => frame.t));
  for (const type of ["welcome", "sub_ok", "event", "ok", "piece"]) assert.ok(types.has(type), `${type} in ${stdout}`);
  const end = frames.find((frame) => frame.kind === "answer.end");
  assert.equal(end.body.status, "done");
  const pieces = frames.filter((frame) => frame.t === "piece").map((frame) => frame.text);
  assert.equal(pieces.join(""), end.body.text.slice(0, pieces.join("").length));
});
