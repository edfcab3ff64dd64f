//! How far this client's user and others have read a channel.

use crate::event::{PeopleStatus, ReadState};
use crate::time::Time;
use crate::wire::{Epoch, EventFrame, Marks, Offset, Receipt, Unread, User, codes, counts_as_unread};
use std::collections::VecDeque;

/// The server is told of a new position at most this often, in ms.
const TELL_MS: u64 = 1_000;
/// How long the server may take to answer, in ms: it stores positions once a second.
const ANSWER_MS: u64 = 15_000;
/// For how many events it is remembered whether they count as unread.
const REMEMBERED: usize = 1_000;
/// A position that is not answered after this time is kept on the device, in ms.
const KEEP_MS: u64 = 2_000;

/// The read positions of a channel.
#[derive(Default)]
pub(crate) struct Reading {
    watchers: u32,
    /// The log that the positions are of.
    epoch: Option<Epoch>,
    /// The own position that the server has.
    own: Offset,
    /// A later one, until the server has it.
    pending: Option<Pending>,
    /// When the server was told of a position last, and when it may be told again.
    told: Option<Time>,
    not_before: Time,
    /// When the server was asked for the positions, and where the client's cursor was.
    asked: Option<(Time, Offset)>,
    status: PeopleStatus,
    /// What the server counted, after this position.
    counted: Option<(Offset, Unread)>,
    /// The events after `covered` that count as unread.
    recent: VecDeque<Offset>,
    covered: Option<Offset>,
    receipts: Vec<Receipt>,
    receipts_changed: bool,
    shown: Option<ReadState>,
}

struct Pending {
    offset: Offset,
    /// When the server was told on this connection.
    sent: Option<Time>,
    /// When to keep it on the device; none if it is kept there already.
    keep_at: Option<Time>,
}

impl Reading {
    /// Adds a watcher.
    pub(crate) fn watch(&mut self) {
        self.watchers += 1;
    }

    /// Removes a watcher.
    pub(crate) fn unwatch(&mut self) {
        self.watchers = self.watchers.saturating_sub(1);
        if self.watchers == 0 {
            let pending = self.pending.take();
            let (epoch, own, told, not_before) = (self.epoch.take(), self.own, self.told, self.not_before);
            *self = Reading { epoch, own, pending, told, not_before, ..Reading::default() };
        }
    }

    /// The user has read up to an event of this log. False if that is known already.
    pub(crate) fn mark(&mut self, now: Time, epoch: &Epoch, offset: Offset) -> bool {
        self.of_log(epoch);
        if offset <= self.position() {
            return false;
        }
        let keep_at = match &self.pending {
            Some(pending) => pending.keep_at.or(Some(now.after(KEEP_MS))),
            None => Some(now.after(KEEP_MS)),
        };
        self.pending = Some(Pending { offset, sent: None, keep_at });
        true
    }

    /// A position that was kept on the device.
    pub(crate) fn restore(&mut self, epoch: Epoch, offset: Offset) {
        self.epoch = Some(epoch);
        self.pending = Some(Pending { offset, sent: None, keep_at: None });
    }

    /// The position that the server does not have yet, with its log.
    pub(crate) fn pending(&self) -> Option<(&Epoch, Offset)> {
        Some((self.epoch.as_ref()?, self.pending.as_ref()?.offset))
    }

    /// When the pending position is to be kept on the device.
    pub(crate) fn keep_at(&self) -> Option<Time> {
        self.pending.as_ref().and_then(|pending| pending.keep_at)
    }

    /// The pending position is kept on the device from now on.
    pub(crate) fn kept(&mut self) {
        if let Some(pending) = &mut self.pending {
            pending.keep_at = None;
        }
    }

    /// How far the user has read.
    pub(crate) fn position(&self) -> Offset {
        self.pending.as_ref().map_or(self.own, |pending| pending.offset.max(self.own))
    }

