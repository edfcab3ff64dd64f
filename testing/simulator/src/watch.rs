//! What must hold, checked as it happens; and a count of what happened.

use crate::device::{Bucket, Device, Process};
use crate::script::{Action, Script};
use crate::server::{CHANNELS, Server};
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use tidewire_core::wire::{
    ClientFrame, EventFrame, Mode, ServerFrame, decode_client_message, decode_server_message,
};
use tidewire_core::{Change, ChannelState, Event, Lane, Row, RowState, State, StoreChange};
use tidewire_history::{Event as Told, History, Violation};

/// Silence that a client may take for life: `ping_ms` and `grace_ms` of the server.
const SILENCE_MS: u64 = 35_000;
/// What a probe waits for at least.
const PROBE_MS: u64 = 3_000;

/// A promise that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// The guarantee's number, or what else went wrong.
    pub what: String,
    /// How it showed.
    pub how: String,
    /// When, in ms of virtual time.
    pub at: u64,
}

pub(crate) struct Watch {
    pub(crate) history: History,
    broken: Option<Broken>,
    hash: DefaultHasher,
    /// Whether to print what happens.
    aloud: bool,
    now: u64,
    pub(crate) faults: BTreeMap<&'static str, u64>,
    pub(crate) marks: BTreeMap<String, u64>,
    may_jump: BTreeSet<usize>,
    channels: BTreeMap<String, String>,
    order: BTreeMap<String, usize>,
    pub(crate) lanes: BTreeMap<String, Lane>,
    /// Acknowledged ops, with whose they are.
    acked: BTreeMap<String, String>,
    /// What rows that were called live left out, by epoch and offset, with who saw that first, and
    /// when.
    pub(crate) holes: BTreeMap<(String, u64), (usize, u64)>,
}

impl Watch {
    pub(crate) fn new(script: &Script) -> Watch {
        let mut history = History::new();
        // What the server writes itself has ids of its own.
        let _ = history.push(Told::ServerPrefix { prefix: "00005e12-7e12".into() });
        Watch {
            history,
            broken: None,
            hash: DefaultHasher::new(),
            aloud: script.trace,
            now: 0,
            faults: BTreeMap::new(),
            marks: BTreeMap::new(),
            may_jump: BTreeSet::new(),
            channels: BTreeMap::new(),
            order: BTreeMap::new(),
            lanes: BTreeMap::new(),
            acked: BTreeMap::new(),
            holes: BTreeMap::new(),
        }
    }

    pub(crate) fn broken(&mut self, what: &str, how: String) {
        let at = self.now;
        self.broken.get_or_insert(Broken { what: what.to_owned(), how, at });
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.broken.is_some()
    }

    pub(crate) fn verdict(&self) -> Option<Broken> {
        self.broken.clone()
    }

    /// The same for the same run.
    pub(crate) fn hash(&self) -> u64 {
        self.hash.finish()
    }

    pub(crate) fn mark(&mut self, what: &str) {
        match self.marks.get_mut(what) {
            Some(count) => *count += 1,
            None => drop(self.marks.insert(what.to_owned(), 1)),
        }
    }

    pub(crate) fn counts(&mut self, now: u64, action: &Action) {
        self.now = now;
        if self.aloud {
            println!("{now} {action:?}");
        }
        *self.faults.entry(action.name()).or_default() += 1;
    }

    pub(crate) fn trace(&mut self, now: u64, who: &str, text: &str) {
        self.now = now;
        (now, who, text).hash(&mut self.hash);
        if self.aloud {
            println!("{now} {who} {text}");
        }
    }

    pub(crate) fn trace_event(&mut self, now: u64, event: &Event) {
        self.now = now;
        (now, std::mem::discriminant(event)).hash(&mut self.hash);
        if self.aloud {
            println!("{now} told {event:?}");
        }
    }

    fn tell(&mut self, told: Told<'_>) {
        if let Err(Violation { kind, what }) = self.history.push(told) {
            self.broken(&format!("{kind:?}").to_lowercase(), what);
        }
    }

    // Ops.

