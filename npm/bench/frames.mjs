// What the servers of this bench send: Tidewire's frames, and Centrifugo's with the same content.

const BY = { id: "user:42", name: "Grace", kind: "user" };
const BODY = "The tide comes in twice a day, and nobody has to ask it. ".repeat(5).slice(0, 256);
const WALL = 1_795_000_000_000;

/** The id of the event at an offset: of UUID's version 7, as clients make them. */
const idOf = (offset) =>
  `0190f3a1-${(offset >> 8).toString(16).padStart(4, "0")}-7${(offset & 255)
    .toString(16)
    .padStart(3, "0")}-8abc-${(offset * 2_654_435_761).toString(16).padStart(12, "0").slice(-12)}`;

/** The event at an offset, with a text of 256 bytes. */
export const event = (channel, offset) => ({
  t: "event",
  ch: channel,
  offset,
  id: idOf(offset),
  kind: "message",
  at: WALL + offset,
  by: BY,
  body: { text: BODY },
});

export const WELCOME = {
  t: "welcome",
  conn: "c1",
  user: { id: "user:1", name: "Ada", kind: "user" },
  now: WALL,
  ping_ms: 25_000,
  grace_ms: 10_000,
  token_ttl_ms: 3_600_000,
  limits: {
    message_bytes: 65_536,
    subscriptions: 100,
    inflight: 32,
    inflight_bytes: 262_144,
    ops: 20,
    per_ms: 1000,
    burst: 40,
  },
};

/** The answer to a subscription whose log has so many events. */
export const subscribed = (channel, rows) => ({
  t: "sub_ok",
  ch: channel,
  epoch: "e1",
  mode: "fresh",
  from: 0,
  head: rows,
  events: Array.from({ length: rows }, (_, at) => event(channel, at + 1)),
  more: false,
  runs: [],
});

/** The same event as a publication of Centrifugo's. */
export const publication = (channel, offset) => {
  const { id, kind, at, by, body } = event(channel, offset);
  return { push: { channel, pub: { offset, data: { id, kind, at, by, body } } } };
};
