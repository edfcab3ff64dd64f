//! A subscription: the cursor, the rule that offsets are applied densely, and the repair of gaps.

use super::persistence::Persistence;
use crate::chat::Timeline;
use crate::ids::Ids;
use crate::people::{Leases, Reading, Roster};
use crate::retry::{self, Retry};
use crate::rng::Rng;
use crate::time::Time;
use crate::wire::{ChannelName, Cursor, EventFrame, Mode, Offset, Page, Piece, SubOk, Subscription, Want};

/// After this many repairs in a row without progress the client subscribes again without a cursor.
const REPAIRS: u8 = 3;
/// How long the server may take to answer `sub` or `next`.
const ANSWER_MS: u64 = 15_000;
/// For how many events ids are remembered, to drop an event that comes twice under two offsets.
const REMEMBERED: u64 = 256;
/// When a refused subscription is tried again.
const RETRY: Retry = Retry::new(1_000, 30_000);

/// The state of a subscription at the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The client has to subscribe.
    Unsent,
    /// `sub` or `next` is under way.
    Asked { since: Time },
    /// The server sends events as they happen.
    Live,
    /// Refused for now: subscribe again at `at`, and never before `floor`.
    Retry { at: Time, floor: Time },
    /// Refused for good.
    Failed,
}

/// A request for events before those that are here, until its answer comes.
struct Older {
    before: Offset,
    most: u64,
    /// When to send it, again if it was sent before.
    at: Time,
}

/// What the client has to do about a channel after a frame.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing.
    None,
    /// Send `next` from the cursor.
    Next,
    /// Repairing failed, or the server broke the protocol: subscribe again without a cursor.
    Anew,
    /// Caught up: live from here on.
    Live,
}

/// The events that a frame applied, in order, and whether the rows before them no longer count.
pub(crate) struct Applied<'a> {
    pub(crate) events: Vec<&'a EventFrame>,
    /// Whether the cursor was set to another place: events that were kept from before don't connect
    /// to these.
    pub(crate) anew: bool,
    /// The reason of a reset: why earlier events are forgotten.
    pub(crate) reset: Option<String>,
    /// How many events of the same log the reset skipped.
    pub(crate) missed: u64,
    pub(crate) step: Step,
}

pub(crate) struct Channel {
    pub(crate) name: ChannelName,
    pub(crate) phase: Phase,
    pub(crate) cursor: Option<Cursor>,
    /// The rows, for a dialog.
    pub(crate) timeline: Option<Timeline>,
    pub(crate) persistence: Persistence,
    /// Who is there.
    pub(crate) people: Roster,
    /// What this client's user is doing there.
    pub(crate) leases: Leases,
    /// How far it was read.
    pub(crate) reading: Reading,
    /// Whether the events are stored for the next start, and not the cursor alone.
    pub(crate) keeps_events: bool,
    /// How many holders follow the rows, and how many the events.
    row_holders: u32,
    raw_holders: u32,
    /// The cursor before it was given up to load the rows: holders of events have had the events up
    /// to it.
    delivered: Option<Cursor>,
    /// Requests for older events.
    older: Vec<Older>,
    /// The ids of the last events, with their offsets.
    seen: Ids,
    repairs: u8,
    refusals: u32,
    /// Repairing failed: the next answer counts as a reset.
    gave_up: bool,
}

impl Channel {
    /// A channel with its first holder: of its rows if there is a timeline, otherwise of its
    /// events.
    pub(crate) fn new(name: &ChannelName, cursor: Option<Cursor>, timeline: Option<Timeline>) -> Channel {
        let of_rows = u32::from(timeline.is_some());
        Channel {
            name: name.clone(),
            phase: Phase::Unsent,
            cursor,
            timeline,
            persistence: Persistence::default(),
            people: Roster::default(),
            leases: Leases::default(),
            reading: Reading::default(),
            keeps_events: of_rows > 0,
            row_holders: of_rows,
            raw_holders: 1 - of_rows,
            delivered: None,
            older: Vec::new(),
            seen: Ids::default(),
            repairs: 0,
            refusals: 0,
            gave_up: false,
        }
    }

    /// The subscription to send; it counts as sent from now on.
    pub(crate) fn ask(&mut self, now: Time, tail: u64) -> Subscription {
        self.phase = Phase::Asked { since: now };
        Subscription { ch: self.name.clone(), want: Want { cursor: self.cursor.clone(), tail } }
    }

