//! Values of columns: how PostgreSQL's text forms are read, and how values compare.

use super::{Numeric, datetime};
use std::cmp::Ordering;

/// A column's type, as far as filters tell types apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Type {
    /// `boolean`.
    Bool,
    /// `smallint`.
    Int2,
    /// `integer`.
    Int4,
    /// `bigint`.
    Int8,
    /// `numeric` of any precision.
    Numeric,
    /// `real`.
    Float4,
    /// `double precision`.
    Float8,
    /// `text` and `varchar`. They compare by bytes, as with `COLLATE "C"`, whatever the database's
    /// collation.
    Text,
    /// `uuid`.
    Uuid,
    /// `date`.
    Date,
    /// `timestamp without time zone`.
    Timestamp,
    /// `timestamp with time zone`. A literal without a zone is in UTC.
    Timestamptz,
    /// `bytea`.
    Bytea,
    /// Any other type. Its only tests are `is.null` and `is.not_null`.
    Other,
}

impl Type {
    /// The type for a name as PostgreSQL's `format_type` writes it without modifiers, such as
    /// `character varying` for `varchar(20)`.
    pub fn named(name: &str) -> Type {
        match name {
            "boolean" => Type::Bool,
            "smallint" => Type::Int2,
            "integer" => Type::Int4,
            "bigint" => Type::Int8,
            "numeric" => Type::Numeric,
            "real" => Type::Float4,
            "double precision" => Type::Float8,
            "text" | "character varying" => Type::Text,
            "uuid" => Type::Uuid,
            "date" => Type::Date,
            "timestamp without time zone" => Type::Timestamp,
            "timestamp with time zone" => Type::Timestamptz,
            "bytea" => Type::Bytea,
            _ => Type::Other,
        }
    }

    /// An example of a literal of the type, for error messages.
    pub(super) fn expected(self) -> &'static str {
        match self {
            Type::Bool => "expected true or false",
            Type::Int2 => "expected a whole number from -32,768 to 32,767",
            Type::Int4 => "expected a whole number from -2,147,483,648 to 2,147,483,647",
            Type::Int8 => "expected a whole number of at most 64 bits",
            Type::Numeric => "expected a decimal number, Infinity or NaN",
            Type::Float4 | Type::Float8 => "expected a number within the column's range, Infinity or NaN",
            Type::Text => "expected a text",
            Type::Uuid => "expected a UUID, such as 123e4567-e89b-12d3-a456-426614174000",
            Type::Date => "expected a date such as 2026-02-03",
            Type::Timestamp => "expected a time without a zone, such as 2026-02-03T04:05:06.789",
            Type::Timestamptz => "expected a time such as 2026-02-03T04:05:06.789Z",
            Type::Bytea => "expected bytes in hexadecimal, such as \\xdeadbeef",
            Type::Other => "expected is.null or is.not_null: columns of this type can't be compared",
        }
    }
}

/// A column's value, or a literal read as one.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// SQL's `NULL`.
    Null,
    /// A boolean.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A decimal number.
    Numeric(Numeric),
    /// A floating-point number. Every `real` is exactly a double.
    Float(f64),
    /// A text.
    Text(String),
    /// A UUID.
    Uuid(u128),
    /// Days since 2000-01-01, or microseconds since its midnight. The least and the greatest number
    /// are the infinities.
    Moment(i64),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A value of a type that can't be compared.
    Opaque,
}

