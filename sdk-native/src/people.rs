//! Who is in a channel and what they do there: the handle that follows it.

use tidewire_core::Now;
use tidewire_core::wire::User;

use crate::core::Core;
use crate::follower::{Followed, Follower};
use crate::hub::Hub;
use crate::people_state::PeopleState;
use crate::people_view::PeopleView;
use crate::view::Views;

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
    follower: Follower<PeopleView>,
}

impl std::fmt::Debug for People {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("People").field("channel", &self.follower.channel()).finish_non_exhaustive()
    }
}

impl People {
    pub(crate) fn new(follower: Follower<PeopleView>) -> People {
        People { follower }
    }

    /// Who is there, as far as is known now.
    pub fn state(&self) -> PeopleState {
        self.follower.state()
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
        self.follower.next().await
    }

    /// Ends the watching; dropping the handle does the same.
    pub fn close(self) {}

    #[cfg(feature = "ffi")]
    pub(crate) fn into_follower(self) -> Follower<PeopleView> {
        self.follower
    }
}

impl Followed for PeopleView {
    fn watch(core: &mut Core, now: Now, channel: &str) -> Result<(), tidewire_core::SubscribeError> {
        core.watch_people(now, channel)
    }

    fn unwatch(core: &mut Core, now: Now, channel: &str) {
        core.unwatch_people(now, channel);
    }

    fn views(hub: &mut Hub) -> &mut Views<PeopleView> {
        &mut hub.people
    }
}
