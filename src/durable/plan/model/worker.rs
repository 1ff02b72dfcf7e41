//! The configuration of one Worker, and its state.

use std::collections::{BTreeMap, BTreeSet};

use crate::durable::{ClassName, Hosted, MigrationTag, NamespaceId, ScriptName, StableId, Storage};

/// The configuration of a Worker, as far as Durable Objects go.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WorkerConfig {
    pub bindings: BTreeMap<String, Element>,
    /// Hosted without a binding.
    pub unbound: BTreeMap<String, Element>,
    /// Whether the code goes on exporting the classes that the Worker leaves to another one.
    pub keeps_exporting: bool,
}

/// A Durable Object element.
#[derive(Clone, Debug, PartialEq)]
pub struct Element {
    pub stable_id: Option<StableId>,
    pub class: ClassName,
    pub script: Option<ScriptName>,
    pub storage: Option<Storage>,
    pub consents: bool,
    pub transferred_from: Option<ScriptName>,
    pub previous_class: Option<ClassName>,
}

impl Element {
    pub fn new(stable_id: StableId, class: ClassName) -> Self {
        Self {
            stable_id: Some(stable_id),
            class,
            script: None,
            storage: None,
            consents: false,
            transferred_from: None,
            previous_class: None,
        }
    }

    /// The other Worker that hosts it.
    pub fn elsewhere(&self, own: &ScriptName) -> Option<&ScriptName> {
        self.script.as_ref().filter(|script| *script != own)
    }
}

impl WorkerConfig {
    pub fn elements(&self) -> impl Iterator<Item = (Option<&String>, &Element)> {
        let bindings = self.bindings.iter().map(|(name, it)| (Some(name), it));
        bindings.chain(self.unbound.values().map(|it| (None, it)))
    }

    /// What the Worker shall host: stable ID and element.
    pub fn hosted<'a>(
        &'a self,
        own: &'a ScriptName,
    ) -> impl Iterator<Item = (&'a StableId, &'a Element)> {
        let local = self
            .elements()
            .filter(|(_, it)| it.elsewhere(own).is_none());
        local.filter_map(|(_, element)| Some((element.stable_id.as_ref()?, element)))
    }

    /// The hash of the code. It depends on the names of the classes and on nothing else: the code does not say stable IDs.
    pub fn content(&self, own: &ScriptName) -> String {
        let classes: BTreeSet<&str> = self
            .hosted(own)
            .map(|(_, element)| element.class.as_str())
            .collect();
        format!("{classes:?} {}", self.keeps_exporting)
    }

    pub fn consents(&self, own: &ScriptName, stable_id: &StableId) -> bool {
        self.hosted(own)
            .any(|(id, element)| id == stable_id && element.consents)
    }
}

/// An entry of `durable_object_namespaces`.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub hosted: Hosted,
    pub script: ScriptName,
}

impl Entry {
    pub fn key(&self) -> String {
        match &self.hosted.stable_id {
            Some(stable_id) => stable_id.to_string(),
            None => format!("class:{}", self.hosted.class),
        }
    }
}

/// A binding of a state.
#[derive(Clone, Debug, PartialEq)]
pub struct StateBinding {
    pub element: Element,
    pub namespace_id: Option<NamespaceId>,
}

/// The state of a Worker.
#[derive(Clone, Debug, Default)]
pub struct State {
    pub entries: Vec<Entry>,
    pub bindings: BTreeMap<String, StateBinding>,
    pub unbound: BTreeMap<String, Element>,
    pub content: Option<String>,
    pub migration_tag: Option<MigrationTag>,
    /// Of the last finished upload of ours.
    pub etag: Option<usize>,
}
