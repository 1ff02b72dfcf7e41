//! Durable Object namespaces, their stable IDs, and the migrations between two sets of them.
//!
//! Pure: no I/O, no clock, no Terraform types, no HTTP. Everything here is a value or a function of values.

use std::collections::BTreeSet;

pub mod name;
pub mod plan;
pub mod tag;

pub use name::{ClassName, InvalidName, MigrationTag, NamespaceId, ScriptName, StableId};
pub use plan::{
    Alias, Change, Deletion, Leaving, Migration, MigrationPlan, Placed, Problem, Subject,
    Transferred, Upload, Warning, plan,
};

/// Which of Cloudflare's two storage engines a namespace has. It is fixed when the namespace is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Storage {
    /// SQLite-backed, the default (`new_sqlite_classes`).
    Sqlite,
    /// Key-value backed (`new_classes`), refused on most accounts.
    KeyValue,
}

/// A namespace that the Worker hosts according to its own prior state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hosted {
    /// `None` for a class that no tool of stable IDs has named yet.
    pub stable_id: Option<StableId>,
    /// The class that implements it now.
    pub class: ClassName,
    /// Cloudflare's id of the namespace, where it is known.
    pub namespace_id: Option<NamespaceId>,
    /// The account-unique server name, `<script>_<class>` as they were when it was created.
    pub server_name: Option<String>,
    /// Fixed at creation.
    pub storage: Storage,
    /// Whether the last successful apply recorded consent to delete stored data.
    pub consent: bool,
}

/// A namespace that the Worker shall host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Desired {
    /// Its identity.
    pub stable_id: StableId,
    /// The class that shall implement it.
    pub class: ClassName,
    /// `None` means: as it is, or SQLite if it is new.
    pub storage: Option<Storage>,
    /// Whether the configuration names this Worker in `script_name`; a transfer to it is only possible then.
    pub names_script: bool,
    /// The script that hosted it before, from `transferred_from`.
    pub transferred_from: Option<ScriptName>,
    /// The class to take over when another tool deployed the Worker, from `previous_class_name`.
    pub previous_class: Option<ClassName>,
}

/// A namespace that the Worker binds and another Worker hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoundElsewhere {
    /// `None` where the binding names only script and class.
    pub stable_id: Option<StableId>,
    /// The hosting script.
    pub script: ScriptName,
    /// The class over there, where it is known.
    pub class: Option<ClassName>,
    /// From `transferred_from`; equal to this Worker when it hands the namespace over.
    pub transferred_from: Option<ScriptName>,
    /// The name of the binding; `None` where it is only listed.
    pub binding: Option<String>,
}

/// A binding of the prior state to a Durable Object namespace, whatever the configuration makes of its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoundBefore {
    /// The name of the binding.
    pub name: String,
    /// The stable ID, where the state has one.
    pub stable_id: Option<StableId>,
    /// The id of the namespace that it reached, where it is known.
    pub namespace_id: Option<NamespaceId>,
}

/// A namespace as the account lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveNamespace {
    /// Cloudflare's id.
    pub id: NamespaceId,
    /// The account-unique server name.
    pub name: String,
    /// The script that owns it. Absent on very old namespaces.
    pub script: Option<ScriptName>,
    /// The class that implements it. Absent on very old namespaces.
    pub class: Option<ClassName>,
    /// Its storage.
    pub storage: Storage,
}

/// What the account says about other Workers: the only evidence the planner has of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// Every namespace of the account, where it was read.
    pub namespaces: Option<Vec<LiveNamespace>>,
    /// Namespace ids that the account confirmed to be unknown (code 10066).
    pub gone: Vec<NamespaceId>,
    /// Stable ID → class of every other script whose tags say so.
    pub tags: Vec<(ScriptName, Vec<tag::Claim>)>,
    /// Stable IDs that this process plans another Worker to host.
    pub planned_elsewhere: Vec<(StableId, ScriptName)>,
}

/// Everything the planner decides from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Situation {
    /// The Worker's planned name.
    pub script: ScriptName,
    /// Its name until now, where this plan renames it: the account still lists it so.
    pub former_script: Option<ScriptName>,
    /// The live migration tag, where one is known.
    pub old_tag: Option<MigrationTag>,
    /// What it hosts, from its own prior state; empty on create.
    pub before: Vec<Hosted>,
    /// What it shall host.
    pub after: Vec<Desired>,
    /// What it binds elsewhere.
    pub elsewhere: Vec<BoundElsewhere>,
    /// What its bindings reached until now.
    pub bound_before: Vec<BoundBefore>,
    /// The names that are bindings from now on, whatever they reach.
    pub bound_after: BTreeSet<String>,
    /// What is known about other Workers.
    pub evidence: Evidence,
}
