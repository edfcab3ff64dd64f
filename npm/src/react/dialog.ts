import type { Dialog } from "../dialog.ts";
import type { DialogState, Row } from "../types.ts";
import { internal, useMemo } from "./imports.ts";
import type { Typing } from "./people.ts";
import { useSetTyping, useTypingAt } from "./people.ts";
import type { Nothing, Open, Part, Place, Ready } from "./place.ts";
import { all, itself, useMethods, usePlace, useSelected } from "./place.ts";

const open: Open<Dialog> = (client, id) => client.dialog(id);

const DIALOG: Part<Dialog, DialogState> = { initial: internal.NO_ROWS };

/**
 * What components do in a dialog: as the methods of `Dialog`. All throw `closed` until `ready` is
 * true, and are the same functions as long as the id is the same.
 */
export type DialogActions = Pick<
  Dialog,
  "send" | "retry" | "discard" | "stop" | "handOff" | "markRead" | "loadOlder" | "signal"
> &
  Pick<Typing, "setTyping">;

const useActions = (place: Place<Dialog>): DialogActions => ({
  ...useMethods(place, itself, "send", "retry", "discard", "stop", "handOff", "markRead", "loadOlder", "signal"),
  setTyping: useSetTyping(place),
});

const withoutRows = ({ rows: _, ...rest }: DialogState, ready: boolean) => ({ ...rest, ready });

/**
 * A dialog without its rows: what a composer or a header needs. A component does not render again
 * for a message, nor for a piece of an answer.
 */
export function useDialog(id: string | Nothing): Omit<DialogState, "rows"> & Ready & DialogActions {
  const place = usePlace(open, id);
  return { ...useSelected(place, DIALOG, withoutRows), ...useActions(place) };
}

/** A whole dialog: its rows, its state, who is writing, and what can be done in it. */
export function useMessages(id: string | Nothing): DialogState & Ready & DialogActions & Typing {
  const place = usePlace(open, id);
  return { ...useSelected(place, DIALOG, all), ...useTypingAt(place), ...useActions(place) };
}

const idsOf = ({ rows }: DialogState): readonly string[] => rows.map(({ id }) => id);

/** The ids of a dialog's rows in order. They change when a row comes or goes, not with its text. */
export const useMessageIds = (id: string | Nothing): readonly string[] => useSelected(usePlace(open, id), DIALOG, idsOf);

/** One row of a dialog; `undefined` if there is none. A component renders again when it changes. */
export function useMessage(id: string | Nothing, row: string): Row | undefined {
  const select = useMemo(() => {
    // Rows seldom move, so that a row of thousands is mostly found where it was.
    let at = 0;
    return ({ rows }: DialogState): Row | undefined => {
      if (rows[at]?.id !== row) at = rows.findIndex((one) => one.id === row);
      return rows[at];
    };
  }, [row]);
  return useSelected(usePlace(open, id), DIALOG, select);
}
