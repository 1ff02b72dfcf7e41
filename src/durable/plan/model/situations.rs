//! Generated situations of one Worker: what it hosts, what another one hosts and names like it, and what it shall host.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::sample::Index;

use super::cloud::{Bound, Cloud, Code, Namespace, Script, ServerNames, Shown};
use super::config::{Naming, binding_name};
use super::names::{CLASSES, IDS};
use super::worker::{Element, Entry, State, StateBinding, WorkerConfig};
use crate::durable::tag::{Claim, OurTag};
use crate::durable::{ClassName, Hosted, MigrationTag, NamespaceId, ScriptName, StableId, Storage};

/// A namespace that is there, or one that shall be: which ID, which class, which of the rest, and flags.
type Row = (Index, Index, Index, u8);

/// Where the test begins, and where it wants to go.
#[derive(Clone, Debug)]
pub struct Case {
    pub cloud: Cloud,
    pub state: State,
    /// What made `state`.
    pub before: WorkerConfig,
    pub after: WorkerConfig,
}

pub fn own() -> ScriptName {
    ScriptName::from_api("w")
}

fn other() -> ScriptName {
    ScriptName::from_api("other")
}

fn take<T>(list: &mut Vec<T>, index: Index) -> T {
    list.remove(index.index(list.len()))
}

fn class(text: &str) -> ClassName {
    ClassName::from_api(text)
}

/// What is generated for a case.
#[derive(Clone, Debug)]
pub struct Draft {
    server_names: ServerNames,
    naming: Naming,
    /// What the Worker hosts.
    hosted: Vec<Row>,
    /// What another Worker hosts.
    others: Vec<Row>,
    /// What the Worker shall host.
    wanted: Vec<Row>,
    tag: Option<String>,
}

pub fn draft() -> impl Strategy<Value = Draft> {
    let rows = |most| prop::collection::vec(any::<Row>(), 0..=most);
    let server_names = prop_oneof![Just(ServerNames::Kept), Just(ServerNames::Rewritten)];
    let naming = prop_oneof![
        Just(Naming::StableId),
        Just(Naming::Class),
        Just(Naming::Slot)
    ];
    let tag = prop::option::of("[a-z0-9.-]{1,40}");
    (server_names, naming, rows(5), rows(3), rows(5), tag).prop_map(
        |(server_names, naming, hosted, others, wanted, tag)| Draft {
            server_names,
            naming,
            hosted,
            others,
            wanted,
            tag,
        },
    )
}

