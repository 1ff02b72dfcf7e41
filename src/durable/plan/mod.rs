//! What has to happen so that a Worker hosts the namespaces it shall host, as a value that leaves nothing to decide.

mod change;
mod decide;
mod given;
mod problem;
mod uploads;
mod warning;

#[cfg(test)]
mod cases;
#[cfg(test)]
mod model;

pub use change::{Change, Deletion};
pub use problem::{Problem, Subject};
pub use warning::Warning;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::tag::Claim;
use super::{ClassName, MigrationTag, NamespaceId, ScriptName, Situation, StableId, Storage};

/// The way from what a Worker hosts to what it shall host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MigrationPlan {
    /// What happens to which namespace, in the order in which it is finished, then by stable ID. Where there are problems, what
    /// would happen without them.
    pub changes: Vec<Change>,
    /// The uploads, in order: those that carry class changes, and one more where bindings had to be left out of the last of them.
    /// Empty if no class changes, and whenever there are problems.
    pub uploads: Vec<Upload>,
    /// What stays here until another Worker takes it.
    pub leaving: Vec<Leaving>,
    /// What the Worker hosts in the end, ordered by stable ID, classes without one last. Nothing of what it leaves.
    pub hosts: Vec<Placed>,
    /// Why the plan must not be applied.
    pub problems: Vec<Problem>,
    /// What a person should know before applying it.
    pub warnings: Vec<Warning>,
}

impl MigrationPlan {
    /// The namespaces whose data would be deleted. Whether that is allowed depends on what they hold, which is not known here.
    pub fn deletions(&self) -> impl Iterator<Item = &Deletion> {
        self.changes.iter().filter_map(|change| match change {
            Change::Delete(deletion) => Some(deletion),
            _ => None,
        })
    }

    /// What our tag shall say once everything is done: what the Worker hosts, and what it leaves until that is gone.
    pub fn claims(&self) -> Vec<Claim> {
        let hosts = self
            .hosts
            .iter()
            .filter_map(|host| Some(Claim::new(host.stable_id.as_ref()?, &host.class)));
        let leaving = self
            .leaving
            .iter()
            .map(|leaving| Claim::new(&leaving.stable_id, &leaving.class));
        let mut claims: Vec<Claim> = hosts.chain(leaving).collect();
        claims.sort();
        claims
    }
}

/// One upload of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upload {
    /// Its class changes; `None` for one that only brings back what the one before had to leave out.
    pub migration: Option<Migration>,
    /// Every class with a known stable ID that the script owns after it: what our tag says then.
    pub owned: Vec<Claim>,
    /// The classes that the server knows by another name than the code exports them by, for the time after this upload.
    pub aliases: Vec<Alias>,
    /// The bindings that it must not carry.
    pub left_out: BTreeSet<String>,
    /// Classes that are being left and have to be gone before, because their names are taken.
    pub awaits: Vec<ClassName>,
    /// Whether it gives a name to another namespace than had it before this run.
    pub reuses_names: bool,
}

/// A class under a temporary name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Alias {
    /// The name that the server has.
    pub held: ClassName,
    /// The name under which the code exports the class.
    pub exported: ClassName,
}

/// A namespace that another Worker takes over.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Leaving {
    /// Its identity.
    pub stable_id: StableId,
    /// Its class here.
    pub class: ClassName,
    /// Cloudflare's id, where it is known.
    pub namespace_id: Option<NamespaceId>,
    /// The Worker that takes it.
    pub to: ScriptName,
    /// Whether another namespace shall have the class name here.
    pub name_is_taken: bool,
}

/// A namespace that the Worker hosts after the plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// `None` for a class that still has no stable ID.
    pub stable_id: Option<StableId>,
    /// The class that implements it then.
    pub class: ClassName,
    /// Cloudflare's id; `None` for one that is only created, or not known.
    pub namespace_id: Option<NamespaceId>,
    /// Its server name, where it is known.
    pub server_name: Option<String>,
    /// Its storage.
    pub storage: Storage,
}

/// The class changes that one upload carries. No class is named in two roles.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Migration {
    /// The live tag; `None` where the script has none.
    pub old_tag: Option<MigrationTag>,
    /// The tag that this upload sets.
    pub new_tag: MigrationTag,
    /// Classes to create with SQLite storage.
    pub new_sqlite_classes: Vec<ClassName>,
    /// Classes to create with key-value storage.
    pub new_classes: Vec<ClassName>,
    /// From, to.
    pub renamed: Vec<(ClassName, ClassName)>,
    /// Classes to delete, with their data.
    pub deleted: Vec<ClassName>,
    /// Namespaces of other Workers that come here.
    pub transferred: Vec<Transferred>,
}

/// A namespace that moves to the Worker that uploads.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Transferred {
    /// The Worker that has it.
    pub from_script: ScriptName,
    /// Its class there.
    pub from: ClassName,
    /// Its class here.
    pub to: ClassName,
    /// Cloudflare's id.
    pub namespace_id: Option<NamespaceId>,
}

/// Decides what has to happen.
pub fn plan(situation: &Situation) -> MigrationPlan {
    decide::decide(situation)
}
