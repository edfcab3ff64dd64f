//! Joins an answer's text from its deltas. A delta may end within a character, with half of a
//! surrogate pair.

use serde::Deserialize;
use serde_json::value::RawValue;

/// Replaces half a character whose other half never came.
const LOST: char = '\u{fffd}';

/// Joins deltas.
#[derive(Default)]
pub(super) struct Joined {
    /// The first half of a character whose second half has not come yet.
    half: Option<u16>,
}

/// The content is neither a text nor parts of one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NoText;

/// A part of content that has several.
#[derive(Deserialize)]
struct Part<'a> {
    #[serde(rename = "type")]
    kind: Option<&'a str>,
    #[serde(borrow)]
    text: Option<&'a RawValue>,
}

impl Joined {
    /// Adds the text of a delta's content: a string, a part, or a list of parts. Parts that are not
    /// text are left out.
    pub(super) fn add(&mut self, content: &RawValue, to: &mut String) -> Result<(), NoText> {
        let raw = content.get();
        match raw.as_bytes().first() {
            Some(b'"') => self.unescape(raw, to),
            Some(b'[') => {
                let parts: Vec<&RawValue> = serde_json::from_str(raw).map_err(|_| NoText)?;
                parts.into_iter().try_for_each(|part| self.part(part, to))
            }
            Some(b'{') => self.part(content, to),
            Some(b'n') => Ok(()),
            _ => Err(NoText),
        }
    }

    /// Ends the answer; returns the replacement for half a character.
    pub(super) fn finish(&mut self) -> Option<String> {
        self.half.take().map(|_| LOST.to_string())
    }

    fn part(&mut self, part: &RawValue, to: &mut String) -> Result<(), NoText> {
        let raw = part.get();
        if raw.starts_with('"') {
            return self.unescape(raw, to);
        }
        let Part { kind, text } = serde_json::from_str(raw).map_err(|_| NoText)?;
        match text.filter(|_| matches!(kind, None | Some("text" | "output_text"))) {
            Some(text) if text.get().starts_with('"') => self.unescape(text.get(), to),
            Some(text) if text.get() != "null" => Err(NoText),
            _ => Ok(()),
        }
    }

    /// Reads a JSON string (RFC 8259 section 7) that is known to be valid.
    fn unescape(&mut self, raw: &str, to: &mut String) -> Result<(), NoText> {
        let inner = raw.strip_prefix('"').and_then(|raw| raw.strip_suffix('"')).ok_or(NoText)?;
        let mut chars = inner.chars();
        while let Some(c) = chars.next() {
            if c != '\\' {
                self.push(c, to);
                continue;
            }
            match chars.next().ok_or(NoText)? {
                'u' => {
                    let digits = chars.as_str().get(..4).ok_or(NoText)?;
                    let unit = u16::from_str_radix(digits, 16).map_err(|_| NoText)?;
                    chars = chars.as_str().get(4..).unwrap_or_default().chars();
                    self.unit(unit, to);
                }
                'n' => self.push('\n', to),
                't' => self.push('\t', to),
                'r' => self.push('\r', to),
                'b' => self.push('\u{8}', to),
                'f' => self.push('\u{c}', to),
                c @ ('"' | '\\' | '/') => self.push(c, to),
                _ => return Err(NoText),
            }
        }
        Ok(())
    }

    /// A unit of UTF-16: a character, or half of one.
    fn unit(&mut self, unit: u16, to: &mut String) {
        if let Some(half) = self.half
            && (0xdc00..=0xdfff).contains(&unit)
            && let Some(Ok(whole)) = char::decode_utf16([half, unit]).next()
        {
            self.half = None;
            to.push(whole);
            return;
        }
        match unit {
            0xd800..=0xdbff => {
                self.lose(to);
                self.half = Some(unit);
            }
            _ => self.push(char::from_u32(unit.into()).unwrap_or(LOST), to),
        }
    }

    fn push(&mut self, c: char, to: &mut String) {
        self.lose(to);
        to.push(c);
    }

    fn lose(&mut self, to: &mut String) {
        if self.half.take().is_some() {
            to.push(LOST);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(deltas: &[&str]) -> Result<String, NoText> {
        let (mut joined, mut text) = (Joined::default(), String::new());
        for delta in deltas {
            joined.add(serde_json::from_str(delta).unwrap(), &mut text)?;
        }
        text.extend(joined.finish());
        Ok(text)
    }

    #[test]
    fn a_character_may_be_cut_between_deltas() {
        for deltas in [
            &[r#""\ud83c\udf0a""#][..],
            &[r#""\ud83c""#, r#""\udf0a""#],
            &[r#""a\ud83c""#, r#""""#, "null", r#""\udf0ab""#],
            &[r#"[{"type":"text","text":"\ud83c"}]"#, r#""\uDF0A""#],
        ] {
            assert_eq!(joined(deltas).unwrap().trim_matches(['a', 'b']), "\u{1f30a}", "{deltas:?}");
        }
        for (deltas, expected) in [
            (&[r#""\ud83c""#][..], "\u{fffd}"),
            (&[r#""\udf0a""#], "\u{fffd}"),
            (&[r#""\ud83c""#, r#""x""#], "\u{fffd}x"),
            (&[r#""\ud83c\ud83c\udf0a""#], "\u{fffd}\u{1f30a}"),
            (&[r#""\ud83c\u0041""#], "\u{fffd}A"),
        ] {
            assert_eq!(joined(deltas).unwrap(), expected, "{deltas:?}");
        }
    }

    #[test]
    fn a_string_is_read_as_json_reads_it() {
        for raw in [
            r#""""#,
            r#""plain""#,
            r#""\"\\\/\b\f\n\r\t\u00e9\u0000""#,
            r#""\u4f60\u597d \ud83d\ude00 gr\u00fcn""#,
            "\"gr\u{fc}n \u{1f30a}\"",
        ] {
            assert_eq!(joined(&[raw]).unwrap(), serde_json::from_str::<String>(raw).unwrap(), "{raw}");
        }
    }

    #[test]
    fn content_may_have_parts_and_what_is_no_text_in_it_is_left_out() {
        let parts = r#"[{"type":"thinking","thinking":[{"type":"text","text":"hm"}]},{"type":"text","text":"yes"},
            {"type":"reference","ids":[1]},{"type":"image_url","text":7},"!",{"text":null},{}]"#;
        assert_eq!(joined(&[parts]).unwrap(), "yes!");
        assert_eq!(joined(&[r#"{"type":"text","text":"one"}"#]).unwrap(), "one");
        for wrong in ["7", "true", "[7]", r#"[{"type":"text","text":7}]"#, r#"{"type":7}"#] {
            assert_eq!(joined(&[wrong]), Err(NoText), "{wrong}");
        }
    }
}
