//! A subscription: the cursor, the rule that offsets are applied densely, and the repair of gaps.

use super::keeping::Keeping;
use crate::chat::Timeline;
use crate::ids::Ids;
use crate::retry::{self, Retry};
use crate::rng::Rng;
use crate::time::Time;
use crate::wire::{Cursor, EventFrame, Mode, Page, Piece, SubOk, Subscription, Want};

/// After this many repairs in a row that brought nothing forward, start anew.
const REPAIRS: u8 = 3;
/// How long the server may take to answer `sub` or `next`.
const ANSWER_MS: u64 = 15_000;
/// Over how many events their ids are remembered, to drop an event that comes twice under two
/// offsets.
const REMEMBERED: u64 = 256;
/// When a refused subscription is tried again.
const RETRY: Retry = Retry::new(1_000, 30_000);

/// How a subscription stands at the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// To be asked for.
    Unsent,
    /// `sub` or `next` is under way.
    Asked { since: Time },
    /// Events follow as they happen.
    Live,
    /// Refused; to be asked again then, and not before `floor`.
    Retry { at: Time, floor: Time },
    /// Refused for good.
    Failed,
}

/// What the client has to do about a channel after a frame.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing.
    None,
    /// Ask `next` from the cursor.
    Next,
    /// The server broke the protocol's rules: subscribe anew.
    Anew,
    /// Caught up: live from here on.
    Live,
}

/// Events that were applied, in order, and whether the rows before them are void.
pub(crate) struct Applied {
    pub(crate) events: Vec<EventFrame>,
    /// Whether the cursor was set anew, so that nothing kept from before it joins on.
    pub(crate) anew: bool,
    /// Why earlier events are forgotten.
    pub(crate) reset: Option<String>,
    /// How many events of the same log were skipped by that.
    pub(crate) missed: u64,
    pub(crate) step: Step,
}

pub(crate) struct Channel {
    pub(crate) name: String,
    pub(crate) phase: Phase,
    pub(crate) cursor: Option<Cursor>,
    /// The rows, for a dialog.
    pub(crate) timeline: Option<Timeline>,
    pub(crate) keeping: Keeping,
    /// How many follow the rows, and how many the events as they come.
    row_holders: u32,
    raw_holders: u32,
    /// Who follows the events was told of those up to here before the cursor was set anew for the
    /// rows.
    told: Option<Cursor>,
    /// The ids of the last events, with their offsets.
    seen: Ids,
    repairs: u8,
    refusals: u32,
    /// The last repairs brought nothing: say so with the next reset.
    gave_up: bool,
}

impl Channel {
    /// A channel with its first holder: of its rows, if there is a timeline, else of its events.
    pub(crate) fn new(name: &str, cursor: Option<Cursor>, timeline: Option<Timeline>) -> Channel {
        let of_rows = u32::from(timeline.is_some());
        Channel {
            name: name.to_owned(),
            phase: Phase::Unsent,
            cursor,
            timeline,
            keeping: Keeping::default(),
            row_holders: of_rows,
            raw_holders: 1 - of_rows,
            told: None,
            seen: Ids::default(),
            repairs: 0,
            refusals: 0,
            gave_up: false,
        }
    }

    /// The subscription to ask for; from now on it is under way.
    pub(crate) fn ask(&mut self, now: Time, tail: u64) -> Subscription {
        self.phase = Phase::Asked { since: now };
        Subscription { ch: self.name.clone(), want: Want { cursor: self.cursor.clone(), tail } }
    }

    /// The subscription to ask for on a connection that is to take over.
    pub(crate) fn wish(&self, tail: u64) -> Subscription {
        Subscription { ch: self.name.clone(), want: Want { cursor: self.cursor.clone(), tail } }
    }

    /// Another connection took over, which was asked for this channel or was not.
    pub(crate) fn handed_over(&mut self, now: Time, asked: bool) {
        if self.phase != Phase::Failed {
            self.phase = if asked { Phase::Asked { since: now } } else { Phase::Unsent };
        }
        self.repairs = 0;
    }

