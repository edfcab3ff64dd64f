import type { DialogState, Row, Status } from "../types.ts";

/** How a line is coloured. */
export type Tone = "good" | "busy" | "warn" | "bad" | "quiet";

/** What goes on, in words. */
export interface Line {
  readonly tone: Tone;
  readonly text: string;
}

const messages = (count: number): string => (count === 1 ? "1 message" : `${count} messages`);

/** The connection, at the moment `now` (ms since the Unix epoch). */
export function statusLine(status: Status, sync: DialogState["sync"], now: number): Line {
  const { state, waiting, retryAt } = status;
  const kept = waiting === 0 ? "" : ` · ${messages(waiting)} waiting`;
  switch (state) {
    case "online":
      if (waiting > 0) return { tone: "busy", text: `Online · sending ${messages(waiting)}` };
      if (sync === "failed") return { tone: "warn", text: "Online · no access to this dialog" };
      return sync === "live" ? { tone: "good", text: "Online" } : { tone: "busy", text: "Online · catching up…" };
    case "reconnecting": {
      const seconds = retryAt === null ? 0 : Math.ceil((retryAt - now) / 1000);
      const when = seconds > 0 ? `Reconnecting in ${seconds} s` : "Reconnecting…";
      return { tone: "busy", text: when + kept };
    }
    case "offline":
      return { tone: "warn", text: waiting === 0 ? "Offline" : `Offline: ${messages(waiting)} waiting` };
    case "parked":
      return { tone: "quiet", text: `Paused${kept}` };
    case "closed":
      return { tone: "quiet", text: `Disconnected${kept}` };
    case "failed":
      return { tone: "bad", text: `Not connected${kept}` };
    default:
      return { tone: "busy", text: `Connecting…${kept}` };
  }
}

/** What a person can do about a connection that was refused for good. */
export function refusalText(cause: string | null): string {
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
    default:
      return `The server refused the connection (${cause ?? "unknown"}). Reload the page or try again.`;
  }
}

/** Why the dialog can't be seen. */
export function dialogErrorText(code: string): string {
  if (code === "unknown_channel") return "This conversation does not exist.";
  if (code === "forbidden") return "This conversation belongs to somebody else.";
  return `This conversation can't be opened (${code}).`;
}

/** That messages would not survive a reload. */
export function storageText(code: string): string {
  return code === "storage_full"
    ? "This browser's storage is full: keep the page open until your messages are sent."
    : "This browser keeps nothing for this page: keep it open until your messages are sent.";
}

/** Why a message was not taken or did not go. */
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
    default:
      return code ?? "unknown reason";
  }
}

/** What is said beside a row's time; nothing if all is well and needs no words. */
export function markText(row: Row, connected: boolean): string {
  switch (row.state) {
    case "saving":
      return "Saving";
    case "queued":
      return "Queued";
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
