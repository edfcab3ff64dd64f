// The views of a tab, each of one channel: the rows of a dialog, a channel's events, who is there, or
// how far it was read.
import type { Command, CoreEvent } from "../core.ts";
import { CHANNEL } from "../core.ts";

/** A view. It is its own key: equal views are equal texts. */
export type View = `${"rows" | "events" | "seen" | "who"} ${string}`;

const ROWS = `rows ${CHANNEL}`;
const WHO = "who ";
const SEEN = "seen ";

/** The view of a dialog's rows. */
export const rowsOf = (dialog: string): View => `${ROWS}${dialog}`;

/** The view of a channel's events. */
export const eventsOf = (channel: string): View => `events ${channel}`;

/** The view of who is in a channel. It is open together with one of the channel's content. */
export const whoOf = (channel: string): View => `${WHO}${channel}`;

/** The view of how far a channel was read. It is open together with one of the channel's content. */
export const seenOf = (channel: string): View => `${SEEN}${channel}`;

/** The dialog whose rows a view has; `undefined` for other views. */
export const dialogIn = (view: View): string | undefined => (view.startsWith(ROWS) ? view.slice(ROWS.length) : undefined);

/** Whether a view has a channel's events. */
export const isOfEvents = (view: View): boolean => view.startsWith("events ");

/** Whether a view has how far a channel was read. */
export const isOfReads = (view: View): boolean => view.startsWith(SEEN);

/** The channel that a view is about. */
export const channelIn = (view: View): string => view.slice(view.indexOf(" ") + 1);

/** The command that opens a view. Of events, the core answers with those that are stored. */
export const opening = (view: View): Command => command(view, "subscribe", "open_dialog", "watch");

/** The command that closes a view. */
export const closing = (view: View): Command => command(view, "unsubscribe", "close_dialog", "unwatch");

function command(view: View, ofEvents: string, ofRows: string, watching: string): Command {
  const dialog = dialogIn(view);
  if (dialog !== undefined) return { c: ofRows, dialog };
  const channel = channelIn(view);
  if (isOfEvents(view)) return { c: ofEvents, channel };
  return { c: `${watching}_${isOfReads(view) ? "reads" : "people"}`, channel };
}

/** The view whose content an event is. */
export function viewOf(event: CoreEvent): View | undefined {
  switch (event.t) {
    case "dialog":
      return rowsOf(event.dialog);
    case "people":
      return whoOf(event.channel);
    case "reads":
      return seenOf(event.channel);
    case "recent":
      return eventsOf(event.channel);
    case "received":
      return eventsOf(event.event.ch);
    default:
      return undefined;
  }
}
