//! The writer's transaction: it commits a batch of writes under one number.

use super::in_doubt::{self, Faults};
use super::incarnation::Incarnation;
use crate::clock;
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use rusqlite::Connection;
use std::time::{Duration, Instant};
use tidewire_server_core::store::Write;
use tidewire_server_sqlite::log::{self, Applied, Outside};

/// A trim ends early after this time, because all other writes wait for it.
const TRIM_TIME: Duration = Duration::from_millis(1);

/// Applies the writes and commits them under this number: all of them, or none if it fails.
pub(super) fn run(
    connection: &Connection,
    batch: &[&Write],
    number: u64,
    faults: &Faults,
) -> rusqlite::Result<Applied> {
    let result = attempt(connection, batch, number, faults);
    if result.is_err() {
        // If the rollback fails too, the connection is dropped, which rolls back.
        log::rollback(connection)?;
    }
    result
}

fn attempt(
    connection: &Connection,
    batch: &[&Write],
    number: u64,
    faults: &Faults,
) -> rusqlite::Result<Applied> {
    let applied = log::begin(connection, batch, &System { begun: Instant::now() })?;
    let mut fault = None;
    if applied.changed {
        Incarnation::count(connection, number)?;
        fault = faults.take();
    }
    if fault == Some(false) {
        return Err(in_doubt::sync_failed());
    }
    log::commit(connection)?;
    if fault == Some(true) {
        return Err(in_doubt::sync_failed());
    }
    Ok(applied)
}

/// The system's clocks, and HMAC-SHA256.
struct System {
    begun: Instant,
}

impl Outside for System {
    fn now_ms(&self) -> u64 {
        clock::now_ms()
    }

    fn digest(&self, text: &str) -> Option<String> {
        // Existing databases hold digests made with this key, so it must not change.
        let key = EncodingKey::from_secret(b"tidewire trimmed op");
        crypto::sign(text.as_bytes(), &key, Algorithm::HS256).ok()
    }

    fn enough(&self) -> bool {
        self.begun.elapsed() > TRIM_TIME
    }
}
