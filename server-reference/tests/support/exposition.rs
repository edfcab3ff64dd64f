//! A strict reader of Prometheus' text format, version 0.0.4.

use std::collections::{BTreeMap, BTreeSet};

/// The samples by name and labels as they are written.
pub type Samples = BTreeMap<String, f64>;

fn is_name(name: &str) -> bool {
    let first = |c: char| c.is_ascii_alphabetic() || c == '_';
    name.starts_with(first) && name.chars().all(|c| first(c) || c.is_ascii_digit())
}

/// The labels in braces.
fn labels(text: &str) -> Vec<(String, String)> {
    let (mut found, mut rest) = (Vec::new(), text);
    while !rest.is_empty() {
        let (label, value) = rest.split_once("=\"").expect("a label has a value in quotes");
        assert!(is_name(label), "{label}");
        let (mut read, mut end, mut escaped) = (String::new(), None, false);
        for (at, c) in value.char_indices() {
            match (escaped, c) {
                (true, '\\' | '"') => read.push(c),
                (true, 'n') => read.push('\n'),
                (true, other) => panic!("\\{other} is no escape"),
                (false, '\\') => {}
                (false, '"') => {
                    end = Some(at);
                    break;
                }
                (false, c) => read.push(c),
            }
            escaped = !escaped && c == '\\';
        }
        let after = &value[end.expect("a value ends with a quote") + 1..];
        found.push((label.to_owned(), read));
        rest = match after.strip_prefix(',') {
            Some(more) => more,
            None => {
                assert!(after.is_empty(), "{after}");
                after
            }
        };
    }
    found
}

fn value(text: &str) -> f64 {
    match text {
        "+Inf" => f64::INFINITY,
        text => text.parse().unwrap_or_else(|_| panic!("{text} is no number")),
    }
}

/// A family that is being read.
struct Family {
    name: String,
    kind: String,
    /// The samples of a histogram: the bounds with their numbers, and the count.
    buckets: Vec<(f64, f64)>,
    count: Option<f64>,
    sum: bool,
}

impl Family {
    /// Checks what a sample of this name may be.
    fn take(&mut self, name: &str, labels: &[(String, String)], number: f64) {
        let suffix = name.strip_prefix(self.name.as_str()).unwrap_or_else(|| panic!("{name} has no family"));
        match (self.kind.as_str(), suffix) {
            ("counter", "") => {
                assert!(name.ends_with("_total"), "{name}");
                assert!(number >= 0.0, "{name}");
            }
            ("gauge", "") => {}
            ("histogram", "_bucket") => {
                let bound = labels.iter().find(|(label, _)| label == "le").expect("a bucket has a bound");
                self.buckets.push((value(&bound.1), number));
            }
            ("histogram", "_sum") => self.sum = true,
            ("histogram", "_count") => self.count = Some(number),
            _ => panic!("{name} is no sample of the {} {}", self.kind, self.name),
        }
    }

    fn end(&self) {
        if self.kind == "histogram" {
            let rising = |pair: &[(f64, f64)]| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1;
            assert!(self.buckets.windows(2).all(rising), "{}: {:?}", self.name, self.buckets);
            let (bound, all) = self.buckets.last().expect("a histogram has buckets");
            assert!(bound.is_infinite() && Some(*all) == self.count && self.sum, "{}", self.name);
        }
    }
}

/// Reads a whole exposition; panics where it breaks the format.
pub fn read(text: &str) -> Samples {
    assert!(text.ends_with('\n'), "the last line has an end");
    let (mut samples, mut names) = (Samples::new(), BTreeSet::new());
    let mut family: Option<Family> = None;
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, text) = help.split_once(' ').expect("a text");
            assert!(is_name(name) && !text.is_empty(), "{line}");
            assert!(names.insert(name.to_owned()), "{name} comes twice");
            let kind = lines.next().and_then(|line| line.strip_prefix(&format!("# TYPE {name} ")));
            let kind = kind.expect("the type follows the help").to_owned();
            assert!(["counter", "gauge", "histogram"].contains(&kind.as_str()), "{kind}");
            if let Some(before) = family.take() {
                before.end();
            }
            let (buckets, count, sum) = (Vec::new(), None, false);
            family = Some(Family { name: name.to_owned(), kind, buckets, count, sum });
            continue;
        }
        let (id, number) = line.rsplit_once(' ').expect("a sample has a value");
        let (name, inside) = match id.split_once('{') {
            Some((name, rest)) => (name, rest.strip_suffix('}').expect("a brace ends the labels")),
            None => (id, ""),
        };
        let (labels, number) = (labels(inside), value(number));
        let distinct: BTreeSet<&String> = labels.iter().map(|(label, _)| label).collect();
        assert_eq!(distinct.len(), labels.len(), "{line}");
        family.as_mut().expect("a family").take(name, &labels, number);
        assert!(samples.insert(id.to_owned(), number).is_none(), "{id} comes twice");
    }
    if let Some(last) = family {
        last.end();
    }
    samples
}
