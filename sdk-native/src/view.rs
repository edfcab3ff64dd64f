//! What is followed of channels, in the hub: one view for each channel that somebody watches.

use std::collections::{BTreeMap, BTreeSet};

use tidewire_core::wire::{ChannelName, User};
use tokio::sync::watch;

use crate::core::Core;

/// What is followed of one channel: who is there, or how far it was read.
pub(crate) trait View {
    /// What watchers see.
    type State: Clone + Default + PartialEq + Send + Sync + 'static;
    /// What the core tells when it changes.
    type News;

    /// The view as the core has it.
    fn new(channel: &str, core: &Core) -> Self;

    /// Takes what changed, for the next state.
    fn take(&mut self, news: Self::News);

    /// The state after that, for a client whose user is `me`.
    fn state(&mut self, me: Option<&User>) -> Self::State;
}

/// The views of all channels.
pub(crate) struct Views<V: View> {
    /// By the channel's name, as long as somebody watches.
    watched: BTreeMap<String, Watched<V>>,
    /// The channels that changed since the last publication.
    changed: BTreeSet<ChannelName>,
}

struct Watched<V: View> {
    view: V,
    watchers: BTreeSet<u64>,
    published: watch::Sender<V::State>,
}

impl<V: View> Default for Views<V> {
    fn default() -> Views<V> {
        Views { watched: BTreeMap::new(), changed: BTreeSet::new() }
    }
}

impl<V: View> Views<V> {
    /// Adds a watcher of a channel, which the core has added too.
    pub(crate) fn add(&mut self, channel: &str, watcher: u64, core: &Core) -> watch::Receiver<V::State> {
        let watched = self.watched.entry(channel.to_owned()).or_insert_with(|| {
            let mut view = V::new(channel, core);
            let published = watch::Sender::new(view.state(core.user()));
            Watched { view, watchers: BTreeSet::new(), published }
        });
        watched.watchers.insert(watcher);
        watched.published.subscribe()
    }

    /// Removes a watcher of a channel; false if it ended before, with the channel.
    pub(crate) fn remove(&mut self, channel: &str, watcher: u64) -> bool {
        let Some(watched) = self.watched.get_mut(channel) else { return false };
        let was = watched.watchers.remove(&watcher);
        if watched.watchers.is_empty() {
            self.watched.remove(channel);
        }
        was
    }

    /// Takes what changed of a channel, for the next publication.
    pub(crate) fn take(&mut self, channel: ChannelName, news: V::News) {
        if let Some(watched) = self.watched.get_mut(&*channel) {
            watched.view.take(news);
            self.changed.insert(channel);
        }
    }

    /// Publishes the states that changed, and returns them.
    pub(crate) fn publish(&mut self, me: Option<&User>) -> Vec<(ChannelName, V::State)> {
        let mut news = Vec::new();
        for channel in std::mem::take(&mut self.changed) {
            let Some(watched) = self.watched.get_mut(&*channel) else { continue };
            let state = watched.view.state(me);
            watched.published.send_if_modified(|known| {
                let is_new = *known != state;
                known.clone_from(&state);
                is_new
            });
            news.push((channel, state));
        }
        news
    }

    /// Ends the watchers of a channel that is no longer open: the core has dropped them with it.
    pub(crate) fn end(&mut self, channel: &str) {
        self.watched.remove(channel);
    }

    /// Ends all watchers.
    pub(crate) fn end_all(&mut self) {
        self.watched.clear();
    }
}
