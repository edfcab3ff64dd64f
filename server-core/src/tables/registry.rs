//! The tables that clients may subscribe to, and who may see what of them.

use super::Schema;
use super::access::{Permission, Template};
use crate::access::Identity;
use std::collections::BTreeSet;
use std::sync::Arc;
use thiserror::Error;
use tidewire_core::wire::{MAX_TABLE_NAME, UserKind};

/// A table as it is configured.
#[derive(Debug, Clone)]
pub struct TableConfig {
    /// What clients call it.
    pub name: String,
    /// What the database says of it.
    pub schema: Schema,
    /// Who may see which rows: `*`, or a filter in which `{sub}`, `{name}` and `{claim:NAME}` stand
    /// for what the user's token says. Guests name themselves, so for them `{name}` is refused. A
    /// kind of user that is missing may see none.
    pub access: Vec<(UserKind, String)>,
}

/// Why tables can't be served as they are configured.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("table `{table}`: {reason}")]
pub struct TableError {
    /// Which table.
    pub table: String,
    /// What is wrong, and what would be right.
    pub reason: String,
}

/// A table's columns, and who may see which of its rows.
pub(super) struct Rights {
    name: String,
    pub(super) schema: Arc<Schema>,
    texts: Vec<(UserKind, String)>,
    access: Vec<(UserKind, Template)>,
}

impl Rights {
    pub(super) fn new(config: TableConfig) -> Result<Rights, TableError> {
        let TableConfig { name, schema, access: texts } = config;
        let wrong = |reason: String| TableError { table: name.clone(), reason };
        if name.is_empty() || name.len() > MAX_TABLE_NAME {
            return Err(wrong(format!("a name has 1 to {MAX_TABLE_NAME} bytes")));
        }
        if schema.key.is_empty() || schema.key.iter().any(|at| *at >= schema.columns.len()) {
            return Err(wrong("it needs a primary key, whose columns clients may see".to_owned()));
        }
        let access = templates(&texts, &schema).map_err(wrong)?;
        let schema = Arc::new(schema);
        Ok(Rights { name, schema, texts, access })
    }

    /// The schema changed. Permissions that no longer fit it allow nothing.
    pub(super) fn reshape(&mut self, schema: Schema) {
        self.access = templates(&self.texts, &schema).unwrap_or_else(|reason| {
            tracing::error!(table = self.name, reason, "the table changed: nobody may see it any more");
            Vec::new()
        });
        self.schema = Arc::new(schema);
    }

    /// What a user may see; none if nothing.
    pub(super) fn permission(&self, identity: &Identity) -> Option<Permission> {
        let (_, template) = self.access.iter().find(|(kind, _)| *kind == identity.user.kind)?;
        template.bind(identity)
    }

    pub(super) fn claims(&self, into: &mut BTreeSet<String>) {
        self.access.iter().for_each(|(_, template)| template.claims(into));
    }
}

fn templates(texts: &[(UserKind, String)], schema: &Schema) -> Result<Vec<(UserKind, Template)>, String> {
    let read = |(kind, text): &(UserKind, String)| {
        match Template::parse(text, schema) {
        Ok(template) if *kind == UserKind::Guest && template.names_name() => Err(
            "access of guest: {name} is what a guest calls itself, so any may see what is another's; use {sub} or \
             {claim:NAME}"
                .to_owned(),
        ),
        Ok(template) => Ok((*kind, template)),
        Err(reason) => Err(format!("access of {}: {reason}", kind.as_str())),
    }
    };
    texts.iter().map(read).collect()
}
