//! Reading what test harnesses print: libtest's and Node's.

use super::outcome::{Counts, Ran};
use crate::process::Finished;

/// The result of a suite: its figures and failures. A suite that failed without a count, or ran no
/// test, has failed too.
pub(super) fn judge(name: &str, finished: &Finished, mut counts: Counts) -> Ran {
    let mut lines: Vec<String> =
        finished.text.lines().filter_map(figures).map(|line| format!("  {line}")).collect();
    if !finished.success || counts.failed > 0 || counts.passed == 0 {
        let failures = failures(&finished.text);
        lines.push(if failures.is_empty() { finished.tail() } else { failures });
        lines.push(format!("the whole output is in test-output/logs/{name}.log"));
        counts.failed = counts.failed.max(1);
    }
    Ran { counts, text: lines.join("\n") }
}

/// The sum of libtest's lines `test result: …`.
pub(super) fn libtest_counts(text: &str) -> Counts {
    let mut counts = Counts::default();
    for line in text.lines().filter(|line| line.starts_with("test result:")) {
        counts.passed += number_before(line, " passed");
        counts.failed += number_before(line, " failed");
    }
    counts
}

fn number_before(line: &str, word: &str) -> u64 {
    let before = line.split(word).next().unwrap_or_default();
    before.rsplit(' ').next().and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

/// The last lines `# pass …` and `# fail …` of Node's harness.
pub(super) fn node_counts(text: &str) -> Counts {
    let number = |word: &str| {
        let line = text.lines().filter_map(|line| line.strip_prefix(word)).next_back();
        line.and_then(|rest| rest.trim().parse().ok()).unwrap_or(0)
    };
    Counts { passed: number("# pass "), failed: number("# fail ") + number("# cancelled ") }
}

/// The figure in a line, if a test printed one to be shown.
fn figures(line: &str) -> Option<&str> {
    line.find("figures: ").map(|at| &line[at + "figures: ".len()..])
}

/// The harness's report of the tests that failed: Node's `not ok` with its details, or libtest's
/// `failures:`.
fn failures(text: &str) -> String {
    let mut told = Vec::new();
    let mut until: Option<&str> = None;
    for line in text.lines() {
        match until {
            None if line.trim_start().starts_with("not ok ") => until = Some("..."),
            None if line == "failures:" => until = Some("test result:"),
            None => continue,
            Some(_) => {}
        }
        told.push(line);
        if until.is_some_and(|end| line.trim_start().starts_with(end)) {
            until = None;
        }
    }
    told.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const FAILED: &str =
        "test result: FAILED. 12 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.10s";

    #[test]
    fn the_counts_of_libtests_lines_are_summed_up() {
        let text = format!("{FAILED}\ntest a ... ok\n{FAILED}\n");
        assert_eq!(libtest_counts(&text), Counts { passed: 24, failed: 6 });
    }

    #[test]
    fn the_last_counts_of_node_hold_and_a_cancelled_test_has_failed() {
        let text = "# pass 1\n# pass 12\n# fail 1\n# cancelled 2\n";
        assert_eq!(node_counts(text), Counts { passed: 12, failed: 3 });
    }

    #[test]
    fn a_suite_that_ends_badly_or_without_a_test_has_failed() {
        let finished =
            |success| Finished { text: String::from("no luck"), success, took: Duration::from_secs(1) };
        for (finished, passed) in [(finished(false), 3), (finished(true), 0)] {
            let ran = judge("native", &finished, Counts { passed, failed: 0 });
            assert_eq!(ran.counts, Counts { passed, failed: 1 });
            assert!(ran.text.starts_with("no luck\n"), "{}", ran.text);
        }
        assert_eq!(judge("native", &finished(true), Counts { passed: 1, failed: 0 }).text, "");
    }

    #[test]
    fn only_what_failed_is_told() {
        let tap = "ok 1 - a\nnot ok 2 - b\n  ---\n  error: 'c'\n  ...\nok 3 - d";
        assert_eq!(failures(tap), "not ok 2 - b\n  ---\n  error: 'c'\n  ...");
        let libtest =
            "test a ... FAILED\n\nfailures:\n\n---- a stdout ----\nwhy\n\ntest result: FAILED. 0 passed\n";
        assert!(failures(libtest).contains("why") && !failures(libtest).contains("test a"));
    }

    #[test]
    fn figures_are_found_behind_a_tests_name() {
        assert_eq!(figures("test a ... figures: 200 kills"), Some("200 kills"));
        assert_eq!(figures("figures: lost 0"), Some("lost 0"));
        assert_eq!(figures("# figures: lost 0"), Some("lost 0"));
        assert_eq!(figures("test a ... ok"), None);
    }
}
