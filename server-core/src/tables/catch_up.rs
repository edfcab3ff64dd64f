//! One subscription from its first answer to its feed: pages of the snapshot, commits from the log, then `tbl.live`.

use super::cursor::Cursor;
use super::shape::Told;
use super::state::{Audience, Phase, State, feed};
use super::wanted::ENVELOPE;
use crate::outgoing::Offered;
use crate::text::Text;
use std::sync::Arc;
use tidewire_core::wire::{TableAddress, TableFrame, TableLink, TableOk, TablePage, TableTx};

/// A reset that concerns few, in ms.
const SHORT_SPREAD_MS: u64 = 1_000;

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

    /// Sends commits from the log; after the last one it joins the feed.
    fn catch_up(&mut self, id: u64) {
        loop {
            let Some(sub) = self.subs.get(&id) else { return };
            let Phase::Behind(pages) = &sub.phase else { return };
            let Some(group) = self.groups.get(&sub.group) else { return };
            if sub.applied < self.ring.floor() {
                return self.reset(id, "trimmed", SHORT_SPREAD_MS);
            }
            let (shape, pages) = (group.shape.clone(), pages.clone());
            let Some(logged) = self.ring.after(sub.applied).cloned() else { break };
            let commit = &logged.commit;
            let contained = pages.as_ref().is_some_and(|pages| pages.seen.contains(commit));
            let most = self.limits.frame_bytes.saturating_sub(ENVELOPE);
            let told = match contained {
                true => Told::Nothing,
                false => shape.tell(commit, sub.applied, most),
            };
            let mut last = sub.last;
            match told {
                Told::Nothing => {}
                Told::Reset(reason) => return self.reset(id, reason, SHORT_SPREAD_MS),
                Told::Changes(changes) => {
                    // While commits may still come that lie before it, a position says too much.
                    let early = pages.as_ref().is_some_and(|pages| commit.position < pages.seen.end());
                    let cursor = if early { None } else { self.cursor(shape.hash, commit.position) };
                    let pos = logged.number * 2 - 1;
                    let link = TableLink { prev: Some(last), pos, cursor };
                    let to = TableAddress::Sid(sub.sid.clone());
                    let tx = TableTx { to, link, tx: commit.tx.clone(), at: commit.at, changes: Vec::new() };
                    if !self.offer(id, &tx.encode_with(&changes).into()) {
                        return;
                    }
                    last = pos;
                }
            }
            let Some(sub) = self.subs.get_mut(&id) else { return };
            (sub.last, sub.applied) = (last, commit.position);
        }
        self.go_live(id);
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
