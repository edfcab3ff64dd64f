// What TypeScript says of the hooks for React: `tsc` checks this file, nobody runs it.
import type { Client } from "../src/index.ts";
import { TidewireProvider, useChannel, useDialog, useMessage, useMessages, useTable } from "../src/react/react.ts";

interface Guild {
  "poll.vote": { option: string };
}

export function Typed() {
  const { rows, send, isTyping, ready } = useMessages("demo");
  send(rows[0]?.text.concat(String(isTyping && ready)) ?? "").acked.then(({ offset }) => offset.toFixed());
  // @ts-expect-error an id that is a number
  useMessages(7);
  // @ts-expect-error this hook leaves the rows out
  useDialog("demo").rows;
  useDialog(null).run?.trim();
  useMessage(undefined, "id")?.text.trim();
  const { events, publish } = useChannel<Guild>("guild:7", { onEvent: ({ body }) => body.option.trim() });
  publish("poll.vote", { option: events[0]?.body.option ?? "" });
  // @ts-expect-error a kind that is not named
  publish("poll.begin", {});
  const table = useTable<{ id: number; name: string }>("rules", { where: { id: { gt: 7 } } });
  table.rows[0]?.name.trim();
  // @ts-expect-error no such column
  useTable<{ id: number }>("rules", { where: { name: "x" } });
}

export function provided(client: Client | null) {
  TidewireProvider({ client });
  TidewireProvider({ options: { url: "https://chat.example" }, children: "text" });
  // @ts-expect-error neither a client nor options
  TidewireProvider({});
  // @ts-expect-error both
  TidewireProvider({ client, options: { url: "https://chat.example" } });
}
