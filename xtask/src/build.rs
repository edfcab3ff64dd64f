//! `build`: core → WebAssembly → JavaScript glue → smaller module → npm package and demo page.

use crate::progress::{self, done};
use crate::stamp::Stamp;
use crate::{size, tools};
use std::path::{Path, PathBuf};

const WASM_TARGET: &str = "wasm32-unknown-unknown";

/// What the engines of all supported browsers know. Never `--all-features`: that emits what no browser accepts.
const WASM_OPT: [&str; 13] = [
    "-Oz",
    // Larger before compression, smaller after it: brotli likes functions that stay apart.
    "--one-caller-inline-max-function-size=0",
    "--skip-pass=local-cse",
    "--converge",
    // The stack comes first in memory, and its last kilobyte is never reached.
    "--low-memory-unused",
    "--strip-producers",
    "--strip-target-features",
    "--enable-bulk-memory",
    "--enable-nontrapping-float-to-int",
    "--enable-sign-ext",
    "--enable-mutable-globals",
    "--enable-reference-types",
    "--enable-multivalue",
];

/// The module's stack, bytes: deep enough for the JSON reader's greatest depth many times over.
const STACK: &str = "-Clink-arg=-zstack-size=262144";

/// Where the demo page is built.
pub(crate) fn demo_folder() -> PathBuf {
    tools::top().join(".demo/web")
}

/// Everything, and the sizes.
pub(crate) fn all() -> Result<(), String> {
    web()?;
    size::print()
}

/// The npm package and the demo page.
pub(crate) fn web() -> Result<(), String> {
    tools::need_node()?;
    let installing = tools::start_npm_install();
    let compiled = compile();
    // Whatever went wrong with the compiler, the other program must not outlive us.
    tools::finish_npm_install(installing)?;
    if let Some((stamp, module)) = compiled? {
        shrink(&module)?;
        stamp.keep()?;
    }
    bundle()
}

/// The server's program for demo and tests.
pub(crate) fn server() -> Result<PathBuf, String> {
    program("server", "tidewire-server")
}

/// The proxy that makes networks bad, for tests.
pub(crate) fn fault_proxy() -> Result<PathBuf, String> {
    program("fault proxy", "tidewire-fault-proxy")
}

/// What says whether a history keeps the promises, for tests.
pub(crate) fn history_checker() -> Result<PathBuf, String> {
    program("history checker", "tidewire-history")
}

fn program(title: &str, package: &str) -> Result<PathBuf, String> {
    progress::run(title, &mut tools::cargo(&["build", "--package", package]))?;
    Ok(tools::target().join("debug").join(package))
}

fn wasm_folder() -> PathBuf {
    tools::npm().join("wasm")
}

/// Compiles the module and makes its glue, if its sources changed; the module still has to shrink.
fn compile() -> Result<Option<(Stamp, PathBuf)>, String> {
    let top = tools::top();
    let inputs =
        ["Cargo.toml", "Cargo.lock", "sdk-core/Cargo.toml", "sdk-core/src", "sdk-wasm", "xtask/bindgen"]
            .map(|name| top.join(name));
    let rustc = tools::output_of("rustc", &["--version"]).unwrap_or_default();
    let stamp = Stamp::of(tools::stamps().join("wasm"), &inputs, &format!("{rustc} {WASM_OPT:?} {STACK}"));
    let folder = wasm_folder();
    if stamp.is_current(&[folder.join("core.js"), folder.join("core.wasm")]) {
        done("WebAssembly module", "(unchanged)");
        return Ok(None);
    }
    tools::need_target(WASM_TARGET)?;
    let mut command =
        tools::cargo(&["build", "--package", "tidewire-wasm", "--profile", "wasm", "--target", WASM_TARGET]);
    command.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS", STACK);
    progress::run("WebAssembly module", &mut command)?;
    progress::run("wasm-bindgen, the program", &mut tools::cargo(&["build", "--package", "xtask-bindgen"]))?;
    let module = tools::target().join(WASM_TARGET).join("wasm/tidewire_wasm.wasm");
    let mut bindgen = std::process::Command::new(tools::target().join("debug/xtask-bindgen"));
    progress::run("JavaScript glue", bindgen.arg(&module).arg(&folder))?;
    Ok(Some((stamp, folder.join("core_bg.wasm"))))
}

fn shrink(module: &Path) -> Result<(), String> {
    let mut command = tools::npm_program("wasm-opt");
    command.args(WASM_OPT).arg(module).arg("-o").arg(wasm_folder().join("core.wasm"));
    progress::run("wasm-opt", &mut command)?;
    std::fs::remove_file(module).map_err(|error| format!("{}: {error}", module.display()))
}

fn bundle() -> Result<(), String> {
    let npm = tools::npm();
    let demo = demo_folder();
    let inputs = ["src", "wasm", "build.mjs", "package-lock.json", "tsconfig.json", "tsconfig.types.json"]
        .map(|name| npm.join(name));
    let inputs: Vec<PathBuf> = inputs.into_iter().chain([tools::top().join("examples/demo")]).collect();
    let stamp = Stamp::of(tools::stamps().join("bundle"), &inputs, "");
    let dist = npm.join("dist");
    let outputs =
        [dist.join("index.js"), dist.join("widget.js"), dist.join("types/index.d.ts"), demo.join("sw.js")];
    if stamp.is_current(&outputs) {
        done("npm package and demo page", "(unchanged)");
        return Ok(());
    }
    progress::run("npm package and demo page", tools::node(&["build.mjs"]).arg(&demo))?;
    progress::run("type declarations", tools::npm_program("tsc").args(["--project", "tsconfig.types.json"]))?;
    stamp.keep()
}
