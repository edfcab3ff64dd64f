//! SQL's `LIKE` ("Pattern Matching", section "LIKE").

/// A pattern, read once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    parts: Vec<Part>,
    /// `ilike`: both sides in lower case, of ASCII's letters, as with `COLLATE "C"`.
    folded: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// `%`: any characters, also none.
    Any,
    /// `_`: one character.
    One,
    /// This character.
    Char(char),
}

impl Pattern {
    /// Reads a pattern; `None` if it ends with the backslash that says that the next character is meant as it is.
    pub(super) fn parse(text: &str, folded: bool) -> Option<Pattern> {
        let mut parts = Vec::new();
        let mut chars = text.chars();
        while let Some(char) = chars.next() {
            parts.push(match char {
                '%' => Part::Any,
                '_' => Part::One,
                '\\' => Part::Char(fold(chars.next()?, folded)),
                char => Part::Char(fold(char, folded)),
            });
        }
        // Several in a row say no more than one, and would be tried again and again.
        parts.dedup_by(|later, earlier| *later == Part::Any && *earlier == Part::Any);
        Some(Pattern { parts, folded })
    }

    /// Whether the whole text matches. Only the latest `%` is ever tried again, so it takes at most the text's length times the
    /// pattern's.
    pub(super) fn matches(&self, text: &str) -> bool {
        let mut rest = text.chars();
        let mut at = 0;
        let mut again: Option<(usize, std::str::Chars<'_>)> = None;
        loop {
            let before = rest.clone();
            let fits = match (self.parts.get(at), rest.next()) {
                (None, None) => return true,
                (Some(Part::Any), _) => {
                    rest = before;
                    again = Some((at + 1, rest.clone()));
                    at += 1;
                    continue;
                }
                (Some(Part::One), Some(_)) => true,
                (Some(Part::Char(wanted)), Some(char)) => *wanted == fold(char, self.folded),
                // The text is over, so a `%` that takes more of it can't help.
                (Some(_), None) => return false,
                (None, Some(_)) => false,
            };
            if fits {
                at += 1;
                continue;
            }
            let Some((behind, from)) = &mut again else { return false };
            if from.next().is_none() {
                return false;
            }
            at = *behind;
            rest = from.clone();
        }
    }
}

fn fold(char: char, folded: bool) -> char {
    if folded { char.to_ascii_lowercase() } else { char }
}
