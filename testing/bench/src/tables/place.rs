//! Finds the server's program, and a folder on a disk.

use crate::Failure;
use std::path::{Path, PathBuf};

/// The server, which is built together with this program.
pub(crate) fn server() -> Result<PathBuf, Failure> {
    Ok(std::env::current_exe()?.with_file_name("tidewire-server"))
}

/// A folder beside the build, because that is on a disk; an in-memory file system does not sync.
pub(crate) fn folder() -> Result<PathBuf, Failure> {
    let program = std::env::current_exe()?;
    let target = program.parent().and_then(Path::parent).ok_or("the program is in no folder")?;
    let folder = target.join("bench");
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}
