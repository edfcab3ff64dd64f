//! The codec against serde_json, and against what hostile peers send.

use serde_json::{Value, json};
use tidewire_core::wire::json::{Object, Writer, elements, string, unescape, validate};
use tidewire_core::wire::*;

fn channel(name: &str) -> ChannelName {
    ChannelName::parse(name).expect("a valid name")
}

/// Texts that RFC 8259 accepts or refuses, many after the cases of the JSON parsing test suites.
const CASES: &[&str] = &[
    "",
    " ",
    "null",
    "true",
    "false",
    "tru",
    "nulll",
    "0",
    "-0",
    "-",
    "01",
    "1.",
    ".5",
    "1.5",
    "1e5",
    "1E+5",
    "1e",
    "1e+",
    "-1.5e-3",
    "+1",
    "NaN",
    "Infinity",
    "0x1",
    "1_000",
    "\"\"",
    "\"a\"",
    "\"a",
    "a\"",
    "'a'",
    "\"\\n\"",
    "\"\\x\"",
    "\"\\u12\"",
    "\"\\u00e9\"",
    "\"\\ud83d\\ude00\"",
    "\"\\uDEAD\"",
    "\"\t\"",
    "\"\u{7f}\"",
    "\"\u{0}\"",
    "[]",
    "[",
    "]",
    "[1,]",
    "[,1]",
    "[1 2]",
    "[1,2]",
    "[[[]]]",
    "[1,[2,{\"a\":[3]}]]",
    "{}",
    "{",
    "{\"a\"}",
    "{\"a\":}",
    "{\"a\":1,}",
    "{a:1}",
    "{\"a\":1}",
    "{\"a\":1,\"a\":2}",
    "{\"a\":{\"b\":{}}}",
    "{ \"a\" : [ 1 , \"x\" , null ] }",
    "\u{feff}1",
    "1 1",
    "{}{}",
    "[1]x",
    "//c\n1",
    "\"\u{2028}\"",
    "[\"a\",\n\"b\"]",
    "-a",
    "[-]",
    "2.e3",
    "1.2.3",
    "\"\\\"",
    "\"\\\\\"",
    "{\"\":0}",
    "[\u{a0}1]",
    "[1\r\n]",
    "9999999999999999999999999",
    "{\"a\":\"b\"]",
    "[}",
    "{]",
];

#[test]
fn it_accepts_exactly_what_serde_json_accepts() {
    for case in CASES {
        let theirs = serde_json::from_str::<Value>(case);
        // serde_json refuses lone surrogates, for which JSON text itself has room.
        let theirs = theirs.is_ok() || case.contains("DEAD");
        assert_eq!(validate(case).is_ok(), theirs, "{case:?}");
        assert_eq!(is_split(case), theirs && case.trim_start().starts_with(['{', '[']), "{case:?}");
    }
}

/// Whether a text is split into its members or elements, which reads all of it.
fn is_split(text: &str) -> bool {
    Object::parse(text).is_ok() || elements(text).is_ok()
}

#[test]
fn it_accepts_exactly_what_serde_json_accepts_of_a_hundred_thousand_mangled_texts() {
    let seed = json!({"t":"event","ch":"c","offset":12,"id":"é\n\"","by":{"id":"x","kind":"user"},"n":[-1.5e3,true,null,{"a":[]}]}).to_string();
    let bits = b"\"\\{}[]:, \t0123456789.eE+-ntfu\x01a";
    let mut state = 7u64;
    let mut next = |below: usize| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as usize % below
    };
    let mut accepted = 0;
    for _ in 0..100_000 {
        let mut bytes = seed.clone().into_bytes();
        for _ in 0..=next(3) {
            let at = next(bytes.len());
            match next(3) {
                0 => bytes[at] = bits[next(bits.len())],
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, bits[next(bits.len())]),
            }
        }
        let Ok(text) = String::from_utf8(bytes) else { continue };
        let theirs = serde_json::from_str::<Value>(&text);
        let ours = validate(&text);
        if let Err(error) = &theirs
            && error.to_string().contains("surrogate")
        {
            continue;
        }
        assert_eq!(ours.is_ok(), theirs.is_ok(), "{text}");
        assert_eq!(
            is_split(&text),
            theirs.as_ref().is_ok_and(|value| value.is_object() || value.is_array()),
            "{text}"
        );
        let list = format!(" [{text}, {text}]\n");
        assert_eq!(elements(&list).is_ok(), serde_json::from_str::<Value>(&list).is_ok(), "{list}");
        if let Ok(Value::Object(theirs)) = theirs {
            accepted += 1;
            let object = Object::parse(ours.unwrap()).unwrap();
            for (name, value) in &theirs {
                assert_eq!(&serde_json::from_str::<Value>(object.raw(name).unwrap()).unwrap(), value);
            }
        }
    }
    assert!(accepted > 1_000);
}

