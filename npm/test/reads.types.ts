// What TypeScript says of read positions and hand-off: `tsc` checks this file, nobody runs it.
import type { Client, Handler, HandOffStep, Outgoing, ReadsState, Receipt, Store, User } from "../src/index.ts";

export function typed(client: Client): void {
  const dialog = client.dialog("demo");
  const reads: Store<ReadsState> = dialog.reads;
  const { status, code, position, unread, more, receipts }: ReadsState = reads.getState();
  [status satisfies "syncing" | "live" | "crowded" | "refused", code?.trim(), more === true, position.toFixed()];
  const count: string | undefined = unread?.toFixed();
  const [first]: readonly Receipt[] = receipts;
  const reader: User | undefined = first?.user;
  dialog.markRead();
  client.channel<{ vote: { option: string } }>("guild:7").markRead(first?.offset);
  // @ts-expect-error an offset is a number
  dialog.markRead(count ?? reader?.id ?? "");
  // @ts-expect-error a state does not change in place
  receipts.push(first);

  const handler: Handler = dialog.getState().handler;
  const name: string | undefined = handler.state === "operator" ? handler.user.name : undefined;
  const since: number | undefined = handler.state === "ai" ? undefined : handler.since;
  // @ts-expect-error the model has no name
  if (handler.state === "queued") handler.user.name;
  const steps: HandOffStep[] = [
    { step: "request" },
    { step: "take" },
    { step: "take", from: name },
    { step: "transfer", to: { id: "op:2", name: "Bob" } },
    { step: "release" },
    { step: "close" },
  ];
  const sent: readonly Outgoing[] = steps.map((step) => dialog.handOff(step));
  void sent[0]?.acked.then(({ offset }) => offset + (since ?? 0));
  // @ts-expect-error it is not said to whom
  dialog.handOff({ step: "transfer" });
  // @ts-expect-error there is no such step
  dialog.handOff({ step: "steal" });
}
