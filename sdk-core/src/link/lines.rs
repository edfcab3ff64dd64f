//! The lines of a response: each is a message, and the last one of a connection says how it closed.

use crate::wire::codes::close;
use crate::wire::json::{Object, validate};

/// Longest line, in bytes; the protocol allows servers half of it.
const LINE_BYTES: usize = 2 * 1024 * 1024;
/// No last line is longer, in bytes.
const LAST_BYTES: usize = 256;

/// Puts lines together from pieces that may be cut anywhere.
#[derive(Default)]
pub(super) struct Lines {
    /// What came of the line that has no end yet.
    rest: Vec<u8>,
    any: bool,
}

impl Lines {
    /// The lines that this piece completes, without those that are empty. An error is the close
    /// code for a line that is too long or not UTF-8; nothing is to be read after it.
    pub(super) fn split<'a>(
        &'a mut self,
        piece: &'a [u8],
    ) -> impl Iterator<Item = Result<String, u16>> + use<'a> {
        let mut parts = piece.split(|byte| *byte == b'\n').peekable();
        std::iter::from_fn(move || {
            loop {
                let part = parts.next()?;
                if self.rest.len() + part.len() > LINE_BYTES {
                    return Some(Err(close::TOO_BIG));
                }
                self.rest.extend_from_slice(part);
                parts.peek()?;
                let line = std::mem::take(&mut self.rest);
                if !line.is_empty() {
                    self.any = true;
                    return Some(String::from_utf8(line).map_err(|_| close::NOT_UTF8));
                }
            }
        })
    }

    /// Whether no line is cut off here.
    pub(super) fn is_whole(&self) -> bool {
        self.rest.is_empty()
    }

    /// Whether there was a line.
    pub(super) fn any(&self) -> bool {
        self.any
    }
}

/// The close code, if this is a connection's last line.
pub(super) fn close_code(line: &str) -> Option<u16> {
    if line.len() > LAST_BYTES {
        return None;
    }
    let last = Object::parse(validate(line).ok()?).ok()?;
    if last.str("t")? != "close" {
        return None;
    }
    last.u64("code")?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_whole_however_they_arrive() {
        let mut lines = Lines::default();
        let mut found = Vec::new();
        for piece in ["{\"a\"", ":1}\n{}", "\n", "\n{\"b\"", ":", "2}\n[1"] {
            found.extend(lines.split(piece.as_bytes()).map(Result::unwrap));
        }
        assert_eq!(found, ["{\"a\":1}", "{}", "{\"b\":2}"]);
        assert!(!lines.is_whole() && lines.any());
    }

    #[test]
    fn only_a_last_line_is_taken_for_one() {
        assert_eq!(close_code(r#"{"t":"close","code":4000,"reason":"goaway"}"#), Some(4000));
        assert_eq!(close_code(r#"{"reason":"","code":1000,"t":"close"}"#), Some(1000));
        for other in [
            r#"{"t":"event","kind":"close","code":4000}"#,
            r#"{"t":"close"}"#,
            r#"{"t":"close","code":70000}"#,
            r#"["close"]"#,
        ] {
            assert_eq!(close_code(other), None, "{other}");
        }
    }
}
