// The real server as a child process that can be stopped, killed and started again on the same port
// and database.
import { spawn } from "node:child_process";
import { randomInt } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

const PROGRAM = process.env.TIDEWIRE_SERVER;
const WEB = process.env.TIDEWIRE_WEB;
/** The application's key. Without it the demo's tokens would end with the process. */
export const SECRET = "0123456789abcdef0123456789abcdef";
/** What arguments may change. */
const SETTINGS = { TIDEWIRE_JWT_HS256_SECRET: SECRET, TIDEWIRE_MODEL_PACE_MS: "60" };
/** How long the server may take to start, ms. */
const START_LIMIT = 15_000;

/**
 * A port that nobody listens on, below those that the system hands out by itself: so no outgoing
 * connection takes it before the server listens, nor while the server is stopped.
 */
async function freePort() {
  for (;;) {
    const port = randomInt(11_000, 32_768);
    const probe = createServer();
    const isFree = await new Promise((resolve) => {
      probe.once("error", () => resolve(false));
      probe.listen(port, "127.0.0.1", () => probe.close(() => resolve(true)));
    });
    if (isFree) return port;
  }
}

export class Server {
  #child;
  #folder;
  #port;
  /** What it wrote, for reports. */
  log = "";

  get origin() {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** Starts it; the first time on a free port, later on the same. */
  async start(more = []) {
    this.#folder ??= await mkdtemp(join(tmpdir(), "tidewire-e2e-"));
    const database = join(this.#folder, "tidewire.db");
    this.#port ??= await freePort();
    const listen = `127.0.0.1:${this.#port}`;
    const child = spawn(PROGRAM, ["--demo", "--web-root", WEB, "--database", database, "--listen", listen, ...more], {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, ...SETTINGS },
    });
    this.#child = child;
    const before = this.log.length;
    await new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`the server did not start:\n${this.log}`)), START_LIMIT);
      const read = (data) => {
        this.log += data;
        if (!this.log.includes(`listening on http://${listen}`, before)) return;
        clearTimeout(timer);
        resolve();
      };
      child.stdout.on("data", read);
      child.stderr.on("data", read);
      child.on("error", reject);
      child.on("exit", (code) => reject(new Error(`the server ended with ${code}:\n${this.log}`)));
    });
  }

  /** Stops it as Ctrl-C does (`SIGINT`), or pulls the plug (`SIGKILL`); waits for its end. */
  async stop(signal = "SIGINT") {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill(signal);
    await ended;
  }

  /** A token of the demo's. */
  async token(body) {
    const headers = { "content-type": "application/json" };
    const response = await fetch(`${this.origin}/demo/token`, { method: "POST", headers, body: JSON.stringify(body) });
    return response.json();
  }

  async remove() {
    await this.stop("SIGKILL");
    if (this.#folder !== undefined) await rm(this.#folder, { recursive: true, force: true });
  }
}
