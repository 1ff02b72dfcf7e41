//! The rules: which namespace is created, renamed, adopted or deleted, and what stands in the way.

use std::collections::{BTreeMap, BTreeSet};

use super::change::{Change, Deletion};
use super::given::{Foreign, Present, declared, is_here};
use super::problem::Problem;
use super::{Leaving, MigrationPlan, Placed, Warning, uploads};
use crate::durable::tag::Claim;
use crate::durable::{
    ClassName, Desired, Hosted, LiveNamespace, NamespaceId, ScriptName, Situation, StableId,
    Storage,
};

/// Decides; see [`super::plan`].
pub(super) fn decide(situation: &Situation) -> MigrationPlan {
    let (wanted, foreign, contradictions) = declared(situation);
    if !contradictions.is_empty() {
        // What is wanted is not known, so anything said beyond this would be noise.
        let plan = MigrationPlan {
            hosts: situation.before.iter().map(as_is).collect(),
            problems: contradictions,
            ..MigrationPlan::default()
        };
        return finished(situation, None, plan);
    }
    let present = Present::of(situation);
    let mut decision = Decision {
        situation,
        present: &present,
        wanted: &wanted,
        plan: MigrationPlan::default(),
    };
    let sources = decision.sources();
    let claimed = decision.claims(&sources);
    for want in wanted.values() {
        decision.want(want, &claimed, &sources);
    }
    for (stable_id, hosted) in &present.known {
        if !wanted.contains_key(stable_id) {
            decision.no_longer_wanted(stable_id, hosted, foreign.get(stable_id));
        }
    }
    for (stable_id, (hosted, home)) in &present.left {
        // The other Worker was faster. To whoever planned before, nothing is different.
        if let Some(foreign) = foreign.get(stable_id)
            && foreign.from_here
            && home.script.as_ref() == Some(&foreign.script)
        {
            decision.leave(stable_id, hosted, &foreign.script);
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
        .plan
        .hosts
        .extend(unclaimed.iter().map(|hosted| as_is(hosted)));
    decision.conflicts(&unclaimed);
    let plan = decision.plan;
    finished(situation, Some(&present), plan)
}

/// Puts everything in order, and makes the uploads if nothing is in the way.
fn finished(
    situation: &Situation,
    present: Option<&Present<'_>>,
    mut plan: MigrationPlan,
) -> MigrationPlan {
    plan.hosts.sort_by(|a, b| {
        (a.stable_id.is_none(), &a.stable_id, &a.class).cmp(&(
            b.stable_id.is_none(),
            &b.stable_id,
            &b.class,
        ))
    });
    plan.leaving.sort();
    plan.problems.sort();
    plan.problems.dedup();
    plan.warnings.sort();
    plan.warnings.dedup();
    plan.changes
        .sort_by(|a, b| a.stable_id().cmp(b.stable_id()));
    if let (Some(present), true) = (present, plan.problems.is_empty()) {
        uploads::arrange(situation, present, &mut plan);
    }
    plan
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
    plan: MigrationPlan,
}

/// Where a namespace that shall move here is now.
struct Source<'a> {
    script: &'a ScriptName,
    class: &'a ClassName,
    namespace_id: &'a NamespaceId,
    server_name: &'a str,
    storage: Storage,
}

impl<'a> Source<'a> {
    fn of(live: &'a LiveNamespace) -> Option<Self> {
        Some(Self {
            script: live.script.as_ref()?,
            class: live.class.as_ref()?,
            namespace_id: &live.id,
            server_name: &live.name,
            storage: live.storage,
        })
    }
}

impl<'a> Decision<'a> {
    /// Which wanted namespace takes over which class without a stable ID. Its own class name wins over the one it had before.
    fn claims(
        &mut self,
        sources: &BTreeMap<&'a StableId, Source<'a>>,
    ) -> BTreeMap<&'a StableId, &'a Hosted> {
        let mut claimants = BTreeMap::<&ClassName, Vec<&StableId>>::new();
        let mut claims = BTreeMap::new();
        let present = self.present;
        for want in self
            .wanted
            .values()
            .filter(|want| !present.known.contains_key(&want.stable_id))
            .filter(|want| !sources.contains_key(&want.stable_id))
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
            self.plan.problems.push(Problem::ClaimedTwice {
                class: class.clone(),
                stable_ids: stable_ids.into_iter().cloned().collect(),
            });
        }
        claims
    }

    /// Where what `transferred_from` says is found, for everything that is not here already.
    fn sources(&self) -> BTreeMap<&'a StableId, Source<'a>> {
        let absent = |want: &&Desired| !self.present.known.contains_key(&want.stable_id);
        self.wanted
            .values()
            .filter(absent)
            .filter_map(|want| Some((&want.stable_id, self.source(want)?)))
            .collect()
    }

    fn want(
        &mut self,
        want: &Desired,
        claimed: &BTreeMap<&StableId, &Hosted>,
        sources: &BTreeMap<&StableId, Source<'_>>,
    ) {
        let stable_id = &want.stable_id;
        let known = self.present.known.get(stable_id).copied();
        if let Some(hosted) = known.or_else(|| claimed.get(stable_id).copied()) {
            if want
                .storage
                .is_some_and(|storage| storage != hosted.storage)
            {
                self.plan.problems.push(Problem::StorageChange {
                    stable_id: stable_id.clone(),
                    class: hosted.class.clone(),
                    is: hosted.storage,
                });
            }
            let (stable_id, from, to) =
                (stable_id.clone(), hosted.class.clone(), want.class.clone());
            self.plan
                .hosts
                .push(placed(Some(stable_id.clone()), hosted, &to));
            if known.is_none() {
                self.plan.changes.push(Change::Adopt {
                    stable_id,
                    from,
                    to,
                });
            } else if from != to {
                self.plan.changes.push(Change::Rename {
                    stable_id,
                    from,
                    to,
                });
            }
        } else if let Some(source) = sources.get(stable_id) {
            self.transfer(want, source);
        } else if let Err(problem) = self.may_create(want) {
            self.plan.problems.push(problem);
        } else {
            let storage = want.storage.unwrap_or(Storage::Sqlite);
            self.plan.changes.push(Change::Create {
                stable_id: stable_id.clone(),
                class: want.class.clone(),
                storage,
            });
            self.plan.hosts.push(Placed {
                stable_id: Some(stable_id.clone()),
                class: want.class.clone(),
                namespace_id: None,
                server_name: None,
                storage,
            });
        }
    }

    /// The namespace moves here, if that is what the configuration says and not only what it might mean.
    fn transfer(&mut self, want: &Desired, source: &Source<'_>) {
        let stable_id = want.stable_id.clone();
        if !want.names_script {
            self.plan.problems.push(Problem::MoveOrShare {
                stable_id,
                from: source.script.clone(),
                here: self.situation.script.clone(),
            });
            return;
        }
        if want
            .storage
            .is_some_and(|storage| storage != source.storage)
        {
            self.plan.problems.push(Problem::StorageChange {
                stable_id: stable_id.clone(),
                class: source.class.clone(),
                is: source.storage,
            });
        }
        let namespace_id = Some(source.namespace_id.clone());
        self.plan.changes.push(Change::Transfer {
            stable_id: stable_id.clone(),
            from_script: source.script.clone(),
            from: source.class.clone(),
            to: want.class.clone(),
            namespace_id: namespace_id.clone(),
        });
        self.plan.hosts.push(Placed {
            stable_id: Some(stable_id),
            class: want.class.clone(),
            namespace_id,
            server_name: Some(source.server_name.to_owned()),
            storage: source.storage,
        });
    }

    /// Whether nothing says that the namespace exists elsewhere already.
    fn may_create(&mut self, want: &Desired) -> Result<(), Problem> {
        let stable_id = || want.stable_id.clone();
        let lives_elsewhere = |script: &ScriptName| Problem::LivesElsewhere {
            stable_id: stable_id(),
            script: script.clone(),
            here: self.situation.script.clone(),
        };
        let away = self.present.away.get(&want.stable_id);
        if let Some(script) = away.and_then(|live| live.script.as_ref()) {
            return Err(lives_elsewhere(script));
        }
        let evidence = &self.situation.evidence;
        let tags = evidence.tags.iter();
        let mut tagged: BTreeSet<(&ScriptName, &Claim)> = tags
            .filter(|(script, _)| !is_here(self.situation, script))
            .flat_map(|(script, claims)| claims.iter().map(move |claim| (script, claim)))
            .filter(|(_, claim)| claim.stable_id.names(&want.stable_id))
            .collect();
        if let Some(source) = source_script(self.situation, want) {
            let mut owning = tagged
                .iter()
                .filter(|(script, claim)| self.listed(script, &claim.class).is_some());
            if let Some((script, _)) = owning.next() {
                return Err(lives_elsewhere(script));
            }
            self.plan.warnings.push(Warning::NothingToMove {
                stable_id: stable_id(),
                from: source.clone(),
            });
            tagged.clear(); // None of them has it, as was just seen.
        }
        let planned = evidence
            .planned_elsewhere
            .iter()
            .filter(|(id, script)| *id == want.stable_id && !is_here(self.situation, script));
        let twins: BTreeSet<&ScriptName> = planned
            .map(|(_, script)| script)
            .chain(tagged.into_iter().map(|(script, _)| script))
            .collect();
        for script in twins {
            self.plan.warnings.push(Warning::AlsoElsewhere {
                stable_id: stable_id(),
                script: script.clone(),
            });
        }
        Ok(())
    }

    /// A class of another Worker in the account's listing.
    fn listed(&self, script: &ScriptName, class: &ClassName) -> Option<&'a LiveNamespace> {
        let situation = self.situation;
        let listing = situation.evidence.namespaces.iter().flatten();
        listing
            .filter(|live| {
                live.script.as_ref() == Some(script) && live.class.as_ref() == Some(class)
            })
            .min_by_key(|live| &live.id)
    }

    /// What the Worker that `transferred_from` names has of the wanted namespace: by the id that is known, by that Worker's tag,
    /// else by the class, unless that class has another stable ID there.
    fn source(&self, want: &Desired) -> Option<Source<'a>> {
        let situation = self.situation;
        let script = source_script(situation, want)?;
        if let Some(live) = self.present.away.get(&want.stable_id) {
            // The namespace itself is known, so no other one may be taken for it.
            return Source::of(live).filter(|source| source.script == script);
        }
        let claims: BTreeSet<&Claim> = situation
            .evidence
            .tags
            .iter()
            .filter(|(tagged, _)| tagged == script)
            .flat_map(|(_, claims)| claims)
            .collect();
        let mut by_tag = (claims.iter())
            .filter(|claim| claim.stable_id.names(&want.stable_id))
            .peekable();
        let live = if by_tag.peek().is_some() {
            by_tag.find_map(|claim| self.listed(script, &claim.class))
        } else {
            let previous = want.previous_class.as_ref();
            let by_class = previous
                .into_iter()
                .chain([&want.class])
                .find_map(|class| self.listed(script, class));
            by_class.filter(|live| {
                !claims
                    .iter()
                    .any(|claim| Some(&claim.class) == live.class.as_ref())
            })
        };
        live.and_then(Source::of)
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
            self.plan.changes.push(Change::Delete(Deletion {
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
            *tagged == script
                && claims.iter().any(|claim| {
                    claim.stable_id.names(&stable_id)
                        && self.listed(&script, &claim.class).is_some()
                })
        });
        let problem = match (foreign.from_here, has_its_own) {
            (true, false) => return self.leave(&stable_id, hosted, &script),
            (true, true) => Problem::TwoCopies {
                stable_id,
                class,
                script,
            },
            (false, _) => Problem::HostedHere {
                stable_id,
                class,
                script,
                here: self.situation.script.clone(),
            },
        };
        self.plan.hosts.push(as_is(hosted));
        self.plan.problems.push(problem);
    }

    fn leave(&mut self, stable_id: &StableId, hosted: &Hosted, to: &ScriptName) {
        let class = &hosted.class;
        self.plan.leaving.push(Leaving {
            stable_id: stable_id.clone(),
            class: class.clone(),
            namespace_id: hosted.namespace_id.clone(),
            to: to.clone(),
            name_is_taken: self.wanted.values().any(|want| want.class == *class),
        });
        self.plan.changes.push(Change::Leave {
            stable_id: stable_id.clone(),
            class: class.clone(),
            to: to.clone(),
        });
    }

    /// What stands beside classes that nothing claims: these are never touched.
    fn conflicts(&mut self, unclaimed: &[&Hosted]) {
        if unclaimed.is_empty() {
            return;
        }
        let classes: Vec<ClassName> = unclaimed
            .iter()
            .map(|hosted| hosted.class.clone())
            .collect();
        for change in &self.plan.changes {
            let Some(class) = change.takes() else {
                continue;
            };
            if classes.contains(class) {
                self.plan.problems.push(Problem::ClassInUse {
                    stable_id: change.stable_id().clone(),
                    class: class.clone(),
                });
            }
            if matches!(change, Change::Create { .. }) {
                self.plan.problems.push(Problem::Unclaimed {
                    stable_id: change.stable_id().clone(),
                    class: class.clone(),
                    unclaimed: classes.clone(),
                });
            }
        }
    }
}

/// The Worker that `transferred_from` names, if it is another one.
fn source_script<'a>(situation: &Situation, want: &'a Desired) -> Option<&'a ScriptName> {
    let from = want.transferred_from.as_ref()?;
    (!from.as_str().is_empty() && !is_here(situation, from)).then_some(from)
}
