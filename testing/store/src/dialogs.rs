//! Cases about dialogs: creating, handing over and deleting them, and revocations.

use crate::{Subject, channel, message};
use tidewire_core::wire::Offset;
use tidewire_server_core::store::{
    Account, CreateDialog, Exchange, MAX_MEMBERSHIPS, Outcome, Read, Refusal, Revocation, SetMember, Write,
};

fn create(subject: &Subject, name: &str, owner: Option<&str>) -> Outcome {
    let dialog = CreateDialog { name: channel(name), owner: owner.map(str::to_owned), account: Account::Own };
    subject.write(Write::CreateDialog(dialog))
}

fn delete(subject: &Subject, name: &str) -> Outcome {
    subject.write(Write::DeleteDialog { name: channel(name), unused_before_ms: None })
}

/// Case.
pub fn a_dialog_has_one_owner(subject: &Subject) {
    assert!(matches!(create(subject, "dialog:a", Some("user:ada")), Outcome::Created));
    assert!(matches!(create(subject, "dialog:a", Some("user:ada")), Outcome::Done));
    for owner in [Some("user:bob"), None] {
        let outcome = create(subject, "dialog:a", owner);
        assert!(matches!(outcome, Outcome::Refused(Refusal::DialogTaken)), "{owner:?}");
    }
    assert_eq!(subject.row("dialog:a").unwrap().owner.as_deref(), Some("user:ada"));
}

/// Case.
pub fn a_deleted_dialog_leaves_nothing_and_its_place_is_not_used_again(subject: &Subject) {
    let first = subject.dialog("dialog:a", Some("user:ada"));
    for n in 1..=3 {
        subject.stored(&message(first, "dialog:a", n, "x"));
    }
    assert!(matches!(delete(subject, "dialog:a"), Outcome::Deleted(row) if row == first));
    assert!(subject.row("dialog:a").is_none());
    assert!(matches!(delete(subject, "dialog:a"), Outcome::Done));
    let again = subject.dialog("dialog:a", Some("user:bob"));
    assert_ne!(again, first);
    let row = subject.row("dialog:a").unwrap();
    assert!(row.head > Offset(3) && row.floor == row.head, "a cursor from before is behind the floor");
    // An earlier op is new here.
    assert_eq!(subject.stored(&message(again, "dialog:a", 1, "x")).offset, row.head.next());
}

/// Case.
pub fn only_dialogs_that_were_never_written_in_are_unused(subject: &Subject) {
    let written = subject.dialog("dialog:written", Some("user:ada"));
    let at = subject.stored(&message(written, "dialog:written", 1, "x")).at;
    let unused = subject.dialog("dialog:unused", Some("user:ada"));
    subject.dialog("dialog:open", None);
    let find = |before_ms| subject.read(Read::Unused { after: 0, before_ms, most: 10 }).channels().unwrap();
    assert_eq!(find(at + 60_000), [(unused, channel("dialog:unused"))]);
    assert!(find(at.saturating_sub(60_000)).is_empty());
    let forget = |name: &str| {
        let unused_before_ms = Some(at + 60_000);
        subject.write(Write::DeleteDialog { name: channel(name), unused_before_ms })
    };
    assert!(matches!(forget("dialog:written"), Outcome::Done));
    assert!(matches!(forget("dialog:unused"), Outcome::Deleted(_)));
}

/// Case.
pub fn a_secret_is_exchanged_once(subject: &Subject) {
    subject.dialog("dialog:a", Some("guest:old"));
    let exchange = |guest: &str| Exchange {
        secret: "old".to_owned(),
        from: "guest:old".to_owned(),
        guest: guest.to_owned(),
        to: format!("guest:{guest}"),
    };
    let first = subject.write(Write::Exchange(exchange("new")));
    assert!(matches!(first, Outcome::Exchanged(guest) if guest == "new"));
    assert_eq!(subject.row("dialog:a").unwrap().owner.as_deref(), Some("guest:new"));
    // The answer may have been lost, so for a while the same secret gets the same guest.
    let again = subject.write(Write::Exchange(exchange("another")));
    assert!(matches!(again, Outcome::Exchanged(guest) if guest == "new"));
    assert_eq!(subject.row("dialog:a").unwrap().owner.as_deref(), Some("guest:new"));
}

fn revoked(user: &str, dialog: Option<&str>, since_ms: u64) -> Revocation {
    Revocation { user: user.to_owned(), dialog: dialog.map(str::to_owned), account: Account::Own, since_ms }
}