    /// Positions of another log mean nothing.
    fn of_log(&mut self, epoch: &Epoch) {
        if self.epoch.as_ref() != Some(epoch) {
            (self.epoch, self.own, self.pending) = (Some(epoch.clone()), Offset::ZERO, None);
            self.begin_again();
        }
    }

    /// The events of before don't connect to those that come.
    pub(crate) fn begin_again(&mut self) {
        (self.counted, self.covered, self.asked) = (None, None, None);
        self.recent.clear();
        self.receipts_changed |= !self.receipts.is_empty();
        self.receipts.clear();
        if !matches!(self.status, PeopleStatus::Refused { .. }) {
            self.status = PeopleStatus::Syncing;
        }
    }

    /// The connection is gone, or the subscription.
    pub(crate) fn disconnected(&mut self) {
        self.handed_over();
        self.status = PeopleStatus::Syncing;
    }

    /// Another connection takes over.
    pub(crate) fn handed_over(&mut self) {
        self.asked = None;
        self.told = None;
        if let Some(pending) = &mut self.pending {
            pending.sent = None;
        }
    }

    /// The channel may not be read any more.
    pub(crate) fn refuse(&mut self, code: &str) {
        self.forget();
        self.status = PeopleStatus::Refused { code: code.to_owned() };
    }

    /// Another user signed in.
    pub(crate) fn forget(&mut self) {
        self.begin_again();
        (self.epoch, self.own, self.pending, self.told) = (None, Offset::ZERO, None, None);
        self.status = PeopleStatus::Syncing;
    }

    // Asking and telling. Only while the channel is live.

    /// Whether to ask the server for the positions now; it counts as asked from now on.
    pub(crate) fn ask(&mut self, now: Time, epoch: &Epoch, cursor: Offset) -> bool {
        self.of_log(epoch);
        let is_due = self.watchers > 0
            && !matches!(self.status, PeopleStatus::Refused { .. })
            && self.ask_at().is_none_or(|at| at <= now);
        if is_due {
            self.asked = Some((now, cursor));
            if self.covered.is_none() {
                self.covered = Some(cursor);
            }
        }
        is_due
    }

    fn ask_at(&self) -> Option<Time> {
        let answered = self.status != PeopleStatus::Syncing;
        self.asked.map(|(asked, _)| if answered { Time(u64::MAX) } else { asked.after(ANSWER_MS) })
    }

    /// The position to tell the server now; it counts as told from now on.
    pub(crate) fn tell(&mut self, now: Time) -> Option<Offset> {
        if self.tell_at()? > now {
            return None;
        }
        self.told = Some(now);
        let pending = self.pending.as_mut()?;
        pending.sent = Some(now);
        Some(pending.offset)
    }

    fn tell_at(&self) -> Option<Time> {
        let pending = self.pending.as_ref()?;
        let at = match pending.sent {
            Some(sent) => sent.after(ANSWER_MS),
            None => self.told.map_or(Time::default(), |told| told.after(TELL_MS)),
        };
        Some(at.max(self.not_before))
    }

    /// When to look again, while the channel is live.
    pub(crate) fn deadline(&self) -> Option<Time> {
        let ask = (self.watchers > 0).then(|| self.ask_at()).flatten();
        self.tell_at().into_iter().chain(ask).min()
    }

    /// Applies what the server tells. Returns the code if it refused a position for good.
    pub(crate) fn apply(&mut self, now: Time, frame: &Marks) -> Option<String> {
        if let Some(code) = &frame.refused {
            return self.refused(now, code, frame.retry_after_ms);
        }
        if let Some(offset) = frame.offset {
            self.own = self.own.max(offset);
            if self.pending.as_ref().is_some_and(|pending| pending.offset <= self.own) {
                self.pending = None;
            }
        }
        if self.watchers == 0 {
            return None;
        }
        if let (Some(unread), Some(offset), Some((_, cursor))) = (frame.unread, frame.offset, self.asked) {
            self.counted = Some((offset, unread));
            self.covered = Some(cursor);
            while self.recent.front().is_some_and(|first| *first <= cursor) {
                self.recent.pop_front();
            }
            self.status = PeopleStatus::Live;
        }
        if frame.crowded {
            self.status = PeopleStatus::Crowded;
            self.receipts_changed |= !self.receipts.is_empty();
            self.receipts.clear();
        }
        for receipt in &frame.users {
            self.receive(receipt);
        }
        self.look_again();
        None
    }

