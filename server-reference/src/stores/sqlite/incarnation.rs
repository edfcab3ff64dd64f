//! Detects a database that was restored from a backup.
//!
//! A restored database gives new events at offsets that clients have seen already, so it needs a
//! new epoch. Nothing inside the database shows this. A small file beside it does, because a backup
//! of the database does not include the file.
//!
//! Each start writes the same new random id into both, the incarnation, and each commit has a
//! number one higher than the last. The file is written after the commit and without a sync: a
//! crash leaves it equal to the database or behind it, never ahead.

use super::error::OpenError;
use super::private;
use rusqlite::Connection;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use tidewire_server_sqlite::log::{read_meta, write_meta};

/// The first line of the file, for people who find it.
const NOTE: &str =
    "Tells a restored database from the running one. Move it with the database, keep it out of backups.";
/// Stands for the incarnation of a database that never had one.
const NONE: &str = "-";

/// The present incarnation.
#[derive(Debug)]
pub(super) struct Incarnation {
    id: String,
    path: PathBuf,
    /// `None` if it can't be written, which was logged.
    file: Option<File>,
    /// The number of the last commit.
    commits: u64,
}

/// The content of the file.
#[derive(Debug, PartialEq, Eq)]
struct Note {
    id: String,
    /// The previous incarnation while the start is being committed; afterwards the same as `id`.
    before: String,
    commits: u64,
}

impl Incarnation {
    /// Begins an incarnation within the caller's transaction. The second value says why this is not
    /// the log of the previous run, if so. Call [`Incarnation::begun`] after the commit.
    pub(super) fn begin(
        connection: &Connection,
        database: &Path,
    ) -> Result<(Incarnation, Option<&'static str>), OpenError> {
        let known = read_meta::<String>(connection, "life")?;
        let commits = read_meta::<i64>(connection, "commits")?.unwrap_or(0).cast_unsigned();
        let path = path_of(database);
        let other = match (read(&path), &known) {
            // A database that never had an incarnation has no file to miss.
            (None, None) => None,
            (None, Some(_)) => Some("the file beside it is missing"),
            (Some(note), known) => {
                let known = known.as_deref().unwrap_or(NONE);
                if note.id != known && note.before != known {
                    Some("another one was running here since")
                } else if note.commits > commits {
                    Some("it was ahead of this before")
                } else {
                    None
                }
            }
        };
        let id = format!("life-{}", crate::clock::random_id());
        // If the server crashes before the commit, the next start must come to the same result.
        let before = if other.is_none() { known.unwrap_or_else(|| NONE.to_owned()) } else { id.clone() };
        let incarnation = Incarnation { id, path, file: None, commits };
        replace(&incarnation.path, &incarnation.text(&before))?;
        write_meta(connection, "life", &incarnation.id)?;
        write_meta(connection, "commits", commits.cast_signed())?;
        Ok((incarnation, other))
    }

    /// The database has the new incarnation on disk. From now on a copy with the previous one is a
    /// restored backup.
    pub(super) fn begun(&mut self) -> Result<(), OpenError> {
        replace(&self.path, &self.text(&self.id))?;
        self.file = Some(File::options().write(true).open(&self.path).map_err(OpenError::Incarnation)?);
        Ok(())
    }

    /// The number of the next commit, to be stored with [`Incarnation::count`].
    pub(super) fn next(&self) -> u64 {
        self.commits + 1
    }

    /// Stores the number of a commit, as part of that commit.
    pub(super) fn count(connection: &Connection, number: u64) -> rusqlite::Result<()> {
        write_meta(connection, "commits", number.cast_signed())
    }

    /// The commit with this number is on disk.
    pub(super) fn committed(&mut self, number: u64) {
        self.commits = number;
        let text = self.text(&self.id);
        let Some(file) = &self.file else { return };
        // The length never changes, so a write that is cut off can't leave a file of another
        // length.
        if let Err(error) = file.write_all_at(text.as_bytes(), 0) {
            tracing::warn!(%error, path = %self.path.display(), "can't write; a restored backup may not be noticed");
            self.file = None;
        }
    }

    /// Whether this is the same database, and has all commits.
    pub(super) fn goes_on(&mut self, connection: &Connection) -> rusqlite::Result<bool> {
        let commits = read_meta::<i64>(connection, "commits")?.unwrap_or(0).cast_unsigned();
        if read_meta::<String>(connection, "life")?.as_deref() != Some(&self.id) || commits < self.commits {
            return Ok(false);
        }
        if commits > self.commits {
            self.committed(commits);
        }
        Ok(true)
    }

