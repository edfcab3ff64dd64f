//! Decoding of the host's JSON: settings, the restored store, and inputs.

use tidewire_core::wire::json::{Object, validate_within};
use tidewire_core::{
    Config, ConnId, Input, Lifecycle, Network, RequestId, ResponsePart, Restored, RestoredChannel,
    StoreError, StoreId, TokenAsk, TokenError, Transport,
};

/// Parses an object after its whole text was checked.
pub(crate) fn object(text: &str) -> Option<Object<'_>> {
    // The core checks the depth of a body, so that its error reaches the application.
    Object::parse(validate_within(text, usize::MAX).ok()?).ok()
}

/// Settings by the core's names. Missing ones keep their defaults.
pub(crate) fn config(text: &str) -> Option<Config> {
    let given = object(text)?;
    let mut config = Config::default();
    if let Some(agent) = given.text("agent") {
        config.agent = agent;
    }
    let number = |name: &str, target: &mut u64| {
        if let Some(value) = given.u64(name) {
            *target = value;
        }
    };
    number("connect_timeout_ms", &mut config.connect_timeout_ms);
    number("backoff_base_ms", &mut config.backoff_base_ms);
    number("backoff_cap_ms", &mut config.backoff_cap_ms);
    number("op_ttl_ms", &mut config.op_ttl_ms);
    number("session_ttl_ms", &mut config.session_ttl_ms);
    number("batch_ms", &mut config.batch_ms);
    number("cached_events", &mut config.cached_events);
    number("tail", &mut config.tail);
    let size = |name: &str, target: &mut usize| {
        if let Some(value) = given.u64(name) {
            *target = value as usize;
        }
    };
    size("outbox_ops", &mut config.outbox_ops);
    size("outbox_bytes", &mut config.outbox_bytes);
    size("batch_ops", &mut config.batch_ops);
    size("cached_table_bytes", &mut config.cached_table_bytes);
    config.cookie = given.flag("cookie");
    if given.raw("transports").is_some() {
        config.transports = Vec::new();
        for word in given.texts("transports")? {
            config.transports.push(Transport::parse(&word)?);
        }
    }
    Some(config)
}

/// `{profile?, ops: [text], channels: [{channel, epoch, cursor, events: [text]}],
/// tables: [{name, record}]}`.
pub(crate) fn restored(text: &str) -> Option<Restored> {
    let given = object(text)?;
    let mut channels = Vec::new();
    for raw in given.array("channels")? {
        let channel = Object::parse(raw).ok()?;
        channels.push(RestoredChannel {
            channel: channel.text("channel")?,
            epoch: channel.text("epoch")?,
            cursor: channel.u64("cursor")?,
            events: channel.texts("events")?,
            runs: channel.text("runs").unwrap_or_default(),
        });
    }
    let mut tables = Vec::new();
    for raw in given.array("tables")? {
        let table = Object::parse(raw).ok()?;
        tables.push((table.text("name")?, table.text("record")?));
    }
    Some(Restored { profile: given.text("profile"), ops: given.texts("ops")?, channels, tables })
}