    pub(crate) fn sent(&mut self, device: &Device, id: &str, channel: &str, lane: Lane) {
        self.channels.insert(id.to_owned(), channel.to_owned());
        self.lanes.insert(id.to_owned(), lane);
        self.order.insert(id.to_owned(), self.order.len());
        self.tell(Told::Send {
            client: device.name().into(),
            ch: channel.into(),
            lane: Some(lane.as_str().into()),
            id: id.into(),
        });
    }

    pub(crate) fn acked(&mut self, device: &Device, server: &Server, id: &str, offset: u64) {
        let Some(ch) = self.channels.get(id).cloned() else { return };
        // A failed op blocks what was written after it, until somebody decides; a crash may undo
        // the decision on disk, after what stood behind it was sent.
        let blocks = |failed: &&String| {
            !device.person.given_up.contains(*failed)
                && self.lanes.get(*failed) == Some(&Lane::Durable)
                && self.lanes.get(id) == Some(&Lane::Durable)
                && self.channels.get(*failed) == Some(&ch)
                && self.order.get(*failed) < self.order.get(id)
        };
        if let Some(failed) = device.person.failed.iter().find(blocks).filter(|_| !device.unreliable) {
            return self
                .broken("S6", format!("{id} went past {failed}, which failed and was not decided about"));
        }
        let stands = server.at(&ch, offset).ok().flatten().is_some_and(|logged| logged.id == id);
        // Retention may have been faster than the answer, and so may a backup.
        let gone = server.floor(&ch).unwrap_or(0) >= offset || self.marks.contains_key("restored");
        if !stands && !gone {
            return self.broken("S1", format!("{id} was acknowledged at {offset} and is not there"));
        }
        if !stands && self.marks.contains_key("restored") {
            // The acknowledgement was under way when the backup took its place.
            return self.tell(Told::Discard { client: device.name().into(), id: id.into() });
        }
        self.acked.insert(id.to_owned(), device.name());
        self.tell(Told::Ack { client: device.name().into(), ch: ch.into(), id: id.into(), offset });
    }

    /// Told as failed. Of an op that was handed to the network and whose time ran out nobody knows
    /// whether it arrived.
    pub(crate) fn failed(&mut self, device: &Device, id: &str, code: &str, sent: bool, found: bool) {
        if (code == "expired" && sent) || found || device.unreliable || self.marks.contains_key("restored") {
            self.tell(Told::Discard { client: device.name().into(), id: id.into() });
        } else if let Some(ch) = self.channels.get(id).cloned() {
            self.tell(Told::Fail {
                client: device.name().into(),
                ch: ch.into(),
                id: id.into(),
                code: code.into(),
            });
        }
    }

    pub(crate) fn retried(&mut self, client: &str, id: &str) {
        self.tell(Told::Retry { client: client.into(), id: id.into() });
    }

    pub(crate) fn discarded(&mut self, device: &Device, id: &str) {
        self.tell(Told::Discard { client: device.name().into(), id: id.into() });
    }

    /// A crash: what was not on disk was promised to nobody.
    pub(crate) fn crashes(&mut self, device: &mut Device) {
        let promised = |id: &&String| !device.disk.has_op(id) && device.person.stored.contains(*id);
        if let Some(id) = device.person.open.keys().find(promised) {
            self.broken("S9", format!("{id} was said to be stored, and a crash loses it"));
        }
        let lost: Vec<String> =
            device.person.open.keys().filter(|id| !device.disk.has_op(id)).cloned().collect();
        for id in lost {
            self.tell(Told::Discard { client: device.name().into(), id: id.as_str().into() });
            device.person.open.remove(&id);
            device.person.failed.remove(&id);
        }
        device.person.unsaved.clear();
        self.forgets_failures(device);
    }

    /// What was told as failed, or was given up afterwards, without the disk knowing yet, waits
    /// again for whoever starts from the disk, and is sent again.
    fn forgets_failures(&mut self, device: &mut Device) {
        let (disk, person) = (&device.disk, &mut device.person);
        let forgotten: BTreeSet<String> = person
            .failed
            .union(&person.given_up)
            .filter(|id| disk.has_op(id) && !disk.has_failed(id))
            .cloned()
            .collect();
        for id in forgotten {
            person.failed.remove(&id);
            self.retried(&format!("u{}", device.number), &id);
        }
    }

