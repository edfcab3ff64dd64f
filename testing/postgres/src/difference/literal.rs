//! Random literals of every type, valid and invalid, and the forms that only PostgreSQL accepts.

use super::rng::Rng;
use tidewire_core::tables::Type;

/// A literal that is mostly valid for the type.
pub(super) fn random(rng: &mut Rng, kind: Type) -> String {
    let mut text = match kind {
        Type::Bool => word(
            rng,
            &["t", "f", "true", "FALSE", "tr", "o", "on", "of", "off", "y", "No", "1", "0", "2", ""],
        ),
        Type::Int2 => whole(rng, &["32767", "32768", "-32768", "-32769"]),
        Type::Int4 => whole(rng, &["2147483647", "2147483648", "-2147483648", "-2147483649"]),
        Type::Int8 => whole(
            rng,
            &[
                "9223372036854775807",
                "9223372036854775808",
                "-9223372036854775808",
                "-9223372036854775809",
                "9007199254740993",
            ],
        ),
        Type::Numeric => decimal(
            rng,
            &["1e10000", "-1e-10000", "1e10001", "1e131071", "1e131072", "0e99999", "1e-16383", "1e-20000"],
        ),
        Type::Float4 => decimal(
            rng,
            &[
                "3.4028235e38",
                "3.4028236e38",
                "1e39",
                "1e-45",
                "1e-46",
                "16777217",
                "0.1",
                "-0",
                "1.17549435e-38",
                "0x1p3",
            ],
        ),
        Type::Float8 => decimal(
            rng,
            &[
                "1.7976931348623157e308",
                "1e309",
                "5e-324",
                "1e-400",
                "9007199254740993",
                "0.1",
                "-0",
                "0e999",
                "nan(1)",
            ],
        ),
        Type::Uuid => uuid(rng),
        Type::Date => date(rng),
        Type::Timestamp | Type::Timestamptz => timestamp(rng, kind == Type::Timestamptz),
        Type::Bytea => bytes(rng),
        _ => return wording(rng),
    };
    if rng.chance(8) {
        let space = *rng.pick(&[" ", "\t", "\n", "\x0b", "\x0c", "\r", "\u{a0}", "  "]);
        text = if rng.chance(50) { format!("{space}{text}") } else { format!("{text}{space}") };
    }
    if rng.chance(12) { damaged(rng, &text) } else { text }
}

/// A text without `*`, with characters that are special for `LIKE` and for comparisons.
pub(super) fn wording(rng: &mut Rng) -> String {
    // Letters whose case is changed differently by ASCII's rule, by Unicode's and by Turkish ones,
    // and what sorts differently in bytes, in UTF-16 and in a dictionary.
    const CHARS: [char; 28] = [
        'a', 'A', 'b', 'B', 'z', 'Z', 'é', 'É', 'ß', 'ẞ', 'ı', 'İ', 'K', 'ſ', 'Ω', 'ω', '%', '_', '\\', ' ',
        '\'', '"', '&', ',', ')', '\u{ffee}', '😀', '\u{301}',
    ];
    if rng.chance(15) {
        return (*rng.pick(&[
            "", "Zebra", "apple", "a ", "A", "a", "null", "{x}", "not.eq.1", "(", "a\tb", "=", "\u{ffee}",
            "😀",
        ]))
        .to_owned();
    }
    let few = if rng.chance(50) { 6 } else { CHARS.len() };
    (0..rng.below(6)).map(|_| CHARS[rng.below(few)]).collect()
}

/// Whether this is a form that PostgreSQL accepts and the core refuses on purpose. For any other
/// text both must agree.
pub(super) fn is_beyond_us(kind: Type, text: &str) -> bool {
    let plain = text.trim_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c']);
    let lower = plain.to_ascii_lowercase();
    let unsigned = lower.trim_start_matches(['+', '-']);
    // Since PostgreSQL 16.
    let other_base = ["0x", "0o", "0b"].iter().any(|base| unsigned.starts_with(base)) || lower.contains('_');
    match kind {
        Type::Int2 | Type::Int4 | Type::Int8 => other_base,
        Type::Numeric => {
            let exponent = lower.split_once('e').map_or("", |(_, exponent)| exponent);
            let size = exponent.trim_start_matches(['+', '-']).parse::<u64>();
            // Until PostgreSQL 16 an exponent may have white space before it.
            other_base
                || size.is_ok_and(|size| size > 10_000)
                || exponent.starts_with(|char: char| char.is_ascii_whitespace())
        }
        // Forms that the C library's `strtod` reads.
        Type::Float4 | Type::Float8 => unsigned.starts_with("0x") || unsigned.starts_with("nan("),
        Type::Date | Type::Timestamp | Type::Timestamptz => !is_iso(kind, plain),
        // The escape format, and white space between digits.
        Type::Bytea => !text.starts_with("\\x") || text.contains([' ', '\t', '\n', '\r', '\x0b', '\x0c']),
        _ => false,
    }
}

