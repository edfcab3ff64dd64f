//! The client and its options.

use std::sync::Arc;

use tidewire_core::tables::TableQuery;
use tidewire_core::wire::{User, nickname};
use tidewire_core::{Config, Input, Lane, Lifecycle, Metrics, Network, Report, Restored, Status, Transport};
use tokio::runtime::Handle as Runtime;
use tokio::sync::watch;
use tokio_rustls::rustls::ClientConfig;

use crate::channel::Channel;
use crate::clock::Clock;
use crate::core::Core;
use crate::dialog::{Dialog, Outgoing};
use crate::driver::Driver;
use crate::error::{OpenError, SendError, StoreOpenError, SubscribeError, TableOpenError};
use crate::events::Events;
use crate::guest::GuestSession;
use crate::shared::Shared;
use crate::store::{Sqlite, Storage};
use crate::table::Table;
use crate::token::TokenProvider;
use crate::transport::Endpoint;

/// The default `agent`, which servers write to their logs.
const AGENT: &str = concat!("tidewire-rust/", env!("CARGO_PKG_VERSION"));

/// The options of a client.
#[derive(Clone)]
pub struct ClientOptions {
    url: String,
    identity: Identity,
    storage: Storage,
    storage_bytes: Option<u64>,
    config: Config,
    tls: Option<Arc<ClientConfig>>,
}

#[derive(Clone)]
enum Identity {
    Provider(Arc<dyn TokenProvider>),
    Guest(String),
}

impl std::fmt::Debug for ClientOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientOptions")
            .field("url", &self.url)
            .field("storage", &self.storage)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl ClientOptions {
    /// A client of the server at `url` (`https://host[:port][/prefix]`; `http`, `ws` and `wss` work
    /// too) whose user the provider's tokens name.
    pub fn new(url: impl Into<String>, provider: impl TokenProvider) -> ClientOptions {
        ClientOptions::with(url.into(), Identity::Provider(Arc::new(provider)))
    }

    /// A client that is a guest called `nickname`, 1 to 40 characters: see [`GuestSession`]. With a
    /// store the same guest comes back.
    pub fn guest(url: impl Into<String>, nickname: impl Into<String>) -> ClientOptions {
        ClientOptions::with(url.into(), Identity::Guest(nickname.into()))
    }

    fn with(url: String, identity: Identity) -> ClientOptions {
        let config = ClientOptions::default_config();
        ClientOptions { url, identity, storage: Storage::Memory, storage_bytes: None, config, tls: None }
    }

    /// Where waiting messages and rows are stored. Default [`Storage::Memory`].
    #[must_use]
    pub fn storage(mut self, storage: Storage) -> ClientOptions {
        self.storage = storage;
        self
    }

    /// Caps the store's file at about this many bytes, at least what an empty one needs. Messages
    /// that don't fit are still sent, but don't survive the process; a
    /// [`ClientEvent::Storage`](crate::ClientEvent::Storage) reports that. Default: no cap.
    #[must_use]
    pub fn storage_bytes(mut self, bytes: u64) -> ClientOptions {
        self.storage_bytes = Some(bytes);
        self
    }

    /// The default settings, with every transport, to change some of them.
    pub fn default_config() -> Config {
        Config { transports: Transport::ALL.to_vec(), ..Config::default() }
    }

    /// Settings of the core, instead of [`ClientOptions::default_config`].
    #[must_use]
    pub fn config(mut self, config: Config) -> ClientOptions {
        self.config = config;
        self
    }

    /// How TLS servers are verified. Default: against Mozilla's roots, built in.
    #[must_use]
    pub fn tls(mut self, tls: Arc<ClientConfig>) -> ClientOptions {
        self.tls = Some(tls);
        self
    }
}

/// A client. Cheap to clone. It is closed when the last clone is dropped, even if dialogs and
/// channels still exist.
///
/// # What survives the end of the program
/// With a store, a message is safe once [`Outgoing::stored`] resolves, or its row is `queued`. A
/// runtime that is dropped in an orderly way, as at the end of `#[tokio::main]`, waits up to 2 s
/// for the disk to take what was sent before. `std::process::exit` and a crash don't wait: await
/// [`Client::close`] or [`Outgoing::stored`] before.
#[derive(Clone)]
pub struct Client {
    handle: Arc<Handle>,
}

