//! Settings from flags, environment and a file: a flag wins over the environment, which wins over
//! the file.

mod channels;
mod channels_file;
mod file;
mod summary;
mod tables;

use crate::config::{
    Config, ConfigError, Flush, ForwardedHeader, KeyConfig, KeyMaterial, ModelConfig, OpenAiConfig,
};
use crate::cookie;
use crate::origin::Origins;
use crate::site;
pub use channels_file::ChannelsFile;
use clap::error::ErrorKind;
use clap::{Parser, Subcommand};
use file::File;
use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;
pub use summary::summary;

const MORE: &str = "\
Every flag can stand in the file too, with `_` instead of `-`, and in the environment as TIDEWIRE_ and its name in capitals. \
Keys and the finer limits stand in the file only. Secrets are no flags, which all may read: TIDEWIRE_JWT_HS256_SECRET and \
TIDEWIRE_MODEL_KEY stand in the environment, or in the files that TIDEWIRE_JWT_HS256_SECRET_FILE and TIDEWIRE_MODEL_KEY_FILE name.

  issuer = \"tidewire\"
  public_dialog = [\"lobby\"]

  [[keys]]
  id = \"main\"              # the token's `kid`; optional
  alg = \"HS256\"            # with secret = \"…\", at least 32 bytes
  secret_env = \"MY_SECRET\" # or: the variable that holds it
  secret_file = \"secret\"   # or: the file that does

  [[keys]]
  alg = \"EdDSA\"
  public_key_file = \"key.pem\"  # or public_key = \"-----BEGIN PUBLIC KEY-----…\"

  [[site]]                   # pages elsewhere that may have guests
  key = \"shop-1\"           # public; the page presents it
  origins = [\"https://shop.example\"]
  account = \"shop\"         # default: the server's own; also assistant = \"…\", a claim of its guests

  [limits]
  subscriptions = 100
  user = { ops = 20, per_ms = 1000, burst = 40 }
  guest = { ops = 20, per_ms = 60000, burst = 20 }

  [tables]                   # tables that clients may subscribe to
  source = \"sqlite:app.db\" # or postgres://user@host/db, with publication, slot and ca; default: the database above

  [tables.watch.tasks]       # what clients call it; the database too, or table = \"…\"
  columns = [\"id\", \"owner\", \"title\"]  # what clients may see; default: all
  access = { user = \"owner=eq.{sub}\", operator = \"*\" }  # which rows; {sub}, {name}, {claim:NAME} are the token's
  filters = [\"title\"]      # PostgreSQL: what clients' filters may name, besides key and access

Stop it with SIGTERM or Ctrl-C: clients are told, answers are ended and everything is on disk within 5 s.";

const DAY_S: u64 = 86_400;
/// Longest retention, in days.
const MOST_DAYS: u64 = 36_500;
/// Longest time between two commits, in ms: everybody who sends waits for it.
const MOST_FLUSH_MS: u64 = 1_000;
/// Most messages that wait for one commit.
const MOST_FLUSH_MESSAGES: usize = 1_000;

/// The flags.
#[derive(Parser, Debug, Default)]
#[command(name = "tidewire-server", version, about = "The reference server of Tidewire: durable dialogs over WebSocket, with answers that stream.", after_long_help = MORE, after_help = "More, and the form of the file: --help")]
struct Flags {
    #[command(subcommand)]
    action: Option<Action>,
    /// Address to listen on; port 0 takes a free one [default: 127.0.0.1:8080]
    #[arg(long, env = "TIDEWIRE_LISTEN", value_name = "HOST:PORT")]
    listen: Option<String>,
    /// Another address to listen on, for the metrics alone, such as 127.0.0.1:9464: whoever reaches it
    /// reads GET /metrics without a token [default: none; there is GET /metrics with the token of a
    /// service]
    #[arg(long, env = "TIDEWIRE_METRICS_LISTEN", value_name = "HOST:PORT")]
    metrics_listen: Option<String>,
    /// The database file, created if it does not exist [default: tidewire.db]
    #[arg(long, env = "TIDEWIRE_DATABASE", value_name = "FILE")]
    database: Option<PathBuf>,
    /// The file with the key that signs guests' tokens, in base64 [default: beside the database,
    /// created if it does not exist]
    #[arg(long, env = "TIDEWIRE_GUEST_KEY_FILE", value_name = "FILE")]
    guest_key_file: Option<PathBuf>,
    /// Most often that messages are written to the database, as one commit in so many ms; the first
    /// one after a pause is written at once. 0: as fast as the disk takes them [default: 0]
    #[arg(long, env = "TIDEWIRE_FLUSH_MS", value_name = "MS")]
    flush_ms: Option<u64>,
    /// As soon as this many messages wait they are written, before --flush-ms is over [default: 100]
    #[arg(long, env = "TIDEWIRE_FLUSH_MESSAGES", value_name = "N")]
    flush_messages: Option<usize>,
    /// A TOML file with settings
    #[arg(long, env = "TIDEWIRE_CONFIG", value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// Folder of static files served at /
    #[arg(long, env = "TIDEWIRE_WEB_ROOT", value_name = "FOLDER")]
    web_root: Option<PathBuf>,
    /// Id of a dialog that is open for all users; created at start; may be repeated
    #[arg(long, env = "TIDEWIRE_PUBLIC_DIALOG", value_name = "ID", value_delimiter = ',')]
    public_dialog: Vec<String>,
    /// Address by which clients reach the server, such as https://example.com/chat/, if it is
    /// behind a proxy
    #[arg(long, env = "TIDEWIRE_PUBLIC_URL", value_name = "URL")]
    public_url: Option<String>,
    /// Origin of pages on another host that may connect: https://app.example.com,
    /// https://*.example.com, null, file://, or *; may be repeated
    #[arg(long, env = "TIDEWIRE_ALLOWED_ORIGIN", value_name = "ORIGIN", value_delimiter = ',')]
    allowed_origin: Vec<String>,
    /// Name of the cookie that holds a user's token, such as __Host-session; pages need no token then
    /// [default: none]
    #[arg(long, env = "TIDEWIRE_COOKIE", value_name = "NAME")]
    cookie: Option<String>,
    /// The claim of a token that names the user's session, such as sid [default: none]
    #[arg(long, env = "TIDEWIRE_SESSION_CLAIM", value_name = "NAME")]
    session_claim: Option<String>,
    /// The `iss` of the application's tokens [default: tidewire]
    #[arg(long, env = "TIDEWIRE_ISSUER", value_name = "NAME")]
    issuer: Option<String>,
    /// The `aud` of users and guests [default: tidewire]
    #[arg(long, env = "TIDEWIRE_AUDIENCE", value_name = "NAME")]
    audience: Option<String>,
    /// The `aud` of operators [default: tidewire-operator]
    #[arg(long, env = "TIDEWIRE_OPERATOR_AUDIENCE", value_name = "NAME")]
    operator_audience: Option<String>,
    /// The `aud` of services, which is what the application's backend is [default: tidewire-service]
    #[arg(long, env = "TIDEWIRE_SERVICE_AUDIENCE", value_name = "NAME")]
    service_audience: Option<String>,
    /// Name of the server's own account: users whose token names no account belong to it, and
    /// operators name it in the claim `account` [default: default]
    #[arg(long, env = "TIDEWIRE_ACCOUNT", value_name = "NAME")]
    account: Option<String>,
    /// How long a guest's token lasts, in seconds [default: 86400]
    #[arg(long, env = "TIDEWIRE_GUEST_TTL_S", value_name = "SECONDS")]
    guest_ttl_s: Option<u64>,
    /// How often connections are pinged, in ms [default: 25000]
    #[arg(long, env = "TIDEWIRE_PING_MS", value_name = "MS")]
    ping_ms: Option<u64>,
    /// How much longer than --ping-ms a client may be silent, in ms [default: 10000]
    #[arg(long, env = "TIDEWIRE_GRACE_MS", value_name = "MS")]
    grace_ms: Option<u64>,
    /// Close connections whose user did nothing for this long, in seconds; 0 closes none [default: 0]
    #[arg(long, env = "TIDEWIRE_IDLE_S", value_name = "SECONDS")]
    idle_s: Option<u64>,
    /// Time over which clients spread their reconnects when the server restarts, in ms [default:
    /// 5000]
    #[arg(long, env = "TIDEWIRE_SPREAD_MS", value_name = "MS")]
    spread_ms: Option<u64>,
    /// Most connections at the same time [default: 10000]
    #[arg(long, env = "TIDEWIRE_MAX_CONNECTIONS", value_name = "N")]
    max_connections: Option<usize>,
    /// Most connections subscribed to one dialog [default: 50]
    #[arg(long, env = "TIDEWIRE_MAX_DIALOG_CONNECTIONS", value_name = "N")]
    max_dialog_connections: Option<usize>,
    /// Most connections of one client address, 0 for no limit [default: 20; none on loopback
    /// without a proxy, and in the demo]
    #[arg(long, env = "TIDEWIRE_MAX_IP_CONNECTIONS", value_name = "N")]
    max_ip_connections: Option<usize>,
    /// Most connections that one client address opens in a minute, 0 for no limit [default: 10;
    /// none as above]
    #[arg(long, env = "TIDEWIRE_MAX_IP_HANDSHAKES", value_name = "N")]
    max_ip_handshakes: Option<u64>,
    /// Most open sockets of one client address, of any kind, 0 for no limit [default: twice its
    /// connections and 24; none as above]
    #[arg(long, env = "TIDEWIRE_MAX_IP_SOCKETS", value_name = "N")]
    max_ip_sockets: Option<usize>,
    /// Address of a trusted proxy, whose headers about clients are believed; may be repeated
    #[arg(long, env = "TIDEWIRE_TRUSTED_PROXY", value_name = "IP", value_delimiter = ',')]
    trusted_proxy: Vec<IpAddr>,
    /// The headers of trusted proxies: x-forwarded (X-Forwarded-For, -Host and -Proto) or forwarded
    /// (RFC 7239) [default: x-forwarded]
    #[arg(long, env = "TIDEWIRE_FORWARDED_HEADER", value_name = "WHICH")]
    forwarded_header: Option<String>,
    /// A name that guests may not have, such as an operator's, nor any that looks like it; may be
    /// repeated
    #[arg(long, env = "TIDEWIRE_RESERVED_NAME", value_name = "NAME", value_delimiter = ',')]
    reserved_name: Vec<String>,
    /// Longest message from a client, in bytes [default: 65536]
    #[arg(long, env = "TIDEWIRE_MESSAGE_BYTES", value_name = "BYTES")]
    message_bytes: Option<usize>,
    /// Days after which events are trimmed; 0 keeps them for ever [default: 30]
    #[arg(long, env = "TIDEWIRE_RETENTION_DAYS", value_name = "DAYS")]
    retention_days: Option<u64>,
    /// How many of its newest events a dialog keeps; 0 for no limit [default: 0]
    #[arg(long, env = "TIDEWIRE_RETENTION_EVENTS", value_name = "N")]
    retention_events: Option<u64>,
    /// What answers messages: scripted (built in), openai, or off [default: openai with a model
    /// URL, else scripted]
    #[arg(long, env = "TIDEWIRE_MODEL", value_name = "WHO")]
    model: Option<String>,
    /// Pause between two words of the built-in model, in ms [default: 40]
    #[arg(long, env = "TIDEWIRE_MODEL_PACE_MS", value_name = "MS")]
    model_pace_ms: Option<u64>,
    /// Base URL of an OpenAI-compatible model, such as https://api.openai.com/v1
    #[arg(long, env = "TIDEWIRE_MODEL_URL", value_name = "URL")]
    model_url: Option<String>,
    /// The model's name
    #[arg(long, env = "TIDEWIRE_MODEL_NAME", value_name = "NAME")]
    model_name: Option<String>,
    /// System prompt of the model
    #[arg(long, env = "TIDEWIRE_MODEL_SYSTEM", value_name = "TEXT")]
    model_system: Option<String>,
    /// Database of the tables that clients may subscribe to: sqlite:FILE or postgres://… [default:
    /// the database file]
    #[arg(
        long,
        env = "TIDEWIRE_TABLES_SOURCE",
        hide_env_values = true,
        value_name = "SOURCE",
        global = true
    )]
    tables_source: Option<String>,
    /// Open a dialog `demo` and give tokens to anybody; for this machine only
    #[arg(long, env = "TIDEWIRE_DEMO", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", value_parser = clap::builder::BoolishValueParser::new())]
    demo: Option<bool>,
    /// What is logged: error, warn, info, debug, trace, or a filter such as tidewire_server=debug
    /// [default: info]; other libraries log no more than info, as they would write out tokens
    #[arg(long, env = "TIDEWIRE_LOG", value_name = "LEVEL")]
    log: Option<String>,
}

/// What it does instead of serving.
#[derive(Subcommand, Debug)]
enum Action {
    /// Live tables
    #[command(subcommand)]
    Tables(TablesAction),
}

#[derive(Subcommand, Debug)]
enum TablesAction {
    /// Print the SQL that sets a PostgreSQL database up for the configured tables; nothing is
    /// changed
    Plan {
        /// The role with which the server is to connect
        #[arg(long, value_name = "NAME", default_value = "tidewire")]
        role: String,
    },
    /// Remove what live tables have created in the database; stop the server first
    Unwatch,
}

/// What the command line asks for.
#[non_exhaustive]
pub enum Command {
    /// Print this text: `--help` or `--version`.
    Print(String),
    /// Print the SQL of [`crate::tables::plan`].
    PlanTables {
        /// The settings.
        config: Box<Config>,
        /// The role with which the server is to connect.
        role: String,
    },
    /// Remove what live tables have created in their database: [`crate::tables::unwatch`].
    UnwatchTables {
        /// The settings.
        config: Box<Config>,
    },
    /// Serve.
    Serve {
        /// The settings.
        config: Box<Config>,
        /// The log filter.
        log: String,
        /// The file that the rules of channels came from, if there is one.
        channels: Option<ChannelsFile>,
    },
}

/// Reads flags, environment and file. `args` begins with the program's name.
///
/// # Errors
///
/// The command line or a setting is not valid, a file can't be read, or a secret is a flag.
pub fn read(args: impl IntoIterator<Item = OsString>) -> Result<Command, ConfigError> {
    let args: Vec<OsString> = args.into_iter().collect();
    if let Some(secret) = SECRETS.into_iter().find(|secret| args.iter().any(|arg| secret.is_flag(arg))) {
        return Err(ConfigError::SecretFlag { flag: secret.flag, variable: secret.variable });
    }
    match Flags::try_parse_from(args) {
        Ok(mut flags) => {
            let action = flags.action.take();
            let file = flags.config.as_deref().map(File::read).transpose()?.unwrap_or_default();
            let channels = flags.config.clone().map(ChannelsFile::new);
            let log = flags.log.clone().or(file.log.clone()).unwrap_or_else(|| "info".to_owned());
            let leaving = matches!(action, Some(Action::Tables(TablesAction::Unwatch)));
            let config = Box::new(merge(flags, file, leaving)?);
            match action {
                Some(Action::Tables(TablesAction::Unwatch)) => Ok(Command::UnwatchTables { config }),
                Some(Action::Tables(TablesAction::Plan { role })) => Ok(Command::PlanTables { config, role }),
                None => Ok(Command::Serve { config, log, channels }),
            }
        }
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            Ok(Command::Print(error.render().to_string()))
        }
        Err(error) => {
            let text = error.render().to_string();
            let first = text.lines().next().unwrap_or_default();
            Err(ConfigError::Flag(first.trim_start_matches("error: ").to_owned()))
        }
    }
}

/// With `leaving`, a source without tables is no mistake.
fn merge(flags: Flags, file: File, leaving: bool) -> Result<Config, ConfigError> {
    let mut config = Config::default();
    set(&mut config.listen, flags.listen.or(file.listen));
    config.metrics_listen = flags.metrics_listen.or(file.metrics_listen);
    config.flush = flush(flags.flush_ms.or(file.flush_ms), flags.flush_messages.or(file.flush_messages))?;
    set(&mut config.database, flags.database.or(file.database));
    set(&mut config.issuer, flags.issuer.or(file.issuer));
    set(&mut config.audience, flags.audience.or(file.audience));
    set(&mut config.operator_audience, flags.operator_audience.or(file.operator_audience));
    set(&mut config.service_audience, flags.service_audience.or(file.service_audience));
    set(&mut config.account, flags.account.or(file.account));
    if !(1..=128).contains(&config.account.len()) {
        let reason = "must have 1 to 128 bytes".to_owned();
        return Err(ConfigError::Value { name: "account", reason });
    }
    set(&mut config.demo, flags.demo.or(file.demo));
    config.guest_key_file = flags.guest_key_file.or(file.guest_key_file);
    config.web_root = flags.web_root.or(file.web_root);
    config.public_dialogs = several(flags.public_dialog, file.public_dialog);
    config.channels = channels::rules(file.channel)?;
    config.reserved_names = several(flags.reserved_name, file.reserved_name);
    config.allowed_origins = several(flags.allowed_origin, file.allowed_origin);
    config.cookie = flags.cookie.or(file.cookie);
    if config.cookie.as_deref().is_some_and(|name| !cookie::is_name(name)) {
        let reason = "must be a cookie's name: letters, digits and - _ . (RFC 6265)".to_owned();
        return Err(ConfigError::Value { name: "cookie", reason });
    }
    config.session_claim = flags.session_claim.or(file.session_claim);
    if config.session_claim.as_deref() == Some("") {
        let reason = "must be the name of a claim, such as sid".to_owned();
        return Err(ConfigError::Value { name: "session-claim", reason });
    }
    config.public_url = flags.public_url.or(file.public_url);
    config.forwarded_header = match flags.forwarded_header.or(file.forwarded_header).as_deref() {
        None | Some("x-forwarded") => ForwardedHeader::XForwarded,
        Some("forwarded") => ForwardedHeader::Forwarded,
        Some(other) => {
            let reason = format!("is `{other}`, but must be x-forwarded or forwarded");
            return Err(ConfigError::Value { name: "forwarded-header", reason });
        }
    };
    config.guest_ttl = seconds("guest-ttl-s", flags.guest_ttl_s.or(file.guest_ttl_s), config.guest_ttl)?;
    let times = &mut config.timeouts;
    times.ping = millis("ping-ms", flags.ping_ms.or(file.ping_ms), 100, times.ping)?;
    times.grace = millis("grace-ms", flags.grace_ms.or(file.grace_ms), 100, times.grace)?;
    times.idle = match flags.idle_s.or(file.idle_s) {
        Some(0) => Duration::ZERO,
        idle_s => seconds("idle-s", idle_s, times.idle)?,
    };
    times.spread = millis("spread-ms", flags.spread_ms.or(file.spread_ms), 0, times.spread)?;
    if let Some(limits) = file.limits {
        limits.apply(&mut config.limits);
    }
    config.tables = tables::read(flags.tables_source, file.tables, leaving)?;
    set(&mut config.limits.connections, flags.max_connections.or(file.max_connections));
    set(
        &mut config.limits.connections_per_dialog,
        flags.max_dialog_connections.or(file.max_dialog_connections),
    );
    config.limits.connections_per_ip = flags.max_ip_connections.or(file.max_ip_connections);
    config.limits.handshakes_per_ip = flags.max_ip_handshakes.or(file.max_ip_handshakes);
    config.limits.sockets_per_ip = flags.max_ip_sockets.or(file.max_ip_sockets);
    config.trusted_proxies = several(flags.trusted_proxy, file.trusted_proxy);
    set(&mut config.limits.message_bytes, flags.message_bytes.or(file.message_bytes));
    if let Some(days) = flags.retention_days.or(file.retention_days) {
        if days > MOST_DAYS {
            let reason = format!("is {days}, but must be 0 to {MOST_DAYS}");
            return Err(ConfigError::Value { name: "retention-days", reason });
        }
        config.retention.age = Duration::from_secs(days * DAY_S);
    }
    set(&mut config.retention.events, flags.retention_events.or(file.retention_events));
    check_limits(&config)?;
    // Only validates the settings, for which the address does not matter.
    Origins::new(&config, IpAddr::V4(Ipv4Addr::LOCALHOST))?;
    config.sites = file.site.into_iter().map(file::SiteTable::read).collect();
    site::configured(&config)?;
    for key in file.keys {
        config.keys.push(key.read()?);
    }
    if let Some(secret) = secret(&JWT_SECRET)? {
        config.keys.push(KeyConfig { id: None, material: KeyMaterial::Hs256(secret) });
    }
    for key in &config.keys {
        if matches!(&key.material, KeyMaterial::Hs256(secret) if secret.len() < 32) {
            return Err(ConfigError::WeakSecret);
        }
    }
    let pace =
        millis("model-pace-ms", flags.model_pace_ms.or(file.model_pace_ms), 0, Duration::from_millis(40))?;
    let url = flags.model_url.or(file.model_url);
    let chosen = flags.model.or(file.model);
    let default = if url.is_some() { "openai" } else { "scripted" };
    config.model = match chosen.as_deref().unwrap_or(default) {
        "off" => ModelConfig::Off,
        "scripted" => ModelConfig::Scripted { pace },
        "openai" => {
            let need = |name, value: Option<String>, example| {
                let reason = format!("is needed for an OpenAI-compatible model, for example {example}");
                value.ok_or(ConfigError::Value { name, reason })
            };
            let url = need("model-url", url, "https://api.openai.com/v1")?;
            if !url.starts_with("http://") && !url.starts_with("https://") {
                let reason = "must begin with http:// or https://".to_owned();
                return Err(ConfigError::Value { name: "model-url", reason });
            }
            let name = need("model-name", flags.model_name.or(file.model_name), "gpt-4o-mini")?;
            let mut model = OpenAiConfig::new(url, name);
            model.key = secret(&MODEL_KEY)?
                .or(file.model_key)
                .or(file.model_key_file.map(read_secret).transpose()?);
            model.system = flags.model_system.or(file.model_system);
            ModelConfig::OpenAi(model)
        }
        other => {
            let reason = format!("is `{other}`, but must be scripted, openai or off");
            return Err(ConfigError::Value { name: "model", reason });
        }
    };
    Ok(config)
}

/// A secret. It is no flag, because other processes can read a process's flags.
struct Secret {
    flag: &'static str,
    variable: &'static str,
}

const JWT_SECRET: Secret = Secret { flag: "jwt-hs256-secret", variable: "TIDEWIRE_JWT_HS256_SECRET" };
const MODEL_KEY: Secret = Secret { flag: "model-key", variable: "TIDEWIRE_MODEL_KEY" };
const SECRETS: [Secret; 2] = [JWT_SECRET, MODEL_KEY];

impl Secret {
    fn is_flag(&self, arg: &OsString) -> bool {
        let name = arg.to_str().and_then(|arg| arg.strip_prefix("--"));
        name.is_some_and(|name| name.split('=').next() == Some(self.flag))
    }
}

/// Reads a secret from the environment: from the variable itself, or from the file that the
/// variable with the suffix `_FILE` names.
fn secret(secret: &Secret) -> Result<Option<String>, ConfigError> {
    if let Ok(value) = std::env::var(secret.variable) {
        return Ok(Some(value));
    }
    std::env::var_os(format!("{}_FILE", secret.variable)).map(PathBuf::from).map(read_secret).transpose()
}

/// A file's text without the line ends that editors append.
fn read_secret(path: PathBuf) -> Result<String, ConfigError> {
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(text.trim_end_matches(['\r', '\n']).to_owned()),
        Err(error) => {
            Err(ConfigError::Unreadable { path: path.display().to_string(), reason: error.to_string() })
        }
    }
}

fn several<T>(flag: Vec<T>, file: Option<Vec<T>>) -> Vec<T> {
    if flag.is_empty() { file.unwrap_or_default() } else { flag }
}

fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

fn millis(
    name: &'static str,
    value: Option<u64>,
    least: u64,
    default: Duration,
) -> Result<Duration, ConfigError> {
    match value {
        None => Ok(default),
        Some(ms) if (least..=86_400_000).contains(&ms) => Ok(Duration::from_millis(ms)),
        Some(ms) => {
            Err(ConfigError::Value { name, reason: format!("is {ms}, but must be {least} to 86400000 ms") })
        }
    }
}

fn seconds(name: &'static str, value: Option<u64>, default: Duration) -> Result<Duration, ConfigError> {
    match value {
        None => Ok(default),
        Some(s) if (10..=31_536_000).contains(&s) => Ok(Duration::from_secs(s)),
        Some(s) => Err(ConfigError::Value { name, reason: format!("is {s}, but must be 10 to 31536000 s") }),
    }
}

/// When writes are committed.
fn flush(ms: Option<u64>, writes: Option<usize>) -> Result<Flush, ConfigError> {
    let mut flush = Flush::default();
    if let Some(ms) = ms {
        if ms > MOST_FLUSH_MS {
            let reason = format!("is {ms}, but must be 0 to {MOST_FLUSH_MS}");
            return Err(ConfigError::Value { name: "flush-ms", reason });
        }
        flush.every = Duration::from_millis(ms);
    }
    if let Some(writes) = writes {
        if !(1..=MOST_FLUSH_MESSAGES).contains(&writes) {
            let reason = format!("is {writes}, but must be 1 to {MOST_FLUSH_MESSAGES}");
            return Err(ConfigError::Value { name: "flush-messages", reason });
        }
        flush.writes = writes;
    }
    Ok(flush)
}

fn check_limits(config: &Config) -> Result<(), ConfigError> {
    let limits = &config.limits;
    let value = |name, reason: &str| Err(ConfigError::Value { name, reason: reason.to_owned() });
    if !(1_024..=262_144).contains(&limits.message_bytes) {
        return value("message-bytes", "must be 1024 to 262144");
    }
    if limits.connections == 0
        || limits.connections_per_dialog == 0
        || limits.subscriptions == 0
        || limits.inflight == 0
    {
        return value("limits", "must be at least 1");
    }
    if limits.queue_bytes < 524_288 {
        return value("limits.queue_bytes", "must be at least 524288, so that a page fits");
    }
    let budgets = [
        limits.user,
        limits.guest,
        limits.new_guests,
        limits.new_dialogs,
        limits.signals,
        limits.frames,
        limits.page_bytes,
        limits.read_bytes,
        limits.requests,
    ];
    for budget in budgets {
        if budget.ops == 0 || budget.per_ms == 0 || budget.burst == 0 {
            return value("limits", "a budget's ops, per_ms and burst must be at least 1");
        }
    }
    Ok(())
}

fn without_credentials(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
            let host = authority.rsplit('@').next().unwrap_or(authority);
            format!("{scheme}://{host}{}", path.split('?').next().unwrap_or_default())
        }
        None => String::new(),
    }
}

#[cfg(test)]
mod tests;
