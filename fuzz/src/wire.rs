//! The decoder: it agrees with serde_json on which texts are JSON and on their values, and decoded
//! frames survive encoding.

use serde_json::Value;
use serde_json::value::RawValue;
use tidewire_core::wire::json::{self, Object};
use tidewire_core::wire::{
    ClientFrame, DecodeError, MAX_DEPTH, ServerFrame, decode_client_message, decode_server_message,
};

/// Messages from clients.
pub(crate) fn wire_client(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    agrees_with_serde(text);
    let Ok(frames) = decode_client_message(text) else { return };
    for frame in frames.iter().filter(|frame| **frame != ClientFrame::Unknown) {
        let encoded = frame.encode();
        let again = decode_client_message(&encoded);
        assert_eq!(again.as_deref(), Ok(std::slice::from_ref(frame)), "{encoded}");
    }
}

/// Messages from servers.
pub(crate) fn wire_server(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    agrees_with_serde(text);
    let Ok(frames) = decode_server_message(text) else { return };
    for frame in frames.into_iter().filter(|frame| *frame != ServerFrame::Unknown) {
        let encoded = frame.encode();
        let again =
            decode_server_message(&encoded).map(|frames| frames.into_iter().map(without_raw).collect());
        assert_eq!(again, Ok(vec![without_raw(frame)]), "{encoded}");
    }
}

/// Removes the texts as they were received, which encoding may change.
fn without_raw(mut frame: ServerFrame) -> ServerFrame {
    let events = match &mut frame {
        ServerFrame::SubOk(sub) => sub.page.events.as_mut_slice(),
        ServerFrame::Page(page) => page.events.as_mut_slice(),
        ServerFrame::Event(event) => std::slice::from_mut(event),
        _ => &mut [],
    };
    events.iter_mut().for_each(|event| event.raw.clear());
    frame
}

fn agrees_with_serde(text: &str) {
    let ours = json::validate(text);
    let theirs = serde_json::from_str::<&RawValue>(text);
    match (&ours, &theirs) {
        (Ok(ours), Ok(theirs)) => assert_eq!(*ours, theirs.get()),
        (Err(DecodeError::TooDeep), _) => assert!(depth(text) > MAX_DEPTH, "{text} is not too deep"),
        (Err(_), Err(_)) => {}
        _ => panic!("validity: {ours:?}, serde_json: {theirs:?}"),
    }
    let (Ok(text), Ok(Value::Object(members))) = (ours, serde_json::from_str::<Value>(text)) else { return };
    let object = Object::parse(text).expect("it is an object");
    for (name, value) in &members {
        let raw = object.raw(name).unwrap_or_else(|| panic!("{name} is missing"));
        assert_eq!(serde_json::from_str::<Value>(raw).ok().as_ref(), Some(value), "{name}");
        assert_eq!(object.str(name).as_deref(), value.as_str(), "{name}");
        if let Some(number) = value.as_u64().filter(|number| *number <= 1 << 53) {
            assert_eq!(object.u64(name), Some(number), "{name}");
        }
    }
}

/// The greatest number of brackets that are open at once, not counting those in strings.
fn depth(text: &str) -> usize {
    let (mut open, mut most, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                open += 1;
                most = most.max(open);
            }
            b']' | b'}' if !in_string => open = open.saturating_sub(1),
            _ => {}
        }
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_are_counted_outside_of_strings() {
        assert_eq!(depth(r#"[{"a":"[[[\"["},[]]"#), 2);
        assert_eq!(depth(&"[".repeat(40)), 40);
    }

    #[test]
    fn what_must_be_equal_would_be_noticed_if_it_were_not() {
        let event = |offset| {
            let by = r#"{"id":"a","name":"A","kind":"user"}"#;
            let text = format!(
                r#"{{"t":"event","ch":"c","offset":{offset},"id":"i","kind":"k","at":1,"by":{by},"body":{{}}}}"#
            );
            decode_server_message(&text).expect("a frame").remove(0)
        };
        assert_eq!(without_raw(event("1")), without_raw(event("\"1\"")));
        assert_ne!(event("1"), event("\"1\""));
        assert_ne!(without_raw(event("1")), without_raw(event("2")));
    }
}