/// Decodes an input by its `t` and passes it to `take`. None if it is not valid.
pub(crate) fn input<R>(text: &str, take: impl FnOnce(Input<'_>) -> R) -> Option<R> {
    let given = object(text)?;
    let cause = given.str("cause");
    let input = read(&given, cause.as_deref())?;
    Some(take(input))
}

fn read<'a>(given: &Object<'_>, cause: Option<&'a str>) -> Option<Input<'a>> {
    Some(match given.str("t")?.as_ref() {
        "opened" => Input::Opened { conn: ConnId(given.u64("conn")?) },
        "closed" => Input::Closed {
            conn: ConnId(given.u64("conn")?),
            code: given.u64("code")?.try_into().ok()?,
            cause,
        },
        "response" => Input::Response {
            request: RequestId(given.u64("request")?),
            part: match given.u64("status") {
                Some(status) => ResponsePart::Status(status.try_into().ok()?),
                None if given.flag("failed") => ResponsePart::Failed(cause),
                None => ResponsePart::End,
            },
        },
        "token" => Input::Token {
            ask: TokenAsk(given.u64("ask")?),
            result: match given.text("token") {
                Some(token) => Ok(token),
                None => Err(TokenError {
                    code: given.text("error")?,
                    message: given.text("message").unwrap_or_default(),
                    terminal: given.flag("terminal"),
                    retry_after_ms: given.u64("retry_after_ms"),
                }),
            },
        },
        "stored" => Input::Stored {
            store: StoreId(given.u64("store")?),
            result: match given.str("error") {
                None => Ok(()),
                Some(code) if code == "full" => Err(StoreError::Full),
                Some(_) => Err(StoreError::Unavailable),
            },
        },
        "network" => Input::Network(match given.str("state")?.as_ref() {
            "online" => Network::Online,
            "offline" => Network::Offline,
            "changed" => Network::Changed,
            _ => return None,
        }),
        "lifecycle" => Input::Lifecycle(match given.str("state")?.as_ref() {
            "shown" => Lifecycle::Shown,
            "hidden" => Lifecycle::Hidden,
            "frozen" => Lifecycle::Frozen,
            "resumed" => Lifecycle::Resumed,
            _ => return None,
        }),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_are_missing_keep_their_default() {
        let read = config(r#"{"tail":7,"agent":"x","outbox_ops":"3"}"#).unwrap();
        assert_eq!(read, Config { tail: 7, agent: "x".into(), outbox_ops: 3, ..Config::default() });
    }

    #[test]
    fn a_store_is_read_back_with_texts_unescaped() {
        let text = r#"{"profile":"{\"a\":1}","ops":["{\"id\":\"1\"}"],
            "channels":[{"channel":"dialog:demo","epoch":"e","cursor":2,"events":["{\"t\":\"event\"}"]}],
            "tables":[{"name":"rules","record":"{}"}]}"#;
        let read = restored(text).unwrap();
        assert_eq!(read.tables, [("rules".to_owned(), "{}".to_owned())]);
        assert_eq!(read.profile.as_deref(), Some(r#"{"a":1}"#));
        assert_eq!(read.ops, [r#"{"id":"1"}"#]);
        assert_eq!(read.channels[0].cursor, 2);
        assert_eq!(read.channels[0].events, [r#"{"t":"event"}"#]);
    }

    #[test]
    fn a_store_that_lacks_a_part_or_holds_another_type_is_refused() {
        for text in ["", "[]", "{}", r#"{"ops":[],"channels":[{}]}"#, r#"{"ops":[1],"channels":[]}"#] {
            assert!(restored(text).is_none(), "{text}");
        }
    }

    /// Whether the text is decoded as an input that matches this pattern.
    macro_rules! reads {
        ($text:expr, $form:pat $(if $guard:expr)?) => {
            input($text, |read| matches!(read, $form $(if $guard)?)).unwrap_or(false)
        };
    }

    #[test]
    fn every_input_is_read() {
        assert!(reads!(r#"{"t":"opened","conn":3}"#, Input::Opened { conn: ConnId(3) }));
        assert!(reads!(
            r#"{"t":"closed","conn":3,"code":4020}"#,
            Input::Closed { code: 4020, cause: None, .. }
        ));
        let refused = r#"{"t":"closed","conn":3,"code":1006,"cause":"refused"}"#;
        assert!(reads!(refused, Input::Closed { cause: Some("refused"), .. }));
        assert!(reads!(
            r#"{"t":"response","request":4,"status":204}"#,
            Input::Response { request: RequestId(4), part: ResponsePart::Status(204) }
        ));
        let failed = r#"{"t":"response","request":4,"failed":true}"#;
        assert!(reads!(failed, Input::Response { part: ResponsePart::Failed(None), .. }));
        let whole = r#"{"t":"response","request":4,"failed":false}"#;
        assert!(reads!(whole, Input::Response { part: ResponsePart::End, .. }));
        assert!(
            reads!(r#"{"t":"token","ask":1,"token":"t"}"#, Input::Token { result: Ok(t), .. } if t == "t")
        );
        let error = TokenError {
            code: "banned".into(),
            message: "no".into(),
            terminal: true,
            retry_after_ms: Some(5),
        };
        let banned =
            r#"{"t":"token","ask":1,"error":"banned","message":"no","terminal":true,"retry_after_ms":5}"#;
        assert!(reads!(banned, Input::Token { result: Err(told), .. } if told == error));
        let full = r#"{"t":"stored","store":9,"error":"full"}"#;
        assert!(reads!(full, Input::Stored { store: StoreId(9), result: Err(StoreError::Full) }));
        assert!(reads!(r#"{"t":"stored","store":9}"#, Input::Stored { result: Ok(()), .. }));
        let offline = r#"{"t":"network","state":"offline"}"#;
        assert!(reads!(offline, Input::Network(Network::Offline)));
        let frozen = r#"{"t":"lifecycle","state":"frozen"}"#;
        assert!(reads!(frozen, Input::Lifecycle(Lifecycle::Frozen)));
    }

    #[test]
    fn an_input_that_makes_no_sense_is_refused() {
        for text in [
            "",
            "null",
            "{",
            "{}",
            r#"{"t":"opened"}"#,
            r#"{"t":"opened","conn":-1}"#,
            r#"{"t":"closed","conn":1,"code":70000}"#,
            r#"{"t":"response"}"#,
            r#"{"t":"response","request":1,"status":70000}"#,
            r#"{"t":"token","ask":1}"#,
            r#"{"t":"network","state":"maybe"}"#,
            r#"{"t":"other"}"#,
        ] {
            assert!(input(text, |_| ()).is_none(), "{text}");
        }
    }
}