impl Draft {
    pub fn case(&self) -> Case {
        let mut cloud = Cloud::new(self.server_names, Shown::AsSent);
        let few = |names: &[&'static str]| names.to_vec();
        let mut ids = few(IDS);
        let mut server_names = few(CLASSES);
        let mut classes = few(&CLASSES[..6]);
        let mut mine = Vec::new();
        for &(id, of, name, flags) in &self.hosted {
            let of = take(&mut classes, of);
            let stable_id = take(&mut ids, id);
            let name = match self.server_names {
                ServerNames::Kept => take(&mut server_names, name),
                ServerNames::Rewritten => of,
            };
            let namespace = Namespace {
                script: own(),
                class: class(of),
                server_name: format!("w_{name}"),
                storage: storage(flags & 64 != 0),
                holds_data: flags & 3 != 0,
                // Now and then one that no stable ID names.
                meant_for: (flags & 28 != 0).then(|| StableId::new(stable_id).expect("an ID")),
            };
            let id = cloud.next_id();
            mine.push((id.clone(), namespace.clone(), flags));
            cloud.namespaces.insert(id, namespace);
        }
        // Another Worker has classes of the same names, and may hold server names of this one.
        let mut theirs = Vec::new();
        let mut classes = few(&CLASSES[..6]);
        for &(id, of, name, flags) in &self.others {
            let of = take(&mut classes, of);
            let stable_id = take(&mut ids, id);
            let server_name = match (self.server_names, flags & 1) {
                (ServerNames::Kept, 1) => format!("w_{}", take(&mut server_names, name)),
                _ => format!("other_{of}"),
            };
            let namespace = Namespace {
                script: other(),
                class: class(of),
                server_name,
                storage: Storage::Sqlite,
                holds_data: true,
                meant_for: (flags & 6 != 0).then(|| StableId::new(stable_id).expect("an ID")),
            };
            let id = cloud.next_id();
            theirs.push((namespace.clone(), flags));
            cloud.namespaces.insert(id, namespace);
        }
        let before = self.config_before(&mine, &theirs);
        let after = self.config_after(&mine, &theirs);
        self.deploy(&mut cloud, &before);
        let state = state_of(&cloud, &before, &mine);
        Case {
            cloud,
            state,
            before,
            after,
        }
    }

    /// The configuration that made what is there.
    fn config_before(
        &self,
        mine: &[(NamespaceId, Namespace, u8)],
        theirs: &[(Namespace, u8)],
    ) -> WorkerConfig {
        let mut elements = Vec::new();
        for (_, namespace, flags) in mine {
            let Some(id) = &namespace.meant_for else {
                continue;
            };
            let element = Element {
                consents: flags & 32 != 0,
                ..Element::new(id.clone(), namespace.class.clone())
            };
            elements.push((flags & 128 == 0, element));
        }
        let bound = theirs.iter().filter(|(_, flags)| flags & 8 != 0);
        elements.extend(bound.map(|(namespace, _)| (true, foreign(namespace))));
        self.config(elements)
    }

    /// The configuration that is wanted.
    fn config_after(
        &self,
        mine: &[(NamespaceId, Namespace, u8)],
        theirs: &[(Namespace, u8)],
    ) -> WorkerConfig {
        let mut ids: Vec<StableId> = mine
            .iter()
            .filter_map(|(_, namespace, _)| namespace.meant_for.clone())
            .collect();
        let new = IDS.iter().filter_map(|id| StableId::new(id).ok());
        let new: Vec<StableId> = new
            .filter(|id| !ids.contains(id))
            .filter(|id| {
                !theirs
                    .iter()
                    .any(|(it, _)| it.meant_for.as_ref() == Some(id))
            })
            .take(2)
            .collect();
        ids.extend(new);
        let mut moves: Vec<&Namespace> = theirs
            .iter()
            .filter(|(it, flags)| it.meant_for.is_some() && flags & 48 == 48)
            .map(|(namespace, _)| namespace)
            .collect();
        let mut moved = BTreeSet::new();
        let mut classes = CLASSES[..6].to_vec();
        let mut elements = Vec::new();
        for &(id, of, previous, flags) in &self.wanted {
            let to = class(take(&mut classes, of));
            let element = if let (Some(namespace), true) = (moves.first(), flags & 7 == 7) {
                let id = namespace.meant_for.clone().expect("it has one");
                moves.remove(0);
                moved.insert(id.clone());
                Element {
                    script: Some(own()),
                    transferred_from: Some(other()),
                    ..Element::new(id, to)
                }
            } else if ids.is_empty() {
                continue;
            } else {
                let id = take(&mut ids, id);
                Element {
                    previous_class: (flags & 3 == 1)
                        .then(|| class(CLASSES[previous.index(CLASSES.len())])),
                    consents: flags & 32 != 0,
                    ..Element::new(id, to)
                }
            };
            elements.push((flags & 128 == 0, element));
        }
        let bound = theirs.iter().filter(|(namespace, flags)| {
            let id = namespace.meant_for.as_ref();
            flags & 64 != 0 && id.is_none_or(|id| !moved.contains(id))
        });
        elements.extend(bound.map(|(namespace, _)| (true, foreign(namespace))));
        self.config(elements)
    }

    fn config(&self, elements: Vec<(bool, Element)>) -> WorkerConfig {
        let mut config = WorkerConfig::default();
        for (slot, (is_bound, element)) in elements.into_iter().enumerate() {
            let id = element.stable_id.as_ref();
            let id = id.map_or_else(|| StableId::new("no ID").expect("an ID"), Clone::clone);
            let mut name = binding_name(self.naming, slot, &id, &element.class);
            match is_bound {
                true => {
                    while config.bindings.contains_key(&name) {
                        name.push('_');
                    }
                    config.bindings.insert(name, element);
                }
                false => drop(config.unbound.insert(slot.to_string(), element)),
            }
        }
        config
    }

    fn deploy(&self, cloud: &mut Cloud, before: &WorkerConfig) {
        for name in [own(), other()] {
            let owned = cloud.own(&name);
            let meant_for = |id: &NamespaceId| cloud.namespaces[id].meant_for.clone();
            let code = |id| meant_for(id).map_or(Code::Unclaimed, Code::Of);
            let claim =
                |(class, id): (&ClassName, &NamespaceId)| Some(Claim::new(&meant_for(id)?, class));
            let bound = |(binding, element): (&String, &Element)| {
                let script = element.script.clone().unwrap_or_else(|| name.clone());
                let bound = Bound {
                    namespace: cloud.own(&script)[&element.class].clone(),
                    class: element.class.clone(),
                    script,
                    meant_for: element.stable_id.clone(),
                };
                (binding.clone(), bound)
            };
            let is_own = name == own();
            let bindings = before.bindings.iter().filter(|_| is_own);
            let script = Script {
                migration_tag: self
                    .tag
                    .as_deref()
                    .filter(|_| is_own)
                    .map(MigrationTag::new),
                exports: owned
                    .iter()
                    .map(|(class, id)| (class.clone(), code(id)))
                    .collect(),
                bindings: bindings.map(bound).collect(),
                tag: Some(OurTag {
                    content_hash: Some(before.content(&name)),
                    claims: owned.iter().filter_map(claim).collect(),
                    ..OurTag::default()
                }),
                content: before.content(&name),
                etag: 0,
            };
            cloud.scripts.insert(name, script);
        }
    }
}

fn storage(kv: bool) -> Storage {
    match kv {
        true => Storage::KeyValue,
        false => Storage::Sqlite,
    }
}

fn foreign(namespace: &Namespace) -> Element {
    Element {
        stable_id: namespace.meant_for.clone(),
        script: Some(other()),
        ..Element::new(
            StableId::new("unused").expect("an ID"),
            namespace.class.clone(),
        )
    }
}

fn state_of(cloud: &Cloud, before: &WorkerConfig, mine: &[(NamespaceId, Namespace, u8)]) -> State {
    let entry = |(id, namespace, flags): &(NamespaceId, Namespace, u8)| Entry {
        hosted: Hosted {
            stable_id: namespace.meant_for.clone(),
            class: namespace.class.clone(),
            namespace_id: Some(id.clone()),
            server_name: Some(namespace.server_name.clone()),
            storage: namespace.storage,
            consent: flags & 32 != 0 && namespace.meant_for.is_some(),
        },
        script: own(),
    };
    let live = &cloud.scripts[&own()];
    let binding = |(name, element): (&String, &Element)| {
        let element = Element {
            script: element.script.clone().or_else(|| Some(own())),
            ..element.clone()
        };
        let namespace_id = Some(live.bindings[name].namespace.clone());
        let binding = StateBinding {
            element,
            namespace_id,
        };
        (name.clone(), binding)
    };
    State {
        entries: mine.iter().map(entry).collect(),
        bindings: before.bindings.iter().map(binding).collect(),
        unbound: before.unbound.clone(),
        content: Some(before.content(&own())),
        migration_tag: live.migration_tag.clone(),
        etag: Some(live.etag),
    }
}