#[test]
fn strings_survive_both_ways() {
    let every: String = (0..0x11_0000u32).step_by(7).filter_map(char::from_u32).collect();
    for text in ["", "plain", "\"\\/\u{8}\u{c}\n\r\t", "\u{0}\u{1f}", "é€😀", &every] {
        assert_eq!(serde_json::from_str::<String>(&string(text)).unwrap(), text);
        assert_eq!(unescape(&serde_json::to_string(text).unwrap()), text);
    }
    assert_eq!(unescape("\"\\ud83d\\ude00\\u00e9\\/\""), "😀é/");
    assert_eq!(unescape("\"\\ud83dx\""), "\u{fffd}x", "a lone surrogate has no UTF-8 form");
}

#[test]
fn depth_is_bounded_without_recursion_running_away() {
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    assert!(validate(&nested(32)).is_ok());
    assert_eq!(validate(&nested(33)), Err(DecodeError::TooDeep));
    assert_eq!(validate(&nested(1_000_000)).unwrap_err().code(), "too_deep");
    assert_eq!(validate(&"{\"a\":".repeat(100_000)), Err(DecodeError::TooDeep));
}

#[test]
fn integers_beyond_two_to_the_53_travel_as_strings() {
    let big = ServerFrame::Ok {
        id: "i".into(),
        ch: channel("c"),
        offset: Offset(u64::MAX),
        at: 1 << 53,
        dup: false,
    };
    let text = big.encode();
    assert!(text.contains("\"offset\":\"18446744073709551615\"") && text.contains("\"at\":9007199254740992"));
    assert_eq!(decode_server_message(&text).unwrap(), [big]);
    for bad in ["-1", "1.0", "1e3", "\"\"", "\"x\"", "18446744073709551616", "null", "true"] {
        let text = format!("{{\"t\":\"next\",\"ch\":\"c\",\"from\":{bad}}}");
        assert_eq!(decode_client_message(&text), Err(DecodeError::Member("from")), "{bad}");
    }
}

#[test]
fn every_client_frame_survives_both_ways() {
    let sub = |cursor| Subscription { ch: channel("dialog:demo"), want: Want { cursor, tail: 7 } };
    let cursor = Some(Cursor { epoch: "e".into(), offset: Offset(3) });
    let op = Op {
        id: "i".into(),
        ch: channel("c"),
        kind: "k".into(),
        body: "{\"z\":1.0}".into(),
        after: Some("h".into()),
    };
    let signal =
        Signal {
            ch: channel("c"), kind: "typing".into(), key: Some("ö".into()), body: "{\"z\":1.0}".into()
        };
    let frames = [
        ClientFrame::Hello {
            v: 1,
            token: Secret("t\"".into()),
            client: "c".into(),
            session: Some("s".into()),
            agent: Some("a".into()),
            subs: vec![sub(None), sub(cursor.clone())],
        },
        ClientFrame::Auth { token: Secret("t".into()) },
        ClientFrame::Sub(sub(cursor)),
        ClientFrame::Unsub { ch: channel("c") },
        ClientFrame::Next { ch: channel("c"), from: Offset(0) },
        ClientFrame::Op(Op { after: None, ..op.clone() }),
        ClientFrame::Op(op),
        ClientFrame::Signal(Signal { key: None, ..signal.clone() }),
        ClientFrame::Signal(signal),
        ClientFrame::Ping { n: "1".into() },
        ClientFrame::Pong { n: "".into() },
        ClientFrame::Bye,
    ];
    let joined = format!("[{}]", frames.iter().map(ClientFrame::encode).collect::<Vec<_>>().join(","));
    assert!(serde_json::from_str::<Value>(&joined).is_ok());
    assert_eq!(decode_client_message(&joined).unwrap(), frames);
}

