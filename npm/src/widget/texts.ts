import type { DialogState, Handler, Receipt, Row, Status, User } from "../types.ts";

/** The colour of a line. */
export type Tone = "good" | "busy" | "warn" | "bad" | "quiet";

/** A text about the current state. */
export interface Line {
  readonly tone: Tone;
  readonly text: string;
}

const messages = (count: number): string => (count === 1 ? "1 message" : `${count} messages`);

const NO_ACCESS: Line = { tone: "warn", text: "Online · no access to this dialog" };

/** Beside a message that somebody else has read. */
export const SEEN = "Seen";

/** What the texts of a row depend on besides the row. */
export interface Around {
  readonly connected: boolean;
  /** The current time, ms since the Unix epoch. */
  readonly now: number;
  /** The id of the newest own message that somebody else has read. */
  readonly seen: string;
}

/** Seconds until a time, at least one. */
const seconds = (at: number, now: number): number => Math.max(Math.ceil((at - now) / 1000), 1);

/**
 * The text about the connection and the dialog at the time `now` (ms since the Unix epoch).
 * `waiting` is the number of messages that are not acknowledged, `me` the client's user.
 */
export function statusLine(
  status: Status,
  dialog: DialogState | undefined,
  waiting: number,
  now: number,
  refused: boolean,
  me: User | null,
): Line {
  const { state, retryAt } = status;
  const kept = waiting === 0 ? "" : ` · ${messages(waiting)} waiting`;
  switch (state) {
    case "online":
      return refused ? NO_ACCESS : onlineLine(dialog, waiting, now, me);
    case "reconnecting": {
      const when = retryAt !== null && retryAt > now ? `Reconnecting in ${seconds(retryAt, now)} s` : "Reconnecting…";
      return { tone: "busy", text: when + kept };
    }
    case "offline":
      return { tone: "warn", text: waiting === 0 ? "Offline" : `Offline: ${messages(waiting)} waiting` };
    case "parked":
      return { tone: "quiet", text: `Paused${kept}` };
    case "disconnected":
    case "closed":
      return { tone: "quiet", text: `Disconnected${kept}` };
    case "failed":
      return { tone: "bad", text: `Not connected${kept}` };
    default:
      return { tone: "busy", text: `Connecting…${kept}` };
  }
}

function onlineLine(dialog: DialogState | undefined, waiting: number, now: number, me: User | null): Line {
  switch (dialog?.status) {
    case "failed":
      return NO_ACCESS;
    case "waiting": {
      const { error, retryAt } = dialog;
      const when = retryAt != null && retryAt > now ? `, next try in ${seconds(retryAt, now)} s` : ", trying again…";
      return { tone: "warn", text: `Online · ${busyText(error?.code)}${when}` };
    }
  }
  const held = dialog?.rows.filter((row) => row.state === "queued" && row.code === "blocked").length ?? 0;
  if (waiting > held) return { tone: "busy", text: `Online · sending ${messages(waiting - held)}` };
  if (held > 0) return { tone: "warn", text: `Online · ${messages(held)} held back` };
  if (dialog?.status !== "live") return { tone: "busy", text: "Online · catching up…" };
  const { handler } = dialog;
  const text = handlerText(handler, me);
  return { tone: handler?.state === "closed" ? "quiet" : "good", text: text || "Online" };
}

/** Says who answers, to the user `me`; empty if it is the model. */
export function handlerText(handler: Handler | undefined, me: User | null): string {
  switch (handler?.state) {
    case "queued":
      return "Online · a person was asked for";
    case "operator": {
      const { user } = handler;
      return user.kind === me?.kind && user.id === me.id ? "You answer here" : `You are talking to ${shortName(user)}`;
    }
    case "closed":
      return "Closed · write to open it again";
    default:
      return "";
  }
}

/** The newest own message that somebody else has read; empty if there is none. */
export function seenRow(rows: readonly Row[], receipts: readonly Receipt[]): string {
  const read = Math.max(0, ...receipts.map(({ offset }) => offset));
  const seen = rows.filter(({ own, kind, offset }) => own && kind === "message" && offset !== null && offset <= read);
  return seen.at(-1)?.id ?? "";
}

/** Why a dialog can't be opened now. */
function busyText(code: string | undefined): string {
  return code === "too_many_connections" ? "the conversation is full" : "the conversation is not ready";
}

