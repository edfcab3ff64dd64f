//! SQLite's values and columns as PostgreSQL's. In SQLite a value has a type of its own, whatever
//! its column declares.

use tidewire_core::tables::{Type, Value};
use tidewire_core::wire::json;
use tidewire_server_core::tables::{Cell, Column, Schema};

/// The type that clients see for a declared type. It follows SQLite's rules of affinity ("Datatypes
/// In SQLite", section 3.1), except for names that say more. `DATETIME` and `TIMESTAMP` are UTC, as
/// SQLite's functions write them.
pub(super) fn column(name: &str, declared: &str) -> Column {
    let upper = declared.to_ascii_uppercase();
    let word = upper.split(['(', ' ']).next().unwrap_or("");
    let has = |parts: &[&str]| parts.iter().any(|part| upper.contains(part));
    let known = match word {
        "BOOLEAN" | "BOOL" => "boolean",
        "DATE" => "date",
        "DATETIME" | "TIMESTAMP" | "TIMESTAMPTZ" => "timestamp with time zone",
        "UUID" => "uuid",
        "JSON" => "json",
        "JSONB" => "jsonb",
        "NUMERIC" | "DECIMAL" => "numeric",
        _ if has(&["INT"]) => "bigint",
        _ if has(&["CHAR", "CLOB", "TEXT"]) => "text",
        _ if has(&["BLOB"]) => "bytea",
        _ if has(&["REAL", "FLOA", "DOUB"]) => "double precision",
        _ => "",
    };
    let declared = match known {
        "" if declared.is_empty() => "any".to_owned(),
        "" => declared.to_ascii_lowercase(),
        known => known.to_owned(),
    };
    Column { name: name.to_owned(), kind: Type::named(&declared), declared, tracked: true }
}

/// A value in the log: as `quote()` writes it, or the bytes of a text after a mark.
#[derive(Debug, Clone, PartialEq)]
enum Literal {
    Null,
    Integer(String),
    Real(f64),
    Text(String),
    /// A text that is not valid, as its bytes in hexadecimal.
    Broken(String),
    /// In hexadecimal.
    Blob(String),
    /// Nothing: the value is the same as after the update.
    Same,
}

impl Literal {
    fn text(bytes: Vec<u8>) -> Literal {
        match String::from_utf8(bytes) {
            Ok(text) => Literal::Text(text),
            Err(error) => Literal::Broken(hex_of(error.as_bytes())),
        }
    }

    fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Literal {
        let units = bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]]));
        match char::decode_utf16(units).collect::<Result<String, _>>() {
            Ok(text) => Literal::Text(text),
            Err(_) => Literal::Broken(hex_of(bytes)),
        }
    }
}

