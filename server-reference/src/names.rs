//! Reserved names, which guests may not have because others would take them for somebody else.

use std::collections::HashSet;
use tidewire_server_core::AI_NAME;
use unicode_security::skeleton;

/// Reserved in addition to the configured names.
const ALWAYS: [&str; 3] = [AI_NAME, "System", "Operator"];
/// The name that is shown for a guest whose name is reserved.
pub(crate) const NOBODY: &str = "Guest";

/// The reserved names in the form in which names are compared.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reserved {
    outlines: HashSet<String>,
}

impl Reserved {
    /// The configured names, and those that are always reserved.
    pub(crate) fn new(names: &[String]) -> Reserved {
        let names = ALWAYS.into_iter().chain(names.iter().map(String::as_str));
        Reserved { outlines: names.map(outline).filter(|outline| !outline.is_empty()).collect() }
    }

    /// Whether the name looks like a reserved one.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.outlines.contains(&outline(name))
    }
}

/// The form in which names are compared: look-alikes are equal (UTS 39 section 4), and case,
/// spaces, accents and marks are left out.
fn outline(name: &str) -> String {
    let lower = name.to_lowercase();
    let bare = skeleton(&lower).flat_map(char::to_lowercase).filter(|c| c.is_alphanumeric());
    // Letters that UTS 39 distinguishes in one case only.
    bare.map(|c| match c {
        'i' | '1' => 'l',
        '0' => 'o',
        c => c,
    })
    .collect()
}

/// Whether a character is invisible but changes how others are shown.
pub(crate) fn is_hidden(c: char) -> bool {
    let direction =
        matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let blank = matches!(
        c,
        '\u{ad}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{200b}' | '\u{2060}'
            ..='\u{2064}' | '\u{2800}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
    );
    c.is_control() || direction || blank || matches!(c, '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_a_reserved_name_is_reserved() {
        let reserved = Reserved::new(&["Olga from Support".to_owned()]);
        for name in [
            "Assistant",
            "assistant",
            "ASSISTANT",
            " Assis tant ",
            "As-sistant.",
            "Ass1stant",
            "AsslStant",
            "Ass\u{131}stant",
            "\u{410}ssistant",
            "\u{410}\u{405}\u{405}\u{406}\u{405}TANT",
            "\u{ff21}\u{ff33}\u{ff33}\u{ff29}\u{ff33}\u{ff34}\u{ff21}\u{ff2e}\u{ff34}",
            "\u{1d400}ssistant",
            "Assist\u{e4}nt",
            "A\u{200d}ssistant",
            "\u{2b50} Assistant \u{2b50}",
            "OPERAT0R",
            "olga  FROM support",
        ] {
            assert!(reserved.has(name), "{name}");
        }
        for name in ["Ada", "Guest", "Assistance", "Olga", "\u{674e}\u{660e}", "\u{1f600}", ""] {
            assert!(!reserved.has(name), "{name}");
        }
    }
}
