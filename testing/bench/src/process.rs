//! The measured programs, started as an operator or a user would start them.

use crate::Failure;
use rusqlite::{Connection, OpenFlags};
use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// Signs the tokens.
pub(crate) const SECRET: &str = "a secret of the benchmark, 32 bytes or more";
/// Where SQLite counts transactions in the file that its connections share, in bytes: the third
/// number of the WAL index's header ("WAL-mode File Format", §2.1, `iChange`).
const CHANGES_AT: u64 = 8;
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A server on a fresh database. It is killed, and the database removed, when this is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) process: Process,
    database: PathBuf,
    folder: tempfile::TempDir,
}

impl Server {
    /// Starts it with `settings` in its file, and this many public dialogs. `top` has to be on a
    /// disk, because an in-memory file system does not sync.
    pub(crate) async fn start(
        program: &Path,
        top: &Path,
        dialogs: u32,
        settings: &str,
    ) -> Result<Server, Failure> {
        Server::start_beside(program, top, dialogs, settings, |_| Ok(())).await
    }

    /// As [`Server::start`], after `prepare` has put the files that the settings name into its
    /// folder.
    pub(crate) async fn start_beside(
        program: &Path,
        top: &Path,
        dialogs: u32,
        settings: &str,
        prepare: impl FnOnce(&Path) -> Result<(), Failure>,
    ) -> Result<Server, Failure> {
        std::fs::create_dir_all(top)?;
        let folder = tempfile::tempdir_in(top)?;
        prepare(folder.path())?;
        let names: Vec<String> = (0..dialogs).map(|n| format!("\"{}\"", dialog(n))).collect();
        let file = format!("public_dialog = [{}]\n{settings}", names.join(", "));
        std::fs::write(folder.path().join("settings.toml"), file)?;
        let mut command = Command::new(std::path::absolute(program)?);
        command
            .args(["--listen", "127.0.0.1:0", "--database", "bench.db", "--config", "settings.toml"])
            .args(["--model", "off", "--log", "error"])
            .env("TIDEWIRE_JWT_HS256_SECRET", SECRET)
            .current_dir(folder.path());
        let mut process = Process::start(&mut command)?;
        let address = process.line_after("listening on http://").await?.parse()?;
        Ok(Server { address, process, database: folder.path().join("bench.db"), folder })
    }

    /// A file in its folder.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The number of committed transactions, modulo 2^32. Only differences are meaningful.
    pub(crate) fn commits(&self) -> std::io::Result<u32> {
        let mut number = [0; 4];
        File::open(self.database.with_extension("db-shm"))?.read_exact_at(&mut number, CHANGES_AT)?;
        Ok(u32::from_ne_bytes(number))
    }

    /// The number of events in its database.
    pub(crate) fn events(&self) -> rusqlite::Result<u64> {
        let reader = Connection::open_with_flags(&self.database, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        reader.query_row("SELECT count(*) FROM events", [], |row| row.get::<_, u32>(0)).map(u64::from)
    }
}

/// A running program. It is killed when this is dropped.
pub(crate) struct Process {
    pub(crate) child: Child,
    lines: tokio::io::Lines<BufReader<tokio::process::ChildStdout>>,
    id: u32,
}

/// Resident memory, in bytes.
pub(crate) struct Resident {
    /// `VmRSS` of `proc_pid_status(5)`.
    pub(crate) now: u64,
    /// `VmHWM`: the peak.
    pub(crate) most: u64,
}

impl Process {
    /// Starts a program, with its output read by this one.
    pub(crate) fn start(command: &mut Command) -> Result<Process, Failure> {
        let mut child = command.stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        let id = child.id().ok_or("it ended at once")?;
        let lines = BufReader::new(child.stdout.take().ok_or("no output")?).lines();
        Ok(Process { child, lines, id })
    }

    /// Reads until a line that begins with `start`, and returns the rest of that line.
    pub(crate) async fn line_after(&mut self, start: &str) -> Result<String, Failure> {
        timeout(PATIENCE, async {
            while let Some(line) = self.lines.next_line().await? {
                if let Some(rest) = line.strip_prefix(start) {
                    return Ok(rest.to_owned());
                }
            }
            Err(Failure::from("the program ended too early"))
        })
        .await?
    }

    /// Resets the peak (`proc_pid_clear_refs(5)`).
    pub(crate) fn forget_most(&self) -> std::io::Result<()> {
        std::fs::write(format!("/proc/{}/clear_refs", self.id), "5")
    }

    /// The program's resident memory.
    pub(crate) fn memory(&self) -> Result<Resident, Failure> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id))
            .map_err(|error| format!("memory is read from /proc, as Linux has it: {error}"))?;
        let bytes = |name: &str| {
            let rest = status.lines().find_map(|line| line.strip_prefix(name)).ok_or(format!("no {name}"))?;
            let kib: u64 = rest.trim().trim_end_matches(" kB").parse()?;
            Ok::<_, Failure>(kib * 1024)
        };
        Ok(Resident { now: bytes("VmRSS:")?, most: bytes("VmHWM:")? })
    }
}

/// The id of a dialog.
pub(crate) fn dialog(number: u32) -> String {
    format!("bench-{number}")
}
