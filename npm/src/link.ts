/** The ways to reach a server, by the core's names. */
export type Transport = "websocket" | "stream" | "long_poll" | "poll";

/** What a link reports, later and never from inside the call that opens it. Who dropped it, or heard of its end, ignores the rest. */
export interface LinkReports {
  opened(): void;
  received(text: string): void;
  /** It ended, or could not be opened; `cause` is a stable code for why, where that is known. */
  closed(code: number, cause?: string): void;
}

/** One attempt to reach the server, whatever carries it. */
export interface Link {
  /** Sends, if it is still open; if it is not, its end was or will be reported. */
  transmit(text: string): void;
  /** Lets go at once: a goodbye may take minutes on a dead network. */
  close(code: number): void;
}

/** Close code for a transport that broke or never opened (RFC 6455, 7.1.5). */
export const ABNORMAL = 1006;
