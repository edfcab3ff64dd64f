//! What stands in for live tables in a build without them: nothing.

use super::Client;
use crate::io::ConnId;
use crate::time::{Now, Time};

#[allow(clippy::unused_self, reason = "with live tables they use it")]
impl Client {
    pub(super) fn table_frame(&mut self, _: Now, _: ConnId, _: &str) {}

    pub(super) fn tables_connected(&mut self) {}

    pub(super) fn tables_disconnected(&mut self) {}

    pub(super) fn forget_tables(&mut self) {}

    pub(super) fn tick_tables(&mut self, _: Now) {}

    pub(super) fn flush_tables(&mut self, _: Now) {}

    pub(super) fn tables_deadline(&self) -> Option<Time> {
        None
    }
}
