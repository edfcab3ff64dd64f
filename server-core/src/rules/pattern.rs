//! Patterns of channel names.

use thiserror::Error;
use tidewire_core::wire::{ChannelName, MAX_CHANNEL};

/// Which channels a rule is about: a name, in which one part may vary. `{id}` stands for one part
/// of a name, that is, for at least one character and no `:`. `{rest}` stands for the rest of the
/// name, of at least one character.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    before: String,
    varies: Varies,
    after: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Varies {
    /// The pattern is a name.
    Not,
    Part,
    Rest,
}

/// Why a text is not a pattern.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PatternError {
    /// Braces that are not a pair, or more than one placeholder.
    #[error("may have one `{{id}}`, or `{{rest}}` at its end")]
    Placeholder,
    /// The text around the placeholder can't be part of a channel's name.
    #[error("must have 1 to 128 characters out of a-z A-Z 0-9 : _ . - besides the placeholder")]
    Name,
}

impl Pattern {
    /// Parses a pattern.
    pub fn parse(text: &str) -> Result<Pattern, PatternError> {
        let (before, varies, after) = match (text.split_once("{id}"), text.strip_suffix("{rest}")) {
            (Some((before, after)), None) => (before, Varies::Part, after),
            (None, Some(before)) => (before, Varies::Rest, ""),
            (None, None) => (text, Varies::Not, ""),
            (Some(_), Some(_)) => return Err(PatternError::Placeholder),
        };
        if before.contains(['{', '}']) || after.contains(['{', '}']) {
            return Err(PatternError::Placeholder);
        }
        let shortest = before.len() + after.len() + usize::from(varies != Varies::Not);
        let valid = |part: &str| part.is_empty() || ChannelName::parse(part).is_some();
        if !valid(before) || !valid(after) || !(1..=MAX_CHANNEL).contains(&shortest) {
            return Err(PatternError::Name);
        }
        Ok(Pattern { before: before.to_owned(), varies, after: after.to_owned() })
    }

    /// The channel with exactly this name.
    pub fn exactly(name: &ChannelName) -> Pattern {
        Pattern { before: name.to_string(), varies: Varies::Not, after: String::new() }
    }

    /// The channels whose names begin like this.
    pub(super) fn starting_with(before: &str) -> Pattern {
        Pattern { before: before.to_owned(), varies: Varies::Rest, after: String::new() }
    }

    /// What the placeholder stands for in this name, or an empty text if the pattern has none; none
    /// if the name does not match.
    pub fn matches<'a>(&self, name: &'a str) -> Option<&'a str> {
        let part = name.strip_prefix(self.before.as_str())?.strip_suffix(self.after.as_str())?;
        let fits = match self.varies {
            Varies::Not => part.is_empty(),
            Varies::Part => !part.is_empty() && !part.contains(':'),
            Varies::Rest => !part.is_empty(),
        };
        fits.then_some(part)
    }

    /// Whether every name that `other` matches is matched by this pattern too.
    pub fn covers(&self, other: &Pattern) -> bool {
        match (self.varies, other.varies) {
            (_, Varies::Not) => self.matches(&other.before).is_some(),
            (Varies::Not, _) => false,
            (mine, theirs) => {
                let more = other.before.strip_prefix(self.before.as_str());
                let ends = other.after.strip_suffix(self.after.as_str());
                let (Some(more), Some(ends)) = (more, ends) else { return false };
                // What their placeholder stands for may contain any `:`, or none.
                mine == Varies::Rest || theirs == Varies::Part && !more.contains(':') && !ends.contains(':')
            }
        }
    }
}

impl std::fmt::Display for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let placeholder = match self.varies {
            Varies::Not => "",
            Varies::Part => "{id}",
            Varies::Rest => "{rest}",
        };
        write!(f, "{}{placeholder}{}", self.before, self.after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(text).unwrap()
    }

    #[test]
    fn a_placeholder_stands_for_one_part_or_for_the_rest() {
        for (text, name, part) in [
            ("admins", "admins", Some("")),
            ("admins", "admins2", None),
            ("admins", "admin", None),
            ("guild:{id}", "guild:7", Some("7")),
            ("guild:{id}", "guild:", None),
            ("guild:{id}", "guild:7:staff", None),
            ("guild:{id}:staff", "guild:7:staff", Some("7")),
            ("guild:{id}:staff", "guild:staff", None),
            ("guild:{id}:staff", "guild::staff", None),
            ("dialog:{rest}", "dialog:a:b", Some("a:b")),
            ("dialog:{rest}", "dialog:", None),
            ("{rest}", "anything:at:all", Some("anything:at:all")),
            ("{id}", "anything:at:all", None),
            ("a{id}a", "a", None),
            ("a{id}a", "aa", None),
            ("a{id}a", "aba", Some("b")),
        ] {
            assert_eq!(pattern(text).matches(name), part, "{text} {name}");
            assert_eq!(pattern(text).to_string(), text);
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for text in ["{id}{id}", "{rest}a", "{rest}:{id}", "a{", "}", "{user}", "{id", "{id}{rest}"] {
            assert_eq!(Pattern::parse(text), Err(PatternError::Placeholder), "{text}");
        }
        for text in
            ["", "a b", "grün:{id}", "a/{id}", &"x".repeat(129), &format!("{}{{id}}", "x".repeat(128))]
        {
            assert_eq!(Pattern::parse(text), Err(PatternError::Name), "{text}");
        }
    }

    #[test]
    fn a_pattern_covers_another_exactly_if_it_matches_all_of_its_names() {
        let patterns = [
            "a:x",
            "a:{id}",
            "a:{rest}",
            "{id}",
            "{rest}",
            "a:{id}:s",
            "a:x{id}",
            "a:x:{rest}",
            "a:{id}s",
            "b",
        ];
        // All names of up to six of these characters.
        let mut names = vec![String::new()];
        let mut at = 0;
        while names[at].len() < 6 {
            let longer: Vec<String> =
                ["a", "b", "s", "x", ":"].iter().map(|one| names[at].clone() + one).collect();
            names.extend(longer);
            at += 1;
        }
        for one in patterns.map(pattern) {
            for other in patterns.map(pattern) {
                let all = names
                    .iter()
                    .filter(|name| other.matches(name).is_some())
                    .all(|name| one.matches(name).is_some());
                assert_eq!(one.covers(&other), all, "{one} {other}");
            }
        }
    }
}
