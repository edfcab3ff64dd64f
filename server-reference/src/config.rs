//! The settings of a server, with their defaults.

pub use crate::stores::Flush;
use crate::tables::TablesConfig;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;
use thiserror::Error;
pub use tidewire_server_core::rules::{Pattern, Rule, Who};
pub use tidewire_server_core::{Budget, ServerLimits, Timeouts};

/// All settings of a server. `Debug` is left out on purpose: keys are among them.
#[derive(Clone)]
#[non_exhaustive]
pub struct Config {
    /// Address to listen on; port 0 takes a free one.
    pub listen: String,
    /// Address of its own for the metrics, on which they need no token; `None` for none. On the main
    /// address they always need one.
    pub metrics_listen: Option<String>,
    /// The database file; created if it does not exist.
    pub database: PathBuf,
    /// The file with the key that signs guests' tokens, in base64; `None` for a file beside the
    /// database, which is created if it does not exist.
    pub guest_key_file: Option<PathBuf>,
    /// When queued writes are committed.
    pub flush: Flush,
    /// Folder of static files served at `/`.
    pub web_root: Option<PathBuf>,
    /// Ids of the dialogs that are open for every authenticated user; created at the start.
    pub public_dialogs: Vec<String>,
    /// The server's own account: the one of users whose token names none, and of dialogs that no
    /// other account created. Operators have to name it in their token.
    pub account: String,
    /// Rules of channels, before those of the protocol for dialogs. The first one that matches a
    /// channel holds for it.
    pub channels: Vec<Rule>,
    /// The address by which clients reach the server, if it is another than the one it listens on.
    /// Requests may have its path as a prefix, or not.
    pub public_url: Option<String>,
    /// Origins of pages on other hosts that may connect: `https://app.example.com`,
    /// `https://*.example.com` for all hosts below, `null`, `file://`, or `*` for all.
    pub allowed_origins: Vec<String>,
    /// Sites of the configuration; more can be written by request.
    pub sites: Vec<SiteConfig>,
    /// The name of the cookie that holds a user's token; `None` for no cookie.
    pub cookie: Option<String>,
    /// The claim of a token that names the user's session; `None` if tokens name none.
    pub session_claim: Option<String>,
    /// Addresses of the proxies whose headers are believed about a client's address, and about the
    /// host that it asked for.
    pub trusted_proxies: Vec<IpAddr>,
    /// The headers in which they say it.
    pub forwarded_header: ForwardedHeader,
    /// Names that guests may not have, nor any that look like them. "Assistant", "System" and
    /// "Operator" are always reserved.
    pub reserved_names: Vec<String>,
    /// Keys that verify the application's tokens.
    pub keys: Vec<KeyConfig>,
    /// The `iss` that the application's tokens must have.
    pub issuer: String,
    /// The `aud` of users' and guests' tokens.
    pub audience: String,
    /// The `aud` of operators' tokens.
    pub operator_audience: String,
    /// The `aud` of services' tokens.
    pub service_audience: String,
    /// How long a guest's token lasts.
    pub guest_ttl: Duration,
    /// Heartbeat and time-outs.
    pub timeouts: Timeouts,
    /// Limits of connections, users and addresses.
    pub limits: ServerLimits,
    /// How long events are kept.
    pub retention: Retention,
    /// What answers messages.
    pub model: ModelConfig,
    /// Tables that clients may subscribe to.
    pub tables: TablesConfig,
    /// Whether the demo's dialog is open and its endpoint gives tokens to anybody.
    pub demo: bool,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            listen: "127.0.0.1:8080".to_owned(),
            metrics_listen: None,
            database: PathBuf::from("tidewire.db"),
            guest_key_file: None,
            flush: Flush::default(),
            web_root: None,
            public_dialogs: Vec::new(),
            account: "default".to_owned(),
            channels: Vec::new(),
            public_url: None,
            allowed_origins: Vec::new(),
            sites: Vec::new(),
            cookie: None,
            session_claim: None,
            trusted_proxies: Vec::new(),
            forwarded_header: ForwardedHeader::default(),
            reserved_names: Vec::new(),
            keys: Vec::new(),
            issuer: "tidewire".to_owned(),
            audience: "tidewire".to_owned(),
            operator_audience: "tidewire-operator".to_owned(),
            service_audience: "tidewire-service".to_owned(),
            guest_ttl: Duration::from_secs(24 * 3600),
            timeouts: Timeouts::default(),
            limits: ServerLimits::default(),
            retention: Retention::default(),
            model: ModelConfig::default(),
            tables: TablesConfig::default(),
            demo: false,
        }
    }
}

