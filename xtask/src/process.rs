//! Running programs: their output is kept, and one that hangs is ended with all programs that it
//! started.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How many of the last lines of a program that failed are shown.
const SHOWN_LINES: usize = 60;

/// How long the output is waited for of a program that has ended.
const LEFT_RUNNING: Duration = Duration::from_secs(10);

/// The output of a program, and how it ended.
pub(crate) struct Finished {
    /// Both output streams, with their lines in the order in which they came.
    pub(crate) text: String,
    /// Whether it ended with status 0.
    pub(crate) success: bool,
    /// How long it took.
    pub(crate) took: Duration,
}

impl Finished {
    /// Its last lines, for a report.
    pub(crate) fn tail(&self) -> String {
        let lines: Vec<&str> = self.text.lines().collect();
        lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n")
    }
}

/// A running program. Ctrl-C in the terminal reaches it too, because it is in the same process
/// group.
pub(crate) struct Running {
    child: Mutex<std::process::Child>,
    lines: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
}

impl Running {
    /// Starts a program with an empty input.
    pub(crate) fn start(command: &mut Command) -> Result<Running, String> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let program = command.get_program().to_string_lossy().into_owned();
        let mut child = command.spawn().map_err(|error| format!("{program} can't be started: {error}"))?;
        let lines = Arc::new(Mutex::new(String::new()));
        let mut readers = Vec::new();
        if let Some(stdout) = child.stdout.take() {
            readers.push(collect(stdout, Arc::clone(&lines)));
        }
        if let Some(stderr) = child.stderr.take() {
            readers.push(collect(stderr, Arc::clone(&lines)));
        }
        Ok(Running { child: Mutex::new(child), lines, readers })
    }

    pub(crate) fn is_over(&self) -> bool {
        self.child.lock().is_ok_and(|mut child| !matches!(child.try_wait(), Ok(None)))
    }

    /// Ends the program and its descendants, each by its process id.
    pub(crate) fn end_tree(&self) {
        let Ok(child) = self.child.lock() else { return };
        let mut family = vec![child.id()];
        let parents = parents();
        let mut next = 0;
        while let Some(&parent) = family.get(next) {
            family.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(id, _)| *id));
            next += 1;
        }
        let numbers = family.iter().map(u32::to_string);
        let _ = Command::new("kill").arg("-KILL").args(numbers).stderr(Stdio::null()).status();
    }

    /// The last line of its output that is worth showing.
    pub(crate) fn last_line(&self) -> String {
        self.lines.lock().map(|lines| last_line(&lines).to_owned()).unwrap_or_default()
    }

    /// Waits for the program's end.
    pub(crate) fn finish(self, started: Instant) -> Result<Finished, String> {
        let mut child = self.child.into_inner().map_err(|_| String::from("a watcher panicked"))?;
        let status = child.wait().map_err(|error| error.to_string())?;
        // The pipes end with the program, unless it has left another one running that holds them.
        let patience = Instant::now() + LEFT_RUNNING;
        while self.readers.iter().any(|reader| !reader.is_finished()) && Instant::now() < patience {
            thread::sleep(Duration::from_millis(20));
        }
        let text = self.lines.lock().map(|lines| lines.clone()).unwrap_or_default();
        Ok(Finished { text, success: status.success(), took: started.elapsed() })
    }
}

/// All processes and their parents, as far as the system shows them: (process, parent).
fn parents() -> Vec<(u32, u32)> {
    let Ok(output) = Command::new("ps").args(["-eo", "pid=,ppid="]).output() else { return Vec::new() };
    let text = String::from_utf8_lossy(&output.stdout);
    let pair = |line: &str| {
        let mut numbers = line.split_whitespace().map(str::parse);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    };
    text.lines().filter_map(pair).collect()
}

fn collect(stream: impl Read + Send + 'static, into: Arc<Mutex<String>>) -> JoinHandle<()> {
    thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            if let Ok(mut lines) = into.lock() {
                lines.push_str(&String::from_utf8_lossy(&line));
            }
            line.clear();
        }
    })
}

/// The last line that is not one of the indented details that Node prints below each test.
fn last_line(text: &str) -> &str {
    let is_detail = |line: &str| line.starts_with("  ") && !line.starts_with("   ");
    text.lines().rev().find(|line| !is_detail(line)).unwrap_or_default().trim()
}

#[cfg(test)]
mod tests {
    use super::last_line;

    #[test]
    fn the_last_line_is_one_that_says_something() {
        assert_eq!(last_line("ok 1 - a\n  ---\n  duration_ms: 3\n  ...\n"), "ok 1 - a");
        assert_eq!(last_line("   Compiling a\n   Compiling b\n"), "Compiling b");
        assert_eq!(last_line(""), "");
    }
}
