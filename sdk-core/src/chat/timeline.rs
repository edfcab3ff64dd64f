//! A dialog's timeline: committed rows in the order of their offsets, then what is not committed
//! yet in the order it was written.

use crate::event::{Row, RowKind, RowState};
use crate::ids::Ids;
use crate::list::Change;
use crate::wire::json::Object;
use crate::wire::json::Writer;
use crate::wire::{self, EventFrame, Piece, RunText, UNREADABLE, User, UserKind, json};

/// Most rows kept; the oldest committed ones go first.
const MAX_ROWS: usize = 2_000;
/// Texts of answers under way are kept in the store up to this length in all, in bytes.
const MAX_RUNS: usize = 262_144;
/// Two times that a waiting row is tried again at, this close together, are the same to people.
const SAME_MS: u64 = 500;
/// Stands for the offset of a row that is not committed: behind all that are.
const UNCOMMITTED: u64 = u64::MAX;

/// A row is found by its id, and its place by its offset, with O(log n) comparisons. The offsets
/// rise but for a moment: rows that were acknowledged in a new log stand behind those of the old
/// one until it goes.
pub(crate) struct Timeline {
    #[expect(clippy::vec_box, reason = "a row that comes or goes moves what stands behind it: pointers")]
    rows: Vec<Box<Row>>,
    /// The rows' ids, with their offsets, and perhaps those of older rows that are gone.
    ids: Ids,
    /// How many answers are under way.
    streaming: usize,
    /// What changed since the application was told.
    changes: Vec<Change<Row>>,
    me: Option<User>,
    /// The rows show what comes after this offset.
    since: u64,
}

impl Timeline {
    pub(crate) fn new(me: Option<User>) -> Timeline {
        Timeline { rows: Vec::new(), ids: Ids::default(), streaming: 0, changes: Vec::new(), me, since: 0 }
    }

    pub(crate) fn rows(&self) -> Vec<Row> {
        self.rows.iter().map(|row| Row::clone(row)).collect()
    }

    /// The offset of the row with this id, if it is there and committed.
    pub(crate) fn committed(&self, id: &str) -> Option<u64> {
        self.rows[self.find(id)?].offset
    }

    /// What changed since the last call.
    pub(crate) fn take_changes(&mut self) -> Vec<Change<Row>> {
        std::mem::take(&mut self.changes)
    }

    /// Says the whole list again, in place of the changes so far.
    pub(crate) fn announce(&mut self) {
        self.changes.clear();
        self.changes.push(Change::Reset(self.rows()));
    }

    /// The server said who this is.
    pub(crate) fn signed_in(&mut self, me: &User) {
        if self.me.as_ref() == Some(me) {
            return;
        }
        self.me = Some(me.clone());
        for index in 0..self.rows.len() {
            let mut row = Row::clone(&self.rows[index]);
            row.own = row.offset.is_none() || row.by.id == me.id;
            if row.offset.is_none() {
                row.by = me.clone();
            }
            self.update(index, row);
        }
    }

