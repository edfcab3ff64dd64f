//! Following something of a channel: a watcher in the core, and the states that it is shown.

use std::marker::PhantomData;
use std::sync::Arc;

use tidewire_core::Now;
use tokio::sync::watch;

use crate::core::Core;
use crate::error::SubscribeError;
use crate::hub::Hub;
use crate::shared::Shared;
use crate::view::{View, Views};

/// What can be followed, and where the core and the hub have it.
pub(crate) trait Followed: View + Sized + 'static {
    /// Adds a watcher in the core.
    fn watch(core: &mut Core, now: Now, channel: &str) -> Result<(), tidewire_core::SubscribeError>;

    /// Removes a watcher in the core.
    fn unwatch(core: &mut Core, now: Now, channel: &str);

    /// The hub's views of it.
    fn views(hub: &mut Hub) -> &mut Views<Self>;
}

/// Follows something of a channel. Dropping it ends that.
pub(crate) struct Follower<V: Followed> {
    watcher: Watcher<V>,
    states: States<V>,
}

/// A watcher in the core; dropping it removes the watcher.
pub(crate) struct Watcher<V: Followed> {
    shared: Arc<Shared>,
    channel: String,
    id: u64,
    of: PhantomData<fn() -> V>,
}

/// The states, the newest of them at a time.
pub(crate) struct States<V: View>(watch::Receiver<V::State>);

impl<V: Followed> Follower<V> {
    pub(crate) fn new(shared: &Arc<Shared>, channel: &str) -> Result<Follower<V>, SubscribeError> {
        let (id, mut states) = shared.command(|core, hub, now| {
            V::watch(core, now, channel)?;
            let id = hub.number();
            Ok::<_, SubscribeError>((id, V::views(hub).add(channel, id, core)))
        })??;
        states.mark_changed();
        let (shared, channel) = (Arc::clone(shared), channel.to_owned());
        let watcher = Watcher { shared, channel, id, of: PhantomData };
        Ok(Follower { watcher, states: States(states) })
    }

    pub(crate) fn channel(&self) -> &str {
        &self.watcher.channel
    }

    /// What is known now.
    pub(crate) fn state(&self) -> V::State {
        self.states.state()
    }

    /// Waits for a change; the first call returns at once. `None` once the watcher has ended with
    /// the client or the channel.
    pub(crate) async fn next(&mut self) -> Option<V::State> {
        self.states.next().await
    }

    /// Bindings close from one thread and wait on others.
    #[cfg(feature = "ffi")]
    pub(crate) fn into_parts(self) -> (Watcher<V>, States<V>) {
        (self.watcher, self.states)
    }
}

impl<V: View> States<V> {
    pub(crate) fn state(&self) -> V::State {
        self.0.borrow().clone()
    }

    pub(crate) async fn next(&mut self) -> Option<V::State> {
        self.0.changed().await.ok()?;
        Some(self.0.borrow_and_update().clone())
    }
}

impl<V: View> Clone for States<V> {
    fn clone(&self) -> States<V> {
        States(self.0.clone())
    }
}

impl<V: Followed> Drop for Watcher<V> {
    fn drop(&mut self) {
        // A closed client has no watchers, and a channel that has ended took its watchers along.
        let _ = self.shared.command(|core, hub, now| {
            if V::views(hub).remove(&self.channel, self.id) {
                V::unwatch(core, now, &self.channel);
            }
        });
    }
}
