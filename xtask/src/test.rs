//! `test`: all suites of the repository, one table, and a last line that machines read.

use crate::progress::{self, Finished, seconds};
use crate::{build, sim, size, tools, unknown};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

/// How long a suite may take: one that hangs must not hold up a build machine for hours.
const LIMIT: Duration = Duration::from_secs(15 * 60);

/// How a suite went.
#[derive(Clone, Copy, Default)]
struct Counts {
    passed: u64,
    failed: u64,
}

/// Why a suite did not run.
enum Trouble {
    /// A tool is missing and can't be installed here.
    Missing(String),
    /// It was built or started, and that failed.
    Failed(String),
}

struct Suite {
    name: &'static str,
    about: &'static str,
    depth: Depth,
    run: fn() -> Result<Counts, Trouble>,
}

/// When a suite runs unless it is asked for by name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Depth {
    /// With every `test`.
    Quick,
    /// With `test --deep`.
    Deep,
}

impl Suite {
    const fn quick(name: &'static str, about: &'static str, run: fn() -> Result<Counts, Trouble>) -> Suite {
        Suite { name, about, depth: Depth::Quick, run }
    }

    const fn deep(name: &'static str, about: &'static str, run: fn() -> Result<Counts, Trouble>) -> Suite {
        Suite { name, about, depth: Depth::Deep, run }
    }
}

/// Every suite, in the order in which they run. A new one is a line here and a function below.
const SUITES: &[Suite] = &[
    Suite::quick("native", "all crates on this machine", native),
    Suite::quick("simulator", "1,000 seeds of faults on a virtual clock, 2,000 of live tables", simulator),
    Suite::quick("size", "core, glue and client, and the widget, below their limits", size_limit),
    Suite::quick("npm", "the npm package under Node", npm),
    Suite::quick("browser", "widget, tabs and demo in Chromium, the checker over it", browser),
    Suite::deep("faults", "killed processes and a bad network, the checker over it", faults),
    Suite::deep("seeds", "10,000 seeds of the simulator, 20,000 of live tables", seeds),
    Suite::deep("core-wasm", "the core's tests in WebAssembly, under Node", core_wasm),
    Suite::deep("python", "the Python bindings against a server", python),
    Suite::deep("kotlin", "the Kotlin bindings against a server", kotlin),
];

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
    let mut table = Table::default();
    for suite in chosen {
        let started = Instant::now();
        let result = (suite.run)();
        table.add(suite.name, result, started.elapsed(), allow_missing);
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
    fn add(&mut self, name: &str, result: Result<Counts, Trouble>, took: Duration, allow_missing: bool) {
        let mut note = String::new();
        let counts = match result {
            Ok(counts) => counts,
            Err(Trouble::Missing(what)) if allow_missing => {
                self.skipped += 1;
                note = format!("  skipped: {what}");
                Counts::default()
            }
            Err(Trouble::Missing(what)) => {
                note = format!("  {what}");
                Counts { passed: 0, failed: 1 }
            }
            Err(Trouble::Failed(why)) => {
                println!("{}", progress::bad(&format!("{name}: {why}")));
                note = String::from("  see above");
                Counts { passed: 0, failed: 1 }
            }
        };
        self.total.passed += counts.passed;
        self.total.failed += counts.failed;
        let line = format!("{name:<12}{:>8}{:>8}{:>14}{note}", counts.passed, counts.failed, seconds(took));
        self.lines.push(if counts.failed > 0 { progress::bad(&line) } else { line });
    }

    fn finish(self, allow_missing: bool) -> Result<(), String> {
        println!("\n{:<12}{:>8}{:>8}{:>14}", "suite", "passed", "failed", "time");
        for line in &self.lines {
            println!("{line}");
        }
        let Counts { passed, failed } = self.total;
        let skipped = if allow_missing { format!(", {} skipped", self.skipped) } else { String::new() };
        println!("\n{passed} passed, {failed} failed{skipped}");
        // Nothing may follow the line above, so the status alone says how it went.
        if failed > 0 || passed == 0 { std::process::exit(1) } else { Ok(()) }
    }
}

