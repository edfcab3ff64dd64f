//! The writes inside the writer's transaction, one function for each kind.

use super::columns::{self, number};
use super::schema::{event_key, offset_of, write_meta};
use super::{Outside, dialogs, handing, members, positions, retention, sessions, sites};
use rusqlite::{Connection, OptionalExtension, params};
use tidewire_core::wire::EventFrame;
use tidewire_server_core::store::{
    Duplicate, EndRun, NewEvent, Outcome, Refusal, Revocation, StartRun, StorePiece, Stored, Write,
};

/// Size of a probe.
const PROBE_BYTES: usize = 65_536;

/// Applies one write. If it is refused, nothing was written but, of a step of a hand-off, that it was.
pub(super) fn apply(
    connection: &Connection,
    write: &Write,
    outside: &dyn Outside,
) -> rusqlite::Result<Outcome> {
    match write {
        Write::Append(event) => append(connection, event, outside),
        Write::StartRun(start) => start_run(connection, start, outside.now_ms()),
        Write::Piece(piece) => store_piece(connection, piece),
        Write::EndRun(end) => end_run(connection, end, outside.now_ms()),
        Write::CreateDialog(dialog) => dialogs::create(connection, dialog, outside.now_ms()),
        Write::DeleteDialog { name, unused_before_ms } => {
            dialogs::delete(connection, name, *unused_before_ms)
        }
        Write::Trim(trim) => retention::trim(connection, trim, outside).map(Outcome::Trimmed),
        Write::ForgetOps { before_ms, most } => {
            retention::forget(connection, *before_ms, *most).map(Outcome::Forgotten)
        }
        Write::Exchange(exchange) => dialogs::exchange(connection, exchange, outside),
        Write::SetMember(set) => members::set(connection, set),
        Write::Positions(set) => positions::set(connection, set, outside.now_ms()).map(Outcome::Positions),
        Write::Revoke(revocation) => revoke(connection, revocation),
        Write::ForgetRevocations { before_ms } => connection
            .prepare_cached("DELETE FROM revocations WHERE since < ?")?
            .execute([before_ms.cast_signed()])
            .map(Outcome::Forgotten),
        Write::PutSession(row) => sessions::put(connection, row),
        Write::EndSession { id, account } => sessions::end(connection, id, account),
        Write::ForgetSessions { before_ms } => {
            sessions::forget(connection, *before_ms).map(Outcome::Forgotten)
        }
        Write::PutSite(site) => sites::put(connection, site),
        Write::DeleteSite { key, account } => sites::delete(connection, key, account),
        // As much as a long message: a disk with room for one page only counts as full.
        Write::Probe => write_meta(connection, "probe", vec![0u8; PROBE_BYTES]).map(|()| Outcome::Done),
        Write::LimitPages(pages) => {
            let size: u32 = connection.query_row("PRAGMA page_count", [], |row| row.get(0))?;
            let most = pages.map_or(u32::MAX - 1, |more| size.saturating_add(more));
            connection.pragma_update(None, "max_page_count", most).map(|()| Outcome::Done)
        }
    }
}

fn append(connection: &Connection, event: &NewEvent, outside: &dyn Outside) -> rusqlite::Result<Outcome> {
    let op = event.op.as_bytes().as_slice();
    if let Some((key, frame)) = find_op(connection, op, event)? {
        return Ok(earlier(event, key, frame));
    }
    if let Some(trimmed) = retention::find(connection, op, event)? {
        return trimmed.compare(event, outside);
    }
    if event.forbidden {
        return Ok(Outcome::Refused(Refusal::Forbidden));
    }
    if let Some(after) = &event.after {
        let after = after.as_bytes().as_slice();
        if find_op(connection, after, event)?.is_none()
            && retention::find(connection, after, event)?.is_none()
        {
            return Ok(Outcome::Refused(Refusal::Blocked));
        }
    }
    if let Some(run) = &event.needs_run {
        let known = connection
            .prepare_cached("SELECT 1 FROM runs WHERE id = ? AND channel = ?")?
            .exists(params![run.as_str(), event.channel])?;
        if !known {
            return Ok(Outcome::Refused(Refusal::RunNotFound));
        }
    }
    let at = outside.now_ms();
    let is_ai = match handing::hand(connection, event, at)? {
        Ok(is_ai) => is_ai,
        Err(conflict) => return Ok(Outcome::Refused(Refusal::Handoff(conflict))),
    };
    let Some(stored) = insert(connection, event, at)? else {
        return Ok(Outcome::Refused(Refusal::Forbidden));
    };
    if event.wants_answer && is_ai {
        connection
            .prepare_cached("UPDATE dialogs SET wants_answer = ? WHERE channel = ?")?
            .execute(params![number(stored.offset), event.channel])?;
    }
    Ok(Outcome::Stored(stored))
}

