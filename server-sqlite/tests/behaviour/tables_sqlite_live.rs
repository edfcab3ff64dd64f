//! Live tables of a SQLite file against a plain SELECT: whatever the application stores, whichever
//! triggers it has and however it changes its tables, after every commit a client's rows are those
//! that the database has.

use crate::rig::dice::Dice;
use crate::rig::tables::{View, sub, welcome};
use crate::rig::{Client, Rig};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, params};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use tempfile::TempDir;
use tidewire_core::wire::{MAX_TABLE_COLUMNS, UserKind};
use tidewire_server_core::tables::{SourceRequest, TableConfig, TableLimits, Tables};
use tidewire_server_sqlite::tables::{self as sqlite, Described, Watch};

/// A client's filter, and the same in the database's own words: a value that is none of its
/// column's type equals nothing, and neither does a text that is none, which here ends with a byte
/// that no text has.
const FILTERS: [(&str, &str); 7] = [
    ("", "true"),
    ("owner=eq.ada", "owner = 'ada' COLLATE BINARY"),
    (
        "owner=neq.ada",
        "typeof(owner) = 'text' AND owner <> 'ada' COLLATE BINARY AND hex(owner) NOT LIKE '%FF'",
    ),
    ("owner=in.(ada,\\x616461,bob)", "owner IN ('ada', '\\x616461', 'bob') AND typeof(owner) = 'text'"),
    ("note=is.null", "note IS NULL"),
    ("or=(owner.eq.bob,note.is.null)", "owner = 'bob' COLLATE BINARY OR note IS NULL"),
    (
        "owner=gte.ada",
        "typeof(owner) = 'text' AND owner >= 'ada' COLLATE BINARY AND hex(owner) NOT LIKE '%FF'",
    ),
];

struct Follower {
    filter: (&'static str, &'static str),
    client: Client,
    view: View,
}

struct World {
    folder: TempDir,
    server: Connection,
    watches: Vec<Watch>,
    described: Vec<Described>,
    tables: Arc<Tables>,
    rig: Rig,
    told: u64,
    followers: Vec<Follower>,
    /// How many snapshots were taken.
    snapshots: usize,
}

impl World {
    fn new(schema: &str, filters: &[(&'static str, &'static str)]) -> World {
        let folder = tempfile::tempdir().unwrap();
        let mut server = Connection::open(folder.path().join("app.db")).unwrap();
        server
            .execute_batch(&format!("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; {schema}"))
            .unwrap();
        let watches = vec![Watch { table: "tasks".to_owned(), columns: None }];
        let described = sqlite::attach(&mut server, &watches).unwrap();
        let config = TableConfig {
            name: "tasks".to_owned(),
            schema: described[0].schema.clone(),
            access: vec![
                (UserKind::User, "*".to_owned()),
                (UserKind::Guest, "owner=eq.{claim:org}".to_owned()),
            ],
        };
        let tables = Arc::new(Tables::new(vec![config], TableLimits::default(), Arc::new(|_| ())).unwrap());
        tables.restart("e", 0, &[]);
        let rig = crate::rig::tables::rig(&tables);
        let mut followers: Vec<Follower> = filters
            .iter()
            .map(|filter| Follower { filter: *filter, client: welcome(&rig, "ada"), view: View::default() })
            .collect();
        // One whose permission is the filter.
        let client = welcome(&rig, "guest1|0|org=ada");
        followers.push(Follower {
            filter: ("", "owner = 'ada' COLLATE BINARY"),
            client,
            view: View::default(),
        });
        let mut world =
            World { folder, server, watches, described, tables, rig, told: 0, followers, snapshots: 0 };
        for at in 0..world.followers.len() {
            world.subscribe(at);
        }
        world.follow();
        world
    }

    fn app(&self) -> Connection {
        let app = Connection::open(self.folder.path().join("app.db")).unwrap();
        app.pragma_update(None, "synchronous", "OFF").unwrap();
        app
    }

    fn subscribe(&mut self, at: usize) {
        let follower = &mut self.followers[at];
        follower.view = View::default();
        follower.client.send(&self.rig, &sub(follower.filter.0));
    }

    /// The application changed its schema, which the server has noticed.
    fn reattach(&mut self) {
        self.follow();
        for (table, now) in sqlite::reattach(&mut self.server, &self.watches).unwrap().into_iter().enumerate()
        {
            let now = now.unwrap_or_else(|_| self.described[table].clone());
            if now.schema != self.described[table].schema {
                self.tables.reshape(table, now.schema.clone());
            }
            self.described[table] = now;
        }
        self.follow();
    }