fn hex_of(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads literals that are separated by commas; `None` if the text is not of this form.
fn literals(mut text: &[u8]) -> Option<Vec<Literal>> {
    let mut found = Vec::new();
    loop {
        let (literal, rest) = literal(text)?;
        found.push(literal);
        match rest.split_first() {
            Some((b',', rest)) => text = rest,
            Some(_) => return None,
            None => return Some(found),
        }
    }
}

fn literal(text: &[u8]) -> Option<(Literal, &[u8])> {
    match text {
        [] | [b',', ..] => Some((Literal::Same, text)),
        [b'N', b'U', b'L', b'L', rest @ ..] => Some((Literal::Null, rest)),
        [b'X', b'\'', ..] => {
            let (hex, rest) = hexadecimal(text)?;
            Some((Literal::Blob(hex.to_ascii_lowercase()), rest))
        }
        [mark @ (b'T' | b'L' | b'B'), marked @ ..] => {
            let (hex, rest) = hexadecimal(marked)?;
            let Some(Value::Bytes(bytes)) = Value::parse(&format!("\\x{hex}"), Type::Bytea) else {
                return None;
            };
            let literal = match mark {
                b'T' => Literal::text(bytes),
                b'L' => Literal::utf16(&bytes, u16::from_le_bytes),
                _ => Literal::utf16(&bytes, u16::from_be_bytes),
            };
            Some((literal, rest))
        }
        [b'\'', rest @ ..] => quoted(rest),
        _ => {
            let end = text.iter().position(|byte| *byte == b',').unwrap_or(text.len());
            let (number, rest) = text.split_at(end);
            let number = std::str::from_utf8(number).ok()?;
            if number.parse::<i64>().is_ok() {
                return Some((Literal::Integer(number.to_owned()), rest));
            }
            Some((Literal::Real(number.parse().ok()?), rest))
        }
    }
}

fn hexadecimal(text: &[u8]) -> Option<(&str, &[u8])> {
    let text = text.strip_prefix(b"X'")?;
    let end = text.iter().position(|byte| *byte == b'\'')?;
    Some((std::str::from_utf8(text.get(..end)?).ok()?, text.get(end + 1..)?))
}

/// A text after its opening quote.
fn quoted(mut rest: &[u8]) -> Option<(Literal, &[u8])> {
    let mut value = Vec::new();
    loop {
        let end = rest.iter().position(|byte| *byte == b'\'')?;
        value.extend_from_slice(rest.get(..end)?);
        rest = rest.get(end + 1..)?;
        match rest.split_first() {
            Some((b'\'', behind)) => {
                value.push(b'\'');
                rest = behind;
            }
            _ => return Some((Literal::text(value), rest)),
        }
    }
}

/// A logged row as cells; `None` if it has other columns. For a row before an update, `after` is
/// the row after it, which has the cells that this one leaves out.
pub(super) fn row(text: &[u8], schema: &Schema, after: Option<&[Cell]>) -> Option<Vec<Cell>> {
    let literals = literals(text)?;
    if literals.len() != schema.columns.len() {
        return None;
    }
    let cells = literals.into_iter().zip(&schema.columns).enumerate();
    let cells = cells.map(|(at, (literal, column))| match literal {
        Literal::Same => after?.get(at).cloned(),
        literal => Some(cell(literal, column, schema.key.contains(&at))),
    });
    cells.collect()
}

/// A value in PostgreSQL's text form, if its own type fits the column's type; its spelling does not
/// count. Keys that differ in SQLite differ here too.
fn cell(literal: Literal, column: &Column, key: bool) -> Cell {
    let (kind, foreign) = (column.kind, |class, text: String| foreign(class, &text, key));
    let text = match literal {
        Literal::Null | Literal::Same => return Cell::Null,
        Literal::Integer(number) => match (kind, number.as_str()) {
            (Type::Bool, "0") => "f".to_owned(),
            (Type::Bool, "1") => "t".to_owned(),
            (Type::Int8 | Type::Numeric | Type::Float8 | Type::Other, _) => number,
            _ => return foreign("integer", number),
        },
        Literal::Real(number) => match kind {
            Type::Numeric | Type::Float8 | Type::Other => real(number),
            _ => return foreign("real", real(number)),
        },
        Literal::Blob(hex) => match (kind, u128::from_str_radix(&hex, 16)) {
            (Type::Bytea, _) => format!("\\x{hex}"),
            (Type::Uuid, Ok(number)) if hex.len() == 32 => uuid(number),
            _ => return foreign("blob", format!("\\x{hex}")),
        },
        Literal::Broken(hex) => return foreign("broken", format!("\\x{hex}")),
        Literal::Text(text) => {
            let read = match (kind, Value::parse(&text, kind)) {
                (Type::Text, _) => Some(text.clone()),
                (Type::Other, _) if !key || text.parse::<f64>().is_err() => Some(text.clone()),
                (Type::Date, Some(_)) => Some(text.clone()),
                (Type::Uuid, Some(Value::Uuid(number))) => Some(uuid(number)),
                (Type::Timestamptz, Some(Value::Moment(micros))) => {
                    moment(micros).or_else(|| Some(text.clone()))
                }
                (Type::Bool, Some(Value::Bool(value))) => Some(if value { "t" } else { "f" }.to_owned()),
                _ => None,
            };
            match read {
                // If a key's value has several spellings, the canonical one is the key; for a
                // boolean that is the number.
                Some(read)
                    if !key
                        || kind != Type::Bool
                            && (read == text || read.strip_suffix("+00") == Some(&text)) =>
                {
                    read
                }
                _ => return foreign("text", text),
            }
        }
    };
    Cell::Text(text.into())
}

/// The text that is shown for a value that does not fit its column's type. In a key it is preceded
/// by the name of its own type, so that it equals no other key.
fn foreign(class: &str, text: &str, key: bool) -> Cell {
    let text = json::string(text);
    let shown = if key { format!("[\"{class}\",{text}]") } else { text };
    Cell::Foreign(shown.into())
}

fn real(number: f64) -> String {
    let size = number.abs();
    if number.is_infinite() {
        if number > 0.0 { "Infinity" } else { "-Infinity" }.to_owned()
    } else if size == 0.0 || (1e-5..1e15).contains(&size) {
        number.to_string()
    } else {
        format!("{number:e}")
    }
}

fn uuid(number: u128) -> String {
    uuid::Uuid::from_u128(number).to_string()
}

/// Microseconds since 2000 as PostgreSQL writes them, for years of four digits (H. Hinnant,
/// "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`).
fn moment(micros: i64) -> Option<String> {
    const DAY: i64 = 86_400_000_000;
    let (days, of_day) = (micros.div_euclid(DAY), micros.rem_euclid(DAY));
    let shifted = days + 730_425;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    if !(1..=9_999).contains(&year) {
        return None;
    }
    let (seconds, fraction) = (of_day / 1_000_000, of_day % 1_000_000);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    let mut text = format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}");
    if fraction > 0 {
        text.push_str(format!(".{fraction:06}").trim_end_matches('0'));
    }
    text.push_str("+00");
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(declared: &[&str], key: Vec<usize>) -> Schema {
        let columns = declared.iter().enumerate().map(|(at, declared)| column(&format!("c{at}"), declared));
        Schema { columns: columns.collect(), key }
    }

    fn read(text: &[u8], declared: &str, key: Vec<usize>) -> String {
        match &row(text, &schema(&[declared], key), None).unwrap()[..] {
            [Cell::Text(text)] => text.to_string(),
            [Cell::Foreign(json)] => format!("foreign {json}"),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn declared_types_are_told_as_postgresql_names_them() {
        for (declared, expected) in [
            ("INTEGER", "bigint"),
            ("unsigned big int", "bigint"),
            ("VARCHAR(20)", "text"),
            ("REAL", "double precision"),
            ("BLOB", "bytea"),
            ("DECIMAL(10,2)", "numeric"),
            ("DATETIME", "timestamp with time zone"),
            ("boolean", "boolean"),
            ("GEOMETRY", "geometry"),
            ("", "any"),
        ] {
            assert_eq!(column("c", declared).declared, expected);
        }
    }

    #[test]
    fn values_have_postgresqls_forms_if_they_are_of_their_columns_types() {
        for (text, declared, expected) in [
            (&b"7"[..], "INTEGER", "7"),
            (b"'seven'", "INTEGER", r#"foreign "seven""#),
            (b"7.5", "INTEGER", r#"foreign "7.5""#),
            (b"X'37'", "INTEGER", r#"foreign "\\x37""#),
            (b"1", "BOOLEAN", "t"),
            (b"'false'", "BOOLEAN", "f"),
            (b"2", "BOOLEAN", r#"foreign "2""#),
            (b"1.5", "REAL", "1.5"),
            (b"'NaN'", "REAL", r#"foreign "NaN""#),
            (b"'Infinity'", "NUMERIC", r#"foreign "Infinity""#),
            (b"1.0e+300", "REAL", "1e300"),
            (b"-9.0e+999", "REAL", "-Infinity"),
            (b"'it''s, X''1'''", "TEXT", "it's, X'1'"),
            (b"TX'616461007900'", "TEXT", "ada\0y\0"),
            (b"LX'61000000D8303DDC'", "TEXT", r#"foreign "\\x61000000d8303ddc""#),
            (b"LX'610000003DD830DC'", "TEXT", "a\0\u{1f430}"),
            (b"BX'00610000D83DDC30'", "TEXT", "a\0\u{1f430}"),
            (b"X'616461'", "TEXT", r#"foreign "\\x616461""#),
            (b"'\\x616461'", "TEXT", "\\x616461"),
            (b"'a\xff'", "TEXT", r#"foreign "\\x61ff""#),
            (b"TX'6100FF'", "TEXT", r#"foreign "\\x6100ff""#),
            (b"X'DEADBEEF'", "BLOB", "\\xdeadbeef"),
            (b"'AB'", "BLOB", r#"foreign "AB""#),
            (b"'\\x00'", "BLOB", r#"foreign "\\x00""#),
            (b"'2026-02-03 04:05:06'", "DATETIME", "2026-02-03 04:05:06+00"),
            (b"'2026-02-03T06:05:06.750+02:00'", "TIMESTAMP", "2026-02-03 04:05:06.75+00"),
            (b"'1999-12-31T23:59:59Z'", "DATETIME", "1999-12-31 23:59:59+00"),
            (b"1700000000", "DATETIME", r#"foreign "1700000000""#),
            (b"'2024-02-29'", "DATE", "2024-02-29"),
            (b"20240229", "DATE", r#"foreign "20240229""#),
            (b"'{123E4567-E89B-12D3-A456-426614174000}'", "UUID", "123e4567-e89b-12d3-a456-426614174000"),
            (b"X'123E4567E89B12D3A456426614174000'", "UUID", "123e4567-e89b-12d3-a456-426614174000"),
            (b"NULL", "TEXT", "[Null]"),
        ] {
            assert_eq!(read(text, declared, vec![]), expected, "{} in {declared}", text.escape_ascii());
        }
    }

    #[test]
    fn keys_that_sqlite_tells_apart_are_told_apart() {
        const VALUES: [&[u8]; 17] = [
            b"1",
            b"'1'",
            b"X'31'",
            b"'t'",
            b"'true'",
            b"'a'",
            b"X'61'",
            b"'\\x61'",
            b"'a\xff'",
            b"X'61FF'",
            b"'\\x61ff'",
            b"TX'6100'",
            b"'[\"text\",\"1\"]'",
            b"'2026-02-03 04:05:06'",
            b"'2026-02-03T04:05:06Z'",
            b"'2026-02-03 04:05:06.0'",
            b"'2026-02-03 04:05'",
        ];
        for declared in
            ["TEXT", "BLOB", "BOOLEAN", "NUMERIC", "INTEGER", "REAL", "DATETIME", "DATE", "UUID", ""]
        {
            let column = column("c", declared);
            let shown = |text: &&[u8]| {
                let mut out = String::new();
                let cells = row(text, &schema(&[declared], vec![0]), None).unwrap();
                tidewire_server_core::tables::push_cell(&mut out, &cells[0], &column);
                out
            };
            let all: Vec<String> = VALUES.iter().map(shown).collect();
            let mut different = all.clone();
            different.sort();
            different.dedup();
            assert_eq!(different.len(), all.len(), "{declared}: {all:?}");
        }
    }

    #[test]
    fn rows_that_are_none_are_refused() {
        let two = schema(&["TEXT", "INTEGER"], vec![]);
        for bad in
            ["", "1", "'a',1,2", "'a", "'a',", ",1", ",", "x,1", "X'00,1", "TX'0',1", "T'a',1", "X'00'1,1"]
        {
            assert_eq!(row(bad.as_bytes(), &two, None), None, "{bad}");
        }
        assert!(row(b"NULL,NULL", &two, None).is_some());
    }

    #[test]
    fn what_a_row_before_leaves_out_is_as_after() {
        let three = schema(&["TEXT", "INTEGER", "TEXT"], vec![]);
        let after = row(b"'x',7,NULL", &three, None).unwrap();
        let before = |text: &[u8]| row(text, &three, Some(&after));
        assert_eq!(before(b"'y',,"), row(b"'y',7,NULL", &three, None));
        assert_eq!(before(b",,''"), row(b"'x',7,''", &three, None));
        assert_eq!(before(b"'y',"), None);
        assert_eq!(before(b"'y',,,"), None);
    }
}
