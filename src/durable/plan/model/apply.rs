//! Carries out the plan of one Worker, as `src/resources/worker/uploads.rs` does it.

use std::collections::{BTreeMap, BTreeSet};

use super::cloud::{Binding, Cloud, Code, STILL_BOUND, Version};
use super::foreign::Foreign;
use super::planned::{Intent, Planned, holds_data};
use super::turns::{Account, Applied, Failure, Wait};
use super::worker::State;
use crate::durable::plan::{Alias, Leaving, Upload};
use crate::durable::tag::{Claim, OurTag};
use crate::durable::{ClassName, NamespaceId, ScriptName, StableId};

/// Applies a plan. `prior` is the refreshed state; `None` on create.
pub async fn apply(
    account: &Account,
    own: &ScriptName,
    prior: Option<&State>,
    planned: &Planned,
) -> Applied {
    let mut run = Run {
        account,
        own,
        planned,
        prior,
        state: None,
        committed: false,
        missing: Vec::new(),
    };
    account.pause().await;
    let outcome = run.carry_out().await;
    let creates = planned.intent != Intent::Update;
    Applied {
        is_done: outcome.is_ok() || (creates && run.committed),
        trouble: outcome.err(),
        state: match (creates, run.committed) {
            (true, false) => None,
            _ => run.state.or_else(|| prior.cloned()),
        },
    }
}

/// An apply under way.
pub struct Run<'r> {
    pub account: &'r Account,
    pub own: &'r ScriptName,
    pub planned: &'r Planned,
    pub prior: Option<&'r State>,
    /// What is certain so far.
    pub state: Option<State>,
    pub committed: bool,
    /// Bindings of other Workers' classes that are not there yet.
    missing: Vec<Foreign>,
}

impl<'r> Run<'r> {
    async fn carry_out(&mut self) -> Result<(), Failure> {
        self.stand()?;
        let deletions: Vec<_> = self.planned.plan.deletions().collect();
        if let Some(gated) = (deletions.iter()).find(|it| holds_data(&self.account.cloud(), it)) {
            return refused(format!("{} holds data now", gated.class));
        }
        self.account.pause().await;
        if self.planned.upload {
            self.upload_all().await?;
        } else {
            let (is_new, etag) = self.write_tag();
            if is_new {
                self.account.wrote().await;
            }
            self.commit(Some(etag));
        }
        self.read_back()
    }

    /// Writes our tag without an upload. Returns whether it is another one now, and the version that it stands on.
    fn write_tag(&self) -> (bool, usize) {
        let gone = self.gone();
        let tag = OurTag {
            claims: without(&self.planned.plan.claims(), &gone),
            ..self.tag()
        };
        let mut cloud = self.account.cloud();
        let live = cloud.scripts.get_mut(self.own).expect("it stands");
        let before = live.tag.replace(tag);
        (before != live.tag, live.etag)
    }

    fn tag(&self) -> OurTag {
        OurTag {
            mark: String::new(),
            content_hash: self.planned.after.content.clone(),
            unfinished: false,
            claims: self.planned.plan.claims(),
        }
    }

    /// Makes sure that what the plan started from is still there.
    fn stand(&self) -> Result<(), Failure> {
        let cloud = self.account.cloud();
        let exists = cloud.scripts.contains_key(self.own);
        match self.planned.intent {
            Intent::Create if exists => return refused("the Worker exists now".into()),
            Intent::Create => return Ok(()),
            _ if !exists => return refused("the Worker is gone".into()),
            _ => {}
        }
        let live: BTreeSet<(ClassName, NamespaceId)> = cloud.own(self.own).into_iter().collect();
        let leaving = &self.planned.plan.leaving;
        let may_be_gone = |(_, id): &&(ClassName, NamespaceId)| {
            leaving
                .iter()
                .any(|it| it.namespace_id.as_ref() == Some(id))
        };
        let expected = self.planned.started_from.iter();
        let still = expected.filter(|it| live.contains(*it) || !may_be_gone(it));
        match !self.planned.upload || live.iter().eq(still) {
            true => Ok(()),
            false => refused("the namespaces changed since the plan".into()),
        }
    }

