//! What a person should know although the plan can be applied.

use super::problem::{Subject, summary};
use crate::durable::{ScriptName, StableId};

/// Something that may surprise.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Warning {
    /// Another Worker has, or shall have, a namespace of the same stable ID.
    AlsoElsewhere {
        /// The stable ID.
        stable_id: StableId,
        /// The other Worker.
        script: ScriptName,
    },
    /// The Worker that hosted the namespace before has nothing that could be moved.
    NothingToMove {
        /// The stable ID.
        stable_id: StableId,
        /// The Worker that `transferred_from` names.
        from: ScriptName,
    },
}

impl Warning {
    /// One line.
    pub fn summary(&self) -> String {
        match self {
            Self::AlsoElsewhere { stable_id, script } => {
                summary(&[stable_id.as_str(), script.as_str()], |name| {
                    format!(
                        "Another namespace `{}` exists on Worker `{}`",
                        name[0], name[1]
                    )
                })
            }
            Self::NothingToMove { stable_id, from } => {
                summary(&[stable_id.as_str(), from.as_str()], |name| {
                    format!("No namespace `{}` found on Worker `{}`", name[0], name[1])
                })
            }
        }
    }

    /// Why, and what to do.
    pub fn detail(&self) -> String {
        match self {
            Self::AlsoElsewhere { stable_id, script } => format!(
                "Worker `{script}` hosts, or is about to host, a namespace with the stable ID `{stable_id}`. This Worker gets its own, \
                 empty namespace. To share the one of `{script}`, set `script_name = \"{script}\"`."
            ),
            Self::NothingToMove { stable_id, from } => format!(
                "`transferred_from` says that the namespace `{stable_id}` was hosted by Worker `{from}`, but it was found neither there nor \
                 on any other Worker. A new, empty namespace is created. If it was never on `{from}`, remove `transferred_from`, or \
                 set it to \"\"."
            ),
        }
    }

    /// What it is about.
    pub fn subject(&self) -> Subject<'_> {
        match self {
            Self::AlsoElsewhere { stable_id, .. } | Self::NothingToMove { stable_id, .. } => {
                Subject::StableId(stable_id)
            }
        }
    }

    /// The attribute of the namespace that it is about.
    pub fn attribute(&self) -> &'static str {
        match self {
            Self::AlsoElsewhere { .. } => "script_name",
            Self::NothingToMove { .. } => "transferred_from",
        }
    }
}