struct Handle {
    shared: Arc<Shared>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}

impl Client {
    /// Opens the store and starts the client, not yet connected. It runs on the tokio runtime in
    /// which this is called.
    ///
    /// # Errors
    /// [`OpenError`].
    ///
    /// # Panics
    /// Outside a tokio runtime that has timers and I/O.
    pub async fn open(options: ClientOptions) -> Result<Client, OpenError> {
        let runtime = Runtime::current();
        let opened = runtime.clone().spawn_blocking(move || Client::open_on(options, &runtime)).await;
        opened.unwrap_or_else(|failed| Err(StoreOpenError::Unavailable(failed.to_string()).into()))
    }

    /// As [`Client::open`], on the given runtime. Blocks while the store is opened.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open_on(options: ClientOptions, runtime: &Runtime) -> Result<Client, OpenError> {
        let endpoint = Endpoint::parse(&options.url, options.tls).ok_or(OpenError::BadUrl)?;
        if let Identity::Guest(name) = &options.identity
            && nickname(name).is_none()
        {
            return Err(OpenError::BadNickname);
        }
        let store = Sqlite::open(&options.storage)?;
        if let Some(bytes) = options.storage_bytes {
            store.limit(bytes)?;
        }
        let provider = match options.identity {
            Identity::Provider(provider) => provider,
            Identity::Guest(nickname) => {
                let folder = match &options.storage {
                    Storage::Folder(folder) => Some(folder.as_path()),
                    Storage::Memory => None,
                };
                Arc::new(GuestSession::at(endpoint.clone(), &nickname, folder))
            }
        };
        let (clock, restored) = (Clock::start(), store.restored()?);
        let core = core(options.config, &clock, restored)?;
        let durable = matches!(options.storage, Storage::Folder(_));
        let shared = Arc::new(Shared::new(core, clock, durable));
        let driver = Driver::new(Arc::clone(&shared), endpoint, provider, store)
            .map_err(|error| StoreOpenError::Unavailable(error.to_string()))?;
        runtime.spawn(driver.run());
        Ok(Client { handle: Arc::new(Handle { shared }) })
    }

    /// Connects, and stays connected until [`Client::disconnect`]. It also leaves the state
    /// `failed`, and ends a pause between attempts.
    pub fn connect(&self) {
        // A closed client stays closed; its status shows that.
        let _ = self.shared().command(|core, hub, now| {
            hub.connects();
            core.connect(now);
        });
    }

    /// Disconnects until [`Client::connect`]. Messages sent meanwhile wait.
    pub fn disconnect(&self) {
        let _ = self.shared().command(|core, _, now| core.disconnect(now));
    }

    /// Closes the client for good, and waits until its store is written and closed.
    pub async fn close(&self) {
        self.shared().close();
        self.shared().ended().await;
    }

    /// Like [`Client::close`], without waiting.
    pub fn close_now(&self) {
        self.shared().close();
    }

    /// The current state of the connection.
    pub fn status(&self) -> Status {
        self.shared().status()
    }

    /// The state of the connection, as a channel that also signals changes.
    pub fn watch_status(&self) -> watch::Receiver<Status> {
        self.shared().hub(|hub| hub.status.subscribe())
    }

    /// The user that the server identified this client as; `None` until then.
    pub fn user(&self) -> Option<User> {
        self.shared().hub(|hub| hub.user.borrow().clone())
    }

    /// Recent entries and the counters.
    pub fn explain(&self) -> Report {
        self.shared().look(Core::explain)
    }

    /// How much the client has done so far: connections, messages, the time until an answer.
    pub fn metrics(&self) -> Metrics {
        self.shared().look_now(Core::metrics)
    }

    /// Opens a dialog. All handles to one dialog show the same rows.
    ///
    /// # Errors
    /// [`SubscribeError`]. If the server refuses the dialog, [`Dialog::state`] and
    /// [`Client::events`] report it.
    pub fn dialog(&self, id: &str) -> Result<Dialog, SubscribeError> {
        Dialog::open(self.shared(), id)
    }

    /// Opens a channel: its events, and what is published to it. `dialog:` and an id is the channel
    /// of a dialog's events.
    ///
    /// # Errors
    /// [`SubscribeError`]. If the server refuses the channel, [`Channel::next`] and
    /// [`Client::events`] report it.
    pub fn channel(&self, name: &str) -> Result<Channel, SubscribeError> {
        Channel::open(self.shared(), name)
    }

    /// Opens a view of a table. Views with equal queries to the server share one subscription.
    ///
    /// # Errors
    /// [`TableOpenError`]. If the server refuses the table, [`Table::status`] and [`Table::next`]
    /// report it.
    pub fn table(&self, query: &TableQuery) -> Result<Table, TableOpenError> {
        Table::open(self.shared(), query)
    }

    /// Sends an op of any kind to a channel, open or not; `body` is the JSON text of an object. A
    /// refused `message` of a dialog waits for [`Client::retry`] or [`Client::discard`]; every other
    /// refused op is dropped.
    ///
    /// # Errors
    /// [`SendError`]; then the op is not sent.
    pub fn send(&self, channel: &str, kind: &str, body: &str) -> Result<Outgoing, SendError> {
        self.shared().command(|core, hub, now| {
            let id = core.send(now, channel, kind, body)?;
            Ok(Outgoing::new(hub, id))
        })?
    }

    /// As [`Client::send`], in the given lane. Ops that are only of use now need no storage.
    ///
    /// # Errors
    /// [`SendError`]; then the op is not sent.
    pub fn send_in(&self, lane: Lane, channel: &str, kind: &str, body: &str) -> Result<Outgoing, SendError> {
        self.shared().command(|core, hub, now| {
            let id = core.send_in(now, lane, channel, kind, body)?;
            Ok(Outgoing::new(hub, id))
        })?
    }

    /// Sends an ephemeral signal to the current subscribers of a channel, such as a pointer's place;
    /// for typing there is [`Dialog::typing`]. See [`tidewire_core::Client::signal`]; it arrives as
    /// [`ClientEvent::Signal`](crate::ClientEvent::Signal) and
    /// [`ChannelItem::Signal`](crate::ChannelItem::Signal).
    ///
    /// # Errors
    /// [`SendError`].
    pub fn signal(&self, channel: &str, kind: &str, key: Option<&str>, body: &str) -> Result<(), SendError> {
        Ok(self.shared().command(|core, _, now| core.signal(now, channel, kind, key, body))??)
    }

    /// Writes a message into a dialog, open or not: see [`Dialog::send`].
    ///
    /// # Errors
    /// [`SendError`]; then the message is not sent.
    pub fn send_text(&self, dialog: &str, text: &str) -> Result<Outgoing, SendError> {
        Outgoing::text(self.shared(), dialog, text)
    }

    /// Sends a failed op again. False if there is no failed op with this id.
    pub fn retry(&self, id: &str) -> bool {
        self.shared().command(|core, _, now| core.retry(now, &id.into())).unwrap_or(false)
    }

    /// Discards an op: see [`Dialog::discard`].
    pub fn discard(&self, id: &str) -> bool {
        self.shared().command(|core, _, now| core.discard(now, &id.into())).unwrap_or(false)
    }

    /// A stream of all events from now on, for bindings and logs. If the first call is made before
    /// [`Client::connect`], the stream begins with the events since the client was opened, such as
    /// failed messages of an earlier run.
    pub fn events(&self) -> Events {
        Events::new(self.shared().hub(crate::hub::Hub::add_stream))
    }

    /// Passes on a hint of the system about the network, so that the client can act sooner.
    pub fn network(&self, network: Network) {
        let _ = self.shared().command(|core, _, now| core.handle(now, Input::Network(network)));
    }

    /// Passes on that the application goes to the background or comes back, or that the machine
    /// woke up.
    pub fn lifecycle(&self, lifecycle: Lifecycle) {
        let _ = self.shared().command(|core, _, now| core.handle(now, Input::Lifecycle(lifecycle)));
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.handle.shared
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.close();
    }
}

fn core(mut config: Config, clock: &Clock, restored: Restored) -> Result<Core, OpenError> {
    if config.agent == Config::default().agent {
        config.agent = AGENT.to_owned();
    }
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| StoreOpenError::Unavailable(error.to_string()))?;
    Ok(Core::with_tables(config, seed, clock.now(), restored))
}
