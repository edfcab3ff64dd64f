//! What was accepted can be read from every frame that carries it, and what can't be read harms
//! nothing else.

use crate::rig::*;
use serde_json::{Value, json};
use tidewire_core::wire::json::{depth, on_one_line, validate};
use tidewire_core::wire::*;
use tidewire_core::*;

/// An object of so many levels, arrays inside.
fn nested(levels: usize) -> String {
    format!("{{\"a\":{}1{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1))
}

/// Every frame that may carry a body or a cell, with this one in it.
fn carriers(value: &str) -> Vec<String> {
    let user = r#"{"id":"u","name":"U","kind":"user"}"#;
    let event = format!(
        r#"{{"t":"event","ch":"dialog:demo","offset":1,"id":"i","kind":"note","at":1,"by":{user},"body":{value}}}"#
    );
    let page = |t: &str| {
        format!(
            r#"{{"t":"{t}","ch":"dialog:demo","epoch":"e","mode":"fresh","from":0,"head":1,"events":[{event}],"more":false,"runs":[]}}"#
        )
    };
    let op = format!(r#"{{"t":"op","id":"i","ch":"dialog:demo","kind":"note","body":{value}}}"#);
    let signal = format!(r#"{{"t":"signal","ch":"dialog:demo","kind":"k","body":{value},"by":{user}}}"#);
    let change = format!(r#"{{"op":"update","row":[1,{value}]}}"#);
    let tables = [
        format!(
            r#"{{"t":"tbl.ok","sid":"s","mode":"snapshot","columns":[{{"name":"a","type":"json"}}],"key":[0],"pos":0,"rows":[[{value}]],"more":false}}"#
        ),
        format!(r#"{{"t":"tbl.page","sid":"s","rows":[[{value}]],"more":false}}"#),
        format!(r#"{{"t":"tbl.tx","sid":"s","prev":0,"pos":1,"txs":[["1",1,[{change}]]]}}"#),
    ];
    [event.clone(), page("sub_ok"), page("page"), op, signal].into_iter().chain(tables).collect()
}

#[test]
fn the_deepest_body_can_be_carried_by_every_frame_alone_and_in_an_array() {
    let deepest = nested(MAX_BODY_DEPTH);
    for frame in carriers(&deepest) {
        for message in [frame.clone(), format!("[{frame},{frame}]")] {
            assert!(validate(&message).is_ok(), "a strict peer reads {message}");
            assert!(depth(&message) <= MAX_BODY_DEPTH + 8, "{message}");
        }
    }
}

#[test]
fn a_body_that_a_server_let_through_is_read_however_deep() {
    for frame in carriers(&nested(10_000)) {
        assert!(decode_server_message(&format!("[{frame}]")).is_ok());
    }
    let mut rig = Rig::online();
    let body: Value = json!({"text":"deep"});
    let mut deep = event(1, "message", "bob", body).to_string();
    deep = deep.replace(r#""text":"deep""#, &format!(r#""text":"deep","x":{}"#, nested(100)));
    rig.receive_text(&deep);
    assert_eq!(rig.shown(), ["deep:sent"]);
}

#[test]
fn a_body_or_a_signal_deeper_than_the_limit_is_refused_at_the_call() {
    let mut rig = Rig::online();
    for levels in 1..40 {
        let sent = rig.client.send(rig.now, "dialog:demo", "note", &nested(levels));
        let signalled = rig.client.signal(rig.now, "dialog:demo", "k", None, &nested(levels));
        let expected = if levels > MAX_BODY_DEPTH { Some("too_deep") } else { None };
        assert_eq!(sent.err().map(SendError::code), expected, "{levels}");
        assert_eq!(signalled.err().map(SendError::code), expected, "{levels}");
    }
}

/// Events that can't be read, and whether their own place can.
fn unreadable(offset: u64) -> Vec<Value> {
    let whole = message(offset, "text");
    let mut broken = vec![];
    for member in ["id", "kind", "at", "by", "body"] {
        for value in [Value::Null, json!(true), json!(-1.5), json!([1]), json!({"x":1})] {
            let mut event = whole.clone();
            event[member] = value;
            // An object is what a body is.
            if event["body"] != json!({"x":1}) {
                broken.push(event);
            }
        }
        let mut event = whole.clone();
        event.as_object_mut().expect("an object").remove(member);
        broken.push(event);
    }
    broken
}

#[test]
fn an_event_that_cant_be_read_is_a_row_and_everything_goes_on() {
    for event in unreadable(2) {
        let mut rig = Rig::online();
        rig.receive(json!([message(1, "before"), event, message(3, "after")]));
        assert_eq!(rig.shown(), ["before:sent", ":sent", "after:sent"], "{event}");
        assert_eq!(rig.rows()[1].kind, RowKind::Unreadable);
        assert_eq!(rig.state(), State::Online);
        assert_eq!(rig.client.explain().counters.unreadable, 1);
        // It is kept as what it is, so the next start shows the same.
        let mut next = Rig::restored(rig.store.clone());
        next.client.open_dialog(next.now, "demo").unwrap();
        assert_eq!(next.shown(), ["before:sent", ":sent", "after:sent"]);
        assert_eq!(next.rows()[1].kind, RowKind::Unreadable);
    }
}

#[test]
fn an_event_of_a_page_that_cant_be_read_keeps_its_place() {
    for event in unreadable(2).into_iter().chain([json!(null), json!(1), json!([]), json!({})]) {
        let mut rig = Rig::new();
        rig.client.open_dialog(rig.now, "demo").unwrap();
        rig.connect();
        rig.welcome();
        rig.receive(sub_ok("fresh", 0, 3, vec![message(1, "before"), event.clone(), message(3, "after")]));
        assert_eq!(rig.shown(), ["before:sent", ":sent", "after:sent"], "{event}");
        assert_eq!(rig.channel_states().last(), Some(&ChannelState::Live));
    }
}

#[test]
fn a_live_event_without_a_place_is_asked_for_again() {
    for event in [json!({"t":"event","ch":"dialog:demo"}), json!({"t":"event"}), json!({"t":"event","ch":7})]
    {
        let mut rig = Rig::online();
        rig.receive(event.clone());
        assert_eq!(rig.sent, [json!({"t":"next","ch":"dialog:demo","from":0})], "{event}");
        rig.receive(
            json!({"t":"page","ch":"dialog:demo","from":0,"head":1,"events":[event],"more":false,"runs":[]}),
        );
        assert_eq!(rig.shown(), [":sent"]);
        assert_eq!(rig.channel_states().last(), Some(&ChannelState::Live));
    }
}

#[test]
fn a_signal_or_a_piece_that_cant_be_read_ends_nothing() {
    let mut rig = Rig::online();
    rig.receive(start(1, "r"));
    rig.receive(json!({"t":"signal","ch":"dialog:demo","kind":1,"body":{},"by":user("bob")}));
    rig.receive(json!({"t":"signal","ch":"dialog:demo","kind":"k","body":{},"by":"bob"}));
    rig.sent.clear();
    rig.receive(json!({"t":"piece","ch":"dialog:demo","run":"r","at":"x","text":"?"}));
    assert_eq!(rig.sent, [json!({"t":"next","ch":"dialog:demo","from":1})]);
    assert_eq!(rig.state(), State::Online);
}

#[test]
fn depth_counts_brackets_and_not_what_stands_in_strings() {
    for (text, levels) in [
        ("1", 0),
        ("\"[[[\"", 0),
        ("[]", 1),
        ("{}", 1),
        ("[[],[[]]]", 3),
        ("{\"[\":[\"]\"]}", 2),
        ("{\"a\\\"[\":{}}", 2),
        ("[\"\\\\\",[1]]", 2),
    ] {
        assert_eq!(depth(text), levels, "{text}");
    }
}

#[test]
fn a_body_on_one_line_means_the_same() {
    let body = "{\r\n  \"text\": \"a\\nb\",\n\t\"x\": [1,\n2]\n}";
    let line = on_one_line(body);
    assert!(!line.contains(['\n', '\r']));
    let read = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    assert_eq!(read(&line), read(body));
}