    fn receive(&mut self, receipt: &Receipt) {
        let same =
            |known: &&mut Receipt| known.user.id == receipt.user.id && known.user.kind == receipt.user.kind;
        match self.receipts.iter_mut().find(same) {
            Some(known) if known.offset >= receipt.offset => return,
            Some(known) => known.clone_from(receipt),
            None => self.receipts.push(receipt.clone()),
        }
        self.receipts_changed = true;
    }

    /// Asks again if another device has read up to an event of which it is not known what comes
    /// after it.
    fn look_again(&mut self) {
        let is_known = |(of, _): &(Offset, Unread)| *of == self.own;
        let covers = self.covered.is_some_and(|covered| covered <= self.own);
        if self.status != PeopleStatus::Syncing
            && self.pending.is_none()
            && !covers
            && !self.counted.as_ref().is_some_and(is_known)
        {
            self.asked = None;
        }
    }

    fn refused(&mut self, now: Time, code: &str, retry_after_ms: Option<u64>) -> Option<String> {
        if code == codes::NOT_SUBSCRIBED || retry_after_ms.is_some() {
            // The same may be accepted later.
            self.handed_over();
            self.not_before = now.after(retry_after_ms.unwrap_or(TELL_MS).clamp(TELL_MS, ANSWER_MS));
            if self.status == PeopleStatus::Syncing && self.watchers > 0 {
                let asked = Time(self.not_before.0.saturating_sub(ANSWER_MS));
                self.asked = Some((asked, self.covered.unwrap_or_default()));
            }
            return None;
        }
        if self.pending.take().is_none() {
            self.status = PeopleStatus::Refused { code: code.to_owned() };
            return None;
        }
        Some(code.to_owned())
    }

    // What is unread.

    /// An event was applied.
    pub(crate) fn applied(&mut self, event: &EventFrame, me: Option<&User>) {
        if self.watchers == 0 || self.covered.is_none() {
            return;
        }
        let own = me.is_some_and(|me| me.id == event.by.id && me.kind == event.by.kind);
        if own || !counts_as_unread(&event.kind) {
            return;
        }
        self.recent.push_back(event.offset);
        if self.recent.len() > REMEMBERED {
            self.covered = self.recent.pop_front();
        }
    }

    /// How many events are unread, and whether there may be more; none while it is not known.
    fn unread(&self) -> Option<(u64, bool)> {
        let position = self.position();
        let after = |offset: Offset| self.recent.iter().filter(|event| **event > offset).count() as u64;
        match (self.covered, &self.counted) {
            (Some(covered), _) if covered <= position => Some((after(position), false)),
            (_, Some((_, unread))) => Some((unread.count + after(unread.head), unread.more)),
            _ => None,
        }
    }

    /// What is shown, with the positions of others if they changed; none if nothing did.
    pub(crate) fn take_changes(&mut self) -> Option<(ReadState, Option<Vec<Receipt>>)> {
        if self.watchers == 0 {
            return None;
        }
        let state = self.state();
        let receipts = std::mem::take(&mut self.receipts_changed);
        if !receipts && self.shown.as_ref() == Some(&state) {
            return None;
        }
        self.shown = Some(state.clone());
        Some((state, receipts.then(|| self.receipts.clone())))
    }

    pub(crate) fn state(&self) -> ReadState {
        let unread = self.unread();
        ReadState {
            position: self.position(),
            unread: unread.map(|(count, _)| count),
            more: unread.is_some_and(|(_, more)| more),
            status: self.status.clone(),
        }
    }

    pub(crate) fn receipts(&self) -> &[Receipt] {
        &self.receipts
    }
}
