//! Recognizes classes of an imported Worker whose stable ID its tag has as a hash only, now that the configuration names the IDs.

use std::collections::BTreeMap;

use super::element::Home;
use super::hosting::{self, Placement};
use super::identity::HashedClaim;
use crate::durable::ScriptName;
use crate::tf::{Attr, Diagnostic, Diagnostics, Value};

/// The state before with these IDs, and an error for each class that the configuration gives to another one.
pub fn recognize(
    mut prior: Value,
    config: &Value,
    name: &Attr<ScriptName>,
    hashed: &[HashedClaim],
) -> (Value, Diagnostics) {
    let mut diagnostics = Diagnostics::default();
    let placements = hosting::placements(config, name);
    let (Some(placements), false, false) = (placements, prior.is_null(), hashed.is_empty()) else {
        return (prior, diagnostics);
    };
    let wanted = hosting::wanted(&placements).after;
    let mut entries = hosting::entries(&prior);
    for entry in entries.iter_mut().filter(|it| it.stable_id.is_none()) {
        let of_class = |it: &&HashedClaim| it.class == entry.class.as_str();
        let Some(claim) = hashed.iter().find(of_class) else {
            continue;
        };
        if let Some(desired) = wanted.iter().find(|it| claim.names(&it.stable_id)) {
            entry.stable_id = Some(desired.stable_id.clone());
            continue;
        }
        // By its class alone another ID would get its data.
        let takes = |it: &&Placement| {
            let classes = [&it.object.class_name, &it.object.previous_class];
            matches!(it.home, Home::Here(_))
                && classes.iter().any(|it| it.known() == Some(&entry.class))
        };
        if let Some(placement) = placements.iter().find(takes) {
            diagnostics.push(
                Diagnostic::error(
                    format!("Class {} has another stable ID", entry.class),
                    format!(
                        "The tag of the Worker says that its class `{}` has a stable ID that this configuration does not have (the tag has \
                         it as a hash only), so `{}` would take the data of another namespace. Declare the namespace with the ID that it \
                         had.",
                        entry.class, placement.path
                    ),
                )
                .at(placement.path.clone().attribute("stable_id")),
            );
        }
    }
    let map: BTreeMap<String, Value> = entries
        .iter()
        .map(|entry| (entry.key(), entry.value()))
        .collect();
    prior.set("durable_object_namespaces", Value::Map(map));
    (prior, diagnostics)
}
