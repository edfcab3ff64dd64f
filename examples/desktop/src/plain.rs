//! Line by line: a row is printed whenever its mark changes, the connection in lines that begin
//! with `#`. It fails if messages still wait at the end.

use std::collections::HashMap;
use std::io::{self, Write};
use std::time::Duration;

use tidewire::{RowState, Rows, State, Status};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::chat::{Chat, Entered, describe, read};

/// `patience` is how long what waits may take to go out after the end of the input.
pub(crate) async fn run(mut chat: Chat, patience: Duration) -> io::Result<()> {
    let mut lines = input();
    let mut rows = chat.dialog.watch();
    let mut shown = HashMap::new();
    let mut end = None;
    print_rows(&rows.borrow_and_update().clone(), &mut shown)?;
    loop {
        if end.is_some() && chat.status.borrow().waiting == 0 {
            return print_rows(&rows.borrow().clone(), &mut shown);
        }
        let given_up = async {
            match end {
                Some(end) => sleep_until(end).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            line = lines.recv(), if end.is_none() => match line.as_deref().map(|line| chat.enter(line)) {
                Some(Entered::Done) => {}
                Some(Entered::Say(text)) => line_out(&format!("# {text}"))?,
                Some(Entered::Quit) => return Ok(()),
                None => end = Some(Instant::now() + patience),
            },
            Ok(()) = rows.changed() => print_rows(&rows.borrow_and_update().clone(), &mut shown)?,
            Ok(()) = chat.status.changed() => {
                let status = chat.status.borrow_and_update().clone();
                line_out(&format!("# {}", describe(&status, status.retry_in_ms)))?;
            }
            () = given_up => return Err(left_over(&chat.status.borrow())),
        }
        if end.is_some() && chat.status.borrow().state == State::Failed {
            return Err(left_over(&chat.status.borrow()));
        }
    }
}

/// What a script has to know: not everything went out.
fn left_over(status: &Status) -> io::Error {
    let why = describe(status, None);
    io::Error::other(format!("{why}: not sent yet, kept in the store for the next start"))
}

/// Lines of the standard input, read on a thread because reading blocks.
fn input() -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel(16);
    std::thread::spawn(move || {
        for line in io::stdin().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    lines
}

fn print_rows(rows: &Rows, shown: &mut HashMap<String, RowState>) -> io::Result<()> {
    for row in rows.iter() {
        if shown.insert(row.id.clone(), row.state) != Some(row.state) {
            line_out(&read(row))?;
        }
    }
    Ok(())
}

fn line_out(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}