    /// Forgets every committed row; what waits to be sent stays.
    pub(crate) fn reset(&mut self) {
        self.rows.retain(|row| row.offset.is_none());
        self.streaming = 0;
        self.ids.clear();
        self.rows.iter().for_each(|row| self.ids.set(&row.id, UNCOMMITTED));
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
            retry_at: None,
        };
        self.insert(self.rows.len(), row);
    }

    /// Changes how an uncommitted row stands.
    pub(crate) fn mark(&mut self, id: &str, state: RowState, code: Option<&str>) {
        if let Some(index) = self.find(id)
            && self.rows[index].offset.is_none()
        {
            let mut row = Row::clone(&self.rows[index]);
            row.state = state;
            row.code = code.map(str::to_owned);
            row.retry_at = None;
            self.update(index, row);
        }
    }

    /// Says what the rows that are not committed wait for: ids, codes and times by the wall clock
    /// of those that wait for something besides the connection, in the order of the rows.
    pub(crate) fn hold<'a>(&mut self, waits: impl Iterator<Item = (&'a str, &'a str, Option<u64>)>) {
        let mut waits = waits.peekable();
        for index in self.position(UNCOMMITTED)..self.rows.len() {
            let row = &self.rows[index];
            let wait = waits.next_if(|(id, ..)| *id == row.id);
            if !matches!(row.state, RowState::Queued | RowState::Saving) {
                continue;
            }
            let (code, retry_at) = wait.map_or((None, None), |(_, code, at)| (Some(code), at));
            let moved = row.retry_at.unwrap_or(0).abs_diff(retry_at.unwrap_or(0)) > SAME_MS;
            if row.code.as_deref() != code || moved {
                let mut row = Row::clone(row);
                row.code = code.map(str::to_owned);
                row.retry_at = retry_at;
                self.update(index, row);
            }
        }
    }

    /// From here on the rows show what comes after this offset. What was committed before, of which
    /// only the op's answer told, stands before it or in another epoch; if not, its event brings it
    /// again.
    pub(crate) fn begins_after(&mut self, offset: u64) {
        self.since = offset;
        if self.rows.iter().any(|row| row.offset.is_some()) {
            self.reset();
        }
    }

    /// The server committed the op. One that stands before what is shown would stand there with a
    /// hole behind it, so its row goes. Any other stands behind all that is shown: the events up to
    /// it are still to come, or all of them again, if the log is another one by now.
    pub(crate) fn commit(&mut self, id: &str, offset: u64, at: u64) {
        if let Some(index) = self.find(id)
            && self.rows[index].offset.is_none()
        {
            if offset <= self.since {
                self.ids.remove(id);
                return self.remove(index);
            }
            let mut row = Row::clone(&self.rows[index]);
            row.offset = Some(offset);
            row.at = at;
            row.state = RowState::Sent;
            row.code = None;
            row.retry_at = None;
            self.relocate(index, self.position(UNCOMMITTED), row);
        }
    }

    /// The application gave the op up.
    pub(crate) fn discard(&mut self, id: &str) {
        if let Some(index) = self.find(id)
            && self.rows[index].offset.is_none()
        {
            self.ids.remove(id);
            self.remove(index);
        }
    }

    // What the channel brings.

    pub(crate) fn apply(&mut self, event: &EventFrame) {
        match event.kind.as_str() {
            wire::Message::KIND => self.message(event),
            wire::AnswerStart::KIND => match text(&event.body, "run") {
                Some(run) if self.find(&run).is_some() => {}
                Some(run) => self.place(answer(event, run, String::new(), RowState::Streaming)),
                None => self.unreadable(event),
            },
            wire::AnswerEnd::KIND => self.ended(event),
            UNREADABLE => self.unreadable(event),
            _ => {}
        }
        self.trim();
    }

    /// Something stands here that can't be shown. A row of this client's own keeps what it says.
    fn unreadable(&mut self, event: &EventFrame) {
        let mut row = answer(event, event.id.clone(), String::new(), RowState::Sent);
        row.kind = RowKind::Unreadable;
        match self.find(&row.id) {
            Some(index) => {
                let mut row = Row::clone(&self.rows[index]);
                row.offset = Some(event.offset);
                row.state = RowState::Sent;
                self.relocate(index, self.position(event.offset), row);
            }
            None => self.place(row),
        }
    }

    fn message(&mut self, event: &EventFrame) {
        if let Some(index) = self.find(&event.id) {
            let mut row = Row::clone(&self.rows[index]);
            row.by = event.by.clone();
            row.at = event.at;
            row.offset = Some(event.offset);
            row.state = RowState::Sent;
            row.code = None;
            row.retry_at = None;
            self.relocate(index, self.position(event.offset), row);
            return;
        }
        let Some(text) = text(&event.body, "text") else { return self.unreadable(event) };
        self.place(Row {
            id: event.id.clone(),
            kind: RowKind::Message,
            own: self.me.as_ref().is_some_and(|me| me.id == event.by.id),
            by: event.by.clone(),
            text,
            at: event.at,
            offset: Some(event.offset),
            state: RowState::Sent,
            code: None,
            retry_at: None,
        });
    }

    fn ended(&mut self, event: &EventFrame) {
        let Some(run) = text(&event.body, "run") else { return self.unreadable(event) };
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
            None => self.place(row),
        }
    }

    /// The newest answer under way.
    pub(crate) fn run(&self) -> Option<&str> {
        let rows = if self.streaming > 0 { self.rows.as_slice() } else { &[] };
        rows.iter().rev().find(|row| is_streaming(row)).map(|row| row.id.as_str())
    }

    /// The texts so far of the answers under way, for the store: what [`read_runs`] reads.
    pub(crate) fn runs(&self) -> String {
        let run = |row: &Row| Writer::object().str("run", &row.id).str("text", &row.text).end();
        let rows = if self.streaming > 0 { self.rows.as_slice() } else { &[] };
        let streaming = rows.iter().filter(|row| is_streaming(row) && !row.text.is_empty());
        let runs: Vec<String> = streaming.map(|row| run(row)).collect();
        let runs = json::array(runs.iter().map(String::as_str));
        if runs.len() <= MAX_RUNS { runs } else { String::from("[]") }
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
                let mut row = Row::clone(&self.rows[index]);
                row.text.clone_from(&run.text);
                self.update(index, row);
            }
        }
    }

    // The list and its changes.

    fn find(&self, id: &str) -> Option<usize> {
        let at = self.position(self.ids.get(id)?);
        let is = |index: &usize| self.rows.get(*index).is_some_and(|row| row.id == id);
        // What waits is acknowledged in its order, so it is the first there, too. What stands
        // before is of an older log.
        (at..self.rows.len()).find(is).or_else(|| (0..at).find(is))
    }

    /// Where a row with this offset belongs: behind all with a lower one.
    fn position(&self, offset: u64) -> usize {
        self.rows.partition_point(|row| offset_of(row) < offset)
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
            let moved = self.rows.remove(index);
            self.rows.insert(target, moved);
            self.changes.push(Change::Move { from: index, to: target });
            self.update(target, row);
        }
    }

    fn insert(&mut self, index: usize, row: Row) {
        self.ids.set(&row.id, offset_of(&row));
        self.streaming += usize::from(is_streaming(&row));
        self.rows.insert(index, Box::new(row.clone()));
        self.changes.push(Change::Insert { index, row });
    }

    fn update(&mut self, index: usize, row: Row) {
        if *self.rows[index] != row {
            self.ids.set(&row.id, offset_of(&row));
            self.streaming += usize::from(is_streaming(&row));
            self.streaming -= usize::from(is_streaming(&self.rows[index]));
            *self.rows[index] = row.clone();
            self.changes.push(Change::Update { index, row });
        }
    }

    fn remove(&mut self, index: usize) {
        self.streaming -= usize::from(is_streaming(&self.rows.remove(index)));
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
            self.ids.forget_before(offset_of(&self.rows[0]), MAX_ROWS);
        }
    }
}

