// A chat in React, as an application has it: what the browser's tests look at.
import { StrictMode, useState } from "react";
import { createRoot } from "react-dom/client";
import { TidewireProvider, useAgentStatus, useConnection, useDialog, useMessages, usePresence } from "tidewire/react";

const { url, token, user } = Object.fromEntries(new URLSearchParams(location.search));
const ID = "demo";

function Header() {
  const { state, waiting } = useConnection();
  const { people } = usePresence(`dialog:${ID}`);
  const { agents } = useAgentStatus(`dialog:${ID}`);
  return (
    <header>
      <b data-part="state">{state}</b>
      <span data-part="waiting">{waiting}</span>
      <span data-part="people">{people.map((person) => person.user.name).join(", ")}</span>
      <span data-part="agents">{agents.map(({ user, task }) => `${user.name}: ${task}`).join(", ")}</span>
    </header>
  );
}

function Rows() {
  const { rows, typing, discard } = useMessages(ID);
  return (
    <main>
      {rows.map((row) => (
        <p key={row.id} className={row.own ? "own" : ""} data-state={row.state}>
          <small>{row.by.name}</small>
          <span>{row.text}</span>
          {row.state === "failed" && (
            <button type="button" onClick={() => discard(row.id)}>
              Discard
            </button>
          )}
        </p>
      ))}
      <i data-part="typing">{typing.map(({ name }) => `${name} is typing…`).join(" ")}</i>
    </main>
  );
}

function Composer() {
  const { send, ready, run, stop, setTyping } = useDialog(ID);
  const [text, setText] = useState("");
  const write = (value) => {
    setText(value);
    setTyping(value !== "");
  };
  const submit = (event) => {
    event.preventDefault();
    send(text);
    write("");
  };
  return (
    <form onSubmit={submit}>
      <input aria-label="Message" value={text} onChange={(event) => write(event.target.value)} />
      <button type="submit" disabled={!ready}>
        Send
      </button>
      {run !== null && (
        <button type="button" onClick={stop}>
          Stop
        </button>
      )}
    </form>
  );
}

// New options with each render, as an application writes them.
const App = () => (
  <TidewireProvider options={{ url, user, token: async () => token }}>
    <Header />
    <Rows />
    <Composer />
  </TidewireProvider>
);

const root = createRoot(document.body.appendChild(document.createElement("div")));
const render = () =>
  root.render(
    <StrictMode>
      <App />
    </StrictMode>,
  );
Object.assign(window, { render, leave: () => root.unmount() });
render();
