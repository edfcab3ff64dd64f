//! Where the server's program is, and where there is a disk.

use crate::Failure;
use std::path::{Path, PathBuf};

/// The server, which is built with this program.
pub(crate) fn server() -> Result<PathBuf, Failure> {
    Ok(std::env::current_exe()?.with_file_name("tidewire-server"))
}

/// A folder beside what is built, for that is on a disk: a file system in memory syncs nothing.
pub(crate) fn folder() -> Result<PathBuf, Failure> {
    let program = std::env::current_exe()?;
    let target = program.parent().and_then(Path::parent).ok_or("the program is in no folder")?;
    let folder = target.join("bench");
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}
