//! `test`: all suites of the repository, one table, and a last line that machines read.
//!
//! Everything that the chosen suites need is installed and built first, once. Then they run in two
//! lanes at the same time, one for suites that compute and one for suites that mostly wait, so that
//! they rarely wait for the processor or for cargo's lock.

mod lanes;
mod needs;
mod outcome;
mod report;
mod suites;

use crate::progress::{self, seconds};
use crate::unknown;
use needs::Ready;
use outcome::{Counts, Outcome, Trouble};
use suites::{Depth, SUITES, Suite};

/// Runs the command.
pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    let mut only: Vec<&str> = Vec::new();
    let mut depths: &[Depth] = &[Depth::Quick];
    let mut allow_missing = false;
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--allow-missing" => allow_missing = true,
            "--deep" => depths = &[Depth::Deep],
            "--all" => depths = &[Depth::Quick, Depth::Deep],
            "--list" => {
                for suite in SUITES {
                    let deep = if suite.depth == Depth::Deep { "  (--deep)" } else { "" };
                    println!("{:<12}{}{deep}", suite.name, suite.about);
                }
                return Ok(());
            }
            "--only" => only.push(rest.next().ok_or("--only wants a suite; --list names them")?),
            other => return Err(unknown(other)),
        }
    }
    if let Some(name) = only.iter().find(|name| !SUITES.iter().any(|suite| suite.name == **name)) {
        return Err(format!("there is no suite `{name}`; `cargo xtask test --list` names them"));
    }
    let chosen = SUITES.iter().filter(|suite| match &only[..] {
        [] => depths.contains(&suite.depth),
        only => only.contains(&suite.name),
    });
    let chosen: Vec<&Suite> = chosen.collect();
    let ready = Ready::make(chosen.iter().map(|suite| suite.needs));
    let mut table = Table::default();
    for outcome in lanes::run(&chosen, &ready) {
        table.add(&outcome, allow_missing);
    }
    table.finish(allow_missing)
}

#[derive(Default)]
struct Table {
    lines: Vec<String>,
    total: Counts,
    skipped: u64,
}

impl Table {
    fn add(&mut self, outcome: &Outcome, allow_missing: bool) {
        let mut note = String::new();
        let counts = match &outcome.result {
            Ok(ran) => ran.counts,
            Err(Trouble::Missing(what)) if allow_missing => {
                self.skipped += 1;
                note = format!("  skipped: {what}");
                Counts::default()
            }
            Err(Trouble::Missing(what)) => {
                note = format!("  {what}");
                Counts { passed: 0, failed: 1 }
            }
            Err(Trouble::Failed(_)) => {
                note = String::from("  see above");
                Counts { passed: 0, failed: 1 }
            }
        };
        self.total.passed += counts.passed;
        self.total.failed += counts.failed;
        let Counts { passed, failed } = counts;
        let line = format!("{:<12}{passed:>8}{failed:>8}{:>14}{note}", outcome.name, seconds(outcome.took));
        self.lines.push(if failed > 0 { progress::bad(&line) } else { line });
    }

    fn finish(self, allow_missing: bool) -> Result<(), String> {
        println!("\n{:<12}{:>8}{:>8}{:>14}", "suite", "passed", "failed", "time");
        for line in &self.lines {
            println!("{line}");
        }
        let Counts { passed, failed } = self.total;
        let skipped = if allow_missing { format!(", {} skipped", self.skipped) } else { String::new() };
        println!("\n{passed} passed, {failed} failed{skipped}");
        // Nothing may follow the line above, so only the exit status reports the result.
        if failed > 0 || passed == 0 { std::process::exit(1) } else { Ok(()) }
    }
}
