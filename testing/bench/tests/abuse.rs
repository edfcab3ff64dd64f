//! `cargo xtask bench abuse` as a program: it starts, attacks and prints what it saw. Its limits of
//! time and memory are for optimised programs on a quiet machine, and are not checked here.

#[path = "../../../sdk-native/tests/common/build.rs"]
#[allow(unreachable_pub, reason = "the native client's tests share it")]
mod build;

use serde_json::Value;
use std::process::Command;

#[test]
fn an_attack_ends_as_the_limits_say_and_honest_clients_are_served() {
    let folder = tempfile::tempdir().expect("a folder");
    let programs = build::build(&["-p", "tidewire-server", "--bin", "tidewire-server"]);
    for (attack, ended) in [("unknown-frames", "4003"), ("table-rows", "too_big")] {
        let run = |seconds: &str| {
            let output = Command::new(env!("CARGO_BIN_EXE_tidewire-bench-abuse"))
                .args(["--seconds", seconds, "--json", "--only", attack, "--server"])
                .arg(programs.join("tidewire-server"))
                .arg("--folder")
                .arg(folder.path())
                .output()
                .expect("the bench runs");
            let said = String::from_utf8(output.stdout).expect("text");
            let outcome: Value = serde_json::from_str(said.trim()).unwrap_or_else(|error| {
                panic!("{attack}: {error} in {said:?}: {}", String::from_utf8_lossy(&output.stderr));
            });
            outcome
        };
        // On a busy machine the server may not have answered within a second.
        let outcome = Some(run("1")).filter(|outcome| outcome["ended"] != "").unwrap_or_else(|| run("20"));
        assert_eq!(outcome["attack"], attack);
        assert_eq!(outcome["ended"], ended, "{outcome}");
        assert_eq!(outcome["refused"], 0, "{outcome}");
    }
}
