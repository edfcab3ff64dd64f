//! Retention: now and then the oldest events are trimmed, by age and by number.

use crate::clock;
use crate::config::Retention;
use crate::store::Store;
use std::sync::Arc;
use std::time::Duration;
use tidewire_server_core::Hub;
use tidewire_server_core::log::{Outcome, StoreError, Trim, Trimmed, Write};
use tokio::time::{MissedTickBehavior, interval, sleep};

/// How long an op id is remembered at least. A client gives an op up after 7 days; a day more for clocks that differ.
const REMEMBER: Duration = Duration::from_secs(8 * 86_400);
/// Between two batches everybody else's writes have the writer for themselves.
const PAUSE: Duration = Duration::from_millis(5);
/// How many channels are looked up at once.
const CHANNELS: usize = 500;
/// How many ops are forgotten at once.
const OPS: usize = 256;

/// Trims the log until it is dropped.
pub(crate) struct Trimmer {
    store: Arc<Store>,
    hub: Arc<Hub>,
    settings: Retention,
}

impl Trimmer {
    pub(crate) fn new(store: Arc<Store>, hub: Arc<Hub>, settings: Retention) -> Trimmer {
        Trimmer { store, hub, settings }
    }

    /// Trims again and again.
    pub(crate) async fn run(&self) {
        let mut ticks = interval(self.settings.every.max(Duration::from_millis(10)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            // A store that fails says so itself; the next round tries again.
            if let Ok(events @ 1..) = self.round().await {
                tracing::info!(events, "trimmed");
            }
        }
    }

    /// Trims all that has to go now; how many events went.
    pub(crate) async fn round(&self) -> Result<u64, StoreError> {
        let now = clock::now_ms();
        let before = |age: Duration| now.saturating_sub(u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
        let before_ms = if self.settings.age.is_zero() { 0 } else { before(self.settings.age) };
        let (keep, remember_ms) = (self.settings.events, before(REMEMBER));
        let (mut events, mut after) = (0, 0);
        loop {
            let channels = self.store.readers().to_trim(after, before_ms, keep, CHANNELS).await?;
            let Some((last, _)) = channels.last() else { break };
            after = *last;
            for (channel, name) in channels {
                events += self.channel(&name, Trim { channel, before_ms, keep, remember_ms }).await?;
            }
        }
        while let Outcome::Forgotten(1..) =
            self.store.write(Write::ForgetOps { before_ms: remember_ms, most: OPS }).await?
        {
            sleep(PAUSE).await;
        }
        Ok(events)
    }

    async fn channel(&self, name: &str, trim: Trim) -> Result<u64, StoreError> {
        let mut events = 0;
        loop {
            let outcome = self.store.write(Write::Trim(trim)).await?;
            let Outcome::Trimmed(Trimmed { floor, events: gone, more }) = outcome else { return Ok(events) };
            // Whoever reads before this is told so by the database.
            if let Some(channel) = self.hub.loaded(name) {
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
