//! Which rows filters match, and which literals they accept, compared with a real PostgreSQL.

use tidewire_core::tables::Type;
use tidewire_core::tables::filter::{Column, Filter};
use tidewire_postgres::{Cluster, difference};
use tokio_postgres::NoTls;

/// As many as still take a few seconds; `cargo xtask filter-diff` runs more.
const COMPARISONS: u64 = 200_000;

#[tokio::test]
async fn filters_say_of_every_row_what_postgresql_says() {
    let cluster = Cluster::start(&[]).expect("starts");
    let report =
        difference::run(&cluster.address("postgres"), COMPARISONS, 1).await.expect("PostgreSQL answers");
    println!("figures: {}", report.to_string().lines().next().unwrap_or_default());
    assert!(report.differences.is_empty(), "{report}");
    assert!(report.comparisons() >= COMPARISONS, "{report}");
    // Each outcome must be frequent, or the comparison would prove little.
    assert!(report.judged.iter().all(|count| *count > COMPARISONS / 20), "{report}");
    assert!(report.literals > 10_000 && report.refused > 1_000, "{report}");
    assert!(report.beyond_us < report.literals / 20, "{report}");
}

#[tokio::test]
async fn a_pattern_that_ends_with_a_lone_backslash_is_refused_where_postgresql_fails() {
    let cluster = Cluster::start(&[]).expect("starts");
    let address = cluster.address("postgres");
    let (client, connection) = tokio_postgres::connect(&address, NoTls).await.expect("connects");
    tokio::spawn(connection);
    let columns = [Column { name: "te", kind: Type::Text }];
    for (pattern, valid) in [(r"a\", false), (r"a\\", true), (r"%\\\", false), (r"\a", true)] {
        let filter = Filter::parse(&format!("te=like.{pattern}")).expect(pattern);
        assert_eq!(filter.bind(&columns).is_ok(), valid, "{pattern}");
        // PostgreSQL only reports it for a row that matches up to the backslash.
        let asked = format!(r"select E'a\\a' like '{pattern}', 'aa' like '{pattern}', 'a' like '{pattern}'");
        assert!(valid || client.simple_query(&asked).await.is_err(), "{pattern}");
    }
}

/// The rule of `ilike` is that of `COLLATE "C"`: a database whose own collation knows more letters
/// says otherwise of É.
#[tokio::test]
async fn ilike_knows_the_case_of_ascii_alone() {
    let cluster = Cluster::start(&[]).expect("starts");
    let address = cluster.address("postgres");
    let (client, connection) = tokio_postgres::connect(&address, NoTls).await.expect("connects");
    tokio::spawn(connection);
    let asked = r#"select 'É' ilike 'é' collate "C", 'E' ilike 'e' collate "C", 'É' ilike 'é'"#;
    let row = client.query_one(asked, &[]).await.expect("PostgreSQL answers");
    assert_eq!((row.get(0), row.get(1), row.get(2)), (false, true, true));
}
