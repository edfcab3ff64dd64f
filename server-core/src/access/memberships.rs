//! The memberships of users who are connected: in which channels they are members.
//!
//! A user's are read when their first connection says hello, and follow the writes from then on.

use crate::lock::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use tidewire_core::wire::ChannelName;

/// The memberships of connected users ([`crate::Identity::key`]).
#[derive(Default)]
pub struct Memberships {
    by_user: Mutex<BTreeMap<String, Known>>,
}

#[derive(Default)]
struct Known {
    /// How many connections use this.
    uses: usize,
    /// Whether what was stored is known. Until then only the changes since are.
    loaded: bool,
    channels: BTreeSet<ChannelName>,
    /// Memberships that ended before what was stored was known.
    ended: BTreeSet<ChannelName>,
}

impl Memberships {
    /// A connection of the user begins. True if the user's memberships have to be read.
    pub(crate) fn enter(&self, user: &str) -> bool {
        let mut by_user = self.by_user.lock();
        let known = by_user.entry(user.to_owned()).or_default();
        known.uses += 1;
        !known.loaded
    }

    /// A connection of the user has ended.
    pub(crate) fn leave(&self, user: &str) {
        let mut by_user = self.by_user.lock();
        if let Some(known) = by_user.get_mut(user) {
            known.uses -= 1;
            if known.uses == 0 {
                by_user.remove(user);
            }
        }
    }

    /// What was stored, read after [`Memberships::enter`]. Changes since then count more.
    pub(crate) fn loaded(&self, user: &str, stored: Vec<ChannelName>) {
        let mut by_user = self.by_user.lock();
        if let Some(known) = by_user.get_mut(user).filter(|known| !known.loaded) {
            known.loaded = true;
            let ended = std::mem::take(&mut known.ended);
            known.channels.extend(stored.into_iter().filter(|channel| !ended.contains(channel)));
        }
    }

    /// The user is a member of the channel from now on, or no longer.
    pub(crate) fn set(&self, user: &str, channel: &ChannelName, member: bool) {
        let mut by_user = self.by_user.lock();
        let Some(known) = by_user.get_mut(user) else { return };
        if member {
            known.channels.insert(channel.clone());
            known.ended.remove(channel);
        } else {
            known.channels.remove(channel);
            if !known.loaded {
                known.ended.insert(channel.clone());
            }
        }
    }

    /// Whether a connected user is a member of the channel.
    pub(crate) fn has(&self, user: &str, channel: &ChannelName) -> bool {
        self.by_user.lock().get(user).is_some_and(|known| known.channels.contains(channel))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> ChannelName {
        ChannelName::parse(name).unwrap()
    }

    #[test]
    fn what_changes_while_the_rest_is_read_counts_more() {
        let memberships = Memberships::default();
        assert!(memberships.enter("ada"));
        for (channel, member) in
            [("a", true), ("b", false), ("c", false), ("c", true), ("d", true), ("d", false)]
        {
            memberships.set("ada", &name(channel), member);
        }
        memberships.loaded("ada", vec![name("b"), name("c"), name("d"), name("e")]);
        let has = |channel| memberships.has("ada", &name(channel));
        assert_eq!(["a", "b", "c", "d", "e", "f"].map(has), [true, false, true, false, true, false]);
        // A second reader was slower: what it read is old.
        memberships.set("ada", &name("e"), false);
        memberships.loaded("ada", vec![name("e")]);
        assert!(!has("e"));
    }

    #[test]
    fn they_are_known_as_long_as_a_connection_is_there() {
        let memberships = Memberships::default();
        assert!(memberships.enter("ada") && memberships.enter("ada"));
        memberships.loaded("ada", vec![name("a")]);
        assert!(!memberships.enter("ada"), "known");
        for _ in 0..3 {
            assert!(memberships.has("ada", &name("a")));
            memberships.leave("ada");
        }
        assert!(memberships.by_user.lock().is_empty());
        memberships.set("ada", &name("a"), true);
        assert!(!memberships.has("ada", &name("a")), "nobody is there");
    }
}
