//! Carries out the plan of a create or an update. Nothing is decided again; what was planned from is checked before the first write.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::code::{self, Code, Modules};
use super::foreign;
use super::gate::{self, Cause};
use super::hosting;
use super::identity::{self, Intent, Planned, Private};
use super::outcome::{Facts, bound_ids, state_after};
use super::standing::Standing;
use super::upload::Expectation;
use super::{Worker, read};
use crate::cloudflare::{AccountId, ApiError, Client, ScriptSettings, Service};
use crate::durable::plan::Upload;
use crate::durable::tag::{Claim, OurTag};
use crate::durable::{MigrationTag, ScriptName, StableId};
use crate::resources::{diagnose, limit};
use crate::tf::{
    ApplyRequest, ApplyResponse, Attr, AttributePath, Checkpoint, Diagnostic, Diagnostics,
    Severity, Value,
};

/// Listings lag behind uploads; so often, and so far apart, they are asked again.
const LOOKS: usize = 5;
const LOOK_PAUSE: Duration = Duration::from_secs(1);

/// Creates or updates a Worker.
pub async fn apply(worker: &Worker, request: ApplyRequest) -> ApplyResponse {
    let creates = request.prior.is_null();
    let private = Private::decode(&request.planned_private);
    let before = |diagnostics: Diagnostics| ApplyResponse {
        state: request.prior.clone(),
        private: if creates {
            Vec::new()
        } else {
            private.kept().encode()
        },
        diagnostics,
    };
    let planned = match &private.planned {
        Some(planned) if !planned.undecided => planned.clone(),
        _ => {
            let text = "The plan does not say what to do. This is a bug in the provider; nothing was changed.";
            return before(Diagnostic::error("Incomplete plan", text).into());
        }
    };
    let operation = if creates { "create" } else { "update" };
    let (stop, _timer) = limit::limited(&request.stop, limit::of(&request.config, operation));
    let (client, stoppable) = match (
        worker.session.client(&CancellationToken::new()),
        worker.session.client(&stop),
    ) {
        (Ok(client), Ok(stoppable)) => (client, stoppable),
        (Err(none), _) | (_, Err(none)) => return before(none.diagnostic().into()),
    };
    let account = match request.planned.get("account_id").as_str() {
        Some(account) => AccountId::new(account),
        None => match worker.session.resolve_account(&stoppable).await {
            Ok(account) => account,
            Err(diagnostic) => return before(diagnostic.into()),
        },
    };
    let name = ScriptName::from_api(request.planned.get("name").as_str().unwrap_or_default());
    let mut state = request.prior.clone();
    if creates {
        state = Value::Null;
    }
    let _running = worker.session.applies.run();
    let mut apply = Apply {
        worker,
        request: &request,
        planned,
        private: private.kept(),
        creates,
        client,
        stoppable,
        account,
        name,
        state,
        committed: false,
        diagnostics: Diagnostics::default(),
        checkpoint: request.checkpoint.clone(),
        facts: Facts::default(),
    };
    let outcome = apply.run().await;
    let timed_out = stop.is_cancelled() && !request.stop.is_cancelled();
    apply.finish(outcome, timed_out.then_some(operation))
}

/// An apply under way.
pub(super) struct Apply<'a> {
    pub(super) worker: &'a Worker,
    pub(super) request: &'a ApplyRequest,
    pub(super) planned: Planned,
    /// Without the plan.
    pub(super) private: Private,
    pub(super) creates: bool,
    /// For writes, and for what has to be known after them.
    pub(super) client: Client,
    /// For everything that a stop may end.
    pub(super) stoppable: Client,
    pub(super) account: AccountId,
    pub(super) name: ScriptName,
    /// What is certain so far; null before a create has committed.
    pub(super) state: Value,
    /// Whether the Worker is as planned, up to what the remaining calls do.
    pub(super) committed: bool,
    pub(super) diagnostics: Diagnostics,
    pub(super) checkpoint: Checkpoint,
    pub(super) facts: Facts,
}

