//! Several Workers through edits of their configuration, with the process dying in between.

use std::cell::RefCell;
use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::TestError;

use super::advice::{End, converge};
use super::cloud::{ServerNames, Shown};
use super::config::{Config, From, Namespace, Naming, id, script};
use super::turns::{Break, Chance};
use super::world::{Outcome, World};
use crate::durable::ClassName;

/// The start of everything a walk depends on.
#[derive(Clone, Debug)]
struct Walk {
    server_names: ServerNames,
    shown: Shown,
    naming: Naming,
    /// Whether a namespace without `script_name` may be bound by several Workers: each of them then has its own.
    twins: bool,
    steps: Vec<Step>,
}

/// The next configuration, how its run ends, and what happens then.
#[derive(Clone, Debug)]
struct Step {
    /// The first few of these that together make sense are made.
    edits: Vec<Edit>,
    ends: Option<Break>,
    /// Whether the same is applied again after an early end; else the next step follows at once.
    again: bool,
    seed: u64,
}

/// One edit; the numbers choose among what there is.
#[derive(Clone, Copy, Debug)]
enum Edit {
    Class(u8, u8),
    Script(u8, u8),
    Bind(u8, u8),
    Remove(u8),
    Consent(u8),
    TransferredFrom(u8, u8),
    KeepExporting(u8),
    Edge(u8),
    Swap(u8, u8),
}

const IDS: [&str; 3] = ["X", "Y", "Z"];
const CLASSES: [&str; 3] = ["R", "H", "S"];
const WORKERS: [&str; 3] = ["A", "B", "C"];

/// How much of the names above a walk uses.
#[derive(Clone, Copy)]
struct Size {
    ids: usize,
    classes: usize,
    workers: usize,
}

