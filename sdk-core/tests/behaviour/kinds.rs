//! A kind of one's own is one file on this side, too: this one. Votes in a poll, counted from the
//! events of the channel whose rows the dialog shows.

use crate::rig::*;
use serde_json::json;
use std::collections::BTreeMap;
use tidewire_core::wire::json::{Object, Writer};
use tidewire_core::wire::{Body, EventFrame};
use tidewire_core::*;

const KIND: &str = "poll.vote";

/// Each user's vote; the newest counts.
#[derive(Default)]
struct Poll {
    votes: BTreeMap<String, bool>,
}

impl Poll {
    fn body(is_yes: bool) -> String {
        Writer::object().str("answer", if is_yes { "yes" } else { "no" }).end()
    }

    fn apply(&mut self, event: &EventFrame) {
        if event.kind != KIND || Body::decode(&event.kind, &event.body) != Body::Other {
            return;
        }
        let answer = Object::parse(&event.body).ok().and_then(|body| Some(body.str("answer")?.into_owned()));
        match answer.as_deref() {
            Some("yes") => drop(self.votes.insert(event.by.id.clone(), true)),
            Some("no") => drop(self.votes.insert(event.by.id.clone(), false)),
            // A later version's, or somebody else's idea of a vote.
            _ => {}
        }
    }

    fn of(rig: &Rig) -> Poll {
        let mut poll = Poll::default();
        for event in &rig.events {
            if let Event::Received(event) = event {
                poll.apply(event);
            }
        }
        poll
    }

    fn yes(&self) -> usize {
        self.votes.values().filter(|yes| **yes).count()
    }
}

#[test]
fn a_kind_of_ones_own_is_sent_told_and_counted_and_is_no_row() {
    let mut rig = Rig::online();
    rig.client.open_dialog(rig.now, "demo").unwrap();
    rig.client.subscribe(rig.now, "dialog:demo").unwrap();
    rig.drain();
    let vote = rig.client.send(rig.now, "dialog:demo", KIND, &Poll::body(true)).unwrap();
    rig.drain();
    let sent = rig.sent.pop_back().unwrap();
    assert_eq!((&sent["kind"], &sent["body"]), (&json!(KIND), &json!({"answer":"yes"})));
    let mut own = event(1, KIND, "ada", json!({"answer":"yes"}));
    own["id"] = vote.as_str().into();
    rig.receive(own);
    rig.receive(event(2, KIND, "bob", json!({"answer":"yes"})));
    rig.receive(event(3, KIND, "bob", json!({"answer":"no"})));
    rig.receive(event(4, KIND, "eve", json!({"answer":["yes"]})));
    rig.receive(message(5, "that is all"));
    assert_eq!((Poll::of(&rig).votes.len(), Poll::of(&rig).yes()), (2, 1));
    assert_eq!(rig.op_states(&vote).last(), Some(&OpState::Acked { offset: Offset(1) }));
    assert_eq!(rig.shown(), ["that is all:sent"], "the dialog goes on without rows for them");
}
