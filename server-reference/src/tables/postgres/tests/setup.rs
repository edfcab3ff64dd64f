//! Errors in a database's set-up are reported, and how to correct them.

use super::super::{PlanError, ReadError, StreamError};
use super::*;

/// The codes and texts of the errors that the stream reports.
async fn wrong(rig: &Rig) -> Vec<(&'static str, String)> {
    let mut stream = rig.stream().0;
    loop {
        match next(&mut stream).await {
            Event::Down { error: StreamError::Setup(errors), .. } => {
                return errors.iter().map(|error| (error.code(), error.to_string())).collect();
            }
            // An earlier stream may still be using the slot.
            Event::Down { error: StreamError::Replication(_), .. } => {}
            Event::Up { .. } => return Vec::new(),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn everything_that_is_missing_is_named_with_what_mends_it() {
    let rig = Rig::ready(&[]).await;
    assert_eq!(wrong(&rig).await, [], "the plan is enough");
    for (breaks, code, says, mends) in [
        (
            "alter publication tidewire drop table item",
            "not_published",
            r#"alter publication "tidewire" add table "public"."item""#,
            "alter publication tidewire add table item",
        ),
        (
            "alter publication tidewire set table item (id, state)",
            "publication_columns",
            r#"("id", "state", "n", "body")"#,
            "alter publication tidewire set table item",
        ),
        (
            "alter publication tidewire set table item where (state = 'open')",
            "publication_row_filter",
            "would vanish unnoticed",
            "alter publication tidewire set table item",
        ),
        (
            "alter publication tidewire set (publish = 'insert, update')",
            "publication_operations",
            "'insert, update, delete, truncate'",
            "alter publication tidewire set (publish = 'insert, update, delete, truncate')",
        ),
        (
            "alter publication tidewire rename to gone",
            "no_publication",
            r#"create publication "tidewire" for table "public"."item""#,
            "alter publication gone rename to tidewire",
        ),
        (
            "alter table item replica identity default",
            "replica_identity",
            "the old values of state",
            "alter table item replica identity full",
        ),
        (
            "revoke select on item from tidewire",
            "not_readable",
            r#"grant select on "public"."item" to tidewire"#,
            "grant select on item to tidewire",
        ),
        (
            "alter role tidewire noreplication",
            "not_replication",
            "alter role tidewire replication",
            "alter role tidewire replication",
        ),
        (
            "alter table item enable row level security",
            "row_security",
            "alter role tidewire bypassrls",
            "alter role tidewire bypassrls",
        ),
        (
            "alter table item rename to gone",
            "no_table",
            r#""public"."item""#,
            "alter table gone rename to item",
        ),
        (
            "alter table item rename state to gone",
            "no_column",
            "\"state\"",
            "alter table item rename gone to state",
        ),
    ] {
        rig.run(breaks).await;
        let found = wrong(&rig).await;
        assert!(
            matches!(found.as_slice(), [(found, text)] if *found == code && text.contains(says)),
            "{breaks}: {found:?}"
        );
        rig.run(mends).await;
        assert_eq!(wrong(&rig).await, [], "{mends}");
    }
}

#[tokio::test]
async fn a_database_without_logical_log_is_refused() {
    let rig = Rig::new(&[("wal_level", "replica")]).await;
    let found = wrong(&rig).await;
    assert!(
        matches!(found.as_slice(), [("wal_level", text)] if text.contains("alter system set")),
        "{found:?}"
    );
}

#[tokio::test]
async fn a_database_that_is_not_there_is_tried_again() {
    let mut rig = Rig::ready(&[]).await;
    rig.cluster.stop().unwrap();
    let (mut stream, _released) = rig.stream();
    assert!(matches!(next(&mut stream).await, Event::Down { .. }));
    assert!(matches!(next(&mut stream).await, Event::Down { .. }));
    rig.cluster.start_again().unwrap();
    up(&mut stream).await;
}

#[tokio::test]
async fn a_plan_takes_the_cheapest_identity_that_has_the_columns() {
    let mut rig = Rig::new(&[]).await;
    let planned = plan(&rig.settings, "tidewire").await.unwrap();
    assert!(planned.contains(r#"replica identity using index "item_tidewire""#), "{planned}");
    assert!(planned.contains(r#"for table "public"."item";"#), "{planned}");
    assert!(planned.contains(r#"on "public"."item" ("state", "id");"#), "{planned}");
    // An existing index is used if it may be an identity and includes no hidden column.
    for (columns, more, taken) in [
        ("state", "", false),
        ("state, id", " where n > 1", false),
        ("state, id, n", "", false),
        ("state, lower(state), id", "", false),
        ("id, state", "", true),
    ] {
        rig.run(&format!("create unique index items on item ({columns}){more}")).await;
        let planned = plan(&rig.settings, "tidewire").await.unwrap();
        assert_eq!(
            planned.contains(r#"replica identity using index "items";"#),
            taken,
            "{columns}: {planned}"
        );
        assert_eq!(planned.contains("create unique index"), !taken, "{columns}: {planned}");
        if taken {
            rig.run(r#"alter table item replica identity using index items"#).await;
            let planned = plan(&rig.settings, "tidewire").await.unwrap();
            assert!(!planned.contains("replica identity"), "{planned}");
            rig.run("alter table item replica identity default").await;
        }
        rig.run("drop index items").await;
    }
    rig.settings.tables[0].columns = Some(vec!["id".into(), "state".into()]);
    let planned = plan(&rig.settings, "tidewire").await.unwrap();
    assert!(planned.contains(r#"for table "public"."item" ("id", "state");"#), "{planned}");
    rig.settings.tables[0].columns = Some(vec!["id".into(), "n".into()]);
    rig.settings.tables[0].filtered = vec!["n".into()];
    let planned = plan(&rig.settings, "tidewire").await.unwrap();
    assert!(planned.contains(r#"alter table "public"."item" replica identity full"#), "{planned}");
    // Column lists and full identities exclude each other.
    assert!(planned.contains(r#"for table "public"."item";"#), "{planned}");
    rig.settings.tables[0].filtered = Vec::new();
    let planned = plan(&rig.settings, "tidewire").await.unwrap();
    assert!(!planned.contains("replica identity"), "{planned}");
    rig.run("create table keyless (id int)").await;
    rig.settings.tables[0].columns = None;
    rig.settings.tables[0].name = "keyless".into();
    rig.settings.tables[0].filtered = Vec::new();
    assert!(
        matches!(plan(&rig.settings, "tidewire").await, Err(PlanError::Setup(error)) if error.code() == "no_key")
    );
}

#[tokio::test]
async fn what_became_of_a_transaction_is_known() {
    let rig = Rig::ready(&[]).await;
    let reader = rig.reader();
    let other = connect(&rig.cluster, "postgres").await;
    other.batch_execute("begin; insert into item values (1, 'open', 1, null)").await.unwrap();
    let asked = "select pg_current_xact_id()::text";
    let tx: String = other.query_one(asked, &[]).await.unwrap().get(0);
    let tx: u64 = tx.parse().unwrap();
    assert!(matches!(reader.position_of(tx).await, Ok(None)));
    other.batch_execute("commit").await.unwrap();
    let position = reader.position_of(tx).await.unwrap().expect("committed");
    let (mut stream, _released) = rig.stream();
    up(&mut stream).await;
    rig.run("insert into item values (2, 'open', 1, null)").await;
    assert!(commit(&mut stream).await.position > position, "the slot is younger than the first");
    // A transaction without a watched table is over once the stream has reached its position.
    other.batch_execute("begin; insert into other (body) values ('x')").await.unwrap();
    let tx: String = other.query_one(asked, &[]).await.unwrap().get(0);
    other.batch_execute("commit").await.unwrap();
    let position = reader.position_of(tx.parse().unwrap()).await.unwrap().expect("committed");
    let reached = async {
        while !matches!(next(&mut stream).await, Event::Idle { position: idle } if idle >= position) {}
    };
    tokio::time::timeout(Duration::from_secs(5), reached).await.expect("the stream says so soon");
    other.batch_execute("begin; insert into item values (3, 'open', 1, null)").await.unwrap();
    let tx: String = other.query_one(asked, &[]).await.unwrap().get(0);
    other.batch_execute("rollback").await.unwrap();
    assert!(matches!(reader.position_of(tx.parse().unwrap()).await, Err(ReadError::AbortedTx)));
    assert!(matches!(reader.position_of(1 << 40).await, Err(ReadError::UnknownTx)));
}

#[tokio::test]
async fn with_tls_only_the_database_that_is_meant_is_spoken_to() {
    let mut rig = Rig::ready(&[]).await;
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    rig.cluster.write("server.crt", &certified.cert.pem()).unwrap();
    rig.cluster.write("server.key", &certified.signing_key.serialize_pem()).unwrap();
    rig.cluster.set("ssl", "on");
    rig.run("alter role tidewire password 'secret'").await;
    rig.cluster.write("pg_hba.conf", "hostssl all all 127.0.0.1/32 scram-sha-256\nhostssl replication all 127.0.0.1/32 scram-sha-256\n").unwrap();
    rig.cluster.start_again().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, certified.cert.pem()).unwrap();
    let port = rig.cluster.port();
    let address = |host: &str| format!("postgres://tidewire:secret@{host}:{port}/postgres?sslmode=require");

    rig.settings.address = address("localhost");
    let found = wrong(&rig).await;
    assert!(
        matches!(found.as_slice(), [("postgres", text)] if text.contains("TLS")),
        "nobody vouches: {found:?}"
    );
    rig.settings.ca = Some(ca);
    assert_eq!(wrong(&rig).await, []);
    rig.settings.address = address("127.0.0.1");
    let found = wrong(&rig).await;
    assert!(matches!(found.as_slice(), [("postgres", _)]), "that is another name: {found:?}");
    rig.settings.address = format!("postgres://tidewire:secret@localhost:{port}/postgres");
    let found = wrong(&rig).await;
    assert!(
        matches!(found.as_slice(), [("postgres", text)] if text.contains("pg_hba")),
        "it wants TLS: {found:?}"
    );
    rig.settings.ca = Some(folder.path().join("none.pem"));
    rig.settings.address = address("localhost");
    let error = Stream::new(rig.settings.clone()).err().expect("an error");
    assert!(error.to_string().contains("PEM"), "{error}");
}
