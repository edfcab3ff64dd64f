//! A dialog's timeline: committed rows in the order of their offsets, then uncommitted rows in the
//! order in which they were written.

use super::kinds::{self, answer, message};
use super::rows::Rows;
use crate::event::{Row, RowState};
use crate::list::Change;
use crate::wire::{Body, EventFrame, Handler, Offset, OpId, Page, Piece, RunId, RunText, User};

/// If the time of a row's next attempt changes by no more than this, the row is not emitted again,
/// in ms.
const SAME_MS: u64 = 500;

/// The rows of a dialog, and the user who sees them.
pub(crate) struct Timeline {
    rows: Rows,
    me: Option<User>,
    /// Who answers.
    handler: Handler,
    /// The rows show the events after this offset.
    since: Offset,
    /// Whether the log has no events up to `since`.
    is_whole: bool,
    /// What the application knows about [`Timeline::has_older`], and about the handler.
    told_older: bool,
    told_handler: Handler,
}

impl Timeline {
    pub(crate) fn new(me: Option<User>) -> Timeline {
        Timeline {
            rows: Rows::default(),
            me,
            handler: Handler::Ai,
            since: Offset::ZERO,
            is_whole: false,
            told_older: false,
            told_handler: Handler::Ai,
        }
    }

    pub(crate) fn rows(&self) -> Vec<Row> {
        self.rows.all()
    }

    /// The offset of the row with this id, if it is there and committed.
    pub(crate) fn committed(&self, id: &OpId) -> Option<Offset> {
        self.rows.get(self.rows.find(id)?).offset
    }

    /// The newest answer under way.
    pub(crate) fn run(&self) -> Option<RunId> {
        self.rows.streaming().next_back().map(|row| RunId::from(row.id.as_str()))
    }

    /// The rows show the events after this offset.
    pub(crate) fn since(&self) -> Offset {
        self.since
    }

    /// Whether the log has, or had, events before those that the rows show.
    pub(crate) fn has_older(&self) -> bool {
        self.since > Offset::ZERO && !self.is_whole
    }

    /// Takes the changes since the last call; none if nothing changed that the application sees.
    pub(crate) fn take_changes(&mut self) -> Option<Vec<Change<Row>>> {
        let changes = self.rows.take_changes();
        let told = self.told_older;
        self.told_older = self.has_older();
        let is_other = self.told_handler != self.handler;
        if is_other {
            self.told_handler = self.handler.clone();
        }
        (!changes.is_empty() || told != self.told_older || is_other).then_some(changes)
    }

    /// Who answers in the dialog.
    pub(crate) fn handler(&self) -> &Handler {
        &self.handler
    }

    /// The server says who answers, as of all events that were applied.
    pub(crate) fn set_handler(&mut self, handler: Option<&Handler>) {
        self.handler = handler.cloned().unwrap_or_default();
    }

    /// Replaces the pending changes by a reset with all rows.
    pub(crate) fn announce(&mut self) {
        self.rows.announce();
    }

    /// Sets the user, once the server has identified this client.
    pub(crate) fn signed_in(&mut self, me: &User) {
        if self.me.as_ref() == Some(me) {
            return;
        }
        self.me = Some(me.clone());
        for index in 0..self.rows.len() {
            let mut row = self.rows.get(index).clone();
            row.own = row.offset.is_none() || row.by.id == me.id;
            if row.offset.is_none() {
                row.by = me.clone();
            }
            self.rows.update(index, row);
        }
    }

    /// Removes all committed rows. Rows that wait to be sent stay.
    pub(crate) fn reset(&mut self) {
        self.rows.reset();
    }

    // Rows that this client writes.

    /// Adds a row for an op that is not committed.
    pub(crate) fn write(&mut self, id: &OpId, body: &str, at: u64, state: RowState, code: Option<String>) {
        let written = message::written(id, body, self.me.as_ref(), at);
        self.rows.place(Row { state, code, ..written });
    }

