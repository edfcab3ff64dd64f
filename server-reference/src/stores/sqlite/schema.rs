//! Opens the database file, and reads what it says about itself.

use super::error::OpenError;
use super::incarnation::Incarnation;
use super::private;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::path::Path;
use std::time::Duration;
use tidewire_server_sqlite::log::{migrate, read_meta, tune, write_meta};

/// Where earlier servers kept the key for guests' tokens.
const GUEST_KEY: &str = "guest_key";

/// What the database says about itself.
#[derive(Clone)]
pub(crate) struct Identity {
    /// The epoch of the log.
    pub(crate) epoch: String,
    /// Signs guests' tokens.
    pub(crate) guest_key: Vec<u8>,
}

/// How long a start waits for another server to finish its drain.
const LOCK_TIME: Duration = Duration::from_secs(6);

/// Locks other servers out as long as the connection lives; two servers would give the same
/// offsets. The lock is on a separate file, because an exclusive lock on the database would block
/// our own readers. A crash releases it.
pub(crate) fn lock_out_others(path: &Path) -> Result<Connection, OpenError> {
    let file = private::beside(path, "-lock");
    private::make(&file).map_err(|error| rights(&file, &error))?;
    let connection = Connection::open(file)?;
    connection.busy_timeout(LOCK_TIME)?;
    match connection.execute_batch("BEGIN EXCLUSIVE") {
        Ok(()) => Ok(connection),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => Err(OpenError::InUse),
        Err(error) => Err(error.into()),
    }
}

/// Opens the database for writing, creates or migrates it, and reads its identity.
pub(super) fn open_or_create(
    path: &Path,
    key_file: Option<&Path>,
) -> Result<(Connection, Identity, Incarnation), OpenError> {
    private::make_all(path).map_err(|error| rights(path, &error))?;
    let mut connection = Connection::open(path)?;
    configure(&connection)?;
    migrate(&mut connection)?;
    let transaction = connection.transaction()?;
    let (mut incarnation, other) = Incarnation::begin(&transaction, path)?;
    if let Some(why) = other
        && read_meta::<String>(&transaction, "epoch")?.is_some()
    {
        tracing::warn!(
            why,
            "this database is not the one that ran here last, but an older or another one: every client starts \
             anew, and what was written since the backup was made is lost"
        );
        write_meta(&transaction, "epoch", new_epoch())?;
    }
    let epoch = epoch(&transaction)?;
    let earlier = read_meta::<Vec<u8>>(&transaction, GUEST_KEY)?;
    let guest_key = private::guest_key(path, key_file, earlier.clone())?;
    if earlier.is_some() {
        // The key has a file of its own now, and must not be in copies of the database.
        transaction.execute("DELETE FROM meta WHERE key = ?", [GUEST_KEY])?;
    }
    transaction.commit()?;
    if earlier.is_some() {
        transaction_log_without_it(&connection)?;
    }
    let identity = Identity { epoch, guest_key };
    incarnation.begun()?;
    Ok((connection, identity, incarnation))
}

/// Begins with a letter, so that SQLite does not store it as a number.
fn new_epoch() -> String {
    format!("e{}", crate::clock::random_id())
}

/// Opens the database again after an error, if it is still the same one.
pub(super) fn reopen(path: &Path, incarnation: &mut Incarnation) -> Result<Connection, OpenError> {
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI,
    )?;
    configure(&connection)?;
    if incarnation.goes_on(&connection)? { Ok(connection) } else { Err(OpenError::Replaced) }
}

/// Opens for reading.
pub(crate) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI,
    )?;
    connection.busy_timeout(Duration::from_secs(5))?;
    tune(&connection)?;
    Ok(connection)
}

fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // FULL: a commit returns only once it is on disk. Checkpoints have a thread of their own.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // Overwrites deleted data, which may be a key or people's messages.
    connection.pragma_update(None, "secure_delete", true)?;
    tune(connection)
}

/// Deleted data is in the write-ahead log until its pages are overwritten.
fn transaction_log_without_it(connection: &Connection) -> rusqlite::Result<()> {
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
}

fn rights(path: &Path, error: &std::io::Error) -> OpenError {
    OpenError::Rights { path: path.display().to_string(), reason: error.to_string() }
}

fn epoch(connection: &Connection) -> Result<String, OpenError> {
    match read_meta::<String>(connection, "epoch")? {
        Some(epoch) => Ok(epoch),
        None => {
            let epoch = new_epoch();
            write_meta(connection, "epoch", &epoch)?;
            Ok(epoch)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_identity_survives_a_reopening() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let (_, first, _) = open_or_create(&path, None).unwrap();
        let (_, second, _) = open_or_create(&path, None).unwrap();
        assert_eq!((first.epoch, first.guest_key), (second.epoch, second.guest_key));
    }

    #[test]
    fn a_second_server_is_locked_out_until_the_first_ends() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let first = lock_out_others(&path).unwrap();
        let waiting = std::thread::spawn(move || lock_out_others(&path).map(drop));
        std::thread::sleep(Duration::from_millis(50));
        assert!(!waiting.is_finished());
        drop(first);
        waiting.join().unwrap().unwrap();
    }

    #[test]
    fn a_replaced_file_is_not_taken_for_the_same_log() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let (_, _, mut incarnation) = open_or_create(&path, None).unwrap();
        reopen(&path, &mut incarnation).unwrap();
        let other = folder.path().join("b.db");
        open_or_create(&other, None).unwrap();
        assert!(matches!(reopen(&other, &mut incarnation), Err(OpenError::Replaced)));
    }
}
