//! The rules: which namespace is created, renamed, adopted or deleted, and what stands in the way.

use std::collections::{BTreeMap, BTreeSet};

use super::change::{Change, Deletion, new_tag};
use super::given::{Foreign, Present, declared, is_here};
use super::problem::{Fate, Problem};
use super::{Migration, MigrationPlan, Placed, Warning};
use crate::durable::tag::Claim;
use crate::durable::{ClassName, Desired, Hosted, ScriptName, Situation, StableId, Storage};

/// Decides; see [`super::plan`].
pub(super) fn decide(situation: &Situation) -> MigrationPlan {
    let (wanted, foreign, contradictions) = declared(situation);
    if !contradictions.is_empty() {
        // What is wanted is not known, so anything said beyond this would be noise.
        let hosts = situation.before.iter().map(as_is).collect();
        return finished(situation, Vec::new(), hosts, contradictions, Vec::new());
    }
    let present = Present::of(situation);
    let mut decision = Decision {
        situation,
        present: &present,
        wanted: &wanted,
        changes: Vec::new(),
        hosts: Vec::new(),
        problems: Vec::new(),
        warnings: Vec::new(),
    };
    let claimed = decision.claims();
    for want in wanted.values() {
        decision.want(want, &claimed);
    }
    for (stable_id, hosted) in &present.known {
        if !wanted.contains_key(stable_id) {
            decision.no_longer_wanted(stable_id, hosted, foreign.get(stable_id));
        }
    }
    let taken: BTreeSet<&ClassName> = claimed.values().map(|hosted| &hosted.class).collect();
    let unclaimed: Vec<&Hosted> = present
        .unclaimed
        .values()
        .copied()
        .filter(|hosted| !taken.contains(&hosted.class))
        .collect();
    decision
        .hosts
        .extend(unclaimed.iter().map(|hosted| as_is(hosted)));
    decision.conflicts(&unclaimed);
    let Decision {
        changes,
        hosts,
        problems,
        warnings,
        ..
    } = decision;
    finished(situation, changes, hosts, problems, warnings)
}

/// Puts everything in order, and makes the upload if nothing is in the way.
fn finished(
    situation: &Situation,
    mut changes: Vec<Change>,
    mut hosts: Vec<Placed>,
    mut problems: Vec<Problem>,
    mut warnings: Vec<Warning>,
) -> MigrationPlan {
    changes.sort_by(|a, b| a.stable_id().cmp(b.stable_id()));
    hosts.sort_by(|a, b| {
        (a.stable_id.is_none(), &a.stable_id, &a.class).cmp(&(
            b.stable_id.is_none(),
            &b.stable_id,
            &b.class,
        ))
    });
    problems.sort();
    problems.dedup();
    warnings.sort();
    warnings.dedup();
    let mut plan = MigrationPlan {
        changes,
        uploads: Vec::new(),
        hosts,
        problems,
        warnings,
    };
    if plan.problems.is_empty() {
        plan.uploads.extend(upload(situation, &plan));
    }
    plan
}

fn upload(situation: &Situation, plan: &MigrationPlan) -> Option<Migration> {
    let old_tag = situation
        .old_tag
        .clone()
        .filter(|tag| !tag.as_str().is_empty());
    let mut migration = Migration {
        new_tag: new_tag(&plan.changes, 1, old_tag.as_ref()),
        old_tag,
        new_sqlite_classes: Vec::new(),
        new_classes: Vec::new(),
        renamed: Vec::new(),
        deleted: Vec::new(),
        owned: plan.claims(),
    };
    for change in &plan.changes {
        match change {
            Change::Create {
                class,
                storage: Storage::Sqlite,
                ..
            } => migration.new_sqlite_classes.push(class.clone()),
            Change::Create {
                class,
                storage: Storage::KeyValue,
                ..
            } => migration.new_classes.push(class.clone()),
            Change::Rename { from, to, .. } => migration.renamed.push((from.clone(), to.clone())),
            Change::Adopt { from, to, .. } if from != to => {
                migration.renamed.push((from.clone(), to.clone()))
            }
            Change::Adopt { .. } => {}
            Change::Delete(deletion) => migration.deleted.push(deletion.class.clone()),
        }
    }
    migration.new_sqlite_classes.sort();
    migration.new_classes.sort();
    migration.renamed.sort();
    migration.deleted.sort();
    let empty = migration.new_sqlite_classes.is_empty()
        && migration.new_classes.is_empty()
        && migration.renamed.is_empty()
        && migration.deleted.is_empty();
    (!empty).then_some(migration)
}

