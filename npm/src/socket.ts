import type { Link, LinkReports } from "./link.ts";
import { ABNORMAL } from "./link.ts";

/** Close code for a message type that is not accepted, here binary (RFC 6455, 7.4.1). */
const UNSUPPORTED = 1003;

/** Opens a WebSocket to the server at `base`. */
export function openSocket(base: string, { opened, received, closed }: LinkReports): Link {
  let socket: WebSocket;
  try {
    socket = new WebSocket(`${base.replace("http", "ws")}/v1/ws`, ["tidewire.v1"]);
  } catch {
    // The page's policy forbids the connection, or the URL is not valid.
    setTimeout(closed, 0, ABNORMAL);
    return { transmit() {}, close() {} };
  }
  const close = (code: number) => {
    socket.onopen = null;
    socket.onmessage = null;
    socket.onclose = null;
    // Browsers allow 1000 and 3000-4999 only.
    socket.close(code === 1000 || (code >= 3000 && code < 5000) ? code : 1000);
  };
  socket.binaryType = "arraybuffer";
  socket.onopen = opened;
  socket.onmessage = ({ data }: MessageEvent<unknown>) => {
    if (typeof data === "string") return received(data);
    close(4000);
    closed(UNSUPPORTED);
  };
  socket.onclose = ({ code }) => closed(code);
  return {
    transmit(text) {
      if (socket.readyState === WebSocket.OPEN) socket.send(text);
    },
    close,
  };
}
