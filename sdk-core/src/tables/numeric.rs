//! PostgreSQL's `numeric`, exactly ("Numeric Types", section "Arbitrary Precision Numbers").

use std::cmp::Ordering;

/// Largest exponent of a literal. PostgreSQL's own limits are larger: 131,072 digits before the
/// point and 16,383 after it.
const MAX_EXPONENT: i32 = 10_000;

/// A number of any length. Equal numbers are equal however they were written: `1.50` is `1.5`.
///
/// The order is PostgreSQL's: −∞, then numbers, then ∞, then `NaN`, which equals itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Numeric(Kind);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Kind {
    Finite {
        negative: bool,
        /// How many digits stand before the point; negative when zeros follow it.
        point: i32,
        /// The digits, each 0 to 9, from the first to the last that is not zero. Empty for zero.
        digits: Vec<u8>,
    },
    Infinite {
        negative: bool,
    },
    NotANumber,
}

impl Numeric {
    /// Reads the forms of PostgreSQL 14 and later, except digits in other bases and separators
    /// between digits.
    pub(crate) fn parse(text: &str) -> Option<Numeric> {
        let (negative, rest) = sign(text);
        if rest.eq_ignore_ascii_case("inf") || rest.eq_ignore_ascii_case("infinity") {
            return Some(Numeric(Kind::Infinite { negative }));
        }
        if text.eq_ignore_ascii_case("nan") {
            return Some(Numeric(Kind::NotANumber));
        }
        let (mantissa, exponent) = match rest.find(['e', 'E']) {
            Some(at) => (rest.get(..at)?, exponent(rest.get(at + 1..)?)?),
            None => (rest, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let mut digits = Vec::new();
        for byte in whole.bytes().chain(fraction.bytes()) {
            if !byte.is_ascii_digit() {
                return None;
            }
            digits.push(byte - b'0');
        }
        if digits.is_empty() {
            return None;
        }
        while digits.last() == Some(&0) {
            digits.pop();
        }
        let zeros = digits.iter().take_while(|digit| **digit == 0).count();
        digits.drain(..zeros);
        if digits.is_empty() {
            return Some(Numeric(Kind::Finite { negative: false, point: 0, digits }));
        }
        let point = i32::try_from(whole.len()).ok()? - i32::try_from(zeros).ok()? + exponent;
        Some(Numeric(Kind::Finite { negative, point, digits }))
    }
}

/// Splits off a sign.
fn sign(text: &str) -> (bool, &str) {
    match text.as_bytes().first() {
        Some(b'-') => (true, text.get(1..).unwrap_or("")),
        Some(b'+') => (false, text.get(1..).unwrap_or("")),
        _ => (false, text),
    }
}

fn exponent(text: &str) -> Option<i32> {
    let (negative, digits) = sign(text);
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let size: i32 = digits.parse().ok().filter(|size| *size <= MAX_EXPONENT)?;
    Some(if negative { -size } else { size })
}

impl Ord for Numeric {
    fn cmp(&self, other: &Self) -> Ordering {
        match (&self.0, &other.0) {
            (
                Kind::Finite { negative, point, digits },
                Kind::Finite { negative: other_negative, point: other_point, digits: other_digits },
            ) if negative == other_negative && !digits.is_empty() && !other_digits.is_empty() => {
                // Digits compare from the left, and missing ones at the end are zeros.
                let size = point.cmp(other_point).then_with(|| digits.cmp(other_digits));
                if *negative { size.reverse() } else { size }
            }
            (one, another) => one.rank().cmp(&another.rank()),
        }
    }
}

impl Kind {
    /// The rank of −∞, negative numbers, zero, positive numbers, ∞ and `NaN`: it decides without
    /// comparing digits.
    fn rank(&self) -> i8 {
        match self {
            Kind::Infinite { negative: true } => -2,
            Kind::Finite { digits, .. } if digits.is_empty() => 0,
            Kind::Finite { negative: true, .. } => -1,
            Kind::Finite { negative: false, .. } => 1,
            Kind::Infinite { negative: false } => 2,
            Kind::NotANumber => 3,
        }
    }
}

impl PartialOrd for Numeric {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
