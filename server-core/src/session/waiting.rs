//! What a session continues with once it has what it waits for.

use crate::access::{Identity, Pending};
use crate::connections::ClientRun;
use crate::dialog::Channel;
use crate::dialog::ops::Op as ParsedOp;
use std::sync::Arc;
use tidewire_core::wire::{Mode, Offset, Op, Subscription, Want};
use uuid::Uuid;

/// What a session continues with once its answer is there.
pub(super) enum Waiting {
    /// A subscription, and whether its channel was to be opened for it.
    Sub(Subscription, bool),
    Op(Checked),
    /// A credential whose session is not read yet.
    Credential(Pending, Purpose),
    /// A hello that was accepted.
    Hello(Greeting),
    Page(Paging),
    Earlier(Earlier),
    Marks(Arc<Channel>, Offset),
}

/// What a credential is for.
pub(super) enum Purpose {
    /// A hello.
    Hello(Beginning),
    /// A newer token.
    Auth,
}

/// A hello whose user is not known yet.
pub(super) struct Beginning {
    pub(super) run: Option<ClientRun>,
    pub(super) agent: Option<String>,
    pub(super) subs: Vec<Subscription>,
}

/// A hello whose user is known, and whose memberships are not.
pub(super) struct Greeting {
    pub(super) identity: Arc<Identity>,
    pub(super) agent: Option<String>,
    pub(super) subs: Vec<Subscription>,
}

/// An op whose form is right; its channel is not read yet.
pub(super) struct Checked {
    pub(super) op: Op,
    pub(super) id: Uuid,
    pub(super) after: Option<Uuid>,
    /// Its body, parsed.
    pub(super) read: Box<dyn ParsedOp>,
    /// Whether its channel was to be opened for it.
    pub(super) opened: bool,
}

/// What a page answers.
pub(super) enum PageRequest {
    /// A subscription.
    Sub(Want),
    /// The events after this offset.
    Next(Offset),
}

/// A page that is not queued yet.
pub(super) struct Paging {
    pub(super) channel: Arc<Channel>,
    pub(super) request: PageRequest,
    /// Where it starts, once the events were requested from the log.
    pub(super) start: Option<Start>,
}

/// Events before those that the client has, not queued yet.
pub(super) struct Earlier {
    pub(super) channel: Arc<Channel>,
    /// Only events before this offset.
    pub(super) before: Offset,
    /// Maximum number of events.
    pub(super) most: u64,
}

/// Where a page starts.
#[derive(Clone, Copy)]
pub(super) struct Start {
    pub(super) from: Offset,
    /// None for the answer to a `next`.
    pub(super) mode: Option<(Mode, Option<&'static str>)>,
}
