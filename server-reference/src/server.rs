//! A running server: it is started from a [`Config`] and ends with a drain.

use crate::address::Proxies;
use crate::address_limiter::AddressLimiter;
use crate::answers::Answers;
use crate::app::App;
use crate::auth::Auth;
use crate::config::{Config, ConfigError, KeyConfig, KeyMaterial, ModelConfig};
use crate::guest;
use crate::http;
use crate::http::request::Remote;
use crate::loader::Loader;
use crate::metrics;
use crate::origin::{Origins, PublicUrl};
use crate::people;
use crate::reconcile;
use crate::responder::{OpenAi, Responder, Scripted};
use crate::retention::Trimmer;
use crate::site;
use crate::stores::{AsyncStore, OpenError, Sqlite};
use crate::tables::{self, Serving, TablesError};
use crate::transport::fallback::Links;
use crate::transport::{Activity, Pace, Watched};
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use thiserror::Error;
use tidewire_core::wire::{ChannelName, ServerFrame, UserKind, codes};
use tidewire_server_core::access::{Access, Sites};
use tidewire_server_core::dialog::ops::Kinds;
use tidewire_server_core::metrics::Metrics;
use tidewire_server_core::rules::{Rule, Rules};
use tidewire_server_core::store::{Account, CreateDialog, Read, Reply, StoreError, Write};
use tidewire_server_core::{Connections, Engine, Hub, Limiter, Revocations};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Sockets for requests, in addition to those of the connections.
const SPARE_SOCKETS: usize = 256;
/// Over which time clients connect anew after a change of the rules of channels, in ms.
const RULES_SPREAD_MS: u64 = 2_000;
/// How long a drain waits for clients to answer the close.
const CLOSE_TIME: Duration = Duration::from_millis(1_500);

/// Why a server can't start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// A setting is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The database can't be used.
    #[error(transparent)]
    Database(#[from] OpenError),
    /// The database can't be written or read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Tables can't be served as they are configured.
    #[error(transparent)]
    Tables(#[from] TablesError),
    /// Another program listens at the address.
    #[error("{0} is in use by another program; try --listen 127.0.0.1:0")]
    PortInUse(String),
    /// The server can't listen at the address.
    #[error("can't listen on {address}: {reason}")]
    Listen {
        /// The address.
        address: String,
        /// The system's error.
        reason: String,
    },
    /// The HTTP client for the model can't be made.
    #[error("the model's client can't be made: {0}")]
    Model(String),
}

impl StartError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            StartError::Config(error) => error.code(),
            StartError::Database(error) => error.code(),
            StartError::Store(error) => error.code(),
            StartError::Tables(error) => error.code(),
            StartError::PortInUse(_) => "port_in_use",
            StartError::Listen { .. } => "listen_failed",
            StartError::Model(_) => "model_unavailable",
        }
    }
}

/// A running server.
pub struct Server {
    app: Arc<App>,
    address: SocketAddr,
    accepting: JoinHandle<()>,
    metrics: Option<(SocketAddr, JoinHandle<()>)>,
    trimmer: Arc<Trimmer>,
    trimming: JoinHandle<()>,
    telling: JoinHandle<()>,
    tasks: watch::Sender<()>,
    serving: Option<Serving>,
}

impl Server {
    /// Opens the database, ends answers that a crash left unfinished, and listens.
    pub async fn start(config: Config) -> Result<Server, StartError> {
        let responder: Option<Arc<dyn Responder>> = match &config.model {
            ModelConfig::Off => None,
            ModelConfig::Scripted { pace } => Some(Arc::new(Scripted::new(*pace))),
            ModelConfig::OpenAi(model) => {
                let client =
                    OpenAi::new(model.clone()).map_err(|error| StartError::Model(error.to_string()))?;
                Some(Arc::new(client))
            }
        };
        Server::start_with(config, responder).await
    }

