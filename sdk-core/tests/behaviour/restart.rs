//! What a start finds: an outbox and a log that know different things, because a crash or a failing
//! disk came between them.

use crate::rig::*;
use serde_json::json;
use tidewire_core::*;

fn puts(rig: &Rig, id: &str) -> usize {
    let is = |change: &StoreChange| matches!(change, StoreChange::PutOp { id: other, .. } if other == id);
    rig.stores.iter().filter(|(_, change)| is(change)).count()
}

fn deletes(rig: &Rig, id: &str) -> usize {
    let is = |change: &StoreChange| matches!(change, StoreChange::DeleteOp { id: other } if other == id);
    rig.stores.iter().filter(|(_, change)| is(change)).count()
}

#[test]
fn an_op_whose_event_is_kept_is_settled_and_has_one_row() {
    let mut rig = Rig::online();
    let id = rig.send("hello");
    let kept = rig.store.ops.clone();
    rig.receive(own(1, &id, "hello"));
    rig.ok(&id, 1);
    // The disk took the event, but not that the op is done.
    rig.store.ops = kept;
    let mut again = Rig::restored(rig.store.clone());
    again.client.open_dialog(again.now, "demo").unwrap();
    again.drain();
    assert_eq!(again.shown(), ["hello:sent"]);
    assert_eq!(again.op_states(&id), [OpState::Acked { offset: Offset(1) }]);
    again.connect();
    again.welcome();
    assert!(again.ops().is_empty(), "it is not sent again");
}

#[test]
fn an_op_that_was_committed_before_what_is_shown_leaves_no_row_behind() {
    let mut rig = Rig::new();
    rig.client.open_dialog(rig.now, "demo").unwrap();
    let id = rig.send("hello");
    rig.connect();
    rig.welcome();
    rig.receive(sub_ok("fresh", 10, 12, vec![message(11, "eleven"), message(12, "twelve")]));
    rig.receive(json!({"t":"ok","id":id.as_str(),"ch":"dialog:demo","offset":3,"at":WALL,"dup":true}));
    assert_eq!(rig.shown(), ["eleven:sent", "twelve:sent"]);
    assert_eq!(rig.op_states(&id).last(), Some(&OpState::Acked { offset: Offset(3) }));
}

#[test]
fn what_failed_before_is_told_again_because_it_still_blocks() {
    let mut rig = Rig::online();
    let id = rig.send("hello");
    rig.nack(&id, "forbidden", false, None);
    let again = Rig::restored(rig.store.clone());
    assert!(matches!(&again.op_states(&id)[..], [OpState::Failed { code, .. }] if code == "forbidden"));
}

#[test]
fn a_record_that_is_there_twice_is_one_op() {
    let mut rig = Rig::online();
    let id = rig.send("hello");
    let mut store = rig.store.clone();
    let (_, record) = store.ops[0].clone();
    store.ops.push(("damaged".to_owned(), record));
    let mut again = Rig::restored(store);
    assert!(
        again
            .events
            .iter()
            .any(|event| matches!(event, Event::Problem { code, .. } if code == "record_unreadable"))
    );
    again.connect();
    again.welcome();
    assert_eq!(again.ops().iter().map(|op| op["id"].clone()).collect::<Vec<_>>(), [json!(id.as_str())]);
}

#[test]
fn a_store_that_works_again_gets_what_it_refused_in_order() {
    let mut rig = Rig::new();
    rig.disk = Some(Err(StoreError::Full));
    let (first, second) = (rig.send("one"), rig.send("two"));
    rig.disk = Some(Ok(()));
    let third = rig.send("three");
    let order: Vec<&str> = rig.store.ops.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!(order, [first.as_str(), second.as_str(), third.as_str()]);
    assert_eq!(rig.op_states(&first), [OpState::Queued]);
    assert!(puts(&rig, &third) == 1);
}

#[test]
fn what_a_failing_store_could_not_forget_it_forgets_later() {
    let mut rig = Rig::online();
    let id = rig.send("hello");
    rig.disk = Some(Err(StoreError::Unavailable));
    rig.ok(&id, 1);
    assert_eq!(rig.store.ops.len(), 1, "still on the disk");
    rig.disk = Some(Ok(()));
    let other = rig.send("again");
    assert_eq!(deletes(&rig, &id), 2);
    assert!(rig.store.ops.iter().all(|(kept, _)| *kept == other));
}

#[test]
fn all_that_outlived_its_time_is_said_at_once() {
    let mut rig = Rig::new();
    rig.client.open_dialog(rig.now, "demo").unwrap();
    let ids = [rig.send("one"), rig.send("two")];
    rig.sleep(8 * 86_400_000);
    rig.connect();
    rig.welcome();
    for id in ids {
        assert!(matches!(rig.op_states(&id).last(), Some(OpState::Failed { code, .. }) if code == "expired"));
    }
}

#[test]
fn a_token_asked_for_is_brought_at_once_and_by_every_later_connection() {
    let mut rig = Rig::online();
    rig.token = Some(Ok("newer.token".into()));
    rig.client.renew_token(rig.now);
    rig.drain();
    assert_eq!(rig.sent.pop_back().unwrap(), json!({"t":"auth","token":"newer.token"}));
    assert!(rig.asks.last().unwrap().1, "a cached one won't do");
    let mut offline = Rig::new();
    offline.connect();
    offline.welcome();
    offline.cut();
    offline.client.renew_token(offline.now);
    offline.token = Some(Ok("newer.token".into()));
    assert_eq!(offline.redial(5_000)["token"], "newer.token");
}

#[test]
fn refused_tokens_that_are_renewed_at_once_stay_within_the_dials_of_a_minute() {
    let mut rig = Rig::new();
    rig.connect();
    let start = rig.now.mono;
    for round in 0..40 {
        // Each is welcomed once, so that each refusal is the first.
        rig.receive(welcome("ada"));
        rig.close_with(4020);
        if rig.dials.last().is_some_and(|(conn, _)| Some(*conn) == rig.conn) && rig.until.is_some() {
            while !matches!(rig.state(), State::Online) && rig.now.mono.since(start) < 59_000 {
                let dials = rig.dials.len();
                if dials > round + 1 {
                    break;
                }
                let at = rig.until.expect("a timer");
                rig.pass(at.since(rig.now.mono));
            }
        }
        if rig.now.mono.since(start) >= 59_000 {
            break;
        }
        let conn = rig.conn.expect("a dial");
        rig.feed(Input::Opened { conn });
    }
    let in_a_minute = rig.dials.iter().filter(|(_, at)| at.since(start) < 60_000).count();
    assert_eq!(in_a_minute, 12);
}

#[test]
fn a_store_that_keeps_no_events_is_given_none() {
    let config = Config { cached_events: 0, ..Config::default() };
    let mut rig = Rig::with(config, Store::default(), Now { mono: Time(0), wall: WALL }, [7; 32]);
    rig.disk = None;
    rig.client.open_dialog(rig.now, "demo").unwrap();
    rig.connect();
    rig.welcome();
    rig.receive(sub_ok("fresh", 0, 1, vec![message(1, "one")]));
    rig.receive(start(2, "r"));
    rig.receive(piece("r", 0, "answer"));
    rig.pass(5_000);
    rig.receive(sub_ok("reset", 7, 8, vec![message(8, "eight")]));
    assert_eq!(rig.shown(), ["eight:sent"]);
    let of_channels = |change: &StoreChange| {
        matches!(change, StoreChange::PutEvents { .. } | StoreChange::ClearChannel { .. })
    };
    assert!(!rig.stores.is_empty() && !rig.stores.iter().any(|(_, change)| of_channels(change)));
}
