//! S40: walks through configurations of two Workers and two namespaces, with runs that are killed at any write. Whatever was done,
//! after an apply that succeeds every binding reaches the namespace that has its data.

use std::fs;
use std::path::Path;
use std::time::Duration;

use acceptance_tests::stage::Stage;
use serde_json::Value;

use super::layout::{Namespace, Worker, configure, converge, namespace, visited, worker};

const WORKERS: [&str; 2] = ["a", "b"];
const CLASSES: [&str; 3] = ["A", "B", "C"];
const STEPS: usize = 4;

/// Where X and Y are, and under which class.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Place {
    classes: [usize; 2],
    hosts: [usize; 2],
}

impl Place {
    /// As HCL; `from` is what a message said about `transferred_from`.
    fn configuration(self, from: &[(String, String)]) -> (Vec<Namespace>, Vec<Worker>) {
        let ids = ["x", "y"];
        let declared = |id: usize| {
            let one = namespace(ids[id], CLASSES[self.classes[id]]).on(WORKERS[self.hosts[id]]);
            let from = from.iter().find(|(said, _)| *said == ids[id]);
            from.map_or(one.clone(), |(_, script)| {
                one.with(&format!("transferred_from = \"{script}\""))
            })
        };
        let namespaces = (0..2).map(declared).collect();
        let workers = (0..2)
            .map(|host| {
                let here = (0..2).filter(|id| self.hosts[*id] == host);
                let code: Vec<(&str, &str)> = here
                    .map(|id| (CLASSES[self.classes[id]], ids[id]))
                    .collect();
                worker(WORKERS[host], &ids).code(&code)
            })
            .collect();
        (namespaces, workers)
    }
}

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap_or_default() % sides
    }

    /// Another place, by one or two edits; two classes of one Worker differ.
    fn elsewhere(&mut self, place: Place) -> Place {
        loop {
            let mut next = place;
            for _ in 0..=self.roll(2) {
                let id = self.roll(2);
                match self.roll(3) {
                    0 => next.classes[id] = self.roll(CLASSES.len()),
                    1 => next.hosts[id] = self.roll(2),
                    _ => next.classes.swap(0, 1),
                }
            }
            let clash = next.hosts[0] == next.hosts[1] && next.classes[0] == next.classes[1];
            if next != place && !clash {
                return next;
            }
        }
    }
}

/// Starts an apply and kills it when its write of that number arrives. Whether it came that far does not matter.
async fn apply_and_die(stage: &Stage, write: usize) {
    stage.cloudflare.clear_calls();
    let mut apply = stage
        .workspace
        .spawn(&["apply", "-auto-approve", "-input=false"]);
    let arrives = async {
        while stage.writes().len() < write {
            tokio::task::yield_now().await;
        }
    };
    let ended = tokio::select! {
        waited = tokio::time::timeout(Duration::from_secs(60), arrives) => waited.is_err(),
        () = apply.ended() => true,
    };
    if !ended {
        apply.kill();
    }
    drop(apply.wait().await);
    restore_state(&stage.workspace.path());
}

/// Core empties its state before it writes it. Who finds it empty takes the backup.
fn restore_state(module: &Path) {
    let state = module.join("terraform.tfstate");
    let is_whole = |text: Vec<u8>| serde_json::from_slice::<Value>(&text).is_ok();
    if !fs::read(&state).is_ok_and(is_whole) {
        let backup = module.join("terraform.tfstate.backup");
        fs::copy(backup, state).expect("core keeps a backup");
    }
}

/// The stable IDs of which a message says that they are hosted elsewhere, and where.
fn advised(stderr: &str) -> Vec<(String, String)> {
    let quoted = |line: &str| -> Option<(String, String)> {
        let (id, rest) = line.strip_prefix("Error: Namespace `")?.split_once('`')?;
        let script = rest.strip_prefix(" is hosted by Worker `")?;
        Some((id.to_owned(), script.trim_end_matches('`').to_owned()))
    };
    stderr.lines().filter_map(quoted).collect()
}

async fn walk(seed: u64) {
    let mut dice = Dice(seed);
    let stage = Stage::empty().await;
    let mut place = Place {
        classes: [0, 1],
        hosts: [0, 0],
    };
    let mut visits = 0;
    let apply = |place: Place| {
        let (namespaces, workers) = place.configuration(&[]);
        configure(&stage, &namespaces, &workers);
    };
    apply(place);
    stage.apply(&[]).await;
    for step in 0..=STEPS {
        for (worker, id) in [("a", "x"), ("a", "y"), ("b", "x"), ("b", "y")] {
            let before = if worker == "a" { 1 } else { 2 };
            visited(&stage, worker, id, visits + before).await;
        }
        visits += 2;
        if step == STEPS {
            break;
        }
        let next = dice.elsewhere(place);
        apply(next);
        match dice.roll(3) {
            0 => place = next,
            killed => {
                let write = 1 + dice.roll(3);
                apply_and_die(&stage, write).await;
                if killed == 1 {
                    place = next;
                }
                apply(place); // Again, or back.
            }
        }
        // A move that was killed and taken back may not be in the state: the plan says how to say it.
        let run = stage.workspace.run(&["plan", "-no-color"]).await;
        let from = advised(&run.stderr);
        if !from.is_empty() {
            let (namespaces, workers) = place.configuration(&from);
            configure(&stage, &namespaces, &workers);
        }
        converge(&stage, &[], 4).await;
        let hosted = stage.namespaces();
        assert_eq!(hosted.len(), 2, "walk {seed}, step {step}: {hosted:?}");
    }
}

#[tokio::test]
async fn walks_with_deaths_lose_and_confuse_nothing() {
    for seed in [1, 2] {
        walk(seed).await;
    }
}

#[tokio::test]
async fn more_walks_with_deaths_lose_and_confuse_nothing() {
    for seed in [3, 4] {
        walk(seed).await;
    }
}
