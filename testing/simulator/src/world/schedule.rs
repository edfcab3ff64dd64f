//! The schedule. Tasks that are due at the same time run in the order in which they were added.

use crate::client::LinkId;
use crate::world::{Call, ExchangeId, Reply};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A task that is carried out at its time.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Task {
    /// A client's timer fires.
    Wake {
        process: usize,
        timer: u64,
    },
    /// A dialled connection opens.
    Open {
        link: LinkId,
    },
    ToServer {
        link: LinkId,
        text: String,
    },
    ToClient {
        link: LinkId,
        text: String,
    },
    /// The client is notified that the connection is closed.
    CloseAtClient {
        link: LinkId,
        code: u16,
    },
    /// The server is notified that the connection is closed.
    CloseAtServer {
        link: LinkId,
    },
    /// A plain request reaches the server.
    Request {
        id: ExchangeId,
        link: LinkId,
        call: Call,
    },
    /// A part of a response reaches the client.
    Respond {
        id: ExchangeId,
        part: Reply,
    },
    /// The server is notified that a response broke or was aborted.
    Abandon {
        link: LinkId,
        id: ExchangeId,
    },
    /// A poll was held for as long as its client asked for.
    EndPoll {
        link: LinkId,
        id: ExchangeId,
    },
    /// The server forgets a connection whose close was not fetched.
    Forget {
        link: LinkId,
    },
    /// The oldest change that waits for a client's disk is written.
    Stored {
        device: usize,
        process: usize,
    },
    /// A session's timer fires.
    Tick {
        link: LinkId,
        timer: u64,
    },
    /// A full link has room again.
    Flush {
        link: LinkId,
    },
    /// The server commits pending writes, unless its process has ended since.
    Commit {
        generation: u64,
    },
    /// The server drives the answers under way.
    Answer,
    /// The server tells who is in channels.
    Tell,
    /// The script's action with this index is carried out.
    Act {
        at: usize,
    },
    StartServer {
        generation: u64,
        restore: bool,
    },
    StopServer {
        generation: u64,
        ms: u64,
    },
    /// The server closes these connections, if it still has them.
    CloseAll {
        links: Vec<LinkId>,
    },
    /// The device's machine wakes up, or its page is no longer frozen.
    Resume {
        device: usize,
    },
    /// The device's page is shown.
    Show {
        device: usize,
    },
    /// The device's process starts.
    Boot {
        device: usize,
    },
    /// A process ends.
    Kill {
        process: usize,
    },
    /// The device has a network again.
    Online {
        device: usize,
    },
    Connect {
        device: usize,
    },
    OpenDialog {
        device: usize,
    },
    /// The device closes a holder of the first channel, unless the process has ended.
    CloseDialog {
        device: usize,
        process: Option<usize>,
    },
    /// The device subscribes to the second channel.
    Subscribe {
        device: usize,
    },
    /// The device may see the second channel again.
    Permit {
        device: usize,
    },
    /// The user decides about an op that failed.
    Decide {
        device: usize,
        id: String,
    },
}

/// The tasks that are not carried out yet.
#[derive(Default)]
pub(crate) struct Schedule {
    count: u64,
    queue: BinaryHeap<Reverse<(u64, u64, Task)>>,
}

impl Schedule {
    /// Adds a task for this time.
    pub(crate) fn add(&mut self, at: u64, task: Task) {
        self.count += 1;
        self.queue.push(Reverse((at, self.count, task)));
    }

    /// Takes the next task that is due up to this time, with its time.
    pub(crate) fn next(&mut self, until: u64) -> Option<(u64, Task)> {
        if self.queue.peek().is_none_or(|Reverse((at, ..))| *at > until) {
            return None;
        }
        self.queue.pop().map(|Reverse((at, _, task))| (at, task))
    }
}
