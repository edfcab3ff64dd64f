//! Live tables: what a subscription to a table's rows asks for.

pub mod filter;
