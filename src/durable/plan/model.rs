//! Generated situations, judged by a small strict model of what Cloudflare accepts in one upload.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::durable::{BoundElsewhere, Desired, Evidence, Hosted, LiveNamespace, ScriptName};

const IDS: [&str; 5] = ["x", "y", "a:b", "__proto__", "class"];
const CLASSES: [&str; 6] = ["A", "B", "C", "D", "constructor", "__proto__"];
const SCRIPTS: [&str; 3] = ["w", "other", "third"];

/// Whether a rename gives the namespace a new server name, which nobody could measure yet.
#[derive(Clone, Copy, Debug, PartialEq)]
enum ServerNames {
    Kept,
    Rewritten,
}

/// The classes of one Worker, as Cloudflare keeps them.
#[derive(Clone, Debug, PartialEq)]
struct Cloud {
    tag: Option<MigrationTag>,
    /// Class → namespace.
    classes: BTreeMap<ClassName, Live>,
    server_names: ServerNames,
}

#[derive(Clone, Debug, PartialEq)]
struct Live {
    id: Option<NamespaceId>,
    name: String,
    storage: Storage,
}

impl Cloud {
    fn of(situation: &Situation, server_names: ServerNames) -> Self {
        let live = |hosted: &Hosted| Live {
            id: hosted.namespace_id.clone(),
            name: hosted.server_name.clone().expect("the generator names all"),
            storage: hosted.storage,
        };
        let classes = situation
            .before
            .iter()
            .map(|hosted| (hosted.class.clone(), live(hosted)));
        Self {
            tag: situation.old_tag.clone(),
            classes: classes.collect(),
            server_names,
        }
    }

    /// All or nothing. `exported` are the classes of the code; it binds them all.
    fn upload(
        &mut self,
        migration: &Migration,
        exported: &BTreeSet<ClassName>,
    ) -> Result<(), String> {
        if self.tag != migration.old_tag {
            return Err("10079".into());
        }
        let created = migration
            .new_sqlite_classes
            .iter()
            .map(|class| (class, Storage::Sqlite));
        let created: Vec<_> = created
            .chain(
                migration
                    .new_classes
                    .iter()
                    .map(|class| (class, Storage::KeyValue)),
            )
            .collect();
        let sources: Vec<_> = migration
            .renamed
            .iter()
            .map(|(from, _)| from)
            .chain(&migration.deleted)
            .collect();
        let targets: Vec<_> = migration
            .renamed
            .iter()
            .map(|(_, to)| to)
            .chain(created.iter().map(|(class, _)| *class))
            .collect();
        let roles: BTreeSet<_> = sources.iter().chain(&targets).collect();
        if roles.len() < sources.len() + targets.len() {
            return Err("target of more than one migration".into());
        }
        if let Some(class) = sources
            .iter()
            .find(|class| !self.classes.contains_key(**class))
        {
            return Err(format!("10074 {class} not in the previous version"));
        }
        for class in targets {
            if self.classes.contains_key(class) {
                return Err(format!("10074 {class} already depended on"));
            }
            if !exported.contains(class) {
                return Err(format!("10070 {class} not exported"));
            }
        }
        if let Some(class) = migration
            .deleted
            .iter()
            .find(|class| exported.contains(*class))
        {
            return Err(format!("10061 {class} still bound"));
        }
        let mut after = self.classes.clone();
        let held = |name: &str, own: Option<&Live>| {
            self.classes
                .values()
                .any(|live| live.name == name && Some(live) != own)
        };
        for class in &migration.deleted {
            after.remove(class);
        }
        for (from, to) in &migration.renamed {
            let mut live = after.remove(from).expect("sources were looked up");
            if self.server_names == ServerNames::Rewritten {
                let name = format!("w_{to}");
                if held(&name, Some(&live)) {
                    return Err(format!("10065 {name}"));
                }
                live.name = name;
            }
            after.insert(to.clone(), live);
        }
        for (class, storage) in created {
            let name = format!("w_{class}");
            if held(&name, None) {
                return Err(format!("10065 {name}"));
            }
            after.insert(
                class.clone(),
                Live {
                    id: None,
                    name,
                    storage,
                },
            );
        }
        if let Some(class) = after.keys().find(|class| !exported.contains(*class)) {
            return Err(format!("10064 {class} not exported"));
        }
        self.classes = after;
        self.tag = Some(migration.new_tag.clone());
        Ok(())
    }
}

