//! Cloudflare's rules for classes, namespaces and bindings, read strictly: where nobody knows whether something is accepted, it is not.
//!
//! Beside what Cloudflare knows, every namespace, binding and class of a script remembers which stable ID it is *meant* for. No rule
//! looks at that. It is what [`Cloud::check`] compares: whoever means one namespace must not reach another.

use std::collections::{BTreeMap, BTreeSet};

use crate::durable::tag::OurTag;
use crate::durable::{
    ClassName, Evidence, LiveNamespace, Migration, MigrationTag, NamespaceId, ScriptName, StableId,
    Storage,
};

/// Whether a rename or a transfer gives a namespace a new server name, which nobody could measure yet (U-3).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ServerNames {
    Kept,
    Rewritten,
}

/// What is shown of a binding whose namespace, on another Worker, has got another class or script since. Neither was measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shown {
    AsSent,
    AsItIsNow,
}

/// One account.
#[derive(Clone, Debug)]
pub struct Cloud {
    pub server_names: ServerNames,
    pub shown: Shown,
    pub scripts: BTreeMap<ScriptName, Script>,
    pub namespaces: BTreeMap<NamespaceId, Namespace>,
    /// Counts namespaces and versions, so that none is like another.
    pub made: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Namespace {
    pub script: ScriptName,
    pub class: ClassName,
    pub server_name: String,
    pub storage: Storage,
    pub holds_data: bool,
    /// `None` for a class that no stable ID has named yet.
    pub meant_for: Option<StableId>,
}

/// The deployed version of a Worker.
#[derive(Clone, Debug)]
pub struct Script {
    pub migration_tag: Option<MigrationTag>,
    pub exports: BTreeMap<ClassName, Code>,
    pub bindings: BTreeMap<String, Bound>,
    pub tag: Option<OurTag>,
    /// The hash of its modules.
    pub content: String,
    /// Another one after every upload.
    pub etag: usize,
}

/// What a script exports as a class.
#[derive(Clone, Debug, PartialEq)]
pub enum Code {
    /// The class that the user wrote for the namespace of this stable ID.
    Of(StableId),
    /// A class that no stable ID has named yet.
    Unclaimed,
    /// A class that throws whenever it is used.
    Stub,
}

/// A binding as it is deployed: it follows the id of its namespace.
#[derive(Clone, Debug)]
pub struct Bound {
    pub namespace: NamespaceId,
    /// As the upload named them.
    pub class: ClassName,
    pub script: ScriptName,
    pub meant_for: Option<StableId>,
}

/// A binding as it is uploaded.
#[derive(Clone, Debug)]
pub struct Binding {
    pub class: ClassName,
    /// `None` for the uploading Worker itself.
    pub script: Option<ScriptName>,
    pub meant_for: Option<StableId>,
}

/// An upload.
#[derive(Clone, Debug)]
pub struct Version {
    pub migration: Option<Migration>,
    pub exports: BTreeMap<ClassName, Code>,
    pub bindings: BTreeMap<String, Binding>,
    pub tag: OurTag,
    pub content: String,
}

/// What a class of a script is after an upload.
enum Class {
    Existing(NamespaceId),
    New(Storage),
}

impl Cloud {
    pub fn new(server_names: ServerNames, shown: Shown) -> Self {
        Self {
            server_names,
            shown,
            scripts: BTreeMap::new(),
            namespaces: BTreeMap::new(),
            made: 0,
        }
    }

    /// The classes that a script owns.
    pub fn own(&self, script: &ScriptName) -> BTreeMap<ClassName, NamespaceId> {
        let own = self
            .namespaces
            .iter()
            .filter(|(_, namespace)| namespace.script == *script);
        own.map(|(id, namespace)| (namespace.class.clone(), id.clone()))
            .collect()
    }

    pub fn next_id(&mut self) -> NamespaceId {
        self.made += 1;
        NamespaceId::new(&format!("n{}", self.made))
    }

    fn holder(&self, server_name: &str) -> Option<&NamespaceId> {
        let mut all = self.namespaces.iter();
        all.find(|(_, namespace)| namespace.server_name == server_name)
            .map(|(id, _)| id)
    }

