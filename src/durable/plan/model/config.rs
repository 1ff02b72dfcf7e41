//! A whole configuration: namespaces and Workers, as one line of text.
//!
//! `X:R@B!<A Y:H | A[Y] B[X+] | A>B import C` reads: namespace `X` has the class `R`, `script_name` `B`, `force_destroy` and
//! `transferred_from` `A` (`<-` for `""`); `Y` has the class `H`. Worker `A` binds `Y`, `B` binds `X`, and goes on exporting what it
//! leaves. `A` comes after `B`. Worker `C` is imported.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::worker::{Element, WorkerConfig};
use crate::durable::{ClassName, ScriptName, StableId};

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    pub namespaces: BTreeMap<StableId, Namespace>,
    pub workers: BTreeMap<ScriptName, Binds>,
    /// (A, B): A refers to B, so it comes after it.
    pub edges: Vec<(ScriptName, ScriptName)>,
    pub imports: BTreeSet<ScriptName>,
}

/// A `cloudflare_do_namespace`.
#[derive(Clone, Debug, PartialEq)]
pub struct Namespace {
    pub class: ClassName,
    pub script: Option<ScriptName>,
    pub consents: bool,
    pub transferred_from: From,
}

/// `transferred_from` as it stands in a configuration, or as a plan has made it.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum From {
    #[default]
    Null,
    /// `""`.
    Nowhere,
    Script(ScriptName),
}

/// A `cloudflare_worker`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Binds {
    pub ids: BTreeSet<StableId>,
    pub keeps_exporting: bool,
}

/// What the names of bindings follow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Naming {
    StableId,
    Class,
    /// The first, the second, …
    Slot,
}

impl Config {
    /// What the plan of a Worker sees of it. `namespaces` are those of the plan.
    pub fn worker(
        &self,
        name: &ScriptName,
        namespaces: &BTreeMap<StableId, Namespace>,
        naming: Naming,
    ) -> WorkerConfig {
        let binds = &self.workers[name];
        let element = |(name, id): (String, StableId)| {
            let namespace = &namespaces[&id];
            let element = Element {
                script: namespace.script.clone(),
                consents: namespace.consents,
                transferred_from: match &namespace.transferred_from {
                    From::Script(script) => Some(script.clone()),
                    From::Null | From::Nowhere => None,
                },
                ..Element::new(id, namespace.class.clone())
            };
            (name, element)
        };
        WorkerConfig {
            bindings: self
                .bindings(name, naming)
                .into_iter()
                .map(element)
                .collect(),
            unbound: BTreeMap::new(),
            keeps_exporting: binds.keeps_exporting,
        }
    }

    /// What a Worker binds, by the names of the bindings.
    pub fn bindings(&self, worker: &ScriptName, naming: Naming) -> BTreeMap<String, StableId> {
        let mut bindings = BTreeMap::new();
        for (slot, id) in self.workers[worker].ids.iter().enumerate() {
            let mut name = binding_name(naming, slot, id, &self.namespaces[id].class);
            while bindings.contains_key(&name) {
                name.push('_');
            }
            bindings.insert(name, id.clone());
        }
        bindings
    }

    /// Whether a Worker binds a namespace.
    pub fn binds(&self, worker: &ScriptName, id: &StableId) -> bool {
        let binds = self.workers.get(worker);
        binds.is_some_and(|binds| binds.ids.contains(id))
    }

    /// The Workers that bind a namespace.
    pub fn binders<'a>(&'a self, id: &'a StableId) -> impl Iterator<Item = &'a ScriptName> {
        let workers = self.workers.iter();
        workers
            .filter(move |(_, binds)| binds.ids.contains(id))
            .map(|(name, _)| name)
    }

    /// Whether a user could mean it: each host that is named exists and binds the namespace, and no class is used twice.
    /// With `twins` also if several Workers bind a namespace without a host, so that each has its own.
    pub fn is_sane(&self, twins: bool) -> bool {
        let host_binds = |(id, it): (&StableId, &Namespace)| {
            let host = it.script.as_ref();
            host.is_none_or(|host| self.binds(host, id))
        };
        let shared_without_host =
            |(id, it): (&StableId, &Namespace)| it.script.is_none() && self.binders(id).count() > 1;
        let classes_differ = |(_, binds): (&ScriptName, &Binds)| {
            let classes: BTreeSet<&ClassName> = binds
                .ids
                .iter()
                .map(|id| &self.namespaces[id].class)
                .collect();
            classes.len() == binds.ids.len()
        };
        !self.workers.is_empty()
            && self.namespaces.iter().all(host_binds)
            && (twins || !self.namespaces.iter().any(shared_without_host))
            && self.workers.iter().all(classes_differ)
    }