    /// Where `next` is to continue; from now on it is under way.
    pub(crate) fn ask_next(&mut self, now: Time) -> u64 {
        self.phase = Phase::Asked { since: now };
        self.offset()
    }

    pub(crate) fn offset(&self) -> u64 {
        self.cursor.as_ref().map_or(0, |cursor| cursor.offset)
    }

    /// The connection is gone.
    pub(crate) fn disconnected(&mut self) {
        if self.phase != Phase::Failed {
            self.phase = Phase::Unsent;
        }
        self.repairs = 0;
    }

    /// When to look at this channel again.
    pub(crate) fn deadline(&self) -> Option<Time> {
        match self.phase {
            Phase::Asked { since } => Some(since.after(ANSWER_MS)),
            Phase::Retry { at, .. } => Some(at),
            Phase::Unsent | Phase::Live | Phase::Failed => None,
        }
    }

    /// Whether it is time to subscribe (again).
    pub(crate) fn is_due(&self, now: Time) -> bool {
        self.phase == Phase::Unsent || self.deadline().is_some_and(|at| at <= now)
    }

    /// The server refused, for now.
    pub(crate) fn refused(&mut self, now: Time, floor_ms: u64, rng: &mut Rng) -> Time {
        let floor_ms = floor_ms.clamp(1, retry::MOST_MS);
        let (at, floor) = (now.after(RETRY.delay(self.refusals, floor_ms, rng)), now.after(floor_ms));
        self.refusals = self.refusals.saturating_add(1);
        self.phase = Phase::Retry { at, floor };
        at
    }

    /// Somebody asks for it: that is worth a try before its time, though not before the server's.
    pub(crate) fn hurry(&mut self) {
        if let Phase::Retry { floor, .. } = self.phase {
            self.phase = Phase::Retry { at: floor, floor };
        }
    }

    /// A piece or an event came that can't be read: what the channel has is to be asked for.
    pub(crate) fn unreadable(&mut self) -> Step {
        if self.phase == Phase::Live { self.repair() } else { Step::None }
    }

    // Holders.

    /// Somebody more follows the channel, its rows or its events.
    pub(crate) fn hold(&mut self, rows: bool) {
        let holders = if rows { &mut self.row_holders } else { &mut self.raw_holders };
        *holders += 1;
    }

    /// Where only the events were followed, the rows are too from now on: the channel is asked for
    /// anew, to know what came before.
    pub(crate) fn show_rows(&mut self, timeline: Timeline) {
        self.told = self.cursor.take();
        self.timeline = Some(timeline);
        self.seen.clear();
        if self.phase != Phase::Failed {
            self.phase = Phase::Unsent;
        }
    }

    /// One of its holders is gone; false if there is no such holder.
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

    /// Whether who follows the events is to be told of this one.
    pub(crate) fn tells(&self, offset: u64) -> bool {
        let told = self.told.as_ref().zip(self.cursor.as_ref());
        self.raw_holders > 0
            && !told.is_some_and(|(told, cursor)| told.epoch == cursor.epoch && offset <= told.offset)
    }

    pub(crate) fn sub_ok(&mut self, sub: SubOk) -> Applied {
        let mut reset = None;
        let known =
            self.cursor.as_ref().filter(|cursor| cursor.epoch == sub.epoch).map(|cursor| cursor.offset);
        // While a connection was handed over the old one may have brought more.
        let continues = known.is_some_and(|offset| offset >= sub.page.from);
        // An answer that came twice, or was asked for without a cursor before the old connection
        // brought one, takes nothing back. Only a reset says that the cursor is beyond the head.
        let joins_on = continues && (sub.mode == Mode::Fresh || known <= Some(sub.page.head));
        match sub.mode {
            Mode::Resumed if continues => {}
            Mode::Fresh | Mode::Reset if joins_on => {}
            Mode::Resumed => {
                return Applied { events: Vec::new(), anew: false, reset: None, missed: 0, step: Step::Anew };
            }
            Mode::Fresh | Mode::Reset => {
                let had_rows = self.cursor.is_some() || self.gave_up;
                if had_rows {
                    let reason = if self.gave_up { None } else { sub.reason };
                    // Of the same log something was skipped; of another one nothing joins on.
                    let silent = if self.gave_up || known.is_some() { "gap" } else { "epoch" };
                    reset = Some(reason.unwrap_or_else(|| silent.to_owned()));
                }
                if let Some(timeline) = &mut self.timeline {
                    timeline.begins_after(sub.page.from);
                }
                self.cursor = Some(Cursor { epoch: sub.epoch, offset: sub.page.from });
                self.seen.clear();
                self.gave_up = false;
            }
        }
        self.refusals = 0;
        let anew = sub.mode != Mode::Resumed && !joins_on;
        let mut applied = self.page(sub.page);
        applied.anew = anew;
        applied.reset = reset;
        applied
    }

