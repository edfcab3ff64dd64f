import type { Link, LinkReports, Transport } from "./link.ts";
import { ABNORMAL } from "./link.ts";

/** Most characters of messages that go up together: whatever they are, below the 65,536 bytes that servers take. */
const MOST = 20_000;
/** How often to ask where nothing is held open, ms. */
const POLL = 3000;
/** How long the server may hold an answer back, ms. */
const WAIT = 25_000;
/** An empty answer that comes sooner was not held back: who asked again at once would never stop. ms. */
const HELD = 1000;
/** How long the last messages may take after a link was closed, ms. */
const GOODBYE = 5000;
const BYE = '{"t":"bye"}';

/**
 * A connection over plain requests to the server with this origin (protocol, section 11): messages go up as the bodies of requests, one after the
 * other, and come down as the lines of responses.
 */
export function openRequests(base: string, transport: Transport, { opened, received, closed }: LinkReports): Link {
  const over = new AbortController();
  const { signal } = over;
  const headers: Record<string, string> = {};
  const queue: string[] = [];
  let seq = 0;
  let sending = false;
  let closing = false;

  const ask = async (path: string, options: RequestInit): Promise<Response> => {
    // Neither a token nor the connection's id may follow a redirect.
    const response = await fetch(`${base}/v1/http${path}`, { redirect: "error", cache: "no-store", signal, ...options });
    if (!response.ok) throw new Error(`http_${response.status}`);
    return response;
  };

  /** Ends with a close code. */
  const run = async (): Promise<number> => {
    const answer = await ask("", { method: "POST" });
    headers["tidewire-connection"] = ((await answer.json()) as { connection: string }).connection;
    opened();
    for (;;) {
      const asked = performance.now();
      const mode = transport === "stream" ? transport : `poll&wait=${transport === "poll" ? 0 : WAIT}`;
      const reader = (await ask(`/down?mode=${mode}`, { headers })).body?.getReader();
      const decoder = new TextDecoder();
      let rest = "";
      let told = false;
      for (let done = false; !done; ) {
        const chunk = await reader?.read();
        done = chunk?.done !== false;
        const lines = (rest + decoder.decode(chunk?.value, { stream: !done })).split("\n");
        rest = lines.pop() ?? "";
        for (const line of lines) {
          const last = line.length < 200 && line.includes('"close"') ? JSON.parse(line) : null;
          if (last?.t === "close") return last.code;
          received(line);
          told = true;
        }
      }
      // A stream does not end without saying why, nor does a response within a line.
      if (transport === "stream" || rest !== "") return ABNORMAL;
      if (transport === "poll" || (!told && performance.now() < asked + HELD)) {
        await new Promise((resolve, reject) => {
          setTimeout(resolve, POLL);
          signal.onabort = reject;
        });
      }
    }
  };

  const sendAll = async (): Promise<void> => {
    // What is transmitted in the same breath goes together, and a page that is being left knows it.
    await Promise.resolve();
    while (queue.length > 0) {
      let size = 0;
      const end = queue.findIndex((text, at) => {
        size += text.length;
        return at > 0 && size > MOST;
      });
      const batch = queue.splice(0, end < 0 ? queue.length : end);
      seq += 1;
      await ask("/up", {
        method: "POST",
        headers: { ...headers, "tidewire-seq": `${seq}` },
        body: batch.length > 1 ? `[${batch.map((text) => text.replace(/^\[|]$/g, ""))}]` : `${batch}`,
        keepalive: closing,
      });
    }
    sending = false;
    if (closing) over.abort();
  };

  const transmit = (text: string): void => {
    queue.push(text);
    if (sending) return;
    sending = true;
    sendAll().catch((error) => over.abort(error));
  };

  run()
    .then((code): [number, string?] => [code])
    // What a browser says of a network that failed is its own, and none of our codes.
    .catch(({ message }: Partial<Error>): [number, string?] =>
      message?.startsWith("http_") ? [ABNORMAL, message] : [ABNORMAL],
    )
    .then((end) => {
      over.abort();
      closed(...end);
    });

  return {
    transmit,
    close() {
      closing = true;
      // Where nothing is held open the server would not notice for long.
      if (transport !== "stream" && seq > 0 && queue.at(-1) !== BYE) transmit(BYE);
      if (sending) setTimeout(() => over.abort(), GOODBYE);
      else over.abort();
    },
  };
}
