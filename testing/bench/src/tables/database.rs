//! A PostgreSQL of a figure's own.

use crate::Failure;
use tidewire_postgres::Cluster;
use tokio_postgres::{Client, NoTls};

/// A database and its administrator's connection to it.
pub(crate) struct Database {
    pub(crate) cluster: Cluster,
    admin: Client,
}

impl Database {
    /// A new one; what it would do by itself at some time or other is off.
    pub(crate) async fn start(settings: &[(&str, &str)]) -> Result<Database, Failure> {
        let settings = [&[("autovacuum", "off"), ("max_wal_size", "8GB")], settings].concat();
        let cluster = Cluster::start(&settings)?;
        let (admin, connection) = tokio_postgres::connect(&cluster.address("postgres"), NoTls).await?;
        tokio::spawn(connection);
        Ok(Database { cluster, admin })
    }

    pub(crate) async fn run(&self, sql: &str) -> Result<(), Failure> {
        self.admin.batch_execute(sql).await.map_err(|error| told(sql, error))
    }

    /// The only value of the only row.
    pub(crate) async fn ask(&self, sql: &str) -> Result<String, Failure> {
        Ok(self.admin.query_one(sql, &[]).await.map_err(|error| told(sql, error))?.try_get(0)?)
    }

    /// Where the next record of the log goes, in bytes since its beginning.
    pub(crate) async fn logged(&self) -> Result<u64, Failure> {
        Ok(self.ask("select (pg_current_wal_insert_lsn() - '0/0')::text").await?.parse()?)
    }
}

/// By itself an error only says that there was one.
fn told(sql: &str, error: tokio_postgres::Error) -> Failure {
    match error.as_db_error() {
        Some(said) => format!("{sql}: {}", said.message()).into(),
        None => error.into(),
    }
}