    /// The subscription to send on the successor of this connection.
    pub(crate) fn wish(&self, tail: u64) -> Subscription {
        Subscription { ch: self.name.clone(), want: Want { cursor: self.cursor.clone(), tail } }
    }

    /// Another connection took over; `asked` says whether this channel was subscribed on it.
    pub(crate) fn handed_over(&mut self, now: Time, asked: bool) {
        if self.phase != Phase::Failed {
            self.phase = if asked { Phase::Asked { since: now } } else { Phase::Unsent };
        }
        self.repairs = 0;
        self.ask_older_again();
    }

    /// The offset for `next`; it counts as sent from now on.
    pub(crate) fn ask_next(&mut self, now: Time) -> Offset {
        self.phase = Phase::Asked { since: now };
        self.offset()
    }

    pub(crate) fn offset(&self) -> Offset {
        self.cursor.as_ref().map_or(Offset::ZERO, |cursor| cursor.offset)
    }

    /// The connection is gone.
    pub(crate) fn disconnected(&mut self) {
        if self.phase != Phase::Failed {
            self.phase = Phase::Unsent;
        }
        self.repairs = 0;
        self.ask_older_again();
    }

    /// When to look at this channel again.
    pub(crate) fn deadline(&self) -> Option<Time> {
        match self.phase {
            Phase::Asked { since } => Some(since.after(ANSWER_MS)),
            Phase::Retry { at, .. } => Some(at),
            Phase::Live => self.older.iter().map(|older| older.at).min(),
            Phase::Unsent | Phase::Failed => None,
        }
    }

    /// Whether it is time to subscribe (again).
    pub(crate) fn is_due(&self, now: Time) -> bool {
        let due = || self.deadline().is_some_and(|at| at <= now);
        self.phase == Phase::Unsent || (self.phase != Phase::Live && due())
    }

    // Older events.

    /// Requests at most so many events before an offset.
    pub(crate) fn want_older(&mut self, now: Time, before: Offset, most: u64) {
        match self.older.iter_mut().find(|older| older.before == before) {
            Some(older) => older.most = older.most.max(most),
            None => self.older.push(Older { before, most, at: now }),
        }
    }

    /// A request for older events that is due; it counts as sent from now on.
    pub(crate) fn ask_older(&mut self, now: Time) -> Option<(Offset, u64)> {
        if self.phase != Phase::Live {
            return None;
        }
        let older = self.older.iter_mut().find(|older| older.at <= now)?;
        older.at = now.after(ANSWER_MS);
        Some((older.before, older.most))
    }

    /// The answer to the request for events before an offset came; false if there is none, or if it
    /// is to be sent again in `retry_ms` ms.
    pub(crate) fn answered_older(&mut self, now: Time, before: Offset, retry_ms: Option<u64>) -> bool {
        let Some(at) = self.older.iter().position(|older| older.before == before) else { return false };
        match retry_ms {
            Some(retry_ms) => self.older[at].at = now.after(retry_ms.clamp(1, retry::MOST_MS)),
            None => drop(self.older.remove(at)),
        }
        retry_ms.is_none()
    }

    /// Drops all requests for older events, because the log is another one or nobody may read it.
    /// Returns the offset of each.
    pub(crate) fn drop_older(&mut self) -> Vec<Offset> {
        let dropped = std::mem::take(&mut self.older);
        dropped.iter().map(|older| older.before).collect()
    }

    fn ask_older_again(&mut self) {
        for older in &mut self.older {
            older.at = Time::default();
        }
    }

    /// The server refused the subscription for now; returns when to try again.
    pub(crate) fn refused(&mut self, now: Time, floor_ms: u64, rng: &mut Rng) -> Time {
        let floor_ms = floor_ms.clamp(1, retry::MOST_MS);
        let (at, floor) = (now.after(RETRY.delay(self.refusals, floor_ms, rng)), now.after(floor_ms));
        self.refusals = self.refusals.saturating_add(1);
        self.phase = Phase::Retry { at, floor };
        at
    }

    /// The application asks for the channel: tries again early, but not before the server's time.
    pub(crate) fn hurry(&mut self) {
        if let Phase::Retry { floor, .. } = self.phase {
            self.phase = Phase::Retry { at: floor, floor };
        }
    }

    /// A piece or an event came that can't be read: a page will bring what the channel has.
    pub(crate) fn unreadable(&mut self) -> Step {
        if self.phase == Phase::Live { self.repair() } else { Step::None }
    }

