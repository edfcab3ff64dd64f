//! The store: one table of cases, in memory and on disk, and what only a file can do.

use std::ops::RangeInclusive;
use std::path::Path;

use tempfile::TempDir;
use tidewire::error::StoreOpenError;
use tidewire::store::{Sqlite, Storage};
use tidewire_core::{Message, Restored, RestoredChannel, StoreChange, StoreError};

fn message(text: &str) -> Message {
    Message(text.to_owned())
}

fn put_op(id: &str, record: &str) -> StoreChange {
    StoreChange::PutOp { id: id.to_owned(), record: message(record) }
}

fn delete_op(id: &str) -> StoreChange {
    StoreChange::DeleteOp { id: id.to_owned() }
}

fn put_events(channel: &str, cursor: u64, offsets: RangeInclusive<u64>, trim_below: u64) -> StoreChange {
    StoreChange::PutEvents {
        channel: channel.to_owned(),
        epoch: String::from("e1"),
        cursor,
        events: offsets.map(|offset| (offset, message(&format!("event {offset}")))).collect(),
        trim_below,
    }
}

fn clear(channel: &str) -> StoreChange {
    StoreChange::ClearChannel { channel: channel.to_owned() }
}

fn profile(record: &str) -> StoreChange {
    StoreChange::PutProfile { record: message(record) }
}

fn channel(name: &str, cursor: u64, offsets: RangeInclusive<u64>) -> RestoredChannel {
    RestoredChannel {
        channel: name.to_owned(),
        epoch: String::from("e1"),
        cursor,
        events: offsets.map(|offset| format!("event {offset}")).collect(),
    }
}

fn ops(records: &[&str]) -> Restored {
    Restored { ops: records.iter().map(|record| (*record).to_owned()).collect(), ..Restored::default() }
}

fn channels(channels: Vec<RestoredChannel>) -> Restored {
    Restored { channels, ..Restored::default() }
}

/// What is done, and what the store holds after it.
fn cases() -> Vec<(&'static str, Vec<StoreChange>, Restored)> {
    vec![
        ("an empty store holds nothing", vec![], Restored::default()),
        ("ops are kept", vec![put_op("a", "1"), put_op("b", "2")], ops(&["1", "2"])),
        ("an op replaces the one with its id", vec![put_op("a", "1"), put_op("a", "2")], ops(&["2"])),
        ("a deleted op is gone", vec![put_op("a", "1"), put_op("b", "2"), delete_op("a")], ops(&["2"])),
        ("deleting what is not there changes nothing", vec![put_op("a", "1"), delete_op("x")], ops(&["1"])),
        ("an op can come back", vec![put_op("a", "1"), delete_op("a"), put_op("a", "3")], ops(&["3"])),
        (
            "events are kept in the order of their offsets",
            vec![put_events("c", 2, 1..=2, 1), put_events("c", 11, 3..=11, 1)],
            channels(vec![channel("c", 11, 1..=11)]),
        ),
        (
            "events below the limit go",
            vec![put_events("c", 4, 1..=4, 1), put_events("c", 6, 5..=6, 4)],
            channels(vec![channel("c", 6, 4..=6)]),
        ),
        (
            "a cursor moves without events",
            vec![
                put_events("c", 1, 1..=1, 1),
                put_events("c", 9_007_199_254_740_992, RangeInclusive::new(1, 0), 1),
            ],
            channels(vec![channel("c", 9_007_199_254_740_992, 1..=1)]),
        ),
        (
            "channels don't mix",
            vec![put_events("c", 2, 1..=2, 1), put_events("d", 1, 1..=1, 1), put_events("c", 3, 3..=3, 3)],
            channels(vec![channel("c", 3, 3..=3), channel("d", 1, 1..=1)]),
        ),
        (
            "a cleared channel is gone, the others stay",
            vec![put_events("c", 2, 1..=2, 1), put_events("d", 1, 1..=1, 1), clear("c")],
            channels(vec![channel("d", 1, 1..=1)]),
        ),
        (
            "the profile is the last one",
            vec![profile("me"), profile("me again")],
            Restored { profile: Some(String::from("me again")), ..Restored::default() },
        ),
        (
            "texts are kept as they are",
            vec![put_op("a'\";--", "{\"text\":\"\\u0000 \u{1F30A} \u{0} \"}")],
            ops(&["{\"text\":\"\\u0000 \u{1F30A} \u{0} \"}"]),
        ),
    ]
}

fn in_folder(folder: &Path) -> Result<Sqlite, StoreOpenError> {
    Sqlite::open(&Storage::Folder(folder.to_owned()))
}

fn holds(store: &Sqlite) -> Restored {
    store.restored().expect("readable")
}

