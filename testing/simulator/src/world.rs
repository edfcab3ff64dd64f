//! The loop: one queue of what happens when, and whoever it happens to.

use crate::device::{Device, Process};
use crate::dice::Dice;
use crate::link::{Arrival, Link, half};
use crate::script::{Action, Script};
use crate::server::{Server, clock};
use crate::watch::Watch;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::sync::Arc;
use tidewire_core::{Client, Config, ConnId, Input, StoreError, StoreId, Time, Transport};
use tidewire_server_core::{Answer, Flow, Session, ToWrite};

/// So long after permission was taken back nothing is delivered any more (S17).
const REVOKED_MS: u64 = 5_000;

/// A process and one of its attempts at a connection.
pub(crate) type Wires = (usize, u64);

/// What the queue holds.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum What {
    Wakes {
        process: usize,
        timer: u64,
    },
    Opens {
        wires: Wires,
    },
    ToServer {
        wires: Wires,
        text: String,
    },
    ToClient {
        wires: Wires,
        text: String,
    },
    /// The client hears that it is over.
    Closes {
        wires: Wires,
        code: u16,
    },
    /// The server hears that it is over.
    Hangs {
        wires: Wires,
    },
    Stored {
        device: usize,
        process: usize,
    },
    Ticks {
        wires: Wires,
        turn: u64,
    },
    Flushes {
        wires: Wires,
    },
    Commits {
        life: u64,
    },
    Answers,
    Acts {
        at: usize,
    },
    Starts {
        life: u64,
        restore: bool,
    },
    /// The device's machine, page or process goes on.
    Resumes {
        device: usize,
    },
    Shows {
        device: usize,
    },
    Boots {
        device: usize,
    },
    HasNetwork {
        device: usize,
    },
    Dies {
        process: usize,
    },
    Connects {
        device: usize,
    },
    OpensDialog {
        device: usize,
    },
    /// Unless the screen's process is gone.
    ClosesDialog {
        device: usize,
        process: Option<usize>,
    },
    Subscribes {
        device: usize,
    },
    Permits {
        device: usize,
    },
    Decides {
        device: usize,
        id: String,
    },
    /// The connections that were there at a `goaway`.
    Leaves {
        wires: Vec<Wires>,
    },
    Stops {
        life: u64,
        ms: u64,
    },
}

/// A connection as the server has it.
pub(crate) struct Seat {
    session: Session,
    flow: Flow,
    inbox: VecDeque<String>,
    turn: u64,
}

/// Everything.
pub(crate) struct World {
    pub(crate) now: u64,
    pub(crate) script: Script,
    pub(crate) dice: Dice,
    order: u64,
    queue: BinaryHeap<Reverse<(u64, u64, What)>>,
    pub(crate) devices: Vec<Device>,
    pub(crate) processes: Vec<Option<Process>>,
    pub(crate) links: BTreeMap<Wires, Link>,
    seats: BTreeMap<Wires, Seat>,
    pub(crate) server: Server,
    /// Counts the server's lives.
    pub(crate) life: u64,
    committing: bool,
    answers_at: u64,
    pub(crate) healed: bool,
    pub(crate) watch: Watch,
    pub(crate) steps: u64,
}

impl World {
    pub(crate) fn new(script: &Script) -> rusqlite::Result<World> {
        let mut dice = Dice::new(script.seed ^ 0x5eed);
        let server = Server::new(&script.world, script.devices, dice.throw())?;
        let mut world = World {
            now: 0,
            dice,
            order: 0,
            queue: BinaryHeap::new(),
            devices: (0..script.devices).map(Device::new).collect(),
            processes: Vec::new(),
            links: BTreeMap::new(),
            seats: BTreeMap::new(),
            server,
            life: 0,
            committing: false,
            answers_at: 0,
            healed: false,
            watch: Watch::new(script),
            steps: 0,
            script: script.clone(),
        };
        world.starts(false)?;
        for device in 0..script.devices {
            world.boots(device);
        }
        for (index, (at, _)) in script.actions.iter().enumerate() {
            world.at(*at, What::Acts { at: index });
        }
        Ok(world)
    }

    /// After this long.
    pub(crate) fn after(&mut self, ms: u64, what: What) {
        self.at(self.now + ms, what);
    }

    pub(crate) fn at(&mut self, at: u64, what: What) {
        self.order += 1;
        self.queue.push(Reverse((at, self.order, what)));
    }

