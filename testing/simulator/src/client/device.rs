//! A client's machine: its disk, its clocks, its network, and the person in front of it.

use crate::client::disk::{Disk, Unsynced};
use crate::script::{DiskFault, WALL_MS};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use tidewire_core::{Draft, Now, Time};

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
    /// How many bytes a second its links carry, and until when.
    pub(crate) slow: Option<(u64, u64)>,
    /// By how many ms its messages are late, and until when.
    pub(crate) lag: Option<(u64, u64)>,
    /// Until then its WebSockets die soon after they opened.
    pub(crate) blocked_until: u64,
    pub(crate) no_network_until: u64,
    pub(crate) no_token_until: u64,
    /// When the second channel was taken from it.
    pub(crate) revoked_at: Option<u64>,
    /// Its disk refused changes once: what a restart finds there may be older than what was told.
    pub(crate) unreliable: bool,
    pub(crate) disk_fault: Option<(DiskFault, u64)>,
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
    /// How many messages were written.
    pub(crate) written: u64,
    /// How many connections to the server were made since the faults ended.
    pub(crate) welcomes_healed: u32,
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
        let wall = i64::try_from(WALL_MS + now).unwrap_or(i64::MAX).saturating_add(self.wall_ahead);
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
