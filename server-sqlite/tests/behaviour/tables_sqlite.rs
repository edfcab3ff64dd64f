//! SQLite as a source of live tables: the log is the table's history, whatever statements wrote it.

use rusqlite::Connection;
use std::collections::BTreeMap;
use std::sync::Arc;
use tempfile::TempDir;
use tidewire_core::wire::UserKind;
use tidewire_server_core::tables::{Cell, Change, Row, TableConfig, TableLimits, Tables};
use tidewire_server_sqlite::tables::{self as sqlite, Described, Log, Watch};

struct Base {
    folder: TempDir,
    server: Connection,
    tables: Vec<Described>,
    after: u64,
    /// What the log makes of each table: rows by key.
    rows: Vec<BTreeMap<Vec<String>, Row>>,
    lost: Vec<(usize, &'static str)>,
}

fn watch(table: &str) -> Watch {
    Watch { table: table.to_owned(), columns: None }
}

fn text(cell: &Cell) -> String {
    match cell {
        Cell::Text(text) | Cell::Foreign(text) => text.to_string(),
        other => format!("{other:?}"),
    }
}

impl Base {
    fn new(schema: &str, tables: &[&str]) -> Base {
        let folder = tempfile::tempdir().unwrap();
        let mut server = Connection::open(folder.path().join("app.db")).unwrap();
        server.pragma_update(None, "journal_mode", "WAL").unwrap();
        server.pragma_update(None, "synchronous", "OFF").unwrap();
        server.execute_batch(schema).unwrap();
        let watches: Vec<Watch> = tables.iter().map(|name| watch(name)).collect();
        let tables = sqlite::attach(&mut server, &watches).unwrap();
        let rows = vec![BTreeMap::new(); tables.len()];
        let mut base = Base { folder, server, tables, after: 0, rows, lost: Vec::new() };
        base.follow();
        // That it was attached is told as a beginning.
        assert_eq!(base.lost.len(), base.tables.len());
        base.lost.clear();
        base
    }

    fn app(&self) -> Connection {
        Connection::open(self.folder.path().join("app.db")).unwrap()
    }

    fn key(&self, table: usize, row: &Row) -> Vec<String> {
        self.tables[table].schema.key.iter().map(|at| text(&row[*at])).collect()
    }

    /// Reads on; a row must be as the log knew it.
    fn follow(&mut self) -> usize {
        let Some(commit) = sqlite::read(&self.server, &self.tables, self.after).unwrap() else {
            return 0;
        };
        assert!(commit.position > self.after && commit.places.iter().all(|place| *place > self.after));
        self.after = commit.position;
        for change in &commit.changes {
            match change {
                Change::Lost { table, reason } => self.lost.push((*table, reason)),
                Change::Row { table, old, new } => {
                    if let Some(old) = old {
                        let key = self.key(*table, old);
                        let known = self.rows[*table].remove(&key);
                        assert_eq!(known.as_ref(), Some(old), "the old row is not what was there");
                    }
                    if let Some(new) = new {
                        let key = self.key(*table, new);
                        let there = self.rows[*table].insert(key, new.clone());
                        assert_eq!(there, None, "a row is new that was there: {new:?}");
                    }
                }
            }
        }
        commit.changes.len()
    }

    /// What the table has.
    fn selected(&mut self, table: usize) -> BTreeMap<Vec<String>, Row> {
        let rows = self.snapshot(table, "*").unwrap();
        rows.into_iter().map(|row| (self.key(table, &row), row)).collect()
    }

    fn snapshot(&mut self, table: usize, access: &str) -> Option<Vec<Row>> {
        snapshot_of(&mut self.server, &self.tables, table, access)
    }

