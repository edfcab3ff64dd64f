// What tests of the element over a pretended client begin with: the gallery's page, and rows to
// show there.
import { join } from "node:path";
import { launch, serveFiles, top } from "./browser.mjs";
import { after, before } from "./limits.mjs";

let browser;
let site;
/** The page that was opened last. */
export let page;

const POLICY = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; connect-src 'self'";
export const ADA = { id: "guest:1", name: "Ada", kind: "guest" };
export const AI = { id: "ai", name: "Assistant", kind: "ai" };
export const OLIVIA = { id: "op", name: "Olivia", kind: "operator" };
const NOON = new Date(new Date().setHours(12, 0, 0, 0)).getTime();

let counter = 0;
/** A row, twenty seconds after the one before. */
export const row = (by, text, state, more = {}) => {
  counter += 1;
  const kind = by === AI ? "answer" : "message";
  const at = NOON + counter * 20_000;
  return { id: `r${counter}`, kind, by, own: by === ADA, text, at, offset: counter, state, code: null, ...more };
};

before(async () => {
  browser = await launch();
  site = await serveFiles(
    { "/gallery/": join(top, "npm/e2e/gallery"), "/dist/": join(top, "npm/dist") },
    { "content-security-policy": POLICY },
  );
});

after(async () => {
  await browser?.close();
  site?.close();
});

/** Opens the gallery. */
export async function open(options = {}) {
  page = await browser.newPage({ viewport: { width: 460, height: 600 }, ...options });
  page.problems = [];
  page.on("console", (message) => message.type() === "error" && page.problems.push(message.text()));
  page.on("pageerror", (error) => page.problems.push(String(error)));
  await page.goto(`${site.origin}/gallery/index.html`);
  await page.waitForFunction(() => window.chat?.shadowRoot?.querySelector("textarea"));
  await page.waitForTimeout(50);
  return page;
}

/** Calls a method of the pretended client's. */
export const say = (part, value) => page.evaluate(([part, value]) => window.client[part](value), [part, value]);
/** The line that says what goes on. */
export const status = () => page.locator("tidewire-chat .status .words").textContent();

/** Closes it. */
export async function close() {
  await page?.close();
  page = undefined;
}
