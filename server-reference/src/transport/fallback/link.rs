//! What the requests of one connection share with each other and with its task.

use crate::transport::activity::Activity;
use crate::transport::writing::Bells;
use axum::body::Bytes;
use std::sync::Arc;
use tidewire_server_core::Outgoing;
use tidewire_server_core::requests::Inbox;
use tokio::sync::{Mutex, mpsc, watch};

/// What a request brought.
pub(super) enum Word {
    Message(Bytes),
    /// It was too long to be read.
    TooBig,
}

/// What the requests of a connection share with each other and with its task.
pub(crate) struct Link {
    pub(super) outgoing: Arc<Outgoing>,
    pub(super) bells: Arc<Bells>,
    /// When the last request came.
    pub(super) activity: Activity,
    pub(super) inbox: parking_lot::Mutex<Inbox>,
    /// Held by the request whose message is read.
    pub(super) words: Mutex<mpsc::Sender<Word>>,
    /// Held by the response that takes what waits.
    pub(super) reading: Mutex<()>,
    /// Counts the requests that want to: the newest has it.
    pub(super) readers: watch::Sender<u64>,
    /// Whether it takes messages no more.
    pub(super) ended: watch::Sender<bool>,
    /// Whether the client was told the end, or can't be told any more.
    pub(super) over: watch::Sender<bool>,
}

impl Link {
    /// Returns once the connection is ending: nothing more is taken from its client. For any number
    /// of waiters.
    pub(super) async fn ended(&self) {
        let mut ended = self.ended.subscribe();
        let _ = ended.wait_for(|ended| *ended).await;
    }

    /// Nothing more will be fetched.
    pub(super) fn finish(&self) {
        self.over.send_replace(true);
    }

    /// The response that took what waited did not reach the client: what it had is lost, so the
    /// connection is.
    pub(super) fn broken(&self) {
        self.outgoing.abandon();
        self.finish();
    }
}
