//! `autobahn`: tests the WebSockets of the server and of the native client with
//! Autobahn|Testsuite.

use crate::progress;
use crate::tools;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The suite, a program for Python 2.7 whose package pins the versions of its dependencies.
const SUITE: &str = "autobahntestsuite==25.10.1";
/// Cases of compression, which is not offered.
const COMPRESSION: &[&str] = &["12.*", "13.*"];
/// Cases with longer messages than the server accepts (128 KiB).
const TOO_LONG_FOR_SERVER: &[&str] = &[
    "9.1.2", "9.1.3", "9.1.4", "9.1.5", "9.1.6", "9.2.2", "9.2.3", "9.2.4", "9.2.5", "9.2.6", "9.3.*",
    "9.4.*", "9.5.*", "9.6.*",
];
/// Cases with longer messages than the client accepts (2 MiB).
const TOO_LONG_FOR_CLIENT: &[&str] =
    &["9.1.4", "9.1.5", "9.1.6", "9.2.4", "9.2.5", "9.2.6", "9.3.*", "9.4.*"];
const LIMIT: Duration = Duration::from_secs(10 * 60);

/// Runs the command.
pub(crate) fn run() -> Result<(), String> {
    let suite = Suite::find()?;
    let mut build = tools::cargo(&["build", "--package", "tidewire-echo"]);
    progress::run("building the echo program", &mut build)?;
    let echo = tools::target().join("debug/tidewire-echo");
    let mut failed = Vec::new();
    for (name, judged) in [("server", suite.judge_server(&echo)?), ("client", suite.judge_client(&echo)?)] {
        let note = format!("{} cases as they should be, {} not", judged.good, judged.bad.len());
        progress::done(&format!("autobahn, {name}"), &note);
        failed.extend(judged.bad.into_iter().map(|case| format!("{name} {case}")));
    }
    if failed.is_empty() {
        return Ok(());
    }
    Err(format!("{}\nthe reports are in {}", failed.join("\n"), work().display()))
}

fn work() -> PathBuf {
    tools::target().join("autobahn")
}

/// Autobahn's program, and the Python that runs it.
struct Suite {
    python: PathBuf,
    /// Where its packages are.
    base: PathBuf,
}

impl Suite {
    /// The suite, installed below the target folder if it is not there.
    fn find() -> Result<Suite, String> {
        let python = candidates().into_iter().find(|path| is_python_2_7(path)).ok_or(
            "Autobahn|Testsuite is a program for Python 2.7, and none was found: on the PATH as python2.7, python2 or \
             pypy, or below ~/.pyenv/versions.\nInstall one: `pyenv install 2.7.18`, on Debian 11 or Ubuntu 22.04 \
             `apt-get install python2.7-dev`, or PyPy 2.7 from https://pypy.org. A C compiler is needed too.",
        )?;
        let base = work().join("python");
        let suite = Suite { python, base };
        if suite.program().is_file() {
            return Ok(suite);
        }
        let pip = suite.python().args(["-m", "pip", "--version"]).output();
        if !pip.is_ok_and(|output| output.status.success()) {
            return Err(format!(
                "{} has no pip: run https://bootstrap.pypa.io/pip/2.7/get-pip.py with it",
                suite.python.display()
            ));
        }
        let mut install = suite.python();
        install.args(["-m", "pip", "install", "--user", "--disable-pip-version-check", SUITE]);
        progress::run("installing Autobahn|Testsuite (a minute, once)", &mut install)?;
        if suite.program().is_file() {
            Ok(suite)
        } else {
            Err(format!("{SUITE} brought no program `wstest`"))
        }
    }

    fn program(&self) -> PathBuf {
        self.base.join("bin/wstest")
    }

    fn python(&self) -> Command {
        let mut command = Command::new(&self.python);
        command.env("PYTHONUSERBASE", &self.base).current_dir(tools::top());
        command
    }

    fn wstest(&self, mode: &str, specification: &str) -> Result<Command, String> {
        let path = work().join(format!("{mode}.json"));
        std::fs::write(&path, specification).map_err(|error| format!("{}: {error}", path.display()))?;
        let mut command = self.python();
        command.arg(self.program()).args(["--mode", mode, "--spec"]).arg(path);
        Ok(command)
    }

