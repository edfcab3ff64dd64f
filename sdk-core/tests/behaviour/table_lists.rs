//! What is shown of a table, as its changes make it: any order, any limit, whatever happens.
//! Whenever the client waits, the rig compares the lists that the changes made with the rows that
//! the client has.

use crate::rig::{Rig, WALL};
use serde_json::{Value, json};
use std::cmp::Ordering;
use std::sync::Arc;
use tidewire_core::Change;
use tidewire_core::tables::{TableQuery, TableStatus};

/// xorshift64 (Marsaglia, "Xorshift RNGs", 2003): any walk will do, if it is the same every time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }

    fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

/// Numbers as databases write them, in their order; two in a row may be equal.
const NUMBERS: [&str; 12] =
    ["-Infinity", "-1e300", "-12.5", "-0.1", "0", "-0", "1e-7", "0.1", "2", "10", "1e21", "NaN"];
const NAMES: [&str; 6] = ["", "Z", "a", "aa", "b\"\\", "ä"];

/// Where a cell stands in the order; none of a null.
fn rank(row: &Value, column: &str) -> Option<usize> {
    let cell = &row[column];
    let text = cell.as_str()?;
    if column == "name" {
        return NAMES.iter().position(|name| *name == text);
    }
    let at = NUMBERS.iter().position(|number| *number == text)?;
    // The two zeros are equal.
    Some(if text == "-0" { at - 1 } else { at })
}

fn compare(one: &Value, another: &Value, order: &str) -> Ordering {
    for term in order.split(',').filter(|term| !term.is_empty()) {
        let mut parts = term.split('.');
        let column = parts.next().unwrap_or("");
        let (descending, nulls) = match (parts.next(), parts.next()) {
            (Some("desc"), nulls) => (true, nulls),
            (Some(nulls @ ("nullsfirst" | "nullslast")), None) => (false, Some(nulls)),
            (_, nulls) => (false, nulls),
        };
        let nulls_first = nulls.map_or(descending, |nulls| nulls == "nullsfirst");
        let side = |first: bool| if first { Ordering::Less } else { Ordering::Greater };
        let order = match (rank(one, column), rank(another, column)) {
            (None, None) => Ordering::Equal,
            (None, _) => side(nulls_first),
            (_, None) => side(!nulls_first),
            (one, another) if descending => another.cmp(&one),
            (one, another) => one.cmp(&another),
        };
        if order != Ordering::Equal {
            return order;
        }
    }
    one["id"].as_u64().cmp(&another["id"].as_u64())
}

const VIEWS: [(&str, Option<usize>); 8] = [
    ("", None),
    ("name", None),
    ("size.desc", Some(3)),
    ("size", Some(1)),
    ("size.nullsfirst,name.desc.nullslast", Some(5)),
    ("name.desc,size", Some(0)),
    ("size.desc.nullsfirst", Some(200)),
    ("name.asc.nullslast", Some(8)),
];

fn cells(dice: &mut Dice, id: usize) -> Value {
    let size = if dice.below(5) == 0 { Value::Null } else { (*dice.pick(&NUMBERS)).into() };
    let name = if dice.below(5) == 0 { Value::Null } else { (*dice.pick(&NAMES)).into() };
    json!([id, size, name])
}

