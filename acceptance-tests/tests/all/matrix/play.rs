//! Plays a flow once undisturbed and once for every case, and sees that every time it ends where it was meant to.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::io::{self, Write as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use acceptance_tests::cloudflare::Misbehaviour;
use acceptance_tests::install::{self, CoreKind};
use acceptance_tests::snapshot::Snapshot;
use acceptance_tests::stage::Stage;
use acceptance_tests::terraform::Run;
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::cases::{Case, Depth, Disturbance, Ends, Phase, Victim, cases, positions};
use super::flow::{Flow, PLAN};

/// So many cases of a flow are under way at a time.
const LANES: usize = 3;
/// So often a user applies again before complaining.
const APPLIES: usize = 3;

/// What is shared by the cases of a flow.
struct Play<'f> {
    flow: &'f Flow,
    depth: Depth,
    /// The ids of the beginning, by place.
    ids: BTreeMap<String, String>,
    /// Worlds that are known to end well. A run that leaves one of them needs no further look.
    fine: RefCell<HashSet<String>>,
    failures: RefCell<Vec<String>>,
    count: RefCell<Count>,
}

/// What was done, for people.
#[derive(Default)]
struct Count {
    cases: usize,
    calls: usize,
    /// Cases that left a world that no case had left before.
    worlds: usize,
    /// Cases whose call was not made: Workers at the same time do not always make the same ones.
    unmet: usize,
}

impl Count {
    fn print(&self, flow: &str, elapsed: Duration) {
        let Self {
            cases,
            calls,
            worlds,
            unmet,
        } = self;
        // Not captured, unlike what `println!` says: how many cases were run belongs into every report.
        let said = writeln!(
            io::stdout(),
            "matrix {flow}: {cases} cases over {calls} calls in {elapsed:.0?}; they left {worlds} worlds, {unmet} met no call"
        );
        said.expect("standard output is there");
    }
}

/// Plays a flow with all its cases.
///
/// # Panics
/// With every case that did not end well.
pub async fn play(flow: Flow, depth: Depth) {
    let began = Instant::now();
    let beginning = flow.beginning().await;
    let stage = beginning.stage().await;
    let play = Play {
        flow: &flow,
        depth,
        ids: stage.namespaces().into_iter().collect(),
        fine: RefCell::default(),
        failures: RefCell::default(),
        count: RefCell::default(),
    };
    if let Err(why) = play.go_on(&stage, Ends::Meant).await {
        panic!("{}, undisturbed: {why}", flow.name);
    }
    drop(stage);
    let start = world(&beginning.stage().await);
    play.fine.borrow_mut().insert(start);

    // What takes more than one apply is disturbed in each.
    let mut next = Some(beginning);
    while let Some(before) = next {
        next = play.round(before).await;
    }
    let count = play.count.take();
    count.print(flow.name, began.elapsed());
    let Count { cases, unmet, .. } = count;
    let failures = play.failures.take();
    assert!(
        failures.is_empty(),
        "{}: {} of {cases} cases went wrong:\n{}",
        flow.name,
        failures.len(),
        failures.join("\n\n")
    );
    // Workers that are at work at the same time overtake each other; then some calls of the recorded run do not come.
    let few = unmet * 5 <= cases || depth == Depth::KillsAfterWrites;
    assert!(few, "{}: {unmet} cases met no call", flow.name);
}