/// The outcome for an op id that was used before.
fn earlier(event: &NewEvent, key: i64, frame: String) -> Outcome {
    match EventFrame::decode(&frame) {
        Ok(old) if old.kind == event.kind && old.body == event.body => {
            Outcome::Duplicate(Duplicate { offset: offset_of(key), at: old.at, frame: Some(frame.into()) })
        }
        _ => Outcome::Refused(Refusal::OpIdReused),
    }
}

fn find_op(connection: &Connection, op: &[u8], event: &NewEvent) -> rusqlite::Result<Option<(i64, String)>> {
    connection
        .prepare_cached("SELECT key, frame FROM events WHERE op = ? AND author = ? AND key >> 40 = ?")?
        .query_row(params![op, event.author, event.channel], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
}

/// Gives the event its offset and stores it; `None` if the dialog was deleted.
fn insert(connection: &Connection, event: &NewEvent, at: u64) -> rusqlite::Result<Option<Stored>> {
    let offset = connection
        .prepare_cached(
            "UPDATE channels SET head = head + 1, oldest = coalesce(oldest, ?2) WHERE id = ?1 RETURNING head",
        )?
        .query_row(params![event.channel, at.cast_signed()], |row| columns::offset(row, 0))
        .optional()?;
    let Some(offset) = offset else { return Ok(None) };
    let frame = EventFrame {
        ch: event.name.clone(),
        offset,
        id: event.id.clone(),
        kind: event.kind.clone(),
        at,
        by: event.by.clone(),
        body: event.body.clone(),
        raw: String::new(),
    }
    .encode();
    connection.prepare_cached("INSERT INTO events (key, op, author, frame) VALUES (?, ?, ?, ?)")?.execute(
        params![event_key(event.channel, offset), event.op.as_bytes().as_slice(), event.author, frame],
    )?;
    Ok(Some(Stored { offset, at, frame: frame.into() }))
}

fn start_run(connection: &Connection, start: &StartRun, at: u64) -> rusqlite::Result<Outcome> {
    // A resent start must not be written twice: it may be committed although its reply was lost.
    if let Some((key, frame)) = find_op(connection, start.event.op.as_bytes(), &start.event)? {
        return Ok(earlier(&start.event, key, frame));
    }
    if handing::is_silent(connection, start.event.channel)? {
        return Ok(Outcome::Refused(Refusal::Silent));
    }
    let Some(stored) = insert(connection, &start.event, at)? else {
        return Ok(Outcome::Refused(Refusal::Forbidden));
    };
    // The message that it answers is part of the answer.
    connection
        .prepare_cached(
            "INSERT INTO runs (id, channel, first) SELECT ?1, ?2, min(?3, coalesce(wants_answer, ?3))
             FROM dialogs WHERE channel = ?2",
        )?
        .execute(params![start.run.as_str(), start.event.channel, number(stored.offset)])?;
    connection
        .prepare_cached("UPDATE dialogs SET wants_answer = NULL WHERE channel = ?")?
        .execute([start.event.channel])?;
    Ok(Outcome::Stored(stored))
}

fn store_piece(connection: &Connection, piece: &StorePiece) -> rusqlite::Result<Outcome> {
    // Stores nothing if the run was deleted with its dialog, or if an operator has it.
    let stored = connection
        .prepare_cached(
            "INSERT OR REPLACE INTO pieces (run, at, text)
             SELECT ?1, ?2, ?3 WHERE EXISTS (
                 SELECT 1 FROM runs JOIN dialogs ON dialogs.channel = runs.channel WHERE id = ?1 AND NOT silent
             )",
        )?
        .execute(params![piece.run.as_str(), piece.at.cast_signed(), piece.text])?;
    Ok(if stored > 0 { Outcome::Done } else { Outcome::Refused(Refusal::RunNotFound) })
}

fn end_run(connection: &Connection, end: &EndRun, at: u64) -> rusqlite::Result<Outcome> {
    // A resent end must not be written twice: it may be committed although its reply was lost.
    let open = connection.prepare_cached("DELETE FROM runs WHERE id = ?")?.execute([end.run.as_str()])?;
    if open == 0 {
        return Ok(Outcome::Refused(Refusal::RunNotFound));
    }
    connection.prepare_cached("DELETE FROM pieces WHERE run = ?")?.execute([end.run.as_str()])?;
    let stored = insert(connection, &end.event, at)?;
    Ok(stored.map_or(Outcome::Refused(Refusal::RunNotFound), Outcome::Stored))
}

fn revoke(connection: &Connection, revocation: &Revocation) -> rusqlite::Result<Outcome> {
    connection
        .prepare_cached(
            "INSERT INTO revocations (user, dialog, since, account) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT DO UPDATE SET since = max(since, ?3)",
        )?
        .execute(params![
            revocation.user,
            revocation.dialog.as_deref().unwrap_or_default(),
            revocation.since_ms.cast_signed(),
            columns::account_text(&revocation.account).unwrap_or_default(),
        ])?;
    if let Some(dialog) = &revocation.dialog {
        dialogs::disown(connection, dialog, &revocation.user, &revocation.account)?;
    }
    Ok(Outcome::Done)
}
