//! What the planner starts from, put in order: the configuration without its repetitions, the state in the light of the listing.

use std::collections::{BTreeMap, BTreeSet};

use super::problem::Problem;
use crate::durable::{
    BoundBefore, ClassName, Desired, Hosted, LiveNamespace, NamespaceId, ScriptName, Situation,
    StableId, Storage,
};

/// One namespace that the Worker binds from elsewhere.
pub(super) struct Foreign {
    /// The Worker it is bound from.
    pub(super) script: ScriptName,
    /// Whether it says that it comes from this Worker.
    pub(super) from_here: bool,
}

/// What the configuration says, with several bindings of one namespace as one; and where it contradicts itself.
pub(super) fn declared(
    situation: &Situation,
) -> (
    BTreeMap<StableId, Desired>,
    BTreeMap<StableId, Foreign>,
    Vec<Problem>,
) {
    let mut problems = Vec::new();
    let mut hosts = BTreeMap::<&StableId, BTreeSet<&ScriptName>>::new();
    let mut classes = BTreeMap::<&StableId, BTreeSet<&ClassName>>::new();
    let mut storages = BTreeMap::<&StableId, BTreeSet<Storage>>::new();
    let mut ids = BTreeMap::<&ClassName, BTreeSet<&StableId>>::new();
    for desired in &situation.after {
        hosts
            .entry(&desired.stable_id)
            .or_default()
            .insert(&situation.script);
        classes
            .entry(&desired.stable_id)
            .or_default()
            .insert(&desired.class);
        storages
            .entry(&desired.stable_id)
            .or_default()
            .extend(desired.storage);
        ids.entry(&desired.class)
            .or_default()
            .insert(&desired.stable_id);
    }
    for bound in &situation.elsewhere {
        if let Some(stable_id) = &bound.stable_id {
            hosts.entry(stable_id).or_default().insert(&bound.script);
            classes.entry(stable_id).or_default().extend(&bound.class);
        }
    }
    for (stable_id, scripts) in hosts.into_iter().filter(|(_, scripts)| scripts.len() > 1) {
        // Different classes are then to be expected, and no problem of their own.
        classes.remove(stable_id);
        problems.push(Problem::OneIdTwoHosts {
            stable_id: stable_id.clone(),
            scripts: scripts.into_iter().cloned().collect(),
        });
    }
    for (stable_id, classes) in classes.into_iter().filter(|(_, classes)| classes.len() > 1) {
        problems.push(Problem::OneIdTwoClasses {
            stable_id: stable_id.clone(),
            classes: classes.into_iter().cloned().collect(),
        });
    }
    for (stable_id, _) in storages
        .into_iter()
        .filter(|(_, storages)| storages.len() > 1)
    {
        problems.push(Problem::OneIdTwoStorages {
            stable_id: stable_id.clone(),
        });
    }
    for (class, stable_ids) in ids
        .into_iter()
        .filter(|(_, stable_ids)| stable_ids.len() > 1)
    {
        problems.push(Problem::TwoIdsOneClass {
            class: class.clone(),
            stable_ids: stable_ids.into_iter().cloned().collect(),
        });
    }

    let mut wanted = BTreeMap::<StableId, Desired>::new();
    for desired in &situation.after {
        wanted
            .entry(desired.stable_id.clone())
            .and_modify(|one| {
                one.storage = one.storage.or(desired.storage);
                one.names_script |= desired.names_script;
                one.transferred_from =
                    either(one.transferred_from.take(), &desired.transferred_from);
                one.previous_class = either(one.previous_class.take(), &desired.previous_class);
            })
            .or_insert_with(|| desired.clone());
    }
    let mut foreign = BTreeMap::<StableId, Foreign>::new();
    for bound in &situation.elsewhere {
        if let Some(stable_id) = &bound.stable_id {
            let from_here = bound
                .transferred_from
                .as_ref()
                .is_some_and(|from| is_here(situation, from));
            let one = foreign.entry(stable_id.clone()).or_insert_with(|| Foreign {
                script: bound.script.clone(),
                from_here,
            });
            one.from_here |= from_here;
        }
    }
    (wanted, foreign, problems)
}

