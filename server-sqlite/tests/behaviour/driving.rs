//! Sessions and answers over a log, in one thread.

use crate::rig::{ROOM, Rig, hello, op, room};
use rusqlite::Connection;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tidewire_core::wire::Offset;
use tidewire_server_core::store::{Account, CreateDialog, Outcome, Read, Store, StoreError, Write};
use tidewire_server_core::{Answer, Flow, Run, Step, Text};
use tidewire_server_sqlite::log;

#[test]
fn an_op_is_seen_and_acknowledged_once_it_is_committed() {
    let mut rig = Rig::new();
    let (mut ada, mut bob) = (rig.member("ada"), rig.member("bob"));
    ada.send(&rig, &op(1, "hi"));
    rig.apply();
    assert!(ada.heard_nothing() && bob.heard_nothing());
    rig.commit();
    let event = bob.next("event");
    assert_eq!((&event["offset"], &event["body"]["text"]), (&json!(1), &json!("hi")));
    assert_eq!(event["at"], rig.now.wall);
    assert_eq!(ada.next("event"), event);
    assert_eq!(ada.next("ok")["offset"], 1);
}

#[test]
fn a_resend_gets_the_first_answer_and_no_second_event() {
    let mut rig = Rig::new();
    let (mut ada, mut bob) = (rig.member("ada"), rig.member("bob"));
    for _ in 0..2 {
        ada.send(&rig, &op(1, "hi"));
        rig.commit();
    }
    ada.next("event");
    assert_eq!(ada.next("ok").get("dup"), None);
    let again = ada.next("ok");
    assert_eq!((&again["offset"], &again["dup"]), (&json!(1), &json!(true)));
    bob.next("event");
    assert!(bob.heard_nothing());
}

#[test]
fn a_batch_that_was_rolled_back_is_not_acknowledged() {
    let mut rig = Rig::new();
    let (mut ada, mut bob) = (rig.member("ada"), rig.member("bob"));
    ada.send(&rig, &op(1, "hi"));
    rig.apply();
    rig.fail();
    assert_eq!(ada.next("nack")["code"], "store_unavailable");
    assert!(ada.heard_nothing() && bob.heard_nothing());
    ada.send(&rig, &op(1, "hi"));
    rig.apply();
    rig.crash();
    assert!(ada.heard_nothing() && bob.heard_nothing());
    ada.send(&rig, &op(1, "hi"));
    rig.commit();
    assert_eq!(bob.next("event")["offset"], 1);
    ada.next("event");
    assert_eq!(ada.next("ok").get("dup"), None);
}

#[test]
fn whoever_reads_does_not_see_what_is_not_committed() {
    let mut rig = Rig::new();
    let mut ada = rig.member("ada");
    ada.send(&rig, &op(1, "hi"));
    rig.apply();
    assert_eq!(rig.read(&Read::Channel(room())).channel().unwrap().unwrap().head, 0);
    let mut bob = rig.connect();
    bob.send(&rig, &hello("bob", &json!([{"ch": ROOM}])));
    bob.next("welcome");
    assert_eq!(bob.next("sub_ok")["head"], 0);
    rig.commit();
    assert_eq!(bob.next("event")["offset"], 1);
}

#[test]
fn a_page_is_read_from_the_log_when_memory_does_not_reach_back() {
    let mut rig = Rig::new();
    let mut ada = rig.member("ada");
    // Within the budget, and more than a channel keeps in memory.
    for n in 0..70 {
        rig.pass(100);
        ada.send(&rig, &op(n, "hi"));
        rig.commit();
    }
    let mut bob = rig.connect();
    let hello = hello("bob", &json!([{"ch": ROOM, "tail": 1000}]));
    bob.flow = bob.session.message(rig.now, &hello.to_string());
    let asked = Read::Events { channel: 1, from: Offset::ZERO, to: Offset(70) };
    assert_eq!(bob.flow, Flow::Read(asked));
    bob.answer(&rig);
    bob.next("welcome");
    let page = bob.next("sub_ok");
    assert_eq!((page["events"].as_array().unwrap().len(), &page["more"]), (70, &json!(false)));
}

