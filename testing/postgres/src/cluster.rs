//! A private PostgreSQL: its data in a temporary folder, its port on the loopback interface, gone
//! with its owner.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use thiserror::Error;

/// How long the server may take to be ready.
const READY: Duration = Duration::from_secs(60);
/// How long between two looks at a server that starts or ends.
const LOOK: Duration = Duration::from_millis(20);

/// Why there is no PostgreSQL.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ClusterError {
    /// Its programs are not here.
    #[error(
        "PostgreSQL is missing: install the Debian package `postgresql`, or put its `pg_config` on the PATH"
    )]
    Missing,
    /// It refuses to run as root, and there is nobody else.
    #[error(
        "PostgreSQL does not run as root, and /etc/passwd has neither a user `postgres` nor a user `nobody`"
    )]
    NoUser,
    /// A program failed.
    #[error("{program} failed: {said}")]
    Failed {
        /// Which.
        program: &'static str,
        /// What it said.
        said: String,
    },
    /// A file or a process of it.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

/// A running PostgreSQL: superuser `postgres` without a password, UTF-8, locale C.UTF-8,
/// `wal_level` logical. It ends when this is dropped.
#[derive(Debug)]
pub struct Cluster {
    programs: PathBuf,
    /// Who it runs as, if not as whoever runs the test: user and group.
    owner: Option<(u32, u32)>,
    folder: TempDir,
    port: u16,
    settings: Vec<(String, String)>,
    server: Option<Child>,
}

impl Cluster {
    /// Makes a database cluster and starts it, with settings as in `postgresql.conf`.
    ///
    /// Nothing is synced to disk unless `fsync` is set: killed processes lose nothing by that, only
    /// killed machines do.
    ///
    /// # Errors
    ///
    /// [`ClusterError::Missing`] without a PostgreSQL; otherwise what went wrong, with what its
    /// programs said.
    pub fn start(settings: &[(&str, &str)]) -> Result<Cluster, ClusterError> {
        let settings =
            settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let mut cluster = Cluster::empty(settings)?;
        cluster.init()?;
        cluster.launch()?;
        Ok(cluster)
    }

    /// A standby that follows this one, on a port of its own: it has what this one had when it was
    /// called, what comes later reaches it soon, and it can be read. It needs a server that runs,
    /// and has its settings.
    ///
    /// # Errors
    ///
    /// As [`Cluster::start`].
    pub fn standby(&self) -> Result<Cluster, ClusterError> {
        let mut standby = Cluster::empty(self.settings.clone())?;
        let mut command = standby.command("pg_basebackup");
        command.args([
            "--host=127.0.0.1",
            "--username=postgres",
            "--write-recovery-conf",
            "--checkpoint=fast",
            "--no-sync",
        ]);
        command.arg(format!("--port={}", self.port)).arg("--pgdata").arg(standby.data());
        succeed("pg_basebackup", command)?;
        standby.launch()?;
        Ok(standby)
    }

    /// Makes a primary of a standby. It is one when this returns.
    ///
    /// # Errors
    ///
    /// If it is none, or takes too long.
    pub fn promote(&self) -> Result<(), ClusterError> {
        let mut command = self.command("pg_ctl");
        command.args(["promote", "--wait", "--pgdata"]).arg(self.data());
        succeed("pg_ctl", command)
    }

    /// Where it listens, on 127.0.0.1. It stays the same over [`Cluster::start_again`].
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How `tokio-postgres` connects to it as a user, to the database `postgres`.
    pub fn address(&self, user: &str) -> String {
        format!("host=127.0.0.1 port={} user={user} dbname=postgres", self.port)
    }

