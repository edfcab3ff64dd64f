//! The native client on a disk that is full, or dying: a preloaded library has the writes and syncs
//! of its store fail when a file says so. It says that what is written now does not survive, and
//! sends it all the same.

#![cfg(target_os = "linux")]

mod common;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use common::build::build;
use common::peer::Peer;
use common::server::Server;
use common::told::{Told, read_log, text_of};
use common::until;

/// A folder with the store and the file that says what fails.
struct Disk {
    folder: tempfile::TempDir,
    library: PathBuf,
}

impl Disk {
    fn new() -> Disk {
        let library = build(&["--lib"]).join("libtidewire_disk_fault.so");
        Disk { folder: tempfile::tempdir().expect("a folder"), library }
    }

    fn control(&self) -> PathBuf {
        self.folder.path().join("control")
    }

    /// From now on these calls fail for the store's files, with this error.
    fn fail(&self, fault: &str) {
        self.say(&format!("{fault} tidewire.db"));
    }

    fn heal(&self) {
        self.say("");
    }

    fn say(&self, text: &str) {
        // Renamed, so that nobody reads half of it.
        let new = self.folder.path().join("control.new");
        std::fs::write(&new, text).expect("written");
        std::fs::rename(new, self.control()).expect("renamed");
    }

    fn start(&self, told: &Arc<Told>, run: usize, server: &Server, token: &str) -> Peer {
        let store = self.folder.path().join("store");
        let variables = [("LD_PRELOAD", self.library.clone()), ("TIDEWIRE_DISK_FAULT", self.control())];
        let store: &Path = &store;
        Peer::start(told, ("ada", run), (&server.url(), token), Some(store), &[], &variables)
    }
}

/// Waits until a message is acknowledged.
async fn acked(peer: &Peer, text: &str) {
    until("the acknowledgement", || peer.state().acked.contains(text)).await;
}

async fn says_so_and_goes_on(fault: &str, code: &str) {
    let (disk, told) = (Disk::new(), Arc::new(Told::default()));
    let mut server = Server::with(&["--model", "off"]);
    let token = server.token("ada", 3_600).await;
    let mut peer = disk.start(&told, 0, &server, &token);
    peer.send(&told, "before");
    acked(&peer, "before").await;
    assert_eq!(peer.state().storage, [""; 0]);

    disk.fail(fault);
    // The acknowledgement of a message may be faster than the disk's answer.
    let mut in_the_fault = 0_u64;
    while in_the_fault < 3 || (in_the_fault < 50 && peer.state().storage.is_empty()) {
        in_the_fault += 1;
        let text = format!("in the fault {in_the_fault}");
        peer.send(&told, &text);
        acked(&peer, &text).await;
    }
    assert_eq!(peer.state().storage, [code], "{fault}");
    // Without a server nothing is called safe that is not.
    server.kill();
    until("the loss", || !peer.state().online).await;
    peer.send(&told, "offline in the fault");
    until("its waiting", || peer.state().waiting == 1).await;
    // It never is; this long it would have been.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!peer.state().safe.contains("offline in the fault"), "{fault}: it is not in the store");

    disk.heal();
    peer.send(&told, "offline after it");
    until("the store's return", || peer.state().storage == [code, ""]).await;
    until("its safety", || peer.state().safe.contains("offline after it")).await;
    // What was called safe survives; the one that was not may.
    peer.kill(&told);
    server.restart();
    let mut peer = disk.start(&told, 1, &server, &token);
    acked(&peer, "offline after it").await;
    peer.send(&told, "the end");
    acked(&peer, "the end").await;
    until("an empty outbox", || peer.state().waiting == 0).await;
    let log = read_log(&server.url(), &token, text_of).await;
    let head = log.last().map_or(0, |last| last.0);
    until("the head", || peer.state().applied == head).await;
    peer.kill(&told);
    told.log(&log);
    told.caught_up("ada#1");
    told.drained("ada");
    let report = told.finish("disk");
    // Before the fault, without a server in it, after it, and the last one.
    let sent = in_the_fault + 4;
    assert_eq!(report.sent, sent, "{fault}: {report}");
    assert!(report.logged == sent || report.logged == sent - 1, "{fault}: {report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_told_and_sending_goes_on() {
    says_so_and_goes_on("write ENOSPC", "storage_full").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fails_to_write_is_told_and_sending_goes_on() {
    says_so_and_goes_on("write EIO", "storage_unavailable").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fails_to_sync_is_told_and_sending_goes_on() {
    says_so_and_goes_on("sync EIO", "storage_unavailable").await;
}
