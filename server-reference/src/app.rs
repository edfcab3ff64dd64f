//! What every connection and request shares.

use crate::address::Proxies;
use crate::answers::Answers;
use crate::auth::Auth;
use crate::clock;
use crate::config::Config;
use crate::gate::Gate;
use crate::guest;
use crate::loader::Loader;
use crate::origin::{Origin, Origins};
use crate::stores::{AsyncStore, Sqlite};
use crate::transport::fallback::Links;
use axum::http::HeaderMap;
use std::net::IpAddr;
use std::sync::Arc;
use tidewire_core::wire::{User, UserKind};
use tidewire_server_core::store::{Exchange, Outcome, Revocation, StoreError, Write};
use tidewire_server_core::{Engine, Identity};
use tokio::sync::{oneshot, watch};

/// The server's parts.
pub(crate) struct App {
    pub(crate) config: Config,
    pub(crate) auth: Arc<Auth>,
    pub(crate) store: AsyncStore,
    /// The same, for what only this one has.
    pub(crate) database: Arc<Sqlite>,
    pub(crate) loader: Arc<Loader>,
    pub(crate) answers: Arc<Answers>,
    pub(crate) engine: Arc<Engine>,
    /// Connections without a WebSocket.
    pub(crate) links: Arc<Links>,
    pub(crate) gate: Gate,
    pub(crate) proxies: Proxies,
    pub(crate) origins: Origins,
    /// What may stand before every path of a request.
    pub(crate) base: String,
    pub(crate) draining: watch::Sender<bool>,
    /// Changes when there are more or fewer connections.
    pub(crate) connections: watch::Receiver<()>,
}

/// Why an id is not exchanged for a guest.
pub(crate) enum ExchangeError {
    /// It was, before.
    Used,
    /// The store can't say.
    Store(StoreError),
}

impl From<StoreError> for ExchangeError {
    fn from(error: StoreError) -> ExchangeError {
        ExchangeError::Store(error)
    }
}

impl App {
    /// Whether the server is about to stop.
    pub(crate) fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }

    /// Whose page sends this request, whose peer is at this address.
    pub(crate) fn origin_of(&self, peer: IpAddr, headers: &HeaderMap) -> Origin {
        self.origins.check(headers, &self.proxies.asked(peer, headers))
    }

    /// Takes back what a user's tokens allow: one dialog, or all. In force when this returns, even
    /// if it could not be stored.
    pub(crate) async fn revoke(
        &self,
        kind: UserKind,
        id: &str,
        dialog: Option<&str>,
    ) -> Result<(), StoreError> {
        let user = Identity::key_of(kind, id);
        let revocation = Revocation { user, dialog: dialog.map(str::to_owned), since_ms: clock::now_ms() };
        let (tell, told) = oneshot::channel();
        self.engine.revoke(
            revocation,
            Box::new(move |result| {
                // Whoever asked may have gone away.
                let _ = tell.send(result.map(drop));
            }),
        );
        let stored = told.await.unwrap_or(Err(StoreError::Unavailable));
        if let Some(dialog) = dialog {
            let user = Identity::key_of(kind, id);
            self.loader.undisturbed(|| self.engine.disown(dialog, &user)).await;
        }
        stored
    }

    /// Gives an id that a client made for itself away for a guest of ours: whoever knows it is
    /// taken for its maker, once.
    pub(crate) async fn exchange(&self, previous: &str, nickname: String) -> Result<User, ExchangeError> {
        let guest = guest::new_guest(nickname);
        let from = Identity::key_of(UserKind::Guest, previous);
        let exchange = Exchange {
            secret: previous.to_owned(),
            from: from.clone(),
            to: Identity::key_of(UserKind::Guest, &guest.id),
            guest: guest.id.clone(),
        };
        match self.store.write(Write::Exchange(exchange)).await? {
            Outcome::Exchanged(id) => {
                let to = Identity::key_of(UserKind::Guest, &id);
                self.loader.undisturbed(|| self.engine.hub.hand_over(&from, &to)).await;
                Ok(User { id, ..guest })
            }
            _ => Err(ExchangeError::Used),
        }
    }

    /// Deletes a dialog, and ends its subscriptions.
    pub(crate) async fn delete_dialog(&self, name: String) -> Result<(), StoreError> {
        let write = Write::DeleteDialog { name: name.clone(), unused_before_ms: None };
        if let Outcome::Deleted(row) = self.store.write(write).await? {
            self.loader.undisturbed(|| self.engine.dialog_deleted(&name, row)).await;
        }
        Ok(())
    }
}
