//! Reads snapshots and the state of transactions, on ordinary connections beside the stream.

use super::assemble::Shape;
use super::session::{Address, AddressError};
use super::setup_error::told;
use super::slot::{self, Health, Primary};
use super::{SetupError, condition, quoted_name, table_name};
use futures_util::TryStreamExt;
use parking_lot::Mutex;
use std::pin::pin;
use std::sync::Arc;
use thiserror::Error;
use tidewire_core::tables::filter::Filter;
use tidewire_server_core::tables::{Cell, Row, Seen, Snapshot, SourceError};
use tokio::sync::Semaphore;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, SimpleQueryMessage, SimpleQueryRow};

/// Time-out of a snapshot's query, in ms.
const MOST_READ_MS: u32 = 10_000;

/// Why a request could not be answered.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReadError {
    /// More rows than requested.
    #[error("more than {0} rows match: narrow the filter")]
    TooManyRows(usize),
    /// More bytes of rows than requested.
    #[error("the rows that match have more than {0} bytes: narrow the filter")]
    TooBig(usize),
    /// The table differs from its shape.
    #[error("the table has changed since it was described: its next change says how")]
    Changed,
    /// The transaction is unknown: it is too old, or did not begin yet.
    #[error("the transaction is unknown: give what pg_current_xact_id() said in it, soon after it")]
    UnknownTx,
    /// The transaction was rolled back.
    #[error("the transaction was rolled back: there is nothing to wait for")]
    AbortedTx,
    /// An error of the database.
    #[error("PostgreSQL: {}", told(.0))]
    Database(#[from] tokio_postgres::Error),
    /// The database's answer has an unexpected form.
    #[error("PostgreSQL's answer lacks what was asked for")]
    Answer,
    /// No host is the server whose stream is read.
    #[error(
        "none of the database's hosts is the primary that is followed: what was asked is asked again once another one is"
    )]
    Elsewhere,
    /// The set-up is wrong.
    #[error("{0}")]
    Setup(#[from] SetupError),
}

impl From<&ReadError> for SourceError {
    fn from(error: &ReadError) -> SourceError {
        match error {
            ReadError::TooManyRows(_) => SourceError::TooManyRows,
            ReadError::TooBig(_) => SourceError::TooBig,
            ReadError::Database(error) if error.code() == Some(&SqlState::QUERY_CANCELED) => {
                SourceError::TooSlow
            }
            ReadError::UnknownTx => SourceError::UnknownTx,
            ReadError::AbortedTx => SourceError::AbortedTx,
            _ => SourceError::Unavailable,
        }
    }
}

/// Reads from the database. A few requests run at a time; others wait.
#[derive(Clone)]
pub struct Reader {
    shared: Arc<Shared>,
    /// The server that must answer; `None` for any.
    primary: Option<Primary>,
}

struct Shared {
    address: Address,
    slot: String,
    permits: Semaphore,
    /// Connections that are not in use.
    idle: Mutex<Vec<Client>>,
}

impl Reader {
    /// A reader for the database of these settings, with at most this many connections.
    ///
    /// # Errors
    ///
    /// The address is not valid.
    pub fn new(settings: &super::Settings, connections: usize) -> Result<Reader, AddressError> {
        Ok(Reader {
            shared: Arc::new(Shared {
                address: Address::parse(settings)?,
                slot: settings.slot.clone(),
                permits: Semaphore::new(connections.max(1)),
                idle: Mutex::new(Vec::new()),
            }),
            primary: None,
        })
    }

    /// A reader that only accepts answers of the server whose stream is read. The address may lead
    /// to another server by now, and open connections may lead to the previous one.
    #[must_use]
    pub fn of(&self, primary: Primary) -> Reader {
        Reader { shared: self.shared.clone(), primary: Some(primary) }
    }