    async fn upload_all(&mut self) -> Result<(), Failure> {
        let completing = Upload {
            migration: None,
            owned: self.planned.plan.claims(),
            aliases: Vec::new(),
            left_out: BTreeSet::new(),
            awaits: Vec::new(),
            reuses_names: false,
        };
        let mut uploads = self.planned.plan.uploads.clone();
        if uploads.is_empty() {
            uploads.push(completing.clone());
        }
        let dropped = self.dropped();
        self.look_for_missing();
        if !uploads.iter().any(takes) {
            self.wait_until_gone(&dropped).await?;
        }
        let hosts = !completing.owned.is_empty() || !self.planned.plan.uploads.is_empty();
        if !hosts {
            self.wait_for_missing().await?;
        }
        let last = uploads.len() - 1;
        let mut complete = false;
        for (number, upload) in uploads.iter().enumerate() {
            let planned = self.planned;
            let leaving = planned.plan.leaving.iter();
            let taken: Vec<&Leaving> = leaving
                .filter(|leaving| upload.awaits.contains(&leaving.class))
                .collect();
            self.wait_until_gone(&taken).await?;
            if number == last && number > 0 {
                self.wait_until_gone(&dropped).await?;
            }
            if number > 0 {
                self.look_for_missing();
            }
            complete = self.upload(upload, number == last).await?;
        }
        while !complete {
            self.wait_until_gone(&dropped).await?;
            self.wait_for_missing().await?;
            complete = self.upload(&completing, true).await?;
        }
        Ok(())
    }

