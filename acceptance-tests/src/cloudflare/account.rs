//! One account: its Workers and Durable Object namespaces, and the changes that are not uploads.
//! Pure: no HTTP, no clock, no runtime process. Every change happens completely or not at all.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::bindings::{Binding, Target};
use super::dispatch::{self, DispatchNamespace};
use super::domains::Domain;
use super::failure::ApiFailure;
use super::routes::{self, Route, Zone};
use super::script::{Code, Script};
use super::stores::Stores;

/// Everything the account holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Account {
    /// The account id.
    pub id: String,
    /// Its workers.dev subdomain, if one is registered.
    pub subdomain: Option<String>,
    /// What the account may use.
    pub plan: Plan,
    /// What is uncertain about Cloudflare and can be had both ways.
    pub names: NamespaceNames,
    /// What becomes of secrets that an upload does not mention.
    pub secrets: Secrets,
    /// What the account's Workers have in common.
    pub settings: AccountSettings,
    /// Workers by name; those in dispatch namespaces by the key that `dispatch` gives them.
    pub scripts: BTreeMap<String, Script>,
    /// Namespaces in the order of their creation.
    pub namespaces: Vec<Namespace>,
    /// The domains it has at Cloudflare.
    #[serde(default = "routes::first_zones")]
    pub zones: Vec<Zone>,
    /// Routes of all zones, in the order of their creation.
    #[serde(default)]
    pub routes: Vec<Route>,
    /// Custom domains, in the order of their creation.
    #[serde(default)]
    pub domains: Vec<Domain>,
    /// Dispatch namespaces, in the order of their creation.
    #[serde(default)]
    pub dispatch_namespaces: Vec<DispatchNamespace>,
    /// KV namespaces, databases, buckets and queues.
    #[serde(default)]
    pub stores: Stores,
    /// Rises with every change of what the runtime has to serve.
    pub serving: u64,
    seed: String,
    issued: u64,
}

/// A Durable Object namespace. Its id never changes and its data is kept under it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespace {
    /// 32 hex digits.
    pub id: String,
    /// `<script>_<class>` as it was at creation; unique in the account.
    pub name: String,
    /// The Worker that implements it now, by its key.
    pub script: String,
    /// The class that implements it now.
    pub class: String,
    /// Whether its storage is SQLite.
    pub sqlite: bool,
}

/// The Workers plan, as far as it decides anything here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Plan {
    /// No key-value backed classes (10097), at most 100 Workers.
    Free,
    /// An account that already had key-value backed classes and may create more.
    #[default]
    Paid,
    /// A paid account without key-value backed classes (10099).
    PaidWithoutKv,
}

/// What a rename does to the server-side name of a namespace. Nobody has published it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NamespaceNames {
    /// The name stays and blocks a new namespace that would get it (10065).
    #[default]
    Kept,
    /// The name follows the Worker and the class.
    Follow,
}

/// What becomes of secrets that an upload does not mention, by `keep_bindings` or `inherit`. Measurements and what
/// clients rely on disagree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Secrets {
    /// They go, like all other bindings.
    #[default]
    Dropped,
    /// They stay.
    Kept,
}

/// `/workers/account-settings`. Nothing here acts on them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountSettings {
    /// How Workers without a usage model of their own are charged.
    pub default_usage_model: String,
    /// Whether Workers run where energy is green.
    pub green_compute: bool,
}

impl Default for AccountSettings {
    fn default() -> Self {
        Self {
            default_usage_model: "standard".into(),
            green_compute: false,
        }
    }
}