    /// A new tab leads: what the old one had in memory only is submitted again, but for what means
    /// nothing later.
    pub(crate) fn hands_over(&mut self, device: &mut Device) {
        // What the old tab's disk refused while it took something later of the same channel has
        // lost its place.
        let person = &mut device.person;
        while let Some(at) = person.unsaved.iter().position(|draft| {
            let later = |other: &str| {
                self.order.get(other) > self.order.get(&draft.id)
                    && self.channels.get(other) == Some(&draft.channel)
            };
            person.open.keys().any(|other| device.disk.has_op(other) && later(other))
        }) {
            person.unsaved.remove(at);
        }
        let unsaved: BTreeSet<&str> = device.person.unsaved.iter().map(|draft| draft.id.as_str()).collect();
        let lost: Vec<String> = device
            .person
            .open
            .keys()
            .filter(|id| !device.disk.has_op(id) && !unsaved.contains(id.as_str()))
            .cloned()
            .collect();
        for id in lost {
            self.tell(Told::Discard { client: device.name().into(), id: id.as_str().into() });
            device.person.open.remove(&id);
            device.person.failed.remove(&id);
        }
        self.forgets_failures(device);
        self.mark("handover_of_tabs");
    }

    // Channels.

    pub(crate) fn boots(&mut self, device: &Device, process: Option<&mut Process>) {
        if let (Some((epoch, cursor)), Some(process)) = (device.disk.cursor(CHANNELS[1]), process) {
            (process.applied, process.begun, process.epoch) = (cursor, true, epoch.to_owned());
            self.tell(Told::Reset {
                observer: device.name().into(),
                ch: CHANNELS[1].into(),
                epoch: epoch.into(),
                from: cursor,
                reason: "restart".into(),
            });
        }
    }

    /// A message is about to be fed to the core.
    pub(crate) fn arrives(
        &mut self,
        process: &mut Process,
        conn: u64,
        text: &str,
        mono: u64,
        healed: bool,
        devices: &mut [Device],
    ) {
        let Ok(frames) = decode_server_message(text) else {
            return self.mark("nonsense");
        };
        for frame in frames {
            match frame {
                ServerFrame::Welcome(welcome) => {
                    let limits = &welcome.limits;
                    if process.budget.is_none() {
                        process.budget = Some(Bucket::new(limits.ops, limits.per_ms, limits.burst, mono));
                    }
                    if healed && !process.zombie {
                        devices[process.device].person.welcomes_healed += 1;
                    }
                    self.mark("welcome");
                }
                ServerFrame::SubOk(sub) => {
                    self.mark(match sub.mode {
                        Mode::Resumed => "sub:resumed",
                        Mode::Fresh => "sub:fresh",
                        Mode::Reset => "sub:reset",
                    });
                    if let Some(reason) = &sub.reason {
                        self.mark(&format!("reset:{reason}"));
                    }
                    sub.page.events.iter().for_each(|event| lands(process, conn, &event.id));
                    if sub.page.ch == CHANNELS[1] {
                        process.answered = Some((sub.epoch, sub.page.from));
                    } else {
                        process.told = sub.epoch;
                    }
                }
                ServerFrame::SubErr { problem, .. } => self.mark(&format!("sub_err:{}", problem.code)),
                ServerFrame::Page(page) => {
                    page.events.iter().for_each(|event| lands(process, conn, &event.id));
                    self.mark("page");
                }
                ServerFrame::Ok { id, dup, .. } => {
                    self.mark(if dup { "ok:dup" } else { "ok" });
                    lands(process, conn, &id);
                }
                ServerFrame::Nack { id, problem, .. } => {
                    self.mark(&format!("nack:{}", problem.code));
                    lands(process, conn, &id);
                }
                ServerFrame::Error(problem) => self.mark(&format!("error:{}", problem.code)),
                ServerFrame::Goaway { .. } => self.mark("goaway"),
                ServerFrame::AuthOk { .. } => self.mark("auth_ok"),
                ServerFrame::Piece(_) => self.mark("piece"),
                ServerFrame::Event(event) => {
                    // The event of an op says as much as its answer.
                    lands(process, conn, &event.id);
                }
                ServerFrame::Ping { .. }
                | ServerFrame::Pong { .. }
                | ServerFrame::Signal { .. }
                | ServerFrame::Table(_)
                | ServerFrame::Unknown => {}
                ServerFrame::Unreadable { .. } => {
                    self.broken("S3", "an event that can't be read".to_owned());
                }
            }
        }
    }

