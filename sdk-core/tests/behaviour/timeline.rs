//! A dialog's rows: optimistic, then committed; answers that grow and end once.

use crate::rig::*;
use serde_json::json;
use tidewire_core::{Offset, OpId, RowKind};

#[test]
fn a_row_is_there_before_send_returns() {
    let mut rig = Rig::online();
    let id = rig.client.send_text(rig.now, "demo", "hello").unwrap();
    assert_eq!(rig.rows()[0].id, id);
    assert!(rig.rows()[0].own);
    rig.drain();
    assert_eq!(rig.folded(), rig.rows());
}

#[test]
fn committed_rows_stand_in_the_order_of_the_log_and_waiting_ones_behind_them() {
    let mut rig = Rig::online();
    let mine = rig.send("mine");
    rig.receive(message(1, "theirs"));
    assert_eq!(rig.shown(), ["theirs:sent", "mine:sending"]);
    rig.ok(&mine, 3);
    rig.receive(message(2, "between"));
    rig.receive(own(3, &mine, "mine"));
    assert_eq!(rig.shown(), ["theirs:sent", "between:sent", "mine:sent"]);
    assert_eq!(rig.rows().len(), 3);
    assert_eq!(rig.folded(), rig.rows());
}

#[test]
fn what_is_live_has_no_hole_below_what_was_acknowledged_before() {
    let mut rig = Rig::new();
    rig.client.open_dialog(rig.now, "demo").unwrap();
    rig.connect();
    let (first, second) = (rig.send("first"), rig.send("second"));
    rig.receive(welcome("ada"));
    rig.receive(json!({"t":"sub_err","ch":"dialog:demo","code":"too_many_connections","message":"","retryable":true,"retry_after_ms":500}));
    rig.ok(&first, 1);
    rig.ok(&second, 9);
    assert_eq!(rig.shown(), ["first:sent", "second:sent"]);
    rig.pass(5_000);
    rig.receive(sub_ok("fresh", 7, 9, vec![message(8, "theirs"), own(9, &second, "second")]));
    assert_eq!(rig.shown(), ["theirs:sent", "second:sent"], "what stands before the view is not in it");
    assert_eq!(rig.folded(), rig.rows());
}

#[test]
fn what_is_acknowledged_in_another_log_stands_behind_the_old_one_until_it_goes() {
    let mut rig = Rig::online();
    (1..=3).for_each(|offset| rig.receive(message(offset, &format!("old {offset}"))));
    rig.cut();
    let (first, second) = (rig.send("first"), rig.send("second"));
    rig.redial(60_000);
    rig.welcome();
    rig.receive(json!({"t":"sub_err","ch":"dialog:demo","code":"store_unavailable","message":"","retryable":true,"retry_after_ms":500}));
    rig.ok(&first, 1);
    rig.ok(&second, 2);
    assert_eq!(rig.shown(), ["old 1:sent", "old 2:sent", "old 3:sent", "first:sent", "second:sent"]);
    assert_eq!(rig.folded(), rig.rows());
    rig.pass(5_000);
    let mut answer = sub_ok("reset", 0, 2, vec![own(1, &first, "first"), own(2, &second, "second")]);
    (answer["epoch"], answer["reason"]) = (json!("e2"), json!("epoch"));
    rig.receive(answer);
    assert_eq!(rig.shown(), ["first:sent", "second:sent"]);
    assert_eq!(rig.folded(), rig.rows());
}

#[test]
fn an_answer_grows_and_ends_once() {
    let mut rig = Rig::online();
    rig.receive(start(1, "r"));
    rig.receive(piece("r", 0, "The tide "));
    rig.receive(piece("r", 9, "comes in."));
    assert_eq!(rig.shown(), ["The tide comes in.:streaming"]);
    rig.receive(end(2, "r", "done", "The tide comes in."));
    assert_eq!(rig.shown(), ["The tide comes in.:done"]);
    assert_eq!(rig.rows()[0].offset, Some(Offset(1)), "it keeps the place of its start");
    rig.receive(piece("r", 18, " late"));
    assert_eq!(rig.shown(), ["The tide comes in.:done"]);
    assert_eq!(rig.folded(), rig.rows());
}

#[test]
fn pieces_that_overlap_or_come_twice_add_nothing_twice() {
    let mut rig = Rig::online();
    rig.receive(start(1, "r"));
    rig.receive(piece("r", 0, "añb"));
    rig.receive(piece("r", 0, "añb"));
    rig.receive(piece("r", 0, "añbcd"));
    rig.receive(piece("r", 4, "cde"));
    rig.receive(piece("r", 2, "xx"));
    assert_eq!(rig.shown(), ["añbcde:streaming"]);
    assert_eq!(rig.folded(), rig.rows());
}

