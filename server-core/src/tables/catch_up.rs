//! One subscription from its first answer to its feed: pages of the snapshot, commits from the log,
//! then `tbl.live`.

use super::cost::work;
use super::cursor::Cursor;
use super::limits::ENVELOPE;
use super::pages::Pages;
use super::ring::Logged;
use super::shape::{Shape, Told};
use super::state::{Audience, Phase, State, Sub, feed};
use crate::outgoing::Offered;
use crate::text::Text;
use std::sync::Arc;
use tidewire_core::wire::{TableAddress, TableFrame, TableLink, TableOk, TablePage, TableTx, Transaction};

/// A reset that concerns few, in ms.
const SHORT_SPREAD_MS: u64 = 1_000;
/// Commits are sent together up to so many bytes; a greater one goes alone.
const BATCH_BYTES: usize = 32_768;

/// Commits from the log for one subscription, as a frame tells them.
#[derive(Clone)]
pub(super) struct Batch {
    /// Each as its JSON text.
    txs: Vec<String>,
    /// Where to go on after them, unless a position says too much.
    cursor: Option<String>,
    /// The place of the last one.
    pub(super) last: u64,
    /// Up to where the log was read.
    pub(super) applied: u64,
    /// There is more behind it.
    pub(super) more: bool,
    /// The next one ends the subscription, for this reason.
    reset: Option<&'static str>,
}

impl Batch {
    /// Nothing yet, from where a subscription stands.
    pub(super) fn after(sub: &Sub) -> Batch {
        let (txs, cursor) = (Vec::new(), None);
        Batch { txs, cursor, last: sub.last, applied: sub.applied, more: false, reset: None }
    }

    /// What comes next of the log, which begins where this one ends. A frame has at most so many
    /// bytes.
    pub(super) fn read<'a>(
        mut self,
        shape: &Shape,
        pages: Option<&Pages>,
        log: impl Iterator<Item = &'a Logged>,
        most: usize,
        epoch: Option<&str>,
    ) -> Batch {
        let (from, most) = (self.applied, most.saturating_sub(ENVELOPE));
        let (together, mut bytes) = (BATCH_BYTES.min(most), 0);
        for logged in log {
            let commit = &logged.commit;
            let contained = pages.is_some_and(|pages| pages.seen.contains(commit));
            match if contained { Told::Nothing } else { shape.tell(commit, from, most) } {
                Told::Nothing => {}
                // First what was before it.
                Told::Reset(_) if !self.txs.is_empty() => {
                    self.more = true;
                    break;
                }
                Told::Reset(reason) => {
                    self.reset = Some(reason);
                    break;
                }
                Told::Changes(changes) => {
                    let tx = Transaction::encode_with(&commit.tx, commit.at, &changes);
                    if !self.txs.is_empty() && bytes + tx.len() > together {
                        self.more = true;
                        break;
                    }
                    bytes += tx.len();
                    self.txs.push(tx);
                    self.last = logged.number * 2 - 1;
                    // While commits may still come that lie before it, a position says too much.
                    let early = pages.is_some_and(|pages| commit.position < pages.seen.end());
                    let cursor = || Some(Cursor::encode(epoch?, commit.position, shape.hash));
                    self.cursor = if early { None } else { cursor() };
                }
            }
            self.applied = commit.position;
        }
        self
    }
}

impl State {
    /// Sends a subscription what it is to have and has room for.
    pub(super) fn serve(&mut self, id: u64) {
        let Some(sub) = self.subs.get(&id) else { return };
        let began = match &sub.phase {
            Phase::Waiting(_) | Phase::Live => return,
            Phase::Reading { asked: false, .. } => return,
            Phase::Resuming => self.resumed(id),
            Phase::Reading { .. } => self.page(id),
            Phase::Behind(_) => true,
        };
        if began {
            self.catch_up(id);
        }
    }

    /// Offers a frame to a subscription; false if it has to wait, or is over.
    fn offer(&mut self, id: u64, frame: &Text) -> bool {
        let Some(sub) = self.subs.get(&id) else { return false };
        match sub.outgoing.offer(frame) {
            Offered::Queued => true,
            Offered::Full => false,
            Offered::Over => {
                self.remove(id);
                false
            }
        }
    }

    /// The cursor of a group at a position.
    pub(super) fn cursor(&self, hash: u64, position: u64) -> Option<String> {
        Some(Cursor::encode(self.epoch.as_deref()?, position, hash))
    }

    /// Its first frame, with this page; true once it is queued.
    fn accept(&mut self, id: u64, resumed: bool, reason: Option<&'static str>, page: TablePage) -> bool {
        let Some(sub) = self.subs.get(&id) else { return false };
        let Some(group) = self.groups.get(&sub.group) else { return false };
        let shape = &group.shape;
        let cursor = if resumed { self.cursor(shape.hash, sub.applied) } else { None };
        let frame = TableFrame::Ok(TableOk {
            sid: sub.sid.clone(),
            resumed,
            reason: reason.map(str::to_owned),
            columns: shape.columns(),
            key: shape.key(),
            // Before all places of frames.
            link: TableLink { prev: None, pos: 0, cursor },
            page,
        });
        self.offer(id, &frame.encode().into())
    }

