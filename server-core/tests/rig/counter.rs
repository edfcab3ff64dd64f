//! A client that follows a row that each commit counts up by one: so a commit that is missing, or
//! comes twice, shows.

use serde_json::Value;

/// What a client has of a subscription: the position up to which it has counted.
#[derive(Default)]
pub(crate) struct Counter {
    pub(crate) at: Option<u64>,
    pub(crate) cursor: Option<String>,
    pub(crate) feed: Option<String>,
    pub(crate) last: u64,
    pub(crate) live: usize,
    /// It was ended, and has to begin again.
    pub(crate) over: bool,
}

fn number(value: &Value) -> u64 {
    value.as_str().unwrap().parse().unwrap()
}

impl Counter {
    pub(crate) fn take(&mut self, sid: &str, frame: &Value) {
        let feed = self.feed.as_deref();
        if frame["sid"] != sid && (feed.is_none() || frame["feed"].as_str() != feed) {
            return;
        }
        let t = frame["t"].as_str().unwrap();
        if let Some(prev) = frame.get("prev") {
            assert_eq!(prev, self.last, "a hole before {frame}");
            let pos = frame["pos"].as_u64().unwrap();
            assert!(pos > self.last, "{frame} does not ascend from {}", self.last);
            self.last = pos;
        }
        match t {
            "tbl.ok" => {
                (self.last, self.feed) = (0, None);
                if frame["mode"] == "snapshot" {
                    self.at = Some(number(&frame["rows"][0][1]));
                }
            }
            "tbl.tx" => {
                for tx in frame["txs"].as_array().unwrap() {
                    let row = &tx[2][0]["row"];
                    let n = number(&row[1]);
                    assert_eq!(self.at, Some(n - 1), "{frame}");
                    self.at = Some(n);
                }
            }
            "tbl.live" => {
                self.live += 1;
                self.feed = Some(frame["feed"].as_str().unwrap().to_owned());
            }
            "tbl.reset" | "tbl.err" => {
                *self = Counter { live: self.live, over: true, ..Counter::default() };
                return;
            }
            _ => {}
        }
        if let Some(cursor) = frame["cursor"].as_str() {
            self.cursor = Some(cursor.to_owned());
        }
    }
}
