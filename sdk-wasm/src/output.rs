//! Encoding of the core's outputs as JSON: one object with a `t` for each output.

use crate::part::Crossing;
use tidewire_core::wire::json::Writer;
use tidewire_core::wire::{Handler, Person, Receipt};
use tidewire_core::{
    Change, ChannelState, Entry, Event, Metrics, OpState, Output, PeopleStatus, ReadState, Report, Request,
    Row, RowKind, RowState, StoreChange,
};

/// Writes an output as the next element of a list.
pub(crate) fn encode<T: Crossing>(writer: Writer, output: &Output<T::Event>) -> Writer {
    let frame = |t: &str| writer.begin().str("t", t);
    match output {
        Output::Open { conn } => frame("open").u64("conn", conn.0),
        Output::Transmit { conn, message } => frame("transmit").u64("conn", conn.0).str("text", &message.0),
        Output::Close { conn, code } => frame("close").u64("conn", conn.0).u64("code", u64::from(*code)),
        Output::Request(asked) => request(frame("request"), asked),
        Output::Abort { request } => frame("abort").u64("request", request.0),
        Output::FetchToken { ask, renew } => frame("token").u64("ask", ask.0).bool("renew", *renew),
        Output::Store { store, change: what } => {
            frame("store").u64("store", store.0).with("change", |writer| change(writer, what))
        }
        Output::Event(emitted) => event::<T>(frame, emitted),
        Output::Wait { until, .. } => frame("wait").opt_u64("until", until.map(|until| until.0)),
    }
    .close()
}

fn request(frame: Writer, asked: &Request) -> Writer {
    frame
        .u64("request", asked.id.0)
        .str("method", asked.method.as_str())
        .str("path", asked.path)
        .with("headers", |writer| {
            asked.headers.iter().fold(writer.begin(), |writer, (name, value)| writer.str(name, value)).close()
        })
        .opt_str("body", asked.body.as_deref())
        .bool("keepalive", asked.keepalive)
}

fn change(writer: Writer, change: &StoreChange) -> Writer {
    let frame = |t: &str| writer.begin().str("t", t);
    match change {
        StoreChange::PutOp { id, record } => frame("put_op").str("id", id).str("record", &record.0),
        StoreChange::DeleteOp { id } => frame("delete_op").str("id", id),
        StoreChange::PutEvents { channel, epoch, cursor, events, runs, trim_below } => frame("put_events")
            .str("channel", channel)
            .str("epoch", epoch)
            .u64("cursor", cursor.0)
            .each("events", events, |writer, (offset, text)| {
                writer.begin().u64("offset", offset.0).str("text", &text.0).close()
            })
            .str("runs", &runs.0)
            .u64("trim_below", trim_below.0),
        StoreChange::ClearChannel { channel } => frame("clear_channel").str("channel", channel),
        StoreChange::PutProfile { record } => frame("put_profile").str("record", &record.0),
        StoreChange::PutTable { name, record } => {
            frame("put_table").str("name", name).str("record", &record.0)
        }
        StoreChange::ClearTable { name } => frame("clear_table").str("name", name),
    }
    .close()
}

