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
//! Where it is not PostgREST's:
//!
//! - A value may be quoted everywhere. PostgREST takes the quotes of `a=eq."x"` for data, and only those inside parentheses for
//!   quotes (its issue 1943), but has percent-encoding for the rest; here they are how a value gets an `&`.
//! - What begins with a quote must be a whole quoted value. PostgREST reads it as unquoted if it is not.
//! - White space around a value is not part of it, unless it is inside the quotes.
//! - Inside `and` and `or` a value that begins with `{` must be quoted. PostgREST reads an array there, commas and all.
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

/// A filter within all limits; only [`Filter::parse`] makes one, and parts of one are one. Filters
/// are equal that have the same tree.
#[derive(Debug, Clone)]
pub struct Filter {
    root: Node,
    /// Where the terms stand in the text, in the tree's order.
    spots: Vec<Spot>,
}

/// Where a term's parts stand in the text, in bytes.
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
    /// Values stay text: whether a column exists and takes them is for whoever has the schema.
    /// Groups of one member become that member, so texts that say the same in the same order mostly
    /// give the same tree.
    pub fn parse(text: &str) -> Result<Filter, FilterError> {
        parse::filter(text)
    }

    /// The canonical text: no sugar, `&` for the outermost `and`, quotes only where they are
    /// needed. [`Filter::parse`] makes the same filter of it.
    pub fn encode(&self) -> String {
        encode::filter(&self.root)
    }

    /// The tree.
    pub fn root(&self) -> &Node {
        &self.root
    }

    /// The filter of a tree: a part of another filter's, or one with other values. A value is one
    /// whatever its characters, so a text from elsewhere can't become a part of the filter. Errors
    /// of [`Filter::bind`] tell no place in a text.
    pub fn of(part: Node) -> Filter {
        Filter { root: part, spots: Vec::new() }
    }

    /// The filter over a table's columns: each term's column is found and its values are read as
    /// the column's type.
    ///
    /// # Errors
    ///
    /// [`FilterFault::BadColumn`] for a column that is not there, [`FilterFault::BadFilter`] for an operator that its type does not
    /// have, and [`FilterFault::BadLiteral`] for a value that is none of its type, each with the
    /// place in the text.
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
    /// Whether it is what `test` says that must not hold. SQL's `NOT`: of unknown it makes unknown.
    pub negated: bool,
    /// What must hold for the column's value.
    pub test: Test,
}

/// Conditions joined by `and` or `or`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Whether the joined conditions must not hold. SQL's `NOT`: of unknown it makes unknown.
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

/// What must hold for a column's value ("Horizontal Filtering", "Operators").
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Test {
    /// A comparison with a value, as text.
    Compare(Compare, String),
    /// `in`: equal to one of at most [`MAX_VALUES`] values; to none, if there are none.
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
    /// `like`, SQL's `LIKE`. The value is a pattern in which each `*`, in quotes too, has become a
    /// `%`.
    Like,
    /// `ilike`, PostgreSQL's `ILIKE` with `COLLATE "C"`: only ASCII's letters are the same in
    /// either case, so `é` does not match `É`, though it does for a database whose own collation
    /// knows these. The value is a pattern as that of `like`.
    Ilike,
}

/// What `is` asks for; never unknown itself.
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
    /// `unknown`: `null`, of a column that is a boolean.
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

/// Why a text is no filter, or not one for a table, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{expected}, at byte {at}")]
pub struct FilterError {
    /// What is wrong.
    pub fault: FilterFault,
    /// Where, in bytes from the text's beginning: the start of a character, or the text's end.
    pub at: usize,
    /// What should have been there.
    pub expected: &'static str,
}

impl FilterError {
    /// The code, the same string in every language.
    pub fn code(self) -> &'static str {
        self.fault.code()
    }
}

/// What is wrong with a filter's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FilterFault {
    /// It does not follow the grammar, or uses an operator that does not exist here.
    BadFilter,
    /// A column's name is missing or not one.
    BadColumn,
    /// A value is missing, or is quoted wrongly, or not one that `is` takes.
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

/// White space of the grammar; what else Unicode has is data.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// Where a value stands, which says what ends it if it is not quoted.
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
    /// Whether `byte` ends an unquoted value. `&` does everywhere, as in a URL, where it ends the
    /// parameter before PostgREST looks.
    fn ends_at(self, byte: u8) -> bool {
        byte == b'&' || self != Place::Outside && matches!(byte, b',' | b')')
    }
}