    /// Lets happen what happens up to this time; false when something was broken.
    pub(crate) fn run(&mut self, until: u64) -> rusqlite::Result<bool> {
        while self.queue.peek().is_some_and(|Reverse((at, ..))| *at <= until) {
            let Some(Reverse((at, _, what))) = self.queue.pop() else { break };
            self.now = at;
            self.steps += 1;
            if self.script.trace && self.steps > 299_980 {
                println!("{at} {what:?}");
            }
            self.step(what)?;
            self.after_step()?;
            if self.steps > 300_000 {
                self.watch.broken("stuck", "the world spins".to_owned());
            }
            if self.watch.is_broken() {
                return Ok(false);
            }
        }
        self.now = until;
        Ok(true)
    }

    fn step(&mut self, what: What) -> rusqlite::Result<()> {
        match what {
            What::Wakes { process, timer } => {
                if self.processes[process].as_ref().is_some_and(|one| one.timer == timer) {
                    if let Some(later) = self.asleep(process) {
                        self.at(later, What::Wakes { process, timer });
                    } else {
                        self.drain(process);
                    }
                }
            }
            What::Opens { wires } => self.opens(wires),
            What::ToServer { wires, text } => self.hears(wires, text),
            What::ToClient { wires, text } => match self.asleep(wires.0) {
                Some(later) => self.at(later, What::ToClient { wires, text }),
                None => self.receives(wires, &text),
            },
            What::Closes { wires, code } => match self.asleep(wires.0) {
                Some(later) => self.at(later, What::Closes { wires, code }),
                None => self.closes(wires, code),
            },
            What::Hangs { wires } => {
                if let Some(mut seat) = self.seats.remove(&wires) {
                    seat.session.outgoing().abandon();
                    seat.session.end();
                }
            }
            What::Stored { device, process } => self.stored(device, process),
            What::Ticks { wires, turn } => {
                if let Some(seat) = self.seats.get_mut(&wires).filter(|seat| seat.turn == turn) {
                    seat.session.tick(clock(self.now));
                    self.arm(wires);
                }
            }
            // What follows each step does it.
            What::Flushes { .. } | What::Answers => {}
            What::Commits { life } if life == self.life => {
                self.committing = false;
                self.server.commit(self.now)?;
            }
            What::Acts { at } => {
                let action = self.script.actions[at].1.clone();
                if !self.healed || action.is_use() {
                    self.acts(&action)?;
                }
            }
            What::Starts { life, restore } if life == self.life => self.starts(restore)?,
            What::Stops { life, ms } if life == self.life => self.stops(ms, true, false),
            What::Resumes { device } => self.resumes(device),
            What::Shows { device } => {
                self.tell(device, |_| Input::Lifecycle(tidewire_core::Lifecycle::Shown))
            }
            What::Boots { device } => self.boots(device),
            What::HasNetwork { device } => {
                self.tell(device, |_| Input::Network(tidewire_core::Network::Online));
            }
            What::Dies { process } => self.dies(process),
            What::Connects { device } => self.command(device, |one, now| {
                one.wants = true;
                one.core.connect(now);
            }),
            What::OpensDialog { device } => {
                self.open_dialog(device);
            }
            What::ClosesDialog { device, process } => {
                if self.devices[device].process == process {
                    self.close_dialog(device);
                }
            }
            What::Permits { device } => {
                {
                    let mut rules = crate::server::lock(&self.server.rules);
                    (rules[device].revoked, rules[device].granted) = (false, self.now);
                    rules[device].barred = false;
                }
                self.devices[device].revoked_at = None;
                self.command(device, |one, now| one.core.renew_token(now));
                self.after(1_000, What::Subscribes { device });
            }
            What::Subscribes { device } => self.command(device, |one, now| {
                let _ = one.core.subscribe(now, crate::server::CHANNELS[1]);
            }),
            What::Decides { device, id } => self.decides(device, &id),
            What::Leaves { wires } => {
                for wires in wires {
                    if let Some(seat) = self.seats.get(&wires) {
                        seat.session.outgoing().close(4000, "goaway");
                    }
                }
            }
            What::Commits { .. } | What::Starts { .. } | What::Stops { .. } => {}
        }
        Ok(())
    }

