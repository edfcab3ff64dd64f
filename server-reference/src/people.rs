//! Tells who is in channels and stores how far they were read, as often as the core asks for.

use crate::clock;
use std::sync::Arc;
use std::time::Duration;
use tidewire_server_core::Engine;
use tokio::time::{MissedTickBehavior, interval};

/// How often it is looked whether there is something to do.
const TICK: Duration = Duration::from_millis(100);

/// Never returns.
pub(crate) async fn tell(engine: Arc<Engine>) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        engine.tick(clock::mono());
    }
}
