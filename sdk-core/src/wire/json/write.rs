//! Writing: members are appended to one text.

use super::escape::must_be_escaped;
use super::read::part;

/// Writes JSON into one text, front to back: an object's members, and objects and arrays inside it.
///
/// The text is boxed, so that chained calls pass on one word instead of three, which saves a
/// kilobyte of code.
#[derive(Debug)]
pub struct Writer {
    #[expect(clippy::box_collection, reason = "see above")]
    out: Box<String>,
}

impl Writer {
    /// Begins a frame of type `t`.
    pub fn frame(t: &str) -> Writer {
        Writer::object().str("t", t)
    }

    /// Begins an object.
    pub fn object() -> Writer {
        Writer { out: Box::default() }.begin()
    }

    /// Begins an array, with capacity for this many bytes.
    pub fn list(bytes: usize) -> Writer {
        Writer { out: Box::new(String::with_capacity(bytes)) }.put("[")
    }

    /// Begins an object inside: an element of an array, or the value of a member.
    pub fn begin(self) -> Writer {
        let comma = if self.out.ends_with('}') { ",{" } else { "{" };
        self.put(comma)
    }

    /// An object inside that is JSON text already. It is not checked.
    pub fn inside(self, object: &str) -> Writer {
        let comma = if self.out.ends_with('}') { "," } else { "" };
        self.put(comma).put(object)
    }

    /// Ends an object inside.
    pub fn close(self) -> Writer {
        self.put("}")
    }

    fn put(mut self, text: &str) -> Writer {
        self.out.push_str(text);
        self
    }

    fn name(mut self, name: &str) -> Writer {
        if !self.out.ends_with('{') {
            self.out.push(',');
        }
        push_string(&mut self.out, name);
        self.put(":")
    }

    /// A string member.
    pub fn str(self, name: &str, value: &str) -> Writer {
        let mut writer = self.name(name);
        push_string(&mut writer.out, value);
        writer
    }

    /// A string member, if there is a value.
    pub fn opt_str(self, name: &str, value: Option<&str>) -> Writer {
        match value {
            Some(value) => self.str(name, value),
            None => self,
        }
    }

    /// An integer member.
    pub fn u64(self, name: &str, value: u64) -> Writer {
        let mut writer = self.name(name);
        push_integer(&mut writer.out, value);
        writer
    }

    /// An integer member, if there is a value.
    pub fn opt_u64(self, name: &str, value: Option<u64>) -> Writer {
        match value {
            Some(value) => self.u64(name, value),
            None => self,
        }
    }

    /// A number member that is given in tenths.
    pub fn tenths(self, name: &str, tenths: u64) -> Writer {
        let mut writer = self.u64(name, tenths / 10);
        writer.out.push('.');
        push_integer(&mut writer.out, tenths % 10);
        writer
    }

    /// A boolean member.
    pub fn bool(self, name: &str, value: bool) -> Writer {
        self.raw(name, if value { "true" } else { "false" })
    }

    /// A member whose value is JSON text already. It is not checked.
    pub fn raw(self, name: &str, value: &str) -> Writer {
        self.name(name).put(value)
    }

    /// An array member of JSON texts. They are not checked.
    pub fn array<'a>(self, name: &str, values: impl Iterator<Item = &'a str>) -> Writer {
        self.raw(name, &array(values))
    }

    /// An array member of strings.
    pub fn texts(self, name: &str, texts: &[String]) -> Writer {
        let texts: Vec<String> = texts.iter().map(|text| string(text)).collect();
        self.array(name, texts.iter().map(String::as_str))
    }

    /// An array member of indexes.
    pub fn indexes(self, name: &str, indexes: &[usize]) -> Writer {
        let mut list = String::from("[");
        for index in indexes {
            if list.len() > 1 {
                list.push(',');
            }
            push_integer(&mut list, *index as u64);
        }
        self.name(name).put(&list).put("]")
    }

    /// A member whose value `write` writes.
    pub fn with(self, name: &str, write: impl FnOnce(Writer) -> Writer) -> Writer {
        write(self.name(name))
    }

    /// An array member whose elements `write` writes, each an object.
    pub fn each<T>(self, name: &str, items: &[T], write: impl Fn(Writer, &T) -> Writer) -> Writer {
        items.iter().fold(self.name(name).put("["), write).put("]")
    }

    /// Ends the object.
    pub fn end(self) -> String {
        *self.close().out
    }

    /// Ends the array that [`Writer::list`] began.
    pub fn end_list(self) -> String {
        *self.put("]").out
    }
}

/// The JSON array of these JSON texts. They are not checked.
pub fn array<'a>(values: impl Iterator<Item = &'a str>) -> String {
    let mut out = String::from("[");
    for value in values {
        if out.len() > 1 {
            out.push(',');
        }
        out.push_str(value);
    }
    out.push(']');
    out
}

/// The JSON string of `text`, quotes included.
pub fn string(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    push_string(&mut out, text);
    out
}

fn push_string(out: &mut String, text: &str) {
    out.push('"');
    let mut rest = text;
    loop {
        let plain = rest.bytes().take_while(|byte| !must_be_escaped(*byte)).count();
        out.push_str(part(rest, 0, plain));
        let Some(byte) = rest.as_bytes().get(plain).copied() else { break };
        match byte {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            _ => {
                out.push_str(if byte < 0x10 { "\\u000" } else { "\\u001" });
                out.push(char::from_digit(u32::from(byte & 15), 16).unwrap_or('0'));
            }
        }
        rest = part(rest, plain + 1, rest.len());
    }
    out.push('"');
}

/// Writes an integer as a number or, above 2^53, in quotes: a JavaScript number would be inexact.
pub(crate) fn push_integer(out: &mut String, value: u64) {
    let quoted = value > 1 << 53;
    if quoted {
        out.push('"');
    }
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    let mut rest = value;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    for digit in digits.iter().skip(at) {
        out.push(char::from(*digit));
    }
    if quoted {
        out.push('"');
    }
}
