//! Connections over plain requests: which are made when, and what their responses mean.
#![allow(clippy::unwrap_used)]

use crate::rig::*;
use serde_json::json;
use tidewire_core::tables::TableEvent;
use tidewire_core::*;

const UP: &str = "/v1/http/up";
const STREAM: &str = "/v1/http/down?mode=stream";
const LONG_POLL: &str = "/v1/http/down?mode=poll&wait=25000";
const POLL: &str = "/v1/http/down?mode=poll&wait=0";

/// A client that has this transport alone, as far as its first request. Nothing answers by itself.
fn dialled(transport: Transport) -> Rig {
    let config = Config { transports: vec![transport], ..Config::default() };
    let mut rig = Rig::with(config, Store::default(), Now { mono: Time(1_000), wall: WALL }, [42; 32]);
    rig.serves = false;
    rig.client.open_dialog(rig.now, "demo").unwrap();
    rig.client.connect(rig.now);
    rig.drain();
    rig
}

/// The connection is open; what is under way is the first request down, and the hello.
fn opened(transport: Transport) -> Rig {
    let mut rig = dialled(transport);
    let id = last(&rig).id;
    respond(&mut rig, id, 201, br#"{"connection":"s3cret"}"#);
    rig
}

/// Welcomed, with nothing under way but a request down, or the pause before it.
fn online(transport: Transport) -> Rig {
    let mut rig = opened(transport);
    let (down, up) = (rig.down(rig.conn.unwrap()).unwrap(), last(&rig).id);
    respond(&mut rig, up, 204, b"");
    let lines = [welcome("ada").to_string(), sub_ok("fresh", 0, 0, vec![]).to_string()].join("\n") + "\n";
    match transport {
        Transport::Stream => begin(&mut rig, down, 200, lines.as_bytes()),
        _ => respond(&mut rig, down, 200, lines.as_bytes()),
    }
    assert_eq!(rig.state(), State::Online);
    rig.sent.clear();
    rig.events.clear();
    rig
}

fn last(rig: &Rig) -> &Request {
    rig.requests.last().expect("a request")
}

fn begin(rig: &mut Rig, id: RequestId, status: u16, body: &[u8]) {
    rig.answer(id, ResponsePart::Status(status));
    if !body.is_empty() {
        rig.answer(id, ResponsePart::Body(body));
    }
}

fn respond(rig: &mut Rig, id: RequestId, status: u16, body: &[u8]) {
    begin(rig, id, status, body);
    rig.answer(id, ResponsePart::End);
}

fn down(rig: &Rig) -> RequestId {
    rig.down(rig.conn.unwrap()).unwrap()
}

fn to<'a>(rig: &'a Rig, path: &'a str) -> impl DoubleEndedIterator<Item = &'a Request> {
    rig.requests.iter().filter(move |request| request.path == path)
}

fn ups(rig: &Rig) -> usize {
    to(rig, UP).count()
}

fn last_up(rig: &Rig) -> &Request {
    to(rig, UP).next_back().expect("a request up")
}

fn frames(request: &Request) -> Vec<serde_json::Value> {
    match serde_json::from_str(request.body.as_deref().unwrap()).unwrap() {
        serde_json::Value::Array(frames) => frames,
        frame => vec![frame],
    }
}

fn kinds(request: &Request) -> Vec<String> {
    frames(request).iter().map(|frame| frame["t"].as_str().unwrap().to_owned()).collect()
}

fn cause(rig: &Rig) -> Option<String> {
    rig.status().cause
}

// Opening.

#[test]
fn a_connection_is_opened_by_a_request_and_its_id_is_in_a_header_only() {
    for (transport, path) in
        [(Transport::Stream, STREAM), (Transport::LongPoll, LONG_POLL), (Transport::Poll, POLL)]
    {
        let rig = opened(transport);
        let asked: Vec<_> = rig.requests.iter().map(|one| (one.method.as_str(), one.path)).collect();
        assert_eq!(asked, [("POST", "/v1/http"), ("GET", path), ("POST", UP)]);
        let id = ("tidewire-connection", "s3cret".to_owned());
        assert_eq!(rig.requests[0].headers, []);
        assert_eq!(rig.requests[0].body, None);
        assert_eq!(rig.requests[1].headers, [id.clone(), ("tidewire-seq", "0".to_owned())]);
        assert_eq!(rig.requests[2].headers, [id, ("tidewire-seq", "1".to_owned())]);
        assert_eq!(kinds(&rig.requests[2]), ["hello"]);
        assert!(rig.requests.iter().all(|request| !request.keepalive));
    }
}

#[test]
fn a_request_for_messages_says_how_many_came() {
    for transport in [Transport::LongPoll, Transport::Poll] {
        let mut rig = online(transport);
        rig.pass(3_000);
        let number = |rig: &Rig| last(rig).headers[1].clone();
        assert_eq!(number(&rig), ("tidewire-seq", "2".to_owned()), "welcome and sub_ok");
        let asked = down(&rig);
        respond(&mut rig, asked, 200, b"{\"t\":\"pong\",\"n\":\"1\"}\n{\"t\":\"pong\",\"n\":\"2\"}\n");
        rig.pass(3_000);
        assert_eq!(number(&rig), ("tidewire-seq", "4".to_owned()));
    }
}

#[test]
fn debug_shows_neither_the_connection_nor_a_body() {
    let rig = opened(Transport::Stream);
    for request in &rig.requests {
        let shown = format!("{request:?} {:?}", Output::<TableEvent>::Request(request.clone()));
        assert!(shown.contains(request.path), "{shown}");
        for secret in ["s3cret", "good.token", "hello"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
}

#[test]
fn what_does_not_open_a_connection_is_a_failed_attempt_with_a_cause() {
    let too_long = format!(r#"{{"connection":"{}"}}"#, "x".repeat(257));
    let endless = vec![b' '; 5_000];
    for (status, body, expected) in [
        (200, &b"<html>Log in to the hotel's network</html>"[..], "http_200"),
        (404, b"", "http_404"),
        (503, br#"{"error":{"code":"goaway"}}"#, "http_503"),
        (307, b"", "http_307"),
        (201, b"<html>", "bad_answer"),
        (201, b"{}", "bad_answer"),
        (201, br#"{"connection":7}"#, "bad_answer"),
        (201, br#"{"connection":""}"#, "bad_answer"),
        (201, br#"{"connection":"a b"}"#, "bad_answer"),
        (201, br#"{"connection":"a\r\nx-evil: 1"}"#, "bad_answer"),
        (201, b"{\"connection\":\"\xff\"}", "bad_answer"),
        (201, too_long.as_bytes(), "bad_answer"),
        (201, &endless, "bad_answer"),
        (201, b"", "bad_answer"),
    ] {
        let mut rig = dialled(Transport::Stream);
        let id = last(&rig).id;
        respond(&mut rig, id, status, body);
        assert_eq!((rig.state(), cause(&rig).as_deref()), (State::Reconnecting, Some(expected)));
        assert_eq!(rig.requests.len(), 1, "{status}: nothing else was asked for");
    }
    for (told, expected) in [(Some("refused"), "refused"), (None, "connection_lost")] {
        let mut rig = dialled(Transport::Poll);
        let id = last(&rig).id;
        rig.answer(id, ResponsePart::Failed(told));
        assert_eq!(cause(&rig).as_deref(), Some(expected));
    }
}

#[test]
fn an_opening_that_nothing_answers_is_given_up() {
    let mut rig = dialled(Transport::LongPoll);
    let id = last(&rig).id;
    rig.pass(10_000);
    assert_eq!((cause(&rig).as_deref(), &rig.aborted[..]), (Some("connect_timeout"), &[id][..]));
    // Its answer comes late, and opens nothing.
    let requests = rig.requests.len();
    respond(&mut rig, id, 201, br#"{"connection":"late"}"#);
    assert_eq!(rig.requests.len(), requests);
}

// Up.

#[test]
fn one_message_goes_up_at_a_time_and_what_comes_meanwhile_goes_together() {
    let mut rig = online(Transport::Stream);
    rig.send("one");
    let first = last_up(&rig).id;
    for text in ["two", "three", "four"] {
        rig.send(text);
    }
    let conn = rig.conn.unwrap();
    rig.receive_on(conn, &json!({"t":"ping","n":"1"}).to_string());
    assert_eq!(ups(&rig), 2);
    respond(&mut rig, first, 204, b"");
    assert_eq!(ups(&rig), 3);
    assert_eq!(kinds(last_up(&rig)), ["pong", "op", "op", "op"]);
    assert_eq!(last_up(&rig).headers[1], ("tidewire-seq", "3".to_owned()));
    let texts: Vec<_> = frames(last_up(&rig)).iter().map(|op| op["body"]["text"].clone()).collect();
    assert_eq!(texts[1..], ["two", "three", "four"]);
}

#[test]
fn what_goes_together_stays_within_the_size_of_a_message_and_each_goes_whole() {
    let mut rig = online(Transport::Stream);
    rig.send("first");
    let mut sent = vec![];
    for size in [15_000, 9_000, 9_000, 9_000, 10, 15_500, 15_500, 5] {
        sent.push(rig.send(&"x".repeat(size)));
    }
    let mut seen = vec![];
    for _ in 0..4 {
        let id = last_up(&rig).id;
        respond(&mut rig, id, 204, b"");
        let request = last_up(&rig);
        assert!(request.body.as_ref().unwrap().len() <= 65_536);
        if request.id != id {
            seen.extend(frames(request).into_iter().map(|op| op["id"].as_str().unwrap().to_owned()));
        }
    }
    assert_eq!(seen, sent, "once each, in their order");
    assert!(ups(&rig) < 2 + sent.len(), "some went together");
}

#[test]
fn a_server_that_takes_smaller_messages_gets_smaller_bodies() {
    let mut rig = opened(Transport::Stream);
    let up = last(&rig).id;
    respond(&mut rig, up, 204, b"");
    let mut frame = welcome("ada");
    frame["limits"]["message_bytes"] = 2_000.into();
    let id = down(&rig);
    begin(&mut rig, id, 200, format!("{frame}\n{}\n", sub_ok("fresh", 0, 0, vec![])).as_bytes());
    for n in 0..20 {
        rig.send(&format!("{n} {}", "x".repeat(300)));
    }
    while rig.down(rig.conn.unwrap()).is_some() {
        let id = last_up(&rig).id;
        respond(&mut rig, id, 204, b"");
        if last_up(&rig).id == id {
            break;
        }
    }
    let bodies: Vec<_> = to(&rig, UP).skip(1).map(|request| request.body.as_ref().unwrap().len()).collect();
    assert!(bodies.iter().all(|size| *size <= 2_000), "{bodies:?}");
}

#[test]
fn a_request_up_that_is_never_answered_ends_the_connection() {
    let mut rig = online(Transport::LongPoll);
    rig.send("one");
    let (up, until) = (last_up(&rig).id, rig.now.mono.after(30_000));
    // Downwards all is well.
    let mut id = down(&rig);
    while rig.now.mono < until {
        assert!(!rig.aborted.contains(&up));
        id = down(&rig);
        respond(&mut rig, id, 200, b"{\"t\":\"ping\",\"n\":\"1\"}\n");
        rig.pass(5_000);
    }
    assert_eq!((rig.state(), cause(&rig).as_deref()), (State::Reconnecting, Some("connection_lost")));
    assert!(rig.aborted.contains(&up) && !rig.aborted.contains(&id));
}

#[test]
fn an_op_that_waits_for_the_request_before_can_still_be_taken_back() {
    let mut rig = online(Transport::Stream);
    rig.send("one");
    let (first, two) = (last_up(&rig).id, rig.send("two"));
    let spins = rig.until.unwrap() <= rig.now.mono.after(1);
    assert!(!spins, "nothing is due before the response");
    assert!(rig.client.discard(rig.now, &two));
    rig.drain();
    respond(&mut rig, first, 204, b"");
    assert_eq!((ups(&rig), rig.shown()), (2, vec!["one:sending".to_owned()]));
}

// Down.

#[test]
fn lines_come_one_by_one_however_they_are_cut_also_in_the_middle_of_a_character() {
    let mut rig = online(Transport::Stream);
    let id = down(&rig);
    for byte in format!("\n{}\n\n{}\n", message(1, "grüße"), message(2, "漢")).as_bytes() {
        rig.answer(id, ResponsePart::Body(&[*byte]));
    }
    assert_eq!(rig.shown(), ["grüße:sent", "漢:sent"]);
}

#[test]
fn a_long_poll_asks_again_at_once_and_rests_when_nobody_holds_its_question() {
    let mut rig = online(Transport::LongPoll);
    for n in 1..4 {
        let id = down(&rig);
        respond(&mut rig, id, 200, format!("{}\n", message(n, "x")).as_bytes());
        assert_ne!(down(&rig), id, "a response with lines is followed at once");
    }
    let id = down(&rig);
    rig.pass(25_000);
    respond(&mut rig, id, 200, b"");
    assert_ne!(down(&rig), id, "so is one that was held back");
    for _ in 0..2 {
        let id = down(&rig);
        respond(&mut rig, id, 200, b"");
        rig.pass(2_999);
        assert_eq!(down(&rig), id, "but not one that was empty at once");
        rig.pass(1);
        assert_ne!(down(&rig), id);
    }
}

#[test]
fn plain_polling_asks_every_three_seconds_whatever_comes() {
    let mut rig = online(Transport::Poll);
    for n in 1..4 {
        let before = to(&rig, POLL).count();
        rig.pass(2_999);
        assert_eq!(to(&rig, POLL).count(), before);
        rig.pass(1);
        assert_eq!(to(&rig, POLL).count(), before + 1);
        let id = down(&rig);
        respond(&mut rig, id, 200, format!("{}\n", message(n, "x")).as_bytes());
    }
    assert_eq!(rig.rows().len(), 3);
}

// The end.

#[test]
fn a_response_that_is_none_of_the_protocols_ends_the_connection() {
    let line = [vec![b'x'; 2 * 1024 * 1024], vec![b'x', b'\n']].concat();
    for transport in [Transport::Stream, Transport::LongPoll, Transport::Poll] {
        for (what, parts, expected) in [
            (
                "it is cut off within a line",
                vec![ResponsePart::Status(200), ResponsePart::Body(b"{\"t\":"), ResponsePart::End],
                "connection_lost",
            ),
            (
                "within the last one",
                vec![
                    ResponsePart::Status(200),
                    ResponsePart::Body(br#"{"t":"close","code":4501"#),
                    ResponsePart::End,
                ],
                "connection_lost",
            ),
            (
                "it breaks",
                vec![ResponsePart::Status(200), ResponsePart::Failed(Some("unreachable"))],
                "connection_lost",
            ),
            ("before it begins", vec![ResponsePart::Failed(Some("refused"))], "connection_lost"),
            ("nothing is there", vec![ResponsePart::Status(404)], "connection_lost"),
            ("a proxy speaks", vec![ResponsePart::Status(502)], "http_502"),
            ("something else answers", vec![ResponsePart::Status(201)], "http_201"),
            ("it ends before it begins", vec![ResponsePart::End], "connection_lost"),
            (
                "a line that is too long",
                vec![ResponsePart::Status(200), ResponsePart::Body(&line)],
                "connection_lost",
            ),
            (
                "a line that never ends",
                vec![
                    ResponsePart::Status(200),
                    ResponsePart::Body(&line[..line.len() - 2]),
                    ResponsePart::Body(b"yy"),
                ],
                "connection_lost",
            ),
            (
                "no UTF-8",
                vec![ResponsePart::Status(200), ResponsePart::Body(b"\"\xff\"\n")],
                "connection_lost",
            ),
            ("no frame", vec![ResponsePart::Status(200), ResponsePart::Body(b"<html>\n")], "protocol"),
        ] {
            let mut rig = online(transport);
            if transport != Transport::LongPoll {
                rig.pass(3_000);
            }
            let id = down(&rig);
            for part in parts {
                rig.answer(id, part);
            }
            let seen = (rig.state(), cause(&rig));
            assert_eq!(seen, (State::Reconnecting, Some(expected.to_owned())), "{transport:?}: {what}");
            // Whatever else it brings comes to nothing.
            let requests = rig.requests.len();
            for part in [
                ResponsePart::Status(200),
                ResponsePart::Body(b"{}\n"),
                ResponsePart::End,
                ResponsePart::Failed(None),
            ] {
                rig.answer(id, part);
            }
            assert_eq!(rig.requests.len(), requests, "{transport:?}: {what}");
            rig.serves = true;
            rig.redial(60_000);
        }
    }
}

#[test]
fn a_message_that_is_not_taken_ends_the_connection_with_what_is_under_way() {
    for (part, expected) in [
        (ResponsePart::Status(400), "http_400"),
        (ResponsePart::Status(404), "connection_lost"),
        (ResponsePart::Status(413), "http_413"),
        (ResponsePart::Status(200), "http_200"),
        (ResponsePart::End, "connection_lost"),
        (ResponsePart::Failed(Some("unreachable")), "connection_lost"),
    ] {
        let mut rig = online(Transport::LongPoll);
        let id = rig.send("one");
        let (down, up) = (down(&rig), last_up(&rig).id);
        rig.answer(up, part);
        assert_eq!((rig.state(), cause(&rig).as_deref()), (State::Reconnecting, Some(expected)));
        assert!(rig.aborted.contains(&down));
        // It is sent again by the next connection.
        rig.serves = true;
        rig.redial(60_000);
        rig.welcome();
        rig.receive(sub_ok("resumed", 0, 0, vec![]));
        assert_eq!(rig.ops()[0]["id"], id.as_str());
    }
}

#[test]
fn a_stream_that_ends_without_saying_why_is_lost() {
    let mut rig = online(Transport::Stream);
    let id = down(&rig);
    rig.answer(id, ResponsePart::Body(format!("{}\n", message(1, "one")).as_bytes()));
    rig.answer(id, ResponsePart::End);
    assert_eq!((rig.state(), rig.shown()), (State::Reconnecting, vec!["one:sent".to_owned()]));
    assert!(!rig.aborted.contains(&id), "it is over by itself");
}

#[test]
fn a_body_without_a_status_is_none() {
    let mut rig = opened(Transport::Stream);
    let id = down(&rig);
    rig.answer(id, ResponsePart::Body(format!("{}\n", welcome("ada")).as_bytes()));
    assert_eq!((rig.state(), &rig.aborted[0]), (State::Reconnecting, &id));
}

#[test]
fn the_last_line_is_the_close_and_nothing_counts_after_it() {
    for transport in [Transport::Stream, Transport::LongPoll] {
        let mut rig = online(transport);
        rig.send("under way");
        let (id, up) = (down(&rig), last_up(&rig).id);
        let lines = format!(
            "{}\n{}\n{}\n{}\n",
            json!({"t":"error","code":"forbidden","message":"not here"}),
            json!({"t":"close","code":4503,"reason":"forbidden"}),
            json!({"t":"close","code":4000,"reason":"goaway"}),
            message(1, "late"),
        );
        begin(&mut rig, id, 200, lines.as_bytes());
        assert_eq!((rig.state(), cause(&rig).as_deref()), (State::Failed, Some("forbidden")));
        assert!(rig.rows().iter().all(|row| row.text != "late"));
        assert!(rig.aborted.contains(&id) && rig.aborted.contains(&up));
        assert_eq!(rig.until, None, "nothing is left to do");
    }
}

#[test]
fn a_word_of_the_server_counts_as_on_a_socket() {
    let mut rig = opened(Transport::Poll);
    let id = down(&rig);
    let expired = json!({"t":"close","code":4020,"reason":"token_expired"});
    respond(&mut rig, id, 200, format!("{expired}\n").as_bytes());
    assert_eq!(rig.asks.last().map(|(_, renew)| *renew), Some(true));
}

// Leaving.

#[test]
fn closing_says_goodbye_where_the_server_would_not_notice_it_after_what_waits() {
    let mut rig = online(Transport::LongPoll);
    rig.send("one");
    let (first, id) = (last_up(&rig).id, down(&rig));
    begin(&mut rig, id, 200, b"{\"t\":\"ping\",\"n\":\"1\"}\n");
    rig.client.close(rig.now);
    rig.drain();
    assert_eq!((rig.state(), rig.aborted.len()), (State::Closed, 0));
    respond(&mut rig, first, 204, b"");
    assert_eq!(kinds(last_up(&rig)), ["pong", "bye"]);
    assert!(last_up(&rig).keepalive);
    let (down, bye) = (down(&rig), last_up(&rig).id);
    respond(&mut rig, bye, 204, b"");
    assert_eq!((&rig.aborted[..], rig.until), (&[down][..], None));
}

#[test]
fn a_goodbye_that_was_said_is_not_said_again() {
    for transport in [Transport::Stream, Transport::LongPoll, Transport::Poll] {
        let mut rig = online(transport);
        rig.client.close(rig.now);
        rig.drain();
        assert_eq!((kinds(last_up(&rig)), ups(&rig)), (vec!["bye".to_owned()], 2));
    }
}

#[test]
fn on_a_stream_its_end_is_the_goodbye_of_a_connection_that_was_not_welcomed() {
    for transport in [Transport::Stream, Transport::LongPoll] {
        let mut rig = opened(transport);
        let up = last(&rig).id;
        respond(&mut rig, up, 204, b"");
        rig.client.close(rig.now);
        rig.drain();
        match transport {
            Transport::Stream => assert_eq!((ups(&rig), &rig.aborted[..]), (1, &[down(&rig)][..])),
            _ => assert_eq!((kinds(last_up(&rig)), ups(&rig)), (vec!["bye".to_owned()], 2)),
        }
    }
}

#[test]
fn a_goodbye_takes_five_seconds_at_most() {
    let mut rig = online(Transport::LongPoll);
    rig.client.close(rig.now);
    rig.drain();
    let (down, bye) = (down(&rig), last_up(&rig).id);
    rig.pass(4_999);
    assert_eq!(rig.aborted, []);
    rig.pass(1);
    assert_eq!(rig.aborted, [down, bye]);
    assert_eq!(rig.until, None);
}

#[test]
fn a_goodbye_that_fails_is_over_and_nobody_is_told() {
    for part in [ResponsePart::Status(404), ResponsePart::Failed(None)] {
        let mut rig = online(Transport::Poll);
        rig.client.close(rig.now);
        rig.drain();
        rig.events.clear();
        let bye = last_up(&rig).id;
        rig.answer(bye, part);
        assert_eq!((rig.until, rig.events.len()), (None, 0));
    }
}

#[test]
fn a_closed_connection_tells_nothing_more() {
    let mut rig = online(Transport::LongPoll);
    let id = down(&rig);
    rig.client.close(rig.now);
    rig.drain();
    respond(&mut rig, id, 200, format!("{}\n", message(1, "late")).as_bytes());
    assert_eq!((rig.rows().len(), down(&rig)), (0, id), "nor is it asked for more");
}

#[test]
fn closing_while_it_is_being_opened_asks_for_nothing_more() {
    let mut rig = dialled(Transport::Poll);
    let id = last(&rig).id;
    rig.client.close(rig.now);
    rig.drain();
    assert_eq!((&rig.aborted[..], rig.until), (&[id][..], None));
    respond(&mut rig, id, 201, br#"{"connection":"late"}"#);
    assert_eq!(rig.requests.len(), 1);
}

#[test]
fn reports_of_a_socket_mean_nothing_on_a_connection_over_requests() {
    let mut rig = online(Transport::Stream);
    let conn = rig.conn.unwrap();
    rig.feed(Input::Opened { conn });
    rig.feed(Input::Received { conn, text: "{}" });
    rig.feed(Input::Closed { conn, code: 4501, cause: None });
    rig.pass(1_000);
    assert_eq!((rig.events.len(), rig.aborted.len(), rig.dials.len()), (0, 0, 1));
}
