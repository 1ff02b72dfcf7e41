//! What has to happen so that a Worker hosts the namespaces it shall host, as a value that leaves nothing to decide.

mod change;
mod decide;
mod given;
mod problem;
mod warning;

#[cfg(test)]
mod cases;
#[cfg(test)]
mod model;

pub use change::{Change, Deletion};
pub use problem::{Problem, Subject};
pub use warning::Warning;

use super::tag::Claim;
use super::{ClassName, MigrationTag, NamespaceId, Situation, StableId, Storage};

/// The way from what a Worker hosts to what it shall host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MigrationPlan {
    /// What happens to which namespace, ordered by stable ID. Where there are problems, what would happen without them.
    pub changes: Vec<Change>,
    /// The uploads that carry class changes, in order. Empty if no class changes, and whenever there are problems.
    pub uploads: Vec<Migration>,
    /// What the Worker hosts in the end, ordered by stable ID, classes without one last.
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
            Change::Create { .. } | Change::Rename { .. } | Change::Adopt { .. } => None,
        })
    }

    /// What our tag shall say once everything is done.
    pub fn claims(&self) -> Vec<Claim> {
        let claim = |host: &Placed| Some(Claim::new(host.stable_id.as_ref()?, &host.class));
        self.hosts.iter().filter_map(claim).collect()
    }
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
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// Every class with a known stable ID that the script owns after this upload: what our tag says then.
    pub owned: Vec<Claim>,
}

/// Decides what has to happen.
pub fn plan(situation: &Situation) -> MigrationPlan {
    decide::decide(situation)
}
