//! The names of the field, as types that cannot be mixed up.

use std::fmt;
use std::sync::Arc;

/// Why a text is not a name of its kind. Reads after "`x` is not a valid class name: ".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidName(pub String);

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}

name!(
    /// The immutable identity of a namespace: 1 to 255 bytes of any characters, not starting with `class:`.
    StableId
);
name!(
    /// The name of a Durable Object class: a JavaScript identifier that is no reserved word.
    ClassName
);
name!(
    /// The name of a Worker. Taken as Cloudflare gives it; only [`ScriptName::new`] judges it.
    ScriptName
);
name!(
    /// Cloudflare's id of a namespace: 32 hex digits.
    NamespaceId
);
name!(
    /// The optimistic lock of a script's classes: any text.
    MigrationTag
);
