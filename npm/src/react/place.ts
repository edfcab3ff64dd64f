import type { Client } from "../client.ts";
import type { Store, TidewireError } from "../types.ts";
import { useMemo, useSyncExternalStore } from "./imports.ts";
import type { Closable } from "./opening.ts";
import { Opening } from "./opening.ts";
import { useTidewire } from "./provider.ts";

/** No name: nothing is opened, for example because an id is not known yet. */
export type Nothing = null | undefined;

/** A function that opens something by its name. */
export type Open<H> = (client: Client, name: string) => H;

/** A store of a handle, and what is shown while there is no handle. */
export interface Part<H, S> {
  /** The store; without this it is the handle itself. */
  of?(handle: H): Store<S>;
  readonly initial: S;
  /** What differs in the state if the client refused to open it; without this `status` and `error`. */
  refused?(error: TidewireError): Partial<S>;
}

const failed = ({ code, message, at }: TidewireError) => ({
  status: "failed",
  error: { code, message, at: at ?? null },
});

/** Where a component has something open. */
export type Place<H extends Closable> = Opening<H>;

/**
 * What a component has open under a name. Handles of the same name share one subscription in the
 * client, and one state.
 */
export function usePlace<H extends Closable>(open: Open<H>, name: string | Nothing): Place<H> {
  const { client } = useTidewire();
  return useMemo(
    () => new Opening(() => (client === null || name === null || name === undefined ? undefined : open(client, name))),
    [client, open, name],
  );
}

/**
 * What `select` takes from a store of the handle. The component renders again only when that has
 * changed. On a server, and while a page is hydrated, it is that of the initial state.
 */
export function useSelected<H extends Closable, S, T>(
  place: Place<H>,
  part: Part<H, S>,
  select: (state: S, ready: boolean) => T,
): T {
  const [subscribe, get, first] = useMemo(() => {
    const first = select(part.initial, false);
    let shown = first;
    let refused: S | undefined;
    const { of = itself as (handle: H) => never, initial, refused: differs = failed } = part;
    const store = () => place.handle && of(place.handle);
    return [
      (listener: () => void) => {
        const leave = place.use();
        const end = store()?.subscribe(listener);
        listener();
        return () => {
          end?.();
          leave();
        };
      },
      () => {
        const { handle, error } = place;
        if (error) refused ??= { ...initial, ...differs(error) };
        const next = select(store()?.getState() ?? refused ?? initial, !!handle);
        if (!isSame(shown, next)) shown = next;
        return shown;
      },
      () => first,
    ] as const;
  }, [place, part, select]);
  return useSyncExternalStore(subscribe, get, first);
}

/** Whether two values are equal, or have equal members, down to those of a list's items. */
function isSame(one: unknown, other: unknown, levels = 2): boolean {
  if (Object.is(one, other)) return true;
  if (levels === 0 || !one || !other || typeof one !== "object") return false;
  const names = Object.keys(one) as never[];
  return names.length === Object.keys(other).length && names.every((name) => isSame(one[name], other[name], levels - 1));
}

/** A handle's own state, and whether the handle is open. */
export const all = <S extends object>(state: S, ready: boolean): S & Ready => ({ ...state, ready });

/** Whether a handle is open. */
export interface Ready {
  /** Whether it is open, so that its functions work: not before the client has loaded. */
  readonly ready: boolean;
}

/**
 * Functions that call methods of these names: the handle's, or those of what `of` takes from it. They
 * throw `closed` if it is not open, and are the same ones as long as the place is the same.
 */
export const useMethods = <H extends Closable, T, N extends keyof T>(
  place: Place<H>,
  of: (handle: H) => T,
  ...names: N[]
): Pick<T, N> =>
  // `of` and the names are constants.
  useMemo(
    () =>
      Object.fromEntries(
        names.map((name) => [
          name,
          (...given: never[]) => (of(place.opened)[name] as (...given: never[]) => unknown)(...given),
        ]),
      ) as Pick<T, N>,
    [place],
  );

export const itself = <T>(value: T): T => value;
