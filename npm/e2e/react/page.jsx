// A chat in React, as an application has it: what the browser's tests look at.
import { memo, StrictMode, useState } from "react";
import { createRoot } from "react-dom/client";
import {
  TidewireProvider,
  useAgentStatus,
  useConnection,
  useDialog,
  useMessage,
  useMessageIds,
  usePresence,
  useTyping,
} from "tidewire/react";

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

const Row = memo(({ id }) => {
  const row = useMessage(ID, id);
  return (
    <p className={row?.own ? "own" : ""} data-state={row?.state}>
      <small>{row?.by.name}</small>
      <span>{row?.text}</span>
    </p>
  );
});

function Rows() {
  const { typing } = useTyping(`dialog:${ID}`);
  return (
    <main>
      {useMessageIds(ID).map((id) => (
        <Row key={id} id={id} />
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
// Frames that would show a row before what it says is known.
window.flashes = 0;
const look = () => {
  window.flashes += document.querySelectorAll("main p:not([data-state])").length;
  requestAnimationFrame(look);
};
requestAnimationFrame(look);
Object.assign(window, { render, leave: () => root.unmount() });
render();
