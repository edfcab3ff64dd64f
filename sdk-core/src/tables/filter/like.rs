//! SQL's `LIKE`, as PostgreSQL defines it (documentation, "Pattern Matching", section "LIKE").

use std::borrow::Cow;

/// A parsed pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    /// The pieces between `%`.
    pieces: Vec<Piece>,
    /// Whether the pattern begins with a `%`, and whether it ends with one.
    open: (bool, bool),
    /// `ilike`: both sides are compared in lower case, for ASCII letters only, as with `COLLATE
    /// "C"`.
    folded: bool,
}

/// A piece of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    /// Exactly these characters.
    Text(String),
    /// Characters of which some are `_`.
    Masked(Masked),
}

/// A piece with wildcards for single characters.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Masked {
    chars: Vec<Option<char>>,
    /// The positions of the `_`, as bits.
    any: Vec<u64>,
    /// The positions of each character: as bits for characters at many positions, and a list for
    /// the others, both sorted by character.
    dense: Vec<(char, Vec<u64>)>,
    sparse: Vec<(char, usize)>,
}

impl Pattern {
    /// Parses a pattern. `None` if it ends with an unfinished escape, a single backslash.
    pub(super) fn parse(text: &str, folded: bool) -> Option<Pattern> {
        let mut pieces = Vec::new();
        let mut piece: Vec<Option<char>> = Vec::new();
        let (mut starts, mut ends) = (false, false);
        let mut chars = text.chars();
        while let Some(char) = chars.next() {
            ends = char == '%';
            if ends {
                starts |= pieces.is_empty() && piece.is_empty();
                pieces.extend(Piece::of(std::mem::take(&mut piece)));
                continue;
            }
            let char =
                if char == '\\' { Some(chars.next()?) } else { Some(char).filter(|char| *char != '_') };
            piece.push(char.map(|char| if folded { char.to_ascii_lowercase() } else { char }));
        }
        pieces.extend(Piece::of(piece));
        Some(Pattern { pieces, open: (starts, ends), folded })
    }

    /// Whether the whole text matches. The time is linear in the length of the text; while a piece
    /// with `_` is searched, it is multiplied by a 64th of the piece's length, rounded up. Authors
    /// of filters are not trusted, so there is no backtracking.
    pub(super) fn matches(&self, text: &str) -> bool {
        let text = if self.folded { Cow::Owned(text.to_ascii_lowercase()) } else { Cow::Borrowed(text) };
        self.matches_folded(&text).is_some()
    }

    fn matches_folded(&self, text: &str) -> Option<()> {
        let (mut rest, mut pieces) = (text, self.pieces.as_slice());
        let (starts, ends) = self.open;
        if !starts && let Some((first, others)) = pieces.split_first() {
            (rest, pieces) = (first.strip_start(rest)?, others);
        }
        if !ends {
            let Some((last, others)) = pieces.split_last() else {
                // The pattern has no `%`, so its only piece must be the whole text.
                return rest.is_empty().then_some(());
            };
            (rest, pieces) = (last.strip_end(rest)?, others);
        }
        // The first match of each piece leaves the most text for the later ones.
        for piece in pieces {
            rest = piece.behind(rest)?;
        }
        Some(())
    }
}

impl Piece {
    /// None for an empty piece.
    fn of(chars: Vec<Option<char>>) -> Option<Piece> {
        if chars.is_empty() {
            return None;
        }
        Some(match chars.iter().copied().collect::<Option<String>>() {
            Some(text) => Piece::Text(text),
            None => Piece::Masked(Masked::of(chars)),
        })
    }

    /// The rest of a text that begins with this piece.
    fn strip_start<'a>(&self, text: &'a str) -> Option<&'a str> {
        match self {
            Piece::Text(piece) => text.strip_prefix(piece.as_str()),
            Piece::Masked(Masked { chars, .. }) => {
                let mut rest = text.chars();
                let fits = chars.iter().all(|wanted| rest.next().is_some_and(|char| is(*wanted, char)));
                fits.then_some(rest.as_str())
            }
        }
    }

    /// The beginning of a text that ends with this piece.
    fn strip_end<'a>(&self, text: &'a str) -> Option<&'a str> {
        match self {
            Piece::Text(piece) => text.strip_suffix(piece.as_str()),
            Piece::Masked(Masked { chars, .. }) => {
                let mut rest = text.chars();
                let fits =
                    chars.iter().rev().all(|wanted| rest.next_back().is_some_and(|char| is(*wanted, char)));
                fits.then_some(rest.as_str())
            }
        }
    }

    /// The rest of a text after the first match of this piece.
    fn behind<'a>(&self, text: &'a str) -> Option<&'a str> {
        match self {
            Piece::Text(piece) => text.get(text.find(piece.as_str())? + piece.len()..),
            Piece::Masked(masked) => masked.behind(text),
        }
    }
}

fn is(wanted: Option<char>, char: char) -> bool {
    wanted.is_none_or(|wanted| wanted == char)
}