    fn resumed(&mut self, id: u64) -> bool {
        let page = TablePage { rows: Vec::new(), more: false };
        let queued = self.accept(id, true, None, page);
        if queued && let Some(sub) = self.subs.get_mut(&id) {
            sub.phase = Phase::Behind(None);
        }
        queued
    }

    /// The next page; true once it was the last.
    fn page(&mut self, id: u64) -> bool {
        let Some(sub) = self.subs.get(&id) else { return false };
        let Phase::Reading { pages, next, reason, .. } = &sub.phase else { return false };
        let (pages, at, reason) = (pages.clone(), *next, *reason);
        let Some(page) = pages.page(at) else { return false };
        let more = page.more;
        let queued = if at == 0 {
            self.accept(id, false, reason, page)
        } else {
            let frame = TableFrame::Page { sid: sub.sid.clone(), page };
            self.offer(id, &frame.encode().into())
        };
        if !queued {
            return false;
        }
        let Some(sub) = self.subs.get_mut(&id) else { return false };
        sub.phase = match more {
            true => Phase::Reading { pages, next: at + 1, asked: false, reason },
            false => Phase::Behind(Some(pages)),
        };
        !more
    }

    /// Sends commits from the log, many in a frame; after the last one it joins the feed. What is
    /// much work is done in its turn.
    fn catch_up(&mut self, id: u64) {
        loop {
            let Some(sub) = self.subs.get(&id) else { return };
            let Phase::Behind(pages) = &sub.phase else { return };
            let Some(group) = self.groups.get(&sub.group) else { return };
            if sub.applied < self.ring.floor() {
                return self.reset(id, "trimmed", SHORT_SPREAD_MS);
            }
            let mut sum = 0;
            let much = self.ring.after(sub.applied).any(|logged| {
                sum += work(&group.shape, logged);
                sum > self.limits.at_once
            });
            if much {
                return self.lag(id);
            }
            let (logged, most) = (self.ring.after(sub.applied), self.limits.frame_bytes);
            let batch =
                Batch::after(sub).read(&group.shape, pages.as_deref(), logged, most, self.epoch.as_deref());
            let more = batch.more;
            if !self.send_batch(id, batch) {
                return;
            }
            if !more {
                break;
            }
        }
        self.go_live(id);
    }

    /// Sends what was read of the log; true if the subscription goes on.
    pub(super) fn send_batch(&mut self, id: u64, batch: Batch) -> bool {
        if let Some(reason) = batch.reset {
            self.reset(id, reason, SHORT_SPREAD_MS);
            return false;
        }
        let Some(sub) = self.subs.get(&id) else { return false };
        if !batch.txs.is_empty() {
            let to = TableAddress::Sid(sub.sid.clone());
            let link = TableLink { prev: Some(sub.last), pos: batch.last, cursor: batch.cursor };
            let frame = TableTx::encode_with(&to, &link, batch.txs.iter().map(String::as_str));
            if !self.offer(id, &frame.into()) {
                return false;
            }
        }
        let Some(sub) = self.subs.get_mut(&id) else { return false };
        (sub.last, sub.applied) = (batch.last, batch.applied);
        true
    }

    /// It has all there is: it joins the feed, unless commits may still come that its snapshot
    /// contains.
    fn go_live(&mut self, id: u64) {
        let Some(sub) = self.subs.get_mut(&id) else { return };
        let Phase::Behind(pages) = &sub.phase else { return };
        if pages.as_ref().is_some_and(|pages| pages.seen.end() > self.head) {
            self.early.insert(id);
            return;
        }
        sub.applied = sub.applied.max(self.head);
        let (group_id, last, sid) = (sub.group, sub.last, sub.sid.clone());
        let Some(group) = self.groups.get_mut(&group_id) else { return };
        if group.live.is_empty() {
            // Nobody is there who would miss the places between.
            self.number += 1;
            group.last = self.number * 2;
            group.told = (self.head, self.now);
        }
        let (pos, hash) = (group.last, group.shape.hash);
        let link = TableLink { prev: Some(last), pos, cursor: self.cursor(hash, self.head) };
        let frame = TableFrame::Live { sid, feed: feed(group_id), link };
        if self.offer(id, &frame.encode().into()) {
            self.join(id);
        }
        self.settle(id);
    }

    fn join(&mut self, id: u64) {
        self.early.remove(&id);
        let Some(sub) = self.subs.get_mut(&id) else { return };
        sub.phase = Phase::Live;
        let Some(group) = self.groups.get_mut(&sub.group) else { return };
        let outgoing: &Arc<_> = &sub.outgoing;
        let audience = group
            .live
            .entry(outgoing.id())
            .or_insert_with(|| Audience { outgoing: outgoing.clone(), subs: Vec::new() });
        audience.subs.push(id);
    }
}