impl Play<'_> {
    /// Plans and applies with all cases. Returns the world in which another apply is needed, if one is.
    async fn round(&self, before: Snapshot) -> Option<Snapshot> {
        let flow = self.flow;
        let (mut plan, mut apply) = (Vec::new(), Vec::new());
        let planned = before
            .then(async |stage| {
                let run = stage.workspace.run(&flow.plan(PLAN)).await;
                assert!(run.status.success(), "{}: {run}", flow.name);
                plan = positions(&stage.cloudflare.calls());
            })
            .await;
        let mut is_complete = true;
        let applied = planned
            .then(async |stage| {
                let run = stage.workspace.run(&flow.apply_saved()).await;
                apply = positions(&stage.cloudflare.calls());
                is_complete = stage.workspace.run(&flow.look()).await.status.code() == Some(0);
                assert!(run.status.success() || !is_complete, "{}: {run}", flow.name);
            })
            .await;
        let mut all = cases(flow, &plan, &apply, self.depth);
        let core = install::core().await.expect("a core is there");
        if core.kind == CoreKind::OpenTofu {
            // The provider is the same, and so is what it is asked: a sample shows it.
            all = all.into_iter().step_by(3).collect();
        }
        {
            let mut count = self.count.borrow_mut();
            count.cases += all.len();
            count.calls += plan.len() + apply.len();
        }
        let left = RefCell::new(VecDeque::from(all));
        join_all((0..LANES).map(|_| self.lane(&planned, &left))).await;
        (!is_complete).then_some(applied)
    }

    /// Plays cases until none is left. A stage that a case has left untouched serves the next one as well.
    async fn lane(&self, planned: &Snapshot, left: &RefCell<VecDeque<Case>>) {
        let mut kept = None;
        loop {
            let Some(case) = left.borrow_mut().pop_front() else {
                return;
            };
            let stage = match kept.take() {
                Some(stage) => stage,
                None => planned.stage().await,
            };
            let (account, state) = (stage.cloudflare.account(), state(&stage));
            if let Err(why) = self.case(&stage, &case).await {
                let failure = format!("=== {:?} {:?} {:?}: {why}", case.phase, case.at, case.what);
                self.failures.borrow_mut().push(failure);
                continue;
            }
            stage.cloudflare.faults().clear();
            if Arc::ptr_eq(&account, &stage.cloudflare.account()) && state == self::state(&stage) {
                kept = Some(stage);
            }
        }
    }

    async fn case(&self, stage: &Stage, case: &Case) -> Result<(), String> {
        stage.cloudflare.clear_calls();
        let run = self.disturb(stage, case).await;
        if stage.cloudflare.faults().met() == 0 && !case.at.is_repeated_read() {
            self.count.borrow_mut().unmet += 1;
        }
        stage.cloudflare.faults().clear();
        // What another tool does before the plan call that core repeats in an apply shows there, and core stops in its own words.
        let is_told_by_core = match case.what {
            Disturbance::Kill(_) => true,
            Disturbance::Overtaken { stops, .. } => stops,
            _ => false,
        };
        if run.says("panicked") || run.says("bug in the provider") && !is_told_by_core {
            return Err(format!("the provider has a bug: {run}"));
        }
        let mut ends = Ends::Meant;
        if let Disturbance::Overtaken {
            ends: it, stops, ..
        } = &case.what
        {
            ends = *it;
            let writes = stage.writes();
            let written = writes.iter().any(|call| call.status < 300);
            if *stops && (run.status.success() || written) {
                return Err(format!("it should have stopped: {writes:?}\n{run}"));
            }
        }
        let left = world(stage);
        if self.fine.borrow().contains(&left) {
            return Ok(());
        }
        self.count.borrow_mut().worlds += 1;
        let ended = self.go_on(stage, ends).await;
        ended.map_err(|why| format!("{why}\n--- first {run}"))?;
        if ends == Ends::Meant {
            self.fine.borrow_mut().insert(left);
        }
        Ok(())
    }

    /// Runs the plan or the apply, with something going wrong in it.
    async fn disturb(&self, stage: &Stage, case: &Case) -> Run {
        let Case { phase, at, what } = case;
        let cloudflare = &stage.cloudflare;
        match what {
            Disturbance::Faulty(kind, times) => {
                cloudflare.add_fault(at.fault(kind.clone(), *times));
            }
            Disturbance::Kill(_) | Disturbance::StaleFromHere => {
                cloudflare.add_fault(at.fault(Misbehaviour::Hold, 1));
            }
            Disturbance::Overtaken { actions, .. } => {
                for action in actions {
                    let action = action.clone();
                    cloudflare.add_fault(at.fault(Misbehaviour::Meanwhile { action }, 1));
                }
            }
        }
        let mut running = stage.workspace.spawn(&match phase {
            // A plan that fails is saved as well, as one that cannot be applied.
            Phase::Plan => self.flow.plan("other.tfplan"),
            Phase::Apply => self.flow.apply_saved(),
        });
        let held = tokio::select! {
            () = cloudflare.faults().until_held() => true,
            () = running.ended() => false,
        };
        match what {
            Disturbance::Kill(Victim::Both) if held => running.kill_all(),
            Disturbance::Kill(Victim::Provider) if held => running.kill_provider().await,
            Disturbance::StaleFromHere if held => {
                for path in ["*/workers/scripts", "*/durable_objects/namespaces"] {
                    let stale = Misbehaviour::Stale.times(u32::MAX, "GET", path);
                    cloudflare.add_fault(stale);
                }
            }
            _ => {}
        }
        cloudflare.faults().release();
        running.wait().await
    }

    /// Applies as a user would, until nothing is left to do, and looks at everything.
    async fn go_on(&self, stage: &Stage, ends: Ends) -> Result<(), String> {
        let flow = self.flow;
        stage.cloudflare.clear_calls();
        let mut applies = 0;
        loop {
            applies += 1;
            let apply = stage.workspace.run(&flow.apply()).await;
            let replaces = !flow.destroys && apply.says("must be replaced");
            if replaces || apply.says("is tainted") || apply.says("bug in the provider") {
                return Err(format!("nobody wants that: {apply}"));
            }
            if apply.status.success() {
                let plan = stage.workspace.run(&flow.look()).await;
                if plan.status.code() == Some(0) {
                    break;
                }
                // Who has to apply again is told so.
                if applies == APPLIES || !apply.says("pply again to finish") {
                    return Err(format!(
                        "the plan should be empty: {plan}\n--- after {apply}"
                    ));
                }
            } else if ends == Ends::Asked && apply.says("nothing claims it") {
                return match stage.writes().as_slice() {
                    [] => Ok(()),
                    writes => Err(format!("nothing should be written: {writes:?}\n{apply}")),
                };
            } else if applies == APPLIES {
                return Err(format!("it does not converge: {apply}"));
            }
        }
        if ends == Ends::Meant {
            let reached = world(stage);
            self.look(stage).await?;
            self.fine.borrow_mut().insert(reached);
        }
        Ok(())
    }

    /// Every namespace is where it is meant to be, and everybody finds their data.
    async fn look(&self, stage: &Stage) -> Result<(), String> {
        let now: BTreeMap<String, String> = stage.namespaces().into_iter().collect();
        let ends = &self.flow.ends;
        let places: Vec<&str> = now.keys().map(String::as_str).collect();
        let mut wanted: Vec<&str> = ends.iter().map(|(place, _)| *place).collect();
        wanted.sort_unstable();
        if places != wanted {
            return Err(format!("namespaces are {places:?} instead of {wanted:?}"));
        }
        for (place, before) in ends {
            let id = &now[*place];
            let kept = before.is_none_or(|before| self.ids[before] == *id);
            let new = before.is_some() || self.ids.values().all(|it| it != id);
            if !kept || !new {
                return Err(format!("{place} has another id, of {before:?}: {now:?}"));
            }
        }
        let workers = &stage.cloudflare.account().scripts;
        if self.flow.destroys && !workers.is_empty() {
            return Err(format!("Workers are left: {:?}", workers.keys()));
        }
        for (worker, id, count) in &self.flow.answers {
            let said = stage.visitor.get(worker, &format!("/{id}")).await;
            let said = said.map_err(|error| error.to_string())?;
            let wanted = (200, format!("{id} for {id} {count}"));
            if said != wanted {
                return Err(format!("{worker} says {said:?} instead of {wanted:?}"));
            }
        }
        Ok(())
    }
}

/// The state as it is written, if it is.
fn state(stage: &Stage) -> Option<String> {
    std::fs::read_to_string(stage.workspace.path().join("terraform.tfstate")).ok()
}

/// The account and the state, without what tells only when and how often something was done.
fn world(stage: &Stage) -> String {
    fn timeless(value: &mut Value) {
        match value {
            Value::Object(members) => {
                for name in ["created_on", "modified_on", "serving", "issued"] {
                    members.remove(name);
                }
                members.values_mut().for_each(timeless);
            }
            Value::Array(list) => list.iter_mut().for_each(timeless),
            _ => {}
        }
    }
    let account = stage.cloudflare.account();
    let mut account = serde_json::to_value(&*account).expect("an account is data");
    timeless(&mut account);
    let state = state(stage).and_then(|text| serde_json::from_str::<Value>(&text).ok());
    let resources = state.map(|state| state["resources"].clone());
    // No resources are the same as no state.
    let resources = resources.filter(|it| it != &json!([]));
    json!([account, resources]).to_string()
}
