//! The state that an apply leaves: what was planned, and what Cloudflare said afterwards.

use std::collections::BTreeMap;

use super::classes::with_history;
use super::element::{Element, Home};
use super::hosting::{self, ELEMENT_MAPS, Entry};
use super::identity::Planned;
use super::live;
use crate::cloudflare::{AccountId, Service, Settings};
use crate::durable::{LiveNamespace, ScriptName};
use crate::tf::{Attr, Value};

/// What Cloudflare said after the last write.
#[derive(Default)]
pub struct Facts {
    /// The Worker.
    pub service: Option<Service>,
    /// Every namespace of the account.
    pub namespaces: Vec<LiveNamespace>,
    /// Binding name to namespace id, of bindings of other Workers' namespaces.
    pub bound: BTreeMap<String, String>,
    /// Whether it answers on workers.dev.
    pub workers_dev: Option<bool>,
    /// Its address there.
    pub url: Value,
}

impl Facts {
    /// The namespaces of one Worker.
    pub fn own<'a>(&'a self, own: &'a ScriptName) -> impl Iterator<Item = &'a LiveNamespace> {
        self.namespaces
            .iter()
            .filter(move |namespace| namespace.script.as_ref() == Some(own))
    }

    fn of_class<'a>(&'a self, own: &'a ScriptName, class: &str) -> Option<&'a LiveNamespace> {
        self.own(own).find(|namespace| {
            namespace
                .class
                .as_ref()
                .is_some_and(|c| c.as_str() == class)
        })
    }
}

/// Which namespace each binding of another Worker's class reaches, by the binding's name.
pub fn bound_ids(settings: &Settings) -> BTreeMap<String, String> {
    let foreign = settings
        .bindings
        .iter()
        .filter(|binding| live::text(binding, "script_name").is_some());
    foreign
        .filter_map(|binding| {
            Some((
                live::text(binding, "name")?.to_owned(),
                live::text(binding, "namespace_id")?.to_owned(),
            ))
        })
        .collect()
}

/// The state that a plan and what is known make. What is still unknown becomes null on the way to the core.
pub fn state_after(
    planned: &Value,
    facts: &Facts,
    plan: &Planned,
    account: &AccountId,
    own: &ScriptName,
) -> Value {
    let mut state = planned.clone();
    let mut fill = |attribute: &str, value: Value| {
        if state.get(attribute).is_unknown() {
            state.set(attribute, value);
        }
    };
    fill("account_id", account.as_str().into());
    if let Some(service) = &facts.service {
        fill("worker_id", service.worker_id.as_str().into());
        fill("etag", service.etag.clone().into());
        fill(
            "migration_tag",
            service
                .migration_tag
                .as_ref()
                .map(|tag| Value::from(tag.as_str()))
                .unwrap_or_default(),
        );
    }
    if let Some(enabled) = facts.workers_dev {
        fill("workers_dev", enabled.into());
        fill("url", facts.url.clone());
    }
    fill(
        "migrations",
        with_history(&Value::Null, plan.history.as_ref()),
    );
    let namespaces = match planned.get("durable_object_namespaces") {
        Value::Map(map) => filled(map, facts, own),
        // Known only now: after taking a Worker over.
        _ => taken_over(planned, facts, plan, own),
    };
    state.set("durable_object_namespaces", Value::Map(namespaces));
    for attribute in ELEMENT_MAPS {
        let Value::Map(mut map) = state.get(attribute).clone() else {
            continue;
        };
        for (name, element) in &mut map {
            if element.get("namespace_id").is_unknown() {
                let id = namespace_id(name, element, facts, own);
                element.set("namespace_id", id);
            }
        }
        state.set(attribute, Value::Map(map));
    }
    state
}

fn namespace_id(name: &str, element: &Value, facts: &Facts, own: &ScriptName) -> Value {
    let Some(Element::DurableObject(object)) = Element::of(element) else {
        return Value::Null;
    };
    match (
        object.home(&Attr::Known(own.clone())),
        object.class_name.known(),
    ) {
        (Home::Here(_) | Home::HereByClass, Some(class)) => facts
            .of_class(own, class.as_str())
            .map(|namespace| Value::from(namespace.id.as_str()))
            .unwrap_or_default(),
        (Home::There(script), Some(class)) => {
            let bound = facts.bound.get(name).map(|id| Value::from(id.as_str()));
            let listed = || {
                facts
                    .of_class(&script, class.as_str())
                    .map(|namespace| Value::from(namespace.id.as_str()))
            };
            bound.or_else(listed).unwrap_or_default()
        }
        _ => Value::Null,
    }
}

/// Planned entries, with the ids and server names of what was created.
fn filled(
    map: &BTreeMap<String, Value>,
    facts: &Facts,
    own: &ScriptName,
) -> BTreeMap<String, Value> {
    let mut map = map.clone();
    for value in map.values_mut() {
        let class = value
            .get("class_name")
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let live = facts.of_class(own, &class);
        if value.get("namespace_id").is_unknown() {
            value.set(
                "namespace_id",
                live.map(|namespace| Value::from(namespace.id.as_str())),
            );
        }
        if value.get("name").is_unknown() {
            value.set(
                "name",
                live.map(|namespace| Value::from(namespace.name.as_str())),
            );
        }
    }
    map
}

fn taken_over(
    planned: &Value,
    facts: &Facts,
    plan: &Planned,
    own: &ScriptName,
) -> BTreeMap<String, Value> {
    let placements = hosting::placements(planned, &Attr::Known(own.clone())).unwrap_or_default();
    let consent = hosting::wanted(&placements).consent;
    let entries = facts.own(own).filter_map(|namespace| {
        let class = namespace.class.clone()?;
        let claim = plan.claims.iter().find(|claim| claim.class == class);
        let stable_id = claim.and_then(|claim| claim.stable_id.exact().cloned());
        let consents = stable_id
            .as_ref()
            .and_then(|id| consent.get(id))
            .and_then(|consent| consent.known().copied());
        Some(Entry {
            stable_id,
            class,
            namespace_id: Some(namespace.id.clone()),
            server_name: Some(namespace.name.clone()),
            storage: namespace.storage,
            consent: consents == Some(true),
            script: Some(own.clone()),
        })
    });
    entries.map(|entry| (entry.key(), entry.value())).collect()
}
