//! The state of a run: the clients' machines and processes, the connections, the server, and
//! scheduled tasks.

mod connection;
mod exchange;
mod link;
mod schedule;

pub(crate) use connection::{Connection, Reader};
pub(crate) use exchange::{Call, Exchange, ExchangeId, Reply, exchange_id, name_of, named};
pub(crate) use link::{Arrival, Link, Wire, half};
pub(crate) use schedule::Task;

pub(crate) use crate::client::LinkId;
use crate::client::{Device, Process};
use crate::dice::Dice;
use crate::script::Script;
use crate::server::Server;
use crate::watch::Watch;
use schedule::Schedule;
use std::collections::BTreeMap;

/// The state of a run. Times are ms since its beginning.
pub(crate) struct World {
    pub(crate) now: u64,
    pub(crate) script: Script,
    pub(crate) dice: Dice,
    schedule: Schedule,
    pub(crate) devices: Vec<Device>,
    pub(crate) processes: Vec<Option<Process>>,
    /// The device of each process, also of those that have ended.
    pub(crate) owners: Vec<usize>,
    /// Connections, on the side of network and clients.
    pub(crate) links: BTreeMap<LinkId, Link>,
    /// Plain requests under way, on the clients' side.
    pub(crate) exchanges: BTreeMap<ExchangeId, Exchange>,
    /// Connections, on the server's side.
    pub(crate) connections: BTreeMap<LinkId, Connection>,
    pub(crate) server: Server,
    /// Changes when the server's process starts or ends; tasks of an earlier generation are void.
    pub(crate) generation: u64,
    /// Whether a commit is scheduled.
    pub(crate) committing: bool,
    /// When to drive the answers next.
    pub(crate) answers_at: u64,
    /// When to tell who is in channels next.
    pub(crate) tells_at: u64,
    /// Whether the faults have ended.
    pub(crate) healed: bool,
    pub(crate) watch: Watch,
    /// How many tasks were done.
    pub(crate) steps: u64,
}

impl World {
    /// A world in which nothing runs yet.
    pub(crate) fn new(script: &Script) -> rusqlite::Result<World> {
        let mut dice = Dice::new(script.seed ^ 0x5eed);
        let server = Server::new(&script.world, script.devices, dice.throw())?;
        Ok(World {
            now: 0,
            dice,
            schedule: Schedule::default(),
            devices: (0..script.devices).map(Device::new).collect(),
            processes: Vec::new(),
            owners: Vec::new(),
            links: BTreeMap::new(),
            exchanges: BTreeMap::new(),
            connections: BTreeMap::new(),
            server,
            generation: 0,
            committing: false,
            answers_at: 0,
            tells_at: 0,
            healed: false,
            watch: Watch::new(script),
            steps: 0,
            script: script.clone(),
        })
    }

    /// Schedules a task for this long from now.
    pub(crate) fn after(&mut self, ms: u64, task: Task) {
        self.schedule.add(self.now + ms, task);
    }

    /// Schedules a task for this time.
    pub(crate) fn at(&mut self, at: u64, task: Task) {
        self.schedule.add(at, task);
    }

    /// Takes the next task that is due at or before this time.
    pub(crate) fn next_task(&mut self, until: u64) -> Option<(u64, Task)> {
        self.schedule.next(until)
    }

    /// The device of a link's process; `usize::MAX` once the process has ended and nobody knows.
    pub(crate) fn device_of(&self, link: LinkId) -> usize {
        self.owners.get(link.0).copied().unwrap_or(usize::MAX)
    }

    /// Until when the process sleeps; `None` if it is awake.
    pub(crate) fn asleep(&self, process: usize) -> Option<u64> {
        let until = self.devices[self.processes[process].as_ref()?.device].asleep_until;
        (until > self.now).then_some(until)
    }

    /// The running process of a device's visible tab.
    pub(crate) fn process_of(&self, device: usize) -> Option<&Process> {
        self.devices[device].process.and_then(|process| self.processes[process].as_ref())
    }

    /// The links of a process, oldest first.
    pub(crate) fn links_of(&self, process: usize) -> impl DoubleEndedIterator<Item = (&LinkId, &Link)> {
        self.links.range((process, 0)..=(process, u64::MAX))
    }

    /// The plain requests of a link that are under way.
    pub(crate) fn exchanges_of(&self, link: LinkId) -> Vec<ExchangeId> {
        let of_process = self.exchanges.range((link.0, 0)..=(link.0, u64::MAX));
        of_process.filter(|(_, exchange)| exchange.link == link).map(|(id, _)| *id).collect()
    }

    /// The newest link of the device's process, if it has one.
    pub(crate) fn link_of(&self, device: usize) -> Option<LinkId> {
        self.links_of(self.devices[device].process?).next_back().map(|(link, _)| *link)
    }
}
