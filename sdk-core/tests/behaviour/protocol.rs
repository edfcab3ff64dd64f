//! The pages of the protocol against its codec: every example is a frame that the codec reads and
//! writes, and every frame, close code and error code of the codec is on a page.
//!
//! A block of code says whose frames it has: `json client`, `json server`, `json body KIND`, and
//! `transcript` for lines of both. Other JSON only has to be JSON.

#![allow(clippy::disallowed_types, reason = "nothing of this is built for WebAssembly")]

use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;
use tidewire_core::wire::{
    Body, ClientFrame, ServerFrame, TableFrame, UNREADABLE, decode_client_message, decode_server_message,
};

fn read(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

const PAGES: [&str; 2] = ["docs/protocol.md", "docs/protocol-tables.md"];

/// A block of code, with the heading above it and what stands behind the opening fence.
struct Example {
    heading: String,
    info: String,
    text: String,
}

fn examples() -> Vec<Example> {
    let mut found = Vec::new();
    for page in PAGES {
        let (mut heading, mut open) = (String::new(), None::<Example>);
        for line in read(page).lines() {
            match (&mut open, line.strip_prefix("```")) {
                (None, Some(info)) => {
                    let (heading, info) = (heading.clone(), info.to_owned());
                    open = Some(Example { heading, info, text: String::new() });
                }
                (Some(_), Some(_)) => found.extend(open.take()),
                (Some(example), None) => {
                    example.text.push_str(line);
                    example.text.push('\n');
                }
                (None, None) => {
                    if let Some(text) = line.strip_prefix("### ") {
                        heading = text.to_owned();
                    }
                }
            }
        }
        assert!(open.is_none(), "{page}: every block of code is closed");
    }
    assert!(found.len() > 40, "the pages have examples");
    found
}

/// What the codec makes of a client's message: as many values as it has frames, each written anew.
fn from_client(text: &str) -> Vec<Value> {
    let frames = decode_client_message(text).unwrap_or_else(|error| panic!("{error}:\n{text}"));
    assert!(!frames.contains(&ClientFrame::Unknown), "a type that the codec does not know:\n{text}");
    frames.iter().map(|frame| json(&frame.encode())).collect()
}

/// The same of a server's.
fn from_server(text: &str) -> Vec<Value> {
    let frames = decode_server_message(text).unwrap_or_else(|error| panic!("{error}:\n{text}"));
    let readable = |frame: &ServerFrame| {
        let events = match frame {
            ServerFrame::Unknown | ServerFrame::Unreadable { .. } => return false,
            ServerFrame::Event(event) => std::slice::from_ref(event),
            ServerFrame::SubOk(sub) => &sub.page.events[..],
            ServerFrame::Page(page) => &page.events[..],
            _ => &[],
        };
        events
            .iter()
            .all(|event| event.kind != UNREADABLE && Body::decode(&event.kind, &event.body) != Body::Other)
    };
    assert!(frames.iter().all(readable), "a frame that can't be read:\n{text}");
    let written = frames.iter().map(|frame| match frame {
        ServerFrame::Table(text) => {
            let frame = TableFrame::decode(text).unwrap_or_else(|error| panic!("{error}:\n{text}"));
            assert_ne!(frame, TableFrame::Unknown, "{text}");
            json(&frame.encode())
        }
        frame => json(&frame.encode()),
    });
    written.collect()
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}:\n{text}"))
}

/// Fails unless the codec writes what it read: a member that it does not know would be missing.
fn check(text: &str, written: Vec<Value>) {
    let said = match json(text) {
        Value::Array(frames) => frames,
        frame => vec![frame],
    };
    assert_eq!(said, written, "the codec reads the example and writes something else");
}

#[test]
fn every_example_of_the_protocol_is_what_the_codec_reads_and_writes() {
    for Example { info, text, .. } in examples() {
        match info.split(' ').collect::<Vec<_>>()[..] {
            ["json", "client"] => check(&text, from_client(&text)),
            ["json", "server"] => check(&text, from_server(&text)),
            ["json", "body", kind] => {
                assert_ne!(Body::decode(kind, &text), Body::Other, "not the body of {kind}:\n{text}");
            }
            ["transcript"] => {
                for line in text.lines() {
                    match line.split_at(2) {
                        ("> ", message) => check(message, from_client(message)),
                        ("< ", message) => check(message, from_server(message)),
                        _ => panic!("neither the client's line nor the server's: {line}"),
                    }
                }
            }
            ["json"] => drop(json(&text)),
            ["http"] => {}
            _ => panic!("`{info}` says nothing about what the block is:\n{text}"),
        }
    }
}

