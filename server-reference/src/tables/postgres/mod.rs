//! A PostgreSQL whose tables are watched, by logical replication.

mod assemble;
mod pgoutput;