    /// Tells what was committed, and lets all clients read it.
    fn follow(&mut self) {
        if let Some(commit) = sqlite::read(&self.server, &self.described, self.told).unwrap() {
            self.told = commit.position;
            self.tables.publish(commit);
        }
        for _ in 0..200 {
            for wanted in self.tables.take_requests() {
                let SourceRequest::Snapshot(wanted) = wanted else { panic!("{wanted:?}") };
                self.snapshots += 1;
                let answer = sqlite::snapshot(&mut self.server, &self.described, &wanted, &mut || Ok(()));
                self.tables.finish_snapshot(wanted.id, answer);
            }
            let mut quiet = true;
            for at in 0..self.followers.len() {
                let Follower { client, view, .. } = &mut self.followers[at];
                while let Some(frame) = client.try_next() {
                    quiet = false;
                    view.take("s", &frame);
                    if view.more {
                        client.send(&self.rig, &json!({"t": "tbl.next", "sid": "s"}));
                    }
                }
                if view.reset.is_some() {
                    quiet = false;
                    self.subscribe(at);
                }
            }
            if quiet {
                return;
            }
        }
        panic!("it never gets quiet");
    }

    /// What a plain SELECT gives, as clients would see it.
    fn selected(&self, condition: &str) -> BTreeMap<String, Value> {
        let schema = &self.described[0].schema;
        let names: Vec<String> = schema.columns.iter().map(|column| format!("\"{}\"", column.name)).collect();
        let sql = format!("SELECT {} FROM tasks WHERE ({condition}) AND id IS NOT NULL", names.join(", "));
        let mut statement = self.server.prepare(&sql).unwrap();
        let mut rows = statement.query([]).unwrap();
        let mut found = BTreeMap::new();
        while let Some(row) = rows.next().unwrap() {
            let cells = schema.columns.iter().enumerate();
            let cells: Vec<Value> = cells
                .map(|(at, column)| {
                    shown(row.get_ref(at).unwrap(), &column.declared, schema.key.contains(&at))
                })
                .collect();
            let key: Vec<&Value> = schema.key.iter().map(|at| &cells[*at]).collect();
            let twice = found.insert(json!(key).to_string(), json!(cells));
            assert_eq!(twice, None, "two rows of one key");
        }
        found
    }

    fn check(&mut self, what: &str) {
        self.follow();
        for follower in &self.followers {
            let (filter, condition) = follower.filter;
            assert!(follower.view.complete, "{what}: {filter} has no rows");
            let (told, there) = (&follower.view.rows, self.selected(condition));
            let told: BTreeMap<String, Value> =
                told.iter().map(|(key, row)| (key.clone(), with_floats(row))).collect();
            let told = &told;
            let wrong = |one: &BTreeMap<String, Value>, other: &BTreeMap<String, Value>| -> Vec<Value> {
                one.iter()
                    .filter(|(key, row)| other.get(*key) != Some(row))
                    .map(|(_, row)| row.clone())
                    .collect()
            };
            let (more, less) = (wrong(told, &there), wrong(&there, told));
            assert!(
                more.is_empty() && less.is_empty(),
                "after {what}, for {condition}: {more:?} instead of {less:?}"
            );
        }
    }

    fn run(&mut self, app: &Connection, sql: &str) -> bool {
        let done = app.execute_batch(sql).is_ok();
        if !app.is_autocommit() {
            app.execute_batch("ROLLBACK").unwrap();
        }
        self.check(sql);
        done
    }
}

/// A row whose numbers are all such, however they were written.
fn with_floats(row: &Value) -> Value {
    let cells = row.as_array().unwrap().iter();
    let cells = cells.map(|cell| cell.as_f64().map_or_else(|| cell.clone(), |number| json!(number)));
    cells.collect()
}