fn native() -> Result<Counts, Trouble> {
    tools::need_postgres().map_err(Trouble::Missing)?;
    // The tests with it say that they were skipped.
    let _ = tools::need_nginx();
    let mut command = tools::cargo(&["test", "--workspace", "--no-fail-fast"]);
    libtest("native", &mut command)
}

fn faults() -> Result<Counts, Trouble> {
    let mut command = tools::cargo(&["test", "--package", "tidewire", "--test", "kills", "--test", "faults"]);
    // One after the other: they load the machine, and what they measure should be theirs.
    command.args(["--", "--ignored", "--nocapture", "--test-threads=1"]);
    libtest("faults", &mut command)
}

/// What a test wants to be seen.
fn figures(line: &str) -> Option<&str> {
    line.find("figures: ").map(|at| &line[at + "figures: ".len()..])
}

fn core_wasm() -> Result<Counts, Trouble> {
    tools::need_node().map_err(Trouble::Missing)?;
    tools::need_target("wasm32-wasip1").map_err(Trouble::Missing)?;
    let mut command = tools::cargo(&[
        "test",
        "--package",
        "tidewire-core",
        "--target",
        "wasm32-wasip1",
        "--no-fail-fast",
        "--lib",
        "--tests",
    ]);
    let runner = tools::top().join("xtask/wasi-runner.mjs");
    command.env("CARGO_TARGET_WASM32_WASIP1_RUNNER", format!("node --no-warnings {}", runner.display()));
    libtest("core-wasm", &mut command)
}

fn simulator() -> Result<Counts, Trouble> {
    simulate("simulator", "1000", "2000")
}

fn seeds() -> Result<Counts, Trouble> {
    simulate("seeds", "10000", "20000")
}

/// Runs so many seeds, and so many scenarios of live tables.
fn simulate(name: &str, seeds: &str, scenarios: &str) -> Result<Counts, Trouble> {
    let program = sim::build().map_err(Trouble::Failed)?;
    let mut counts = Counts::default();
    for arguments in [&["--seeds", seeds][..], &["--seeds", scenarios, "--tables"]] {
        let mut command = Command::new(&program);
        command.args(arguments);
        let finished = progress::watch_for(name, &mut command, LIMIT).map_err(Trouble::Failed)?;
        print!("{}", finished.text);
        counts.passed += u64::from(finished.success);
        counts.failed += u64::from(!finished.success);
    }
    Ok(counts)
}

fn size_limit() -> Result<Counts, Trouble> {
    tools::need_node().map_err(Trouble::Missing)?;
    size::build().map_err(Trouble::Failed)?;
    let within = size::is_within().map_err(Trouble::Failed)?;
    Ok(Counts { passed: u64::from(within), failed: u64::from(!within) })
}

fn npm() -> Result<Counts, Trouble> {
    tools::need_node().map_err(Trouble::Missing)?;
    build::web().map_err(Trouble::Failed)?;
    node_test("npm", "test", &[])
}

fn browser() -> Result<Counts, Trouble> {
    tools::need_node().map_err(Trouble::Missing)?;
    let chromium = tools::need_chromium().map_err(Trouble::Missing)?;
    build::web().map_err(Trouble::Failed)?;
    let server = build::server().map_err(Trouble::Failed)?;
    let proxy = build::fault_proxy().map_err(Trouble::Failed)?;
    let checker = build::history_checker().map_err(Trouble::Failed)?;
    let variables = [
        ("CHROMIUM_PATH", chromium),
        ("TIDEWIRE_SERVER", server),
        ("TIDEWIRE_WEB", build::demo_folder()),
        ("TIDEWIRE_FAULT_PROXY", proxy),
        ("TIDEWIRE_HISTORY", checker),
    ];
    node_test("browser", "e2e", &variables)
}

fn python() -> Result<Counts, Trouble> {
    if tools::find("python3").is_none() {
        tools::apt_install(&["python3-minimal"]).map_err(Trouble::Missing)?;
    }
    foreign("python")
}

fn kotlin() -> Result<Counts, Trouble> {
    if tools::find("mvn").is_none() || tools::find("java").is_none() {
        tools::apt_install(&["maven", "default-jdk-headless"]).map_err(Trouble::Missing)?;
    }
    foreign("kotlin")
}

