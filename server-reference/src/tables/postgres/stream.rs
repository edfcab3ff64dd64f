//! The stream of commits: it connects, checks the set-up, reads, confirms, and reconnects.

use super::Settings;
use super::assemble::{AssembleError, Assembler, Shape};
use super::catalog;
use super::check::{self, check};
use super::session::{Address, AddressError};
use super::setup_error::SetupError;
use super::slot::{self, Primary, Slot};
use parking_lot::{Mutex, MutexGuard};
use pgwire_replication::{Lsn, PgWireError, ReplicationClient, ReplicationEvent};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tidewire_server_core::tables::{Change, Commit};
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tokio_postgres::Client;

/// Shortest and longest pause after a failure; each is twice as long as the one before.
const RETRY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(15));

/// Minimum pause between two descriptions of a changed table.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// The interval of checking the connection, the number of checks in a row without data after which
/// the database is asked, and the time-out of its answers.
const LOOK: Duration = Duration::from_secs(1);
const QUIET: u32 = 5;
const ANSWER: Duration = Duration::from_secs(5);
/// How long starting the stream may take, once the slot is there.
const BEGIN: Duration = Duration::from_secs(30);

/// What happened.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// It is connected and the set-up is right; new commits follow. Snapshots may be taken from now
    /// on.
    Up {
        /// The epoch of cursors: system, timeline and slot. If it changes, commits may be missing.
        epoch: String,
        /// All commits after this position follow.
        from: u64,
        /// Transactions that may have been committed up to there, and that snapshots may not
        /// contain yet.
        unseen: Vec<u64>,
        /// The tables, in the settings' order.
        shapes: Vec<Shape>,
        /// The server that is read, for [`Reader::of`](super::Reader::of).
        primary: Primary,
    },
    /// A commit. Within an epoch positions ascend, also over reconnects.
    Commit(Commit),
    /// All commits up to this position were sent.
    Idle {
        /// The position.
        position: u64,
    },
    /// A table that has changed now has this shape, or can't be watched any more.
    Table {
        /// Its place among the settings' tables.
        table: usize,
        /// Its shape.
        shape: Result<Shape, SetupError>,
    },
    /// It is not connected, and will try again.
    Down {
        /// Why.
        error: StreamError,
        /// The pause before the next try.
        retry: Duration,
    },
}

/// Why the stream is not connected.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StreamError {
    /// The database's address is not valid.
    #[error("{0}")]
    Address(#[from] AddressError),
    /// The database's set-up is wrong, or could not be checked.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Setup(Vec<SetupError>),
    /// The connection failed or ended.
    #[error("replication: {0}")]
    Replication(#[from] PgWireError),
    /// The stream's content is not valid.
    #[error("{0}")]
    Assemble(#[from] AssembleError),
    /// The database ended the stream or an ordinary connection.
    #[error("replication: the database ended the stream")]
    Ended,
    /// The database does not answer, or is not the primary whose stream was read.
    #[error("replication: the database does not answer any more, or has lost the stream")]
    Silent,
}

impl StreamError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            StreamError::Address(_) => "postgres_address",
            StreamError::Setup(errors) => errors.first().map_or("postgres", SetupError::code),
            StreamError::Replication(_) | StreamError::Ended | StreamError::Silent => "replication",
            StreamError::Assemble(_) => "replication_stream",
        }
    }

    /// Whether a retry may succeed without a change of the settings or the set-up.
    pub fn is_retryable(&self) -> bool {
        match self {
            StreamError::Address(_) => false,
            StreamError::Setup(errors) => {
                errors.iter().all(|error| matches!(error, SetupError::Database(_) | SetupError::Silent))
            }
            _ => true,
        }
    }
}

impl From<SetupError> for StreamError {
    fn from(error: SetupError) -> StreamError {
        StreamError::Setup(vec![error])
    }
}

/// Says up to which position commits are no longer needed. After a restart the database sends the
/// later ones again.
#[derive(Debug, Clone, Default)]
pub struct Released(Arc<Mutex<(String, u64)>>);

