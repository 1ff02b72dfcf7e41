//! One Worker: any namespaces, any names, and every point at which its apply can end.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::test_runner::TestError;

use super::apply::apply;
use super::cloud::{Cloud, Code};
use super::planned::{Planned, Refusal, plan_worker};
use super::read::read;
use super::situations::{Case, draft, own};
use super::turns::{Account, Apply, Break, Chance, take_turns};
use super::worker::{State, WorkerConfig};
use crate::durable::plan::Problem;
use crate::durable::{Change, ClassName, MigrationTag, NamespaceId, StableId};

/// What one run of the Worker leaves.
struct Ran {
    cloud: Cloud,
    /// `None` if the process died.
    state: Option<State>,
}

fn plan_for(cloud: &Cloud, state: &State, config: &WorkerConfig) -> Result<Planned, Vec<Refusal>> {
    let refreshed = read(cloud, &own(), state);
    plan_worker(cloud, &own(), refreshed, config, &[])
}

fn run(
    cloud: &Cloud,
    state: &State,
    planned: &Planned,
    ends: Option<Break>,
) -> Result<Ran, String> {
    let account = Account::new(cloud.clone(), ends);
    let refreshed = read(cloud, &own(), state);
    let name = own();
    let apply = Apply {
        future: Box::pin(apply(&account, &name, refreshed.as_ref(), planned)),
        after: Vec::new(),
    };
    let applies = BTreeMap::from([(name.clone(), apply)]);
    let mut ended = take_turns(&account, applies, &mut Chance(1))?;
    if account.is_killed() {
        let cloud = account.into_cloud();
        return Ok(Ran { cloud, state: None });
    }
    let (_, applied) = ended.pop().expect("it ended");
    match applied.trouble {
        Some(trouble) if ends.is_none() => Err(format!("{trouble:?}")),
        _ => Ok(Ran {
            cloud: account.into_cloud(),
            state: applied.state,
        }),
    }
}

/// What the tests have seen.
#[derive(Default)]
struct Seen {
    cases: Cell<usize>,
    refused: Cell<usize>,
    several_uploads: Cell<usize>,
    ends: Cell<usize>,
}

impl Case {
    fn judge(&self, seen: &Seen) -> Result<(), String> {
        seen.cases.update(|it| it + 1);
        self.cloud
            .check()
            .map_err(|it| format!("badly generated: {it}"))?;
        let same = plan_for(&self.cloud, &self.state, &self.before);
        let same = same.map_err(|it| format!("nothing changes, and yet {it:?}"))?;
        if !same.is_empty || !same.plan.changes.is_empty() || !same.plan.warnings.is_empty() {
            return Err(format!("nothing changes, and yet {same:?}"));
        }
        let planned = match plan_for(&self.cloud, &self.state, &self.after) {
            Ok(planned) => planned,
            Err(refusals) => {
                seen.refused.update(|it| it + 1);
                return self.judge_refusals(&refusals);
            }
        };
        self.judge_uploads(&planned)?;
        if planned.plan.uploads.len() > 1 {
            seen.several_uploads.update(|it| it + 1);
        }
        let ran = run(&self.cloud, &self.state, &planned, None)?;
        self.judge_end(&ran, &self.after)?;
        let gains =
            |change: &Change| matches!(change, Change::Adopt { .. } | Change::Transfer { .. });
        let gains = planned.plan.changes.iter().any(gains);
        for writes in 1.. {
            for ends in [Break::Killed(writes), Break::Stopped(writes)] {
                let ran = run(&self.cloud, &self.state, &planned, Some(ends))?;
                if writes > planned.plan.uploads.len() + 1 {
                    return Ok(());
                }
                seen.ends.update(|it| it + 1);
                self.judge_prefix(&ran.cloud)?;
                let state = ran.state.as_ref().unwrap_or(&self.state);
                self.go_on(&ran.cloud, state, &self.after)
                    .map_err(|it| format!("{it}\ngoing on after {ends:?}"))?;
                // Who takes an adoption or a transfer back has to say what shall become of the data.
                if !gains && !self.brings_back_beside_unclaimed(&ran.cloud) {
                    self.go_on(&ran.cloud, state, &self.before)
                        .map_err(|it| format!("{it}\ngoing back after {ends:?}"))?;
                }
            }
        }
        Ok(())
    }

    /// Nothing is refused for no reason.
    fn judge_refusals(&self, refusals: &[Refusal]) -> Result<(), String> {
        let unclaimed = |class: &ClassName| {
            let mut entries = self.state.entries.iter();
            entries.any(|it| it.hosted.stable_id.is_none() && it.hosted.class == *class)
        };
        let wanted = |id: &StableId| self.after.hosted(&own()).any(|(it, _)| it == id);
        for refusal in refusals {
            let has_reason = match refusal {
                Refusal::Planner(Problem::ClassInUse { class, .. })
                | Refusal::Planner(Problem::ClaimedTwice { class, .. }) => unclaimed(class),
                Refusal::Planner(Problem::Unclaimed { unclaimed: all, .. }) => {
                    all.iter().all(unclaimed)
                }
                Refusal::HoldsData { stable_id, .. } => {
                    let mut entries = self.state.entries.iter();
                    let entry = entries.find(|it| it.hosted.stable_id.as_ref() == Some(stable_id));
                    !wanted(stable_id) && entry.is_some_and(|it| !it.hosted.consent)
                }
                _ => false,
            };
            if !has_reason {
                return Err(format!("refused for no reason: {refusal:?}"));
            }
        }
        Ok(())
    }

