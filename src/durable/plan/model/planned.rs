//! The plan of one Worker: the planner's word, and what the provider adds to it.

use std::collections::{BTreeMap, BTreeSet};

use super::cloud::Cloud;
use super::read::discover;
use super::worker::{Element, Entry, State, StateBinding, WorkerConfig};
use crate::durable::plan::{Deletion, MigrationPlan, Placed, Problem};
use crate::durable::{
    BoundBefore, BoundElsewhere, Change, ClassName, Desired, Evidence, Hosted, LiveNamespace,
    NamespaceId, ScriptName, Situation, StableId, plan,
};

/// How a Worker comes into the planned state.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Intent {
    Create,
    /// A create that was interrupted goes on.
    Resume,
    Update,
}

/// The plan of a Worker.
#[derive(Clone, Debug)]
pub struct Planned {
    pub intent: Intent,
    pub config: WorkerConfig,
    pub plan: MigrationPlan,
    pub upload: bool,
    /// The (class, id) pairs that it was made for.
    pub started_from: BTreeSet<(ClassName, NamespaceId)>,
    /// The state to reach; where an id is absent it is known only afterwards.
    pub after: State,
    /// Whether the plan says that nothing changes.
    pub is_empty: bool,
}

/// Why a plan must not be applied.
#[derive(Clone, Debug, PartialEq)]
pub enum Refusal {
    Planner(Problem),
    /// Data would be deleted without consent.
    HoldsData {
        stable_id: StableId,
        class: ClassName,
    },
    /// A Worker of that name is there already.
    Exists,
}

/// Plans a Worker from its refreshed state.
///
/// # Errors
/// Everything that stands in the way.
pub fn plan_worker(
    cloud: &Cloud,
    own: &ScriptName,
    prior: Option<State>,
    config: &WorkerConfig,
    planned_elsewhere: &[(StableId, ScriptName)],
) -> Result<Planned, Vec<Refusal>> {
    let content = config.content(own);
    let mut prior = prior;
    let mut intent = Intent::Update;
    if prior.is_none() {
        intent = Intent::Create;
        if let Some(live) = cloud.scripts.get(own) {
            let ours = live.tag.as_ref().and_then(|tag| tag.content_hash.as_ref());
            if ours != Some(&content) {
                return Err(vec![Refusal::Exists]);
            }
            intent = Intent::Resume;
            prior = discover(cloud, own);
        }
    }
    let prior = prior.unwrap_or_default();
    let migration = decide(cloud, own, &prior, config, intent, planned_elsewhere);
    let mut refusals: Vec<Refusal> = migration
        .problems
        .iter()
        .cloned()
        .map(Refusal::Planner)
        .collect();
    let gated = migration.deletions().filter(|it| holds_data(cloud, it));
    refusals.extend(gated.map(|deletion| Refusal::HoldsData {
        stable_id: deletion.stable_id.clone(),
        class: deletion.class.clone(),
    }));
    if !refusals.is_empty() {
        return Err(refusals);
    }
    let after = planned_state(own, &prior, config, &migration, content);
    let binds = |state: &State| -> BTreeMap<String, (ClassName, Option<ScriptName>)> {
        let essence = |it: &StateBinding| {
            let script = it.element.elsewhere(own).cloned();
            (it.element.class.clone(), script)
        };
        let bindings = state.bindings.iter();
        bindings
            .map(|(name, it)| (name.clone(), essence(it)))
            .collect()
    };
    let upload = intent == Intent::Create
        || prior.content != after.content
        || binds(&prior) != binds(&after)
        || !migration.uploads.is_empty();
    let by_key = |state: &State| -> BTreeMap<String, Entry> {
        let entries = state.entries.iter();
        entries.map(|it| (it.key(), it.clone())).collect()
    };
    let is_empty = intent == Intent::Update
        && !upload
        && by_key(&prior) == by_key(&after)
        && prior.bindings == after.bindings
        && prior.unbound == after.unbound;
    let own_entries = prior.entries.iter().filter(|it| it.script == *own);
    Ok(Planned {
        intent,
        config: config.clone(),
        upload,
        started_from: own_entries
            .filter_map(|it| Some((it.hosted.class.clone(), it.hosted.namespace_id.clone()?)))
            .collect(),
        after,
        is_empty,
        plan: migration,
    })
}

/// Whether the data gate refuses a deletion.
pub fn holds_data(cloud: &Cloud, deletion: &Deletion) -> bool {
    let id = deletion.namespace_id.as_ref();
    let namespace = id.and_then(|id| cloud.namespaces.get(id));
    namespace.is_some_and(|it| it.holds_data) && !deletion.consent
}

/// What the planner is given for a Worker, without what is known of others.
pub fn situation(own: &ScriptName, prior: &State, config: &WorkerConfig) -> Situation {
    let mut after = Vec::new();
    let mut elsewhere = Vec::new();
    for (binding, element) in config.elements() {
        match (element.elsewhere(own), &element.stable_id) {
            (Some(script), stable_id) => elsewhere.push(BoundElsewhere {
                stable_id: stable_id.clone(),
                script: script.clone(),
                class: Some(element.class.clone()),
                transferred_from: element.transferred_from.clone(),
                binding: binding.cloned(),
            }),
            (None, Some(stable_id)) => {
                let desired = Desired {
                    stable_id: stable_id.clone(),
                    class: element.class.clone(),
                    storage: element.storage,
                    names_script: element.script.is_some(),
                    transferred_from: element.transferred_from.clone(),
                    previous_class: element.previous_class.clone(),
                };
                if !after.contains(&desired) {
                    after.push(desired);
                }
            }
            // Bound by its class only.
            (None, None) => {}
        }
    }
    let ids: BTreeSet<&StableId> = after.iter().map(|it| &it.stable_id).collect();
    let is_wanted = |it: &Entry| {
        it.hosted
            .stable_id
            .as_ref()
            .is_some_and(|id| ids.contains(id))
    };
    let before = prior
        .entries
        .iter()
        .filter(|it| it.script == *own || is_wanted(it))
        .map(|it| it.hosted.clone())
        .collect();
    let bound_before = prior.bindings.iter().map(|(name, it)| BoundBefore {
        name: name.clone(),
        stable_id: it.element.stable_id.clone(),
        namespace_id: it.namespace_id.clone(),
    });
    Situation {
        script: own.clone(),
        former_script: None,
        old_tag: prior.migration_tag.clone(),
        before,
        bound_before: bound_before.collect(),
        bound_after: config.bindings.keys().cloned().collect(),
        after,
        elsewhere,
        evidence: Evidence::default(),
    }
}

