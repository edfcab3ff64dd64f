/** What a socket reports; never about an attempt that was dropped. */
export interface SocketReports {
  opened(conn: number): void;
  received(conn: number, text: string): void;
  closed(conn: number, code: number): void;
}

/** Close code for a transport that broke or never opened (RFC 6455, 7.1.5). */
const ABNORMAL = 1006;
/** Close code for data of a kind that is not accepted (RFC 6455, 7.4.1). */
const UNSUPPORTED = 1003;

/** At most one WebSocket at a time. */
export class Socket {
  readonly #url: string;
  readonly #reports: SocketReports;
  #conn = -1;
  #socket: WebSocket | undefined;

  constructor(url: string, reports: SocketReports) {
    this.#url = url;
    this.#reports = reports;
  }

  /** Dials. Whatever happens is reported later, never from inside this call. */
  open(conn: number): void {
    this.#detach(1000);
    this.#conn = conn;
    let socket: WebSocket;
    try {
      socket = new WebSocket(this.#url, ["tidewire.v1"]);
    } catch {
      // Blocked by a policy, or a URL that can't be dialled.
      setTimeout(() => this.#end(conn, ABNORMAL));
      return;
    }
    this.#socket = socket;
    socket.binaryType = "arraybuffer";
    socket.onopen = () => this.#reports.opened(conn);
    socket.onmessage = (event: MessageEvent<unknown>) => {
      if (typeof event.data === "string") {
        this.#reports.received(conn, event.data);
      } else {
        this.#detach(4000);
        this.#reports.closed(conn, UNSUPPORTED);
      }
    };
    socket.onclose = (event) => this.#end(conn, event.code);
  }

  /** Sends, if that connection is still open; if it is not, its end was or will be reported. */
  transmit(conn: number, text: string): void {
    if (conn !== this.#conn || this.#socket?.readyState !== WebSocket.OPEN) return;
    this.#socket.send(text);
  }

  /** Closes and forgets at once: a close handshake may take minutes on a dead network. */
  close(conn: number, code: number): void {
    if (conn === this.#conn) this.#detach(code);
  }

  /** Closes whatever is open. */
  abandon(): void {
    this.#detach(1000);
  }

  #end(conn: number, code: number): void {
    if (conn !== this.#conn) return;
    this.#detach(1000);
    this.#reports.closed(conn, code);
  }

  #detach(code: number): void {
    const socket = this.#socket;
    this.#socket = undefined;
    this.#conn = -1;
    if (socket === undefined) return;
    socket.onopen = null;
    socket.onmessage = null;
    socket.onclose = null;
    // Browsers allow 1000 and 3000-4999 only.
    socket.close(code === 1000 || (code >= 3000 && code < 5000) ? code : 1000);
  }
}
