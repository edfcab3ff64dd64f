//! What a module does not need: the texts of panics.
//!
//! A panic in this module ends in a trap, and what the standard library writes before it goes to a standard error that a
//! browser does not have. So the functions that begin a panic become the trap itself, and wasm-opt removes the writing, the
//! formatting and the texts, which nothing else needs.

use walrus::{FunctionBuilder, FunctionId, FunctionKind, Module};

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

/// The one through which nearly all panics pass: when it is not found, the names are no longer what this file thinks.
const MUST_BE_THERE: &str = "core::panicking::panic_fmt";

/// Makes a trap of every function that begins a panic.
///
/// # Errors
///
/// The module has no function of the expected name: a newer compiler names or builds them in another way.
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

fn trap(module: &mut Module, id: FunctionId) {
    let FunctionKind::Local(local) = &module.funcs.get(id).kind else { return };
    let arguments = local.args.clone();
    let signature = module.types.get(local.ty());
    let (parameters, results) = (signature.params().to_vec(), signature.results().to_vec());
    let mut builder = FunctionBuilder::new(&mut module.types, &parameters, &results);
    builder.func_body().unreachable();
    module.funcs.get_mut(id).kind = FunctionKind::Local(builder.local_func(arguments));
}

/// A name without what the compiler adds to tell instances apart: `core[1a2b]::f[1]` and `core::f::h3c4d` are `core::f`.
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
