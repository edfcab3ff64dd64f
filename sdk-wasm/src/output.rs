//! What the core asks for and tells, written as JSON: one object with a `t` for each output.

use crate::tables;
use tidewire_core::wire::json::Writer;
use tidewire_core::{Change, ChannelState, Entry, Event, OpState, Output, Report, Row, StoreChange};

/// One output.
pub(crate) fn encode(output: &Output) -> String {
    match output {
        Output::Open { conn, transport } => {
            Writer::frame("open").u64("conn", conn.0).str("transport", transport.as_str())
        }
        Output::Transmit { conn, message } => {
            Writer::frame("transmit").u64("conn", conn.0).str("text", &message.0)
        }
        Output::Close { conn, code } => {
            Writer::frame("close").u64("conn", conn.0).u64("code", u64::from(*code))
        }
        Output::FetchToken { ask, renew } => Writer::frame("token").u64("ask", ask.0).bool("renew", *renew),
        Output::Store { store, change: what } => {
            Writer::frame("store").u64("store", store.0).raw("change", &change(what))
        }
        Output::Event(told) => event(told),
        Output::Wait { until, why } => {
            Writer::frame("wait").opt_u64("until", until.map(|until| until.0)).str("why", why)
        }
    }
    .end()
}

fn change(change: &StoreChange) -> String {
    match change {
        StoreChange::PutOp { id, record } => Writer::frame("put_op").str("id", id).str("record", &record.0),
        StoreChange::DeleteOp { id } => Writer::frame("delete_op").str("id", id),
        StoreChange::PutEvents { channel, epoch, cursor, events, runs, trim_below } => {
            let events: Vec<String> = events
                .iter()
                .map(|(offset, text)| Writer::object().u64("offset", *offset).str("text", &text.0).end())
                .collect();
            Writer::frame("put_events")
                .str("channel", channel)
                .str("epoch", epoch)
                .u64("cursor", *cursor)
                .array("events", events.iter().map(String::as_str))
                .str("runs", &runs.0)
                .u64("trim_below", *trim_below)
        }
        StoreChange::ClearChannel { channel } => Writer::frame("clear_channel").str("channel", channel),
        StoreChange::PutProfile { record } => Writer::frame("put_profile").str("record", &record.0),
        of_tables => tables::change(of_tables).unwrap_or_else(|| Writer::frame("unknown")),
    }
    .end()
}

fn event(event: &Event) -> Writer {
    match event {
        Event::Status(status) => Writer::frame("status")
            .str("state", status.state.as_str())
            .u64("attempt", u64::from(status.attempt))
            .opt_u64("retry_in_ms", status.retry_in_ms)
            .opt_str("cause", status.cause.as_deref())
            .opt_str("message", status.message.as_deref())
            .u64("waiting", u64::from(status.waiting)),
        Event::User(user) => Writer::frame("user").raw("user", &user.encode()),
        Event::Op { id, channel, state } => {
            let told = Writer::frame("op").str("id", id).str("channel", channel);
            match state {
                OpState::Queued => told.str("state", "queued"),
                OpState::Sending => told.str("state", "sending"),
                OpState::Acked { offset } => told.str("state", "acked").u64("offset", *offset),
                OpState::Failed { code, message } => failed(told, code, message),
                OpState::Discarded => told.str("state", "discarded"),
            }
        }
        Event::Stored { id } => Writer::frame("stored").str("id", id),
        Event::Channel { channel, state } => {
            let told = Writer::frame("channel").str("channel", channel);
            match state {
                ChannelState::Syncing => told.str("state", "syncing"),
                ChannelState::Live => told.str("state", "live"),
                ChannelState::Waiting { code, message, retry_in_ms } => told
                    .str("state", "waiting")
                    .str("code", code)
                    .str("message", message)
                    .u64("retry_in_ms", *retry_in_ms),
                ChannelState::Reset { reason, missed } => {
                    told.str("state", "reset").str("reason", reason).u64("missed", *missed)
                }
                ChannelState::Failed { code, message } => failed(told, code, message),
            }
        }
        Event::Signal { signal, by } => Writer::frame("signal")
            .str("channel", &signal.ch)
            .str("kind", &signal.kind)
            .opt_str("key", signal.key.as_deref())
            .raw("body", &signal.body)
            .raw("by", &by.encode()),
        Event::Received(frame) => {
            let built;
            let text = if frame.raw.is_empty() {
                built = frame.encode();
                &built
            } else {
                &frame.raw
            };
            Writer::frame("received").raw("event", text)
        }
        Event::Dialog { dialog, changes } => {
            let changes: Vec<String> = changes.iter().map(row_change).collect();
            Writer::frame("dialog").str("dialog", dialog).array("changes", changes.iter().map(String::as_str))
        }
        Event::Table { view, update } => tables::event(*view, update),
        Event::Storage { code } => Writer::frame("storage").opt_str("code", *code),
        Event::Problem { code, message } => {
            Writer::frame("problem").str("code", code).str("message", message)
        }
    }
}

fn failed(told: Writer, code: &str, message: &str) -> Writer {
    told.str("state", "failed").str("code", code).str("message", message)
}

fn row_change(change: &Change) -> String {
    match change {
        Change::Reset(rows) => {
            let rows: Vec<String> = rows.iter().map(row).collect();
            Writer::frame("reset").array("rows", rows.iter().map(String::as_str))
        }
        Change::Insert { index, row: new } => {
            Writer::frame("insert").u64("index", *index as u64).raw("row", &row(new))
        }
        Change::Update { index, row: new } => {
            Writer::frame("update").u64("index", *index as u64).raw("row", &row(new))
        }
        Change::Append { index, text } => {
            Writer::frame("append").u64("index", *index as u64).str("text", text)
        }
        Change::Remove { index } => Writer::frame("remove").u64("index", *index as u64),
    }
    .end()
}

/// One row of a dialog.
pub(crate) fn row(row: &Row) -> String {
    Writer::object()
        .str("id", &row.id)
        .str("kind", row.kind.as_str())
        .raw("by", &row.by.encode())
        .bool("own", row.own)
        .str("text", &row.text)
        .u64("at", row.at)
        .opt_u64("offset", row.offset)
        .str("state", row.state.as_str())
        .opt_str("code", row.code.as_deref())
        .opt_u64("retryAt", row.retry_at)
        .end()
}

/// What happened lately, and the counters.
pub(crate) fn report(report: &Report) -> String {
    let entry = |entry: &Entry| {
        Writer::object()
            .u64("at", entry.at)
            .str("what", entry.what)
            .str("about", &entry.about)
            .u64("number", entry.number)
            .end()
    };
    let entries: Vec<String> = report.entries.iter().map(entry).collect();
    let counters = Writer::object()
        .u64("reconnects", report.counters.reconnects)
        .u64("resent", report.counters.resent)
        .u64("duplicated", report.counters.duplicated)
        .u64("repaired", report.counters.repaired)
        .u64("lost", report.counters.lost)
        .u64("unreadable", report.counters.unreadable)
        .u64("waiting", report.counters.waiting)
        .u64("roundTripMs", report.counters.round_trip_ms)
        .end();
    Writer::object().array("entries", entries.iter().map(String::as_str)).raw("counters", &counters).end()
}
