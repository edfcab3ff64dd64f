//! The threads that do the tables' work, one for each table: however much one has to do, the others
//! don't wait for it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};
use tidewire_server_core::tables::{Tables, Wake, Woken};

/// Bells that wake the threads. They are there before the tables are.
pub(super) struct Bells {
    bells: Vec<SyncSender<()>>,
    /// What the threads listen to.
    ears: Vec<Receiver<()>>,
}

/// The threads; dropping it ends them.
pub(super) struct Workers {
    stop: Arc<AtomicBool>,
    bells: Vec<SyncSender<()>>,
    threads: Vec<JoinHandle<()>>,
}

impl Bells {
    /// For so many tables.
    pub(super) fn new(tables: usize) -> Bells {
        // One that was rung already need not be rung again.
        let (bells, ears) = (0..tables).map(|_| sync_channel(1)).unzip();
        Bells { bells, ears }
    }

    /// What the tables wake: their threads, or whoever answers questions.
    pub(super) fn wake(&self, wanted: impl Fn() + Send + Sync + 'static) -> Wake {
        let bells = self.bells.clone();
        Arc::new(move |why| match why {
            Woken::Wanted => wanted(),
            Woken::Work(table) => {
                if let Some(bell) = bells.get(table) {
                    ring(bell);
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
        let mut workers = Workers { stop: stop.clone(), bells: self.bells, threads: Vec::new() };
        for (table, woken) in self.ears.into_iter().enumerate() {
            let (tables, stop) = (tables.clone(), stop.clone());
            let thread = Builder::new().name(format!("table-{table}"));
            workers.threads.push(thread.spawn(move || work(&tables, table, &woken, &stop))?);
        }
        Ok(workers)
    }
}

fn ring(bell: &SyncSender<()>) {
    // It is full when it was rung, and gone when the server stops.
    let _ = bell.try_send(());
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
        self.bells.iter().for_each(ring);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
