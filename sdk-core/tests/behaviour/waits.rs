//! What waits says why, and until when if that is known.

use crate::rig::*;
use serde_json::json;
use tidewire_core::*;

/// The codes of the rows, and how long each still waits.
fn waits(rig: &Rig) -> Vec<(Option<String>, Option<u64>)> {
    let wait = |row: &Row| (row.code.clone(), row.retry_at.map(|at| at - rig.now.wall));
    rig.rows().iter().map(wait).collect()
}

fn code(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[test]
fn what_stands_behind_a_failed_message_is_blocked_until_it_is_retried_or_discarded() {
    let mut rig = Rig::online();
    let first = rig.send("first");
    rig.nack(&first, "bad_body", false, None);
    let second = rig.send("second");
    assert_eq!(waits(&rig), [(code("bad_body"), None), (code("blocked"), None)]);
    assert_eq!(rig.shown(), ["first:failed", "second:queued"]);
    assert_eq!(rig.folded(), rig.rows());
    // So it does in the next run.
    let mut next = Rig::restored(rig.store.clone());
    next.client.open_dialog(next.now, "demo").unwrap();
    next.drain();
    assert_eq!(waits(&next), [(code("bad_body"), None), (code("blocked"), None)]);
    assert!(rig.client.discard(rig.now, &first));
    rig.drain();
    assert_eq!(waits(&rig), [(None, None)]);
    assert_eq!(rig.shown(), ["second:sending"]);
    rig.ok(&second, 1);
    assert_eq!(rig.shown(), ["second:sent"]);
}

#[test]
fn what_the_budget_holds_back_says_when_each_goes() {
    let mut rig = Rig::new();
    rig.client.open_dialog(rig.now, "demo").unwrap();
    rig.connect();
    let mut slow = welcome("ada");
    slow["limits"]["ops"] = 1.into();
    slow["limits"]["per_ms"] = 3_000.into();
    slow["limits"]["burst"] = 2.into();
    rig.receive(slow);
    rig.receive(sub_ok("fresh", 0, 0, vec![]));
    for n in 0..5 {
        rig.send(&n.to_string());
    }
    let held: Vec<u64> = waits(&rig).into_iter().filter_map(|(_, ms)| ms).collect();
    assert_eq!(waits(&rig)[1], (None, None));
    assert_eq!(held, [3_000, 6_000, 9_000]);
    assert_eq!(waits(&rig)[2].0, code("rate_limited"));
    rig.pass(3_000);
    assert_eq!(waits(&rig)[2], (None, None));
    assert_eq!(waits(&rig)[3], (code("rate_limited"), Some(3_000)));
    assert_eq!(rig.folded(), rig.rows());
}

#[test]
fn a_refusal_for_now_says_the_servers_code_and_when_it_is_tried_again() {
    let mut rig = Rig::online();
    let id = rig.send("hello");
    rig.nack(&id, "store_unavailable", true, Some(4_000));
    let wait = waits(&rig).remove(0);
    assert_eq!(wait.0, code("store_unavailable"));
    assert!(wait.1.is_some_and(|ms| (3_900..=4_600).contains(&ms)), "{wait:?}");
    rig.pass(5_000);
    assert_eq!(waits(&rig), [(None, None)]);
}

#[test]
fn without_a_connection_the_status_says_why_and_the_rows_say_nothing_more() {
    let mut rig = Rig::online();
    rig.cut();
    rig.send("later");
    assert_eq!(waits(&rig), [(None, None)]);
    assert_eq!(rig.status().waiting, 1);
}

#[test]
fn what_ends_an_answer_is_no_message_that_waits() {
    let mut rig = Rig::online();
    rig.receive(start(1, "r"));
    rig.cut();
    rig.client.stop_run(rig.now, "demo", &"r".into()).unwrap();
    rig.drain();
    assert_eq!(rig.status().waiting, 0);
}

#[test]
fn a_dialog_refused_for_now_says_so_and_is_hurried_by_connect_but_not_before_the_servers_time() {
    let mut rig = Rig::new();
    rig.client.open_dialog(rig.now, "demo").unwrap();
    rig.connect();
    rig.welcome();
    rig.receive(
        json!({"t":"sub_err","ch":"dialog:demo","code":"too_many_connections","message":"full","retryable":true,"retry_after_ms":2_000}),
    );
    let told = rig.channel_states().pop();
    assert!(
        matches!(&told, Some(ChannelState::Waiting { code, message, retry_in_ms })
            if code == "too_many_connections" && message == "full" && *retry_in_ms >= 2_000),
        "{told:?}"
    );
    rig.sent.clear();
    rig.client.connect(rig.now);
    rig.drain();
    assert!(rig.sent.is_empty());
    rig.pass(2_001);
    assert_eq!(rig.sent.pop_front().map(|frame| frame["t"].clone()), Some(json!("sub")));
    rig.receive(sub_ok("fresh", 0, 0, vec![]));
    assert_eq!(rig.channel_states().last(), Some(&ChannelState::Live));
}

#[test]
fn the_text_of_an_answer_under_way_is_there_after_a_restart_without_a_server() {
    let mut rig = Rig::online();
    rig.receive(start(1, "r"));
    rig.receive(piece("r", 0, "The tide "));
    rig.pass(1_000);
    rig.receive(piece("r", 9, "comes in"));
    rig.pass(1_000);
    let mut next = Rig::restored(rig.store.clone());
    next.client.open_dialog(next.now, "demo").unwrap();
    next.drain();
    assert_eq!(next.shown(), ["The tide comes in:streaming"]);
    // The server goes on where it is, not where this device was.
    next.connect();
    next.welcome();
    let mut resumed = sub_ok("resumed", 1, 1, vec![]);
    resumed["runs"] = json!([{"run":"r","text":"The tide comes in and "}]);
    next.receive(resumed);
    next.receive(piece("r", 22, "goes out"));
    next.receive(end(2, "r", "done", "The tide comes in and goes out"));
    assert_eq!(next.shown(), ["The tide comes in and goes out:done"]);
    let last = Rig::restored(next.store.clone());
    assert_eq!(last.store.restored().channels[0].runs, "[]");
}

#[test]
fn a_growing_answer_is_stored_once_a_second_at_most_and_at_once_before_a_sleep() {
    let mut rig = Rig::online();
    rig.receive(start(1, "r"));
    let before = rig.stores.len();
    for n in 0..100 {
        rig.receive(piece("r", n, "x"));
        rig.pass(100);
    }
    let stored = rig.stores.len() - before;
    assert!((9..=11).contains(&stored), "{stored}");
    rig.receive(piece("r", 100, "last"));
    rig.feed(Input::Lifecycle(Lifecycle::Frozen));
    assert!(rig.store.restored().channels[0].runs.contains("xlast"));
}

#[test]
fn what_a_former_user_wrote_is_never_sent_in_another_ones_name() {
    let mut rig = Rig::online();
    rig.cut();
    let id = rig.send("ada's");
    rig.redial(2_000);
    rig.receive(welcome("bob"));
    rig.receive(sub_ok("fresh", 0, 0, vec![]));
    assert_eq!(rig.shown(), ["ada's:failed"]);
    assert!(!rig.client.retry(rig.now, &id));
    rig.drain();
    assert!(rig.ops().is_empty());
    // Even in a later run of the client.
    let mut next = Rig::restored(rig.store.clone());
    assert!(!next.client.retry(next.now, &id));
    assert!(next.client.discard(next.now, &id));
}
