//! Cases about retention: what is trimmed, what stays, and what is remembered.

use crate::{Subject, channel, message};
use tidewire_core::wire::Offset;
use tidewire_server_core::store::{Found, NewEvent, Outcome, Read, Refusal, Write};

fn filled(subject: &Subject, events: u128) -> i64 {
    let a = subject.dialog("dialog:a", None);
    for n in 1..=events {
        subject.stored(&message(a, "dialog:a", n, "x"));
    }
    a
}

/// Case.
pub fn trimmed_events_are_gone_and_said_to_be(subject: &Subject) {
    let a = filled(subject, 300);
    assert_eq!(subject.trim(a, "dialog:a", 10, 0), 290);
    let row = subject.row("dialog:a").unwrap();
    assert_eq!((row.head, row.floor), (Offset(300), Offset(290)));
    assert_eq!(subject.page(a, 290, 300).len(), 10);
    for from in [0, 289] {
        let found =
            subject.read(Read::Events { channel: a, from: Offset(from), to: Offset(300) }).events().unwrap();
        assert_eq!(found, Found::Trimmed(Offset(290)));
    }
    assert_eq!(subject.earlier(a, 280, 293), [291, 292, 293], "what is left of them");
    // By age, everything is trimmed; later events continue the offsets.
    let at = subject.stored(&message(a, "dialog:a", 301, "x")).at;
    assert_eq!(subject.trim(a, "dialog:a", 0, at + 60_000), 301);
    assert_eq!(subject.stored(&message(a, "dialog:a", 302, "x")).offset, 302);
}

/// Case.
pub fn a_trimmed_op_is_still_known(subject: &Subject) {
    let a = filled(subject, 3);
    subject.trim(a, "dialog:a", 1, 0);
    match subject.append(&message(a, "dialog:a", 1, "x")) {
        Outcome::Duplicate(duplicate) => {
            assert_eq!(duplicate.offset, 1);
            assert!(duplicate.frame.is_none(), "its event is gone");
        }
        _ => panic!("it was there"),
    }
    let reused = subject.append(&message(a, "dialog:a", 1, "other"));
    assert!(matches!(reused, Outcome::Refused(Refusal::OpIdReused)));
    let first = message(a, "dialog:a", 1, "x");
    let after = NewEvent { after: Some(first.op), ..message(a, "dialog:a", 4, "x") };
    assert_eq!(subject.stored(&after).offset, 4);
    assert!(matches!(
        subject.write(Write::ForgetOps { before_ms: u64::MAX >> 1, most: 1 }),
        Outcome::Forgotten(1)
    ));
    assert!(matches!(subject.write(Write::ForgetOps { before_ms: 0, most: 9 }), Outcome::Forgotten(0)));
}

/// Case.
pub fn what_an_answer_needs_is_not_trimmed(subject: &Subject) {
    let a = filled(subject, 5);
    subject.stored(&NewEvent { wants_answer: true, ..message(a, "dialog:a", 6, "x") });
    subject.stored(&message(a, "dialog:a", 7, "x"));
    assert_eq!(subject.trim(a, "dialog:a", 1, 0), 5);
}

/// Case.
pub fn what_has_to_be_trimmed_is_found(subject: &Subject) {
    let a = filled(subject, 5);
    let b = subject.dialog("dialog:b", None);
    let at = subject.stored(&message(b, "dialog:b", 1, "x")).at;
    let find = |after, before_ms, keep, most| {
        subject.read(Read::ToTrim { after, before_ms, keep, most }).channels().unwrap()
    };
    let (of_a, of_b) = ((a, channel("dialog:a")), (b, channel("dialog:b")));
    assert_eq!(find(0, 0, 3, 10), std::slice::from_ref(&of_a));
    assert_eq!(find(0, at + 60_000, 0, 10), [of_a.clone(), of_b.clone()]);
    assert_eq!(find(0, at + 60_000, 0, 1), [of_a]);
    assert_eq!(find(a, at + 60_000, 0, 10), [of_b]);
    assert!(find(0, 0, 0, 10).is_empty());
}