    // Holders.

    /// Adds a holder of the channel's rows or of its events.
    pub(crate) fn add_holder(&mut self, rows: bool) {
        let holders = if rows { &mut self.row_holders } else { &mut self.raw_holders };
        *holders += 1;
    }

    /// Follows the rows too, where only the events were followed. The channel is subscribed again
    /// without a cursor, to load what came before.
    pub(crate) fn show_rows(&mut self, timeline: Timeline) {
        self.delivered = self.cursor.take();
        self.timeline = Some(timeline);
        self.begin_again();
    }

    /// Follows the events too, where only the rows were followed; false if the events were followed
    /// already. The channel is subscribed again without a cursor, to load what came before.
    pub(crate) fn load_events(&mut self) -> bool {
        if self.raw_holders > 0 {
            return false;
        }
        self.delivered = None;
        self.cursor = None;
        self.begin_again();
        true
    }

    /// Stores all events from here on, and subscribes again.
    fn begin_again(&mut self) {
        self.keeps_events = true;
        self.seen.clear();
        if self.phase != Phase::Failed {
            self.phase = Phase::Unsent;
        }
    }

    /// Removes a holder; false if there is no such holder.
    pub(crate) fn release(&mut self, of_rows: bool) -> bool {
        let holders = if of_rows { &mut self.row_holders } else { &mut self.raw_holders };
        let Some(left) = holders.checked_sub(1) else { return false };
        *holders = left;
        if of_rows && left == 0 && self.raw_holders > 0 {
            self.timeline = None;
        }
        true
    }

    pub(crate) fn is_held(&self) -> bool {
        self.row_holders + self.raw_holders > 0
    }

    /// Whether the holders of events are to be notified of this one.
    pub(crate) fn is_new_to_holders(&self, offset: Offset) -> bool {
        let delivered = self.delivered.as_ref().zip(self.cursor.as_ref());
        self.raw_holders > 0
            && !delivered.is_some_and(|(last, cursor)| last.epoch == cursor.epoch && offset <= last.offset)
    }

