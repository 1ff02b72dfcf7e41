//! The state that an apply leaves, however far it came.

use std::collections::BTreeMap;

use super::apply::{Run, refused};
use super::cloud::Cloud;
use super::planned::Intent;
use super::turns::Failure;
use super::worker::{Entry, State};
use crate::durable::plan::Upload;
use crate::durable::tag::Claim;
use crate::durable::{ClassName, Hosted, NamespaceId};

impl Run<'_> {
    /// Notes that the Worker is as planned.
    pub fn commit(&mut self, etag: Option<usize>) {
        self.committed = true;
        let mut state = self.state_after(false);
        state.etag = etag;
        self.state = Some(state);
    }

    /// Notes how far an update has come that still needs uploads. A create is noted as planned.
    pub fn reach_between(&mut self, upload: &Upload) {
        self.committed = true;
        let mut state = self.state_after(false);
        state.etag = None;
        if let (Intent::Update, Some(prior)) = (self.planned.intent, self.prior) {
            state.content = None;
            if let Some(migration) = &upload.migration {
                state.migration_tag = Some(migration.new_tag.clone());
            }
            let claim_of = |entry: &Entry| {
                let names = |claim: &&Claim| {
                    let id = entry.hosted.stable_id.as_ref();
                    id.is_some_and(|id| claim.stable_id.names(id))
                };
                upload.owned.iter().find(names)
            };
            state.entries.retain(|entry| {
                let mut before = prior.entries.iter();
                claim_of(entry).is_some()
                    || before.any(|it| it.hosted.stable_id == entry.hosted.stable_id)
            });
            for entry in &mut state.entries {
                if let Some(claim) = claim_of(entry) {
                    entry.hosted.class = claim.class.clone();
                    entry.script = self.own.clone();
                }
            }
        }
        self.state = Some(state);
    }

    /// Reads the ids that the plan left open, and compares.
    pub fn read_back(&mut self) -> Result<(), Failure> {
        if self.account.is_stopped() {
            return Err(Failure::Stopped);
        }
        let etag = self.state.as_ref().and_then(|state| state.etag);
        let mut state = self.state_after(true);
        state.etag = etag;
        self.state = Some(state);
        let cloud = self.account.cloud();
        let live = &cloud.scripts[self.own];
        for (name, planned) in &self.planned.after.bindings {
            let foreign = planned.element.elsewhere(self.own).is_some();
            let bound = live.bindings.get(name);
            if let (Some(meant), Some(bound), true) = (&planned.namespace_id, bound, foreign)
                && bound.namespace != *meant
            {
                return refused(format!("{name} reaches another namespace"));
            }
        }
        Ok(())
    }

    /// The planned state; with `listed`, with the ids that the listing gives.
    fn state_after(&self, listed: bool) -> State {
        let mut state = self.planned.after.clone();
        let cloud = self.account.cloud();
        let own = match listed {
            true => cloud.own(self.own),
            false => BTreeMap::new(),
        };
        if self.planned.intent == Intent::Resume {
            state.entries = own
                .iter()
                .map(|(class, id)| self.taken_over(&cloud, class, id))
                .collect();
        }
        for entry in &mut state.entries {
            let hosted = &mut entry.hosted;
            let live = own.get(&hosted.class);
            if hosted.namespace_id.is_none()
                && let Some(id) = live
            {
                hosted.namespace_id = Some(id.clone());
                hosted.server_name = Some(cloud.namespaces[id].server_name.clone());
            }
        }
        for (name, binding) in state.bindings.iter_mut().filter(|_| listed) {
            let bound = cloud.scripts[self.own].bindings.get(name);
            if binding.namespace_id.is_none() {
                binding.namespace_id = bound.map(|it| it.namespace.clone());
            }
        }
        state
    }

    fn taken_over(&self, cloud: &Cloud, class: &ClassName, id: &NamespaceId) -> Entry {
        let claims = self.planned.plan.claims();
        let claim = claims.iter().find(|claim| claim.class == *class);
        let stable_id = claim.and_then(|claim| claim.stable_id.exact().cloned());
        let namespace = &cloud.namespaces[id];
        let mut hosted = self.planned.config.hosted(self.own);
        Entry {
            hosted: Hosted {
                consent: hosted.any(|(id, it)| it.consents && Some(id) == stable_id.as_ref()),
                stable_id,
                class: class.clone(),
                namespace_id: Some(id.clone()),
                server_name: Some(namespace.server_name.clone()),
                storage: namespace.storage,
            },
            script: self.own.clone(),
        }
    }
}
