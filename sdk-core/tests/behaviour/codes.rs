//! One list of codes: every language's own is made of it, and nothing says a code that is not in
//! it.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};

macro_rules! list {
    ($($(#[doc = $doc:literal])+ $variant:ident, $name:ident, $text:literal;)+) => {
        const DOCUMENTED: &[(&str, &str)] = &[$((concat!($($doc),+), $text)),+];
    };
}
tidewire_core::every_code!(list);

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn sources(folder: &Path, ending: &str, found: &mut Vec<(PathBuf, String)>) {
    for entry in std::fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, ending, found);
        } else if path.extension().is_some_and(|extension| extension == ending) {
            let text = std::fs::read_to_string(&path).expect("a text");
            found.push((path, text));
        }
    }
}

#[test]
fn each_code_is_said_once_and_is_a_word() {
    let all: BTreeSet<&str> = tidewire_core::wire::codes::ALL.iter().copied().collect();
    assert_eq!(all.len(), DOCUMENTED.len(), "a code stands twice");
    for (_, code) in DOCUMENTED {
        assert!(code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{code}");
    }
}

#[test]
fn the_npm_package_has_the_same_list() {
    let mut wanted = String::from("/** A stable code. */\nexport type Code =\n");
    for (doc, code) in DOCUMENTED {
        let _ = write!(wanted, "  /**{doc} */\n  | \"{code}\"\n");
    }
    let wanted = format!("{};\n", wanted.trim_end());
    let file = std::fs::read_to_string(top().join("npm/src/codes.ts")).unwrap();
    let list = &file[file.find("/** A stable code. */").expect("the list")..];
    assert_eq!(list, wanted, "put the right side into npm/src/codes.ts");
}

#[test]
fn no_package_says_a_code_that_is_not_in_the_list() {
    let known: BTreeSet<&str> = tidewire_core::wire::codes::ALL.iter().copied().collect();
    let mut files = Vec::new();
    sources(&top().join("npm/src"), "ts", &mut files);
    let mut looked = 0;
    for (path, text) in &files {
        for rest in text.split("TidewireError(").skip(1) {
            let Some(code) = rest.trim_start().strip_prefix('"') else { continue };
            let code = code.split('"').next().unwrap_or("");
            assert!(known.contains(code), "{code:?} in {}", path.display());
            looked += 1;
        }
    }
    let mut files = Vec::new();
    for folder in ["sdk-native/src", "sdk-core/src"] {
        sources(&top().join(folder), "rs", &mut files);
    }
    for (path, text) in &files {
        // Functions that name an error's code, and errors that are made with one.
        let functions = text.split("fn code(").skip(1).map(|rest| rest.split("\n    }").next().unwrap_or(""));
        let named = functions.flat_map(|body| body.split("=> \"").skip(1));
        for code in named.chain(text.split("TokenError::new(\"").skip(1)) {
            let code = code.split('"').next().unwrap_or("");
            assert!(known.contains(code), "{code:?} in {}", path.display());
            looked += 1;
        }
    }
    assert!(looked > 20, "only {looked} were found: the sources look different than this test thinks");
}
