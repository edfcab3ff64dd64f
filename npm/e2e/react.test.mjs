// A chat made of the hooks, in real Chromium with the real server and React's strict mode.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { build } from "esbuild";
import { shoot, top } from "./browser.mjs";
import { before, test } from "./limits.mjs";
import { isLive, send, settled, useStage } from "./stage.mjs";
import { until } from "./until.mjs";

const stage = useStage();
const folder = join(top, "npm/e2e/react");
let script;

before(async () => {
  const dist = join(top, "npm/dist");
  const shared = {
    name: "shared",
    setup(bundle) {
      bundle.onResolve({ filter: /^tidewire\/react$/ }, () => ({ path: join(dist, "react.js") }));
      bundle.onResolve({ filter: /^\.\/index\.js$/ }, ({ resolveDir }) =>
        resolveDir === dist ? { path: "/dist/index.js", external: true } : undefined,
      );
    },
  };
  const made = await build({
    entryPoints: [join(folder, "page.jsx")],
    bundle: true,
    format: "esm",
    jsx: "automatic",
    define: { "process.env.NODE_ENV": '"development"' },
    plugins: [shared],
    write: false,
  });
  script = made.outputFiles[0].text;
});

/** The page, as a user's. */
async function open(user) {
  const context = await stage.profile({ viewport: { width: 480, height: 640 } });
  const page = await context.newPage();
  page.problems = [];
  page.on("pageerror", (error) => page.problems.push(String(error)));
  page.on("console", (message) => {
    // A lost connection is no problem of the page's.
    if (message.type() === "error" && !message.text().includes("net::")) page.problems.push(message.text());
  });
  await page.route("**/site/page.js", (route) => route.fulfill({ contentType: "text/javascript", body: script }));
  const query = new URLSearchParams({ url: stage.server.origin, user, token: await stage.tokenOf(user) });
  await page.goto(`${stage.origin}/site/empty.html?${query}`);
  await page.addStyleTag({ content: await readFile(join(folder, "page.css"), "utf8") });
  await page.addScriptTag({ type: "module", url: `${stage.origin}/site/page.js` });
  await shows(page, "state", "online");
  return page;
}

const part = (page, name) => page.locator(`[data-part=${name}]`).textContent();
const shows = (page, name, text) => until(`${name}: ${text}`, async () => (await part(page, name)) === text);
const rowsOf = (page) =>
  page
    .locator("main p")
    .evaluateAll((rows) => rows.map((row) => [row.querySelector("span").textContent, row.dataset.state]));
const row = (page, text) => page.locator("main p").filter({ has: page.getByText(text, { exact: true }) });
const write = async (page, text) => {
  await page.getByRole("textbox", { name: "Message" }).fill(text);
  await page.getByRole("button", { name: "Send" }).click();
};

test("a chat of hooks streams answers, shows who writes, sends what was written offline, and leaves", async () => {
  const page = await open("Ada");
  const bob = await stage.tab(await stage.profile(), { user: "Bob", token: await stage.tokenOf("Bob") });
  await isLive(bob);
  await bob.evaluate(() => window.dialog.people.subscribe(() => {}));
  await shows(page, "people", "Ada, Bob");
  assert.equal(await stage.connections(), 2, "strict mode makes no second connection");

  await write(page, "Tell me about tides");
  await until("an answer grows", async () => (await rowsOf(page)).at(-1)?.[1] === "streaming");
  const lengths = new Set();
  await until("the answer ends", async () => {
    const [text, state] = (await rowsOf(page)).at(-1);
    lengths.add(text.length);
    return state === "done";
  });
  assert.ok(lengths.size > 3, `it was shown as it grew: ${[...lengths]}`);

  await bob.evaluate(() => {
    window.dialog.people.typing();
    window.dialog.people.hold("status", { task: "search" });
  });
  await shows(page, "typing", "Bob is typing…");
  await shows(page, "agents", "Bob: search");
  await shoot(page, "react-typing");
  await page.getByRole("textbox", { name: "Message" }).pressSequentially("hm");
  await until("Ada writes", () => bob.evaluate(() => window.dialog.people.getState().typing[0]?.name === "Ada"));
  await page.getByRole("textbox", { name: "Message" }).fill("");
  await until("she has stopped", () => bob.evaluate(() => window.dialog.people.getState().typing.length === 0));

  await page.context().setOffline(true);
  await until("it is noticed", async () => (await part(page, "state")) !== "online");
  await write(page, "written offline");
  await row(page, "written offline").waitFor();
  assert.deepEqual(
    [await row(page, "written offline").getAttribute("data-state"), await part(page, "waiting")],
    ["queued", "1"],
  );
  await shoot(page, "react-offline");
  await page.context().setOffline(false);
  await until("it is sent", async () => (await row(page, "written offline").getAttribute("data-state")) === "sent");
  await shows(page, "state", "online");
  await send(bob, "from Bob");
  await settled(bob, "from Bob");
  await row(page, "from Bob").waitFor();
  const [{ length: once }] = [(await rowsOf(page)).filter(([text]) => text === "written offline")];
  assert.equal(once, 1);

  assert.equal(await page.evaluate(() => window.flashes), 0, "no row is shown empty, not for a frame");
  for (let n = 0; n < 3; n += 1) await page.evaluate(() => window.render());
  assert.equal(await stage.connections(), 2);
  await page.evaluate(() => window.leave());
  await until("it has left", async () => (await stage.connections()) === 1);
  assert.deepEqual([page.problems, bob.problems], [[], []]);
});