    fn text(&self, before: &str) -> String {
        format!("{NOTE}\n{} {before} {:020}\n", self.id, self.commits)
    }
}

fn path_of(database: &Path) -> PathBuf {
    private::beside(database, "-life")
}

/// `None` also if the file can't be read.
fn read(path: &Path) -> Option<Note> {
    let text = std::fs::read_to_string(path).ok()?;
    let mut words = text.lines().nth(1)?.split(' ');
    let mut word = || words.next().map(str::to_owned);
    Some(Note { id: word()?, before: word()?, commits: word()?.parse().ok()? })
}

/// Replaces the file atomically; it is on disk when this returns.
fn replace(path: &Path, text: &str) -> Result<(), OpenError> {
    let write = || -> io::Result<()> {
        let mut new = path.as_os_str().to_owned();
        new.push(".new");
        let mut file =
            File::options().write(true).create(true).truncate(true).mode(private::OWN).open(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&new, path)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    };
    write().map_err(OpenError::Incarnation)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Log {
        folder: tempfile::TempDir,
        connection: Connection,
    }

    impl Log {
        fn new() -> Log {
            let connection = Connection::open_in_memory().unwrap();
            connection
                .execute_batch("CREATE TABLE meta (key TEXT PRIMARY KEY, value ANY NOT NULL) WITHOUT ROWID")
                .unwrap();
            Log { folder: tempfile::tempdir().unwrap(), connection }
        }

        fn path(&self) -> PathBuf {
            self.folder.path().join("a.db")
        }

        fn start(&self) -> (Incarnation, bool) {
            let (mut incarnation, other) = Incarnation::begin(&self.connection, &self.path()).unwrap();
            incarnation.begun().unwrap();
            (incarnation, other.is_some())
        }

        /// Crashes after the file was written and before the transaction is on disk.
        fn start_and_crash(&self) -> bool {
            self.connection.execute_batch("BEGIN").unwrap();
            let (_, other) = Incarnation::begin(&self.connection, &self.path()).unwrap();
            self.connection.execute_batch("ROLLBACK").unwrap();
            other.is_some()
        }

        fn commit(&self, incarnation: &mut Incarnation) {
            Incarnation::count(&self.connection, incarnation.next()).unwrap();
            incarnation.committed(incarnation.next());
        }
    }

    #[test]
    fn starts_and_crashes_at_the_start_change_nothing() {
        let log = Log::new();
        assert!(!log.start_and_crash() && !log.start_and_crash());
        let (mut incarnation, other) = log.start();
        assert!(!other);
        log.commit(&mut incarnation);
        assert!(!log.start_and_crash() && !log.start_and_crash());
        assert!(!log.start().1);
        // A crash after the commit of the start, before the file is written again.
        Incarnation::begin(&log.connection, &log.path()).unwrap();
        assert!(!log.start().1);
    }

    #[test]
    fn a_file_that_is_behind_is_the_same_log_and_one_that_is_ahead_another() {
        let log = Log::new();
        let (incarnation, _) = log.start();
        Incarnation::count(&log.connection, incarnation.next()).unwrap();
        let (mut incarnation, other) = log.start();
        assert!(!other);
        incarnation.committed(9);
        assert!(log.start_and_crash());
        assert!(log.start().1, "and still is after a crash");
        assert!(!log.start().1, "but only once");
    }

    #[test]
    fn a_copy_from_an_earlier_life_is_another_log_even_after_a_crash() {
        let log = Log::new();
        log.start();
        let old = read_meta::<String>(&log.connection, "life").unwrap().unwrap();
        log.start();
        write_meta(&log.connection, "life", &old).unwrap();
        assert!(log.start_and_crash());
        assert!(log.start().1);
        assert!(!log.start().1);
    }

    #[test]
    fn a_missing_or_unreadable_file_makes_another_log() {
        let log = Log::new();
        log.start();
        std::fs::remove_file(path_of(&log.path())).unwrap();
        assert!(log.start().1);
        std::fs::write(path_of(&log.path()), "nonsense").unwrap();
        assert!(log.start().1);
    }

    #[test]
    fn a_database_that_lost_commits_does_not_go_on() {
        let log = Log::new();
        let (mut incarnation, _) = log.start();
        log.commit(&mut incarnation);
        assert!(incarnation.goes_on(&log.connection).unwrap());
        // A commit that reported an error but is in the database.
        Incarnation::count(&log.connection, 2).unwrap();
        assert!(incarnation.goes_on(&log.connection).unwrap());
        assert_eq!(incarnation.next(), 3);
        Incarnation::count(&log.connection, 1).unwrap();
        assert!(!incarnation.goes_on(&log.connection).unwrap());
    }
}
