//! Ops: kept until they are committed, in order, exactly once.

use crate::rig::*;
use tidewire_core::tables::TableEvent;
use tidewire_core::*;

#[test]
fn an_op_is_queued_only_after_it_is_stored_and_forgotten_only_after_its_acknowledgement() {
    let mut rig = Rig::new();
    rig.client.open_dialog(rig.now, "demo").unwrap();
    rig.disk = None;
    let id = rig.send("hello");
    assert_eq!(rig.shown(), ["hello:saving"]);
    let (store, change) = rig.stores.pop().unwrap();
    assert!(matches!(&change, StoreChange::PutOp { id: other, .. } if *other == id));
    rig.feed(Input::Stored { store, result: Ok(()) });
    assert_eq!(rig.shown(), ["hello:queued"]);
    assert_eq!(rig.op_states(&id), [OpState::Queued]);
    rig.disk = Some(Ok(()));
    rig.connect();
    rig.welcome();
    assert_eq!(rig.shown(), ["hello:sending"]);
    assert!(!rig.stores.iter().any(|(_, change)| matches!(change, StoreChange::DeleteOp { .. })));
    rig.ok(&id, 1);
    assert_eq!(rig.shown(), ["hello:sent"]);
    assert!(
        rig.stores
            .iter()
            .any(|(_, change)| matches!(change, StoreChange::DeleteOp { id: other } if *other == id))
    );
    assert_eq!(rig.op_states(&id).last(), Some(&OpState::Acked { offset: Offset(1) }));
}

#[test]
fn what_was_written_offline_is_sent_once_in_order_after_a_restart() {
    let mut rig = Rig::new();
    let one = rig.send("one");
    let two = rig.send("two");
    let mut rig = Rig::restored(rig.store.clone());
    rig.client.open_dialog(rig.now, "demo").unwrap();
    rig.drain();
    assert_eq!(rig.shown(), ["one:queued", "two:queued"]);
    rig.connect();
    rig.welcome();
    let ops = rig.ops();
    assert_eq!((ops[0]["id"].as_str(), ops[1]["id"].as_str()), (Some(one.as_str()), Some(two.as_str())));
    assert_eq!(ops[0].get("after"), None);
    assert_eq!(ops[1]["after"], one.as_str());
    let three = rig.send("three");
    assert_eq!(rig.ops()[0]["after"], two.as_str());
    for (offset, id) in [(1, one), (2, two), (3, three)] {
        rig.ok(&id, offset);
    }
    assert!(rig.store.ops.is_empty());
    assert_eq!(rig.status().waiting, 0);
}

#[test]
fn an_op_whose_answer_was_lost_is_sent_again_with_the_same_id() {
    let mut rig = Rig::online();
    let id = rig.send("hello");
    assert_eq!(rig.ops().len(), 1);
    rig.cut();
    assert_eq!(rig.shown(), ["hello:queued"]);
    rig.redial(2_000);
    rig.welcome();
    let ops = rig.ops();
    assert_eq!((ops.len(), ops[0]["id"].as_str()), (1, Some(id.as_str())));
    rig.ok(&id, 1);
    rig.ok(&id, 1);
    assert_eq!(rig.op_states(&id).iter().filter(|state| matches!(state, OpState::Acked { .. })).count(), 1);
}

#[test]
fn the_event_of_an_own_op_settles_it_even_without_an_answer() {
    let mut rig = Rig::online();
    let id = rig.send("hello");
    rig.receive(own(1, &id, "hello"));
    assert_eq!(rig.shown(), ["hello:sent"]);
    assert!(rig.store.ops.is_empty());
    rig.ok(&id, 1);
    assert_eq!(rig.rows().len(), 1);
}

#[test]
fn an_answer_to_an_op_nobody_knows_is_ignored() {
    let mut rig = Rig::online();
    rig.ok("018f0000-0000-7000-8000-000000000000", 9);
    rig.nack("018f0000-0000-7000-8000-000000000000", "forbidden", false, None);
    assert!(rig.rows().is_empty());
    assert_eq!(rig.state(), State::Online);
}

