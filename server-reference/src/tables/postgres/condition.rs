//! Filters as SQL conditions, so that the database sends fewer rows. Every row that the filter
//! matches meets the condition. The condition may let more rows through; the core filters them
//! exactly.

use super::{quoted_name, quoted_text};
use tidewire_core::tables::filter::{Compare, Filter, Group, Is, Join, Node, Term, Test};
use tidewire_core::tables::{Type, Value};
use tidewire_server_core::tables::Schema;

/// The condition for a filter; `true` if it has no counterpart in SQL.
pub(super) fn condition(filter: &Filter, schema: &Schema) -> String {
    node(filter.root(), schema, false).unwrap_or_else(|| String::from("true"))
}

/// A node's condition, if it has one. `negated` says whether the node is inside a `not`: there a
/// weaker condition would exclude rows.
fn node(of: &Node, schema: &Schema, negated: bool) -> Option<String> {
    match of {
        Node::Term(term) => {
            let negated = negated != term.negated;
            let test = test(term, schema, negated)?;
            Some(if term.negated { format!("not ({test})") } else { test })
        }
        Node::Group(Group { negated: not, join, members }) => {
            let negated = negated != *not;
            let word = match join {
                Join::And => " and ",
                Join::Or => " or ",
            };
            // Leaving out a member of an `and` lets more rows through, which is allowed; for an
            // `or` it is not. Inside a `not` it is the other way round.
            let may_leave_out = (*join == Join::And) != negated;
            let mut written = Vec::new();
            for member in members {
                match node(member, schema, negated) {
                    Some(condition) => written.push(condition),
                    None if may_leave_out => {}
                    None => return None,
                }
            }
            if written.is_empty() {
                return None;
            }
            let joined = format!("({})", written.join(word));
            Some(if *not { format!("not {joined}") } else { joined })
        }
    }
}

fn test(term: &Term, schema: &Schema, negated: bool) -> Option<String> {
    let column = schema.columns.iter().find(|column| column.name == term.column)?;
    let name = quoted_name(&column.name);
    let literal = |text: &String| {
        // PostgreSQL accepts every literal that the core accepts, and reads the same value.
        Value::parse(text, column.kind)?;
        Some(format!("{}::{}", quoted_text(text), column.declared))
    };
    // Equality of bytes does not depend on the collation, and without `collate` an index can be
    // used. Inequality does depend on it.
    let bytes = if column.kind == Type::Text { " collate \"C\"" } else { "" };
    let equal = if negated { bytes } else { "" };
    match &term.test {
        Test::Is(is) => Some(match is {
            Is::Null | Is::Unknown => format!("{name} is null"),
            Is::NotNull => format!("{name} is not null"),
            Is::True if column.kind == Type::Bool => format!("{name} is true"),
            Is::False if column.kind == Type::Bool => format!("{name} is false"),
            Is::True | Is::False => return None,
        }),
        _ if column.kind == Type::Other => None,
        Test::In(texts) => {
            let literals: Option<Vec<String>> = texts.iter().map(literal).collect();
            Some(format!("{name}{equal} = any (array[{}]::{}[])", literals?.join(", "), column.declared))
        }
        Test::Compare(compare, text) => {
            let (operator, collate) = match compare {
                Compare::Eq => ("=", equal),
                Compare::Neq => ("<>", bytes),
                Compare::Gt => (">", bytes),
                Compare::Gte => (">=", bytes),
                Compare::Lt => ("<", bytes),
                Compare::Lte => ("<=", bytes),
                Compare::Like => ("like", bytes),
                Compare::Ilike => ("ilike", bytes),
            };
            Some(format!("{name}{collate} {operator} {}", literal(text)?))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidewire_server_core::tables::Column;

    fn narrowed(text: &str) -> String {
        let column = |name: &str, declared: &str| Column {
            name: name.into(),
            declared: declared.into(),
            kind: Type::named(declared),
            tracked: true,
        };
        let columns = vec![
            column("id", "bigint"),
            column("Na\"me", "text"),
            column("te", "text"),
            column("js", "jsonb"),
        ];
        condition(&Filter::parse(text).expect(text), &Schema { columns, key: vec![0] })
    }

    #[test]
    fn values_are_quoted_and_typed() {
        assert_eq!(narrowed("id=eq.7"), r#""id" = '7'::bigint"#);
        assert_eq!(narrowed("te=like.o'*"), r#""te" collate "C" like 'o''%'::text"#);
        assert_eq!(narrowed("te=in.(a,b)"), r#""te" = any (array['a'::text, 'b'::text]::text[])"#);
        assert_eq!(narrowed("te=not.eq.a"), r#"not ("te" collate "C" = 'a'::text)"#);
        assert_eq!(
            narrowed("not.or=(te.not.eq.a,id.is.null)"),
            r#"not (not ("te" = 'a'::text) or "id" is null)"#
        );
    }

    #[test]
    fn what_has_no_counterpart_is_left_out_only_where_that_gives_more_rows() {
        assert_eq!(narrowed("id=eq.7&other=eq.1"), r#"("id" = '7'::bigint)"#);
        assert_eq!(narrowed("or=(id.eq.7,other.eq.1)"), "true");
        assert_eq!(narrowed("not.and=(id.eq.7,other.eq.1)"), "true");
        assert_eq!(narrowed("not.or=(id.eq.7,other.eq.1)"), r#"not ("id" = '7'::bigint)"#);
        assert_eq!(narrowed("id=eq.seven"), "true");
        assert_eq!(narrowed("js=eq.1"), "true");
    }
}
