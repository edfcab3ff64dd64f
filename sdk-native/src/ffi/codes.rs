//! The stable codes as values, so that `when`, `switch` and `match` know them.

macro_rules! list {
    ($($(#[doc = $doc:literal])+ $variant:ident, $name:ident, $text:literal;)+) => {
        /// Why something was refused or failed. A code of an application's own token provider, and
        /// `http_` with an HTTP status, are none of these.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
        pub enum Code {
            $($(#[doc = $doc])+ $variant,)+
        }

        /// Parses a code; none if it is not in the list.
        #[uniffi::export]
        pub fn code_of(text: String) -> Option<Code> {
            match text.as_str() {
                $($text => Some(Code::$variant),)+
                _ => None,
            }
        }
    };
}
tidewire_core::every_code!(list);
