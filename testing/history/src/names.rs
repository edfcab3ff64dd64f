//! Numbers for names, so that a history of millions of events keeps each name once.

use std::collections::HashMap;
use std::sync::Arc;

/// Names in the order of their first use.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    by_name: HashMap<Arc<str>, u32>,
    names: Vec<Arc<str>>,
}

impl Names {
    /// The name's number, and whether it is new.
    pub(crate) fn number(&mut self, name: &str) -> (usize, bool) {
        if let Some(number) = self.by_name.get(name) {
            return (*number as usize, false);
        }
        let (number, name) = (self.names.len(), Arc::<str>::from(name));
        self.names.push(Arc::clone(&name));
        self.by_name.insert(name, u32::try_from(number).expect("fewer than 2^32 names"));
        (number, true)
    }

    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).map(|number| *number as usize)
    }

    pub(crate) fn name(&self, number: usize) -> &str {
        &self.names[number]
    }
}
