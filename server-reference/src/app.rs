//! What every connection and request shares.

use crate::answers::Answers;
use crate::auth::Auth;
use crate::config::Config;
use crate::loader::Loader;
use crate::store::Store;
use std::sync::Arc;
use tidewire_server_core::Engine;
use tokio::sync::watch;

/// The server's parts.
pub(crate) struct App {
    pub(crate) config: Config,
    pub(crate) auth: Arc<Auth>,
    pub(crate) store: Arc<Store>,
    pub(crate) loader: Arc<Loader>,
    pub(crate) answers: Arc<Answers>,
    pub(crate) engine: Arc<Engine>,
    pub(crate) draining: watch::Sender<bool>,
    /// How many connections there are.
    pub(crate) connections: watch::Receiver<usize>,
}

impl App {
    /// Whether the server is about to stop.
    pub(crate) fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }
}
