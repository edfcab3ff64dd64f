//! The test suite that every store has to pass.
//!
//! A store's crate turns it into tests with [`store_suite!`]. Each case gets an empty store of its
//! own.

#![allow(clippy::unwrap_used, reason = "cases are tests")]

mod answers;
mod dialogs;
mod events;
mod handing;
mod positions;
mod retention;
mod sessions;

pub use answers::*;
pub use dialogs::*;
pub use events::*;
pub use handing::*;
pub use positions::*;
pub use retention::*;
pub use sessions::*;

use std::sync::{Arc, mpsc};
use std::time::Duration;
use tidewire_core::wire::{ChannelName, Offset, User, UserKind};
use tidewire_server_core::store::{
    Account, ChannelRow, CreateDialog, Found, NewEvent, Outcome, Read, Reply, Store, StoreError, Stored,
    Trim, Trimmed, Write,
};
use uuid::Uuid;

/// Makes a test of each case. `$fresh` is a function that returns a [`Subject`] with an empty
/// store.
#[macro_export]
macro_rules! store_suite {
    ($fresh:path) => {
        $crate::store_suite! {
            $fresh:
            offsets_are_dense_and_pages_hold_what_was_written,
            pages_end_at_their_limits_and_hold_at_least_one_event,
            an_op_that_is_sent_again_is_found_and_not_written,
            an_op_id_means_one_thing,
            an_op_waits_for_the_one_before_it,
            who_may_not_write_only_learns_what_was_committed_before,
            writes_are_told_in_the_order_in_which_they_came,
            what_was_told_can_be_read,
            a_channel_that_is_not_there_is_none,
            a_dialog_has_one_owner,
            a_deleted_dialog_leaves_nothing_and_its_place_is_not_used_again,
            only_dialogs_that_were_never_written_in_are_unused,
            a_secret_is_exchanged_once,
            revocations_are_kept_and_forgotten,
            a_dialog_that_was_taken_back_is_nobodys,
            dialogs_and_revocations_keep_their_account,
            memberships_are_kept_counted_and_gone_with_their_dialog,
            positions_never_go_back_and_count_what_is_unread,
            positions_are_gone_with_their_dialog,
            a_step_of_a_hand_off_is_stored_with_its_event_or_refused,
            the_model_is_silent_while_an_operator_has_the_dialog,
            sessions_are_kept_as_written_until_they_are_ended_or_over,
            sites_are_kept_as_written_and_belong_to_an_account,
            a_run_has_one_start_and_one_end,
            pieces_of_a_run_that_a_crash_left_are_joined,
            a_cancellation_needs_a_run,
            a_message_wants_an_answer_until_one_begins,
            the_newest_events_are_found_by_their_kinds,
            trimmed_events_are_gone_and_said_to_be,
            a_trimmed_op_is_still_known,
            what_an_answer_needs_is_not_trimmed,
            what_has_to_be_trimmed_is_found
        }
    };
    ($fresh:path: $($case:ident),*) => {
        $(
            #[test]
            fn $case() {
                $crate::$case(&$fresh());
            }
        )*
    };
}

/// A store, and what must live as long as it does.
pub struct Subject {
    store: Arc<dyn Store>,
    _keeps: Box<dyn std::any::Any>,
}

/// Time-out of one operation.
const PATIENCE: Duration = Duration::from_secs(60);

impl Subject {
    /// A subject for this store; `keeps` is dropped with it.
    pub fn new(store: Arc<dyn Store>, keeps: impl std::any::Any) -> Subject {
        Subject { store, _keeps: Box::new(keeps) }
    }

    fn try_write(&self, write: Write) -> Result<Outcome, StoreError> {
        let (tell, told) = mpsc::channel();
        self.store.write(write, Box::new(move |result| tell.send(result).unwrap()));
        told.recv_timeout(PATIENCE).expect("the write's fate")
    }

    fn write(&self, write: Write) -> Outcome {
        self.try_write(write).expect("the store works")
    }

    fn read(&self, read: Read) -> Reply {
        let (tell, told) = mpsc::channel();
        self.store.read(read, Box::new(move |reply| tell.send(reply).unwrap()));
        told.recv_timeout(PATIENCE).expect("a reply").expect("the store works")
    }

    fn row(&self, name: &str) -> Option<ChannelRow> {
        self.read(Read::Channel(channel(name))).channel().unwrap()
    }

    /// Creates a dialog, and returns its row id.
    fn dialog(&self, name: &str, owner: Option<&str>) -> i64 {
        let dialog =
            CreateDialog { name: channel(name), owner: owner.map(str::to_owned), account: Account::Own };
        assert!(matches!(self.write(Write::CreateDialog(dialog)), Outcome::Created));
        self.row(name).unwrap().id
    }

    fn append(&self, event: &NewEvent) -> Outcome {
        self.write(Write::Append(event.clone()))
    }

    fn stored(&self, event: &NewEvent) -> Stored {
        stored(self.append(event))
    }

    fn page(&self, channel: i64, from: u64, to: u64) -> Vec<(u64, String)> {
        let (from, to) = (Offset(from), Offset(to));
        match self.read(Read::Events { channel, from, to }).events().unwrap() {
            Found::Events(events) => {
                events.into_iter().map(|(offset, frame)| (offset.0, frame.as_str().to_owned())).collect()
            }
            Found::Trimmed(floor) => panic!("trimmed up to {floor}"),
        }
    }

    /// The offsets of the newest events after `from` up to `to`.
    fn earlier(&self, channel: i64, from: u64, to: u64) -> Vec<u64> {
        let read = Read::Earlier { channel, from: Offset(from), to: Offset(to) };
        match self.read(read).events().unwrap() {
            Found::Events(events) => events.into_iter().map(|(offset, _)| offset.0).collect(),
            Found::Trimmed(floor) => panic!("trimmed up to {floor}"),
        }
    }

    /// Trims until nothing is left to trim.
    fn trim(&self, row: i64, name: &str, keep: u64, before_ms: u64) -> u64 {
        loop {
            let trim = Trim { channel: row, name: channel(name), before_ms, keep, remember_ms: 0 };
            match self.write(Write::Trim(trim)) {
                Outcome::Trimmed(Trimmed { floor, more: false, .. }) => return floor.0,
                Outcome::Trimmed(_) => {}
                _ => panic!("a trim is answered as one"),
            }
        }
    }
}

fn channel(name: &str) -> ChannelName {
    ChannelName::parse(name).expect("a valid name")
}

fn stored(outcome: Outcome) -> Stored {
    match outcome {
        Outcome::Stored(stored) => stored,
        _ => panic!("an event is stored"),
    }
}

/// Somebody's n-th op, a message.
fn message(row: i64, name: &str, n: u128, text: &str) -> NewEvent {
    let op = Uuid::from_u128((7 << 76) | (2 << 62) | n);
    NewEvent {
        channel: row,
        name: channel(name),
        author: "user:ada".to_owned(),
        by: User { id: "ada".to_owned(), name: "Ada".to_owned(), kind: UserKind::User, profile: None },
        op,
        id: op.hyphenated().to_string().into(),
        kind: "message".to_owned(),
        body: format!("{{\"text\":\"{text}\"}}"),
        after: None,
        needs_run: None,
        wants_answer: false,
        handing: None,
        forbidden: false,
    }
}
