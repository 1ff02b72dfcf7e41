//! One Worker: any namespaces, any names, and every point at which its apply can end.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::TestError;

use super::apply::apply;
use super::cloud::{Bound, Cloud, Code, Namespace, Script, ServerNames, Shown};
use super::config::{Naming, binding_name};
use super::names::{CLASSES, IDS};
use super::turns::{Account, Apply, Break, Chance, take_turns};
use super::worker::{
    Element, Entry, Planned, Refusal, State, StateBinding, WorkerConfig, plan_worker, read,
};
use crate::durable::plan::Problem;
use crate::durable::tag::{Claim, OurTag};
use crate::durable::{
    Change, ClassName, Hosted, MigrationTag, NamespaceId, ScriptName, StableId, Storage,
};

/// A namespace that is there, or one that shall be: which ID, which class, which of the rest, and flags.
type Row = (Index, Index, Index, u8);

/// Where the test begins, and where it wants to go.
#[derive(Clone, Debug)]
struct Case {
    cloud: Cloud,
    state: State,
    /// What made `state`.
    before: WorkerConfig,
    after: WorkerConfig,
}

fn own() -> ScriptName {
    ScriptName::from_api("w")
}

fn other() -> ScriptName {
    ScriptName::from_api("other")
}

fn take<T>(list: &mut Vec<T>, index: Index) -> T {
    list.remove(index.index(list.len()))
}

fn class(text: &str) -> ClassName {
    ClassName::from_api(text)
}

/// What is generated for a case.
#[derive(Clone, Debug)]
struct Draft {
    server_names: ServerNames,
    naming: Naming,
    /// What the Worker hosts.
    hosted: Vec<Row>,
    /// What another Worker hosts.
    others: Vec<Row>,
    /// What the Worker shall host.
    wanted: Vec<Row>,
    tag: Option<String>,
}

fn draft() -> impl Strategy<Value = Draft> {
    let rows = |most| prop::collection::vec(any::<Row>(), 0..=most);
    let server_names = prop_oneof![Just(ServerNames::Kept), Just(ServerNames::Rewritten)];
    let naming = prop_oneof![
        Just(Naming::StableId),
        Just(Naming::Class),
        Just(Naming::Slot)
    ];
    let tag = prop::option::of("[a-z0-9.-]{1,40}");
    (server_names, naming, rows(5), rows(3), rows(5), tag).prop_map(
        |(server_names, naming, hosted, others, wanted, tag)| Draft {
            server_names,
            naming,
            hosted,
            others,
            wanted,
            tag,
        },
    )
}

