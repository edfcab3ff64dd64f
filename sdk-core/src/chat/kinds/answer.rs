//! `answer.start`, pieces, `answer.end`: the model answers.

use super::row;
use crate::chat::rows::Rows;
use crate::event::{Row, RowKind, RowState};
use crate::wire::json::{self, Object, Writer};
use crate::wire::{AnswerEnd, AnswerStart, EventFrame, Piece, RunId, RunText};

/// Most bytes of texts of answers under way that are stored.
const MAX_RUNS: usize = 262_144;

/// An answer begins. If only its end was known, its row gets the offset and time of the start.
pub(super) fn start(rows: &mut Rows, event: &EventFrame, start: AnswerStart) {
    match rows.find(&start.run) {
        None => rows.place(answer(event, start.run, String::new(), RowState::Streaming)),
        Some(index) if rows.is_later(index, event.offset) => {
            let mut row = rows.get(index).clone();
            row.offset = Some(event.offset);
            row.at = event.at;
            rows.relocate(index, rows.position(event.offset), row);
        }
        Some(_) => {}
    }
}

/// An answer ended. Its row keeps the offset and the time of the start.
pub(super) fn end(rows: &mut Rows, event: &EventFrame, end: AnswerEnd) {
    let state = match end.status.as_str() {
        "done" => RowState::Done,
        "stopped" => RowState::Stopped,
        "error" => RowState::Error,
        _ => RowState::Interrupted,
    };
    let mut row = answer(event, end.run, end.text, state);
    row.code = end.code.filter(|code| !code.is_empty());
    match rows.find(&row.id) {
        Some(index) => {
            row.offset = rows.get(index).offset;
            row.at = rows.get(index).at;
            rows.update_by(index, row, event.offset);
        }
        None => rows.place(row),
    }
}

fn answer(event: &EventFrame, run: RunId, text: String, state: RowState) -> Row {
    let mut row = row(event, RowKind::Answer);
    row.id = run.into();
    row.text = text;
    row.state = state;
    row
}

/// Appends a piece to its answer. False if an earlier piece is missing. An answer that has no row
/// began before those that are shown.
pub(in crate::chat) fn piece(rows: &mut Rows, piece: &Piece) -> bool {
    let Some(index) = rows.find(&piece.run) else { return true };
    let row = rows.get(index);
    if row.state != RowState::Streaming {
        return true;
    }
    let length = row.text.len() as u64;
    if piece.at > length {
        return false;
    }
    let known = (length - piece.at) as usize;
    if let Some(added) = piece.text.get(known..).filter(|added| !added.is_empty()) {
        rows.append(index, added);
    }
    true
}

/// Sets the text so far of an answer under way.
pub(in crate::chat) fn snapshot(rows: &mut Rows, run: &RunText) {
    let Some(index) = rows.find(&run.run) else { return };
    let row = rows.get(index);
    if row.state != RowState::Streaming {
        return;
    }
    match run.text.strip_prefix(row.text.as_str()) {
        Some("") => {}
        Some(added) => rows.append(index, added),
        None => {
            let mut row = row.clone();
            row.text.clone_from(&run.text);
            rows.update(index, row);
        }
    }
}

/// Encodes the texts so far of the answers under way for the store; see [`read_runs`].
pub(in crate::chat) fn runs(rows: &Rows) -> String {
    let mut list = Writer::list(0);
    for row in rows.streaming().filter(|row| !row.text.is_empty()) {
        list = list.begin().str("run", &row.id).str("text", &row.text).close();
    }
    let runs = list.end_list();
    if runs.len() <= MAX_RUNS { runs } else { String::from("[]") }
}

/// Decodes what [`runs`] wrote. Entries that can't be read are left out.
pub(crate) fn read_runs(record: &str) -> Vec<RunText> {
    let runs = json::validate(record).and_then(json::elements).unwrap_or_default();
    let mut read = Vec::new();
    for run in runs {
        read.extend(read_run(run));
    }
    read
}

fn read_run(record: &str) -> Option<RunText> {
    let object = Object::parse(record).ok()?;
    Some(RunText { run: RunId::from(object.text("run")?), text: object.text("text")? })
}
