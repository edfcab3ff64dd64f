//! Repairs the order of a row's changes, so that each begins with the state in which the one before
//! it ended.
//!
//! Our triggers log a row when they run. Statements of the application's own triggers are nested,
//! and may have run before ours or between ours. So each logged new row is one that the table had,
//! and the last one is the final row, but old rows may be wrong. Rows that one transaction changed
//! more than once are repaired here, which is possible because a transaction is always read as a
//! whole.

use std::collections::{BTreeMap, HashMap, HashSet};
use tidewire_server_core::tables::{Cell, Row, Schema};

/// A change of a row of a table.
#[derive(Debug, Clone)]
pub(super) struct Link {
    pub(super) table: usize,
    pub(super) place: u64,
    pub(super) old: Option<Row>,
    pub(super) new: Option<Row>,
}

type Key = (usize, Vec<Cell>);

/// The changes in the order of their places, with old rows repaired. An update that changes a key
/// may become a delete and an insert.
pub(super) fn mended<'a>(links: Vec<Link>, schema_of: impl Fn(usize) -> Option<&'a Schema>) -> Vec<Link> {
    let key_of = |table: usize, row: &Option<Row>| -> Option<Key> {
        let (schema, row) = (schema_of(table)?, row.as_ref()?);
        Some((table, schema.key.iter().filter_map(|at| row.get(*at)).cloned().collect()))
    };
    if links.len() < 2 || are_chains(&links, &key_of) {
        return links;
    }
    let mut by_key: BTreeMap<usize, HashMap<Key, Vec<Link>>> = BTreeMap::new();
    for Link { table, place, old, new } in links {
        let by_key = by_key.entry(table).or_default();
        match (key_of(table, &old), key_of(table, &new)) {
            (Some(was), Some(is)) if was != is => {
                by_key.entry(was).or_default().push(Link { table, place, old, new: None });
                by_key.entry(is).or_default().push(Link { table, place, old: None, new });
            }
            (Some(key), _) | (None, Some(key)) => {
                by_key.entry(key).or_default().push(Link { table, place, old, new });
            }
            (None, None) => {}
        }
    }
    let chains = by_key.into_values().flat_map(HashMap::into_values);
    let mut mended: Vec<Link> = chains.flat_map(chain).collect();
    // The delete of an update that changes a key comes before its insert.
    mended.sort_by_key(|link| (link.place, link.new.is_some()));
    mended
}

fn are_chains(links: &[Link], key_of: &impl Fn(usize, &Option<Row>) -> Option<Key>) -> bool {
    let mut states: HashMap<Key, Option<&Row>> = HashMap::new();
    for Link { table, old, new, .. } in links {
        let (was, is) = (key_of(*table, old), key_of(*table, new));
        let begins = |key: &Option<Key>, row: Option<&Row>| {
            let state = key.as_ref().and_then(|key| states.get(key));
            state.is_none_or(|state| *state == row)
        };
        if !begins(&was, old.as_ref()) || is != was && !begins(&is, None) {
            return false;
        }
        if let Some(key) = was {
            states.insert(key, None);
        }
        if let Some(key) = is {
            states.insert(key, new.as_ref());
        }
    }
    true
}

/// Repairs the changes of one row. A change that does not begin with the state in which the one
/// before it ended is of a statement whose nested statements were logged first. If its old row did
/// not occur before, and no later change begins with the present state, then its old row is the
/// state before all changes.
fn chain(mut links: Vec<Link>) -> Vec<Link> {
    let Some(mut first) = links.first().map(|link| link.old.clone()) else { return links };
    let mut seen: HashSet<Option<Row>> = HashSet::from([first.clone()]);
    let mut state: Option<Option<Row>> = None;
    for (at, link) in links.iter().enumerate() {
        if let Some(state) = &state
            && *state != link.old
            && !seen.contains(&link.old)
            && !links.iter().skip(at + 1).any(|around| around.old == *state)
        {
            first.clone_from(&link.old);
        }
        seen.insert(link.old.clone());
        seen.insert(link.new.clone());
        state = Some(link.new.clone());
    }
    let mut state = first;
    links.retain_mut(|link| {
        let as_logged = link.old == state;
        link.old = std::mem::replace(&mut state, link.new.clone());
        // Leaves out a change that the repair has made empty.
        as_logged && link.old.is_some() || link.old != link.new
    });
    links
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::columns;

    /// Changes of the row with key 1. `-` stands for no row, otherwise the value of its other
    /// column.
    fn links(text: &str) -> Vec<Link> {
        let row = |text: &str| -> Option<Row> {
            (text != "-").then(|| Row::from([Cell::Text("1".into()), Cell::Text(text.into())]))
        };
        let links = text.split(' ').enumerate().filter_map(|(at, link)| {
            let (old, new) = link.split_once('>')?;
            Some(Link { table: 0, place: at as u64, old: row(old), new: row(new) })
        });
        links.collect()
    }

    fn shown(links: &[Link]) -> String {
        let row = |row: &Option<Row>| match row.as_deref() {
            Some([_, Cell::Text(text)]) => text.to_string(),
            _ => "-".to_owned(),
        };
        let links = links.iter().map(|link| format!("{}>{}", row(&link.old), row(&link.new)));
        links.collect::<Vec<String>>().join(" ")
    }

    #[test]
    fn what_nested_statements_logged_becomes_a_chain() {
        let columns = vec![columns::column("id", ""), columns::column("a", "")];
        let schema = Schema { columns, key: vec![0] };
        for (logged, expected) in [
            ("a>b b>c", "a>b b>c"),
            ("a>a a>a", "a>a a>a"),
            // Nested in an update, before our trigger: both log the new row that the table has by
            // then.
            ("b>c a>c", "a>c"),
            ("x>a b>c a>c", "x>a a>c"),
            // The nested update ran before the one around it.
            ("a>b a>c", "a>b b>c"),
            // Nested in an insert.
            ("b>c ->c", "->c"),
            ("x>- b>c ->c", "x>- ->c"),
            ("b>- a>-", "a>-"),
            ("a>- ->a a>b", "a>- ->a a>b"),
            ("a>- a>b", "a>- ->b"),
        ] {
            let mended = mended(links(logged), |_| Some(&schema));
            assert_eq!(shown(&mended), expected, "{logged}");
        }
    }
}
