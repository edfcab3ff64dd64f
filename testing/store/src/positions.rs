//! How far users have read.

use super::*;
use tidewire_core::wire::UNREAD_SCAN;
use tidewire_server_core::store::{Positions, SetPosition};

fn set(row: i64, user: &str, offset: u64) -> SetPosition {
    let by = User { id: user.to_owned(), name: format!("{user} \"x\""), kind: UserKind::User, profile: None };
    SetPosition { channel: row, user: format!("user:{user}"), by, offset: Offset(offset) }
}

fn write(subject: &Subject, positions: Vec<SetPosition>) -> Vec<Option<u64>> {
    match subject.write(Write::Positions(positions)) {
        Outcome::Positions(stored) => {
            stored.into_iter().map(|stored| stored.map(|(offset, _)| offset.0)).collect()
        }
        _ => panic!("positions are answered as such"),
    }
}

fn read(subject: &Subject, row: i64, user: &str, to: u64) -> Positions {
    let read = Read::Positions { channel: row, user: format!("user:{user}"), to: Offset(to), most: 2 };
    subject.read(read).positions().unwrap()
}

/// Case.
pub fn positions_never_go_back_and_count_what_is_unread(subject: &Subject) {
    let row = subject.dialog("dialog:a", None);
    let other = subject.dialog("dialog:b", None);
    for n in 1..=4 {
        subject.stored(&message(row, "dialog:a", n, "x"));
    }
    subject.stored(&NewEvent { kind: "answer.end".into(), ..message(row, "dialog:a", 5, "x") });
    subject.stored(&NewEvent { author: "user:bob".into(), ..message(row, "dialog:a", 6, "x") });
    let none = read(subject, row, "bob", 6);
    assert_eq!((none.own, none.unread, none.more, none.others.len()), (Offset::ZERO, 4, false, 0));
    // All at once, for several channels, and the same user twice.
    let stored = write(subject, vec![set(row, "bob", 3), set(other, "bob", 1), set(row, "eve", 2)]);
    assert_eq!(stored, [Some(3), Some(1), Some(2)]);
    assert_eq!(
        write(subject, vec![set(row, "bob", 2), set(row, "bob", 5), set(row, "bob", 4)]),
        [Some(3), Some(5), Some(5)]
    );
    let bob = read(subject, row, "bob", 6);
    assert_eq!((bob.own, bob.unread), (Offset(5), 0), "what one wrote oneself is read");
    let ada = read(subject, row, "ada", 6);
    assert_eq!((ada.own, ada.unread), (Offset::ZERO, 1), "only bob's");
    let mut others: Vec<(String, u64, String)> = ada
        .others
        .iter()
        .map(|(key, receipt)| (key.clone(), receipt.offset.0, receipt.user.name.clone()))
        .collect();
    others.sort();
    assert_eq!(
        others,
        [
            ("user:bob".to_owned(), 5, "bob \"x\"".to_owned()),
            ("user:eve".to_owned(), 2, "eve \"x\"".to_owned())
        ]
    );
    assert_eq!(read(subject, row, "eve", 3).unread, 1, "only up to there");
    write(subject, vec![set(row, "ada", 1)]);
    assert_eq!(read(subject, row, "new", 6).others.len(), 2, "no more than asked for");
    for n in 7..=8 + u128::from(UNREAD_SCAN) {
        subject.stored(&message(row, "dialog:a", n, "x"));
    }
    let bob = read(subject, row, "bob", 8 + UNREAD_SCAN);
    assert_eq!((bob.unread, bob.more), (UNREAD_SCAN, true), "only the newest are counted");
}

/// Case.
pub fn positions_are_gone_with_their_dialog(subject: &Subject) {
    let row = subject.dialog("dialog:a", None);
    subject.stored(&message(row, "dialog:a", 1, "x"));
    write(subject, vec![set(row, "bob", 1)]);
    subject.write(Write::DeleteDialog { name: channel("dialog:a"), unused_before_ms: None });
    assert_eq!(write(subject, vec![set(row, "bob", 1)]), [None]);
    let again = subject.dialog("dialog:a", None);
    assert_eq!(read(subject, again, "bob", 1).own, Offset::ZERO);
    assert_eq!(read(subject, row, "bob", 1).own, Offset::ZERO);
}
