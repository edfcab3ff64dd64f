//! Hand-off: who answers in a dialog.

use crate::rig::*;
use serde_json::json;
use tidewire_core::tables::TableEvent;
use tidewire_core::wire::{Handler, Step, User, UserKind};
use tidewire_core::*;

fn person(kind: UserKind, id: &str) -> User {
    User { id: id.to_owned(), name: id.to_owned(), kind, profile: None }
}

fn operator(id: &str) -> Handler {
    Handler::Operator { user: person(UserKind::Operator, id), since: 1 }
}

fn steps() -> Vec<Step> {
    let transfer = Step::Transfer { id: "eve".to_owned(), name: "Eve".to_owned() };
    let from = |id: &str| Some(id.to_owned());
    vec![
        Step::Request,
        Step::Take { from: None },
        Step::Take { from: from("eve") },
        transfer,
        Step::Release { from: None },
        Step::Release { from: from("eve") },
        Step::Close,
    ]
}

#[test]
fn from_every_state_every_step_leads_where_the_table_says_or_nowhere() {
    let states = [
        Handler::Ai,
        Handler::Queued { since: 1 },
        operator("eve"),
        operator("bob"),
        Handler::Closed { since: 1 },
    ];
    let ada = person(UserKind::Guest, "ada");
    let eve = person(UserKind::Operator, "eve");
    let backend = person(UserKind::Service, "backend");
    let mut table = String::new();
    for by in [&ada, &eve, &backend] {
        for state in &states {
            let next = |step: &Step| match state.after(by, step, 2) {
                _ if !step.is_for(by.kind) => "-".to_owned(),
                Err(_) => "!".to_owned(),
                Ok(Handler::Operator { user, since: 2 }) => user.id,
                Ok(next) => next.as_str().to_owned(),
            };
            let nexts: Vec<String> = steps().iter().map(next).collect();
            table += &format!("{} {}: {}\n", by.id, state.as_str(), nexts.join(" "));
        }
    }
    // request, take, take from Eve, transfer to Eve, release, release from Eve, close
    let expected = "\
ada ai: queued - - - ! ! -
ada queued: ! - - - ai ! -
ada operator: ! - - - ! ! -
ada operator: ! - - - ! ! -
ada closed: queued - - - ! ! -
eve ai: queued eve eve ! ! ! closed
eve queued: ! eve eve ! ai ! closed
eve operator: ! ! eve eve ai ai closed
eve operator: ! ! ! ! ! ! !
eve closed: queued eve eve ! ! ! !
backend ai: queued - - eve ! ! closed
backend queued: ! - - eve ai ! closed
backend operator: ! - - eve ai ai closed
backend operator: ! - - eve ai ! closed
backend closed: queued - - eve ! ! !
";
    assert_eq!(table, expected);
}

#[test]
fn a_message_of_an_operator_takes_a_dialog_and_one_of_a_visitor_opens_a_closed_one() {
    let next = |state: &Handler, kind, id: &str| state.after_message(&person(kind, id), 1);
    let closed = Handler::Closed { since: 1 };
    for state in [Handler::Ai, Handler::Queued { since: 1 }, closed.clone()] {
        assert_eq!(next(&state, UserKind::Operator, "eve"), Some(operator("eve")));
        assert_eq!(next(&state, UserKind::Service, "backend"), None);
    }
    assert_eq!(next(&operator("bob"), UserKind::Operator, "eve"), None, "she helps");
    assert_eq!(next(&operator("bob"), UserKind::Guest, "ada"), None);
    assert_eq!(next(&closed, UserKind::Guest, "ada"), Some(Handler::Ai));
}

#[test]
fn steps_and_handlers_are_read_as_they_were_written() {
    for step in steps() {
        let text = step.encode();
        let object = wire::json::validate(&text).and_then(wire::json::Object::parse).expect("an object");
        assert_eq!(Step::decode(&object), Some(step));
    }
}

fn told(rig: &Rig) -> Option<Handler> {
    rig.events.iter().rev().find_map(|event| match event {
        Event::<TableEvent>::Dialog { handler, .. } => Some(handler.clone()),
        _ => None,
    })
}

#[test]
fn a_client_is_told_who_answers_and_follows_the_events() {
    let mut rig = Rig::new();
    rig.client.open_dialog(rig.now, "demo").expect("valid");
    rig.connect();
    rig.welcome();
    let mut sub = sub_ok("fresh", 7, 7, vec![]);
    sub["handler"] = json!({"state": "queued", "since": 5});
    rig.receive(sub);
    assert_eq!(told(&rig), Some(Handler::Queued { since: 5 }));
    let mut take = event(8, "handoff", "eve", json!({"step": "take"}));
    take["by"]["kind"] = json!("operator");
    rig.receive(take);
    let eve = Handler::Operator { user: person(UserKind::Operator, "eve"), since: WALL };
    assert_eq!((told(&rig), rig.client.handler("demo")), (Some(eve.clone()), Some(&eve)));
    // What the state does not allow, or can't be read, changes nothing.
    for body in [json!({"step": "request"}), json!({"step": "dance"}), json!({})] {
        let offset = 9 + rig.client.rows("demo").len() as u64;
        rig.receive(event(offset, "handoff", "bob", body));
        assert_eq!(rig.client.handler("demo"), Some(&eve));
    }
    assert_eq!(rig.client.handler("other"), None);
}

#[test]
fn asking_for_a_person_waits_for_the_connection_and_a_refusal_is_told() {
    let mut rig = Rig::new();
    rig.client.open_dialog(rig.now, "demo").expect("valid");
    let id = rig.client.hand_off(rig.now, "demo", &Step::Request).expect("taken");
    rig.connect();
    rig.welcome();
    rig.receive(sub_ok("fresh", 0, 0, vec![]));
    let ops = rig.ops();
    assert_eq!((&ops[0]["kind"], &ops[0]["body"]), (&json!("handoff"), &json!({"step": "request"})));
    let text = rig.send("hello");
    rig.drain();
    rig.nack(&id, "handoff_conflict", false, None);
    assert!(
        matches!(&rig.op_states(&id)[..], [.., OpState::Failed { code, .. }] if code == "handoff_conflict")
    );
    // A refused step stops no message.
    rig.ok(&text, 1);
    assert!(matches!(rig.op_states(&text)[..], [.., OpState::Acked { .. }]));
    assert_eq!(rig.client.hand_off(rig.now, "", &Step::Close).map_err(SendError::code), Err("bad_channel"));
}
