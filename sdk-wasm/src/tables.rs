//! Live tables across the boundary: commands, updates and stored records.

use crate::output::list_change;
use crate::part::Crossing;
use std::sync::Arc;
use tidewire_core::tables::{
    ReadyTable, RowChange, RowEvents, TableError, TableEvent, TableQuery, TableRows, TableStatus,
    TableUpdate, Tables,
};
use tidewire_core::wire::json::{Object, Writer};
use tidewire_core::{Change, Client, Config, Now, Restored};

impl Crossing for Tables {
    fn client(config: Config, seed: [u8; 32], now: Now, restored: Restored) -> Client<Tables> {
        Client::with_tables(config, seed, now, restored)
    }

    fn command(client: &mut Client<Tables>, name: &str, given: &Object<'_>, now: Now) -> Option<String> {
        run(client, name, given, now)
    }

    fn event(frame: impl FnOnce(&str) -> Writer, TableEvent { view, update }: &TableEvent) -> Writer {
        event(frame("table").u64("view", (*view).into()), update)
    }
}

fn run(client: &mut Client<Tables>, name: &str, given: &Object<'_>, now: Now) -> Option<String> {
    let answer = match name {
        "open_table" => match client.open_table(now, &query(given)?) {
            Ok(view) => Writer::object().u64("ok", view.into()).end(),
            Err(error) => refused(error),
        },
        "ready_table" => {
            let column = given.str("column");
            let of = given.str("of").unwrap_or_default();
            match ReadyTable::named(&given.str("ready")?)?.query(&of, column.as_deref()) {
                Ok(query) => ok(&question(&query)),
                Err(error) => refused(error),
            }
        }
        "close_table" => {
            client.close_table(now, view(given)?);
            ok("null")
        }
        "await_tx" => match client.await_tx(now, view(given)?, &given.str("tx")?) {
            Ok(()) => ok("null"),
            Err(error) => refused(error),
        },
        "tell_table" => {
            client.tell_table(now, view(given)?);
            ok("null")
        }
        _ => return None,
    };
    Some(answer)
}

fn query(given: &Object<'_>) -> Option<TableQuery> {
    let text = |name| given.text(name).unwrap_or_default();
    let mut query = TableQuery {
        table: given.text("table")?,
        filter: text("filter"),
        order: text("order"),
        ..TableQuery::default()
    };
    if given.raw("select").is_some() {
        query.select = Some(given.texts("select")?);
    }
    if given.raw("limit").is_some() {
        query.limit = Some(given.u64("limit")?.try_into().unwrap_or(usize::MAX));
    }
    if given.raw("events").is_some() {
        query.events = RowEvents { insert: false, update: false, delete: false };
        for event in given.texts("events")? {
            match event.as_str() {
                "insert" => query.events.insert = true,
                "update" => query.events.update = true,
                "delete" => query.events.delete = true,
                _ => return None,
            }
        }
    }
    Some(query)
}

/// Writes a query as JSON.
fn question(query: &TableQuery) -> String {
    let RowEvents { insert, update, delete } = query.events;
    let events = [("\"insert\"", insert), ("\"update\"", update), ("\"delete\"", delete)];
    let events = events.into_iter().filter(|(_, listed)| *listed).map(|(event, _)| event);
    let writer = Writer::object().str("table", &query.table).str("filter", &query.filter);
    writer.str("order", &query.order).array("events", events).end()
}

fn view(given: &Object<'_>) -> Option<u32> {
    given.u64("view")?.try_into().ok()
}

fn ok(raw: &str) -> String {
    Writer::object().raw("ok", raw).end()
}

fn refused(error: TableError) -> String {
    let error = |writer: Writer| {
        writer
            .begin()
            .str("code", error.code())
            .str("message", &error.message())
            .opt_u64("at", error.at().map(|at| at as u64))
            .bool("retryable", false)
            .close()
    };
    Writer::object().with("error", error).end()
}

/// Writes an update of a view.
fn event(frame: Writer, update: &TableUpdate) -> Writer {
    match update {
        TableUpdate::Status(known) => status(frame.str("what", "status"), known),
        TableUpdate::Rows(TableRows { key, rows, beyond }) => frame
            .str("what", "rows")
            .texts("key", key)
            .array("rows", rows.iter().map(|row| &**row))
            .array("beyond", beyond.iter().map(|row| &**row)),
        TableUpdate::Changes { list, changes, tx, at } => frame
            .str("what", "changes")
            .each("list", list, |writer, change| {
                list_change(writer, change, |writer, row| writer.inside(row))
            })
            .each("changes", changes, |writer, change| change_of_row(writer, change, list))
            .opt_str("tx", tx.as_deref())
            .opt_u64("at", *at),
        TableUpdate::Seen { tx, code } => {
            frame.str("what", "seen").str("tx", tx).opt_str("code", code.as_deref())
        }
    }
}

fn status(writer: Writer, status: &TableStatus) -> Writer {
    let writer = writer.str("status", status.as_str());
    match status {
        TableStatus::Failed { code, message, at } => {
            writer.str("code", code).str("message", message).opt_u64("at", *at)
        }
        _ => writer,
    }
}

/// Writes a row's change. A new row that is also in a change of the list is written as its index
/// there.
fn change_of_row(writer: Writer, change: &RowChange, list: &[Change<Arc<str>>]) -> Writer {
    let is_same = |listed: &Change<Arc<str>>| match (listed, &change.new) {
        (Change::Insert { row, .. } | Change::Update { row, .. }, Some(new)) => Arc::ptr_eq(row, new),
        _ => false,
    };
    let writer = writer.begin().str("event", change.event.as_str());
    let writer = match list.iter().position(is_same) {
        Some(index) => writer.u64("new", index as u64),
        None => writer.raw("new", change.new.as_deref().unwrap_or("null")),
    };
    writer.raw("old", change.old.as_deref().unwrap_or("null")).str("why", change.why.as_str()).close()
}
