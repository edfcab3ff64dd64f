// The element over a client that only pretends: each state that a person may see, at will.
import "/dist/widget.js";

function store(initial) {
  let state = initial;
  const listeners = new Set();
  return {
    getState: () => state,
    getInitialState: () => initial,
    subscribe: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    set: (next) => {
      const before = state;
      state = { ...state, ...next };
      for (const listener of listeners) listener(state, before);
    },
  };
}

export function fakeClient() {
  const calls = [];
  const typed = [];
  const status = { state: "idle", attempt: 0, retryAt: null, cause: null, message: null, waiting: 0 };
  const client = store({ status, user: null, storage: null });
  const dialog = store({ rows: [], sync: "local", error: null, retryAt: null, run: null, missed: 0, gap: null });
  const people = store({ status: "live", code: null, count: 0, people: [], typing: [] });
  const reads = store({ status: "live", code: null, position: 0, unread: null, more: false, receipts: [] });
  const marked = [];
  const call = (name) => (argument) => {
    calls.push([name, argument]);
    return { id: "x", acked: Promise.resolve({ offset: 1 }) };
  };
  const parts = { send: call("send"), stop: call("stop"), retry: call("retry"), discard: call("discard") };
  return {
    ...client,
    connect: call("connect"),
    retryNow: call("retryNow"),
    dialog: () => ({
      ...dialog,
      ...parts,
      people: { ...people, typing: (on) => typed.push(on) },
      reads,
      markRead: (offset) => marked.push(offset),
    }),
    status: (next) => client.set({ status: { ...status, ...next } }),
    state: client.set,
    show: dialog.set,
    write: (...typing) => people.set({ typing: typing.flat() }),
    read: (receipts) => reads.set({ receipts }),
    typed,
    marked,
    calls,
  };
}

const client = fakeClient();
const chat = document.createElement("tidewire-chat");
chat.setAttribute("dialog", "demo");
chat.setAttribute("heading", "Ask us anything");
chat.client = client;
document.body.append(chat);
window.client = client;
window.chat = chat;