#[test]
fn a_missed_piece_is_fetched_with_the_whole_text() {
    let mut rig = Rig::online();
    rig.receive(start(1, "r"));
    rig.receive(piece("r", 0, "one "));
    rig.receive(piece("r", 8, "three "));
    assert_eq!(rig.shown(), ["one :streaming"]);
    assert_eq!(rig.sent.pop_back().unwrap(), json!({"t":"next","ch":"dialog:demo","from":1}));
    rig.receive(json!({"t":"page","ch":"dialog:demo","from":1,"head":1,"events":[],"more":false,
        "runs":[{"run":"r","text":"one two three four "}]}));
    rig.receive(piece("r", 19, "five"));
    assert_eq!(rig.shown(), ["one two three four five:streaming"]);
    assert_eq!(rig.folded(), rig.rows());
}

#[test]
fn a_reconnect_in_the_middle_of_an_answer_gets_the_rest() {
    let mut rig = Rig::online();
    rig.receive(start(1, "r"));
    rig.receive(piece("r", 0, "one "));
    rig.cut();
    rig.redial(2_000);
    rig.welcome();
    let mut sub = sub_ok("resumed", 1, 1, vec![]);
    sub["runs"] = json!([{"run":"r","text":"one two "}]);
    rig.receive(sub);
    rig.receive(piece("r", 8, "three"));
    assert_eq!(rig.shown(), ["one two three:streaming"]);
    assert!(!rig.folded().is_empty() && rig.folded() == rig.rows());
}

#[test]
fn every_way_an_answer_ends_is_told_apart() {
    for (status, state) in [
        ("done", "done"),
        ("stopped", "stopped"),
        ("interrupted", "interrupted"),
        ("error", "error"),
        ("future", "interrupted"),
    ] {
        let mut rig = Rig::online();
        rig.receive(start(1, "r"));
        let mut last = end(2, "r", status, "so far");
        if status == "error" {
            last["body"]["code"] = "model_timeout".into();
        }
        rig.receive(last);
        assert_eq!(rig.shown(), [format!("so far:{state}")]);
        assert_eq!(rig.rows()[0].code.as_deref(), (status == "error").then_some("model_timeout"));
    }
}

#[test]
fn an_answer_whose_start_is_out_of_reach_is_shown_at_its_end() {
    let mut rig = Rig::online();
    rig.receive(end(1, "r", "done", "whole"));
    assert_eq!(rig.shown(), ["whole:done"]);
}

#[test]
fn an_event_of_no_known_kind_has_no_row_and_one_without_its_text_an_unreadable_one() {
    let mut rig = Rig::online();
    rig.receive(event(1, "reaction", "bob", json!({"emoji":"wave"})));
    rig.receive(event(2, "message", "bob", json!({"no":"text"})));
    rig.receive(event(3, "answer.end", "ai", json!({})));
    rig.receive(message(4, "after"));
    assert_eq!(rig.shown(), [":sent", ":sent", "after:sent"]);
    let kinds: Vec<RowKind> = rig.rows().iter().map(|row| row.kind).collect();
    assert_eq!(kinds, [RowKind::Unreadable, RowKind::Unreadable, RowKind::Message]);
}

#[test]
fn rows_know_whose_they_are() {
    let mut rig = Rig::online();
    rig.receive(message(1, "bob's"));
    let mut from_another_tab = message(2, "ada's");
    from_another_tab["by"] = user("ada");
    rig.receive(from_another_tab);
    let own: Vec<bool> = rig.rows().iter().map(|row| row.own).collect();
    assert_eq!(own, [false, true]);
}

#[test]
fn a_row_written_before_the_first_welcome_gets_its_author_then() {
    let mut rig = Rig::new();
    rig.client.open_dialog(rig.now, "demo").unwrap();
    rig.send("early");
    assert_eq!(rig.rows()[0].by.id, "");
    rig.connect();
    rig.welcome();
    assert_eq!(rig.rows()[0].by.id, "ada");
    assert_eq!(rig.folded(), rig.rows());
}

#[test]
fn the_number_of_rows_is_bounded_and_the_newest_stay() {
    let mut rig = Rig::online();
    for offset in 1..=2_100 {
        rig.receive(message(offset, &offset.to_string()));
    }
    let rows = rig.rows();
    assert_eq!(
        (rows.len(), rows[0].offset, rows[1_999].offset),
        (2_000, Some(Offset(101)), Some(Offset(2_100)))
    );
}

