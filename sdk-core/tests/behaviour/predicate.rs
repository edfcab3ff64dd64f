//! What filters say of rows.

use tidewire_core::tables::filter::{Column, Filter, FilterError};
use tidewire_core::tables::{Type, Value};

const COLUMNS: [Column<'static>; 14] = [
    Column { name: "bo", kind: Type::Bool },
    Column { name: "i2", kind: Type::Int2 },
    Column { name: "i4", kind: Type::Int4 },
    Column { name: "i8", kind: Type::Int8 },
    Column { name: "nu", kind: Type::Numeric },
    Column { name: "f4", kind: Type::Float4 },
    Column { name: "f8", kind: Type::Float8 },
    Column { name: "te", kind: Type::Text },
    Column { name: "uu", kind: Type::Uuid },
    Column { name: "da", kind: Type::Date },
    Column { name: "ts", kind: Type::Timestamp },
    Column { name: "tz", kind: Type::Timestamptz },
    Column { name: "by", kind: Type::Bytea },
    Column { name: "js", kind: Type::Other },
];

/// What a filter says of a row in which `column` has the value that PostgreSQL would write as
/// `value`, and all others are null.
fn judge(filter: &str, column: &str, value: Option<&str>) -> Option<bool> {
    let predicate = Filter::parse(filter).and_then(|filter| filter.bind(&COLUMNS)).expect(filter);
    let row: Vec<Value> = COLUMNS
        .iter()
        .map(|other| match value.filter(|_| other.name == column) {
            Some(text) => Value::parse(text, other.kind).expect(text),
            None => Value::Null,
        })
        .collect();
    predicate.judge(&row)
}

fn refused(filter: &str) -> FilterError {
    Filter::parse(filter).expect(filter).bind(&COLUMNS).expect_err(filter)
}

