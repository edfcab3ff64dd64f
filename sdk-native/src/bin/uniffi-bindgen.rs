//! Writes the Kotlin, Swift and Python sources of the `ffi` surface.

fn main() {
    uniffi::uniffi_bindgen_main();
}
