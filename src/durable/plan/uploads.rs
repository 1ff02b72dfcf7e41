//! The order of the class changes: park, transfer, place.
//!
//! In one upload a class has one role only, so a name that one namespace gives up and another one takes needs two. In between, the
//! namespace that takes it waits under a temporary name of its own. A final name is thus never held by another namespace, and
//! neither a binding nor `ctx.exports` nor another Worker can reach the wrong data.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

use super::change::{Change, new_tag};
use super::given::Present;
use super::{Alias, Migration, MigrationPlan, Transferred, Upload};
use crate::durable::tag::Claim;
use crate::durable::{ClassName, MigrationTag, Situation, StableId, Storage};

/// How temporary class names begin.
const PARKED: &str = "Parked_";

/// Adds the uploads to a plan without problems, and puts its changes into the order in which they are finished.
pub(super) fn arrange(situation: &Situation, present: &Present<'_>, plan: &mut MigrationPlan) {
    let arranged = Arrangement::of(situation, present, plan);
    let phases = [
        arranged.park(plan),
        arranged.transfer(plan),
        arranged.place(plan),
    ];
    plan.uploads = arranged.uploads(plan, phases);
    plan.changes.sort_by(|a, b| {
        let order = |change: &Change| (arranged.finished_in(change), change.stable_id().clone());
        order(a).cmp(&order(b))
    });
}

