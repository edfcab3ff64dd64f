//! What a server says of its settings at its start.

use super::{DAY_S, tables, without_credentials};
use crate::config::{Config, KeyMaterial, ModelConfig, Retention};
use std::fmt::Write;

/// The main settings, as printed at the start. It contains no secret.
pub fn summary(config: &Config) -> String {
    let mut text = String::new();
    let list =
        |items: &[String], none: &str| if items.is_empty() { none.to_owned() } else { items.join(", ") };
    let keys: Vec<String> = config
        .keys
        .iter()
        .map(|key| {
            let algorithm = match key.material {
                KeyMaterial::Hs256(_) => "HS256",
                KeyMaterial::EdDsa(_) => "EdDSA",
            };
            format!("{algorithm} ({})", key.id.as_deref().unwrap_or("no id"))
        })
        .collect();
    let model = match &config.model {
        ModelConfig::Off => "off".to_owned(),
        ModelConfig::Scripted { pace } => format!("built in, a word each {} ms", pace.as_millis()),
        ModelConfig::OpenAi(model) => {
            let key = if model.key.is_some() { "with a key" } else { "without a key" };
            format!("{} at {}, {key}", model.name, without_credentials(&model.url))
        }
    };
    let root = config.web_root.as_ref().map_or("none".to_owned(), |root| root.display().to_string());
    // Writing to a string can't fail.
    let _ = writeln!(text, "tidewire-server {}", env!("CARGO_PKG_VERSION"));
    let _ = writeln!(text, "  database         {}", config.database.display());
    let _ = writeln!(text, "  metrics          {}", metrics(config));
    let _ = writeln!(text, "  web root         {root}");
    let _ = writeln!(text, "  public dialogs   {}", list(&config.public_dialogs, "none"));
    let _ = writeln!(
        text,
        "  public address   {}",
        config.public_url.as_deref().unwrap_or("as the request says")
    );
    let _ = writeln!(text, "  allowed origins  {}", list(&config.allowed_origins, "own host only"));
    let _ = writeln!(text, "  token keys       {}", list(&keys, "none: guests only"));
    let _ = writeln!(
        text,
        "  audiences        {} / {} / {}",
        config.audience, config.operator_audience, config.service_audience
    );
    let _ = writeln!(text, "  events are kept  {}", kept(&config.retention));
    let _ = writeln!(text, "  tables           {}", tables::summary(config));
    let _ = writeln!(text, "  model            {model}");
    text
}

fn metrics(config: &Config) -> String {
    match &config.metrics_listen {
        Some(address) => format!("without a token on {address}"),
        None => "with a service's token".to_owned(),
    }
}

fn kept(retention: &Retention) -> String {
    let age = match retention.age.as_secs() {
        0 => "for ever".to_owned(),
        s => format!("{} days", s / DAY_S),
    };
    match retention.events {
        0 => age,
        most => format!("{age}, at most {most} a dialog"),
    }
}
