//! A small JSON reader and writer (RFC 8259) over borrowed text.
//!
//! [`validate`] checks a whole text once, depth included; [`Object`] and [`elements`] then split
//! one level into raw slices, so that a body is never copied or re-ordered. Numbers stay text until
//! they are read as integers. Nothing here recurses, so deep nesting can't exhaust the stack.

mod escape;
mod read;
mod write;

pub use read::{Object, depth, elements, is_well_formed, on_one_line, unescape, validate, validate_within};
pub(crate) use read::{number as read_number, string as read_string, trim};
pub(crate) use write::push_integer;
pub use write::{Writer, array, string};
