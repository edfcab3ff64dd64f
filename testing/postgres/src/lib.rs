//! A PostgreSQL for a single test, and the comparison of filters with it.
//!
//! ```no_run
//! let cluster = tidewire_postgres::Cluster::start(&[("max_slot_wal_keep_size", "16MB")])?;
//! println!("postgres://postgres@127.0.0.1:{}/postgres", cluster.port());
//! # Ok::<(), tidewire_postgres::ClusterError>(())
//! ```

mod cluster;
pub mod difference;

pub use cluster::{Cluster, ClusterError};