    fn judge_uploads(&self, planned: &Planned) -> Result<(), String> {
        let uploads = &planned.plan.uploads;
        let migrations: Vec<_> = uploads
            .iter()
            .filter_map(|it| it.migration.as_ref())
            .collect();
        let takes = migrations.iter().any(|it| !it.transferred.is_empty());
        let most = if takes { 3 } else { 2 };
        if migrations.len() > most || uploads.len() > migrations.len() + 1 {
            return Err(format!("too many uploads: {uploads:?}"));
        }
        let mut tags: BTreeSet<&MigrationTag> = self.state.migration_tag.iter().collect();
        for migration in migrations {
            if !tags.insert(&migration.new_tag) || migration.new_tag.as_str().len() > 128 {
                return Err(format!("a bad tag in {uploads:?}"));
            }
        }
        Ok(())
    }

    /// Every namespace that was there is there, but for those that may go.
    fn judge_prefix(&self, cloud: &Cloud) -> Result<(), String> {
        for (id, before) in &self.cloud.namespaces {
            let now = cloud.namespaces.get(id);
            let stays = match &before.meant_for {
                Some(stable_id) => {
                    before.script != own()
                        || self.after.hosted(&own()).any(|(it, _)| it == stable_id)
                }
                None => true,
            };
            match now {
                None if stays => return Err(format!("{before:?} is gone")),
                None => {}
                Some(now) => {
                    let same_meaning =
                        before.meant_for.is_none() || before.meant_for == now.meant_for;
                    if !same_meaning || now.storage != before.storage {
                        return Err(format!("{before:?} became {now:?}"));
                    }
                }
            }
        }
        Ok(())
    }

    /// What is there is what was wanted, on the namespaces that had it before; and the next plan is empty.
    fn judge_end(&self, ran: &Ran, config: &WorkerConfig) -> Result<(), String> {
        self.judge_prefix(&ran.cloud)?;
        judge_result(ran, config)?;
        // An ID had its namespace before under the ID, or under a class that nobody named yet.
        let owned = ran.cloud.own(&own());
        let before: BTreeMap<&StableId, &NamespaceId> = self
            .cloud
            .namespaces
            .iter()
            .filter_map(|(id, it)| Some((it.meant_for.as_ref()?, id)))
            .collect();
        let hosted_before = self.cloud.own(&own());
        let unclaimed = |class: &ClassName| {
            let id = hosted_before.get(class)?;
            self.cloud.namespaces[id].meant_for.is_none().then_some(id)
        };
        for (stable_id, element) in config.hosted(&own()) {
            let previous = element.previous_class.as_ref();
            let known = before.get(stable_id).copied();
            let expected = known
                .or_else(|| unclaimed(&element.class))
                .or_else(|| previous.and_then(unclaimed));
            let is = &owned[&element.class];
            if expected.is_some_and(|expected| expected != is) {
                return Err(format!("{stable_id} has {is}, not {expected:?}"));
            }
        }
        Ok(())
    }

    /// Whether going back creates what was deleted, beside a class that nobody named: then somebody has to say which is meant.
    fn brings_back_beside_unclaimed(&self, cloud: &Cloud) -> bool {
        let mut before = self.cloud.namespaces.iter();
        let is_gone = |id: &NamespaceId| !cloud.namespaces.contains_key(id);
        let mut now = cloud.namespaces.values();
        before.any(|(id, _)| is_gone(id))
            && now.any(|it| it.script == own() && it.meant_for.is_none())
    }

    /// Plans and applies from what an interrupted run has left.
    fn go_on(&self, cloud: &Cloud, state: &State, config: &WorkerConfig) -> Result<(), String> {
        let planned = plan_for(cloud, state, config).map_err(|it| format!("{it:?}"))?;
        let ran = run(cloud, state, &planned, None)?;
        judge_result(&ran, config)
    }
}

fn judge_result(ran: &Ran, config: &WorkerConfig) -> Result<(), String> {
    let state = ran.state.as_ref().ok_or("no state")?;
    let owned = ran.cloud.own(&own());
    for (stable_id, element) in config.hosted(&own()) {
        let id = owned.get(&element.class);
        let reached = id.map(|id| &ran.cloud.namespaces[id]);
        let is_right = reached
            .is_some_and(|it| it.meant_for.as_ref() == Some(stable_id) || it.meant_for.is_none());
        if !is_right {
            return Err(format!("{} of {stable_id} is {reached:?}", element.class));
        }
    }
    let live = &ran.cloud.scripts[&own()];
    if !live.bindings.keys().eq(config.bindings.keys()) {
        return Err(format!("bound in the end: {:?}", live.bindings.keys()));
    }
    let ours = live.tag.as_ref().ok_or("no tag")?;
    if ours.unfinished || live.exports.values().any(|it| *it == Code::Stub) {
        return Err("unfinished in the end".into());
    }
    let next = plan_for(&ran.cloud, state, config).map_err(|it| format!("{it:?} in the end"))?;
    match next.is_empty {
        true => Ok(()),
        false => Err(format!("the next plan is not empty: {:?}", next.plan)),
    }
}

#[test]
#[expect(clippy::print_stdout, reason = "said on request, with --nocapture")]
fn what_is_planned_is_accepted_and_ends_as_wanted_wherever_it_was_interrupted() {
    let seen = Seen::default();
    let outcome = super::runner(200).run(&draft(), |draft| {
        draft.case().judge(&seen).map_err(TestCaseError::fail)
    });
    if let Err(TestError::Fail(why, draft)) = outcome {
        panic!("{why}\n{:#?}", draft.case());
    }
    println!(
        "one Worker: {} situations, {} refused, {} of several uploads, {} interrupted",
        seen.cases.get(),
        seen.refused.get(),
        seen.several_uploads.get(),
        seen.ends.get()
    );
}