fn pick<T: Clone>(list: &mut Vec<T>, index: Index) -> T {
    list.remove(index.index(list.len()))
}

fn storage(kv: bool) -> Storage {
    if kv {
        Storage::KeyValue
    } else {
        Storage::Sqlite
    }
}

type Row = (Index, Index, Index, u8);

fn rows(most: usize) -> impl Strategy<Value = Vec<Row>> {
    prop::collection::vec(any::<Row>(), 0..=most)
}

/// A Worker's own state: no class twice, no ID twice, and server names that the reading can have left behind.
fn hosted(rows: &[Row], server_names: ServerNames) -> Vec<Hosted> {
    let mut ids = IDS.to_vec();
    let mut classes = CLASSES.to_vec();
    let mut names = CLASSES.to_vec();
    let row = |(number, &(id, class, name, flags)): (usize, &Row)| {
        let class = pick(&mut classes, class);
        let server_name = match server_names {
            ServerNames::Kept => pick(&mut names, name),
            ServerNames::Rewritten => class,
        };
        Hosted {
            stable_id: (flags % 4 != 0).then(|| StableId::new(pick(&mut ids, id)).expect("an ID")),
            class: ClassName::new(class).expect("a class"),
            namespace_id: Some(NamespaceId::new(&number.to_string())),
            server_name: Some(format!("w_{server_name}")),
            storage: storage(flags & 4 != 0),
            consent: flags & 8 != 0,
        }
    };
    rows.iter().enumerate().map(row).collect()
}

/// What shall be hosted; every class of `before` turns up often, and now and then a class or ID twice.
fn desired(rows: &[Row]) -> Vec<Desired> {
    let mut ids = IDS.to_vec();
    let mut classes = CLASSES.to_vec();
    let row = |&(id, class, previous, flags): &Row| {
        let repeats = flags % 32 == 0;
        let id = if repeats {
            IDS[id.index(IDS.len())]
        } else {
            pick(&mut ids, id)
        };
        let class = if repeats {
            CLASSES[class.index(CLASSES.len())]
        } else {
            pick(&mut classes, class)
        };
        Desired {
            stable_id: StableId::new(id).expect("an ID"),
            class: ClassName::new(class).expect("a class"),
            storage: (flags & 96 == 96).then(|| storage(flags & 4 != 0)),
            names_script: flags & 8 != 0,
            transferred_from: None,
            previous_class: (flags & 3 == 1)
                .then(|| ClassName::new(CLASSES[previous.index(CLASSES.len())]).expect("a class")),
        }
    };
    rows.iter().map(row).collect()
}

fn situation(server_names: ServerNames) -> impl Strategy<Value = Situation> {
    (rows(4), rows(4), prop::option::of("[a-z0-9.-]{1,40}")).prop_map(
        move |(before, after, tag)| Situation {
            script: ScriptName::from_api("w"),
            former_script: None,
            old_tag: tag.as_deref().map(MigrationTag::new),
            before: hosted(&before, server_names),
            after: desired(&after),
            elsewhere: Vec::new(),
            evidence: Evidence::default(),
        },
    )
}