impl Apply<'_> {
    async fn run(&mut self) -> Result<(), Diagnostic> {
        let code = self.load_code().await?;
        let standing = self.stand().await?;
        let content_hash = match &code {
            Some(modules) => Some(modules.sha256.clone()),
            None => standing
                .as_ref()
                .and_then(|s| identity::decode(&s.service.tags).ours)
                .and_then(|ours| ours.content_hash),
        };
        let ours = OurTag {
            mark: self.private.mark.clone().unwrap_or_default(),
            content_hash,
            unfinished: false,
            claims: self.planned.claims.clone(),
        };
        if self.planned.upload {
            self.upload(standing, code.as_ref(), &ours).await?;
        } else if let Some(standing) = &standing {
            let gone = self.gone().await?;
            let ours = OurTag {
                claims: identity::without(&ours.claims, &gone),
                ..ours
            };
            self.write_tag(standing, &ours).await?;
            self.commit(standing.service.clone());
        }
        self.enable_subdomain().await?;
        self.read_back().await
    }

    /// The answer, from how far this came.
    fn finish(mut self, outcome: Result<(), Diagnostic>, timed_out: Option<&str>) -> ApplyResponse {
        if let Err(mut diagnostic) = outcome {
            if let Some(operation) = timed_out {
                diagnostic.detail.push_str(&format!(
                    "\n\nThe time limit for this was over; `timeouts.{operation}` sets another one."
                ));
            }
            if self.creates && self.committed {
                // An error with a state would taint the Worker, and the next apply would destroy it with its data.
                diagnostic.severity = Severity::Warning;
                diagnostic.detail.push_str(
                    "\n\nThe Worker itself was created. Run apply again to finish what is missing.",
                );
            }
            self.diagnostics.push(diagnostic);
        }
        let (state, private) = match (self.creates, self.committed) {
            (true, false) => (Value::Null, Vec::new()),
            _ => (self.state, self.private.encode()),
        };
        ApplyResponse {
            state,
            private,
            diagnostics: self.diagnostics,
        }
    }

    /// Reads the code again, and compares it with what was planned.
    async fn load_code(&mut self) -> Result<Option<Modules>, Diagnostic> {
        let (request, bundler) = (self.request, &self.worker.session.bundler);
        let loading = code::load(&request.config, bundler, &request.stop);
        let code = loading.await.map_err(first)?;
        let Code::Known(modules) = code else {
            return Ok(None);
        };
        let planned = self.request.planned.get("content_sha256").as_str();
        if planned.is_some_and(|planned| planned != modules.sha256) {
            return Err(Diagnostic::error(
                "The code changed since the plan",
                "A file that holds code of this Worker is not what it was when the plan was made. Nothing was changed. Plan and apply again.",
            )
            .at(AttributePath::root("content_sha256")));
        }
        Ok(Some(modules))
    }

    pub(super) async fn read<T>(
        &self,
        summary: &str,
        call: impl Future<Output = Result<T, ApiError>>,
    ) -> Result<T, Diagnostic> {
        call.await.map_err(|error| diagnose::error(summary, &error))
    }

    /// What the plan was made for, to be compared with what is live.
    pub(super) fn expectation(&self) -> Expectation<'_> {
        Expectation {
            client: &self.stoppable,
            account: &self.account,
            name: &self.name,
            former: self.request.prior.get("name").as_str(),
            namespaces: &self.planned.started_from,
            leaving: &self.planned.leaving,
        }
    }

    /// Looks once more, right before the first write, into the namespaces that it deletes.
    pub(super) async fn guard_data(&self) -> Result<(), Diagnostic> {
        let (account, deletes) = (&self.account, &self.planned.deletes);
        let verdict = gate::judge(
            &self.stoppable,
            account,
            self.name.as_str(),
            deletes,
            Cause::Dropped,
        );
        let refusal = verdict
            .await
            .into_iter()
            .find(|it| it.severity == Severity::Error);
        refusal.map_or(Ok(()), Err)
    }

    /// All script tags for the live Worker, with a warning for what found no room.
    pub(super) fn tags(&mut self, live: &[String], ours: &OurTag) -> Vec<String> {
        let (tags, left_out) = identity::all_tags(&identity::decode(live).foreign, ours);
        if !left_out.is_empty() {
            let ids: Vec<String> = left_out.iter().map(|id| format!("`{id}`")).collect();
            self.diagnostics.push(Diagnostic::warning(
                "Not every stable ID fits into the Worker's tags",
                format!(
                    "Worker `{}` has {} tags of other tools, and ten at most. Other Workers and an import cannot see these stable IDs: {}. \
                     Nothing else depends on that; the state has them all.",
                    self.name,
                    identity::decode(live).foreign.len(),
                    ids.join(", ")
                ),
            ));
        }
        tags
    }

    /// A refused upload, at the element that it is about.
    pub(super) fn refused(&self, error: &ApiError) -> Diagnostic {
        let diagnostic = diagnose::error(format!("Cannot upload Worker {}", self.name), error);
        let says = |class: &str| {
            let quoted = format!("'{class}'");
            error
                .failure()
                .is_some_and(|failure| failure.codes.iter().any(|(_, text)| text.contains(&quoted)))
        };
        let placements =
            hosting::placements(&self.request.planned, &Attr::Known(self.name.clone()))
                .unwrap_or_default();
        for placement in placements {
            let Some(class) = placement.object.class_name.known() else {
                continue;
            };
            let mut migrations = self
                .planned
                .uploads
                .iter()
                .filter_map(|it| it.migration.as_ref());
            let created = migrations.any(|migration| migration.new_classes.contains(class));
            let attribute = match error {
                ApiError::KeyValueRefused(_) if created => "sqlite",
                ApiError::KeyValueRefused(_) => continue,
                _ if says(class.as_str()) => "class_name",
                _ => continue,
            };
            let id = placement
                .object
                .stable_id
                .known()
                .map(|id| format!(" The stable ID is `{id}`."));
            let mut diagnostic = diagnostic.at(placement.path.attribute(attribute));
            diagnostic.detail.push_str(&id.unwrap_or_default());
            return diagnostic;
        }
        diagnostic
    }

    /// The Worker after an upload that has landed. Listings lag, so it is looked for more than once.
    ///
    /// `etag` is what the upload was answered: unlike a read, it cannot be that of the version before.
    pub(super) async fn landed(&mut self, etag: Option<String>) -> Result<Service, Diagnostic> {
        // From here on a failure must not lose the Worker.
        self.private.etag = etag.clone().filter(|_| self.manages_code());
        self.committed = true;
        self.reach();
        let failed =
            |error: &ApiError| diagnose::error("Cannot read the Worker after its upload", error);
        for look in 0..LOOKS {
            if look > 0 {
                self.client
                    .wait("wait for the Worker", LOOK_PAUSE)
                    .await
                    .map_err(|e| failed(&e))?;
            }
            if let Some(mut service) = self
                .client
                .service(&self.account, &self.name)
                .await
                .map_err(|e| failed(&e))?
            {
                service.etag = etag.or(service.etag);
                return Ok(service);
            }
        }
        Err(Diagnostic::error(
            "Cannot read the Worker after its upload",
            format!(
                "Cloudflare accepted the upload of Worker `{}`, but says that there is no such Worker.",
                self.name
            ),
        ))
    }

    async fn write_tag(&mut self, standing: &Standing, ours: &OurTag) -> Result<(), Diagnostic> {
        let mut wanted = ours.clone();
        wanted.claims.sort();
        let decoded = identity::decode(&standing.service.tags);
        let same = decoded.ours.as_ref().is_some_and(|live| {
            let fits = |claim| live.claims.contains(claim) || claim_is_hashed(live, claim);
            live.mark == wanted.mark
                && live.content_hash == wanted.content_hash
                && !live.unfinished
                && live.claims.len() == wanted.claims.len()
                && wanted.claims.iter().all(fits)
        });
        if same {
            return Ok(());
        }
        let tags = self.tags(&standing.service.tags, ours);
        let settings = ScriptSettings { tags: Some(tags) };
        let written = self
            .client
            .patch_script_settings(&self.account, &self.name, &settings)
            .await;
        self.client.listings().invalidate(&self.account);
        self.worker.session.applies.uploaded();
        written.map_err(|error| {
            diagnose::error(
                format!("Cannot write the tags of Worker {}", self.name),
                &error,
            )
        })
    }

    /// Whether the code is uploaded from here.
    pub(super) fn manages_code(&self) -> bool {
        code::is_managed(&self.request.config)
    }

    /// Notes that the Worker is as planned, with what Cloudflare says of it now.
    pub(super) fn commit(&mut self, service: Service) {
        self.committed = true;
        if self.planned.upload {
            self.private.etag = service.etag.clone().filter(|_| self.manages_code());
        } else if self.private.etag.is_none() {
            self.private.etag.clone_from(&service.etag);
        }
        self.facts.service = Some(service);
        self.reach();
    }

    /// Notes what is certain now, so that neither a panic nor a failure after this loses it.
    pub(super) fn reach(&mut self) {
        self.state = state_after(
            &self.request.planned,
            &self.facts,
            &self.planned,
            &self.account,
            &self.name,
        );
        self.checkpoint
            .reach(self.state.clone(), self.private.encode());
    }

    /// Notes how far an update has come that still needs uploads.
    ///
    /// A create is noted as planned: anything else would be an inconsistent result to core. The next Read says what is there.
    pub(super) fn reach_between(&mut self, upload: &Upload, tag: Option<&MigrationTag>) {
        self.committed = true;
        self.private.etag = None;
        self.reach();
        if self.creates {
            return;
        }
        let prior = &self.request.prior;
        let state = &mut self.state;
        state.set("migrations", prior.get("migrations").clone());
        if !state.get("content_sha256").is_null() {
            state.set("content_sha256", Value::Null);
        }
        if let Some(tag) = tag {
            state.set("migration_tag", tag.as_str());
        }
        let mut namespaces = state.get("durable_object_namespaces").clone();
        if let Value::Map(map) = &mut namespaces {
            for claim in &upload.owned {
                let entry = claim
                    .stable_id
                    .exact()
                    .and_then(|id| map.get_mut(id.as_str()));
                if let Some(entry) = entry {
                    entry.set("class_name", claim.class.as_str());
                    entry.set("script_name", self.name.as_str());
                }
            }
            map.retain(|id, _| {
                let names =
                    |claim: &Claim| claim.stable_id.exact().map(StableId::as_str) == Some(id);
                upload.owned.iter().any(names)
                    || !prior.get("durable_object_namespaces").get(id).is_null()
            });
        }
        state.set("durable_object_namespaces", namespaces);
        self.checkpoint
            .reach(self.state.clone(), self.private.encode());
    }

    async fn enable_subdomain(&mut self) -> Result<(), Diagnostic> {
        let Some(wanted) = self.request.planned.get("workers_dev").as_bool() else {
            return Ok(());
        };
        let managed = !self.request.config.get("workers_dev").is_null();
        let before = self.request.prior.get("workers_dev").as_bool();
        if !managed || before == Some(wanted) || (self.planned.intent == Intent::Create && !wanted)
        {
            return Ok(());
        }
        let call = self
            .stoppable
            .set_script_subdomain(&self.account, &self.name, wanted, None);
        self.read(
            &format!("Cannot set `workers_dev` of Worker {}", self.name),
            call,
        )
        .await
        .map(drop)
        .map_err(|diagnostic| diagnostic.at(AttributePath::root("workers_dev")))
    }

    /// Reads what the plan left unknown.
    async fn read_back(&mut self) -> Result<(), Diagnostic> {
        let planned = &self.request.planned;
        if planned.get("workers_dev").is_unknown() || planned.get("url").is_unknown() {
            let call = self.stoppable.script_subdomain(&self.account, &self.name);
            let subdomain = self
                .read("Cannot read the workers.dev setting", call)
                .await?;
            self.facts.workers_dev = Some(subdomain.enabled);
            let call = self.stoppable.account_subdomain(&self.account);
            let account_subdomain = self
                .read("Cannot read the account's workers.dev subdomain", call)
                .await?;
            self.facts.url = read::url(&self.name, subdomain.enabled, account_subdomain.as_deref());
        }
        let stays = |claim: &&Claim| {
            let leaving = &self.planned.leaving;
            !leaving
                .iter()
                .any(|it| claim.stable_id.names(&it.stable_id))
        };
        let classes: BTreeSet<&str> = self
            .planned
            .claims
            .iter()
            .filter(stays)
            .map(|claim| claim.class.as_str())
            .collect();
        let unknown = |attribute: &str| !planned.get(attribute).is_wholly_known();
        let mut listed_all = true;
        if unknown("durable_object_namespaces") || unknown("bindings") || unknown("durable_objects")
        {
            for look in 0..LOOKS {
                if look > 0 {
                    let wait = self
                        .stoppable
                        .wait("wait for the listing of namespaces", LOOK_PAUSE);
                    self.read("Cannot read the namespaces", wait).await?;
                }
                self.facts.namespaces = self
                    .read(
                        "Cannot read the namespaces",
                        self.stoppable.namespaces(&self.account),
                    )
                    .await?;
                let here: BTreeSet<&str> = self
                    .facts
                    .own(&self.name)
                    .filter_map(|ns| Some(ns.class.as_ref()?.as_str()))
                    .collect();
                listed_all = classes.is_subset(&here);
                if listed_all {
                    break;
                }
            }
            if !foreign::foreign(planned, &self.name).is_empty() {
                let call = self.stoppable.settings(&self.account, &self.name);
                let settings = self.read("Cannot read the Worker's settings", call).await?;
                self.facts.bound = bound_ids(&settings);
            }
        }
        self.reach();
        if !listed_all {
            self.diagnostics.push(Diagnostic::warning(
                "Namespaces are not listed yet",
                format!("Cloudflare does not list every namespace of Worker `{}` yet. The next refresh fills in their ids.", self.name),
            ));
        }
        match self.misdirected() {
            Some(diagnostic) => Err(diagnostic),
            None => Ok(()),
        }
    }

    /// A binding that reaches another namespace than the element that it was made from.
    fn misdirected(&self) -> Option<Diagnostic> {
        for (name, element) in self
            .request
            .planned
            .get("bindings")
            .as_map()
            .into_iter()
            .flatten()
        {
            let (Some(live), Some(meant)) = (
                self.facts.bound.get(name),
                element.get("namespace_id").as_str(),
            ) else {
                continue;
            };
            if live != meant {
                let path = AttributePath::root("bindings").key(name);
                return Some(
                    Diagnostic::error(
                        "Binding reaches another namespace",
                        format!(
                            "`{path}` was to reach namespace {meant}, but class and Worker now lead to {live}. Another tool, or another \
                             part of this run, changed the other Worker. Plan and apply again."
                        ),
                    )
                    .at(path),
                );
            }
        }
        None
    }
}

fn claim_is_hashed(live: &OurTag, claim: &crate::durable::tag::Claim) -> bool {
    let Some(id) = claim.stable_id.exact() else {
        return false;
    };
    live.claims
        .iter()
        .any(|other| other.stable_id.names(id) && other.class == claim.class)
}

fn first(diagnostics: Diagnostics) -> Diagnostic {
    diagnostics
        .into_iter()
        .next()
        .unwrap_or_else(|| Diagnostic::error("Cannot read the code", "It is not known why."))
}