    /// The rows of a table that `keep` accepts, at one moment. The database reads only rows that
    /// meet all these filters.
    ///
    /// # Errors
    ///
    /// [`ReadError::TooManyRows`] and [`ReadError::TooBig`] if `keep` accepts more than `limits`,
    /// [`ReadError::Changed`] if the table differs from its shape, or an error of the database.
    pub async fn snapshot(
        &self,
        shape: &Shape,
        filters: &[Filter],
        limits: (usize, usize),
        mut keep: impl FnMut(&[Cell]) -> bool,
    ) -> Result<Snapshot, ReadError> {
        let _permit = self.shared.permits.acquire().await;
        let client = self.client().await?;
        let table = table_name(&shape.namespace, &shape.name);
        // The lock delays changes of the table's columns until the end, so this check holds for the
        // rows.
        let begin = format!(
            "begin isolation level repeatable read read only; set local statement_timeout = {MOST_READ_MS}; lock table only {table} in access share mode"
        );
        client.batch_execute(&begin).await.map_err(changed)?;
        let seen = ask(&client, "select pg_current_snapshot()::text").await?;
        if !is_as_described(&client, shape).await? {
            return Err(ReadError::Changed);
        }
        let columns: Vec<String> =
            shape.schema.columns.iter().map(|column| quoted_name(&column.name)).collect();
        let conditions: Vec<String> = filters
            .iter()
            .map(|filter| format!(" and {}", condition::condition(filter, &shape.schema)))
            .collect();
        let asked =
            format!("select {} from only {table} where true{}", columns.join(", "), conditions.concat());
        let (most_rows, most_bytes) = limits;
        let (mut rows, mut bytes): (Vec<Row>, usize) = (Vec::new(), 0);
        let mut messages = pin!(client.simple_query_raw(&asked).await?);
        while let Some(message) = messages.try_next().await? {
            let SimpleQueryMessage::Row(row) = message else { continue };
            let row: Row = (0..columns.len()).map(|place| cell(&row, place)).collect();
            if keep(&row) {
                // Dropping the connection with its transaction is quicker than reading to the end.
                if rows.len() == most_rows {
                    return Err(ReadError::TooManyRows(most_rows));
                }
                bytes += row.iter().map(size).sum::<usize>();
                if bytes > most_bytes {
                    return Err(ReadError::TooBig(most_bytes));
                }
                rows.push(row);
            }
        }
        // The commits in the snapshot were logged before this, so their records end at this
        // position or earlier.
        let until = ask(&client, "select pg_current_wal_insert_lsn()::text").await?;
        client.batch_execute("commit").await?;
        self.put_back(client);
        Ok(Snapshot { rows, seen: transactions(&seen, slot::position(Some(&until)))? })
    }

    /// A position of the log at which this transaction is over; the id is from
    /// `pg_current_xact_id()`. Once the stream is there, everything that the transaction did was
    /// published. `None` while it is running.
    ///
    /// # Errors
    ///
    /// [`ReadError::UnknownTx`] if it is too old or did not begin yet, [`ReadError::AbortedTx`] if
    /// it was rolled back, or an error of the database.
    pub async fn position_of(&self, tx: u64) -> Result<Option<u64>, ReadError> {
        let _permit = self.shared.permits.acquire().await;
        let client = self.client().await?;
        // The state is read before the position: a commit is logged before it is visible.
        let status = match ask_or_null(&client, &format!("select pg_xact_status('{tx}'::xid8)")).await {
            // The id was not assigned yet.
            Err(ReadError::Database(error)) if error.code() == Some(&SqlState::INVALID_PARAMETER_VALUE) => {
                None
            }
            said => said?,
        };
        let found = match status.as_deref() {
            Some("committed") => {
                let at = ask(&client, "select pg_current_wal_insert_lsn()::text").await?;
                Ok(Some(slot::position(Some(&at))))
            }
            Some("in progress") => Ok(None),
            Some(_) => Err(ReadError::AbortedTx),
            None => Err(ReadError::UnknownTx),
        };
        self.put_back(client);
        found
    }

    /// The state of the slot; `None` if there is none.
    ///
    /// # Errors
    ///
    /// An error of the database.
    pub async fn health(&self) -> Result<Option<Health>, ReadError> {
        let _permit = self.shared.permits.acquire().await;
        let client = self.client().await?;
        let health = slot::health(&client, &self.shared.slot).await?;
        self.put_back(client);
        Ok(health)
    }