    /// Autobahn as the client of our server.
    fn judge_server(&self, echo: &Path) -> Result<Judged, String> {
        let (mut server, address) = echo_server(echo)?;
        let reports = work().join("server");
        let _ = std::fs::remove_dir_all(&reports);
        let specification = format!(
            r#"{{"outdir": "{}", "servers": [{{"agent": "tidewire-server", "url": "ws://{address}"}}],
                "cases": ["*"], "exclude-cases": {}}}"#,
            reports.display(),
            list(&[COMPRESSION, TOO_LONG_FOR_SERVER])
        );
        let mut command = self.wstest("fuzzingclient", &specification)?;
        let finished = progress::watch_for("autobahn, server", &mut command, LIMIT);
        let _ = server.0.kill();
        judged(&reports, &finished?.tail())
    }

    /// Autobahn as the server of our client.
    fn judge_client(&self, echo: &Path) -> Result<Judged, String> {
        let reports = work().join("client");
        let _ = std::fs::remove_dir_all(&reports);
        let address = free_address()?;
        let specification = format!(
            r#"{{"outdir": "{}", "url": "ws://{address}", "webport": 0, "cases": ["*"], "exclude-cases": {}}}"#,
            reports.display(),
            list(&[COMPRESSION, TOO_LONG_FOR_CLIENT])
        );
        let mut command = self.wstest("fuzzingserver", &specification)?;
        command.args(["--webport", "0"]).stdout(Stdio::null()).stderr(Stdio::null());
        let _server = Killed(command.spawn().map_err(|error| format!("wstest: {error}"))?);
        let begun = Instant::now();
        while std::net::TcpStream::connect(&address).is_err() {
            if begun.elapsed() > Duration::from_secs(20) {
                return Err(String::from("Autobahn's fuzzing server does not listen"));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let mut client = Command::new(echo);
        let finished = progress::watch_for("autobahn, client", client.args(["client", &address]), LIMIT)?;
        judged(&reports, &finished.tail())
    }
}

/// A program that is killed when this is dropped.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // Fails if it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn echo_server(echo: &Path) -> Result<(Killed, String), String> {
    let trouble = |error: std::io::Error| format!("{}: {error}", echo.display());
    let mut command = Command::new(echo);
    let mut child =
        command.arg("server").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(trouble)?;
    let mut line = String::new();
    if let Some(stdout) = child.stdout.take() {
        BufReader::new(stdout).read_line(&mut line).map_err(trouble)?;
    }
    Ok((Killed(child), line.trim().to_owned()))
}

fn free_address() -> Result<String, String> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
    listener.local_addr().map(|address| address.to_string()).map_err(|error| error.to_string())
}

fn candidates() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        ["python2.7", "python2", "pypy", "pypy2"].into_iter().filter_map(tools::find).collect();
    let root = std::env::var_os("PYENV_ROOT").map(PathBuf::from);
    let root = root.or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".pyenv")));
    if let Some(entries) = root.and_then(|root| std::fs::read_dir(root.join("versions")).ok()) {
        found.extend(entries.filter_map(Result::ok).map(|entry| entry.path().join("bin/python")));
    }
    found
}

/// Whether a program is Python 2.7. It is run to find out, because a shim of pyenv exists even if
/// the version does not.
fn is_python_2_7(path: &Path) -> bool {
    let code = "import sys; sys.exit(0 if sys.version_info[:2] == (2, 7) else 1)";
    let mut command = Command::new(path);
    command.args(["-c", code]).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn list(cases: &[&[&str]]) -> String {
    let quoted: Vec<String> = cases.iter().flat_map(|some| *some).map(|case| format!("\"{case}\"")).collect();
    format!("[{}]", quoted.join(", "))
}

/// The results in a report.
#[derive(Debug, Default, PartialEq, Eq)]
struct Judged {
    good: usize,
    bad: Vec<String>,
}

fn judged(reports: &Path, said: &str) -> Result<Judged, String> {
    let path = reports.join("index.json");
    let text = std::fs::read_to_string(&path)
        .map_err(|error| format!("there is no report: {}: {error}\n{said}", path.display()))?;
    let judged = read(&text);
    // The suite has some three hundred cases; a handful means that it broke off.
    if judged.good + judged.bad.len() < 200 {
        return Err(format!("only {} cases ran\n{said}", judged.good + judged.bad.len()));
    }
    Ok(judged)
}

/// Reads Autobahn's index: an object of agents, in them cases, in them `behavior` and
/// `behaviorClose`.
fn read(index: &str) -> Judged {
    let mut judged = Judged::default();
    for part in index.split('{') {
        // The case's name stands in front of its brace, in the part before; its members name its
        // report's file, which has it too.
        let (Some(behavior), Some(close)) = (member(part, "behavior"), member(part, "behaviorClose")) else {
            continue;
        };
        let fine = |word: &str| matches!(word, "OK" | "NON-STRICT" | "INFORMATIONAL");
        if fine(behavior) && fine(close) {
            judged.good += 1;
        } else {
            let report = member(part, "reportfile").unwrap_or("a case without a report");
            judged.bad.push(format!("{report}: {behavior}, {close} at the close"));
        }
    }
    judged
}

/// A string member of an object without escapes.
fn member<'a>(object: &'a str, name: &str) -> Option<&'a str> {
    let at = object.find(&format!("\"{name}\""))?;
    let value =
        object[at + name.len() + 2..].trim_start().strip_prefix(':')?.trim_start().strip_prefix('"')?;
    value.split('"').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_at_the_close_count_as_much_as_others() {
        let case = |name: &str, behavior: &str, close: &str| {
            format!(
                "\"{name}\": {{\n \"behavior\": \"{behavior}\", \n \"behaviorClose\": \"{close}\", \n \"duration\": 2, \
                 \"reportfile\": \"a_{name}.json\"}}"
            )
        };
        let cases = [
            case("1.1.1", "OK", "OK"),
            case("2.1", "NON-STRICT", "INFORMATIONAL"),
            case("3.1", "FAILED", "OK"),
            case("4.1", "OK", "WRONG CODE"),
            case("5.1", "UNIMPLEMENTED", "OK"),
        ];
        let judged = read(&format!("{{\"agent\": {{{}}}}}", cases.join(", ")));
        assert_eq!(judged.good, 2);
        assert_eq!(judged.bad.len(), 3);
        assert_eq!(judged.bad[1], "a_4.1.json: OK, WRONG CODE at the close");
    }

    #[test]
    fn an_index_that_breaks_off_is_no_success() {
        assert!(judged(Path::new("/nowhere"), "").is_err());
    }
}
