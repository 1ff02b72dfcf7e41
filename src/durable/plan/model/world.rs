//! Everything there is: the account, the states, and what a run of Terraform does to them.
//!
//! [`World::run`] plans and applies a configuration. After a run that succeeded, [`World::use_it`] plays the users of the Workers:
//! everybody who binds a stable ID must reach the namespace that holds its data, and then stores some.

use std::collections::{BTreeMap, BTreeSet};

use super::apply::apply;
use super::cloud::{Cloud, ServerNames, Shown};
use super::config::{Config, From, Namespace, Naming};
use super::destroy::{destroy, refused_by_data};
use super::planned::{Planned, Refusal, plan_worker};
use super::read::{discover, read};
use super::turns::{Account, Apply, Break, Chance, Failure, Wait, take_turns};
use super::worker::State;
use crate::durable::{ClassName, NamespaceId, ScriptName, StableId, Warning};

#[derive(Clone, Debug)]
pub struct World {
    pub cloud: Cloud,
    pub naming: Naming,
    /// The states of the Workers.
    pub workers: BTreeMap<ScriptName, State>,
    /// The states of the namespace resources.
    pub namespaces: BTreeMap<StableId, Namespace>,
    /// Where the data of a stable ID is.
    homes: BTreeMap<StableId, NamespaceId>,
    /// Namespaces that are new and empty on purpose: a warning said so.
    twins: BTreeSet<(ScriptName, StableId)>,
    /// What each binding reached after the last success.
    reached: BTreeMap<(ScriptName, StableId), NamespaceId>,
    /// Stable IDs whose data the user has allowed to delete.
    consented: BTreeSet<StableId>,
    /// The last configuration that was applied with success.
    pub last: Option<Config>,
}

/// What stands in the way of an apply.
#[derive(Clone, Debug, PartialEq)]
pub enum Obstacle {
    /// In the plan of a Worker.
    Worker(ScriptName, Refusal),
    /// A Worker that would be destroyed holds data.
    DestroysData(ScriptName, ClassName),
    /// The host of a namespace changes while its data may be deleted.
    MovesWithConsent(StableId),
    /// An apply waited in vain.
    GaveUp(Wait),
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    Success,
    /// Nothing was done.
    NotPlanned(Vec<Obstacle>),
    /// Some applies failed.
    Failed(Vec<Obstacle>, String),
    /// The process died.
    Killed,
}

/// A plan of everything.
struct Plan {
    namespaces: BTreeMap<StableId, Namespace>,
    workers: BTreeMap<ScriptName, Planned>,
    priors: BTreeMap<ScriptName, State>,
    destroys: BTreeMap<ScriptName, State>,
    obstacles: Vec<Obstacle>,
}

impl World {
    pub fn new(server_names: ServerNames, shown: Shown, naming: Naming) -> Self {
        Self {
            cloud: Cloud::new(server_names, shown),
            naming,
            workers: BTreeMap::new(),
            namespaces: BTreeMap::new(),
            homes: BTreeMap::new(),
            twins: BTreeSet::new(),
            reached: BTreeMap::new(),
            consented: BTreeSet::new(),
            last: None,
        }
    }