    fn check(&mut self) {
        self.follow();
        assert!(self.lost.is_empty(), "{:?}", self.lost);
        for table in 0..self.tables.len() {
            let selected = self.selected(table);
            assert_eq!(self.rows[table], selected);
        }
    }
}

/// A snapshot as a subscription with this permission would want it.
fn snapshot_of(server: &mut Connection, of: &[Described], table: usize, access: &str) -> Option<Vec<Row>> {
    let configs = of.iter().map(|described| TableConfig {
        name: described.table.clone(),
        schema: described.schema.clone(),
        access: vec![(UserKind::User, if *described == of[table] { access } else { "*" }.to_owned())],
    });
    let tables = Arc::new(Tables::new(configs.collect(), TableLimits::default(), Arc::new(|_| ())).unwrap());
    tables.restart("e", 0, &[]);
    let rig = crate::rig::tables::rig(&tables);
    let mut client = crate::rig::tables::welcome(&rig, "ada");
    let name = &of[table].table;
    client.send(&rig, &serde_json::json!({"t": "tbl.sub", "sid": "s", "table": name}));
    let wanted = tables.take_requests();
    let [tidewire_server_core::tables::SourceRequest::Snapshot(wanted)] = &wanted[..] else {
        panic!("{wanted:?}")
    };
    sqlite::snapshot(server, of, wanted, &mut || Ok(())).ok().map(|snapshot| snapshot.rows)
}

const SCHEMA: &str = "
    CREATE TABLE plain (id INTEGER PRIMARY KEY, a TEXT, u INTEGER UNIQUE, b REAL);
    CREATE TABLE pair (x TEXT COLLATE NOCASE, y INTEGER, z BLOB, PRIMARY KEY (x, y)) WITHOUT ROWID;
    CREATE TABLE named (name TEXT PRIMARY KEY, mail TEXT, n INTEGER, UNIQUE (mail COLLATE NOCASE, n));
    CREATE UNIQUE INDEX few ON plain (a) WHERE b > 5;
    CREATE TABLE made (id INTEGER PRIMARY KEY, a TEXT, low TEXT AS (lower(a)) UNIQUE);
";

#[test]
fn what_statements_did_is_what_the_log_says() {
    let mut base = Base::new(SCHEMA, &["plain", "pair", "named", "made"]);
    let app = base.app();
    for (statement, changes) in [
        ("INSERT INTO plain VALUES (1, 'a', 10, 1.5), (2, 'b', 20, NULL)", 2),
        ("INSERT OR REPLACE INTO plain VALUES (1, 'c', 10, 2)", 1),
        // Another row goes because of its unique value.
        ("INSERT OR REPLACE INTO plain VALUES (3, 'd', 20, 2)", 2),
        ("REPLACE INTO plain VALUES (1, 'e', 20, 2)", 2),
        ("INSERT OR IGNORE INTO plain VALUES (1, 'f', 90, 2)", 0),
        ("INSERT INTO plain VALUES (1, 'f', 91, 2) ON CONFLICT DO NOTHING", 0),
        ("INSERT INTO plain VALUES (1, 'g', 92, 2) ON CONFLICT (id) DO UPDATE SET a = excluded.a", 1),
        ("INSERT INTO plain (a, u) VALUES ('auto', 5), ('auto', 6)", 2),
        ("UPDATE OR REPLACE plain SET u = 20 WHERE u = 5", 2),
        ("UPDATE OR REPLACE plain SET id = 100, u = 7", 3),
        ("UPDATE plain SET id = id + 1", 1),
        ("BEGIN; INSERT INTO plain (a) VALUES ('gone'); ROLLBACK", 0),
        (
            "BEGIN; INSERT INTO plain (id, a) VALUES (7, 'x'); SAVEPOINT s; DELETE FROM plain; ROLLBACK TO s; COMMIT",
            1,
        ),
        ("INSERT INTO plain VALUES (8, 'p', 80, 6); REPLACE INTO plain VALUES (9, 'p', 81, 7)", 3),
        ("REPLACE INTO plain VALUES (10, 'p', 82, 1)", 1),
        // Into the index by its condition, and out of it.
        ("UPDATE OR REPLACE plain SET b = 8 WHERE id = 10", 2),
        ("UPDATE OR REPLACE plain SET b = 3 WHERE id = 10", 1),
        ("DELETE FROM plain", 3),
        ("INSERT INTO pair VALUES ('a', 1, X'00FF'), ('b', 1, NULL)", 2),
        ("REPLACE INTO pair VALUES ('A', 1, X'01')", 2),
        ("UPDATE pair SET x = 'a' WHERE x = 'a'", 1),
        ("INSERT INTO named VALUES ('x', 'Ada@x', 1), (NULL, 'q', 1)", 2),
        ("REPLACE INTO named VALUES ('y', 'ada@X', 1)", 2),
        ("UPDATE named SET name = 'was null' WHERE name IS NULL", 1),
        ("INSERT INTO made (a) VALUES ('a'), ('b')", 2),
        ("UPDATE OR REPLACE made SET a = 'A' WHERE a = 'b'", 2),
        ("INSERT OR REPLACE INTO made (a) VALUES ('a')", 2),
    ] {
        app.execute_batch(statement).unwrap();
        let before = base.rows.clone();
        let made = base.follow();
        // Rows whose key is null are no change.
        assert!(
            made == changes || statement.contains("NULL, 'q'") && made == 1,
            "{statement}: {made} changes, {before:?}"
        );
        base.check();
    }
}

#[test]
fn whatever_is_written_the_log_is_the_history_of_the_table() {
    let mut state = 1_u64;
    let mut roll = move |sides: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % sides
    };
    let mut base = Base::new(SCHEMA, &["plain", "pair", "named", "made"]);
    let apps: Vec<Connection> = (0..4).map(|_| base.app()).collect();
    for (at, app) in apps.iter().enumerate() {
        app.pragma_update(None, "recursive_triggers", at % 2 == 0).unwrap();
        app.pragma_update(None, "synchronous", "OFF").unwrap();
    }
    let mut written = 0;
    for _ in 0..4_000 {
        let or = ["", "OR REPLACE", "OR REPLACE", "OR IGNORE", "OR FAIL"][usize::try_from(roll(5)).unwrap()];
        let letter = |n: u64| ["'a'", "'A'", "'b'", "'B'", "NULL"][usize::try_from(n).unwrap()];
        let (id, u, a, other) = (roll(8), roll(8), letter(roll(5)), roll(8));
        let statement = match roll(15) {
            0 | 1 => format!("INSERT {or} INTO plain VALUES ({id}, {a}, {u}, {other})"),
            2 => format!("INSERT {or} INTO plain (a, u, b) VALUES ({a}, {u}, {other})"),
            3 => format!("UPDATE {or} plain SET id = {id}, u = {u}, b = b + 1 WHERE id = {other}"),
            4 => format!("UPDATE {or} plain SET u = {u}, a = {a} WHERE id > {other}"),
            5 => format!("DELETE FROM plain WHERE id = {id} OR u = {u}"),
            6 => format!("INSERT {or} INTO pair VALUES ({}, {u}, X'0{other}')", letter(roll(4))),
            7 => format!("UPDATE {or} pair SET x = {}, y = {u} WHERE y = {other}", letter(roll(4))),
            8 => format!("INSERT {or} INTO named VALUES ({a}, {}, {u})", letter(other.min(4))),
            9 => format!("UPDATE {or} named SET mail = {a}, n = {u} WHERE n < {other}"),
            10 => format!("UPDATE {or} plain SET b = {u} + 2 WHERE id = {id}"),
            11 => format!("INSERT {or} INTO made (id, a) VALUES ({id}, {a})"),
            12 => format!("UPDATE {or} made SET a = {a} WHERE id = {id}"),
            13 => format!(
                "INSERT INTO plain VALUES ({id}, {a}, {u}, {other}) ON CONFLICT (id) DO UPDATE SET u = {other}"
            ),
            _ => format!(
                "INSERT INTO named VALUES ({a}, {a}, {u}) ON CONFLICT (name) DO UPDATE SET n = {other}"
            ),
        };
        // Many conflicts within a millisecond, which are ignored: their notes stay.
        let ignored = "INSERT OR IGNORE INTO plain SELECT id, a, u, b FROM plain;".repeat(20);
        let statement = if roll(20) == 0 { ignored + &statement } else { statement };
        // Some fail, as they should.
        let app = &apps[usize::try_from(roll(4)).unwrap()];
        let _ = app.execute_batch(&statement);
        if roll(3) == 0 {
            written += base.follow();
        }
        if roll(80) == 0 {
            base.check();
        }
    }
    base.check();
    assert!(written > 2_000, "{written}");
}

