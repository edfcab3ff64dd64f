//! The line-by-line chat as scripts use it.

use std::io::Write;
use std::process::{Command, Output, Stdio};

/// Runs the program against an address where nothing listens, with this input.
fn run(input: &str, store: &std::path::Path) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_tidewire-desktop"))
        .args(["--plain", "--wait", "1", "--server", "http://127.0.0.1:9", "--store"])
        .arg(store)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    program.stdin.take().expect("an input").write_all(input.as_bytes()).expect("written");
    program.wait_with_output().expect("ends")
}

#[test]
fn without_a_server_it_ends_with_an_error_and_the_message_waits_for_the_next_start() {
    let store = tempfile::TempDir::new().expect("a folder");
    for expected in 1..=2 {
        let output = run("hello\n", store.path());
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(told.contains(&format!("{expected} waiting")) && told.contains("next start"), "{told}");
        let shown = String::from_utf8_lossy(&output.stdout);
        assert!(shown.contains("nothing listens at the server's address"), "{shown}");
    }
}

#[test]
fn with_nothing_to_send_it_ends_well() {
    let store = tempfile::TempDir::new().expect("a folder");
    assert_eq!(run("", store.path()).status.code(), Some(0));
}
