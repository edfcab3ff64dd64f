//! The suites: what each needs, and how it runs.

use super::needs::Need;
use super::outcome::{Counts, Ran, Trouble};
use super::report;
use crate::process::Finished;
use crate::size::Sizes;
use crate::{build, progress, tools};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// How long a suite may take: one that hangs must not hold up a build machine for hours.
const LIMIT: Duration = Duration::from_secs(15 * 60);

/// A part of the tests, which can be run by its name.
pub(super) struct Suite {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) depth: Depth,
    pub(super) lane: Lane,
    pub(super) needs: &'static [Need],
    pub(super) run: fn() -> Result<Ran, Trouble>,
}

/// When a suite runs, unless it is named.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    /// With every `test`.
    Quick,
    /// With `test --deep`.
    Deep,
}

/// The lane of a suite.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Lane {
    /// It keeps the processor busy.
    Computing,
    /// It mostly waits.
    Waiting,
    /// It loads the machine, and its measurements must not be disturbed.
    Alone,
}

/// Every suite; those of a lane run in this order.
pub(super) const SUITES: &[Suite] = &[
    Suite {
        name: "native",
        about: "all crates on this machine",
        depth: Depth::Quick,
        lane: Lane::Computing,
        needs: &[Need::Postgres, Need::Nginx, Need::Workspace],
        run: native,
    },
    Suite {
        name: "simulator",
        about: "1,000 seeds of faults on a virtual clock, 2,000 of live tables",
        depth: Depth::Quick,
        lane: Lane::Computing,
        needs: &[Need::Workspace],
        run: || simulate("simulator", "1000", "2000"),
    },
    Suite {
        name: "size",
        about: "core, glue and client, and the widget, below their limits",
        depth: Depth::Quick,
        lane: Lane::Computing,
        needs: &[Need::Node, Need::Web],
        run: size,
    },
    Suite {
        name: "browser",
        about: "widget, tabs and demo in Chromium, the checker over it",
        depth: Depth::Quick,
        lane: Lane::Waiting,
        needs: &[Need::Node, Need::Chromium, Need::Workspace, Need::Web],
        run: browser,
    },
    Suite {
        name: "npm",
        about: "the npm package under Node",
        depth: Depth::Quick,
        lane: Lane::Waiting,
        needs: &[Need::Node, Need::Web],
        run: || node_test("npm", "test", &["--test-concurrency=1"], &[]),
    },
    Suite {
        name: "faults",
        about: "killed processes and a bad network, the checker over it",
        depth: Depth::Deep,
        lane: Lane::Alone,
        needs: &[Need::Workspace],
        run: faults,
    },
    Suite {
        name: "seeds",
        about: "10,000 seeds of the simulator, 20,000 of live tables",
        depth: Depth::Deep,
        lane: Lane::Computing,
        needs: &[Need::Workspace],
        run: || simulate("seeds", "10000", "20000"),
    },
    Suite {
        name: "core-wasm",
        about: "the core's tests in WebAssembly, under Node",
        depth: Depth::Deep,
        lane: Lane::Computing,
        needs: &[Need::Node, Need::WasiTarget, Need::CoreWasm],
        run: || libtest("core-wasm", &mut build::core_wasm_tests()),
    },
    Suite {
        name: "python",
        about: "the Python bindings against a server",
        depth: Depth::Deep,
        lane: Lane::Waiting,
        needs: &[Need::Python, Need::Workspace],
        run: || foreign("python"),
    },
    Suite {
        name: "kotlin",
        about: "the Kotlin bindings against a server",
        depth: Depth::Deep,
        lane: Lane::Waiting,
        needs: &[Need::Maven, Need::Workspace],
        run: || foreign("kotlin"),
    },
];

fn native() -> Result<Ran, Trouble> {
    libtest("native", cargo_test().arg("--no-fail-fast"))
}

fn faults() -> Result<Ran, Trouble> {
    let mut command = cargo_test();
    command.args(["--test", "kills", "--test", "faults"]);
    // One after the other, so that measurements are not disturbed.
    command.args(["--", "--ignored", "--nocapture", "--test-threads=1"]);
    libtest("faults", &mut command)
}

