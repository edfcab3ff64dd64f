//! Evaluates filters twice: in the core, and in a real PostgreSQL with the same condition in SQL.
//!
//! Random literals come first. The core and PostgreSQL must agree on which are valid and on their
//! values, except where the core refuses a form on purpose (`literal::is_beyond_us`). From those
//! that both accept come random rows and random filters, and each filter must have the same result
//! for each row: true, false or unknown. Texts are compared with `COLLATE "C"`, which is the core's
//! rule.

mod literal;
mod rng;
mod tree;

use rng::Rng;
use std::collections::BTreeMap;
use std::fmt;
use thiserror::Error;
use tidewire_core::tables::filter::{self, Filter};
use tidewire_core::tables::{Type, Value};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};
use tree::{COLUMNS, Column, Maker, quoted};

/// Number of literals in a batch.
const LITERALS: usize = 24;
const ROWS: usize = 100;
const FILTERS: usize = 40;
/// A run ends after this many differences, which mostly have one cause.
const ENOUGH: usize = 5;

/// Reads a literal in PostgreSQL: returns its text form, or for a date or time its microseconds
/// since 2000; null if PostgreSQL refuses it.
const READS: &str = "
create function reads(literal text, kind text) returns text language plpgsql as $$
declare said text; at numeric; moment timestamp;
begin
    if kind = 'date' then
        execute format('select extract(epoch from %L::date) / 86400 - 10957', literal) into at;
        said := at::text;
    elsif kind like 'timestamp%' then
        -- In two parts: of times that are centuries away `extract` rounds.
        execute format('select %L::%s::timestamp', literal, kind) into moment;
        if isfinite(moment) then
            at := (extract(epoch from moment::date) / 86400 - 10957) * 86400000000 + extract(epoch from moment::time) * 1000000;
            said := at::text;
        else
            said := extract(epoch from moment)::text;
        end if;
    else
        execute format('select %L::%s::text', literal, kind) into said;
    end if;
    return said;
exception when others then
    return null;
end $$";

/// The result of a run.
#[derive(Debug, Default)]
pub struct Report {
    /// The seed of its randomness.
    pub seed: u64,
    /// How often a filter was evaluated for a row, by outcome: true, false and unknown.
    pub judged: [u64; 3],
    /// Number of literals that were given to both.
    pub literals: u64,
    /// Of these, how many both refused.
    pub refused: u64,
    /// Of these, how many only PostgreSQL accepted, in forms that the core refuses on purpose.
    pub beyond_us: u64,
    /// The differences, each with everything that is needed to reproduce it.
    pub differences: Vec<String>,
}

impl Report {
    /// How often a filter was evaluated for a row.
    pub fn comparisons(&self) -> u64 {
        self.judged.iter().sum()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [yes, no, unknown] = self.judged;
        writeln!(
            out,
            "{} comparisons of filters over rows ({yes} true, {no} false, {unknown} unknown) and {} literals ({} refused, {} forms of \
             PostgreSQL's own), {} differences, seed {}",
            self.comparisons(),
            self.literals,
            self.refused,
            self.beyond_us,
            self.differences.len(),
            self.seed
        )?;
        self.differences.iter().try_for_each(|one| writeln!(out, "\n{one}"))
    }
}

/// Why a run could not be finished.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DifferenceError {
    /// PostgreSQL refused a statement, or disconnected.
    #[error("PostgreSQL: {0}{source}", source = .0.as_db_error().map(|error| format!(": {error}")).unwrap_or_default())]
    Postgres(#[from] tokio_postgres::Error),
    /// A row or a column is missing in PostgreSQL's answer.
    #[error("PostgreSQL's answer lacks a row or a column of what was asked for")]
    Answer,
}

