//! Files that only the server's user may read, and the file with the key for guests' tokens.

use super::error::OpenError;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// File mode: read and write for the owner only.
pub(super) const OWN: u32 = 0o600;
/// The mode bits of all other users.
const OTHERS: u32 = 0o007;
/// Length of a new key, in bytes.
const KEY_BYTES: usize = 32;

/// Makes sure that the file exists and is closed to other users. SQLite gives the files beside it
/// the same mode. A group's rights stay, because they are only there if somebody granted them.
pub(super) fn make(path: &Path) -> io::Result<()> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(OWN).open(path)?;
    let mode = file.metadata()?.permissions().mode();
    if mode & OTHERS != 0 {
        file.set_permissions(Permissions::from_mode(OWN))?;
    }
    Ok(())
}

/// The same for files of an earlier run beside the database.
pub(super) fn make_all(database: &Path) -> io::Result<()> {
    make(database)?;
    for end in ["-wal", "-shm", "-life"] {
        let path = beside(database, end);
        if path.exists() {
            make(&path)?;
        }
    }
    Ok(())
}

/// A file beside the database.
pub(super) fn beside(database: &Path, end: &str) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(end);
    PathBuf::from(path)
}

/// The key for guests' tokens: the one in the file; otherwise `earlier`, which is then stored
/// there; otherwise a new one. A configured file must exist, and is not changed.
pub(super) fn guest_key(
    database: &Path,
    configured: Option<&Path>,
    earlier: Option<Vec<u8>>,
) -> Result<Vec<u8>, OpenError> {
    if let Some(path) = configured {
        return read(path).and_then(|found| found.ok_or(ErrorKind::NotFound.into())).map_err(fault(path));
    }
    let path = beside(database, "-key");
    if let Some(key) = read(&path).map_err(fault(&path))? {
        make(&path).map_err(fault(&path))?;
        return Ok(key);
    }
    let key = match earlier {
        Some(key) => key,
        None => {
            let mut key = vec![0u8; KEY_BYTES];
            getrandom::fill(&mut key).map_err(|_| OpenError::Random)?;
            key
        }
    };
    write(&path, &STANDARD.encode(&key)).map_err(fault(&path))?;
    Ok(key)
}

fn fault(path: &Path) -> impl Fn(io::Error) -> OpenError + use<> {
    let path = path.to_owned();
    move |error| OpenError::GuestKey { path: path.display().to_string(), reason: error.to_string() }
}

/// `None` if the file does not exist.
fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let text = match std::fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        text => text?,
    };
    let wrong = || io::Error::new(ErrorKind::InvalidData, "it must hold at least 32 bytes in base64");
    let key = STANDARD.decode(text.trim()).map_err(|_| wrong())?;
    if key.len() < KEY_BYTES { Err(wrong()) } else { Ok(Some(key)) }
}

/// Writes the file atomically; it is on disk when this returns. If the key were lost, all guests
/// would lose their dialogs.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let new = beside(path, ".new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(OWN).open(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_file_is_for_its_owner_and_one_shared_with_a_group_stays_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        make(&path).unwrap();
        assert_eq!(mode(&path), 0o600);
        for (before, after) in
            [(0o644, 0o600), (0o666, 0o600), (0o604, 0o600), (0o660, 0o660), (0o600, 0o600)]
        {
            std::fs::set_permissions(&path, Permissions::from_mode(before)).unwrap();
            make(&path).unwrap();
            assert_eq!(mode(&path), after, "{before:o}");
        }
    }

    #[test]
    fn the_key_of_before_is_kept_and_a_file_that_is_named_must_hold_one() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("a.db");
        let earlier = vec![7u8; 32];
        assert_eq!(guest_key(&database, None, Some(earlier.clone())).unwrap(), earlier);
        assert_eq!(guest_key(&database, None, None).unwrap(), earlier, "from the file");
        assert_eq!(mode(&beside(&database, "-key")), 0o600);
        let named = folder.path().join("key");
        assert_eq!(guest_key(&database, Some(&named), None).unwrap_err().code(), "guest_key_unreadable");
        for bad in ["", "short", "AAAA", "no base64 !"] {
            std::fs::write(&named, bad).unwrap();
            assert!(guest_key(&database, Some(&named), None).is_err(), "{bad}");
        }
        std::fs::write(&named, format!("{}\n", STANDARD.encode([9u8; 48]))).unwrap();
        assert_eq!(guest_key(&database, Some(&named), None).unwrap(), [9u8; 48]);
    }
}