#[test]
fn notes_that_ignored_conflicts_left_take_none_of_the_next_statement_with_them() {
    let mut base = Base::new(SCHEMA, &["plain"]);
    // As a server left it that made the triggers in another order.
    let names = ["bu", "bc"].map(|part| format!("_tidewire_{part}_plain"));
    for name in names {
        let sql: String = base
            .server
            .query_row("SELECT sql FROM sqlite_master WHERE name = ?", [&name], |row| row.get(0))
            .unwrap();
        base.server.execute_batch(&format!("DROP TRIGGER {name}; {sql}")).unwrap();
    }
    base.tables = sqlite::attach(&mut base.server, &[watch("plain")]).unwrap();
    base.follow();
    assert_eq!(base.lost, [(0, "missed")], "changes may be missing before");
    base.lost.clear();
    let app = base.app();
    for conflicts in [1, 15, 16, 17, 40] {
        // The two statements run within one millisecond nearly always.
        for _ in 0..10 {
            app.execute_batch("DELETE FROM plain; INSERT INTO plain VALUES (1, 'a', 1, 1), (2, 'b', 2, 2)")
                .unwrap();
            let ignored = "INSERT OR IGNORE INTO plain VALUES (1, 'x', 1, 1);".repeat(conflicts);
            app.execute_batch(&format!("{ignored} UPDATE OR REPLACE plain SET u = 1 WHERE id = 2")).unwrap();
            base.follow();
            base.check();
        }
    }
}

