//! What the columns and the key say about a row.

use crate::wire::TableShape;
use crate::wire::json::{self, Writer};
use std::sync::Arc;

impl TableShape {
    /// The row as a JSON object of its columns; empty if cells are missing.
    pub(crate) fn object(&self, row: &str) -> Arc<str> {
        let cells = json::elements(row).unwrap_or_default();
        let mut writer = Writer::object();
        for (column, cell) in self.columns.iter().zip(cells) {
            writer = writer.raw(&column.name, cell);
        }
        writer.end().into()
    }

    /// The row's key as one text.
    pub(super) fn key_of(&self, cells: &[&str]) -> Option<String> {
        if cells.len() != self.columns.len() {
            return None;
        }
        let mut key = Vec::new();
        for at in &self.key {
            key.push(*cells.get(*at)?);
        }
        Some(json::array(key.into_iter()))
    }

    /// The names of the key's columns.
    pub(crate) fn key_names(&self) -> Vec<String> {
        let columns = self.key.iter().filter_map(|at| self.columns.get(*at));
        columns.map(|column| column.name.clone()).collect()
    }
}
