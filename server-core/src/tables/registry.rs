//! The configured tables, and who may see which of their rows.

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
    /// The name that clients use.
    pub name: String,
    /// The schema that the database reports.
    pub schema: Schema,
    /// Which rows each kind of user may see: `*` for all, or a filter with the placeholders
    /// `{sub}`, `{name}` and `{claim:NAME}` for values of the user's token. Guests choose their own
    /// names, so `{name}` is refused for them. A kind that is missing may see no rows.
    pub access: Vec<(UserKind, String)>,
}

/// Why the tables can't be served with this configuration.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("table `{table}`: {reason}")]
pub struct TableError {
    /// The table.
    pub table: String,
    /// What is wrong, and how to correct it.
    pub reason: String,
}

/// A table's schema, and who may see which of its rows.
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

    /// Changes the schema. Permissions that no longer fit it allow nothing.
    pub(super) fn reshape(&mut self, schema: Schema) {
        self.access = templates(&self.texts, &schema).unwrap_or_else(|reason| {
            tracing::error!(table = self.name, reason, "the table changed: nobody may see it any more");
            Vec::new()
        });
        self.schema = Arc::new(schema);
    }

    /// The permission of a user; `None` if they may see no rows.
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
