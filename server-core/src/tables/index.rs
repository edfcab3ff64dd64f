//! An index of groups by the values that their filters require. It finds the groups that a row may
//! concern without matching each of them.

use super::matching::{Matcher, RowView};
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{Hash, Hasher};
use tidewire_core::tables::Value;

/// The groups of one table.
#[derive(Default)]
pub(super) struct Index {
    /// Groups by a column and the value that it must have.
    columns: BTreeMap<usize, HashMap<Key, Members>>,
    /// Groups that require no such value.
    rest: BTreeSet<u64>,
}

/// A group that a row may belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Member {
    pub(super) group: u64,
    /// The row does belong: the group has no other condition.
    pub(super) sure: bool,
}

/// Groups that require the same value, ascending; usually one.
enum Members {
    One(Member),
    Several(Vec<Member>),
}

impl Members {
    fn as_slice(&self) -> &[Member] {
        match self {
            Members::One(only) => std::slice::from_ref(only),
            Members::Several(all) => all,
        }
    }

    fn add(&mut self, member: Member) {
        if let Members::One(only) = self {
            *self = Members::Several(vec![*only]);
        }
        if let Members::Several(all) = self
            && let Err(place) = all.binary_search(&member)
        {
            all.insert(place, member);
        }
    }

    fn remove(&mut self, group: u64) {
        if let Members::One(only) = self {
            *self = Members::Several(vec![*only]);
        }
        if let Members::Several(all) = self
            && let Ok(place) = all.binary_search_by_key(&group, |member| member.group)
        {
            all.remove(place);
        }
    }
}

/// A value that is compared as filters compare it: `1.0` and `1.00`, both zeros, and `NaN` with
/// itself are equal.
struct Key(Value);

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        // All values of a column have its type, and null or opaque values are not looked up.
        self.0.compare(&other.0) == Some(Ordering::Equal)
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        match &self.0 {
            Value::Null | Value::Opaque => {}
            Value::Bool(value) => value.hash(hasher),
            Value::Int(value) | Value::Moment(value) => value.hash(hasher),
            Value::Numeric(value) => value.hash(hasher),
            Value::Float(value) if value.is_nan() => f64::NAN.to_bits().hash(hasher),
            // Adding zero turns the negative zero into the positive one.
            Value::Float(value) => (value + 0.0).to_bits().hash(hasher),
            Value::Text(value) => value.hash(hasher),
            Value::Uuid(value) => value.hash(hasher),
            Value::Bytes(value) => value.hash(hasher),
        }
    }
}

impl Index {
    /// The groups that must be matched with every row.
    pub(super) fn unindexed(&self) -> &BTreeSet<u64> {
        &self.rest
    }

    pub(super) fn add(&mut self, group: u64, matcher: &Matcher) {
        match matcher.indexable() {
            Some((column, values)) => {
                let places = self.columns.entry(column).or_default();
                let member = Member { group, sure: matcher.is_equality() };
                for value in values {
                    let members = places.entry(Key(value));
                    members.and_modify(|members| members.add(member)).or_insert(Members::One(member));
                }
            }
            None => {
                self.rest.insert(group);
            }
        }
    }

    pub(super) fn remove(&mut self, group: u64, matcher: &Matcher) {
        let Some((column, values)) = matcher.indexable() else {
            self.rest.remove(&group);
            return;
        };
        let Some(places) = self.columns.get_mut(&column) else { return };
        for value in values {
            let key = Key(value);
            if let Some(members) = places.get_mut(&key) {
                members.remove(group);
                if members.as_slice().is_empty() {
                    places.remove(&key);
                }
            }
        }
        if places.is_empty() {
            self.columns.remove(&column);
        }
    }

    /// Calls `found` with the groups that the row may belong to; a group may come twice.
    pub(super) fn find(&self, row: &mut RowView<'_>, mut found: impl FnMut(Member)) {
        let unsure = |group: u64| Member { group, sure: false };
        self.rest.iter().for_each(|group| found(unsure(*group)));
        for (column, places) in &self.columns {
            match row.value(*column) {
                Some(Value::Null | Value::Opaque) => {}
                Some(value) => {
                    let members = places.get(&Key(value.clone()));
                    members.into_iter().flat_map(Members::as_slice).for_each(|member| found(*member));
                }
                // The value is not known, so all groups of the column are found; matching then says
                // that it does not know.
                None => {
                    let members = places.values().flat_map(Members::as_slice);
                    members.for_each(|member| found(unsure(member.group)));
                }
            }
        }
    }
}
