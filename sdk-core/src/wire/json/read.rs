//! Reading: a text is checked once, then split one level at a time.

use super::super::{DecodeError, MAX_DEPTH};
use super::escape::must_be_escaped;
use std::borrow::Cow;

/// Checks that `text` is exactly one JSON value of at most [`MAX_DEPTH`] levels, and returns it
/// without the white space around it.
pub fn validate(text: &str) -> Result<&str, DecodeError> {
    validate_within(text, MAX_DEPTH)
}

/// As [`validate`], with another limit: arrays and objects may be nested `levels` deep.
pub fn validate_within(text: &str, levels: usize) -> Result<&str, DecodeError> {
    let mut scan = Scan { bytes: text.as_bytes(), at: 0, levels };
    scan.space();
    let start = scan.at;
    scan.value()?;
    let end = scan.at;
    scan.space();
    if scan.at == text.len() { Ok(part(text, start, end)) } else { Err(scan.fault()) }
}

/// The raw texts of an array's elements. The whole text is checked, with no limit on its depth, so
/// it need not have passed [`validate`].
pub fn elements(array: &str) -> Result<Vec<&str>, DecodeError> {
    let mut scan = Scan { bytes: array.as_bytes(), at: 0, levels: usize::MAX };
    let mut found = Vec::new();
    scan.space();
    scan.expect(b'[')?;
    scan.space();
    let mut more = scan.peek() != b']';
    while more {
        scan.space();
        let start = scan.at;
        scan.value()?;
        found.push(part(array, start, scan.at));
        more = scan.comma();
    }
    scan.last(b']')?;
    Ok(found)
}

/// One level of an object: its members' names and raw values, in the order of the text.
#[derive(Debug)]
pub struct Object<'a> {
    members: Vec<(Cow<'a, str>, &'a str)>,
}

impl<'a> Object<'a> {
    /// Splits `text`, which must be an object and nothing else. The whole text is checked, with no
    /// limit on its depth, so it need not have passed [`validate`].
    pub fn parse(text: &'a str) -> Result<Object<'a>, DecodeError> {
        let mut scan = Scan { bytes: text.as_bytes(), at: 0, levels: usize::MAX };
        let mut members = Vec::new();
        scan.space();
        scan.expect(b'{')?;
        scan.space();
        let mut more = scan.peek() != b'}';
        while more {
            scan.space();
            let start = scan.at;
            scan.string()?;
            let name = unescape(part(text, start, scan.at));
            scan.space();
            scan.expect(b':')?;
            scan.space();
            let start = scan.at;
            scan.value()?;
            members.push((name, part(text, start, scan.at)));
            more = scan.comma();
        }
        scan.last(b'}')?;
        Ok(Object { members })
    }

    /// The names of the members, in the order of the text.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(|(name, _)| name.as_ref())
    }

