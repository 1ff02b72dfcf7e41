//! The names of the field, as types that cannot be mixed up.
//!
//! `new` judges what a person wrote; `from_api` takes what Cloudflare reported, which exists and is therefore right.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Why a text is not a name of its kind. Reads after "`x` is not a valid class name: ".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidName(pub String);

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
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

/// How state names a class that has no stable ID; a stable ID of that form would be taken for one.
const CLASS_PREFIX: &str = "class:";

/// Longest stable ID in bytes.
const STABLE_ID_BYTES: usize = 255;

/// The longest label of a host name. Cloudflare's own limit is higher for Workers that workers.dev does not serve, but it is not
/// documented, and a longer name would be refused only after the upload, when the subdomain is switched on: so it is refused here.
const SCRIPT_NAME_BYTES: usize = 63;

impl StableId {
    /// Takes a stable ID as a person wrote it.
    pub fn new(text: &str) -> Result<Self, InvalidName> {
        if text.is_empty() {
            return Err(InvalidName("it must not be empty".into()));
        }
        if text.len() > STABLE_ID_BYTES {
            return Err(InvalidName(format!(
                "it has {} bytes, and at most {STABLE_ID_BYTES} are allowed",
                text.len()
            )));
        }
        if text.starts_with(CLASS_PREFIX) {
            return Err(InvalidName(format!(
                "it must not start with `{CLASS_PREFIX}`, which stands for classes that have no stable ID"
            )));
        }
        Ok(Self(text.into()))
    }
}

impl ClassName {
    /// Takes a class name as a person wrote it.
    ///
    /// `constructor` and `__proto__` pass on purpose: they are ordinary identifiers to the language and to Cloudflare, and nothing
    /// here keeps classes as members of a JavaScript object.
    pub fn new(text: &str) -> Result<Self, InvalidName> {
        let mut characters = text.chars();
        let Some(first) = characters.next() else {
            return Err(InvalidName("it must not be empty".into()));
        };
        if !starts_identifier(first) {
            return Err(InvalidName(format!(
                "a JavaScript class name starts with a letter, `$` or `_`, not with {first:?}"
            )));
        }
        if let Some(wrong) = characters.find(|&character| !continues_identifier(character)) {
            return Err(InvalidName(format!(
                "a JavaScript class name has letters, digits, `$` and `_` only, not {wrong:?}"
            )));
        }
        if RESERVED_WORDS.contains(&text) {
            return Err(InvalidName(
                "it is a reserved word of JavaScript modules".into(),
            ));
        }
        Ok(Self(text.into()))
    }

    /// Takes a class name that Cloudflare reported.
    pub fn from_api(text: &str) -> Self {
        Self(text.into())
    }
}

impl ScriptName {
    /// Takes a Worker's name as a person wrote it.
    pub fn new(text: &str) -> Result<Self, InvalidName> {
        const ALLOWED: &str = "lower-case letters, digits, `-` and `_` are allowed";
        if text.is_empty() {
            return Err(InvalidName(format!("it must not be empty; {ALLOWED}")));
        }
        let allowed =
            |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
        if let Some(wrong) = text.chars().find(|&character| !allowed(character)) {
            return Err(InvalidName(format!("{wrong:?} is not allowed; {ALLOWED}")));
        }
        if text.starts_with('-') {
            return Err(InvalidName(format!(
                "it must not start with `-`; {ALLOWED}"
            )));
        }
        if text.len() > SCRIPT_NAME_BYTES {
            return Err(InvalidName(format!(
                "it has {} characters, and at most {SCRIPT_NAME_BYTES} are allowed",
                text.len()
            )));
        }
        Ok(Self(text.into()))
    }

    /// Takes a Worker's name that Cloudflare reported.
    pub fn from_api(text: &str) -> Self {
        Self(text.into())
    }
}

impl NamespaceId {
    /// Takes Cloudflare's id of a namespace.
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }
}

impl MigrationTag {
    /// Takes a migration tag.
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }
}

fn starts_identifier(character: char) -> bool {
    character == '$' || character == '_' || unicode_ident::is_xid_start(character)
}

/// XID leaves out a handful of characters that ECMAScript's ID would allow after compatibility normalisation; nobody names a class so.
fn continues_identifier(character: char) -> bool {
    // ECMAScript also allows the zero-width non-joiner and joiner inside a name.
    character == '$'
        || matches!(character, '\u{200c}' | '\u{200d}')
        || unicode_ident::is_xid_continue(character)
}

