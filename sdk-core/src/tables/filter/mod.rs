//! A live table's filter: which rows a subscription is about.
//!
//! The grammar is PostgREST's, of its documentation's pages "Tables and Views", section "Horizontal
//! Filtering", and "URL Grammar", section "Reserved characters", as one text that is not
//! percent-encoded:
//!
//! ```text
//! filter   = param *( "&" param )
//! param    = column "=" test / [ "not." ] ( "and" / "or" ) "=" members / sugar
//! members  = "(" member *( "," member ) ")"
//! member   = column "." test / [ "not." ] ( "and" / "or" ) members
//! test     = [ "not." ] ( compare "." value / "in.(" [ value *( "," value ) ] ")" / "is." state )
//! compare  = "eq" / "neq" / "gt" / "gte" / "lt" / "lte" / "like" / "ilike"
//! state    = "null" / "not_null" / "true" / "false" / "unknown"       ; in any case
//! value    = quoted / unquoted
//! quoted   = DQUOTE *( "\" any / any but DQUOTE and "\" ) DQUOTE
//! unquoted = up to "&", and inside parentheses up to "," and ")" too
//! sugar    = column SP "=" value / column ( "!=" / ">" / ">=" / "<" / "<=" ) value
//! ```
//!
//! Differences from PostgREST:
//!
//! - A value may be quoted everywhere. PostgREST takes the quotes of `a=eq."x"` for data, and only
//!   those inside parentheses for quotes (its issue 1943), but has percent-encoding for the rest;
//!   here they are how a value gets an `&`.
//! - What begins with a quote must be a whole quoted value. PostgREST reads it as unquoted if it is
//!   not.
//! - White space around a value is not part of it, unless it is inside the quotes.
//! - Inside `and` and `or` a value that begins with `{` must be quoted. PostgREST reads an array
//!   there, commas and all.
//! - A column is a plain identifier: not quoted, no path into JSON, no embedded resource.
//!
//! The sugar's `=` has white space before it, so what follows is always data. Without it an
//! operator must follow, and a value that looks like one (`status=not.is.null`) would be one.
//!
//! ```
//! use tidewire_core::tables::filter::{Filter, Node};
//!
//! let filter = Filter::parse(r#"room = 7 & or=(state.in.(open,"on hold, for now"),owner.is.null)"#)?;
//! assert!(matches!(filter.root(), Node::Group(both) if both.members.len() == 2));
//! assert_eq!(filter.encode(), r#"room=eq.7&or=(state.in.(open,"on hold, for now"),owner.is.null)"#);
//! # Ok::<(), tidewire_core::tables::filter::FilterError>(())
//! ```

mod encode;
mod like;
mod parse;
mod predicate;

pub use predicate::{Column, Predicate};

use crate::wire::codes;
use crate::wire::json::push_integer;
use thiserror::Error;

/// Greatest length of a filter's text, in bytes; also of its canonical form.
pub const MAX_BYTES: usize = 4_096;
/// Most terms of a filter.
pub const MAX_TERMS: usize = 16;
/// How deep `and` and `or` may be nested; terms joined by `&` are no level of their own.
pub const MAX_DEPTH: usize = 4;
/// Most values of an `in`.
pub const MAX_VALUES: usize = 100;
/// Greatest length of a column's name, in bytes: PostgreSQL's `NAMEDATALEN` - 1 ("Identifiers and
/// Key Words").
pub const MAX_COLUMN: usize = 63;

/// A filter that respects all limits. [`Filter::parse`] makes one, and parts of one are filters
/// too. Filters with the same tree are equal.
#[derive(Debug, Clone)]
pub struct Filter {
    root: Node,
    /// The positions of the terms in the text, in the tree's order.
    spots: Vec<Spot>,
}

/// The positions of a term's parts in the text, in bytes.
#[derive(Debug, Clone)]
struct Spot {
    column: usize,
    operator: usize,
    values: Vec<usize>,
}

impl PartialEq for Filter {
    fn eq(&self, other: &Self) -> bool {
        self.root == other.root
    }
}

impl Eq for Filter {}

impl Filter {
    /// Reads a filter's text.
    ///
    /// Values stay text; [`Filter::bind`] checks them against a schema. Groups of one member become
    /// that member, so equivalent texts mostly give the same tree.
    pub fn parse(text: &str) -> Result<Filter, FilterError> {
        parse::filter(text)
    }

    /// The canonical text: no sugar, `&` for the outermost `and`, quotes only where they are
    /// needed. [`Filter::parse`] reads it as the same filter.
    pub fn encode(&self) -> String {
        encode::filter(&self.root)
    }

    /// The tree.
    pub fn root(&self) -> &Node {
        &self.root
    }

    /// The filter of a tree, such as a part of another filter, or one with other values. Values are
    /// not parsed, so a value can't change the filter's meaning. Errors of [`Filter::bind`] have no
    /// position in a text.
    pub fn of(part: Node) -> Filter {
        Filter { root: part, spots: Vec::new() }
    }

