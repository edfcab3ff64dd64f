import type { ReactElement, ReactNode } from "react";
import type { Client } from "../client.ts";
import type { ClientOptions } from "../types.ts";
import { fingerprint } from "./fingerprint.ts";
import {
  createClient,
  createContext,
  createElement,
  TidewireError,
  useContext,
  useEffect,
  useMemo,
  useState,
} from "./imports.ts";
import type { Closable } from "./opening.ts";
import { Opening } from "./opening.ts";

/** The client of a {@link TidewireProvider}. */
export interface Tidewire {
  /** `null` while it is being created, and after that has failed. */
  readonly client: Client | null;
  /** Why it could not be created. */
  readonly error: TidewireError | null;
  /** Tries again to create the client after an `error`. */
  retry(): void;
}

/** What {@link TidewireProvider} takes: a client, or the options of one. */
export type TidewireProviderProps = { readonly children?: ReactNode } & (
  | {
      /** A client of yours, which you close. `null` as long as there is none. */
      readonly client: Client | null;
      readonly options?: undefined;
    }
  | {
      /**
       * The options of a client that the provider creates, once it is mounted, and closes. They are
       * compared by value: when one has changed, another client replaces the one before. Of `token`,
       * the function of the last render is called.
       */
      readonly options: ClientOptions;
      readonly client?: undefined;
    }
);

/** A client that is being created. */
interface Creation extends Closable {
  readonly client: Promise<Client>;
}

const Context = createContext<Tidewire | null>(null);

const missing = () => new TidewireError("bad_config", "put <TidewireProvider options={…}> around this component", false);

/** Gives a client to the components in it. Throws `bad_config` if it has neither. */
export function TidewireProvider({ client, options, children }: TidewireProviderProps): ReactElement {
  if (!options && client === undefined) throw missing();
  const [tries, setTries] = useState(0);
  const [made, setMade] = useState<{ of?: unknown; client?: Client; error?: TidewireError }>({});
  const value = fingerprint(options);
  // Options of the same value are the same options, and each try is new.
  const [newest, opening] = useMemo(() => {
    const newest = { options };
    const token: ClientOptions["token"] = async (why) => newest.options?.token?.(why) ?? null;
    const made = async (given: ClientOptions) =>
      createClient({ ...given, ...(typeof given.token === "function" && { token }) });
    const create = (given: ClientOptions): Creation => {
      const client = made(given);
      return { client, close: () => void client.then((known) => known.close(), String) };
    };
    return [newest, new Opening(() => newest.options && create(newest.options))] as const;
  }, [value, tries]);
  useEffect(() => {
    newest.options = options;
  });
  useEffect(() => {
    const leave = opening.use();
    let of: unknown = opening;
    opening.handle?.client.then(
      (client) => of && setMade({ of, client }),
      (error) => of && setMade({ of, error }),
    );
    return () => {
      of = undefined;
      leave();
    };
  }, [opening]);
  const state = useMemo(() => {
    const { client: own = null, error = null } = made.of === opening ? made : {};
    return { client: client ?? own, error, retry: () => error && setTries(tries + 1) };
  }, [client, made, opening, tries]);
  return createElement(Context.Provider, { value: state }, children);
}

/** The client of the provider above. Throws `bad_config` if there is no provider. */
export function useTidewire(): Tidewire {
  const state = useContext(Context);
  if (!state) throw missing();
  return state;
}
