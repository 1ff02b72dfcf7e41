//! What Read makes of a state: namespaces are known by their ids, and by our own tag where the state has none.

use std::collections::BTreeMap;

use super::cloud::Cloud;
use super::worker::{Element, Entry, State, StateBinding};
use crate::durable::{Hosted, ScriptName, StableId};

/// The state after a refresh. `None` if the Worker is gone.
pub fn read(cloud: &Cloud, own: &ScriptName, prior: &State) -> Option<State> {
    let live = cloud.scripts.get(own)?;
    let entries = hosted_now(cloud, own, &prior.entries);
    let mut bindings = BTreeMap::new();
    for (name, bound) in &live.bindings {
        let Some((class, script)) = cloud.shown(own, bound) else {
            continue;
        };
        let before = prior.bindings.get(name);
        let same = before.filter(|it| match &it.namespace_id {
            Some(id) => *id == bound.namespace,
            None => it.element.class == class,
        });
        let element = match same {
            Some(same) => same.element.clone(),
            None => Element {
                stable_id: entries
                    .iter()
                    .find(|it| {
                        script == *own && it.hosted.namespace_id == Some(bound.namespace.clone())
                    })
                    .and_then(|it| it.hosted.stable_id.clone()),
                script: None,
                storage: None,
                consents: false,
                transferred_from: None,
                previous_class: None,
                class: class.clone(),
            },
        };
        let now = StateBinding {
            element: Element {
                class,
                script: Some(script),
                ..element
            },
            namespace_id: Some(bound.namespace.clone()),
        };
        bindings.insert(name.clone(), now);
    }
    let mut unbound = prior.unbound.clone();
    for element in unbound.values_mut() {
        let entry = entries
            .iter()
            .find(|it| it.hosted.stable_id == element.stable_id);
        if let Some(entry) = entry {
            element.class = entry.hosted.class.clone();
        }
    }
    let overwritten = prior.etag.is_some_and(|etag| etag != live.etag);
    Some(State {
        entries,
        bindings,
        unbound,
        content: prior.content.clone().filter(|_| !overwritten),
        migration_tag: live.migration_tag.clone(),
        etag: prior.etag,
    })
}

/// The state of a Worker that no state has yet.
pub fn discover(cloud: &Cloud, own: &ScriptName) -> Option<State> {
    let state = read(cloud, own, &State::default())?;
    Some(State {
        content: Some(cloud.scripts[own].content.clone()),
        ..state
    })
}

/// What the Worker hosts now, and what it hosted last and lives elsewhere.
fn hosted_now(cloud: &Cloud, own: &ScriptName, prior: &[Entry]) -> Vec<Entry> {
    let tag = cloud.scripts[own].tag.as_ref();
    let claims = || tag.iter().flat_map(|tag| &tag.claims);
    let tagged_class = |id: &StableId| {
        let claim = claims().find(|claim| claim.stable_id.names(id));
        claim.map(|claim| &claim.class)
    };
    let mut entries: Vec<Entry> = Vec::new();
    let mut matched = Vec::new();
    for (id, namespace) in cloud.namespaces.iter().filter(|(_, it)| it.script == *own) {
        let same = prior.iter().find(|entry| match &entry.hosted.namespace_id {
            Some(known) => known == id,
            // Noted before its id was known; since then the class may have changed, which the tag knows.
            None => {
                let tagged = entry.hosted.stable_id.as_ref().and_then(tagged_class);
                let class = tagged.unwrap_or(&entry.hosted.class);
                *class == namespace.class && entry.script == *own
            }
        });
        let known = same.and_then(|same| same.hosted.stable_id.clone());
        let stable_id = known.or_else(|| {
            let claim = claims().find(|it| it.class == namespace.class)?;
            let tagged = claim.stable_id.exact().cloned();
            let has_it = |it: &Entry| it.hosted.stable_id == tagged;
            tagged.clone().filter(|_| !prior.iter().any(has_it))
        });
        matched.extend(same);
        entries.push(Entry {
            hosted: Hosted {
                stable_id,
                class: namespace.class.clone(),
                namespace_id: Some(id.clone()),
                server_name: Some(namespace.server_name.clone()),
                storage: namespace.storage,
                consent: same.is_some_and(|it| it.hosted.consent),
            },
            script: own.clone(),
        });
    }
    for entry in prior.iter().filter(|it| !matched.contains(it)) {
        let mut entry = entry.clone();
        match &entry.hosted.namespace_id {
            Some(id) => {
                let Some(live) = cloud.namespaces.get(id) else {
                    continue;
                };
                entry.script = live.script.clone();
                entry.hosted.class = live.class.clone();
            }
            // Nothing but our own tag says that it was ever made.
            None if entry
                .hosted
                .stable_id
                .as_ref()
                .and_then(tagged_class)
                .is_none() =>
            {
                continue;
            }
            None => {}
        }
        if !entries.iter().any(|it| it.key() == entry.key()) {
            entries.push(entry);
        }
    }
    entries
}
