//! The program that libFuzzer drives: `TIDEWIRE_FUZZ_TARGET` names the target.

#![no_main]

use std::sync::OnceLock;
use tidewire_fuzz::{Target, target};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    static TARGET: OnceLock<Target> = OnceLock::new();
    let run = TARGET.get_or_init(|| {
        let name = std::env::var("TIDEWIRE_FUZZ_TARGET").unwrap_or_default();
        target(&name).unwrap_or_else(|| panic!("TIDEWIRE_FUZZ_TARGET is `{name}`, which is no target"))
    });
    run(data);
});