#[test]
fn every_server_frame_survives_both_ways() {
    let user = User { id: "u".into(), name: "Ü \"".into(), kind: UserKind::Operator };
    let limits = Limits {
        message_bytes: 1,
        subscriptions: 2,
        inflight: 3,
        inflight_bytes: 4,
        ops: 5,
        per_ms: 6,
        burst: 7,
        body_depth: 24,
    };
    let mut event = EventFrame {
        ch: channel("c"),
        offset: Offset(9),
        id: "i".into(),
        kind: "k".into(),
        at: 8,
        by: user.clone(),
        body: "{}".into(),
        raw: String::new(),
    };
    event.raw = event.encode();
    let page = Page {
        ch: channel("c"),
        from: Offset(8),
        head: Offset(9),
        events: vec![event.clone()],
        more: true,
        runs: vec![RunText { run: "r".into(), text: "x".into() }],
        handler: None,
    };
    let problem = Problem { code: "c".into(), message: "m".into(), retry_after_ms: Some(5) };
    let frames = vec![
        ServerFrame::Welcome(Welcome {
            conn: "c".into(),
            user: user.clone(),
            now: 1,
            ping_ms: 2,
            grace_ms: 3,
            token_ttl_ms: 4,
            limits,
        }),
        ServerFrame::AuthOk { user: user.clone(), token_ttl_ms: 1 },
        ServerFrame::SubOk(SubOk {
            epoch: "e".into(),
            mode: Mode::Reset,
            reason: Some("trimmed".into()),
            page: page.clone(),
        }),
        ServerFrame::SubErr { ch: channel("c"), problem: problem.clone(), retryable: true },
        ServerFrame::Page(page),
        ServerFrame::Event(event),
        ServerFrame::Signal {
            signal: Signal { ch: channel("c"), kind: "k".into(), key: None, body: "{}".into() },
            by: user.clone(),
        },
        ServerFrame::Piece(Piece { ch: channel("c"), run: "r".into(), at: 1, text: "t".into() }),
        ServerFrame::Ok { id: "i".into(), ch: channel("c"), offset: Offset(1), at: 2, dup: true },
        ServerFrame::Nack { id: "i".into(), problem: problem.clone(), retryable: false },
        ServerFrame::Ping { n: "1".into() },
        ServerFrame::Pong { n: "2".into() },
        ServerFrame::Goaway { reason: "r".into(), after_ms: 1, spread_ms: 2 },
        ServerFrame::Error(problem),
    ];
    let joined = format!("[{}]", frames.iter().map(ServerFrame::encode).collect::<Vec<_>>().join(","));
    assert!(serde_json::from_str::<Value>(&joined).is_ok());
    assert_eq!(decode_server_message(&joined).unwrap(), frames);
}