impl Config {
    /// The limits of one client address, on a server that listens at `listening`. By default there
    /// are none in the demo, and none on a loopback address without a trusted proxy.
    pub(crate) fn per_address(&self, listening: IpAddr) -> AddressLimits {
        let shared = self.demo || (listening.is_loopback() && self.trusted_proxies.is_empty());
        let (connections, handshakes) = if shared { (0, 0) } else { (20, 10) };
        let connections = self.limits.connections_per_ip.unwrap_or(connections);
        let handshakes = self.limits.handshakes_per_ip.unwrap_or(handshakes);
        // A connection without a WebSocket uses two sockets, and a browser opens up to six for
        // other requests.
        let sockets = if connections > 0 { connections * 2 + 24 } else { 0 };
        let sockets = self.limits.sockets_per_ip.unwrap_or(sockets);
        AddressLimits {
            connections: (connections > 0).then_some(connections),
            handshakes: (handshakes > 0).then_some(handshakes),
            sockets: (sockets > 0).then_some(sockets),
        }
    }
}

/// Limits of one client address; `None` for no limit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AddressLimits {
    pub(crate) connections: Option<usize>,
    /// Connections opened in a minute.
    pub(crate) handshakes: Option<u64>,
    /// Open sockets of any kind. Also the requests under way, because the sockets of a trusted
    /// proxy are not counted.
    pub(crate) sockets: Option<usize>,
}

/// The headers in which a proxy says what it passes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`, `X-Forwarded-Host` and `X-Forwarded-Proto`.
    #[default]
    XForwarded,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// A site: pages elsewhere that may have guests of an account.
#[derive(Debug, Clone)]
pub struct SiteConfig {
    /// The key that its pages present. It is public.
    pub key: String,
    /// The origins of its pages: `https://shop.example`.
    pub origins: Vec<String>,
    /// The account that its guests belong to; `None` for the server's own.
    pub account: Option<String>,
    /// Which assistant its guests talk to: the claim `assistant` of theirs.
    pub assistant: Option<String>,
}

/// A key that verifies tokens.
#[derive(Clone)]
pub struct KeyConfig {
    /// Its `kid`. A token that names it is verified only with keys that have it.
    pub id: Option<String>,
    /// Its algorithm and bytes.
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

/// How long events are kept. Op ids are remembered for at least 8 days in any case, a day longer
/// than a client keeps trying to send an op, so that no op becomes two events.
#[derive(Debug, Clone)]
pub struct Retention {
    /// Older events are trimmed; zero keeps them for ever.
    pub age: Duration,
    /// The number of newest events that each channel keeps; 0 for no limit.
    pub events: u64,
    /// How often the log is trimmed.
    pub every: Duration,
}

impl Default for Retention {
    fn default() -> Retention {
        Retention { age: Duration::from_secs(30 * 86_400), events: 0, every: Duration::from_secs(60) }
    }
}

/// What answers messages.
#[derive(Clone)]
pub enum ModelConfig {
    /// Messages are not answered.
    Off,
    /// The built-in model, which needs no key.
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

/// An OpenAI-compatible model, with its time-outs.
#[derive(Clone)]
pub struct OpenAiConfig {
    /// Base URL; `/chat/completions` is appended.
    pub url: String,
    /// Sent as a bearer token.
    pub key: Option<String>,
    /// The model's name.
    pub name: String,
    /// The system prompt.
    pub system: Option<String>,
    /// Time-out of connecting.
    pub connect: Duration,
    /// Time-out of each request, until its response begins.
    pub first_byte: Duration,
    /// Time-out between two events of the answer.
    pub idle: Duration,
    /// Time-out of the whole answer.
    pub total: Duration,
    /// The longest `Retry-After` to wait for; with a longer one the answer fails.
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
    /// The command line is not valid.
    #[error("{0}; try --help")]
    Flag(String),
    /// A file of settings, or with a secret or a key, can't be read.
    #[error("can't read the configuration {path}: {reason}")]
    Unreadable {
        /// The file.
        path: String,
        /// The system's error.
        reason: String,
    },
    /// The file is not TOML, or has an unknown member or one of a wrong type.
    #[error("the configuration {path} is not valid: {reason}")]
    Invalid {
        /// The file.
        path: String,
        /// The line and the error.
        reason: String,
    },
    /// A secret was given as a flag.
    #[error(
        "--{flag} would show the secret to everybody who lists processes; set {variable} in the environment, or use the file"
    )]
    SecretFlag {
        /// The flag.
        flag: &'static str,
        /// The variable that takes its place.
        variable: &'static str,
    },
    /// A setting has an impossible value.
    #[error("{name} {reason}")]
    Value {
        /// The setting.
        name: &'static str,
        /// What is wrong, and which values are valid.
        reason: String,
    },
    /// An HS256 secret has fewer than 32 bytes.
    #[error("an HS256 secret must have at least 32 bytes; make one with: openssl rand -base64 48")]
    WeakSecret,
    /// The folder of static files does not exist.
    #[error("the web root {0} is not a folder; give another --web-root, or leave it out")]
    MissingWebRoot(String),
    /// The demo gives tokens to anybody, so it is for this machine only.
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
            ConfigError::SecretFlag { .. } => "secret_flag",
            ConfigError::Unreadable { .. } => "config_unreadable",
            ConfigError::Invalid { .. } => "config_invalid",
            ConfigError::Value { .. } => "bad_value",
            ConfigError::WeakSecret => "weak_secret",
            ConfigError::MissingWebRoot(_) => "missing_web_root",
            ConfigError::DemoNotLocal => "demo_not_local",
        }
    }
}
