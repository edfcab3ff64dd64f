//! A client's process: the real core, and what its application shows.

use crate::script::CHANNELS;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use tidewire_core::wire::Person;
use tidewire_core::{Change, Client, Now, PeopleStatus, Row, State};

/// The id of a connection: a process, and the core's number for the connection.
pub(crate) type LinkId = (usize, u64);

/// A process, from its start to its end.
pub(crate) struct Process {
    pub(crate) device: usize,
    pub(crate) core: Client,
    /// The number of the newest timer; older ones don't fire.
    pub(crate) timer: u64,
    /// A tab that is no longer the leader and has not noticed: it has neither disk nor screen.
    pub(crate) zombie: bool,
    pub(crate) state: State,
    /// Whether the application wants to be connected.
    pub(crate) wants: bool,
    /// The rows of the first channel according to the changes.
    pub(crate) rows: Vec<Row>,
    /// The number of holders of the first channel.
    pub(crate) holders: u32,
    /// The first channel's epoch, according to the server's last answer to its subscription.
    pub(crate) told: String,
    /// Whether the client reports the first channel as live.
    pub(crate) live: bool,
    /// Whether what it shows has changed since it was checked.
    pub(crate) changed: bool,
    /// The requests for older rows that were not answered yet, by their offsets.
    pub(crate) looks_back: BTreeSet<u64>,
    /// Who is in the first channel according to the changes.
    pub(crate) people: Vec<Person>,
    pub(crate) people_status: PeopleStatus,
    /// Whom the message that came last said to be gone, or did not list.
    pub(crate) told_gone: BTreeSet<usize>,
    /// The connection that it came on.
    pub(crate) told_by: u64,
    /// The number in the body of the lease that the user holds.
    pub(crate) holds: Option<u64>,
    /// Whether the server may not know of it.
    pub(crate) unsure: bool,
    /// The offset up to which the second channel's events were applied, in `epoch`.
    pub(crate) applied: u64,
    pub(crate) epoch: String,
    /// Whether the application has seen where its view of the second channel begins.
    pub(crate) begun: bool,
    /// The server's last answer to the second channel's subscription: its epoch, and the offset
    /// after which it begins.
    pub(crate) answered: Option<(String, u64)>,
    /// When it dialled in the last minute, by its own clock.
    pub(crate) dials: VecDeque<u64>,
    pub(crate) budget: Option<Bucket>,
    /// Ops sent on each connection and not answered there, with the size of their bodies in bytes.
    pub(crate) flying: BTreeMap<u64, BTreeMap<String, usize>>,
    /// Ops whose outcome the application was notified of.
    pub(crate) settled: BTreeSet<String>,
}

/// The op budget that the server announced, to check the client against.
pub(crate) struct Bucket {
    pub(crate) ops: u64,
    pub(crate) per_ms: u64,
    pub(crate) burst: u64,
    level: u64,
    at: u64,
}

impl Bucket {
    pub(crate) fn new(ops: u64, per_ms: u64, burst: u64, at: u64) -> Bucket {
        Bucket { ops, per_ms, burst, level: burst * per_ms, at }
    }

    /// Takes one op; false if the bucket held less.
    pub(crate) fn take(&mut self, now: u64) -> bool {
        self.level = (self.level + (now - self.at) * self.ops).min(self.burst * self.per_ms);
        self.at = now;
        let enough = self.level >= self.per_ms;
        self.level = self.level.saturating_sub(self.per_ms);
        enough
    }
}

impl Process {
    pub(crate) fn new(device: usize, core: Client) -> Process {
        Process {
            device,
            core,
            timer: 0,
            zombie: false,
            state: State::Idle,
            wants: true,
            rows: Vec::new(),
            holders: 0,
            looks_back: BTreeSet::new(),
            people: Vec::new(),
            people_status: PeopleStatus::Syncing,
            told_gone: BTreeSet::new(),
            told_by: 0,
            holds: None,
            unsure: false,
            told: String::new(),
            live: false,
            changed: false,
            applied: 0,
            begun: false,
            epoch: String::new(),
            answered: None,
            dials: VecDeque::new(),
            budget: None,
            flying: BTreeMap::new(),
            settled: BTreeSet::new(),
        }
    }

    /// Opens both channels and connects.
    pub(crate) fn begin(&mut self, now: Now) {
        self.open(now);
        let _ = self.core.subscribe(now, CHANNELS[1]);
        self.core.connect(now);
    }

    /// Opens the first channel's rows once more, the first time with its people. False if the core
    /// refuses.
    pub(crate) fn open(&mut self, now: Now) -> bool {
        let opened = self.core.open_dialog(now, "a").is_ok();
        if opened && self.holders == 0 {
            let _ = self.core.watch_people(now, CHANNELS[0]);
            let _ = self.core.watch_reads(now, CHANNELS[0]);
        }
        self.holders += u32::from(opened);
        opened
    }

    /// Applies a change to the rows; false if it does not fit them.
    pub(crate) fn fold(&mut self, change: Change<Row>) -> bool {
        change.apply(&mut self.rows, |row, text| row.text.push_str(text))
    }
}
