//! The history that a test tells, and the server's log at its end.

use std::path::PathBuf;
use std::sync::Mutex;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tidewire_history::{Event, History, Report};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use super::soon;

pub const CHANNEL: &str = "dialog:demo";
/// The one epoch of a test that does not change it: clients are not told its name.
pub const EPOCH: &str = "only";

/// Events as they come, checked at once, and kept for whoever has to find out what went wrong.
#[derive(Default)]
pub struct Told(Mutex<(History, Vec<String>)>);

impl Told {
    /// A violation is counted, and found again by [`Told::finish`].
    pub fn push(&self, event: Event<'_>) {
        let line = serde_json::to_string(&event).expect("JSON");
        let mut told = self.0.lock().expect("unpoisoned");
        let _ = told.0.push(event);
        told.1.push(line);
    }

    pub fn sent(&self, client: &str, id: &str) {
        self.push(Event::Send { client: client.into(), ch: CHANNEL.into(), lane: None, id: id.into() });
    }

    pub fn acked(&self, client: &str, id: &str, offset: u64) {
        self.push(Event::Ack { client: client.into(), ch: CHANNEL.into(), id: id.into(), offset });
    }

    pub fn applied(&self, observer: &str, offset: u64, id: &str) {
        let (observer, ch, epoch, id) = (observer.into(), CHANNEL.into(), EPOCH.into(), id.into());
        self.push(Event::Apply { observer, ch, epoch, offset, id });
    }

    pub fn reset(&self, observer: &str, from: u64, reason: &str) {
        let (observer, ch, epoch, reason) = (observer.into(), CHANNEL.into(), EPOCH.into(), reason.into());
        self.push(Event::Reset { observer, ch, epoch, from, reason });
    }

    pub fn caught_up(&self, observer: &str) {
        self.push(Event::CaughtUp { observer: observer.into(), ch: CHANNEL.into() });
    }

    pub fn drained(&self, client: &str) {
        self.push(Event::Drained { client: client.into() });
    }

    pub fn log(&self, log: &[(u64, String)]) {
        for (offset, id) in log {
            let (ch, epoch, id) = (CHANNEL.into(), EPOCH.into(), id.as_str().into());
            self.push(Event::Log { ch, epoch, offset: *offset, id });
        }
    }

    pub fn look<T>(&self, look: impl FnOnce(&History) -> T) -> T {
        look(&self.0.lock().expect("unpoisoned").0)
    }

    /// Holds the end against the beginning; a violation leaves the history in a file.
    pub fn finish(&self, name: &str) -> Report {
        let told = self.0.lock().expect("unpoisoned");
        let report = told.0.finish();
        if !report.is_clean() || report.unverified > 0 {
            let path: PathBuf = std::env::temp_dir().join(format!("{name}-{}.jsonl", std::process::id()));
            std::fs::write(&path, told.1.join("\n")).expect("written");
            panic!("{report}\nthe history is in {}", path.display());
        }
        report
    }
}

/// Offset and `name` of each event of the channel, as a client of its own reads them page by page.
/// Nothing may be trimmed.
pub async fn read_log(url: &str, token: &str, name: impl Fn(&Value) -> String) -> Vec<(u64, String)> {
    let url = format!("{}/v1/ws", url.replace("http://", "ws://"));
    let mut request = url.into_client_request().expect("an address");
    request.headers_mut().insert("sec-websocket-protocol", "tidewire.v1".parse().expect("a name"));
    let (mut socket, _) = connect_async(request).await.expect("upgraded");
    let send = async |socket: &mut tokio_tungstenite::WebSocketStream<_>, frame: Value| {
        socket.send(Message::text(frame.to_string())).await.expect("written");
    };
    let hello = json!({"t": "hello", "v": 1, "client": "00000000-0000-7000-8000-000000000001", "token": token,
        "subs": [{"ch": CHANNEL, "tail": 0}]});
    send(&mut socket, hello).await;
    let (mut log, mut anew) = (Vec::new(), false);
    loop {
        let message = soon("the log", socket.next()).await.expect("open").expect("a message");
        let Message::Text(text) = message else { continue };
        let frames = match serde_json::from_str(&text).expect("JSON") {
            Value::Array(frames) => frames,
            frame => vec![frame],
        };
        for frame in frames {
            match frame["t"].as_str() {
                // The first one told the epoch.
                Some("sub_ok") if !anew => {
                    anew = true;
                    let sub = json!({"t": "sub", "ch": CHANNEL, "epoch": frame["epoch"], "offset": 0});
                    send(&mut socket, sub).await;
                }
                Some("sub_ok" | "page") => {
                    assert!(frame["t"] == "page" || frame["mode"] == "resumed", "{frame}");
                    for event in frame["events"].as_array().expect("events") {
                        log.push((event["offset"].as_u64().expect("an offset"), name(event)));
                    }
                    if frame["more"] == false {
                        return log;
                    }
                    let from = log.last().map_or(0, |last| last.0);
                    send(&mut socket, json!({"t": "next", "ch": CHANNEL, "from": from})).await;
                }
                Some("error" | "sub_err") => panic!("{frame}"),
                _ => {}
            }
        }
    }
}

/// The text of a message: what tests name ops by that they can't ask for their id.
pub fn text_of(event: &Value) -> String {
    event["body"]["text"].as_str().expect("a message").to_owned()
}

pub fn id_of(event: &Value) -> String {
    event["id"].as_str().expect("an id").to_owned()
}
