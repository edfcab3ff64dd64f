//! Cases about answers: runs, their pieces, and messages that want one.

use crate::{Subject, message, stored};
use tidewire_core::wire::{EventFrame, Offset, User, UserKind};
use tidewire_server_core::store::{EndRun, NewEvent, Outcome, Read, Refusal, StartRun, StorePiece, Write};

fn of_run(channel: i64, n: u128, kind: &str, run: &str) -> NewEvent {
    NewEvent {
        author: "ai:ai".to_owned(),
        by: User { id: "ai".to_owned(), name: "Assistant".to_owned(), kind: UserKind::Ai, profile: None },
        kind: kind.to_owned(),
        body: format!("{{\"run\":\"{run}\"}}"),
        ..message(channel, "dialog:a", 1_000 + n, "")
    }
}

/// A message that wants an answer, without which none begins.
fn ask(subject: &Subject, channel: i64) {
    subject.stored(&NewEvent { wants_answer: true, ..message(channel, "dialog:a", 900, "?") });
}

fn start(subject: &Subject, channel: i64, n: u128, run: &str) -> Outcome {
    let event = of_run(channel, n, "answer.start", run);
    subject.write(Write::StartRun(StartRun { event, run: run.into() }))
}

fn piece(subject: &Subject, run: &str, at: u64, text: &str) -> Outcome {
    subject.write(Write::Piece(StorePiece { run: run.into(), at, text: text.to_owned() }))
}

fn end(subject: &Subject, channel: i64, n: u128, run: &str) -> Outcome {
    let event = of_run(channel, n, "answer.end", run);
    subject.write(Write::EndRun(EndRun { event, run: run.into() }))
}

/// Case.
pub fn a_run_has_one_start_and_one_end(subject: &Subject) {
    let a = subject.dialog("dialog:a", None);
    assert!(matches!(start(subject, a, 1, "r"), Outcome::Refused(Refusal::Silent)), "nobody asked");
    ask(subject, a);
    assert_eq!(stored(start(subject, a, 1, "r")).offset, 2);
    assert!(matches!(start(subject, a, 1, "r"), Outcome::Duplicate(_)), "its answer may have been lost");
    assert_eq!(stored(end(subject, a, 2, "r")).offset, 3);
    assert!(matches!(end(subject, a, 2, "r"), Outcome::Refused(Refusal::RunNotFound)));
    assert!(matches!(piece(subject, "r", 0, "late"), Outcome::Refused(Refusal::RunNotFound)));
    assert_eq!(subject.row("dialog:a").unwrap().head, 3);
    assert!(subject.read(Read::Unfinished).unfinished().unwrap().is_empty());
}

/// Case.
pub fn pieces_of_a_run_that_a_crash_left_are_joined(subject: &Subject) {
    let a = subject.dialog("dialog:a", None);
    ask(subject, a);
    start(subject, a, 1, "r");
    for (at, text) in [(0, "one "), (4, "two "), (4, "two "), (8, "three")] {
        assert!(matches!(piece(subject, "r", at, text), Outcome::Done));
    }
    let left = subject.read(Read::Unfinished).unfinished().unwrap();
    let [left] = &left[..] else { panic!("one run") };
    assert_eq!((&*left.run, left.channel, &*left.name), ("r", a, "dialog:a"));
    assert_eq!(left.text, "one two three");
}

/// Case.
pub fn a_cancellation_needs_a_run(subject: &Subject) {
    let a = subject.dialog("dialog:a", None);
    let cancel = |n, run: &str| NewEvent {
        kind: "run.cancel".to_owned(),
        body: format!("{{\"run\":\"{run}\"}}"),
        needs_run: Some(run.into()),
        ..message(a, "dialog:a", n, "")
    };
    assert!(matches!(subject.append(&cancel(1, "r")), Outcome::Refused(Refusal::RunNotFound)));
    ask(subject, a);
    start(subject, a, 1, "r");
    assert_eq!(subject.stored(&cancel(2, "r")).offset, 3);
    let b = subject.dialog("dialog:b", None);
    let elsewhere = NewEvent { channel: b, ..cancel(3, "r") };
    assert!(matches!(subject.append(&elsewhere), Outcome::Refused(Refusal::RunNotFound)));
    end(subject, a, 4, "r");
    assert!(matches!(subject.append(&cancel(5, "r")), Outcome::Refused(Refusal::RunNotFound)));
    assert!(matches!(subject.append(&cancel(2, "r")), Outcome::Duplicate(_)));
}

/// Case.
pub fn a_message_wants_an_answer_until_one_begins(subject: &Subject) {
    let a = subject.dialog("dialog:a", None);
    let wanting = || subject.read(Read::Wanting).wanting().unwrap();
    subject.stored(&message(a, "dialog:a", 1, "no"));
    assert!(wanting().is_empty());
    for n in 2..=3 {
        subject.stored(&NewEvent { wants_answer: true, ..message(a, "dialog:a", n, "yes") });
    }
    assert_eq!(wanting(), [(crate::channel("dialog:a"), Offset(3))]);
    start(subject, a, 1, "r");
    assert!(wanting().is_empty());
}

/// Case.
pub fn the_newest_events_are_found_by_their_kinds(subject: &Subject) {
    let a = subject.dialog("dialog:a", None);
    for n in 1..=6_u128 {
        let kind = if n % 2 == 0 { "note" } else { "message" };
        subject.stored(&NewEvent { kind: kind.to_owned(), ..message(a, "dialog:a", n, "x") });
    }
    let offsets = |before, most, kinds| {
        let before = Offset(before);
        let frames = subject.read(Read::Newest { channel: a, before, most, kinds }).frames().unwrap();
        frames.iter().map(|frame| EventFrame::decode(frame).unwrap().offset).collect::<Vec<_>>()
    };
    assert_eq!(offsets(7, 2, &["message"]), [3, 5]);
    assert_eq!(offsets(5, 10, &["message", "note"]), [1, 2, 3, 4]);
    assert!(offsets(7, 10, &["other"]).is_empty());
}
