//! A client's machine: its disk, its clocks, its network, and its user.

use crate::client::disk::{Disk, Unsynced};
use crate::script::{DiskFault, WALL_MS};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use tidewire_core::{Draft, Now, Time};

/// A machine.
pub(crate) struct Device {
    pub(crate) number: usize,
    pub(crate) disk: Disk,
    pub(crate) unsynced: Unsynced,
    /// The process that has the disk and the screen; `None` while none is running.
    pub(crate) process: Option<usize>,
    /// How far the wall clock is ahead of the run's, in ms.
    pub(crate) wall_ahead: i64,
    /// How long the machine has slept in all, in ms: its monotonic clock stood still meanwhile.
    pub(crate) slept: u64,
    pub(crate) asleep_until: u64,
    /// Whether the monotonic clock stands still during this sleep.
    pub(crate) stands_still: bool,
    /// How many bytes per second its links carry, and until when.
    pub(crate) slow: Option<(u64, u64)>,
    /// How much longer its messages take, in ms, and until when.
    pub(crate) lag: Option<(u64, u64)>,
    /// Until then its WebSockets break soon after they opened.
    pub(crate) blocked_until: u64,
    pub(crate) no_network_until: u64,
    pub(crate) no_token_until: u64,
    /// When its access to the second channel was revoked.
    pub(crate) revoked_at: Option<u64>,
    /// Its disk has failed before: a restart may find an older state than what was reported.
    pub(crate) unreliable: bool,
    pub(crate) disk_fault: Option<(DiskFault, u64)>,
    pub(crate) person: Person,
}

/// What the user did, and what the application reported to them.
#[derive(Default)]
pub(crate) struct Person {
    /// Drafts in the order they were written, until they are known to be on disk or settled.
    pub(crate) unsaved: VecDeque<Draft>,
    /// Ops that are not settled and have not failed, and whether they were ever sent.
    pub(crate) open: BTreeMap<String, bool>,
    /// Ops that were reported as stored.
    pub(crate) stored: BTreeSet<String>,
    /// Ops that failed and wait for a decision.
    pub(crate) failed: BTreeSet<String>,
    /// Ops that the user discarded. If a crash brings one back, it is discarded again.
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

    /// Its clocks at this time of the run.
    pub(crate) fn clock(&self, now: u64) -> Now {
        let wall = i64::try_from(WALL_MS + now).unwrap_or(i64::MAX).saturating_add(self.wall_ahead);
        Now { mono: Time(self.mono(now)), wall: u64::try_from(wall).unwrap_or(0) }
    }

    pub(crate) fn mono(&self, now: u64) -> u64 {
        let at = if self.stands_still { now.max(self.asleep_until) } else { now };
        at - self.slept
    }

    /// Ends a sleep early.
    pub(crate) fn wakes(&mut self, now: u64) {
        let left = self.asleep_until.saturating_sub(now);
        if self.stands_still {
            self.slept -= left;
        }
        self.asleep_until = self.asleep_until.min(now);
    }

    /// Ends its faults.
    pub(crate) fn heal(&mut self) {
        (self.slow, self.lag, self.disk_fault) = (None, None, None);
        (self.blocked_until, self.no_network_until, self.no_token_until) = (0, 0, 0);
    }
}
