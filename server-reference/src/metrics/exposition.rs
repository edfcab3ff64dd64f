//! The text format of Prometheus, version 0.0.4.
//!
//! It is written here, because the numbers are counted in the core and need no registry of a
//! library: `prometheus-client` writes OpenMetrics, and `metrics-exporter-prometheus` counts for the
//! whole process, where several servers may run.

use std::fmt::{Display, Write};
use tidewire_server_core::metrics::Histogram;

/// The `Content-Type` of [`Exposition::text`].
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Microseconds in a second.
const MICROS: u64 = 1_000_000;

/// Metrics as text, family by family.
#[derive(Default)]
pub(crate) struct Exposition {
    text: String,
}

/// The family whose samples are being written.
pub(crate) struct Family<'a> {
    text: &'a mut String,
    name: &'static str,
}

/// What the values of a histogram are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// As they are.
    Number,
    /// Microseconds, which are written as seconds.
    Micros,
}

impl Exposition {
    /// The whole text.
    pub(crate) fn text(self) -> String {
        self.text
    }

    /// A family of counters; `name` ends with `_total`.
    pub(crate) fn counters(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, "counter", help)
    }

    /// A family of numbers that rise and fall.
    pub(crate) fn gauges(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, "gauge", help)
    }

    /// A single counter; `name` ends with `_total`.
    pub(crate) fn counter(&mut self, name: &'static str, help: &str, value: impl Display) {
        self.counters(name, help).sample(&[], value);
    }

    /// A single number that rises and falls.
    pub(crate) fn gauge(&mut self, name: &'static str, help: &str, value: impl Display) {
        self.gauges(name, help).sample(&[], value);
    }

    /// A histogram.
    pub(crate) fn histogram(&mut self, name: &'static str, help: &str, unit: Unit, histogram: &Histogram) {
        let text = self.family(name, "histogram", help).text;
        let mut all = 0;
        for (bound, up_to) in histogram.cumulated() {
            let bound = bound.map_or_else(|| "+Inf".to_owned(), |bound| unit.written(bound));
            // Writing to a string can't fail.
            let _ = writeln!(text, "{name}_bucket{{le=\"{bound}\"}} {up_to}");
            all = up_to;
        }
        let _ = writeln!(text, "{name}_sum {}\n{name}_count {all}", unit.written(histogram.sum()));
    }

    fn family(&mut self, name: &'static str, kind: &str, help: &str) -> Family<'_> {
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        Family { text: &mut self.text, name }
    }
}

impl Family<'_> {
    /// Writes a sample with these labels.
    pub(crate) fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) -> &mut Self {
        self.text.push_str(self.name);
        for (at, (label, text)) in labels.iter().enumerate() {
            let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let before = if at == 0 { '{' } else { ',' };
            let _ = write!(self.text, "{before}{label}=\"{text}\"");
        }
        let end = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.text, "{end} {value}");
        self
    }
}

impl Unit {
    fn written(self, value: u64) -> String {
        match self {
            Unit::Number => value.to_string(),
            Unit::Micros => {
                let text = format!("{}.{:06}", value / MICROS, value % MICROS);
                text.trim_end_matches('0').trim_end_matches('.').to_owned()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_written_with_help_type_and_escaped_labels() {
        let mut all = Exposition::default();
        all.counters("a_total", "What\nit \\ is.").sample(&[("x", "\"q\"\\\n"), ("y", "{id}")], 7);
        all.gauge("b", "It.", 0.5);
        let text = "# HELP a_total What\\nit \\\\ is.\n# TYPE a_total counter\n\
                    a_total{x=\"\\\"q\\\"\\\\\\n\",y=\"{id}\"} 7\n\
                    # HELP b It.\n# TYPE b gauge\nb 0.5\n";
        assert_eq!(all.text(), text);
    }

    #[test]
    fn times_are_written_in_seconds() {
        for (micros, text) in
            [(0, "0"), (1, "0.000001"), (100_000, "0.1"), (1_000_000, "1"), (2_500_000, "2.5")]
        {
            assert_eq!(Unit::Micros.written(micros), text);
        }
        let histogram = Histogram::new(&[1_000, 10_000]);
        histogram.observe(500);
        histogram.observe(20_000);
        let mut all = Exposition::default();
        all.histogram("t_seconds", "Time.", Unit::Micros, &histogram);
        let text = "# HELP t_seconds Time.\n# TYPE t_seconds histogram\n\
                    t_seconds_bucket{le=\"0.001\"} 1\nt_seconds_bucket{le=\"0.01\"} 1\n\
                    t_seconds_bucket{le=\"+Inf\"} 2\nt_seconds_sum 0.0205\nt_seconds_count 2\n";
        assert_eq!(all.text(), text);
    }
}
