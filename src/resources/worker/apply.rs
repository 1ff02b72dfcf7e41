//! Carries out the plan of a create or an update. Nothing is decided again; what was planned from is checked before the first write.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::classes::with_history;
use super::code::{self, Code, Modules};
use super::element::{Element, Home};
use super::foreign::{self, Foreign};
use super::hosting::{self, ELEMENT_MAPS, Entry};
use super::identity::{self, Intent, Planned, Private, Whose};
use super::upload::{Expectation, Failed, Parts, Uploader};
use super::{Worker, attempts, live, read, upload};
use crate::cloudflare::{AccountId, ApiError, Client, ScriptSettings, Service, Settings};
use crate::durable::tag::OurTag;
use crate::durable::{LiveNamespace, ScriptName};
use crate::resources::{diagnose, duration};
use crate::tf::{
    ApplyRequest, ApplyResponse, Attr, AttributePath, Checkpoint, Diagnostic, Diagnostics,
    Severity, Value,
};

/// How long an apply may take unless `timeouts` says otherwise.
const TIME_LIMIT: Duration = Duration::from_secs(600);
/// Listings lag behind uploads; so often, and so far apart, they are asked again.
const LOOKS: usize = 5;
const LOOK_PAUSE: Duration = Duration::from_secs(1);

/// The time limit of an operation, as configured.
pub fn time_limit(config: &Value, operation: &str) -> Duration {
    let text = config.get("timeouts").get(operation).as_str();
    text.and_then(duration::parse).unwrap_or(TIME_LIMIT)
}

/// A token that is cancelled by `stop`, or when `limit` is over. The task ends with the guard.
pub fn limited(
    stop: &CancellationToken,
    limit: Duration,
) -> (CancellationToken, tokio_util::sync::DropGuard) {
    let token = stop.child_token();
    let done = CancellationToken::new();
    let (timer, over) = (token.clone(), done.clone());
    tokio::spawn(async move {
        tokio::select! {
            () = over.cancelled() => {}
            () = tokio::time::sleep(limit) => timer.cancel(),
        }
    });
    (token, done.drop_guard())
}

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
    let (stop, _timer) = limited(&request.stop, time_limit(&request.config, operation));
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

struct Apply<'a> {
    worker: &'a Worker,
    request: &'a ApplyRequest,
    planned: Planned,
    /// Without the plan.
    private: Private,
    creates: bool,
    /// For writes, and for what has to be known after them.
    client: Client,
    /// For everything that a stop may end.
    stoppable: Client,
    account: AccountId,
    name: ScriptName,
    /// What is certain so far; null before a create has committed.
    state: Value,
    /// Whether the Worker is as planned, up to what the remaining calls do.
    committed: bool,
    diagnostics: Diagnostics,
    checkpoint: Checkpoint,
    facts: Facts,
}