#[test]
fn silence_ends_a_connection_at_the_very_millisecond() {
    let mut rig = Rig::new();
    let mut ada = rig.member("ada");
    for (wait, t) in [(25_000, "ping"), (10_000, "error")] {
        let deadline = ada.session.deadline(rig.now);
        assert_eq!(deadline.since(rig.now.mono), wait);
        rig.pass(wait - 1);
        ada.session.tick(rig.now);
        assert!(ada.heard_nothing(), "one millisecond before {t}");
        rig.pass(1);
        ada.session.tick(rig.now);
        ada.next(t);
    }
    assert!(ada.session.outgoing().is_closing());
    assert!(!ada.heard_nothing());
    assert_eq!(ada.close, Some((4001, "ping_timeout")));
}

#[test]
fn a_page_waits_for_room_and_keeps_the_rest_of_its_message_waiting() {
    let rig = Rig::new();
    let mut ada = rig.member("ada");
    ada.session.outgoing().push(Text::from(json!({"t": "filler", "x": "x".repeat(300_000)}).to_string()));
    ada.send(&rig, &json!([{"t": "next", "ch": ROOM, "from": 0}, {"t": "ping", "n": "after"}]));
    assert_eq!(ada.flow, Flow::Room);
    assert_eq!(ada.session.answered(rig.now, Answer::Room), Flow::Room, "still none");
    ada.next("filler");
    assert!(ada.heard_nothing());
    assert_eq!(ada.session.answered(rig.now, Answer::Room), Flow::Ready);
    ada.next("page");
    ada.next("pong");
}

#[test]
fn an_answer_nobody_asked_for_ends_the_connection() {
    let rig = Rig::new();
    let mut ada = rig.member("ada");
    assert_eq!(ada.session.answered(rig.now, Answer::Room), Flow::End);
    assert_eq!(ada.next("error")["code"], "internal");
}

#[test]
fn a_log_in_memory_takes_a_batch_back() {
    let mut connection = Connection::open_in_memory().unwrap();
    log::migrate(&mut connection).unwrap();
    let write = Write::CreateDialog(CreateDialog { name: room(), owner: None, account: Account::Own });
    for committed in [false, true] {
        let applied = log::begin(&connection, &[&write], &crate::rig::Frozen(7)).unwrap();
        assert!(applied.changed && matches!(applied.answers[0], Ok(Outcome::Created)));
        if committed { log::commit(&connection) } else { log::rollback(&connection) }.unwrap();
        let found = log::read(&connection, &Read::Channel(room())).unwrap().channel();
        assert_eq!(found.unwrap().is_some(), committed);
    }
}

#[test]
fn a_message_before_the_last_one_is_done_ends_the_connection() {
    let rig = Rig::new();
    let mut ada = rig.connect();
    let hello = hello("ada", &json!([{"ch": ROOM}])).to_string();
    assert_eq!(ada.session.message(rig.now, &hello), Flow::Read(Read::Channel(room())));
    ada.send(&rig, &json!({"t": "ping", "n": "1"}));
    assert_eq!(ada.flow, Flow::End);
    ada.next("welcome");
    assert_eq!(ada.next("error")["code"], "internal");
}

/// Carries a run's step out; false when it waits or is over.
fn step(rig: &mut Rig, run: &mut Run) -> bool {
    match run.poll(rig.now.mono) {
        Step::Write(write, publish) => {
            let told = Arc::new(std::sync::Mutex::new(None));
            let tell = told.clone();
            rig.inbox.write(
                *write,
                Box::new(move |result| {
                    if let Ok(outcome) = &result {
                        publish.publish(outcome);
                    }
                    *tell.lock().unwrap() = Some(result);
                }),
            );
            rig.commit();
            let result = told.lock().unwrap().take().unwrap();
            run.written(rig.now.mono, result);
        }
        Step::Read(read) => run.context(rig.read(&read).frames()),
        Step::Model(turns) => assert_eq!(turns.last().unwrap().text, "hi"),
        Step::Wait(_) | Step::Done(_) => return false,
    }
    true
}