/// Whether a text has a form of dates and times that the core reads. It may still refuse the value:
/// only PostgreSQL accepts `24:00` and `:60`.
fn is_iso(kind: Type, text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    if lower == "infinity" || lower == "-infinity" {
        return true;
    }
    let text = lower.strip_suffix(" bc").unwrap_or(&lower);
    let year = text.bytes().take_while(u8::is_ascii_digit).count();
    if !(4..=7).contains(&year) {
        return false;
    }
    let shape: String =
        text.chars().skip(year).map(|char| if char.is_ascii_digit() { '0' } else { char }).collect();
    let Some(rest) = shape.strip_prefix("-00-00") else { return false };
    if kind == Type::Date || rest.is_empty() {
        return rest.is_empty();
    }
    let Some(time) = rest.strip_prefix(['t', ' ']).and_then(|rest| rest.strip_prefix("00:00")) else {
        return false;
    };
    let digits = text.get(year + 7..).unwrap_or("");
    if digits.starts_with("24") || digits.get(5..).is_some_and(|seconds| seconds.starts_with(":60")) {
        return false;
    }
    let zone = match time.strip_prefix(":00") {
        Some(rest) => match rest.strip_prefix('.') {
            Some(fraction) => {
                let count = fraction.bytes().take_while(|byte| *byte == b'0').count();
                if !(1..=9).contains(&count) {
                    return false;
                }
                fraction.get(count..).unwrap_or("")
            }
            None => rest,
        },
        None => time,
    };
    let zones = ["z", "+00", "-00", "+0000", "-0000", "+00:00", "-00:00", "+00:00:00", "-00:00:00"];
    zone.is_empty() || kind == Type::Timestamptz && zones.contains(&zone)
}

/// A text with a character or two changed, removed or added.
fn damaged(rng: &mut Rng, text: &str) -> String {
    const CHARS: [char; 30] = [
        '0', '1', '2', '3', '5', '9', '+', '-', '.', ':', 'e', 'E', 'x', 'X', 't', 'T', 'Z', 'z', ' ', '{',
        '}', '\\', '_', '/', 'a', 'n', 'i', 'é', '٣', ',',
    ];
    let mut chars: Vec<char> = text.chars().collect();
    for _ in 0..=rng.below(2) {
        let at = rng.below(chars.len() + 1);
        let char = *rng.pick(&CHARS);
        match rng.below(3) {
            0 => chars.insert(at, char),
            1 if at < chars.len() => chars[at] = char,
            _ if at < chars.len() => drop(chars.remove(at)),
            _ => {}
        }
    }
    chars.into_iter().collect()
}

fn word(rng: &mut Rng, words: &[&str]) -> String {
    (*rng.pick(words)).to_owned()
}

fn whole(rng: &mut Rng, edges: &[&str]) -> String {
    let sign = *rng.pick(&["", "", "-", "-", "+"]);
    match rng.below(8) {
        0 => word(rng, edges),
        1 => format!("{sign}00{}", rng.below(4)),
        2 => {
            let count = 1 + rng.below(19);
            format!("{sign}{}", rng.digits(count))
        }
        _ => format!("{sign}{}", rng.below(5)),
    }
}

fn decimal(rng: &mut Rng, edges: &[&str]) -> String {
    let sign = *rng.pick(&["", "", "-", "+"]);
    let (before, after) = (rng.below(4), rng.below(4));
    match rng.below(10) {
        0 => word(rng, edges),
        1 => format!("{sign}{}", rng.pick(&["Infinity", "inf", "INF", "infinity", "infinit"])),
        2 => word(rng, &["NaN", "nan", "-nan", "+NaN", "nans"]),
        3 => {
            let (before, after) = (rng.digits(before * 9), rng.digits(after * 9));
            format!("{sign}{before}.{after}")
        }
        4 => {
            let (number, size) = (rng.digits(before), rng.below(60));
            format!("{sign}{number}.{after}{}{}{size}", rng.pick(&["e", "E"]), rng.pick(&["", "-", "+"]))
        }
        5 => format!("{sign}0.{}{}", "0".repeat(rng.below(12)), rng.below(3)),
        6 => format!("{sign}{}.{}0", rng.below(3), rng.pick(&["", "5", "50"])),
        _ => format!("{sign}{}", rng.below(5)),
    }
}