fn event<T: Crossing>(frame: impl FnOnce(&str) -> Writer, event: &Event<T::Event>) -> Writer {
    match event {
        Event::Status(status) => frame("status")
            .str("state", status.state.as_str())
            .u64("attempt", u64::from(status.attempt))
            .opt_u64("retry_in_ms", status.retry_in_ms)
            .opt_str("cause", status.cause.as_deref())
            .opt_str("message", status.message.as_deref())
            .u64("waiting", u64::from(status.waiting)),
        Event::User(user) => frame("user").with("user", |writer| user.write(writer)),
        Event::Op { id, channel, state } => {
            let frame = frame("op").str("id", id).str("channel", channel);
            match state {
                OpState::Queued => frame.str("state", "queued"),
                OpState::Sending => frame.str("state", "sending"),
                OpState::Acked { offset } => frame.str("state", "acked").u64("offset", offset.0),
                OpState::Failed { code, message } => failed(frame, code, message),
                OpState::Discarded => frame.str("state", "discarded"),
            }
        }
        Event::Stored { id } => frame("stored").str("id", id),
        Event::Channel { channel, state } => {
            let frame = frame("channel").str("channel", channel);
            match state {
                ChannelState::Syncing => frame.str("state", "syncing"),
                ChannelState::Live => frame.str("state", "live"),
                ChannelState::Waiting { code, message, retry_in_ms } => frame
                    .str("state", "waiting")
                    .str("code", code)
                    .str("message", message)
                    .u64("retry_in_ms", *retry_in_ms),
                ChannelState::Reset { reason, missed } => {
                    frame.str("state", "reset").str("reason", reason).u64("missed", *missed)
                }
                ChannelState::Failed { code, message } => failed(frame, code, message),
            }
        }
        Event::Signal { signal, by } => frame("signal")
            .str("channel", &signal.ch)
            .str("kind", &signal.kind)
            .opt_str("key", signal.key.as_deref())
            .raw("body", &signal.body)
            .with("by", |writer| by.write(writer)),
        Event::Received(event) => {
            let built;
            let text = if event.raw.is_empty() {
                built = event.encode();
                &built
            } else {
                &event.raw
            };
            frame("received").raw("event", text)
        }
        Event::People { channel, changes, status, count } => {
            let frame = frame("people").str("channel", channel);
            let frame = match &changes[..] {
                [] => frame,
                changes => {
                    frame.each("changes", changes, |writer, change| list_change(writer, change, person))
                }
            };
            people_status(frame, status, *count)
        }
        Event::Reads { channel, state, receipts } => {
            reads(frame("reads").str("channel", channel), state, receipts.as_deref())
        }
        Event::Dialog { dialog, changes, run, has_older, handler: now } => {
            let frame = frame("dialog")
                .str("dialog", dialog)
                .each("changes", changes, |writer, change| list_change(writer, change, row))
                .opt_str("run", run.as_deref())
                .bool("older", *has_older);
            handler(frame, now)
        }
        Event::Older { channel, before, events, joined, more } => frame("older")
            .str("channel", channel)
            .u64("before", before.0)
            .array("events", events.iter().map(|event| event.raw.as_str()))
            .bool("joined", *joined)
            .bool("more", *more),
        Event::Part(event) => T::event(frame, event),
        Event::Storage { code } => frame("storage").opt_str("code", *code),
        Event::Problem { code, message } => frame("problem").str("code", code).str("message", message),
    }
}

fn failed(frame: Writer, code: &str, message: &str) -> Writer {
    frame.str("state", "failed").str("code", code).str("message", message)
}

/// Writes a change of a list of rows; `row` writes a row as an object.
pub(crate) fn list_change<R>(
    writer: Writer,
    change: &Change<R>,
    row: impl Fn(Writer, &R) -> Writer,
) -> Writer {
    let frame = |t: &str| writer.begin().str("t", t);
    let at = |writer: Writer, name: &str, index: usize| writer.u64(name, index as u64);
    match change {
        Change::Reset(rows) => frame("reset").each("rows", rows, row),
        Change::Insert { index, row: new } => {
            at(frame("insert"), "index", *index).with("row", |writer| row(writer, new))
        }
        Change::Update { index, row: new } => {
            at(frame("update"), "index", *index).with("row", |writer| row(writer, new))
        }
        Change::Append { index, text } => at(frame("append"), "index", *index).str("text", text),
        Change::Move { from, to } => at(at(frame("move"), "from", *from), "to", *to),
        Change::Remove { index } => at(frame("remove"), "index", *index),
    }
    .close()
}