    /// The raw JSON text of a member. If several have this name, the last one counts.
    pub fn raw(&self, name: &str) -> Option<&'a str> {
        self.members.iter().rev().find(|(n, _)| n == name).map(|(_, value)| *value)
    }

    // Members of a record that this crate wrote itself: a member of another type counts as absent.

    /// A member that is a string, unescaped.
    pub fn str(&self, name: &str) -> Option<Cow<'a, str>> {
        string(self.raw(name)?)
    }

    /// As [`Object::str`], as a text of its own.
    pub fn text(&self, name: &str) -> Option<String> {
        self.str(name).map(Cow::into_owned)
    }

    /// A member that is an unsigned integer, as a number or as a string of digits.
    pub fn u64(&self, name: &str) -> Option<u64> {
        integer(self.raw(name)?)
    }

    /// Whether a member is `true`. Any other value, and an absent member, is false.
    pub fn flag(&self, name: &str) -> bool {
        self.raw(name) == Some("true")
    }

    /// A member that is an array, as raw elements.
    pub fn array(&self, name: &str) -> Option<Vec<&'a str>> {
        elements(self.raw(name).filter(|raw| raw.starts_with('['))?).ok()
    }

    /// A member that is an array of strings.
    pub fn texts(&self, name: &str) -> Option<Vec<String>> {
        let mut texts = Vec::new();
        for raw in self.array(name)? {
            texts.push(string(raw)?.into_owned());
        }
        Some(texts)
    }

    /// A member that is an array of indexes: unsigned integers.
    pub fn indexes(&self, name: &str) -> Option<Vec<usize>> {
        let mut indexes = Vec::new();
        for raw in self.array(name)? {
            indexes.push(number(raw)?.try_into().ok()?);
        }
        Some(indexes)
    }

    /// A member that is an object, split.
    pub fn object(&self, name: &str) -> Option<Object<'a>> {
        Object::parse(self.raw(name)?).ok()
    }

    // Members of a frame (protocol section 1): an optional member may be absent or null; a member
    // of another type is an error that names it.

    /// The raw JSON text of a member that is there and not null.
    pub fn opt(&self, name: &str) -> Option<&'a str> {
        self.raw(name).filter(|raw| *raw != "null")
    }

    /// An optional string.
    pub fn opt_text(&self, name: &'static str) -> Result<Option<String>, DecodeError> {
        self.optional(name, || self.text(name))
    }

    /// An optional unsigned integer.
    pub fn opt_u64(&self, name: &'static str) -> Result<Option<u64>, DecodeError> {
        self.optional(name, || self.u64(name))
    }

    /// An optional boolean; false if absent.
    pub fn opt_flag(&self, name: &'static str) -> Result<bool, DecodeError> {
        match self.opt(name) {
            Some("true") => Ok(true),
            Some("false") | None => Ok(false),
            Some(_) => Err(DecodeError::Member(name)),
        }
    }

    /// An optional array, as raw elements; empty if absent.
    pub fn opt_array(&self, name: &'static str) -> Result<Vec<&'a str>, DecodeError> {
        self.optional(name, || self.array(name)).map(Option::unwrap_or_default)
    }

    /// An optional array of strings.
    pub fn opt_texts(&self, name: &'static str) -> Result<Option<Vec<String>>, DecodeError> {
        self.optional(name, || self.texts(name))
    }

    /// An optional array of indexes; empty if absent.
    pub fn opt_indexes(&self, name: &'static str) -> Result<Vec<usize>, DecodeError> {
        self.optional(name, || self.indexes(name)).map(Option::unwrap_or_default)
    }

    fn optional<T>(
        &self,
        name: &'static str,
        read: impl FnOnce() -> Option<T>,
    ) -> Result<Option<T>, DecodeError> {
        match self.opt(name) {
            Some(_) => read().map(Some).ok_or(DecodeError::Member(name)),
            None => Ok(None),
        }
    }

    /// A member that must be a string.
    pub fn need_str(&self, name: &'static str) -> Result<Cow<'a, str>, DecodeError> {
        self.str(name).ok_or(DecodeError::Member(name))
    }

    /// As [`Object::need_str`], as a text of its own.
    pub fn need_text(&self, name: &'static str) -> Result<String, DecodeError> {
        self.text(name).ok_or(DecodeError::Member(name))
    }

    /// A member that must be an unsigned integer.
    pub fn need_u64(&self, name: &'static str) -> Result<u64, DecodeError> {
        self.u64(name).ok_or(DecodeError::Member(name))
    }

    /// A member that must be an object, split.
    pub fn need_object(&self, name: &'static str) -> Result<Object<'a>, DecodeError> {
        self.object(name).ok_or(DecodeError::Member(name))
    }

    /// A member that must be an array, as raw elements.
    pub fn need_array(&self, name: &'static str) -> Result<Vec<&'a str>, DecodeError> {
        self.array(name).ok_or(DecodeError::Member(name))
    }
}

/// A text without the white space around it (RFC 8259, section 2).
pub(crate) fn trim(text: &str) -> &str {
    let start = text.bytes().take_while(|byte| is_space(*byte)).count();
    let spaces = text.bytes().rev().take_while(|byte| is_space(*byte)).count();
    part(text, start, text.len() - spaces)
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// `text[from..to]`. The bounds are always right here. Slicing without a panic keeps the code that
/// formats panics, 3 KB, out of WASM.
pub(super) fn part(text: &str, from: usize, to: usize) -> &str {
    text.get(from..to).unwrap_or("")
}

/// Reads a string.
pub(crate) fn string(raw: &str) -> Option<Cow<'_, str>> {
    raw.starts_with('"').then(|| unescape(raw))
}

/// Reads an unsigned integer, with or without quotes.
fn integer(raw: &str) -> Option<u64> {
    number(raw.strip_prefix('"').and_then(|r| r.strip_suffix('"')).unwrap_or(raw))
}

/// Reads an unsigned integer: digits without leading zeros, sign, fraction or exponent.
pub(crate) fn number(digits: &str) -> Option<u64> {
    let padded = digits.len() > 1 && digits.starts_with('0');
    if digits.is_empty() || padded || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.bytes().try_fold(0u64, |n, b| n.checked_mul(10)?.checked_add(u64::from(b - b'0')))
}

/// How deeply arrays and objects are nested in a JSON text that [`validate`] accepted; 0 for a
/// value that is neither.
pub fn depth(text: &str) -> usize {
    let mut scan = Scan { bytes: text.as_bytes(), at: 0, levels: usize::MAX };
    let (mut open, mut deepest) = (0_usize, 0);
    while scan.at < text.len() {
        match scan.peek() {
            // In an accepted text a quote always begins a string.
            b'"' if scan.string().is_ok() => continue,
            b'[' | b'{' => {
                open += 1;
                deepest = deepest.max(open);
            }
            b']' | b'}' => open = open.saturating_sub(1),
            _ => {}
        }
        scan.at += 1;
    }
    deepest
}

/// A JSON text that [`validate`] accepted, with each line break between its tokens replaced by a
/// space, so that transports that end messages with a line feed carry the same bytes as the others.
pub fn on_one_line(text: &str) -> Cow<'_, str> {
    // Strings contain no unescaped line breaks (RFC 8259 section 7).
    if text.contains(['\n', '\r']) { text.replace(['\n', '\r'], " ").into() } else { text.into() }
}

/// Whether a raw JSON string can be encoded in UTF-8: it has no unpaired surrogate (RFC 8259
/// section 8.2).
pub fn is_well_formed(raw: &str) -> bool {
    let mut whole = true;
    unescape_noting(raw, &mut whole);
    whole
}

/// The text of a raw JSON string, quotes included, that [`validate`] accepted. An unpaired
/// surrogate becomes U+FFFD.
pub fn unescape(raw: &str) -> Cow<'_, str> {
    unescape_noting(raw, &mut true)
}

fn unescape_noting<'a>(raw: &'a str, whole: &mut bool) -> Cow<'a, str> {
    let inner = raw.get(1..raw.len().saturating_sub(1)).unwrap_or("");
    let escape = |text: &str| text.bytes().position(|byte| byte == b'\\');
    if escape(inner).is_none() {
        return Cow::Borrowed(inner);
    }
    let mut text = String::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(at) = escape(rest) {
        text.push_str(part(rest, 0, at));
        let escape = rest.as_bytes().get(at + 1).copied().unwrap_or(b'\\');
        let mut used = at + 2;
        match escape {
            b'n' => text.push('\n'),
            b't' => text.push('\t'),
            b'r' => text.push('\r'),
            b'b' => text.push('\u{8}'),
            b'f' => text.push('\u{c}'),
            b'u' => {
                let high = hex4(rest, at + 2);
                used += 4;
                let mut code = high;
                if (0xD800..0xDC00).contains(&high) && rest.get(used..used + 2) == Some("\\u") {
                    let low = hex4(rest, used + 2);
                    if (0xDC00..0xE000).contains(&low) {
                        code = 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
                        used += 6;
                    }
                }
                *whole &= char::from_u32(code).is_some();
                text.push(char::from_u32(code).unwrap_or('\u{fffd}'));
            }
            other => text.push(char::from(other)),
        }
        rest = rest.get(used..).unwrap_or("");
    }
    text.push_str(rest);
    Cow::Owned(text)
}

