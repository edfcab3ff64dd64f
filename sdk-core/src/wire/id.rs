//! The protocol's names, ids and offsets (protocol section 1), each a type of its own: one can't
//! be passed in the place of another.

use super::json::Object;
use super::{DIALOG_PREFIX, DecodeError, MAX_CHANNEL, User};
use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;

/// Text types that read like a `str`.
macro_rules! text_types {
    ($($(#[$doc:meta])* $name:ident;)*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
            pub struct $name(String);

            impl $name {
                /// The text.
                pub fn as_str(&self) -> &str {
                    &self.0
                }
            }

            impl Deref for $name {
                type Target = str;

                fn deref(&self) -> &str {
                    &self.0
                }
            }

            impl Borrow<str> for $name {
                fn borrow(&self) -> &str {
                    &self.0
                }
            }

            impl fmt::Debug for $name {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    fmt::Debug::fmt(&self.0, f)
                }
            }

            impl fmt::Display for $name {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str(&self.0)
                }
            }

            impl From<$name> for String {
                fn from(name: $name) -> String {
                    name.0
                }
            }

            impl PartialEq<String> for $name {
                fn eq(&self, other: &String) -> bool {
                    self.0 == *other
                }
            }

            impl PartialEq<$name> for String {
                fn eq(&self, other: &$name) -> bool {
                    *self == other.0
                }
            }

            impl PartialEq<str> for $name {
                fn eq(&self, other: &str) -> bool {
                    *self.0 == *other
                }
            }

            impl PartialEq<&str> for $name {
                fn eq(&self, other: &&str) -> bool {
                    self.0 == *other
                }
            }
        )*
    };
}

/// Conversions of the text types that take any text.
macro_rules! any_text {
    ($($name:ident)*) => {
        $(
            impl From<&str> for $name {
                fn from(text: &str) -> $name {
                    $name(text.to_owned())
                }
            }

            impl From<String> for $name {
                fn from(text: String) -> $name {
                    $name(text)
                }
            }
        )*
    };
}

text_types! {
    /// The name of a channel: 1 to 128 bytes of ASCII letters, digits and `:`, `_`, `.`, `-`. It is
    /// valid by construction.
    ChannelName;
    /// The id of an op: a UUID that the client made. Events that the server wrote itself have one
    /// too.
    OpId;
    /// The id of a run: one answer of a model.
    RunId;
    /// The name of a log's contents. In another epoch the same offsets may mean other events.
    Epoch;
}

any_text!(OpId RunId Epoch);

impl ChannelName {
    /// Parses a name; none if it is not valid (protocol section 1).
    pub fn parse(name: &str) -> Option<ChannelName> {
        let valid = (1..=MAX_CHANNEL).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b':' | b'_' | b'.' | b'-'));
        valid.then(|| ChannelName(name.to_owned()))
    }

    /// The channel of the dialog with this id; none if the id is empty or not valid.
    pub fn of_dialog(id: &str) -> Option<ChannelName> {
        if id.is_empty() {
            return None;
        }
        let mut name = String::from(DIALOG_PREFIX);
        name.push_str(id);
        ChannelName::parse(&name)
    }

    /// The dialog's id, if this is a dialog's channel.
    pub fn dialog(&self) -> Option<&str> {
        self.strip_prefix(DIALOG_PREFIX)
    }
}

/// The required member `name` of a frame.
pub(super) fn read<T: From<String>>(object: &Object<'_>, name: &'static str) -> Result<T, DecodeError> {
    object.need_text(name).map(T::from)
}

/// The required channel name `ch` of a frame.
pub(super) fn channel(object: &Object<'_>) -> Result<ChannelName, DecodeError> {
    ChannelName::parse(&object.need_str("ch")?).ok_or(DecodeError::Member("ch"))
}

/// The required participant `name` of a frame.
pub(super) fn user(object: &Object<'_>, name: &'static str) -> Result<User, DecodeError> {
    User::read(&object.need_object(name)?)
}

/// The required offset `name` of a frame.
pub(super) fn offset(object: &Object<'_>, name: &'static str) -> Result<Offset, DecodeError> {
    object.need_u64(name).map(Offset)
}

/// The position of an event in its channel: 1, 2, 3 and so on without a gap. 0 is the place before
/// the first event.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Offset(pub u64);

impl Offset {
    /// Before the first event.
    pub const ZERO: Offset = Offset(0);

    /// The offset after this one.
    #[must_use]
    pub fn next(self) -> Offset {
        self.plus(1)
    }

    /// The offset this many events later.
    #[must_use]
    pub fn plus(self, events: u64) -> Offset {
        Offset(self.0.saturating_add(events))
    }

    /// The offset this many events earlier, at least 0.
    #[must_use]
    pub fn minus(self, events: u64) -> Offset {
        Offset(self.0.saturating_sub(events))
    }

    /// How many events lie after `earlier`, up to this one; 0 if it is not earlier.
    pub fn since(self, earlier: Offset) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl PartialEq<u64> for Offset {
    fn eq(&self, other: &u64) -> bool {
        self.0 == *other
    }
}

impl fmt::Debug for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_name_is_valid_by_construction() {
        let longest = "x".repeat(MAX_CHANNEL);
        for name in ["a", "dialog:42", "dialog:42:staff", "A-b_c.9", &longest] {
            assert_eq!(ChannelName::parse(name).unwrap(), name);
        }
        for name in ["", " a", "a b", "dialog/42", "grün", "a\0", &"x".repeat(MAX_CHANNEL + 1)] {
            assert_eq!(ChannelName::parse(name), None, "{name:?}");
        }
        let dialog = ChannelName::of_dialog("42").unwrap();
        assert_eq!((dialog.as_str(), dialog.dialog()), ("dialog:42", Some("42")));
        assert_eq!(ChannelName::parse("guild:7").unwrap().dialog(), None);
        for id in ["", "a b", longest.as_str()] {
            assert_eq!(ChannelName::of_dialog(id), None, "{id:?}");
        }
    }

    #[test]
    fn offsets_never_overflow() {
        assert_eq!(Offset(u64::MAX).next(), Offset(u64::MAX));
        assert_eq!(Offset(3).minus(5), Offset::ZERO);
        assert_eq!((Offset(7).since(Offset(4)), Offset(4).since(Offset(7))), (3, 0));
    }
}