    /// The other scripts that bind a namespace.
    pub fn bound_elsewhere(&self, script: &ScriptName, id: &NamespaceId) -> bool {
        let mut others = self.scripts.iter().filter(|(other, _)| *other != script);
        others.any(|(_, other)| other.bindings.values().any(|bound| bound.namespace == *id))
    }

    /// Accepts all of an upload, or nothing.
    ///
    /// # Errors
    /// What Cloudflare says.
    pub fn upload(&mut self, script: &ScriptName, version: &Version) -> Result<(), String> {
        let own = self.own(script);
        let mut after: BTreeMap<ClassName, Class> = own
            .iter()
            .map(|(class, id)| (class.clone(), Class::Existing(id.clone())))
            .collect();
        if let Some(migration) = &version.migration {
            self.migrate(script, version, migration, &own, &mut after)?;
        }
        if let Some(class) = after.keys().find(|it| !version.exports.contains_key(*it)) {
            return Err(format!("10064 {script} does not export {class}"));
        }
        // What comes here in this upload is not found at its old place any more.
        let comes_here = |host: &ScriptName, class: &ClassName| {
            let mut moved = version.migration.iter().flat_map(|it| &it.transferred);
            moved.any(|it| it.from_script == *host && it.from == *class)
        };
        let elsewhere = |binding: &Binding| {
            let host = binding.script.as_ref().filter(|host| *host != script)?;
            let target = self.own(host).remove(&binding.class);
            Some(target.filter(|_| !comes_here(host, &binding.class)))
        };
        let mut bindings = BTreeMap::new();
        for (name, binding) in &version.bindings {
            let target = match elsewhere(binding) {
                Some(target) => target.map(Class::Existing),
                None => after.get(&binding.class).map(|class| match class {
                    Class::Existing(id) => Class::Existing(id.clone()),
                    Class::New(storage) => Class::New(*storage),
                }),
            };
            let Some(target) = target else {
                return Err(format!(
                    "10061 {script} binds {name} to {} of {:?}, which is not there",
                    binding.class, binding.script
                ));
            };
            bindings.insert(name, (target, binding));
        }
        // Nothing is refused from here on.
        let deleted = version.migration.iter().flat_map(|it| &it.deleted);
        for class in deleted {
            self.namespaces.remove(&own[class]);
        }
        let mut created = BTreeMap::new();
        for (class, what) in &after {
            let meant_for = match &version.exports[class] {
                Code::Of(stable_id) => Some(stable_id.clone()),
                Code::Unclaimed | Code::Stub => None,
            };
            match what {
                Class::New(storage) => {
                    let id = self.next_id();
                    let namespace = Namespace {
                        script: script.clone(),
                        class: class.clone(),
                        server_name: format!("{script}_{class}"),
                        storage: *storage,
                        holds_data: false,
                        meant_for,
                    };
                    self.namespaces.insert(id.clone(), namespace);
                    created.insert(class.clone(), id);
                }
                Class::Existing(id) => {
                    let rewritten = self.server_names == ServerNames::Rewritten;
                    let namespace = self.namespaces.get_mut(id).expect("it is owned");
                    let moves = namespace.script != *script || namespace.class != *class;
                    if moves && rewritten {
                        namespace.server_name = format!("{script}_{class}");
                    }
                    namespace.script = script.clone();
                    namespace.class = class.clone();
                    // The first stable ID that names it.
                    namespace.meant_for = namespace.meant_for.take().or(meant_for);
                }
            }
        }
        let bindings = bindings.into_iter().map(|(name, (target, binding))| {
            let namespace = match target {
                Class::Existing(id) => id,
                Class::New(_) => created[&binding.class].clone(),
            };
            let bound = Bound {
                namespace,
                class: binding.class.clone(),
                script: binding.script.clone().unwrap_or_else(|| script.clone()),
                meant_for: binding.meant_for.clone(),
            };
            (name.clone(), bound)
        });
        self.made += 1;
        let before = self.scripts.get(script);
        let deployed = Script {
            migration_tag: match &version.migration {
                Some(migration) => Some(migration.new_tag.clone()),
                None => before.and_then(|it| it.migration_tag.clone()),
            },
            exports: version.exports.clone(),
            bindings: bindings.collect(),
            tag: Some(version.tag.clone()),
            content: version.content.clone(),
            etag: self.made,
        };
        self.scripts.insert(script.clone(), deployed);
        Ok(())
    }

