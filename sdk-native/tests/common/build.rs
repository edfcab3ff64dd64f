//! Builds programs that a test starts.

use std::path::PathBuf;
use std::process::Command;

/// Builds programs or libraries of this workspace, with the features of `cargo xtask test`, so that
/// what that has built serves here too. Returns the folder they are in. Whoever has built the whole
/// workspace says so with `TIDEWIRE_IS_BUILT`.
pub fn build(arguments: &[&str]) -> PathBuf {
    let test = std::env::current_exe().expect("this test is a program");
    let folder = test.ancestors().nth(2).expect("…/debug/deps/test").to_owned();
    if std::env::var_os("TIDEWIRE_IS_BUILT").is_some() {
        return folder;
    }
    let target = folder.parent().expect("…/debug");
    let mut command = Command::new(env!("CARGO"));
    // What cargo tells this test about itself would have build scripts run again, here and with the
    // next test.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CARGO_PKG_")
            || name.to_string_lossy().starts_with("CARGO_MANIFEST_")
        {
            command.env_remove(name);
        }
    }
    let status = command
        .args(["build", "--quiet", "--workspace", "--features", "tidewire/bindgen", "--target-dir"])
        .arg(target)
        .args(arguments)
        .status()
        .expect("cargo runs");
    assert!(status.success(), "cargo build {arguments:?} failed");
    folder
}
