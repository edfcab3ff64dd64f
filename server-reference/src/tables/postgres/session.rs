//! Connections with the same settings, so that values have the same form everywhere.

use super::Settings;
use super::setup_error::SetupError;
use super::tls::Tls;
use pgwire_replication::{ReplicationConfig, SslMode, TlsConfig};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;
use thiserror::Error;
use tokio_postgres::config::{Host, SslMode as Wish};
use tokio_postgres::{Client, Config, NoTls};

/// Texts in the format that the tables need. No row is hidden silently, and locks of changes to a
/// table are not waited for long.
const OPTIONS: &str = "-c DateStyle=ISO,MDY -c IntervalStyle=postgres -c TimeZone=UTC -c bytea_output=hex \
    -c extra_float_digits=1 -c standard_conforming_strings=on -c row_security=off -c lock_timeout=10000";
/// Time-out of connecting, for each of several hosts.
const CONNECT: Duration = Duration::from_secs(10);
/// Time-outs for unacknowledged data, and for silence before a keepalive. A machine that is gone
/// sends nothing, and the system's own time-out is a quarter of an hour.
const UNANSWERED: Duration = Duration::from_secs(20);
/// Interval of reporting our position to the server.
const STATUS: Duration = Duration::from_secs(1);
/// Most messages that wait between the socket and the reader. Each may be a row of many megabytes.
const WAITING: usize = 256;
const APPLICATION: &str = "tidewire";

/// Why an address is not valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AddressError {
    /// It can't be read.
    #[error("the database's address must look like postgres://user:password@host:port/database")]
    Invalid,
    /// It lacks something.
    #[error(
        "the database's address must name a host, a user and a database, and for several hosts one port or as many"
    )]
    Incomplete,
    /// The file with the trusted certificates can't be read.
    #[error("the file with who signs the database's certificate must hold certificates in PEM")]
    Authority,
}

/// Where the database is.
#[derive(Clone)]
pub(super) struct Address {
    /// Its hosts. If there are several, each may be the primary at some time.
    places: Vec<Place>,
}

/// One host of it.
#[derive(Clone)]
pub(super) struct Place {
    config: Config,
    host: String,
    port: u16,
    user: String,
    password: String,
    database: String,
    /// `None` for plain connections.
    tls: Option<Tls>,
    ca: Option<PathBuf>,
}

impl Address {
    pub(super) fn parse(settings: &Settings) -> Result<Address, AddressError> {
        let config: Config = settings.address.parse().map_err(|_| AddressError::Invalid)?;
        let (hosts, ports) = (config.get_hosts(), config.get_ports());
        if hosts.is_empty() || (ports.len() > 1 && ports.len() != hosts.len()) {
            return Err(AddressError::Incomplete);
        }
        let ports = ports.iter().copied().chain(std::iter::repeat(ports.last().copied().unwrap_or(5432)));
        let places = hosts.iter().zip(ports).map(|(host, port)| Place::new(settings, &config, host, port));
        Ok(Address { places: places.collect::<Result<_, _>>()? })
    }

    /// Its hosts, in the order in which they are tried.
    pub(super) fn places(&self) -> &[Place] {
        &self.places
    }

    /// An ordinary connection, and its host. Of several hosts it is the first that is no standby;
    /// if all that answer are standbys, one of these.
    pub(super) async fn connect(&self) -> Result<(Client, &Place), SetupError> {
        let (mut standby, mut failure) = (None, None);
        for place in &self.places {
            match place.connect().await {
                Ok(client) if self.places.len() == 1 => return Ok((client, place)),
                Ok(client) => {
                    let row = client.query_one("select pg_is_in_recovery()", &[]).await;
                    match row.and_then(|row| row.try_get(0)) {
                        Ok(false) => return Ok((client, place)),
                        Ok(true) => standby = Some((client, place)),
                        Err(error) => failure = Some(SetupError::from(error)),
                    }
                }
                Err(error) => failure = Some(error),
            }
        }
        match (standby, failure) {
            (Some(standby), _) => Ok(standby),
            (None, failure) => Err(failure.unwrap_or(SetupError::Silent)),
        }
    }
}

