//! The core that this package uses: with live tables.

use tidewire_core::tables::{TableEvent, Tables};

pub(crate) type Core = tidewire_core::Client<Tables>;
pub(crate) type Event = tidewire_core::Event<TableEvent>;
pub(crate) type Output = tidewire_core::Output<TableEvent>;
