//! A client's machine: its process (the real core), its disk, its clocks, and the person in front
//! of it.

use crate::disk::{Disk, Unsynced};
use crate::server::{CHANNELS, WALL};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use tidewire_core::{Change, Client, Draft, Now, Row, State, Time};

/// A machine.
pub(crate) struct Device {
    pub(crate) number: usize,
    pub(crate) disk: Disk,
    pub(crate) unsynced: Unsynced,
    /// The process that has the disk and the screen; none while it is down.
    pub(crate) process: Option<usize>,
    /// By how much the wall clock is ahead of the world's, in ms.
    pub(crate) wall_ahead: i64,
    /// For how long the machine slept so far: its monotonic clock stood still.
    pub(crate) slept: u64,
    pub(crate) asleep_until: u64,
    /// Whether its monotonic clock stands still meanwhile.
    pub(crate) stands_still: bool,
    pub(crate) slow: Option<(u64, u64)>,
    pub(crate) lag: Option<(u64, u64)>,
    pub(crate) blocked_until: u64,
    pub(crate) no_network_until: u64,
    pub(crate) no_token_until: u64,
    /// When the second channel was taken from it.
    pub(crate) revoked_at: Option<u64>,
    /// Its disk refused changes once: what a restart finds there may be older than what was told.
    pub(crate) unreliable: bool,
    pub(crate) disk_fault: Option<(crate::script::Disk, u64)>,
    pub(crate) person: Person,
}

/// What the person did and was told.
#[derive(Default)]
pub(crate) struct Person {
    /// Drafts in the order they were written, until they are known to be on disk or settled.
    pub(crate) unsaved: VecDeque<Draft>,
    /// Ops whose fate is not yet known, with whether they were ever handed to the network.
    pub(crate) open: BTreeMap<String, bool>,
    /// Ops that were said to be stored.
    pub(crate) stored: BTreeSet<String>,
    /// Ops that failed and wait for a decision.
    pub(crate) failed: BTreeSet<String>,
    /// Ops that the person gave up: a crash may bring them back, and the decision stays.
    pub(crate) given_up: BTreeSet<String>,
    pub(crate) written: u64,
    /// When the last connection to the server was made, and how many there were since the faults
    /// ended.
    pub(crate) welcomes_healed: u32,
}

/// A process: one life of the core.
pub(crate) struct Process {
    pub(crate) device: usize,
    pub(crate) core: Client,
    /// Counts armed timers: only the newest fires.
    pub(crate) timer: u64,
    /// A tab that lost the lead and has not noticed: it has neither disk nor screen.
    pub(crate) zombie: bool,
    pub(crate) state: State,
    pub(crate) wants: bool,
    /// The rows of the first channel as the changes make them.
    pub(crate) rows: Vec<Row>,
    /// How often the first channel is open.
    pub(crate) holders: u32,
    /// The first channel's epoch, whether the client calls it live, and whether what it shows was
    /// not looked at yet.
    pub(crate) told: String,
    pub(crate) live: bool,
    pub(crate) changed: bool,
    /// What the second channel's events came up to, and whether its view began.
    pub(crate) applied: u64,
    pub(crate) begun: bool,
    pub(crate) epoch: String,
    /// The last `sub_ok` of the second channel: epoch, from.
    pub(crate) answered: Option<(String, u64)>,
    pub(crate) dials: VecDeque<u64>,
    pub(crate) budget: Option<Bucket>,
    /// Ops sent on each connection and not answered there.
    pub(crate) flying: BTreeMap<u64, BTreeMap<String, usize>>,
    pub(crate) settled: BTreeSet<String>,
}

/// The op budget as the server announced it, checked from outside.
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

    /// Takes one op; false when there was none.
    pub(crate) fn take(&mut self, now: u64) -> bool {
        self.level = (self.level + (now - self.at) * self.ops).min(self.burst * self.per_ms);
        self.at = now;
        let enough = self.level >= self.per_ms;
        self.level = self.level.saturating_sub(self.per_ms);
        enough
    }
}

impl Device {
    pub(crate) fn new(number: usize) -> Device {
        Device {
            number,
            disk: Disk::default(),
            unsynced: Unsynced::new(),
            process: None,
            wall_ahead: 0,
            slept: 0,
            asleep_until: 0,
            stands_still: false,
            slow: None,
            lag: None,
            blocked_until: 0,
            no_network_until: 0,
            no_token_until: 0,
            revoked_at: None,
            unreliable: false,
            disk_fault: None,
            person: Person::default(),
        }
    }

    pub(crate) fn name(&self) -> String {
        format!("u{}", self.number)
    }

    /// Its clocks at this time of the world.
    pub(crate) fn clock(&self, now: u64) -> Now {
        let wall = i64::try_from(WALL + now).unwrap_or(i64::MAX).saturating_add(self.wall_ahead);
        Now { mono: Time(self.mono(now)), wall: u64::try_from(wall).unwrap_or(0) }
    }

    pub(crate) fn mono(&self, now: u64) -> u64 {
        let at = if self.stands_still { now.max(self.asleep_until) } else { now };
        at - self.slept
    }

    /// Ends a sleep before its time.
    pub(crate) fn wakes(&mut self, now: u64) {
        let left = self.asleep_until.saturating_sub(now);
        if self.stands_still {
            self.slept -= left;
        }
        self.asleep_until = self.asleep_until.min(now);
    }

    /// No fault touches it any more.
    pub(crate) fn heal(&mut self) {
        (self.slow, self.lag, self.disk_fault) = (None, None, None);
        (self.blocked_until, self.no_network_until, self.no_token_until) = (0, 0, 0);
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
        self.holders += u32::from(self.core.open_dialog(now, "a").is_ok());
        let _ = self.core.subscribe(now, CHANNELS[1]);
        self.core.connect(now);
    }

    /// Makes the rows what a change says; false when the change does not fit.
    pub(crate) fn fold(&mut self, change: Change<Row>) -> bool {
        change.apply(&mut self.rows, |row, text| row.text.push_str(text))
    }
}