    fn migrate(
        &self,
        script: &ScriptName,
        version: &Version,
        migration: &Migration,
        own: &BTreeMap<ClassName, NamespaceId>,
        after: &mut BTreeMap<ClassName, Class>,
    ) -> Result<(), String> {
        let live = self.scripts.get(script);
        let tag = live.and_then(|live| live.migration_tag.as_ref());
        if tag != migration.old_tag.as_ref() {
            return Err(format!("10079 {script} has the tag {tag:?}"));
        }
        one_role_each(migration)?;
        let others = !migration.new_sqlite_classes.is_empty()
            || !migration.new_classes.is_empty()
            || !migration.renamed.is_empty()
            || !migration.deleted.is_empty();
        if others && !migration.transferred.is_empty() {
            return Err("U-28 a transfer beside other changes".into());
        }
        for class in &migration.deleted {
            self.may_delete(script, version, class, own)?;
            after.remove(class);
        }
        // Sources are those of the version before, and so are targets.
        let free = |class: &ClassName| match own.contains_key(class) {
            true => Err(format!("10074 {class} is already depended on")),
            false if !version.exports.contains_key(class) => {
                Err(format!("10070 {class} is not exported"))
            }
            false => Ok(()),
        };
        let name_is_free = |class: &ClassName, id: Option<&NamespaceId>| {
            let name = format!("{script}_{class}");
            match self.holder(&name) {
                Some(holder) if Some(holder) != id => Err(format!("10065 {name} is in use")),
                _ => Ok(()),
            }
        };
        let renames = self.server_names == ServerNames::Rewritten;
        for (from, to) in &migration.renamed {
            let Some(id) = own.get(from) else {
                return Err(format!("U-1 {script} has no {from}"));
            };
            free(to)?;
            if renames {
                name_is_free(to, Some(id))?;
            }
            after.remove(from);
            after.insert(to.clone(), Class::Existing(id.clone()));
        }
        for moved in &migration.transferred {
            let there = self.own(&moved.from_script).remove(&moved.from);
            let Some(id) = there.filter(|_| moved.from_script != *script) else {
                return Err(format!("U-2 {} has no {}", moved.from_script, moved.from));
            };
            free(&moved.to)?;
            if renames {
                name_is_free(&moved.to, Some(&id))?;
            }
            after.insert(moved.to.clone(), Class::Existing(id));
        }
        let sqlite = migration.new_sqlite_classes.iter();
        let created = sqlite.map(|class| (class, Storage::Sqlite)).chain(
            migration
                .new_classes
                .iter()
                .map(|class| (class, Storage::KeyValue)),
        );
        for (class, storage) in created {
            free(class)?;
            name_is_free(class, None)?;
            after.insert(class.clone(), Class::New(storage));
        }
        Ok(())
    }

    fn may_delete(
        &self,
        script: &ScriptName,
        version: &Version,
        class: &ClassName,
        own: &BTreeMap<ClassName, NamespaceId>,
    ) -> Result<(), String> {
        let Some(id) = own.get(class) else {
            return Err(format!("10074 {script} has no {class} to delete"));
        };
        if version.bindings.values().any(|it| it.class == *class) {
            return Err(format!("10061 a binding names {class}, which is deleted"));
        }
        if self.bound_elsewhere(script, id) {
            return Err(format!("{STILL_BOUND} {class}"));
        }
        let live = self.scripts.get(script);
        let mut reached = live.iter().flat_map(|live| &live.bindings);
        match reached.find(|(name, it)| it.namespace == *id && version.bindings.contains_key(*name))
        {
            Some((name, _)) => Err(format!("U-17 {name} reached {class}, which is deleted")),
            None => Ok(()),
        }
    }

    /// Deletes a script with its namespaces.
    ///
    /// # Errors
    /// When there is none, or another one binds one of them.
    pub fn delete(&mut self, script: &ScriptName) -> Result<(), String> {
        if !self.scripts.contains_key(script) {
            return Err(format!("10007 there is no {script}"));
        }
        let own = self.own(script);
        if own.values().any(|id| self.bound_elsewhere(script, id)) {
            return Err(format!("U-6 a namespace of {script} is bound elsewhere"));
        }
        self.namespaces.retain(|_, it| it.script != *script);
        self.scripts.remove(script);
        Ok(())
    }

