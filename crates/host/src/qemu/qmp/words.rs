//! Enumerations that QEMU spells as words, and extends from version to version.

/// Defines an enum with one variant per known word, and `Other` which keeps any word that is not known.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$doc])* $variant,)+
            /// A word that this version of selfsame does not know.
            Other(String),
        }

        impl $name {
            /// Reads QEMU's word; every word is read.
            #[must_use]
            pub fn read(word: &str) -> Self {
                match word {
                    $($text => Self::$variant,)+
                    other => Self::Other(other.to_owned()),
                }
            }

            /// QEMU's word.
            #[must_use]
            pub fn text(&self) -> &str {
                match self {
                    $(Self::$variant => $text,)+
                    Self::Other(word) => word,
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.pad(self.text())
            }
        }
    };
}

pub(super) use words;
