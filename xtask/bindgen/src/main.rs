//! Makes the JavaScript beside a compiled module: `xtask-bindgen INPUT.wasm FOLDER NAME [without-tables]`.
//!
//! A library call instead of the `wasm-bindgen` program, so that the version always matches the
//! crate's and nobody has to install anything.

mod snip;

use std::process::ExitCode;
use wasm_bindgen_cli_support::Bindgen;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (input, folder, name, tables) = match arguments.as_slice() {
        [input, folder, name] => (input, folder, name, true),
        [input, folder, name, last] if last == "without-tables" => (input, folder, name, false),
        _ => {
            eprintln!("usage: xtask-bindgen INPUT.wasm FOLDER NAME [without-tables]");
            return ExitCode::from(2);
        }
    };
    match generate(input, folder, name, tables) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn generate(input: &str, folder: &str, name: &str, tables: bool) -> Result<(), Box<dyn std::error::Error>> {
    let mut output = Bindgen::new()
        .web(true)?
        .omit_default_module_path(true)
        .typescript(false)
        .remove_name_section(true)
        .remove_producers_section(true)
        .out_name(name)
        .input_path(input)
        .generate_output()?;
    snip::panics(output.wasm_mut())?;
    if !tables {
        snip::tables(output.wasm_mut())?;
    }
    output.emit(folder)?;
    Ok(())
}
