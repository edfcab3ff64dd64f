//! The cases that every store runs: what is done, and what the store holds after it.
#![allow(clippy::unwrap_used, unreachable_pub)]

use serde_json::Value;
use tidewire_core::{ChannelName, Message, Offset, Restored, RestoredChannel, StoreChange};

pub struct Case {
    pub name: String,
    pub changes: Vec<StoreChange>,
    pub then: Restored,
}

/// The table, with what a store may give back in any order brought into one by [`sorted`].
pub fn cases() -> Vec<Case> {
    let table: Value = serde_json::from_str(include_str!("../../vectors/store-cases.json")).unwrap();
    let case = |case: &Value| Case {
        name: text(case, "name"),
        changes: list(case, "changes").iter().map(change).collect(),
        then: sorted(restored(&case["then"])),
    };
    table.as_array().unwrap().iter().map(case).collect()
}

/// Ops and channels may come in any order, the events of a channel may not.
pub fn sorted(mut restored: Restored) -> Restored {
    restored.ops.sort();
    restored.tables.sort();
    restored.channels.sort_by(|a, b| a.channel.cmp(&b.channel));
    restored
}

fn offset(of: &Value, name: &str) -> Offset {
    Offset(of[name].as_u64().unwrap())
}

fn change(change: &Value) -> StoreChange {
    match change["t"].as_str().unwrap() {
        "put_op" => {
            StoreChange::PutOp { id: text(change, "id").into(), record: Message(text(change, "record")) }
        }
        "delete_op" => StoreChange::DeleteOp { id: text(change, "id").into() },
        "put_events" => StoreChange::PutEvents {
            channel: ChannelName::parse(&text(change, "channel")).unwrap(),
            epoch: text(change, "epoch").into(),
            cursor: offset(change, "cursor"),
            events: list(change, "events")
                .iter()
                .map(|event| (offset(event, "offset"), Message(text(event, "text"))))
                .collect(),
            runs: Message(text(change, "runs")),
            trim_below: offset(change, "trim_below"),
        },
        "clear_channel" => {
            StoreChange::ClearChannel { channel: ChannelName::parse(&text(change, "channel")).unwrap() }
        }
        "put_table" => {
            StoreChange::PutTable { name: text(change, "name"), record: Message(text(change, "record")) }
        }
        "clear_table" => StoreChange::ClearTable { name: text(change, "name") },
        "put_profile" => StoreChange::PutProfile { record: Message(text(change, "record")) },
        other => panic!("{other}"),
    }
}

fn restored(restored: &Value) -> Restored {
    let channel = |channel: &Value| RestoredChannel {
        channel: text(channel, "channel"),
        epoch: text(channel, "epoch"),
        cursor: channel["cursor"].as_u64().unwrap(),
        events: texts(list(channel, "events")),
        runs: text(channel, "runs"),
    };
    Restored {
        profile: restored["profile"].as_str().map(str::to_owned),
        ops: texts(list(restored, "ops")),
        channels: list(restored, "channels").iter().map(channel).collect(),
        tables: restored["tables"].as_array().map_or_else(Vec::new, |tables| {
            tables.iter().map(|table| (text(table, "name"), text(table, "record"))).collect()
        }),
    }
}

fn text(value: &Value, member: &str) -> String {
    value[member].as_str().unwrap().to_owned()
}

fn list<'a>(value: &'a Value, member: &str) -> &'a [Value] {
    value[member].as_array().unwrap()
}

fn texts(list: &[Value]) -> Vec<String> {
    list.iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}
