//! Who is in a channel and what they do there: the handle that follows it, and what a handle of a
//! channel says about its own user.

use std::sync::Arc;

use tokio::sync::watch;

use crate::error::{SendError, SubscribeError};
use crate::people_state::PeopleState;
use crate::shared::Shared;
use tidewire_core::wire::User;

/// Follows who is in a dialog or a channel, from [`Dialog::people`](crate::Dialog::people) or
/// [`Channel::people`](crate::Channel::people). Dropping it ends that; so does dropping the last
/// handle of the dialog or channel.
///
/// ```no_run
/// # async fn example(client: tidewire::Client) -> Result<(), Box<dyn std::error::Error>> {
/// let dialog = client.dialog("demo")?;
/// let mut people = dialog.people()?;
/// while let Some(state) = people.next().await {
///     let names: Vec<_> = state.people.iter().map(|person| person.user.name.as_str()).collect();
///     println!("{} here: {}; {} writing", state.count, names.join(", "), state.typing().len());
/// }
/// # Ok(())
/// # }
/// ```
pub struct People {
    watcher: Watcher,
    states: States,
}

/// A watcher in the core; dropping it removes the watcher.
pub(crate) struct Watcher {
    shared: Arc<Shared>,
    channel: String,
    id: u64,
}

/// The states of a channel's people, the newest of them at a time.
#[derive(Clone)]
pub(crate) struct States(watch::Receiver<PeopleState>);

/// What one handle of a channel says about its user there. Dropping it gives up the leases that no
/// other handle holds.
pub(crate) struct Presence {
    shared: Arc<Shared>,
    channel: String,
    /// The handle's number, by which the hub knows what it holds.
    id: u64,
}

impl std::fmt::Debug for People {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("People").field("channel", &self.watcher.channel).finish_non_exhaustive()
    }
}

impl People {
    /// Who is there, as far as is known now.
    pub fn state(&self) -> PeopleState {
        self.states.state()
    }

    /// The users who are writing now, without this client's own.
    pub fn typing(&self) -> Vec<User> {
        self.state().typing().into_iter().cloned().collect()
    }

    /// Waits for a change and returns the newest state; the first call returns the present one at
    /// once. States that came while nobody waited are left out, except for the newest. `None` once
    /// the client is closed or the last handle of the dialog or channel is dropped. Dropping the
    /// future loses nothing.
    pub async fn next(&mut self) -> Option<PeopleState> {
        self.states.next().await
    }

    /// Ends the watching; dropping the handle does the same.
    pub fn close(self) {}
}

/// Bindings close from one thread and wait on others.
#[cfg(feature = "ffi")]
impl People {
    pub(crate) fn into_parts(self) -> (Watcher, States) {
        (self.watcher, self.states)
    }
}

impl States {
    pub(crate) fn state(&self) -> PeopleState {
        self.0.borrow().clone()
    }

    pub(crate) async fn next(&mut self) -> Option<PeopleState> {
        self.0.changed().await.ok()?;
        Some(self.0.borrow_and_update().clone())
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // A closed client has no watchers, and a channel that has ended took its watchers along.
        let _ = self.shared.command(|core, hub, now| {
            if hub.remove_watcher(&self.channel, self.id) {
                core.unwatch_people(now, &self.channel);
            }
        });
    }
}

impl Presence {
    pub(crate) fn new(shared: &Arc<Shared>, channel: String, id: u64) -> Presence {
        Presence { shared: Arc::clone(shared), channel, id }
    }

    pub(crate) fn channel(&self) -> &str {
        &self.channel
    }

    pub(crate) fn people(&self) -> Result<People, SubscribeError> {
        let (id, mut states) = self.shared.command(|core, hub, now| {
            core.watch_people(now, &self.channel)?;
            Ok::<_, SubscribeError>(hub.add_watcher(&self.channel, core))
        })??;
        states.mark_changed();
        let watcher = Watcher { shared: Arc::clone(&self.shared), channel: self.channel.clone(), id };
        Ok(People { watcher, states: States(states) })
    }

    pub(crate) fn typing(&self, on: bool) -> Result<(), SendError> {
        Ok(self.shared.command(|core, _, now| core.typing(now, &self.channel, on))??)
    }

    pub(crate) fn hold(&self, kind: &str, body: &str) -> Result<(), SendError> {
        self.shared.command(|core, hub, now| {
            core.set_lease(now, &self.channel, kind, Some(body))?;
            hub.add_lease(&self.channel, kind, self.id);
            Ok(())
        })?
    }

    pub(crate) fn release(&self, kind: &str) -> Result<(), SendError> {
        self.shared.command(|core, hub, now| {
            if hub.remove_lease(&self.channel, kind, self.id) {
                core.set_lease(now, &self.channel, kind, None)?;
            }
            Ok(())
        })?
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        // A closed client holds nothing.
        let _ = self.shared.command(|core, hub, now| {
            for kind in hub.remove_leases(&self.channel, self.id) {
                // A channel that is no longer open took its leases along.
                let _ = core.set_lease(now, &self.channel, &kind, None);
            }
        });
    }
}