/// What clients see of a value: by its own type, not by what it looks like.
fn shown(value: ValueRef<'_>, declared: &str, key: bool) -> Value {
    let hex = |bytes: &[u8]| bytes.iter().fold(String::from("\\x"), |hex, byte| format!("{hex}{byte:02x}"));
    let (class, text, fits) = match value {
        ValueRef::Null => return Value::Null,
        ValueRef::Integer(number) => ("integer", number.to_string(), !matches!(declared, "text" | "bytea")),
        ValueRef::Real(number) if number.is_infinite() => {
            ("real", "Infinity".to_owned(), matches!(declared, "any" | "double precision"))
        }
        ValueRef::Real(number) if declared == "double precision" => return json!(number),
        ValueRef::Real(number) => ("real", number.to_string(), declared == "any"),
        ValueRef::Text(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => {
                let fits = declared == "text" || declared == "any" && text.parse::<f64>().is_err();
                ("text", text.to_owned(), fits)
            }
            Err(_) => ("broken", hex(bytes), false),
        },
        ValueRef::Blob(bytes) if declared == "bytea" => {
            use base64::Engine as _;
            return json!(base64::engine::general_purpose::STANDARD.encode(bytes));
        }
        ValueRef::Blob(bytes) => ("blob", hex(bytes), false),
    };
    if key && !fits { json!([class, text]) } else { json!(text) }
}

/// Values that are easily taken for others.
const TEXTS: [&str; 12] = [
    "'ada'",
    "'ada' || char(0) || 'y'",
    "'ada' || char(0)",
    "char(0)",
    "'\\x616461'",
    "X'616461'",
    "X'61646100'",
    "CAST(X'616461FF' AS TEXT)",
    "CAST(X'61646100FF' AS TEXT)",
    "'bob'",
    "NULL",
    "''",
];
const ANY: [&str; 16] = [
    "1",
    "'1'",
    "X'31'",
    "1.5",
    "'1.5'",
    "9e999",
    "'Infinity'",
    "'NaN'",
    "NULL",
    "''",
    "X''",
    "'x' || char(0)",
    "char(0)",
    "CAST(X'FF' AS TEXT)",
    "9223372036854775807",
    "'null'",
];

const TASKS: &str = "CREATE TABLE tasks (
    id INTEGER PRIMARY KEY, owner TEXT, n INTEGER UNIQUE, r REAL, data BLOB, note, low TEXT AS (lower(owner)), touched INTEGER,
    size INTEGER AS (length(data)) STORED)";

#[test]
fn values_are_told_as_the_database_has_them_and_permissions_see_no_other() {
    for encoding in ["UTF-8", "UTF-16le", "UTF-16be"] {
        let mut world = World::new(&format!("PRAGMA encoding = '{encoding}'; {TASKS}"), &FILTERS);
        let app = world.app();
        let mut id = 0;
        let utf8 = |value: &&&str| encoding == "UTF-8" || !value.starts_with("CAST");
        for text in TEXTS.iter().filter(utf8) {
            for any in ANY.iter().filter(utf8) {
                id += 1;
                world.run(&app, &format!("INSERT INTO tasks (id, owner, n, r, data, note) VALUES ({id}, {text}, NULL, {any}, {any}, {any})"));
            }
            world.run(&app, &format!("UPDATE tasks SET owner = {text}, n = id WHERE id % 7 = {} ", id % 7));
        }
        // A snapshot says the same.
        for at in 0..world.followers.len() {
            world.subscribe(at);
        }
        world.check("a snapshot");
        world.run(&app, "DELETE FROM tasks WHERE id % 2");
    }
}

#[test]
fn keys_that_the_database_tells_apart_are_rows_of_their_own() {
    for declared in ["TEXT", "BLOB", "", "INTEGER"] {
        let mut world = World::new(
            &format!(
                "CREATE TABLE tasks (id {declared}, owner TEXT, note, PRIMARY KEY (id, owner)) WITHOUT ROWID"
            ),
            &FILTERS,
        );
        let app = world.app();
        for text in TEXTS.iter().filter(|text| **text != "NULL") {
            for any in ANY.iter().chain(&TEXTS).filter(|any| **any != "NULL") {
                world.run(&app, &format!("INSERT OR REPLACE INTO tasks VALUES ({any}, {text}, 'a')"));
                world.run(&app, &format!("UPDATE tasks SET note = 'b' WHERE id = {any}"));
            }
        }
        world.run(&app, "UPDATE OR REPLACE tasks SET owner = 'ada'");
        world.run(&app, "DELETE FROM tasks WHERE typeof(id) = 'blob'");
    }
}