#[test]
fn attaching_again_changes_nothing_unless_the_table_did() {
    let mut base = Base::new(SCHEMA, &["plain", "named"]);
    let watches = [watch("plain"), watch("named")];
    let head = Log::of(&base.server).unwrap().head;
    let version = |base: &Base| {
        base.server.pragma_query_value(None, "schema_version", |row| row.get::<_, i64>(0)).unwrap()
    };
    let before = version(&base);
    assert_eq!(sqlite::attach(&mut base.server, &watches).unwrap(), base.tables);
    assert_eq!((Log::of(&base.server).unwrap().head, version(&base)), (head, before));
    let app = base.app();
    app.execute_batch("INSERT INTO plain VALUES (1, 'a', 1, 1); ALTER TABLE plain ADD COLUMN c TEXT")
        .unwrap();
    app.execute_batch("UPDATE plain SET c = 'x'").unwrap();
    base.tables = sqlite::attach(&mut base.server, &watches).unwrap();
    assert_eq!(base.tables[0].schema.columns.len(), 5);
    base.follow();
    assert!(base.lost.iter().all(|lost| lost.0 == 0) && !base.lost.is_empty(), "{:?}", base.lost);
    base.lost.clear();
    base.rows[0] = base.selected(0);
    app.execute_batch("DROP TABLE named; CREATE TABLE named (name TEXT PRIMARY KEY)").unwrap();
    base.tables = sqlite::attach(&mut base.server, &watches).unwrap();
    app.execute_batch("INSERT INTO named VALUES ('x')").unwrap();
    base.follow();
    assert_eq!(base.lost, [(1, "missed")]);
}