    /// As [`Server::start`], with this responder, or none, instead of the configured model.
    pub async fn start_with(
        mut config: Config,
        responder: Option<Arc<dyn Responder>>,
    ) -> Result<Server, StartError> {
        let public = prepare(&mut config)?;
        let rules = rules(&public, config.channels.clone())?;
        let (listener, address) = listen(&config.listen).await?;
        let for_metrics = match &config.metrics_listen {
            Some(address) => Some(listen(address).await?),
            None => None,
        };
        if config.demo && !address.ip().is_loopback() {
            return Err(ConfigError::DemoNotLocal.into());
        }
        let database =
            Arc::new(Sqlite::open(&config.database, config.guest_key_file.as_deref(), config.flush)?);
        let store = AsyncStore::new(database.clone());
        let queue_bytes = config.limits.queue_bytes;
        let serving = tables::serve(&config.tables, &config.database, queue_bytes).await?;
        let mut claims = serving.as_ref().map(|serving| serving.tables.claims()).unwrap_or_default();
        claims.extend(rules.claims());
        let auth = Arc::new(Auth::new(&config, database.guest_key(), claims)?);
        for name in &public {
            let dialog = CreateDialog { name: name.clone(), owner: None, account: Account::Own };
            // A dialog that exists already keeps its owner; it is open for all users anyway.
            store.write(Write::CreateDialog(dialog)).await?;
        }
        let hub = Arc::new(Hub::new(rules));
        let loader = Arc::new(Loader::new(store.clone(), hub.clone()));
        let metrics = Arc::<Metrics>::default();
        let answers = Answers::new(store.clone(), loader.clone(), responder, metrics.clone());
        answers.recover().await?;
        let revocations = Revocations::new(store.read(Read::Revocations).await.and_then(Reply::revocations)?);
        let sites = store.read(Read::Sites).await.and_then(Reply::sites)?;
        let sites = Sites::new(sites, site::configured(&config)?);
        let limits = &config.limits;
        let of_address = config.per_address(address.ip());
        let changed = watch::Sender::new(());
        let connections = changed.subscribe();
        let engine = Arc::new(Engine {
            limits: limits.clone(),
            timeouts: config.timeouts.clone(),
            handshakes: of_address.handshakes,
            epoch: database.epoch(),
            auth: auth.clone(),
            store: store.shared().clone(),
            kinds: Kinds::standard(),
            hub,
            limiter: Limiter::default(),
            connections: Connections::new(
                limits.connections,
                limits.connections_per_user,
                of_address.connections,
                Box::new(move || {
                    changed.send_replace(());
                }),
            ),
            access: Access { revocations, sites, ..Access::default() },
            answers: answers.answering(),
            tables: serving.as_ref().map(|serving| serving.tables.clone()),
            metrics,
        });
        reconcile::watch(&database, &store, &loader, &engine);
        let guests = config.guest_ttl + Duration::from_secs(guest::RENEWABLE_S);
        let trimmer = Arc::new(Trimmer::new(
            store.clone(),
            engine.clone(),
            loader.clone(),
            config.retention.clone(),
            guests,
        ));
        let trimming = tokio::spawn({
            let trimmer = trimmer.clone();
            async move { trimmer.run().await }
        });
        let telling = tokio::spawn(people::tell(engine.clone()));
        let app = Arc::new(App {
            draining: watch::Sender::new(false),
            started: SystemTime::now(),
            connections,
            auth,
            store,
            database,
            loader,
            answers,
            engine,
            address_limiter: AddressLimiter::new(of_address, limits.requests),
            proxies: Proxies::new(config.trusted_proxies.clone(), config.forwarded_header),
            origins: Origins::new(&config, address.ip())?,
            base: config
                .public_url
                .as_deref()
                .map(PublicUrl::parse)
                .transpose()?
                .map_or(String::new(), |url| url.path),
            links: Arc::new(Links::new(config.limits.connections + SPARE_SOCKETS)),
            config,
        });
        let tasks = watch::Sender::new(());
        let accepting = tokio::spawn(accept(listener, app.clone(), tasks.clone()));
        let metrics = for_metrics.map(|(listener, address)| {
            tracing::info!(%address, "the metrics are there for everybody who reaches this address");
            (address, tokio::spawn(metrics::serve(listener, app.clone())))
        });
        Ok(Server { app, address, accepting, metrics, trimmer, trimming, telling, tasks, serving })
    }

