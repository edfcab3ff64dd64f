//! `size`: what a visitor's browser downloads.

use crate::{build, progress, tools, unknown};

/// Most bytes of core, glue and client together, brotli-11.
const LIMIT: u64 = 64 * 1024;
/// The same with live tables.
const TABLES_LIMIT: u64 = 102 * 1024;
/// Most bytes of the widget on top of that.
const WIDGET_LIMIT: u64 = 16 * 1024;

/// Builds everything, and shows the sizes.
pub(crate) fn build() -> Result<(), String> {
    build::web()?;
    print()
}

/// Runs the command.
pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    let json = match arguments {
        [] => false,
        [argument] if argument == "--json" => true,
        [argument, ..] => return Err(unknown(argument)),
    };
    if !json {
        return build();
    }
    progress::step_aside();
    build::web()?;
    println!("{}", measure()?);
    Ok(())
}

/// Shows the sizes as a table.
pub(crate) fn print() -> Result<(), String> {
    let text = measure()?;
    println!("\n{:<28}{:>10}{:>10}{:>10}", "bytes", "raw", "gzip", "brotli");
    for file in ["core.wasm", "index.js", "widget.js", "tables.wasm", "tables.js"] {
        let from = text.find(&format!("\"{file}\"")).unwrap_or(0);
        let number = |name| number_after(&text[from..], name).unwrap_or(0);
        println!("{file:<28}{:>10}{:>10}{:>10}", number("raw"), number("gzip"), number("brotli"));
    }
    for (what, size, limit) in [
        ("core + glue + client", total(&text)?, LIMIT),
        ("the same with live tables", with_tables(&text)?, TABLES_LIMIT),
        ("the widget on top", widget(&text)?, WIDGET_LIMIT),
    ] {
        let note = format!("{what:<28}{size:>30}  (limit {limit})");
        println!("{}", if size <= limit { progress::good(&note) } else { progress::bad(&note) });
    }
    Ok(())
}

/// Whether what is built is within its limits, brotli-11.
pub(crate) fn is_within() -> Result<bool, String> {
    let text = measure()?;
    Ok(total(&text)? <= LIMIT && with_tables(&text)? <= TABLES_LIMIT && widget(&text)? <= WIDGET_LIMIT)
}

fn measure() -> Result<String, String> {
    let output = tools::node(&["size.mjs"]).output().map_err(|error| format!("node: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn total(text: &str) -> Result<u64, String> {
    number_after(text, "core_glue_client_brotli").ok_or_else(|| format!("no total in {text}"))
}

fn with_tables(text: &str) -> Result<u64, String> {
    number_after(text, "with_tables_brotli").ok_or_else(|| format!("no total with tables in {text}"))
}

fn widget(text: &str) -> Result<u64, String> {
    let at = text.find("\"widget.js\"").ok_or_else(|| format!("no widget in {text}"))?;
    number_after(&text[at..], "brotli").ok_or_else(|| format!("no size of the widget in {text}"))
}

fn number_after(text: &str, name: &str) -> Option<u64> {
    let rest = text.split_once(&format!("\"{name}\":"))?.1;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}