#[test]
fn at_most_thirty_two_ops_are_unanswered() {
    let mut rig = Rig::online();
    let ids: Vec<OpId> = (0..40).map(|n| rig.send(&n.to_string())).collect();
    assert_eq!(rig.ops().len(), 32);
    rig.ok(&ids[0], 1);
    rig.ok(&ids[1], 2);
    assert_eq!(rig.ops().len(), 2);
}

#[test]
fn at_most_256_kib_of_ops_are_unanswered() {
    let mut rig = Rig::online();
    let text = "x".repeat(16_384);
    for _ in 0..20 {
        rig.send(&text);
    }
    assert_eq!(rig.ops().len(), 15);
}

#[test]
fn a_batch_never_exceeds_the_servers_message_limit() {
    let mut rig = Rig::new();
    rig.client.open_dialog(rig.now, "demo").unwrap();
    for _ in 0..10 {
        rig.send(&"x".repeat(16_000));
    }
    rig.connect();
    let conn = rig.conn.unwrap();
    rig.client.handle(rig.now, Input::Received { conn, text: &welcome("ada").to_string() });
    let mut messages = vec![];
    loop {
        match rig.client.poll(rig.now) {
            Output::Transmit { message, .. } => messages.push(message.0.len()),
            Output::Wait { .. } => break,
            _ => {}
        }
    }
    assert!(messages.len() > 1 && messages.iter().all(|bytes| *bytes <= 65_536), "{messages:?}");
}

/// What goes out until the client waits: messages as they are.
fn messages(rig: &mut Rig) -> Vec<String> {
    let mut messages = vec![];
    loop {
        match rig.client.poll(rig.now) {
            Output::Transmit { message, .. } => messages.push(message.0),
            Output::Wait { .. } => return messages,
            _ => {}
        }
    }
}

#[test]
fn messages_are_as_few_as_their_limit_allows() {
    for most in 1_100..1_250 {
        let mut rig = Rig::new();
        rig.client.open_dialog(rig.now, "demo").unwrap();
        let ids: Vec<OpId> = (0..12).map(|n| rig.send(&"x".repeat(1 + n * 17 % 5 * 20))).collect::<Vec<_>>();
        rig.connect();
        let conn = rig.conn.unwrap();
        let mut welcome = welcome("ada");
        welcome["limits"]["message_bytes"] = most.into();
        rig.client.handle(rig.now, Input::Received { conn, text: &welcome.to_string() });
        let messages = messages(&mut rig);
        let inner = |text: &String| text.len() - if text.starts_with('[') { 2 } else { 0 };
        // The first frame of a message could not have gone with the one before.
        for pair in messages.windows(2) {
            let next: serde_json::Value = serde_json::from_str(&pair[1]).unwrap();
            let first = next.get(0).unwrap_or(&next).to_string().len();
            assert!(inner(&pair[0]) + 1 + first + 2 > most, "{most}: {} and {first}", pair[0].len());
        }
        assert!(messages.iter().all(|text| text.len() <= most), "{most}");
        let all: String = messages.concat();
        assert!(ids.iter().all(|id| all.contains(id.as_str())), "{most}");
    }
}

#[test]
fn the_budget_is_kept_across_reconnects() {
    let mut rig = Rig::online();
    let mut sent_at = vec![];
    let mut offset = 0;
    let ids: Vec<OpId> = (0..200).map(|n| rig.send(&n.to_string())).collect();
    for step in 0..4_000 {
        for op in rig.ops() {
            assert_eq!(op["id"], ids[offset as usize].as_str());
            sent_at.push(rig.now.mono);
            offset += 1;
            rig.ok(op["id"].as_str().unwrap(), offset);
        }
        if step % 400 == 399 {
            rig.cut();
            rig.redial(61_000);
            rig.welcome();
        } else {
            rig.pass(5);
        }
        if offset == 200 {
            break;
        }
    }
    assert_eq!(offset, 200);
    for (first, start) in sent_at.iter().enumerate() {
        for (last, end) in sent_at.iter().enumerate().skip(first) {
            let allowed = 40 + end.since(*start) * 20 / 1_000 + 1;
            assert!((last - first + 1) as u64 <= allowed, "{first}..={last} within {} ms", end.since(*start));
        }
    }
}

