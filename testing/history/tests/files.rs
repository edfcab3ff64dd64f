//! Histories in files, checked by the program.

use std::path::Path;
use std::process::{Command, Output};

fn check(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidewire-history"));
    command.args(arguments).current_dir(folder).output().expect("runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

const GOOD: &str = r#"{"e":"send","client":"a","ch":"d","id":"1"}
{"e":"send","client":"a","ch":"d","lane":"durable","id":"2"}

{"e":"ack","client":"a","ch":"d","id":"1","offset":1}
{"e":"fail","client":"a","ch":"d","id":"2","code":"bad_body"}
{"e":"retry","client":"a","id":"2"}
{"e":"discard","client":"a","id":"2"}
{"e":"drained","client":"a"}
"#;

const SEEN: &str = r#"{"e":"reset","observer":"b","ch":"d","epoch":"k","from":0,"reason":"fresh"}
{"e":"server_prefix","prefix":"s"}
{"e":"server","id":"3"}
{"e":"trimmed","ch":"d","epoch":"k","to":0}
{"e":"apply","observer":"b","ch":"d","epoch":"k","offset":1,"id":"1"}
{"e":"caught_up","observer":"b","ch":"d"}
{"e":"log","ch":"d","epoch":"k","offset":1,"id":"1"}
"#;

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("clients"), GOOD).expect("written");
    std::fs::write(folder.path().join("seen"), SEEN).expect("written");
    folder
}

#[test]
fn files_of_several_programs_are_one_history_in_any_order() {
    let folder = folder();
    for files in [["clients", "seen"], ["seen", "clients"]] {
        let output = check(folder.path(), &["check", files[0], files[1], "--json"]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        for (name, count) in [("sent", 2), ("acked", 1), ("failed", 1), ("applied", 1), ("logged", 1)] {
            assert_eq!(report[name], count, "{name}");
        }
        for name in ["lost", "duplicated", "reordered", "skipped", "nonmonotonic", "invented", "diverged"] {
            assert_eq!(report[name], 0, "{name}");
        }
    }
}

#[test]
fn a_violation_is_named_and_the_exit_code_is_1() {
    let folder = folder();
    let output = check(folder.path(), &["check", "seen"]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stdout);
    assert!(said.contains("1 invented") && said.contains("1 is at 1 of d in epoch k"), "{said}");
}

#[test]
fn a_bad_line_is_named_and_the_exit_code_is_2() {
    let folder = folder();
    for (line, hint) in [
        ("{\"e\":\"send\"}", "client"),
        ("{\"e\":\"sent\",\"client\":\"a\"}", "sent"),
        ("{\"e\":\"drained\",\"client\":\"a\",\"ch\":\"d\"}", "ch"),
        ("{\"e\":\"drained\"", "EOF"),
    ] {
        std::fs::write(folder.path().join("bad"), format!("{GOOD}{line}\n")).expect("written");
        let output = check(folder.path(), &["check", "clients", "bad"]);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.starts_with("bad:9: ") && said.contains(hint), "{said}");
    }
}

#[test]
fn mistakes_in_its_use_are_explained() {
    let folder = folder();
    std::fs::write(folder.path().join("empty"), "\n").expect("written");
    for (arguments, hint) in [
        (vec!["check"], "at least one file"),
        (vec!["check", "nowhere"], "nowhere"),
        (vec!["check", "empty"], "no event"),
        (vec!["check", "seen", "--yaml"], "--yaml"),
        (vec!["chekc", "seen"], "chekc"),
    ] {
        let output = check(folder.path(), &arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(hint), "{said}");
    }
    for arguments in [&["--help"][..], &["check", "--help"], &[]] {
        let output = check(folder.path(), arguments);
        assert_eq!(output.status.code(), Some(0));
        assert!(text(&output.stdout).contains("Exit code"));
    }
}
