//! The whole terminal: the rows, a status line, and the line being written.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use crossterm::event::{
    DisableBracketedPaste, EnableBracketedPaste, Event, KeyCode, KeyEventKind, KeyModifiers,
};
use crossterm::style::{Attribute, Print, SetAttribute};
use crossterm::terminal::{self, Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen};
use crossterm::{cursor, execute, queue};
use tokio::sync::mpsc;
use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthChar;

use crate::chat::{Chat, Entered, describe, harmless, read};

/// How often the seconds until the next attempt are redrawn.
const TICK: Duration = Duration::from_millis(500);

pub(crate) async fn run(mut chat: Chat) -> io::Result<()> {
    let _terminal = Terminal::take()?;
    let mut keys = keys();
    let mut rows = chat.dialog.watch();
    let (mut written, mut note) = (String::new(), String::from("/help lists the commands"));
    let mut retry_at = None;
    // How many lines the view stands above the newest one.
    let mut above = 0;
    loop {
        let status = chat.status.borrow_and_update().clone();
        let left = |at: Instant| at.saturating_duration_since(Instant::now()).as_millis() as u64;
        let line = format!(" {} · {}  {note}", chat.dialog.id(), describe(&status, retry_at.map(left)));
        let texts: Vec<_> = rows.borrow_and_update().iter().map(|row| read(row)).collect();
        above = draw(&texts, &line, &written, above)?;
        let page = usize::from(terminal::size()?.1.saturating_sub(3)).max(1);
        tokio::select! {
            event = keys.recv() => match event {
                None => return Ok(()),
                Some(Event::Paste(text)) => written.push_str(&harmless(&text).replace('\n', " ")),
                Some(Event::Key(key)) if key.kind != KeyEventKind::Release => {
                    let control = key.modifiers.contains(KeyModifiers::CONTROL);
                    match key.code {
                        KeyCode::Char('c' | 'd') if control => return Ok(()),
                        KeyCode::Char('u') if control => written.clear(),
                        KeyCode::Char(c) if !control => written.push(c),
                        KeyCode::Backspace => backspace(&mut written),
                        KeyCode::PageUp => above += page,
                        KeyCode::PageDown => above = above.saturating_sub(page),
                        KeyCode::Home => above = usize::MAX / 2,
                        KeyCode::End | KeyCode::Esc => above = 0,
                        KeyCode::Enter => match chat.enter(&std::mem::take(&mut written)) {
                            Entered::Done => note.clear(),
                            Entered::Say(text) => note = text,
                            Entered::Quit => return Ok(()),
                        },
                        _ => {}
                    }
                }
                // A new size, or what we don't use: draw again.
                Some(_) => {}
            },
            Ok(()) = rows.changed() => {}
            Ok(()) = chat.status.changed() => {
                let wait = chat.status.borrow().retry_in_ms;
                retry_at = wait.map(|ms| Instant::now() + Duration::from_millis(ms));
            }
            () = tokio::time::sleep(TICK), if retry_at.is_some() => {}
        }
    }
}

/// The terminal in raw mode on its second screen, given back when dropped.
struct Terminal;

impl Terminal {
    fn take() -> io::Result<Terminal> {
        terminal::enable_raw_mode()?;
        let terminal = Terminal;
        execute!(io::stdout(), EnterAlternateScreen, EnableBracketedPaste)?;
        Ok(terminal)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Nothing better can be done for a terminal that is gone.
        let _ = execute!(io::stdout(), DisableBracketedPaste, LeaveAlternateScreen, cursor::Show);
        let _ = terminal::disable_raw_mode();
    }
}

/// What is typed, read on a thread because reading blocks.
fn keys() -> mpsc::Receiver<Event> {
    let (sender, keys) = mpsc::channel(64);
    std::thread::spawn(move || {
        while let Ok(event) = crossterm::event::read() {
            if sender.blocking_send(event).is_err() {
                return;
            }
        }
    });
    keys
}

/// Takes back what a person sees as one character: an emoji of several code points goes at once
/// (UAX #29).
fn backspace(written: &mut String) {
    let last = written.grapheme_indices(true).next_back().map_or(0, |(at, _)| at);
    written.truncate(last);
}

/// Draws everything, `above` lines above the end or as far as there are lines; returns how far that
/// is.
fn draw(rows: &[String], status: &str, written: &str, above: usize) -> io::Result<usize> {
    let (width, height) = terminal::size()?;
    let (width, room) = (usize::from(width).max(8), usize::from(height.saturating_sub(2)));
    let lines: Vec<String> = rows.iter().flat_map(|row| wrap(row, width)).collect();
    let above = above.min(lines.len().saturating_sub(room));
    let end = lines.len() - above;
    let first = end.saturating_sub(room);
    let more = if above > 0 { format!("  ({above} lines below, PageDown)") } else { String::new() };
    let status = format!("{status}{more}");
    let mut out = io::stdout().lock();
    queue!(out, cursor::Hide, cursor::MoveTo(0, 0), Clear(ClearType::All))?;
    for line in &lines[first..end] {
        queue!(out, Print(line), Print("\r\n"))?;
    }
    let status = wrap(&status, width).swap_remove(0);
    let padding = " ".repeat(width - columns(&status));
    queue!(out, cursor::MoveTo(0, height.saturating_sub(2)), SetAttribute(Attribute::Reverse))?;
    queue!(out, Print(status), Print(padding), SetAttribute(Attribute::Reset))?;
    // The end of a long line is what is being written.
    let shown = wrap(&format!("> {written}"), width - 1).pop().unwrap_or_default();
    queue!(out, cursor::MoveTo(0, height.saturating_sub(1)), Print(shown), cursor::Show)?;
    out.flush()?;
    Ok(above)
}

/// Breaks a text where it reaches the terminal's edge, after a space if there is one, and at its
/// own line ends; never empty.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for part in text.split('\n') {
        let (mut line, mut used) = (String::new(), 0);
        for c in part.chars() {
            let wide = c.width().unwrap_or(0);
            if used + wide > width {
                let rest = line.rfind(' ').map(|space| line.split_off(space + 1)).unwrap_or_default();
                lines.push(std::mem::replace(&mut line, rest));
                used = columns(&line);
            }
            line.push(c);
            used += wide;
        }
        lines.push(line);
    }
    lines
}

fn columns(text: &str) -> usize {
    text.chars().map(|c| c.width().unwrap_or(0)).sum()
}

#[cfg(test)]
mod tests {
    use super::backspace;

    #[test]
    fn backspace_takes_what_a_person_sees_as_one_character() {
        for (written, left) in
            [("", ""), ("ab", "a"), ("a👩‍👩‍👧", "a"), ("e\u{301}", ""), ("🇩🇪🇫🇷", "🇩🇪"), ("é👍🏽", "é")]
        {
            let mut text = written.to_owned();
            backspace(&mut text);
            assert_eq!(text, left, "{written}");
        }
    }
}
