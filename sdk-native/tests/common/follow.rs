//! What follows a channel: its people, how far it was read.

use std::fmt::Debug;

use tidewire::{People, PeopleState, Reads, ReadsState};

use super::PATIENCE;

pub trait Follow {
    type State: Debug;

    fn present(&self) -> Self::State;

    fn change(&mut self) -> impl Future<Output = Option<Self::State>>;
}

impl Follow for People {
    type State = PeopleState;

    fn present(&self) -> PeopleState {
        self.state()
    }

    async fn change(&mut self) -> Option<PeopleState> {
        self.next().await
    }
}

impl Follow for Reads {
    type State = ReadsState;

    fn present(&self) -> ReadsState {
        self.state()
    }

    async fn change(&mut self) -> Option<ReadsState> {
        self.next().await
    }
}

/// Waits until the state is as wanted.
pub async fn state_where<F: Follow>(
    follow: &mut F,
    what: &str,
    wanted: impl Fn(&F::State) -> bool,
) -> F::State {
    let found = tokio::time::timeout(PATIENCE, async {
        let mut state = follow.present();
        while !wanted(&state) {
            state = follow.change().await.expect("open");
        }
        state
    })
    .await;
    found.unwrap_or_else(|_| panic!("waited in vain for {what}; the state is {:?}", follow.present()))
}