    /// Changes the state of a row that is not committed.
    pub(crate) fn mark(&mut self, id: &OpId, state: RowState, code: Option<&str>) {
        if let Some(index) = self.rows.find_uncommitted(id) {
            let mut row = self.rows.get(index).clone();
            row.state = state;
            row.code = code.map(str::to_owned);
            row.retry_at = None;
            self.rows.update(index, row);
        }
    }

    /// Sets what uncommitted rows show as the reason of their wait. `waits` has an id, a code and a
    /// time by the wall clock for each row that waits for something besides the connection, in the
    /// order of the rows.
    pub(crate) fn show_waits<'a>(&mut self, waits: impl Iterator<Item = (&'a OpId, &'a str, Option<u64>)>) {
        let mut waits = waits.peekable();
        for index in self.rows.uncommitted()..self.rows.len() {
            let row = self.rows.get(index);
            let wait = waits.next_if(|(id, ..)| **id == *row.id);
            if !matches!(row.state, RowState::Queued | RowState::Saving) {
                continue;
            }
            let (code, retry_at) = wait.map_or((None, None), |(_, code, at)| (Some(code), at));
            let moved = row.retry_at.unwrap_or(0).abs_diff(retry_at.unwrap_or(0)) > SAME_MS;
            if row.code.as_deref() != code || moved {
                let mut row = row.clone();
                row.code = code.map(str::to_owned);
                row.retry_at = retry_at;
                self.rows.update(index, row);
            }
        }
    }

    /// From here on the rows show the events after this offset. Committed rows are removed: they
    /// are before that offset or in another epoch, or their events will come again.
    pub(crate) fn begins_after(&mut self, offset: Offset) {
        self.since = offset;
        self.is_whole = false;
        if self.rows.has_committed() {
            self.reset();
        }
    }

    /// The server committed an op. If its offset is before the rows that are shown, its row is
    /// removed, because there would be a gap after it. Otherwise it follows all rows: the events
    /// before it are still to come, or all events again if the log is another one by now.
    pub(crate) fn commit(&mut self, id: &OpId, offset: Offset, at: u64) {
        let Some(index) = self.rows.find_uncommitted(id) else { return };
        if offset <= self.since {
            return self.rows.forget(index);
        }
        let mut row = self.rows.committed(index, offset);
        row.at = at;
        self.rows.relocate(index, self.rows.uncommitted(), row);
    }

    /// The application discarded an op: removes its row.
    pub(crate) fn discard(&mut self, id: &OpId) {
        if let Some(index) = self.rows.find_uncommitted(id) {
            self.rows.forget(index);
        }
    }

    // Events and pieces from the channel.

    pub(crate) fn apply(&mut self, event: &EventFrame) {
        let body = Body::decode(&event.kind, &event.body);
        if let Some(next) = body.handler_after(&self.handler, &event.by, event.at) {
            self.handler = next;
        }
        kinds::apply(&mut self.rows, self.me.as_ref(), event, body);
        let since = self.rows.trim(self.since);
        self.is_whole &= since == self.since;
        self.since = since;
    }

    /// Events from before those that the rows show; false if they don't join on, and were left out.
    pub(crate) fn apply_older(&mut self, page: &Page) -> bool {
        if page.from.plus(page.events.len() as u64) != self.since {
            return false;
        }
        let before = self.rows.len();
        for event in &page.events {
            let body = Body::decode(&event.kind, &event.body);
            kinds::apply(&mut self.rows, self.me.as_ref(), event, body);
        }
        self.rows.keep_more(self.rows.len() - before);
        self.since = page.from;
        self.is_whole = !page.more;
        true
    }

    /// Appends a piece to its answer. False if an earlier piece is missing.
    pub(crate) fn piece(&mut self, piece: &Piece) -> bool {
        answer::piece(&mut self.rows, piece)
    }

    /// Sets the text so far of an answer under way.
    pub(crate) fn snapshot(&mut self, run: &RunText) {
        answer::snapshot(&mut self.rows, run);
    }

    /// The texts so far of the answers under way, for the store.
    pub(crate) fn runs(&self) -> String {
        answer::runs(&self.rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::rows::MAX_ROWS;
    use crate::rng::Rng;
    use crate::wire::json::Writer;
    use crate::wire::{ChannelName, UNREADABLE, UserKind};

    fn user(id: u64) -> User {
        User { id: id.to_string(), name: String::new(), kind: UserKind::User, profile: None }
    }

    fn event(kind: &str, id: &str, offset: u64, body: String) -> EventFrame {
        let (by, at) = (user(offset % 3), offset);
        let (ch, raw) = (ChannelName::of_dialog("demo").unwrap(), String::new());
        EventFrame { ch, offset: Offset(offset), id: id.into(), kind: kind.to_owned(), at, by, body, raw }
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
            // Recent ids are the most likely.
            let back =
                if self.rng.up_to(9) == 0 { self.rng.up_to(most) } else { self.rng.up_to(most.min(5)) };
            ids(self).get((most - back) as usize).cloned().unwrap_or_default()
        }

        fn id(&mut self) -> String {
            self.next += 1;
            // Rising like ids of version 7, or in random order.
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
                    self.timeline.write(&id.into(), r#"{"text":"mine"}"#, 1, RowState::Queued, None);
                }
                8..=10 => {
                    let (id, kind) = (self.pick(|walk| &walk.ops), ["message", UNREADABLE]);
                    let kind = kind[usize::from(self.rng.up_to(5) == 0)];
                    self.offset += 1;
                    self.timeline.apply(&event(kind, &id, self.offset, String::from(r#"{"text":"x"}"#)));
                }
                11 | 12 => {
                    let (id, ahead) = (self.pick(|walk| &walk.ops), self.rng.up_to(3));
                    // From time to time the log is reset.
                    let offset = if self.rng.up_to(9) == 0 { ahead } else { self.offset + ahead };
                    self.timeline.commit(&id.into(), Offset(offset), 2);
                }
                13 => {
                    let id = self.pick(|walk| &walk.ops);
                    self.timeline.discard(&id.into());
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
                    let (ch, run) = (ChannelName::of_dialog("demo").unwrap(), RunId::from(run));
                    self.timeline.piece(&Piece { ch, run: run.clone(), at, text: String::from("piece ") });
                    self.timeline.snapshot(&RunText { run, text: String::from("piece of a snapshot") });
                }
                18 => self.timeline.signed_in(&user(self.offset % 3)),
                19 if self.rng.up_to(20) == 0 => {
                    self.offset = self.rng.up_to(self.offset);
                    self.timeline.begins_after(Offset(self.offset));
                }
                _ => {
                    let id = OpId::from(self.pick(|walk| &walk.ops));
                    self.timeline.mark(&id, RowState::Failed, Some("code"));
                    self.timeline.show_waits([(&id, "blocked", None)].into_iter());
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
                walk.timeline.take_changes().into_iter().flatten().for_each(|change| {
                    assert!(change.apply(&mut rows, |row, text| row.text.push_str(text)));
                });
                let timeline = &walk.timeline;
                assert!(rows == timeline.rows(), "seed {seed}, step {step}");
                for (index, row) in rows.iter().enumerate() {
                    assert_eq!(timeline.rows.find(&row.id), Some(index), "seed {seed}, step {step}");
                }
                let streaming = rows.iter().filter(|row| row.state == RowState::Streaming);
                assert!(timeline.rows.streaming().eq(streaming));
                assert!(rows.is_sorted_by_key(|row| row.offset.is_none()), "what waits stands behind");
                let gone =
                    walk.ops.iter().chain(&walk.runs).filter(|id| rows.iter().all(|row| row.id != **id));
                assert!(gone.into_iter().all(|id| timeline.rows.find(id).is_none()));
            }
            assert!(rows.len() > 20, "{}", rows.len());
        }
    }

    /// What the test below compares of a row: id, offset, text, state.
    type Seen = (String, u64, String, RowState);

    /// A log with messages, answers that overlap, and events without a row; and the rows that show
    /// all of it.
    fn log(rng: &mut Rng, length: u64) -> (Vec<EventFrame>, Vec<Seen>) {
        let (mut log, mut rows) = (Vec::new(), Vec::new());
        let mut open: Vec<usize> = Vec::new();
        for offset in 1..=length {
            let id = String::from(crate::wire::UNREADABLE) + &offset.to_string();
            let body =
                |run: &str| Writer::object().str("run", run).str("text", "said").str("status", "done").end();
            match rng.up_to(9) {
                0 | 1 => {
                    open.push(rows.len());
                    log.push(event("answer.start", &id, offset, body(&id)));
                    rows.push((id, offset, String::new(), RowState::Streaming));
                }
                2 | 3 if !open.is_empty() => {
                    let at = open.swap_remove(rng.up_to(open.len() as u64 - 1) as usize);
                    log.push(event("answer.end", &id, offset, body(&rows[at].0)));
                    (rows[at].2, rows[at].3) = (String::from("said"), RowState::Done);
                }
                4 => log.push(event("poll.vote", &id, offset, String::from("{}"))),
                _ => {
                    log.push(event("message", &id, offset, String::from(r#"{"text":"x"}"#)));
                    rows.push((id, offset, String::from("x"), RowState::Sent));
                }
            }
        }
        (log, rows)
    }

    #[test]
    fn older_events_make_the_rows_that_all_events_make_wherever_the_rows_began_and_were_cut() {
        for seed in 0..30 {
            let mut rng = Rng::new([seed; 32]);
            // Some logs have more rows than are kept.
            let length = [60, 400, 3_500][seed as usize % 3];
            let (log, expected) = log(&mut rng, length);
            let page = |from: u64, to: u64| Page {
                ch: ChannelName::of_dialog("demo").unwrap(),
                from: Offset(from),
                head: Offset(length),
                events: log[from as usize..to as usize].to_vec(),
                more: from > 0,
                runs: Vec::new(),
                handler: None,
            };
            let mut timeline = Timeline::new(None);
            let begin = rng.up_to(length - 1);
            timeline.begins_after(Offset(begin));
            let (mut rows, mut next) = (Vec::new(), begin);
            while timeline.has_older() || next < length {
                if next < length && rng.up_to(3) > 0 {
                    for event in &log[next as usize..(next + 1 + rng.up_to(99)).min(length) as usize] {
                        timeline.apply(event);
                        next += 1;
                    }
                } else if timeline.has_older() {
                    let (since, most) = (timeline.since().0, 1 + rng.up_to(99));
                    let (before, ids) = (timeline.rows(), |row: &Row| row.id.clone());
                    assert!(timeline.apply_older(&page(since.saturating_sub(most), since)), "seed {seed}");
                    let now: Vec<String> = timeline.rows().iter().map(ids).collect();
                    assert!(before.iter().all(|row| now.contains(&row.id)), "no row goes, seed {seed}");
                    // An answer of which only the end was there may move; all else stays in order.
                    assert!(!timeline.apply_older(&page(since.saturating_sub(most), since)), "joins once");
                }
                timeline.take_changes().into_iter().flatten().for_each(|change| {
                    assert!(change.apply(&mut rows, |row: &mut Row, text| row.text.push_str(text)));
                });
                assert!(rows == timeline.rows(), "seed {seed}");
            }
            let seen = |row: Row| (row.id, row.offset.unwrap().0, row.text, row.state);
            let seen: Vec<_> = timeline.rows().into_iter().map(seen).collect();
            assert!(seen == expected, "seed {seed}: {} and {}", seen.len(), expected.len());
        }
    }

    #[test]
    fn one_row_more_is_one_change_however_many_there_are() {
        let mut timeline = Timeline::new(None);
        for offset in 1..=5_000 {
            let (id, body) = (offset.to_string(), String::from(r#"{"text":"x"}"#));
            timeline.apply(&event("message", &id, offset, body));
            let expected = if offset as usize > MAX_ROWS { 2 } else { 1 };
            let changes = timeline.take_changes().expect("one row more");
            assert_eq!(changes.len(), expected, "and one less at the limit");
            assert_eq!(timeline.committed(&id.into()), Some(Offset(offset)));
        }
        assert_eq!((timeline.rows.len(), timeline.committed(&"3000".into())), (MAX_ROWS, None));
    }
}