fn hex4(text: &str, at: usize) -> u32 {
    text.as_bytes().get(at..at + 4).map_or(0xFFFD, |digits| {
        digits.iter().fold(0, |n, b| n * 16 + char::from(*b).to_digit(16).unwrap_or(0))
    })
}

/// A cursor over the bytes. At the end it reads zeros, which no grammar rule accepts.
struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
    /// How deeply arrays and objects may be nested.
    levels: usize,
}

impl Scan<'_> {
    fn fault(&self) -> DecodeError {
        DecodeError::Syntax { at: self.at.min(self.bytes.len()) }
    }

    fn peek(&self) -> u8 {
        self.bytes.get(self.at).copied().unwrap_or(0)
    }

    fn next(&mut self) -> u8 {
        let byte = self.peek();
        self.at += 1;
        byte
    }

    fn expect(&mut self, byte: u8) -> Result<(), DecodeError> {
        if self.peek() == byte {
            self.at += 1;
            Ok(())
        } else {
            Err(self.fault())
        }
    }

    fn space(&mut self) {
        while is_space(self.peek()) {
            self.at += 1;
        }
    }

    /// Reads a comma, if one follows; false if not.
    fn comma(&mut self) -> bool {
        self.space();
        let more = self.peek() == b',';
        self.at += usize::from(more);
        more
    }

    /// Reads the bracket that ends the text.
    fn last(&mut self, bracket: u8) -> Result<(), DecodeError> {
        self.expect(bracket)?;
        self.space();
        if self.at == self.bytes.len() { Ok(()) } else { Err(self.fault()) }
    }

    /// Reads one value, with everything nested in it.
    fn value(&mut self) -> Result<(), DecodeError> {
        // The closing brackets that are still to come, the innermost last.
        let mut open: Vec<u8> = Vec::new();
        loop {
            let begun = match self.peek() {
                b'"' => {
                    self.string()?;
                    false
                }
                bracket @ (b'{' | b'[') => {
                    if open.len() >= self.levels {
                        return Err(DecodeError::TooDeep);
                    }
                    self.at += 1;
                    // In ASCII the closing bracket of both kinds is two after the opening one.
                    open.push(bracket + 2);
                    true
                }
                b't' => self.word("true").map(|()| false)?,
                b'f' => self.word("false").map(|()| false)?,
                b'n' => self.word("null").map(|()| false)?,
                _ => self.number().map(|()| false)?,
            };
            if !self.follow(&mut open, begun)? {
                return Ok(());
            }
        }
    }

    /// Moves to where the next value begins; false if the outermost value has ended. `begun` says
    /// that a bracket was just opened.
    fn follow(&mut self, open: &mut Vec<u8>, mut begun: bool) -> Result<bool, DecodeError> {
        while let Some(&close) = open.last() {
            self.space();
            if self.peek() == close {
                self.at += 1;
                open.pop();
                begun = false;
                continue;
            }
            if !begun {
                self.expect(b',')?;
                self.space();
            }
            if close == b'}' {
                self.string()?;
                self.space();
                self.expect(b':')?;
                self.space();
            }
            return Ok(true);
        }
        Ok(false)
    }

    fn string(&mut self) -> Result<(), DecodeError> {
        self.expect(b'"')?;
        loop {
            // Most of a message is such bytes, so they are skipped at once.
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            self.at += rest.iter().take_while(|byte| !must_be_escaped(**byte)).count();
            match self.next() {
                b'"' => return Ok(()),
                b'\\' => match self.next() {
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {}
                    b'u' => {
                        for _ in 0..4 {
                            if !self.next().is_ascii_hexdigit() {
                                return Err(self.fault());
                            }
                        }
                    }
                    _ => return Err(self.fault()),
                },
                _ => return Err(self.fault()),
            }
        }
    }

    fn word(&mut self, word: &str) -> Result<(), DecodeError> {
        if self.bytes.get(self.at..self.at + word.len()) == Some(word.as_bytes()) {
            self.at += word.len();
            Ok(())
        } else {
            Err(self.fault())
        }
    }

    fn digits(&mut self) -> Result<(), DecodeError> {
        if !self.peek().is_ascii_digit() {
            return Err(self.fault());
        }
        while self.peek().is_ascii_digit() {
            self.at += 1;
        }
        Ok(())
    }

    fn number(&mut self) -> Result<(), DecodeError> {
        if self.peek() == b'-' {
            self.at += 1;
        }
        if self.peek() == b'0' {
            self.at += 1
        } else {
            self.digits()?
        }
        if self.peek() == b'.' {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), b'e' | b'E') {
            self.at += 1;
            if matches!(self.peek(), b'+' | b'-') {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }
}
