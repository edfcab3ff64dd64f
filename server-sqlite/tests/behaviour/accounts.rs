//! Accounts: an operator sees what belongs to their account, and nothing else.

use crate::rig::{Client, Rig, message};
use serde_json::json;
use std::sync::Arc;
use tidewire_core::wire::ChannelName;
use tidewire_server_core::Hub;
use tidewire_server_core::rules::{Pattern, Rule, Rules, Who};
use tidewire_server_core::store::{Account, CreateDialog, Revocation, Store, Write};

fn acme() -> Account {
    Account::Named("acme".to_owned())
}

fn who(words: &[&str]) -> Vec<Who> {
    words.iter().map(|word| Who::parse(word).unwrap()).collect()
}

/// With a dialog of each account, each of Ada's, and a room for operators and members.
fn rig() -> Rig {
    let room = Pattern::parse("room:{id}").unwrap();
    let room = Rule { open: true, ..Rule::new(room, who(&["operators", "role:lead", "claim:rooms"])) };
    let mut rig = Rig::with(|engine| {
        engine.hub = Arc::new(Hub::new(Rules::new([], vec![room]).unwrap()));
    });
    for (name, account) in [("dialog:own", Account::Own), ("dialog:acme", acme())] {
        let owner = Some("user:ada".to_owned());
        let dialog = CreateDialog { name: ChannelName::parse(name).unwrap(), owner, account };
        rig.inbox.write(Write::CreateDialog(dialog), Box::new(|result| assert!(result.is_ok())));
    }
    rig.commit();
    rig
}

/// `ok`, or the code with which it is refused.
fn subscribe(rig: &mut Rig, client: &mut Client, ch: &str) -> String {
    let answer = client.subscribe(rig, ch);
    if answer["t"] == "sub_ok" { "ok".to_owned() } else { answer["code"].as_str().unwrap().to_owned() }
}

#[test]
fn an_operator_reads_and_writes_in_their_account_alone() {
    for (token, own, of_acme) in [
        ("op||account=own", "ok", "forbidden"),
        ("op||account=acme", "forbidden", "ok"),
        ("op||account=other", "forbidden", "forbidden"),
        ("op", "forbidden", "forbidden"),
        // Whoever owns a dialog, or is named its guest, needs no account for it.
        ("ada", "ok", "ok"),
        ("bob||own|acme", "ok", "ok"),
        ("bob||account=acme", "forbidden", "forbidden"),
    ] {
        let mut rig = rig();
        let mut client = rig.welcomed(token);
        for (n, (ch, code)) in [("dialog:own", own), ("dialog:acme", of_acme)].into_iter().enumerate() {
            assert_eq!(subscribe(&mut rig, &mut client, ch), code, "{token} {ch}");
            client.send(&rig, &message(n as u128, ch));
            rig.commit();
            let answer = loop {
                let frame = client.try_next().unwrap();
                if frame["t"] == "ok" || frame["t"] == "nack" {
                    break frame;
                }
            };
            assert_eq!(answer["code"].as_str().unwrap_or("ok"), code, "{token} writes in {ch}");
        }
    }
}

#[test]
fn a_channel_belongs_to_the_account_of_the_one_who_opened_it() {
    let mut rig = rig();
    let (acme, own, member) = ("op||account=acme", "op-two||account=own", "bob||rooms=1+2+3");
    // An operator without an account opens nothing, whatever their role.
    let nobody = "op-three||roles=lead";
    for (token, ch, code) in [
        (acme, "room:1", "ok"),
        (own, "room:1", "forbidden"),
        (own, "room:2", "ok"),
        (acme, "room:2", "forbidden"),
        (nobody, "room:1", "forbidden"),
        (nobody, "room:3", "forbidden"),
        (member, "room:1", "ok"),
        (member, "room:3", "ok"),
        (own, "room:3", "ok"),
    ] {
        let mut client = rig.welcomed(token);
        assert_eq!(subscribe(&mut rig, &mut client, ch), code, "{token} {ch}");
    }
}

#[test]
fn an_operator_whose_token_names_another_account_from_now_on_loses_what_they_saw() {
    let mut rig = rig();
    let mut op = rig.welcomed("op||account=own");
    assert_eq!(subscribe(&mut rig, &mut op, "dialog:own"), "ok");
    op.send(&rig, &json!({"t": "auth", "token": "op||account=acme"}));
    op.next("auth_ok");
    assert_eq!(op.next("sub_err")["code"], "forbidden");
    let mut ada = rig.welcomed("ada");
    ada.send(&rig, &message(1, "dialog:own"));
    rig.commit();
    assert!(op.heard_nothing());
}

#[test]
fn a_revocation_is_of_one_account() {
    for (account, closes) in [(Account::Own, false), (acme(), true)] {
        let rig = rig();
        let mut bob = rig.welcomed(&format!("bob|{}|account=acme", rig.now.wall / 1000));
        let revocation =
            Revocation { user: "user:bob".to_owned(), dialog: None, account, since_ms: rig.now.wall };
        rig.engine.revoke(revocation, Box::new(|_| ()));
        assert_ne!(bob.heard_nothing(), closes);
    }
}