    /// What the server left to do, whatever happened.
    fn after_step(&mut self) -> rusqlite::Result<()> {
        let wake = self.server.answer(self.now)?;
        for (what, how) in std::mem::take(&mut self.server.found) {
            self.watch.broken(what, how);
        }
        if let Some(at) = wake
            && (self.answers_at <= self.now || at < self.answers_at)
        {
            self.answers_at = at;
            self.at(at, What::Answers);
        }
        if !self.committing
            && let Some(takes) = self.server.commit_takes(self.now)
        {
            self.committing = true;
            self.after(takes, What::Commits { life: self.life });
        }
        let wires: Vec<Wires> = self.seats.keys().copied().collect();
        for wires in wires {
            self.flush(wires);
        }
        Ok(())
    }

    /// Until when nothing happens in this process.
    fn asleep(&self, process: usize) -> Option<u64> {
        let until = self.devices[self.processes[process].as_ref()?.device].asleep_until;
        (until > self.now).then_some(until)
    }

    // Processes.

    pub(crate) fn boots(&mut self, device: usize) {
        if self.devices[device].process.is_some() {
            return;
        }
        let asleep_until = self.devices[device].asleep_until;
        if asleep_until > self.now {
            return self.at(asleep_until, What::Boots { device });
        }
        let now = self.devices[device].clock(self.now);
        let world = &self.script.world;
        let config = Config {
            transports: if world.fallbacks { Transport::ALL.to_vec() } else { vec![Transport::WebSocket] },
            batch_ms: world.batch_ms,
            ..Config::default()
        };
        let core = Client::new(config, self.dice.seed(), now, self.devices[device].disk.restored());
        let number = self.processes.len();
        self.processes.push(Some(Process::new(device, core)));
        self.devices[device].process = Some(number);
        self.watch.boots(&self.devices[device], self.processes[number].as_mut());
        if let Some(process) = &mut self.processes[number] {
            process.begin(now);
        }
        self.drain(number);
    }

    /// The process ends and takes its sockets with it.
    pub(crate) fn dies(&mut self, process: usize) {
        let Some(one) = self.processes[process].take() else { return };
        let device = &mut self.devices[one.device];
        if device.process == Some(process) {
            device.process = None;
            device.unsynced.clear();
        }
        let wires: Vec<Wires> =
            self.links.range((process, 0)..=(process, u64::MAX)).map(|(wires, _)| *wires).collect();
        for wires in wires {
            self.hang_up(wires);
            self.links.remove(&wires);
        }
    }

    /// One more holder of the first channel's rows; false where nothing runs that could open it.
    pub(crate) fn open_dialog(&mut self, device: usize) -> bool {
        let mut opened = false;
        self.command(device, |one, now| {
            opened = one.core.open_dialog(now, "a").is_ok();
            one.holders += u32::from(opened);
        });
        opened
    }

    /// One holder less, if there is one.
    pub(crate) fn close_dialog(&mut self, device: usize) {
        self.command(device, |one, now| {
            one.core.close_dialog(now, "a");
            one.holders = one.holders.saturating_sub(1);
            // What one of several holders leaves goes on for the others.
            if one.holders == 0 {
                one.live = false;
                one.rows.clear();
            }
        });
    }

    /// Does something in the application of a device, if its process runs.
    pub(crate) fn command(&mut self, device: usize, act: impl FnOnce(&mut Process, tidewire_core::Now)) {
        let now = self.devices[device].clock(self.now);
        if let Some(process) = self.devices[device].process
            && self.asleep(process).is_none()
            && let Some(one) = &mut self.processes[process]
        {
            act(one, now);
            self.drain(process);
        }
    }

    pub(crate) fn tell(&mut self, device: usize, input: impl FnOnce(()) -> Input<'static>) {
        self.command(device, |one, now| one.core.handle(now, input(())));
    }

    pub(crate) fn feed(&mut self, process: usize, input: Input<'_>) {
        if let Some(one) = &mut self.processes[process] {
            let now = self.devices[one.device].clock(self.now);
            one.core.handle(now, input);
            self.drain(process);
        }
    }

