//! Dates and times in PostgreSQL's range and precision ("Date/Time Types"): days, and microseconds
//! in UTC. They count from 2000, as in PostgreSQL, because microseconds from 1970 to its last years
//! don't fit 64 bits.
//!
//! It reads the forms of ISO 8601 and RFC 3339, and all that PostgreSQL writes with `DateStyle =
//! ISO`: years of more than four digits, ` BC`, and infinities. PostgreSQL reads more forms.

/// Microseconds in a day.
const DAY: i64 = 86_400_000_000;
/// The first and the last day that PostgreSQL's timestamps have: 4714-11-24 BC and 294276-12-31.
const FIRST_DAY: i64 = -2_451_545;
const LAST_DAY: i64 = 106_751_982;
/// The last day of PostgreSQL's dates: 5874897-12-31.
const LAST_DATE: i64 = 2_145_031_948;

/// Days since 2000-01-01; infinities are the least and the greatest number.
pub(super) fn date(text: &str) -> Option<i64> {
    if let Some(infinite) = infinity(text) {
        return Some(infinite);
    }
    let (text, before_christ) = era(text);
    let (days, rest) = day(text, before_christ)?;
    (rest.is_empty() && (FIRST_DAY..=LAST_DATE).contains(&days)).then_some(days)
}

/// Microseconds since 2000-01-01 00:00 of a time with or without a zone. Where a zone is allowed,
/// none means UTC.
pub(super) fn timestamp(text: &str, zoned: bool) -> Option<i64> {
    if let Some(infinite) = infinity(text) {
        return Some(infinite);
    }
    let (text, before_christ) = era(text);
    let (days, rest) = day(text, before_christ)?;
    if !(FIRST_DAY..=LAST_DAY).contains(&days) {
        return None;
    }
    let (of_day, rest) = match rest.strip_prefix(['T', 't', ' ']) {
        Some(rest) => time(rest)?,
        None => (0, rest),
    };
    let zone = match rest {
        "" => 0,
        zone if zoned => offset(zone)?,
        _ => return None,
    };
    let micros = i128::from(days) * i128::from(DAY) + i128::from(of_day) - i128::from(zone) * 1_000_000;
    let first = i128::from(FIRST_DAY) * i128::from(DAY);
    let end = i128::from(LAST_DAY + 1) * i128::from(DAY);
    (first..end).contains(&micros).then(|| i64::try_from(micros).ok())?
}

fn infinity(text: &str) -> Option<i64> {
    if text.eq_ignore_ascii_case("infinity") {
        Some(i64::MAX)
    } else if text.eq_ignore_ascii_case("-infinity") {
        Some(i64::MIN)
    } else {
        None
    }
}

/// Splits off a trailing ` BC`: the rest of the text, and whether it was there.
fn era(text: &str) -> (&str, bool) {
    match text.len().checked_sub(3).and_then(|at| text.split_at_checked(at)) {
        Some((rest, end)) if end.eq_ignore_ascii_case(" bc") => (rest, true),
        _ => (text, false),
    }
}

/// Reads a number of `least` to `most` digits at the beginning of a text: the number and the rest.
fn digits(text: &str, least: usize, most: usize) -> Option<(i64, &str)> {
    let count = text.bytes().take_while(u8::is_ascii_digit).count();
    if !(least..=most).contains(&count) {
        return None;
    }
    let (number, rest) = text.split_at_checked(count)?;
    Some((number.parse().ok()?, rest))
}

/// Reads `YYYY-MM-DD`: days since 2000-01-01 in the proleptic Gregorian calendar, and the rest.
fn day(text: &str, before_christ: bool) -> Option<(i64, &str)> {
    let (year, rest) = digits(text, 4, 7)?;
    let (month, rest) = digits(rest.strip_prefix('-')?, 2, 2)?;
    let (day, rest) = digits(rest.strip_prefix('-')?, 2, 2)?;
    // There is no year 0: 1 BC comes before 1.
    if year == 0 {
        return None;
    }
    let year = if before_christ { 1 - year } else { year };
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    (1..=length).contains(&day).then(|| (days(year, month, day), rest))
}

