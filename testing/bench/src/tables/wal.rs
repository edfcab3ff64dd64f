//! Measures what the set-up for live tables adds to a database's log.
//!
//! The compared tables are queried by owner and state, as snapshots are. One has an index for that;
//! in the other the set-up's index takes its place. A table without such an index is reported too.

use crate::Failure;
use crate::database::Database;
use crate::figure::{Aim, Figure};
use tidewire_server::UserKind;
use tidewire_server::tables::{PostgresConfig, SourceConfig, TablesConfig, WatchConfig, plan};

/// Rows in each table.
const ROWS: u64 = 10_000;
/// Changes in a transaction: an insert, a delete, and updates.
const CHANGES: u64 = 10;
const UPDATES: u64 = CHANGES - 2;
/// How many of the updates change a column that is filtered by.
const MOVING: u64 = 2;
/// The tables: of an application that queries by owner and state, of one that does not, and with
/// the planned set-up.
const TABLES: [&str; 3] = ["asked", "unasked", "watched"];

pub(crate) fn measure(quick: bool) -> Result<Vec<Figure>, Failure> {
    let transactions = if quick { 3_000 } else { 20_000 };
    tokio::runtime::Runtime::new()?.block_on(compare(transactions))
}

async fn compare(transactions: u64) -> Result<Vec<Figure>, Failure> {
    // Without full pages the log's size does not depend on the last checkpoint.
    let database = Database::start(&[("full_page_writes", "off")]).await?;
    let columns = "id bigint primary key, owner text not null, state text not null, priority int not null, body text not null";
    for table in TABLES {
        database.run(&format!("create table {table} ({columns})")).await?;
    }
    database.run("create index on asked (owner, state)").await?;
    let config = TablesConfig {
        source: Some(SourceConfig::Postgres(PostgresConfig {
            address: database.cluster.address("postgres"),
            ca: None,
            publication: "tidewire".to_owned(),
            slot: "tidewire".to_owned(),
        })),
        watch: vec![WatchConfig {
            name: "watched".to_owned(),
            table: None,
            columns: None,
            filters: vec!["state".to_owned()],
            access: vec![(UserKind::User, "owner=eq.{sub}".to_owned())],
        }],
        ..TablesConfig::default()
    };
    let planned = plan(&config, "tidewire").await?;
    for statement in planned.split(";\n") {
        database.run(statement).await?;
    }
    let mut found = Vec::new();
    for table in TABLES {
        found.push(written(&database, table, transactions).await?);
    }
    let [asked, unasked, watched] = found.try_into().map_err(|_| "three were measured")?;
    Ok(vec![Figure {
        name: "pg_wal",
        value: watched / asked,
        aim: Aim::Most(1.1),
        how: format!(
            "{watched:.0} bytes of log a change with what `tables plan` says for filters by owner and state, {asked:.0} with an ordinary \
             index for them ({unasked:.0} with none, {:.3}); rows of 300 bytes, an insert, a delete and {UPDATES} updates in a \
             transaction, {MOVING} of them of state",
            watched / unasked
        ),
    }])
}

/// Bytes of log for a change of a table.
async fn written(database: &Database, table: &str, transactions: u64) -> Result<f64, Failure> {
    let row =
        |id: &str| format!("select {id}, 'user' || {id} % 500, 'open', 0, repeat(md5(({id})::text), 8)");
    database.run(&format!("insert into {table} {} from generate_series(1, {ROWS}) n", row("n"))).await?;
    database.run(&format!("vacuum analyze {table}")).await?;
    let before = database.logged().await?;
    // In step i the rows from i + 1 on exist.
    let updated = format!("id = i + 1 + (i::bigint * 7919 + j * 104729) % {}", ROWS - 1);
    database
        .run(&format!(
            "do $$ begin
                for i in 1..{transactions} loop
                    insert into {table} {};
                    delete from {table} where id = i;
                    for j in 1..{} loop
                        update {table} set priority = priority + 1 where {updated};
                    end loop;
                    for j in {}..{UPDATES} loop
                        update {table} set state = case state when 'open' then 'done' else 'open' end where {updated};
                    end loop;
                    commit;
                end loop;
            end $$",
            row(&format!("{ROWS} + i")),
            UPDATES - MOVING,
            UPDATES - MOVING + 1,
        ))
        .await?;
    let bytes = database.logged().await? - before;
    let changed = format!(
        "select (count(*) = {ROWS} and sum(priority) > 0 and count(*) filter (where state = 'done') > 0)::text from {table}"
    );
    if database.ask(&changed).await? != "true" {
        return Err(format!("the changes of {table} were not made").into());
    }
    Ok(bytes as f64 / (transactions * CHANGES) as f64)
}
