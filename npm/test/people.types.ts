// What TypeScript says of people: `tsc` checks this file, nobody runs it.
import type { Client, JsonObject, People, PeopleState, Person, PersonLease, User } from "../src/index.ts";

export function typed(client: Client): void {
  const people: People = client.channel<{ vote: { option: string } }>("guild:7").people;
  const end: () => void = people.subscribe(() => {});
  end();
  const { status, code, count, people: list, typing }: PeopleState = people.getState();
  [status satisfies "syncing" | "live" | "crowded" | "refused", code?.trim(), count.toFixed()];
  const names: string[] = typing.map(({ name }: User) => name);
  const [first]: readonly Person[] = list;
  const lease: PersonLease | undefined = first?.leases["status"];
  const body: JsonObject | undefined = lease?.body;
  people.typing();
  people.typing(names.length > 0 && body !== undefined);
  people.hold("status");
  people.hold("status", { task: "search", at: 5 });
  people.release("status");
  // @ts-expect-error a body is an object
  people.hold("status", "text");
  // @ts-expect-error a state does not change in place
  list.push(first);
  // @ts-expect-error `leases` may lack any kind
  first?.leases["status"].body;
}
