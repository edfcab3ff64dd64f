//! Arrays of texts in what JavaScript gives.

use tidewire_core::wire::json::Object;

/// The texts of a member; none if it is missing or has anything else in it.
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
