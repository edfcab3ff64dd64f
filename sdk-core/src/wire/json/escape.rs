//! Which bytes must be escaped, for reading and for writing.

/// Whether a byte must be escaped in a string (RFC 8259, section 7).
pub(super) fn must_be_escaped(byte: u8) -> bool {
    matches!(byte, 0..=0x1f | b'"' | b'\\')
}
