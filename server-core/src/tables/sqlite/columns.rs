//! Columns of SQLite as columns of PostgreSQL: its values have types of their own, whatever their columns declare.

use crate::tables::{Cell, Column};
use tidewire_core::tables::{Type, Value};

/// What a declared type is to clients: SQLite's own rules of affinity ("Datatypes In SQLite", section 3.1), but for names that say
/// more. `DATETIME` and `TIMESTAMP` are UTC, as SQLite's functions write them.
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

/// A value as `quote()` writes it.
#[derive(Debug, Clone, PartialEq)]
enum Literal {
    Null,
    Integer(String),
    Real(f64),
    Text(String),
    /// In hexadecimal.
    Blob(String),
    /// Nothing: the value is as it is after the update.
    Same,
}

/// Reads literals with commas between them; none if they are no such.
fn literals(mut text: &str) -> Option<Vec<Literal>> {
    let mut found = Vec::new();
    loop {
        let (literal, rest) = literal(text)?;
        found.push(literal);
        match rest.strip_prefix(',') {
            Some(rest) => text = rest,
            None => return rest.is_empty().then_some(found),
        }
    }
}

fn literal(text: &str) -> Option<(Literal, &str)> {
    if text.is_empty() || text.starts_with(',') {
        return Some((Literal::Same, text));
    }
    if let Some(rest) = text.strip_prefix("NULL") {
        return Some((Literal::Null, rest));
    }
    if let Some(rest) = text.strip_prefix("X'") {
        let (hex, rest) = rest.split_once('\'')?;
        return Some((Literal::Blob(hex.to_ascii_lowercase()), rest));
    }
    if let Some(mut rest) = text.strip_prefix('\'') {
        let mut value = String::new();
        loop {
            let (part, behind) = rest.split_once('\'')?;
            value.push_str(part);
            match behind.strip_prefix('\'') {
                Some(behind) => {
                    value.push('\'');
                    rest = behind;
                }
                None => return Some((Literal::Text(value), behind)),
            }
        }
    }
    let (number, rest) = text.split_at(text.find(',').unwrap_or(text.len()));
    if number.parse::<i64>().is_ok() {
        return Some((Literal::Integer(number.to_owned()), rest));
    }
    Some((Literal::Real(number.parse().ok()?), rest))
}

/// A row that was logged, as cells; none if it does not have these columns. Of a row before an update `after` is the one after it, which
/// says the cells that this one leaves out.
pub(super) fn row(text: &str, columns: &[Column], after: Option<&[Cell]>) -> Option<Vec<Cell>> {
    let literals = literals(text)?;
    if literals.len() != columns.len() {
        return None;
    }
    let cells = literals.into_iter().zip(columns).enumerate();
    let cells = cells.map(|(at, (literal, column))| match literal {
        Literal::Same => after?.get(at).cloned(),
        literal => Some(cell(literal, column)),
    });
    cells.collect()
}

/// A value in PostgreSQL's text form, if it is one of its column's type; otherwise as it is, and then it compares with nothing.
fn cell(literal: Literal, column: &Column) -> Cell {
    let text = match (literal, column.kind) {
        (Literal::Null | Literal::Same, _) => return Cell::Null,
        (Literal::Integer(number), Type::Bool) => match number.as_str() {
            "0" => "f".to_owned(),
            "1" => "t".to_owned(),
            _ => number,
        },
        (Literal::Integer(number), _) => number,
        (Literal::Real(number), _) => real(number),
        (Literal::Blob(hex), Type::Uuid) => match u128::from_str_radix(&hex, 16) {
            Ok(number) if hex.len() == 32 => uuid(number),
            _ => format!("\\x{hex}"),
        },
        (Literal::Blob(hex), _) => format!("\\x{hex}"),
        // A text among blobs is its bytes.
        (Literal::Text(text), Type::Bytea) => {
            let mut hex = String::from("\\x");
            text.bytes().for_each(|byte| hex.push_str(&format!("{byte:02x}")));
            hex
        }
        (Literal::Text(text), kind) => match (kind, Value::parse(&text, kind)) {
            (Type::Uuid, Some(Value::Uuid(number))) => uuid(number),
            (Type::Timestamptz, Some(Value::Moment(micros))) => moment(micros).unwrap_or(text),
            (Type::Bool, Some(Value::Bool(value))) => if value { "t" } else { "f" }.to_owned(),
            _ => text,
        },
    };
    Cell::Text(text.into())
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

/// Microseconds since 2000 as PostgreSQL writes them, for years of four digits (H. Hinnant, "chrono-Compatible Low-Level Date
/// Algorithms", `civil_from_days`).
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

    fn read(text: &str, declared: &str) -> String {
        match &row(text, &[column("c", declared)], None).unwrap()[..] {
            [Cell::Text(text)] => text.to_string(),
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
    fn values_have_postgresqls_forms_where_they_fit_their_columns() {
        for (text, declared, expected) in [
            ("7", "INTEGER", "7"),
            ("'seven'", "INTEGER", "seven"),
            ("1", "BOOLEAN", "t"),
            ("'false'", "BOOLEAN", "f"),
            ("2", "BOOLEAN", "2"),
            ("1.5", "REAL", "1.5"),
            ("1.0e+300", "REAL", "1e300"),
            ("-9.0e+999", "REAL", "-Infinity"),
            ("'it''s, X''1'''", "TEXT", "it's, X'1'"),
            ("X'DEADBEEF'", "BLOB", "\\xdeadbeef"),
            ("'AB'", "BLOB", "\\x4142"),
            ("'2026-02-03 04:05:06'", "DATETIME", "2026-02-03 04:05:06+00"),
            ("'2026-02-03T06:05:06.750+02:00'", "TIMESTAMP", "2026-02-03 04:05:06.75+00"),
            ("'1999-12-31T23:59:59Z'", "DATETIME", "1999-12-31 23:59:59+00"),
            ("1700000000", "DATETIME", "1700000000"),
            ("'2024-02-29'", "DATE", "2024-02-29"),
            ("'{123E4567-E89B-12D3-A456-426614174000}'", "UUID", "123e4567-e89b-12d3-a456-426614174000"),
            ("X'123E4567E89B12D3A456426614174000'", "UUID", "123e4567-e89b-12d3-a456-426614174000"),
            ("NULL", "TEXT", "[Null]"),
        ] {
            assert_eq!(read(text, declared), expected, "{text} in {declared}");
        }
    }

    #[test]
    fn rows_that_are_none_are_refused() {
        let columns = [column("a", "TEXT"), column("b", "INTEGER")];
        for bad in ["", "1", "'a',1,2", "'a", "'a',", ",1", ",", "x,1", "X'00,1"] {
            assert_eq!(row(bad, &columns, None), None, "{bad}");
        }
        assert!(row("NULL,NULL", &columns, None).is_some());
    }

    #[test]
    fn what_a_row_before_leaves_out_is_as_after() {
        let columns = [column("a", "TEXT"), column("b", "INTEGER"), column("c", "TEXT")];
        let after = row("'x',7,NULL", &columns, None).unwrap();
        let before = |text: &str| row(text, &columns, Some(&after));
        assert_eq!(before("'y',,"), row("'y',7,NULL", &columns, None));
        assert_eq!(before(",,''"), row("'x',7,''", &columns, None));
        assert_eq!(before("'y',"), None);
        assert_eq!(before("'y',,,"), None);
    }
}
