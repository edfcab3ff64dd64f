//! A filter that is bound to the columns of a table, and its evaluation.

use super::like::Pattern;
use super::{Compare, Filter, FilterError, FilterFault, Group, Is, Join, Node, Spot, Term, Test};
use crate::tables::{Type, Value};
use std::cmp::Ordering;

/// A column of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column<'a> {
    /// Its name, as the database spells it.
    pub name: &'a str,
    /// Its type.
    pub kind: Type,
}

/// A filter with resolved columns and parsed values; [`Filter::bind`] makes one.
///
/// ```
/// use tidewire_core::tables::{Type, Value};
/// use tidewire_core::tables::filter::{Column, Filter};
///
/// let columns = [Column { name: "room", kind: Type::Int8 }, Column { name: "state", kind: Type::Text }];
/// let predicate = Filter::parse("room=gte.7&state=neq.closed")?.bind(&columns)?;
/// assert!(predicate.holds(&[Value::Int(7), Value::Text("open".into())]));
/// // SQL's three-valued logic: a comparison with null is unknown.
/// assert_eq!(predicate.judge(&[Value::Int(7), Value::Null]), None);
/// # Ok::<(), tidewire_core::tables::filter::FilterError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Predicate(Part);

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Term { column: usize, negated: bool, check: Check },
    Group { negated: bool, join: Join, members: Vec<Part> },
}

#[derive(Debug, Clone, PartialEq)]
enum Check {
    Compare(Compare, Value),
    Like(Pattern),
    In(Vec<Value>),
    Is(Is),
}

impl Predicate {
    /// Whether a row matches: the filter is true, neither false nor unknown. `row` has a value for
    /// each column that the filter was bound to, in that order.
    pub fn holds(&self, row: &[Value]) -> bool {
        self.judge(row) == Some(true)
    }

    /// Evaluates the filter in SQL's three-valued logic; `None` is unknown.
    pub fn judge(&self, row: &[Value]) -> Option<bool> {
        self.0.judge(row)
    }

    /// The indexes of the columns that the filter uses, sorted, each once.
    pub fn columns(&self) -> Vec<usize> {
        let mut columns = Vec::new();
        self.0.columns(&mut columns);
        columns.sort_unstable();
        columns.dedup();
        columns
    }

    /// Necessary conditions: columns, each with values of which a matching row must have one. Rows
    /// that fail one of them need not be evaluated.
    pub fn required(&self) -> Vec<(usize, &[Value])> {
        match &self.0 {
            Part::Group { negated: false, join: Join::And, members } => {
                members.iter().filter_map(Part::required).collect()
            }
            part => part.required().into_iter().collect(),
        }
    }

    /// Whether [`Predicate::required`] is sufficient: exactly the rows with these values match.
    pub fn is_equality(&self) -> bool {
        self.0.required().is_some()
    }
}

impl Part {
    /// The recursion is limited by the depth of the tree.
    fn judge(&self, row: &[Value]) -> Option<bool> {
        let (negated, judged) = match self {
            Part::Term { column, negated, check } => {
                (*negated, check.judge(row.get(*column).unwrap_or(&Value::Null)))
            }
            Part::Group { negated, join, members } => {
                // `false` decides an `and`, `true` an `or`; otherwise one unknown member makes the
                // result unknown.
                let decisive = *join == Join::Or;
                let mut judged = Some(!decisive);
                for member in members {
                    match member.judge(row) {
                        Some(said) if said == decisive => {
                            judged = Some(decisive);
                            break;
                        }
                        None => judged = None,
                        Some(_) => {}
                    }
                }
                (*negated, judged)
            }
        };
        judged.map(|judged| judged != negated)
    }

    fn columns(&self, into: &mut Vec<usize>) {
        match self {
            Part::Term { column, .. } => into.push(*column),
            Part::Group { members, .. } => members.iter().for_each(|member| member.columns(into)),
        }
    }

    fn required(&self) -> Option<(usize, &[Value])> {
        match self {
            Part::Term { column, negated: false, check: Check::Compare(Compare::Eq, value) } => {
                Some((*column, std::slice::from_ref(value)))
            }
            Part::Term { column, negated: false, check: Check::In(values) } => Some((*column, values)),
            _ => None,
        }
    }
}

