//! Who else is in a channel, as the server tells it.

use crate::event::PeopleStatus;
use crate::list::Change;
use crate::time::Time;
use crate::wire::{HERE, People, Person, UserKind};

/// How long the server may take to answer, in ms.
const ANSWER_MS: u64 = 15_000;

/// The people of a channel, in the order in which they came.
#[derive(Default)]
pub(crate) struct Roster {
    watchers: u32,
    /// When this connection's server was asked to tell.
    asked: Option<Time>,
    /// The number of its last frame.
    last: u64,
    status: PeopleStatus,
    /// As the server last counted them.
    counted: u64,
    known: Vec<Known>,
    /// A list that begins anew is not yet complete.
    incomplete: bool,
    /// When those whom the server has not confirmed count as gone.
    settles: Option<Time>,
    changes: Vec<Change<Person>>,
    /// The status and the count that were shown last.
    shown: Option<(PeopleStatus, u64)>,
}

struct Known {
    person: Person,
    /// Whether the list that began last has them.
    confirmed: bool,
}

impl Roster {
    /// Adds a watcher.
    pub(crate) fn watch(&mut self) {
        self.watchers += 1;
    }

    /// Removes a watcher. True if the server is to be told that nobody watches any more.
    pub(crate) fn unwatch(&mut self) -> bool {
        let was_last = self.watchers == 1;
        self.watchers = self.watchers.saturating_sub(1);
        if !was_last {
            return false;
        }
        let asked = self.asked.is_some();
        // Why nothing may be shown still holds.
        let status = match &self.status {
            PeopleStatus::Refused { .. } => std::mem::take(&mut self.status),
            _ => PeopleStatus::Syncing,
        };
        *self = Roster { status, ..Roster::default() };
        asked
    }

    /// Whether the server is to be asked now; it counts as asked from now on.
    pub(crate) fn ask(&mut self, now: Time) -> bool {
        let is_due = self.watchers > 0 && self.ask_at().is_none_or(|at| at <= now);
        if is_due {
            self.asked = Some(now);
        }
        is_due
    }

    /// When to ask again, once the server was asked; never if it has answered.
    pub(crate) fn ask_at(&self) -> Option<Time> {
        let waits = self.status == PeopleStatus::Syncing || self.incomplete;
        self.asked.map(|asked| if waits { asked.after(ANSWER_MS) } else { Time(u64::MAX) })
    }

    /// The connection is gone. Who was there is still shown, as of then.
    pub(crate) fn disconnected(&mut self) {
        self.handed_over();
        self.settles = None;
        self.status = PeopleStatus::Syncing;
        self.end_brief();
    }

    /// Another connection takes over; what is shown stays until its server has answered.
    pub(crate) fn handed_over(&mut self) {
        (self.asked, self.last) = (None, 0);
    }

    /// Nothing may be shown any more, for this reason.
    pub(crate) fn refuse(&mut self, code: &str) {
        self.clear();
        self.counted = 0;
        self.status = PeopleStatus::Refused { code: code.to_owned() };
    }

    /// Another user signed in.
    pub(crate) fn forget(&mut self) {
        self.clear();
        self.counted = 0;
        self.handed_over();
        self.status = PeopleStatus::Syncing;
    }

