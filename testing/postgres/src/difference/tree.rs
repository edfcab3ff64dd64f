//! Random filters, written both as a filter's text and as SQL. Neither is made with the core's
//! tree, so its parser is under test too.

use super::literal;
use super::rng::Rng;
use tidewire_core::tables::Type;
use tidewire_core::tables::filter::{MAX_DEPTH, MAX_TERMS};

/// A column: its name, its type as SQL writes it, and as the core does.
pub(super) struct Column {
    pub(super) name: &'static str,
    pub(super) sql: &'static str,
    pub(super) kind: Type,
}

/// Every type that can be compared, and one that can't.
pub(super) const COLUMNS: [Column; 15] = [
    Column { name: "bo", sql: "boolean", kind: Type::Bool },
    Column { name: "i2", sql: "smallint", kind: Type::Int2 },
    Column { name: "i4", sql: "integer", kind: Type::Int4 },
    Column { name: "i8", sql: "bigint", kind: Type::Int8 },
    Column { name: "nu", sql: "numeric", kind: Type::Numeric },
    Column { name: "f4", sql: "real", kind: Type::Float4 },
    Column { name: "f8", sql: "double precision", kind: Type::Float8 },
    Column { name: "te", sql: "text", kind: Type::Text },
    Column { name: "vc", sql: "character varying", kind: Type::Text },
    Column { name: "uu", sql: "uuid", kind: Type::Uuid },
    Column { name: "da", sql: "date", kind: Type::Date },
    Column { name: "ts", sql: "timestamp without time zone", kind: Type::Timestamp },
    Column { name: "tz", sql: "timestamp with time zone", kind: Type::Timestamptz },
    Column { name: "by", sql: "bytea", kind: Type::Bytea },
    Column { name: "js", sql: "jsonb", kind: Type::Other },
];

/// Operators: their names, their shorthand, and in SQL.
const COMPARISONS: [(&str, &str, &str); 6] = [
    ("eq", "=", "="),
    ("neq", "!=", "<>"),
    ("gt", ">", ">"),
    ("gte", ">=", ">="),
    ("lt", "<", "<"),
    ("lte", "<=", "<="),
];

/// A filter.
pub(super) enum Tree {
    Term { column: usize, negated: bool, test: Test },
    Group { negated: bool, or: bool, members: Vec<Tree> },
}

pub(super) enum Test {
    /// An index in `COMPARISONS`, and a literal.
    Compare(usize, String),
    /// `ilike` or `like`, and a pattern.
    Like(bool, String),
    In(Vec<String>),
    Is(&'static str),
}

/// Makes filters with these literals.
pub(super) struct Maker<'a> {
    pub(super) rng: &'a mut Rng,
    /// The literals for each column.
    pub(super) literals: &'a [Vec<String>],
}

impl Maker<'_> {
    /// A filter: an `and` of parameters.
    pub(super) fn filter(&mut self) -> Vec<Tree> {
        let most = if self.rng.chance(20) { MAX_TERMS } else { 3 };
        let mut terms = 1 + self.rng.below(most);
        let mut parameters = Vec::new();
        while terms > 0 {
            parameters.push(self.node(&mut terms, 0));
        }
        parameters
    }

    fn node(&mut self, terms: &mut usize, depth: usize) -> Tree {
        if *terms < 2 || depth == MAX_DEPTH || self.rng.chance(40) {
            *terms -= 1;
            return self.term();
        }
        let mut members = Vec::new();
        while *terms > 0 && (members.is_empty() || self.rng.chance(60)) {
            members.push(self.node(terms, depth + 1));
        }
        Tree::Group { negated: self.rng.chance(25), or: self.rng.chance(50), members }
    }

    fn term(&mut self) -> Tree {
        let column = self.rng.below(COLUMNS.len());
        let kind = COLUMNS[column].kind;
        let negated = self.rng.chance(25);
        let nulls = ["null", "NULL", "not_null"];
        let states = ["null", "not_null", "true", "false", "unknown", "Unknown"];
        let test = match self.rng.below(20) {
            _ if kind == Type::Other || self.literals[column].is_empty() => {
                Test::Is(self.rng.pick::<&str>(&nulls))
            }
            0 | 1 if kind == Type::Bool => Test::Is(self.rng.pick::<&str>(&states)),
            0 => Test::Is(self.rng.pick::<&str>(&nulls)),
            1..=4 => Test::In((0..self.rng.below(5)).map(|_| self.literal(column)).collect()),
            5..=12 if kind == Type::Text => Test::Like(self.rng.chance(50), self.pattern(column)),
            _ => Test::Compare(self.rng.below(COMPARISONS.len()), self.literal(column)),
        };
        Tree::Term { column, negated, test }
    }

    fn literal(&mut self, column: usize) -> String {
        self.rng.pick(&self.literals[column]).clone()
    }

    /// A pattern: half of them made from a text, so that something matches. It does not end with a
    /// lone backslash.
    fn pattern(&mut self, column: usize) -> String {
        if self.rng.chance(50) {
            let mut text = literal::wording(self.rng);
            let backslashes = text.chars().rev().take_while(|char| *char == '\\').count();
            if backslashes % 2 == 1 {
                text.push('%');
            }
            return text;
        }
        let mut pattern = String::new();
        for char in self.literal(column).chars().filter(|char| *char != '*') {
            match self.rng.below(10) {
                0 => pattern.push('%'),
                1 => pattern.push('_'),
                2 => pattern.extend(['%', char].iter().filter(|char| !"%_\\".contains(**char))),
                3 => {
                    pattern.push('\\');
                    pattern.push(char);
                }
                4 => pattern.extend(char.to_uppercase().filter(|char| !"%_\\".contains(*char))),
                _ if char == '\\' => pattern.push_str("\\\\"),
                _ => pattern.push(char),
            }
        }
        if self.rng.chance(30) {
            pattern.push('%');
        }
        pattern
    }
}