/// Writes one row of a dialog. Members with the most common value are left out: `kind` `message`,
/// `own` `false`, `state` `sent`.
pub(crate) fn row(writer: Writer, row: &Row) -> Writer {
    let kind = Some(row.kind).filter(|kind| *kind != RowKind::Message);
    let state = Some(row.state).filter(|state| *state != RowState::Sent);
    let writer = writer.begin().str("id", &row.id).opt_str("kind", kind.map(RowKind::as_str));
    let writer = writer.with("by", |writer| row.by.write(writer));
    let writer = if row.own { writer.bool("own", true) } else { writer };
    writer
        .str("text", &row.text)
        .u64("at", row.at)
        .opt_u64("offset", row.offset.map(|offset| offset.0))
        .opt_str("state", state.map(RowState::as_str))
        .opt_str("code", row.code.as_deref())
        .opt_u64("retryAt", row.retry_at)
        .close()
}

/// Writes a person as the protocol does: what a lease usually is, is left out.
pub(crate) fn person(writer: Writer, person: &Person) -> Writer {
    writer.inside(&person.encode())
}

/// Writes how far a list of people can be relied on, and how many they are. The usual status, `live`,
/// is left out.
pub(crate) fn people_status(writer: Writer, status: &PeopleStatus, count: u64) -> Writer {
    reliability(writer, status).u64("count", count)
}

/// Writes who answers in a dialog. The model, which is the usual one, is left out.
pub(crate) fn handler(writer: Writer, handler: &Handler) -> Writer {
    match handler {
        Handler::Ai => writer,
        handler => writer.with("handler", |writer| handler.write(writer)),
    }
}

/// Writes how far a channel was read. `receipts` are left out if they did not change.
pub(crate) fn reads(writer: Writer, state: &ReadState, receipts: Option<&[Receipt]>) -> Writer {
    let writer = writer.u64("position", state.position.0).opt_u64("unread", state.unread);
    let writer = if state.more { writer.bool("more", true) } else { writer };
    let writer = reliability(writer, &state.status);
    match receipts {
        Some(receipts) => writer.each("receipts", receipts, |writer, receipt| receipt.write(writer)),
        None => writer,
    }
}

fn reliability(writer: Writer, status: &PeopleStatus) -> Writer {
    let code = match status {
        PeopleStatus::Refused { code } => Some(code.as_str()),
        _ => None,
    };
    let word = Some(status).filter(|status| **status != PeopleStatus::Live);
    writer.opt_str("status", word.map(PeopleStatus::as_str)).opt_str("code", code)
}

/// Writes the report: entries, counters and metrics.
pub(crate) fn report(report: &Report, metrics: &Metrics) -> String {
    let entry = |writer: Writer, entry: &Entry| {
        writer
            .begin()
            .u64("at", entry.at)
            .str("what", entry.what)
            .str("about", &entry.about)
            .u64("number", entry.number)
            .close()
    };
    let counters = |writer: Writer| {
        writer
            .begin()
            .u64("reconnects", report.counters.reconnects)
            .u64("resent", report.counters.resent)
            .u64("duplicated", report.counters.duplicated)
            .u64("repaired", report.counters.repaired)
            .u64("lost", report.counters.lost)
            .u64("unreadable", report.counters.unreadable)
            .u64("waiting", report.counters.waiting)
            .u64("roundTripMs", report.counters.round_trip_ms)
            .close()
    };
    let figures = |writer: Writer| {
        let writer = writer
            .begin()
            .u64("at", metrics.at)
            .u64("since", metrics.since)
            .u64("connections", metrics.connections)
            .u64("reconnects", metrics.reconnects)
            .u64("waiting", metrics.waiting)
            .u64("received", metrics.received)
            .u64("sent", metrics.sent)
            .tenths("receivedPerSecond", metrics.received_10s)
            .tenths("sentPerSecond", metrics.sent_10s);
        let writer = match metrics.latency_ms {
            Some(ms) => writer.u64("latencyMs", ms),
            None => writer.raw("latencyMs", "null"),
        };
        writer.close()
    };
    let report = Writer::object().each("entries", &report.entries, entry).with("counters", counters);
    report.with("metrics", figures).end()
}