/** The text about missing rows before the first one; empty if none are missing. */
export function gapText({ gap, missed }: DialogState): string | null {
  if (gap == null && !(missed > 0)) return null;
  return gap === "epoch" || gap === "ahead"
    ? "The conversation begins anew here: the server no longer has what was before."
    : "Some of the conversation before this is not shown: it went on for long while you were away.";
}

/** Longest name in a line with other words, in characters. */
const LONGEST_NAME = 24;

/** The name, or its beginning if it would leave no place for the words after it. */
function shortName({ name }: User): string {
  const letters = [...name];
  return letters.length > LONGEST_NAME
    ? `${letters
        .slice(0, LONGEST_NAME - 1)
        .join("")
        .trimEnd()}…`
    : name;
}

/** Says who is writing; empty if nobody is. */
export function typingText(users: readonly User[]): string {
  const [first, second] = users.map(shortName);
  if (first === undefined) return "";
  if (second === undefined) return `${first} is typing…`;
  return users.length === 2 ? `${first} and ${second} are typing…` : "Several people are typing…";
}

/** Why the chat could not start: the page uses it wrongly, or its code could not be loaded. */
export function startText(wrong: boolean): string {
  return wrong
    ? "This chat is not set up correctly. Whoever runs this page finds the reason in the browser's console."
    : "The chat could not be loaded. Check your connection; what you write here is kept.";
}

/** What people can do about a connection that was refused finally. */
export function refusalText(cause: string | null, message: string | null): string {
  switch (cause) {
    case "unauthorized":
      return "You are not signed in, or your access was refused. Sign in again, then try again.";
    case "user_changed":
      return "Somebody else is signed in now. Reload the page.";
    case "origin_not_allowed":
      return "This site may not use this chat server. Its operator has to allow it.";
    case "unsupported_version":
      return "This page is too old for the server. Reload the page.";
    case "core_crashed":
      return "Something broke in this page. Reload it: what waits to be sent is kept.";
    case "bad_token":
    case "bad_config":
      return "This page could not sign you in. Reload the page or try again.";
    default:
      return `The server refused the connection: ${message ?? cause ?? "unknown"}.`;
  }
}

/** Why the dialog can't be shown. */
export function dialogErrorText(code: string): string {
  if (code === "unknown_channel") return "This conversation does not exist.";
  if (code === "forbidden") return "This conversation belongs to somebody else.";
  return `This conversation can't be opened (${code}).`;
}

/** Says that messages are lost on reload. */
export function storageText(code: string): string {
  return code === "storage_full"
    ? "This browser's storage is full: keep the page open until your messages are sent."
    : "This browser keeps nothing for this page: keep it open until your messages are sent.";
}

/** Why a message was refused or could not be sent. */
export function failureText(code: string | null): string {
  switch (code) {
    case "too_large":
      return "it is too long";
    case "bad_body":
    case "empty":
      return "it is empty";
    case "blocked":
      return "the message before it was not sent";
    case "forbidden":
      return "you may not write here";
    case "unknown_channel":
      return "this conversation does not exist";
    case "rate_limited":
      return "too many messages at once";
    case "storage_full":
    case "store_unavailable":
      return "the server can't store it now";
    case "outbox_full":
      return "too many messages wait already";
    case "expired":
      return "it waited too long";
    case "closed":
      return "the chat is closed";
    default:
      return code ?? "unknown reason";
  }
}

/** Why a message is not sent at all. */
function queuedText({ code, retryAt }: Row, now: number): string {
  if (code === "blocked") return "Waits: a message before it was not sent";
  if (code !== "rate_limited") return "Queued";
  const when = retryAt != null && retryAt > now ? `in ${seconds(retryAt, now)} s` : "soon";
  return `Many messages at once: sent ${when}`;
}

/** The text beside a row's time, at the time `now`; empty in the usual case. */
export function markText(row: Row, { connected, now, seen }: Around): string {
  if (row.id === seen) return SEEN;
  switch (row.state) {
    case "saving":
      return "Saving";
    case "queued":
      return queuedText(row, now);
    case "sending":
      return connected ? "Sending" : "Sent, not yet confirmed";
    case "sent":
      return "Sent";
    case "failed":
      return `Not sent: ${failureText(row.code)}`;
    case "streaming":
      return connected ? "Answering" : "Waiting for the connection";
    case "stopped":
      return "Stopped";
    case "interrupted":
      return "Interrupted: the server stopped before the answer was whole";
    case "error":
      return `The answer could not be finished (${row.code ?? "unknown"})`;
    default:
      return "";
  }
}