/// Runs the round trip of one language: it makes the bindings, builds what they need and plays
/// through a restart.
fn foreign(language: &str) -> Result<Counts, Trouble> {
    let mut command =
        tools::cargo(&["test", "--package", "tidewire", "--features", "ffi", "--test", "foreign"]);
    libtest(language, command.args(["--", "--ignored", language]))
}

/// Runs tests of Rust's harness and sums up the lines `test result: …`.
fn libtest(name: &str, command: &mut Command) -> Result<Counts, Trouble> {
    let finished = watched(name, command)?;
    judge(name, &finished, libtest_counts(&finished))
}

fn libtest_counts(finished: &Finished) -> Counts {
    let mut counts = Counts::default();
    for line in finished.text.lines().filter(|line| line.starts_with("test result:")) {
        counts.passed += number_before(line, " passed");
        counts.failed += number_before(line, " failed");
    }
    counts
}

/// Runs the tests of Node's harness in a folder and reads the lines `# pass …` and `# fail …`.
fn node_test(name: &str, folder: &str, variables: &[(&str, PathBuf)]) -> Result<Counts, Trouble> {
    let trouble = |error: std::io::Error| Trouble::Failed(format!("npm/{folder}: {error}"));
    let entries = std::fs::read_dir(tools::npm().join(folder)).map_err(trouble)?;
    let mut files: Vec<PathBuf> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
    files.retain(|file| file.to_string_lossy().ends_with(".test.mjs"));
    files.sort();
    let mut command = tools::node(&["--test", "--test-reporter=tap", "--test-concurrency=1"]);
    command.args(files).envs(variables.iter().map(|(name, path)| (name, path)));
    let finished = watched(name, &mut command)?;
    let number = |word: &str| {
        let line = finished.text.lines().filter_map(|line| line.strip_prefix(word)).next_back();
        line.and_then(|rest| rest.trim().parse().ok()).unwrap_or(0)
    };
    let counts = Counts { passed: number("# pass "), failed: number("# fail ") + number("# cancelled ") };
    judge(name, &finished, counts)
}

/// Shows the figures and what failed; a suite that ended badly without a count, or ran nothing, has
/// failed too.
fn judge(name: &str, finished: &Finished, mut counts: Counts) -> Result<Counts, Trouble> {
    for line in finished.text.lines().filter_map(figures) {
        println!("  {line}");
    }
    if finished.success && counts.failed == 0 && counts.passed > 0 {
        progress::done(name, &format!("{} passed ({})", counts.passed, seconds(finished.took)));
        return Ok(counts);
    }
    let failures = failures(&finished.text);
    println!("{}", if failures.is_empty() { finished.tail() } else { failures });
    println!("{}", progress::bad(&format!("{name}: the whole output is in test-output/logs/{name}.log")));
    counts.failed = counts.failed.max(1);
    Ok(counts)
}

/// What the harness says about the tests that failed: Node's `not ok` with its details, or
/// libtest's `failures:`.
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

/// Runs a suite's program and keeps what it said.
fn watched(name: &str, command: &mut Command) -> Result<Finished, Trouble> {
    let finished = progress::watch_for(name, command, LIMIT).map_err(Trouble::Failed)?;
    let folder = tools::top().join("test-output/logs");
    let kept = std::fs::create_dir_all(&folder)
        .and_then(|()| std::fs::write(folder.join(format!("{name}.log")), &finished.text));
    if let Err(error) = kept {
        println!("the log of {name} can't be kept: {error}");
    }
    Ok(finished)
}

fn number_before(line: &str, word: &str) -> u64 {
    let before = line.split(word).next().unwrap_or_default();
    before.rsplit(' ').next().and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counts_of_a_libtest_line_are_read() {
        let line = "test result: FAILED. 12 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.10s";
        assert_eq!((number_before(line, " passed"), number_before(line, " failed")), (12, 3));
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

    #[test]
    fn suites_have_names_of_their_own() {
        for (index, suite) in SUITES.iter().enumerate() {
            assert!(SUITES[..index].iter().all(|other| other.name != suite.name), "{}", suite.name);
        }
    }
}
