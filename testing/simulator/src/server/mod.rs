//! The server's process. `tidewire-server-core` makes its decisions, and its disk is an in-memory
//! database. Writes are committed in groups after a delay; a crash before the commit loses them.

mod inbox;
mod log;
mod log_watch;
mod logged;
mod runs;
mod tokens;

pub(crate) use log::Fault;
pub(crate) use logged::Logged;
pub(crate) use tokens::Rules;

use crate::dice::Dice;
use crate::script::{CHANNELS, DiskFault, Setup, WALL_MS};
use inbox::Inbox;
use log::Log;
use parking_lot::{Mutex, MutexGuard};
use runs::{CountedIds, Runs};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use tidewire_core::wire::{ChannelName, Handler, UserKind};
use tidewire_core::{Now, Time};
use tidewire_server_core::access::Access;
use tidewire_server_core::dialog::ops::Kinds;
use tidewire_server_core::store::{
    Account, Outcome, Positions, Read, Reply, Revocation, Store, StoreError, Trim, Write, key_of,
};
use tidewire_server_core::{
    Answer as Answered, Channel, Connections, Engine, Flow, Hub, Limiter, Peer, Revocations, ServerLimits,
    Session, Timeouts, Wake, reconcile,
};
use tokens::{AllRules, Tokens};

/// The server's machine. Times are ms since the beginning of the run.
pub(crate) struct Server {
    log: Log,
    devices: usize,
    rules: AllRules,
    setup: Setup,
    ids: Arc<CountedIds>,
    /// `None` while it is down.
    process: Option<Process>,
    /// The fault of its disk, and its end.
    disk: Option<(DiskFault, u64)>,
    dice: Dice,
    faults: Vec<Fault>,
}

/// The state that a crash loses.
struct Process {
    engine: Arc<Engine>,
    inbox: Arc<Inbox>,
    runs: Runs,
}

impl Server {
    /// A server that is down, with both channels in its log.
    pub(crate) fn new(setup: &Setup, devices: usize, seed: u64) -> rusqlite::Result<Server> {
        Ok(Server {
            log: Log::new()?,
            devices,
            rules: Arc::new(Mutex::new(vec![Rules::default(); devices])),
            setup: setup.clone(),
            ids: Arc::default(),
            process: None,
            disk: None,
            dice: Dice::new(seed),
            faults: Vec::new(),
        })
    }

    // The process.

    pub(crate) fn is_up(&self) -> bool {
        self.process.is_some()
    }

    pub(crate) fn engine(&self) -> Option<&Arc<Engine>> {
        self.process.as_ref().map(|process| &process.engine)
    }

    pub(crate) fn start(&mut self, now: u64) -> rusqlite::Result<()> {
        let inbox = Arc::new(Inbox::new(self.rules.clone()));
        let mut runs = Runs::new(self.ids.clone());
        let known = self.log.ask(&Read::Revocations, Reply::revocations)?;
        for (device, rules) in self.rules.lock().iter_mut().enumerate() {
            rules.barred &= known.iter().any(|one| one.user == self.user(device));
        }
        let kinds = (0..self.devices).map(|device| self.kind_of(device)).collect();
        let engine = Arc::new(Engine {
            limits: ServerLimits { connections_per_dialog: self.setup.seats, ..ServerLimits::default() },
            timeouts: Timeouts::default(),
            handshakes: (self.setup.handshakes > 0).then_some(self.setup.handshakes),
            epoch: self.log.epoch().into(),
            auth: Arc::new(Tokens { rules: self.rules.clone(), kinds }),
            store: inbox.clone(),
            kinds: Kinds::standard(),
            hub: Arc::new(Hub::new(tidewire_server_core::rules::Rules::of_dialogs())),
            limiter: Limiter::default(),
            connections: Connections::new(1_000, 1_000, None, Box::new(|| ())),
            access: Access { revocations: Revocations::new(known), ..Access::default() },
            answers: self.setup.answers.then(|| runs.answering()),
            tables: None,
            metrics: Arc::default(),
        });
        engine.tick(Time(now));
        for left in self.log.ask(&Read::Unfinished, Reply::unfinished)? {
            let channel = self.load(&engine, &left.name)?;
            runs.take_up(left, channel, now);
        }
        if self.setup.answers {
            for (name, offset) in self.log.ask(&Read::Wanting, Reply::wanting)? {
                if let Some(channel) = self.load(&engine, &name)? {
                    channel.want_answer(offset).carry_out(engine.answers.as_ref(), &channel);
                }
            }
        }
        self.process = Some(Process { engine, inbox, runs });
        Ok(())
    }