impl Released {
    /// Releases the commits of an epoch up to this position. The position never goes back. A
    /// release of an earlier epoch is ignored, because its positions may be far ahead.
    pub fn up_to(&self, epoch: &str, position: u64) {
        let mut released = self.lock();
        if released.0 == epoch {
            released.1 = released.1.max(position);
        }
    }

    fn begin(&self, epoch: &str) {
        *self.lock() = (epoch.to_owned(), 0);
    }

    fn position(&self) -> u64 {
        self.lock().1
    }

    fn lock(&self) -> MutexGuard<'_, (String, u64)> {
        self.0.lock()
    }
}

/// The stream. It works only while [`Stream::next`] is being called.
pub struct Stream {
    settings: Settings,
    address: Address,
    released: Released,
    link: Option<Link>,
    events: VecDeque<Event>,
    /// The epoch of the latest connection, and the position of the latest commit sent in it.
    epoch: String,
    last: u64,
    /// The latest position at which there was nothing to send.
    idle: u64,
    /// When each table was last described again.
    described: Vec<Option<Instant>>,
    retry: Duration,
    retry_at: Option<Instant>,
}

struct Link {
    client: ReplicationClient,
    assembler: Assembler,
    /// An ordinary connection to the same server, for checks.
    control: Client,
    primary: Primary,
    /// When the next check is due, whether data came since the last one, and how many checks in a
    /// row had none.
    look: Interval,
    heard: bool,
    quiet: u32,
    /// The digest of the tables' columns at the last check.
    columns: Option<String>,
}

impl Stream {
    /// A stream that is not connected yet, and the handle that releases commits.
    ///
    /// # Errors
    ///
    /// The database's address is not valid.
    pub fn new(settings: Settings) -> Result<(Stream, Released), AddressError> {
        let address = Address::parse(&settings)?;
        let released = Released::default();
        let described = vec![None; settings.tables.len()];
        let stream = Stream {
            settings,
            address,
            released: released.clone(),
            link: None,
            events: VecDeque::new(),
            epoch: String::new(),
            last: 0,
            idle: 0,
            described,
            retry: RETRY.0,
            retry_at: None,
        };
        Ok((stream, released))
    }

    /// The next event. The future may be dropped while it waits for one, or while it connects,
    /// which then begins again.
    pub async fn next(&mut self) -> Event {
        loop {
            if let Some(event) = self.events.pop_front() {
                return event;
            }
            if let Some(at) = self.retry_at {
                tokio::time::sleep_until(at).await;
                self.retry_at = None;
            }
            let done = match self.link.as_mut() {
                None => self.connect().await,
                Some(link) => tokio::select! {
                    biased;
                    received = link.client.recv() => {
                        link.heard = true;
                        match received {
                            Ok(Some(event)) => self.take(event).await,
                            Ok(None) => Err(StreamError::Ended),
                            Err(error) => Err(error.into()),
                        }
                    }
                    _ = link.look.tick() => match link.is_there().await {
                        Ok(()) => self.look_at_columns().await,
                        Err(error) => Err(error),
                    },
                },
            };
            if let Err(error) = done {
                return self.down(error);
            }
        }
    }

    fn down(&mut self, error: StreamError) -> Event {
        self.link = None;
        let retry = self.retry;
        self.retry = (retry * 2).min(RETRY.1);
        self.retry_at = Some(Instant::now() + retry);
        Event::Down { error, retry }
    }

