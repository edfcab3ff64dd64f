//! What every connection and request shares.

use crate::address;
use crate::answers::Answers;
use crate::auth::Auth;
use crate::config::{Budget, Config};
use crate::connections::Connections;
use crate::hub::Hub;
use crate::limiter::Limiter;
use crate::store::Store;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;
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
    /// Handshakes of an address in a minute; none for no limit.
    pub(crate) handshakes: Option<u64>,
}

impl App {
    /// Whether the server is about to stop.
    pub(crate) fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }

    /// Counts a handshake; in how many ms the address may come again when this was one too many.
    pub(crate) fn too_early(&self, address: IpAddr) -> Option<u64> {
        let ops = self.handshakes?;
        let name = format!("handshake:{}", address::counted(address));
        self.limiter.take(&name, Budget { ops, per_ms: 60_000, burst: ops }, Instant::now()).err()
    }

    /// The op budget of a kind of user.
    pub(crate) fn budget(&self, kind: UserKind) -> Budget {
        match kind {
            UserKind::Guest => self.config.limits.guest,
            _ => self.config.limits.user,
        }
    }
}
