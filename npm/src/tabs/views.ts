// The views of a tab, each of one channel: the rows of a dialog, or a channel's events.
import type { Command, CoreEvent } from "../core.ts";
import { CHANNEL } from "../core.ts";

/** A view. It is its own key: equal views are equal texts. */
export type View = `${"rows" | "events"} ${string}`;

const ROWS = `rows ${CHANNEL}`;

/** The view of a dialog's rows. */
export const rowsOf = (dialog: string): View => `${ROWS}${dialog}`;

/** The view of a channel's events. */
export const eventsOf = (channel: string): View => `events ${channel}`;

/** The dialog whose rows a view has; `undefined` for a view of events. */
export const dialogIn = (view: View): string | undefined => (view.startsWith(ROWS) ? view.slice(ROWS.length) : undefined);

/** The channel that a view is about. */
export const channelIn = (view: View): string => view.slice(view.indexOf(" ") + 1);

/** The command that opens a view. Of events, the core answers with those that are stored. */
export const opening = (view: View): Command => command(view, "subscribe", "open_dialog");

/** The command that closes a view. */
export const closing = (view: View): Command => command(view, "unsubscribe", "close_dialog");

function command(view: View, ofEvents: string, ofRows: string): Command {
  const dialog = dialogIn(view);
  return dialog === undefined ? { c: ofEvents, channel: channelIn(view) } : { c: ofRows, dialog };
}

/** The view whose content an event is. */
export function viewOf(event: CoreEvent): View | undefined {
  switch (event.t) {
    case "dialog":
      return rowsOf(event.dialog);
    case "recent":
      return eventsOf(event.channel);
    case "received":
      return eventsOf(event.event.ch);
    default:
      return undefined;
  }
}
