//! Which of many subscriptions a change is about: the server's index against asking each.

use crate::Failure;
use crate::figure::{Aim, Figure};
use crate::world::{commit, engine, row, session, settle, tables, written};
use std::hint::black_box;
use std::time::Instant;
use tidewire_core::tables::filter::{Column, Filter, Predicate};
use tidewire_core::tables::{Type, Value};
use tidewire_server_core::{Engine, Session};

const SMALL: u64 = 100_000;
const LARGE: u64 = 1_000_000;
/// So many subscriptions share a connection.
const TOGETHER: u64 = 100;
/// Rows are of owners that far apart, so that no cache knows the next one.
const STRIDE: u64 = 7_919;

pub(crate) fn measure(quick: bool) -> Result<Vec<Figure>, Failure> {
    let (changes, asked) = if quick { (20_000, 40) } else { (200_000, 400) };
    let naive = naive(asked)?;
    let small = indexed(SMALL, changes)?;
    let large = indexed(LARGE, changes)?;
    Ok(vec![
        Figure {
            name: "match_100k_vs_naive",
            value: naive / small,
            aim: Aim::Least(1_000.0),
            how: format!(
                "100,000 subscriptions with `owner = N`: {naive:.0} us a change asking each, {small:.3} us by index"
            ),
        },
        Figure {
            name: "match_1m_vs_100k",
            value: large / small,
            aim: Aim::Most(3.0),
            how: format!("{large:.3} us a change among a million, delivery to the one that matches included"),
        },
    ])
}

/// Microseconds a change when each of the filters is asked.
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

/// Microseconds a change with so many subscriptions, the best of three rounds.
fn indexed(subscriptions: u64, changes: u64) -> Result<f64, Failure> {
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
    let mut best = f64::MAX;
    for _ in 0..3 {
        best = best.min(round(&engine, &sessions, subscriptions, changes, &mut position)?);
    }
    Ok(best)
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
