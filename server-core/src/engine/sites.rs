//! Writes sites, with effect on the connections of their guests (protocol section 7).

use super::Engine;
use crate::lock::calls_out;
use crate::store::{Account, Done, Outcome, Site, Write};
use std::sync::Arc;

impl Engine {
    /// Stores a site. Before `done` is called it has taken effect: guests on pages that it no longer
    /// has are closed.
    pub fn put_site(self: &Arc<Self>, site: Site, done: Done) {
        let engine = self.clone();
        let stored = site.clone();
        calls_out();
        self.store.write(
            Write::PutSite(site),
            Box::new(move |result| {
                if matches!(result, Ok(Outcome::Done)) {
                    engine.access.sites.put(stored);
                    engine.connections.enforce_all(&engine.access);
                }
                done(result);
            }),
        );
    }

    /// Deletes a site of an account. Before `done` is called its guests' connections are closed.
    pub fn delete_site(self: &Arc<Self>, key: String, account: Account, done: Done) {
        let engine = self.clone();
        let delete = Write::DeleteSite { key: key.clone(), account };
        calls_out();
        self.store.write(
            delete,
            Box::new(move |result| {
                if matches!(result, Ok(Outcome::Done)) {
                    engine.access.sites.remove(&key);
                    engine.connections.enforce_all(&engine.access);
                }
                done(result);
            }),
        );
    }
}