impl Check {
    fn judge(&self, value: &Value) -> Option<bool> {
        match self {
            Check::Compare(compare, literal) => {
                let order = value.compare(literal)?;
                Some(match compare {
                    Compare::Eq => order == Ordering::Equal,
                    Compare::Neq => order != Ordering::Equal,
                    Compare::Gt => order == Ordering::Greater,
                    Compare::Gte => order != Ordering::Less,
                    Compare::Lt => order == Ordering::Less,
                    Compare::Lte => order != Ordering::Greater,
                    Compare::Like | Compare::Ilike => return None,
                })
            }
            Check::Like(pattern) => match value {
                Value::Text(text) => Some(pattern.matches(text)),
                _ => None,
            },
            // PostgREST translates an empty list to `= ANY ('{}')`, which is false for null too.
            Check::In(literals) if literals.is_empty() => Some(false),
            Check::In(literals) => match value {
                Value::Null => None,
                value => Some(literals.iter().any(|literal| value.compare(literal) == Some(Ordering::Equal))),
            },
            Check::Is(is) => Some(match is {
                Is::Null | Is::Unknown => *value == Value::Null,
                Is::NotNull => *value != Value::Null,
                Is::True => *value == Value::Bool(true),
                Is::False => *value == Value::Bool(false),
            }),
        }
    }
}

/// Resolves the columns of a filter and parses its values.
pub(super) fn bind(filter: &Filter, columns: &[Column<'_>]) -> Result<Predicate, FilterError> {
    let mut binder = Binder { columns, spots: filter.spots.iter() };
    Ok(Predicate(binder.node(&filter.root)?))
}

struct Binder<'a> {
    columns: &'a [Column<'a>],
    /// The positions of the remaining terms.
    spots: std::slice::Iter<'a, Spot>,
}

impl Binder<'_> {
    fn node(&mut self, node: &Node) -> Result<Part, FilterError> {
        match node {
            Node::Term(term) => self.term(term),
            Node::Group(Group { negated, join, members }) => {
                let members: Result<Vec<Part>, FilterError> =
                    members.iter().map(|member| self.node(member)).collect();
                Ok(Part::Group { negated: *negated, join: *join, members: members? })
            }
        }
    }

    fn term(&mut self, term: &Term) -> Result<Part, FilterError> {
        // There is one position per term, in the same order.
        let (column_at, operator_at, values_at) = match self.spots.next() {
            Some(spot) => (spot.column, spot.operator, spot.values.as_slice()),
            None => (0, 0, [].as_slice()),
        };
        let Some(column) = self.columns.iter().position(|column| column.name == term.column) else {
            let expected = "expected a column of the table that this subscription may see";
            return Err(FilterError { fault: FilterFault::BadColumn, at: column_at, expected });
        };
        let kind = self.columns[column].kind;
        let unfit = |expected| Err(FilterError { fault: FilterFault::BadFilter, at: operator_at, expected });
        let literal = |text: &str, at: Option<&usize>| {
            Value::parse(text, kind).ok_or(FilterError {
                fault: FilterFault::BadLiteral,
                at: at.copied().unwrap_or(operator_at),
                expected: kind.expected(),
            })
        };
        let check = match &term.test {
            Test::Is(is @ (Is::Null | Is::NotNull)) => Check::Is(*is),
            _ if kind == Type::Other => return unfit(kind.expected()),
            Test::Is(_) if kind != Type::Bool => {
                return unfit("expected is.null or is.not_null: only a boolean is true, false or unknown");
            }
            Test::Is(is) => Check::Is(*is),
            Test::Compare(compare @ (Compare::Like | Compare::Ilike), pattern) => {
                if kind != Type::Text {
                    return unfit("expected an operator other than like and ilike, which only texts have");
                }
                Check::Like(Pattern::parse(pattern, *compare == Compare::Ilike).ok_or(FilterError {
                    fault: FilterFault::BadLiteral,
                    at: values_at.first().copied().unwrap_or(operator_at),
                    expected: "expected a pattern that does not end with a single backslash",
                })?)
            }
            Test::Compare(compare, text) => Check::Compare(*compare, literal(text, values_at.first())?),
            Test::In(texts) => {
                let values: Result<Vec<Value>, FilterError> = texts
                    .iter()
                    .enumerate()
                    .map(|(index, text)| literal(text, values_at.get(index)))
                    .collect();
                Check::In(values?)
            }
        };
        Ok(Part::Term { column, negated: term.negated, check })
    }
}