    /// Applies what the server tells.
    pub(crate) fn apply(&mut self, now: Time, frame: &People) {
        if self.watchers == 0 {
            return;
        }
        if let Some(code) = &frame.refused {
            return self.refuse(code);
        }
        let has_list = matches!(self.status, PeopleStatus::Live | PeopleStatus::Crowded);
        if !frame.full && !self.incomplete && !has_list {
            // What changed of a list that is not here is in the one that comes.
            return;
        }
        let goes_on = self.incomplete && frame.n == self.last;
        if frame.n < self.last || (frame.n == self.last && !frame.full && !goes_on) {
            // It came before, on its own or in a list.
            return;
        }
        if !frame.full && !goes_on && (self.incomplete || frame.n > self.last + 1) {
            // One before it is missing: a new list is needed.
            (self.asked, self.incomplete) = (None, false);
            self.status = PeopleStatus::Syncing;
            return;
        }
        self.last = frame.n;
        self.counted = frame.count;
        if frame.crowded {
            self.clear();
            self.status = PeopleStatus::Crowded;
            return;
        }
        if frame.full {
            self.incomplete = true;
            self.settles = None;
            self.known.iter_mut().for_each(|known| known.confirmed = false);
        }
        let first = self.known.is_empty() && self.changes.is_empty();
        for person in &frame.people {
            self.put(person);
        }
        for (kind, id) in &frame.gone {
            if let Some(at) = self.place(*kind, id) {
                self.remove(at);
            }
        }
        if first && self.changes.len() > 1 {
            self.changes = vec![Change::Reset(self.people())];
        }
        if self.incomplete && !frame.more {
            self.incomplete = false;
            self.status = PeopleStatus::Live;
            match frame.settle_ms {
                Some(settle_ms) => self.settles = Some(now.after(settle_ms)),
                None => self.end_unconfirmed(),
            }
        }
    }

    /// When [`Roster::tick`] has something to do.
    pub(crate) fn deadline(&self) -> Option<Time> {
        self.settles
    }

    /// Those whom a server that started did not find again are gone.
    pub(crate) fn tick(&mut self, now: Time) {
        if self.settles.take_if(|at| *at <= now).is_some() {
            self.end_unconfirmed();
        }
    }

    /// What changed since the last call: the list, the status, the count.
    pub(crate) fn take_changes(&mut self) -> Option<(Vec<Change<Person>>, PeopleStatus, u64)> {
        if self.watchers == 0 {
            return None;
        }
        let shown = (self.status.clone(), self.count());
        if self.changes.is_empty() && self.shown.as_ref() == Some(&shown) {
            return None;
        }
        self.shown = Some(shown.clone());
        Some((std::mem::take(&mut self.changes), shown.0, shown.1))
    }

    /// The list.
    pub(crate) fn people(&self) -> Vec<Person> {
        self.known.iter().map(|known| known.person.clone()).collect()
    }

    /// How far the list can be relied on.
    pub(crate) fn status(&self) -> &PeopleStatus {
        &self.status
    }

    /// How many users are there.
    pub(crate) fn count(&self) -> u64 {
        match self.status {
            PeopleStatus::Live | PeopleStatus::Syncing if !self.known.is_empty() => {
                self.known.iter().filter(|known| known.person.lease(HERE).is_some()).count() as u64
            }
            _ => self.counted,
        }
    }

    fn place(&self, kind: UserKind, id: &str) -> Option<usize> {
        self.known.iter().position(|known| known.person.user.kind == kind && known.person.user.id == id)
    }

    fn put(&mut self, person: &Person) {
        let Some(index) = self.place(person.user.kind, &person.user.id) else {
            self.changes.push(Change::Insert { index: self.known.len(), row: person.clone() });
            self.known.push(Known { person: person.clone(), confirmed: true });
            return;
        };
        let known = &mut self.known[index];
        known.confirmed = true;
        if known.person != *person {
            known.person = person.clone();
            self.changes.push(Change::Update { index, row: person.clone() });
        }
    }

    fn remove(&mut self, index: usize) {
        self.known.remove(index);
        self.changes.push(Change::Remove { index });
    }

    fn clear(&mut self) {
        self.settles = None;
        self.incomplete = false;
        if !self.known.is_empty() {
            self.known.clear();
            self.changes = vec![Change::Reset(Vec::new())];
        }
    }

    fn end_unconfirmed(&mut self) {
        for index in (0..self.known.len()).rev() {
            if !self.known[index].confirmed {
                self.remove(index);
            }
        }
    }

    /// What ends by itself has ended by the time the server is heard again.
    fn end_brief(&mut self) {
        for index in (0..self.known.len()).rev() {
            let person = &mut self.known[index].person;
            let before = person.leases.len();
            person.leases.retain(|lease| !lease.brief);
            if person.leases.len() == before {
                continue;
            }
            if person.leases.is_empty() {
                self.remove(index);
            } else {
                let row = person.clone();
                self.changes.push(Change::Update { index, row });
            }
        }
    }
}