/// Triggers that applications have, and some that none should.
const TRIGGERS: [&str; 18] = [
    "AFTER UPDATE ON tasks BEGIN UPDATE tasks SET touched = ifnull(touched, 0) + 1 WHERE id = NEW.id; END",
    "AFTER INSERT ON tasks BEGIN UPDATE tasks SET touched = 1 WHERE id = NEW.id; END",
    "AFTER UPDATE OF owner ON tasks BEGIN UPDATE tasks SET owner = 'bob' WHERE id = NEW.id AND n > 4; END",
    "BEFORE UPDATE ON tasks BEGIN UPDATE tasks SET note = 'before' WHERE id = OLD.id; END",
    "BEFORE UPDATE ON tasks BEGIN UPDATE tasks SET owner = 'ada', touched = 7 WHERE id = OLD.id + 1; END",
    "AFTER INSERT ON tasks BEGIN DELETE FROM tasks WHERE id = NEW.id + 5; END",
    "AFTER DELETE ON tasks BEGIN INSERT OR REPLACE INTO tasks (id, owner) VALUES (OLD.id + 10, 'bob'); END",
    "AFTER DELETE ON tasks WHEN OLD.n > 3 BEGIN INSERT INTO tasks (id, owner) VALUES (OLD.id, 'ada'); END",
    "BEFORE DELETE ON tasks BEGIN UPDATE tasks SET owner = 'ada' WHERE id = OLD.id; END",
    "BEFORE INSERT ON tasks BEGIN INSERT OR IGNORE INTO tasks (id, owner, n) VALUES (NEW.id + 1, 'ada', 3); END",
    "BEFORE INSERT ON tasks BEGIN REPLACE INTO tasks (id, owner, n) VALUES (NEW.id + 2, 'bob', NEW.n + 1); END",
    "AFTER UPDATE ON tasks BEGIN UPDATE OR IGNORE tasks SET n = 3 WHERE id = NEW.id; END",
    "AFTER UPDATE ON tasks BEGIN UPDATE OR REPLACE tasks SET n = 2 WHERE id = NEW.id; END",
    "BEFORE INSERT ON tasks WHEN NEW.n = 5 BEGIN SELECT RAISE(IGNORE); END",
    "BEFORE UPDATE ON tasks WHEN NEW.n = 4 BEGIN SELECT RAISE(IGNORE); END",
    "AFTER UPDATE ON tasks WHEN NEW.n = 6 BEGIN SELECT RAISE(IGNORE); END",
    "AFTER UPDATE ON tasks WHEN NEW.n = 1 BEGIN UPDATE tasks SET id = NEW.id + 20 WHERE id = NEW.id; END",
    "AFTER INSERT ON tasks WHEN NEW.n = 2 BEGIN DELETE FROM tasks WHERE id = NEW.id; END",
];
const VIEW: &str = "CREATE VIEW names AS SELECT id, owner FROM tasks;
    CREATE TRIGGER names_i INSTEAD OF INSERT ON names BEGIN REPLACE INTO tasks (id, owner) VALUES (NEW.id, NEW.owner); END;
    CREATE TRIGGER names_u INSTEAD OF UPDATE ON names BEGIN UPDATE tasks SET owner = NEW.owner WHERE id = OLD.id; END;
    CREATE TRIGGER names_d INSTEAD OF DELETE ON names BEGIN DELETE FROM tasks WHERE id = OLD.id; END;";

fn statement(dice: &mut Dice) -> String {
    let or = *dice.one(&["", "OR REPLACE", "OR REPLACE", "OR IGNORE", "OR FAIL", "OR ROLLBACK"]);
    let (id, n, other) = (dice.roll(12), dice.roll(7), dice.roll(12));
    let (owner, any) = (*dice.one(&TEXTS), *dice.one(&ANY));
    match dice.roll(12) {
        0 => format!("INSERT {or} INTO tasks (id, owner, n, note) VALUES ({id}, {owner}, {n}, {any})"),
        1 => format!(
            "INSERT {or} INTO tasks (owner, n, data) VALUES ({owner}, {n}, {any}), ({owner}, NULL, {any})"
        ),
        2 => format!("UPDATE {or} tasks SET owner = {owner}, n = {n} WHERE id > {other}"),
        3 => format!("UPDATE {or} tasks SET id = id + {n} WHERE id = {other}"),
        4 => format!("UPDATE tasks SET note = {any}, r = {any} WHERE id < {other}"),
        5 => format!("DELETE FROM tasks WHERE id = {id} OR n = {n}"),
        6 => format!(
            "INSERT INTO tasks (id, owner) VALUES ({id}, {owner}) ON CONFLICT (id) DO UPDATE SET owner = excluded.owner"
        ),
        7 => format!(
            "INSERT INTO tasks (id, n) SELECT id + 1, n + 1 FROM tasks WHERE id < {other} ON CONFLICT DO NOTHING"
        ),
        8 => format!(
            "INSERT INTO names VALUES ({id}, {owner}); UPDATE names SET owner = {owner} WHERE id = {other}; DELETE FROM names WHERE id = {n}"
        ),
        9 => format!(
            "BEGIN; UPDATE tasks SET owner = {owner}; SAVEPOINT s; DELETE FROM tasks; ROLLBACK TO s; UPDATE {or} tasks SET n = {n} WHERE id = {id}; COMMIT"
        ),
        10 => format!(
            "BEGIN; REPLACE INTO tasks (id, owner, n) VALUES ({id}, {owner}, {n}); DELETE FROM tasks WHERE id = {other}; COMMIT"
        ),
        _ => format!("DELETE FROM tasks WHERE id >= {other} AND id % 3 = {}", n % 3),
    }
}

