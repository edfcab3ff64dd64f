//! Rules of channels in the configuration file: `[[channel]]`.

use super::file::File;
use crate::config::ConfigError;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::time::Duration;
use tidewire_core::wire::DIALOG_PREFIX;
use tidewire_server_core::rules::{Pattern, Rule, Who};

/// How often the file is looked at. With the time until clients have connected anew, rules hold
/// within 5 s.
const LOOK: Duration = Duration::from_secs(1);

/// The file that the rules of channels came from, while the server runs.
pub struct ChannelsFile {
    path: PathBuf,
    /// A digest of the content that was read last; the content may have secrets.
    seen: Option<u64>,
}

impl ChannelsFile {
    /// The file at this path, as it is now.
    pub(super) fn new(path: PathBuf) -> ChannelsFile {
        let seen = File::text(&path).ok().map(|text| digest(&text));
        ChannelsFile { path, seen }
    }

    /// Waits until the file has changed, and reads its rules. Dropping the future loses nothing.
    ///
    /// # Errors
    ///
    /// The file can't be read, or is not valid. The error comes once for each change.
    pub async fn changed(&mut self) -> Result<Vec<Rule>, ConfigError> {
        loop {
            tokio::time::sleep(LOOK).await;
            let text = File::text(&self.path);
            let seen = text.as_ref().ok().map(|text| digest(text));
            if seen != self.seen {
                self.seen = seen;
                return rules(File::parse(&self.path, &text?)?.channel);
            }
        }
    }
}

fn digest(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// The rules that the file's `[[channel]]` say.
pub(super) fn rules(tables: Option<Vec<ChannelTable>>) -> Result<Vec<Rule>, ConfigError> {
    tables.unwrap_or_default().into_iter().map(ChannelTable::read).collect()
}

/// One `[[channel]]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ChannelTable {
    name: String,
    read: Vec<String>,
    write: Option<Vec<String>>,
    kinds: Option<BTreeMap<String, Vec<String>>>,
    open: Option<bool>,
    answers: Option<bool>,
    connections: Option<usize>,
}

impl ChannelTable {
    /// The rule that it says.
    fn read(self) -> Result<Rule, ConfigError> {
        let refused = |what: &str, reason: String| ConfigError::Value {
            name: "channel",
            reason: format!("`{}`: {what} {reason}", self.name),
        };
        let who = |what: &str, words: &[String]| -> Result<Vec<Who>, ConfigError> {
            let parsed: Result<Vec<Who>, _> = words.iter().map(|word| Who::parse(word)).collect();
            parsed.map_err(|error| refused(what, error.to_string()))
        };
        let pattern = Pattern::parse(&self.name).map_err(|error| refused("name", error.to_string()))?;
        let read = who("read:", &self.read)?;
        let write = self.write.as_deref().map(|words| who("write:", words)).transpose()?;
        let mut rule = Rule::new(pattern, read);
        rule.write = write.unwrap_or(rule.write);
        for (kind, words) in self.kinds.iter().flatten() {
            rule.kinds.insert(kind.clone(), who(&format!("kinds.{kind}:"), words)?);
        }
        if self.connections == Some(0) {
            return Err(refused("connections", "must be at least 1".to_owned()));
        }
        Ok(Rule {
            // Dialogs are created by their owner, or belong to nobody.
            open: self.open.unwrap_or(!self.name.starts_with(DIALOG_PREFIX)),
            answers: self.answers.unwrap_or_default(),
            connections: self.connections,
            ..rule
        })
    }
}