    async fn connect(&mut self) -> Result<(), StreamError> {
        let (control, place) = self.address.connect().await?;
        // Read before the descriptions, so that a change in between is noticed later.
        let columns = catalog::digest(&control, &self.settings.tables).await?;
        let shapes = check(&control, &self.settings).await.map_err(StreamError::Setup)?;
        let slot = match slot::find(&control, &self.settings.slot).await? {
            Some(slot) if self.is_behind(&control, &slot).await? => {
                tracing::warn!(slot = %slot.name, "the database is an earlier copy of itself: its replication slot is replaced");
                slot::remove(&control, &slot.name).await?;
                slot::create(&control, &self.settings.slot).await?
            }
            Some(slot) => slot,
            None => slot::create(&control, &self.settings.slot).await?,
        };
        let asked = "select pg_snapshot_xmax(pg_current_snapshot())::text";
        let row = control.query_one(asked, &[]).await.map_err(SetupError::from)?;
        let xid: String = row.try_get(0).map_err(SetupError::from)?;
        let near_xid = xid.parse().unwrap_or(0);
        let config = place.replication(&self.settings, &slot.name);
        let begun = async {
            let mut client = ReplicationClient::connect_gated(config).await?;
            let system = client.identify_system().await?;
            client.start().await?;
            client.wait_started().await?;
            Ok::<_, PgWireError>((client, system))
        };
        let (client, system) =
            tokio::time::timeout(BEGIN, begun).await.map_err(|_| StreamError::Silent)??;
        let primary = Primary { slot: slot.name, timeline: system.timeline };
        // The host name may have led the stream and `control` to different servers.
        if slot::reading(&control, &primary).await? != Some(true) {
            return Err(StreamError::Silent);
        }
        let epoch = format!("{}-{}-{}", system.system_id, system.timeline, slot.generation);
        if epoch != self.epoch {
            self.epoch.clone_from(&epoch);
            (self.last, self.idle) = (0, 0);
            self.released.begin(&self.epoch);
        }
        self.retry = RETRY.0;
        let assembler = Assembler::new(shapes.clone(), near_xid, self.settings.commit_bytes);
        let unseen = super::unseen::unseen(&control, near_xid).await.map_err(SetupError::from)?;
        // It is idle between checks.
        control.batch_execute("set idle_session_timeout = 0").await.map_err(SetupError::from)?;
        let mut look = tokio::time::interval_at(Instant::now() + LOOK, LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (heard, quiet) = (false, 0);
        let primary_now = primary.clone();
        let columns = Some(columns);
        self.link =
            Some(Link { client, assembler, control, primary: primary_now, look, heard, quiet, columns });
        // Commits that an earlier connection sent are skipped, even if they were not released.
        let from = slot.confirmed.max(self.last).max(self.idle);
        self.events.push_back(Event::Up { epoch, from, unseen, shapes, primary });
        Ok(())
    }

    /// Whether the database's log ends before what was sent, because an older copy of its disk was
    /// restored. Other commits would then get the same positions.
    async fn is_behind(&self, control: &Client, slot: &Slot) -> Result<bool, SetupError> {
        if !self.epoch.ends_with(&format!("-{}", slot.generation)) {
            return Ok(false);
        }
        let row = control.query_one("select pg_current_wal_flush_lsn()::text", &[]).await?;
        let end: Option<String> = row.try_get(0)?;
        Ok(slot::position(end.as_deref()) < self.last.max(self.idle))
    }

    async fn take(&mut self, event: ReplicationEvent) -> Result<(), StreamError> {
        let Some(link) = self.link.as_mut() else { return Ok(()) };
        match event {
            ReplicationEvent::Begin { xid, commit_time_micros, .. } => {
                link.assembler.begin(xid, commit_time_micros)?
            }
            ReplicationEvent::XLogData { data, .. } => {
                link.assembler.feed(&data)?;
            }
            ReplicationEvent::Commit { end_lsn, .. } => match link.assembler.commit(end_lsn.as_u64())? {
                // An earlier connection sent it.
                Some(commit) if commit.position <= self.last => {}
                Some(commit) => {
                    self.last = commit.position;
                    let changed = changed_tables(&commit);
                    self.events.push_back(Event::Commit(commit));
                    for table in changed {
                        self.describe(table).await?;
                    }
                }
                None => self.confirm(end_lsn.as_u64()),
            },
            ReplicationEvent::KeepAlive { wal_end, .. } => {
                let open = link.assembler.is_open();
                let position = wal_end.as_u64();
                self.confirm(if open { 0 } else { position });
                if !open && position > self.last.max(self.idle) {
                    self.idle = position;
                    self.events.push_back(Event::Idle { position });
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Confirms what the database may remove from its log: everything that was released. If that is
    /// everything that was sent, it confirms up to `reached`, because an idle publication in a busy
    /// database would otherwise keep its log.
    fn confirm(&self, reached: u64) {
        let Some(link) = &self.link else { return };
        let released = self.released.position();
        let position = if released >= self.last { released.max(reached) } else { released };
        link.client.update_applied_lsn(Lsn::from_u64(position));
    }

    /// Checks whether a table's columns have changed. The stream reports that only with the table's
    /// next change, and never reports that existing rows got a new column's default.
    async fn look_at_columns(&mut self) -> Result<(), StreamError> {
        let Some(link) = self.link.as_mut() else { return Ok(()) };
        let asked = catalog::digest(&link.control, &self.settings.tables);
        let columns = tokio::time::timeout(ANSWER, asked).await.map_err(|_| StreamError::Silent)??;
        let before = link.columns.replace(columns);
        if before.is_none() || before == link.columns {
            return Ok(());
        }
        for table in 0..self.settings.tables.len() {
            let (Some(link), Some(wanted)) = (self.link.as_ref(), self.settings.tables.get(table)) else {
                continue;
            };
            let now = catalog::describe(&link.control, wanted).await.and_then(|found| found.shape(wanted));
            if now.ok().as_ref() != link.assembler.shape(table) {
                self.described.iter_mut().skip(table).take(1).for_each(|at| *at = None);
                self.describe(table).await?;
            }
        }
        Ok(())
    }

    /// Describes a table that has changed.
    async fn describe(&mut self, table: usize) -> Result<(), StreamError> {
        let Some(wanted) = self.settings.tables.get(table) else { return Ok(()) };
        // As long as a table is wrong, each commit to it leads here.
        if let Some(at) = self.described.get_mut(table) {
            if at.is_some_and(|at| at.elapsed() < LOOK_AGAIN) {
                return Ok(());
            }
            *at = Some(Instant::now());
        }
        let Some(link) = self.link.as_mut() else { return Ok(()) };
        let asked = "select quote_ident(current_user)";
        let role = link.control.query_one(asked, &[]).await.map_err(SetupError::from)?;
        let role: String = role.try_get(0).map_err(SetupError::from)?;
        let shape = check::table(&link.control, &self.settings, wanted, &role).await;
        if let Ok(shape) = &shape {
            link.assembler.adopt(table, shape.clone());
        }
        self.events.push_back(Event::Table { table, shape });
        Ok(())
    }
}

impl Link {
    /// Whether the server is alive and still sends its log. A machine that is gone does not end its
    /// connections. A database that shuts down ends ordinary connections, but waits for readers of
    /// its log to confirm everything, which may take long with us.
    async fn is_there(&mut self) -> Result<(), StreamError> {
        if self.control.is_closed() {
            return Err(StreamError::Ended);
        }
        self.quiet = if std::mem::take(&mut self.heard) { 0 } else { self.quiet + 1 };
        if self.quiet < QUIET {
            return Ok(());
        }
        self.quiet = 0;
        match tokio::time::timeout(ANSWER, slot::reading(&self.control, &self.primary)).await {
            Ok(Ok(Some(true))) => Ok(()),
            Ok(Err(error)) => Err(error.into()),
            Ok(Ok(_)) | Err(_) => Err(StreamError::Silent),
        }
    }
}

fn changed_tables(commit: &Commit) -> Vec<usize> {
    let lost = commit.changes.iter().filter_map(|change| match change {
        Change::Lost { table, reason: "schema" } => Some(*table),
        _ => None,
    });
    lost.collect()
}