/// The planner's word, given what it has to know.
fn decide(
    cloud: &Cloud,
    own: &ScriptName,
    prior: &State,
    config: &WorkerConfig,
    intent: Intent,
    planned_elsewhere: &[(StableId, ScriptName)],
) -> MigrationPlan {
    let mut situation = situation(own, prior, config);
    situation.evidence.planned_elsewhere = planned_elsewhere.to_vec();
    let migration = plan(&situation);
    let wanted = |id: &StableId| situation.after.iter().any(|it| it.stable_id == *id);
    let mut entries = prior.entries.iter();
    let moved =
        entries.any(|it| it.script != *own && it.hosted.stable_id.as_ref().is_some_and(&wanted));
    if !moved && !needs_evidence(&migration, &situation) {
        return migration;
    }
    let known: Vec<NamespaceId> = situation
        .before
        .iter()
        .filter_map(|it| it.namespace_id.clone())
        .collect();
    let mut evidence = cloud.evidence(own, &known);
    if intent == Intent::Create {
        let elsewhere = |it: &LiveNamespace| it.script.as_ref() != Some(own);
        evidence
            .namespaces
            .iter_mut()
            .for_each(|all| all.retain(elsewhere));
    }
    evidence.planned_elsewhere = situation.evidence.planned_elsewhere;
    situation.evidence = evidence;
    plan(&situation)
}

fn needs_evidence(migration: &MigrationPlan, situation: &Situation) -> bool {
    let mut changes = migration.changes.iter();
    let creates = changes.any(|change| matches!(change, Change::Create { .. }));
    let mut after = situation.after.iter();
    let moves = after.any(|desired| desired.transferred_from.is_some());
    let leaves = situation.elsewhere.iter().any(|bound| {
        let mut before = situation.before.iter();
        before.any(|it| it.stable_id.is_some() && it.stable_id == bound.stable_id)
    });
    creates || moves || leaves || !migration.problems.is_empty()
}

fn planned_state(
    own: &ScriptName,
    prior: &State,
    config: &WorkerConfig,
    migration: &MigrationPlan,
    content: String,
) -> State {
    let entries = planned_entries(own, prior, config, migration);
    let mut bindings = BTreeMap::new();
    for (name, element) in &config.bindings {
        let before = prior.bindings.get(name);
        let namespace_id = match element.elsewhere(own) {
            // What is known before counts first, wherever it lives now.
            None => prior
                .entries
                .iter()
                .chain(&entries)
                .filter(|it| it.hosted.namespace_id.is_some())
                .find(|it| match &element.stable_id {
                    Some(_) => it.hosted.stable_id == element.stable_id,
                    None => it.hosted.class == element.class,
                })
                .and_then(|it| it.hosted.namespace_id.clone()),
            Some(_) => before
                .filter(|it| {
                    let was = &it.element;
                    (&was.stable_id, &was.class, &was.script)
                        == (&element.stable_id, &element.class, &element.script)
                })
                .and_then(|it| it.namespace_id.clone()),
        };
        let element = Element {
            script: element.script.clone().or_else(|| Some(own.clone())),
            ..element.clone()
        };
        let planned = StateBinding {
            element,
            namespace_id,
        };
        bindings.insert(name.clone(), planned);
    }
    State {
        entries,
        bindings,
        unbound: config.unbound.clone(),
        content: Some(content),
        migration_tag: prior.migration_tag.clone(),
        etag: prior.etag,
    }
}

fn planned_entries(
    own: &ScriptName,
    prior: &State,
    config: &WorkerConfig,
    migration: &MigrationPlan,
) -> Vec<Entry> {
    let host = |host: &Placed| Entry {
        hosted: Hosted {
            stable_id: host.stable_id.clone(),
            class: host.class.clone(),
            namespace_id: host.namespace_id.clone(),
            server_name: host.server_name.clone(),
            storage: host.storage,
            consent: host
                .stable_id
                .as_ref()
                .is_some_and(|id| config.consents(own, id)),
        },
        script: own.clone(),
    };
    let mut entries: Vec<Entry> = migration.hosts.iter().map(host).collect();
    for leaving in &migration.leaving {
        let is_it = |id: &Option<StableId>| id.as_ref() == Some(&leaving.stable_id);
        let there = config
            .elements()
            .find(|(_, it)| it.elsewhere(own).is_some() && is_it(&it.stable_id));
        let before = prior.entries.iter().find(|it| is_it(&it.hosted.stable_id));
        if let Some(before) = before {
            let mut moved = before.clone();
            moved.script = leaving.to.clone();
            if let Some((_, there)) = there {
                moved.hosted.class = there.class.clone();
            }
            entries.push(moved);
        }
    }
    for entry in prior.entries.iter().filter(|it| it.script != *own) {
        if !entries.iter().any(|it| it.key() == entry.key()) {
            entries.push(entry.clone());
        }
    }
    entries
}