    /// The address it listens at, with the actual port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of the metrics, if they have one of their own.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics.as_ref().map(|(address, _)| *address)
    }

    /// The settings in use, with those that the demo added.
    pub fn config(&self) -> &Config {
        &self.app.config
    }

    /// Revokes the access of an account's user: all tokens issued so far are refused and live
    /// connections end. With a dialog's id, these tokens only lose access to the dialog. It takes
    /// effect before this returns; an error says that a restart would forget it.
    pub async fn revoke(
        &self,
        account: Account,
        kind: UserKind,
        id: &str,
        dialog: Option<&str>,
    ) -> Result<(), StoreError> {
        self.app.revoke(account, kind, id, dialog).await
    }

    /// Puts other rules of channels in force, before those of the protocol for dialogs. Before this
    /// returns, live connections have lost what the rules no longer allow; what they allow for the
    /// first time holds within 3 s.
    ///
    /// # Errors
    ///
    /// The rules make no sense together; those in force stay.
    pub fn set_channels(&self, channels: Vec<Rule>) -> Result<(), ConfigError> {
        let public = public_dialogs(&self.app.config)?;
        let rules = rules(&public, channels)?;
        let engine = &self.app.engine;
        let mut claims = engine.tables.as_ref().map(|tables| tables.claims()).unwrap_or_default();
        claims.extend(rules.claims());
        self.app.auth.set_named(claims);
        engine.set_rules(rules, RULES_SPREAD_MS);
        Ok(())
    }

    /// Trims the log now, and returns the number of events that were trimmed.
    pub async fn trim_now(&self) -> Result<u64, StoreError> {
        self.trimmer.round().await
    }

    /// Limits the database to its present size and `pages` more; `None` lifts the limit.
    pub async fn limit_database(&self, pages: Option<u32>) -> Result<(), StoreError> {
        self.app.store.write(Write::LimitPages(pages)).await.map(drop)
    }

    /// Lets one more commit report an I/O error, whether or not it reaches the disk. For tests.
    pub fn fail_commit(&self, reaches_disk: bool) {
        self.app.database.fail_commit(reaches_disk);
    }

    /// Stops in an orderly way: no new connections, `goaway` to all, answers interrupted, queues
    /// flushed, close 4000, checkpoint.
    pub async fn drain(self) {
        let times = &self.app.config.timeouts;
        tracing::info!(connections = self.app.engine.connections.count(), "draining");
        self.app.draining.send_replace(true);
        self.trimming.abort();
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.app.engine.connections.announce(&ServerFrame::Goaway {
            reason: "restart".to_owned(),
            after_ms: ms(times.goaway),
            spread_ms: ms(times.spread),
        });
        // Clients may use the announced time for what is under way.
        tokio::join!(self.app.answers.drain(), async {
            if self.app.engine.connections.count() > 0 {
                tokio::time::sleep(times.goaway).await;
            }
        });
        self.app.engine.connections.close_all(codes::close::GOAWAY, codes::GOAWAY);
        // Connections that are left then are cut off when the process ends.
        let mut connections = self.app.connections.clone();
        let engine = &self.app.engine;
        let _ = timeout(CLOSE_TIME, connections.wait_for(|()| engine.connections.count() == 0)).await;
        // Accepted sockets until here, because clients without a WebSocket need new ones to be
        // notified.
        self.accepting.abort();
        self.stop_metrics();
        self.telling.abort();
        self.tasks.send_replace(());
        let (database, serving) = (self.app.database.clone(), self.serving);
        // If the checkpoint fails, the next start makes it.
        let _ = tokio::task::spawn_blocking(move || (drop(serving), database.close())).await;
        tracing::info!("stopped");
    }

    /// Stops without a warning and without waiting; answers under way are ended at the next start.
    pub async fn abort(self) {
        self.accepting.abort();
        self.stop_metrics();
        self.trimming.abort();
        self.telling.abort();
        self.tasks.send_replace(());
        self.app.engine.connections.close_all(codes::close::GOAWAY, codes::GOAWAY);
        let (database, serving) = (self.app.database.clone(), self.serving);
        let _ = tokio::task::spawn_blocking(move || (drop(serving), database.close())).await;
    }
}

