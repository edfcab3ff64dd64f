//! A native client that tests start, kill and start again.
//!
//! Each line of its standard input is a message to send; no two are equal. With an empty line its
//! user has read all that it shows. What happens goes to its standard output, one JSON object per
//! line: events of a history (their `id` is the message's text), and notes with a member `p`. It
//! ends with its input.

use std::collections::HashMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use serde_json::{Value, json};
use tidewire::token::from_fn;
use tidewire::{
    ChannelItem, ChannelState, Client, ClientEvent, ClientOptions, Config, Dialog, OpId, OpState, Rows,
    Storage,
};
use tidewire_history::Event;
use tokio::io::{AsyncBufReadExt, BufReader};

/// The epoch of all events. Applications are not told its name, and tests do not change it.
const EPOCH: &str = "only";

#[derive(Parser)]
struct Args {
    /// The server's address.
    #[arg(long)]
    server: String,
    #[arg(long)]
    token: String,
    /// Folder of the store; in memory without it.
    #[arg(long)]
    store: Option<PathBuf>,
    #[arg(long, default_value = "demo")]
    dialog: String,
    /// Its name in the history.
    #[arg(long)]
    name: String,
    /// The name of what it sees in the history: another one for each start.
    #[arg(long)]
    observer: String,
    /// Read the bare channel, and send nothing.
    #[arg(long)]
    bare: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tidewire-peer: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> Result<(), Box<dyn std::error::Error>> {
    let token = args.token.clone();
    let provider = from_fn(move |_| {
        let token = token.clone();
        async move { Ok(token) }
    });
    let storage = args.store.clone().map_or(Storage::Memory, Storage::Folder);
    // Reconnects soon, but does not use up its twelve attempts per minute on a server that is still
    // starting.
    let config = Config {
        backoff_base_ms: 500,
        backoff_cap_ms: 1_000,
        tail: 1_000,
        cached_events: 1_000,
        ..Config::default()
    };
    let options = ClientOptions::new(&args.server, provider).storage(storage).config(config);
    let client = Client::open(options).await?;
    client.connect();
    let done = if args.bare { read(&client, &args).await } else { write(&client, &args).await };
    client.close().await;
    done
}

/// Writes messages and shows the dialog's rows.
async fn write(client: &Client, args: &Args) -> Result<(), Box<dyn std::error::Error>> {
    let mut events = client.events();
    let dialog = client.dialog(&args.dialog)?;
    let mut rows = dialog.watch();
    let mut seen = Seen::new(args);
    let mut texts = HashMap::new();
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    seen.rows(&rows.borrow_and_update().clone())?;
    loop {
        tokio::select! {
            line = lines.next_line() => match line? {
                None => return Ok(()),
                Some(text) if text.is_empty() => dialog.mark_read(None)?,
                Some(text) => {
                    let sent = dialog.send(&text)?;
                    texts.insert(sent.id().clone(), text);
                }
            },
            batch = events.next_batch(64) => for event in batch {
                tell(args, &dialog, &mut texts, event)?;
            },
            Ok(()) = rows.changed() => seen.rows(&rows.borrow_and_update().clone())?,
        }
    }
}

/// Reads the bare channel.
async fn read(client: &Client, args: &Args) -> Result<(), Box<dyn std::error::Error>> {
    let mut items = client.channel(&channel(args))?;
    let mut seen = Seen::new(args);
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    loop {
        tokio::select! {
            line = lines.next_line() => if line?.is_none() {
                return Ok(());
            },
            item = items.next() => match item {
                None => return Ok(()),
                Some(ChannelItem::Event(event)) => seen.apply(event.offset.0, &text_of(&event.body))?,
                Some(ChannelItem::State(ChannelState::Live)) => note(&json!({"p": "live"}))?,
                Some(ChannelItem::State(ChannelState::Syncing)) => {}
                // The gap is reported, so the next event may have any offset.
                Some(ChannelItem::Lagged { .. }) => seen.begin_anew("lagged"),
                Some(other) => note(&json!({"p": "surprise", "what": format!("{other:?}")}))?,
            },
        }
    }
}

fn tell(
    args: &Args,
    dialog: &Dialog,
    texts: &mut HashMap<OpId, String>,
    event: ClientEvent,
) -> std::io::Result<()> {
    match event {
        ClientEvent::Op { id, state, .. } => {
            // An op that an earlier start left in the outbox is found by its row.
            let row = || dialog.rows().iter().find(|row| row.id == id).map(|row| row.text.clone());
            let Some(text) = texts.get(&id).cloned().or_else(row) else {
                return note(&json!({"p": "surprise", "what": format!("{id} has no row")}));
            };
            texts.insert(id, text.clone());
            let (client, ch, id) = (args.name.as_str().into(), channel(args).into(), text.as_str().into());
            match state {
                OpState::Queued => note(&json!({"p": "queued", "id": text})),
                OpState::Sending | OpState::Discarded => Ok(()),
                OpState::Acked { offset } => line(&Event::Ack { client, ch, id, offset: offset.0 }),
                OpState::Failed { code, .. } => line(&Event::Fail { client, ch, id, code: code.into() }),
            }
        }
        ClientEvent::Status(status) => {
            note(&json!({"p": "status", "state": status.state.as_str(), "waiting": status.waiting}))
        }
        ClientEvent::Storage { code } => note(&json!({"p": "storage", "code": code})),
        ClientEvent::Channel { state: ChannelState::Live, .. } => note(&json!({"p": "live"})),
        ClientEvent::Channel { state: ChannelState::Reset { reason, .. }, .. } => {
            note(&json!({"p": "surprise", "what": reason}))
        }
        ClientEvent::Lagged { missed } => note(&json!({"p": "surprise", "what": format!("{missed} missed")})),
        _ => Ok(()),
    }
}

/// The position of this observer.
struct Seen<'a> {
    args: &'a Args,
    last: Option<u64>,
    /// Why the next event may have any offset.
    why_anew: &'static str,
}

