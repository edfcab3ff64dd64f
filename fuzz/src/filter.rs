//! Filters of live tables: any text is parsed or refused at a position inside it, and a parsed
//! filter survives encoding.

use tidewire_core::tables::filter::{
    Filter, MAX_BYTES, MAX_COLUMN, MAX_DEPTH, MAX_TERMS, MAX_VALUES, Node, Test,
};

/// Any text.
pub(crate) fn filter(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match Filter::parse(text) {
        Err(error) => assert!(text.is_char_boundary(error.at), "{error}"),
        Ok(filter) => {
            let mut terms = 0;
            within_limits(filter.root(), 0, &mut terms);
            assert!(text.len() <= MAX_BYTES && terms <= MAX_TERMS);
            let encoded = filter.encode();
            assert!(encoded.len() <= MAX_BYTES);
            let again = Filter::parse(&encoded);
            assert_eq!(again.as_ref(), Ok(&filter), "{encoded}");
            assert_eq!(again.map(|again| again.encode()), Ok(encoded));
        }
    }
}

fn within_limits(node: &Node, depth: usize, terms: &mut usize) {
    match node {
        Node::Term(term) => {
            *terms += 1;
            assert!((1..=MAX_COLUMN).contains(&term.column.len()));
            assert!(term.column.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_$".contains(&byte)));
            assert!(!term.column.starts_with(|first: char| first == '$' || first.is_ascii_digit()));
            if let Test::In(values) = &term.test {
                assert!(values.len() <= MAX_VALUES);
            }
        }
        Node::Group(group) => {
            // The outermost group may be the one that stands for `&`.
            assert!(depth <= MAX_DEPTH && group.members.len() > 1);
            for member in &group.members {
                within_limits(member, depth + 1, terms);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outermost_and_is_no_level() {
        let nested = "and=(or(and(or(a.eq.1,b.eq.1),c.eq.1),d.eq.1),e.eq.1)&f=eq.1";
        filter(nested.as_bytes());
        assert!(Filter::parse(nested).is_ok());
    }
}
