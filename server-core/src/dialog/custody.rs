//! Operators who have dialogs and are gone: their dialogs go back to the model.
//!
//! Which dialogs operators have is read from the store, so a restart forgets none. An operator is
//! there as long as any connection of theirs is.

use super::channel::Channel;
use super::ops::{Handing, hands};
use crate::lock::{Mutex, calls_out};
use crate::store::{Handed, NewEvent, Outcome, Read, Reply, Store, Write, key_of};
use std::collections::BTreeMap;
use std::sync::Arc;
use tidewire_core::Time;
use tidewire_core::wire::{ChannelName, Handler, OpId, Step, User, UserKind};
use uuid::Builder;

/// How often it is looked who has which dialog, in ms.
const LOOK_MS: u64 = 5_000;

/// Says whether a user ([`crate::Identity::key`]) has a connection.
pub(crate) type IsThere = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// The channel with a name, if it is in memory.
pub(crate) type Loaded = Arc<dyn Fn(&ChannelName) -> Option<Arc<Channel>> + Send + Sync>;

/// Looks after dialogs whose operators may be gone.
#[derive(Default)]
pub(crate) struct Custody {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    next: Time,
    /// A look is under way.
    is_looking: bool,
    /// Since when operators are gone, by their ids.
    gone: BTreeMap<String, Time>,
}

impl Custody {
    /// When [`Custody::look`] has something to do.
    pub(crate) fn deadline(&self) -> Time {
        self.inner.lock().next
    }

    /// Gives dialogs back to the model whose operators are gone for longer than `patience_ms`. Does
    /// nothing before [`Custody::deadline`].
    pub(crate) fn look(
        &self,
        now: Time,
        patience_ms: u64,
        store: &Arc<dyn Store>,
        loaded: Loaded,
        is_there: IsThere,
    ) {
        let mut inner = self.inner.lock();
        if inner.is_looking || now < inner.next {
            return;
        }
        (inner.is_looking, inner.next) = (true, now.after(LOOK_MS));
        drop(inner);
        let (inner, writes) = (self.inner.clone(), store.clone());
        calls_out();
        store.read(
            Read::Held,
            Box::new(move |reply| {
                let held = reply.and_then(Reply::handed).unwrap_or_default();
                let left = inner.lock().left(now, patience_ms, held, &is_there);
                for (handed, user) in left {
                    release(&handed, &user, &writes, &loaded);
                }
            }),
        );
    }
}

impl Inner {
    /// The dialogs whose operators are gone for long enough.
    fn left(
        &mut self,
        now: Time,
        patience_ms: u64,
        held: Vec<Handed>,
        is_there: &IsThere,
    ) -> Vec<(Handed, User)> {
        self.is_looking = false;
        let before = std::mem::take(&mut self.gone);
        let mut left = Vec::new();
        for handed in held {
            let Handler::Operator { user, .. } = &handed.handler else { continue };
            if is_there(&key_of(UserKind::Operator, &user.id)) {
                continue;
            }
            let since = before.get(&user.id).copied().unwrap_or(now);
            self.gone.insert(user.id.clone(), since);
            if now >= since.after(patience_ms) {
                let user = user.clone();
                left.push((handed, user));
            }
        }
        left
    }
}

/// Gives a dialog back to the model in the server's name, unless its operator has done something
/// meanwhile.
fn release(handed: &Handed, user: &User, store: &Arc<dyn Store>, loaded: &Loaded) {
    let Handler::Operator { since, .. } = handed.handler else { return };
    let step = Step::Release { from: Some(user.id.clone()) };
    let by =
        User { id: "system".to_owned(), name: "System".to_owned(), kind: UserKind::System, profile: None };
    // The same for each attempt at the same release, so that it is written once.
    let op = (u128::from(since) << 64) | u128::from(handed.channel.cast_unsigned());
    let op = Builder::from_custom_bytes(op.to_be_bytes()).into_uuid();
    let event = NewEvent {
        channel: handed.channel,
        name: handed.name.clone(),
        author: key_of(by.kind, &by.id),
        by: by.clone(),
        op,
        id: OpId::from(op.hyphenated().to_string()),
        kind: Step::KIND.to_owned(),
        body: step.encode(),
        after: None,
        needs_run: None,
        wants_answer: false,
        handing: Some(Handing::Step(step.clone())),
        forbidden: false,
    };
    let (loaded, name) = (loaded.clone(), handed.name.clone());
    tracing::info!(channel = handed.channel, "the operator is gone; the model has the dialog again");
    store.write(
        Write::Append(event),
        Box::new(move |result| {
            if let Ok(Outcome::Stored(stored)) = result
                && let Some(channel) = loaded(&name)
            {
                // A release calls nobody.
                channel.apply(&stored, &by, hands(step).as_ref()).carry_out(None, &channel);
            }
        }),
    );
}