/// The same with other Workers in it: nothing a model of one Worker can judge, but everything the planner reads.
fn crowded() -> impl Strategy<Value = Situation> {
    (
        situation(ServerNames::Kept),
        rows(3),
        rows(4),
        rows(2),
        rows(2),
    )
        .prop_map(|(mut situation, elsewhere, listing, tags, planned)| {
            let id = |index: Index| StableId::new(IDS[index.index(IDS.len())]).expect("an ID");
            let class = |index: Index| {
                ClassName::new(CLASSES[index.index(CLASSES.len())]).expect("a class")
            };
            let script = |index: Index| ScriptName::from_api(SCRIPTS[index.index(SCRIPTS.len())]);
            for (desired, (_, _, from, _)) in situation.after.iter_mut().zip(&listing) {
                desired.transferred_from = Some(script(*from));
            }
            situation.elsewhere = (elsewhere.iter())
                .map(|&(a, b, c, flags)| BoundElsewhere {
                    stable_id: (flags & 1 == 0).then(|| id(a)),
                    script: ScriptName::from_api(SCRIPTS[1 + usize::from(flags & 2 == 0)]),
                    class: (flags & 4 == 0).then(|| class(b)),
                    transferred_from: (flags & 8 == 0).then(|| script(c)),
                })
                .collect();
            situation.evidence.namespaces = Some(
                (listing.iter().enumerate())
                    .map(|(number, &(a, b, c, flags))| LiveNamespace {
                        id: NamespaceId::new(&(number * usize::from(1 + flags % 3)).to_string()),
                        name: format!("{}_{}", script(a), class(b)),
                        script: (flags & 4 == 0).then(|| script(a)),
                        class: (flags & 8 == 0).then(|| class(c)),
                        storage: Storage::Sqlite,
                    })
                    .collect(),
            );
            situation.evidence.gone = planned
                .iter()
                .map(|row| NamespaceId::new(&(row.3 % 4).to_string()))
                .collect();
            situation.evidence.tags = tags
                .iter()
                .map(|&(a, b, c, _)| (script(a), vec![Claim::new(&id(b), &class(c))]))
                .collect();
            situation.evidence.planned_elsewhere = planned
                .iter()
                .map(|&(a, b, ..)| (id(a), script(b)))
                .collect();
            // One id in the listing belongs to one namespace.
            let mut seen = BTreeSet::new();
            situation
                .evidence
                .namespaces
                .iter_mut()
                .for_each(|all| all.retain(|live| seen.insert(live.id.clone())));
            situation
        })
}

/// The upload of the changes as they are, whether or not there are problems.
fn forced(situation: &Situation, plan: &MigrationPlan) -> Migration {
    let mut migration = Migration {
        old_tag: situation.old_tag.clone(),
        new_tag: MigrationTag::new("forced"),
        new_sqlite_classes: Vec::new(),
        new_classes: Vec::new(),
        renamed: Vec::new(),
        deleted: Vec::new(),
        owned: Vec::new(),
    };
    for change in &plan.changes {
        match change.clone() {
            Change::Create { class, .. } => migration.new_sqlite_classes.push(class),
            Change::Rename { from, to, .. } | Change::Adopt { from, to, .. } if from != to => {
                migration.renamed.push((from, to))
            }
            Change::Rename { .. } | Change::Adopt { .. } => {}
            Change::Delete(deletion) => migration.deleted.push(deletion.class),
        }
    }
    migration
}

fn exported(plan: &MigrationPlan) -> BTreeSet<ClassName> {
    plan.hosts.iter().map(|host| host.class.clone()).collect()
}

