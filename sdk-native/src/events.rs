//! All events of a client, as one bounded stream.

use parking_lot::{Mutex, MutexGuard};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use tidewire_core::tables::{TableEvent, TableRows, TableUpdate};
use tidewire_core::wire::{EventFrame, Signal, User};
use tidewire_core::{Change, ChannelName, ChannelState, Offset, OpId, OpState, Row, Status};
use tokio::sync::Notify;

use crate::core::Event;
use crate::people_state::{PeopleState, Person};
use crate::reads_state::ReadsState;

/// Most events that may wait for a reader.
const CAPACITY: usize = 1_024;
/// Most bytes of text that may wait for a reader.
const CAPACITY_BYTES: usize = 4 * 1024 * 1024;

/// An event of a client. `Debug` shows no text.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientEvent {
    /// The connection's state, or the number of waiting messages, changed.
    Status(Status),
    /// The server said who this client is.
    User(User),
    /// The state of a message changed.
    Op {
        /// Its id.
        id: OpId,
        /// Its channel.
        channel: ChannelName,
        /// Its new state.
        state: OpState,
    },
    /// A message is stored: from now on it survives the end of this process.
    Stored {
        /// Its id.
        id: OpId,
    },
    /// A subscription changed.
    Channel {
        /// The channel.
        channel: ChannelName,
        /// Its new state.
        state: ChannelState,
    },
    /// An event of a channel that was subscribed without a timeline.
    Received(Arc<EventFrame>),
    /// A dialog's rows changed. Apply the changes in their order.
    Dialog {
        /// The dialog's id.
        dialog: String,
        /// The changes.
        changes: Vec<Change<Row>>,
    },
    /// The answer to [`Dialog::load_older`](crate::Dialog::load_older) or
    /// [`Channel::load_older`](crate::Channel::load_older).
    Older {
        /// The channel.
        channel: ChannelName,
        /// The offset before which events were requested.
        before: Offset,
        /// The events just before that offset, the oldest first.
        events: Arc<[EventFrame]>,
        /// Whether the log may have events before these. True without events: the request was
        /// dropped, because the channel begins anew or may not be read.
        more: bool,
    },
    /// An update of a view of a table.
    Table {
        /// The view's number.
        view: u32,
        /// The update.
        update: TableUpdate,
    },
    /// The store fails, or works again.
    Storage {
        /// `storage_full` or `storage_unavailable`; `None` once it works again.
        code: Option<&'static str>,
    },
    /// The server complained about a frame.
    Problem {
        /// Stable code.
        code: String,
        /// A message for people.
        message: String,
    },
    /// Somebody sent an ephemeral signal.
    Signal {
        /// The signal.
        signal: Signal,
        /// The author.
        by: User,
    },
    /// Who is in a watched channel changed, or what they do there; see
    /// [`Dialog::people`](crate::Dialog::people).
    People {
        /// The channel.
        channel: ChannelName,
        /// Who is there now.
        state: PeopleState,
    },
    /// How far a watched channel was read changed; see [`Dialog::reads`](crate::Dialog::reads).
    Reads {
        /// The channel.
        channel: ChannelName,
        /// How far it was read now.
        state: ReadsState,
    },
    /// The reader was too slow: this many events were left out here. Rows, people, read positions
    /// and the status are never missed: a [`Change::Reset`] of each dialog that had changed,
    /// [`TableUpdate::Rows`] of each view of a table, and the newest people, read positions and
    /// status, follow.
    Lagged {
        /// How many events.
        missed: u64,
    },
}

impl ClientEvent {
    /// The event, unless it is about people or read positions, of which the hub tells whole states.
    pub(crate) fn of(event: Event) -> Option<ClientEvent> {
        Some(match event {
            Event::Status(status) => ClientEvent::Status(status),
            Event::User(user) => ClientEvent::User(user),
            Event::Op { id, channel, state } => ClientEvent::Op { id, channel, state },
            Event::Stored { id } => ClientEvent::Stored { id },
            Event::Channel { channel, state } => ClientEvent::Channel { channel, state },
            Event::Received(frame) => ClientEvent::Received(Arc::new(frame)),
            Event::Signal { signal, by } => ClientEvent::Signal { signal, by },
            Event::Dialog { dialog, changes, .. } => ClientEvent::Dialog { dialog, changes },
            Event::Older { channel, before, events, more, .. } => {
                ClientEvent::Older { channel, before, events: events.into(), more }
            }
            Event::Part(TableEvent { view, update }) => ClientEvent::Table { view, update },
            Event::Storage { code } => ClientEvent::Storage { code },
            Event::Problem { code, message } => ClientEvent::Problem { code, message },
            Event::People { .. } | Event::Reads { .. } => return None,
        })
    }
}

/// The reader's end of the stream, from [`Client::events`](crate::Client::events).
#[derive(Debug)]
pub struct Events {
    queue: Arc<EventQueue>,
}

