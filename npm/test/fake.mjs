// A WebSocket and a server of the protocol in one, for tests without a network.

/** Every socket that was opened, oldest first. */
export const sockets = [];

export class FakeSocket {
  static OPEN = 1;
  readyState = 0;
  sent = [];
  closed = undefined;

  constructor(url, protocols) {
    this.url = url;
    this.protocols = protocols;
    sockets.push(this);
  }

  send(text) {
    for (const frame of [JSON.parse(text)].flat()) this.sent.push(frame);
    this.onsent?.();
  }

  close(code) {
    this.closed = code;
    this.readyState = 3;
  }

  open() {
    this.readyState = 1;
    this.onopen?.({});
  }

  receive(...frames) {
    for (const frame of frames) this.onmessage?.({ data: JSON.stringify(frame) });
  }

  drop(code = 1006) {
    this.readyState = 3;
    this.onclose?.({ code });
  }
}

export const ME = { id: "user:1", name: "Ada", kind: "user" };
const limits = {
  message_bytes: 65536,
  subscriptions: 100,
  inflight: 32,
  inflight_bytes: 262144,
  ops: 20,
  per_ms: 1000,
  burst: 40,
};
export const WELCOME = {
  t: "welcome",
  conn: "c1",
  user: ME,
  now: Date.now(),
  ping_ms: 25000,
  grace_ms: 10000,
  token_ttl_ms: 3600000,
  limits,
};
export const SUB_OK = {
  t: "sub_ok",
  ch: "dialog:demo",
  epoch: "e1",
  mode: "fresh",
  from: 0,
  head: 0,
  events: [],
  more: false,
  runs: [],
};
export const event = (offset, kind, body, more = {}) => ({
  t: "event",
  ch: "dialog:demo",
  offset,
  id: `00000000-0000-7000-8000-${String(offset).padStart(12, "0")}`,
  kind,
  at: Date.now(),
  by: { id: "op", name: "Olivia", kind: "operator" },
  body,
  ...more,
});

/** Lets promises and timers of 0 ms run. */
export const settle = () => new Promise((resolve) => setTimeout(resolve, 20));
