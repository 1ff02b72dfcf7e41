//! What a Worker hosts, as its state keeps it in `durable_object_namespaces`, and what its configuration asks for.

use std::collections::BTreeMap;

use super::element::{self, DurableObject, Element, Home};
use crate::durable::plan::{Leaving, Placed};
use crate::durable::{
    BoundBefore, BoundElsewhere, ClassName, Desired, Hosted, NamespaceId, ScriptName, StableId,
    Storage,
};
use crate::tf::{Attr, AttributePath, Value};

/// How the key of a class without a known stable ID begins.
pub const CLASS_KEY: &str = "class:";

/// The arguments that hold Durable Object elements.
pub const ELEMENT_MAPS: [&str; 2] = ["bindings", "durable_objects"];

/// One entry of `durable_object_namespaces`.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// `None` for a class that has none.
    pub stable_id: Option<StableId>,
    /// The class.
    pub class: ClassName,
    /// Cloudflare's id.
    pub namespace_id: Option<NamespaceId>,
    /// Its server name.
    pub server_name: Option<String>,
    /// Its storage.
    pub storage: Storage,
    /// Recorded consent.
    pub consent: bool,
    /// The Worker that hosts it.
    pub script: Option<ScriptName>,
}

impl Entry {
    /// Its key in the map.
    pub fn key(&self) -> String {
        key(self.stable_id.as_ref(), &self.class)
    }

    /// Whether it lives in the Worker of that name.
    pub fn lives_in(&self, own: &ScriptName) -> bool {
        self.script.as_ref().is_none_or(|script| script == own)
    }

    /// The entry as the planner takes it.
    pub fn hosted(&self) -> Hosted {
        Hosted {
            stable_id: self.stable_id.clone(),
            class: self.class.clone(),
            namespace_id: self.namespace_id.clone(),
            server_name: self.server_name.clone(),
            storage: self.storage,
            consent: self.consent,
        }
    }

    /// The entry as the state keeps it.
    pub fn value(&self) -> Value {
        let id = self
            .namespace_id
            .as_ref()
            .map(|id| Value::from(id.as_str()));
        Value::object([
            ("class_name", Value::from(self.class.as_str())),
            ("namespace_id", id.unwrap_or_default()),
            ("name", self.server_name.clone().into()),
            ("sqlite", (self.storage == Storage::Sqlite).into()),
            ("force_destroy", self.consent.into()),
            (
                "script_name",
                self.script
                    .as_ref()
                    .map(|script| Value::from(script.as_str()))
                    .unwrap_or_default(),
            ),
        ])
    }
}

/// The key of a namespace in the map.
pub fn key(stable_id: Option<&StableId>, class: &ClassName) -> String {
    stable_id.map_or_else(|| format!("{CLASS_KEY}{class}"), ToString::to_string)
}

/// The entries of a state.
pub fn entries(state: &Value) -> Vec<Entry> {
    let map = state.get("durable_object_namespaces").as_map();
    map.into_iter()
        .flatten()
        .filter_map(|(key, value)| entry(key, value))
        .collect()
}

fn entry(key: &str, value: &Value) -> Option<Entry> {
    let text = |member: &str| value.get(member).as_str();
    Some(Entry {
        stable_id: match key.strip_prefix(CLASS_KEY) {
            Some(_) => None,
            None => Some(StableId::new(key).ok()?),
        },
        class: ClassName::from_api(text("class_name")?),
        namespace_id: text("namespace_id").map(NamespaceId::new),
        server_name: text("name").map(str::to_owned),
        storage: element::storage(value.get("sqlite").as_bool().unwrap_or(true)),
        consent: value.get("force_destroy").as_bool() == Some(true),
        script: text("script_name").map(ScriptName::from_api),
    })
}

/// A Durable Object element and where it stands.
pub struct Placement {
    /// `bindings["ROOMS"]`.
    pub path: AttributePath,
    /// The element.
    pub object: DurableObject,
    /// Where its namespace lives.
    pub home: Home,
    /// The name of the binding; `None` for what is only listed in `durable_objects`.
    pub binding: Option<String>,
}

/// Every Durable Object element of a configuration, or `None` if it cannot be told what there is.
pub fn placements(config: &Value, own: &Attr<ScriptName>) -> Option<Vec<Placement>> {
    let mut placements = Vec::new();
    for attribute in ELEMENT_MAPS {
        let elements = config.get(attribute);
        if elements.is_unknown() {
            return None;
        }
        for (name, value) in elements.as_map().into_iter().flatten() {
            match Element::of(value) {
                Some(Element::Unknown) => return None,
                Some(Element::DurableObject(object)) => {
                    let home = object.home(own);
                    if home == Home::Unknown || (object.undecided() && !matches!(home, Home::ById))
                    {
                        return None;
                    }
                    let path = AttributePath::root(attribute).key(name);
                    placements.push(Placement {
                        path,
                        object: *object,
                        home,
                        binding: (attribute == "bindings").then(|| name.clone()),
                    });
                }
                Some(Element::Other(_)) | None => {}
            }
        }
    }
    Some(placements)
}

