//! How the classes of an upload and its `containers` refer to each other. Only the words are compared: local
//! Cloudflare runs no containers. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::entry::{Declared, Entry, Live, Storage};
use super::report::{Finding, Scenario};
use crate::cloudflare::failure::{ApiFailure, json_kind};

/// One of `metadata.containers`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    name: Option<String>,
    class: Option<String>,
}

/// Reads `containers` of an upload.
pub fn parse(value: &Value) -> Result<Vec<Container>, ApiFailure> {
    let wrong = |value: &Value, kind: &str| {
        ApiFailure::invalid(format!(
            "json: cannot unmarshal {} into Go struct field ScriptMetadata.containers of type {kind}",
            json_kind(value)
        ))
    };
    let list = value
        .as_array()
        .ok_or_else(|| wrong(value, "[]Container"))?;
    list.iter()
        .map(|value| {
            let fields = value.as_object().ok_or_else(|| wrong(value, "Container"))?;
            let text = |field: &str| match fields.get(field) {
                None | Some(Value::Null) => Ok(None),
                Some(Value::String(text)) => Ok(Some(text.clone())),
                Some(other) => Err(wrong(other, "string")),
            };
            Ok(Container {
                name: text("name")?,
                class: text("class_name")?,
            })
        })
        .collect()
}

/// Everything that does not fit.
pub(super) fn check(declared: &Declared, containers: &[Container]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut users: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let entries = declared.entries().filter_map(|(class, entry)| match entry {
        Entry::Live(live) => Some((class, live)),
        _ => None,
    });
    for (class, live) in entries {
        let Some(name) = &live.container else {
            continue;
        };
        findings.extend(check_reference(class, live, name, containers).err());
        users.entry(name).or_default().insert(class);
    }
    for (name, classes) in users.iter().filter(|(_, classes)| classes.len() > 1) {
        for class in classes {
            findings.push(Finding::new(
                Scenario::ContainerMultipleDurableObjects,
                class,
                format!(
                    "shares container '{name}' with another class; a container serves one class"
                ),
            ));
        }
    }
    for container in containers {
        findings.extend(check_wiring(declared, container).err());
    }
    findings
}

fn check_reference(
    class: &str,
    live: &Live,
    name: &str,
    containers: &[Container],
) -> Result<(), Finding> {
    let Some(container) = containers.iter().find(|c| c.name.as_deref() == Some(name)) else {
        return Err(Finding::new(
            Scenario::ContainerUndeclaredReference,
            class,
            format!("references container '{name}', which `containers` does not declare"),
        ));
    };
    if live.storage == Storage::LegacyKv {
        return Err(Finding::new(
            Scenario::InvalidExport,
            class,
            "uses a container, but is not a SQLite Durable Object",
        ));
    }
    match &container.class {
        Some(other) if other != class => Err(Finding::new(
            Scenario::ContainerWiringInconsistent,
            class,
            format!("references container '{name}', which `containers` gives to class '{other}'"),
        )),
        _ => Ok(()),
    }
}

/// A container that names a class, seen from there. One without a name is wired by the class alone.
fn check_wiring(declared: &Declared, container: &Container) -> Result<(), Finding> {
    let Some(class) = &container.class else {
        return Ok(());
    };
    let Some(live) = declared.live(class) else {
        return Err(Finding::new(
            Scenario::ContainerClassNotDurableObject,
            class,
            "has a container, but `exports` does not declare it as a Durable Object",
        ));
    };
    match (&container.name, &live.container) {
        (Some(name), used) if used.as_ref() != Some(name) => Err(Finding::new(
            Scenario::ContainerWiringInconsistent,
            class,
            format!(
                "has container '{name}' in `containers`, but its entry in `exports` does not reference it"
            ),
        )),
        _ => Ok(()),
    }
}
