//! Access that is taken back ends at once, for live connections and for those who come later.

use crate::rig::{Client, ROOM, Rig, hello, op};
use serde_json::{Value, json};
use std::sync::Arc;
use tidewire_core::wire::ChannelName;
use tidewire_server_core::store::{Account, CreateDialog, Read, Revocation, Store, Write};
use tidewire_server_core::{Flow, Revocations};

const SECRET: &str = "dialog:secret";

/// With a dialog of Bob's beside the room.
fn rig() -> Rig {
    let mut rig = Rig::new();
    let secret = CreateDialog {
        name: ChannelName::parse(SECRET).unwrap(),
        owner: Some("user:bob".to_owned()),
        account: Account::Own,
    };
    rig.inbox.write(Write::CreateDialog(secret), Box::new(|result| assert!(result.is_ok())));
    rig.commit();
    rig
}

/// A token of now that gives access to Bob's dialog.
fn token(rig: &Rig, user: &str) -> String {
    format!("{user}|{}|secret", rig.now.wall / 1000)
}

fn connect(rig: &Rig, token: &str) -> Client {
    let mut client = rig.connect();
    client.send(rig, &hello(token, &json!([{"ch": SECRET}])));
    client
}

fn reader(rig: &Rig, user: &str) -> Client {
    let mut client = connect(rig, &token(rig, user));
    client.next("welcome");
    client.next("sub_ok");
    client
}

fn secret_op(n: u128) -> Value {
    let mut op = op(n, "hi");
    op["ch"] = json!(SECRET);
    op
}

fn revoke(rig: &mut Rig, user: &str, dialog: Option<&str>) {
    let dialog = dialog.map(str::to_owned);
    let revocation =
        Revocation { user: format!("user:{user}"), dialog, account: Account::Own, since_ms: rig.now.wall };
    rig.engine.revoke(revocation, Box::new(|result| assert!(result.is_ok())));
}

fn expect_forbidden(client: &mut Client) {
    let lost = client.next("sub_err");
    assert_eq!((&lost["code"], &lost["retryable"]), (&json!("forbidden"), &json!(false)));
}

#[test]
fn a_revoked_user_hears_nothing_more_and_a_later_token_is_good() {
    let mut rig = rig();
    let (mut ada, mut bob) = (reader(&rig, "ada"), reader(&rig, "bob"));
    bob.send(&rig, &secret_op(1));
    rig.commit();
    let old = token(&rig, "ada");
    revoke(&mut rig, "ada", None);
    bob.send(&rig, &secret_op(2));
    rig.commit();
    assert_eq!(ada.next("error")["code"], "unauthorized", "not even what was waiting");
    assert!(!ada.heard_nothing());
    assert_eq!(ada.close, Some((4501, "unauthorized")));
    ada.send(&rig, &secret_op(3));
    assert_eq!(ada.flow, Flow::End);
    let mut again = connect(&rig, &old);
    let error = again.next("error");
    assert_eq!(error["code"], "unauthorized");
    assert!(error["message"].as_str().unwrap().contains("revoked"), "{error}");
    let mut without = connect(&rig, "ada");
    assert_eq!(without.next("error")["code"], "unauthorized", "a token that does not say when");
    rig.pass(1_000);
    let later = token(&rig, "ada");
    connect(&rig, &later).next("welcome");
    bob.next("event");
}

#[test]
fn a_renewal_with_a_revoked_token_ends_the_connection() {
    let mut rig = rig();
    let old = token(&rig, "ada");
    revoke(&mut rig, "ada", None);
    rig.pass(1_000);
    let mut ada = reader(&rig, "ada");
    ada.send(&rig, &json!({"t": "auth", "token": old}));
    assert_eq!(ada.next("error")["code"], "unauthorized");
}

#[test]
fn a_connection_with_a_newer_token_stays() {
    let mut rig = rig();
    let mut ada = reader(&rig, "ada");
    let since_ms = rig.now.wall;
    rig.pass(1_000);
    let newer = token(&rig, "ada");
    ada.send(&rig, &json!({"t": "auth", "token": newer}));
    ada.next("auth_ok");
    let revocation =
        Revocation { user: "user:ada".to_owned(), dialog: None, account: Account::Own, since_ms };
    rig.engine.revoke(revocation, Box::new(|_| ()));
    assert!(ada.heard_nothing());
}