fn as_is(hosted: &Hosted) -> Placed {
    placed(hosted.stable_id.clone(), hosted, &hosted.class)
}

fn placed(stable_id: Option<StableId>, hosted: &Hosted, class: &ClassName) -> Placed {
    Placed {
        stable_id,
        class: class.clone(),
        namespace_id: hosted.namespace_id.clone(),
        server_name: hosted.server_name.clone(),
        storage: hosted.storage,
    }
}

struct Decision<'a> {
    situation: &'a Situation,
    present: &'a Present<'a>,
    wanted: &'a BTreeMap<StableId, Desired>,
    changes: Vec<Change>,
    hosts: Vec<Placed>,
    problems: Vec<Problem>,
    warnings: Vec<Warning>,
}

impl<'a> Decision<'a> {
    /// Which wanted namespace takes over which class without a stable ID. Its own class name wins over the one it had before.
    fn claims(&mut self) -> BTreeMap<&'a StableId, &'a Hosted> {
        let mut claimants = BTreeMap::<&ClassName, Vec<&StableId>>::new();
        let mut claims = BTreeMap::new();
        let present = self.present;
        for want in self
            .wanted
            .values()
            .filter(|want| !present.known.contains_key(&want.stable_id))
        {
            let hosted = |class| present.unclaimed.get(class).copied();
            if let Some(hosted) =
                hosted(&want.class).or_else(|| want.previous_class.as_ref().and_then(hosted))
            {
                claimants
                    .entry(&hosted.class)
                    .or_default()
                    .push(&want.stable_id);
                claims.insert(&want.stable_id, hosted);
            }
        }
        for (class, stable_ids) in claimants
            .into_iter()
            .filter(|(_, stable_ids)| stable_ids.len() > 1)
        {
            self.problems.push(Problem::ClaimedTwice {
                class: class.clone(),
                stable_ids: stable_ids.into_iter().cloned().collect(),
            });
        }
        claims
    }

    fn want(&mut self, want: &Desired, claimed: &BTreeMap<&StableId, &Hosted>) {
        let stable_id = &want.stable_id;
        let known = self.present.known.get(stable_id).copied();
        if let Some(hosted) = known.or_else(|| claimed.get(stable_id).copied()) {
            if want
                .storage
                .is_some_and(|storage| storage != hosted.storage)
            {
                self.problems.push(Problem::StorageChange {
                    stable_id: stable_id.clone(),
                    class: hosted.class.clone(),
                    is: hosted.storage,
                });
            }
            let (stable_id, from, to) =
                (stable_id.clone(), hosted.class.clone(), want.class.clone());
            self.hosts
                .push(placed(Some(stable_id.clone()), hosted, &to));
            if known.is_none() {
                self.changes.push(Change::Adopt {
                    stable_id,
                    from,
                    to,
                });
            } else if from != to {
                self.changes.push(Change::Rename {
                    stable_id,
                    from,
                    to,
                });
            }
        } else if let Err(problem) = self.may_create(want) {
            self.problems.push(problem);
        } else {
            let storage = want.storage.unwrap_or(Storage::Sqlite);
            self.changes.push(Change::Create {
                stable_id: stable_id.clone(),
                class: want.class.clone(),
                storage,
            });
            self.hosts.push(Placed {
                stable_id: Some(stable_id.clone()),
                class: want.class.clone(),
                namespace_id: None,
                server_name: None,
                storage,
            });
        }
    }

