//! State shared by all connections and requests.

use crate::address::Proxies;
use crate::address_limiter::AddressLimiter;
use crate::answers::Answers;
use crate::auth::Auth;
use crate::clock;
use crate::config::Config;
use crate::guest;
use crate::loader::Loader;
use crate::origin::{self, Origin, Origins};
use crate::stores::{AsyncStore, Sqlite};
use crate::transport::fallback::Links;
use axum::http::HeaderMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;
use tidewire_core::wire::{ChannelName, User, UserKind};
use tidewire_server_core::Engine;
use tidewire_server_core::access::Page;
use tidewire_server_core::store::{
    Account, Exchange, Outcome, Read, Reply, Revocation, StoreError, Write, key_of,
};
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

/// The server's parts.
pub(crate) struct App {
    pub(crate) config: Config,
    pub(crate) auth: Arc<Auth>,
    pub(crate) store: AsyncStore,
    /// The database, for what only SQLite offers.
    pub(crate) database: Arc<Sqlite>,
    pub(crate) loader: Arc<Loader>,
    pub(crate) answers: Arc<Answers>,
    pub(crate) engine: Arc<Engine>,
    /// Connections without a WebSocket.
    pub(crate) links: Arc<Links>,
    pub(crate) address_limiter: AddressLimiter,
    pub(crate) proxies: Proxies,
    pub(crate) origins: Origins,
    /// The base path that may precede the path of a request.
    pub(crate) base: String,
    pub(crate) draining: watch::Sender<bool>,
    /// When the server started.
    pub(crate) started: SystemTime,
    /// Changes with the number of connections.
    pub(crate) connections: watch::Receiver<()>,
}

/// Why an id is not exchanged for a guest.
pub(crate) enum ExchangeError {
    /// It was exchanged before.
    Used,
    /// The store failed.
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

    /// The origin of the page that sends this request. `peer` is the socket's address.
    pub(crate) fn origin_of(&self, peer: IpAddr, headers: &HeaderMap) -> Origin {
        match self.origins.check(headers, &self.proxies.asked(peer, headers)) {
            Origin::Foreign
                if origin::named(headers).is_some_and(|of| self.engine.access.sites.lists(&of)) =>
            {
                Origin::Site
            }
            origin => origin,
        }
    }

    /// The page that sends this request.
    pub(crate) fn page_of(&self, peer: IpAddr, headers: &HeaderMap) -> Page {
        Page { origin: origin::named(headers), of_site: self.origin_of(peer, headers) == Origin::Site }
    }

    /// Reads what is needed to know who somebody is. A store that takes too long counts as one that
    /// can't be reached, so that nobody waits in silence.
    pub(crate) async fn read_in_time(&self, read: Read) -> Result<Reply, StoreError> {
        let found = timeout(self.config.timeouts.hello, self.store.read(read)).await;
        found.unwrap_or(Err(StoreError::Unavailable))
    }

    /// Revokes the access of an account's user to one dialog, or all of it. It takes effect before
    /// this returns, even if it could not be stored.
    pub(crate) async fn revoke(
        &self,
        account: Account,
        kind: UserKind,
        id: &str,
        dialog: Option<&str>,
    ) -> Result<(), StoreError> {
        let revocation = Revocation {
            user: key_of(kind, id),
            dialog: dialog.map(str::to_owned),
            account: account.clone(),
            since_ms: clock::now_ms(),
        };
        let (tell, told) = oneshot::channel();
        self.engine.revoke(
            revocation,
            Box::new(move |result| {
                // The caller may have stopped waiting.
                let _ = tell.send(result.map(drop));
            }),
        );
        let stored = told.await.unwrap_or(Err(StoreError::Unavailable));
        if let Some(dialog) = dialog {
            let user = key_of(kind, id);
            self.loader.undisturbed(|| self.engine.disown(dialog, &user, &account)).await;
        }
        stored
    }

    /// Exchanges an id that a client made for itself for a guest of this server. The id is a
    /// secret: the first one who knows it gets the client's dialogs.
    pub(crate) async fn exchange(&self, previous: &str, nickname: String) -> Result<User, ExchangeError> {
        let guest = guest::new_guest(nickname);
        let from = key_of(UserKind::Guest, previous);
        let exchange = Exchange {
            secret: previous.to_owned(),
            from: from.clone(),
            to: key_of(UserKind::Guest, &guest.id),
            guest: guest.id.clone(),
        };
        match self.store.write(Write::Exchange(exchange)).await? {
            Outcome::Exchanged(id) => {
                let to = key_of(UserKind::Guest, &id);
                self.loader.undisturbed(|| self.engine.hub.hand_over(&from, &to)).await;
                Ok(User { id, ..guest })
            }
            _ => Err(ExchangeError::Used),
        }
    }

    /// Deletes a dialog, and ends its subscriptions.
    pub(crate) async fn delete_dialog(&self, name: ChannelName) -> Result<(), StoreError> {
        let write = Write::DeleteDialog { name: name.clone(), unused_before_ms: None };
        if let Outcome::Deleted(row) = self.store.write(write).await? {
            self.loader.undisturbed(|| self.engine.dialog_deleted(&name, row)).await;
        }
        Ok(())
    }
}