#[test]
fn changes_one_at_a_time_and_together_end_the_same_in_memory_and_on_disk() {
    for (name, changes, expected) in cases() {
        for together in [false, true] {
            let folder = TempDir::new().expect("a folder");
            for storage in [Storage::Memory, Storage::Folder(folder.path().to_owned())] {
                let mut store = Sqlite::open(&storage).expect(name);
                let results: Vec<_> = if together {
                    store.apply(&changes)
                } else {
                    changes.chunks(1).flat_map(|change| store.apply(change)).collect()
                };
                assert!(results.iter().all(Result::is_ok), "{name}");
                assert_eq!(holds(&store), expected, "{name}, {storage:?}");
            }
            assert_eq!(holds(&in_folder(folder.path()).expect(name)), expected, "{name}, opened again");
        }
    }
}

#[test]
fn a_full_disk_refuses_what_does_not_fit_and_keeps_the_rest() {
    let folder = TempDir::new().expect("a folder");
    let mut store = in_folder(folder.path()).expect("opens");
    store.limit(256 * 1024).expect("a cap");
    let big = "x".repeat(1024 * 1024);
    let results = store.apply(&[put_op("a", "1"), put_op("big", &big), put_op("b", "2")]);
    assert_eq!(results, [Ok(()), Err(StoreError::Full), Ok(())]);
    assert_eq!(holds(&store), ops(&["1", "2"]));
    store.limit(64 * 1024 * 1024).expect("more room");
    assert_eq!(store.apply(&[put_op("c", &big)]), [Ok(())]);
    drop(store);
    assert_eq!(holds(&in_folder(folder.path()).expect("opens again")), ops(&["1", "2", &big]));
}

#[test]
fn a_change_that_fails_leaves_nothing_of_itself() {
    let folder = TempDir::new().expect("a folder");
    let mut store = in_folder(folder.path()).expect("opens");
    store.limit(256 * 1024).expect("a cap");
    let mut events: Vec<_> = (1..=3).map(|offset| (offset, message("small"))).collect();
    events.push((4, message(&"x".repeat(1024 * 1024))));
    let change = StoreChange::PutEvents {
        channel: String::from("c"),
        epoch: String::from("e1"),
        cursor: 4,
        events,
        trim_below: 1,
    };
    assert_eq!(store.apply(&[change]), [Err(StoreError::Full)]);
    assert_eq!(holds(&store), Restored::default());
}

#[test]
fn a_store_in_use_is_refused_until_it_is_closed() {
    let folder = TempDir::new().expect("a folder");
    let mut first = in_folder(folder.path()).expect("opens");
    assert_eq!(in_folder(folder.path()).expect_err("locked").code(), "store_in_use");
    assert_eq!(first.apply(&[put_op("a", "1")]), [Ok(())]);
    assert_eq!(in_folder(folder.path()).expect_err("still locked").code(), "store_in_use");
    drop(first);
    assert_eq!(holds(&in_folder(folder.path()).expect("free again")), ops(&["1"]));
}

#[test]
fn a_store_of_a_newer_version_is_refused_and_left_alone() {
    let folder = TempDir::new().expect("a folder");
    in_folder(folder.path()).expect("opens").apply(&[put_op("a", "1")]);
    let file = folder.path().join("tidewire.db");
    let db = rusqlite::Connection::open(&file).expect("opens");
    db.pragma_update(None, "user_version", 7).expect("written");
    db.close().expect("closed");
    let error = in_folder(folder.path()).expect_err("newer");
    assert_eq!(error.code(), "store_newer");
    assert!(error.to_string().contains("format 7"), "{error}");
    let db = rusqlite::Connection::open(&file).expect("opens");
    let version: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0)).expect("read");
    let kept: i64 = db.query_row("SELECT count(*) FROM ops", [], |row| row.get(0)).expect("read");
    assert_eq!((version, kept), (7, 1));
}

#[test]
fn a_file_that_is_no_store_is_refused() {
    let folder = TempDir::new().expect("a folder");
    std::fs::write(
        folder.path().join("tidewire.db"),
        "not a database, but long enough to look at".repeat(100),
    )
    .expect("written");
    assert_eq!(in_folder(folder.path()).expect_err("garbage").code(), "storage_unavailable");
    assert_eq!(in_folder(Path::new("/dev/null/x")).expect_err("no folder").code(), "storage_unavailable");
}

#[cfg(unix)]
#[test]
fn a_new_folder_is_readable_by_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let folder = TempDir::new().expect("a folder");
    let inner = folder.path().join("a/b");
    let _store = in_folder(&inner).expect("opens");
    let mode = std::fs::metadata(&inner).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}
