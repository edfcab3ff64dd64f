// What most browser tests begin with: Chromium, a server, a site that is not the server's, and tabs
// there that have a client.
import { join } from "node:path";
import { launch, serveFiles, top } from "./browser.mjs";
import { History, readLog } from "./history.mjs";
import { after, afterEach, before, beforeEach } from "./limits.mjs";
import { Server } from "./server.mjs";

/**
 * A stage for the tests of a file: `chromium` are options of its start, `server` more arguments of
 * the server's.
 */
export function useStage({ chromium = {}, server = [] } = {}) {
  const stage = new Stage();
  before(() => stage.open(chromium));
  after(() => stage.close());
  beforeEach(() => stage.begin(server));
  afterEach((context) => stage.end(context));
  return stage;
}

/** A browser and a site for a file of tests; a server, profiles and a history for each test. */
class Stage {
  browser;
  server;
  history;
  #site;
  #contexts;
  #between;
  #tabs;

  async open(options) {
    this.browser = await launch(options);
    const folders = { "/dist/": join(top, "npm/dist"), "/site/": join(top, "npm/e2e/site") };
    this.#site = await serveFiles(folders, { "access-control-allow-origin": "*" });
  }

  async close() {
    await this.browser?.close();
    this.#site?.close();
  }

  async begin(options) {
    this.#contexts = [];
    this.#between = [];
    this.#tabs = 0;
    this.history = new History();
    this.server = new Server();
    await this.restart(options);
  }

  /** Stops the server and starts it with these arguments. */
  async restart(options) {
    await this.server.stop();
    await this.server.start(["--allowed-origin", this.origin, ...options]);
  }

  async end(context) {
    if (context.error) console.error(this.server.log.split("\n").slice(-20).join("\n"));
    for (const one of this.#contexts) await one.close();
    for (const one of this.#between) one.close();
    await this.server.remove();
  }

  /** The site's. */
  get origin() {
    return this.#site.origin;
  }

  /** A browser profile of its own. */
  async profile(options, browser = this.browser) {
    const context = await browser.newContext(options);
    this.#contexts.push(context);
    return context;
  }

  /** Adds a proxy until the test ends. */
  async put(starting) {
    const one = await starting;
    this.#between.push(one);
    return one;
  }

  async tokenOf(person, role = "user") {
    return (await this.server.token({ role, name: person })).token;
  }

  /** Where a tab begins that has a client with these options. */
  address({ config, ...options }) {
    const more = config === undefined ? {} : { config: JSON.stringify(config) };
    const query = new URLSearchParams({ url: this.server.origin, ...options, ...more });
    return `${this.origin}/site/tab.html?${query}`;
  }

  /**
   * Records what a page does with the dialog `demo`, as a tab of a user. A user has one outbox in
   * each profile.
   */
  async watch(page, user) {
    this.#tabs += 1;
    await this.history.watch(page, `${user}, tab ${this.#tabs}`, `${user} in ${this.#contexts.indexOf(page.context())}`);
  }

  /** A tab of a user's, by default of Ada's. */
  async tab(context, options = {}, prepare) {
    const { user = "Ada", dialog = "demo" } = options;
    const page = await context.newPage();
    if (dialog === "demo") await this.watch(page, user);
    await prepare?.(page);
    page.problems = [];
    page.on("pageerror", (error) => page.problems.push(String(error)));
    await page.goto(this.address({ user, token: await this.tokenOf(user), ...options }));
    await isReady(page);
    return page;
  }

  /** How many connections the server has. */
  async connections() {
    return (await (await fetch(`${this.server.origin}/healthz`)).json()).connections;
  }

  /** The texts in the server's log. Checks that all tabs got and show what is in it. */
  async log() {
    const { log } = await this.history.check(this.server);
    return textsIn(log);
  }

  /** The texts in the server's log, whoever wrote them. */
  async bareLog() {
    return textsIn(await readLog(this.server, "demo"));
  }
}

const textsIn = (log) => log.filter((event) => event.kind === "message").map((event) => event.body.text);

export const isReady = (page) => page.waitForFunction(() => window.ready);
export const isLive = (page) => page.waitForFunction(() => window.dialog.getState().status === "live");
export const rowsOf = (page) => page.evaluate(() => window.dialog.getState().rows);

/** Sends a text, which no other one in the test may equal. Returns the op's id. */
export function send(page, text) {
  page.history?.sent(page, text);
  return page.evaluate((text) => window.send(text), text);
}

/** Waits until the page that sent a text knows what became of it: the offset, or why not. */
export async function settled(page, text) {
  const outcome = await page.waitForFunction((text) => window.outcomes[text], text, { timeout: 40_000 });
  return outcome.jsonValue();
}