#[test]
fn every_list_is_the_rows_in_its_order_up_to_its_limit() {
    for seed in 1..=8 {
        let mut dice = Dice(0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(seed));
        let mut rig = Rig::new();
        rig.connect();
        rig.welcome();
        rig.sent.clear();
        let open = |(order, limit): &(&str, Option<usize>)| {
            let (table, order) = ("rules".to_owned(), (*order).to_owned());
            let query = TableQuery { table, order, limit: *limit, ..TableQuery::default() };
            rig.client.open_table(rig.now, &query).expect("a view")
        };
        let views: Vec<u32> = VIEWS.iter().map(open).collect();
        rig.drain();
        let asked = rig.sent.pop_back().expect("one question for all");
        let mut rows: Vec<Value> = Vec::new();
        let mut ids = 0..;
        let mut first = Vec::new();
        // One of many rows, so that they are in several chunks, and fewer steps.
        let (start, steps) = if seed == 1 { (1_500, 12_usize) } else { (dice.below(20), 60) };
        for _ in 0..start {
            first.push(cells(&mut dice, ids.next().unwrap_or(0)));
        }
        let columns = json!([{"name":"id","type":"integer"},{"name":"size","type":"double precision"},{"name":"name","type":"text"}]);
        rig.receive(json!({"t":"tbl.ok","sid":asked["sid"],"columns":columns,"key":[0],"mode":"snapshot","pos":0,"cursor":"c","rows":first,"more":false}));
        rig.receive(json!({"t":"tbl.live","sid":asked["sid"],"feed":"f","prev":0,"pos":0}));
        rows.extend(first);
        for pos in 1..steps {
            let mut changes = Vec::new();
            // Now and then so many that the rows are sorted anew.
            for _ in 0..if dice.below(12) == 0 { 80 } else { 1 + dice.below(4) } {
                let at = dice.below(rows.len().max(1));
                let row =
                    cells(&mut dice, rows.get(at).map_or(0, |row| row[0].as_u64().unwrap_or(0)) as usize);
                match dice.below(if rows.len() > 40 { 5 } else { 3 }) {
                    0 | 1 if !rows.is_empty() => {
                        changes.push(json!({"op":"update","row":row}));
                        rows[at] = row;
                    }
                    2.. if !rows.is_empty() => {
                        changes.push(json!({"op":"delete","key":[rows.remove(at)[0]]}))
                    }
                    _ => {}
                }
                let new = cells(&mut dice, ids.next().unwrap_or(0));
                changes.push(json!({"op":"insert","row":new}));
                rows.push(new);
            }
            // Mostly several transactions at once.
            let mut txs: Vec<Value> = Vec::new();
            while !changes.is_empty() {
                let rest = changes.split_off((1 + dice.below(90)).min(changes.len()));
                txs.push(json!(["x", WALL, std::mem::replace(&mut changes, rest)]));
            }
            rig.receive(json!({"t":"tbl.tx","feed":"f","prev":pos - 1,"pos":pos,"txs":txs}));
            for ((order, limit), view) in VIEWS.iter().zip(&views) {
                let mut wanted: Vec<Value> =
                    rows.iter().map(|row| json!({"id":row[0],"size":row[1],"name":row[2]})).collect();
                wanted.sort_by(|one, another| compare(one, another, order));
                let beyond = wanted.split_off(limit.unwrap_or(usize::MAX).min(wanted.len()));
                let read = |texts: &[Arc<str>]| -> Vec<Value> {
                    texts.iter().map(|text| serde_json::from_str(text).expect("JSON")).collect()
                };
                let has = rig.client.table_rows(*view);
                assert_eq!(read(&rig.lists[view]), wanted, "{order} {limit:?} in seed {seed} at {pos}");
                assert_eq!(read(&has.beyond), beyond, "{order} {limit:?} in seed {seed} at {pos}");
                assert_eq!(rig.client.table_status(*view), Some(TableStatus::Live));
            }
        }
    }
}

#[test]
fn a_change_beyond_a_list_is_refused() {
    let mut rows = vec!["one"];
    let beyond = [
        Change::Insert { index: 2, row: "x" },
        Change::Update { index: 1, row: "x" },
        Change::Append { index: 1, text: "x".into() },
        Change::Move { from: 0, to: 1 },
        Change::Move { from: 1, to: 0 },
        Change::Remove { index: 1 },
    ];
    for change in beyond {
        let shown = format!("{change:?}");
        assert!(!change.apply(&mut rows, |_, _| ()), "{shown}");
        assert_eq!(rows, ["one"], "{shown}");
    }
    assert!(Change::Reset(vec!["two", "three"]).apply(&mut rows, |_, _| ()));
    assert!(Change::Move { from: 1, to: 0 }.apply(&mut rows, |_, _| ()));
    assert_eq!(rows, ["three", "two"]);
}
