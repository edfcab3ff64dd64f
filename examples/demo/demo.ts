// The demo page: a visitor's widget and an operator's table over the same dialog, each with a
// client of its own.
import type { Client, Dialog, Row, Status } from "tidewire";
import { createClient } from "tidewire";
import type { TidewireChat } from "tidewire/widget";
import "tidewire/widget";
import { demoToken } from "./token.ts";

const DIALOG = "demo";
const query = new URLSearchParams(location.search);
/** `?name=` gives this tab a visitor of its own. */
const name = query.get("name") ?? "visitor";

function find<T extends HTMLElement>(id: string): T {
  const element = document.getElementById(id);
  if (element === null) throw new Error(`#${id} is missing`);
  return element as T;
}

function visitor(): void {
  const chat = find<TidewireChat>("visitor");
  chat.setAttribute("name", name);
  if (query.has("token-ttl") || query.has("tamper")) {
    chat.setAttribute("user", name);
    chat.token = demoToken("user", name);
  } else chat.setAttribute("nickname", query.get("name") ?? "Visitor");
}

async function operator(): Promise<void> {
  const client = await createClient({
    url: location.origin,
    user: "operator Olivia",
    token: demoToken("operator", "Olivia"),
  });
  const dialog = client.dialog(DIALOG);
  const input = find<HTMLInputElement>("operator-text");
  find("operator-form").addEventListener("submit", (event) => {
    event.preventDefault();
    if (input.value.trim() === "") return;
    dialog.send(input.value);
    input.value = "";
  });
  find("operator-stop").addEventListener("click", () => dialog.stop());
  client.subscribe(() => showStatus(client));
  dialog.subscribe(() => showRows(dialog));
  showStatus(client);
  showRows(dialog);
}

let countdown: ReturnType<typeof setTimeout> | undefined;

function showStatus(client: Client): void {
  clearTimeout(countdown);
  const { status, user } = client.getState();
  const line = find("operator-state");
  const left = status.retryAt === null ? 0 : status.retryAt - Date.now();
  line.textContent = statusText(status, left);
  line.dataset["tone"] = status.state === "online" ? "good" : status.state === "failed" ? "bad" : "busy";
  find("operator-who").textContent = user === null ? "" : user.name;
  if (left > 0) countdown = setTimeout(() => showStatus(client), (left % 1000) + 10);
}

function statusText(status: Status, left: number): string {
  const waiting = status.waiting === 0 ? "" : ` · ${status.waiting} waiting`;
  const cause = status.cause === null ? "" : ` (${status.cause})`;
  const when = status.state === "reconnecting" && left > 0 ? ` in ${Math.ceil(left / 1000)} s` : "";
  const state = status.state[0]?.toUpperCase() + status.state.slice(1);
  return `${state}${when}${cause}${waiting}`;
}

const shown = new Map<string, { row: Row; line: HTMLTableRowElement }>();

function showRows(dialog: Dialog): void {
  const { rows, run } = dialog.getState();
  find("operator-stop").hidden = run === null;
  const scroll = find("operator-scroll");
  const following = scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 60;
  const body = find("operator-rows");
  const lines = rows.map((row) => {
    const known = shown.get(row.id);
    if (known?.row === row) return known.line;
    const line = known?.line ?? emptyLine();
    fill(line, row);
    shown.set(row.id, { row, line });
    return line;
  });
  // The same lines again cost nothing, and new ones come at the end.
  for (const [index, line] of lines.entries()) {
    if (body.children[index] !== line) body.insertBefore(line, body.children[index] ?? null);
  }
  while (body.children.length > lines.length) body.lastElementChild?.remove();
  if (following) scroll.scrollTop = scroll.scrollHeight;
}

function emptyLine(): HTMLTableRowElement {
  const line = document.createElement("tr");
  for (const part of ["offset", "time", "who-cell", "text", "row-state"]) line.insertCell().className = part;
  return line;
}

const time = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });

function fill(line: HTMLTableRowElement, row: Row): void {
  const values = [row.offset?.toString() ?? "–", time.format(row.at), row.by.name, row.text];
  const state = row.code === null ? row.state : `${row.state} (${row.code})`;
  for (const [index, value] of [...values, state].entries()) {
    const cell = line.cells[index];
    if (cell !== undefined && cell.textContent !== value) cell.textContent = value;
  }
  line.dataset["state"] = row.state;
  line.dataset["kind"] = row.kind;
}

// Without it a reload would find no page while the server is stopped: the page comes from the same
// server.
if ("serviceWorker" in navigator) void navigator.serviceWorker.register("./sw.js").catch(() => {});
visitor();
void operator();