/// The filter's text, in one of the ways to write it.
pub(super) fn text(rng: &mut Rng, parameters: &[Tree]) -> String {
    let written: Vec<String> = parameters.iter().map(|one| node(rng, one, true)).collect();
    written.join(if rng.chance(20) { " & " } else { "&" })
}

fn node(rng: &mut Rng, tree: &Tree, outside: bool) -> String {
    match tree {
        Tree::Term { column, negated, test } => term(rng, COLUMNS[*column].name, *negated, test, outside),
        Tree::Group { negated, or, members } => {
            let members: Vec<String> = members.iter().map(|one| node(rng, one, false)).collect();
            let not = if *negated { "not." } else { "" };
            let join = if *or { "or" } else { "and" };
            format!(
                "{not}{join}{}({})",
                if outside { "=" } else { "" },
                members.join(*rng.pick(&[",", " , "]))
            )
        }
    }
}

fn term(rng: &mut Rng, column: &str, negated: bool, test: &Test, outside: bool) -> String {
    let not = if negated { "not." } else { "" };
    let joint = if outside { '=' } else { '.' };
    let test = match test {
        Test::Compare(compare, literal) => {
            let (name, sugar, _) = COMPARISONS[*compare];
            let value = value(rng, literal, false);
            let plain = !value.is_empty() && !value.starts_with(['=', '<', '>', '!', '\'']);
            if outside && !negated && plain && rng.chance(25) {
                return format!("{column} {sugar} {value}");
            }
            format!("{name}.{value}")
        }
        Test::Like(folded, pattern) => {
            // In a filter `*` means `%`. Behind a backslash too, so that the SQL has an escaped `%`
            // for either.
            let pattern: String =
                pattern.chars().map(|char| if char == '%' && rng.chance(40) { '*' } else { char }).collect();
            format!("{}.{}", if *folded { "ilike" } else { "like" }, value(rng, &pattern, false))
        }
        Test::In(literals) => {
            let values: Vec<String> = literals.iter().map(|literal| value(rng, literal, true)).collect();
            format!("in.({})", values.join(*rng.pick(&[",", ", "])))
        }
        Test::Is(state) => format!("is.{state}"),
    };
    format!("{column}{joint}{not}{test}")
}

/// A value, in quotes if it needs them, and sometimes if it does not.
fn value(rng: &mut Rng, literal: &str, listed: bool) -> String {
    let space = |char: char| char.is_ascii_whitespace();
    let quotes = literal.contains(['&', ',', '(', ')', '"', '{'])
        || literal.starts_with(space)
        || literal.ends_with(space)
        || listed && literal.is_empty();
    if !quotes && rng.chance(80) {
        return literal.to_owned();
    }
    let escaped: String = literal
        .chars()
        .flat_map(|char| matches!(char, '"' | '\\').then_some('\\').into_iter().chain([char]))
        .collect();
    format!("\"{escaped}\"")
}

/// The filter in SQL.
pub(super) fn sql(parameters: &[Tree]) -> String {
    let written: Vec<String> = parameters.iter().map(node_sql).collect();
    written.join(" and ")
}

fn node_sql(tree: &Tree) -> String {
    let (negated, said) = match tree {
        Tree::Term { column, negated, test } => (*negated, term_sql(&COLUMNS[*column], test)),
        Tree::Group { negated, or, members } => {
            let members: Vec<String> = members.iter().map(node_sql).collect();
            (*negated, members.join(if *or { " or " } else { " and " }))
        }
    };
    if negated { format!("(not ({said}))") } else { format!("({said})") }
}

fn term_sql(column: &Column, test: &Test) -> String {
    let Column { name, sql, kind } = column;
    let collate = if *kind == Type::Text { " collate \"C\"" } else { "" };
    match test {
        Test::Compare(compare, literal) => {
            format!("{name}{collate} {} {}::{sql}", COMPARISONS[*compare].2, quoted(literal))
        }
        Test::Like(folded, pattern) => {
            format!("{name}{collate} {} {}", if *folded { "ilike" } else { "like" }, quoted(pattern))
        }
        Test::In(literals) => {
            let literals: Vec<String> = literals.iter().map(|literal| quoted(literal)).collect();
            format!("{name}{collate} = any (array[{}]::{sql}[])", literals.join(","))
        }
        Test::Is(state) => format!("{name} is {}", state.replace('_', " ")),
    }
}

/// A text as a constant of SQL, with `standard_conforming_strings`.
pub(super) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
