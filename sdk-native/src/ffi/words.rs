//! Enums without fields, in both worlds.

/// Mirrors an enum without fields.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident = $core:ident { $($(#[$about:meta])* $word:ident),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
        pub enum $name { $($(#[$about])* $word),+ }

        impl From<$core> for $name {
            fn from(word: $core) -> $name {
                match word { $($core::$word => $name::$word),+ }
            }
        }

        impl From<$name> for $core {
            fn from(word: $name) -> $core {
                match word { $($name::$word => $core::$word),+ }
            }
        }
    };
}
pub(super) use words;
