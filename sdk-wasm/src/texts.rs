//! Arrays of strings in JSON from JavaScript.

use tidewire_core::wire::json::Object;

/// The strings of an array member; none if it is missing or holds anything else.
pub(crate) fn texts(object: &Object<'_>, name: &str) -> Option<Vec<String>> {
    let mut texts = Vec::new();
    for raw in object.array(name)? {
        if !raw.starts_with('"') {
            return None;
        }
        texts.push(tidewire_core::wire::json::unescape(raw).into_owned());
    }
    Some(texts)
}
