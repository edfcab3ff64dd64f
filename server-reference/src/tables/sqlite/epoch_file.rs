//! Detects a tables' database that was restored from a backup.
//!
//! A restored database may give other changes under positions that clients have seen, so their
//! cursors must not be honoured. Nothing inside the database shows this. A small file beside it
//! does, because a backup of the database does not include the file.
//!
//! It holds the epoch, which the database holds too, and the position and fingerprint of the newest
//! change that was published. It is written before the change is published, so it is never behind
//! what a client knows.

use super::SourceError;
use rusqlite::{Connection, OptionalExtension};
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use tidewire_server_sqlite::tables::fingerprint;

/// The first line of the file, for people who find it.
const NOTE: &str =
    "Tells a restored database from the running one. Move it with the database, keep it out of backups.";
/// Stands for a fingerprint where there is no change.
const NONE: &str = "----------------";

/// The epoch of the database, and the file that goes with it.
pub(super) struct EpochFile {
    pub(super) epoch: String,
    path: PathBuf,
    file: Option<File>,
    /// The position of the newest published change, and its fingerprint.
    told: u64,
    print: String,
}

impl EpochFile {
    /// Continues the database's epoch if all published changes are still there; otherwise begins a
    /// new one. The second value is true if the epoch continues.
    pub(super) fn begin(
        connection: &Connection,
        database: &Path,
        head: u64,
    ) -> Result<(EpochFile, bool), SourceError> {
        connection.execute_batch("CREATE TABLE IF NOT EXISTS _tidewire_life (id TEXT NOT NULL)")?;
        let known: Option<String> =
            connection.query_row("SELECT id FROM _tidewire_life", [], |row| row.get(0)).optional()?;
        let path = beside(database);
        let goes_on = match (&known, read(&path)) {
            (Some(known), Some((epoch, told, print))) => {
                *known == epoch && told <= head && print_of(connection, told)? == print
            }
            _ => false,
        };
        let epoch = match known {
            Some(known) if goes_on => known,
            known => {
                if known.is_some() {
                    tracing::warn!(path = %database.display(), "the tables' database is another one than before; subscriptions begin anew");
                }
                let epoch = format!("s{}", crate::clock::random_id());
                connection.execute("DELETE FROM _tidewire_life", [])?;
                connection.execute("INSERT INTO _tidewire_life VALUES (?)", [&epoch])?;
                epoch
            }
        };
        let print = print_of(connection, head)?;
        let mut epoch_file = EpochFile { epoch, path, file: None, told: head, print };
        epoch_file.create()?;
        Ok((epoch_file, goes_on))
    }

    fn create(&mut self) -> Result<(), SourceError> {
        let text = self.text();
        let write = || -> std::io::Result<File> {
            let mut file = File::options().create(true).truncate(true).write(true).open(&self.path)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            Ok(file)
        };
        let failed = |error| SourceError::EpochFile { path: self.path.display().to_string(), error };
        self.file = Some(write().map_err(failed)?);
        Ok(())
    }

    fn text(&self) -> String {
        // The length never changes, so a write that is cut off can't leave a file of another
        // length.
        format!("{NOTE}\n{} {:020} {}\n", self.epoch, self.told, self.print)
    }

    /// Whether the newest published change is still in the database, unchanged.
    pub(super) fn goes_on(&self, connection: &Connection) -> rusqlite::Result<bool> {
        Ok(print_of(connection, self.told)? == self.print)
    }

    /// Records that changes up to this position are about to be published.
    pub(super) fn tell(&mut self, connection: &Connection, told: u64) -> rusqlite::Result<()> {
        (self.told, self.print) = (told, print_of(connection, told)?);
        let Some(file) = &self.file else { return Ok(()) };
        if let Err(error) = file.write_all_at(self.text().as_bytes(), 0) {
            tracing::warn!(%error, path = %self.path.display(), "can't write; a restored database may not be noticed");
            self.file = None;
        }
        Ok(())
    }
}

/// The path of the file beside a database.
pub(super) fn beside(database: &Path) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push("-tables");
    PathBuf::from(path)
}

fn print_of(connection: &Connection, position: u64) -> rusqlite::Result<String> {
    Ok(fingerprint(connection, position)?.unwrap_or_else(|| NONE.to_owned()))
}

/// `None` also if the file can't be read.
fn read(path: &Path) -> Option<(String, u64, String)> {
    let text = std::fs::read_to_string(path).ok()?;
    let mut words = text.lines().nth(1)?.split(' ');
    let epoch = words.next()?.to_owned();
    Some((epoch, words.next()?.parse().ok()?, words.next()?.to_owned()))
}
