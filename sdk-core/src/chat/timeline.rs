//! A dialog's timeline: committed rows in the order of their offsets, then what is not committed yet in the order it was written.

use crate::event::{Change, Row, RowKind, RowState};
use crate::wire::json::Object;
use crate::wire::{EventFrame, Piece, RunText, User, UserKind};

/// Most rows kept; the oldest committed ones go first.
const MAX_ROWS: usize = 2_000;

pub(crate) struct Timeline {
    rows: Vec<Row>,
    /// What changed since the application was told.
    changes: Vec<Change>,
    me: Option<User>,
    /// The rows show what comes after this offset.
    since: u64,
}

impl Timeline {
    pub(crate) fn new(me: Option<User>) -> Timeline {
        Timeline { rows: Vec::new(), changes: Vec::new(), me, since: 0 }
    }

    pub(crate) fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// What changed since the last call.
    pub(crate) fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// Says the whole list again, in place of the changes so far.
    pub(crate) fn announce(&mut self) {
        self.changes.clear();
        self.changes.push(Change::Reset(self.rows.clone()));
    }

    /// The server said who this is.
    pub(crate) fn signed_in(&mut self, me: &User) {
        if self.me.as_ref() == Some(me) {
            return;
        }
        self.me = Some(me.clone());
        for index in 0..self.rows.len() {
            let mut row = self.rows[index].clone();
            row.own = row.offset.is_none() || row.by.id == me.id;
            if row.offset.is_none() {
                row.by = me.clone();
            }
            self.update(index, row);
        }
    }

    /// Forgets every committed row; what waits to be sent stays.
    pub(crate) fn reset(&mut self) {
        self.rows.retain(|row| row.offset.is_none() && row.kind == RowKind::Message);
        self.announce();
    }

    // What this client writes.

    /// Adds a row for an op that is not committed.
    pub(crate) fn write(&mut self, id: &str, body: &str, at: u64, state: RowState, code: Option<String>) {
        let by =
            self.me.clone().unwrap_or(User { id: String::new(), name: String::new(), kind: UserKind::User });
        let row = Row {
            id: id.to_owned(),
            kind: RowKind::Message,
            by,
            own: true,
            text: member(body, "text"),
            at,
            offset: None,
            state,
            code,
        };
        self.insert(self.rows.len(), row);
    }

    /// Changes how an uncommitted row stands.
    pub(crate) fn mark(&mut self, id: &str, state: RowState, code: Option<&str>) {
        if let Some(index) = self.find(id)
            && self.rows[index].offset.is_none()
        {
            let mut row = self.rows[index].clone();
            row.state = state;
            row.code = code.map(str::to_owned);
            self.update(index, row);
        }
    }

    /// From here on the rows show what comes after this offset. What was committed before, of which only the op's answer told, stands before
    /// it or in another epoch; if not, its event brings it again.
    pub(crate) fn begins_after(&mut self, offset: u64) {
        self.since = offset;
        if self.rows.iter().any(|row| row.offset.is_some()) {
            self.reset();
        }
    }

    /// The server committed the op. One that stands before what is shown would stand there with a hole behind it, so its row goes. Any other
    /// stands behind all that is shown: the events up to it are still to come, or all of them again, if the log is another one by now.
    pub(crate) fn commit(&mut self, id: &str, offset: u64, at: u64) {
        if let Some(index) = self.find(id)
            && self.rows[index].offset.is_none()
        {
            if offset <= self.since {
                return self.remove(index);
            }
            let mut row = self.rows[index].clone();
            row.offset = Some(offset);
            row.at = at;
            row.state = RowState::Sent;
            row.code = None;
            let behind = self.rows.iter().rposition(|row| row.offset.is_some()).map_or(0, |at| at + 1);
            self.relocate(index, behind, row);
        }
    }

    /// The application gave the op up.
    pub(crate) fn discard(&mut self, id: &str) {
        if let Some(index) = self.find(id)
            && self.rows[index].offset.is_none()
        {
            self.remove(index);
        }
    }

    // What the channel brings.

    pub(crate) fn apply(&mut self, event: &EventFrame) {
        match event.kind.as_str() {
            "message" => self.message(event),
            "answer.start" => {
                let run = member(&event.body, "run");
                if !run.is_empty() && self.find(&run).is_none() {
                    self.place(answer(event, run, String::new(), RowState::Streaming));
                }
            }
            "answer.end" => self.ended(event),
            _ => {}
        }
        self.trim();
    }

