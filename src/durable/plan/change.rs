//! Single changes, their one-line sentences, and the migration tag made of them.

use std::fmt;

use crate::durable::{ClassName, MigrationTag, NamespaceId, ScriptName, StableId, Storage};

/// What happens to one namespace. Displays as one sentence in a fixed grammar that people and tools read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A new, empty namespace.
    Create {
        /// Its identity.
        stable_id: StableId,
        /// The class that implements it.
        class: ClassName,
        /// Its storage.
        storage: Storage,
    },
    /// The same namespace, implemented by another class.
    Rename {
        /// Its identity.
        stable_id: StableId,
        /// The class until now.
        from: ClassName,
        /// The class from now on.
        to: ClassName,
    },
    /// A namespace that had no stable ID gets one, and maybe another class.
    Adopt {
        /// Its identity from now on.
        stable_id: StableId,
        /// The class until now.
        from: ClassName,
        /// The class from now on, often the same.
        to: ClassName,
    },
    /// The namespace and its data go.
    Delete(Deletion),
    /// Another Worker's namespace comes here.
    Transfer {
        /// Its identity.
        stable_id: StableId,
        /// The Worker that hosts it.
        from_script: ScriptName,
        /// Its class there.
        from: ClassName,
        /// Its class here.
        to: ClassName,
        /// Cloudflare's id.
        namespace_id: Option<NamespaceId>,
    },
    /// Another Worker takes the namespace.
    Leave {
        /// Its identity.
        stable_id: StableId,
        /// Its class here.
        class: ClassName,
        /// The Worker that takes it.
        to: ScriptName,
    },
}

/// A namespace that goes, with its data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deletion {
    /// Its identity.
    pub stable_id: StableId,
    /// The class that implements it.
    pub class: ClassName,
    /// Cloudflare's id, where it is known.
    pub namespace_id: Option<NamespaceId>,
    /// Whether the last apply recorded consent to delete stored data.
    pub consent: bool,
}

impl Change {
    /// The stable ID it is about.
    pub fn stable_id(&self) -> &StableId {
        match self {
            Self::Create { stable_id, .. }
            | Self::Rename { stable_id, .. }
            | Self::Adopt { stable_id, .. }
            | Self::Transfer { stable_id, .. }
            | Self::Leave { stable_id, .. } => stable_id,
            Self::Delete(deletion) => &deletion.stable_id,
        }
    }

    /// The words of it that go into a migration tag; `None` if no class changes.
    fn tag_words(&self) -> Option<String> {
        match self {
            Self::Create { class, .. } => Some(format!("create-{class}")),
            Self::Rename { from, to, .. } => Some(format!("rename-{from}-{to}")),
            Self::Adopt { from, to, .. } => (from != to).then(|| format!("rename-{from}-{to}")),
            Self::Delete(deletion) => Some(format!("delete-{}", deletion.class)),
            Self::Transfer {
                from_script,
                from,
                to,
                ..
            } => Some(format!("transfer-{from_script}-{from}-{to}")),
            Self::Leave { .. } => None,
        }
    }

    /// The class that it gives up here, and keeps no longer.
    pub(super) fn gives_up(&self) -> Option<&ClassName> {
        match self {
            Self::Rename { from, to, .. } | Self::Adopt { from, to, .. } => {
                (from != to).then_some(from)
            }
            Self::Delete(deletion) => Some(&deletion.class),
            Self::Leave { class, .. } => Some(class),
            Self::Create { .. } | Self::Transfer { .. } => None,
        }
    }

    /// The class that it takes here.
    pub(super) fn takes(&self) -> Option<&ClassName> {
        match self {
            Self::Rename { from, to, .. } | Self::Adopt { from, to, .. } => {
                (from != to).then_some(to)
            }
            Self::Create { class, .. } => Some(class),
            Self::Transfer { to, .. } => Some(to),
            Self::Delete(_) | Self::Leave { .. } => None,
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create {
                stable_id,
                class,
                storage,
            } => {
                let storage = match storage {
                    Storage::Sqlite => "SQLite",
                    Storage::KeyValue => "key-value",
                };
                write!(
                    f,
                    "create {}: {class} ({storage})",
                    OneLine(stable_id.as_str())
                )
            }
            Self::Rename {
                stable_id,
                from,
                to,
            } => {
                write!(
                    f,
                    "rename {}: {from} -> {to} (data kept)",
                    OneLine(stable_id.as_str())
                )
            }
            Self::Adopt {
                stable_id,
                from,
                to,
            } if from == to => {
                write!(f, "adopt {}: {to} (data kept)", OneLine(stable_id.as_str()))
            }
            Self::Adopt {
                stable_id,
                from,
                to,
            } => {
                write!(
                    f,
                    "adopt {}: {from} -> {to} (data kept)",
                    OneLine(stable_id.as_str())
                )
            }
            Self::Delete(deletion) => {
                write!(
                    f,
                    "delete {}: {} (its data is deleted)",
                    OneLine(deletion.stable_id.as_str()),
                    deletion.class
                )
            }
            Self::Transfer {
                stable_id,
                from_script,
                from,
                to,
                ..
            } => {
                write!(
                    f,
                    "transfer {}: {from} of {from_script} -> {to} (data kept)",
                    OneLine(stable_id.as_str())
                )
            }
            Self::Leave {
                stable_id,
                class,
                to,
            } => {
                write!(
                    f,
                    "leave {}: {class} to {to} (data kept)",
                    OneLine(stable_id.as_str())
                )
            }
        }
    }
}

/// A name on one line: a stable ID may hold line breaks, and must not forge a second sentence.
pub(super) struct OneLine<'a>(pub(super) &'a str);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            if character.is_control() || matches!(character, '\u{2028}' | '\u{2029}') {
                write!(f, "{}", character.escape_default())?;
            } else {
                write!(f, "{character}")?;
            }
        }
        Ok(())
    }
}

const TAG_WORDS_BYTES: usize = 80;
const TAG_PREFIX_BYTES: usize = 24;

/// The tag that an upload sets: what it changes, which upload of the run it is, and how the tag before began, so that the same
/// change made again later gets another tag. Never longer than 128 bytes.
pub(super) fn new_tag(
    changes: &[&Change],
    upload: usize,
    old: Option<&MigrationTag>,
) -> MigrationTag {
    let words: Vec<String> = changes
        .iter()
        .filter_map(|change| change.tag_words())
        .collect();
    let words = words.join("_");
    let mut tag = match head(&words, TAG_WORDS_BYTES) {
        whole if whole.len() == words.len() => words,
        cut => format!("{cut}~"),
    };
    tag.push_str(&format!(".{upload}"));
    if let Some(old) = old {
        tag.push_str(&format!(".after-{}", head(old.as_str(), TAG_PREFIX_BYTES)));
        if tag == old.as_str() {
            tag.push_str("-again");
        }
    }
    MigrationTag::new(&tag)
}

fn head(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}