    /// Without what nothing needs, and bindings of nothing.
    pub fn tidied(mut self) -> Self {
        let bound: BTreeSet<StableId> = self
            .workers
            .values()
            .flat_map(|binds| binds.ids.iter().cloned())
            .collect();
        self.namespaces.retain(|id, _| bound.contains(id));
        self.without_dangling()
    }

    /// Without bindings of namespaces that are not there.
    pub fn without_dangling(mut self) -> Self {
        for binds in self.workers.values_mut() {
            binds.ids.retain(|id| self.namespaces.contains_key(id));
        }
        self
    }

    /// The configuration of a line.
    pub fn of(text: &str) -> Self {
        let mut parts = text.split('|').map(str::trim);
        let mut config = Self::default();
        for word in parts.next().unwrap_or_default().split_whitespace() {
            let (id, namespace) = Namespace::of(word);
            config.namespaces.insert(id, namespace);
        }
        for word in parts.next().unwrap_or_default().split_whitespace() {
            let (name, binds) = word.split_once('[').expect("A[XY]");
            let binds = binds.trim_end_matches(']');
            let ids = binds.chars().filter(|it| *it != '+');
            let binds = Binds {
                ids: ids.map(|it| id(&it.to_string())).collect(),
                keeps_exporting: binds.contains('+'),
            };
            config.workers.insert(script(name), binds);
        }
        let mut imports = false;
        for word in parts.next().unwrap_or_default().split_whitespace() {
            match word.split_once('>') {
                Some((client, host)) => config.edges.push((script(client), script(host))),
                None if imports => drop(config.imports.insert(script(word))),
                None => imports = word == "import",
            }
        }
        config
    }
}

impl Namespace {
    pub fn new(class: ClassName) -> Self {
        Self {
            class,
            script: None,
            consents: false,
            transferred_from: From::Null,
        }
    }

    fn of(word: &str) -> (StableId, Self) {
        let (stable_id, rest) = word.split_once(':').expect("X:R");
        let (rest, from) = match rest.split_once('<') {
            Some((rest, "-")) => (rest, From::Nowhere),
            Some((rest, from)) => (rest, From::Script(script(from))),
            None => (rest, From::Null),
        };
        let consents = rest.ends_with('!');
        let rest = rest.trim_end_matches('!');
        let (class, host) = match rest.split_once('@') {
            Some((class, host)) => (class, Some(script(host))),
            None => (rest, None),
        };
        let namespace = Self {
            class: ClassName::from_api(class),
            script: host,
            consents,
            transferred_from: from,
        };
        (id(stable_id), namespace)
    }
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (id, it) in &self.namespaces {
            write!(f, "{id}:{}", it.class)?;
            if let Some(script) = &it.script {
                write!(f, "@{script}")?;
            }
            f.write_str(if it.consents { "!" } else { "" })?;
            match &it.transferred_from {
                From::Null => {}
                From::Nowhere => f.write_str("<-")?,
                From::Script(script) => write!(f, "<{script}")?,
            }
            f.write_str(" ")?;
        }
        f.write_str("|")?;
        for (name, binds) in &self.workers {
            let ids: String = binds.ids.iter().map(StableId::as_str).collect();
            let keeps = if binds.keeps_exporting { "+" } else { "" };
            write!(f, " {name}[{ids}{keeps}]")?;
        }
        if !self.edges.is_empty() || !self.imports.is_empty() {
            f.write_str(" |")?;
        }
        for (client, host) in &self.edges {
            write!(f, " {client}>{host}")?;
        }
        if !self.imports.is_empty() {
            let names: Vec<&str> = self.imports.iter().map(ScriptName::as_str).collect();
            write!(f, " import {}", names.join(" "))?;
        }
        Ok(())
    }
}

/// The name of a binding.
pub fn binding_name(naming: Naming, slot: usize, id: &StableId, class: &ClassName) -> String {
    match naming {
        Naming::StableId => id.to_string(),
        Naming::Class => class.to_string(),
        Naming::Slot => format!("SLOT{slot}"),
    }
}

pub fn id(text: &str) -> StableId {
    StableId::new(text).expect("a stable ID")
}

pub fn script(text: &str) -> ScriptName {
    ScriptName::from_api(text)
}

#[test]
fn a_configuration_is_read_as_it_is_shown() {
    for text in [
        "X:R@B!<A Y:H<- | A[Y] B[X+] | A>B import C",
        "X:R | A[X]",
        "| A[]",
    ] {
        assert_eq!(Config::of(text).to_string(), text);
    }
}