impl Account {
    /// An empty account. `seed` makes the ids it hands out its own.
    pub fn new(id: impl Into<String>, seed: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            subdomain: Some("local".into()),
            plan: Plan::default(),
            names: NamespaceNames::default(),
            secrets: Secrets::default(),
            settings: AccountSettings::default(),
            scripts: BTreeMap::new(),
            namespaces: Vec::new(),
            zones: routes::first_zones(),
            routes: Vec::new(),
            domains: Vec::new(),
            dispatch_namespaces: Vec::new(),
            stores: Stores::default(),
            serving: 0,
            seed: seed.into(),
            issued: 0,
        }
    }

    /// Makes the account empty again, with its plan and subdomain as at the start.
    pub fn clear(&mut self) {
        let (serving, issued) = (self.serving + 1, self.issued);
        *self = Self {
            serving,
            issued,
            stores: self.stores.cleared(serving),
            ..Self::new(&self.id, &self.seed)
        };
    }

    /// The next unused id: 32 hex digits in the shape of a random UUID.
    pub fn issue_id(&mut self) -> String {
        self.issued += 1;
        let digest = Sha256::digest(format!("{}/{}", self.seed, self.issued));
        let mut id = hex::encode(&digest[..16]);
        id.replace_range(12..13, "4");
        id.replace_range(16..17, "a");
        id
    }

    /// The next unused id with the hyphens of a UUID, as versions and deployments have it.
    pub fn issue_uuid(&mut self) -> String {
        let mut id = self.issue_id();
        for place in [20, 16, 12, 8] {
            id.insert(place, '-');
        }
        id
    }

    /// The namespace that a Worker implements by a class.
    pub fn namespace(&self, script: &str, class: &str) -> Option<&Namespace> {
        self.namespaces
            .iter()
            .find(|ns| ns.script == script && ns.class == class)
    }

    /// The namespace with an id.
    pub fn namespace_by_id(&self, id: &str) -> Option<&Namespace> {
        self.namespaces.iter().find(|ns| ns.id == id)
    }

    /// The namespaces a Worker implements.
    pub fn namespaces_of<'a>(&'a self, script: &'a str) -> impl Iterator<Item = &'a Namespace> {
        self.namespaces.iter().filter(move |ns| ns.script == script)
    }

    /// The name of the Worker with an immutable id.
    pub fn name_of(&self, tag: &str) -> Option<&str> {
        self.scripts
            .iter()
            .find(|(_, script)| script.tag == tag)
            .map(|(name, _)| name.as_str())
    }

    /// The code that any Worker serves or could serve again.
    pub fn codes(&self) -> impl Iterator<Item = &Code> {
        self.scripts.values().flat_map(|script| {
            let versions = script.versions.iter().map(|version| &version.code);
            versions.chain([&script.code])
        })
    }

    /// Changes all of [`Self::codes`].
    pub fn try_for_each_code<E>(
        &mut self,
        mut change: impl FnMut(&mut Code) -> Result<(), E>,
    ) -> Result<(), E> {
        for script in self.scripts.values_mut() {
            change(&mut script.code)?;
            for version in &mut script.versions {
                change(&mut Arc::make_mut(version).code)?;
            }
        }
        Ok(())
    }

    /// Every binding of every Worker that reaches one of the given namespaces.
    pub fn bindings_to_namespaces<'a>(
        &'a self,
        wanted: impl Fn(&Namespace) -> bool + 'a,
    ) -> impl Iterator<Item = (&'a str, &'a Binding, &'a Namespace)> {
        self.scripts
            .iter()
            .flat_map(|(name, script)| {
                script
                    .bindings
                    .iter()
                    .map(move |binding| (name.as_str(), binding))
            })
            .filter_map(move |(name, binding)| match &binding.target {
                Target::Namespace(id) => self
                    .namespace_by_id(id)
                    .filter(|ns| wanted(ns))
                    .map(|ns| (name, binding, ns)),
                _ => None,
            })
    }

    /// Every service binding of every Worker that reaches the Worker with an immutable id.
    pub fn bindings_to_worker<'a>(
        &'a self,
        tag: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a Binding)> {
        self.scripts
            .iter()
            .flat_map(|(name, script)| {
                script
                    .bindings
                    .iter()
                    .map(move |binding| (name.as_str(), binding))
            })
            .filter(move |(_, binding)| matches!(&binding.target, Target::Worker(t) if t == tag))
    }

    /// Makes a Worker that has no code yet.
    pub fn create_worker(&mut self, name: &str, now: &str) -> Result<(), ApiFailure> {
        check_script_name(name)?;
        if self.scripts.contains_key(name) {
            return Err(already_exists(name));
        }
        let script = Script::without_code(self.issue_id(), now);
        self.scripts.insert(name.into(), script);
        Ok(())
    }

    /// Gives a Worker another name. Its namespaces, data and immutable id stay.
    pub fn rename_worker(&mut self, old: &str, new: &str) -> Result<(), ApiFailure> {
        if self.worker(old).is_none() {
            return Err(ApiFailure::no_service());
        }
        check_script_name(new)?;
        if old == new {
            return Ok(());
        }
        if self.scripts.contains_key(new) {
            return Err(already_exists(new));
        }
        let script = self.scripts.remove(old).expect("looked up above");
        self.scripts.insert(new.into(), script);
        let follow = self.names == NamespaceNames::Follow;
        for namespace in self.namespaces.iter_mut().filter(|ns| ns.script == old) {
            namespace.script = new.into();
            if follow {
                namespace.name = format!("{new}_{}", namespace.class);
            }
        }
        self.serving += 1;
        Ok(())
    }

    /// Deletes a Worker with its namespaces. Without `force` other Workers' bindings protect it.
    pub fn delete_worker(&mut self, name: &str, force: bool) -> Result<(), ApiFailure> {
        let script = self.scripts.get(name).ok_or_else(ApiFailure::no_worker)?;
        let tag = script.tag.clone();
        if !force {
            self.stores.check_delete(&tag)?;
            let shown = dispatch::name(name);
            let others = |found: Vec<&str>| {
                let mut names: Vec<&str> = found.into_iter().filter(|n| *n != name).collect();
                names.dedup();
                (!names.is_empty()).then(|| names.join("', '"))
            };
            let services = self
                .bindings_to_worker(&script.tag)
                .map(|(n, _)| n)
                .collect();
            if let Some(names) = others(services) {
                return Err(ApiFailure::refused(
                    10142,
                    format!(
                        "Cannot delete service '{shown}' because it is still referenced by service bindings in \
                     Workers '{names}'. Please remove bindings pointing to it and try again."
                    ),
                ));
            }
            let objects = self
                .bindings_to_namespaces(|ns| ns.script == name)
                .map(|(n, _, _)| n)
                .collect();
            if let Some(names) = others(objects) {
                // Code and text of this refusal are not published.
                return Err(ApiFailure::refused(
                    10061,
                    format!(
                        "Cannot delete service '{shown}' because its Durable Objects are still referenced by \
                     bindings in Workers '{names}'. Please remove bindings pointing to it and try again."
                    ),
                ));
            }
        }
        let tag = script.tag.clone();
        self.scripts.remove(name);
        self.namespaces.retain(|ns| ns.script != name);
        self.routes
            .retain(|route| route.worker.as_ref() != Some(&tag));
        self.domains.retain(|domain| domain.worker != tag);
        self.stores.forget_worker(&tag);
        self.serving += 1;
        Ok(())
    }
}

fn already_exists(name: &str) -> ApiFailure {
    ApiFailure::invalid(format!("A Worker named '{name}' already exists."))
}

/// Refuses names that Cloudflare refuses: 10016.
pub fn check_script_name(name: &str) -> Result<(), ApiFailure> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    if name.is_empty() || name.len() > 63 || name.starts_with('-') || !name.chars().all(allowed) {
        return Err(ApiFailure::refused(
            10016,
            "workers.api.error.invalid_script_name",
        ));
    }
    Ok(())
}