impl Events {
    pub(crate) fn new(queue: Arc<EventQueue>) -> Events {
        Events { queue }
    }

    /// Waits for events and takes up to `max` of them; empty once the client is closed and
    /// everything was taken. Dropping the future loses nothing.
    pub async fn next_batch(&mut self, max: usize) -> Vec<ClientEvent> {
        loop {
            {
                let mut state = self.queue.lock();
                let count = state.items.len().min(max.max(1));
                if count > 0 || state.ended {
                    let batch: Vec<_> = state.items.drain(..count).collect();
                    state.bytes = state.items.iter().map(weight).sum();
                    return batch;
                }
            }
            // A notification between the check above and this line is not lost.
            self.queue.ready.notified().await;
        }
    }
}

/// The current rows, for a reader that was too slow.
pub(crate) trait Look {
    /// A dialog's rows; `None` if it is not open.
    fn rows(&self, dialog: &str) -> Option<Vec<Row>>;
    /// A view's rows.
    fn table(&self, view: u32) -> TableRows;
}

/// The writer's end of the stream.
#[derive(Debug, Default)]
pub(crate) struct EventQueue {
    state: Mutex<State>,
    ready: Notify,
}

#[derive(Debug, Default)]
struct State {
    items: VecDeque<ClientEvent>,
    bytes: usize,
    ended: bool,
}

impl EventQueue {
    /// Adds events. `present` gives the rows after all of them, for the case that the queue is full
    /// and is replaced by them.
    pub(crate) fn push(&self, events: &[ClientEvent], present: &impl Look) {
        let mut state = self.lock();
        for event in events {
            state.bytes += weight(event);
            match (state.items.back_mut(), event) {
                // Successive changes of one dialog are merged, so that a streaming answer takes
                // little space while nobody reads.
                (
                    Some(ClientEvent::Dialog { dialog, changes }),
                    ClientEvent::Dialog { dialog: same, changes: more },
                ) if dialog == same => changes.extend_from_slice(more),
                // A newer state of the same people replaces one that nobody has read.
                (
                    Some(ClientEvent::People { channel, state }),
                    ClientEvent::People { channel: same, state: newer },
                ) if channel == same => state.clone_from(newer),
                // And so with how far it was read.
                (
                    Some(ClientEvent::Reads { channel, state }),
                    ClientEvent::Reads { channel: same, state: newer },
                ) if channel == same => state.clone_from(newer),
                (_, event) => state.items.push_back(event.clone()),
            }
        }
        if state.items.len() > CAPACITY || state.bytes > CAPACITY_BYTES {
            state.fold(present);
        }
        drop(state);
        self.ready.notify_one();
    }