    /// Plans and applies a configuration.
    ///
    /// # Errors
    /// What must never happen.
    pub fn run(
        &mut self,
        config: &Config,
        chance: &mut Chance,
        ends: Option<Break>,
    ) -> Result<Outcome, String> {
        let plan = self.plan(config, chance);
        if !plan.obstacles.is_empty() {
            return Ok(Outcome::NotPlanned(plan.obstacles));
        }
        self.namespaces = plan.namespaces.clone();
        let allowed = config.namespaces.iter().filter(|(_, it)| it.consents);
        self.consented.extend(allowed.map(|(id, _)| id.clone()));
        self.note_twins(&plan);
        let gone = |name: &ScriptName| !config.workers.contains_key(name);
        self.workers
            .retain(|name, _| !gone(name) || plan.destroys.contains_key(name));
        let account = Account::new(self.cloud.clone(), ends);
        let mut applies = BTreeMap::new();
        for (name, planned) in &plan.workers {
            let prior = plan.priors.get(name);
            let hosts = config.edges.iter().filter(|(client, _)| client == name);
            let after = hosts
                .map(|(_, host)| host.clone())
                .filter(|host| plan.workers.contains_key(host));
            let future = Box::pin(apply(&account, name, prior, planned));
            let after = after.collect();
            applies.insert(name.clone(), Apply { future, after });
        }
        for (name, prior) in &plan.destroys {
            let future = Box::pin(destroy(&account, name, prior));
            let after = Vec::new();
            applies.insert(name.clone(), Apply { future, after });
        }
        let all = applies.len();
        let ended = take_turns(&account, applies, chance)?;
        let is_killed = account.is_killed();
        self.cloud = account.into_cloud();
        self.lose_no_data()?;
        let mut troubles = Vec::new();
        let mut done = 0;
        for (name, applied) in ended {
            match applied.trouble {
                Some(trouble) => troubles.push((name.clone(), trouble)),
                None => done += 1,
            }
            match applied.state {
                Some(state) => drop(self.workers.insert(name, state)),
                None => drop(self.workers.remove(&name)),
            }
        }
        if is_killed {
            return Ok(Outcome::Killed);
        }
        if done < all {
            let waits = troubles.iter().filter_map(|(_, it)| match it {
                Failure::GaveUp(wait) => Some(Obstacle::GaveUp(wait.clone())),
                Failure::Stopped | Failure::Refused(_) => None,
            });
            return Ok(Outcome::Failed(waits.collect(), format!("{troubles:?}")));
        }
        for (id, namespace) in &config.namespaces {
            if !namespace.consents {
                self.consented.remove(id);
            }
        }
        Ok(Outcome::Success)
    }

    /// What the resources of a configuration plan.
    fn plan(&self, config: &Config, chance: &mut Chance) -> Plan {
        let mut obstacles = Vec::new();
        let namespaces = self.plan_namespaces(config, &mut obstacles);
        let mut names: Vec<&ScriptName> = config.workers.keys().collect();
        let turn = chance.below(names.len().max(1));
        names.rotate_left(turn);
        let mut plan = Plan {
            namespaces,
            workers: BTreeMap::new(),
            priors: BTreeMap::new(),
            destroys: BTreeMap::new(),
            obstacles: Vec::new(),
        };
        let mut hosts: Vec<(StableId, ScriptName)> = Vec::new();
        for name in names {
            let prior = match self.workers.get(name) {
                Some(state) => read(&self.cloud, name, state),
                None if config.imports.contains(name) => discover(&self.cloud, name),
                None => None,
            };
            let worker = config.worker(name, &plan.namespaces, self.naming);
            let wanted: Vec<StableId> = worker.hosted(name).map(|(id, _)| id.clone()).collect();
            let others: Vec<(StableId, ScriptName)> = hosts
                .iter()
                .filter(|(id, _)| wanted.contains(id))
                .cloned()
                .collect();
            hosts.extend(wanted.into_iter().map(|id| (id, name.clone())));
            match plan_worker(&self.cloud, name, prior.clone(), &worker, &others) {
                Ok(planned) => drop(plan.workers.insert(name.clone(), planned)),
                Err(refusals) => {
                    let refusals = refusals.into_iter();
                    obstacles.extend(refusals.map(|it| Obstacle::Worker(name.clone(), it)));
                }
            }
            plan.priors.extend(prior.map(|prior| (name.clone(), prior)));
        }
        for (name, state) in &self.workers {
            if config.workers.contains_key(name) {
                continue;
            }
            if let Some(prior) = read(&self.cloud, name, state) {
                let gated = refused_by_data(&self.cloud, name, &prior);
                obstacles.extend(gated.map(|class| Obstacle::DestroysData(name.clone(), class)));
                plan.destroys.insert(name.clone(), prior);
            }
        }
        Plan { obstacles, ..plan }
    }