    pub(crate) fn channel(&mut self, device: &Device, process: &mut Process, state: &ChannelState) {
        match state {
            ChannelState::Reset { reason, missed } => {
                self.mark(&format!("told_reset:{reason}"));
                if *missed > 0 {
                    self.mark("told_missed");
                }
                process.begun = false;
            }
            ChannelState::Failed { code, .. } => {
                self.mark(&format!("channel_failed:{code}"));
                // What was seen is forgotten.
                process.begun = false;
            }
            ChannelState::Waiting { code, .. } => self.mark(&format!("channel_waits:{code}")),
            ChannelState::Live => self.mark("live"),
            ChannelState::Syncing => {}
        }
        let _ = device;
    }

    pub(crate) fn received(&mut self, device: &Device, process: &mut Process, frame: &EventFrame) {
        if !process.begun {
            // A view begins where the server said, and nowhere else.
            let Some((epoch, from)) = process.answered.clone() else {
                return self.broken("S5", "an event before any answer to the subscription".to_owned());
            };
            (process.begun, process.applied) = (true, from);
            process.epoch.clone_from(&epoch);
            self.tell(Told::Reset {
                observer: device.name().into(),
                ch: CHANNELS[1].into(),
                epoch: epoch.into(),
                from,
                reason: "told".into(),
            });
        }
        if let Some((epoch, _)) = &process.answered
            && *epoch != process.epoch
        {
            return self.broken("S7", "another epoch without a reset".to_owned());
        }
        process.applied = frame.offset;
        let epoch = process.epoch.clone();
        self.tell(Told::Apply {
            observer: device.name().into(),
            ch: CHANNELS[1].into(),
            epoch: epoch.into(),
            offset: frame.offset,
            id: frame.id.as_str().into(),
        });
    }

    /// What is called live stands in the log's order, what is not in it behind that. It has no
    /// hole: what is between its rows is to be what has none, which the log tells at the end.
    pub(crate) fn looks(&mut self, process: &mut Process) {
        if !process.live || !std::mem::take(&mut process.changed) {
            return;
        }
        let mut rows = process.rows.iter().map(|row| row.offset);
        let Some(mut before) = rows.next() else { return };
        for place in rows {
            match (before, place) {
                (Some(before), Some(place)) if before < place => {
                    for hole in before + 1..place {
                        self.holes.entry((process.told.clone(), hole)).or_insert((process.device, self.now));
                    }
                }
                (_, None) => {}
                _ => {
                    let how = format!("u{} shows {place:?} behind {before:?}", process.device);
                    return self.broken("rows", how);
                }
            }
            before = place;
        }
    }

    /// An answer only grows, and its end keeps what was shown.
    pub(crate) fn change(&mut self, process: &Process, change: &Change<Row>) {
        if let Change::Update { index, row } = change
            && let Some(before) = process.rows.get(*index)
            && before.state == RowState::Streaming
            && before.id == row.id
        {
            if !row.text.starts_with(&before.text) {
                self.broken("S19", format!("answer {} has another text than was shown", row.id));
            }
            self.mark(row.state.as_str());
        }
    }

    pub(crate) fn synced(&mut self, process: Option<&Process>, change: &StoreChange) {
        if let (StoreChange::PutEvents { channel, epoch, cursor, .. }, Some(process)) = (change, process)
            && channel == CHANNELS[1]
            && process.begun
            && *epoch == process.epoch
            && *cursor > process.applied
        {
            self.broken(
                "S7",
                format!("the cursor {cursor} is kept, but only {} was applied", process.applied),
            );
        }
    }

