//! The store: the cases of every store, in memory and on disk, and what only a file can do.

#[path = "../../sdk-core/tests/behaviour/store_cases.rs"]
mod store_cases;

use std::path::Path;

use store_cases::{cases, sorted};
use tempfile::TempDir;
use tidewire::error::StoreOpenError;
use tidewire::store::{Sqlite, Storage};
use tidewire_core::{ChannelName, Message, Offset, Restored, StoreChange, StoreError};

fn message(text: &str) -> Message {
    Message(text.to_owned())
}

fn put_op(id: &str, record: &str) -> StoreChange {
    StoreChange::PutOp { id: id.into(), record: message(record) }
}

fn ops(records: &[&str]) -> Restored {
    Restored { ops: records.iter().map(|record| (*record).to_owned()).collect(), ..Restored::default() }
}

fn in_folder(folder: &Path) -> Result<Sqlite, StoreOpenError> {
    Sqlite::open(&Storage::Folder(folder.to_owned()))
}

fn holds(store: &Sqlite) -> Restored {
    store.restored().expect("readable")
}

#[test]
fn changes_one_at_a_time_and_together_end_the_same_in_memory_and_on_disk() {
    for store_cases::Case { name, changes, then } in cases() {
        for together in [false, true] {
            let folder = TempDir::new().expect("a folder");
            for storage in [Storage::Memory, Storage::Folder(folder.path().to_owned())] {
                let mut store = Sqlite::open(&storage).expect(&name);
                let results: Vec<_> = if together {
                    store.apply(&changes)
                } else {
                    changes.chunks(1).flat_map(|change| store.apply(change)).collect()
                };
                assert!(results.iter().all(Result::is_ok), "{name}");
                assert_eq!(sorted(holds(&store)), then, "{name}, {storage:?}");
            }
            assert_eq!(sorted(holds(&in_folder(folder.path()).expect(&name))), then, "{name}, opened again");
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
    let mut events: Vec<_> = (1..=3).map(|offset| (Offset(offset), message("small"))).collect();
    events.push((Offset(4), message(&"x".repeat(1024 * 1024))));
    let change = StoreChange::PutEvents {
        channel: ChannelName::parse("c").unwrap(),
        epoch: "e1".into(),
        cursor: Offset(4),
        runs: message("[]"),
        events,
        trim_below: Offset(1),
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
fn a_store_of_any_earlier_version_is_taken_over() {
    // What each format lacks of the next one.
    for earlier in [
        "DROP TABLE tables; ALTER TABLE channels DROP COLUMN runs; PRAGMA user_version = 1",
        "ALTER TABLE channels DROP COLUMN runs; PRAGMA user_version = 2",
    ] {
        let folder = TempDir::new().expect("a folder");
        in_folder(folder.path()).expect("opens").apply(&[put_op("a", "1")]);
        let db = rusqlite::Connection::open(folder.path().join("tidewire.db")).expect("opens");
        db.execute_batch(earlier).expect("written");
        db.close().expect("closed");
        let mut store = in_folder(folder.path()).expect("taken over");
        assert_eq!(holds(&store), ops(&["1"]));
        let table = StoreChange::PutTable { name: String::from("t"), record: Message(String::from("r")) };
        let events = StoreChange::PutEvents {
            channel: ChannelName::parse("c").unwrap(),
            epoch: "e1".into(),
            cursor: Offset(1),
            events: vec![(Offset(1), message("one"))],
            runs: message("[]"),
            trim_below: Offset(1),
        };
        assert_eq!(store.apply(&[table, events]), [Ok(()), Ok(())]);
        drop(store);
        let kept = holds(&in_folder(folder.path()).expect("opens"));
        assert_eq!(kept.tables, [(String::from("t"), String::from("r"))]);
        assert_eq!((kept.channels[0].cursor, kept.channels[0].runs.as_str()), (1, "[]"));
    }
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
