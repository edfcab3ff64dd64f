//! The threads that do the tables' work, one for each table: however much one has to do, the others
//! don't wait for it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};
use tidewire_server_core::tables::{Tables, Wake, Woken};

/// Wakers that wake the threads. They are there before the tables are.
pub(super) struct Wakers {
    wakers: Vec<SyncSender<()>>,
    /// What the threads listen to.
    receivers: Vec<Receiver<()>>,
}

/// The threads; dropping it ends them.
pub(super) struct Workers {
    stop: Arc<AtomicBool>,
    wakers: Vec<SyncSender<()>>,
    threads: Vec<JoinHandle<()>>,
}

impl Wakers {
    /// For so many tables.
    pub(super) fn new(tables: usize) -> Wakers {
        // One that was rung already need not be rung again.
        let (wakers, receivers) = (0..tables).map(|_| sync_channel(1)).unzip();
        Wakers { wakers, receivers }
    }

    /// What the tables wake: their threads, or whoever answers questions.
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
    /// Why the system gives none.
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
    // It is full when it was rung, and gone when the server stops.
    let _ = waker.try_send(());
}

fn work(tables: &Tables, table: usize, woken: &Receiver<()>, stop: &AtomicBool) {
    while woken.recv().is_ok() && !stop.load(Ordering::Relaxed) {
        while tables.work(table) && !stop.load(Ordering::Relaxed) {
            // Between two slices whoever waits for this processor may have it.
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
