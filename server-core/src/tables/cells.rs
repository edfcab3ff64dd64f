//! Cells as JSON, protocol section 12.

use super::{Cell, Column};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tidewire_core::tables::{Type, Value};
use tidewire_core::wire::json;

/// Deepest JSON that is sent as JSON. With the frame around it, a message must not be nested too
/// deep.
const MAX_NESTING: usize = tidewire_core::wire::MAX_BODY_DEPTH;

/// Appends a cell as JSON. A cell that the database left out is null and listed in `same` (protocol
/// section 12).
pub fn push(out: &mut String, cell: &Cell, column: &Column) {
    match cell {
        Cell::Null | Cell::Unchanged => out.push_str("null"),
        Cell::Text(text) => push_text(out, text, column),
        Cell::Foreign(json) => out.push_str(json),
    }
}

/// A value that is not valid for its column's type is sent as a string.
fn push_text(out: &mut String, text: &str, column: &Column) {
    match column.kind {
        Type::Bool => match Value::parse(text, Type::Bool) {
            Some(Value::Bool(true)) => out.push_str("true"),
            Some(Value::Bool(false)) => out.push_str("false"),
            _ => out.push_str(&json::string(text)),
        },
        Type::Int2 | Type::Int4 | Type::Float4 | Type::Float8 if is_number(text) => out.push_str(text),
        Type::Timestamp | Type::Timestamptz => match rfc3339(text, column.kind == Type::Timestamptz) {
            Some(moment) => out.push_str(&json::string(&moment)),
            None => out.push_str(&json::string(text)),
        },
        Type::Bytea => match Value::parse(text, Type::Bytea) {
            Some(Value::Bytes(bytes)) => {
                out.push('"');
                STANDARD.encode_string(bytes, out);
                out.push('"');
            }
            _ => out.push_str(&json::string(text)),
        },
        Type::Other if matches!(column.declared.as_str(), "json" | "jsonb") => match raw(text) {
            Some(value) => out.push_str(value),
            None => out.push_str(&json::string(text)),
        },
        _ => out.push_str(&json::string(text)),
    }
}

fn is_number(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_digit() || first == '-') && json::validate(text) == Ok(text)
}

/// `2026-02-03 04:05:06.789+00` as `2026-02-03T04:05:06.789Z`. `None` for infinities, years before
/// Christ and years with more digits than RFC 3339 allows.
fn rfc3339(text: &str, zoned: bool) -> Option<String> {
    let local = if zoned { text.strip_suffix("+00")? } else { text };
    let (date, time) = local.split_once(' ')?;
    let four = date.len() == 10 && date.as_bytes().get(4) == Some(&b'-');
    let plain = time.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b':' | b'.'));
    (four && plain).then(|| format!("{date}T{time}{}", if zoned { "Z" } else { "" }))
}

/// The text, if it is JSON that is not nested too deep.
fn raw(text: &str) -> Option<&str> {
    let text = json::validate(text).ok()?;
    let (mut depth, mut deepest, mut quoted, mut escaped) = (0_usize, 0, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = quoted,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    (deepest <= MAX_NESTING).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(text: &str, declared: &str) -> String {
        let column = Column {
            name: "c".to_owned(),
            declared: declared.to_owned(),
            kind: Type::named(declared),
            tracked: true,
        };
        let mut out = String::new();
        push(&mut out, &Cell::Text(text.into()), &column);
        assert!(json::validate(&out).is_ok(), "{out}");
        out
    }

    #[test]
    fn cells_have_the_forms_of_the_protocol() {
        for (text, declared, expected) in [
            ("t", "boolean", "true"),
            ("-7", "smallint", "-7"),
            ("1e+20", "double precision", "1e+20"),
            ("NaN", "real", "\"NaN\""),
            ("-Infinity", "double precision", "\"-Infinity\""),
            ("9007199254740993", "bigint", "\"9007199254740993\""),
            ("1.50", "numeric", "\"1.50\""),
            ("2026-02-03 04:05:06.789+00", "timestamp with time zone", "\"2026-02-03T04:05:06.789Z\""),
            ("2026-02-03 04:05:06", "timestamp without time zone", "\"2026-02-03T04:05:06\""),
            ("infinity", "timestamp with time zone", "\"infinity\""),
            ("0044-03-15 00:00:00+00 BC", "timestamp with time zone", "\"0044-03-15 00:00:00+00 BC\""),
            ("12026-01-01 00:00:00+00", "timestamp with time zone", "\"12026-01-01 00:00:00+00\""),
            ("2026-02-03", "date", "\"2026-02-03\""),
            ("\\xdeadbeef", "bytea", "\"3q2+7w==\""),
            ("{\"a\": [1, \"]\\\"\"]}", "jsonb", "{\"a\": [1, \"]\\\"\"]}"),
            ("nonsense", "json", "\"nonsense\""),
            ("a\"b", "text", "\"a\\\"b\""),
            ("(1,2)", "point", "\"(1,2)\""),
            ("seven", "integer", "\"seven\""),
        ] {
            assert_eq!(encoded(text, declared), expected, "{text} as {declared}");
        }
    }

    #[test]
    fn json_that_is_nested_too_deep_is_a_string() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(encoded(&nested(24), "json"), nested(24));
        assert_eq!(encoded(&nested(25), "json"), format!("\"{}\"", nested(25)));
    }
}
