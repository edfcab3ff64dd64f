//! Runs programs, and shows what is happening and how long it takes.
//!
//! On a terminal one line changes in place and names all running steps. Elsewhere a line is printed
//! from time to time for each step that is still running.

use crate::process::{Finished, Running};
use std::io::{IsTerminal, Write};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Interval of the lines for a running step where no line can change in place.
const SIGN_OF_LIFE: Duration = Duration::from_secs(20);
/// Maximum width of the changing line: a line that wraps can't be replaced.
const WIDTH: usize = 78;

/// Whether everything here goes to the error stream, because the output is for a program.
static ASIDE: AtomicBool = AtomicBool::new(false);

/// The terminal, which all threads write to.
static SCREEN: Mutex<Screen> = Mutex::new(Screen { steps: Vec::new(), is_drawn: false });

struct Screen {
    /// The running steps, in the order in which they began.
    steps: Vec<Shown>,
    /// Whether the changing line is on the screen.
    is_drawn: bool,
}

struct Shown {
    title: String,
    started: Instant,
    line: String,
}

impl Screen {
    fn lock() -> MutexGuard<'static, Screen> {
        SCREEN.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes whole lines, in the place of the changing line.
    fn write(&mut self, text: &str) {
        let clear = if std::mem::take(&mut self.is_drawn) { "\r\x1b[2K" } else { "" };
        put(&format!("{clear}{text}"));
    }

    /// Shows all running steps in the changing line.
    fn draw(&mut self) {
        self.write("");
        let width = WIDTH / self.steps.len().max(1);
        let steps = self.steps.iter().map(|step| {
            let text = format!("{} {} {}", step.title, seconds(step.started.elapsed()), step.line);
            text.chars().take(width - 3).collect::<String>()
        });
        put(&format!(".. {}", steps.collect::<Vec<_>>().join(" | ")));
        self.is_drawn = true;
    }
}

/// Keeps the output free of progress, because a program reads it.
pub(crate) fn step_aside() {
    ASIDE.store(true, Ordering::Relaxed);
}

fn aside() -> bool {
    ASIDE.load(Ordering::Relaxed)
}

/// Writes a text, and shows it at once. Errors are ignored: nobody may be reading.
fn put(text: &str) {
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

/// `text`, marked as good news.
pub(crate) fn good(text: &str) -> String {
    paint("32", text)
}

/// `text`, marked as bad news.
pub(crate) fn bad(text: &str) -> String {
    paint("31", text)
}

/// Writes lines, without lines of other threads between them.
pub(crate) fn say(lines: &str) {
    Screen::lock().write(&format!("{lines}\n"));
}

/// Prints that a step is done, or was not needed.
pub(crate) fn done(title: &str, note: &str) {
    say(&format!("{} {title} {note}", good("ok")));
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

/// As [`run`], without a report of the result, which the caller prints.
pub(crate) fn watch(title: &str, command: &mut Command) -> Result<Finished, String> {
    watch_for(title, command, Duration::MAX)
}

/// As [`watch`], but if the program takes longer than `limit`, it is ended with all programs that
/// it started.
///
/// Threads may watch programs at the same time, under titles that differ.
pub(crate) fn watch_for(title: &str, command: &mut Command, limit: Duration) -> Result<Finished, String> {
    let started = Instant::now();
    let running = Running::start(command)?;
    let mut step = Step::begin(title, started);
    let mut ended = false;
    while !running.is_over() {
        if !ended && started.elapsed() > limit {
            ended = true;
            running.end_tree();
        }
        thread::sleep(Duration::from_millis(if step.live { 120 } else { 50 }));
        step.tell(|| running.last_line());
    }
    drop(step);
    let mut finished = running.finish(started)?;
    if ended {
        finished.success = false;
        finished.text.push_str(&format!("\nended by xtask: it took longer than {}\n", seconds(limit)));
    }
    Ok(finished)
}

/// A running step, on the screen until this is dropped.
struct Step<'a> {
    title: &'a str,
    started: Instant,
    live: bool,
    told: Instant,
}

impl<'a> Step<'a> {
    fn begin(title: &'a str, started: Instant) -> Step<'a> {
        let live = lively();
        if live {
            Screen::lock().steps.push(Shown { title: title.to_owned(), started, line: String::new() });
        } else {
            say(&format!("-- {title}"));
        }
        Step { title, started, live, told: started }
    }

    /// Shows the program's current line, if it is time for that.
    fn tell(&mut self, line: impl FnOnce() -> String) {
        if self.live {
            let mut screen = Screen::lock();
            if let Some(shown) = screen.steps.iter_mut().find(|shown| shown.title == self.title) {
                shown.line = line();
            }
            screen.draw();
        } else if self.told.elapsed() >= SIGN_OF_LIFE {
            self.told = Instant::now();
            say(&format!("   {}: {} {}", self.title, seconds(self.started.elapsed()), line()));
        }
    }
}

impl Drop for Step<'_> {
    fn drop(&mut self) {
        if self.live {
            let mut screen = Screen::lock();
            screen.steps.retain(|shown| shown.title != self.title);
            screen.write("");
        }
    }
}

/// A program that runs beside other steps.
pub(crate) struct Background {
    title: String,
    thread: JoinHandle<Result<Finished, String>>,
}

impl Background {
    /// Starts a program without printing anything.
    pub(crate) fn start(title: &str, mut command: Command) -> Background {
        let thread = thread::spawn(move || {
            let started = Instant::now();
            Running::start(&mut command)?.finish(started)
        });
        Background { title: title.to_owned(), thread }
    }

    /// Waits for the program's end, and reports the result.
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