    fn stored(&mut self, device: usize, process: usize) {
        if self.devices[device].process != Some(process) {
            return;
        }
        if let Some(later) = self.asleep(process) {
            return self.at(later, What::Stored { device, process });
        }
        let Some((store, change)) = self.devices[device].unsynced.pop_front() else { return };
        let broken =
            self.devices[device].disk_fault.filter(|(_, until)| *until > self.now).map(|(disk, _)| disk);
        let result = match broken {
            Some(crate::script::Disk::Full) => Err(StoreError::Full),
            Some(crate::script::Disk::Fails | crate::script::Disk::Lies) => Err(StoreError::Unavailable),
            _ => Ok(()),
        };
        if result.is_ok() {
            self.watch.synced(self.processes[process].as_ref(), &change);
            self.devices[device].disk.apply(&change);
        }
        self.feed(process, Input::Stored { store, result });
    }

    pub(crate) fn store(&mut self, process: usize, store: StoreId, change: tidewire_core::StoreChange) {
        let Some(one) = &self.processes[process] else { return };
        let device = one.device;
        if one.zombie {
            // The lead is lost, and the store with it.
            return self.feed(process, Input::Stored { store, result: Err(StoreError::Unavailable) });
        }
        self.devices[device].unsynced.push_back((store, change));
        let slow = matches!(self.devices[device].disk_fault, Some((crate::script::Disk::Slow, until)) if until > self.now);
        let most = if slow { 5_000 } else { self.script.world.disk_ms };
        let takes = self.dice.below(most);
        self.after(takes, What::Stored { device, process });
    }

    // Wires.

    pub(crate) fn dials(&mut self, process: usize, conn: ConnId, transport: Transport) {
        let Some(one) = &self.processes[process] else { return };
        let device = one.device;
        let mono = self.devices[device].mono(self.now);
        let wires = (process, conn.0);
        self.links.insert(wires, Link::new(transport, mono));
        let takes = 1 + self.dice.below(2 * self.script.world.delay_ms);
        let reachable = self.devices[device].no_network_until <= self.now;
        if reachable {
            self.after(takes, What::Opens { wires });
        } else {
            self.after(takes, What::Closes { wires, code: 1006 });
        }
    }

    fn opens(&mut self, wires: Wires) {
        if !self.links.get(&wires).is_some_and(|link| link.held) {
            return;
        }
        if let Some(later) = self.asleep(wires.0) {
            return self.at(later, What::Opens { wires });
        }
        let Some(device) = self.processes[wires.0].as_ref().map(|one| one.device) else { return };
        let Some((session, flow)) = self.server.accept(self.now, Arc::new(|_| ())) else {
            return self.closes(wires, 1006);
        };
        self.seats.insert(wires, Seat { session, flow, inbox: VecDeque::new(), turn: 0 });
        self.arm(wires);
        let mono = self.devices[device].mono(self.now);
        if let Some(link) = self.links.get_mut(&wires) {
            (link.opened, link.heard) = (true, mono);
            if link.transport == Transport::WebSocket && self.devices[device].blocked_until > self.now {
                let dies = self.now + 200;
                self.at(dies, What::Closes { wires, code: 1006 });
                self.at(dies, What::Hangs { wires });
            }
        }
        self.feed(wires.0, Input::Opened { conn: ConnId(wires.1) });
    }

    pub(crate) fn transmits(&mut self, process: usize, conn: ConnId, text: &str) {
        let wires = (process, conn.0);
        let takes = self.takes(process, text.len());
        let twice = self.happens_twice();
        let Some(link) = self.links.get_mut(&wires).filter(|link| link.held && link.opened) else {
            // A sleep is noticed with the very report that the socket is gone: what it was asked
            // goes nowhere.
            return;
        };
        link.up.twice |= twice;
        match link.up.send(self.now, takes) {
            Arrival::Never => {}
            Arrival::Whole { at } => self.at(at, What::ToServer { wires, text: text.to_owned() }),
            Arrival::Twice { at } => {
                self.at(at, What::ToServer { wires, text: text.to_owned() });
                self.at(at, What::ToServer { wires, text: text.to_owned() });
            }
            Arrival::Half { at } => self.at(at, What::ToServer { wires, text: half(text).to_owned() }),
        }
    }

    fn happens_twice(&mut self) -> bool {
        let of = self.script.world.twice_in;
        of > 0 && !self.healed && self.dice.once_in(of)
    }