#[test]
fn a_missing_or_mistyped_member_is_named() {
    let member = |text: &str| match decode_client_message(text) {
        Err(DecodeError::Member(name)) => name,
        other => panic!("{text}: {other:?}"),
    };
    assert_eq!(member(r#"{"t":"hello","v":1,"client":"c"}"#), "token");
    assert_eq!(member(r#"{"t":"hello","v":"one","client":"c","token":"t"}"#), "v");
    assert_eq!(member(r#"{"t":"sub","ch":"a b"}"#), "ch");
    assert_eq!(member(r#"{"t":"sub","ch":"c","epoch":"e"}"#), "offset");
    assert_eq!(member(r#"{"t":"op","id":"i","ch":"c","kind":"k","body":[]}"#), "body");
    assert_eq!(member(r#"{"t":1}"#), "t");
    let long = format!("{{\"t\":\"ping\",\"n\":\"{}\"}}", "x".repeat(65));
    assert_eq!(member(&long), "n");
}

#[test]
fn the_last_of_two_members_counts_and_unknown_ones_are_ignored() {
    let frames = decode_client_message(r#"{"t":"ping","n":"1","n":"2","later":{"a":[1]}}"#).unwrap();
    assert_eq!(frames, [ClientFrame::Ping { n: "2".into() }]);
    assert_eq!(decode_client_message(r#"{"t":"hologram"}"#).unwrap(), [ClientFrame::Unknown]);
    assert_eq!(decode_client_message("[]").unwrap(), []);
}

#[test]
fn a_message_is_an_object_or_an_array_of_objects() {
    for bad in ["1", "\"x\"", "null", "[1]", "[[]]", "[{\"t\":\"bye\"},2]"] {
        assert!(decode_client_message(bad).is_err(), "{bad}");
        assert!(decode_server_message(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_message_may_stand_among_white_space_and_among_nothing_else() {
    let pong = r#"{"t":"pong","n":"1"}"#;
    for (before, after) in [("", ""), (" \r\n\t", " \r\n\t")] {
        for text in [format!("{before}{pong}{after}"), format!("{before}[{before}{pong}{after}]{after}")] {
            assert_eq!(decode_server_message(&text).unwrap().len(), 1, "{text:?}");
        }
    }
    for junk in ["x", ",", "}", "]", "{}", "\u{c}", "\u{a0}", "\u{feff}", "\0"] {
        for text in [
            format!("{pong}{junk}"),
            format!("{junk}{pong}"),
            format!("[{pong}]{junk}"),
            format!("[{pong}{junk}]"),
        ] {
            assert!(decode_server_message(&text).is_err(), "{text:?}");
        }
    }
}

#[test]
fn what_is_written_into_one_text_is_what_was_meant() {
    let item = |writer: Writer, number: &u64| writer.begin().u64("n", *number).close();
    let text = Writer::object()
        .each("none", &[], item)
        .each("one", &[1], item)
        .with("inside", |writer| writer.begin().each("two", &[1, 2], item).bool("yes", true).close())
        .str("last", "}")
        .end();
    let meant = json!({"none":[],"one":[{"n":1}],"inside":{"two":[{"n":1},{"n":2}],"yes":true},"last":"}"});
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), meant, "{text}");
    let list = [3, 4].iter().fold(Writer::list(16), item).end_list();
    assert_eq!(list, r#"[{"n":3},{"n":4}]"#);
    assert_eq!(Writer::list(0).end_list(), "[]");
}

#[test]
fn names_and_ids_are_checked() {
    let is_channel = |name: &str| ChannelName::parse(name).is_some();
    assert!(is_channel("dialog:a_B.9-x") && is_channel(&"c".repeat(128)));
    assert!(!is_channel("") && !is_channel("a/b") && !is_channel(&"c".repeat(129)));
    assert!(is_uuid("018F0000-0000-7000-8000-00000000000a"));
    for bad in [
        "",
        "018f0000-0000-7000-8000-00000000000",
        "018f0000x0000-7000-8000-00000000000a",
        "g18f0000-0000-7000-8000-00000000000a",
    ] {
        assert!(!is_uuid(bad));
    }
    assert_eq!(elements("[ 1 , [2] ,\"a,b\"]").unwrap(), ["1", "[2]", "\"a,b\""]);
}

/// Frames with their optional members, and the types that each may have.
fn optional_members() -> Vec<(Value, &'static [(&'static str, &'static str)])> {
    vec![
        (
            json!({"t":"hello","v":1,"token":"t","client":"c"}),
            &[("session", "string"), ("agent", "string"), ("subs", "array")],
        ),
        (json!({"t":"sub","ch":"c"}), &[("tail", "integer")]),
        (json!({"t":"sub","ch":"c","epoch":"e"}), &[("offset", "integer")]),
        (json!({"t":"sub","ch":"c","offset":1}), &[("epoch", "string")]),
        (json!({"t":"op","id":"i","ch":"c","kind":"k","body":{}}), &[("after", "string")]),
        (json!({"t":"signal","ch":"c","kind":"k","body":{}}), &[("key", "string")]),
        (
            json!({"t":"tbl.sub","sid":"s","table":"t"}),
            &[("filter", "string"), ("select", "array"), ("cursor", "string")],
        ),
    ]
}

/// The same of the server's frames.
fn optional_members_of_the_server() -> Vec<(Value, &'static [(&'static str, &'static str)])> {
    let page = json!({"ch":"c","epoch":"e","mode":"fresh","from":0,"head":0,"events":[]});
    let of = |t: &str, members: &Value| {
        let mut frame = members.clone();
        frame["t"] = t.into();
        frame
    };
    vec![
        (of("sub_ok", &page), &[("reason", "string"), ("more", "boolean"), ("runs", "array")]),
        (of("page", &page), &[("more", "boolean"), ("runs", "array")]),
        (
            json!({"t":"sub_err","ch":"c","code":"x"}),
            &[("message", "string"), ("retryable", "boolean"), ("retry_after_ms", "integer")],
        ),
        (
            json!({"t":"nack","id":"i","code":"x"}),
            &[("message", "string"), ("retryable", "boolean"), ("retry_after_ms", "integer")],
        ),
        (json!({"t":"error","code":"x"}), &[("message", "string"), ("retry_after_ms", "integer")]),
        (json!({"t":"ok","id":"i","ch":"c","offset":1,"at":1}), &[("dup", "boolean")]),
    ]
}

fn types() -> [(&'static str, Value); 6] {
    [
        ("string", json!("x")),
        ("integer", json!(1)),
        ("boolean", json!(true)),
        ("array", json!([])),
        ("object", json!({})),
        ("fraction", json!(1.5)),
    ]
}

#[test]
fn an_optional_member_of_another_type_is_an_error_that_names_it_and_null_is_none() {
    let client = optional_members().into_iter().map(|case| (case, true));
    let server = optional_members_of_the_server().into_iter().map(|case| (case, false));
    for ((frame, members), of_client) in client.chain(server) {
        let decode = |frame: &Value| {
            let text = frame.to_string();
            if of_client {
                decode_client_message(&text).map(drop)
            } else {
                decode_server_message(&text).map(drop)
            }
        };
        for (member, right) in members {
            for (name, value) in types() {
                let mut frame = frame.clone();
                frame[*member] = value;
                // A string of digits is an integer too, which "x" is not.
                let expected = if name == *right { Ok(()) } else { Err(DecodeError::Member(member)) };
                assert_eq!(decode(&frame), expected, "{frame}");
            }
            let (mut null, mut absent) = (frame.clone(), frame.clone());
            null[*member] = Value::Null;
            absent.as_object_mut().unwrap().remove(*member);
            assert_eq!(decode(&null), decode(&absent), "{null}");
        }
    }
}

#[test]
fn integers_are_digits_alone() {
    let read =
        |text: &str| decode_client_message(&format!(r#"{{"t":"next","ch":"c","from":{text}}}"#)).is_ok();
    for right in ["0", "7", "\"7\"", "\"0\"", "9007199254740993", "\"18446744073709551615\""] {
        assert!(read(right), "{right}");
    }
    for wrong in ["2.0", "1e3", "-1", "-0", "\"007\"", "\"\"", "\"+1\"", "\" 1\"", "\"18446744073709551616\""]
    {
        assert!(!read(wrong), "{wrong}");
    }
}

#[test]
fn the_n_of_a_ping_is_counted_in_characters_and_comes_back_as_it_was_or_not_at_all() {
    let ping = |n: &str| decode_client_message(&format!(r#"{{"t":"ping","n":{n}}}"#));
    let n = "\u{1F30A}".repeat(64);
    assert_eq!(ping(&string(&n)), Ok(vec![ClientFrame::Ping { n: n.clone() }]));
    assert_eq!(ping(&string(&format!("{n}x"))), Err(DecodeError::Member("n")));
    assert!(ping("\"\\ud83c\\udf0a\"").is_ok());
    for half in ["\"\\ud83c\"", "\"\\udf0a\"", "\"a\\ud83cb\"", "\"\\udf0a\\ud83c\""] {
        assert_eq!(ping(half), Err(DecodeError::Member("n")), "{half}");
    }
}