    /// Whether nothing says that the namespace exists elsewhere already.
    fn may_create(&mut self, want: &Desired) -> Result<(), Problem> {
        let stable_id = || want.stable_id.clone();
        let away = self.present.away.get(&want.stable_id).copied();
        let source = want
            .transferred_from
            .as_ref()
            .filter(|from| !from.as_str().is_empty() && !is_here(self.situation, from));
        if let Some(source) = source
            && (away == Some(source) || self.hosts_it(source, want))
        {
            let from = source.clone();
            return Err(match want.names_script {
                true => Problem::MoveHere {
                    stable_id: stable_id(),
                    from,
                },
                false => Problem::MoveOrShare {
                    stable_id: stable_id(),
                    from,
                },
            });
        }
        if let Some(script) = away {
            return Err(Problem::LivesElsewhere {
                stable_id: stable_id(),
                script: script.clone(),
            });
        }
        let evidence = &self.situation.evidence;
        let tagged = evidence.tags.iter().filter(|(script, claims)| {
            !is_here(self.situation, script)
                && claims
                    .iter()
                    .any(|claim| claim.stable_id.names(&want.stable_id))
        });
        let tagged: BTreeSet<&ScriptName> = tagged.map(|(script, _)| script).collect();
        if let Some(source) = source {
            if let Some(script) = tagged.into_iter().find(|script| *script != source) {
                return Err(Problem::LivesElsewhere {
                    stable_id: stable_id(),
                    script: script.clone(),
                });
            }
            self.warnings.push(Warning::NothingToMove {
                stable_id: stable_id(),
                from: source.clone(),
            });
            return Ok(());
        }
        let planned = evidence
            .planned_elsewhere
            .iter()
            .filter(|(id, script)| *id == want.stable_id && !is_here(self.situation, script));
        let twins: BTreeSet<&ScriptName> =
            planned.map(|(_, script)| script).chain(tagged).collect();
        for script in twins {
            self.warnings.push(Warning::AlsoElsewhere {
                stable_id: stable_id(),
                script: script.clone(),
            });
        }
        Ok(())
    }

    /// Whether another Worker hosts the wanted namespace: by its tag, else by the class, unless that class has another stable ID there.
    fn hosts_it(&self, script: &ScriptName, want: &Desired) -> bool {
        let evidence = &self.situation.evidence;
        let owns = |class: &ClassName| {
            let mut listing = evidence.namespaces.iter().flatten();
            listing.any(|live| {
                live.script.as_ref() == Some(script) && live.class.as_ref() == Some(class)
            })
        };
        let claims: Vec<&Claim> = evidence
            .tags
            .iter()
            .filter(|(tagged, _)| tagged == script)
            .flat_map(|(_, claims)| claims)
            .collect();
        let by_tag: Vec<&&Claim> = (claims.iter())
            .filter(|claim| claim.stable_id.names(&want.stable_id))
            .collect();
        if !by_tag.is_empty() {
            return evidence.namespaces.is_none() || by_tag.iter().any(|claim| owns(&claim.class));
        }
        let class = want
            .previous_class
            .as_ref()
            .filter(|class| owns(class))
            .unwrap_or(&want.class);
        owns(class) && !claims.iter().any(|claim| claim.class == *class)
    }