    /// Whether everybody who means a namespace reaches that one, whatever Cloudflare thinks of it.
    ///
    /// # Errors
    /// Who does not.
    pub fn check(&self) -> Result<(), String> {
        for (name, script) in &self.scripts {
            for (binding, bound) in &script.bindings {
                let reached = self.namespaces.get(&bound.namespace);
                if reached.is_some_and(|it| it.is_another_than(bound.meant_for.as_ref())) {
                    return Err(format!(
                        "binding {binding} of {name}, meant for {:?}, reaches {reached:?}",
                        bound.meant_for
                    ));
                }
            }
            let own = self.own(name);
            for claim in script.tag.iter().flat_map(|tag| &tag.claims) {
                let owned = own.get(&claim.class).map(|id| &self.namespaces[id]);
                if owned.is_some_and(|it| it.is_another_than(claim.stable_id.exact())) {
                    return Err(format!("the tag of {name} says {claim:?} of {owned:?}"));
                }
            }
            for (class, id) in own {
                let namespace = &self.namespaces[&id];
                let right = match script.exports.get(&class) {
                    Some(Code::Stub) => true,
                    // Also what `ctx.exports.<Class>` of the user's code reaches.
                    Some(Code::Of(stable_id)) => namespace.meant_for.as_ref() == Some(stable_id),
                    Some(Code::Unclaimed) => namespace.meant_for.is_none(),
                    None => false,
                };
                if !right {
                    return Err(format!(
                        "{name} serves {namespace:?} with {:?}",
                        script.exports.get(&class)
                    ));
                }
            }
        }
        Ok(())
    }

    /// Class and script of a binding, as a read of the settings shows them.
    pub fn shown(&self, reader: &ScriptName, bound: &Bound) -> Option<(ClassName, ScriptName)> {
        let namespace = self.namespaces.get(&bound.namespace)?;
        let as_sent = self.shown == Shown::AsSent && namespace.script != *reader;
        Some(match as_sent {
            true => (bound.class.clone(), bound.script.clone()),
            false => (namespace.class.clone(), namespace.script.clone()),
        })
    }

    /// What the plan of a Worker can see of the rest of the account.
    pub fn evidence(&self, seen_from: &ScriptName, known: &[NamespaceId]) -> Evidence {
        let live = |(id, namespace): (&NamespaceId, &Namespace)| LiveNamespace {
            id: id.clone(),
            name: namespace.server_name.clone(),
            script: Some(namespace.script.clone()),
            class: Some(namespace.class.clone()),
            storage: namespace.storage,
        };
        let others = self.scripts.iter().filter(|(name, _)| *name != seen_from);
        let gone = known.iter().filter(|id| !self.namespaces.contains_key(*id));
        Evidence {
            namespaces: Some(self.namespaces.iter().map(live).collect()),
            gone: gone.cloned().collect(),
            tags: others
                .filter_map(|(name, script)| Some((name.clone(), script.tag.clone()?.claims)))
                .collect(),
            planned_elsewhere: Vec::new(),
        }
    }
}

/// How the refusal begins that a redeployed other Worker lifts.
pub const STILL_BOUND: &str = "10061 another Worker binds";

impl Namespace {
    fn is_another_than(&self, stable_id: Option<&StableId>) -> bool {
        matches!((&self.meant_for, stable_id), (Some(is), Some(meant)) if is != meant)
    }
}

fn one_role_each(migration: &Migration) -> Result<(), String> {
    let renamed = migration.renamed.iter().flat_map(|(from, to)| [from, to]);
    let named = migration
        .new_sqlite_classes
        .iter()
        .chain(&migration.new_classes)
        .chain(&migration.deleted)
        .chain(renamed)
        .chain(migration.transferred.iter().map(|moved| &moved.to));
    let mut seen = BTreeSet::new();
    for class in named {
        if !seen.insert(class) {
            return Err(format!("{class} is the target of more than one migration"));
        }
    }
    let mut taken = BTreeSet::new();
    for moved in &migration.transferred {
        if !taken.insert((&moved.from_script, &moved.from)) {
            return Err(format!("{} is transferred more than once", moved.from));
        }
    }
    Ok(())
}