    fn load(&self, engine: &Arc<Engine>, name: &ChannelName) -> rusqlite::Result<Option<Arc<Channel>>> {
        Ok(self.log.channel(name)?.map(|row| engine.hub.add(name, row)))
    }

    /// Ends the process; uncommitted writes are lost.
    pub(crate) fn crash(&mut self) {
        self.process = None;
    }

    /// Starts no further answers, and ends those under way.
    pub(crate) fn drain(&mut self) {
        if let Some(process) = &mut self.process {
            process.runs.drain();
        }
    }

    /// Tells who is in channels, and stores how far they were read; returns when to do so again.
    pub(crate) fn tell_people(&self, now: u64) -> Option<u64> {
        let engine = self.engine()?;
        if engine.deadline().0 <= now {
            engine.tick(Time(now));
            for (read, got) in self.process.as_ref()?.inbox.reads() {
                got(self.log.read(&read));
            }
        }
        Some(engine.deadline().0)
    }

    /// Drives the answers; returns when to do so again.
    pub(crate) fn answer(&mut self, now: u64) -> Option<u64> {
        let process = self.process.as_mut()?;
        process.runs.advance(now, &self.log, &process.inbox, &mut self.dice)
    }

    // Sessions.

    /// A new connection; `None` while the server is down.
    pub(crate) fn accept(&self, now: u64, wake: Wake) -> Option<(Session, Flow)> {
        let peer = Peer { origin_allowed: true, address: IpAddr::V4(Ipv4Addr::LOCALHOST), is_request: false };
        Some(Session::open(self.engine()?, peer, wake, clock(now)))
    }

    /// A new connection over plain requests; `None` while there is no room for it.
    pub(crate) fn try_accept(&self, now: u64) -> Option<Session> {
        let peer = Peer { origin_allowed: true, address: IpAddr::V4(Ipv4Addr::LOCALHOST), is_request: false };
        Session::try_open(self.engine()?, peer, Arc::new(|_| ()), clock(now)).ok()
    }

    /// Reads for a session until it needs nothing more from the log.
    pub(crate) fn read(&self, now: u64, session: &mut Session, mut flow: Flow) -> Flow {
        while let Flow::Read(read) = &flow {
            let Some(engine) = self.engine() else { return Flow::End };
            let answer = Answered::new(read, self.log.read(read), &engine.hub);
            flow = session.answered(clock(now), answer);
        }
        flow
    }

    // Access.

