//! Members of channels: whom the application's backend made one reads, and from the moment on that
//! it ends that, no longer.

use crate::rig::{Rig, hello, message};
use serde_json::json;
use std::sync::Arc;
use tidewire_core::wire::ChannelName;
use tidewire_server_core::rules::{Pattern, Rule, Rules, Who};
use tidewire_server_core::store::{Account, Read, SetMember, StoreError};
use tidewire_server_core::{Answer, Flow, Hub};

fn rig() -> Rig {
    let members = vec![Who::parse("members").unwrap()];
    let rule = Rule { open: true, ..Rule::new(Pattern::parse("team:{id}").unwrap(), members) };
    Rig::with(|engine| {
        engine.hub = Arc::new(Hub::new(Rules::new([], vec![rule]).unwrap()));
    })
}

fn name(name: &str) -> ChannelName {
    ChannelName::parse(name).unwrap()
}

fn set(rig: &Rig, user: &str, channel: &str, member: bool) {
    let set =
        SetMember { channel: name(channel), user: format!("user:{user}"), member, account: Account::Own };
    rig.engine.set_member(set, Box::new(|result| assert!(result.is_ok())));
}

#[test]
fn members_read_and_write_and_nobody_else_does() {
    let mut rig = rig();
    set(&rig, "ada", "team:1", true);
    rig.commit();
    let (mut ada, mut bob) = (rig.welcomed("ada"), rig.welcomed("bob"));
    assert_eq!(ada.subscribe(&mut rig, "team:1")["t"], "sub_ok");
    assert_eq!(ada.subscribe(&mut rig, "team:2")["code"], "forbidden");
    assert_eq!(bob.subscribe(&mut rig, "team:1")["code"], "forbidden");
    // While he is connected.
    set(&rig, "bob", "team:1", true);
    rig.commit();
    assert_eq!(bob.subscribe(&mut rig, "team:1")["t"], "sub_ok");
    ada.send(&rig, &message(1, "team:1"));
    rig.commit();
    assert_eq!(bob.next("event")["by"]["id"], "ada");
}

#[test]
fn whoever_is_no_member_any_more_hears_nothing_of_the_next_event() {
    let mut rig = rig();
    for user in ["ada", "bob"] {
        set(&rig, user, "team:1", true);
    }
    rig.commit();
    let (mut ada, mut bob) = (rig.welcomed("ada"), rig.welcomed("bob"));
    for client in [&mut ada, &mut bob] {
        assert_eq!(client.subscribe(&mut rig, "team:1")["t"], "sub_ok");
    }
    // In one transaction: a message that Bob may read, the end, a message that he may not.
    ada.send(&rig, &message(1, "team:1"));
    set(&rig, "bob", "team:1", false);
    ada.send(&rig, &message(2, "team:1"));
    rig.commit();
    // What was waiting for him is not sent either.
    assert_eq!(bob.next("sub_err")["code"], "forbidden");
    assert!(bob.heard_nothing());
    bob.send(&rig, &message(3, "team:1"));
    rig.commit();
    assert_eq!(bob.next("nack")["code"], "forbidden");
    // After a reconnect too.
    let mut bob = rig.welcomed("bob");
    assert_eq!(bob.subscribe(&mut rig, "team:1")["code"], "forbidden");
}

#[test]
fn a_hello_waits_for_the_memberships_and_for_what_changes_meanwhile() {
    let mut rig = rig();
    set(&rig, "ada", "team:1", true);
    set(&rig, "ada", "team:2", true);
    rig.commit();
    let mut ada = rig.connect();
    let hello = hello("ada", &json!([{"ch": "team:1"}, {"ch": "team:2"}]));
    assert_eq!(
        ada.session.message(rig.now, &hello.to_string()),
        Flow::Read(Read::Memberships("user:ada".to_owned()))
    );
    let read = Read::Memberships("user:ada".to_owned());
    let reply = rig.read(&read);
    // After it was read, and before the session has it.
    set(&rig, "ada", "team:2", false);
    rig.commit();
    ada.flow = ada.session.answered(rig.now, Answer::new(&read, Ok(reply), &rig.engine.hub));
    ada.answer(&rig);
    ada.next("welcome");
    assert!(matches!(ada.flow, Flow::Open(..)));
    ada.open(&mut rig);
    assert_eq!(ada.next("sub_ok")["ch"], "team:1");
    assert_eq!(ada.next("sub_err")["ch"], "team:2");
}

#[test]
fn a_connection_whose_memberships_cannot_be_read_is_told_to_come_back() {
    let rig = rig();
    let mut ada = rig.connect();
    ada.flow = ada.session.message(rig.now, &hello("ada", &json!([])).to_string());
    let answer = Answer::Memberships(Err(StoreError::Unavailable));
    assert_eq!(ada.session.answered(rig.now, answer), Flow::End);
    assert_eq!(ada.next("error")["code"], "store_unavailable");
    assert!(!ada.heard_nothing());
    assert_eq!(ada.close.map(|close| close.0), Some(4004));
}

#[test]
fn where_no_rule_names_members_a_hello_reads_nothing() {
    let rig = Rig::new();
    let mut ada = rig.connect();
    assert_eq!(ada.session.message(rig.now, &hello("ada", &json!([])).to_string()), Flow::Ready);
    ada.next("welcome");
}
