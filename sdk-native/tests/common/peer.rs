//! The native client in a process of its own, to be killed.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;

use serde_json::Value;
use tidewire_history::Event;

use super::build::build;
use super::told::Told;

pub struct Peer {
    pub name: String,
    child: Child,
    reading: Option<JoinHandle<()>>,
    /// What it was told to send and has not spoken of as safe.
    pub unsafe_yet: Vec<String>,
    state: Arc<Mutex<PeerState>>,
}

/// What its output said so far.
#[derive(Clone, Debug, Default)]
pub struct PeerState {
    pub acked: HashSet<String>,
    /// Acknowledged, or safe in the store.
    pub safe: HashSet<String>,
    /// The last offset it applied.
    pub applied: u64,
    pub online: bool,
    pub live: bool,
    pub waiting: u64,
    /// Codes of the store's failures; empty for "works again".
    pub storage: Vec<String>,
    pub surprises: Vec<String>,
}

impl Peer {
    /// Starts it for the `run`th time. `arguments` come on top of the usual ones, and `variables`
    /// are put into its environment.
    pub fn start(
        told: &Arc<Told>,
        (name, run): (&str, usize),
        (url, token): (&str, &str),
        store: Option<&Path>,
        arguments: &[&str],
        variables: &[(&str, PathBuf)],
    ) -> Peer {
        let mut command = Command::new(program());
        command.args(["--server", url, "--token", token, "--name", name, "--observer"]);
        command.arg(format!("{name}#{run}")).args(arguments).envs(variables.iter().cloned());
        if let Some(store) = store {
            command.arg("--store").arg(store);
        }
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the peer starts");
        let stdout = child.stdout.take().expect("piped");
        let (state, told) = (Arc::new(Mutex::new(PeerState::default())), Arc::clone(told));
        let reading = std::thread::spawn({
            let state = Arc::clone(&state);
            move || listen(stdout, &told, &state)
        });
        Peer { name: name.to_owned(), child, reading: Some(reading), unsafe_yet: Vec::new(), state }
    }

    /// Has it send a message, which is in the history from now on.
    pub fn send(&mut self, told: &Told, text: &str) {
        told.sent(&self.name, text);
        self.unsafe_yet.push(text.to_owned());
        writeln!(self.child.stdin.as_mut().expect("piped"), "{text}").expect("written");
    }

    /// Has it say that its user has read all that it shows.
    pub fn mark_read(&mut self) {
        writeln!(self.child.stdin.as_mut().expect("piped")).expect("written");
    }

    pub fn state(&self) -> PeerState {
        self.state.lock().expect("unpoisoned").clone()
    }

    /// Whether the last message it was to send waits in its store.
    pub fn has_queued(&self) -> bool {
        self.unsafe_yet.last().is_some_and(|id| self.state().safe.contains(id))
    }

    /// SIGKILL. What it had not yet called safe is given up: it may be in the log or not.
    pub fn kill(&mut self, told: &Told) {
        self.child.kill().expect("killed");
        self.child.wait().expect("reaped");
        self.reading.take().expect("once").join().expect("read to the end");
        let state = self.state();
        assert!(state.surprises.is_empty(), "{} {:?}", self.name, state.surprises);
        for id in self.unsafe_yet.drain(..).filter(|id| !state.safe.contains(id)) {
            let client = self.name.as_str().into();
            told.push(Event::Discard { client, id: id.into() });
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may be dead already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn listen(stdout: ChildStdout, told: &Told, state: &Mutex<PeerState>) {
    for line in BufReader::new(stdout).lines().map_while(Result::ok) {
        // The last line of a killed process may be half a line.
        let Ok(value) = serde_json::from_str::<Value>(&line) else { continue };
        let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
        let mut state = state.lock().expect("unpoisoned");
        if value["e"].is_string() {
            let event: Event<'static> = serde_json::from_str(&line).expect("an event");
            match &event {
                Event::Ack { id, .. } => {
                    state.acked.insert(id.to_string());
                    state.safe.insert(id.to_string());
                }
                Event::Apply { offset, .. } => state.applied = *offset,
                _ => {}
            }
            drop(state);
            told.push(event);
            continue;
        }
        match value["p"].as_str() {
            Some("queued") => drop(state.safe.insert(text("id"))),
            Some("live") => state.live = true,
            Some("storage") => state.storage.push(text("code")),
            Some("status") => {
                state.online = value["state"] == "online";
                state.waiting = value["waiting"].as_u64().unwrap_or_default();
            }
            _ => state.surprises.push(line),
        }
    }
}

fn program() -> &'static PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| build(&["--bin", "tidewire-peer"]).join("tidewire-peer"))
}