    /// Kills all of its processes at once, as the kernel does when memory is short.
    ///
    /// # Errors
    ///
    /// If `kill` can't be run.
    pub fn kill_hard(&mut self) -> Result<(), ClusterError> {
        let Some(mut server) = self.server.take() else { return Ok(()) };
        // Each of its processes has a session of its own, so the group is not enough.
        let children =
            fs::read_to_string(format!("/proc/{0}/task/{0}/children", server.id())).unwrap_or_default();
        // Some may be gone by now, which is what is wanted.
        let _ = signal("KILL", children.split_whitespace().chain([server.id().to_string().as_str()]));
        server.wait()?;
        let gone = |pid: &str| !Path::new("/proc").join(pid).exists();
        let until = Instant::now() + READY;
        while !children.split_whitespace().all(gone) && Instant::now() < until {
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Stops it as for a restart of the machine: clients are cut off, everything is written, the
    /// next start has nothing to repair.
    ///
    /// # Errors
    ///
    /// If `kill` can't be run.
    pub fn stop(&mut self) -> Result<(), ClusterError> {
        self.end("INT")
    }

    /// Starts it on what was left, after [`Cluster::kill_hard`] or [`Cluster::stop`], on the same
    /// port.
    ///
    /// # Errors
    ///
    /// As [`Cluster::start`].
    pub fn start_again(&mut self) -> Result<(), ClusterError> {
        if self.server.is_some() {
            self.stop()?;
        }
        self.launch()
    }

    /// Copies its data aside, while it is stopped; once.
    ///
    /// # Errors
    ///
    /// If they can't be copied.
    pub fn save(&self) -> Result<(), ClusterError> {
        self.copy("data", "saved")
    }

    /// Puts back what was copied aside, while it is stopped: as when a copy of a disk is put back.
    ///
    /// # Errors
    ///
    /// If it can't be copied, or nothing was.
    pub fn restore(&self) -> Result<(), ClusterError> {
        fs::remove_dir_all(self.data())?;
        self.copy("saved", "data")
    }

    fn copy(&self, from: &str, to: &str) -> Result<(), ClusterError> {
        let mut command = Command::new("cp");
        command.current_dir(self.folder.path()).args(["-a", from, to]);
        succeed("cp", command)
    }

    /// Sets settings for the next start, as in `postgresql.conf`.
    pub fn set(&mut self, name: &str, value: &str) {
        self.settings.retain(|(other, _)| other != name);
        self.settings.push((name.to_owned(), value.to_owned()));
    }

    /// Writes a file into its data folder, for it alone to read: its certificate, or who may
    /// connect. A restart makes it read it.
    ///
    /// # Errors
    ///
    /// If it can't be written.
    pub fn write(&self, name: &str, text: &str) -> Result<(), ClusterError> {
        let path = self.data().join(name);
        fs::write(&path, text)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        if let Some((user, group)) = self.owner {
            chown(&path, Some(user), Some(group))?;
        }
        Ok(())
    }

    /// What the server has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// One with a folder and nothing in it.
    fn empty(settings: Vec<(String, String)>) -> Result<Cluster, ClusterError> {
        let programs = programs().ok_or(ClusterError::Missing)?;
        let folder = tempfile::Builder::new().prefix("tidewire-postgres-").tempdir()?;
        // Whoever makes a file owns it, so this says who we are.
        let owner = if fs::metadata(folder.path())?.uid() == 0 { Some(unprivileged()?) } else { None };
        if let Some((user, group)) = owner {
            chown(folder.path(), Some(user), Some(group))?;
        }
        Ok(Cluster { programs, owner, folder, port: 0, settings, server: None })
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// One of PostgreSQL's programs, such as `pg_recvlogical`, as the user that the server runs as.
    /// How it connects is left to the caller's arguments.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        if let Some((user, group)) = self.owner {
            command.uid(user).gid(group);
        }
        // Where it is started from may not be readable for that user.
        command.current_dir(self.folder.path()).env_remove("PGDATA").env("LC_ALL", "C").env("TZ", "UTC");
        command.stdin(Stdio::null());
        command
    }

    fn init(&self) -> Result<(), ClusterError> {
        let mut command = self.command("initdb");
        command.arg("--pgdata").arg(self.data());
        // Trust is for the loopback interface, which is all that it listens on.
        command.args([
            "--username=postgres",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--no-sync",
        ]);
        succeed("initdb", command)
    }

    /// Starts the server; on a port that was free a moment ago, the first time.
    fn launch(&mut self) -> Result<(), ClusterError> {
        let mut attempts = if self.port == 0 { 5 } else { 1 };
        loop {
            if self.port == 0 {
                self.port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
            }
            match self.try_launch() {
                Err(ClusterError::Failed { .. }) if attempts > 1 => {
                    attempts -= 1;
                    self.port = 0;
                }
                done => return done,
            }
        }
    }

    fn try_launch(&mut self) -> Result<(), ClusterError> {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.folder.path().join("log"))?;
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.data()).arg("-p").arg(self.port.to_string());
        let ours = [
            ("listen_addresses", "127.0.0.1"),
            ("unix_socket_directories", ""),
            ("wal_level", "logical"),
            ("fsync", "off"),
            ("timezone", "UTC"),
        ];
        let theirs = self.settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in ours.into_iter().chain(theirs) {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        // So that Ctrl-C in a terminal reaches the test alone, and the test ends the server.
        command.process_group(0).stdout(log.try_clone()?).stderr(log);
        let mut server = command.spawn()?;
        let until = Instant::now() + READY;
        let failed = loop {
            if let Some(status) = server.try_wait()? {
                break format!("it ended with {status}");
            }
            if self.is_ready(server.id()) {
                self.server = Some(server);
                return Ok(());
            }
            if Instant::now() > until {
                break format!("it was not ready within {} s", READY.as_secs());
            }
            std::thread::sleep(LOOK);
        };
        self.server = Some(server);
        self.end("QUIT")?;
        let log = self.log();
        let tail: Vec<&str> = log.lines().rev().take(20).collect();
        let tail: Vec<&str> = tail.into_iter().rev().collect();
        Err(ClusterError::Failed { program: "postgres", said: format!("{failed}\n{}", tail.join("\n")) })
    }

