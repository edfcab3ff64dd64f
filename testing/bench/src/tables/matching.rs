//! Measures finding the subscriptions that a change concerns: the server's index against matching
//! each subscription.

use crate::Failure;
use crate::figure::{Aim, Figure};
use crate::world::{commit, engine, row, session, settle, tables, written};
use std::hint::black_box;
use std::time::{Duration, Instant};
use tidewire_core::tables::filter::{Column, Filter, Predicate};
use tidewire_core::tables::{Type, Value};
use tidewire_server_core::tables::Change;
use tidewire_server_core::{Engine, Session};

const SMALL: u64 = 100_000;
const LARGE: u64 = 1_000_000;
/// Subscriptions of one connection.
const TOGETHER: u64 = 100;
/// Distance between the owners of successive rows, so that caches don't help.
const STRIDE: u64 = 7_919;
/// Rows that are matched in one go.
const AT_ONCE: usize = 50;

pub(crate) fn measure(quick: bool) -> Result<Vec<Figure>, Failure> {
    let (changes, asked) = if quick { (20_000, 40) } else { (200_000, 400) };
    let naive = naive(asked)?;
    let small = indexed(SMALL, changes)?;
    let large = indexed(LARGE, changes)?;
    let told = |cost: &Cost| format!("{:.1} us with encoding, log and delivery", cost.told);
    Ok(vec![
        Figure {
            name: "match_100k_vs_naive",
            value: naive / small.found,
            aim: Aim::Least(1_000.0),
            how: format!(
                "100,000 subscriptions `owner = N`: {naive:.0} us a change asking each, {:.3} us by index ({})",
                small.found,
                told(&small)
            ),
        },
        Figure {
            name: "match_1m_vs_100k",
            value: large.found / small.found,
            aim: Aim::Most(3.0),
            how: format!("{:.3} us a change among a million ({})", large.found, told(&large)),
        },
    ])
}

/// Microseconds for each change, the best of three rounds.
struct Cost {
    /// Finding the groups.
    found: f64,
    /// Finding the groups and sending them the change.
    told: f64,
}

/// Microseconds for each change if every filter is matched.
fn naive(changes: u64) -> Result<f64, Failure> {
    let columns = [
        Column { name: "id", kind: Type::Int8 },
        Column { name: "owner", kind: Type::Int8 },
        Column { name: "body", kind: Type::Text },
    ];
    let filters: Result<Vec<Predicate>, _> =
        (0..SMALL).map(|owner| Filter::parse(&format!("owner=eq.{owner}"))?.bind(&columns)).collect();
    let filters = filters?;
    let begun = Instant::now();
    let mut matches = 0_u64;
    for change in 0..changes {
        let owner = i64::try_from(change * STRIDE % SMALL)?;
        let row = [Value::Int(1), Value::Int(owner), Value::Text("body".to_owned())];
        matches += filters.iter().filter(|filter| filter.holds(black_box(&row))).count() as u64;
    }
    let took = begun.elapsed();
    if matches != changes {
        return Err(format!("{matches} matches of {changes} changes").into());
    }
    Ok(took.as_secs_f64() * 1e6 / changes as f64)
}

fn indexed(subscriptions: u64, changes: u64) -> Result<Cost, Failure> {
    let engine = engine()?;
    let mut sessions = Vec::new();
    for first in (0..subscriptions).step_by(usize::try_from(TOGETHER)?) {
        let mut session = session(&engine, &format!("user{first}"));
        for owner in first..first + TOGETHER {
            let sub =
                format!(r#"{{"t":"tbl.sub","sid":"{owner}","table":"items","filter":"owner=eq.{owner}"}}"#);
            session.message(crate::world::NOW, &sub);
        }
        settle(&engine, &session)?;
        sessions.push(session);
    }
    let mut position = 0;
    let mut best = Cost { found: f64::MAX, told: f64::MAX };
    for _ in 0..3 {
        best.found = best.found.min(find(&engine, subscriptions, changes)?);
        best.told = best.told.min(round(&engine, &sessions, subscriptions, changes, &mut position)?);
    }
    Ok(best)
}

fn find(engine: &Engine, subscriptions: u64, changes: u64) -> Result<f64, Failure> {
    let tables = tables(engine)?;
    let (mut took, mut found) = (Duration::ZERO, 0);
    for first in (0..changes).step_by(AT_ONCE) {
        // In small batches, because a row that was just read from a database is in the cache too.
        let some: Vec<Change> = (first..changes.min(first + AT_ONCE as u64))
            .map(|change| {
                let new = row(change, change * STRIDE % subscriptions, "body");
                Change::Row { table: 0, old: None, new: Some(new) }
            })
            .collect();
        let begun = Instant::now();
        found += some.iter().map(|change| tables.reach(change)).sum::<usize>();
        took += begun.elapsed();
    }
    if found as u64 != changes {
        return Err(format!("{found} subscriptions of {changes} changes").into());
    }
    Ok(took.as_secs_f64() * 1e6 / changes as f64)
}

fn round(
    engine: &Engine,
    sessions: &[Session],
    subscriptions: u64,
    changes: u64,
    position: &mut u64,
) -> Result<f64, Failure> {
    let tables = tables(engine)?;
    let commits: Vec<_> = (0..changes)
        .map(|change| {
            *position += 1;
            commit(*position, None, row(*position, change * STRIDE % subscriptions, "body"))
        })
        .collect();
    let begun = Instant::now();
    for commit in commits {
        tables.publish(commit);
    }
    let took = begun.elapsed();
    let told = sessions.iter().flat_map(written).map(|text| text.matches("tbl.tx").count());
    let told: usize = told.sum();
    if told as u64 != changes {
        return Err(format!("{told} deliveries of {changes} changes").into());
    }
    Ok(took.as_secs_f64() * 1e6 / changes as f64)
}
