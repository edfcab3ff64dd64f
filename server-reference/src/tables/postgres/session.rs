//! Connections: all with the same settings, so that values look the same wherever they come from.

use super::Settings;
use pgwire_replication::{ReplicationConfig, SslMode, TlsConfig};
use std::time::Duration;
use thiserror::Error;
use tokio_postgres::config::Host;
use tokio_postgres::{Client, Config, NoTls};

/// Texts as the tables' contract has them; no row is hidden silently, and nobody is waited for for long who changes a table.
const OPTIONS: &str = "-c DateStyle=ISO,MDY -c IntervalStyle=postgres -c TimeZone=UTC -c bytea_output=hex \
    -c extra_float_digits=1 -c standard_conforming_strings=on -c row_security=off -c lock_timeout=10000";
/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(10);
/// How often the server hears how far we are.
const STATUS: Duration = Duration::from_secs(1);
/// How many messages wait between the socket and us; each may be a row of many megabytes.
const WAITING: usize = 256;
const APPLICATION: &str = "tidewire";

/// Why an address is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AddressError {
    /// It can't be read.
    #[error("the database's address must look like postgres://user:password@host:port/database")]
    Invalid,
    /// It lacks something.
    #[error("the database's address must name one host, a user and a database")]
    Incomplete,
}

/// Where the database is.
#[derive(Clone)]
pub(super) struct Address {
    config: Config,
    host: String,
    port: u16,
    user: String,
    password: String,
    database: String,
}

impl Address {
    pub(super) fn parse(text: &str) -> Result<Address, AddressError> {
        let mut config: Config = text.parse().map_err(|_| AddressError::Invalid)?;
        let host = match config.get_hosts() {
            [Host::Tcp(host)] => host.clone(),
            #[cfg(unix)]
            [Host::Unix(folder)] => folder.to_str().ok_or(AddressError::Invalid)?.to_owned(),
            _ => return Err(AddressError::Incomplete),
        };
        let port = config.get_ports().first().copied().unwrap_or(5432);
        let user = config.get_user().ok_or(AddressError::Incomplete)?.to_owned();
        let database = config.get_dbname().ok_or(AddressError::Incomplete)?.to_owned();
        let password = String::from_utf8_lossy(config.get_password().unwrap_or_default()).into_owned();
        config.options(OPTIONS).application_name(APPLICATION).connect_timeout(CONNECT);
        Ok(Address { config, host, port, user, password, database })
    }

    /// An ordinary connection. It ends when its client is dropped.
    pub(super) async fn connect(&self) -> Result<Client, tokio_postgres::Error> {
        let (client, connection) = self.config.connect(NoTls).await?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!("a connection to PostgreSQL ended: {error}");
            }
        });
        Ok(client)
    }

    /// What a connection for the stream takes.
    pub(super) fn replication(&self, settings: &Settings, slot: &str) -> ReplicationConfig {
        let (host, user, password) = (self.host.as_str(), self.user.as_str(), self.password.as_str());
        let publication = settings.publication.clone();
        ReplicationConfig::new(host, user, password, &self.database, slot, publication)
            .with_port(self.port)
            .with_tls(TlsConfig { mode: SslMode::Disable, ..TlsConfig::default() })
            .with_options(OPTIONS)
            .with_application_name(APPLICATION)
            .with_status_interval(STATUS)
            .with_buffer_size(WAITING)
    }
}