fn offset_of(row: &Row) -> u64 {
    row.offset.unwrap_or(UNCOMMITTED)
}

fn is_streaming(row: &Row) -> bool {
    row.state == RowState::Streaming
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
        retry_at: None,
    }
}

/// What [`Timeline::runs`] wrote; nothing of what can't be read.
pub(crate) fn read_runs(record: &str) -> Vec<RunText> {
    let runs = json::validate(record).and_then(json::elements).unwrap_or_default();
    let read = |run: &str| {
        let object = Object::parse(run).ok()?;
        Some(RunText { run: object.str("run")?.into_owned(), text: object.str("text")?.into_owned() })
    };
    runs.into_iter().filter_map(read).collect()
}

/// A string member of a body, or nothing.
fn member(body: &str, name: &str) -> String {
    Object::parse(body)
        .ok()
        .and_then(|object| object.str(name).map(|text| text.into_owned()))
        .unwrap_or_default()
}

/// A string member of a body that must be there and not empty.
fn text(body: &str, name: &str) -> Option<String> {
    Some(member(body, name)).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    fn user(id: u64) -> User {
        User { id: id.to_string(), name: String::new(), kind: UserKind::User }
    }

    fn event(kind: &str, id: &str, offset: u64, body: String) -> EventFrame {
        let (by, at) = (user(offset % 3), offset);
        let (ch, raw) = (String::from("dialog:demo"), String::new());
        EventFrame { ch, offset, id: id.to_owned(), kind: kind.to_owned(), at, by, body, raw }
    }

    /// A walk through everything that can happen to a timeline, events and acknowledgements of
    /// another log included.
    struct Walk {
        rng: Rng,
        timeline: Timeline,
        next: u64,
        offset: u64,
        /// Ids that were ever used: of ops, and of answers.
        ops: Vec<String>,
        runs: Vec<String>,
    }

    impl Walk {
        fn pick(&mut self, ids: fn(&Walk) -> &Vec<String>) -> String {
            let most = (ids(self).len() as u64).saturating_sub(1);
            // Mostly a recent one.
            let back =
                if self.rng.up_to(9) == 0 { self.rng.up_to(most) } else { self.rng.up_to(most.min(5)) };
            ids(self).get((most - back) as usize).cloned().unwrap_or_default()
        }

        fn id(&mut self) -> String {
            self.next += 1;
            // In their order as ids of version 7 are, or not.
            let first = if self.rng.up_to(3) == 0 { self.rng.next() } else { self.next };
            let mut id = String::new();
            crate::wire::json::push_integer(&mut id, first % 100_000 + 100_000);
            id.push('-');
            crate::wire::json::push_integer(&mut id, self.next);
            id
        }

        fn step(&mut self) {
            let run_body = |run: &str| Writer::object().str("run", run).str("text", "said").end();
            match self.rng.up_to(20) {
                0..=4 => {
                    let id = self.id();
                    self.ops.push(id.clone());
                    self.offset += 1;
                    self.timeline.apply(&event("message", &id, self.offset, String::from(r#"{"text":"x"}"#)));
                }
                5..=7 => {
                    let id = self.id();
                    self.ops.push(id.clone());
                    self.timeline.write(&id, r#"{"text":"mine"}"#, 1, RowState::Queued, None);
                }
                8..=10 => {
                    let (id, kind) = (self.pick(|walk| &walk.ops), ["message", UNREADABLE]);
                    let kind = kind[usize::from(self.rng.up_to(5) == 0)];
                    self.offset += 1;
                    self.timeline.apply(&event(kind, &id, self.offset, String::from(r#"{"text":"x"}"#)));
                }
                11 | 12 => {
                    let (id, ahead) = (self.pick(|walk| &walk.ops), self.rng.up_to(3));
                    // Of a log that begins anew, now and then.
                    let offset = if self.rng.up_to(9) == 0 { ahead } else { self.offset + ahead };
                    self.timeline.commit(&id, offset, 2);
                }
                13 => {
                    let id = self.pick(|walk| &walk.ops);
                    self.timeline.discard(&id);
                }
                14 => {
                    let run = self.id();
                    self.runs.push(run.clone());
                    self.offset += 1;
                    self.timeline.apply(&event("answer.start", &run, self.offset, run_body(&run)));
                }
                15 => {
                    let run = self.pick(|walk| &walk.runs);
                    self.offset += 1;
                    let id = self.id();
                    self.timeline.apply(&event("answer.end", &id, self.offset, run_body(&run)));
                }
                16 | 17 => {
                    let (run, at) = (self.pick(|walk| &walk.runs), self.rng.up_to(20));
                    let ch = String::new();
                    self.timeline.piece(&Piece { ch, run: run.clone(), at, text: String::from("piece ") });
                    self.timeline.snapshot(&RunText { run, text: String::from("piece of a snapshot") });
                }
                18 => self.timeline.signed_in(&user(self.offset % 3)),
                19 if self.rng.up_to(20) == 0 => {
                    self.offset = self.rng.up_to(self.offset);
                    self.timeline.begins_after(self.offset);
                }
                _ => {
                    let id = self.pick(|walk| &walk.ops);
                    self.timeline.mark(&id, RowState::Failed, Some("code"));
                    self.timeline.hold([(id.as_str(), "blocked", None)].into_iter());
                }
            }
        }
    }

    #[test]
    fn the_changes_make_the_new_rows_of_the_old_and_every_row_is_found_where_it_is() {
        for seed in 0..40 {
            let (rng, timeline) = (Rng::new([seed; 32]), Timeline::new(None));
            let mut walk = Walk { rng, timeline, next: 0, offset: 0, ops: vec![], runs: vec![] };
            let mut rows = Vec::new();
            for step in 0..400 {
                walk.step();
                walk.timeline.take_changes().into_iter().for_each(|change| {
                    assert!(change.apply(&mut rows, |row, text| row.text.push_str(text)));
                });
                let timeline = &walk.timeline;
                assert!(rows == timeline.rows(), "seed {seed}, step {step}");
                for (index, row) in rows.iter().enumerate() {
                    assert_eq!(timeline.find(&row.id), Some(index), "seed {seed}, step {step}");
                }
                assert_eq!(timeline.streaming, rows.iter().filter(|row| is_streaming(row)).count());
                assert!(rows.is_sorted_by_key(|row| row.offset.is_none()), "what waits stands behind");
                let gone =
                    walk.ops.iter().chain(&walk.runs).filter(|id| rows.iter().all(|row| row.id != **id));
                assert!(gone.into_iter().all(|id| timeline.find(id).is_none()));
            }
            assert!(rows.len() > 20, "{}", rows.len());
        }
    }

    #[test]
    fn one_row_more_is_one_change_however_many_there_are() {
        let mut timeline = Timeline::new(None);
        for offset in 1..=5_000 {
            let (id, body) = (offset.to_string(), String::from(r#"{"text":"x"}"#));
            timeline.apply(&event("message", &id, offset, body));
            let expected = if offset as usize > MAX_ROWS { 2 } else { 1 };
            assert_eq!(timeline.take_changes().len(), expected, "and one less at the limit");
            assert_eq!(timeline.committed(&id), Some(offset));
        }
        assert_eq!((timeline.rows.len(), timeline.committed("3000")), (MAX_ROWS, None));
    }
}
