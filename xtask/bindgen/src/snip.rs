//! What a module does not need: the texts of panics, and what follows live tables where there are
//! none.
//!
//! A panic in this module ends in a trap, and what the standard library writes before it goes to a
//! standard error that a browser does not have. So the functions that begin a panic become the trap
//! itself, and wasm-opt removes the writing, the formatting and the texts, which nothing else
//! needs.

use walrus::ir::{Instr, InstrSeq, Unreachable, VisitorMut, dfs_pre_order_mut};
use walrus::{FunctionBuilder, FunctionId, FunctionKind, InstrSeqBuilder, Module};

/// The standard library's functions that never return, as Rust names them.
const NEVER_RETURN: [&str; 13] = [
    "alloc::alloc::handle_alloc_error",
    "alloc::raw_vec::capacity_overflow",
    "alloc::raw_vec::handle_error",
    "<alloc::vec::Vec<_, _>>::insert_mut::assert_failed",
    "<alloc::vec::Vec<_, _>>::remove::assert_failed",
    "core::cell::panic_already_borrowed",
    "core::panicking::panic_bounds_check",
    "core::panicking::panic_const::panic_const_div_by_zero",
    "core::panicking::panic_const::panic_const_rem_by_zero",
    "core::panicking::panic_fmt",
    "core::slice::index::slice_index_fail",
    "core::str::slice_error_fail",
    "core::option::unwrap_failed",
];

/// The one through which nearly all panics pass: when it is not found, the names are no longer what
/// this file thinks.
const MUST_BE_THERE: &str = "core::panicking::panic_fmt";

/// What a client without live tables never does, and the compiler can't know: carrying out what
/// they ask for.
const FOLLOWS_TABLES: &str = "::follow_tables";
/// And what it never sends.
const ASKS_FOR_TABLES: &str = "tidewire_core::wire::tables::TableRequest";

/// Makes a trap of every function that begins a panic.
///
/// # Errors
///
/// The module has no function of the expected name: a newer compiler names or builds them in
/// another way.
pub(crate) fn panics(module: &mut Module) -> Result<(), String> {
    let found: Vec<(FunctionId, String)> = module
        .funcs
        .iter()
        .filter_map(|function| Some((function.id(), plain(function.name.as_deref()?))))
        .filter(|(_, name)| NEVER_RETURN.contains(&name.as_str()))
        .collect();
    if !found.iter().any(|(_, name)| name == MUST_BE_THERE) {
        return Err(format!("{MUST_BE_THERE} is not in the module; mend xtask/bindgen/src/snip.rs"));
    }
    for (id, _) in found {
        trap(module, id);
    }
    Ok(())
}

/// Takes live tables out of a module whose clients have none. The core has them behind a `dyn`
/// trait, and nothing else that a module calls through its table of functions: without those calls
/// the table goes, and with it all that only the table keeps.
///
/// # Errors
///
/// What is to go is not there: the core calls it otherwise, or it was inlined.
pub(crate) fn tables(module: &mut Module) -> Result<(), String> {
    let named = |module: &Module, part: &str| -> Vec<FunctionId> {
        let functions = module.funcs.iter();
        functions
            .filter(|function| function.name.as_deref().is_some_and(|name| plain(name).contains(part)))
            .map(walrus::Function::id)
            .collect()
    };
    let following = named(module, FOLLOWS_TABLES);
    let mut calls = Calls(0);
    for (_, function) in module.funcs.iter_local_mut() {
        let entry = function.entry_block();
        dfs_pre_order_mut(&mut calls, function, entry);
    }
    if following.is_empty() || calls.0 == 0 {
        return Err(format!(
            "the module has no {FOLLOWS_TABLES}, or no call by table; mend xtask/bindgen/src/snip.rs"
        ));
    }
    // It is called all the same, and finds nothing to do.
    for id in following {
        replace(module, id, |_| {});
    }
    for id in named(module, ASKS_FOR_TABLES) {
        trap(module, id);
    }
    Ok(())
}

/// Makes a trap of every call by table, and counts them.
struct Calls(usize);

impl VisitorMut for Calls {
    fn start_instr_seq_mut(&mut self, sequence: &mut InstrSeq) {
        for (instruction, _) in &mut sequence.instrs {
            if matches!(instruction, Instr::CallIndirect(_)) {
                *instruction = Instr::Unreachable(Unreachable {});
                self.0 += 1;
            }
        }
    }
}

fn trap(module: &mut Module, id: FunctionId) {
    replace(module, id, |body| {
        body.unreachable();
    });
}

fn replace(module: &mut Module, id: FunctionId, write: impl FnOnce(&mut InstrSeqBuilder<'_>)) {
    let FunctionKind::Local(local) = &module.funcs.get(id).kind else { return };
    let arguments = local.args.clone();
    let signature = module.types.get(local.ty());
    let (parameters, results) = (signature.params().to_vec(), signature.results().to_vec());
    let mut builder = FunctionBuilder::new(&mut module.types, &parameters, &results);
    write(&mut builder.func_body());
    module.funcs.get_mut(id).kind = FunctionKind::Local(builder.local_func(arguments));
}

/// A name without what the compiler adds to tell instances apart: `core[1a2b]::f[1]` and
/// `core::f::h3c4d` are `core::f`.
fn plain(name: &str) -> String {
    let mut plain = String::with_capacity(name.len());
    let mut depth = 0_u32;
    for c in name.chars() {
        match c {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            _ if depth == 0 => plain.push(c),
            _ => {}
        }
    }
    match plain.rsplit_once("::h") {
        Some((rest, hash)) if hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            rest.to_owned()
        }
        _ => plain,
    }
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn names_lose_what_the_compiler_adds() {
        assert_eq!(plain("core[c5930c85a12de822]::panicking::panic_fmt"), "core::panicking::panic_fmt");
        assert_eq!(plain("core::panicking::panic_fmt::h6493c8550fd758b0"), "core::panicking::panic_fmt");
        assert_eq!(
            plain("<alloc[3ca5]::vec::Vec<_, _>>::remove::assert_failed[1]"),
            "<alloc::vec::Vec<_, _>>::remove::assert_failed"
        );
    }
}