    /// The backend's rules for the devices' tokens.
    pub(crate) fn rules(&self) -> MutexGuard<'_, Vec<Rules>> {
        self.rules.lock()
    }

    /// Revokes a device's access to the second channel.
    pub(crate) fn revoke(&self, device: usize, now: u64) {
        let revocation = Revocation {
            user: self.user(device),
            dialog: Some("b".to_owned()),
            account: Account::Own,
            since_ms: WALL_MS + now,
        };
        if let Some(engine) = self.engine() {
            engine.revoke(revocation, Box::new(|_| ()));
            self.rules.lock()[device].barred = true;
        }
    }

    fn user(&self, device: usize) -> String {
        key_of(self.kind_of(device), &format!("u{device}"))
    }

    /// What the user of a device is.
    fn kind_of(&self, device: usize) -> UserKind {
        match self.setup.operator && device > 0 && device + 1 == self.devices {
            true => UserKind::Operator,
            false if self.setup.guests => UserKind::Guest,
            false => UserKind::User,
        }
    }

    // The disk.

    pub(crate) fn break_disk(&mut self, disk: DiskFault, until: u64) {
        self.disk = Some((disk, until));
    }

    /// Ends the fault of its disk.
    pub(crate) fn heal(&mut self) {
        self.disk = None;
    }

    pub(crate) fn take_backup(&mut self) -> rusqlite::Result<()> {
        self.log.take_backup()
    }

    /// Restores the database from its last backup while the server is down; false if there is none.
    pub(crate) fn restore(&mut self, now: u64) -> rusqlite::Result<bool> {
        let restored = self.log.restore()?;
        if restored {
            self.faults.extend(self.log.look(now)?);
        }
        Ok(restored)
    }

    /// Trims both channels to their newest `keep` events.
    pub(crate) fn trim(&mut self, keep: u64) -> rusqlite::Result<()> {
        for name in CHANNELS {
            let Some(row) = self.log.channel(name)? else { continue };
            let Some(process) = &self.process else { continue };
            let channel = process.engine.hub.loaded(name);
            let Some(name) = ChannelName::parse(name) else { continue };
            let trim = Trim { channel: row.id, name, before_ms: 0, keep, remember_ms: 0 };
            process.inbox.write(
                Write::Trim(trim),
                Box::new(move |result| {
                    if let (Ok(Outcome::Trimmed(trimmed)), Some(channel)) = (result, channel) {
                        channel.trimmed(trimmed.floor);
                    }
                }),
            );
        }
        Ok(())
    }

    /// How long the next commit takes, if there is something to commit.
    pub(crate) fn commit_takes(&mut self, now: u64) -> Option<u64> {
        if self.process.as_ref()?.inbox.is_empty() {
            return None;
        }
        let slow = matches!(self.disk, Some((DiskFault::Slow, until)) if until > now);
        Some(1 + self.dice.below(if slow { 4_000 } else { self.setup.commit_ms }))
    }

    /// Commits the pending writes, and publishes the outcomes.
    pub(crate) fn commit(&mut self, now: u64) -> rusqlite::Result<()> {
        let Some(process) = &self.process else { return Ok(()) };
        let (mut writes, mut dones, mut barred) = (Vec::new(), Vec::new(), Vec::new());
        for one in process.inbox.take() {
            writes.push(one.write);
            dones.push(one.done);
            barred.push(one.barred);
        }
        let broken = self.disk.filter(|(_, until)| *until > now).map(|(disk, _)| disk);
        let error = match broken {
            Some(DiskFault::Full) => Some(StoreError::Full),
            Some(DiskFault::Fails | DiskFault::Lies) => Some(StoreError::Unavailable),
            _ => None,
        };
        if matches!(broken, Some(DiskFault::Full | DiskFault::Fails)) {
            dones.into_iter().for_each(|done| done(Err(error.unwrap_or(StoreError::Unavailable))));
            return Ok(());
        }
        let outcomes = self.log.commit(&writes.iter().collect::<Vec<_>>(), now)?;
        let stored = |outcome: &Result<Outcome, StoreError>| matches!(outcome, Ok(Outcome::Stored(_)));
        if outcomes.iter().zip(&barred).any(|(outcome, barred)| *barred && stored(outcome)) {
            let how = "an op was taken of somebody who had no access when it came";
            self.faults.push(("S17", how.to_owned()));
        }
        match error {
            None => dones.into_iter().zip(outcomes).for_each(|(done, outcome)| done(outcome)),
            Some(error) => {
                let doubtful: BTreeSet<ChannelName> =
                    writes.iter().filter_map(Write::channel).cloned().collect();
                dones.into_iter().for_each(|done| done(Err(error)));
                self.reconcile(&doubtful);
            }
        }
        self.faults.extend(self.log.look(now)?);
        Ok(())
    }

    /// Handles a commit that reported an error but was carried out.
    fn reconcile(&self, doubtful: &BTreeSet<ChannelName>) {
        let Some(process) = &self.process else { return };
        let engine = &process.engine;
        for channel in doubtful.iter().filter_map(|name| engine.hub.loaded(name)) {
            // What can't be read now is found with the next event.
            let _ = reconcile(&channel, &engine.kinds, engine.answers.as_ref(), |read| self.log.read(&read));
        }
    }

    // What is in the log, for the checks.

    /// Violations found in the log since the last call.
    pub(crate) fn take_faults(&mut self) -> Vec<Fault> {
        std::mem::take(&mut self.faults)
    }

    /// How far a channel was read, as this device's user is told of it.
    pub(crate) fn positions(&self, channel: &str, device: usize) -> rusqlite::Result<Option<Positions>> {
        self.log.positions(channel, self.user(device))
    }

    /// Who answers in the first channel, by its events and by its row.
    pub(crate) fn handlers(&self) -> rusqlite::Result<(Option<&Handler>, Handler)> {
        self.log.handlers()
    }

    /// The offset up to which a channel was trimmed, and its events.
    pub(crate) fn log(&self, channel: &str) -> rusqlite::Result<(u64, Vec<Logged>)> {
        self.log.events(channel)
    }

    /// The event at this offset.
    pub(crate) fn at(&self, channel: &str, offset: u64) -> rusqlite::Result<Option<Logged>> {
        self.log.at(channel, offset)
    }

    /// Every event up to here was trimmed.
    pub(crate) fn floor(&self, channel: &str) -> rusqlite::Result<u64> {
        Ok(self.log.channel(channel)?.map_or(0, |row| row.floor.0))
    }

    pub(crate) fn epoch(&self) -> String {
        self.log.epoch()
    }

    /// Runs that take longer than any should.
    pub(crate) fn overdue(&self, now: u64) -> Vec<&str> {
        self.log.overdue(now)
    }

    /// The channels in which a message still waits for an answer to start.
    pub(crate) fn unanswered(&self) -> Vec<&'static str> {
        self.log.unanswered()
    }
}

/// The server's clocks never jump.
pub(crate) fn clock(now: u64) -> Now {
    Now { mono: Time(now), wall: WALL_MS + now }
}
