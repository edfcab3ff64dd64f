//! Promises for ops: when an op is stored, and how it is settled.

use tidewire_core::{Offset, OpState};
use tokio::sync::watch;

use crate::error::OpError;

/// The progress of an op.
#[derive(Debug, Clone, Default)]
struct Progress {
    stored: bool,
    settled: Option<Result<Offset, OpError>>,
}

/// The hub's end. Dropping it means that the client was closed.
pub(crate) struct Promised(watch::Sender<Progress>);

/// The sender's end.
#[derive(Debug, Clone)]
pub(crate) struct Promise(watch::Receiver<Progress>);

impl Promised {
    pub(crate) fn new() -> (Promised, Promise) {
        let (sender, receiver) = watch::channel(Progress::default());
        (Promised(sender), Promise(receiver))
    }

    /// The op is stored.
    pub(crate) fn stored(&self) {
        self.0.send_modify(|progress| progress.stored = true);
    }

    /// Applies a state from the core. True if it is final.
    pub(crate) fn follow(&self, state: &OpState) -> bool {
        let settled = match state {
            OpState::Sending | OpState::Queued => return false,
            OpState::Acked { offset } => Ok(*offset),
            OpState::Failed { code, message } => {
                Err(OpError::Failed { code: code.clone(), message: message.clone() })
            }
            OpState::Discarded => Err(OpError::Discarded),
        };
        self.0.send_modify(|progress| progress.settled = Some(settled));
        true
    }
}

impl Promise {
    /// Resolves when the op survives the end of this process, or has failed.
    pub(crate) async fn stored(&self) -> Result<(), OpError> {
        let safe = |progress: &Progress| progress.stored || progress.settled.is_some();
        let progress = self.wait(safe).await?;
        if progress.stored { Ok(()) } else { progress.settled.unwrap_or(Err(OpError::Closed)).map(drop) }
    }

    /// Resolves when the op is committed or has failed.
    pub(crate) async fn settled(&self) -> Result<Offset, OpError> {
        let progress = self.wait(|progress| progress.settled.is_some()).await?;
        progress.settled.unwrap_or(Err(OpError::Closed))
    }

    async fn wait(&self, until: impl FnMut(&Progress) -> bool) -> Result<Progress, OpError> {
        let mut progress = self.0.clone();
        let reached = progress.wait_for(until).await.map(|progress| progress.clone());
        reached.map_err(|_| OpError::Closed)
    }
}
