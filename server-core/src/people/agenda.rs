//! Which channels have to tell something about their people, and when.

use super::People;
use crate::lock::Mutex;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock, Weak};
use tidewire_core::Time;

/// The channels whose people have something to do.
#[derive(Default)]
pub struct Agenda {
    /// By time and the channel's row.
    due: Mutex<BTreeMap<(Time, i64), Weak<People>>>,
    started: OnceLock<Time>,
}

impl Agenda {
    pub(super) fn add(&self, at: Time, channel: i64, people: &Arc<People>) {
        self.due.lock().insert((at, channel), Arc::downgrade(people));
    }

    /// When [`Agenda::tick`] has something to do; none if nobody comes, goes or changes.
    pub fn deadline(&self) -> Option<Time> {
        self.due.lock().first_key_value().map(|((at, _), _)| *at)
    }

    /// Does what is due. The first call counts as the server's start.
    pub fn tick(&self, now: Time) {
        let started = *self.started.get_or_init(|| now);
        let mut due = self.due.lock();
        let later = due.split_off(&(Time(now.0.saturating_add(1)), i64::MIN));
        let now_due = std::mem::replace(&mut *due, later);
        drop(due);
        for ((_, channel), people) in now_due {
            let Some(people) = people.upgrade() else { continue };
            if let Some(at) = people.tick(now, started) {
                self.add(at.max(Time(now.0.saturating_add(1))), channel, &people);
            }
        }
    }
}
