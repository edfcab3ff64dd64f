//! A sorted set of ids, each with an offset.

use crate::wire::Offset;

/// Ids, each with an offset; finding and adding take O(log n) comparisons. Ids of version 7 rise
/// with time, so nearly every new one belongs at the end, which takes one comparison and moves
/// nothing.
#[derive(Default)]
pub(crate) struct Ids {
    list: Vec<(String, Offset)>,
}

impl Ids {
    /// The offset of an id, if it is there.
    pub(crate) fn get(&self, id: &str) -> Option<Offset> {
        self.place(id).ok().map(|at| self.list[at].1)
    }

    /// Adds an id, or gives it another offset.
    pub(crate) fn set(&mut self, id: &str, offset: Offset) {
        match self.place(id) {
            Ok(at) => self.list[at].1 = offset,
            Err(at) => self.list.insert(at, (id.to_owned(), offset)),
        }
    }

    /// Removes an id.
    pub(crate) fn remove(&mut self, id: &str) {
        if let Ok(at) = self.place(id) {
            self.list.remove(at);
        }
    }

    /// Forgets the ids with a lower offset. They are removed together, once there are twice as many
    /// ids as needed.
    pub(crate) fn forget_before(&mut self, offset: Offset, of_use: usize) {
        if self.list.len() > 2 * of_use {
            self.list.retain(|(_, other)| *other >= offset);
        }
    }

    /// Removes all ids.
    pub(crate) fn clear(&mut self) {
        self.list.clear();
    }

    /// The index of an id, or where it would be inserted.
    fn place(&self, id: &str) -> Result<usize, usize> {
        if self.list.last().is_none_or(|(last, _)| last.as_str() < id) {
            return Err(self.list.len());
        }
        self.list.binary_search_by(|(other, _)| other.as_str().cmp(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_found_in_whatever_order_they_came() {
        let mut ids = Ids::default();
        for (offset, id) in ["m", "a", "z", "b", "y", ""].into_iter().enumerate() {
            assert_eq!(ids.get(id), None);
            ids.set(id, Offset(offset as u64));
        }
        assert_eq!(
            ["", "a", "b", "m", "y", "z"].map(|id| ids.get(id)),
            [5, 1, 3, 0, 4, 2].map(|at| Some(Offset(at)))
        );
        ids.set("a", Offset(9));
        ids.remove("m");
        ids.remove("n");
        assert_eq!(["a", "m", "n", "zz"].map(|id| ids.get(id)), [Some(Offset(9)), None, None, None]);
    }

    #[test]
    fn what_is_of_no_use_is_forgotten_when_it_is_as_much_as_the_rest() {
        let mut ids = Ids::default();
        for offset in 0..20 {
            ids.set(&offset.to_string(), Offset(offset));
            ids.forget_before(Offset(offset).minus(4), 5);
            assert!(ids.list.len() <= 10);
            assert!(
                (offset.saturating_sub(4)..=offset)
                    .all(|known| ids.get(&known.to_string()) == Some(Offset(known)))
            );
        }
    }
}