/// What one upload changes.
#[derive(Default)]
struct Phase<'a> {
    /// The changes it is part of.
    changes: Vec<&'a Change>,
    created: Vec<(&'a StableId, ClassName, Storage)>,
    renamed: Vec<(&'a StableId, ClassName, ClassName)>,
    deleted: Vec<(&'a StableId, ClassName)>,
    transferred: Vec<(&'a StableId, Transferred)>,
}

impl Phase<'_> {
    fn targets(&self) -> impl Iterator<Item = &ClassName> {
        let created = self.created.iter().map(|(_, class, _)| class);
        let renamed = self.renamed.iter().map(|(_, _, to)| to);
        let transferred = self.transferred.iter().map(|(_, moved)| &moved.to);
        created.chain(renamed).chain(transferred)
    }
}

struct Arrangement<'a> {
    situation: &'a Situation,
    old_tag: Option<MigrationTag>,
    /// Class names that some namespace gives up, and whether it goes with it to another Worker.
    given_up: BTreeMap<ClassName, Giver>,
    /// Temporary names of namespaces whose final name is not free from the start.
    parked: BTreeMap<StableId, ClassName>,
}

#[derive(Clone, Copy, PartialEq)]
enum Giver {
    /// Free after the first upload.
    Changes,
    /// Free when another Worker has taken the namespace.
    Leaves,
}

impl<'a> Arrangement<'a> {
    fn of(situation: &'a Situation, present: &Present<'_>, plan: &MigrationPlan) -> Self {
        let mut arranged = Self {
            situation,
            old_tag: situation
                .old_tag
                .clone()
                .filter(|tag| !tag.as_str().is_empty()),
            given_up: BTreeMap::new(),
            parked: BTreeMap::new(),
        };
        for change in &plan.changes {
            let giver = match change {
                Change::Leave { .. } => Giver::Leaves,
                _ => Giver::Changes,
            };
            if let Some(class) = change.gives_up() {
                arranged.given_up.insert(class.clone(), giver);
            }
        }
        let mut used: BTreeSet<ClassName> = situation
            .before
            .iter()
            .map(|hosted| hosted.class.clone())
            .chain(plan.hosts.iter().map(|host| host.class.clone()))
            .collect();
        for change in &plan.changes {
            let Some(class) = change.takes() else {
                continue;
            };
            let giver = arranged.given_up.get(class);
            let server_name = format!("{}_{class}", situation.script);
            let waits = match change {
                // Renames and transfers leave server names alone or, if Cloudflare should rewrite them, no name outlives its class.
                Change::Create { .. } => {
                    giver.is_some() || present.held_names.contains(server_name.as_str())
                }
                // What is only given up in an upload before is free for it.
                Change::Transfer { .. } => giver == Some(&Giver::Leaves),
                _ => giver.is_some(),
            };
            if waits {
                let stable_id = change.stable_id();
                let name = temporary(stable_id, arranged.old_tag.as_ref(), &used);
                used.insert(name.clone());
                arranged.parked.insert(stable_id.clone(), name);
            }
        }
        arranged
    }

    /// The class that a change ends in before the last upload.
    fn first_class(&self, change: &Change, class: &ClassName) -> ClassName {
        self.parked.get(change.stable_id()).unwrap_or(class).clone()
    }

    /// Everything but transfers; what is contested to temporary names.
    fn park<'p>(&self, plan: &'p MigrationPlan) -> Phase<'p> {
        let mut phase = Phase::default();
        for change in &plan.changes {
            let id = change.stable_id();
            match change {
                Change::Create { class, storage, .. } => {
                    phase
                        .created
                        .push((id, self.first_class(change, class), *storage));
                }
                Change::Rename { from, to, .. } | Change::Adopt { from, to, .. } if from != to => {
                    let to = self.first_class(change, to);
                    phase.renamed.push((id, from.clone(), to));
                }
                Change::Delete(deletion) => phase.deleted.push((id, deletion.class.clone())),
                _ => continue,
            }
            phase.changes.push(change);
        }
        phase
    }

    fn transfer<'p>(&self, plan: &'p MigrationPlan) -> Phase<'p> {
        let mut phase = Phase::default();
        for change in &plan.changes {
            if let Change::Transfer {
                stable_id,
                from_script,
                from,
                to,
                namespace_id,
            } = change
            {
                let transferred = Transferred {
                    from_script: from_script.clone(),
                    from: from.clone(),
                    to: self.first_class(change, to),
                    namespace_id: namespace_id.clone(),
                };
                phase.transferred.push((stable_id, transferred));
                phase.changes.push(change);
            }
        }
        phase
    }

    /// From temporary names to final ones.
    fn place<'p>(&self, plan: &'p MigrationPlan) -> Phase<'p> {
        let mut phase = Phase::default();
        for change in &plan.changes {
            if let (Some(parked), Some(class)) =
                (self.parked.get(change.stable_id()), change.takes())
            {
                phase
                    .renamed
                    .push((change.stable_id(), parked.clone(), class.clone()));
                phase.changes.push(change);
            }
        }
        phase
    }

    /// In which phase a change is finished.
    fn finished_in(&self, change: &Change) -> usize {
        match change {
            _ if self.parked.contains_key(change.stable_id()) && change.takes().is_some() => 2,
            Change::Transfer { .. } | Change::Leave { .. } => 1,
            _ => 0,
        }
    }

    fn uploads(&self, plan: &MigrationPlan, phases: [Phase<'_>; 3]) -> Vec<Upload> {
        let phases: Vec<Phase<'_>> = phases
            .into_iter()
            .filter(|phase| phase.targets().next().is_some() || !phase.deleted.is_empty())
            .collect();
        let finals: BTreeMap<&StableId, &ClassName> = plan
            .hosts
            .iter()
            .filter_map(|host| Some((host.stable_id.as_ref()?, &host.class)))
            .collect();
        let mut owned = self.owned_before(plan);
        let mut tag = self.old_tag.clone();
        let mut uploads = Vec::new();
        for (index, phase) in phases.iter().enumerate() {
            for (id, _) in &phase.deleted {
                owned.remove(*id);
            }
            let created = phase.created.iter().map(|(id, class, _)| (*id, class));
            let renamed = phase.renamed.iter().map(|(id, _, to)| (*id, to));
            let transferred = phase.transferred.iter().map(|(id, moved)| (*id, &moved.to));
            for (id, class) in created.chain(renamed).chain(transferred) {
                owned.insert(id.clone(), class.clone());
            }
            let migration = migration(phase, index + 1, tag.take());
            tag = Some(migration.new_tag.clone());
            let leaves = |class: &&ClassName| self.given_up.get(*class) == Some(&Giver::Leaves);
            let mut awaits: Vec<ClassName> = phase.targets().filter(leaves).cloned().collect();
            awaits.sort();
            uploads.push(Upload {
                migration: Some(migration),
                owned: claims(&owned),
                aliases: aliases(&owned, &finals),
                left_out: self.left_out(phase),
                awaits,
                reuses_names: phase
                    .targets()
                    .any(|class| self.given_up.contains_key(class)),
            });
        }
        if let Some(last) = uploads.last()
            && !last.left_out.is_empty()
        {
            uploads.push(Upload {
                migration: None,
                left_out: BTreeSet::new(),
                awaits: Vec::new(),
                reuses_names: false,
                ..last.clone()
            });
        }
        uploads
    }

    /// What has a stable ID before the first upload, under the ID that it has after it.
    fn owned_before(&self, plan: &MigrationPlan) -> BTreeMap<StableId, ClassName> {
        let elsewhere: BTreeSet<&StableId> = plan
            .changes
            .iter()
            .filter(|change| matches!(change, Change::Create { .. } | Change::Transfer { .. }))
            .map(Change::stable_id)
            .collect();
        let hosts = plan
            .hosts
            .iter()
            .filter_map(|host| Some((host.stable_id.clone()?, host.class.clone())));
        let mut owned: BTreeMap<StableId, ClassName> = hosts
            .filter(|(stable_id, _)| !elsewhere.contains(stable_id))
            .collect();
        for change in &plan.changes {
            if let Some(class) = change.gives_up() {
                owned.insert(change.stable_id().clone(), class.clone());
            }
        }
        owned
    }

    /// The bindings that an upload with deletes must not carry: those that name a deleted class, be it another Worker's, and those
    /// whose name reached what is deleted.
    fn left_out(&self, phase: &Phase<'_>) -> BTreeSet<String> {
        let deletes = |class: &ClassName| phase.deleted.iter().any(|(_, deleted)| deleted == class);
        let goes = |stable_id: &StableId| phase.deleted.iter().any(|(id, _)| *id == stable_id);
        let gone_ids: BTreeSet<_> = self
            .situation
            .before
            .iter()
            .filter(|hosted| hosted.stable_id.as_ref().is_some_and(goes))
            .filter_map(|hosted| hosted.namespace_id.as_ref())
            .collect();
        let elsewhere = self.situation.elsewhere.iter().filter_map(|bound| {
            let named = bound.class.as_ref().is_some_and(deletes);
            bound.binding.clone().filter(|_| named)
        });
        let before = self.situation.bound_before.iter().filter_map(|bound| {
            let reached = bound.stable_id.as_ref().is_some_and(goes)
                || bound
                    .namespace_id
                    .as_ref()
                    .is_some_and(|id| gone_ids.contains(id));
            (reached && self.situation.bound_after.contains(&bound.name))
                .then(|| bound.name.clone())
        });
        elsewhere.chain(before).collect()
    }
}

