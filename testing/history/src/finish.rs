//! The checks that need the whole history.

use crate::history::{Cursor, History, Life, Op, Origin, Stream};
use crate::report::{Report, Violation, ViolationKind};
use std::collections::HashMap;

impl History {
    /// Compares the end of the history with its beginning. The history can be continued afterwards.
    pub fn finish(&self) -> Report {
        let mut report = self.report.clone();
        for (number, op) in self.ops.iter().enumerate() {
            self.finish_op(number, op, &mut report);
        }
        for stream in &self.streams {
            self.finish_stream(stream, &mut report);
        }
        for life in self.lives.iter().filter(|life| life.logged > 0) {
            self.finish_life(life, &mut report);
        }
        for cursor in self.cursors.iter().filter(|cursor| cursor.caught_up) {
            self.finish_cursor(cursor, &mut report);
        }
        report
    }

    /// An op that was acknowledged, or that left a drained outbox, must be in the log.
    fn finish_op(&self, number: usize, op: &Op, report: &mut Report) {
        let Origin::Client { client, channel } = op.origin else { return };
        let log = &self.logs[channel];
        let acked = op.acked.filter(|(_, restores)| *restores == log.restores);
        let gone = self.drained[client] && !op.failed && !op.discarded && op.acked.is_none();
        if acked.is_none() && !gone {
            return;
        }
        let (id, sender, ch) =
            (self.ids.name(number), self.clients.name(client), self.channels.name(channel));
        let Some(last) = log.last else {
            report.unverified += 1;
            return;
        };
        let logged = |(life, offset): &(usize, u64)| self.lives[*life].places[offset].logged;
        let Some((offset, _)) = acked else {
            // Retention may have removed it, if it was ever seen.
            if !op.places.iter().any(|place| logged(place) || place.1 <= self.lives[place.0].trimmed) {
                note(
                    report,
                    ViolationKind::Lost,
                    format!("{id} of {sender} left the outbox and is not in the log of {ch}"),
                );
            }
            return;
        };
        let trimmed = offset <= self.lives[last].trimmed;
        match op.places.iter().rfind(|place| logged(place)) {
            Some((_, at)) if *at == offset => {}
            // Within one epoch this was reported when it came.
            Some((_, at)) if log.lives.len() > 1 => {
                let what =
                    format!("{id} of {sender} in {ch} was acknowledged at {offset}, but stands at {at}");
                note(report, ViolationKind::Diverged, what);
            }
            Some(_) => {}
            None if trimmed => {}
            None => note(
                report,
                ViolationKind::Lost,
                format!("{id} of {sender}, acknowledged at {offset}, is not in the log of {ch}"),
            ),
        }
    }

    fn finish_stream(&self, stream: &Stream, report: &mut Report) {
        // The last one in each epoch.
        let mut last: HashMap<usize, (u64, usize)> = HashMap::new();
        for op in &stream.ops {
            for (life, offset) in &self.ops[*op].places {
                // A discarded op has no guarantee.
                if self.ops[*op].discarded {
                    continue;
                }
                // An op that a restored backup took away may come again late, or never.
                let log = &self.logs[self.lives[*life].channel];
                let was_acked_before =
                    self.ops[*op].acked.is_some_and(|(_, restores)| restores < log.restores);
                if was_acked_before && log.last == Some(*life) {
                    continue;
                }
                let before = last.insert(*life, (*offset, *op));
                if let Some((other_offset, other)) = before.filter(|(other, _)| other > offset) {
                    let what = format!(
                        "{} at {offset} of {} was sent after {} at {other_offset}",
                        self.ids.name(*op),
                        self.channels.name(self.lives[*life].channel),
                        self.ids.name(other),
                    );
                    note(report, ViolationKind::Reordered, what);
                }
            }
        }
    }

    /// The log must have no gaps, and must hold everything that was ever seen.
    fn finish_life(&self, life: &Life, report: &mut Report) {
        let ch = self.channels.name(life.channel);
        let mut offsets: Vec<(u64, bool)> =
            life.places.iter().map(|(offset, place)| (*offset, place.logged)).collect();
        offsets.sort_unstable();
        let mut next = life.trimmed.saturating_add(1);
        for (offset, logged) in offsets.into_iter().filter(|(offset, _)| *offset > life.trimmed) {
            let epoch = &life.epoch;
            if !logged {
                let id = self.ids.name(life.places[&offset].op);
                let what = format!("{id} was seen at {offset} of {ch} in epoch {epoch}; the log lacks it");
                note(report, ViolationKind::Diverged, what);
            } else if offset != next {
                let what = format!("the log of {ch} in epoch {epoch} has {offset}, but not {next}");
                note(report, ViolationKind::Skipped, what);
            }
            next = offset.saturating_add(1);
        }
    }

    fn finish_cursor(&self, cursor: &Cursor, report: &mut Report) {
        let (observer, ch) = (self.observers.name(cursor.observer), self.channels.name(cursor.channel));
        let Some(last) = self.logs[cursor.channel].last else {
            report.unverified += 1;
            return;
        };
        let (head, epoch) = (self.lives[last].head, &self.lives[last].epoch);
        if cursor.life.is_some_and(|life| life != last) || cursor.at != head {
            let what = format!("{observer} is at {} of {ch}, the log at {head} of epoch {epoch}", cursor.at);
            note(report, ViolationKind::Skipped, what);
        }
    }
}

fn note(report: &mut Report, kind: ViolationKind, what: String) {
    report.note(&Violation { kind, what });
}
