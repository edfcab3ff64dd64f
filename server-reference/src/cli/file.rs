//! The TOML file.

use super::channels::ChannelTable;
use super::tables;
use crate::config::{Budget, ConfigError, KeyConfig, KeyMaterial, ServerLimits, SiteConfig};
use serde::Deserialize;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// All members; each is optional, and an unknown one is an error.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) listen: Option<String>,
    pub(super) metrics_listen: Option<String>,
    pub(super) flush_ms: Option<u64>,
    pub(super) flush_messages: Option<usize>,
    pub(super) database: Option<PathBuf>,
    pub(super) web_root: Option<PathBuf>,
    pub(super) guest_key_file: Option<PathBuf>,
    pub(super) public_dialog: Option<Vec<String>>,
    pub(super) channel: Option<Vec<ChannelTable>>,
    pub(super) public_url: Option<String>,
    pub(super) forwarded_header: Option<String>,
    pub(super) allowed_origin: Option<Vec<String>>,
    pub(super) cookie: Option<String>,
    pub(super) session_claim: Option<String>,
    pub(super) issuer: Option<String>,
    pub(super) audience: Option<String>,
    pub(super) operator_audience: Option<String>,
    pub(super) service_audience: Option<String>,
    pub(super) account: Option<String>,
    pub(super) guest_ttl_s: Option<u64>,
    pub(super) ping_ms: Option<u64>,
    pub(super) grace_ms: Option<u64>,
    pub(super) idle_s: Option<u64>,
    pub(super) spread_ms: Option<u64>,
    pub(super) max_connections: Option<usize>,
    pub(super) max_dialog_connections: Option<usize>,
    pub(super) max_ip_connections: Option<usize>,
    pub(super) max_ip_handshakes: Option<u64>,
    pub(super) max_ip_sockets: Option<usize>,
    pub(super) trusted_proxy: Option<Vec<IpAddr>>,
    pub(super) reserved_name: Option<Vec<String>>,
    pub(super) message_bytes: Option<usize>,
    pub(super) retention_days: Option<u64>,
    pub(super) retention_events: Option<u64>,
    pub(super) model: Option<String>,
    pub(super) model_pace_ms: Option<u64>,
    pub(super) model_url: Option<String>,
    pub(super) model_key: Option<String>,
    pub(super) model_key_file: Option<PathBuf>,
    pub(super) model_name: Option<String>,
    pub(super) model_system: Option<String>,
    pub(super) demo: Option<bool>,
    pub(super) log: Option<String>,
    #[serde(default)]
    pub(super) keys: Vec<Key>,
    pub(super) limits: Option<Limits>,
    pub(super) tables: Option<tables::Section>,
    #[serde(default)]
    pub(super) site: Vec<SiteTable>,
}

/// A site.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SiteTable {
    key: String,
    origins: Vec<String>,
    account: Option<String>,
    assistant: Option<String>,
}