#[test]
fn an_op_refused_for_now_waits_and_those_behind_it_wait_too() {
    let mut rig = Rig::online();
    let one = rig.send("one");
    let two = rig.send("two");
    rig.sent.clear();
    rig.nack(&one, "rate_limited", true, Some(3_000));
    rig.nack(&two, "blocked", true, None);
    assert_eq!(rig.shown(), ["one:queued", "two:queued"]);
    rig.pass(2_999);
    assert!(rig.ops().is_empty());
    rig.pass(2_001);
    let ops = rig.ops();
    let ids: Vec<_> = ops.iter().map(|op| op["id"].as_str().unwrap()).collect();
    assert_eq!(ids, [one.as_str(), two.as_str()]);
    assert_eq!(ops[1]["after"], one.as_str());
}

#[test]
fn a_server_that_says_to_wait_is_not_asked_for_another_dialog_either() {
    let mut rig = Rig::online();
    let one = rig.send("one");
    rig.sent.clear();
    rig.nack(&one, "rate_limited", true, Some(3_000));
    rig.client.send_text(rig.now, "other", "two").unwrap();
    rig.drain();
    rig.pass(2_999);
    assert!(rig.ops().is_empty());
    rig.pass(2_001);
    assert_eq!(rig.ops().len(), 2);
}

#[test]
fn changes_of_the_store_have_names_of_their_own() {
    let mut rig = Rig::online();
    for n in 1..5 {
        let id = rig.send("hello");
        rig.ok(&id, n);
    }
    let mut ids: Vec<u64> = rig.stores.iter().map(|(store, _)| store.0).collect();
    let all = ids.len();
    ids.dedup();
    assert_eq!(ids.len(), all);
}