fn uuid(rng: &mut Rng) -> String {
    let few = rng.chance(60);
    let digits: String = (0..32)
        .map(|at| if few && at < 31 { '0' } else { *rng.pick(&['0', '1', '9', 'a', 'f', 'A', 'F']) })
        .collect();
    let hyphens: Vec<usize> = match rng.below(4) {
        0 => vec![],
        1 => (1..8).map(|group| group * 4).filter(|_| rng.chance(50)).collect(),
        _ => vec![8, 12, 16, 20],
    };
    let mut text: String = digits
        .chars()
        .enumerate()
        .flat_map(|(at, digit)| hyphens.contains(&at).then_some('-').into_iter().chain([digit]))
        .collect();
    if rng.chance(10) {
        text = format!("{{{text}}}");
    }
    text
}

fn date(rng: &mut Rng) -> String {
    if rng.chance(8) {
        return word(rng, &["infinity", "-infinity", "INFINITY", "+infinity", "inf", "epoch"]);
    }
    let year = match rng.below(8) {
        0 => word(
            rng,
            &[
                "0000", "0001", "4713", "4714", "9999", "10000", "294276", "294277", "5874897", "5874898",
                "0099",
            ],
        ),
        1 => {
            let count = 3 + rng.below(5);
            rng.digits(count)
        }
        2 => rng.digits(4),
        _ => word(rng, &["1999", "2000", "2001", "2004", "1900"]),
    };
    let month = if rng.chance(70) { word(rng, &["01", "02", "11", "12"]) } else { rng.digits(2) };
    let day = if rng.chance(70) { word(rng, &["01", "24", "28", "29", "30", "31"]) } else { rng.digits(2) };
    let era = if rng.chance(12) { *rng.pick(&[" BC", " bc", " AD", "BC"]) } else { "" };
    format!("{year}-{month}-{day}{era}")
}

fn timestamp(rng: &mut Rng, zoned: bool) -> String {
    let date = date(rng);
    if rng.chance(10) || date.ends_with('y') {
        return date;
    }
    let (date, era) = match date.find(' ') {
        Some(at) => date.split_at(at),
        None => (date.as_str(), ""),
    };
    let hours = if rng.chance(80) { word(rng, &["00", "01", "12", "23"]) } else { rng.digits(2) };
    let minutes = if rng.chance(80) { word(rng, &["00", "30", "59"]) } else { rng.digits(2) };
    let seconds = match rng.below(6) {
        0 => String::new(),
        1 => format!(":{}", rng.digits(2)),
        2 => {
            let count = 1 + rng.below(10);
            format!(":59.{}", rng.digits(count))
        }
        3 => word(rng, &[":59.9999995", ":00.0000005", ":00.0000015", ":59.999999", ":00.", ":60", ":00.5"]),
        _ => word(rng, &[":00", ":01", ":59"]),
    };
    let zone = if zoned && rng.chance(70) || rng.chance(3) {
        let number = rng.digits(2);
        match rng.below(6) {
            0 => format!("+{number}"),
            1 => format!("-{number}:30"),
            _ => word(
                rng,
                &[
                    "Z",
                    "z",
                    "+00",
                    "+01:00",
                    "-0530",
                    "+15:59:59",
                    "-15:59",
                    "+16",
                    "+1",
                    "+01:60",
                    " +01",
                    "+00:00:01",
                ],
            ),
        }
    } else {
        String::new()
    };
    format!("{date}{}{hours}:{minutes}{seconds}{zone}{era}", rng.pick(&["T", " ", "t", " "]))
}

fn bytes(rng: &mut Rng) -> String {
    let pairs: String =
        (0..rng.below(4)).map(|_| *rng.pick(&["00", "01", "7f", "80", "FF", "ff", "aB"])).collect();
    match rng.below(12) {
        0 => pairs,
        1 => format!("\\x{pairs}0"),
        2 => format!("\\X{pairs}"),
        _ => format!("\\x{pairs}"),
    }
}
