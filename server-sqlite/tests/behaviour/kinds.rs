//! A kind of one's own is one file: this one. Votes in a poll, which only users cast, and of which
//! each has one of two answers.

use crate::rig::{ROOM, Rig};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tidewire_core::wire::json::Object;
use tidewire_core::wire::{User, UserKind, codes};
use tidewire_server_core::dialog::ops::{Kind, Kinds, Op, Refused};
use tidewire_server_core::dialog::{Effects, Progress};
use tidewire_server_core::store::Stored;
use uuid::Uuid;

struct Votes {
    yes: Arc<AtomicU64>,
}

struct Vote {
    is_yes: bool,
    yes: Arc<AtomicU64>,
}

impl Kind for Votes {
    fn name(&self) -> &'static str {
        "poll.vote"
    }

    fn parse(&self, body: &Object<'_>) -> Result<Box<dyn Op>, Refused> {
        let is_yes = match body.str("answer").as_deref() {
            Some("yes") => true,
            Some("no") => false,
            _ => return Err(Refused::new(codes::BAD_BODY, "`body.answer` must be yes or no")),
        };
        Ok(Box::new(Vote { is_yes, yes: self.yes.clone() }))
    }
}

impl Op for Vote {
    fn authorize(&self, by: &User) -> Result<(), Refused> {
        match by.kind {
            UserKind::User => Ok(()),
            _ => Err(Refused::new(codes::FORBIDDEN, "guests have no vote")),
        }
    }

    fn applied(&self, _: &mut Progress, _: &User, _: &Stored) -> Effects {
        self.yes.fetch_add(u64::from(self.is_yes), Ordering::Relaxed);
        Effects::default()
    }
}

fn vote(n: u128, body: &Value) -> Value {
    json!({"t": "op", "id": Uuid::from_u128(n).to_string(), "ch": ROOM, "kind": "poll.vote", "body": body})
}

#[test]
fn a_kind_of_ones_own_is_read_authorized_stored_and_applied() {
    let yes = Arc::<AtomicU64>::default();
    let mut rig = Rig::with(|engine| engine.kinds = Kinds::standard().with(Votes { yes: yes.clone() }));
    let (mut ada, mut guest) = (rig.member("ada"), rig.member("guest-1"));
    ada.send(&rig, &vote(1, &json!({"answer": "perhaps"})));
    assert_eq!(ada.next("nack")["code"], "bad_body");
    guest.send(&rig, &vote(2, &json!({"answer": "yes"})));
    assert_eq!(guest.next("nack")["code"], "forbidden");
    ada.send(&rig, &vote(3, &json!({"answer": "yes"})));
    assert_eq!(yes.load(Ordering::Relaxed), 0, "nothing is applied before the commit");
    rig.commit();
    assert_eq!(yes.load(Ordering::Relaxed), 1);
    let event = guest.next("event");
    assert_eq!((&event["kind"], &event["body"]["answer"]), (&json!("poll.vote"), &json!("yes")));
    ada.next("event");
    assert_eq!(ada.next("ok")["offset"], 1);
    // Sent again it is not counted again.
    ada.send(&rig, &vote(3, &json!({"answer": "yes"})));
    rig.commit();
    assert_eq!(ada.next("ok")["dup"], true);
    assert_eq!(yes.load(Ordering::Relaxed), 1);
}

#[test]
fn a_kind_that_nobody_added_is_unknown() {
    let rig = Rig::new();
    let mut ada = rig.member("ada");
    for kind in ["poll.vote", "answer.start", "answer.end", "Message", "message "] {
        let mut op = vote(1, &json!({"answer": "yes", "run": "r"}));
        op["kind"] = json!(kind);
        ada.send(&rig, &op);
        let refused = ada.try_next().unwrap();
        assert_eq!(refused["code"], "unknown_kind", "{kind:?}: {refused}");
    }
}
