//! What a server is told: every setting with its default.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;
use thiserror::Error;
use tidewire_core::wire::Limits;

/// All settings of a server. `Debug` is left out on purpose: keys are among them.
#[derive(Clone)]
#[non_exhaustive]
pub struct Config {
    /// Address to listen on; port 0 takes a free one.
    pub listen: String,
    /// The database file; created when it does not exist.
    pub database: PathBuf,
    /// Folder of static files served at `/`.
    pub web_root: Option<PathBuf>,
    /// Ids of the dialogs that are open for every authenticated user; created at start.
    pub public_dialogs: Vec<String>,
    /// Origins of pages on other hosts that may connect; `*` allows all.
    pub allowed_origins: Vec<String>,
    /// Addresses of the proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpAddr>,
    /// Keys that verify the application's tokens.
    pub keys: Vec<KeyConfig>,
    /// The `iss` that the application's tokens must carry.
    pub issuer: String,
    /// The `aud` of users and guests.
    pub audience: String,
    /// The `aud` of operators.
    pub operator_audience: String,
    /// How long a guest's token lasts.
    pub guest_ttl: Duration,
    /// Heartbeat and time-outs.
    pub timeouts: Timeouts,
    /// What a connection may hold and send.
    pub limits: ServerLimits,
    /// How long events are kept.
    pub retention: Retention,
    /// Who answers messages.
    pub model: ModelConfig,
    /// Whether the demo page's helpers are on.
    pub demo: bool,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            listen: "127.0.0.1:8080".to_owned(),
            database: PathBuf::from("tidewire.db"),
            web_root: None,
            public_dialogs: Vec::new(),
            allowed_origins: Vec::new(),
            trusted_proxies: Vec::new(),
            keys: Vec::new(),
            issuer: "tidewire".to_owned(),
            audience: "tidewire".to_owned(),
            operator_audience: "tidewire-operator".to_owned(),
            guest_ttl: Duration::from_secs(24 * 3600),
            timeouts: Timeouts::default(),
            limits: ServerLimits::default(),
            retention: Retention::default(),
            model: ModelConfig::default(),
            demo: false,
        }
    }
}

impl Config {
    /// Connections and handshakes in a minute of one address, on a server that listens at `listening`.
    pub(crate) fn per_address(&self, listening: IpAddr) -> (Option<usize>, Option<u64>) {
        let shared = self.demo || (listening.is_loopback() && self.trusted_proxies.is_empty());
        let (connections, handshakes) = if shared { (0, 0) } else { (20, 10) };
        let connections = self.limits.connections_per_ip.unwrap_or(connections);
        let handshakes = self.limits.handshakes_per_ip.unwrap_or(handshakes);
        ((connections > 0).then_some(connections), (handshakes > 0).then_some(handshakes))
    }
}

/// A key that verifies tokens.
#[derive(Clone)]
pub struct KeyConfig {
    /// The `kid` that chooses it.
    pub id: Option<String>,
    /// The one algorithm it serves.
    pub material: KeyMaterial,
}

/// A key's algorithm and bytes.
#[derive(Clone)]
pub enum KeyMaterial {
    /// A shared secret of at least 32 bytes.
    Hs256(String),
    /// A public key in PEM form.
    EdDsa(String),
}

/// Heartbeat and time-outs.
#[derive(Debug, Clone)]
pub struct Timeouts {
    /// How often the server pings.
    pub ping: Duration,
    /// How much longer than `ping` silence may last.
    pub grace: Duration,
    /// From the upgrade to `hello`.
    pub hello: Duration,
    /// A request's header.
    pub header: Duration,
    /// One write to a client.
    pub write: Duration,
    /// From `goaway` to the close.
    pub goaway: Duration,
    /// Over how long clients should spread their return after a `goaway`.
    pub spread: Duration,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts {
            ping: Duration::from_secs(25),
            grace: Duration::from_secs(10),
            hello: Duration::from_secs(10),
            header: Duration::from_secs(5),
            write: Duration::from_secs(10),
            goaway: Duration::from_millis(500),
            spread: Duration::from_secs(5),
        }
    }
}

/// How long events are kept. Op ids are kept for at least 8 days whatever stands here, a day longer than any client tries to
/// send an op, so that no op becomes two events.
#[derive(Debug, Clone)]
pub struct Retention {
    /// Events older than this go; zero keeps them for ever.
    pub age: Duration,
    /// So many of the newest events of a channel stay; 0 sets no limit.
    pub events: u64,
    /// How often the log is trimmed.
    pub every: Duration,
}

impl Default for Retention {
    fn default() -> Retention {
        Retention { age: Duration::from_secs(30 * 86_400), events: 0, every: Duration::from_secs(60) }
    }
}

/// So many in so long, and so many at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// What the bucket gains in `per_ms`.
    pub ops: u64,
    /// See `ops`.
    pub per_ms: u64,
    /// What the bucket holds.
    pub burst: u64,
}