/// Compares at least this many times with the PostgreSQL at `address`, or until there are a few
/// differences.
///
/// # Errors
///
/// If PostgreSQL fails. Differences are no errors: they are in the [`Report`].
pub async fn run(address: &str, comparisons: u64, seed: u64) -> Result<Report, DifferenceError> {
    let (client, connection) = tokio_postgres::connect(address, NoTls).await?;
    let connection = tokio::spawn(connection);
    let columns: Vec<String> =
        COLUMNS.iter().map(|Column { name, sql, .. }| format!("{name} {sql}")).collect();
    client.batch_execute(READS).await?;
    client.batch_execute(&format!("create temp table sample (id int, {})", columns.join(", "))).await?;
    let mut batch = Batch { client, rng: Rng::new(seed), report: Report { seed, ..Report::default() } };
    while batch.report.comparisons() < comparisons && batch.report.differences.len() < ENOUGH {
        batch.run().await?;
    }
    drop(batch.client);
    connection.abort();
    Ok(batch.report)
}

struct Batch {
    client: Client,
    rng: Rng,
    report: Report,
}

impl Batch {
    async fn run(&mut self) -> Result<(), DifferenceError> {
        let mut for_rows = Vec::new();
        let mut for_filters = Vec::new();
        for column in &COLUMNS {
            let (theirs, both) = self.literals(column).await?;
            for_rows.push(theirs);
            for_filters.push(both);
        }
        let rows = self.rows(&for_rows).await?;
        self.filters(&for_filters, &rows).await
    }

    /// Literals of a type that PostgreSQL accepts, and those that the core accepts too.
    async fn literals(&mut self, column: &Column) -> Result<(Vec<String>, Vec<String>), DifferenceError> {
        if column.kind == Type::Other {
            return Ok((vec![String::from("[1]")], Vec::new()));
        }
        let literals: Vec<String> =
            (0..LITERALS).map(|_| literal::random(&mut self.rng, column.kind)).collect();
        let asked: Vec<String> =
            literals.iter().map(|text| format!("reads({}, '{}')", quoted(text), column.sql)).collect();
        let said = self.ask(&format!("select {}", asked.join(", "))).await?;
        let said = said.into_iter().next().ok_or(DifferenceError::Answer)?;
        let (mut theirs, mut both) = (Vec::new(), Vec::new());
        for (text, said) in literals.into_iter().zip(said) {
            self.report.literals += 1;
            let ours = Value::parse(&text, column.kind);
            let agreed = match (&ours, &said) {
                (None, None) => {
                    self.report.refused += 1;
                    true
                }
                (None, Some(_)) => {
                    self.report.beyond_us += 1;
                    literal::is_beyond_us(column.kind, &text)
                }
                (Some(_), None) => false,
                (Some(ours), Some(said)) => is_value(ours, said, column.kind),
            };
            if !agreed {
                let seed = self.report.seed;
                self.report.differences.push(format!(
                    "literal  {text:?} as {}\nours     {ours:?}\ntheirs   {said:?}\nseed     {seed}",
                    column.sql
                ));
            }
            if said.is_some() {
                if ours.is_some() {
                    both.push(text.clone());
                }
                theirs.push(text);
            }
        }
        Ok((theirs, both))
    }

    /// Puts new rows into the table, and returns their values as PostgreSQL writes them.
    async fn rows(&mut self, literals: &[Vec<String>]) -> Result<Vec<Vec<Option<String>>>, DifferenceError> {
        let rng = &mut self.rng;
        let rows: Vec<String> = (0..ROWS)
            .map(|id| {
                let values = COLUMNS.iter().zip(literals).map(|(column, literals)| {
                    if literals.is_empty() || rng.chance(12) {
                        String::from("null")
                    } else {
                        format!("{}::{}", quoted(rng.pick::<String>(literals)), column.sql)
                    }
                });
                format!("({id}, {})", values.collect::<Vec<String>>().join(", "))
            })
            .collect();
        self.client.batch_execute("truncate sample").await?;
        self.client.batch_execute(&format!("insert into sample values {}", rows.join(", "))).await?;
        let names: Vec<&str> = COLUMNS.iter().map(|column| column.name).collect();
        self.ask(&format!("select {} from sample order by id", names.join(", "))).await
    }

