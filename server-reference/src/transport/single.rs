//! A session that serves a single request: everything that the request may do is decided as for a
//! connection.

use super::activity::Activity;
use super::flow::complete;
use super::writing::Notifiers;
use crate::app::App;
use crate::clock;
use serde_json::Value;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use tidewire_core::wire::{VERSION, json};
use tidewire_server_core::access::Page;
use tidewire_server_core::{Flow, Peer, Session, ToWrite, TurnedAway};
use tokio::time::sleep_until;

/// The session, and what it has sent.
pub(crate) struct Single {
    app: Arc<App>,
    session: Session,
    notifiers: Arc<Notifiers>,
    activity: Activity,
    frames: VecDeque<String>,
}

impl Single {
    /// A session of the token's user, which does not say yet whether the token is good: its first
    /// frame is `welcome`, or an `error`.
    pub(crate) async fn open(
        app: &Arc<App>,
        address: IpAddr,
        page: Page,
        token: &str,
    ) -> Result<Single, TurnedAway> {
        let notifiers = Arc::new(Notifiers::default());
        let peer = Peer { origin_allowed: true, address, is_request: true };
        let mut session = Session::try_open(&app.engine, peer, notifiers.wake(), clock::now())?;
        session.comes_from(page);
        let (activity, frames) = (Activity::new(), VecDeque::new());
        let mut single = Single { app: app.clone(), session, notifiers, activity, frames };
        let hello = serde_json::json!({"t": "hello", "v": VERSION, "client": clock::random_uuid().to_string(), "token": token});
        single.send(&hello).await;
        Ok(single)
    }

    /// Handles a frame of the request.
    pub(crate) async fn send(&mut self, frame: &Value) {
        self.send_text(&frame.to_string()).await;
    }

    /// Handles a frame of the request, as text.
    pub(crate) async fn send_text(&mut self, frame: &str) {
        let flow = self.session.message(clock::now(), frame);
        if complete(&self.app, &mut self.session, &self.notifiers, &self.activity, flow).await == Flow::End {
            self.session.end();
        }
    }

    /// The text of the next frame; none once the session has ended.
    pub(crate) async fn next(&mut self) -> Option<String> {
        let outgoing = self.session.outgoing().clone();
        loop {
            if let Some(frame) = self.frames.pop_front() {
                return Some(frame);
            }
            match outgoing.take() {
                Some(ToWrite::Write(text)) if text.starts_with('[') => {
                    // The server's own frames are valid JSON.
                    let frames = json::elements(&text).unwrap_or_default();
                    self.frames.extend(frames.into_iter().map(str::to_owned));
                }
                Some(ToWrite::Write(text)) => self.frames.push_back(text.as_str().to_owned()),
                Some(ToWrite::Close(_)) => return None,
                None => self.wait().await,
            }
        }
    }

    /// Returns when something was queued, or after a timer of the session.
    async fn wait(&mut self) {
        // Whoever waits for a response says nothing meanwhile. The socket notices when it is gone.
        self.session.heard(clock::mono());
        let deadline = clock::instant(self.session.deadline(clock::now()));
        let outgoing = self.session.outgoing().clone();
        tokio::select! {
            () = self.notifiers.work(&outgoing) => {}
            () = sleep_until(deadline) => {
                self.session.heard(clock::mono());
                self.session.tick(clock::now());
            }
        }
    }
}
