//! Services: the application's backend, which may do in its account what the scopes of its token
//! say, whatever the rules of the channels.

use crate::rig::{Client, Rig};
use serde_json::{Value, json};
use std::sync::Arc;
use tidewire_core::wire::ChannelName;
use tidewire_server_core::rules::{Pattern, Rule, Rules, Who};
use tidewire_server_core::store::{Account, CreateDialog, Store, Write};
use tidewire_server_core::{Flow, Hub};
use uuid::Uuid;

/// With Ada's dialog, one of another account, and a channel for admins that opens itself.
fn rig() -> Rig {
    let admins = vec![Who::parse("role:admin").unwrap()];
    let kinds = [("notice".to_owned(), vec![])].into();
    let rule = Rule { open: true, kinds, ..Rule::new(Pattern::parse("status:{id}").unwrap(), admins) };
    let mut rig = Rig::with(|engine| {
        engine.hub = Arc::new(Hub::new(Rules::new([], vec![rule]).unwrap()));
    });
    for (name, account) in
        [("dialog:hers", Account::Own), ("dialog:other", Account::Named("acme".to_owned()))]
    {
        let owner = Some("user:ada".to_owned());
        let dialog = CreateDialog { name: ChannelName::parse(name).unwrap(), owner, account };
        rig.inbox.write(Write::CreateDialog(dialog), Box::new(|result| assert!(result.is_ok())));
    }
    rig.commit();
    rig
}

/// What the answer of this type says: its code, or `ok`.
fn said(rig: &mut Rig, client: &mut Client, frame: &Value, types: [&str; 2]) -> String {
    client.send(rig, frame);
    if matches!(client.flow, Flow::Open(..)) {
        client.open(rig);
    }
    rig.commit();
    loop {
        let frame = client.try_next().unwrap();
        if types.contains(&frame["t"].as_str().unwrap()) {
            return frame["code"].as_str().unwrap_or("ok").to_owned();
        }
    }
}

fn op(ch: &str, kind: &str) -> Value {
    let body = json!({"text": "hi"});
    json!({"t": "op", "id": Uuid::from_u128(0xabc1).to_string(), "ch": ch, "kind": kind, "body": body})
}

#[test]
fn a_service_does_what_its_scopes_say_and_nothing_else() {
    const NO: &str = "forbidden";
    for (token, ch, kind, reads, writes) in [
        ("svc||account=own|scopes=read+publish", "dialog:hers", "message", "ok", "ok"),
        ("svc||account=own|scopes=read", "dialog:hers", "message", "ok", NO),
        ("svc||account=own|scopes=publish", "dialog:hers", "message", NO, "ok"),
        ("svc||account=own", "dialog:hers", "message", NO, NO),
        ("svc||account=own|scopes=dialogs+revoke", "dialog:hers", "message", NO, NO),
        ("svc||account=own|scopes=read+publish", "dialog:other", "message", NO, NO),
        ("svc||account=acme|scopes=read+publish", "dialog:other", "message", "ok", "ok"),
        ("svc||scopes=read+publish", "dialog:hers", "message", NO, NO),
        // Nobody is selected by the rule: a service needs no rule.
        ("svc||account=own|scopes=read+publish", "status:1", "notice", "ok", "ok"),
        ("svc||account=own|scopes=publish", "status:1", "notice", NO, "ok"),
        ("svc||account=own|scopes=read+publish", "status:1", "other", "ok", "unknown_kind"),
        ("svc||account=own|scopes=read+publish", "status:1", "answer.end", "ok", "unknown_kind"),
        ("svc||account=own|scopes=read+publish", "nowhere:1", "message", NO, NO),
        ("svc||account=own|scopes=dialogs", "status:1", "notice", NO, NO),
        // Roles and claims are of no use to it.
        ("svc||account=own|roles=admin", "status:1", "notice", NO, NO),
    ] {
        let mut rig = rig();
        let mut client = rig.welcomed(token);
        let sub = json!({"t": "sub", "ch": ch});
        assert_eq!(said(&mut rig, &mut client, &sub, ["sub_ok", "sub_err"]), reads, "{token} reads {ch}");
        let op = op(ch, kind);
        assert_eq!(said(&mut rig, &mut client, &op, ["ok", "nack"]), writes, "{token} writes {kind} in {ch}");
    }
}

#[test]
fn what_a_service_writes_says_that_a_service_wrote_it_and_calls_no_model() {
    let mut rig = rig();
    let mut ada = rig.welcomed("ada");
    ada.send(&rig, &json!({"t": "sub", "ch": "dialog:hers"}));
    ada.next("sub_ok");
    let mut service = rig.welcomed("svc||account=own|scopes=publish");
    service.send(&rig, &op("dialog:hers", "message"));
    rig.commit();
    assert_eq!(ada.next("event")["by"], json!({"id": "svc", "name": "svc", "kind": "service"}));
    assert!(rig.begun.0.lock().unwrap().is_empty());
}
