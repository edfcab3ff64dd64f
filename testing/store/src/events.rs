//! Cases about events: offsets, pages, and ops that are sent again.

use crate::{Subject, message, stored};
use std::sync::{Arc, Mutex, mpsc};
use tidewire_core::wire::{EventFrame, PAGE_BYTES, PAGE_EVENTS};
use tidewire_server_core::store::{Duplicate, NewEvent, Outcome, Refusal, Write};

/// Case.
pub fn offsets_are_dense_and_pages_hold_what_was_written(subject: &Subject) {
    let (a, b) = (subject.dialog("dialog:a", None), subject.dialog("dialog:b", None));
    for n in 1..=5 {
        let stored = subject.stored(&message(a, "dialog:a", n, &format!("a{n}")));
        assert_eq!(stored.offset, n as u64);
        assert_eq!(subject.stored(&message(b, "dialog:b", n, "b")).offset, n as u64);
        let event = EventFrame::decode(&stored.frame).unwrap();
        assert_eq!((event.offset.0, event.at, &*event.ch), (n as u64, stored.at, "dialog:a"));
        assert_eq!(event.body, format!("{{\"text\":\"a{n}\"}}"));
    }
    assert_eq!(subject.row("dialog:a").unwrap().head, 5);
    let page = subject.page(a, 1, 4);
    assert_eq!(page.iter().map(|(offset, _)| *offset).collect::<Vec<_>>(), [2, 3, 4]);
    assert!(page.iter().all(|(offset, frame)| frame.contains(&format!("\"a{offset}\""))));
    assert!(subject.page(a, 5, 5).is_empty());
}

/// Case.
pub fn pages_end_at_their_limits_and_hold_at_least_one_event(subject: &Subject) {
    let many = subject.dialog("dialog:many", None);
    let wide = subject.dialog("dialog:wide", None);
    let count = PAGE_EVENTS + 10;
    for n in 1..=count {
        subject.stored(&message(many, "dialog:many", n as u128, "x"));
    }
    assert_eq!(subject.page(many, 0, count as u64).len(), PAGE_EVENTS);
    assert_eq!(subject.page(many, PAGE_EVENTS as u64, count as u64).len(), 10);
    for n in 1..=3 {
        subject.stored(&message(wide, "dialog:wide", n, &"y".repeat(PAGE_BYTES)));
    }
    let page = subject.page(wide, 0, 3);
    assert_eq!(page.iter().map(|(offset, _)| *offset).collect::<Vec<_>>(), [1]);
    // Of earlier events the newest ones come, oldest first.
    let newest: Vec<u64> = (11..=count as u64).collect();
    assert_eq!(subject.earlier(many, 0, count as u64), newest);
    assert_eq!(subject.earlier(many, 2, 5), [3, 4, 5]);
    assert_eq!(subject.earlier(wide, 0, 3), [3]);
    assert!(subject.earlier(many, 5, 5).is_empty());
}

/// Case.
pub fn an_op_that_is_sent_again_is_found_and_not_written(subject: &Subject) {
    let a = subject.dialog("dialog:a", None);
    let first = subject.stored(&message(a, "dialog:a", 1, "one"));
    subject.stored(&message(a, "dialog:a", 2, "two"));
    match subject.append(&message(a, "dialog:a", 1, "one")) {
        Outcome::Duplicate(Duplicate { offset, at, frame }) => {
            assert_eq!((offset, at), (first.offset, first.at));
            assert_eq!(frame.unwrap().as_str(), first.frame.as_str());
        }
        _ => panic!("it was there"),
    }
    assert_eq!(subject.row("dialog:a").unwrap().head, 2);
    // The same op id of another author, or in another dialog, is another op.
    let b = subject.dialog("dialog:b", None);
    assert_eq!(subject.stored(&message(b, "dialog:b", 1, "one")).offset, 1);
    let other = NewEvent { author: "user:bob".to_owned(), ..message(a, "dialog:a", 1, "one") };
    assert_eq!(subject.stored(&other).offset, 3);
}

/// Case.
pub fn an_op_id_means_one_thing(subject: &Subject) {
    let a = subject.dialog("dialog:a", None);
    subject.stored(&message(a, "dialog:a", 1, "one"));
    let other_kind = NewEvent { kind: "poll.vote".to_owned(), ..message(a, "dialog:a", 1, "one") };
    for event in [message(a, "dialog:a", 1, "two"), other_kind] {
        assert!(matches!(subject.append(&event), Outcome::Refused(Refusal::OpIdReused)));
    }
    assert_eq!(subject.row("dialog:a").unwrap().head, 1);
}

/// Case.
pub fn an_op_waits_for_the_one_before_it(subject: &Subject) {
    let a = subject.dialog("dialog:a", None);
    let first = message(a, "dialog:a", 1, "one");
    let second = NewEvent { after: Some(first.op), ..message(a, "dialog:a", 2, "two") };
    assert!(matches!(subject.append(&second), Outcome::Refused(Refusal::Blocked)));
    assert_eq!(subject.row("dialog:a").unwrap().head, 0);
    subject.stored(&first);
    assert_eq!(subject.stored(&second).offset, 2);
}

/// Case.
pub fn who_may_not_write_only_learns_what_was_committed_before(subject: &Subject) {
    let a = subject.dialog("dialog:a", None);
    let first = message(a, "dialog:a", 1, "one");
    subject.stored(&first);
    let again = NewEvent { forbidden: true, ..first };
    assert!(matches!(subject.append(&again), Outcome::Duplicate(_)));
    let new = NewEvent { forbidden: true, ..message(a, "dialog:a", 2, "two") };
    assert!(matches!(subject.append(&new), Outcome::Refused(Refusal::Forbidden)));
    // A dialog that does not exist is answered like somebody else's.
    let nowhere = message(a + 1_000, "dialog:nowhere", 3, "three");
    assert!(matches!(subject.append(&nowhere), Outcome::Refused(Refusal::Forbidden)));
}

/// Case.
pub fn writes_are_told_in_the_order_in_which_they_came(subject: &Subject) {
    const WRITES: u128 = 500;
    let a = subject.dialog("dialog:a", None);
    let told = Arc::new(Mutex::new(Vec::new()));
    let (done, all) = mpsc::channel();
    for n in 1..=WRITES {
        let (told, done) = (told.clone(), done.clone());
        subject.store.write(
            Write::Append(message(a, "dialog:a", n, "x")),
            Box::new(move |result| {
                told.lock().unwrap().push(stored(result.unwrap()).offset);
                done.send(()).unwrap();
            }),
        );
    }
    (0..WRITES).for_each(|_| all.recv_timeout(crate::PATIENCE).unwrap());
    assert_eq!(*told.lock().unwrap(), (1..=WRITES as u64).collect::<Vec<_>>());
}

/// Case.
pub fn what_was_told_can_be_read(subject: &Subject) {
    let a = subject.dialog("dialog:a", None);
    for n in 1..=50 {
        let stored = subject.stored(&message(a, "dialog:a", n, "x"));
        let page = subject.page(a, stored.offset.0 - 1, stored.offset.0);
        assert_eq!(page, [(stored.offset.0, stored.frame.as_str().to_owned())]);
    }
}

/// Case.
pub fn a_channel_that_is_not_there_is_none(subject: &Subject) {
    assert!(subject.row("dialog:nowhere").is_none());
}
