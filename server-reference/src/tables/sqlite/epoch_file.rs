//! Whether the database is the one that subscriptions know, or an older copy of it that was put
//! back.
//!
//! Such a copy may get other changes under numbers that clients have seen, so cursors must not be
//! honoured there. Nothing within it can tell; a small file beside it can, because a backup of the
//! database leaves it behind. It names the life, which the database has too, and the newest change
//! that was told, with a fingerprint. It is written before the change is told, so it is never
//! behind what a client knows.

use super::SourceError;
use rusqlite::{Connection, OptionalExtension};
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use tidewire_server_sqlite::tables::fingerprint;

/// The file's first line, for whoever finds it.
const NOTE: &str =
    "Tells a restored database from the running one. Move it with the database, keep it out of backups.";
/// Instead of a fingerprint, where there is no change.
const NONE: &str = "----------------";

/// The present life.
pub(super) struct EpochFile {
    pub(super) epoch: String,
    path: PathBuf,
    file: Option<File>,
    /// The newest change that was told, and its fingerprint.
    told: u64,
    print: String,
}

impl EpochFile {
    /// Goes on with the life of the database if it is the same, with all that was told of it;
    /// otherwise begins another. The second value says which.
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
        // Always the same length, so that the file is never half old and half new in length.
        format!("{NOTE}\n{} {:020} {}\n", self.epoch, self.told, self.print)
    }

    /// Whether the newest change that was told is still the one that it was.
    pub(super) fn goes_on(&self, connection: &Connection) -> rusqlite::Result<bool> {
        Ok(print_of(connection, self.told)? == self.print)
    }

    /// Changes up to this one are about to be told.
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

/// The file beside a database.
pub(super) fn beside(database: &Path) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push("-tables");
    PathBuf::from(path)
}

fn print_of(connection: &Connection, position: u64) -> rusqlite::Result<String> {
    Ok(fingerprint(connection, position)?.unwrap_or_else(|| NONE.to_owned()))
}

/// What can't be read is as good as missing.
fn read(path: &Path) -> Option<(String, u64, String)> {
    let text = std::fs::read_to_string(path).ok()?;
    let mut words = text.lines().nth(1)?.split(' ');
    let epoch = words.next()?.to_owned();
    Some((epoch, words.next()?.parse().ok()?, words.next()?.to_owned()))
}
