//! After an input or output error nobody knows whether the commit reached the disk: what the channels in doubt are then.

use super::Write;
use rusqlite::{Connection, OptionalExtension};
use std::collections::BTreeSet;

/// A channel whose last commit is in doubt, as the database has it now.
#[derive(Debug)]
pub struct Doubt {
    /// The channel's row.
    pub channel: i64,
    /// The channel's name.
    pub name: String,
    /// Its newest offset.
    pub head: u64,
    /// Every event up to here was trimmed.
    pub floor: u64,
    /// Offset of the newest message that no answer covers yet.
    pub wants_answer: Option<u64>,
}

/// The channel that a write changes.
pub fn channel_of(write: &Write) -> Option<i64> {
    match write {
        Write::Append(event) => Some(event.channel),
        Write::StartRun(start) => Some(start.event.channel),
        Write::EndRun(end) => Some(end.event.channel),
        Write::Trim(trim) => Some(trim.channel),
        _ => None,
    }
}

/// The channels as they are now.
pub fn look(connection: &Connection, channels: &BTreeSet<i64>) -> rusqlite::Result<Vec<Doubt>> {
    let mut statement = connection.prepare(
        "SELECT name, head, floor, wants_answer FROM channels JOIN dialogs ON dialogs.channel = channels.id
         WHERE id = ?",
    )?;
    let mut found = Vec::new();
    for &channel in channels {
        let doubt = statement
            .query_row([channel], |row| {
                Ok(Doubt {
                    channel,
                    name: row.get(0)?,
                    head: row.get::<_, i64>(1)?.cast_unsigned(),
                    floor: row.get::<_, i64>(2)?.cast_unsigned(),
                    wants_answer: row.get::<_, Option<i64>>(3)?.map(i64::cast_unsigned),
                })
            })
            .optional()?;
        found.extend(doubt);
    }
    Ok(found)
}
