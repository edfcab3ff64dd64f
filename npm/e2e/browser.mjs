// What the browser tests share: Chromium and what it does to pages, a static server, screenshots.
import { mkdir, readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { until } from "./until.mjs";

export const top = fileURLToPath(new URL("../..", import.meta.url));
const shots = join(top, "test-output/screenshots");

/** Starts Chromium; `CHROMIUM_PATH` says which one. */
export function launch(options = {}) {
  return chromium.launch({
    ...options,
    executablePath: process.env.CHROMIUM_PATH ?? "/usr/bin/chromium",
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      ...(options.args ?? []),
    ],
  });
}

/** Saves what `target` (a page or an element) looks like. */
export async function shoot(target, name) {
  await mkdir(shots, { recursive: true });
  await target.screenshot({ path: join(shots, `${name}.png`) });
}

const protocol = (page) => page.context().newCDPSession(page);

/**
 * A page's `evaluate` that does not go through the driver: the driver can lose a page that comes back
 * from where it was kept for the back button, and then never answers. While a page is changed for
 * another one it gives nothing.
 */
export async function pastTheDriver(page) {
  const session = await protocol(page);
  return {
    evaluate: async (body, given) => {
      const expression = `(${body})(${JSON.stringify(given) ?? ""})`;
      const asked = session.send("Runtime.evaluate", { expression, awaitPromise: true, returnByValue: true });
      const { result, exceptionDetails } = await asked;
      if (exceptionDetails === undefined) return result.value;
    },
  };
}

/** The driver pretends that each page has the focus, from a session of its own. */
async function pretendFocus(page, enabled) {
  const { _client: own } = page._connection.toImpl(page).delegate._mainFrameSession;
  await own.send("Emulation.setFocusEmulationEnabled", { enabled });
}

/** Allows a page to be hidden. */
export const hide = (page) => pretendFocus(page, false);

/** Freezes a page, as the browser does with pages in the background. */
export async function freeze(page) {
  // A page with the focus does not freeze.
  await hide(page);
  await (await protocol(page)).send("Page.setWebLifecycleState", { state: "frozen" });
  await until("it is hidden", () => page.evaluate(() => document.visibilityState === "hidden"));
}

/** Ends the freeze. */
export async function thaw(page) {
  await (await protocol(page)).send("Page.setWebLifecycleState", { state: "active" });
  await pretendFocus(page, true);
  await page.bringToFront();
}

/** Keeps a page from getting the event that it is frozen. */
export const withoutAWord = (page) =>
  page.addInitScript(() => {
    for (const type of ["freeze", "resume"]) {
      window.addEventListener(type, (event) => event.stopImmediatePropagation(), true);
    }
  });

/** Ends a page's renderer. */
export async function crash(page) {
  const crashed = new Promise((resolve) => page.once("crash", resolve));
  void (await protocol(page)).send("Page.crash").catch(() => {});
  await crashed;
}

const TYPES = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".css": "text/css",
  ".wasm": "application/wasm",
  ".svg": "image/svg+xml",
};

/** Serves folders under prefixes: `{ "/": folder }`. Returns the origin and what ends it. */
export async function serveFiles(folders, headers = {}) {
  const server = createServer(async (request, response) => {
    const path = new URL(request.url, "http://localhost").pathname;
    const prefix = Object.keys(folders).find((known) => path.startsWith(known));
    try {
      if (prefix === undefined) throw new Error("not found");
      const body = await readFile(join(folders[prefix], path.slice(prefix.length)));
      response.writeHead(200, { "content-type": TYPES[extname(path)] ?? "application/octet-stream", ...headers });
      response.end(body);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { origin: `http://127.0.0.1:${server.address().port}`, close: () => server.close() };
}