/// Where SQLite itself is undefined, or no trigger of ours is run, clients are reset; never are
/// they left with other rows.
#[test]
fn whichever_triggers_the_application_has_rows_are_those_of_the_committed_moment() {
    let (mut statements, mut snapshots) = (0, 0);
    for seed in 0..30 {
        let mut dice = Dice(seed);
        let early: Vec<String> = (0..dice.roll(3))
            .map(|at| format!("CREATE TRIGGER early{at} {};", dice.one(&TRIGGERS)))
            .collect();
        let mut world = World::new(&format!("{TASKS}; {VIEW} {}", early.concat()), &FILTERS[..3]);
        println!("--- seed {seed}: {early:?}");
        let apps: Vec<Connection> = (0..3).map(|_| world.app()).collect();
        if dice.roll(3) == 0 {
            let temporary = dice.one(&TRIGGERS).replacen("ON tasks", "ON main.tasks", 1);
            println!("temporary {temporary}");
            apps[2].execute_batch(&format!("CREATE TEMP TRIGGER temporary {temporary}")).unwrap();
        }
        for at in 0..60 {
            if dice.roll(15) == 0 {
                let late = format!("CREATE TRIGGER late{at} {}", dice.one(&TRIGGERS));
                println!("{late}");
                world.run(&apps[0], &late);
                world.reattach();
            }
            let app = &apps[usize::try_from(dice.roll(3)).unwrap()];
            let statement = statement(&mut dice);
            statements += usize::from(world.run(app, &statement));
        }
        snapshots += world.snapshots;
    }
    assert!(statements > 1_000, "{statements}");
    println!("{statements} statements, {snapshots} snapshots");
}

#[test]
fn the_application_may_change_its_tables_as_if_nobody_watched() {
    for seed in 0..30 {
        let mut dice = Dice(1_000 + seed);
        let mut world = World::new(&format!("{TASKS}; {VIEW}"), &FILTERS);
        let app = world.app();
        let mut extra = 0;
        for _ in 0..40 {
            let ddl = match dice.roll(14) {
                0 => {
                    extra += 1;
                    format!("ALTER TABLE tasks ADD COLUMN more{extra} TEXT DEFAULT 'new'")
                }
                1 => format!(
                    "ALTER TABLE tasks DROP COLUMN {}",
                    dice.one(&["r", "data", "touched", "more1", "more2"])
                ),
                2 => format!(
                    "ALTER TABLE tasks RENAME COLUMN {} TO renamed{extra}",
                    dice.one(&["r", "data", "touched", "more1"])
                ),
                3 => "ALTER TABLE tasks RENAME TO other; ALTER TABLE other RENAME TO tasks".to_owned(),
                4 => format!("DROP VIEW names; DROP TABLE tasks; {TASKS}; {VIEW}"),
                5 => format!(
                    "BEGIN; DROP VIEW names; ALTER TABLE tasks RENAME TO old; {TASKS}; INSERT INTO tasks (id, owner, n, note) SELECT id, owner, n, note FROM old; \
                     DROP TABLE old; {VIEW} COMMIT"
                ),
                6 => "CREATE UNIQUE INDEX IF NOT EXISTS by_owner ON tasks (owner) WHERE id > 5".to_owned(),
                7 => "DROP INDEX IF EXISTS by_owner".to_owned(),
                8 => "VACUUM".to_owned(),
                _ => String::new(),
            };
            if !ddl.is_empty() {
                let done = app.execute_batch(&ddl);
                if !app.is_autocommit() {
                    app.execute_batch("ROLLBACK").unwrap();
                }
                if let Err(error) = done {
                    // The same fails where nobody watches.
                    let error = error.to_string();
                    assert!(!error.contains("_tidewire"), "{ddl}: {error}");
                }
                // Writes may come before the server has noticed.
                for _ in 0..dice.roll(3) {
                    let _ = app.execute_batch(&statement(&mut dice));
                    if !app.is_autocommit() {
                        app.execute_batch("ROLLBACK").unwrap();
                    }
                }
                world.reattach();
                world.check(&ddl);
            }
            let statement = statement(&mut dice);
            world.run(&app, &statement);
        }
    }
}

