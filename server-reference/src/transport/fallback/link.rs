//! State that a connection's requests share with its task.

use crate::transport::activity::Activity;
use crate::transport::writing::Notifiers;
use axum::body::Bytes;
use std::sync::Arc;
use tidewire_server_core::Outgoing;
use tidewire_server_core::requests::Inbox;
use tokio::sync::{Mutex, mpsc, watch};

/// A client's message.
pub(super) enum Word {
    Message(Bytes),
    /// A message that was too long to be read.
    TooBig,
}

/// State that a connection's requests share with its task.
pub(crate) struct Link {
    pub(super) outgoing: Arc<Outgoing>,
    pub(super) notifiers: Arc<Notifiers>,
    /// When the last request came.
    pub(super) activity: Activity,
    pub(super) inbox: parking_lot::Mutex<Inbox>,
    /// Locked by the request whose message is being read.
    pub(super) words: Mutex<mpsc::Sender<Word>>,
    /// Locked by the response that takes from the queue.
    pub(super) reading: Mutex<()>,
    /// Counts requests that want to take from the queue; the newest one may.
    pub(super) readers: watch::Sender<u64>,
    /// Whether it takes no more messages.
    pub(super) ended: watch::Sender<bool>,
    /// Whether the client has been sent the close, or can't be any more.
    pub(super) over: watch::Sender<bool>,
}

impl Link {
    /// Returns once the connection is ending and takes no more messages. For any number of waiters.
    pub(super) async fn ended(&self) {
        let mut ended = self.ended.subscribe();
        let _ = ended.wait_for(|ended| *ended).await;
    }

    /// Nothing more will be fetched.
    pub(super) fn finish(&self) {
        self.over.send_replace(true);
    }

    /// A response did not reach the client. The messages in it are lost, so the connection ends.
    pub(super) fn broken(&self) {
        self.outgoing.abandon();
        self.finish();
    }
}
