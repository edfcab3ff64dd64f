//! `tidewire-history check FILE…`: checks histories that were written as lines of JSON.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::process::ExitCode;
use tidewire_history::{Event, History, Report};

const HELP: &str = "\
tidewire-history check FILE... [--json]

Checks one history, written by any number of programs as lines of JSON, one event each, such as

  {\"e\":\"send\",\"client\":\"ada\",\"ch\":\"dialog:1\",\"id\":\"a\"}
  {\"e\":\"ack\",\"client\":\"ada\",\"ch\":\"dialog:1\",\"id\":\"a\",\"offset\":1}
  {\"e\":\"fail\",\"client\":\"ada\",\"ch\":\"dialog:1\",\"id\":\"b\",\"code\":\"bad_body\"}
  {\"e\":\"apply\",\"observer\":\"bob\",\"ch\":\"dialog:1\",\"epoch\":\"k3v\",\"offset\":1,\"id\":\"a\"}
  {\"e\":\"reset\",\"observer\":\"bob\",\"ch\":\"dialog:1\",\"epoch\":\"k3v\",\"from\":0,\"reason\":\"fresh\"}
  {\"e\":\"caught_up\",\"observer\":\"bob\",\"ch\":\"dialog:1\"}
  {\"e\":\"drained\",\"client\":\"ada\"}
  {\"e\":\"server\",\"id\":\"c\"}
  {\"e\":\"log\",\"ch\":\"dialog:1\",\"epoch\":\"k3v\",\"offset\":1,\"id\":\"a\"}

and retry {client, id}, discard {client, id}, server_prefix {prefix}, trimmed {ch, epoch, to}, restored {ch}. The order of the
lines matters among those of one client or observer only. Empty lines are passed over.

  --json   print the report as one JSON object

Exit code: 0 nothing was violated, 1 something was, 2 the history can't be read.
";

fn main() -> ExitCode {
    let (mut files, mut json) = (Vec::new(), false);
    let mut arguments = std::env::args().skip(1);
    let command = arguments.next();
    for argument in arguments {
        match argument.as_str() {
            "--help" | "-h" => return help(),
            "--json" => json = true,
            flag if flag.starts_with("--") => {
                return wrong(&format!("there is no option {flag}; --help names them"));
            }
            _ => files.push(argument),
        }
    }
    match command.as_deref() {
        Some("check") if files.is_empty() => wrong("check wants at least one file; --help says more"),
        Some("check") => match check(&files) {
            Ok(report) => show(&report, json),
            Err(message) => wrong(&message),
        },
        None | Some("--help" | "-h" | "help") => help(),
        Some(other) => wrong(&format!("there is no command {other}; --help names them")),
    }
}

fn help() -> ExitCode {
    print!("{HELP}");
    ExitCode::SUCCESS
}

fn wrong(message: &str) -> ExitCode {
    eprintln!("{message}");
    ExitCode::from(2)
}

fn show(report: &Report, json: bool) -> ExitCode {
    match serde_json::to_string(report) {
        Ok(line) if json => println!("{line}"),
        _ => println!("{report}"),
    }
    if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn check(files: &[String]) -> Result<Report, String> {
    let (mut history, mut events) = (History::new(), 0);
    // Events that name an op's author come first, so that the order of the files does not matter.
    for origins in [true, false] {
        for file in files {
            each(file, |event| {
                if event.is_origin() == origins {
                    // The report counts what is violated.
                    let _ = history.push(event);
                    events += 1;
                }
            })?;
        }
    }
    if events == 0 { Err(format!("no event in {}", files.join(", "))) } else { Ok(history.finish()) }
}

fn each(file: &str, mut take: impl FnMut(Event<'static>)) -> Result<(), String> {
    let opened = File::open(file).map_err(|error| format!("{file}: {error}"))?;
    for (index, line) in BufReader::new(opened).lines().enumerate() {
        let at = |error: &dyn std::fmt::Display| format!("{file}:{}: {error}", index + 1);
        let line = line.map_err(|error| at(&error))?;
        if !line.trim().is_empty() {
            take(serde_json::from_str(&line).map_err(|error| at(&error))?);
        }
    }
    Ok(())
}