/// Runs the round trip of one language: makes the bindings, and plays through a restart.
fn foreign(language: &str) -> Result<Ran, Trouble> {
    libtest(language, cargo_test().args(["--test", "foreign", "--", "--ignored", language]))
}

/// A command for tests of the workspace, which are told that the programs they start are built.
fn cargo_test() -> Command {
    let mut command = build::cargo("test");
    command.env("TIDEWIRE_IS_BUILT", "1");
    command
}

/// Runs the simulator with this many seeds and scenarios of live tables.
fn simulate(name: &str, seeds: &str, scenarios: &str) -> Result<Ran, Trouble> {
    let mut counts = Counts::default();
    let mut text = String::new();
    for arguments in [&["--seeds", seeds][..], &["--seeds", scenarios, "--tables"]] {
        // With a low priority, because its clock is virtual and that of other suites is not. The
        // build is that of the tests: optimised, and with assertions.
        let mut command = Command::new("nice");
        command.arg(build::program("tidewire-simulator")).args(arguments);
        let finished = progress::watch_for(name, &mut command, LIMIT).map_err(Trouble::Failed)?;
        text.push_str(&finished.text);
        counts.passed += u64::from(finished.success);
        counts.failed += u64::from(!finished.success);
    }
    Ok(Ran { counts, text: text.trim_end().to_owned() })
}

fn size() -> Result<Ran, Trouble> {
    let sizes = Sizes::measure().map_err(Trouble::Failed)?;
    let within = sizes.are_within();
    let counts = Counts { passed: u64::from(within), failed: u64::from(!within) };
    Ok(Ran { counts, text: sizes.table() })
}

fn browser() -> Result<Ran, Trouble> {
    let chromium = tools::need_chromium().map_err(Trouble::Missing)?;
    let variables = [
        ("CHROMIUM_PATH", chromium),
        ("TIDEWIRE_SERVER", build::program("tidewire-server")),
        ("TIDEWIRE_WEB", build::demo_folder()),
        ("TIDEWIRE_FAULT_PROXY", build::program("tidewire-fault-proxy")),
        ("TIDEWIRE_HISTORY", build::program("tidewire-history")),
    ];
    // Two files at a time, because most of them wait, such as for a minute without a connection.
    // A file ends with its last test, even if a browser is still there that does not end.
    node_test("browser", "e2e", &["--test-concurrency=2", "--test-force-exit"], &variables)
}

/// Runs tests with Rust's harness.
fn libtest(name: &str, command: &mut Command) -> Result<Ran, Trouble> {
    let finished = watched(name, command)?;
    Ok(report::judge(name, &finished, report::libtest_counts(&finished.text)))
}

/// Runs the tests in a folder with Node's harness, started with these flags.
fn node_test(
    name: &str,
    folder: &str,
    flags: &[&str],
    variables: &[(&str, PathBuf)],
) -> Result<Ran, Trouble> {
    let trouble = |error: std::io::Error| Trouble::Failed(format!("npm/{folder}: {error}"));
    let entries = std::fs::read_dir(tools::npm().join(folder)).map_err(trouble)?;
    let mut files: Vec<PathBuf> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
    files.retain(|file| file.to_string_lossy().ends_with(".test.mjs"));
    files.sort();
    let mut command = tools::node(&["--test", "--test-reporter=tap"]);
    command.args(flags).args(files).envs(variables.iter().map(|(name, path)| (name, path)));
    let finished = watched(name, &mut command)?;
    Ok(report::judge(name, &finished, report::node_counts(&finished.text)))
}

/// Runs a suite's program, and keeps its output.
fn watched(name: &str, command: &mut Command) -> Result<Finished, Trouble> {
    let finished = progress::watch_for(name, command, LIMIT).map_err(Trouble::Failed)?;
    let folder = tools::top().join("test-output/logs");
    let kept = std::fs::create_dir_all(&folder)
        .and_then(|()| std::fs::write(folder.join(format!("{name}.log")), &finished.text));
    if let Err(error) = kept {
        progress::say(&format!("the log of {name} can't be kept: {error}"));
    }
    Ok(finished)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_have_names_of_their_own() {
        for (index, suite) in SUITES.iter().enumerate() {
            assert!(SUITES[..index].iter().all(|other| other.name != suite.name), "{}", suite.name);
        }
    }
}
