/** The transports, by the core's names. */
export type Transport = "websocket" | "stream" | "long_poll" | "poll";

/**
 * What a link reports. Reports come later, never during the call that opens the link. After the
 * link was dropped or has ended, further reports are to be ignored.
 */
export interface LinkReports {
  opened(): void;
  received(text: string): void;
  /** The link ended, or could not be opened. */
  closed(code: number): void;
}

/** One attempt to reach the server by a WebSocket. */
export interface Link {
  /** Sends a message. Does nothing if the link is no longer open; its end is reported anyway. */
  transmit(text: string): void;
  /**
   * Drops the link at once. A closing handshake may take minutes on a dead network, so nothing
   * waits for it.
   */
  close(code: number): void;
}

/** A request of a connection without a WebSocket. All but `path` are options of `fetch`. */
export interface PlainRequest {
  /** Path and query below the server's base. */
  readonly path: string;
  readonly method: string;
  /** Secret: they hold the token or the connection's id. */
  readonly headers: Record<string, string>;
  readonly body?: string;
  readonly keepalive: boolean;
  readonly credentials?: RequestCredentials;
}

/** What a request reports, later and in this order. */
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
