//! The README's lines are this crate's own example, which is compiled.

#[test]
fn the_readme_shows_the_example_that_is_compiled() {
    let top = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let read = |path: &str| std::fs::read_to_string(format!("{top}/{path}")).expect("a readable file");
    let readme = read("README.md");
    let shown = readme.split("```rust\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a block");
    let example: String = read("sdk-native/src/lib.rs")
        .lines()
        .filter_map(|line| line.strip_prefix("//!"))
        .map(|line| format!("{}\n", line.strip_prefix(' ').unwrap_or(line)))
        .collect();
    assert!(shown.lines().count() >= 5);
    assert!(example.contains(shown), "README.md and sdk-native/src/lib.rs differ:\n{shown}");
}