    pub(crate) fn stores(&mut self, process: &Process, change: &StoreChange) {
        if let StoreChange::DeleteOp { id } = change
            && !process.zombie
            && !process.settled.contains(id)
        {
            // The core says what became of it right after.
            self.mark("deleted_before_told");
        }
    }

    // The connection.

    pub(crate) fn dials(&mut self, process: &mut Process, open: usize, mono: u64) {
        if self.aloud {
            println!("{} u{} dials, {open} open, {:?}", self.now, process.device, process.state);
        }
        if open >= 2 || (open == 1 && process.state != State::Online) {
            self.broken("S14", format!("dials while {open} are open and the state is {:?}", process.state));
        }
        if !process.wants {
            self.broken("S11", "dials although nobody wants it".to_owned());
        }
        while process.dials.front().is_some_and(|first| mono - first >= 60_000) {
            process.dials.pop_front();
        }
        if process.dials.len() >= 12 {
            self.broken("S11", "more than 12 dials in a minute".to_owned());
        }
        process.dials.push_back(mono);
    }

    pub(crate) fn sends(
        &mut self,
        process: &mut Process,
        device: &mut Device,
        conn: u64,
        text: &str,
        mono: u64,
    ) {
        self.trace(self.now, "sent", text);
        let Ok(frames) = decode_client_message(text) else {
            return self.broken("S2", "the client sends what is no frame".to_owned());
        };
        for frame in frames {
            if let ClientFrame::Op(op) = frame {
                if let Some(sent) = device.person.open.get_mut(&op.id) {
                    *sent = true;
                }
                let flying = process.flying.entry(conn).or_default();
                flying.insert(op.id, op.body.len());
                let bytes: usize = flying.values().sum();
                let count = flying.len();
                if count > 32 || (count > 1 && bytes > 262_144) {
                    self.broken("S8", format!("{count} ops of {bytes} bytes are unanswered"));
                }
                if process.budget.as_mut().is_some_and(|budget| !budget.take(mono)) {
                    self.broken("S10", "an op beyond the budget".to_owned());
                }
            }
        }
    }

    pub(crate) fn gives_up(&mut self, conn: u64, code: u16, heard: Option<u64>, mono: u64) {
        if code == tidewire_core::wire::codes::close::PING_TIMEOUT {
            self.mark("found_dead");
            if heard.is_some_and(|heard| mono.saturating_sub(heard) < PROBE_MS) {
                self.broken("S12", format!("connection {conn} is dropped for silence while bytes arrive"));
            }
        }
    }

    pub(crate) fn waits(&mut self, process: &Process, until: Option<u64>, heard: Option<u64>, mono: u64) {
        let sleeps = matches!(process.state, State::Idle | State::Closed | State::Failed | State::Parked);
        match until {
            None if !sleeps && process.core.explain().counters.waiting == 0 => {
                self.broken("S14", format!("no timer while {:?}", process.state));
            }
            Some(until) if until <= mono => self.broken("S14", "a wait for the past".to_owned()),
            // Late by the clocks' sleep the core asks before it gives up.
            Some(until)
                if process.state == State::Online
                    && heard.is_some_and(|heard| until > heard.max(mono) + SILENCE_MS) =>
            {
                self.broken("S13", "no look at the heartbeat in time".to_owned());
            }
            _ => {}
        }
    }

    /// The clocks of a device jump: see that it is calm about it.
    pub(crate) fn jumps(&mut self, _processes: &mut [Option<Process>], device: &Device) {
        self.may_jump.insert(device.number);
    }

    pub(crate) fn restored(&mut self) {
        self.mark("restored");
        for channel in CHANNELS {
            self.tell(Told::Restored { ch: channel.into() });
        }
        // What was acknowledged before may be gone, and may come again if its client's disk did not
        // take the news.
        for (id, client) in std::mem::take(&mut self.acked) {
            self.tell(Told::Discard { client: client.into(), id: id.into() });
        }
    }
}

fn lands(process: &mut Process, conn: u64, id: &str) {
    if let Some(flying) = process.flying.get_mut(&conn) {
        flying.remove(id);
    }
}
