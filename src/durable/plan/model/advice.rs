//! What a person does after an error: the same again, then what the message says.

use std::collections::BTreeSet;

use super::config::{Config, From, Namespace};
use super::planned::Refusal;
use super::read::{discover, read};
use super::turns::{Chance, Wait};
use super::world::{Obstacle, Outcome, World};
use crate::durable::plan::Problem;
use crate::durable::{ClassName, ScriptName, StableId};

/// How often the same is applied again before anything else is tried.
const TRIES: usize = 3;
/// How many messages in a row somebody follows.
const PERSISTENCE: usize = 5;

/// Where a configuration leads in the end.
#[derive(Clone, Debug, PartialEq)]
pub enum End {
    /// It is applied.
    Reached,
    /// What the messages made of it is applied.
    Advised,
    /// Neither.
    Stuck(Outcome),
}

/// Applies a configuration until it succeeds, else follows the messages.
///
/// # Errors
/// What must never happen, with the configurations that led there.
pub fn converge(world: &mut World, config: &Config, chance: &mut Chance) -> Result<End, String> {
    persist(world, config, chance, PERSISTENCE)
        .map_err(|what| format!("{what}\n  on the way to {config}"))
}

fn persist(
    world: &mut World,
    config: &Config,
    chance: &mut Chance,
    depth: usize,
) -> Result<End, String> {
    let mut outcome = Outcome::Killed;
    for _ in 0..TRIES {
        outcome = world.run(config, chance, None)?;
        if outcome == Outcome::Success {
            world.use_it(config)?;
            return Ok(End::Reached);
        }
    }
    let obstacles = match &outcome {
        Outcome::NotPlanned(obstacles) | Outcome::Failed(obstacles, _) if depth > 0 => obstacles,
        _ => return Ok(End::Stuck(outcome)),
    };
    for way in ways_out(world, config, obstacles) {
        let mut copy = world.clone();
        let mut leads_on = true;
        for step in &way {
            let step = &supplied(step, &copy);
            let end = persist(&mut copy, step, chance, depth - 1)
                .map_err(|what| format!("{what}\n  advised: {step}"))?;
            leads_on &= !matches!(end, End::Stuck(_));
            if !leads_on {
                break;
            }
        }
        if leads_on {
            *world = copy;
            return Ok(End::Advised);
        }
    }
    Ok(End::Stuck(outcome))
}

/// Who binds a namespace again brings its block back, too.
fn supplied(config: &Config, world: &World) -> Config {
    let mut config = config.clone();
    let bound: BTreeSet<StableId> = config
        .workers
        .values()
        .flat_map(|it| it.ids.iter().cloned())
        .collect();
    for id in bound {
        if let Some(namespace) = world.namespaces.get(&id) {
            config
                .namespaces
                .entry(id)
                .or_insert_with(|| namespace.clone());
        }
    }
    config.without_dangling()
}

/// Sequences of configurations that messages name.
fn ways_out(world: &World, config: &Config, obstacles: &[Obstacle]) -> Vec<Vec<Config>> {
    let advice = Advice { world, config };
    let mut ways: Vec<Vec<Config>> = Vec::new();
    if obstacles.len() > 1 {
        // Several messages: the first way of each at once.
        let mut all = config.clone();
        for obstacle in obstacles {
            all = advice.at_once(all, obstacle);
        }
        if all != *config {
            ways.push(vec![all.clone()]);
            ways.push(vec![all, config.clone()]);
        }
    }
    ways.extend(
        obstacles
            .iter()
            .flat_map(|obstacle| advice.for_one(obstacle)),
    );
    ways
}

struct Advice<'a> {
    world: &'a World,
    config: &'a Config,
}

/// The same with another namespace.
fn with(config: &Config, id: &StableId, change: impl FnOnce(&mut Namespace)) -> Config {
    let mut config = config.clone();
    if let Some(namespace) = config.namespaces.get_mut(id) {
        change(namespace);
    }
    config
}

fn binding(config: &Config, worker: &ScriptName, id: &StableId) -> Config {
    let mut config = config.clone();
    let binds = config.workers.entry(worker.clone()).or_default();
    binds.ids.insert(id.clone());
    config
}

fn not_binding(config: &Config, worker: &ScriptName, id: &StableId) -> Config {
    let mut config = config.clone();
    if let Some(binds) = config.workers.get_mut(worker) {
        binds.ids.remove(id);
    }
    config
}

/// "To move it here, set `script_name` and `transferred_from`."
fn moved(config: &Config, id: &StableId, here: &ScriptName, from: &ScriptName) -> Config {
    with(config, id, |it| {
        it.script = it.script.take().or_else(|| Some(here.clone()));
        it.transferred_from = From::Script(from.clone());
    })
}