/// Case.
pub fn revocations_are_kept_and_forgotten(subject: &Subject) {
    for (user, dialog, since_ms) in [
        ("user:ada", None, 10),
        ("user:ada", None, 5),
        ("user:ada", Some("a"), 20),
        ("guest:ada", Some("a"), 30),
    ] {
        assert!(matches!(subject.write(Write::Revoke(revoked(user, dialog, since_ms))), Outcome::Done));
    }
    let found = || {
        let mut rows = subject.read(Read::Revocations).revocations().unwrap();
        rows.sort_by_key(|row| row.since_ms);
        rows
    };
    let all = [
        revoked("user:ada", None, 10),
        revoked("user:ada", Some("a"), 20),
        revoked("guest:ada", Some("a"), 30),
    ];
    assert_eq!(found(), all, "the latest of each counts");
    let forgotten = subject.write(Write::ForgetRevocations { before_ms: 20 });
    assert!(matches!(forgotten, Outcome::Forgotten(1)));
    assert_eq!(found(), all[1..]);
}

/// Case.
pub fn dialogs_and_revocations_keep_their_account(subject: &Subject) {
    let other = Account::Named("acme".to_owned());
    for (name, account) in [("dialog:own", Account::Own), ("dialog:acme", other.clone())] {
        let owner = Some("user:ada".to_owned());
        let dialog = CreateDialog { name: channel(name), owner, account: account.clone() };
        assert!(matches!(subject.write(Write::CreateDialog(dialog)), Outcome::Created));
        assert_eq!(subject.row(name).unwrap().account, account);
    }
    let of =
        |account: &Account| Revocation { account: account.clone(), ..revoked("user:ada", Some("acme"), 10) };
    subject.write(Write::Revoke(of(&Account::Own)));
    assert!(subject.row("dialog:acme").unwrap().owner.is_some(), "it belongs to another account");
    subject.write(Write::Revoke(of(&other)));
    assert!(subject.row("dialog:acme").unwrap().owner.is_none());
    let mut found = subject.read(Read::Revocations).revocations().unwrap();
    found.sort_by_key(|row| row.account.clone());
    assert_eq!(found, [of(&Account::Own), of(&other)]);
}

/// Case.
pub fn memberships_are_kept_counted_and_gone_with_their_dialog(subject: &Subject) {
    let set = |user: &str, name: &str, member, account| {
        let set = SetMember { channel: channel(name), user: user.to_owned(), member, account };
        subject.write(Write::SetMember(set))
    };
    let of = |user: &str| {
        let mut names = subject.read(Read::Memberships(user.to_owned())).names().unwrap();
        names.sort();
        names
    };
    // Before the channel is there, and more than once.
    for name in ["team:1", "team:2", "team:1", "dialog:a"] {
        assert!(matches!(set("user:ada", name, true, Account::Own), Outcome::Done));
    }
    assert!(matches!(set("guest:bob", "team:1", true, Account::Own), Outcome::Done));
    assert_eq!(of("user:ada"), ["dialog:a", "team:1", "team:2"].map(channel));
    let members = |after: &str, most| {
        let after = after.to_owned();
        subject.read(Read::Members { channel: channel("team:1"), after, most }).users().unwrap()
    };
    assert_eq!(members("", 9), ["guest:bob", "user:ada"]);
    assert_eq!(
        (members("", 1), members("guest:bob", 9)),
        (vec!["guest:bob".to_owned()], vec!["user:ada".to_owned()])
    );
    assert!(matches!(set("user:ada", "team:2", false, Account::Own), Outcome::Done));
    assert!(matches!(set("user:ada", "team:2", false, Account::Own), Outcome::Done), "again");
    assert_eq!(of("user:ada"), ["dialog:a", "team:1"].map(channel));
    subject.dialog("dialog:a", Some("user:eve"));
    let other = Account::Named("acme".to_owned());
    for member in [true, false] {
        let outcome = set("user:ada", "dialog:a", member, other.clone());
        assert!(matches!(outcome, Outcome::Refused(Refusal::Forbidden)), "of another account");
    }
    delete(subject, "dialog:a");
    assert_eq!(of("user:ada"), [channel("team:1")]);
    for n in 0..MAX_MEMBERSHIPS - 1 {
        assert!(matches!(set("user:ada", &format!("more:{n}"), true, Account::Own), Outcome::Done));
    }
    let outcome = set("user:ada", "one:more", true, Account::Own);
    assert!(matches!(outcome, Outcome::Refused(Refusal::TooManyMemberships)));
    assert!(matches!(set("user:ada", "team:1", true, Account::Own), Outcome::Done), "that is none more");
    assert_eq!(of("user:ada").len(), MAX_MEMBERSHIPS);
}

/// Case.
pub fn a_dialog_that_was_taken_back_is_nobodys(subject: &Subject) {
    subject.dialog("dialog:a", Some("guest:g"));
    subject.write(Write::Revoke(revoked("user:eve", Some("a"), 1)));
    assert_eq!(subject.row("dialog:a").unwrap().owner.as_deref(), Some("guest:g"));
    subject.write(Write::Revoke(revoked("guest:g", Some("a"), 1)));
    assert_eq!(subject.row("dialog:a").unwrap().owner, None);
    for owner in [Some("guest:g"), Some("user:ada")] {
        let outcome = create(subject, "dialog:a", owner);
        assert!(matches!(outcome, Outcome::Refused(Refusal::DialogTaken)), "{owner:?}");
    }
}