#[test]
fn the_changes_always_fold_to_the_rows() {
    // A small walk through everything that can happen to a timeline, checked after each step.
    let mut rig = Rig::online();
    let mut state = 12345u64;
    let mut offset = 0;
    let mut mine: Vec<OpId> = vec![];
    let mut run: Option<(String, u64)> = None;
    for step in 0..800 {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        match (state >> 33) % 8 {
            0 | 1 => mine.push(rig.send(&format!("mine {step}"))),
            2 if !mine.is_empty() => {
                let id = mine.remove(0);
                offset += 1;
                if state & 1 == 0 {
                    rig.ok(&id, offset);
                }
                rig.receive(own(offset, &id, "mine"));
            }
            3 => {
                offset += 1;
                rig.receive(message(offset, "theirs"));
            }
            4 if run.is_none() => {
                offset += 1;
                let id = format!("run-{step}");
                rig.receive(start(offset, &id));
                run = Some((id, 0));
            }
            5 | 6 => {
                if let Some((id, at)) = &mut run {
                    rig.receive(piece(id, *at, "word "));
                    *at += 5;
                }
            }
            7 => {
                if let Some((id, at)) = run.take() {
                    offset += 1;
                    rig.receive(end(offset, &id, "done", &"word ".repeat(at as usize / 5)));
                }
            }
            _ => rig.pass(50),
        }
        if step % 100 == 0 {
            assert_eq!(rig.folded(), rig.rows(), "step {step}");
        }
        let offsets: Vec<u64> = rig.rows().iter().filter_map(|row| Some(row.offset?.0)).collect();
        assert!(offsets.windows(2).all(|pair| pair[0] < pair[1]));
    }
    assert!(rig.rows().len() > 200);
}

#[test]
fn an_event_whose_id_comes_again_much_later_moves_its_row_and_adds_none() {
    let mut rig = Rig::online();
    for offset in 1..=300 {
        rig.receive(message(offset, &offset.to_string()));
    }
    let mut again = message(301, "1");
    again["id"] = "event-1".into();
    rig.receive(again);
    let rows = rig.rows();
    assert_eq!((rows.len(), rows[0].offset, rows[299].offset), (300, Some(Offset(2)), Some(Offset(301))));
    assert_eq!(rig.folded(), rows);
}

#[test]
fn a_run_starts_once_and_never_without_a_name() {
    let mut rig = Rig::online();
    rig.receive(start(1, "r"));
    rig.receive(start(2, "r"));
    rig.receive(start(3, ""));
    let kinds: Vec<RowKind> = rig.rows().iter().map(|row| row.kind).collect();
    assert_eq!(kinds, [RowKind::Answer, RowKind::Unreadable]);
}

#[test]
fn pieces_of_two_answers_in_one_message_stay_apart() {
    let mut rig = Rig::online();
    rig.receive(start(1, "one"));
    rig.receive(start(2, "two"));
    rig.receive(json!([
        piece("one", 0, "a"),
        piece("one", 1, "b"),
        piece("two", 0, "x"),
        piece("one", 2, "c")
    ]));
    assert_eq!(rig.shown(), ["abc:streaming", "x:streaming"]);
    assert_eq!(rig.folded(), rig.rows());
}

#[test]
fn rows_kept_from_an_unknown_user_learn_whose_they_are() {
    let mut rig = Rig::online();
    let mut mine = message(1, "mine");
    mine["by"] = user("ada");
    rig.receive(mine);
    rig.receive(message(2, "theirs"));
    let mut store = rig.store.clone();
    store.profile = None;
    let mut rig = Rig::restored(store);
    rig.client.open_dialog(rig.now, "demo").unwrap();
    rig.send("new");
    let own = |rig: &Rig| rig.rows().iter().map(|row| row.own).collect::<Vec<_>>();
    assert_eq!(own(&rig), [false, false, true]);
    rig.connect();
    rig.welcome();
    assert_eq!(own(&rig), [true, false, true]);
    assert_eq!(rig.folded(), rig.rows());
}

#[test]
fn a_dialog_opened_late_shows_what_waits_for_it_and_nothing_else() {
    let mut rig = Rig::new();
    rig.send("waits");
    rig.client.send_text(rig.now, "other", "elsewhere").unwrap();
    rig.client.stop_run(rig.now, "demo", &"r".into()).unwrap();
    rig.client.open_dialog(rig.now, "demo").unwrap();
    rig.drain();
    assert_eq!(rig.shown(), ["waits:queued"]);
}