#[test]
fn every_type_compares_as_the_database_does() {
    for (filter, column, value, said) in [
        ("bo=gt.f", "bo", "t", true),
        ("i2=eq. 7 ", "i2", "7", true),
        ("i4=lt.-2", "i4", "-3", true),
        ("i8=eq.9007199254740993", "i8", "9007199254740992", false),
        ("nu=eq.1.50", "nu", "1.5", true),
        ("nu=lt.0.1", "nu", "0.10000000000000000000000000000000001", false),
        ("nu=eq.1e3", "nu", "1000.000", true),
        ("nu=gt.-0.01", "nu", "-0.011", false),
        ("nu=eq.-0", "nu", "0.00", true),
        ("nu=gt.Infinity", "nu", "NaN", true),
        ("nu=eq.nan", "nu", "NaN", true),
        ("nu=lt.-1e10000", "nu", "-Infinity", true),
        ("f4=eq.0.1", "f4", "0.1", true),
        ("f8=eq.NaN", "f8", "NaN", true),
        ("f8=gt.1e308", "f8", "Infinity", true),
        ("f8=eq.-0", "f8", "0", true),
        ("te=gt.Z", "te", "a", true),
        ("te=eq.x", "te", "x ", false),
        ("uu=eq.{123E4567-e89b-12d3-a456-426614174000}", "uu", "123e4567-e89b-12d3-a456-426614174000", true),
        ("da=lt.2000-03-01", "da", "2000-02-29", true),
        ("da=lt.0001-01-01", "da", "0001-12-31 BC", true),
        ("ts=gt.2026-01-01", "ts", "2026-01-01 00:00:00.000001", true),
        ("tz=eq.2026-01-01T00:00:00+02:00", "tz", "2025-12-31 22:00:00+00", true),
        ("tz=lt.infinity", "tz", "294276-12-31 23:59:59.999999+00", true),
        (r#"by=eq."\\xDEad""#, "by", r"\xdead", true),
        ("by=gt.\\x00", "by", r"\x", false),
    ] {
        assert_eq!(judge(filter, column, Some(value)), Some(said), "{filter} of {value}");
    }
}

#[test]
fn what_is_unknown_stays_unknown_until_something_decides() {
    assert_eq!(judge("te=eq.a", "te", None), None);
    assert_eq!(judge("te=not.eq.a", "te", None), None);
    assert_eq!(judge("te=neq.a", "te", None), None);
    assert_eq!(judge("te=in.(a,b)", "te", None), None);
    assert_eq!(judge("te=like.*", "te", None), None);
    assert_eq!(judge("te=is.null", "te", None), Some(true));
    assert_eq!(judge("te=not.is.null", "te", None), Some(false));
    assert_eq!(judge("bo=is.unknown", "bo", None), Some(true));
    assert_eq!(judge("bo=not.is.true", "bo", None), Some(true));
    assert_eq!(judge("js=is.not_null", "js", Some("{}")), Some(true));
    // The other column is null.
    assert_eq!(judge("i4=eq.1&te=eq.a", "i4", Some("1")), None);
    assert_eq!(judge("i4=eq.2&te=eq.a", "i4", Some("1")), Some(false));
    assert_eq!(judge("or=(te.eq.a,i4.eq.1)", "i4", Some("1")), Some(true));
    assert_eq!(judge("or=(te.eq.a,i4.eq.2)", "i4", Some("1")), None);
    assert_eq!(judge("not.and=(te.eq.a,i4.eq.2)", "i4", Some("1")), Some(true));
}

#[test]
fn an_empty_list_holds_nothing_not_even_null() {
    assert_eq!(judge("te=in.()", "te", None), Some(false));
    assert_eq!(judge("te=not.in.()", "te", None), Some(true));
    assert_eq!(judge("te=in.()", "te", Some("")), Some(false));
    assert_eq!(judge(r#"te=in.("")"#, "te", Some("")), Some(true));
}

#[test]
fn patterns_match_whole_texts() {
    for (filter, value, said) in [
        ("te=like.a*", "abc", true),
        ("te=like.*c", "abc", true),
        ("te=like.*b*", "abc", true),
        ("te=like.b", "abc", false),
        ("te=like.a_c", "aöc", true),
        ("te=like._", "", false),
        ("te=like.*", "", true),
        ("te=like.A*", "abc", false),
        ("te=ilike.A*", "abc", true),
        ("te=ilike.*Ä", "ä", false),
        ("te=like.a**b*c", "axxbxxbyc", true),
        ("te=like.*ab", "aab", true),
        (r#"te=like.100\\%"#, "100%", false),
        (r#"te=like."100\\%""#, "100%", true),
        (r#"te=like."100\\%""#, "1000", false),
    ] {
        assert_eq!(judge(filter, "te", Some(value)), Some(said), "{filter} of {value}");
    }
    // What a careless matcher needs ages for.
    let text = "a".repeat(4_000);
    assert_eq!(judge(&format!("te=like.{}b", "*a".repeat(2_000)), "te", Some(&text)), Some(false));
}

#[test]
fn a_literal_of_another_type_is_refused_at_its_place() {
    for (filter, at) in [
        ("i2=eq.32768", 6),
        ("i4=eq.1.5", 6),
        ("i4=eq.", 6),
        ("i8=in.(1,x)", 9),
        ("i8=eq.0x10", 6),
        ("nu=eq.1_000", 6),
        ("nu=eq.1e99999999999", 6),
        ("nu=eq..", 6),
        ("f4=eq.1e39", 6),
        ("f8=eq.1e-400", 6),
        ("f8=eq.1e400", 6),
        ("bo=eq.o", 6),
        ("uu=eq.123e4567", 6),
        ("uu=eq.123e4567--e89b-12d3-a456-426614174000", 6),
        ("da=eq.2026-02-30", 6),
        ("ts=eq.2026-01-01T00:00Z", 6),
        ("tz=eq.yesterday", 6),
        (r"by=eq.\xabc", 6),
        ("by=eq.abc", 6),
        (r"te=like.a\", 8),
        ("te=eq.a&or=(i4.eq.1,i4.gt. q)", 27),
    ] {
        let error = refused(filter);
        assert_eq!((error.code(), error.at), ("bad_literal", at), "{filter}");
    }
}

#[test]
fn a_column_that_is_not_there_and_an_operator_that_does_not_fit_are_refused_at_their_place() {
    for (filter, code, at) in [
        ("nope=eq.1", "bad_column", 0),
        ("te=eq.1&TE=eq.1", "bad_column", 8),
        ("i4=like.1", "bad_filter", 3),
        ("i4=not.is.true", "bad_filter", 7),
        ("js=eq.{}", "bad_filter", 3),
        ("or=(te.eq.a,js.in.(1))", "bad_filter", 15),
    ] {
        let error = refused(filter);
        assert_eq!((error.code(), error.at), (code, at), "{filter}");
    }
}

#[test]
fn an_index_knows_what_a_row_must_have() {
    let required = |filter: &str| {
        let predicate = Filter::parse(filter).and_then(|filter| filter.bind(&COLUMNS)).expect(filter);
        let found: Vec<(usize, usize)> =
            predicate.required().iter().map(|(column, values)| (*column, values.len())).collect();
        (found, predicate.columns())
    };
    assert_eq!(required("i4=eq.1&te=in.(a,b)&bo=is.true"), (vec![(2, 1), (7, 2)], vec![0, 2, 7]));
    assert_eq!(required("i4=eq.1"), (vec![(2, 1)], vec![2]));
    assert_eq!(required("i4=not.eq.1"), (vec![], vec![2]));
    assert_eq!(required("or=(i4.eq.1,i4.eq.2)"), (vec![], vec![2]));
    assert_eq!(required("not.and=(i4.eq.1,te.eq.a)"), (vec![], vec![2, 7]));
}