    /// Binds the filter to a table's columns: finds each term's column and parses its values as the
    /// column's type.
    ///
    /// # Errors
    ///
    /// [`FilterFault::BadColumn`] for a column that does not exist, [`FilterFault::BadFilter`] for
    /// an operator that its type does not have, and [`FilterFault::BadLiteral`] for a value that is
    /// not of the column's type, each with the position in the text.
    pub fn bind(&self, columns: &[Column<'_>]) -> Result<Predicate, FilterError> {
        predicate::bind(self, columns)
    }
}

/// A part of a filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A condition on one column.
    Term(Term),
    /// Several conditions.
    Group(Group),
}

/// A condition on one column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    /// An identifier as PostgreSQL writes it without quotes, in ASCII, its case kept.
    pub column: String,
    /// Whether the test is negated. As SQL's `NOT`, which leaves unknown as unknown.
    pub negated: bool,
    /// The test of the column's value.
    pub test: Test,
}

/// Conditions joined by `and` or `or`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Whether the group is negated. As SQL's `NOT`, which leaves unknown as unknown.
    pub negated: bool,
    /// How they are joined.
    pub join: Join,
    /// At least two.
    pub members: Vec<Node>,
}

/// How conditions are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Join {
    /// `and`.
    And,
    /// `or`.
    Or,
}

/// A test of a column's value ("Horizontal Filtering", "Operators").
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Test {
    /// A comparison with a value, as text.
    Compare(Compare, String),
    /// `in`: equal to one of at most [`MAX_VALUES`] values. An empty list matches nothing.
    In(Vec<String>),
    /// `is`.
    Is(Is),
}

/// Comparisons with one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compare {
    /// `eq`, SQL's `=`.
    Eq,
    /// `neq`, SQL's `<>`.
    Neq,
    /// `gt`, SQL's `>`.
    Gt,
    /// `gte`, SQL's `>=`.
    Gte,
    /// `lt`, SQL's `<`.
    Lt,
    /// `lte`, SQL's `<=`.
    Lte,
    /// `like`, SQL's `LIKE`. The value is a pattern; `*` was replaced by `%`, in quotes too.
    Like,
    /// `ilike`, PostgreSQL's `ILIKE` with `COLLATE "C"`: only ASCII letters are compared without
    /// case, so `é` does not match `É`, unlike in databases with another collation. The value is a
    /// pattern as for `like`.
    Ilike,
}

/// The operands of `is`. Its result is never unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Is {
    /// `null`.
    Null,
    /// `not_null`.
    NotNull,
    /// `true`.
    True,
    /// `false`.
    False,
    /// `unknown`: `null`, for boolean columns.
    Unknown,
}

impl Compare {
    const ALL: [(&str, Compare); 8] = [
        ("eq", Compare::Eq),
        ("neq", Compare::Neq),
        ("gt", Compare::Gt),
        ("gte", Compare::Gte),
        ("lt", Compare::Lt),
        ("lte", Compare::Lte),
        ("like", Compare::Like),
        ("ilike", Compare::Ilike),
    ];
}

impl Is {
    const ALL: [(&str, Is); 5] = [
        ("null", Is::Null),
        ("not_null", Is::NotNull),
        ("true", Is::True),
        ("false", Is::False),
        ("unknown", Is::Unknown),
    ];
}

/// Why a text is not a valid filter, or not valid for a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{}", self.message())]
pub struct FilterError {
    /// What is wrong.
    pub fault: FilterFault,
    /// The position in the text, in bytes: the start of a character, or the end of the text.
    pub at: usize,
    /// What should have been there.
    pub expected: &'static str,
}

impl FilterError {
    /// The message for people, made without the formatting machinery, which is 2 KB in WASM.
    pub fn message(self) -> String {
        let mut message = String::from(self.expected);
        message.push_str(", at byte ");
        push_integer(&mut message, self.at as u64);
        message
    }

    /// The code, the same string in every language.
    pub fn code(self) -> &'static str {
        self.fault.code()
    }
}

/// What is wrong with a filter's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FilterFault {
    /// Wrong syntax, or an operator that does not exist.
    BadFilter,
    /// A column's name is missing or not valid.
    BadColumn,
    /// A value is missing, wrongly quoted, or not valid for `is`.
    BadLiteral,
    /// Longer than [`MAX_BYTES`].
    TooLong,
    /// More than [`MAX_TERMS`] terms, or [`MAX_VALUES`] values of an `in`.
    TooManyTerms,
    /// Nested deeper than [`MAX_DEPTH`].
    TooDeep,
}

impl FilterFault {
    /// The code, the same string in every language.
    pub fn code(self) -> &'static str {
        match self {
            FilterFault::BadFilter => codes::BAD_FILTER,
            FilterFault::BadColumn => codes::BAD_COLUMN,
            FilterFault::BadLiteral => codes::BAD_LITERAL,
            FilterFault::TooLong => codes::FILTER_TOO_LONG,
            FilterFault::TooManyTerms => codes::TOO_MANY_TERMS,
            FilterFault::TooDeep => codes::TOO_DEEP,
        }
    }
}

/// The grammar's white space. Other Unicode white space is data.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// The context of a value. It determines which characters end an unquoted value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In a parameter.
    Outside,
    /// In a member of an `and` or `or`.
    Member,
    /// In the list of an `in`.
    List,
}

impl Place {
    /// Whether `byte` ends an unquoted value. `&` ends it everywhere, as in a URL.
    fn ends_at(self, byte: u8) -> bool {
        byte == b'&' || self != Place::Outside && matches!(byte, b',' | b')')
    }
}