fn pick(names: &[&'static str], most: usize, index: u8) -> &'static str {
    names[usize::from(index) % most]
}

impl Edit {
    fn make(self, config: &mut Config, size: Size) {
        let id = |index| id(pick(&IDS, size.ids, index));
        let class = |index| ClassName::from_api(pick(&CLASSES, size.classes, index));
        let worker = |index| script(pick(&WORKERS, size.workers, index));
        let optional = |index: u8| (!index.is_multiple_of(4)).then(|| worker(index / 4));
        let new = || Namespace::new(class(0));
        match self {
            Self::Class(of, to) => {
                config.namespaces.entry(id(of)).or_insert_with(new).class = class(to);
            }
            Self::Script(of, to) => {
                config.namespaces.entry(id(of)).or_insert_with(new).script = optional(to);
            }
            Self::Bind(by, of) => {
                let stable_id = id(of);
                let binds = config.workers.entry(worker(by)).or_default();
                if !binds.ids.remove(&stable_id) {
                    binds.ids.insert(stable_id.clone());
                }
                let new = || Namespace::new(class(of));
                config.namespaces.entry(stable_id).or_insert_with(new);
            }
            Self::Remove(of) => drop(config.workers.remove(&worker(of))),
            Self::Consent(of) => {
                if let Some(namespace) = config.namespaces.get_mut(&id(of)) {
                    namespace.consents = !namespace.consents;
                }
            }
            Self::TransferredFrom(of, to) => {
                if let Some(namespace) = config.namespaces.get_mut(&id(of)) {
                    namespace.transferred_from = match to % 5 {
                        0 => From::Null,
                        1 => From::Nowhere,
                        _ => From::Script(worker(to / 5)),
                    };
                }
            }
            Self::KeepExporting(by) => {
                if let Some(binds) = config.workers.get_mut(&worker(by)) {
                    binds.keeps_exporting = !binds.keeps_exporting;
                }
            }
            Self::Edge(which) => {
                config.edges = match which % 3 {
                    0 => Vec::new(),
                    1 => vec![(worker(0), worker(1))],
                    _ => vec![(worker(1), worker(0))],
                };
            }
            Self::Swap(one, other) => {
                let (one, other) = (id(one), id(other));
                let class = |it| config.namespaces.get(it).map(|it| it.class.clone());
                if let (Some(of_one), Some(of_other)) = (class(&one), class(&other)) {
                    config
                        .namespaces
                        .entry(one)
                        .and_modify(|it| it.class = of_other);
                    config
                        .namespaces
                        .entry(other)
                        .and_modify(|it| it.class = of_one);
                }
            }
        }
    }
}

/// How many edits one step makes at most.
const MOST_EDITS: usize = 4;

/// The configuration after a step, if its edits make sense and change something.
fn edited(config: &Config, edits: &[Edit], size: Size, twins: bool) -> Option<Config> {
    for few in edits.chunks(MOST_EDITS) {
        let mut next = config.clone();
        for edit in few {
            edit.make(&mut next, size);
            let tidy = next.clone().tidied();
            if tidy.is_sane(twins) && tidy != *config {
                return Some(tidy);
            }
        }
    }
    None
}

fn edit() -> impl Strategy<Value = Edit> {
    let n = any::<u8>;
    prop_oneof![
        2 => (n(), n()).prop_map(|(a, b)| Edit::Class(a, b)),
        2 => (n(), n()).prop_map(|(a, b)| Edit::Script(a, b)),
        4 => (n(), n()).prop_map(|(a, b)| Edit::Bind(a, b)),
        1 => n().prop_map(Edit::Remove),
        1 => n().prop_map(Edit::Consent),
        1 => (n(), n()).prop_map(|(a, b)| Edit::TransferredFrom(a, b)),
        1 => n().prop_map(Edit::KeepExporting),
        1 => n().prop_map(Edit::Edge),
        2 => (n(), n()).prop_map(|(a, b)| Edit::Swap(a, b)),
    ]
}

fn ends() -> impl Strategy<Value = Option<Break>> {
    prop_oneof![
        3 => Just(None),
        3 => (1..=4usize).prop_map(|writes| Some(Break::Killed(writes))),
        1 => (1..=4usize).prop_map(|writes| Some(Break::Stopped(writes))),
    ]
}

fn walk(most: usize) -> impl Strategy<Value = Walk> {
    let step = (
        prop::collection::vec(edit(), 1..=16),
        ends(),
        any::<bool>(),
        any::<u64>(),
    );
    let step = step.prop_map(|(edits, ends, again, seed)| Step {
        edits,
        ends,
        again,
        seed,
    });
    let server_names = prop_oneof![2 => Just(ServerNames::Kept), 1 => Just(ServerNames::Rewritten)];
    let shown = prop_oneof![Just(Shown::AsSent), Just(Shown::AsItIsNow)];
    let naming = prop_oneof![
        Just(Naming::StableId),
        Just(Naming::Class),
        Just(Naming::Slot)
    ];
    let twins = prop::bool::weighted(0.2);
    let steps = prop::collection::vec(step, 2..=most);
    (server_names, shown, naming, twins, steps).prop_map(
        |(server_names, shown, naming, twins, steps)| Walk {
            server_names,
            shown,
            naming,
            twins,
            steps,
        },
    )
}

/// How walks went.
#[derive(Default)]
struct Seen {
    walks: usize,
    runs: usize,
    ends: BTreeMap<&'static str, usize>,
    /// What was stuck, and the shortest walk to it.
    stuck: BTreeMap<String, (usize, String)>,
}

impl Walk {
    /// Walks. Failures come with the way there.
    fn go(&self, size: Size, seen: &mut Seen) -> Result<(), String> {
        let mut world = World::new(self.server_names, self.shown, self.naming);
        let mut config = Config::default();
        let mut way = format!("{:?} {:?} {:?}", self.server_names, self.shown, self.naming);
        seen.walks += 1;
        for step in &self.steps {
            let Some(next) = edited(&config, &step.edits, size, self.twins) else {
                continue;
            };
            way.push_str(&format!("\n  {next}"));
            if let Some(ends) = step.ends {
                way.push_str(&format!("   {ends:?}"));
            }
            let mut chance = Chance(step.seed | 1);
            let with_way = |what: String| format!("{what}\n{way}");
            seen.runs += 1;
            let mut end = world.run(&next, &mut chance, step.ends).map_err(with_way)?;
            *seen.ends.entry(name_of(&end)).or_default() += 1;
            let ended_early =
                end == Outcome::Killed || step.ends.is_some() && end != Outcome::Success;
            if ended_early {
                if !step.again {
                    config = next;
                    continue;
                }
                end = Outcome::Killed;
            }
            if end == Outcome::Success {
                world.use_it(&next).map_err(with_way)?;
                config = next;
                continue;
            }
            seen.runs += 1;
            match converge(&mut world, &next, &mut chance).map_err(with_way)? {
                End::Reached => config = next,
                End::Advised => config = world.last.clone().unwrap_or_default(),
                End::Stuck(outcome) => {
                    let shortest = seen.stuck.entry(kind(&outcome)).or_default();
                    shortest.0 += 1;
                    if shortest.1.is_empty() || shortest.1.len() > way.len() {
                        shortest.1.clone_from(&way);
                    }
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

fn name_of(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Success => "succeeded",
        Outcome::NotPlanned(_) => "refused in the plan",
        Outcome::Failed(..) => "failed",
        Outcome::Killed => "killed",
    }
}

/// What was in the way, without names.
fn kind(outcome: &Outcome) -> String {
    let text = format!("{outcome:?}");
    text.replace("ScriptName", "")
        .replace("StableId", "")
        .replace("ClassName", "")
}

#[expect(clippy::print_stdout, reason = "said on request, with --nocapture")]
fn walk_all(title: &str, share: u32, most: usize, size: Size) {
    let seen = RefCell::new(Seen::default());
    let outcome = super::runner(share).run(&walk(most), |walk| {
        walk.go(size, &mut seen.borrow_mut())
            .map_err(TestCaseError::fail)
    });
    if let Err(TestError::Fail(why, _)) = outcome {
        panic!("{why}");
    }
    let seen = seen.into_inner();
    let stuck: usize = seen.stuck.values().map(|(count, _)| count).sum();
    println!(
        "{title}: {} walks, {} runs, {stuck} stuck",
        seen.walks, seen.runs
    );
    println!("  {:?}", seen.ends);
    for (kind, (count, way)) in &seen.stuck {
        println!("  [{count}] {kind}\n  {way}");
    }
    // Each kind wants an explanation; more than a few mean that something is wrong with the rules or with the messages.
    assert!(
        stuck * 1000 <= seen.walks.max(1000),
        "{stuck} walks are stuck"
    );
}

#[test]
fn two_workers_and_one_namespace() {
    let size = Size {
        ids: 1,
        classes: 2,
        workers: 2,
    };
    walk_all("two Workers, one namespace", 100, 4, size);
}

#[test]
fn two_workers_and_two_namespaces() {
    let size = Size {
        ids: 2,
        classes: 2,
        workers: 2,
    };
    walk_all("two Workers, two namespaces", 125, 4, size);
}

#[test]
fn three_workers_and_three_namespaces() {
    let size = Size {
        ids: 3,
        classes: 3,
        workers: 3,
    };
    walk_all("three Workers, three namespaces", 125, 5, size);
}
