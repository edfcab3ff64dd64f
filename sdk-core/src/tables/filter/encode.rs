//! The canonical text of a filter. It is never longer than any other text without sugar for the
//! same filter.

use super::{Compare, Group, Is, Join, Node, Place, Term, Test, is_space};

/// The text of a whole filter.
pub(super) fn filter(root: &Node) -> String {
    let mut out = String::new();
    match root {
        Node::Group(Group { negated: false, join: Join::And, members }) => {
            for (at, member) in members.iter().enumerate() {
                if at > 0 {
                    out.push('&');
                }
                node(&mut out, member, Place::Outside);
            }
        }
        root => node(&mut out, root, Place::Outside),
    }
    out
}

fn node(out: &mut String, node: &Node, place: Place) {
    match node {
        Node::Term(one) => term(out, one, place),
        Node::Group(several) => group(out, several, place),
    }
}

/// The recursion is limited by [`MAX_DEPTH`](super::MAX_DEPTH).
fn group(out: &mut String, group: &Group, place: Place) {
    if group.negated {
        out.push_str("not.");
    }
    out.push_str(match group.join {
        Join::And => "and",
        Join::Or => "or",
    });
    if place == Place::Outside {
        out.push('=');
    }
    out.push('(');
    for (at, member) in group.members.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        node(out, member, Place::Member);
    }
    out.push(')');
}

fn term(out: &mut String, term: &Term, place: Place) {
    out.push_str(&term.column);
    out.push(if place == Place::Outside { '=' } else { '.' });
    if term.negated {
        out.push_str("not.");
    }
    match &term.test {
        Test::Compare(compare, text) => {
            out.push_str(name(&Compare::ALL, *compare));
            out.push('.');
            value(out, text, place);
        }
        Test::In(values) => {
            out.push_str("in.(");
            if let [only] = values.as_slice()
                && only.is_empty()
            {
                out.push_str("\"\"");
            } else {
                for (at, text) in values.iter().enumerate() {
                    if at > 0 {
                        out.push(',');
                    }
                    value(out, text, Place::List);
                }
            }
            out.push(')');
        }
        Test::Is(is) => {
            out.push_str("is.");
            out.push_str(name(&Is::ALL, *is));
        }
    }
}

fn name<T: PartialEq>(all: &[(&'static str, T)], wanted: T) -> &'static str {
    all.iter().find(|(_, one)| *one == wanted).map_or("", |(name, _)| name)
}

fn value(out: &mut String, text: &str, place: Place) {
    if !needs_quotes(text, place) {
        out.push_str(text);
        return;
    }
    out.push('"');
    for char in text.chars() {
        if matches!(char, '"' | '\\') {
            out.push('\\');
        }
        out.push(char);
    }
    out.push('"');
}

fn needs_quotes(text: &str, place: Place) -> bool {
    let bytes = text.as_bytes();
    let first = bytes.first().copied().unwrap_or(0);
    is_space(first)
        || bytes.last().copied().is_some_and(is_space)
        || first == b'"'
        || first == b'{' && place == Place::Member
        || bytes.iter().any(|byte| place.ends_at(*byte))
}
