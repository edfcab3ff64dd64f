//! Connections: all with the same settings, so that values look the same wherever they come from.

use super::Settings;
use super::tls::Tls;
use pgwire_replication::{ReplicationConfig, SslMode, TlsConfig};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;
use thiserror::Error;
use tokio_postgres::config::{Host, SslMode as Wish};
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
    /// What is to be trusted can't be read.
    #[error("the file with who signs the database's certificate must hold certificates in PEM")]
    Authority,
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
    /// None where nobody else can listen, or where that is wished for.
    tls: Option<Tls>,
    ca: Option<PathBuf>,
}

impl Address {
    pub(super) fn parse(settings: &Settings) -> Result<Address, AddressError> {
        let mut config: Config = settings.address.parse().map_err(|_| AddressError::Invalid)?;
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
        let here = host.starts_with('/')
            || host == "localhost"
            || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        let plain = match config.get_ssl_mode() {
            Wish::Disable => true,
            // What is said if nothing is.
            Wish::Prefer => here,
            _ => false,
        };
        let ca = settings.ca.clone();
        let tls =
            if plain { None } else { Some(Tls::new(ca.as_deref()).map_err(|_| AddressError::Authority)?) };
        config.ssl_mode(if plain { Wish::Disable } else { Wish::Require });
        config.options(OPTIONS).application_name(APPLICATION).connect_timeout(CONNECT);
        Ok(Address { config, host, port, user, password, database, tls, ca })
    }

    /// An ordinary connection. It ends when its client is dropped.
    pub(super) async fn connect(&self) -> Result<Client, tokio_postgres::Error> {
        match &self.tls {
            None => {
                let (client, connection) = self.config.connect(NoTls).await?;
                tokio::spawn(carried(connection));
                Ok(client)
            }
            Some(tls) => {
                let (client, connection) = self.config.connect(tls.clone()).await?;
                tokio::spawn(carried(connection));
                Ok(client)
            }
        }
    }

    /// What a connection for the stream takes.
    pub(super) fn replication(&self, settings: &Settings, slot: &str) -> ReplicationConfig {
        let (host, user, password) = (self.host.as_str(), self.user.as_str(), self.password.as_str());
        let publication = settings.publication.clone();
        let tls = match &self.tls {
            None => TlsConfig { mode: SslMode::Disable, ..TlsConfig::default() },
            // Said twice, because an address of numbers is only checked so.
            Some(_) => TlsConfig::verify_full(self.ca.clone()).with_sni_hostname(host),
        };
        ReplicationConfig::new(host, user, password, &self.database, slot, publication)
            .with_port(self.port)
            .with_tls(tls)
            .with_options(OPTIONS)
            .with_application_name(APPLICATION)
            .with_status_interval(STATUS)
            .with_buffer_size(WAITING)
    }
}

/// What a connection's messages travel in, until it ends.
async fn carried<E: std::fmt::Display>(connection: impl Future<Output = Result<(), E>>) {
    if let Err(error) = connection.await {
        tracing::debug!("a connection to PostgreSQL ended: {error}");
    }
}