    /// The plan rule of `cloudflare_do_namespace`.
    fn plan_namespaces(
        &self,
        config: &Config,
        obstacles: &mut Vec<Obstacle>,
    ) -> BTreeMap<StableId, Namespace> {
        let mut planned = BTreeMap::new();
        for (id, namespace) in &config.namespaces {
            let prior = self.namespaces.get(id);
            let former = prior.and_then(|prior| prior.script.as_ref());
            let moves = prior.is_some_and(|prior| prior.script != namespace.script);
            if moves && prior.is_some_and(|prior| prior.consents) {
                obstacles.push(Obstacle::MovesWithConsent(id.clone()));
            }
            let transferred_from = match (&namespace.transferred_from, former, prior) {
                (From::Null, Some(former), _) if moves => From::Script(former.clone()),
                (From::Null, _, Some(prior)) => prior.transferred_from.clone(),
                (written, ..) => written.clone(),
            };
            let namespace = Namespace {
                transferred_from,
                ..namespace.clone()
            };
            planned.insert(id.clone(), namespace);
        }
        planned
    }

    fn note_twins(&mut self, plan: &Plan) {
        for (name, planned) in &plan.workers {
            for warning in &planned.plan.warnings {
                let (Warning::AlsoElsewhere { stable_id, .. }
                | Warning::NothingToMove { stable_id, .. }) = warning;
                let may_be_empty = match warning {
                    Warning::AlsoElsewhere { .. } => true,
                    // Where there is data, it has to be found.
                    Warning::NothingToMove { .. } => !self.homes.contains_key(stable_id),
                };
                if may_be_empty {
                    self.twins.insert((name.clone(), stable_id.clone()));
                }
            }
        }
    }

    /// # Errors
    /// Data that is gone although nobody allowed that.
    fn lose_no_data(&mut self) -> Result<(), String> {
        let homes = std::mem::take(&mut self.homes);
        for (stable_id, home) in homes {
            if self.cloud.namespaces.contains_key(&home) {
                self.homes.insert(stable_id, home);
            } else if !self.consented.contains(&stable_id) {
                return Err(format!("the data of {stable_id} is gone"));
            }
        }
        Ok(())
    }

    /// After a success: whoever binds a stable ID reaches its data, and stores some; and the next plan is empty.
    ///
    /// # Errors
    /// Whatever is otherwise.
    pub fn use_it(&mut self, config: &Config) -> Result<(), String> {
        let reached_before = std::mem::take(&mut self.reached);
        for name in config.workers.keys() {
            for (binding, id) in &config.bindings(name, self.naming) {
                let namespace = &config.namespaces[id];
                let bound = self.cloud.scripts.get(name);
                let Some(bound) = bound.and_then(|it| it.bindings.get(binding)) else {
                    return Err(format!("{name} does not bind {id} after a success"));
                };
                let Some(reached) = self.cloud.namespaces.get_mut(&bound.namespace) else {
                    return Err(format!("{name} binds {id} to nothing"));
                };
                if reached.meant_for.as_ref() != Some(id) {
                    return Err(format!("{name} reaches {reached:?} for {id}"));
                }
                reached.holds_data = true;
                let user = (name.clone(), id.clone());
                let before = reached_before.get(&user);
                let before = before.filter(|before| **before != bound.namespace);
                if let Some(lost) = before.and_then(|id| self.cloud.namespaces.get(id)) {
                    return Err(format!("{name} no longer reaches {lost:?} for {id}"));
                }
                self.reached.insert(user, bound.namespace.clone());
                let is_twin =
                    namespace.script.is_none() && self.twins.contains(&(name.clone(), id.clone()));
                if is_twin {
                    continue;
                }
                let home = self.homes.entry(id.clone());
                let home = home.or_insert_with(|| bound.namespace.clone());
                if *home != bound.namespace {
                    let home = self.cloud.namespaces.get(home);
                    return Err(format!(
                        "{name} reaches an empty namespace for {id}, whose data is in {home:?}"
                    ));
                }
            }
        }
        self.last = Some(config.clone());
        let plan = self.plan(config, &mut Chance(1));
        let changes = plan.workers.iter().filter(|(_, it)| !it.is_empty);
        let changes: Vec<_> = changes.map(|(name, it)| (name, &it.plan.changes)).collect();
        let is_empty = plan.obstacles.is_empty()
            && plan.destroys.is_empty()
            && changes.is_empty()
            && plan.namespaces == self.namespaces;
        match is_empty {
            true => Ok(()),
            false => Err(format!(
                "the plan after a success is not empty: {changes:?} {:?}",
                plan.obstacles
            )),
        }
    }
}