    fn no_longer_wanted(
        &mut self,
        stable_id: &StableId,
        hosted: &Hosted,
        foreign: Option<&Foreign>,
    ) {
        let (stable_id, class) = (stable_id.clone(), hosted.class.clone());
        let Some(foreign) = foreign else {
            let (namespace_id, consent) = (hosted.namespace_id.clone(), hosted.consent);
            self.changes.push(Change::Delete(Deletion {
                stable_id,
                class,
                namespace_id,
                consent,
            }));
            return;
        };
        let script = foreign.script.clone();
        let tags = &self.situation.evidence.tags;
        let has_its_own = tags.iter().any(|(tagged, claims)| {
            *tagged == script && claims.iter().any(|claim| claim.stable_id.names(&stable_id))
        });
        self.hosts.push(as_is(hosted));
        self.problems.push(match (foreign.from_here, has_its_own) {
            (true, true) => Problem::TwoCopies {
                stable_id,
                class,
                script,
            },
            (true, false) => Problem::MoveAway {
                stable_id,
                class,
                to: script,
            },
            (false, _) => Problem::HostedHere {
                stable_id,
                class,
                script,
            },
        });
    }

    /// What one upload cannot do: a class has one role in it.
    fn conflicts(&mut self, unclaimed: &[&Hosted]) {
        let mut leaving = BTreeMap::<&ClassName, (&StableId, Option<&ClassName>)>::new();
        let mut arriving = Vec::new();
        let mut problems = Vec::new();
        for change in &self.changes {
            match change {
                Change::Rename {
                    stable_id,
                    from,
                    to,
                }
                | Change::Adopt {
                    stable_id,
                    from,
                    to,
                } if from != to => {
                    leaving.insert(from, (stable_id, Some(to)));
                    arriving.push((stable_id, to, false));
                }
                Change::Rename { .. } | Change::Adopt { .. } => {}
                Change::Create {
                    stable_id, class, ..
                } => arriving.push((stable_id, class, true)),
                Change::Delete(deletion) => {
                    leaving.insert(&deletion.class, (&deletion.stable_id, None));
                    for bound in &self.situation.elsewhere {
                        if bound.class.as_ref() == Some(&deletion.class) {
                            problems.push(Problem::DeletedNameBound {
                                stable_id: deletion.stable_id.clone(),
                                class: deletion.class.clone(),
                                script: bound.script.clone(),
                            });
                        }
                    }
                }
            }
        }
        let nobody_claims: Vec<ClassName> = unclaimed
            .iter()
            .map(|hosted| hosted.class.clone())
            .collect();
        for (stable_id, class, created) in arriving {
            let in_use = |holder: Option<&StableId>, fate| Problem::ClassInUse {
                stable_id: stable_id.clone(),
                class: class.clone(),
                holder: holder.cloned(),
                fate,
            };
            let server_name = format!("{}_{class}", self.situation.script);
            if let Some((holder, to)) = leaving.get(class) {
                problems.push(in_use(
                    Some(holder),
                    match to {
                        None => Fate::Deleted,
                        Some(to) => Fate::Renamed {
                            to: (*to).clone(),
                            circular: leads_to(&leaving, to, stable_id),
                        },
                    },
                ));
            } else if nobody_claims.contains(class) {
                problems.push(in_use(None, Fate::Stays));
            } else if created && self.present.held_names.contains(server_name.as_str()) {
                // Renames are free of this: they leave server names alone, or, if Cloudflare should rewrite them, no name outlives its class.
                problems.push(Problem::ServerNameHeld {
                    stable_id: stable_id.clone(),
                    class: class.clone(),
                    server_name,
                });
            }
            if created && !nobody_claims.is_empty() {
                problems.push(Problem::Unclaimed {
                    stable_id: stable_id.clone(),
                    class: class.clone(),
                    unclaimed: nobody_claims.clone(),
                });
            }
        }
        self.problems.append(&mut problems);
    }
}

/// Whether the namespace that has the class, or one that waits behind it, is the given one.
fn leads_to(
    leaving: &BTreeMap<&ClassName, (&StableId, Option<&ClassName>)>,
    class: &ClassName,
    stable_id: &StableId,
) -> bool {
    let mut class = class;
    for _ in 0..leaving.len() {
        match leaving.get(class) {
            Some((holder, _)) if *holder == stable_id => return true,
            Some((_, Some(next))) => class = next,
            Some((_, None)) | None => return false,
        }
    }
    false
}