    /// How long a message is on its way.
    fn takes(&mut self, process: usize, bytes: usize) -> u64 {
        let mut takes = 1 + self.dice.below(self.script.world.delay_ms);
        if let Some(one) = &self.processes[process] {
            let device = &self.devices[one.device];
            if let Some((delay, until)) = device.lag
                && until > self.now
            {
                takes += delay;
            }
            if let Some((bytes_per_s, until)) = device.slow
                && until > self.now
            {
                takes += bytes as u64 * 1_000 / bytes_per_s.max(1);
            }
        }
        takes
    }

    fn hears(&mut self, wires: Wires, text: String) {
        let Some(seat) = self.seats.get_mut(&wires) else { return };
        seat.session.heard(Time(self.now));
        seat.inbox.push_back(text);
        self.serve(wires);
    }

    /// Lets a session handle what it has heard.
    fn serve(&mut self, wires: Wires) {
        let Some(mut seat) = self.seats.remove(&wires) else { return };
        loop {
            if seat.flow == Flow::Room && seat.session.outgoing().has_room() {
                seat.flow = seat.session.answered(clock(self.now), Answer::Room);
            }
            let flow = std::mem::replace(&mut seat.flow, Flow::Ready);
            seat.flow = self.server.read(self.now, &mut seat.session, flow);
            if seat.flow != Flow::Ready {
                break;
            }
            let Some(text) = seat.inbox.pop_front() else { break };
            self.watch.trace(self.now, "server", &text);
            seat.flow = seat.session.message(clock(self.now), &text);
        }
        self.seats.insert(wires, seat);
        self.arm(wires);
    }

    /// Wakes the session when it wants to look at the clock.
    fn arm(&mut self, wires: Wires) {
        let Some(seat) = self.seats.get_mut(&wires) else { return };
        if seat.session.outgoing().is_closing() {
            return;
        }
        seat.turn += 1;
        let (turn, at) = (seat.turn, seat.session.deadline(clock(self.now)).0.max(self.now + 1));
        self.at(at, What::Ticks { wires, turn });
    }

    /// Puts what a session says onto the wire, as long as the wire takes it.
    fn flush(&mut self, wires: Wires) {
        while let Some(link) = self.links.get_mut(&wires) {
            let backlog = link.down.backlog(self.now);
            // A slow link pushes back: the queue fills, and its caps decide.
            if backlog > 12_000
                && self.devices[self.processes[wires.0].as_ref().map_or(0, |one| one.device)].slow.is_some()
            {
                let later = self.now + backlog - 11_000;
                if link.flush_at <= self.now {
                    link.flush_at = later;
                    self.at(later, What::Flushes { wires });
                }
                return;
            }
            let Some(seat) = self.seats.get(&wires) else { return };
            let Some(next) = seat.session.outgoing().take() else { break };
            match next {
                ToWrite::Write(text) => self.answers_with(wires, &text),
                ToWrite::Close(close) => {
                    self.watch.mark(&format!("close:{}", close.code));
                    if let Some(mut seat) = self.seats.remove(&wires) {
                        seat.session.outgoing().abandon();
                        seat.session.end();
                    }
                    let takes = self.takes(wires.0, 0);
                    if let Some(link) = self.links.get_mut(&wires)
                        && !link.down.lost
                    {
                        let at = link.down.arrival(self.now, takes);
                        self.at(at, What::Closes { wires, code: close.code });
                    }
                    return;
                }
            }
        }
        if self
            .seats
            .get(&wires)
            .is_some_and(|seat| seat.flow == Flow::Room && seat.session.outgoing().has_room())
        {
            self.serve(wires);
        }
    }

