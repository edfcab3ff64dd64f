//! Running programs so that a person sees what goes on and how long it takes.
//!
//! On a terminal one line changes in place; elsewhere a line now and then says that the step is
//! still alive.

use std::io::{BufRead, BufReader, IsTerminal, Read, Write};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How many of the last lines of a program that failed are shown.
const SHOWN_LINES: usize = 60;
/// How often a step says that it is alive where no line can change in place.
const SIGN_OF_LIFE: Duration = Duration::from_secs(20);
/// Greatest width of the changing line: one that wraps can't be taken back.
const WIDTH: usize = 78;

/// Whether everything here goes to the error stream, because the output is for a program.
static ASIDE: AtomicBool = AtomicBool::new(false);

/// Keeps the output free for what a program reads.
pub(crate) fn step_aside() {
    ASIDE.store(true, Ordering::Relaxed);
}

fn aside() -> bool {
    ASIDE.load(Ordering::Relaxed)
}

/// Writes and shows it at once. Nobody there to read is no reason to stop.
fn write(text: &str) {
    let _ = if aside() {
        std::io::stderr().write_all(text.as_bytes())
    } else {
        let mut out = std::io::stdout();
        out.write_all(text.as_bytes()).and_then(|()| out.flush())
    };
}

fn lively() -> bool {
    let terminal = if aside() { std::io::stderr().is_terminal() } else { std::io::stdout().is_terminal() };
    terminal && std::env::var_os("CI").is_none() && std::env::var_os("NO_COLOR").is_none()
}

fn paint(code: &str, text: &str) -> String {
    if lively() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

/// `text` as something that went well.
pub(crate) fn good(text: &str) -> String {
    paint("32", text)
}

/// `text` as something that went wrong.
pub(crate) fn bad(text: &str) -> String {
    paint("31", text)
}

/// Says that a step is done, or was not needed.
pub(crate) fn done(title: &str, note: &str) {
    write(&format!("{} {title} {note}\n", good("ok")));
}

/// What a program said and how it ended.
pub(crate) struct Finished {
    /// Both streams, line by line as they came.
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

/// Runs `command` under `title` and reports; an error holds its last lines.
pub(crate) fn run(title: &str, command: &mut Command) -> Result<Finished, String> {
    let finished = watch(title, command)?;
    if finished.success {
        done(title, &format!("({})", seconds(finished.took)));
        return Ok(finished);
    }
    Err(format!("{title} failed after {}:\n{}", seconds(finished.took), finished.tail()))
}

/// As [`run`], without saying how it went: the caller does.
pub(crate) fn watch(title: &str, command: &mut Command) -> Result<Finished, String> {
    watch_for(title, command, Duration::MAX)
}

/// As [`watch`], but ends the program and all that it started when it takes longer than `limit`.
pub(crate) fn watch_for(title: &str, command: &mut Command, limit: Duration) -> Result<Finished, String> {
    let started = Instant::now();
    let running = Running::start(command)?;
    let live = lively();
    let mut told = Instant::now();
    if !live {
        write(&format!("-- {title}\n"));
    }
    let mut ended = false;
    while !running.is_over() {
        if !ended && started.elapsed() > limit {
            ended = true;
            running.end_tree();
        }
        thread::sleep(Duration::from_millis(if live { 120 } else { 50 }));
        if live {
            let line = format!("{title} {} {}", seconds(started.elapsed()), running.last_line());
            let line: String = line.chars().take(WIDTH).collect();
            write(&format!("\r\x1b[2K.. {line}"));
        } else if told.elapsed() >= SIGN_OF_LIFE {
            told = Instant::now();
            write(&format!("   {title}: {} {}\n", seconds(started.elapsed()), running.last_line()));
        }
    }
    if live {
        write("\r\x1b[2K");
    }
    let mut finished = running.finish(started)?;
    if ended {
        finished.success = false;
        finished.text.push_str(&format!("\nended by xtask: it took longer than {}\n", seconds(limit)));
    }
    Ok(finished)
}

/// A program that runs beside other steps.
pub(crate) struct Background {
    title: String,
    thread: JoinHandle<Result<Finished, String>>,
}

impl Background {
    /// Starts it without a word.
    pub(crate) fn start(title: &str, mut command: Command) -> Background {
        let thread = thread::spawn(move || {
            let started = Instant::now();
            Running::start(&mut command)?.finish(started)
        });
        Background { title: title.to_owned(), thread }
    }

    /// Waits for its end and reports.
    pub(crate) fn finish(self) -> Result<(), String> {
        let title = self.title;
        let finished = self.thread.join().map_err(|_| format!("{title}: its thread panicked"))??;
        if !finished.success {
            return Err(format!("{title} failed:\n{}", finished.tail()));
        }
        done(&title, &format!("({})", seconds(finished.took)));
        Ok(())
    }
}

struct Running {
    child: Mutex<std::process::Child>,
    lines: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
}

impl Running {
    fn start(command: &mut Command) -> Result<Running, String> {
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

    fn is_over(&self) -> bool {
        self.child.lock().is_ok_and(|mut child| !matches!(child.try_wait(), Ok(None)))
    }

    /// Ends the program and its descendants, each by its own number.
    fn end_tree(&self) {
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

    fn last_line(&self) -> String {
        let Ok(lines) = self.lines.lock() else { return String::new() };
        lines.lines().next_back().unwrap_or_default().trim().to_owned()
    }

    fn finish(self, started: Instant) -> Result<Finished, String> {
        let mut child = self.child.into_inner().map_err(|_| String::from("a watcher panicked"))?;
        let status = child.wait().map_err(|error| error.to_string())?;
        for reader in self.readers {
            let _ = reader.join();
        }
        let text = self.lines.lock().map(|lines| lines.clone()).unwrap_or_default();
        Ok(Finished { text, success: status.success(), took: started.elapsed() })
    }
}

/// All processes with their parents, as far as the system tells: (process, parent).
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

/// A duration for people.
pub(crate) fn seconds(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 60.0 {
        format!("{seconds:.1} s")
    } else {
        format!("{} min {:.0} s", seconds as u64 / 60, seconds % 60.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_hangs_is_ended_with_all_that_it_started() {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 60 & echo started; wait"]);
        let finished = watch_for("a test", &mut command, Duration::from_millis(200)).expect("it starts");
        assert!(!finished.success);
        assert!(finished.text.starts_with("started\n"), "{}", finished.text);
        // Its grandchild held the same pipe: it is gone too, or this would have waited for it.
        assert!(finished.took < Duration::from_secs(20));
    }
}
