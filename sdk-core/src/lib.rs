//! Tidewire's client as a state machine without I/O. It makes all decisions; a driver carries them
//! out.
//!
//! What a user sends arrives exactly once and in order, or they are told why; what they see is
//! never silently stale. The rules that make it so live here once, for browsers, phones and
//! desktops: when to dial, which token to bring, what to send again, which events to apply, which
//! rows a dialog has.
//!
//! The core reads no clock, draws no randomness of its own, opens no socket, and is not async. Time
//! comes with every call and randomness from one seed. Sockets, storage and tokens are effects that
//! a driver carries out. So a test runs hours of a client, reconnects included, in microseconds and
//! with the same result every time.
//!
//! # The loop
//!
//! A driver does five things:
//!
//! 1. It calls a command, or feeds an [`Input`] to [`Client::handle`].
//! 2. It calls [`Client::poll`] until that says [`Output::Wait`], carrying out each [`Output`] in its order.
//! 3. It sleeps until the time that `Wait` names, or until something happens, whichever comes first.
//! 4. It reports the results of effects: the socket opened, a message arrived, a response began, a
//!    change was stored.
//! 5. It continues with 2.
//!
//! ```
//! use tidewire_core::{Client, Config, Event, Input, Now, Output, Restored, Time};
//!
//! let clock = |ms| Now { mono: Time(ms), wall: 1_795_000_000_000 + ms };
//! let mut client = Client::new(Config::default(), [7; 32], clock(0), Restored::default());
//!
//! client.connect(clock(0)); // 1
//! client.open_dialog(clock(0), "demo").expect("a valid name");
//! let op = client.send_text(clock(0), "demo", "hello").expect("there is room");
//!
//! let mut row_seen = false;
//! let wake_at = loop {
//!     match client.poll(clock(0)) {
//!         // 2: a real driver starts these and reports back later (4) ...
//!         Output::FetchToken { ask, .. } => {
//!             client.handle(clock(0), Input::Token { ask, result: Ok("a.b.c".to_owned()) });
//!         }
//!         Output::Store { store, .. } => client.handle(clock(0), Input::Stored { store, result: Ok(()) }),
//!         Output::Open { .. } => println!("open a WebSocket, report Opened or Closed"),
//!         Output::Transmit { message, .. } => println!("send {} bytes", message.0.len()),
//!         Output::Close { .. } => println!("drop the socket"),
//!         // Where no WebSocket gets through, and `Config::transports` has others.
//!         Output::Request(request) => println!("make {request:?}, report each part of its response"),
//!         Output::Abort { .. } => println!("give the request up"),
//!         // ... and hands these to the application.
//!         Output::Event(Event::Dialog { changes, .. }) => row_seen |= !changes.is_empty(),
//!         Output::Event(_) => {}
//!         // 3: nothing is left to do.
//!         Output::Wait { until, .. } => break until,
//!     }
//! };
//! assert!(row_seen && client.rows("demo")[0].id == op);
//! assert!(wake_at > Some(clock(0).mono));
//! ```
//!
//! Rules for a driver: a transport that the core closed is dropped at once, and late reports about
//! it are harmless. Changes of the store are carried out in their order. No code of the application
//! runs while the client is borrowed or locked.

mod chat;
mod client;
pub mod config;
mod delivery;
pub mod error;
pub mod event;
mod ids;
pub mod io;
mod journal;
mod link;
mod list;
mod metrics;
mod part;
mod people;
mod retry;
mod rng;
pub mod tables;
pub mod time;
pub mod wire;

pub use client::Client;
pub use config::Config;
pub use delivery::{Draft, Lane};
pub use error::{SendError, SubscribeError};
pub use event::{
    ChannelState, Event, OpState, PeopleStatus, ReadState, Row, RowKind, RowState, State, Status,
};
pub use io::{
    ConnId, Input, Lifecycle, Message, Method, Network, Output, Request, RequestId, ResponsePart, Restored,
    RestoredChannel, StoreChange, StoreError, StoreId, TokenAsk, TokenError, Transport,
};
pub use journal::{Counters, Entry, Report};
pub use list::Change;
pub use metrics::Metrics;
pub use part::Part;
pub use time::{Now, Time};
pub use wire::{ChannelName, Epoch, Offset, OpId, RunId};
