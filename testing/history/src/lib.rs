//! A history is what clients did, what they were notified of and what they saw, with the server's
//! log at the end. This crate checks it against the guarantees of channels: no acknowledged op is
//! lost, none is there twice, in another order, invented or different for two observers, and no
//! observer skips an event without a reset.
//!
//! A simulator pushes events as they happen and stops at the first violation; tests of processes
//! and of browsers write them as lines of JSON and run `tidewire-history check` over the files.
//!
//! ```
//! use tidewire_history::{Event, History};
//!
//! let mut history = History::new();
//! history.push(Event::Send { client: "ada".into(), ch: "dialog:1".into(), lane: None, id: "a".into() })?;
//! history.push(Event::Ack { client: "ada".into(), ch: "dialog:1".into(), id: "a".into(), offset: 1 })?;
//! let report = history.finish();
//! assert_eq!((report.sent, report.acked), (1, 1));
//! // Without the log it is not known whether the acknowledged op is in it.
//! assert!(report.is_clean() && report.unverified == 1);
//! # Ok::<(), tidewire_history::Violation>(())
//! ```

mod event;
mod finish;
mod history;
mod names;
mod report;

pub use event::Event;
pub use history::History;
pub use report::{Report, Violation, ViolationKind};