impl SiteTable {
    pub(super) fn read(self) -> SiteConfig {
        let SiteTable { key, origins, account, assistant } = self;
        SiteConfig { key, origins, account, assistant }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Key {
    id: Option<String>,
    alg: String,
    secret: Option<String>,
    secret_env: Option<String>,
    secret_file: Option<PathBuf>,
    public_key: Option<String>,
    public_key_file: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    subscriptions: Option<usize>,
    inflight: Option<usize>,
    inflight_bytes: Option<usize>,
    user: Option<BudgetTable>,
    guest: Option<BudgetTable>,
    new_guests: Option<BudgetTable>,
    new_dialogs: Option<BudgetTable>,
    frames: Option<BudgetTable>,
    page_bytes: Option<BudgetTable>,
    read_bytes: Option<BudgetTable>,
    requests: Option<BudgetTable>,
    signals: Option<BudgetTable>,
    connections_per_user: Option<usize>,
    queue_bytes: Option<usize>,
    queue_messages: Option<usize>,
    bad_frames: Option<usize>,
    control_frames: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BudgetTable {
    ops: u64,
    per_ms: u64,
    burst: u64,
}

impl File {
    pub(super) fn read(path: &Path) -> Result<File, ConfigError> {
        File::parse(path, &File::text(path)?)
    }

    /// The file's content.
    pub(super) fn text(path: &Path) -> Result<String, ConfigError> {
        let unreadable = |error: std::io::Error| ConfigError::Unreadable {
            path: path.display().to_string(),
            reason: error.to_string(),
        };
        std::fs::read_to_string(path).map_err(unreadable)
    }

    pub(super) fn parse(path: &Path, text: &str) -> Result<File, ConfigError> {
        let shown = path.display().to_string();
        toml::from_str(text).map_err(|error| {
            let line =
                error.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
            // The first line of the message only: the rest of it may quote a secret.
            let what = error.message().lines().next().unwrap_or_default().to_owned();
            ConfigError::Invalid { path: shown, reason: format!("line {line}: {what}") }
        })
    }
}

impl Key {
    pub(super) fn read(self) -> Result<KeyConfig, ConfigError> {
        let value = |name, reason: &str| ConfigError::Value { name, reason: reason.to_owned() };
        let secret = match (self.secret, self.secret_file) {
            (None, Some(path)) => Some(super::read_secret(path)?),
            (Some(_), Some(_)) => {
                return Err(value("keys", "with alg HS256 need one of secret, secret_env and secret_file"));
            }
            (secret, None) => secret,
        };
        let material =
            match (self.alg.as_str(), secret, self.secret_env, self.public_key, self.public_key_file) {
                ("HS256", Some(secret), None, None, None) => KeyMaterial::Hs256(secret),
                ("HS256", None, Some(name), None, None) => {
                    KeyMaterial::Hs256(std::env::var(&name).map_err(|_| ConfigError::Value {
                        name: "keys.secret_env",
                        reason: format!("names {name}, which is not in the environment"),
                    })?)
                }
                ("HS256", ..) => {
                    return Err(value(
                        "keys",
                        "with alg HS256 need one of secret, secret_env and secret_file",
                    ));
                }
                ("EdDSA", None, None, Some(pem), None) => KeyMaterial::EdDsa(pem),
                ("EdDSA", None, None, None, Some(path)) => {
                    let pem = std::fs::read_to_string(&path).map_err(|error| ConfigError::Unreadable {
                        path: path.display().to_string(),
                        reason: error.to_string(),
                    })?;
                    KeyMaterial::EdDsa(pem)
                }
                ("EdDSA", ..) => {
                    return Err(value("keys", "with alg EdDSA need either public_key or public_key_file"));
                }
                _ => return Err(value("keys.alg", "must be HS256 or EdDSA")),
            };
        Ok(KeyConfig { id: self.id, material })
    }
}

impl Limits {
    pub(super) fn apply(self, limits: &mut ServerLimits) {
        let set = |place: &mut usize, value: Option<usize>| *place = value.unwrap_or(*place);
        set(&mut limits.subscriptions, self.subscriptions);
        set(&mut limits.inflight, self.inflight);
        set(&mut limits.inflight_bytes, self.inflight_bytes);
        set(&mut limits.connections_per_user, self.connections_per_user);
        set(&mut limits.queue_bytes, self.queue_bytes);
        set(&mut limits.queue_messages, self.queue_messages);
        set(&mut limits.bad_frames, self.bad_frames);
        set(&mut limits.control_frames, self.control_frames);
        let set = |place: &mut Budget, value: Option<BudgetTable>| {
            if let Some(BudgetTable { ops, per_ms, burst }) = value {
                *place = Budget { ops, per_ms, burst };
            }
        };
        set(&mut limits.user, self.user);
        set(&mut limits.guest, self.guest);
        set(&mut limits.new_guests, self.new_guests);
        set(&mut limits.new_dialogs, self.new_dialogs);
        set(&mut limits.frames, self.frames);
        set(&mut limits.page_bytes, self.page_bytes);
        set(&mut limits.read_bytes, self.read_bytes);
        set(&mut limits.requests, self.requests);
        set(&mut limits.signals, self.signals);
    }
}
