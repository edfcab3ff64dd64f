//! `cargo xtask`: everything a developer or a build machine does with this repository, on a fresh
//! machine too.

mod autobahn;
mod bench;
mod build;
mod check;
mod demo;
mod fuzz;
mod planted;
mod process;
mod progress;
mod sim;
mod size;
mod stamp;
mod test;
mod tools;

use std::process::ExitCode;

const HELP: &str = "\
cargo xtask COMMAND

  demo     build everything that is missing and run the demo: server, page, chat
           --port N        listen there instead of on 8080
           --fresh         begin with an empty database
  build    build the WebAssembly module, the npm package and the demo page
  size     build, and show the size of each shipped file: raw, gzip -9, brotli -11
           --json          as one JSON object; `core_glue_client_brotli` is what a page with the client loads
  test     install what the tests need where that is possible, build all of it, and run the suites that need
           minutes, those that compute beside those that wait
           --deep          instead of them those that need longer: 10,000 seeds, killed processes,
                           WebAssembly, Python, Kotlin
           --all           both
           --only SUITE    only this suite; may be given several times
           --allow-missing skip suites whose tools are missing instead of failing
           --list          name the suites
  bench    measure the real programs; without a name it lists what there is
           commit          the server's group commit, and the memory of server and client, hostile peers included;
                           its flags and figures: `cargo xtask bench commit --help`
           client          what a received message costs; --json as one JSON object
  fuzz     grow the corpora of the fuzz targets with libFuzzer, and say what it found
           TARGET...       only these; they are the folders of fuzz/corpus
           --seconds N     how long each; 60 if nothing is said
  filter-diff  judge random filters over random rows, a real PostgreSQL beside, and say where the two differ
           --comparisons N how often; two million if nothing is said
           --seed S        where the randomness begins
  autobahn run the WebSockets of server and native client against Autobahn|Testsuite, which needs a Python 2.7
  check    format, lints, documentation, licences, types
  sim      run real clients and the server's decisions on a virtual clock, under every fault
           --seeds N       how many seeds; --from K where they begin
           --seed K        one seed alone; --trace prints all that happens
           --script FILE   a script, as a failing seed prints it
           --tables        scenarios of live tables instead
           --planted       plant bugs and see that each is found within 1,000 seeds; --only PART of a name, which may
                           be given several times
           --json          the figures as one JSON object
  help     this text

The last line of `test` is `N passed, N failed`.
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (command, rest) = match arguments.split_first() {
        Some((command, rest)) => (command.as_str(), rest),
        None => ("help", [].as_slice()),
    };
    let for_bench = command == "bench" && rest.len() > 1;
    if !for_bench && rest.iter().any(|argument| argument == "--help" || argument == "-h") {
        print!("{HELP}");
        return ExitCode::SUCCESS;
    }
    let done = match command {
        "demo" => demo::run(rest),
        "build" => no_arguments(rest).and_then(|()| size::build()),
        "size" => size::run(rest),
        "test" => test::run(rest),
        "bench" => bench::run(rest),
        "fuzz" => fuzz::run(rest),
        "filter-diff" => filter_diff(rest),
        "autobahn" => no_arguments(rest).and_then(|()| autobahn::run()),
        "sim" => sim::run(rest),
        "check" => no_arguments(rest).and_then(|()| check::run()),
        "help" | "--help" | "-h" => {
            print!("{HELP}");
            Ok(())
        }
        other => Err(format!("there is no command `{other}`; `cargo xtask help` names them")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{}", progress::bad(&message));
            ExitCode::FAILURE
        }
    }
}

fn filter_diff(rest: &[String]) -> Result<(), String> {
    tools::need_postgres()?;
    let package = ["--package", "tidewire-postgres", "--bin", "tidewire-filter-diff"];
    progress::run("build the comparison", tools::cargo(&["build", "--release"]).args(package))?;
    let mut command = std::process::Command::new(tools::target().join("release/tidewire-filter-diff"));
    let status = command.args(rest).status().map_err(|error| format!("tidewire-filter-diff: {error}"))?;
    // The program has printed the differences.
    if status.success() { Ok(()) } else { std::process::exit(status.code().unwrap_or(1)) }
}

fn no_arguments(rest: &[String]) -> Result<(), String> {
    match rest.first() {
        None => Ok(()),
        Some(argument) => Err(unknown(argument)),
    }
}

fn unknown(argument: &str) -> String {
    format!("unknown argument `{argument}`; `cargo xtask help` shows what there is")
}
