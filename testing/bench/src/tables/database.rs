//! A PostgreSQL for a single figure.

use crate::Failure;
use tidewire_postgres::Cluster;
use tokio_postgres::{Client, NoTls};

/// A database and its administrator's connection to it.
pub(crate) struct Database {
    pub(crate) cluster: Cluster,
    admin: Client,
}

impl Database {
    /// Starts a new database, without background work at random times.
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

    /// The value of a query that returns one row with one column.
    pub(crate) async fn ask(&self, sql: &str) -> Result<String, Failure> {
        Ok(self.admin.query_one(sql, &[]).await.map_err(|error| told(sql, error))?.try_get(0)?)
    }

    /// The position of the log's next record, in bytes since its beginning.
    pub(crate) async fn logged(&self) -> Result<u64, Failure> {
        Ok(self.ask("select (pg_current_wal_insert_lsn() - '0/0')::text").await?.parse()?)
    }
}

/// Adds the statement and the server's message, which the text of a server's error lacks.
fn told(sql: &str, error: tokio_postgres::Error) -> Failure {
    match error.as_db_error() {
        Some(said) => format!("{sql}: {}", said.message()).into(),
        None => error.into(),
    }
}
