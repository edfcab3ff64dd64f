//! A TCP proxy that does to connections what bad networks and middleboxes do: it delays and slows
//! down bytes, cuts in the middle of a frame, repeats bytes, swallows one direction, refuses
//! connections, and treats WebSockets as companies' proxies do.
//!
//! ```no_run
//! # async fn example() -> std::io::Result<()> {
//! use tidewire_fault_proxy::{Direction, Faults, Proxy};
//!
//! let proxy = Proxy::start("127.0.0.1:8080").await?;
//! println!("connect to {}", proxy.address());
//! proxy.set(Faults { down: Direction { black_hole: true, ..Direction::default() }, ..Faults::default() });
//! proxy.cut_all();
//! # Ok(())
//! # }
//! ```
//!
//! The program `tidewire-fault-proxy` does the same for tests in other languages.

mod control;
mod faults;
mod http;
mod proxy;
mod relay;
mod rng;

pub use faults::{Direction, Faults, HttpMode};
pub use proxy::{Counters, Proxy};
