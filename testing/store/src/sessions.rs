//! Sessions of signed-in users.

use crate::Subject;
use std::collections::{BTreeMap, BTreeSet};
use tidewire_core::wire::{Profile, UserKind};
use tidewire_server_core::store::{Account, Outcome, Read, Refusal, SessionRow, Site, Write};

fn session(id: &str, user: &str, ends_ms: u64) -> SessionRow {
    let guilds: BTreeSet<String> = (0..2_000).map(|id| id.to_string()).collect();
    SessionRow {
        id: id.to_owned(),
        kind: UserKind::User,
        user: user.to_owned(),
        name: Some("Ada \"A\"".to_owned()),
        profile: Profile::from_json(r##"{"color":"#336699"}"##),
        account: Account::Own,
        claims: BTreeMap::from([("guilds".to_owned(), guilds), ("roles".to_owned(), BTreeSet::new())]),
        since_ms: 5,
        ends_ms,
    }
}

/// Case.
pub fn sessions_are_kept_as_written_until_they_are_ended_or_over(subject: &Subject) {
    let read = |id: &str| subject.read(Read::Session(id.to_owned())).session().unwrap();
    let put = |row: &SessionRow| subject.write(Write::PutSession(row.clone()));
    let end = |id: &str, account: Account| subject.write(Write::EndSession { id: id.to_owned(), account });
    assert_eq!(read("a"), None);
    let (first, other) = (session("a", "ada", 10), session("b", "bob", 20));
    assert!(matches!(put(&first), Outcome::Done) && matches!(put(&other), Outcome::Done));
    assert_eq!((read("a"), read("b")), (Some(first.clone()), Some(other)));
    let bare = SessionRow { name: None, profile: None, claims: BTreeMap::new(), ..first.clone() };
    assert!(matches!(put(&bare), Outcome::Done));
    assert_eq!(read("a"), Some(bare.clone()), "the later one counts whole");

    assert!(matches!(put(&session("a", "bob", 10)), Outcome::Refused(Refusal::SessionTaken)));
    let guest = SessionRow { kind: UserKind::Guest, ..first.clone() };
    assert!(matches!(put(&guest), Outcome::Refused(Refusal::SessionTaken)));
    let acme = || Account::Named("acme".to_owned());
    let elsewhere = SessionRow { account: acme(), ..first };
    assert!(matches!(put(&elsewhere), Outcome::Refused(Refusal::Forbidden)));
    assert!(matches!(end("a", acme()), Outcome::Refused(Refusal::Forbidden)));
    assert_eq!(read("a"), Some(bare), "as it was");

    assert!(matches!(end("a", Account::Own), Outcome::Done));
    assert!(matches!(end("a", Account::Own), Outcome::Done), "there is none");
    assert_eq!(read("a"), None);
    assert!(matches!(put(&elsewhere), Outcome::Done), "the id is free again");
    assert!(matches!(subject.write(Write::ForgetSessions { before_ms: 20 }), Outcome::Forgotten(1)));
    assert!(read("a").is_none() && read("b").is_some());
}

/// Case.
pub fn sites_are_kept_as_written_and_belong_to_an_account(subject: &Subject) {
    let site = |key: &str, account: Account| Site {
        key: key.to_owned(),
        account,
        origins: vec!["https://a.example".to_owned(), "http://localhost:8080".to_owned()],
        assistant: None,
    };
    let acme = || Account::Named("acme".to_owned());
    let sites = || {
        let mut sites = subject.read(Read::Sites).sites().unwrap();
        sites.sort_by(|one, other| one.key.cmp(&other.key));
        sites
    };
    let (mut first, second) = (site("a", Account::Own), site("b", acme()));
    for site in [&first, &second] {
        assert!(matches!(subject.write(Write::PutSite(site.clone())), Outcome::Done));
    }
    first.assistant = Some("sales".to_owned());
    first.origins.clear();
    assert!(matches!(subject.write(Write::PutSite(first.clone())), Outcome::Done));
    assert_eq!(sites(), [first.clone(), second.clone()]);
    assert!(matches!(subject.write(Write::PutSite(site("a", acme()))), Outcome::Refused(Refusal::Forbidden)));
    let delete = |account| subject.write(Write::DeleteSite { key: "a".to_owned(), account });
    assert!(matches!(delete(acme()), Outcome::Refused(Refusal::Forbidden)));
    assert_eq!(sites(), [first, second.clone()]);
    assert!(matches!(delete(Account::Own), Outcome::Done) && matches!(delete(Account::Own), Outcome::Done));
    assert_eq!(sites(), [second]);
}
