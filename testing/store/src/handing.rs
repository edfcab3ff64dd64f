//! Who answers in dialogs.

use super::*;
use tidewire_core::wire::{Handler, RunId, Step};
use tidewire_server_core::store::{EndRun, Handed, Handing, Refusal, StartRun, StorePiece};

/// Somebody's n-th op, which hands the dialog or is a message.
fn op(row: i64, name: &str, n: u128, by: (UserKind, &str), handing: Handing) -> NewEvent {
    let (kind, id) = by;
    let (kind_of_event, body) = match &handing {
        Handing::Step(step) => (Step::KIND, step.encode()),
        Handing::Message => ("message", r#"{"text":"x"}"#.to_owned()),
    };
    NewEvent {
        author: format!("{}:{id}", kind.as_str()),
        by: User { id: id.to_owned(), name: id.to_owned(), kind, profile: None },
        kind: kind_of_event.to_owned(),
        body,
        handing: Some(handing),
        wants_answer: kind == UserKind::User,
        ..message(row, name, n, "x")
    }
}

const EVE: (UserKind, &str) = (UserKind::Operator, "eve");
const ADA: (UserKind, &str) = (UserKind::User, "ada");

fn take() -> Handing {
    Handing::Step(Step::Take { from: None })
}

fn wanting(subject: &Subject) -> usize {
    subject.read(Read::Wanting).wanting().unwrap().len()
}

fn names(handed: Vec<Handed>) -> Vec<String> {
    handed.into_iter().map(|one| format!("{} {}", one.name, one.handler.as_str())).collect()
}

/// Case.
pub fn a_step_of_a_hand_off_is_stored_with_its_event_or_refused(subject: &Subject) {
    let row = subject.dialog("dialog:a", None);
    let handler = || subject.row("dialog:a").unwrap().handler;
    assert_eq!(handler(), Handler::Ai);
    let request = op(row, "dialog:a", 1, ADA, Handing::Step(Step::Request));
    let asked = subject.stored(&request);
    assert_eq!(handler(), Handler::Queued { since: asked.at });
    assert!(matches!(subject.append(&request), Outcome::Duplicate(_)), "the same op again");
    let again = op(row, "dialog:a", 2, ADA, Handing::Step(Step::Request));
    assert!(matches!(subject.append(&again), Outcome::Refused(Refusal::Handoff(_))));
    assert_eq!(subject.row("dialog:a").unwrap().head, 1, "what is refused has no offset");
    subject.stored(&op(row, "dialog:a", 5, ADA, Handing::Step(Step::Release { from: None })));
    assert!(matches!(subject.append(&again), Outcome::Refused(Refusal::Handoff(_))), "a refusal is final");
    subject.stored(&op(row, "dialog:a", 6, ADA, Handing::Step(Step::Request)));
    let other = Account::Named("acme".to_owned());
    let queued = |account| names(subject.read(Read::Queued { account, most: 9 }).handed().unwrap());
    assert_eq!((queued(Account::Own), queued(other)), (vec!["dialog:a queued".to_owned()], vec![]));
    subject.stored(&op(row, "dialog:a", 3, EVE, take()));
    assert!(queued(Account::Own).is_empty());
    assert_eq!(names(subject.read(Read::Held).handed().unwrap()), ["dialog:a operator"]);
    let mine = subject.dialog("dialog:b", None);
    subject.stored(&op(mine, "dialog:b", 4, EVE, Handing::Message));
    assert_eq!(subject.row("dialog:b").unwrap().handler.as_str(), "operator", "a message takes it");
    subject.write(Write::DeleteDialog { name: channel("dialog:a"), unused_before_ms: None });
    assert_eq!(names(subject.read(Read::Held).handed().unwrap()), ["dialog:b operator"]);
}

/// Case.
pub fn the_model_is_silent_while_an_operator_has_the_dialog(subject: &Subject) {
    let row = subject.dialog("dialog:a", None);
    subject.stored(&op(row, "dialog:a", 1, ADA, Handing::Message));
    assert_eq!(wanting(subject), 1);
    let start = |n| {
        let event = NewEvent { kind: "answer.start".into(), ..message(row, "dialog:a", n, "x") };
        subject.write(Write::StartRun(StartRun { event, run: RunId::from(format!("r{n}")) }))
    };
    let piece = |at| {
        let piece = StorePiece { run: RunId::from("r2"), at, text: "abc".to_owned() };
        subject.write(Write::Piece(piece))
    };
    assert!(matches!(start(2), Outcome::Stored(_)));
    assert!(matches!(piece(0), Outcome::Done));
    subject.stored(&op(row, "dialog:a", 3, ADA, Handing::Message));
    subject.stored(&op(row, "dialog:a", 4, EVE, take()));
    assert_eq!(wanting(subject), 0, "what was not answered is the operator's");
    assert!(matches!(piece(3), Outcome::Refused(_)), "no piece");
    assert!(matches!(start(5), Outcome::Refused(Refusal::Silent)), "and no answer");
    let event = NewEvent { kind: "answer.end".into(), ..message(row, "dialog:a", 6, "x") };
    let end = Write::EndRun(EndRun { event, run: RunId::from("r2") });
    assert!(matches!(subject.write(end), Outcome::Stored(_)), "the one under way ends");
    subject.stored(&op(row, "dialog:a", 7, ADA, Handing::Message));
    assert_eq!(wanting(subject), 0);
    subject.stored(&op(row, "dialog:a", 8, EVE, Handing::Step(Step::Release { from: None })));
    subject.stored(&op(row, "dialog:a", 9, ADA, Handing::Message));
    assert_eq!(wanting(subject), 1);
    assert!(matches!(start(10), Outcome::Stored(_)));
}