/// The one that is given; of two, the same one in whatever order they come.
fn either<T: Ord + Clone>(one: Option<T>, other: &Option<T>) -> Option<T> {
    one.into_iter().chain(other.clone()).min()
}

/// Whether a name is this Worker's, be it the present or the planned one.
pub(super) fn is_here(situation: &Situation, script: &ScriptName) -> bool {
    *script == situation.script || situation.former_script.as_ref() == Some(script)
}

/// What the Worker's state says it hosts, sorted by what is known of it now.
pub(super) struct Present<'a> {
    /// Hosted, with a stable ID.
    pub(super) known: BTreeMap<&'a StableId, &'a Hosted>,
    /// Hosted, without.
    pub(super) unclaimed: BTreeMap<&'a ClassName, &'a Hosted>,
    /// Listed under another Worker since, or bound from one.
    pub(super) away: BTreeMap<&'a StableId, &'a LiveNamespace>,
    /// Hosted here according to the state, but listed under another Worker since.
    pub(super) left: BTreeMap<&'a StableId, (&'a Hosted, &'a LiveNamespace)>,
    /// Server names that a new namespace cannot have: they are unique in the account, and kept since creation.
    pub(super) held_names: BTreeSet<&'a str>,
}

impl<'a> Present<'a> {
    /// Sorts it.
    pub(super) fn of(situation: &'a Situation) -> Self {
        let gone: BTreeSet<&NamespaceId> = situation.evidence.gone.iter().collect();
        let listing = situation
            .evidence
            .namespaces
            .iter()
            .flatten()
            .filter(|live| !gone.contains(&live.id));
        let mut homes = BTreeMap::new();
        let mut held_names = BTreeSet::new();
        for live in listing {
            held_names.insert(live.name.as_str());
            homes.insert(&live.id, live);
        }
        let mut present = Self {
            known: BTreeMap::new(),
            unclaimed: BTreeMap::new(),
            away: BTreeMap::new(),
            left: BTreeMap::new(),
            held_names,
        };
        let mut before: Vec<&Hosted> = situation.before.iter().collect();
        before.sort_by(|a, b| {
            (&a.stable_id, &a.class, &a.namespace_id).cmp(&(
                &b.stable_id,
                &b.class,
                &b.namespace_id,
            ))
        });
        for hosted in before {
            if hosted
                .namespace_id
                .as_ref()
                .is_some_and(|id| gone.contains(id))
            {
                continue;
            }
            present.held_names.extend(hosted.server_name.as_deref());
            let home = hosted
                .namespace_id
                .as_ref()
                .and_then(|id| homes.get(id))
                .copied();
            match (
                &hosted.stable_id,
                home.filter(|home| is_elsewhere(situation, home)),
            ) {
                (Some(stable_id), Some(home)) => {
                    present.away.insert(stable_id, home);
                    present.left.insert(stable_id, (hosted, home));
                }
                (None, Some(_)) => {}
                // A state that gives one stable ID twice does not say which is meant; the second counts as unclaimed, which is never deleted.
                (Some(stable_id), None) if !present.known.contains_key(stable_id) => {
                    present.known.insert(stable_id, hosted);
                }
                (_, None) => {
                    present.unclaimed.insert(&hosted.class, hosted);
                }
            }
        }
        let mut bound_before: Vec<&BoundBefore> = situation.bound_before.iter().collect();
        bound_before.sort_by(|a, b| (&a.name, &a.namespace_id).cmp(&(&b.name, &b.namespace_id)));
        for bound in bound_before {
            let home = bound
                .namespace_id
                .as_ref()
                .and_then(|id| homes.get(id))
                .copied();
            if let (Some(stable_id), Some(home)) = (
                &bound.stable_id,
                home.filter(|home| is_elsewhere(situation, home)),
            ) {
                present.away.entry(stable_id).or_insert(home);
            }
        }
        present
    }
}

fn is_elsewhere(situation: &Situation, namespace: &LiveNamespace) -> bool {
    namespace
        .script
        .as_ref()
        .is_some_and(|script| !is_here(situation, script))
}