    pub(crate) fn sub_ok<'a>(&mut self, sub: &'a SubOk) -> Applied<'a> {
        let mut reset = None;
        let known =
            self.cursor.as_ref().filter(|cursor| cursor.epoch == sub.epoch).map(|cursor| cursor.offset);
        // During a handover the old connection may have brought more events.
        let continues = known.is_some_and(|offset| offset >= sub.page.from);
        // An answer that comes twice, or that was requested without a cursor before the old
        // connection brought one, changes nothing. Only a reset says that the cursor is beyond the
        // head.
        let joins_on = continues && (sub.mode == Mode::Fresh || known <= Some(sub.page.head));
        match sub.mode {
            Mode::Resumed if continues => {}
            Mode::Fresh | Mode::Reset if joins_on => {}
            Mode::Resumed => {
                return Applied { events: Vec::new(), anew: false, reset: None, missed: 0, step: Step::Anew };
            }
            Mode::Fresh | Mode::Reset => {
                // Holders of events that had others before have to know that these don't follow.
                let left =
                    self.delivered.take_if(|last| last.epoch != sub.epoch || last.offset < sub.page.from);
                let had_rows = self.cursor.is_some() || self.gave_up || left.is_some();
                if had_rows {
                    let reason = if self.gave_up { None } else { sub.reason.clone() };
                    // In the same log events were skipped; in another one nothing is connected.
                    let same = known.is_some() || left.is_some_and(|last| last.epoch == sub.epoch);
                    let silent = if self.gave_up || same { "gap" } else { "epoch" };
                    reset = Some(reason.unwrap_or_else(|| silent.to_owned()));
                }
                if let Some(timeline) = &mut self.timeline {
                    timeline.begins_after(sub.page.from);
                }
                self.cursor = Some(Cursor { epoch: sub.epoch.clone(), offset: sub.page.from });
                self.seen.clear();
                self.gave_up = false;
            }
        }
        self.refusals = 0;
        let anew = sub.mode != Mode::Resumed && !joins_on;
        let mut applied = self.page(&sub.page);
        applied.anew = anew;
        applied.reset = reset;
        applied
    }

    /// How many events of the same log lie between the cursor and the beginning of this answer.
    pub(crate) fn skipped(&self, sub: &SubOk) -> u64 {
        match self.cursor.as_ref().or(self.delivered.as_ref()) {
            Some(cursor) if cursor.epoch == sub.epoch => sub.page.from.since(cursor.offset),
            _ => 0,
        }
    }

    pub(crate) fn page<'a>(&mut self, page: &'a Page) -> Applied<'a> {
        let before = self.offset();
        let mut events = Vec::new();
        let mut dense = true;
        for event in &page.events {
            match self.sequence(event) {
                Sequence::Next => {
                    if self.advance(event) {
                        events.push(event);
                    }
                }
                Sequence::Duplicate => {}
                Sequence::Gap => {
                    dense = false;
                    break;
                }
            }
        }
        let forward = self.offset() > before;
        // A page that ends below the head is not the last one, whatever it says.
        let more = page.more || self.offset() < page.head;
        let step = if !dense || (more && !forward) {
            self.repair()
        } else if more {
            Step::Next
        } else {
            self.repairs = 0;
            self.phase = Phase::Live;
            Step::Live
        };
        Applied { events, anew: false, reset: None, missed: 0, step }
    }

    /// Applies a live event.
    pub(crate) fn event<'a>(&mut self, event: &'a EventFrame) -> Applied<'a> {
        let none = |step| Applied { events: Vec::new(), anew: false, reset: None, missed: 0, step };
        match self.sequence(event) {
            Sequence::Next => {
                let fresh = self.advance(event);
                Applied {
                    events: if fresh { vec![event] } else { Vec::new() },
                    anew: false,
                    reset: None,
                    missed: 0,
                    step: Step::None,
                }
            }
            Sequence::Duplicate => none(Step::None),
            Sequence::Gap if self.phase == Phase::Live => none(self.repair()),
            Sequence::Gap => none(Step::None),
        }
    }

    /// Applies a piece of an answer. If one was missed a page is needed, which has the whole text
    /// so far.
    pub(crate) fn piece(&mut self, piece: &Piece) -> Step {
        if self.phase != Phase::Live {
            return Step::None;
        }
        let applied = self.timeline.as_mut().is_none_or(|timeline| timeline.piece(piece));
        if applied { Step::None } else { self.repair() }
    }

    fn repair(&mut self) -> Step {
        self.repairs += 1;
        if self.repairs > REPAIRS { Step::Anew } else { Step::Next }
    }

    pub(crate) fn is_live(&self) -> bool {
        self.phase == Phase::Live
    }

    /// Whether the client has to subscribe, and has not asked yet.
    pub(crate) fn is_unsent(&self) -> bool {
        self.phase == Phase::Unsent
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.phase == Phase::Failed
    }

    /// Subscribes once more after a refusal.
    pub(crate) fn ask_again(&mut self) {
        self.phase = Phase::Unsent;
    }

    /// The server refused the subscription for good.
    pub(crate) fn fail(&mut self) {
        self.phase = Phase::Failed;
    }

    /// Forgets all events and the cursor; false if there was none.
    pub(crate) fn forget(&mut self) -> bool {
        if let Some(timeline) = &mut self.timeline {
            timeline.begins_after(Offset::ZERO);
        }
        self.seen.clear();
        self.persistence.reset();
        self.delivered = None;
        self.cursor.take().is_some()
    }

    /// Forgets the cursor, because repairing failed.
    pub(crate) fn give_up(&mut self) {
        // Without a cursor this view has nothing that it could lose, so the next answer is no
        // reset.
        if self.cursor.take().is_some() {
            self.gave_up = true;
            self.delivered = None;
        }
        self.repairs = 0;
        self.phase = Phase::Unsent;
    }

    fn sequence(&self, event: &EventFrame) -> Sequence {
        match event.offset.since(self.offset()) {
            0 => Sequence::Duplicate,
            1 if self.cursor.is_some() => Sequence::Next,
            _ => Sequence::Gap,
        }
    }

    /// Moves the cursor onto the event; false if its id was applied before under another offset.
    fn advance(&mut self, event: &EventFrame) -> bool {
        if let Some(cursor) = &mut self.cursor {
            cursor.offset = event.offset;
        }
        self.repairs = 0;
        let oldest = event.offset.minus(REMEMBERED);
        if self.seen.get(&event.id).is_some_and(|offset| offset >= oldest) {
            return false;
        }
        self.seen.set(&event.id, event.offset);
        self.seen.forget_before(oldest, REMEMBERED as usize);
        true
    }
}

enum Sequence {
    Duplicate,
    Next,
    Gap,
}
