//! Rules of channels in the configuration file: `[[channel]]`.

use crate::config::ConfigError;
use serde::Deserialize;
use std::collections::BTreeMap;
use tidewire_core::wire::DIALOG_PREFIX;
use tidewire_server_core::rules::{Pattern, Rule, Who};

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
    people: Option<bool>,
    receipts: Option<bool>,
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
            people: self.people.unwrap_or(self.name.starts_with(DIALOG_PREFIX)),
            receipts: self.receipts.unwrap_or(self.name.starts_with(DIALOG_PREFIX)),
            connections: self.connections,
            ..rule
        })
    }
}
