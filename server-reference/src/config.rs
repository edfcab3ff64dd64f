//! What a server is told: every setting with its default.

use crate::tables::TablesConfig;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;
use thiserror::Error;
pub use tidewire_server_core::{Budget, ServerLimits, Timeouts};

/// All settings of a server. `Debug` is left out on purpose: keys are among them.
#[derive(Clone)]
#[non_exhaustive]
pub struct Config {
    /// Address to listen on; port 0 takes a free one.
    pub listen: String,
    /// The database file; created when it does not exist.
    pub database: PathBuf,
    /// The file with the key of the guests' tokens, in base64; none for one beside the database,
    /// made when it is missing.
    pub guest_key_file: Option<PathBuf>,
    /// Folder of static files served at `/`.
    pub web_root: Option<PathBuf>,
    /// Ids of the dialogs that are open for every authenticated user; created at start.
    pub public_dialogs: Vec<String>,
    /// The address by which clients reach the server, if it is another than the one it listens on.
    /// Its path may stand before every path of a request.
    pub public_url: Option<String>,
    /// Origins of pages on other hosts that may connect: as `https://app.example.com`, `https://*.example.com` for all below, the
    /// word `null` or `file://`, or `*` for all.
    pub allowed_origins: Vec<String>,
    /// Addresses of the proxies whose word for a client's address, and for the name it asked for,
    /// is believed.
    pub trusted_proxies: Vec<IpAddr>,
    /// In which headers they say so.
    pub forwarded_header: ForwardedHeader,
    /// Names that guests may not have, nor what looks like them; "Assistant", "System" and
    /// "Operator" always are.
    pub reserved_names: Vec<String>,
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
    /// Tables that clients may subscribe to.
    pub tables: TablesConfig,
    /// Whether the demo page's helpers are on.
    pub demo: bool,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            listen: "127.0.0.1:8080".to_owned(),
            database: PathBuf::from("tidewire.db"),
            guest_key_file: None,
            web_root: None,
            public_dialogs: Vec::new(),
            public_url: None,
            allowed_origins: Vec::new(),
            trusted_proxies: Vec::new(),
            forwarded_header: ForwardedHeader::default(),
            reserved_names: Vec::new(),
            keys: Vec::new(),
            issuer: "tidewire".to_owned(),
            audience: "tidewire".to_owned(),
            operator_audience: "tidewire-operator".to_owned(),
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
    /// What one address may have, on a server that listens at `listening`.
    pub(crate) fn per_address(&self, listening: IpAddr) -> AddressLimits {
        let shared = self.demo || (listening.is_loopback() && self.trusted_proxies.is_empty());
        let (connections, handshakes) = if shared { (0, 0) } else { (20, 10) };
        let connections = self.limits.connections_per_ip.unwrap_or(connections);
        let handshakes = self.limits.handshakes_per_ip.unwrap_or(handshakes);
        // A connection without a WebSocket has two, and a browser opens six for requests.
        let sockets = if connections > 0 { connections * 2 + 24 } else { 0 };
        let sockets = self.limits.sockets_per_ip.unwrap_or(sockets);
        AddressLimits {
            connections: (connections > 0).then_some(connections),
            handshakes: (handshakes > 0).then_some(handshakes),
            sockets: (sockets > 0).then_some(sockets),
        }
    }
}

/// What one address may have; none for no limit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AddressLimits {
    pub(crate) connections: Option<usize>,
    /// Connections that it opens in a minute.
    pub(crate) handshakes: Option<u64>,
    /// Open ones, of any kind; also requests under way, where a proxy stands before the server.
    pub(crate) sockets: Option<usize>,
}

/// In which headers a proxy says what it passes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`, `X-Forwarded-Host` and `X-Forwarded-Proto`.
    #[default]
    XForwarded,
    /// `Forwarded` (RFC 7239).
    Forwarded,
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

/// How long events are kept. Op ids are kept for at least 8 days whatever stands here, a day longer
/// than any client tries to send an op, so that no op becomes two events.
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
    /// A secret among the flags.
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