    /// How many events lie between the cursor and where this answer begins, in the same log.
    pub(crate) fn skipped(&self, sub: &SubOk) -> u64 {
        match &self.cursor {
            Some(cursor) if cursor.epoch == sub.epoch => sub.page.from.saturating_sub(cursor.offset),
            _ => 0,
        }
    }

    pub(crate) fn page(&mut self, page: Page) -> Applied {
        let before = self.offset();
        let mut events = Vec::new();
        let mut dense = true;
        for event in page.events {
            match self.place(&event) {
                Place::Next => {
                    if self.advance(&event) {
                        events.push(event);
                    }
                }
                Place::Past => {}
                Place::Gap => {
                    dense = false;
                    break;
                }
            }
        }
        let forward = self.offset() > before;
        // A last page that ends below the head is none.
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

    /// A live event.
    pub(crate) fn event(&mut self, event: EventFrame) -> Applied {
        let none = |step| Applied { events: Vec::new(), anew: false, reset: None, missed: 0, step };
        match self.place(&event) {
            Place::Next => {
                let fresh = self.advance(&event);
                Applied {
                    events: if fresh { vec![event] } else { Vec::new() },
                    anew: false,
                    reset: None,
                    missed: 0,
                    step: Step::None,
                }
            }
            Place::Past => none(Step::None),
            Place::Gap if self.phase == Phase::Live => none(self.repair()),
            Place::Gap => none(Step::None),
        }
    }

    /// A piece of an answer; a missed one needs a page, which carries the whole text so far.
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

    pub(crate) fn has_failed(&self) -> bool {
        self.phase == Phase::Failed
    }

    /// Asks once more for what was refused.
    pub(crate) fn ask_again(&mut self) {
        self.phase = Phase::Unsent;
    }

    /// The server refused for good.
    pub(crate) fn fail(&mut self) {
        self.phase = Phase::Failed;
    }

    /// Forgets everything committed; false if there was nothing.
    pub(crate) fn forget(&mut self) -> bool {
        if let Some(timeline) = &mut self.timeline {
            timeline.reset();
        }
        self.seen.clear();
        self.keeping.begin_anew();
        self.cursor.take().is_some()
    }

    /// Forgets the cursor, because repairing it led nowhere.
    pub(crate) fn give_up(&mut self) {
        // An answer to what an earlier holder asked for is nothing that this view would lose.
        self.gave_up |= self.cursor.take().is_some();
        self.repairs = 0;
        self.phase = Phase::Unsent;
    }

    fn place(&self, event: &EventFrame) -> Place {
        match event.offset.checked_sub(self.offset()) {
            Some(1) if self.cursor.is_some() => Place::Next,
            None | Some(0) => Place::Past,
            Some(_) => Place::Gap,
        }
    }

    /// Moves the cursor onto the event; false if its id was applied before under another offset.
    fn advance(&mut self, event: &EventFrame) -> bool {
        if let Some(cursor) = &mut self.cursor {
            cursor.offset = event.offset;
        }
        self.repairs = 0;
        let oldest = event.offset.saturating_sub(REMEMBERED);
        if self.seen.get(&event.id).is_some_and(|offset| offset >= oldest) {
            return false;
        }
        self.seen.set(&event.id, event.offset);
        self.seen.forget_before(oldest, REMEMBERED as usize);
        true
    }
}

enum Place {
    Past,
    Next,
    Gap,
}