fn check(situation: &Situation, server_names: ServerNames) -> Result<(), TestCaseError> {
    let plan = super::plan(situation);
    let mut cloud = Cloud::of(situation, server_names);
    prop_assert!(plan.uploads.len() <= 1);
    if plan.problems.is_empty() {
        for migration in &plan.uploads {
            prop_assert!(
                migration.old_tag.as_ref() != Some(&migration.new_tag)
                    && migration.new_tag.as_str().len() <= 128
            );
            if let Err(refused) = cloud.upload(migration, &exported(&plan)) {
                return Err(TestCaseError::fail(refused));
            }
        }
        // What the plan promises is what is there, under the ids from before.
        prop_assert_eq!(plan.hosts.len(), cloud.classes.len());
        for host in &plan.hosts {
            let live = &cloud.classes[&host.class];
            prop_assert_eq!((&host.namespace_id, host.storage), (&live.id, live.storage));
        }
        // What is wanted is what is promised.
        let promised: BTreeMap<_, _> = plan
            .hosts
            .iter()
            .filter_map(|host| Some((host.stable_id.as_ref()?, host)))
            .collect();
        let wanted: BTreeMap<_, _> = situation
            .after
            .iter()
            .map(|want| (&want.stable_id, &want.class))
            .collect();
        prop_assert!(promised.keys().eq(wanted.keys()));
        for (stable_id, class) in wanted {
            prop_assert_eq!(&promised[stable_id].class, class);
        }
        // Every namespace stays with its stable ID, and none without one is lost.
        for hosted in &situation.before {
            let now = plan
                .hosts
                .iter()
                .find(|host| host.namespace_id == hosted.namespace_id);
            match (&hosted.stable_id, now) {
                (Some(stable_id), Some(now)) => {
                    prop_assert_eq!(now.stable_id.as_ref(), Some(stable_id))
                }
                (Some(stable_id), None) => {
                    prop_assert!(plan.deletions().any(|gone| gone.stable_id == *stable_id))
                }
                (None, now) => prop_assert!(now.is_some()),
            }
        }
    } else {
        prop_assert!(plan.uploads.is_empty());
    }
    // A problem with classes is never invented: Cloudflare would refuse the same changes in one upload.
    let refusable = |problem: &Problem| {
        matches!(
            problem,
            Problem::ClassInUse { .. } | Problem::ServerNameHeld { .. }
        )
    };
    if !plan.problems.is_empty() && plan.problems.iter().all(refusable) {
        let migration = forced(situation, &plan);
        prop_assert!(
            Cloud::of(situation, server_names)
                .upload(&migration, &exported(&plan))
                .is_err()
        );
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_planned_is_accepted_and_ends_as_wanted_if_renames_keep_server_names(situation in situation(ServerNames::Kept)) {
        check(&situation, ServerNames::Kept)?;
    }

    #[test]
    fn what_is_planned_is_accepted_and_ends_as_wanted_if_renames_rewrite_server_names(situation in situation(ServerNames::Rewritten)) {
        check(&situation, ServerNames::Rewritten)?;
    }

    #[test]
    fn the_order_of_anything_does_not_matter(one in crowded(), turn in any::<Index>()) {
        let mut other = one.clone();
        other.before.reverse();
        other.after.reverse();
        other.elsewhere.reverse();
        other.evidence.tags.reverse();
        other.evidence.gone.reverse();
        other.evidence.planned_elsewhere.reverse();
        other.evidence.namespaces.iter_mut().for_each(|all| all.reverse());
        let by = turn.index(5);
        let most = other.after.len();
        if most > 0 {
            other.after.rotate_left(by % most);
        }
        prop_assert_eq!(super::plan(&one), super::plan(&other));
    }

    #[test]
    fn wanting_what_is_there_changes_nothing(mut situation in situation(ServerNames::Kept)) {
        situation.after = situation.before.iter().filter_map(|hosted| Some(Desired {
            stable_id: hosted.stable_id.clone()?,
            class: hosted.class.clone(),
            storage: Some(hosted.storage),
            names_script: false,
            transferred_from: None,
            previous_class: None,
        })).collect();
        let plan = super::plan(&situation);
        prop_assert!(plan.changes.is_empty() && plan.uploads.is_empty() && plan.problems.is_empty() && plan.warnings.is_empty());
        prop_assert_eq!(plan.hosts.len(), situation.before.len());
    }

    #[test]
    fn every_message_has_its_form(situation in crowded()) {
        let plan = super::plan(&situation);
        let problems = plan.problems.iter().map(|problem| (problem.summary(), problem.detail()));
        let warnings = plan.warnings.iter().map(|warning| (warning.summary(), warning.detail()));
        for (summary, detail) in problems.chain(warnings) {
            prop_assert!(summary.chars().count() <= 80 && !summary.ends_with('.') && detail.ends_with('.'));
        }
    }
}