impl Server {
    fn stop_metrics(&self) {
        if let Some((_, serving)) = &self.metrics {
            serving.abort();
        }
    }
}

/// Checks what needs no database, and completes the demo's settings. Returns the channels that are
/// open for all users.
fn prepare(config: &mut Config) -> Result<HashSet<ChannelName>, ConfigError> {
    if let Some(root) = &config.web_root
        && !root.is_dir()
    {
        return Err(ConfigError::MissingWebRoot(root.display().to_string()));
    }
    if config.demo {
        if !config.public_dialogs.iter().any(|id| id == "demo") {
            config.public_dialogs.push("demo".to_owned());
        }
        if !config.keys.iter().any(|key| matches!(key.material, KeyMaterial::Hs256(_))) {
            let secret = crate::clock::random_id() + &crate::clock::random_id();
            config.keys.push(KeyConfig { id: Some("demo".to_owned()), material: KeyMaterial::Hs256(secret) });
        }
    }
    public_dialogs(config)
}

/// The channels that are open for all users.
fn public_dialogs(config: &Config) -> Result<HashSet<ChannelName>, ConfigError> {
    let mut public = HashSet::new();
    for id in &config.public_dialogs {
        let Some(name) = ChannelName::of_dialog(id) else {
            let reason = format!("`{id}` must have 1 to 121 characters out of a-z A-Z 0-9 : _ . -");
            return Err(ConfigError::Value { name: "public-dialog", reason });
        };
        public.insert(name);
    }
    Ok(public)
}

/// The rules in force, with the configured ones.
fn rules(public: &HashSet<ChannelName>, channels: Vec<Rule>) -> Result<Rules, ConfigError> {
    Rules::new(public.iter().cloned(), channels)
        .map_err(|error| ConfigError::Value { name: "channel", reason: error.to_string() })
}

/// Listens at an address; returns it with the actual port.
async fn listen(address: &str) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::AddrInUse => StartError::PortInUse(address.to_owned()),
        _ => StartError::Listen { address: address.to_owned(), reason: error.to_string() },
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

/// Accepts sockets until it is aborted. Each has a permit until it is closed, so that idle sockets
/// can't use up all of them.
async fn accept(listener: TcpListener, app: Arc<App>, tasks: watch::Sender<()>) {
    // A connection without a WebSocket has one socket in each direction.
    let places = Arc::new(Semaphore::new(app.config.limits.connections * 2 + SPARE_SOCKETS));
    let router = http::router(app.clone());
    let base: Arc<str> = Arc::from(app.base.as_str());
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Most often too many open files: wait until some are closed.
                tracing::warn!(%error, "can't accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        // Closed without a message: a client with this many sockets does not read any.
        let proxy = app.proxies.trusts(address.ip());
        let Ok(ticket) = app.address_limiter.socket(address.ip(), proxy) else { continue };
        // Sends small frames at once; the writer joins frames itself.
        let _ = stream.set_nodelay(true);
        let activity = Activity::new();
        let remote = Remote { address, activity: activity.clone() };
        // Longer than the time-out of a message, so that the connection can end with its reason.
        let patience = app.config.timeouts.write * 2;
        let pace = Pace::new(app.config.limits.read_bytes);
        let io = TokioIo::new(Watched::new(stream, (place, ticket), activity, patience, pace));
        let (router, header, mut ended) = (router.clone(), app.config.timeouts.header, tasks.subscribe());
        let base = base.clone();
        tokio::spawn(async move {
            let connection = serve(io, router, remote, header, base);
            tokio::select! {
                () = connection => {}
                _ = ended.changed() => {}
            }
        });
    }
}

async fn serve(io: TokioIo<Watched>, router: Router, remote: Remote, header: Duration, base: Arc<str>) {
    let inner = TowerToHyperService::new(router);
    let service = hyper::service::service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(remote.clone());
        if let Some(uri) = http::below(request.uri(), &base) {
            *request.uri_mut() = uri;
        }
        hyper::service::Service::call(&inner, request)
    });
    let result = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header)
        .max_buf_size(32 * 1024)
        .serve_connection(io, service)
        .with_upgrades()
        .await;
    if let Err(error) = result {
        tracing::debug!(%error, "a request failed");
    }
}
