import type { Channel } from "../channel.ts";
import { CHANNEL } from "../core.ts";
import type { Dialog } from "../dialog.ts";
import type { People } from "../people.ts";
import type { PeopleState, Person, User } from "../types.ts";
import { internal, useCallback } from "./imports.ts";
import type { Nothing, Open, Part, Place, Ready } from "./place.ts";
import { all, useMethods, usePlace, useSelected } from "./place.ts";

/** Of a dialog's channel the dialog is opened, which other components show. */
const open: Open<Dialog | Channel> = (client, name) =>
  name.startsWith(CHANNEL) ? client.dialog(name.slice(CHANNEL.length)) : client.channel(name);

const peopleOf = ({ people }: Dialog | Channel): People => people;

const PEOPLE: Part<Dialog | Channel, PeopleState> = {
  of: peopleOf,
  initial: internal.NOBODY,
  refused: ({ code }) => ({ status: "refused", code }),
};

/**
 * Who is in a channel and what they do. A dialog's channel is `dialog:` and its id. What `hold` holds
 * ends when the component is unmounted. Both functions throw `closed` until `ready` is true.
 */
export function usePresence(channel: string | Nothing): PeopleState & Ready & Pick<People, "hold" | "release"> {
  const place = usePlace(open, channel);
  return { ...useSelected(place, PEOPLE, all), ...useMethods(place, peopleOf, "hold", "release") };
}

/** Who is writing. */
export interface Typing {
  /** The others who are writing. */
  readonly typing: readonly User[];
  /** Whether anybody else is. */
  readonly isTyping: boolean;
  /**
   * Says that this client's user is writing, with each change of the text; or with `false` that they
   * have stopped. It ends when the component is unmounted, and does nothing without a client.
   */
  setTyping(on?: boolean): void;
}

const typingOf = ({ typing }: PeopleState): readonly User[] => typing;

/** Who is writing at a place. */
export function useTypingAt(place: Place<Dialog | Channel>): Typing {
  const typing = useSelected(place, PEOPLE, typingOf);
  return { typing, isTyping: typing.length > 0, setTyping: useSetTyping(place) };
}

export const useSetTyping = (place: Place<Dialog | Channel>): Typing["setTyping"] =>
  useCallback((on) => place.handle?.people.typing(on), [place]);

/** Who is writing in a channel. A dialog's channel is `dialog:` and its id. */
export const useTyping = (channel: string | Nothing): Typing => useTypingAt(usePlace(open, channel));

/** What an agent is at. */
export interface AgentStatus {
  readonly user: User;
  /** Whether it is this client's user. */
  readonly own: boolean;
  readonly active: boolean;
  /** How far it is, as the agent says it; `null` if it does not. */
  readonly progress: number | null;
  /** What it does; `null` if it does not say. */
  readonly task: string | null;
}

/** The agents of a channel. */
export interface Agents {
  /** Those who have a status. */
  readonly agents: readonly AgentStatus[];
  /**
   * Sets the status of this client's user, until `null` or until the component is unmounted. Throws
   * as `people.hold`, and `closed` without a client.
   */
  setStatus(status: Partial<Pick<AgentStatus, "active" | "progress" | "task">> | null): void;
}

/** The kind of the leases that say what an agent is at. */
const STATUS = "status";

/** What the agents of a channel are at: their leases of the kind `status`. */
export function useAgentStatus(channel: string | Nothing): Agents {
  const place = usePlace(open, channel);
  const agents = useSelected(place, PEOPLE, agentsIn);
  const setStatus = useCallback<Agents["setStatus"]>(
    (status) => {
      const { people } = place.opened;
      if (status) people.hold(STATUS, { active: true, ...status });
      else people.release(STATUS);
    },
    [place],
  );
  return { agents, setStatus };
}

const agentsIn = ({ people }: PeopleState): readonly AgentStatus[] => people.flatMap(statusOf);

/** The value if it has the type of `like`. */
const known = <T>(value: unknown, like: T): T | null => (typeof value === typeof like ? (value as T) : null);

function statusOf({ user, own, leases }: Person): AgentStatus | [] {
  const lease = leases[STATUS];
  if (!lease) return [];
  // Others may have written anything.
  const { active, progress, task } = lease.body;
  return { user, own, active: active !== false, progress: known(progress, 0), task: known(task, "") };
}
