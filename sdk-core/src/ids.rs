//! A set of ids in their order, so that one is found without looking at all.

/// Ids, each with an offset: found and added with O(log n) comparisons. Ids of version 7 rise with
/// time, so that nearly all are added at the end, where nothing has to be moved.
#[derive(Default)]
pub(crate) struct Ids {
    list: Vec<(String, u64)>,
}

impl Ids {
    /// The offset of an id, if it is there.
    pub(crate) fn get(&self, id: &str) -> Option<u64> {
        self.place(id).ok().map(|at| self.list[at].1)
    }

    /// Adds an id, or gives it another offset.
    pub(crate) fn set(&mut self, id: &str, offset: u64) {
        match self.place(id) {
            Ok(at) => self.list[at].1 = offset,
            Err(at) => self.list.insert(at, (id.to_owned(), offset)),
        }
    }

    /// Forgets an id.
    pub(crate) fn remove(&mut self, id: &str) {
        if let Ok(at) = self.place(id) {
            self.list.remove(at);
        }
    }

    /// Forgets the ids with a lower offset, all at once when there are twice as many as are of use.
    pub(crate) fn forget_before(&mut self, offset: u64, of_use: usize) {
        if self.list.len() > 2 * of_use {
            self.list.retain(|(_, other)| *other >= offset);
        }
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        self.list.clear();
    }

    /// Where an id stands, or where it belongs.
    fn place(&self, id: &str) -> Result<usize, usize> {
        self.list.binary_search_by(|(other, _)| other.as_str().cmp(id))
    }
}
