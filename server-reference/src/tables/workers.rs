//! Worker threads, one for each table, so that a table with much work does not delay the others.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};
use tidewire_server_core::tables::{Tables, Wake, Woken};

/// Wakes the worker threads. Exists before the tables do, because the tables need it.
pub(super) struct Wakers {
    wakers: Vec<SyncSender<()>>,
    /// What the threads wait on.
    receivers: Vec<Receiver<()>>,
}

/// The threads; dropping it ends them.
pub(super) struct Workers {
    stop: Arc<AtomicBool>,
    wakers: Vec<SyncSender<()>>,
    threads: Vec<JoinHandle<()>>,
}

impl Wakers {
    /// Wakers for this many tables.
    pub(super) fn new(tables: usize) -> Wakers {
        // One pending wake-up is enough.
        let (wakers, receivers) = (0..tables).map(|_| sync_channel(1)).unzip();
        Wakers { wakers, receivers }
    }

    /// The callback for the tables: it wakes a table's thread, or calls `request` if the source has
    /// requests to answer.
    pub(super) fn wake(&self, request: impl Fn() + Send + Sync + 'static) -> Wake {
        let wakers = self.wakers.clone();
        Arc::new(move |why| match why {
            Woken::Requests => request(),
            Woken::Work(table) => {
                if let Some(waker) = wakers.get(table) {
                    wake(waker);
                }
            }
        })
    }

    /// Starts the threads.
    ///
    /// # Errors
    ///
    /// The system can't start a thread.
    pub(super) fn start(self, tables: &Arc<Tables>) -> io::Result<Workers> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut workers = Workers { stop: stop.clone(), wakers: self.wakers, threads: Vec::new() };
        for (table, woken) in self.receivers.into_iter().enumerate() {
            let (tables, stop) = (tables.clone(), stop.clone());
            let thread = Builder::new().name(format!("table-{table}"));
            workers.threads.push(thread.spawn(move || work(&tables, table, &woken, &stop))?);
        }
        Ok(workers)
    }
}

fn wake(waker: &SyncSender<()>) {
    // Full if a wake-up is pending already; closed once the server stops.
    let _ = waker.try_send(());
}

fn work(tables: &Tables, table: usize, woken: &Receiver<()>, stop: &AtomicBool) {
    while woken.recv().is_ok() && !stop.load(Ordering::Relaxed) {
        while tables.work(table) && !stop.load(Ordering::Relaxed) {
            // Gives other threads the processor between two slices of work.
            std::thread::yield_now();
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.wakers.iter().for_each(wake);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
