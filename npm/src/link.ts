/** The ways to reach a server, by the core's names. */
export type Transport = "websocket" | "stream" | "long_poll" | "poll";

/**
 * What a link reports, later and never from inside the call that opens it. Who dropped it, or heard
 * of its end, ignores the rest.
 */
export interface LinkReports {
  opened(): void;
  received(text: string): void;
  /** It ended, or could not be opened. */
  closed(code: number): void;
}

/** One attempt to reach the server by a WebSocket. */
export interface Link {
  /** Sends, if it is still open; if it is not, its end was or will be reported. */
  transmit(text: string): void;
  /** Lets go at once: a goodbye may take minutes on a dead network. */
  close(code: number): void;
}

/** A request of a connection without a WebSocket; apart from its path in the words of `fetch`. */
export interface PlainRequest {
  /** Below the server's base, with the query. */
  readonly path: string;
  readonly method: string;
  /** They name the connection, which is a secret. */
  readonly headers: Record<string, string>;
  readonly body?: string;
  readonly keepalive: boolean;
}

/** What comes of a request, later and in this order. */
export interface ResponseReports {
  status(status: number): void;
  /** The next bytes of the body, cut anywhere. */
  received(bytes: Uint8Array): void;
  /**
   * The body is complete, or it `failed`: the server was not reached, or the response broke off.
   */
  ended(failed: boolean): void;
}

/** Close code for a transport that broke or never opened (RFC 6455, 7.1.5). */
export const ABNORMAL = 1006;