impl Masked {
    fn of(chars: Vec<Option<char>>) -> Masked {
        let words = chars.len().div_ceil(64);
        let set = |bits: &mut Vec<u64>, at: usize| {
            if let Some(word) = bits.get_mut(at / 64) {
                *word |= 1 << (at % 64);
            }
        };
        let mut any = vec![0; words];
        let mut places: Vec<(char, usize)> = Vec::new();
        for (at, char) in chars.iter().enumerate() {
            match char {
                Some(char) => places.push((*char, at)),
                None => set(&mut any, at),
            }
        }
        places.sort_unstable();
        let (mut dense, mut sparse) = (Vec::new(), Vec::new());
        for of_one in places.chunk_by(|one, other| one.0 == other.0) {
            match of_one {
                [(char, _), ..] if of_one.len() > words => {
                    let mut bits = vec![0; words];
                    of_one.iter().for_each(|(_, at)| set(&mut bits, *at));
                    dense.push((*char, bits));
                }
                _ => sparse.extend_from_slice(of_one),
            }
        }
        Masked { chars, any, dense, sparse }
    }

    /// As [`Piece::behind`], with the algorithm of R. Baeza-Yates and G. Gonnet, "A New Approach to
    /// Text Searching": bit n of `state` is set if the first n + 1 characters of the piece match
    /// the n + 1 characters of the text that were read last.
    fn behind<'a>(&self, text: &'a str) -> Option<&'a str> {
        let last = self.chars.len() - 1;
        let mut state = vec![0_u64; self.any.len()];
        let mut rest = text.chars();
        while let Some(char) = rest.next() {
            let mut carry = 1;
            for word in &mut state {
                (*word, carry) = (*word << 1 | carry, *word >> 63);
            }
            let dense = self.dense.binary_search_by_key(&char, |(char, _)| *char).ok();
            let dense = dense.and_then(|at| self.dense.get(at)).map(|(_, bits)| bits);
            let from = self.sparse.partition_point(|(other, _)| *other < char);
            let sparse = self.sparse.get(from..).unwrap_or_default();
            let places = sparse.iter().take_while(|(other, _)| *other == char).map(|(_, at)| *at);
            let kept: Vec<usize> = places.filter(|at| bit(&state, *at)).collect();
            for (at, word) in state.iter_mut().enumerate() {
                let bits = dense.and_then(|bits| bits.get(at)).copied().unwrap_or(0);
                *word &= self.any.get(at).copied().unwrap_or(0) | bits;
            }
            for at in kept {
                if let Some(word) = state.get_mut(at / 64) {
                    *word |= 1 << (at % 64);
                }
            }
            if bit(&state, last) {
                return Some(rest.as_str());
            }
        }
        None
    }
}

fn bit(bits: &[u64], at: usize) -> bool {
    bits.get(at / 64).is_some_and(|word| word >> (at % 64) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, with backtracking. `None` is a `%`, `Some(None)` a `_`.
    fn slow(pattern: &[Option<Option<char>>], text: &[char]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some((None, rest)) => (0..=text.len()).any(|at| slow(rest, &text[at..])),
            Some((Some(wanted), rest)) => {
                text.first().is_some_and(|char| is(*wanted, *char)) && slow(rest, &text[1..])
            }
        }
    }

    #[test]
    fn patterns_match_as_sql_says() {
        let mut state = 7_u64;
        let mut roll = move |sides: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % sides
        };
        for round in 0..20_000 {
            let folded = round % 2 == 0;
            let mut some = |most: u64, of: &[char]| -> String {
                (0..roll(most)).map(|_| of[usize::try_from(roll(of.len() as u64)).unwrap_or(0)]).collect()
            };
            let (pattern, text) = (some(9, &['a', 'B', 'é', '_', '%', '%']), some(12, &['a', 'b', 'B', 'é']));
            let fold = |char: char| if folded { char.to_ascii_lowercase() } else { char };
            let parts: Vec<Option<Option<char>>> = pattern
                .chars()
                .map(|char| match char {
                    '%' => None,
                    '_' => Some(None),
                    char => Some(Some(fold(char))),
                })
                .collect();
            let chars: Vec<char> = text.chars().map(fold).collect();
            let read = Pattern::parse(&pattern, folded).expect("no backslash");
            assert_eq!(read.matches(&text), slow(&parts, &chars), "{text} like {pattern}, {folded}");
        }
    }

    #[test]
    fn long_pieces_with_wildcards_are_found() {
        for length in [1, 63, 64, 65, 127, 128, 129, 700] {
            let piece: String = ('a'..='z').cycle().take(length).collect();
            let masked: String =
                piece.chars().enumerate().map(|(at, c)| if at % 3 == 0 { '_' } else { c }).collect();
            let pattern = Pattern::parse(&format!("%{masked}%"), false).expect("no backslash");
            assert!(pattern.matches(&format!("zz{piece}aa")), "{length}");
            assert!(length < 2 || !pattern.matches(&format!("zz{}", piece.to_uppercase())), "{length}");
            let same = Pattern::parse(&format!("%{}b%", "a_".repeat(length)), false).expect("no backslash");
            assert!(same.matches(&format!("{}b", "a".repeat(3 * length))), "{length}");
            assert!(!same.matches(&"a".repeat(3 * length)), "{length}");
        }
    }

    #[test]
    fn no_pattern_takes_more_than_the_text_and_a_part_of_itself() {
        let text = "a".repeat(1 << 20);
        for pattern in [
            format!("%{}b", "a".repeat(4_000)),
            format!("%{}b%", "a".repeat(4_000)),
            format!("%{}b%", "a_".repeat(2_000)),
            format!("{}b", "%a".repeat(2_000)),
            format!("{}b%", "%a_".repeat(1_300)),
        ] {
            // A naive search would take minutes.
            assert!(!Pattern::parse(&pattern, true).expect("no backslash").matches(&text));
        }
    }
}