    fn answers_with(&mut self, wires: Wires, text: &str) {
        if let Some(one) = &self.processes[wires.0]
            && let Some(at) = self.devices[one.device].revoked_at
            && self.now > at + REVOKED_MS
            && text.contains(r#""t":"event","ch":"dialog:b""#)
        {
            self.watch.broken(
                "S17",
                format!("u{} is sent an event {} ms after it was taken from it", one.device, self.now - at),
            );
        }
        let takes = self.takes(wires.0, text.len());
        let twice = self.happens_twice();
        let Some(link) = self.links.get_mut(&wires) else { return };
        if link.down.miss_piece && text.contains(r#""t":"piece""#) {
            link.down.miss_piece = false;
            return self.watch.mark("missed_piece");
        }
        link.down.twice |= twice;
        match link.down.send(self.now, takes) {
            Arrival::Never => {}
            Arrival::Whole { at } => self.at(at, What::ToClient { wires, text: text.to_owned() }),
            Arrival::Twice { at } => {
                self.at(at, What::ToClient { wires, text: text.to_owned() });
                self.at(at, What::ToClient { wires, text: text.to_owned() });
            }
            Arrival::Half { at } => self.at(at, What::ToClient { wires, text: half(text).to_owned() }),
        }
    }

    fn receives(&mut self, wires: Wires, text: &str) {
        let Some(one) = self.processes[wires.0].as_mut() else { return };
        let mono = self.devices[one.device].mono(self.now);
        let Some(link) = self.links.get_mut(&wires).filter(|link| link.held) else { return };
        link.heard = mono;
        self.watch.trace(self.now, "client", text);
        self.watch.arrives(one, wires.1, text, mono, self.healed, &mut self.devices);
        self.feed(wires.0, Input::Received { conn: ConnId(wires.1), text });
    }

    /// The client is told that its connection is over.
    pub(crate) fn closes(&mut self, wires: Wires, code: u16) {
        let Some(link) = self.links.get_mut(&wires).filter(|link| link.held) else { return };
        link.held = false;
        self.links.remove(&wires);
        if let Some(one) = &mut self.processes[wires.0] {
            one.flying.remove(&wires.1);
        }
        self.feed(wires.0, Input::Closed { conn: ConnId(wires.1), code, cause: None });
    }

    /// The client drops its connection: the server hears of it, if anything still gets there.
    pub(crate) fn drops(&mut self, process: usize, conn: ConnId) {
        let wires = (process, conn.0);
        if let Some(one) = &mut self.processes[process] {
            one.flying.remove(&conn.0);
        }
        self.hang_up(wires);
        if let Some(link) = self.links.get_mut(&wires) {
            link.held = false;
        }
        self.links.remove(&wires);
    }

    fn hang_up(&mut self, wires: Wires) {
        let takes = self.takes(wires.0, 0);
        if let Some(link) = self.links.get_mut(&wires)
            && !link.up.lost
        {
            let at = link.up.arrival(self.now, takes);
            self.at(at, What::Hangs { wires });
        }
    }

    /// Both sides hear that the connection broke.
    pub(crate) fn cut(&mut self, wires: Wires) {
        let takes = self.dice.below(50);
        self.after(takes, What::Closes { wires, code: 1006 });
        self.after(takes, What::Hangs { wires });
    }

    // The server's process.

    pub(crate) fn starts(&mut self, restore: bool) -> rusqlite::Result<()> {
        self.life += 1;
        self.committing = false;
        if restore && self.server.restore()? {
            self.watch.restored();
        }
        self.server.start(self.now)
    }

    /// The process ends. `told`: its sockets are reset, so that clients hear of it.
    pub(crate) fn stops(&mut self, ms: u64, told: bool, restore: bool) {
        if !self.server.is_up() {
            return;
        }
        self.server.crash();
        self.life += 1;
        self.committing = false;
        self.seats.clear();
        let wires: Vec<Wires> = self.links.keys().copied().collect();
        for wires in wires {
            if told {
                let takes = self.dice.below(100);
                self.after(takes, What::Closes { wires, code: 1006 });
            } else if let Some(link) = self.links.get_mut(&wires) {
                link.up.lost = true;
                link.down.lost = true;
            }
        }
        self.after(ms, What::Starts { life: self.life, restore });
    }

    /// The connections that the server has.
    pub(crate) fn seated(&self) -> Vec<Wires> {
        self.seats.keys().copied().collect()
    }

    /// A link of the device's process, if it has one.
    pub(crate) fn link_of(&self, device: usize) -> Option<Wires> {
        let process = self.devices[device].process?;
        self.links.range((process, 0)..=(process, u64::MAX)).next_back().map(|(wires, _)| *wires)
    }

    /// Draws what a process wants out of it.
    pub(crate) fn drain(&mut self, process: usize) {
        crate::driver::drain(self, process);
    }

    /// What the script does now.
    fn acts(&mut self, action: &Action) -> rusqlite::Result<()> {
        crate::acts::carry_out(self, action)
    }

    fn resumes(&mut self, device: usize) {
        self.tell(device, |_| Input::Lifecycle(tidewire_core::Lifecycle::Resumed));
    }

    fn decides(&mut self, device: usize, id: &str) {
        crate::acts::decide(self, device, id);
    }
}
