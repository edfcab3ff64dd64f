//! Retention: trims the oldest events regularly, by age and by number.

use crate::clock;
use crate::config::Retention;
use crate::loader::Loader;
use crate::stores::AsyncStore;
use std::sync::Arc;
use std::time::Duration;
use tidewire_server_core::Engine;
use tidewire_server_core::store::{Outcome, Read, Reply, StoreError, Trim, Trimmed, Write};
use tokio::time::{MissedTickBehavior, interval, sleep};

/// The least time for which op ids are remembered. A client gives an op up after 7 days; one more
/// day allows for clocks that differ.
const REMEMBER: Duration = Duration::from_secs(8 * 86_400);
/// The least time for which revocations are remembered. A token that is valid for longer is
/// accepted again afterwards.
const REMEMBER_REVOKED: Duration = Duration::from_secs(31 * 86_400);
/// How long after its end a session is kept, so that its user is told that it has expired.
const SESSION_OVER: Duration = Duration::from_secs(86_400);
/// A dialog in which nobody ever wrote is deleted after this time.
const UNUSED: Duration = Duration::from_secs(86_400);
/// Pause between two batches, for other writes.
const PAUSE: Duration = Duration::from_millis(5);
/// How many channels are looked up at once.
const CHANNELS: usize = 500;
/// How many op ids are forgotten at once.
const OPS: usize = 256;

/// Trims the log until it is dropped.
pub(crate) struct Trimmer {
    store: AsyncStore,
    engine: Arc<Engine>,
    loader: Arc<Loader>,
    settings: Retention,
    /// How long revocations are remembered.
    revoked: Duration,
}

impl Trimmer {
    /// `guests` is how long a guest's token can be used, with renewals.
    pub(crate) fn new(
        store: AsyncStore,
        engine: Arc<Engine>,
        loader: Arc<Loader>,
        settings: Retention,
        guests: Duration,
    ) -> Trimmer {
        Trimmer { store, engine, loader, settings, revoked: guests.max(REMEMBER_REVOKED) }
    }

    /// Trims at the configured interval. Never returns.
    pub(crate) async fn run(&self) {
        let mut ticks = interval(self.settings.every.max(Duration::from_millis(10)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            // The store logs its own errors; the next round tries again.
            if let Ok(events @ 1..) = self.round().await {
                tracing::info!(events, "trimmed");
            }
        }
    }

    /// Trims everything that is due, and returns the number of events.
    pub(crate) async fn round(&self) -> Result<u64, StoreError> {
        let now = clock::now_ms();
        let before = |age: Duration| now.saturating_sub(u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
        let before_ms = if self.settings.age.is_zero() { 0 } else { before(self.settings.age) };
        let (keep, remember_ms) = (self.settings.events, before(REMEMBER));
        let (mut events, mut after) = (0, 0);
        loop {
            let next = Read::ToTrim { after, before_ms, keep, most: CHANNELS };
            let channels = self.store.read(next).await.and_then(Reply::channels)?;
            let Some((last, _)) = channels.last() else { break };
            after = *last;
            for (channel, name) in channels {
                events += self.channel(Trim { channel, name, before_ms, keep, remember_ms }).await?;
            }
        }
        while let Outcome::Forgotten(1..) =
            self.store.write(Write::ForgetOps { before_ms: remember_ms, most: OPS }).await?
        {
            sleep(PAUSE).await;
        }
        self.forget_unused(before(UNUSED)).await?;
        let before_ms = before(self.revoked);
        self.engine.access.revocations.forget(before_ms);
        self.store.write(Write::ForgetRevocations { before_ms }).await?;
        self.store.write(Write::ForgetSessions { before_ms: before(SESSION_OVER) }).await?;
        Ok(events)
    }

    /// Deletes dialogs that were created but never used; otherwise they would stay for ever.
    async fn forget_unused(&self, before_ms: u64) -> Result<(), StoreError> {
        let mut after = 0;
        loop {
            let next = Read::Unused { after, before_ms, most: CHANNELS };
            let unused = self.store.read(next).await.and_then(Reply::channels)?;
            let Some((last, _)) = unused.last() else { return Ok(()) };
            after = *last;
            for (_, name) in unused {
                // A client may have had it open all the time.
                if self.engine.hub.loaded(&name).is_some_and(|channel| channel.is_followed()) {
                    continue;
                }
                let write = Write::DeleteDialog { name: name.clone(), unused_before_ms: Some(before_ms) };
                if let Outcome::Deleted(row) = self.store.write(write).await? {
                    self.loader.undisturbed(|| self.engine.dialog_deleted(&name, row)).await;
                }
            }
            sleep(PAUSE).await;
        }
    }

    async fn channel(&self, trim: Trim) -> Result<u64, StoreError> {
        let mut events = 0;
        loop {
            let outcome = self.store.write(Write::Trim(trim.clone())).await?;
            let Outcome::Trimmed(Trimmed { floor, events: gone, more }) = outcome else { return Ok(events) };
            // A read before this gets `Trimmed` from the database.
            if let Some(channel) = self.engine.hub.loaded(&trim.name) {
                channel.trimmed(floor);
            }
            events += gone;
            if !more {
                return Ok(events);
            }
            sleep(PAUSE).await;
        }
    }
}