    fn message(&mut self, event: &EventFrame) {
        if let Some(index) = self.find(&event.id) {
            let mut row = self.rows[index].clone();
            row.by = event.by.clone();
            row.at = event.at;
            row.offset = Some(event.offset);
            row.state = RowState::Sent;
            row.code = None;
            self.relocate(index, self.position(event.offset), row);
            return;
        }
        self.place(Row {
            id: event.id.clone(),
            kind: RowKind::Message,
            own: self.me.as_ref().is_some_and(|me| me.id == event.by.id),
            by: event.by.clone(),
            text: member(&event.body, "text"),
            at: event.at,
            offset: Some(event.offset),
            state: RowState::Sent,
            code: None,
        });
    }

    fn ended(&mut self, event: &EventFrame) {
        let run = member(&event.body, "run");
        let state = match member(&event.body, "status").as_str() {
            "done" => RowState::Done,
            "stopped" => RowState::Stopped,
            "error" => RowState::Error,
            _ => RowState::Interrupted,
        };
        let code = member(&event.body, "code");
        let mut row = answer(event, run, member(&event.body, "text"), state);
        row.code = if code.is_empty() { None } else { Some(code) };
        match self.find(&row.id) {
            // The answer keeps the place and the time of its start.
            Some(index) => {
                row.offset = self.rows[index].offset;
                row.at = self.rows[index].at;
                self.update(index, row);
            }
            None if row.id.is_empty() => {}
            None => self.place(row),
        }
    }

    /// Adds a piece to its answer; false if one before it was missed.
    pub(crate) fn piece(&mut self, piece: &Piece) -> bool {
        let Some(index) = self.find(&piece.run) else { return false };
        let row = &mut self.rows[index];
        if row.state != RowState::Streaming {
            return true;
        }
        let length = row.text.len() as u64;
        if piece.at > length {
            return false;
        }
        let known = (length - piece.at) as usize;
        if let Some(added) = piece.text.get(known..).filter(|added| !added.is_empty()) {
            row.text.push_str(added);
            self.appended(index, added);
        }
        true
    }

    /// Takes the whole text so far of an answer under way.
    pub(crate) fn snapshot(&mut self, run: &RunText) {
        let Some(index) = self.find(&run.run) else { return };
        if self.rows[index].state != RowState::Streaming {
            return;
        }
        match run.text.strip_prefix(self.rows[index].text.as_str()) {
            Some("") => {}
            Some(added) => {
                self.rows[index].text.push_str(added);
                self.appended(index, added);
            }
            None => {
                let mut row = self.rows[index].clone();
                row.text.clone_from(&run.text);
                self.update(index, row);
            }
        }
    }

    // The list and its changes.

    fn find(&self, id: &str) -> Option<usize> {
        self.rows.iter().rposition(|row| row.id == id)
    }

    /// Where a committed row with this offset belongs: behind all with a lower one.
    fn position(&self, offset: u64) -> usize {
        self.rows
            .iter()
            .rposition(|row| row.offset.is_some_and(|other| other < offset))
            .map_or(0, |at| at + 1)
    }

    fn place(&mut self, row: Row) {
        let index = row.offset.map_or(self.rows.len(), |offset| self.position(offset));
        self.insert(index, row);
    }

    /// Puts a changed row before the one that is at `target` now.
    fn relocate(&mut self, index: usize, target: usize, row: Row) {
        // Taking it out first moves what stands behind it one down.
        let target = if target > index { target - 1 } else { target };
        if target == index {
            self.update(index, row);
        } else {
            self.remove(index);
            self.insert(target, row);
        }
    }

    fn insert(&mut self, index: usize, row: Row) {
        self.rows.insert(index, row.clone());
        self.changes.push(Change::Insert { index, row });
    }

    fn update(&mut self, index: usize, row: Row) {
        if self.rows[index] != row {
            self.rows[index] = row.clone();
            self.changes.push(Change::Update { index, row });
        }
    }

    fn remove(&mut self, index: usize) {
        self.rows.remove(index);
        self.changes.push(Change::Remove { index });
    }

    fn appended(&mut self, index: usize, added: &str) {
        if let Some(Change::Append { index: last, text }) = self.changes.last_mut()
            && *last == index
        {
            text.push_str(added);
        } else {
            self.changes.push(Change::Append { index, text: added.to_owned() });
        }
    }

    fn trim(&mut self) {
        while self.rows.len() > MAX_ROWS && self.rows[0].offset.is_some() {
            self.remove(0);
        }
    }
}

/// The row of an answer at its event.
fn answer(event: &EventFrame, run: String, text: String, state: RowState) -> Row {
    Row {
        id: run,
        kind: RowKind::Answer,
        by: event.by.clone(),
        own: false,
        text,
        at: event.at,
        offset: Some(event.offset),
        state,
        code: None,
    }
}

/// A string member of a body, or nothing.
fn member(body: &str, name: &str) -> String {
    Object::parse(body)
        .ok()
        .and_then(|object| object.str(name).map(|text| text.into_owned()))
        .unwrap_or_default()
}