#[test]
fn a_dialog_that_is_taken_back_ends_before_the_next_event_and_the_connection_stays() {
    let mut rig = rig();
    let (mut ada, mut eve) = (reader(&rig, "ada"), reader(&rig, "eve"));
    let mut bob = reader(&rig, "bob");
    ada.send(&rig, &json!({"t": "sub", "ch": ROOM}));
    ada.next("sub_ok");
    bob.send(&rig, &secret_op(1));
    bob.send(&rig, &op(2, "to the room"));
    rig.commit();
    revoke(&mut rig, "ada", Some("secret"));
    bob.send(&rig, &secret_op(3));
    bob.send(&rig, &json!({"t": "signal", "ch": SECRET, "kind": "typing", "body": {}}));
    rig.commit();
    assert_eq!(ada.next("event")["ch"], ROOM, "what waited of the dialog is gone, the rest is not");
    expect_forbidden(&mut ada);
    assert!(ada.heard_nothing());
    eve.next("event");
    ada.send(&rig, &json!({"t": "sub", "ch": SECRET}));
    expect_forbidden(&mut ada);
    ada.send(&rig, &secret_op(4));
    rig.commit();
    assert_eq!(ada.next("nack")["code"], "forbidden");
    rig.pass(1_000);
    let later = token(&rig, "ada");
    ada.send(&rig, &json!({"t": "auth", "token": later}));
    ada.next("auth_ok");
    ada.send(&rig, &json!({"t": "sub", "ch": SECRET}));
    assert_eq!(ada.next("sub_ok")["head"], 2);
}

#[test]
fn who_owned_the_dialog_loses_it_and_an_open_one_stays_open() {
    let mut rig = rig();
    let mut bob = reader(&rig, "bob");
    revoke(&mut rig, "bob", Some("secret"));
    let mut ada = rig.member("ada");
    revoke(&mut rig, "ada", Some("room"));
    expect_forbidden(&mut bob);
    assert!(bob.heard_nothing() && ada.heard_nothing());
    // Nor by a later token, unless it names the dialog.
    rig.pass(2_000);
    let mut again = rig.connect();
    let later = format!("bob|{}", rig.now.wall / 1000);
    again.send(&rig, &crate::rig::hello(&later, &json!([{"ch": SECRET}])));
    again.next("welcome");
    expect_forbidden(&mut again);
}

#[test]
fn a_page_that_was_being_read_is_not_sent_any_more() {
    let mut rig = rig();
    let mut bob = reader(&rig, "bob");
    for n in 0..70 {
        rig.pass(100);
        bob.send(&rig, &secret_op(n));
        rig.commit();
    }
    let mut ada = rig.connect();
    let subs = json!([{"ch": SECRET, "tail": 1000}]);
    let token = token(&rig, "ada");
    ada.flow = ada.session.message(rig.now, &hello(&token, &subs).to_string());
    assert!(matches!(ada.flow, Flow::Read(_)));
    revoke(&mut rig, "ada", Some("secret"));
    ada.answer(&rig);
    ada.next("welcome");
    expect_forbidden(&mut ada);
    bob.send(&rig, &secret_op(71));
    rig.commit();
    assert!(ada.heard_nothing());
    assert_eq!(ada.flow, Flow::Ready);
}

#[test]
fn what_was_stored_is_in_force_after_a_restart_until_it_is_forgotten() {
    let mut rig = rig();
    let since_ms = rig.now.wall;
    revoke(&mut rig, "ada", Some("secret"));
    revoke(&mut rig, "eve", None);
    rig.commit();
    let old = [token(&rig, "ada"), token(&rig, "eve")];
    rig.pass(5_000);
    // The same once more, later: one row, and the later time counts.
    revoke(&mut rig, "eve", None);
    rig.commit();
    let stored = rig.read(&Read::Revocations).revocations().unwrap();
    assert_eq!(stored.len(), 2);
    let restart = |rig: &mut Rig| {
        let stored = Revocations::new(rig.read(&Read::Revocations).revocations().unwrap());
        Arc::get_mut(&mut rig.engine).unwrap().access.revocations = stored;
    };
    restart(&mut rig);
    let mut ada = connect(&rig, &old[0]);
    ada.next("welcome");
    expect_forbidden(&mut ada);
    drop(ada);
    assert_eq!(connect(&rig, &old[1]).next("error")["code"], "unauthorized");
    let forget = Write::ForgetRevocations { before_ms: since_ms + 1 };
    rig.inbox.write(forget, Box::new(|result| assert!(result.is_ok())));
    rig.commit();
    restart(&mut rig);
    reader(&rig, "ada");
    assert_eq!(connect(&rig, &old[1]).next("error")["code"], "unauthorized");
}

#[test]
fn a_token_from_a_clock_that_is_ahead_does_not_outlive_a_revocation() {
    let mut rig = rig();
    let ahead = |rig: &Rig, s: u64| format!("ada|{}|secret", rig.now.wall / 1000 + s);
    let (stolen, mut ada) = (ahead(&rig, 20), connect(&rig, &ahead(&rig, 20)));
    ada.next("welcome");
    rig.pass(3_000);
    revoke(&mut rig, "ada", None);
    rig.commit();
    let mut thief = connect(&rig, &stolen);
    assert_eq!(thief.next("error")["code"], "unauthorized");
    assert!(!thief.heard_nothing(), "and the connection is closed");
    assert_eq!(thief.close, Some((4501, "unauthorized")));
    // What the same clock issues afterwards is later.
    rig.pass(2_000);
    let mut again = connect(&rig, &ahead(&rig, 20));
    again.next("welcome");
}