    /// Whether this very server takes connections: the last line of its lock file says so.
    fn is_ready(&self, pid: u32) -> bool {
        let file = fs::read_to_string(self.data().join("postmaster.pid")).unwrap_or_default();
        let mut lines = file.lines();
        lines.next().is_some_and(|first| first.trim() == pid.to_string())
            && lines.next_back().is_some_and(|last| last.trim() == "ready")
    }

    fn end(&mut self, how: &str) -> Result<(), ClusterError> {
        let Some(mut server) = self.server.take() else { return Ok(()) };
        if server.try_wait()?.is_none() {
            signal(how, [server.id().to_string().as_str()])?;
            server.wait()?;
        }
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Nobody is left to be told, and the folder goes either way.
        let _ = self.end("QUIT");
    }
}

/// Runs a program that must end well.
fn succeed(program: &'static str, mut command: Command) -> Result<(), ClusterError> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(ClusterError::Failed { program, said: String::from_utf8_lossy(&output.stderr).trim().to_owned() })
}

fn signal<'a>(name: &str, pids: impl IntoIterator<Item = &'a str>) -> Result<(), ClusterError> {
    Command::new("kill").arg("-s").arg(name).args(pids).stderr(Stdio::null()).status()?;
    Ok(())
}

/// The folder of the newest PostgreSQL's programs: Debian keeps each version's in one of its own,
/// off the PATH.
fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().filter_map(Result::ok);
    let newest = versions
        .filter_map(|entry| {
            Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry.path().join("bin")))
        })
        .filter(|(_, folder)| folder.join("initdb").is_file())
        .max();
    if let Some((_, folder)) = newest {
        return Some(folder);
    }
    let output = Command::new("pg_config").arg("--bindir").output().ok()?;
    let folder = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim());
    folder.join("initdb").is_file().then_some(folder)
}

/// User and group of whom the server may run as.
fn unprivileged() -> Result<(u32, u32), ClusterError> {
    let users = fs::read_to_string("/etc/passwd")?;
    let ids = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    ids("postgres").or_else(|| ids("nobody")).ok_or(ClusterError::NoUser)
}
