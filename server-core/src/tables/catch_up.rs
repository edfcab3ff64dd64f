//! One subscription from its first answer to its feed: pages of the snapshot, commits from the log, then `tbl.live`.

use super::cursor::Cursor;
use super::pages::Pages;
use super::shape::{Shape, Told};
use super::state::{Audience, Phase, State, Sub, feed};
use super::wanted::ENVELOPE;
use crate::outgoing::Offered;
use crate::text::Text;
use std::sync::Arc;
use tidewire_core::wire::{TableAddress, TableFrame, TableLink, TableOk, TablePage, TableTx, Transaction};

/// A reset that concerns few, in ms.
const SHORT_SPREAD_MS: u64 = 1_000;
/// Commits are sent together up to so many bytes; a greater one goes alone.
const BATCH_BYTES: usize = 32_768;

/// Commits from the log for one subscription, as a frame tells them.
struct Batch {
    /// Each as its JSON text.
    txs: Vec<String>,
    /// Where to go on after them, unless a position says too much.
    cursor: Option<String>,
    /// The place of the last one.
    last: u64,
    /// Up to where the log was read.
    applied: u64,
    /// There is more behind it.
    more: bool,
    /// The next one ends the subscription, for this reason.
    reset: Option<&'static str>,
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

    /// Sends commits from the log, many in a frame; after the last one it joins the feed.
    fn catch_up(&mut self, id: u64) {
        loop {
            let Some(sub) = self.subs.get(&id) else { return };
            let Phase::Behind(pages) = &sub.phase else { return };
            let Some(group) = self.groups.get(&sub.group) else { return };
            if sub.applied < self.ring.floor() {
                return self.reset(id, "trimmed", SHORT_SPREAD_MS);
            }
            let batch = self.batch(sub, &group.shape, pages.as_deref());
            if let Some(reason) = batch.reset {
                return self.reset(id, reason, SHORT_SPREAD_MS);
            }
            if !batch.txs.is_empty() {
                let to = TableAddress::Sid(sub.sid.clone());
                let link = TableLink { prev: Some(sub.last), pos: batch.last, cursor: batch.cursor };
                let frame = TableTx::encode_with(&to, &link, batch.txs.iter().map(String::as_str));
                if !self.offer(id, &frame.into()) {
                    return;
                }
            }
            let Some(sub) = self.subs.get_mut(&id) else { return };
            (sub.last, sub.applied) = (batch.last, batch.applied);
            if !batch.more {
                break;
            }
        }
        self.go_live(id);
    }

    /// What of the log comes next for a subscription.
    fn batch(&self, sub: &Sub, shape: &Shape, pages: Option<&Pages>) -> Batch {
        let (txs, cursor) = (Vec::new(), None);
        let mut batch = Batch { txs, cursor, last: sub.last, applied: sub.applied, more: false, reset: None };
        let most = self.limits.frame_bytes.saturating_sub(ENVELOPE);
        let (together, mut bytes) = (BATCH_BYTES.min(most), 0);
        for logged in self.ring.after(sub.applied) {
            let commit = &logged.commit;
            let contained = pages.is_some_and(|pages| pages.seen.contains(commit));
            match if contained { Told::Nothing } else { shape.tell(commit, sub.applied, most) } {
                Told::Nothing => {}
                // First what was before it.
                Told::Reset(_) if !batch.txs.is_empty() => {
                    batch.more = true;
                    break;
                }
                Told::Reset(reason) => {
                    batch.reset = Some(reason);
                    break;
                }
                Told::Changes(changes) => {
                    let tx = Transaction::encode_with(&commit.tx, commit.at, &changes);
                    if !batch.txs.is_empty() && bytes + tx.len() > together {
                        batch.more = true;
                        break;
                    }
                    bytes += tx.len();
                    batch.txs.push(tx);
                    batch.last = logged.number * 2 - 1;
                    // While commits may still come that lie before it, a position says too much.
                    let early = pages.is_some_and(|pages| commit.position < pages.seen.end());
                    batch.cursor = if early { None } else { self.cursor(shape.hash, commit.position) };
                }
            }
            batch.applied = commit.position;
        }
        batch
    }

    /// It has all there is: it joins the feed, unless commits may still come that its snapshot contains.
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
