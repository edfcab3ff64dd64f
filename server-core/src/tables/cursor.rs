//! Cursors of subscriptions: `epoch.position.hash`, opaque to clients.

/// A cursor, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cursor {
    /// The epoch of the log.
    pub(super) epoch: String,
    /// Every commit up to here was applied.
    pub(super) position: u64,
    /// The hash of the subscription's shape.
    pub(super) hash: u64,
}

impl Cursor {
    pub(super) fn encode(epoch: &str, position: u64, hash: u64) -> String {
        format!("{epoch}.{position}.{hash:016x}")
    }

    /// Parses a cursor that a client sent; `None` if no server wrote it.
    pub(super) fn parse(text: &str) -> Option<Cursor> {
        let (rest, hash) = text.rsplit_once('.')?;
        let (epoch, position) = rest.rsplit_once('.')?;
        let digits =
            |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit() && !byte.is_ascii_uppercase());
        if hash.len() != 16 || !digits(hash) || !position.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        Some(Cursor {
            epoch: epoch.to_owned(),
            position: position.parse().ok()?,
            hash: u64::from_str_radix(hash, 16).ok()?,
        })
    }
}

/// The FNV-1a hash of texts (draft-eastlake-fnv, section 2). Lengths are hashed too, so that moving
/// a boundary between texts changes the hash.
pub fn hash(texts: impl IntoIterator<Item = impl AsRef<[u8]>>) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut add = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    for text in texts {
        let text = text.as_ref();
        add(&(text.len() as u64).to_le_bytes());
        add(text);
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_back_and_nothing_else_is() {
        let text = Cursor::encode("life.2", 77, 0xabc);
        let cursor = Cursor { epoch: "life.2".to_owned(), position: 77, hash: 0xabc };
        assert_eq!(Cursor::parse(&text), Some(cursor));
        for bad in [
            "",
            ".",
            "..",
            "e.1",
            "e.1.abc",
            "e.-1.0000000000000abc",
            "e.1.+000000000000abc",
            "e..0000000000000abc",
        ] {
            assert_eq!(Cursor::parse(bad), None, "{bad}");
        }
        assert_eq!(Cursor::parse("e.99999999999999999999.0000000000000abc"), None);
    }

    #[test]
    fn texts_are_kept_apart() {
        assert_ne!(hash(["ab", "c"]), hash(["a", "bc"]));
        assert_eq!(hash(["ab", "c"]), hash(["ab", "c"]));
    }
}