fn claims(owned: &BTreeMap<StableId, ClassName>) -> Vec<Claim> {
    owned
        .iter()
        .map(|(stable_id, class)| Claim::new(stable_id, class))
        .collect()
}

fn aliases(
    owned: &BTreeMap<StableId, ClassName>,
    finals: &BTreeMap<&StableId, &ClassName>,
) -> Vec<Alias> {
    let alias = |(stable_id, held): (&StableId, &ClassName)| {
        let exported = finals.get(stable_id)?;
        (*exported != held).then(|| Alias {
            held: held.clone(),
            exported: (*exported).clone(),
        })
    };
    let mut aliases: Vec<Alias> = owned.iter().filter_map(alias).collect();
    aliases.sort();
    aliases
}

fn migration(phase: &Phase<'_>, number: usize, old_tag: Option<MigrationTag>) -> Migration {
    let created = |wanted: Storage| {
        let mut classes: Vec<ClassName> = phase
            .created
            .iter()
            .filter(|(_, _, storage)| *storage == wanted)
            .map(|(_, class, _)| class.clone())
            .collect();
        classes.sort();
        classes
    };
    let mut renamed: Vec<(ClassName, ClassName)> = phase
        .renamed
        .iter()
        .map(|(_, from, to)| (from.clone(), to.clone()))
        .collect();
    renamed.sort();
    let mut deleted: Vec<ClassName> = phase
        .deleted
        .iter()
        .map(|(_, class)| class.clone())
        .collect();
    deleted.sort();
    let mut transferred: Vec<Transferred> = phase
        .transferred
        .iter()
        .map(|(_, moved)| moved.clone())
        .collect();
    transferred.sort();
    Migration {
        new_tag: new_tag(&phase.changes, number, old_tag.as_ref()),
        old_tag,
        new_sqlite_classes: created(Storage::Sqlite),
        new_classes: created(Storage::KeyValue),
        renamed,
        deleted,
        transferred,
    }
}

/// A class name for the time between two uploads, which no other run uses: an old version may still start objects under a name
/// that it knows.
fn temporary(
    stable_id: &StableId,
    old_tag: Option<&MigrationTag>,
    used: &BTreeSet<ClassName>,
) -> ClassName {
    let mut hash = Sha256::new();
    hash.update(stable_id.as_str());
    hash.update([0]);
    hash.update(old_tag.map(MigrationTag::as_str).unwrap_or_default());
    loop {
        let digest = hash.clone().finalize();
        let name = ClassName::from_api(&format!("{PARKED}{}", hex::encode(&digest[..8])));
        if !used.contains(&name) {
            return name;
        }
        hash.update([0]);
    }
}
