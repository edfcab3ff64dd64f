//! Live tables: the databases that they are in.

pub mod postgres;
