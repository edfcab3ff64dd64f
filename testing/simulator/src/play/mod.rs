//! What happens in a run. Each file uses only those above it in this list:
//!
//! | File | What happens there |
//! |---|---|
//! | `network` | Messages, dials and closes travel over links, and arrive later or never |
//! | `sessions` | The server's end of the connections: opening, receiving, sending, closing |
//! | `responses` | The server answers plain requests |
//! | `application` | What an application does when its core notifies it |
//! | `driver` | A core is polled and given inputs: its connections, its disk, its tokens |
//! | `processes` | Clients' processes start, end and are given commands |
//! | `operations` | The server's process starts, stops, drains and sends clients away |
//! | `acts` | The actions of a script |
//! | `tasks` | The tasks that are due |

pub(crate) mod acts;
mod application;
mod driver;
mod network;
pub(crate) mod operations;
pub(crate) mod processes;
mod responses;
mod sessions;
pub(crate) mod tasks;

pub(crate) use network::cut;