    async fn filters(
        &mut self,
        literals: &[Vec<String>],
        rows: &[Vec<Option<String>>],
    ) -> Result<(), DifferenceError> {
        let mut filters = Vec::new();
        while filters.len() < FILTERS {
            let parameters = Maker { rng: &mut self.rng, literals }.filter();
            let text = tree::text(&mut self.rng, &parameters);
            // The filter without shorthand is a little longer.
            if text.len() <= filter::MAX_BYTES - 200 {
                filters.push((text, tree::sql(&parameters)));
            }
        }
        let asked: Vec<String> = filters.iter().map(|(_, sql)| format!("({sql})")).collect();
        let said = self.ask(&format!("select {} from sample order by id", asked.join(", "))).await?;
        let values = self.values(rows);
        for (at, (text, sql)) in filters.iter().enumerate() {
            let columns: Vec<filter::Column<'_>> = COLUMNS
                .iter()
                .map(|column| filter::Column { name: column.name, kind: column.kind })
                .collect();
            let predicate = match Filter::parse(text).and_then(|filter| filter.bind(&columns)) {
                Ok(predicate) => predicate,
                Err(error) => {
                    let seed = self.report.seed;
                    self.report
                        .differences
                        .push(format!("filter   {text}\nours     {error}\nseed     {seed}"));
                    continue;
                }
            };
            for ((row, values), said) in rows.iter().zip(&values).zip(&said) {
                let theirs = match said.get(at).ok_or(DifferenceError::Answer)?.as_deref() {
                    Some("t") => Some(true),
                    Some(_) => Some(false),
                    None => None,
                };
                self.report.judged[match theirs {
                    Some(true) => 0,
                    Some(false) => 1,
                    None => 2,
                }] += 1;
                let ours = predicate.judge(values);
                if ours != theirs && self.report.differences.len() < ENOUGH {
                    let row = told(row, &predicate.columns());
                    let seed = self.report.seed;
                    self.report.differences.push(format!(
                        "filter   {text}\nsql      {sql}\nrow      {row:?}\nours     {ours:?}\ntheirs   {theirs:?}\nseed     {seed}"
                    ));
                }
            }
        }
        Ok(())
    }

    /// The rows as the core reads them, which must accept everything that PostgreSQL writes.
    fn values(&mut self, rows: &[Vec<Option<String>>]) -> Vec<Vec<Value>> {
        let report = &mut self.report;
        let mut read = |(column, text): (&Column, &Option<String>)| match text {
            None => Value::Null,
            Some(text) => Value::parse(text, column.kind).unwrap_or_else(|| {
                let seed = report.seed;
                report
                    .differences
                    .push(format!("value    {text:?} of {}: not read\nseed     {seed}", column.sql));
                Value::Null
            }),
        };
        rows.iter().map(|row| COLUMNS.iter().zip(row).map(&mut read).collect()).collect()
    }

    /// The rows of a query, as text.
    async fn ask(&self, query: &str) -> Result<Vec<Vec<Option<String>>>, DifferenceError> {
        let mut rows = Vec::new();
        for message in self.client.simple_query(query).await? {
            if let SimpleQueryMessage::Row(row) = message {
                rows.push((0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect());
            }
        }
        Ok(rows)
    }
}

/// Whether the core's value of a literal equals PostgreSQL's.
fn is_value(ours: &Value, said: &str, kind: Type) -> bool {
    if let Value::Moment(at) = ours {
        return match said {
            "Infinity" => *at == i64::MAX,
            "-Infinity" => *at == i64::MIN,
            number => {
                let whole = number.split('.').next().and_then(|whole| whole.parse().ok());
                let fraction = number.split_once('.').map_or("", |(_, fraction)| fraction);
                whole == Some(*at) && fraction.bytes().all(|digit| digit == b'0')
            }
        };
    }
    Value::parse(said, kind).is_some_and(|said| ours.compare(&said) == Some(std::cmp::Ordering::Equal))
}

/// The values of a row that a filter uses.
fn told<'a>(row: &'a [Option<String>], columns: &[usize]) -> BTreeMap<&'static str, Option<&'a str>> {
    columns.iter().filter_map(|at| Some((COLUMNS.get(*at)?.name, row.get(*at)?.as_deref()))).collect()
}