/// The texts that stand in quotes behind `before` in a source.
fn quoted(source: &str, before: &str) -> BTreeSet<String> {
    let behind = source.match_indices(before).map(|(at, _)| &source[at + before.len()..]);
    behind.filter_map(|rest| rest.split_once('"')).map(|(text, _)| text.to_owned()).collect()
}

/// The types of the frames that the codec writes, for a client and for a server.
fn types() -> (BTreeSet<String>, BTreeSet<String>) {
    let of = |file: &str| quoted(&read(&format!("sdk-core/src/wire/{file}")), "Writer::frame(\"");
    let is_request = |t: &String| {
        // One of a type that it does not know is no error.
        decode_client_message(&format!(r#"{{"t":"{t}"}}"#)) != Ok(vec![ClientFrame::Unknown])
    };
    let both = of("tables.rs").into_iter().chain(of("people.rs"));
    let (requests, answers): (BTreeSet<_>, BTreeSet<_>) = both.partition(is_request);
    let client = of("client.rs").into_iter().chain(requests).collect();
    let server = ["server.rs", "event.rs", "marks.rs"].into_iter().flat_map(of).chain(answers);
    // What an unknown frame is written as.
    (client, server.filter(|t| t != "unknown" && t != "tbl.unknown").collect())
}

/// The types that have an example below a heading of their own.
fn shown(side: &str) -> BTreeSet<String> {
    let examples = examples().into_iter().filter(|example| example.info == format!("json {side}"));
    let shown = examples.map(|example| {
        let t = json(&example.text)["t"].as_str().expect("a frame").to_owned();
        let expected = [t.clone(), format!("{t} ({side})")];
        assert!(expected.contains(&example.heading), "{t} has its example below `{}`", example.heading);
        t
    });
    shown.collect()
}

#[test]
fn every_frame_that_the_codec_knows_has_an_example_below_its_heading() {
    let (client, server) = types();
    assert!(client.len() >= 14 && server.len() >= 22, "the types are found in the sources");
    assert_eq!(client, shown("client"));
    assert_eq!(server, shown("server"));
}

/// What stands in the first column of a page's tables, without its marks.
fn first_column(page: &str) -> BTreeSet<String> {
    let page = read(page);
    let rows = page.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    rows.map(|cell| cell.trim_matches('`').to_owned()).collect()
}

#[test]
fn every_code_of_the_codec_is_in_a_table() {
    let source = read("sdk-core/src/wire/codes.rs");
    let listed: BTreeSet<String> = PAGES.iter().flat_map(|page| first_column(page)).collect();
    // Those that no server says come behind.
    let said = source.split("// Why a client has no connection").next().unwrap_or_default();
    let said: Vec<&str> =
        said.lines().filter_map(|line| line.trim().strip_suffix("\";")?.rsplit('"').next()).collect();
    assert!(said.len() > 30, "the codes are found in the source");
    for code in said {
        assert!(listed.contains(code), "`{code}` is in no table");
    }
    let closes = source
        .match_indices(": u16 = ")
        .map(|(at, before)| source[at + before.len()..].split(';').next().unwrap_or_default().to_owned());
    let closes: Vec<String> = closes.collect();
    assert!(closes.len() > 10, "the close codes are found in the source");
    for close in closes {
        assert!(listed.contains(&close), "close code {close} is in no table");
    }
}

/// The anchors that a page's headings have where it is shown: lower case, without punctuation.
fn anchors(page: &str) -> BTreeSet<String> {
    let page = read(page);
    let headings = page.lines().filter(|line| line.starts_with('#'));
    let slug = |line: &str| -> String {
        let text = line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
        text.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_')).collect()
    };
    headings.map(slug).collect()
}

#[test]
fn every_link_between_the_pages_leads_to_a_heading() {
    for page in PAGES {
        // A link may be broken over two lines.
        let text = read(page);
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(to, _)| to);
        for (file, anchor) in targets.filter_map(|target| target.split_once('#')) {
            let file = if file.is_empty() { page.to_owned() } else { format!("docs/{file}") };
            assert!(anchors(&file).contains(anchor), "{page} links to {file}#{anchor}");
        }
    }
}
