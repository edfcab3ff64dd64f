// What TypeScript says of channels: `tsc` checks this file, nobody runs it.
import type { Channel, ChannelState, Client } from "../src/index.ts";

interface Guild {
  "poll.vote": { option: string };
  "poll.end": { poll: string; votes: number };
}

export function typed(client: Client): void {
  const channel = client.channel<Guild>("guild:7");
  channel.publish("poll.vote", { option: "a" }, { id: "x" }).acked.then(({ offset }) => offset.toFixed());
  // @ts-expect-error another body
  channel.publish("poll.vote", { votes: 1 });
  // @ts-expect-error a kind that is not named
  channel.publish("poll.begin", { option: "a" });
  channel.on("poll.end", ({ kind, body }) => [kind satisfies "poll.end", body.votes.toFixed()]);
  // @ts-expect-error a kind that is not named
  channel.on("poll.begin", () => {});
  channel.on("*", (event) => {
    if (event.kind === "poll.vote") event.body.option.trim();
    else event.body.votes.toFixed();
    // @ts-expect-error bodies are read only
    if (event.kind === "poll.vote") event.body.option = "b";
  });
  for (const { kind, body, offset, by } of channel.getState().events) {
    if (kind === "poll.vote") by.name.concat(body.option, offset.toFixed());
  }
  // @ts-expect-error a channel has no stored rows
  channel.getState().status === "local";
  using closed: Channel<Guild> = client.channel("guild:8");
  closed.subscribe((state: ChannelState<Guild>) => state.missed.toFixed());
}

export function untyped(client: Client): void {
  const channel = client.channel("guild:7");
  channel.publish("anything", { at: new Date() });
  channel.on("poll.vote", ({ body }) => body["option"] === "a");
  channel.on("*", ({ kind, body }) => [kind.trim(), body["x"]]);
  // @ts-expect-error a body is an object
  channel.publish("anything", "text");
  // @ts-expect-error kinds have objects as bodies
  client.channel<{ vote: string }>("guild:7");
}