/// What a connection may hold and send.
#[derive(Debug, Clone)]
pub struct ServerLimits {
    /// Longest message from a client, in bytes.
    pub message_bytes: usize,
    /// Most subscriptions of a connection.
    pub subscriptions: usize,
    /// Most unanswered ops of a connection.
    pub inflight: usize,
    /// Most bytes of them.
    pub inflight_bytes: usize,
    /// Ops of a user or operator, over all connections.
    pub user: Budget,
    /// Ops of a guest, over all connections.
    pub guest: Budget,
    /// Guests that one address may create.
    pub new_guests: Budget,
    /// Most connections at the same time.
    pub connections: usize,
    /// Most connections of a user.
    pub connections_per_user: usize,
    /// Most connections that are subscribed to a dialog.
    pub connections_per_dialog: usize,
    /// Most connections of an address (in IPv6, of a /64); 0 for no limit. None is 20, but no limit where all clients share
    /// an address: on a loopback address without a trusted proxy, and in the demo.
    pub connections_per_ip: Option<usize>,
    /// Most handshakes of an address in a minute; 0 for no limit. None is 10, with the same exceptions.
    pub handshakes_per_ip: Option<u64>,
    /// Most bytes waiting for a client that reads slowly.
    pub queue_bytes: usize,
    /// Most messages waiting for it.
    pub queue_messages: usize,
    /// Most bad frames of a connection within 10 s.
    pub bad_frames: usize,
    /// Most pings and unasked pongs of a connection within 10 s.
    pub control_frames: usize,
}

impl Default for ServerLimits {
    fn default() -> ServerLimits {
        ServerLimits {
            message_bytes: 65_536,
            subscriptions: 100,
            inflight: 32,
            inflight_bytes: 262_144,
            user: Budget { ops: 20, per_ms: 1_000, burst: 40 },
            guest: Budget { ops: 20, per_ms: 60_000, burst: 20 },
            new_guests: Budget { ops: 600, per_ms: 60_000, burst: 600 },
            connections: 10_000,
            connections_per_user: 100,
            connections_per_dialog: 50,
            connections_per_ip: None,
            handshakes_per_ip: None,
            queue_bytes: 1 << 20,
            queue_messages: 1_000,
            bad_frames: 20,
            control_frames: 100,
        }
    }
}

impl ServerLimits {
    /// What `welcome` announces to a user with this budget.
    pub(crate) fn announced(&self, budget: Budget) -> Limits {
        Limits {
            message_bytes: self.message_bytes as u64,
            subscriptions: self.subscriptions as u64,
            inflight: self.inflight as u64,
            inflight_bytes: self.inflight_bytes as u64,
            ops: budget.ops,
            per_ms: budget.per_ms,
            burst: budget.burst,
        }
    }
}

/// Who answers messages.
#[derive(Clone)]
pub enum ModelConfig {
    /// Nobody: people write to each other.
    Off,
    /// The built-in model, one word each `pace`.
    Scripted {
        /// Pause between two words.
        pace: Duration,
    },
    /// An OpenAI-compatible server.
    OpenAi(OpenAiConfig),
}

impl Default for ModelConfig {
    fn default() -> ModelConfig {
        ModelConfig::Scripted { pace: Duration::from_millis(40) }
    }
}

/// Where an OpenAI-compatible model is and how long it may take.
#[derive(Clone)]
pub struct OpenAiConfig {
    /// Base URL; `/chat/completions` is appended.
    pub url: String,
    /// Sent as a bearer token.
    pub key: Option<String>,
    /// The model's name.
    pub name: String,
    /// What the model is told first.
    pub system: Option<String>,
    /// To connect.
    pub connect: Duration,
    /// To the first byte of the answer.
    pub first_byte: Duration,
    /// Between two events of the answer.
    pub idle: Duration,
    /// For all of it.
    pub total: Duration,
    /// Longest `Retry-After` that is waited for.
    pub longest_retry: Duration,
}

impl OpenAiConfig {
    /// A model at `url` with the usual time-outs.
    pub fn new(url: impl Into<String>, name: impl Into<String>) -> OpenAiConfig {
        OpenAiConfig {
            url: url.into(),
            key: None,
            name: name.into(),
            system: None,
            connect: Duration::from_secs(10),
            first_byte: Duration::from_secs(30),
            idle: Duration::from_secs(30),
            total: Duration::from_secs(300),
            longest_retry: Duration::from_secs(10),
        }
    }
}

/// Why a server can't start with these settings.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A flag that does not exist, or without its value.
    #[error("{0}; try --help")]
    Flag(String),
    /// The file can't be read.
    #[error("can't read the configuration {path}: {reason}")]
    Unreadable {
        /// Which file.
        path: String,
        /// What the system says.
        reason: String,
    },
    /// The file is not TOML, or has a member that does not exist.
    #[error("the configuration {path} is not valid: {reason}")]
    Invalid {
        /// Which file.
        path: String,
        /// Where and what.
        reason: String,
    },
    /// A setting has an impossible value.
    #[error("{name} {reason}")]
    Value {
        /// Which setting.
        name: &'static str,
        /// What is wrong and what would be right.
        reason: String,
    },
    /// A secret that can be guessed.
    #[error("an HS256 secret must have at least 32 bytes; make one with: openssl rand -base64 48")]
    WeakSecret,
    /// The folder of static files does not exist.
    #[error("the web root {0} is not a folder; give another --web-root, or leave it out")]
    MissingWebRoot(String),
    /// The demo helpers hand out tokens, so they are for this machine only.
    #[error(
        "--demo hands out tokens to anybody, so it needs a loopback address; try --listen 127.0.0.1:8080"
    )]
    DemoNotLocal,
}

impl ConfigError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            ConfigError::Flag(_) => "bad_flag",
            ConfigError::Unreadable { .. } => "config_unreadable",
            ConfigError::Invalid { .. } => "config_invalid",
            ConfigError::Value { .. } => "bad_value",
            ConfigError::WeakSecret => "weak_secret",
            ConfigError::MissingWebRoot(_) => "missing_web_root",
            ConfigError::DemoNotLocal => "demo_not_local",
        }
    }
}
