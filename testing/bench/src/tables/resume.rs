//! Measures how many bytes a client is sent that resumes, against the bytes that it missed.

use crate::Failure;
use crate::figure::{Aim, Figure};
use crate::world::{NOW, commit, engine, row, session, settle, tables, written};
use serde_json::Value;

/// Size of a row's text, in bytes.
const BODY: usize = 300;
/// One change in this many is of a row that the client sees.
const OTHERS: u64 = 50;

pub(crate) fn measure(quick: bool) -> Result<Vec<Figure>, Failure> {
    let missed: u64 = if quick { 200 } else { 2_000 };
    let engine = engine()?;
    let mut first = session(&engine, "reader");
    let sub = |cursor: Option<&str>| {
        let mut sub = serde_json::json!({"t":"tbl.sub","sid":"t1","table":"items","filter":"owner=eq.3"});
        if let Some(cursor) = cursor {
            sub["cursor"] = cursor.into();
        }
        sub.to_string()
    };
    first.message(NOW, &sub(None));
    let texts = settle(&engine, &first)?;
    let cursor = frames(&texts)?
        .iter()
        .rev()
        .find_map(|frame| frame["cursor"].as_str().map(str::to_owned))
        .ok_or("no cursor came")?;
    drop(first);
    let (mut rows, tables) = (0, tables(&engine)?);
    for position in 1..=missed * OTHERS {
        let owner = if position % OTHERS == 0 { 3 } else { 100 + position };
        let body = format!("{position:0BODY$}");
        if owner == 3 {
            // The row as it is sent.
            rows += serde_json::json!([position.to_string(), "3", body]).to_string().len();
        }
        tables.publish(commit(position, None, row(position, owner, &body)));
    }
    let mut again = session(&engine, "reader");
    written(&again);
    again.message(NOW, &sub(Some(&cursor)));
    let texts = settle(&engine, &again)?;
    let frames = frames(&texts)?;
    let txs = |frame: &Value| frame["txs"].as_array().map_or(0, Vec::len) as u64;
    let told: u64 = frames.iter().map(txs).sum();
    let resumed = frames.iter().any(|frame| frame["t"] == "tbl.ok" && frame["mode"] == "resumed");
    if !resumed || told != missed {
        return Err(format!("resumed: {resumed}, {told} of {missed} transactions").into());
    }
    let sent: usize = texts.iter().map(String::len).sum();
    Ok(vec![Figure {
        name: "resume_bytes",
        value: sent as f64 / rows as f64,
        aim: Aim::Most(1.2),
        how: format!(
            "{sent} bytes of frames for {missed} inserts of rows of {rows} bytes, among {OTHERS} times as many"
        ),
    }])
}

fn frames(texts: &[String]) -> Result<Vec<Value>, Failure> {
    let mut frames = Vec::new();
    for text in texts {
        match serde_json::from_str(text)? {
            Value::Array(several) => frames.extend(several),
            one => frames.push(one),
        }
    }
    Ok(frames)
}