/// What the planner has to know of the elements.
#[derive(Default)]
pub struct Wanted {
    /// What this Worker shall host.
    pub after: Vec<Desired>,
    /// What it binds elsewhere.
    pub elsewhere: Vec<BoundElsewhere>,
    /// Consent by stable ID, as the elements give it. Unknown where one is unknown.
    pub consent: BTreeMap<StableId, Attr<bool>>,
}

/// Sorts elements by where their namespace lives.
pub fn wanted(placements: &[Placement]) -> Wanted {
    let mut wanted = Wanted::default();
    for Placement {
        object,
        home,
        binding,
        ..
    } in placements
    {
        match (home, object.class_name.known()) {
            (Home::Here(stable_id), Some(class)) => {
                let desired = Desired {
                    stable_id: stable_id.clone(),
                    class: class.clone(),
                    storage: object.storage.known().copied(),
                    names_script: object.script_name.known().is_some(),
                    transferred_from: object.transferred_from.known().cloned(),
                    previous_class: object.previous_class.known().cloned(),
                };
                if !wanted.after.contains(&desired) {
                    wanted.after.push(desired);
                }
                let consent = wanted
                    .consent
                    .entry(stable_id.clone())
                    .or_insert(Attr::Known(false));
                match object.force_destroy {
                    Attr::Known(true) if !consent.is_unknown() => *consent = Attr::Known(true),
                    Attr::Unknown => *consent = Attr::Unknown,
                    _ => {}
                }
            }
            (Home::There(script), class) => wanted.elsewhere.push(BoundElsewhere {
                stable_id: object.stable_id.known().cloned(),
                script: script.clone(),
                class: class.cloned(),
                transferred_from: object.transferred_from.known().cloned(),
                binding: binding.clone(),
            }),
            _ => {}
        }
    }
    wanted
}

/// What the bindings of a state reach.
pub fn bound(state: &Value) -> Vec<BoundBefore> {
    let bindings = state.get("bindings").as_map().into_iter().flatten();
    bindings
        .filter_map(|(name, value)| {
            let Some(Element::DurableObject(object)) = Element::of(value) else {
                return None;
            };
            Some(BoundBefore {
                name: name.clone(),
                stable_id: object.stable_id.known().cloned(),
                namespace_id: object.namespace_id.known().cloned(),
            })
        })
        .collect()
}

/// The planned `durable_object_namespaces`: what is hosted in the end, and what was hosted last and lives elsewhere now.
pub fn planned(
    hosts: &[Placed],
    leaving: &[Leaving],
    before: &[Entry],
    wanted: &Wanted,
    own: &ScriptName,
    former: &ScriptName,
) -> Value {
    let mut map = BTreeMap::new();
    for host in hosts {
        let key = key(host.stable_id.as_ref(), &host.class);
        let consent = host
            .stable_id
            .as_ref()
            .and_then(|id| wanted.consent.get(id))
            .copied();
        let entry = Entry {
            stable_id: host.stable_id.clone(),
            class: host.class.clone(),
            namespace_id: host.namespace_id.clone(),
            server_name: host.server_name.clone(),
            storage: host.storage,
            consent: false,
            script: Some(own.clone()),
        };
        let mut value = entry.value();
        value.set("force_destroy", consent.unwrap_or(Attr::Known(false)));
        if host.namespace_id.is_none() {
            value.set("namespace_id", Value::Unknown);
            value.set("name", Value::Unknown);
        }
        map.insert(key, value);
    }
    for leaving in leaving {
        let stays = before
            .iter()
            .find(|entry| entry.stable_id.as_ref() == Some(&leaving.stable_id));
        let there = wanted
            .elsewhere
            .iter()
            .find(|bound| bound.stable_id.as_ref() == Some(&leaving.stable_id));
        if let Some(entry) = stays {
            let moved = Entry {
                class: there
                    .and_then(|bound| bound.class.clone())
                    .unwrap_or_else(|| entry.class.clone()),
                script: Some(leaving.to.clone()),
                ..entry.clone()
            };
            map.insert(entry.key(), moved.value());
        }
    }
    for entry in before {
        if !entry.lives_in(former) {
            map.entry(entry.key()).or_insert_with(|| entry.value());
        }
    }
    Value::Map(map)
}