#[test]
fn a_statement_that_works_where_nobody_watches_works_where_somebody_does() {
    let plain = Connection::open_in_memory().unwrap();
    plain.execute_batch(TASKS).unwrap();
    let world = World::new(TASKS, &[]);
    let app = world.app();
    for ddl in [
        "ALTER TABLE tasks DROP COLUMN note",
        "ALTER TABLE tasks RENAME COLUMN touched TO changed_at",
        "ALTER TABLE tasks DROP COLUMN changed_at",
        "ALTER TABLE tasks DROP COLUMN low",
        "ALTER TABLE tasks ADD COLUMN low TEXT",
        "INSERT INTO tasks (owner, low) VALUES ('a', 'b')",
        "ALTER TABLE tasks RENAME TO done",
        "UPDATE done SET low = 'c'",
        "ALTER TABLE done DROP COLUMN low",
        "DELETE FROM done",
        "DROP TABLE done",
        TASKS,
    ] {
        assert_eq!(plain.execute_batch(ddl).map_err(|error| error.to_string()), Ok(()));
        assert_eq!(app.execute_batch(ddl).map_err(|error| error.to_string()), Ok(()), "{ddl}");
    }
}

#[test]
fn as_many_columns_as_a_table_may_have_are_followed() {
    let columns: Vec<String> = (1..MAX_TABLE_COLUMNS).map(|at| format!("c{at} TEXT")).collect();
    let schema =
        format!("CREATE TABLE tasks (id INTEGER PRIMARY KEY, owner TEXT, {})", columns[1..].join(", "));
    let mut world = World::new(&schema, &FILTERS[..3]);
    let app = world.app();
    for statement in [
        "INSERT INTO tasks (id, owner, c7) VALUES (1, 'ada', 'x' || char(0)), (2, 'bob', 'y')",
        "UPDATE tasks SET owner = 'ada', c200 = 'z'",
        "REPLACE INTO tasks (id, owner) VALUES (1, 'eve')",
        "UPDATE tasks SET id = id + 1 WHERE id = 2",
        "DELETE FROM tasks WHERE id = 1",
    ] {
        app.execute_batch(statement).unwrap();
        world.check(statement);
    }
}

fn left(connection: &Connection) -> Vec<String> {
    let sql = "SELECT name FROM sqlite_master WHERE name GLOB '_tidewire_*' ORDER BY name";
    connection.prepare(sql).unwrap().query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

#[test]
fn what_is_watched_no_more_leaves_nothing_behind() {
    let mut server = Connection::open_in_memory().unwrap();
    server
        .execute_batch(
            "CREATE TABLE one (id INTEGER PRIMARY KEY, a); CREATE TABLE two (id INTEGER PRIMARY KEY, a)",
        )
        .unwrap();
    let watch = |table: &str| Watch { table: table.to_owned(), columns: None };
    sqlite::attach(&mut server, &[watch("one"), watch("two")]).unwrap();
    let both = left(&server);
    sqlite::attach(&mut server, &[watch("two")]).unwrap();
    let kept = left(&server);
    assert!(kept.len() < both.len() && kept.iter().all(|name| !name.ends_with("_one")), "{kept:?}");
    let count = |server: &Connection| -> i64 {
        server.query_row("SELECT count(*) FROM _tidewire_change", [], |row| row.get(0)).unwrap()
    };
    let before = count(&server);
    server.execute("INSERT INTO one VALUES (1, 2)", params![]).unwrap();
    assert_eq!(count(&server), before);
    server.execute("INSERT INTO two VALUES (1, 2)", params![]).unwrap();
    assert_eq!(count(&server), before + 1);
    assert!(sqlite::is_attached(&server).unwrap());
    sqlite::detach(&mut server).unwrap();
    assert_eq!(left(&server), Vec::<String>::new());
    assert!(!sqlite::is_attached(&server).unwrap());
    server.execute_batch("INSERT INTO two VALUES (2, 2); DELETE FROM one").unwrap();
}
