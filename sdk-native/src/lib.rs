//! Chat that survives bad networks: what you send arrives exactly once and in order, or you are
//! told why.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use tidewire::{Client, ClientOptions, Storage};
//!
//! let options = ClientOptions::guest("https://chat.example", "Ada").storage(Storage::Folder("ada".into()));
//! let client = Client::open(options).await?;
//! client.connect();
//!
//! let dialog = client.dialog("demo")?;
//! let offset = dialog.send("hello")?.acked().await?;
//! println!("message {offset} is safe");
//! for row in dialog.rows().iter() {
//!     println!("{}: {}", row.by.name, row.text);
//! }
//! client.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! Messages can be sent while offline; they wait in the store, if the client has one. All decisions
//! are made in `tidewire-core`; this crate owns the sockets, the clock, the file and one task.

mod carrier;
mod channel;
mod channel_item;
mod client;
mod clock;
mod core;
mod dialog;
mod dialog_state;
mod driver;
pub mod error;
mod events;
#[cfg(feature = "ffi")]
mod ffi;
mod follower;
mod guest;
mod hub;
mod people;
mod people_state;
mod people_view;
mod presence;
mod promise;
mod reads;
mod reads_state;
mod reads_view;
mod requests;
mod shared;
mod socket;
pub mod store;
mod table;
mod table_queue;
pub mod token;
mod transport;
mod view;

pub use channel::Channel;
pub use channel_item::ChannelItem;
pub use client::{Client, ClientOptions};
pub use dialog::{Dialog, Outgoing};
pub use dialog_state::{DialogState, DialogStatus};
pub use error::{
    AwaitTxError, OpError, OpenError, SendError, StoreOpenError, SubscribeError, TableOpenError,
};
pub use events::{ClientEvent, Events};
pub use guest::GuestSession;
pub use hub::Rows;
pub use people::People;
pub use people_state::{PeopleState, Person, PersonLease};
pub use reads::Reads;
pub use reads_state::ReadsState;
#[doc(hidden)]
pub use socket::websocket_config;
pub use store::Storage;
pub use table::Table;
pub use tidewire_core::tables::{
    ReadyTable, RowChange, RowEvents, TableError, TableQuery, TableRows, TableStatus, TableUpdate, Why,
};
pub use tidewire_core::wire::{
    EventFrame, Handler, Profile, Receipt, RowOp, Signal, Step as HandOffStep, User, UserKind,
};
pub use tidewire_core::{
    Change, ChannelName, ChannelState, Config, Counters, Entry, Epoch, Lane, Lifecycle, Metrics, Network,
    Offset, OpId, OpState, PeopleStatus, Report, Row, RowKind, RowState, RunId, State, Status, Transport,
};
pub use token::{TokenError, TokenProvider};
pub use tokio_rustls::rustls;

/// Compiles the examples of the guide.
#[cfg(doctest)]
#[doc = include_str!("../../docs/tables.md")]
struct TablesGuide;

#[cfg(feature = "ffi")]
uniffi::setup_scaffolding!();
