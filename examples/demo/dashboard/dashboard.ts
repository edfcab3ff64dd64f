// The dashboard: three live tables of a database that any program may edit.
import type { Status, Table, TableChange, TableState, TablesClient } from "tidewire";
import { createClient } from "tidewire";
import { demoToken } from "../token.ts";

interface Rule {
  readonly id: string;
  readonly name: string;
  readonly instruction: string;
  readonly priority: string;
  readonly enabled: boolean;
}

interface Session {
  readonly id: string;
  readonly visitor: string;
  readonly state: "waiting" | "open" | "closed";
  readonly operator: string | null;
  readonly topic: string;
  readonly started_at: string;
}

interface Notification {
  readonly id: string;
  readonly user_id: string;
  readonly title: string;
  readonly created_at: string;
}

const DATABASE = ".demo/tables.db";
const TRIES = [
  ["Change a rule", "UPDATE context_rules SET priority = 40, enabled = 1 WHERE name = 'holidays'"],
  ["Add a rule", "INSERT INTO context_rules (name, instruction) VALUES ('names', 'Use the first name.')"],
  ["Take a session: it changes", "UPDATE chat_sessions SET state = 'open', operator = 'Olivia' WHERE visitor = 'Mateo'"],
  ["Close a session: it leaves the list", "UPDATE chat_sessions SET state = 'closed' WHERE visitor = 'Noor'"],
  ["Notify Olivia", "INSERT INTO notifications (title) VALUES ('The printer is on fire')"],
] as const;
/** Most lines of the log. */
const LINES = 50;
/** How long a change is marked, ms. */
const MARKED = 2_500;

function find<T extends HTMLElement>(id: string): T {
  const element = document.getElementById(id);
  if (element === null) throw new Error(`#${id} is missing`);
  return element as T;
}

function part(panel: HTMLElement, name: string): HTMLElement {
  const element = panel.querySelector<HTMLElement>(`[data-part="${name}"]`);
  if (element === null) throw new Error(`${panel.id} lacks ${name}`);
  return element;
}

function element(name: string, className: string, text = ""): HTMLElement {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
}

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });

async function start(): Promise<void> {
  showTries();
  const client = await createClient({
    url: location.origin,
    user: "operator Olivia",
    name: "dashboard",
    token: demoToken("operator", "Olivia"),
    tables: true,
  });
  client.subscribe(() => showConnection(client));
  showConnection(client);
  const rules = client.tables.contextRules<Rule>({ orderBy: [{ priority: "desc" }, "name"] });
  const sessions = client.table<Session>("chat_sessions", {
    where: { state: { neq: "closed" } },
    orderBy: { started_at: "asc" },
  });
  const notifications = client.tables.notifications<Notification>("demo:operator:Olivia", { limit: 20 });
  follow(find("rules"), rules, { empty: "No rules.", fill: fillRule, make: ruleLine });
  follow(find("sessions"), sessions, { empty: "Nobody is waiting.", fill: fillSession, make: card });
  follow(find("notifications"), notifications, { empty: "Nothing new.", fill: fillNotification, make: card });
  tell(rules, (rule) => rule.name);
  tell(sessions, (session) => session.visitor);
  tell(notifications, (notification) => notification.title);
}

let countdown: ReturnType<typeof setTimeout> | undefined;

function showConnection(client: TablesClient): void {
  clearTimeout(countdown);
  const { status } = client.getState();
  const left = status.retryAt === null ? 0 : status.retryAt - Date.now();
  const line = find("connection");
  line.textContent = statusText(status, left);
  line.dataset["tone"] = status.state === "online" ? "good" : status.state === "failed" ? "bad" : "busy";
  if (left > 0) countdown = setTimeout(() => showConnection(client), (left % 1000) + 10);
}

function statusText({ state, cause }: Status, left: number): string {
  const when = state === "reconnecting" && left > 0 ? ` in ${Math.ceil(left / 1000)} s` : "";
  return `${state[0]?.toUpperCase()}${state.slice(1)}${when}${cause === null ? "" : ` (${cause})`}`;
}

/** How a table's rows are shown. */
interface Look<R> {
  readonly empty: string;
  make(): HTMLElement;
  fill(line: HTMLElement, row: R): void;
}

