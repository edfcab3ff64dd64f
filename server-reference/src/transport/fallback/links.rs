//! All connections over plain requests, by their secret ids.

use super::link::Link;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;

/// How long an id is, in bytes.
const ID_BYTES: usize = 16;

/// The connections, with those that have ended but whose client has not fetched the close.
pub(crate) struct Links {
    most: usize,
    by_id: Mutex<HashMap<String, Arc<Link>>>,
}

impl Links {
    /// No connections; at most `most` are kept.
    pub(crate) fn new(most: usize) -> Links {
        Links { most, by_id: Mutex::default() }
    }

    pub(super) fn is_full(&self) -> bool {
        self.by_id.lock().len() >= self.most
    }

    pub(super) fn find(&self, id: &str) -> Option<Arc<Link>> {
        self.by_id.lock().get(id).cloned()
    }

    /// Adds a connection under a new id; `None` if there are too many, or no random numbers.
    pub(super) fn add(&self, link: &Arc<Link>) -> Option<String> {
        let mut bytes = [0u8; ID_BYTES];
        getrandom::fill(&mut bytes).ok()?;
        let id = URL_SAFE_NO_PAD.encode(bytes);
        let mut by_id = self.by_id.lock();
        if by_id.len() >= self.most {
            return None;
        }
        by_id.insert(id.clone(), link.clone());
        Some(id)
    }

    pub(super) fn remove(&self, id: &str) {
        self.by_id.lock().remove(id);
    }
}
