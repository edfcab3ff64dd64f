//! Ports on this machine for programs that a test starts, stops and starts again.

use std::hash::{BuildHasher, RandomState};
use std::net::TcpListener;

/// Below what the system hands out by itself, on Linux (32768 to 60999, `ip_local_port_range`) and
/// on macOS and Windows (from 49152).
const FIRST: u16 = 11_000;
const END: u16 = 32_768;

/// A port of 127.0.0.1 that nobody listens on. Unlike one that the system picked for port 0 and got
/// back, no outgoing connection takes it before the program that it is for listens there, nor while
/// that program is stopped.
///
/// # Panics
///
/// If all of them are taken.
pub fn free() -> u16 {
    let count = END - FIRST;
    // Tests that run beside each other begin at different places.
    let start = RandomState::new().hash_one(std::process::id()) % u64::from(count);
    (FIRST..END)
        .cycle()
        .skip(usize::try_from(start).unwrap_or(0))
        .take(usize::from(count))
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("a port below 32768 that nobody listens on")
}

#[cfg(test)]
mod tests {
    use super::{END, FIRST, free};
    use std::net::TcpListener;

    #[test]
    fn a_free_port_can_be_listened_on_and_is_not_one_that_the_system_hands_out() {
        let taken: Vec<TcpListener> = (0..64)
            .map(|_| {
                let port = free();
                assert!((FIRST..END).contains(&port), "{port}");
                TcpListener::bind(("127.0.0.1", port)).expect("free")
            })
            .collect();
        assert_eq!(taken.len(), 64);
    }
}
