//! What every connection and request shares.

use crate::answers::Answers;
use crate::auth::Auth;
use crate::config::{Budget, Config};
use crate::connections::Connections;
use crate::hub::Hub;
use crate::limiter::Limiter;
use crate::store::Store;
use std::sync::Arc;
use tidewire_core::wire::UserKind;
use tokio::sync::watch;

/// The server's parts.
pub(crate) struct App {
    pub(crate) config: Config,
    pub(crate) auth: Auth,
    pub(crate) store: Arc<Store>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) answers: Arc<Answers>,
    pub(crate) limiter: Limiter,
    pub(crate) connections: Arc<Connections>,
    pub(crate) draining: watch::Sender<bool>,
}

impl App {
    /// Whether the server is about to stop.
    pub(crate) fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }

    /// The op budget of a kind of user.
    pub(crate) fn budget(&self, kind: UserKind) -> Budget {
        match kind {
            UserKind::Guest => self.config.limits.guest,
            _ => self.config.limits.user,
        }
    }
}