#[test]
fn a_refused_op_blocks_its_channel_until_it_is_retried() {
    let mut rig = Rig::online();
    let bad = rig.send("bad");
    rig.nack(&bad, "forbidden", false, None);
    let next = rig.send("next");
    rig.client.send(rig.now, "dialog:other", "message", r#"{"text":"elsewhere"}"#).unwrap();
    rig.drain();
    assert_eq!(rig.shown(), ["bad:failed", "next:queued"]);
    assert_eq!(rig.rows()[0].code.as_deref(), Some("forbidden"));
    let ops = rig.ops();
    assert_eq!((ops.len(), ops[1]["ch"].as_str()), (2, Some("dialog:other")), "other channels go on");
    assert!(rig.client.retry(rig.now, &bad));
    rig.drain();
    let ids: Vec<String> = rig.ops().iter().map(|op| op["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids, [bad, next]);
}

#[test]
fn a_refused_op_that_is_discarded_lets_the_next_go() {
    let mut rig = Rig::online();
    let bad = rig.send("bad");
    rig.nack(&bad, "bad_body", false, None);
    let next = rig.send("next");
    rig.sent.clear();
    assert!(rig.client.discard(rig.now, &bad));
    assert!(!rig.client.discard(rig.now, &bad));
    rig.drain();
    let ops = rig.ops();
    assert_eq!((ops[0]["id"].as_str(), ops[0].get("after")), (Some(next.as_str()), None));
    assert_eq!(rig.shown(), ["next:sending"]);
    assert_eq!(rig.op_states(&bad).last(), Some(&OpState::Discarded));
    assert!(!rig.client.retry(rig.now, &next), "only what failed is retried");
}

#[test]
fn an_op_that_may_be_at_the_server_can_not_be_discarded() {
    let mut rig = Rig::online();
    let sent = rig.send("sent");
    assert!(!rig.client.discard(rig.now, &sent));
    rig.cut();
    assert!(!rig.client.discard(rig.now, &sent), "its answer was lost, not the op");
    let unsent = rig.send("unsent");
    assert!(rig.client.discard(rig.now, &unsent));
}

#[test]
fn a_failure_survives_a_restart() {
    let mut rig = Rig::online();
    let bad = rig.send("bad");
    rig.nack(&bad, "forbidden", false, None);
    let mut rig = Rig::restored(rig.store.clone());
    rig.client.open_dialog(rig.now, "demo").unwrap();
    rig.drain();
    assert_eq!(rig.shown(), ["bad:failed"]);
    assert_eq!(rig.rows()[0].code.as_deref(), Some("forbidden"));
}

#[test]
fn an_op_that_waited_longer_than_it_may_says_so() {
    let mut rig = Rig::new();
    rig.client.open_dialog(rig.now, "demo").unwrap();
    let id = rig.send("old");
    rig.now.wall += 8 * 24 * 3_600_000;
    rig.connect();
    rig.welcome();
    assert!(rig.ops().is_empty());
    assert_eq!(rig.rows()[0].code.as_deref(), Some("expired"));
    assert!(rig.client.retry(rig.now, &id));
    rig.drain();
    assert_eq!(rig.ops().len(), 1);
}

#[test]
fn a_cancellation_that_came_too_late_stands_in_nobodys_way() {
    let mut rig = Rig::online();
    let stop = rig.client.stop_run(rig.now, "demo", &"run-1".into()).unwrap();
    rig.drain();
    rig.nack(&stop, "run_not_found", false, None);
    assert!(matches!(rig.op_states(&stop).last(), Some(OpState::Failed { .. })));
    rig.sent.clear();
    rig.send("next");
    assert_eq!(rig.ops().len(), 1);
    assert_eq!(rig.shown(), ["next:sending"]);
}

#[test]
fn bad_ops_are_refused_to_the_caller_with_a_code() {
    let mut rig = Rig::online();
    let mut code =
        |channel: &str, body: &str| rig.client.send(rig.now, channel, "message", body).unwrap_err().code();
    assert_eq!(code("", "{}"), "bad_channel");
    assert_eq!(code("dialog:ü", "{}"), "bad_channel");
    assert_eq!(code(&"c".repeat(129), "{}"), "bad_channel");
    for body in ["", "[]", "null", "{", "{} x", "{\"a\":01}"] {
        assert_eq!(code("c", body), "bad_body", "{body}");
    }
    let long = format!("{{\"text\":\"{}\"}}", "x".repeat(65_536));
    assert_eq!(code("c", &long), "too_large");
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(40), "]".repeat(40));
    assert_eq!(code("c", &deep), "too_deep");
    assert_eq!(rig.client.send_text(rig.now, "demo", " \n ").unwrap_err().code(), "empty");
    assert_eq!(rig.client.send_text(rig.now, "demo", &"x".repeat(16_385)).unwrap_err().code(), "too_large");
    assert!(rig.ops().is_empty());
}

#[test]
fn a_full_outbox_refuses_and_loses_nothing() {
    let mut rig = Rig::new();
    for n in 0..1_000 {
        rig.send(&n.to_string());
    }
    let error = rig.client.send_text(rig.now, "demo", "one more").unwrap_err();
    assert!(error.is_retryable() && error.code() == "outbox_full");
    assert_eq!(rig.store.ops.len(), 1_000);
    assert_eq!(rig.status().waiting, 1_000);
}

#[test]
fn the_outbox_is_bounded_in_bytes_too() {
    let mut rig = Rig::new();
    let text = "x".repeat(16_384);
    let taken = (0..1_000).take_while(|_| rig.client.send_text(rig.now, "demo", &text).is_ok()).count();
    assert!((300..330).contains(&taken), "{taken}");
}

#[test]
fn an_op_takes_the_room_of_its_frame_and_gives_it_back() {
    // Twice the id, which may be another's `after`, and what the names of a frame's members take.
    let bytes = 2 * 36 + "dialog:demo".len() + "message".len() + r#"{"text":"hello"}"#.len() + 64;
    let config = Config { outbox_bytes: 3 * bytes, ..Config::default() };
    let mut rig = Rig::with(config, Store::default(), Now { mono: Time(1_000), wall: WALL }, [42; 32]);
    rig.client.open_dialog(rig.now, "demo").unwrap();
    let first = rig.send("hello");
    rig.send("hello");
    let refused = |rig: &mut Rig, text: &str| rig.client.send_text(rig.now, "demo", text).err();
    assert_eq!(refused(&mut rig, "hello!"), Some(SendError::OutboxFull));
    rig.send("hello");
    assert_eq!(refused(&mut rig, "x"), Some(SendError::OutboxFull));
    rig.connect();
    rig.welcome();
    rig.ok(&first, 1);
    assert_eq!(refused(&mut rig, "hello!"), Some(SendError::OutboxFull));
    rig.send("hello");
    assert_eq!(refused(&mut rig, "x"), Some(SendError::OutboxFull));
}

#[test]
fn an_op_refused_for_now_waits_longer_each_time_but_never_too_long() {
    let mut rig = Rig::online();
    let id = rig.send("hello");
    let mut waits = vec![];
    for _ in 0..12 {
        rig.sent.clear();
        rig.nack(&id, "busy", true, None);
        let mut waited = 0;
        while rig.ops().is_empty() {
            rig.pass(50);
            rig.receive(serde_json::json!({"t":"ping","n":"1"}));
            waited += 50;
            assert!(waited <= 30_050, "{waits:?}");
        }
        waits.push(waited);
    }
    let long = |waits: &[u64]| waits.iter().filter(|waited| **waited > 2_000).count();
    assert_eq!(long(&waits[..3]), 0, "{waits:?}");
    assert!(long(&waits[6..]) >= 3, "{waits:?}");
}

#[test]
fn a_failing_store_is_told_once_and_blocks_nothing() {
    let mut rig = Rig::online();
    rig.disk = Some(Err(StoreError::Full));
    let one = rig.send("one");
    rig.send("two");
    assert_eq!(rig.ops().len(), 2, "they are sent all the same");
    let told = |rig: &Rig| {
        rig.events.iter().filter(|event| matches!(event, Event::Storage { .. })).cloned().collect::<Vec<_>>()
    };
    assert_eq!(told(&rig), [Event::Storage { code: Some("storage_full") }]);
    assert!(!rig.op_states(&one).contains(&OpState::Queued), "what is not stored is not called queued");
    rig.disk = Some(Ok(()));
    rig.send("three");
    assert_eq!(told(&rig).last(), Some(&Event::Storage { code: None }));
}

#[test]
fn removing_from_a_store_that_fails_does_not_make_it_work() {
    let mut rig = Rig::online();
    rig.disk = Some(Err(StoreError::Full));
    let one = rig.send("one");
    rig.disk = None;
    rig.stores.clear();
    rig.ok(&one, 1);
    // There is nothing to remove, which any store can do.
    for (store, change) in std::mem::take(&mut rig.stores) {
        let removes = matches!(change, StoreChange::DeleteOp { .. } | StoreChange::ClearChannel { .. });
        let result = if removes { Ok(()) } else { Err(StoreError::Full) };
        rig.feed(Input::Stored { store, result });
    }
    let told = rig.events.iter().filter(|event| matches!(event, Event::Storage { .. })).count();
    assert_eq!(told, 1, "it still fails");
    rig.disk = Some(Ok(()));
    rig.send("two");
    assert!(rig.events.contains(&Event::Storage { code: None }));
}

#[test]
fn a_record_that_can_not_be_read_is_reported_and_the_others_are_sent() {
    let mut rig = Rig::new();
    let good = rig.send("good");
    let mut store = rig.store.clone();
    for broken in ["", "{}", "[]", "{\"id\":1}", "\u{0}"] {
        store.ops.push(("x".into(), broken.into()));
    }
    let mut rig = Rig::restored(store);
    let unreadable = |event: &&Event<TableEvent>| matches!(event, Event::Problem { code, .. } if code == "record_unreadable");
    assert_eq!(rig.events.iter().filter(unreadable).count(), 5);
    rig.connect();
    rig.welcome();
    assert_eq!(rig.ops()[0]["id"], good.as_str());
}

#[test]
fn what_one_user_wrote_is_never_sent_by_another() {
    let mut rig = Rig::online();
    rig.cut();
    let id = rig.send("from ada");
    rig.redial(2_000);
    rig.receive(welcome("eve"));
    assert!(rig.ops().is_empty());
    assert_eq!(rig.rows()[0].code.as_deref(), Some("user_changed"));
    assert!(matches!(rig.op_states(&id).last(), Some(OpState::Failed { .. })));
    let mut rig = Rig::restored(rig.store.clone());
    rig.connect();
    rig.receive(welcome("eve"));
    assert!(rig.ops().is_empty(), "nor after a restart");
}

#[test]
fn an_op_written_before_anybody_was_known_belongs_to_the_first_user() {
    let mut rig = Rig::new();
    rig.send("early");
    rig.connect();
    rig.welcome();
    assert_eq!(rig.ops().len(), 1);
    let mut rig = Rig::restored(rig.store.clone());
    rig.connect();
    rig.receive(welcome("eve"));
    assert!(rig.ops().is_empty());
}

#[test]
fn bodies_travel_byte_for_byte() {
    let mut rig = Rig::online();
    let body = r#"{"z":1.10,"a":12345678901234567890,"é":"\u00e9","nested":{"b":[ ],"a":null}}"#;
    rig.client.send(rig.now, "dialog:demo", "custom", body).unwrap();
    let raw = loop {
        if let Output::Transmit { message, .. } = rig.client.poll(rig.now) {
            break message.0;
        }
    };
    assert!(raw.contains(body));
}

#[test]
fn a_failed_op_is_never_called_queued_again() {
    let mut rig = Rig::online();
    rig.disk = None;
    let id = rig.send("bad");
    rig.nack(&id, "forbidden", false, None);
    for (store, _) in std::mem::take(&mut rig.stores) {
        rig.feed(Input::Stored { store, result: Ok(()) });
    }
    let states = rig.op_states(&id);
    let failed = states.iter().position(|state| matches!(state, OpState::Failed { .. })).unwrap();
    assert!(!states[failed..].contains(&OpState::Queued), "{states:?}");
}

#[test]
fn an_op_that_the_server_certainly_does_not_have_can_be_discarded() {
    let mut rig = Rig::online();
    let one = rig.send("one");
    let two = rig.send("two");
    rig.nack(&one, "rate_limited", true, Some(9_000));
    rig.nack(&two, "blocked", true, None);
    assert!(rig.client.discard(rig.now, &two) && rig.client.discard(rig.now, &one));
    rig.pass(10_000);
    let three = rig.send("three");
    assert_eq!(rig.op_states(&three).last(), Some(&OpState::Sending));
    rig.cut();
    rig.redial(2_000);
    rig.welcome();
    rig.nack(&three, "rate_limited", true, Some(1_000));
    assert!(!rig.client.discard(rig.now, &three), "its first sending may have been taken");
}

#[test]
fn a_body_may_be_as_long_as_a_frame_leaves_room_for() {
    let mut rig = Rig::online();
    let body = |bytes: usize| format!("{{\"text\":\"{}\"}}", "x".repeat(bytes - 11));
    assert!(rig.client.send(rig.now, "c", "message", &body(65_536 - 512)).is_ok());
    assert_eq!(
        rig.client.send(rig.now, "c", "message", &body(65_537 - 512)).unwrap_err().code(),
        "too_large"
    );
}

#[test]
fn a_client_knows_its_user_before_it_is_connected_again() {
    let rig = Rig::online();
    assert_eq!(rig.client.user().map(|user| user.id.as_str()), Some("ada"));
    let rig = Rig::restored(rig.store.clone());
    assert_eq!(rig.client.user().map(|user| user.id.as_str()), Some("ada"));
}

#[test]
fn a_backlog_flows_at_half_the_rate_after_a_reconnect_and_at_the_whole_once_it_is_gone() {
    /// How many of the waiting ops go within this time, each acknowledged at once.
    fn flow(rig: &mut Rig, offset: &mut u64, ms: u64) -> usize {
        let mut sent = 0;
        for _ in 0..ms / 10 {
            for op in rig.ops() {
                sent += 1;
                *offset += 1;
                rig.ok(op["id"].as_str().unwrap(), *offset);
            }
            rig.pass(10);
        }
        sent
    }
    let (mut rig, mut offset) = (Rig::online(), 0);
    let write = |rig: &mut Rig| (0..80).for_each(|n| drop(rig.send(&n.to_string())));
    write(&mut rig);
    assert_eq!(flow(&mut rig, &mut offset, 500), 49, "the burst of 40, then 20 a second");
    rig.cut();
    rig.redial(1_000);
    rig.welcome();
    let first = flow(&mut rig, &mut offset, 10);
    let half = flow(&mut rig, &mut offset, 1_000);
    assert!((9..=11).contains(&half), "{first} at once, then {half}");
    while flow(&mut rig, &mut offset, 1_000) > 0 {}
    rig.pass(60_000 - 35_000);
    write(&mut rig);
    flow(&mut rig, &mut offset, 100);
    let whole = flow(&mut rig, &mut offset, 1_000);
    assert!((19..=21).contains(&whole), "{whole}");
}

#[test]
fn an_op_sent_again_under_its_own_id_is_not_added_twice_and_how_it_ended_is_told_again() {
    let mut rig = Rig::online();
    let draft = Rig::new().client.draft_text(rig.now, "demo", "hello").unwrap();
    let send = |rig: &mut Rig| {
        let id = rig.client.send_draft(rig.now, &draft);
        rig.drain();
        assert_eq!(id, Ok(draft.id.clone()));
    };
    send(&mut rig);
    send(&mut rig);
    assert_eq!((rig.ops().len(), rig.rows().len(), rig.status().waiting), (1, 1, 1));
    assert_eq!(rig.op_states(&draft.id), [OpState::Queued, OpState::Sending]);
    rig.cut();
    send(&mut rig);
    rig.redial(2_000);
    rig.welcome();
    rig.nack(&draft.id, "forbidden", false, None);
    send(&mut rig);
    let told = rig.op_states(&draft.id);
    assert!(
        matches!(told[..], [.., OpState::Sending, OpState::Failed { .. }, OpState::Failed { .. }]),
        "{told:?}"
    );
    rig.client.retry(rig.now, &draft.id);
    rig.drain();
    rig.ok(&draft.id, 1);
    rig.ops();
    send(&mut rig);
    assert_eq!(rig.op_states(&draft.id).last(), Some(&OpState::Acked { offset: Offset(1) }));
    assert_eq!((rig.ops().len(), rig.rows().len(), rig.status().waiting), (0, 1, 0));
    assert!(rig.store.ops.is_empty());
}

#[test]
fn an_op_that_was_stored_before_a_crash_and_is_sent_again_keeps_its_place() {
    let mut rig = Rig::new();
    let drafts = ["one", "two"].map(|text| rig.client.draft_text(rig.now, "demo", text).unwrap());
    let send = |rig: &mut Rig, op: &Draft| {
        rig.client.send_draft(rig.now, op).unwrap();
        rig.drain();
    };
    send(&mut rig, &drafts[0]);
    let mut rig = Rig::restored(rig.store.clone());
    for draft in &drafts {
        send(&mut rig, draft);
    }
    rig.connect();
    rig.welcome();
    let sent: Vec<String> = rig.ops().iter().map(|op| op["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(sent, drafts.map(|draft| draft.id));
}

#[test]
fn a_draft_is_checked_like_a_message_and_sends_nothing() {
    let mut rig = Rig::online();
    let now = rig.now;
    assert_eq!(rig.client.draft_text(now, "demo", " ").err(), Some(SendError::Empty));
    assert_eq!(rig.client.draft_text(now, "demo", &"x".repeat(16_385)).err(), Some(SendError::TooLarge));
    assert_eq!(rig.client.draft_text(now, "no spaces", "x").err(), Some(SendError::BadChannel));
    let stop = rig.client.draft_stop(now, "demo", Some(&"run".into())).unwrap();
    assert_eq!((stop.kind.as_str(), stop.body.as_str()), ("run.cancel", r#"{"run":"run"}"#));
    rig.drain();
    assert!(rig.ops().is_empty() && rig.rows().is_empty() && rig.status().waiting == 0);
}

#[test]
fn an_op_with_an_id_of_its_own_is_refused_if_it_makes_no_sense_and_has_the_age_of_its_id() {
    let mut rig = Rig::online();
    let mut send = |id: &str, channel: &str, body: &str| {
        let draft = Draft::new(id, Lane::Durable, channel, "message", body);
        let sent = draft.and_then(|draft| rig.client.send_draft(rig.now, &draft));
        rig.drain();
        sent.map(String::from).map_err(SendError::code)
    };
    let id = "0190a000-0000-7000-8000-000000000001";
    assert_eq!(send("one", "dialog:demo", r#"{"text":"x"}"#), Err("bad_op_id"));
    assert_eq!(send(id, "no spaces", r#"{"text":"x"}"#), Err("bad_channel"));
    assert_eq!(send(id, "dialog:demo", "[]"), Err("bad_body"));
    // Made in 2024: the server may have forgotten that it knows this op, so it must not go.
    assert_eq!(send(id, "dialog:demo", r#"{"text":"x"}"#).as_deref(), Ok(id));
    assert!(rig.ops().is_empty());
    assert!(
        matches!(rig.op_states(id).last(), Some(OpState::Failed { code, .. }) if code.as_str() == "expired")
    );
    // Any other version says nothing about its age, and a clock that was ahead makes nothing
    // younger than now.
    for id in ["0190a000-0000-4000-8000-000000000001", "fff0a000-0000-7000-8000-000000000001"] {
        rig.client.discard(rig.now, &"0190a000-0000-7000-8000-000000000001".into());
        let draft = Draft::new(id, Lane::Durable, "dialog:other", "message", r#"{"text":"x"}"#).unwrap();
        rig.client.send_draft(rig.now, &draft).unwrap();
        rig.drain();
        assert_eq!(rig.ops().len(), 1, "{id}");
    }
}

#[test]
fn a_refused_op_without_a_row_is_dropped_and_blocks_nothing() {
    for (channel, kind) in [("guild:7", "poll.vote"), ("guild:7", "message"), ("dialog:demo", "poll.vote")] {
        let mut rig = Rig::online();
        let [first, second] =
            [1, 2].map(|_| rig.client.send(rig.now, channel, kind, r#"{"text":"x"}"#).expect("taken"));
        rig.drain();
        rig.nack(&first, "forbidden", false, None);
        assert!(matches!(rig.op_states(&first).last(), Some(OpState::Failed { .. })), "{channel} {kind}");
        assert!(rig.store.ops.iter().all(|(id, _)| *id != *first), "it is not there after a restart");
        assert!(!rig.client.retry(rig.now, &first));
        // What was behind it goes again, behind nothing.
        rig.nack(&second, "blocked", true, None);
        rig.sent.clear();
        rig.pass(5_000);
        let again = rig.sent.iter().find(|frame| frame["id"] == second.as_str()).expect("sent again");
        assert!(again.get("after").is_none(), "{again}");
    }
}