function follow<R extends { readonly id: string }>(panel: HTMLElement, table: Table<R>, look: Look<R>): void {
  const lines = new Map<string, { row: R; line: HTMLElement }>();
  const body = part(panel, "rows");
  const show = (state: TableState<R>) => {
    showState(panel, state, look.empty);
    for (const id of lines.keys()) if (!state.rows.some((row) => row.id === id)) lines.delete(id);
    const shown = state.rows.map((row) => {
      const known = lines.get(row.id);
      if (known?.row === row) return known.line;
      const line = known?.line ?? look.make();
      look.fill(line, row);
      line.dataset["id"] = row.id;
      lines.set(row.id, { row, line });
      return line;
    });
    for (const [index, line] of shown.entries()) {
      if (body.children[index] !== line) body.insertBefore(line, body.children[index] ?? null);
    }
    while (body.children.length > shown.length) body.lastElementChild?.remove();
  };
  table.subscribe(show);
  table.on("commit", (changes) => {
    // The lines must be there to be marked.
    show(table.getState());
    for (const { event, new: row } of changes) {
      if (row === null) continue;
      const line = lines.get(row.id)?.line;
      if (line !== undefined) mark(line, event);
    }
  });
  show(table.getState());
}

function showState<R>(panel: HTMLElement, { rows, status, error }: TableState<R>, nothing: string): void {
  const chip = part(panel, "state");
  chip.textContent = status;
  chip.dataset["tone"] = status === "live" ? "good" : status === "failed" ? "bad" : "busy";
  part(panel, "count").textContent = status === "loading" || status === "failed" ? "" : String(rows.length);
  const empty = part(panel, "empty");
  empty.hidden = status === "loading" || rows.length > 0;
  empty.textContent = error === null ? nothing : `${error.message} (${error.code})`;
}

const marks = new WeakMap<HTMLElement, ReturnType<typeof setTimeout>>();

function mark(line: HTMLElement, event: string): void {
  clearTimeout(marks.get(line));
  delete line.dataset["changed"];
  // Read so that a mark of the same kind begins anew.
  void line.offsetWidth;
  line.dataset["changed"] = event.toLowerCase();
  const end = setTimeout(() => delete line.dataset["changed"], MARKED);
  marks.set(line, end);
}

function ruleLine(): HTMLElement {
  const line = document.createElement("tr");
  for (const name of ["priority", "name", "text", "enabled"]) line.insertCell().className = name;
  return line;
}

function fillRule(line: HTMLElement, rule: Rule): void {
  const values = [rule.priority, rule.name, rule.instruction, rule.enabled ? "on" : "off"];
  for (const [index, value] of values.entries()) {
    const cell = line.children[index];
    if (cell !== undefined && cell.textContent !== value) cell.textContent = value;
  }
  line.dataset["off"] = String(!rule.enabled);
}

const card = () => element("li", "card");

function fillSession(line: HTMLElement, { visitor, state, operator, topic }: Session): void {
  const head = element("div", "card-head");
  const tag = element("span", "tag", operator === null ? state : `${state} · ${operator}`);
  tag.dataset["state"] = state;
  head.append(element("strong", "", visitor), tag);
  line.replaceChildren(head, element("p", "", topic));
}

function fillNotification(line: HTMLElement, { title, created_at }: Notification): void {
  const time = document.createElement("time");
  time.dateTime = created_at;
  time.textContent = clock.format(new Date(created_at));
  line.replaceChildren(element("p", "", title), time);
}

/** Writes each change into the log. */
function tell<R extends object>(table: Table<R>, name: (row: R) => string): void {
  table.on("change", (change: TableChange<R>) => {
    const line = document.createElement("li");
    const time = element("span", "when", clock.format(change.at ?? Date.now()));
    const event = element("span", "event", change.event);
    event.dataset["event"] = change.event;
    const why = change.why === "commit" ? "" : ` · ${change.why.replace("_", " ")}`;
    const row = change.new ?? change.old;
    line.append(time, event, element("span", "what", `${change.table}: ${row === null ? "" : name(row)}${why}`));
    const log = find("log");
    log.prepend(line);
    while (log.children.length > LINES) log.lastElementChild?.remove();
  });
}

function showTries(): void {
  const list = find("tries");
  for (const [title, sql] of TRIES) {
    const command = `sqlite3 ${DATABASE} "${sql}"`;
    const copy = element("button", "copy", "Copy") as HTMLButtonElement;
    copy.type = "button";
    copy.setAttribute("aria-label", `Copy: ${title}`);
    copy.addEventListener("click", async () => {
      await navigator.clipboard.writeText(command).then(
        () => (copy.textContent = "Copied"),
        () => (copy.textContent = "Denied"),
      );
      setTimeout(() => (copy.textContent = "Copy"), 1500);
    });
    const item = document.createElement("li");
    item.append(element("span", "try-title", title), element("code", "", command), copy);
    list.append(item);
  }
}

// Without it a reload would find no page while the server is stopped: the page comes from the same
// server.
if ("serviceWorker" in navigator) void navigator.serviceWorker.register("../sw.js").catch(() => {});
void start();
