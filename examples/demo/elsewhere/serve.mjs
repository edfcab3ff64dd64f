// Serves the page of another origin: `node serve.mjs PORT CHAT_ORIGIN`, until the program that
// started it ends.
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";

const [, , port, chat] = process.argv;
/** What stands in the page for the chat server's origin. */
const PLACE = "https://chat.example.com";
/** How often to look whether the starter is still there, ms. */
const LOOK = 500;

const server = createServer(async (request, response) => {
  const { pathname } = new URL(request.url ?? "/", "http://localhost");
  if (pathname !== "/") return void response.writeHead(404).end();
  const page = await readFile(new URL("index.html", import.meta.url), "utf8");
  response.writeHead(200, { "content-type": "text/html", "cache-control": "no-cache" });
  response.end(page.replaceAll(PLACE, chat));
});
// The demo is whole without this page: a port that is taken costs the page only.
server.on("error", (error) => {
  console.error(`the page of another origin can't be served: ${error.message}`);
  process.exit(1);
});
server.listen(Number(port), "127.0.0.1");

const starter = process.ppid;
setInterval(() => process.ppid === starter || process.exit(), LOOK);
