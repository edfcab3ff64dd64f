//! What both ways of showing the chat share: how a row and the status read, and what a line of
//! input does.

use tidewire::{Dialog, Row, RowState, State, Status};
use tokio::sync::watch;

/// The dialog and the connection.
pub(crate) struct Chat {
    pub(crate) dialog: Dialog,
    pub(crate) status: watch::Receiver<Status>,
}

/// What a line of input asks for.
pub(crate) enum Entered {
    /// Nothing more than what was done.
    Done,
    /// To tell the person something.
    Say(String),
    /// To end.
    Quit,
}

const HELP: &str = "Enter sends, PageUp and PageDown scroll, Ctrl-C or /quit quits, /stop ends an answer, /retry sends failed messages again, /discard \
    gives up the oldest failed one, else the newest that waits";

impl Chat {
    /// Sends a line, or carries out a command.
    pub(crate) fn enter(&self, line: &str) -> Entered {
        let done = |done: bool, nothing: &str| {
            if done { Entered::Done } else { Entered::Say(nothing.to_owned()) }
        };
        match line.trim() {
            "" => Entered::Done,
            "/help" => Entered::Say(HELP.to_owned()),
            "/quit" => Entered::Quit,
            "/stop" => match self.dialog.stop() {
                Ok(_) => Entered::Done,
                Err(error) => Entered::Say(error.to_string()),
            },
            "/retry" => done(self.retry(), "nothing has failed"),
            "/discard" => done(self.discard(), "nothing can be given up"),
            command if command.starts_with('/') => {
                Entered::Say(format!("unknown command {command}; try /help"))
            }
            text => match self.dialog.send(text) {
                Ok(_) => Entered::Done,
                Err(error) => Entered::Say(error.to_string()),
            },
        }
    }

    fn retry(&self) -> bool {
        let rows = self.dialog.rows();
        let failed = rows.iter().filter(|row| row.state == RowState::Failed);
        failed.filter(|row| self.dialog.retry(&row.id)).count() > 0
    }

    fn discard(&self) -> bool {
        let rows = self.dialog.rows();
        let failed = rows.iter().find(|row| row.state == RowState::Failed);
        let waiting = || rows.iter().rev().find(|row| row.offset.is_none());
        failed.or_else(waiting).is_some_and(|row| self.dialog.discard(&row.id))
    }
}

/// A row as one text: a mark for how it stands, who, and what.
pub(crate) fn read(row: &Row) -> String {
    let name = if row.by.name.is_empty() { "you" } else { &row.by.name };
    let code = row.code.as_deref().map(|code| format!(" [{code}]")).unwrap_or_default();
    let cursor = if row.state == RowState::Streaming { "▌" } else { "" };
    format!("{} {}: {}{cursor}{code}", mark(row.state), harmless(name), harmless(&row.text))
}

fn mark(state: RowState) -> char {
    match state {
        RowState::Saving => '·',
        RowState::Queued => '…',
        RowState::Sending => '↑',
        RowState::Sent | RowState::Done => '✓',
        RowState::Failed | RowState::Error => '!',
        RowState::Streaming => '»',
        RowState::Stopped => '■',
        RowState::Interrupted => '~',
    }
}

/// The connection in words. `left_ms` is the time until the next attempt.
pub(crate) fn describe(status: &Status, left_ms: Option<u64>) -> String {
    let cause = status.message.as_deref().or(status.cause.as_deref()).unwrap_or("no reason given");
    let state = match (status.state, left_ms) {
        (State::Online, _) => String::from("online"),
        (State::Reconnecting, Some(ms)) => format!("reconnecting in {} s ({cause})", ms.div_ceil(1_000)),
        (State::Reconnecting, None) => format!("reconnecting ({cause})"),
        (State::Failed, _) => format!("refused ({cause})"),
        (state, _) => state.as_str().to_owned(),
    };
    match status.waiting {
        0 => state,
        n => format!("{state} · {n} waiting"),
    }
}

/// What others write must not steer the terminal.
pub(crate) fn harmless(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect()
}