/// A live Worker before the first write.
struct Standing {
    service: Service,
    settings: Settings,
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
            claims: identity::read_claims(&self.planned.claims),
        };
        if self.planned.upload {
            self.upload(standing.as_ref(), code.as_ref(), &ours).await?;
        } else if let Some(standing) = &standing {
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
        let code = code::load(&self.request.config).await.map_err(first)?;
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

    /// Makes sure that the live Worker is the one that was planned for, and as it was. Renames it if that is planned.
    async fn stand(&mut self) -> Result<Option<Standing>, Diagnostic> {
        let service = match self.planned.intent {
            Intent::Create => {
                self.refuse_existing().await?;
                self.private = Private {
                    mark: Some(identity::new_mark()?),
                    ..Private::default()
                };
                return Ok(None);
            }
            Intent::Adopt | Intent::Resume => self.take_over().await?,
            Intent::Update => self.current().await?,
        };
        let settings = self
            .read(
                "Cannot read the Worker's settings",
                self.stoppable.settings(&self.account, &self.name),
            )
            .await?;
        if settings.uses_exports() {
            return Err(Diagnostic::error(
                "Worker declares its classes with `exports`",
                format!(
                    "Worker `{}` was last deployed with an `exports` map. This version of the provider cannot change such a Worker. Nothing \
                     was changed.",
                    self.name
                ),
            ));
        }
        if self.planned.upload
            && !self
                .expectation()
                .holds()
                .await
                .map_err(|e| diagnose::error("Cannot read the namespaces", &e))?
        {
            return Err(Diagnostic::error(
                "Live namespaces changed since the plan",
                format!(
                    "The Durable Object namespaces of Worker `{}` are not those that the plan was made for: another tool created, renamed or \
                     deleted a class in the meantime. Nothing was uploaded. Plan again and look at what it shows.",
                    self.name
                ),
            ));
        }
        Ok(Some(Standing { service, settings }))
    }

    async fn read<T>(
        &self,
        summary: &str,
        call: impl Future<Output = Result<T, ApiError>>,
    ) -> Result<T, Diagnostic> {
        call.await.map_err(|error| diagnose::error(summary, &error))
    }

    async fn service(&self, name: &ScriptName) -> Result<Option<Service>, Diagnostic> {
        self.read(
            &format!("Cannot read Worker {name}"),
            self.stoppable.service(&self.account, name),
        )
        .await
    }

    async fn refuse_existing(&self) -> Result<(), Diagnostic> {
        if self.worker.session.has_created(&self.account, &self.name) {
            return Err(Diagnostic::error(
                format!("Two resources create Worker {}", self.name),
                "Another resource of this run has created a Worker of this name. Give one of them another `name`.",
            )
            .at(AttributePath::root("name")));
        }
        match self.service(&self.name).await? {
            Some(_) => Err(attempts::exists(&self.account, &self.name)),
            None => Ok(()),
        }
    }

    async fn take_over(&mut self) -> Result<Service, Diagnostic> {
        let Some(service) = self.service(&self.name).await? else {
            return Err(gone(&self.name, "It was there when the plan was made."));
        };
        let live = identity::decode(&service.tags)
            .ours
            .map(|ours| ours.mark)
            .filter(|mark| !mark.is_empty());
        let mark = match (self.planned.intent, live) {
            (Intent::Resume, Some(mark)) => mark,
            _ => identity::new_mark()?,
        };
        self.private = Private {
            mark: Some(mark),
            ..Private::default()
        };
        Ok(service)
    }

    /// The Worker in state, under its planned name.
    async fn current(&mut self) -> Result<Service, Diagnostic> {
        let prior = &self.request.prior;
        let worker_id = prior.get("worker_id").as_str().map(str::to_owned);
        let former = ScriptName::from_api(prior.get("name").as_str().unwrap_or_default());
        let mark = self.private.mark.clone();
        let is_ours = |service: &Service| {
            identity::whose(service, mark.as_deref(), worker_id.as_deref()) == Whose::Ours
        };
        if former != self.name {
            match self.service(&self.name).await? {
                Some(service) if is_ours(&service) => {}
                Some(_) => return Err(attempts::exists(&self.account, &self.name)),
                None => {
                    match self.service(&former).await? {
                        Some(service) if is_ours(&service) => {}
                        _ => return Err(gone(&former, "Nothing was renamed.")),
                    }
                    let renamed = upload::rename(
                        &self.client,
                        &self.account,
                        &former,
                        &self.name,
                        mark.as_deref(),
                        worker_id.as_deref(),
                    );
                    renamed.await.map_err(|e| {
                        diagnose::error(format!("Cannot rename Worker {former}"), &e)
                    })?;
                    self.client.listings().invalidate(&self.account);
                    self.worker.session.deleted(&self.account, &former);
                }
            }
            self.state.set("name", self.name.as_str());
            self.state.set("service", self.name.as_str());
            self.checkpoint
                .reach(self.state.clone(), self.private.encode());
        }
        match self.service(&self.name).await? {
            Some(service) if is_ours(&service) => {
                // From here on the mark tells; a Worker that was imported or adopted by an older version has none yet.
                if self.private.mark.is_none() {
                    let live = identity::decode(&service.tags).ours.map(|ours| ours.mark);
                    self.private.mark = Some(match live.filter(|mark| !mark.is_empty()) {
                        Some(mark) => mark,
                        None => identity::new_mark()?,
                    });
                }
                Ok(service)
            }
            Some(_) => Err(Diagnostic::error(
                format!("Worker {} is another one", self.name),
                format!(
                    "The live Worker `{}` is not the one in this state: it was created again, or taken over by another configuration. \
                     Nothing was changed. Plan again; if it shall be managed from here, remove the old one from the state and import it.",
                    self.name
                ),
            )),
            None => Err(gone(
                &self.name,
                "Plan again: it shows that the Worker is to be created.",
            )),
        }
    }

    /// What the plan was made for, to be compared with what is live.
    fn expectation(&self) -> Expectation<'_> {
        Expectation {
            client: &self.stoppable,
            account: &self.account,
            name: &self.name,
            former: self.request.prior.get("name").as_str(),
            namespaces: &self.planned.started_from,
        }
    }

    /// All script tags for the live Worker, with a warning for what found no room.
    fn tags(&mut self, live: &[String], ours: &OurTag) -> Vec<String> {
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

    async fn upload(
        &mut self,
        standing: Option<&Standing>,
        code: Option<&Modules>,
        ours: &OurTag,
    ) -> Result<(), Diagnostic> {
        let foreign = foreign::foreign(&self.request.planned, &self.name);
        let mut missing = match foreign.is_empty() {
            true => Vec::new(),
            false => {
                let look = foreign::unresolved(&self.stoppable, &self.account, &foreign);
                self.read("Cannot see what another Worker hosts", look)
                    .await?
            }
        };
        let hosts = !self.planned.claims.is_empty() || self.planned.migration.is_some();
        if !missing.is_empty() && !hosts {
            self.wait_for(std::mem::take(&mut missing)).await?;
        }
        let left_out = missing.iter().map(|foreign| foreign.name.clone()).collect();
        self.upload_once(standing, code, ours, true, &left_out)
            .await?;
        let service = self.landed().await?;
        self.commit(service.clone());
        if !missing.is_empty() {
            self.wait_for(missing).await?;
            let settings = self.read(
                "Cannot read the Worker's settings",
                self.stoppable.settings(&self.account, &self.name),
            );
            let standing = Standing {
                settings: settings.await?,
                service,
            };
            self.upload_once(Some(&standing), code, ours, false, &BTreeSet::new())
                .await?;
            let service = self.landed().await?;
            self.commit(service);
        }
        Ok(())
    }

    async fn wait_for(&self, missing: Vec<Foreign>) -> Result<(), Diagnostic> {
        foreign::wait(
            &self.stoppable,
            &self.account,
            &self.worker.session.applies,
            missing,
        )
        .await
    }

    async fn upload_once(
        &mut self,
        standing: Option<&Standing>,
        code: Option<&Modules>,
        ours: &OurTag,
        migrates: bool,
        left_out: &BTreeSet<String>,
    ) -> Result<(), Diagnostic> {
        if self.request.stop.is_cancelled() {
            let text = "The run was interrupted before the upload. Run apply again to go on.";
            return Err(Diagnostic::error(
                format!("Worker {} was not uploaded", self.name),
                text,
            ));
        }
        let live_tags = standing
            .map(|standing| standing.service.tags.clone())
            .unwrap_or_default();
        let tags = self.tags(&live_tags, ours);
        let migration = self
            .planned
            .migration
            .as_ref()
            .filter(|_| migrates)
            .map(|migration| {
                migration
                    .for_tag(standing.and_then(|standing| standing.service.migration_tag.clone()))
            });
        let parts = Parts {
            planned: &self.request.planned,
            prior: &self.request.prior,
            name: &self.name,
            settings: standing.map(|standing| &standing.settings),
            has_assets: standing.is_some_and(|standing| standing.service.has_assets),
            code: code.map(|modules| (modules.main.as_str(), modules.modules.clone())),
            left_out,
            tags: &tags,
        };
        let uploader = Uploader {
            client: &self.client,
            stoppable: &self.stoppable,
            account: &self.account,
            name: &self.name,
            ours,
            expectation: self.expectation(),
        };
        let outcome = uploader.upload(&parts, migration).await;
        self.client.listings().invalidate(&self.account);
        match outcome {
            Ok(()) => {
                self.worker.session.applies.uploaded();
                Ok(())
            }
            Err(Failed::Refused(error)) => Err(self.refused(&error)),
            Err(Failed::Unclear(text)) => Err(Diagnostic::error(
                format!("Upload of Worker {} is unclear", self.name),
                text,
            )),
        }
    }

    /// A refused upload, at the element that it is about.
    fn refused(&self, error: &ApiError) -> Diagnostic {
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
            let created = self
                .planned
                .migration
                .as_ref()
                .is_some_and(|migration| migration.creates_key_value(class));
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
    async fn landed(&mut self) -> Result<Service, Diagnostic> {
        if self.creates {
            self.worker
                .session
                .created(self.account.clone(), self.name.clone());
        }
        // From here on a failure must not lose the Worker.
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
            if let Some(service) = self
                .client
                .service(&self.account, &self.name)
                .await
                .map_err(|e| failed(&e))?
            {
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

    /// Notes that the Worker is as planned, with what Cloudflare says of it now.
    fn commit(&mut self, service: Service) {
        self.committed = true;
        let managed = !self.request.config.get("script").is_null()
            || !self.request.config.get("modules").is_null();
        if self.planned.upload {
            self.private.etag = service.etag.clone().filter(|_| managed);
        } else if self.private.etag.is_none() {
            self.private.etag.clone_from(&service.etag);
        }
        self.facts.service = Some(service);
        self.reach();
    }

    /// Notes what is certain now, so that neither a panic nor a failure after this loses it.
    fn reach(&mut self) {
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
        let classes: BTreeSet<&str> = self
            .planned
            .claims
            .iter()
            .map(|(_, class)| class.as_str())
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

/// What Cloudflare said after the last write.
#[derive(Default)]
struct Facts {
    service: Option<Service>,
    namespaces: Vec<LiveNamespace>,
    /// Binding name to namespace id, of bindings of other Workers' namespaces.
    bound: BTreeMap<String, String>,
    workers_dev: Option<bool>,
    url: Value,
}

impl Facts {
    fn own<'a>(&'a self, own: &'a ScriptName) -> impl Iterator<Item = &'a LiveNamespace> {
        self.namespaces
            .iter()
            .filter(move |namespace| namespace.script.as_ref() == Some(own))
    }

    fn of_class<'a>(&'a self, own: &'a ScriptName, class: &str) -> Option<&'a LiveNamespace> {
        self.own(own).find(|namespace| {
            namespace
                .class
                .as_ref()
                .is_some_and(|c| c.as_str() == class)
        })
    }
}

fn bound_ids(settings: &Settings) -> BTreeMap<String, String> {
    let foreign = settings
        .bindings
        .iter()
        .filter(|binding| live::text(binding, "script_name").is_some());
    foreign
        .filter_map(|binding| {
            Some((
                live::text(binding, "name")?.to_owned(),
                live::text(binding, "namespace_id")?.to_owned(),
            ))
        })
        .collect()
}

/// The state that a plan and what is known make. What is still unknown becomes null on the way to the core.
fn state_after(
    planned: &Value,
    facts: &Facts,
    plan: &Planned,
    account: &AccountId,
    own: &ScriptName,
) -> Value {
    let mut state = planned.clone();
    let mut fill = |attribute: &str, value: Value| {
        if state.get(attribute).is_unknown() {
            state.set(attribute, value);
        }
    };
    fill("account_id", account.as_str().into());
    if let Some(service) = &facts.service {
        fill("worker_id", service.worker_id.as_str().into());
        fill("etag", service.etag.clone().into());
        fill(
            "migration_tag",
            service
                .migration_tag
                .as_ref()
                .map(|tag| Value::from(tag.as_str()))
                .unwrap_or_default(),
        );
    }
    if let Some(enabled) = facts.workers_dev {
        fill("workers_dev", enabled.into());
        fill("url", facts.url.clone());
    }
    fill(
        "migrations",
        with_history(&Value::Null, plan.history.as_ref()),
    );
    let namespaces = match planned.get("durable_object_namespaces") {
        Value::Map(map) => filled(map, facts, own),
        // Known only now: after taking a Worker over.
        _ => taken_over(planned, facts, plan, own),
    };
    state.set("durable_object_namespaces", Value::Map(namespaces));
    for attribute in ELEMENT_MAPS {
        let Value::Map(mut map) = state.get(attribute).clone() else {
            continue;
        };
        for (name, element) in &mut map {
            if element.get("namespace_id").is_unknown() {
                let id = namespace_id(name, element, facts, own);
                element.set("namespace_id", id);
            }
        }
        state.set(attribute, Value::Map(map));
    }
    state
}

fn namespace_id(name: &str, element: &Value, facts: &Facts, own: &ScriptName) -> Value {
    let Some(Element::DurableObject(object)) = Element::of(element) else {
        return Value::Null;
    };
    match (
        object.home(&Attr::Known(own.clone())),
        object.class_name.known(),
    ) {
        (Home::Here(_) | Home::HereByClass, Some(class)) => facts
            .of_class(own, class.as_str())
            .map(|namespace| Value::from(namespace.id.as_str()))
            .unwrap_or_default(),
        (Home::There(script), Some(class)) => {
            let bound = facts.bound.get(name).map(|id| Value::from(id.as_str()));
            let listed = || {
                facts
                    .of_class(&script, class.as_str())
                    .map(|namespace| Value::from(namespace.id.as_str()))
            };
            bound.or_else(listed).unwrap_or_default()
        }
        _ => Value::Null,
    }
}

/// Planned entries, with the ids and server names of what was created.
fn filled(
    map: &BTreeMap<String, Value>,
    facts: &Facts,
    own: &ScriptName,
) -> BTreeMap<String, Value> {
    let mut map = map.clone();
    for value in map.values_mut() {
        let class = value
            .get("class_name")
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let live = facts.of_class(own, &class);
        if value.get("namespace_id").is_unknown() {
            value.set(
                "namespace_id",
                live.map(|namespace| Value::from(namespace.id.as_str())),
            );
        }
        if value.get("name").is_unknown() {
            value.set(
                "name",
                live.map(|namespace| Value::from(namespace.name.as_str())),
            );
        }
    }
    map
}

fn taken_over(
    planned: &Value,
    facts: &Facts,
    plan: &Planned,
    own: &ScriptName,
) -> BTreeMap<String, Value> {
    let placements = hosting::placements(planned, &Attr::Known(own.clone())).unwrap_or_default();
    let consent = hosting::wanted(&placements).consent;
    let claims = identity::read_claims(&plan.claims);
    let entries = facts.own(own).filter_map(|namespace| {
        let class = namespace.class.clone()?;
        let claim = claims.iter().find(|claim| claim.class == class);
        let stable_id = claim.and_then(|claim| claim.stable_id.exact().cloned());
        let consents = stable_id
            .as_ref()
            .and_then(|id| consent.get(id))
            .and_then(|consent| consent.known().copied());
        Some(Entry {
            stable_id,
            class,
            namespace_id: Some(namespace.id.clone()),
            server_name: Some(namespace.name.clone()),
            storage: namespace.storage,
            consent: consents == Some(true),
            script: Some(own.clone()),
        })
    });
    entries.map(|entry| (entry.key(), entry.value())).collect()
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

fn gone(name: &ScriptName, more: &str) -> Diagnostic {
    Diagnostic::error(
        format!("Worker {name} is gone"),
        format!("There is no Worker `{name}` any more. {more} Nothing was changed."),
    )
}