impl Draft {
    fn case(&self) -> Case {
        let mut cloud = Cloud::new(self.server_names, Shown::AsSent);
        let few = |names: &[&'static str]| names.to_vec();
        let mut ids = few(IDS);
        let mut server_names = few(CLASSES);
        let mut classes = few(&CLASSES[..6]);
        let mut mine = Vec::new();
        for &(id, of, name, flags) in &self.hosted {
            let of = take(&mut classes, of);
            let stable_id = take(&mut ids, id);
            let name = match self.server_names {
                ServerNames::Kept => take(&mut server_names, name),
                ServerNames::Rewritten => of,
            };
            let namespace = Namespace {
                script: own(),
                class: class(of),
                server_name: format!("w_{name}"),
                storage: storage(flags & 64 != 0),
                holds_data: flags & 3 != 0,
                // Now and then one that no stable ID names.
                meant_for: (flags & 28 != 0).then(|| StableId::new(stable_id).expect("an ID")),
            };
            let id = cloud.next_id();
            mine.push((id.clone(), namespace.clone(), flags));
            cloud.namespaces.insert(id, namespace);
        }
        // Another Worker has classes of the same names, and may hold server names of this one.
        let mut theirs = Vec::new();
        let mut classes = few(&CLASSES[..6]);
        for &(id, of, name, flags) in &self.others {
            let of = take(&mut classes, of);
            let stable_id = take(&mut ids, id);
            let server_name = match (self.server_names, flags & 1) {
                (ServerNames::Kept, 1) => format!("w_{}", take(&mut server_names, name)),
                _ => format!("other_{of}"),
            };
            let namespace = Namespace {
                script: other(),
                class: class(of),
                server_name,
                storage: Storage::Sqlite,
                holds_data: true,
                meant_for: (flags & 6 != 0).then(|| StableId::new(stable_id).expect("an ID")),
            };
            let id = cloud.next_id();
            theirs.push((namespace.clone(), flags));
            cloud.namespaces.insert(id, namespace);
        }
        let before = self.config_before(&mine, &theirs);
        let after = self.config_after(&mine, &theirs);
        self.deploy(&mut cloud, &before);
        let state = state_of(&cloud, &before, &mine);
        Case {
            cloud,
            state,
            before,
            after,
        }
    }

    /// The configuration that made what is there.
    fn config_before(
        &self,
        mine: &[(NamespaceId, Namespace, u8)],
        theirs: &[(Namespace, u8)],
    ) -> WorkerConfig {
        let mut elements = Vec::new();
        for (_, namespace, flags) in mine {
            let Some(id) = &namespace.meant_for else {
                continue;
            };
            let element = Element {
                consents: flags & 32 != 0,
                ..Element::new(id.clone(), namespace.class.clone())
            };
            elements.push((flags & 128 == 0, element));
        }
        let bound = theirs.iter().filter(|(_, flags)| flags & 8 != 0);
        elements.extend(bound.map(|(namespace, _)| (true, foreign(namespace))));
        self.config(elements)
    }

    /// The configuration that is wanted.
    fn config_after(
        &self,
        mine: &[(NamespaceId, Namespace, u8)],
        theirs: &[(Namespace, u8)],
    ) -> WorkerConfig {
        let mut ids: Vec<StableId> = mine
            .iter()
            .filter_map(|(_, namespace, _)| namespace.meant_for.clone())
            .collect();
        let new = IDS.iter().filter_map(|id| StableId::new(id).ok());
        let new: Vec<StableId> = new
            .filter(|id| !ids.contains(id))
            .filter(|id| {
                !theirs
                    .iter()
                    .any(|(it, _)| it.meant_for.as_ref() == Some(id))
            })
            .take(2)
            .collect();
        ids.extend(new);
        let mut moves: Vec<&Namespace> = theirs
            .iter()
            .filter(|(it, flags)| it.meant_for.is_some() && flags & 48 == 48)
            .map(|(namespace, _)| namespace)
            .collect();
        let mut moved = BTreeSet::new();
        let mut classes = CLASSES[..6].to_vec();
        let mut elements = Vec::new();
        for &(id, of, previous, flags) in &self.wanted {
            let to = class(take(&mut classes, of));
            let element = if let (Some(namespace), true) = (moves.first(), flags & 7 == 7) {
                let id = namespace.meant_for.clone().expect("it has one");
                moves.remove(0);
                moved.insert(id.clone());
                Element {
                    script: Some(own()),
                    transferred_from: Some(other()),
                    ..Element::new(id, to)
                }
            } else if ids.is_empty() {
                continue;
            } else {
                let id = take(&mut ids, id);
                Element {
                    previous_class: (flags & 3 == 1)
                        .then(|| class(CLASSES[previous.index(CLASSES.len())])),
                    consents: flags & 32 != 0,
                    ..Element::new(id, to)
                }
            };
            elements.push((flags & 128 == 0, element));
        }
        let bound = theirs.iter().filter(|(namespace, flags)| {
            let id = namespace.meant_for.as_ref();
            flags & 64 != 0 && id.is_none_or(|id| !moved.contains(id))
        });
        elements.extend(bound.map(|(namespace, _)| (true, foreign(namespace))));
        self.config(elements)
    }

    fn config(&self, elements: Vec<(bool, Element)>) -> WorkerConfig {
        let mut config = WorkerConfig::default();
        for (slot, (is_bound, element)) in elements.into_iter().enumerate() {
            let id = element.stable_id.as_ref();
            let id = id.map_or_else(|| StableId::new("no ID").expect("an ID"), Clone::clone);
            let mut name = binding_name(self.naming, slot, &id, &element.class);
            match is_bound {
                true => {
                    while config.bindings.contains_key(&name) {
                        name.push('_');
                    }
                    config.bindings.insert(name, element);
                }
                false => drop(config.unbound.insert(slot.to_string(), element)),
            }
        }
        config
    }

    fn deploy(&self, cloud: &mut Cloud, before: &WorkerConfig) {
        for name in [own(), other()] {
            let owned = cloud.own(&name);
            let meant_for = |id: &NamespaceId| cloud.namespaces[id].meant_for.clone();
            let code = |id| meant_for(id).map_or(Code::Unclaimed, Code::Of);
            let claim =
                |(class, id): (&ClassName, &NamespaceId)| Some(Claim::new(&meant_for(id)?, class));
            let bound = |(binding, element): (&String, &Element)| {
                let script = element.script.clone().unwrap_or_else(|| name.clone());
                let bound = Bound {
                    namespace: cloud.own(&script)[&element.class].clone(),
                    class: element.class.clone(),
                    script,
                    meant_for: element.stable_id.clone(),
                };
                (binding.clone(), bound)
            };
            let is_own = name == own();
            let bindings = before.bindings.iter().filter(|_| is_own);
            let script = Script {
                migration_tag: self
                    .tag
                    .as_deref()
                    .filter(|_| is_own)
                    .map(MigrationTag::new),
                exports: owned
                    .iter()
                    .map(|(class, id)| (class.clone(), code(id)))
                    .collect(),
                bindings: bindings.map(bound).collect(),
                tag: Some(OurTag {
                    content_hash: Some(before.content(&name)),
                    claims: owned.iter().filter_map(claim).collect(),
                    ..OurTag::default()
                }),
                content: before.content(&name),
                etag: 0,
            };
            cloud.scripts.insert(name, script);
        }
    }
}

fn storage(kv: bool) -> Storage {
    match kv {
        true => Storage::KeyValue,
        false => Storage::Sqlite,
    }
}

fn foreign(namespace: &Namespace) -> Element {
    Element {
        stable_id: namespace.meant_for.clone(),
        script: Some(other()),
        ..Element::new(
            StableId::new("unused").expect("an ID"),
            namespace.class.clone(),
        )
    }
}

fn state_of(cloud: &Cloud, before: &WorkerConfig, mine: &[(NamespaceId, Namespace, u8)]) -> State {
    let entry = |(id, namespace, flags): &(NamespaceId, Namespace, u8)| Entry {
        hosted: Hosted {
            stable_id: namespace.meant_for.clone(),
            class: namespace.class.clone(),
            namespace_id: Some(id.clone()),
            server_name: Some(namespace.server_name.clone()),
            storage: namespace.storage,
            consent: flags & 32 != 0 && namespace.meant_for.is_some(),
        },
        script: own(),
    };
    let live = &cloud.scripts[&own()];
    let binding = |(name, element): (&String, &Element)| {
        let element = Element {
            script: element.script.clone().or_else(|| Some(own())),
            ..element.clone()
        };
        let namespace_id = Some(live.bindings[name].namespace.clone());
        let binding = StateBinding {
            element,
            namespace_id,
        };
        (name.clone(), binding)
    };
    State {
        entries: mine.iter().map(entry).collect(),
        bindings: before.bindings.iter().map(binding).collect(),
        unbound: before.unbound.clone(),
        content: Some(before.content(&own())),
        migration_tag: live.migration_tag.clone(),
        etag: Some(live.etag),
    }
}

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
    let outcome = super::runner(300).run(&draft(), |draft| {
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
