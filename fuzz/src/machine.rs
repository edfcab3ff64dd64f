//! Runs the simulator, real clients and the server's decisions under every fault, with all choices
//! made by the input: no guarantee may be violated.

use tidewire_simulator::{plan, run};

/// Plays one script of the simulator.
pub(crate) fn machine(data: &[u8]) {
    let script = plan::of_bytes(data);
    let text = || script.to_text();
    let outcome = run(&script).unwrap_or_else(|error| panic!("the simulator fails: {error}\n{}", text()));
    if let Some(broken) = outcome.broken {
        panic!("{} is broken at {} ms: {}\n{}", broken.what, broken.at, broken.how, text());
    }
}