#[test]
fn tables_that_cannot_be_watched_are_refused_with_what_to_do() {
    let mut server = Connection::open_in_memory().unwrap();
    server
        .execute_batch("CREATE TABLE keyless (a); CREATE VIEW seen AS SELECT 1 AS a; CREATE TABLE fine (id INTEGER PRIMARY KEY, a)")
        .unwrap();
    for (watch, part) in [
        (watch("missing"), "is not in the database"),
        (watch("keyless"), "has no PRIMARY KEY"),
        (watch("seen"), "is a view"),
        (
            Watch { table: "fine".to_owned(), columns: Some(vec!["id".to_owned(), "b".to_owned()]) },
            "has no column `b`",
        ),
        (Watch { table: "fine".to_owned(), columns: Some(vec!["a".to_owned()]) }, "add `id` to the columns"),
    ] {
        let error = sqlite::attach(&mut server, std::slice::from_ref(&watch)).unwrap_err().to_string();
        assert!(error.starts_with(&format!("table `{}`: ", watch.table)) && error.contains(part), "{error}");
    }
    let made: i64 = server
        .query_row("SELECT count(*) FROM sqlite_master WHERE name GLOB '_tidewire*'", [], |row| row.get(0))
        .unwrap();
    assert_eq!(made, 0);
}

#[test]
fn a_snapshot_has_the_rows_that_are_wanted_and_reads_few_others() {
    let mut base = Base::new(SCHEMA, &["plain", "named"]);
    base.app()
        .execute_batch("INSERT INTO plain VALUES (1, 'a', 10, 1), (2, 'A', 20, 1); INSERT INTO named VALUES ('ada', 'x', 7), ('bob', 'x', 'odd')")
        .unwrap();
    let ids = |rows: Option<Vec<Row>>| rows.unwrap().iter().map(|row| text(&row[0])).collect::<Vec<String>>();
    assert_eq!(ids(base.snapshot(0, "u=in.(20,30)")), ["2"]);
    assert_eq!(ids(base.snapshot(0, "a=eq.a&b=gt.0")), ["1"]);
    assert_eq!(ids(base.snapshot(1, "name=eq.{sub}")), ["ada"]);
    // What is none of its column's type compares with nothing, and is not null.
    assert_eq!(ids(base.snapshot(1, "n=not.is.null")), ["ada", "bob"]);
    assert_eq!(ids(base.snapshot(1, "n=neq.8")), ["ada"]);
}

#[test]
fn the_log_is_trimmed_from_its_beginning() {
    let mut base = Base::new(SCHEMA, &["plain"]);
    let app = base.app();
    for id in 0..20 {
        app.execute("INSERT INTO plain (id) VALUES (?)", [id]).unwrap();
    }
    let before = Log::of(&base.server).unwrap();
    assert_eq!(before.within(&base.server, 5).unwrap(), before.head - 5);
    assert_eq!(before.within(&base.server, 500).unwrap(), before.floor);
    assert_eq!(sqlite::trim(&base.server, before.head - 10, 5, 3).unwrap(), 3);
    sqlite::trim(&base.server, before.head, 5, 1_000).unwrap();
    let after = Log::of(&base.server).unwrap();
    assert_eq!((after.head, after.floor), (before.head, before.head - 5));
    assert!(sqlite::fingerprint(&base.server, after.head).unwrap().is_some());
    assert_eq!(sqlite::fingerprint(&base.server, after.floor).unwrap(), None);
    base.after = after.floor;
    assert_eq!(sqlite::read(&base.server, &base.tables, after.floor).unwrap().unwrap().changes.len(), 5);
    // The next one is numbered by the newest.
    sqlite::trim(&base.server, before.head, 0, 1_000).unwrap();
    app.execute_batch("DELETE FROM plain").unwrap();
    assert_eq!(Log::of(&base.server).unwrap(), Log { head: before.head + 20, floor: before.head - 1 });
}
