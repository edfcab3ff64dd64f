// Proxies between a browser and its server.
import { spawn } from "node:child_process";
import { createServer as createHttpServer, request } from "node:http";
import { connect, createServer } from "node:net";
import { createInterface } from "node:readline";

const PROGRAM = process.env.TIDEWIRE_FAULT_PROXY;

/** The fault proxy in front of a server. `http` says how it treats HTTP at first. */
export async function startProxy(target, http = "off") {
  const child = spawn(PROGRAM, ["--target", new URL(target).host, "--http", http], { stdio: ["pipe", "pipe", "inherit"] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const line = async () => (await lines.next()).value;
  const origin = `http://${await line()}`;
  const order = async (command) => {
    child.stdin.write(`${JSON.stringify(command)}\n`);
    const answer = JSON.parse(await line());
    if (answer.error !== undefined) throw new Error(answer.error);
    return answer;
  };
  return {
    origin,
    set: (faults) => order({ do: "set", faults }),
    cut: () => order({ do: "cut" }),
    counters: () => order({ do: "counters" }),
    close: () => child.stdin.end(),
  };
}

/**
 * A proxy without WebSockets that passes on complete responses only, and fails those that take
 * longer than `patience` ms.
 */
export async function startImpatientProxy(target, patience = 400) {
  const server = createHttpServer((asked, response) => {
    const { method, url, headers } = asked;
    const upstream = request(new URL(url, target), { method, headers });
    const refuse = (status) => {
      if (!response.headersSent) response.writeHead(status).end();
      upstream.destroy();
    };
    const timer = setTimeout(refuse, patience, 504);
    upstream.on("error", () => refuse(502));
    upstream.on("response", (answer) => {
      const parts = [];
      answer.on("error", () => refuse(502));
      answer.on("data", (part) => parts.push(part));
      answer.on("end", () => {
        clearTimeout(timer);
        const { "transfer-encoding": _, ...kept } = answer.headers;
        const body = Buffer.concat(parts);
        response.writeHead(answer.statusCode, { ...kept, "content-length": body.length }).end(body);
      });
    });
    response.on("close", () => upstream.destroy());
    asked.pipe(upstream);
  });
  server.on("upgrade", (_, socket) =>
    socket.end("HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"),
  );
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    origin: `http://127.0.0.1:${server.address().port}`,
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}

/** A proxy that can send a frame on every open WebSocket, as if the server had. */
export async function startRelay(target) {
  const { hostname, port } = new URL(target);
  /** Functions that put bytes between two of the server's frames. */
  const sockets = new Set();
  const counts = { most: 0, all: 0 };
  const server = createServer((client) => {
    const upstream = connect(Number(port), hostname);
    let rest = Buffer.alloc(0);
    let upgraded = false;
    const say = (text) => client.write(Buffer.concat([Buffer.from([0x81, text.length]), Buffer.from(text)]));
    const end = () => {
      sockets.delete(say);
      client.destroy();
      upstream.destroy();
    };
    client.on("data", (data) => upstream.write(data));
    upstream.on("data", (data) => {
      rest = Buffer.concat([rest, data]);
      if (!upgraded) {
        const head = rest.indexOf("\r\n\r\n");
        if (head < 0 || !rest.subarray(0, head).includes(" 101 ")) {
          client.write(rest);
          rest = Buffer.alloc(0);
          return;
        }
        upgraded = true;
        sockets.add(say);
        counts.all += 1;
        counts.most = Math.max(counts.most, sockets.size);
        client.write(rest.subarray(0, head + 4));
        rest = rest.subarray(head + 4);
      }
      // Passes on whole frames only, so that a frame can be inserted between them.
      for (let size = sizeOf(rest); size <= rest.length; size = sizeOf(rest)) {
        client.write(rest.subarray(0, size));
        rest = rest.subarray(size);
      }
    });
    for (const side of [client, upstream]) side.on("close", end).on("error", end);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    origin: `http://127.0.0.1:${server.address().port}`,
    counts,
    open: () => sockets.size,
    say: (frame) => {
      for (const say of sockets) say(JSON.stringify(frame));
    },
    close: () => server.close(),
  };
}

/** How long the first frame of a server's bytes is (RFC 6455, 5.2). */
function sizeOf(bytes) {
  if (bytes.length < 2) return Number.POSITIVE_INFINITY;
  const short = bytes[1] & 0x7f;
  if (short < 126) return 2 + short;
  const [from, length] = short === 126 ? [4, 2] : [10, 6];
  if (bytes.length < from) return Number.POSITIVE_INFINITY;
  return from + bytes.readUIntBE(from - length, length);
}
