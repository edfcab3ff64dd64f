//! Commits from the log for one subscription that catches up.

use super::cursor::Cursor;
use super::frame_pos;
use super::history::Entry;
use super::limits::ENVELOPE;
use super::pages::Pages;
use super::shape::{Outcome, Shape};
use super::state::Sub;
use crate::text::Text;
use std::sync::Arc;
use tidewire_core::wire::{TableAddress, TableLink, TableTx, Transaction};

/// Most bytes of commits that are sent in one frame; a larger commit is sent alone.
const BATCH_BYTES: usize = 32_768;

/// Commits from the log for one subscription. Encoding them needs no lock.
pub(super) struct Slice {
    pub(super) sub: u64,
    pub(super) sid: String,
    pub(super) shape: Arc<Shape>,
    /// The snapshot that was sent before them.
    pub(super) pages: Option<Arc<Pages>>,
    pub(super) entries: Vec<Entry>,
    /// The `pos` of its last frame, and the position up to which it has everything.
    pub(super) from: (u64, u64),
    /// The position at which the slice ends; `None` if the log has more after it.
    pub(super) upto: Option<u64>,
    /// Most bytes of a frame.
    pub(super) most: usize,
    pub(super) epoch: Option<Arc<str>>,
    /// See [`super::state::State::generation`].
    pub(super) generation: u64,
    /// The slice came from the fair queue of lagging subscriptions.
    pub(super) in_turn: bool,
}

/// The frame for a slice, and where the subscription stands after it.
pub(super) struct Batch {
    /// `None` if there is nothing to send.
    pub(super) frame: Option<Text>,
    /// The `pos` of its last frame after this one.
    pub(super) last: u64,
    /// The position up to which the log was read.
    pub(super) applied: u64,
    /// There is more to read.
    pub(super) more: bool,
    /// The next commit resets the subscription, for this reason.
    pub(super) reset: Option<&'static str>,
}

impl Slice {
    /// Whether the subscription has not changed since the slice was taken.
    pub(super) fn is_of(&self, sub: &Sub, generation: u64) -> bool {
        (sub.last, sub.applied) == self.from && generation == self.generation
    }

    /// Encodes as much of the slice as fits into a frame.
    pub(super) fn read(&self) -> Batch {
        let ((mut last, from), mut cursor) = (self.from, None);
        let (mut applied, mut more, mut reset) = (from, false, None);
        let most = self.most.saturating_sub(ENVELOPE);
        let (together, mut bytes) = (BATCH_BYTES.min(most), 0);
        let mut txs: Vec<String> = Vec::new();
        for Entry { logged, number } in &self.entries {
            let commit = &logged.commit;
            let contained = self.pages.as_ref().is_some_and(|pages| pages.seen.contains(commit));
            match if contained { Outcome::Nothing } else { self.shape.outcome(commit, from, most) } {
                Outcome::Nothing => {}
                // Sends the commits before it first.
                Outcome::Reset(_) if !txs.is_empty() => {
                    more = true;
                    break;
                }
                Outcome::Reset(reason) => {
                    reset = Some(reason);
                    break;
                }
                Outcome::Changes(changes) => {
                    let tx = Transaction::encode_with(&commit.tx, commit.at, &changes);
                    if !txs.is_empty() && bytes + tx.len() > together {
                        more = true;
                        break;
                    }
                    bytes += tx.len();
                    txs.push(tx);
                    last = frame_pos::own(*number);
                    // The snapshot is ahead: earlier commits may still come, so a cursor at this
                    // position would skip them.
                    let early = self.pages.as_ref().is_some_and(|pages| commit.position < pages.seen.end());
                    let go_on =
                        || Some(Cursor::encode(self.epoch.as_deref()?, commit.position, self.shape.hash));
                    cursor = if early { None } else { go_on() };
                }
            }
            applied = commit.position;
        }
        if !more && reset.is_none() {
            more = self.upto.is_none();
            applied = applied.max(self.upto.unwrap_or_default());
        }
        let frame = (!txs.is_empty()).then(|| {
            let to = TableAddress::Sid(self.sid.clone());
            let link = TableLink { prev: Some(self.from.0), pos: last, cursor };
            TableTx::encode_with(&to, &link, txs.iter().map(String::as_str)).into()
        });
        Batch { frame, last, applied, more, reset }
    }
}
