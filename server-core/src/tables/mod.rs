//! Live tables, protocol section 12: which subscription is about which change.

mod source;

pub use source::{Cell, Change, Column, Commit, Row, Schema, Seen, Snapshot, SourceError};
