//! The listener, and the handle with which a test controls it.

use crate::control::{Control, Tally};
use crate::faults::Faults;
use crate::relay::{End, relay};
use crate::rng::Rng;
use serde::Serialize;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// A running proxy. Dropping it ends it and all of its connections.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    control: watch::Sender<Control>,
    tally: Arc<Tally>,
    task: JoinHandle<()>,
}

/// What happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Counters {
    /// Connections that clients opened.
    pub accepted: u64,
    /// Connections that are open.
    pub open: u64,
    /// Connections ended by a fault, with FIN or with RST.
    pub ended: u64,
    /// Requests for WebSockets that were not let through.
    pub upgrades_killed: u64,
    /// Chunks that were sent twice.
    pub duplicated: u64,
    /// Bytes that reached the server.
    pub up_bytes: u64,
    /// Bytes that reached clients.
    pub down_bytes: u64,
}

impl Proxy {
    /// Listens on a free port of this machine in front of `target`, `host:port`.
    ///
    /// # Errors
    /// If there is no free port.
    pub async fn start(target: &str) -> io::Result<Proxy> {
        Proxy::start_on("127.0.0.1:0", target, 1).await
    }

    /// As [`start`](Proxy::start), listening on `listen`. `seed` decides what happens at random.
    ///
    /// # Errors
    /// If it can't listen on the address.
    pub async fn start_on(listen: &str, target: &str, seed: u64) -> io::Result<Proxy> {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let (control, told) = watch::channel(Control::default());
        let tally = Arc::new(Tally::default());
        let gate = Gate { target: target.to_owned(), address, told, tally: Arc::clone(&tally), seed };
        let task = tokio::spawn(gate.run(listener));
        Ok(Proxy { address, control, tally, task })
    }

    /// The address at which it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sets the faults. `Faults::default()` ends all faults.
    pub fn set(&self, faults: Faults) {
        self.control.send_modify(|control| control.faults = faults);
    }

    /// Ends all connections with a FIN to both sides.
    pub fn cut_all(&self) {
        self.control.send_modify(|control| control.cuts += 1);
    }

    /// Ends all connections with a RST to both sides.
    pub fn reset_all(&self) {
        self.control.send_modify(|control| control.resets += 1);
    }

    /// The counters.
    pub fn counters(&self) -> Counters {
        let read = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
        // Read first, so that it is never greater than `accepted`.
        let closed = read(&self.tally.closed);
        let accepted = read(&self.tally.accepted);
        Counters {
            accepted,
            open: accepted - closed,
            ended: read(&self.tally.ended),
            upgrades_killed: read(&self.tally.upgrades_killed),
            duplicated: read(&self.tally.duplicated),
            up_bytes: read(&self.tally.up_bytes),
            down_bytes: read(&self.tally.down_bytes),
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Gate {
    target: String,
    address: SocketAddr,
    told: watch::Receiver<Control>,
    tally: Arc<Tally>,
    seed: u64,
}

impl Gate {
    async fn run(mut self, listener: TcpListener) {
        let mut listener = Some(listener);
        // Dropped with this task, which ends all connections.
        let mut connections = JoinSet::new();
        loop {
            let refuse = self.told.borrow_and_update().faults.refuse;
            match (&listener, refuse) {
                (Some(_), true) => listener = None,
                (None, false) => match TcpListener::bind(self.address).await {
                    Ok(bound) => listener = Some(bound),
                    // Another program may hold the port for a moment.
                    Err(_) => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
                },
                _ => {}
            }
            if listener.is_none() && !refuse {
                continue;
            }
            let accepted = async {
                match &listener {
                    Some(listener) => listener.accept().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = self.told.changed() => if changed.is_err() {
                    return;
                },
                Ok((client, _)) = accepted => {
                    let number = self.tally.accepted.fetch_add(1, Ordering::SeqCst);
                    connections.spawn(self.connection(client, Rng::new(self.seed ^ number.rotate_right(16))));
                }
                Some(_) = connections.join_next() => {}
            }
        }
    }

    fn connection(&self, client: TcpStream, rng: Rng) -> impl Future<Output = ()> + use<> {
        let (target, told) = (self.target.clone(), self.told.clone());
        let closing = Closing(Arc::clone(&self.tally));
        async move {
            let end = relay(client, &target, told, &closing.0, rng).await;
            if end != End::Done {
                closing.0.ended.fetch_add(1, Ordering::SeqCst);
            }
        }
    }
}

/// Counts a connection as closed when it is dropped.
struct Closing(Arc<Tally>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.closed.fetch_add(1, Ordering::SeqCst);
    }
}
