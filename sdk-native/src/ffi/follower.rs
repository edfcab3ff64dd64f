//! Following something of a channel from other languages: closed from one thread while another one
//! waits.

use parking_lot::Mutex;

use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::DISPATCH;
use crate::follower::{Followed, States, Watcher};

/// Follows something of a channel. Closing or dropping it ends that, and so does the end of the
/// channel. It does not keep the client open.
pub(super) struct Follower<V: Followed> {
    /// None once it is closed.
    watcher: Mutex<Option<Watcher<V>>>,
    states: States<V>,
    inbox: tokio::sync::Mutex<watch::Receiver<V::State>>,
    dispatch: AbortHandle,
}

impl<V: Followed> Follower<V> {
    pub(super) fn new(follower: crate::follower::Follower<V>) -> Follower<V> {
        let (watcher, states) = follower.into_parts();
        let (sender, inbox) = watch::channel(states.state());
        let dispatch = DISPATCH.spawn(dispatch(states.clone(), sender)).abort_handle();
        let (watcher, inbox) = (Mutex::new(Some(watcher)), tokio::sync::Mutex::new(inbox));
        Follower { watcher, states, inbox, dispatch }
    }

    /// What is known now; what was known then, once this is closed.
    pub(super) fn state(&self) -> V::State {
        self.states.state()
    }

    /// Waits for a change; none once it has ended.
    pub(super) async fn next(&self) -> Option<V::State> {
        let mut inbox = self.inbox.lock().await;
        inbox.changed().await.ok()?;
        if self.watcher.lock().is_none() {
            return None;
        }
        Some(inbox.borrow_and_update().clone())
    }

    /// Ends it. Closing it again does nothing.
    pub(super) fn close(&self) {
        let watcher = self.watcher.lock().take();
        drop(watcher);
        self.dispatch.abort();
    }
}

impl<V: Followed> Drop for Follower<V> {
    fn drop(&mut self) {
        self.close();
    }
}

/// Passes states to the reader. The reader is not woken by whoever made the state: that is the task
/// that drives the sockets.
async fn dispatch<V: Followed>(mut states: States<V>, reader: watch::Sender<V::State>) {
    while let Some(state) = states.next().await {
        reader.send_replace(state);
    }
}