impl Place {
    fn new(settings: &Settings, all: &Config, host: &Host, port: u16) -> Result<Place, AddressError> {
        let mut config = Config::new();
        let host = match host {
            Host::Tcp(host) => host.clone(),
            #[cfg(unix)]
            Host::Unix(folder) => folder.to_str().ok_or(AddressError::Invalid)?.to_owned(),
        };
        let user = all.get_user().ok_or(AddressError::Incomplete)?.to_owned();
        let database = all.get_dbname().ok_or(AddressError::Incomplete)?.to_owned();
        let password = all.get_password().unwrap_or_default();
        let here = host.starts_with('/')
            || host == "localhost"
            || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        let plain = match all.get_ssl_mode() {
            Wish::Disable => true,
            // The default of `sslmode`.
            Wish::Prefer => here,
            _ => false,
        };
        let ca = settings.ca.clone();
        let tls =
            if plain { None } else { Some(Tls::new(ca.as_deref()).map_err(|_| AddressError::Authority)?) };
        config.host(&host).port(port).user(&user).dbname(&database).password(password);
        config.ssl_mode(if plain { Wish::Disable } else { Wish::Require });
        config.options(OPTIONS).application_name(APPLICATION).connect_timeout(CONNECT);
        config.tcp_user_timeout(UNANSWERED).keepalives_idle(UNANSWERED);
        let password = String::from_utf8_lossy(password).into_owned();
        Ok(Place { config, host, port, user, password, database, tls, ca })
    }

    /// An ordinary connection. It ends when its client is dropped.
    pub(super) async fn connect(&self) -> Result<Client, SetupError> {
        tokio::time::timeout(CONNECT, self.connected()).await.map_err(|_| SetupError::Silent)?
    }

    async fn connected(&self) -> Result<Client, SetupError> {
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

    /// The settings of a connection for the stream.
    pub(super) fn replication(&self, settings: &Settings, slot: &str) -> ReplicationConfig {
        let (host, user, password) = (self.host.as_str(), self.user.as_str(), self.password.as_str());
        let publication = settings.publication.clone();
        let tls = match &self.tls {
            None => TlsConfig { mode: SslMode::Disable, ..TlsConfig::default() },
            // Given twice, because an IP address as host is checked only this way.
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

/// Drives a connection until it ends.
async fn carried<E: std::fmt::Display>(connection: impl Future<Output = Result<(), E>>) {
    if let Err(error) = connection.await {
        tracing::debug!("a connection to PostgreSQL ended: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(address: &str) -> Result<Vec<(String, u16, bool)>, AddressError> {
        let settings = Settings {
            address: address.to_owned(),
            ca: None,
            publication: "tidewire".to_owned(),
            slot: "tidewire".to_owned(),
            tables: Vec::new(),
            commit_bytes: 1,
        };
        let address = Address::parse(&settings)?;
        Ok(address.places().iter().map(|one| (one.host.clone(), one.port, one.tls.is_some())).collect())
    }

    #[test]
    fn an_address_names_one_host_or_several_each_with_its_port() {
        let place = |host: &str, port, tls| (host.to_owned(), port, tls);
        assert_eq!(places("postgres://tidewire@db/app"), Ok(vec![place("db", 5432, true)]));
        let one = place("one", 1, true);
        let here = place("127.0.0.1", 2, false);
        assert_eq!(places("postgres://tidewire:x@one:1,127.0.0.1:2/app"), Ok(vec![one, here]));
        let both = vec![place("one", 7, false), place("other", 7, false)];
        assert_eq!(places("host=one,other port=7 user=tidewire dbname=app sslmode=disable"), Ok(both));
        for lacking in [
            "host=one,other,third port=1,2 user=tidewire dbname=app",
            "postgres://db/app",
            "postgres://tidewire@db",
            "user=tidewire dbname=app",
        ] {
            assert_eq!(places(lacking), Err(AddressError::Incomplete), "{lacking}");
        }
        assert_eq!(places("nowhere"), Err(AddressError::Invalid));
    }
}