    /// What is being left although the code no longer has its class.
    fn dropped(&self) -> Vec<&'r Leaving> {
        let exports = self.exports(&[]);
        let drops = |it: &&Leaving| it.name_is_taken || !exports.contains_key(&it.class);
        self.planned.plan.leaving.iter().filter(drops).collect()
    }

    fn is_here(&self, leaving: &Leaving) -> bool {
        is_here(&self.account.cloud(), self.own, leaving)
    }

    /// The stable IDs of what was to leave and has left.
    fn gone(&self) -> BTreeSet<StableId> {
        let leaving = self.planned.plan.leaving.iter();
        let gone = leaving.filter(|it| !self.is_here(it));
        gone.map(|it| it.stable_id.clone()).collect()
    }

    async fn wait_until_gone(&self, leaving: &[&Leaving]) -> Result<(), Failure> {
        for leaving in leaving {
            let own = self.own;
            let taker = Wait::Taker {
                own: own.clone(),
                stable_id: leaving.stable_id.clone(),
            };
            let is_gone = |cloud: &Cloud| !is_here(cloud, own, leaving);
            self.account.wait(taker, is_gone).await?;
        }
        Ok(())
    }

    fn look_for_missing(&mut self) {
        let bindings = self.planned.config.bindings.iter();
        let foreign = bindings.filter_map(|(name, element)| {
            Some(Foreign {
                binding: name.clone(),
                host: element.elsewhere(self.own)?.clone(),
                class: element.class.clone(),
                stable_id: element.stable_id.clone(),
            })
        });
        let cloud = self.account.cloud();
        self.missing = foreign.filter(|it| !it.is_there(&cloud)).collect();
    }

    async fn wait_for_missing(&mut self) -> Result<(), Failure> {
        for foreign in std::mem::take(&mut self.missing) {
            let host = Wait::Host {
                own: self.own.clone(),
                host: foreign.host.clone(),
                stable_id: foreign.stable_id.clone(),
            };
            let is_there = |cloud: &Cloud| foreign.is_there(cloud);
            self.account.wait(host, is_there).await?;
        }
        Ok(())
    }

    /// What the user's code exports, and what our module in front of it adds.
    fn exports(&self, aliases: &[Alias]) -> BTreeMap<ClassName, Code> {
        let mut exports = BTreeMap::new();
        let own = self.account.cloud().own(self.own);
        let cloud = self.account.cloud();
        for (class, id) in &own {
            match &cloud.namespaces[id].meant_for {
                None => exports.insert(class.clone(), Code::Unclaimed),
                Some(stable_id)
                    if self.planned.config.keeps_exporting
                        && !class.as_str().starts_with("Parked_") =>
                {
                    exports.insert(class.clone(), Code::Of(stable_id.clone()))
                }
                Some(_) => None,
            };
        }
        for (stable_id, element) in self.planned.config.hosted(self.own) {
            exports.insert(element.class.clone(), Code::Of(stable_id.clone()));
        }
        for alias in aliases {
            // An alias of what is not exported does not load.
            if let Some(code) = exports.get(&alias.exported).cloned() {
                exports.insert(alias.held.clone(), code);
            }
        }
        exports
    }

    /// One upload. Returns whether it left nothing out.
    async fn upload(&mut self, upload: &Upload, is_last: bool) -> Result<bool, Failure> {
        if self.account.is_stopped() {
            return Err(Failure::Stopped);
        }
        let planned = self.planned;
        let leaving = planned.plan.leaving.iter();
        let here: Vec<&Leaving> = leaving.filter(|it| self.is_here(it)).collect();
        let (bindings, leads_here) = self.bindings(upload, &here);
        let user_exports = self.exports(&[]);
        let mut exports = self.exports(&upload.aliases);
        let stubs = here
            .iter()
            .filter(|it| it.name_is_taken || !user_exports.contains_key(&it.class));
        let stubs: Vec<ClassName> = stubs.map(|it| it.class.clone()).collect();
        let adds = !stubs.is_empty() || !upload.aliases.is_empty();
        exports.extend(stubs.into_iter().map(|class| (class, Code::Stub)));
        let carries_all =
            bindings.len() == self.planned.config.bindings.len() && !adds && !leads_here;
        let content = self.planned.after.content.clone().unwrap_or_default();
        let mut version = Version {
            migration: upload.migration.clone(),
            exports,
            bindings,
            tag: OurTag {
                claims: without(&upload.owned, &self.gone()),
                unfinished: !(is_last && carries_all),
                ..self.tag()
            },
            content: match adds {
                true => format!("{content} behind an entry"),
                false => content,
            },
        };
        if let Some(migration) = &mut version.migration {
            let cloud = self.account.cloud();
            let live = cloud.scripts.get(self.own);
            migration.old_tag = live.and_then(|live| live.migration_tag.clone());
            for moved in &mut migration.transferred {
                let id = moved.namespace_id.as_ref();
                let live = id.and_then(|id| cloud.namespaces.get(id));
                match live.filter(|live| live.script == moved.from_script) {
                    Some(live) => moved.from = live.class.clone(),
                    None => return refused(format!("{} moved since the plan", moved.from)),
                }
            }
        }
        self.send(&version).await?;
        if is_last && carries_all {
            let etag = self.account.cloud().scripts[self.own].etag;
            self.commit(Some(etag));
        } else {
            self.reach_between(upload);
        }
        self.account.wrote().await;
        Ok(carries_all)
    }

    /// Sends until other Workers have let go of what is deleted.
    async fn send(&self, version: &Version) -> Result<(), Failure> {
        loop {
            let Err(error) = self.account.cloud().upload(self.own, version) else {
                return Ok(());
            };
            if !error.starts_with(STILL_BOUND) {
                return refused(error);
            }
            let deleted = version.migration.iter().flat_map(|it| &it.deleted);
            for class in deleted {
                let deletions = self.planned.plan.deletions();
                let mut deletions = deletions.filter(|it| it.class == *class);
                let others = Wait::Others {
                    own: self.own.clone(),
                    stable_id: deletions.next().map(|it| it.stable_id.clone()),
                };
                let is_free = |cloud: &Cloud| {
                    let own = cloud.own(self.own);
                    own.get(class)
                        .is_none_or(|id| !cloud.bound_elsewhere(self.own, id))
                };
                self.account.wait(others, is_free).await?;
            }
        }
    }

    /// The bindings that can exist then, and whether one still leads to a namespace here that is on its way to another Worker.
    fn bindings(&self, upload: &Upload, here: &[&Leaving]) -> (BTreeMap<String, Binding>, bool) {
        let mut leads_here = false;
        let mut bindings = BTreeMap::new();
        for (name, element) in &self.planned.config.bindings {
            if upload.left_out.contains(name) {
                continue;
            }
            let meant_for = element.stable_id.clone();
            let is_it = |claim: &&Claim| {
                meant_for
                    .as_ref()
                    .is_some_and(|id| claim.stable_id.names(id))
            };
            let (class, script) = match element.elsewhere(self.own) {
                None if element.stable_id.is_none() => (Some(element.class.clone()), None),
                None => {
                    let claim = upload.owned.iter().find(is_it);
                    (claim.map(|claim| claim.class.clone()), None)
                }
                Some(host) if self.missing.iter().any(|it| it.binding == *name) => {
                    let leaving = here
                        .iter()
                        .find(|it| Some(&it.stable_id) == meant_for.as_ref());
                    leads_here |= leaving.is_some();
                    let _ = host;
                    (leaving.map(|it| it.class.clone()), None)
                }
                Some(host) => (Some(element.class.clone()), Some(host.clone())),
            };
            let Some(class) = class else {
                continue;
            };
            let binding = Binding {
                class,
                script,
                meant_for,
            };
            bindings.insert(name.clone(), binding);
        }
        (bindings, leads_here)
    }
}

pub fn refused<T>(why: String) -> Result<T, Failure> {
    Err(Failure::Refused(why))
}

fn is_here(cloud: &Cloud, own: &ScriptName, leaving: &Leaving) -> bool {
    match &leaving.namespace_id {
        Some(id) => cloud.namespaces.get(id).is_some_and(|it| it.script == *own),
        None => cloud.own(own).contains_key(&leaving.class),
    }
}

fn takes(upload: &Upload) -> bool {
    let migration = upload.migration.as_ref();
    migration.is_some_and(|it| !it.transferred.is_empty())
}

/// Claims, but for those of namespaces that have left.
fn without(claims: &[Claim], gone: &BTreeSet<StableId>) -> Vec<Claim> {
    let stays = |claim: &&Claim| !gone.iter().any(|id| claim.stable_id.names(id));
    claims.iter().filter(stays).cloned().collect()
}