impl Seen<'_> {
    fn new(args: &Args) -> Seen<'_> {
        Seen { args, last: None, why_anew: "start" }
    }

    fn begin_anew(&mut self, why: &'static str) {
        (self.last, self.why_anew) = (None, why);
    }

    fn rows(&mut self, rows: &Rows) -> std::io::Result<()> {
        for row in rows.iter() {
            let Some(offset) = row
                .offset
                .map(|offset| offset.0)
                .filter(|offset| self.last.is_none_or(|last| *offset > last))
            else {
                continue;
            };
            if row.state != tidewire::RowState::Sent {
                note(&json!({"p": "surprise", "what": format!("{row:?}")}))?;
            }
            self.apply(offset, &row.text)?;
        }
        Ok(())
    }

    fn apply(&mut self, offset: u64, text: &str) -> std::io::Result<()> {
        let observer = || self.args.observer.as_str().into();
        let (ch, id) = (channel(self.args), text);
        if self.last.is_none() {
            // The first event may have any offset; from there on there are no gaps.
            let (from, reason) = (offset - 1, self.why_anew.into());
            line(&Event::Reset {
                observer: observer(),
                ch: ch.as_str().into(),
                epoch: EPOCH.into(),
                from,
                reason,
            })?;
        }
        line(&Event::Apply {
            observer: observer(),
            ch: ch.into(),
            epoch: EPOCH.into(),
            offset,
            id: id.into(),
        })?;
        self.last = Some(offset);
        Ok(())
    }
}

fn channel(args: &Args) -> String {
    format!("dialog:{}", args.dialog)
}

fn text_of(body: &str) -> String {
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    body["text"].as_str().unwrap_or_default().to_owned()
}

fn line(event: &Event<'_>) -> std::io::Result<()> {
    out(&serde_json::to_string(event)?)
}

fn note(note: &Value) -> std::io::Result<()> {
    out(&note.to_string())
}

fn out(line: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}