/// Days since 2000-01-01 (H. Hinnant, "chrono-Compatible Low-Level Date Algorithms",
/// `days_from_civil`): years begin in March, so that the leap day is the last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 730_425
}

/// Reads `HH:MM[:SS[.f]]`: microseconds, and the rest. Fractions of more than six digits are
/// rounded as PostgreSQL rounds them.
fn time(text: &str) -> Option<(i64, &str)> {
    let (hours, rest) = digits(text, 2, 2)?;
    let (minutes, rest) = digits(rest.strip_prefix(':')?, 2, 2)?;
    let (seconds, rest) = match rest.strip_prefix(':') {
        Some(rest) => digits(rest, 2, 2)?,
        None => (0, rest),
    };
    if hours > 23 || minutes > 59 || seconds > 59 {
        return None;
    }
    let (micros, rest) = match rest.strip_prefix('.') {
        Some(fraction) => {
            let (_, rest) = digits(fraction, 1, 9)?;
            let size = fraction.len() - rest.len();
            let (parts, scale) = (fraction.get(..size)?.parse::<u32>().ok()?, 10_u32.pow(size as u32));
            // PostgreSQL reads the fraction as the nearest double; this quotient is the same
            // double.
            ((f64::from(parts) / f64::from(scale) * 1e6).round_ties_even() as i64, rest)
        }
        None => (0, rest),
    };
    Some((((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + micros, rest))
}

/// Reads `Z`, `±HH`, `±HHMM`, `±HH:MM` or `±HH:MM:SS`: seconds east of Greenwich, less than 16
/// hours as in PostgreSQL.
fn offset(text: &str) -> Option<i64> {
    if text.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let (west, rest) = match text.split_at_checked(1)? {
        ("+", rest) => (false, rest),
        ("-", rest) => (true, rest),
        _ => return None,
    };
    let parts: Vec<&str> = match rest.len() {
        4 if !rest.contains(':') => vec![rest.get(..2)?, rest.get(2..)?],
        _ => rest.split(':').collect(),
    };
    let mut seconds = 0;
    for (part, (unit, most)) in parts.iter().zip([(3_600, 15), (60, 59), (1, 59)]) {
        let (number, rest) = digits(part, 2, 2)?;
        if !rest.is_empty() || number > most {
            return None;
        }
        seconds += number * unit;
    }
    (parts.len() <= 3).then_some(if west { -seconds } else { seconds })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_counted_from_2000() {
        assert_eq!(date("2000-01-01"), Some(0));
        assert_eq!(date("2000-03-01"), Some(60));
        assert_eq!(date("1970-01-01"), Some(-10_957));
        assert_eq!(date("4714-11-24 BC"), Some(FIRST_DAY));
        assert_eq!(date("5874897-12-31"), Some(LAST_DATE));
        assert_eq!(date("5874898-01-01"), None);
        assert_eq!(timestamp("294276-12-31", false).map(|at| at / DAY), Some(LAST_DAY));
        assert_eq!(timestamp("294277-01-01", false), None);
    }

    #[test]
    fn a_zone_moves_a_time_and_only_where_one_is_allowed() {
        assert_eq!(timestamp("2000-01-01T01:00:00+01:00", true), Some(0));
        assert_eq!(timestamp("1999-12-31 18:29:59.5-0530", true), Some(-500_000));
        assert_eq!(timestamp("2000-01-01 00:00Z", true), Some(0));
        assert_eq!(timestamp("1970-01-01 00:00Z", false), None);
        assert_eq!(timestamp("1970-01-01 00:00+16", true), None);
        assert_eq!(timestamp("1970-01-01 00:00+01:00:00:00", true), None);
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for text in ["", "2001-02-29", "0000-01-01", "2001-13-01", "2001-1-1", "70-01-01", "2001-01-01 24:00"]
        {
            assert_eq!(timestamp(text, true), None, "{text}");
        }
        assert_eq!(timestamp("2004-02-29", true), timestamp("2004-03-01", true).map(|at| at - DAY));
    }
}