    /// No event follows.
    pub(crate) fn end(&self) {
        self.lock().ended = true;
        self.ready.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl State {
    /// Replaces all waiting events by a lag marker, the current rows and the status.
    fn fold(&mut self, present: &impl Look) {
        let (mut missed, mut dialogs) = (0, BTreeSet::new());
        let (mut tables, mut seen) = (BTreeMap::new(), Vec::new());
        let (mut people, mut reads) = (BTreeMap::new(), BTreeMap::new());
        let (mut status, mut user, mut storage) = (None, None, None);
        for event in self.items.drain(..) {
            match event {
                ClientEvent::Lagged { missed: more } => missed += more,
                ClientEvent::Dialog { dialog, .. } => drop(dialogs.insert(dialog)),
                ClientEvent::Table { update: TableUpdate::Seen { .. }, .. } => seen.push(event),
                ClientEvent::Table { view, update: status @ TableUpdate::Status(_) } => {
                    tables.insert(view, Some(status));
                }
                ClientEvent::Table { view, .. } => drop(tables.entry(view).or_insert(None)),
                ClientEvent::People { channel, state } => drop(people.insert(channel, state)),
                ClientEvent::Reads { channel, state } => drop(reads.insert(channel, state)),
                ClientEvent::Status(_) => status = Some(event),
                ClientEvent::User(_) => user = Some(event),
                ClientEvent::Storage { .. } => storage = Some(event),
                _ => missed += 1,
            }
        }
        self.items.push_back(ClientEvent::Lagged { missed });
        self.items.extend([status, user, storage].into_iter().flatten());
        for dialog in dialogs {
            if let Some(rows) = present.rows(&dialog) {
                self.items.push_back(ClientEvent::Dialog { dialog, changes: vec![Change::Reset(rows)] });
            }
        }
        for (view, status) in tables {
            let updates = std::iter::once(TableUpdate::Rows(present.table(view))).chain(status);
            self.items.extend(updates.map(|update| ClientEvent::Table { view, update }));
        }
        self.items.extend(people.into_iter().map(|(channel, state)| ClientEvent::People { channel, state }));
        self.items.extend(reads.into_iter().map(|(channel, state)| ClientEvent::Reads { channel, state }));
        self.items.extend(seen);
        // Events that can't be merged any further don't count against the limit.
        self.bytes = 0;
    }
}

fn weight(event: &ClientEvent) -> usize {
    64 + match event {
        ClientEvent::Received(frame) => frame.raw.len() + frame.body.len(),
        ClientEvent::Older { events, .. } => {
            events.iter().map(|event| event.raw.len() + event.body.len()).sum()
        }
        ClientEvent::Dialog { changes, .. } => changes.iter().map(change_weight).sum(),
        ClientEvent::Table { update, .. } => crate::table_queue::weight(update),
        ClientEvent::Reads { state, .. } => 128 * state.receipts.len(),
        ClientEvent::People { state, .. } => state.people.iter().map(|person| person_weight(person)).sum(),
        _ => 0,
    }
}

fn person_weight(person: &Person) -> usize {
    128 + person.leases.iter().map(|lease| 64 + lease.kind.len() + lease.body.len()).sum::<usize>()
}

fn change_weight(change: &Change<Row>) -> usize {
    128 + match change {
        Change::Reset(rows) => rows.iter().map(|row| row.text.len() + 128).sum(),
        Change::Insert { row, .. } | Change::Update { row, .. } => row.text.len(),
        Change::Append { text, .. } => text.len(),
        Change::Move { .. } | Change::Remove { .. } => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One dialog, without rows.
    struct Demo;

    impl Look for Demo {
        fn rows(&self, dialog: &str) -> Option<Vec<Row>> {
            (dialog == "demo").then(Vec::new)
        }

        fn table(&self, _view: u32) -> TableRows {
            TableRows::default()
        }
    }

    fn problem() -> ClientEvent {
        ClientEvent::Problem { code: String::from("bad_frame"), message: String::new() }
    }

    fn append(text: &str) -> ClientEvent {
        let changes = vec![Change::Append { index: 0, text: text.to_owned() }];
        ClientEvent::Dialog { dialog: String::from("demo"), changes }
    }

    #[tokio::test]
    async fn a_slow_reader_gets_a_lag_marker_and_the_rows_as_they_are() {
        let queue = Arc::new(EventQueue::default());
        for _ in 0..CAPACITY {
            queue.push(&[problem()], &Demo);
        }
        queue.push(&[append("x")], &Demo);
        queue.push(&[problem()], &Demo);
        queue.end();
        let mut events = Events::new(queue);
        let reset =
            ClientEvent::Dialog { dialog: String::from("demo"), changes: vec![Change::Reset(vec![])] };
        let all = [ClientEvent::Lagged { missed: 1_024 }, reset, problem()];
        assert_eq!(events.next_batch(10).await, all);
        assert!(events.next_batch(10).await.is_empty());
    }

    #[tokio::test]
    async fn pieces_that_nobody_reads_stay_one_event_of_bounded_size() {
        let queue = Arc::new(EventQueue::default());
        for _ in 0..100_000 {
            queue.push(&[append("0123456789")], &Demo);
        }
        assert_eq!(queue.lock().items.len(), 2);
        assert!(queue.lock().bytes <= CAPACITY_BYTES);
    }

    fn demo() -> ChannelName {
        ChannelName::parse("dialog:demo").expect("a name")
    }

    fn people(count: u64) -> ClientEvent {
        ClientEvent::People { channel: demo(), state: PeopleState { count, ..PeopleState::default() } }
    }

    fn reads(position: u64) -> ClientEvent {
        let state = ReadsState { position: Offset(position), ..ReadsState::default() };
        ClientEvent::Reads { channel: demo(), state }
    }

    #[tokio::test]
    async fn people_and_reads_that_nobody_reads_are_the_newest_ones_and_never_missed() {
        for newest in [people, reads] {
            let queue = Arc::new(EventQueue::default());
            queue.push(&[newest(1), newest(2), problem(), newest(3)], &Demo);
            let mut events = Events::new(Arc::clone(&queue));
            assert_eq!(events.next_batch(10).await, [newest(2), problem(), newest(3)]);
            for count in 0..CAPACITY as u64 {
                queue.push(&[problem(), newest(count)], &Demo);
            }
            queue.end();
            let mut all = events.next_batch(10_000).await;
            let is_other = |event: &ClientEvent| {
                matches!(event, ClientEvent::Lagged { .. } | ClientEvent::Problem { .. })
            };
            assert!(all.len() < 2 * CAPACITY && matches!(all[0], ClientEvent::Lagged { .. }));
            all.retain(|event| !is_other(event));
            assert_eq!(all.last(), Some(&newest(CAPACITY as u64 - 1)));
        }
    }

    #[tokio::test]
    async fn batches_keep_the_order_and_take_no_more_than_asked_for() {
        let queue = Arc::new(EventQueue::default());
        for n in 0..5 {
            queue.push(&[ClientEvent::Lagged { missed: n }], &Demo);
        }
        let mut events = Events::new(queue);
        assert_eq!(events.next_batch(3).await.len(), 3);
        assert_eq!(events.next_batch(3).await[0], ClientEvent::Lagged { missed: 3 });
    }
}