/// Words that cannot name a class in a module, which is always strict code.
const RESERVED_WORDS: &[&str] = &[
    "arguments",
    "await",
    "break",
    "case",
    "catch",
    "class",
    "const",
    "continue",
    "debugger",
    "default",
    "delete",
    "do",
    "else",
    "enum",
    "eval",
    "export",
    "extends",
    "false",
    "finally",
    "for",
    "function",
    "if",
    "implements",
    "import",
    "in",
    "instanceof",
    "interface",
    "let",
    "new",
    "null",
    "package",
    "private",
    "protected",
    "public",
    "return",
    "static",
    "super",
    "switch",
    "this",
    "throw",
    "true",
    "try",
    "typeof",
    "var",
    "void",
    "while",
    "with",
    "yield",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn class(text: &str, expect: &str) {
        let verdict = ClassName::new(text).map_or_else(|why| why.to_string(), |_| "ok".into());
        assert_eq!(verdict, expect, "{text:?}");
    }

    #[track_caller]
    fn script(text: &str, expect: &str) {
        let verdict = ScriptName::new(text).map_or_else(|why| why.to_string(), |_| "ok".into());
        assert_eq!(verdict, expect, "{text:?}");
    }

    #[test]
    fn a_class_name_is_a_javascript_identifier() {
        for text in [
            "Counter",
            "$",
            "_",
            "$2",
            "counter",
            "Zähler",
            "部屋",
            "async",
            "of",
            "undefined",
            "A\u{200d}B",
        ] {
            class(text, "ok");
        }
        class("", "it must not be empty");
        class(
            "2nd",
            "a JavaScript class name starts with a letter, `$` or `_`, not with '2'",
        );
        class(
            "\u{200d}A",
            "a JavaScript class name starts with a letter, `$` or `_`, not with '\\u{200d}'",
        );
        class(
            "chat-room",
            "a JavaScript class name has letters, digits, `$` and `_` only, not '-'",
        );
        class(
            "A B",
            "a JavaScript class name has letters, digits, `$` and `_` only, not ' '",
        );
        class(
            "A\n",
            "a JavaScript class name has letters, digits, `$` and `_` only, not '\\n'",
        );
        class(
            "a.b",
            "a JavaScript class name has letters, digits, `$` and `_` only, not '.'",
        );
        class(
            "\\u0041",
            "a JavaScript class name starts with a letter, `$` or `_`, not with '\\\\'",
        );
    }

    #[test]
    fn a_reserved_word_is_no_class_name() {
        for text in [
            "class",
            "await",
            "yield",
            "let",
            "static",
            "enum",
            "implements",
            "package",
            "eval",
            "arguments",
            "default",
            "null",
        ] {
            class(text, "it is a reserved word of JavaScript modules");
        }
        class("Class", "ok");
    }

    #[test]
    fn members_of_every_javascript_object_are_class_names() {
        for text in [
            "constructor",
            "__proto__",
            "toString",
            "hasOwnProperty",
            "prototype",
        ] {
            class(text, "ok");
        }
    }

    #[test]
    fn a_worker_name_is_what_the_server_takes() {
        for text in [
            "a",
            "my-worker",
            "my_worker",
            "1",
            "_x",
            "trailing-",
            &"a".repeat(63),
        ] {
            script(text, "ok");
        }
        const ALLOWED: &str = "lower-case letters, digits, `-` and `_` are allowed";
        script("", &format!("it must not be empty; {ALLOWED}"));
        script("MyWorker", &format!("'M' is not allowed; {ALLOWED}"));
        script("my worker", &format!("' ' is not allowed; {ALLOWED}"));
        script("zähler", &format!("'ä' is not allowed; {ALLOWED}"));
        script("-x", &format!("it must not start with `-`; {ALLOWED}"));
        script(
            &"a".repeat(64),
            "it has 64 characters, and at most 63 are allowed",
        );
    }

    #[test]
    fn a_stable_id_has_any_characters_but_is_no_class_key() {
        for text in [
            "a",
            "chat:rooms",
            "a,b&c;d=e%",
            " ",
            "\n",
            "日本",
            "Class:A",
            &"x".repeat(255),
        ] {
            assert!(StableId::new(text).is_ok(), "{text:?}");
        }
        for text in ["", "class:", "class:A", &"x".repeat(256), &"ä".repeat(128)] {
            assert!(StableId::new(text).is_err(), "{text:?}");
        }
    }
}