    async fn client(&self) -> Result<Client, ReadError> {
        loop {
            let idle = self.shared.idle.lock().pop();
            match idle {
                // An idle connection may have failed meanwhile; then a new one is made.
                Some(client) if !client.is_closed() && self.is_it(&client).await.unwrap_or(false) => {
                    return Ok(client);
                }
                Some(_) => {}
                None => break,
            }
        }
        let mut failure = None;
        for place in self.shared.address.places() {
            match place.connect().await {
                Ok(client) => match self.is_it(&client).await {
                    Ok(true) => return Ok(client),
                    Ok(false) => {}
                    Err(error) => failure = Some(error),
                },
                Err(error) => failure = Some(error),
            }
        }
        Err(failure.map_or(ReadError::Elsewhere, ReadError::from))
    }

    /// Whether the connection is to the server that must answer.
    async fn is_it(&self, client: &Client) -> Result<bool, SetupError> {
        match &self.primary {
            None => Ok(true),
            Some(primary) => Ok(slot::reading(client, primary).await?.is_some()),
        }
    }

    /// Keeps a connection for later. One with an unfinished transaction is dropped instead.
    fn put_back(&self, client: Client) {
        self.shared.idle.lock().push(client);
    }
}

/// A table that does not exist any more, or that is locked for a change, counts as changed.
fn changed(error: tokio_postgres::Error) -> ReadError {
    match error.code() {
        Some(code) if *code == SqlState::UNDEFINED_TABLE || *code == SqlState::LOCK_NOT_AVAILABLE => {
            ReadError::Changed
        }
        _ => ReadError::Database(error),
    }
}

/// The single value of a query.
async fn ask(client: &Client, query: &str) -> Result<String, ReadError> {
    ask_or_null(client, query).await?.ok_or(ReadError::Answer)
}

async fn ask_or_null(client: &Client, query: &str) -> Result<Option<String>, ReadError> {
    for message in client.simple_query(query).await? {
        if let SimpleQueryMessage::Row(row) = message {
            return Ok(row.get(0).map(str::to_owned));
        }
    }
    Err(ReadError::Answer)
}

/// Whether the table has the shape's columns and types.
async fn is_as_described(client: &Client, shape: &Shape) -> Result<bool, ReadError> {
    let asked = "select a.attname::text, a.atttypid from pg_attribute a join pg_class c on c.oid = a.attrelid
        join pg_namespace n on n.oid = c.relnamespace
        where n.nspname = $1 and c.relname = $2 and a.attnum > 0 and not a.attisdropped";
    let mut found = Vec::new();
    for row in client.query(asked, &[&shape.namespace, &shape.name]).await? {
        found.push((row.try_get::<_, String>(0)?, row.try_get::<_, u32>(1)?));
    }
    let mut columns = shape.schema.columns.iter().zip(&shape.kinds);
    Ok(columns.all(|(column, kind)| found.iter().any(|(name, other)| *name == column.name && other == kind)))
}

fn size(cell: &Cell) -> usize {
    match cell {
        Cell::Text(text) | Cell::Foreign(text) => text.len(),
        Cell::Null | Cell::Unchanged => 0,
    }
}

fn cell(row: &SimpleQueryRow, place: usize) -> Cell {
    row.get(place).map_or(Cell::Null, |text| Cell::Text(text.into()))
}

/// Parses a snapshot, `xmin:xmax:xip,…` ("pg_snapshot Components"). `until` is the position of the
/// log after it was taken.
fn transactions(text: &str, until: u64) -> Result<Seen, ReadError> {
    let mut parts = text.split(':');
    let mut number = || parts.next().and_then(|part| part.parse().ok()).ok_or(ReadError::Answer);
    let (xmin, xmax) = (number()?, number()?);
    let running: Result<Vec<u64>, ReadError> = parts
        .next()
        .ok_or(ReadError::Answer)?
        .split(',')
        .filter(|part| !part.is_empty())
        .map(|part| part.parse().map_err(|_| ReadError::Answer))
        .collect();
    // A record that ends exactly there was logged before.
    Ok(Seen::Transactions { xmin, xmax, running: running?, until: until + 1 })
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn a_snapshots_text_is_read() {
        let seen = transactions("10:20:12,15", 99).unwrap();
        assert_eq!(seen, Seen::Transactions { xmin: 10, xmax: 20, running: vec![12, 15], until: 100 });
        assert!(
            matches!(transactions("10:10:", 0), Ok(Seen::Transactions { running, .. }) if running.is_empty())
        );
        for text in ["", "10", "10:20", "10:x:", "10:20:1,,x"] {
            assert!(transactions(text, 0).is_err(), "{text}");
        }
    }
}