impl Value {
    /// Reads a text as PostgreSQL would for a column of this type, or as it writes a column's value
    /// with `DateStyle` ISO and `bytea_output` hex. `None` if it is no such value; see [`Type`] and
    /// the code for forms that PostgreSQL reads and this does not.
    pub fn parse(text: &str, kind: Type) -> Option<Value> {
        let plain = text.trim_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c']);
        match kind {
            Type::Bool => boolean(plain).map(Value::Bool),
            Type::Int2 => plain.parse::<i16>().ok().map(|number| Value::Int(number.into())),
            Type::Int4 => plain.parse::<i32>().ok().map(|number| Value::Int(number.into())),
            Type::Int8 => plain.parse().ok().map(Value::Int),
            Type::Numeric => Numeric::parse(plain).map(Value::Numeric),
            Type::Float4 => {
                let number = plain.parse::<f32>().ok()?;
                within(plain, number.is_infinite(), number == 0.0).then_some(Value::Float(number.into()))
            }
            Type::Float8 => {
                let number = plain.parse::<f64>().ok()?;
                within(plain, number.is_infinite(), number == 0.0).then_some(Value::Float(number))
            }
            // PostgreSQL's texts have no NUL.
            Type::Text => (!text.contains('\0')).then(|| Value::Text(text.to_owned())),
            Type::Uuid => uuid(text).map(Value::Uuid),
            Type::Date => datetime::date(plain).map(Value::Moment),
            Type::Timestamp => datetime::timestamp(plain, false).map(Value::Moment),
            Type::Timestamptz => datetime::timestamp(plain, true).map(Value::Moment),
            Type::Bytea => hex(text.strip_prefix("\\x")?).map(Value::Bytes),
            Type::Other => Some(Value::Opaque),
        }
    }

    /// Compares two values of one type. `None` is SQL's unknown: one value is null, or they can't
    /// be compared.
    pub fn compare(&self, other: &Value) -> Option<Ordering> {
        match (self, other) {
            (Value::Bool(one), Value::Bool(another)) => Some(one.cmp(another)),
            (Value::Int(one), Value::Int(another)) | (Value::Moment(one), Value::Moment(another)) => {
                Some(one.cmp(another))
            }
            (Value::Numeric(one), Value::Numeric(another)) => Some(one.cmp(another)),
            (Value::Float(one), Value::Float(another)) => Some(compare_floats(*one, *another)),
            (Value::Text(one), Value::Text(another)) => Some(one.as_bytes().cmp(another.as_bytes())),
            (Value::Uuid(one), Value::Uuid(another)) => Some(one.cmp(another)),
            (Value::Bytes(one), Value::Bytes(another)) => Some(one.cmp(another)),
            _ => None,
        }
    }
}

/// `NaN` equals itself and is greater than all other values; the two zeros are equal ("Numeric
/// Types", section "Floating-Point Types").
fn compare_floats(one: f64, another: f64) -> Ordering {
    one.partial_cmp(&another).unwrap_or_else(|| one.is_nan().cmp(&another.is_nan()))
}

/// Whether parsing did not overflow to infinity or underflow to zero.
fn within(text: &str, infinite: bool, zero: bool) -> bool {
    let written = text.bytes().take_while(|byte| !matches!(byte, b'e' | b'E'));
    let (mut digit, mut not_zero) = (false, false);
    for byte in written {
        digit |= byte.is_ascii_digit();
        not_zero |= matches!(byte, b'1'..=b'9');
    }
    !(infinite && digit || zero && not_zero)
}

/// Reads a boolean as PostgreSQL does: unique prefixes of its words ("Boolean Type").
pub(super) fn boolean(text: &str) -> Option<bool> {
    let text = text.to_ascii_lowercase();
    let begins = |word: &str, least: usize| text.len() >= least && word.starts_with(&text);
    if begins("true", 1) || begins("yes", 1) || begins("on", 2) || text == "1" {
        Some(true)
    } else if begins("false", 1) || begins("no", 1) || begins("off", 2) || text == "0" {
        Some(false)
    } else {
        None
    }
}

/// Reads a UUID as PostgreSQL does: digits in either case, optional braces, and optional hyphens
/// after each group of four ("UUID Type").
fn uuid(text: &str) -> Option<u128> {
    let inner = match text.strip_prefix('{') {
        Some(rest) => rest.strip_suffix('}')?,
        None => text,
    };
    let (mut number, mut count, mut hyphen) = (0_u128, 0, false);
    for char in inner.chars() {
        if char == '-' && !hyphen && count % 4 == 0 && (4..32).contains(&count) {
            hyphen = true;
            continue;
        }
        number = number << 4 | u128::from(char.to_digit(16)?);
        (count, hyphen) = (count + 1, false);
        if count > 32 {
            return None;
        }
    }
    (count == 32 && !hyphen).then_some(number)
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|char| char.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    let digits = digits?;
    (digits.len() % 2 == 0).then(|| digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}
