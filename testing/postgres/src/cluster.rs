//! A private PostgreSQL, with its data in a temporary folder and its port on the loopback
//! interface. It ends with its owner.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use thiserror::Error;

/// How long the server may take to be ready.
const READY: Duration = Duration::from_secs(60);
/// Pause between two checks of a server that starts or stops.
const LOOK: Duration = Duration::from_millis(20);

/// Why PostgreSQL could not be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ClusterError {
    /// PostgreSQL is not installed.
    #[error(
        "PostgreSQL is missing: install the Debian package `postgresql`, or put its `pg_config` on the PATH"
    )]
    Missing,
    /// PostgreSQL refuses to run as root, and no other user was found.
    #[error(
        "PostgreSQL does not run as root, and /etc/passwd has neither a user `postgres` nor a user `nobody`"
    )]
    NoUser,
    /// A program failed.
    #[error("{program} failed: {said}")]
    Failed {
        /// The program.
        program: &'static str,
        /// What it printed.
        said: String,
    },
    /// A file or a process failed.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

/// A running PostgreSQL: superuser `postgres` without a password, UTF-8, locale C.UTF-8,
/// `wal_level` logical. It ends when this is dropped.
#[derive(Debug)]
pub struct Cluster {
    programs: PathBuf,
    /// The user and group that it runs as, if not those of the test.
    owner: Option<(u32, u32)>,
    folder: TempDir,
    port: u16,
    settings: Vec<(String, String)>,
    server: Option<Child>,
}

impl Cluster {
    /// Makes a database cluster and starts it, with settings as in `postgresql.conf`.
    ///
    /// Nothing is synced to disk unless `fsync` is set. Only a machine that fails would lose data
    /// by that, not a process that is killed.
    ///
    /// # Errors
    ///
    /// [`ClusterError::Missing`] if PostgreSQL is not installed; otherwise the fault, with what the
    /// programs printed.
    pub fn start(settings: &[(&str, &str)]) -> Result<Cluster, ClusterError> {
        let settings =
            settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let mut cluster = Cluster::empty(settings)?;
        cluster.init()?;
        cluster.launch()?;
        Ok(cluster)
    }

    /// Starts a standby that follows this server, on a port of its own and with the same settings.
    /// It can be read, has everything that this server had at the time of the call, and receives
    /// later changes soon. This server must be running.
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

    /// Promotes a standby. It is a primary when this returns.
    ///
    /// # Errors
    ///
    /// If it is not a standby, or takes too long.
    pub fn promote(&self) -> Result<(), ClusterError> {
        let mut command = self.command("pg_ctl");
        command.args(["promote", "--wait", "--pgdata"]).arg(self.data());
        succeed("pg_ctl", command)
    }

    /// The port, on 127.0.0.1. It stays the same after [`Cluster::start_again`].
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address for `tokio-postgres`: the database `postgres`, as this user.
    pub fn address(&self, user: &str) -> String {
        format!("host=127.0.0.1 port={} user={user} dbname=postgres", self.port)
    }

    /// Kills all of its processes at once, as the kernel does when memory runs out.
    ///
    /// # Errors
    ///
    /// If `kill` can't be run.
    pub fn kill_hard(&mut self) -> Result<(), ClusterError> {
        let Some(mut server) = self.server.take() else { return Ok(()) };
        // Each of its processes has a session of its own, so killing the group is not enough.
        let children =
            fs::read_to_string(format!("/proc/{0}/task/{0}/children", server.id())).unwrap_or_default();
        // Fails if some have ended already, which does no harm.
        let _ = signal("KILL", children.split_whitespace().chain([server.id().to_string().as_str()]));
        server.wait()?;
        let gone = |pid: &str| !Path::new("/proc").join(pid).exists();
        let until = Instant::now() + READY;
        while !children.split_whitespace().all(gone) && Instant::now() < until {
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Stops it as for a restart of the machine: clients are disconnected, everything is written,
    /// and the next start has nothing to recover.
    ///
    /// # Errors
    ///
    /// If `kill` can't be run.
    pub fn stop(&mut self) -> Result<(), ClusterError> {
        self.end("INT")
    }

    /// Starts it again with its data and on the same port, after [`Cluster::kill_hard`] or
    /// [`Cluster::stop`].
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

    /// Makes a copy of its data. Call it while the server is stopped, and only once.
    ///
    /// # Errors
    ///
    /// If the data can't be copied.
    pub fn save(&self) -> Result<(), ClusterError> {
        self.copy("data", "saved")
    }

    /// Puts the copy that [`Cluster::save`] made in the place of its data. Call it while the server
    /// is stopped.
    ///
    /// # Errors
    ///
    /// If the copy can't be copied, or there is none.
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

    /// Writes a file into its data folder that only its user can read, such as a certificate or
    /// `pg_hba.conf`. The server reads it when it restarts.
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

    /// The text of the server's log file.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// A cluster with an empty folder.
    fn empty(settings: Vec<(String, String)>) -> Result<Cluster, ClusterError> {
        let programs = programs().ok_or(ClusterError::Missing)?;
        let folder = tempfile::Builder::new().prefix("tidewire-postgres-").tempdir()?;
        // A new file belongs to the user of this process.
        let owner = if fs::metadata(folder.path())?.uid() == 0 { Some(unprivileged()?) } else { None };
        if let Some((user, group)) = owner {
            chown(folder.path(), Some(user), Some(group))?;
        }
        Ok(Cluster { programs, owner, folder, port: 0, settings, server: None })
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A command that runs one of PostgreSQL's programs, such as `pg_recvlogical`, as the server's
    /// user. The caller adds the arguments for the connection.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        if let Some((user, group)) = self.owner {
            command.uid(user).gid(group);
        }
        // That user may not be able to read the current folder.
        command.current_dir(self.folder.path()).env_remove("PGDATA").env("LC_ALL", "C").env("TZ", "UTC");
        command.stdin(Stdio::null());
        command
    }

    fn init(&self) -> Result<(), ClusterError> {
        let mut command = self.command("initdb");
        command.arg("--pgdata").arg(self.data());
        // No passwords are needed, because it only listens on the loopback interface.
        command.args([
            "--username=postgres",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--no-sync",
        ]);
        succeed("initdb", command)
    }

    /// Starts the server. The first time, it picks a free port.
    fn launch(&mut self) -> Result<(), ClusterError> {
        let mut attempts = if self.port == 0 { 5 } else { 1 };
        loop {
            if self.port == 0 {
                self.port = tidewire_ports::free();
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
        // Ctrl-C in a terminal must only reach the test, which then ends the server.
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

    /// Whether the server with this process id accepts connections, by the last line of its lock
    /// file.
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
        // The folder is deleted in any case.
        let _ = self.end("QUIT");
    }
}

/// Runs a program that must succeed.
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

/// The folder with the programs of the newest PostgreSQL. Debian has a folder for each version,
/// which is not on the PATH.
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

/// A user and group that the server may run as.
fn unprivileged() -> Result<(u32, u32), ClusterError> {
    let users = fs::read_to_string("/etc/passwd")?;
    let ids = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    ids("postgres").or_else(|| ids("nobody")).ok_or(ClusterError::NoUser)
}
