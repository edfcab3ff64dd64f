//! Runs two lanes of suites at the same time, and prints the output of each suite in one piece.

use super::needs::Ready;
use super::outcome::{Outcome, Ran, Trouble};
use super::suites::{Lane, Suite};
use crate::progress::{self, seconds};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

/// Runs the suites: those of a lane one after another, the two lanes at the same time, and then
/// those that need the machine for themselves. The outcomes are in the order of the suites.
pub(super) fn run(suites: &[&'static Suite], ready: &Ready) -> Vec<Outcome> {
    run_with(suites, |suite| {
        let started = Instant::now();
        let result = ready.has_all_of(suite.needs).and_then(|()| (suite.run)());
        let outcome = Outcome { name: suite.name, result, took: started.elapsed() };
        progress::say(&told(&outcome));
        outcome
    })
}

fn run_with<T: Send>(suites: &[&'static Suite], one: impl Fn(&'static Suite) -> T + Sync) -> Vec<T> {
    let done = Mutex::new(Vec::new());
    let drive = |lane| {
        for (index, suite) in suites.iter().enumerate().filter(|(_, suite)| suite.lane == lane) {
            let outcome = one(suite);
            done.lock().unwrap_or_else(PoisonError::into_inner).push((index, outcome));
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| drive(Lane::Waiting));
        drive(Lane::Computing);
    });
    drive(Lane::Alone);
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, outcome)| outcome).collect()
}

/// The output of a suite, under its name.
fn told(outcome: &Outcome) -> String {
    let name = outcome.name;
    let took = seconds(outcome.took);
    let (text, last) = match &outcome.result {
        Ok(Ran { counts, text }) if counts.failed == 0 => {
            (text.as_str(), format!("{} {name} {} passed ({took})", progress::good("ok"), counts.passed))
        }
        Ok(Ran { counts, text }) => (
            text.as_str(),
            progress::bad(&format!("{name}: {} passed, {} failed ({took})", counts.passed, counts.failed)),
        ),
        Err(Trouble::Missing(what)) => ("", format!("{name}: not run, {what}")),
        Err(Trouble::Failed(why)) => ("", progress::bad(&format!("{name}: {why}"))),
    };
    let parts = [&format!("\n== {name}"), text, &last];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test::suites::SUITES;
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    #[test]
    fn lanes_run_beside_each_other_and_what_wants_the_machine_alone_gets_it() {
        let suites: Vec<&Suite> = SUITES.iter().collect();
        let first = |lane| SUITES.iter().find(|suite| suite.lane == lane).expect("one").name;
        let both = [first(Lane::Computing), first(Lane::Waiting)];
        let meet = Barrier::new(2);
        let running = AtomicUsize::new(0);
        let outcomes = run_with(&suites, |suite| {
            let others = running.fetch_add(1, Ordering::SeqCst);
            if both.contains(&suite.name) {
                // Neither continues before the other one runs too.
                meet.wait();
            }
            assert!(suite.lane != Lane::Alone || others == 0, "{}", suite.name);
            running.fetch_sub(1, Ordering::SeqCst);
            suite.name
        });
        assert_eq!(outcomes, SUITES.iter().map(|suite| suite.name).collect::<Vec<_>>());
    }

    #[test]
    fn what_a_suite_said_stands_under_its_name() {
        let counts = crate::test::outcome::Counts { passed: 3, failed: 0 };
        let result = Ok(Ran { counts, text: String::from("  200 kills") });
        let told = told(&Outcome { name: "faults", result, took: Duration::from_millis(1500) });
        assert_eq!(told, "\n== faults\n  200 kills\nok faults 3 passed (1.5 s)");
    }
}
