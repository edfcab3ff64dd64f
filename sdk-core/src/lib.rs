//! Tidewire's client core.
mod client;
pub mod config;
pub mod error;
pub mod event;
pub mod io;
pub mod time;
pub mod wire;

pub use client::Client;
pub use config::Config;
pub use error::{SendError, SubscribeError};
pub use event::{Change, ChannelState, Event, OpState, Row, RowKind, RowState, State, Status};
pub use io::{
    ConnId, Input, Lifecycle, Message, Network, Output, Restored, RestoredChannel, StoreChange, StoreError,
    StoreId, TokenAsk, TokenError,
};
pub use time::{Now, Time};