/// A dialog in which an answer has said "Hel" and "lo".
fn answering(stopped: &Arc<AtomicBool>) -> (Rig, crate::rig::Client, Run) {
    let mut rig = Rig::new();
    let mut ada = rig.member("ada");
    ada.send(&rig, &op(1, "hi"));
    rig.commit();
    ada.next("event");
    ada.next("ok");
    let channel = rig.begun.0.lock().unwrap().pop().unwrap();
    let flag = stopped.clone();
    let stop = Arc::new(move || flag.store(true, Ordering::Relaxed));
    let mut run = Run::new(&channel, rig.ids.clone(), stop);
    while step(&mut rig, &mut run) {}
    assert_eq!(ada.next("event")["kind"], "answer.start");
    for (at, part) in [(0, "Hel"), (3, "lo")] {
        run.part(Some(Ok(part.to_owned())));
        rig.pass(40);
        while step(&mut rig, &mut run) {}
        let piece = ada.next("piece");
        assert_eq!((&piece["at"], &piece["text"]), (&json!(at), &json!(part)));
    }
    (rig, ada, run)
}

#[test]
fn an_answer_ends_with_all_of_its_text() {
    let (mut rig, mut ada, mut run) = answering(&Arc::default());
    run.part(Some(Ok("!".to_owned())));
    run.part(None);
    assert!(!run.listens());
    while step(&mut rig, &mut run) {}
    let end = ada.next("event");
    assert_eq!((&end["body"]["status"], &end["body"]["text"]), (&json!("done"), &json!("Hello!")));
    assert!(matches!(run.poll(rig.now.mono), Step::Done(Some(Offset(2)))));
    assert!(rig.read(&Read::Unfinished).unfinished().unwrap().is_empty());
}

#[test]
fn a_cancel_reaches_the_run() {
    let stopped = Arc::default();
    let (mut rig, mut ada, mut run) = answering(&stopped);
    let unfinished = rig.read(&Read::Unfinished).unfinished().unwrap();
    let mut cancel = op(2, "");
    cancel["kind"] = json!("run.cancel");
    cancel["body"] = json!({"run": unfinished[0].run.as_str()});
    ada.send(&rig, &cancel);
    rig.commit();
    assert!(stopped.load(Ordering::Relaxed));
    run.stop();
    while step(&mut rig, &mut run) {}
    assert_eq!(ada.next("event")["kind"], "run.cancel");
    ada.next("ok");
    assert_eq!(ada.next("event")["body"]["status"], "stopped");
}

#[test]
fn what_a_crash_left_open_ends_with_what_was_shown() {
    let (mut rig, _, run) = answering(&Arc::default());
    drop(run);
    let left = rig.read(&Read::Unfinished).unfinished().unwrap().pop().unwrap();
    assert_eq!(left.text, "Hello");
    let channel = rig.engine.hub.loaded(ROOM);
    let mut run = Run::left(left, channel, rig.ids.clone());
    while step(&mut rig, &mut run) {}
    let mut bob = rig.connect();
    bob.send(&rig, &hello("bob", &json!([{"ch": ROOM}])));
    bob.next("welcome");
    let page = bob.next("sub_ok");
    let end = &page["events"][2];
    assert_eq!((&end["kind"], &end["body"]["status"]), (&json!("answer.end"), &json!("interrupted")));
    assert_eq!(end["body"]["text"], "Hello");
}

#[test]
fn a_piece_that_could_not_be_stored_is_tried_again_and_never_shown_before() {
    let (mut rig, mut ada, mut run) = answering(&Arc::default());
    run.part(Some(Ok("!".to_owned())));
    rig.pass(40);
    let Step::Write(_, _) = run.poll(rig.now.mono) else { panic!("a piece is due") };
    run.written(rig.now.mono, Err(StoreError::Full));
    assert!(matches!(run.poll(rig.now.mono), Step::Wait(Some(until)) if until.since(rig.now.mono) == 500));
    assert!(ada.heard_nothing());
    rig.pass(500);
    while step(&mut rig, &mut run) {}
    assert_eq!(ada.next("piece")["at"], 5);
}
