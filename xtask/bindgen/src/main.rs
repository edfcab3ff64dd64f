//! Makes the JavaScript beside a compiled module: `xtask-bindgen INPUT.wasm FOLDER NAME`.
//!
//! It calls a library instead of the `wasm-bindgen` program, so that the version always matches the
//! crate's, and nothing has to be installed.

use std::process::ExitCode;
use wasm_bindgen_cli_support::Bindgen;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [input, folder, name] = arguments.as_slice() else {
        eprintln!("usage: xtask-bindgen INPUT.wasm FOLDER NAME");
        return ExitCode::from(2);
    };
    match generate(input, folder, name) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn generate(input: &str, folder: &str, name: &str) -> Result<(), Box<dyn std::error::Error>> {
    Bindgen::new()
        .web(true)?
        .omit_default_module_path(true)
        .typescript(false)
        .remove_name_section(true)
        .remove_producers_section(true)
        .out_name(name)
        .input_path(input)
        .generate(folder)?;
    Ok(())
}
