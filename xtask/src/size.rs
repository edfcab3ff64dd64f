//! `size`: how much a visitor's browser downloads.

use crate::{build, progress, tools, unknown};

/// Maximum size of core, glue and client together, in bytes after brotli -11.
const LIMIT: u64 = 79 * 1024;
/// The same with live tables.
const TABLES_LIMIT: u64 = 110 * 1024;
/// Maximum size of the widget on top of that.
const WIDGET_LIMIT: u64 = 16 * 1024;
/// Maximum size of the hooks for React on top of core, glue and client.
const REACT_LIMIT: u64 = 2 * 1024;

/// Builds everything, and shows the sizes.
pub(crate) fn build() -> Result<(), String> {
    build::web()?;
    println!("\n{}", Sizes::measure()?.table());
    Ok(())
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
    println!("{}", Sizes::measure()?.json);
    Ok(())
}

/// The sizes of what is built, as `size.mjs` prints them.
pub(crate) struct Sizes {
    json: String,
    /// Core, glue and client, brotli-11.
    total: u64,
    /// The same with live tables.
    with_tables: u64,
    /// The widget on top of that.
    widget: u64,
    /// The hooks for React on top of core, glue and client.
    react: u64,
}

impl Sizes {
    /// Measures what is built.
    pub(crate) fn measure() -> Result<Sizes, String> {
        let output = tools::node(&["size.mjs"]).output().map_err(|error| format!("node: {error}"))?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        let json = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let missing = |what| format!("no {what} in {json}");
        let total = number_after(&json, "core_glue_client_brotli").ok_or_else(|| missing("total"))?;
        let with_tables =
            number_after(&json, "with_tables_brotli").ok_or_else(|| missing("total with tables"))?;
        let file = |name: &str| {
            let from = json.find(&format!("\"{name}\""))?;
            number_after(&json[from..], "brotli")
        };
        let widget = file("widget.js").ok_or_else(|| missing("size of the widget"))?;
        let react = file("react.js").ok_or_else(|| missing("size of the hooks"))?;
        Ok(Sizes { json, total, with_tables, widget, react })
    }

    /// Whether no size is above its limit.
    pub(crate) fn are_within(&self) -> bool {
        self.total <= LIMIT
            && self.with_tables <= TABLES_LIMIT
            && self.widget <= WIDGET_LIMIT
            && self.react <= REACT_LIMIT
    }

    /// For people, in lines.
    pub(crate) fn table(&self) -> String {
        let json = &self.json;
        let mut lines = vec![format!("{:<28}{:>10}{:>10}{:>10}", "bytes", "raw", "gzip", "brotli")];
        for file in ["core.wasm", "index.js", "widget.js", "react.js", "tables.wasm", "tables.js"] {
            let from = json.find(&format!("\"{file}\"")).unwrap_or(0);
            let number = |name| number_after(&json[from..], name).unwrap_or(0);
            lines.push(format!(
                "{file:<28}{:>10}{:>10}{:>10}",
                number("raw"),
                number("gzip"),
                number("brotli")
            ));
        }
        for (what, size, limit) in [
            ("core + glue + client", self.total, LIMIT),
            ("the same with live tables", self.with_tables, TABLES_LIMIT),
            ("the widget on top", self.widget, WIDGET_LIMIT),
            ("the hooks for React on top", self.react, REACT_LIMIT),
        ] {
            let note = format!("{what:<28}{size:>30}  (limit {limit})");
            lines.push(if size <= limit { progress::good(&note) } else { progress::bad(&note) });
        }
        lines.join("\n")
    }
}

fn number_after(text: &str, name: &str) -> Option<u64> {
    let rest = text.split_once(&format!("\"{name}\":"))?.1;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}
