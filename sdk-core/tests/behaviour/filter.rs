//! The grammar of a live table's filter.

use tidewire_core::tables::filter::{
    Compare, Filter, Group, Is, Join, MAX_BYTES, MAX_TERMS, MAX_VALUES, Node, Term, Test,
};

fn parse(text: &str) -> Filter {
    Filter::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// The code and the place of what is wrong with `text`.
fn refused(text: &str) -> (&'static str, usize) {
    match Filter::parse(text) {
        Ok(filter) => panic!("{text} is {filter:?}"),
        Err(error) => {
            assert!(text.is_char_boundary(error.at), "{text}: {error}");
            assert!(error.expected.starts_with("expected "), "{text}: {error}");
            (error.code(), error.at)
        }
    }
}

fn term(column: &str, negated: bool, test: Test) -> Node {
    Node::Term(Term { column: column.to_owned(), negated, test })
}

fn eq(column: &str, value: &str) -> Node {
    compare(column, Compare::Eq, value)
}

fn compare(column: &str, compare: Compare, value: &str) -> Node {
    term(column, false, Test::Compare(compare, value.to_owned()))
}

fn group(negated: bool, join: Join, members: Vec<Node>) -> Node {
    Node::Group(Group { negated, join, members })
}

/// What the only term of `text` compares with.
fn value(text: &str) -> String {
    match parse(text).root() {
        Node::Term(Term { test: Test::Compare(_, value), .. }) => value.clone(),
        other => panic!("{text}: {other:?}"),
    }
}

/// The values of the only term of `text`.
fn values(text: &str) -> Vec<String> {
    match parse(text).root() {
        Node::Term(Term { test: Test::In(values), .. }) => values.clone(),
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn every_operator_has_its_name() {
    let names = [
        ("eq", Compare::Eq),
        ("neq", Compare::Neq),
        ("gt", Compare::Gt),
        ("gte", Compare::Gte),
        ("lt", Compare::Lt),
        ("lte", Compare::Lte),
        ("like", Compare::Like),
        ("ilike", Compare::Ilike),
    ];
    for (name, operator) in names {
        assert_eq!(*parse(&format!("age={name}.13")).root(), compare("age", operator, "13"));
        let negated = term("age", true, Test::Compare(operator, "13".to_owned()));
        assert_eq!(*parse(&format!("age=not.{name}.13")).root(), negated);
    }
    let states = [
        ("null", Is::Null),
        ("not_null", Is::NotNull),
        ("true", Is::True),
        ("false", Is::False),
        ("unknown", Is::Unknown),
    ];
    for (name, state) in states {
        for name in [name.to_owned(), name.to_uppercase()] {
            assert_eq!(*parse(&format!("a=is.{name}")).root(), term("a", false, Test::Is(state)));
            assert_eq!(*parse(&format!("a=not.is.{name}")).root(), term("a", true, Test::Is(state)));
        }
    }
}

#[test]
fn terms_joined_by_ampersands_are_an_and() {
    let both = vec![compare("age", Compare::Gte, "18"), term("student", false, Test::Is(Is::True))];
    for text in ["age=gte.18&student=is.true", "and=(age.gte.18,student.is.true)"] {
        assert_eq!(*parse(text).root(), group(false, Join::And, both.clone()));
    }
}

#[test]
fn groups_nest_as_in_the_documentation() {
    let text = "grade=gte.90&student=is.true&or=(age.eq.14,not.and(age.gte.11,age.lte.17))";
    let teens = vec![compare("age", Compare::Gte, "11"), compare("age", Compare::Lte, "17")];
    let either = vec![eq("age", "14"), group(true, Join::And, teens)];
    let all = vec![
        compare("grade", Compare::Gte, "90"),
        term("student", false, Test::Is(Is::True)),
        group(false, Join::Or, either),
    ];
    assert_eq!(*parse(text).root(), group(false, Join::And, all));
    assert_eq!(parse(text).encode(), text);
}

#[test]
fn a_group_of_one_is_its_member() {
    for (text, canonical) in [
        ("and=(a.eq.1)", "a=eq.1"),
        ("or=(and(or(a.eq.1)))", "a=eq.1"),
        ("not.or=(a.eq.1)", "a=not.eq.1"),
        ("not.and=(a.not.eq.1)", "a=eq.1"),
        ("not.and=(or(a.eq.1,b.eq.2))", "not.or=(a.eq.1,b.eq.2)"),
        ("not.and=(not.and(a.eq.1,b.eq.2))", "a=eq.1&b=eq.2"),
    ] {
        assert_eq!(parse(text).encode(), canonical);
        assert_eq!(parse(canonical), parse(text));
    }
}

#[test]
fn words_of_the_grammar_are_columns_where_they_can_be() {
    for text in ["and=eq.1", "or=eq.1", "not=eq.1", "eq=eq.eq", "in=in.(in)", "is=is.null", "not=not.eq.not"]
    {
        assert_eq!(parse(text).encode(), text);
    }
    let names = vec![eq("not", "1"), eq("and", "2"), eq("or", "3")];
    assert_eq!(*parse("or=(not.eq.1,and.eq.2,or.eq.3)").root(), group(false, Join::Or, names));
    assert_eq!(*parse("or=(not.not.eq.1,a.eq.1)").encode(), *"or=(not.not.eq.1,a.eq.1)");
}

#[test]
fn a_value_ends_where_its_surroundings_say() {
    assert_eq!(value("a=eq.x,y)(z"), "x,y)(z", "outside of parentheses only `&` ends it");
    assert_eq!(value("a=eq.b=eq.c"), "b=eq.c");
    assert_eq!(value("a=eq."), "");
    assert_eq!(
        value(r#"a=eq.5" or C:\x"#),
        r#"5" or C:\x"#,
        "neither quotes nor backslashes inside mean anything"
    );
    assert_eq!(
        *parse("or=(a.eq.x(y,b.eq.)").root(),
        group(false, Join::Or, vec![eq("a", "x(y"), eq("b", "")])
    );
    assert_eq!(values("a=in.(a b,c(d)"), ["a b", "c(d"]);
    assert_eq!(values("a=in.(,x,)"), ["", "x", ""]);
    assert_eq!(values("a=in.({1},{2)"), ["{1}", "{2"]);
    assert_eq!(values("a=in.()"), [""; 0]);
    assert_eq!(values(r#"a=in.("")"#), [""]);
}

#[test]
fn quotes_keep_what_would_end_a_value() {
    assert_eq!(values(r#"name=in.("Hebdon,John","Williams,Mary")"#), ["Hebdon,John", "Williams,Mary"]);
    assert_eq!(values(r#"name=in.("Quote:\"","Backslash:\\")"#), ["Quote:\"", "Backslash:\\"]);
    assert_eq!(value(r#"a=eq."x&b=eq.1""#), "x&b=eq.1");
    assert_eq!(value(r#"a=eq."\n\ü\"""#), "nü\"", "a backslash makes the next character itself");
    let both = vec![eq("a", "1,b.eq.2)"), eq("c", "{1,2}")];
    assert_eq!(*parse(r#"or=(a.eq."1,b.eq.2)",c.eq."{1,2}")"#).root(), group(false, Join::Or, both));
    assert_eq!(value("a=eq.{1,2}"), "{1,2}");
}

#[test]
fn white_space_around_values_and_members_is_not_theirs() {
    assert_eq!(value("a=eq. x y \t\r\n"), "x y");
    assert_eq!(value("a=eq.\" x \" "), " x ");
    assert_eq!(value("a=eq.\u{a0}x\u{a0}"), "\u{a0}x\u{a0}", "what else Unicode has is data");
    assert_eq!(values(r#"a=in.( 1 , "2" ,3 )"#), ["1", "2", "3"]);
    assert_eq!(values("a=in.( )"), [""; 0]);
    assert_eq!(
        parse(" or=( a.eq.1 , and( b.eq.2, c.is.null ) ) & d=eq.3 ").encode(),
        "or=(a.eq.1,and(b.eq.2,c.is.null))&d=eq.3"
    );
}

#[test]
fn a_star_in_a_pattern_is_a_percent_sign() {
    assert_eq!(value("a=like.*MS*"), "%MS%");
    assert_eq!(value(r#"a=ilike."*,%_""#), "%,%_");
    assert_eq!(value("a=eq.*"), "*");
}

#[test]
fn sugar_says_the_same_as_operators_by_name() {
    for (sugar, canonical) in [
        ("a = 1", "a=eq.1"),
        ("a =1", "a=eq.1"),
        ("a != 1", "a=neq.1"),
        ("a!=1", "a=neq.1"),
        ("a>1", "a=gt.1"),
        ("a >= 1", "a=gte.1"),
        ("a<1", "a=lt.1"),
        ("a <= -1", "a=lte.-1"),
        ("a = \"x & y\" & b > 2&c=is.null", "a=eq.\"x & y\"&b=gt.2&c=is.null"),
        ("full_name = Ada Lovelace ", "full_name=eq.Ada Lovelace"),
        ("a = \"\"", "a=eq."),
        ("a > \"=1\"", "a=gt.=1"),
    ] {
        assert_eq!(parse(sugar).encode(), canonical);
        assert_eq!(parse(canonical), parse(sugar));
    }
}

#[test]
fn what_looks_like_an_operator_is_data_behind_a_sugared_equals_sign() {
    for text in ["eq.1", "not.is.null", "in.(1,2)", "(a.eq.1)", "*", "1) or (1=1"] {
        assert_eq!(value(&format!("status = {text}")), text);
    }
}

#[test]
fn what_looks_like_an_injection_is_data() {
    for text in [
        "1' OR '1'='1",
        "1; DROP TABLE users; --",
        "x'/**/UNION/**/SELECT",
        "$1",
        "\0",
        "%26b=eq.1",
        "\u{202e}🦀",
    ] {
        assert_eq!(value(&format!("a=eq.{text}")), text);
        assert_eq!(values(&format!("a=in.({text})")), [text]);
        assert_eq!(parse(&format!("a=eq.{text}")).encode(), format!("a=eq.{text}"));
    }
    assert_eq!(refused("a;DROP TABLE x=eq.1"), ("bad_column", 1));
    assert_eq!(refused("a\"--=eq.1"), ("bad_column", 1));
}

#[test]
fn every_fault_has_its_place() {
    for (text, code, at) in [
        // The shape.
        ("", "bad_column", 0),
        (" ", "bad_column", 1),
        ("&", "bad_column", 0),
        ("a=eq.1&", "bad_column", 7),
        ("a=eq.1&&b=eq.2", "bad_column", 7),
        ("a", "bad_filter", 1),
        ("a ", "bad_filter", 2),
        ("a&b=eq.1", "bad_filter", 1),
        ("a.eq.1", "bad_filter", 1),
        ("a=in.(1)x", "bad_filter", 8),
        ("a=in.1,2", "bad_filter", 5),
        ("a=in.(1,2", "bad_filter", 9),
        ("a=in.(1&b=eq.2)", "bad_filter", 7),
        ("a=in.(\"1\"", "bad_filter", 9),
        // Groups.
        ("or=()", "bad_column", 4),
        ("or=(a.eq.1", "bad_filter", 10),
        ("or=(a.eq.1,", "bad_column", 11),
        ("or=(a.eq.1,)", "bad_column", 11),
        ("or=(a.eq.1&b.eq.2)", "bad_filter", 10),
        ("or=(a.eq.1))", "bad_filter", 11),
        ("or=(a=eq.1)", "bad_filter", 5),
        ("or=(a>1)", "bad_filter", 5),
        ("or=(a.in.(1)b)", "bad_filter", 12),
        ("or=(xor(a.eq.1,b.eq.1))", "bad_filter", 7),
        ("or=(not.xor(a.eq.1))", "bad_filter", 8),
        ("or=(not.not.and(a.eq.1))", "bad_filter", 12),
        ("or(a.eq.1,b.eq.2)", "bad_filter", 2),
        ("or = (a.eq.1,b.eq.2)", "bad_column", 0),
        ("not.a=eq.1", "bad_filter", 4),
        ("not.and=eq.1", "bad_filter", 4),
        ("not.not.and=(a.eq.1)", "bad_filter", 4),
        // Columns.
        ("=eq.1", "bad_column", 0),
        ("1a=eq.1", "bad_column", 0),
        ("$a=eq.1", "bad_column", 0),
        ("first-name=eq.1", "bad_column", 5),
        ("data->>x=eq.1", "bad_column", 4),
        ("naïve=eq.1", "bad_column", 2),
        ("ünder=eq.1", "bad_column", 0),
        ("\"a\"=eq.1", "bad_column", 0),
        ("or=(a.eq.1, \"b\".eq.2)", "bad_column", 12),
        ("clients.name=eq.x", "bad_filter", 7),
        // Operators.
        ("a=5", "bad_filter", 2),
        ("a= 5", "bad_filter", 2),
        ("a=", "bad_filter", 2),
        ("a=eq", "bad_filter", 2),
        ("a=.1", "bad_filter", 2),
        ("a=EQ.1", "bad_filter", 2),
        ("a=eqq.1", "bad_filter", 2),
        ("a=cs.{1}", "bad_filter", 2),
        ("a=like(any).{x}", "bad_filter", 2),
        ("a=not.1", "bad_filter", 6),
        ("a=not.not.eq.1", "bad_filter", 6),
        ("or=(a.1,b.eq.2)", "bad_filter", 6),
        // Sugar.
        ("a <> 1", "bad_filter", 3),
        ("a == 1", "bad_filter", 3),
        ("a =! 1", "bad_filter", 3),
        ("a => 1", "bad_filter", 3),
        ("a ! 1", "bad_filter", 2),
        ("a =", "bad_literal", 3),
        ("a = &b=eq.1", "bad_literal", 4),
        ("a = 'x'", "bad_literal", 4),
        // Literals.
        ("a=eq.\"x", "bad_literal", 5),
        ("a=eq.\"x\\\"", "bad_literal", 5),
        ("a=eq.\"x\\", "bad_literal", 5),
        ("a=eq.\"x\"y", "bad_literal", 8),
        ("a=in.(\"x\"y)", "bad_literal", 9),
        ("a=in.(1, \"x)", "bad_literal", 9),
        ("or=(a.eq.\"x\".y,b.eq.1)", "bad_literal", 12),
        ("or=(a.eq.{1,2},b.eq.1)", "bad_literal", 9),
        ("a=is.", "bad_literal", 5),
        ("a=is.nul", "bad_literal", 5),
        ("a=is.nulls", "bad_literal", 5),
        ("a=is.\"null\"", "bad_literal", 5),
        ("a=is.1", "bad_literal", 5),
        ("or=(a.is.null.x,b.eq.1)", "bad_literal", 9),
    ] {
        assert_eq!(refused(text), (code, at), "{text}");
    }
}

#[test]
fn an_error_says_what_was_expected_and_where_and_repeats_nothing() {
    let error = Filter::parse("token=is.s3cret").expect_err("not a state");
    assert_eq!(error.to_string(), "expected null, not_null, true, false or unknown, at byte 9");
    assert!(!format!("{error:?}").contains("s3cret"));
}

#[test]
fn the_text_has_a_greatest_length() {
    let text = |length: usize| format!("a=eq.{}", "x".repeat(length - 5));
    assert_eq!(parse(&text(MAX_BYTES)).encode().len(), MAX_BYTES);
    assert_eq!(refused(&text(MAX_BYTES + 1)), ("filter_too_long", MAX_BYTES));
    let wide = format!("a=eq.{}", "🦀".repeat(1_100));
    assert_eq!(refused(&wide), ("filter_too_long", 4_093), "at the start of a character");
}

#[test]
fn what_sugar_becomes_has_a_greatest_length_too() {
    let text = |length: usize| format!("a>{}", "x".repeat(length - 2));
    assert_eq!(parse(&text(MAX_BYTES - 3)).encode().len(), MAX_BYTES);
    assert_eq!(refused(&text(MAX_BYTES - 2)), ("filter_too_long", MAX_BYTES - 2));
}

#[test]
fn terms_are_counted() {
    let text = |terms: usize| vec!["a=eq.1"; terms].join("&");
    parse(&text(MAX_TERMS));
    assert_eq!(refused(&text(MAX_TERMS + 1)), ("too_many_terms", 7 * MAX_TERMS));
    let nested = format!("or=({})&b > 1", vec!["a.eq.1"; MAX_TERMS].join(","));
    assert_eq!(refused(&nested), ("too_many_terms", nested.len() - 5));
}

#[test]
fn the_values_of_an_in_are_counted() {
    let text = |values: usize| format!("a=in.({})", vec!["1"; values].join(","));
    assert_eq!(values(&text(MAX_VALUES)).len(), MAX_VALUES);
    assert_eq!(refused(&text(MAX_VALUES + 1)), ("too_many_terms", 6 + 2 * MAX_VALUES));
}

#[test]
fn levels_are_counted() {
    parse("and=(or(and(or(a.eq.1,b.eq.1),c.eq.1),d.eq.1),e.eq.1)&f=eq.1");
    assert_eq!(refused("a=eq.1&and=(or(and(or(and(a.eq.1,b.eq.1)))))"), ("too_deep", 22));
    assert_eq!(refused("or=(or(or(or(not.or(a.eq.1)))))"), ("too_deep", 13));
    assert_eq!(refused(&format!("or=({}", "or(".repeat(1_000))), ("too_deep", 13));
}

#[test]
fn a_columns_name_has_a_greatest_length() {
    let name = "c".repeat(63);
    assert_eq!(*parse(&format!("{name}=eq.1")).root(), eq(&name, "1"));
    assert_eq!(refused(&format!("a=eq.1&{name}c=eq.1")), ("bad_column", 7));
    assert_eq!(*parse("_A$9=eq.1").root(), eq("_A$9", "1"));
}

#[test]
fn the_canonical_text_has_no_quotes_that_it_does_not_need() {
    for (text, canonical) in [
        (r#"a=eq."x,y""#, "a=eq.x,y"),
        (r#"a=eq."\x\"""#, r#"a=eq.x""#),
        (r#"a=eq."\"x""#, r#"a=eq."\"x""#),
        (r#"a=eq."x ""#, r#"a=eq."x ""#),
        (r#"a=eq."\\x\&""#, r#"a=eq."\\x&""#),
        (r#"a=in.("x","y z","(",")","")"#, r#"a=in.(x,y z,(,")",)"#),
        (r#"a=in.("")"#, r#"a=in.("")"#),
        (r#"or=(a.eq."x,y",b.eq."{",c.eq."z{")"#, r#"or=(a.eq."x,y",b.eq."{",c.eq.z{)"#),
        ("a=is.NULL&b=not.is.Not_Null", "a=is.null&b=not.is.not_null"),
    ] {
        assert_eq!(parse(text).encode(), canonical);
        assert_eq!(parse(canonical), parse(text));
    }
}