impl Advice<'_> {
    fn at_once(&self, config: Config, obstacle: &Obstacle) -> Config {
        match obstacle {
            Obstacle::Worker(own, Refusal::Planner(problem)) => match problem {
                Problem::LivesElsewhere {
                    stable_id, script, ..
                } => moved(&config, stable_id, own, script),
                Problem::MoveOrShare {
                    stable_id, from, ..
                } => moved(&config, stable_id, own, from),
                Problem::HostedHere { stable_id, .. } => with(&config, stable_id, |it| {
                    it.transferred_from = From::Script(own.clone());
                }),
                _ => config,
            },
            Obstacle::Worker(own, Refusal::Exists) => imported(&config, own),
            Obstacle::Worker(own, Refusal::HoldsData { class, .. })
            | Obstacle::DestroysData(own, class) => match self.hosted(own, class) {
                Some(stable_id) => self.consenting(&config, own, &stable_id, class),
                None => config,
            },
            Obstacle::MovesWithConsent(id) => {
                let prior = self.world.namespaces[id].clone();
                with(&config, id, |it| {
                    *it = Namespace {
                        consents: false,
                        ..prior
                    };
                })
            }
            Obstacle::GaveUp(_) => config,
        }
    }

    fn for_one(&self, obstacle: &Obstacle) -> Vec<Vec<Config>> {
        let config = self.config;
        match obstacle {
            Obstacle::Worker(own, Refusal::Planner(problem)) => self.for_problem(own, problem),
            Obstacle::Worker(own, Refusal::Exists) => vec![vec![imported(config, own)]],
            Obstacle::Worker(own, Refusal::HoldsData { class, .. })
            | Obstacle::DestroysData(own, class) => match self.hosted(own, class) {
                Some(stable_id) => self.for_data(own, &stable_id, class),
                None => Vec::new(),
            },
            // "First apply `force_destroy = false` with the old `script_name`, then change it."
            Obstacle::MovesWithConsent(id) => {
                let then = with(config, id, |it| it.consents = false);
                let old = self.world.namespaces[id].script.clone();
                let withdrawn = |base: &Config| {
                    with(base, id, |it| {
                        it.consents = false;
                        it.script = old.clone();
                        it.transferred_from = From::Null;
                    })
                };
                let bases = self.world.last.iter().chain([config]);
                bases
                    .map(|base| vec![withdrawn(base), then.clone()])
                    .collect()
            }
            Obstacle::GaveUp(wait) => self.for_wait(wait),
        }
    }

    fn for_problem(&self, own: &ScriptName, problem: &Problem) -> Vec<Vec<Config>> {
        let config = self.config;
        let shared = |id: &StableId, host: &ScriptName| {
            with(config, id, |it| it.script = Some(host.clone()))
        };
        match problem {
            Problem::LivesElsewhere {
                stable_id, script, ..
            } => vec![
                vec![moved(config, stable_id, own, script)],
                vec![shared(stable_id, script)],
            ],
            Problem::MoveOrShare {
                stable_id, from, ..
            } => vec![vec![shared(stable_id, own)], vec![shared(stable_id, from)]],
            Problem::HostedHere { stable_id, .. } => {
                let from_here = with(config, stable_id, |it| {
                    it.transferred_from = From::Script(own.clone());
                });
                let mut ways = vec![vec![from_here], vec![shared(stable_id, own)]];
                ways.extend(self.given_up_first(own, stable_id, config));
                ways
            }
            Problem::TwoCopies { stable_id, .. } => {
                let last = self.world.last.as_ref().unwrap_or(config);
                let ways = [config, last].map(|base| self.given_up_first(own, stable_id, base));
                ways.into_iter().flatten().collect()
            }
            _ => Vec::new(),
        }
    }

    /// Consent, unbind, withdraw the consent, and then what was wanted.
    fn given_up_first(
        &self,
        own: &ScriptName,
        id: &StableId,
        base: &Config,
    ) -> Option<Vec<Config>> {
        let old = self.world.namespaces.get(id)?.clone();
        base.workers.get(own)?;
        let mut consenting = base.clone();
        let namespace = Namespace {
            consents: true,
            ..old
        };
        consenting.namespaces.insert(id.clone(), namespace);
        let unbound = not_binding(&consenting, own, id);
        let withdrawn = with(&unbound, id, |it| it.consents = false);
        Some(vec![consenting, unbound, withdrawn, self.config.clone()])
    }

    fn for_wait(&self, wait: &Wait) -> Vec<Vec<Config>> {
        let config = self.config;
        let last = self.world.last.as_ref();
        match wait {
            Wait::Taker { own, stable_id } => {
                let class = self.class_of(own, stable_id);
                let mut ways = Vec::new();
                if config.namespaces.contains_key(stable_id) {
                    let kept = binding(config, own, stable_id);
                    let stays = with(&kept, stable_id, |it| it.script = Some(own.clone()));
                    // "Keep exporting the class for the apply that moves it."
                    ways.push(vec![keeping(config, own), config.clone()]);
                    ways.extend([vec![kept], vec![stays]]);
                }
                let class = class.into_iter();
                ways.extend(class.flat_map(|it| self.for_data(own, stable_id, &it)));
                ways
            }
            Wait::Host {
                own,
                host,
                stable_id,
            } => {
                // "Let this one refer to it, so that Terraform applies it first."
                let mut referring = config.clone();
                referring.edges = vec![(own.clone(), host.clone())];
                let id = stable_id
                    .as_ref()
                    .filter(|_| config.workers.contains_key(host));
                let bound = id.map(|id| vec![binding(config, host, id)]);
                [vec![referring]].into_iter().chain(bound).collect()
            }
            Wait::Others { own, stable_id } => {
                let (Some(last), Some(id)) = (last, stable_id) else {
                    return Vec::new();
                };
                let mut let_go = last.clone();
                for (name, binds) in &mut let_go.workers {
                    if name != own {
                        binds.ids.remove(id);
                    }
                }
                vec![vec![let_go, config.clone()], vec![binding(config, own, id)]]
            }
            Wait::Binders { own } => {
                let Some((last, binds)) =
                    last.and_then(|last| Some((last, last.workers.get(own)?)))
                else {
                    return Vec::new();
                };
                let mut back = config.clone();
                back.workers.insert(own.clone(), binds.clone());
                for id in &binds.ids {
                    back.namespaces
                        .insert(id.clone(), last.namespaces[id].clone());
                }
                vec![vec![back, config.clone()]]
            }
        }
    }

    /// "To delete the data, first set `force_destroy = true` and apply"; "moving it? Keep it here for the apply that moves it."
    fn for_data(&self, own: &ScriptName, id: &StableId, class: &ClassName) -> Vec<Vec<Config>> {
        let config = self.config;
        let mut ways = Vec::new();
        if let Some(last) = &self.world.last
            && last.namespaces.contains_key(id)
        {
            let consenting = with(last, id, |it| it.consents = true);
            ways.push(vec![consenting, config.clone()]);
        }
        ways.push(vec![
            self.consenting(config, own, id, class),
            config.clone(),
        ]);
        let takers: BTreeSet<&ScriptName> = config.binders(id).filter(|it| *it != own).collect();
        if let Some(taker) = takers.first() {
            let kept = binding(config, own, id);
            let moving = with(&kept, id, |it| {
                it.script = it.script.take().or_else(|| Some((*taker).clone()));
                it.transferred_from = From::Script(own.clone());
                it.consents = false;
            });
            let mut then = moving.clone();
            then.workers.clone_from(&config.workers);
            ways.push(vec![moving, then]);
        }
        ways
    }

    /// The namespace as it is, bound by its Worker, with consent.
    fn consenting(
        &self,
        config: &Config,
        own: &ScriptName,
        id: &StableId,
        class: &ClassName,
    ) -> Config {
        let prior = self.world.namespaces.get(id);
        let namespace = Namespace {
            script: prior.and_then(|prior| prior.script.clone()),
            consents: true,
            ..Namespace::new(class.clone())
        };
        let mut config = binding(config, own, id);
        config.namespaces.insert(id.clone(), namespace);
        config
    }

    /// The stable ID of a class of a Worker.
    fn hosted(&self, own: &ScriptName, class: &ClassName) -> Option<StableId> {
        let mut entries = self.entries(own).into_iter();
        let entry = entries.find(|(_, it)| it == class)?;
        entry.0
    }

    fn class_of(&self, own: &ScriptName, id: &StableId) -> Option<ClassName> {
        let mut entries = self.entries(own).into_iter();
        let entry = entries.find(|(it, _)| it.as_ref() == Some(id))?;
        Some(entry.1)
    }

    fn entries(&self, own: &ScriptName) -> Vec<(Option<StableId>, ClassName)> {
        let cloud = &self.world.cloud;
        let state = match self.world.workers.get(own) {
            Some(state) => read(cloud, own, state),
            None => discover(cloud, own),
        };
        let entries = state.into_iter().flat_map(|state| state.entries);
        entries
            .map(|it| (it.hosted.stable_id, it.hosted.class))
            .collect()
    }
}

fn imported(config: &Config, own: &ScriptName) -> Config {
    let mut config = config.clone();
    config.imports.insert(own.clone());
    config
}

/// "Keep exporting the class for the apply that moves it."
fn keeping(config: &Config, own: &ScriptName) -> Config {
    let mut config = config.clone();
    if let Some(binds) = config.workers.get_mut(own) {
        binds.keeps_exporting = true;
    }
    config
}
