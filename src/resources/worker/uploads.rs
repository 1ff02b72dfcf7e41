//! The uploads of an apply, one after the other, and the waits between them.
//!
//! Every upload is complete: the user's code, all bindings that can exist then, all settings, and our tag for the names that it
//! leaves behind. Whatever ends the run in between, the tag says `unfinished`, and the next plan goes on from what is there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::apply::Apply;
use super::code::Modules;
use super::element::{Element, Home};
use super::entry::{self, Additions};
use super::exported;
use super::foreign::{self, Foreign, Waited};
use super::identity;
use super::standing::Standing;
use super::upload::{Failed, Parts, Uploader};
use crate::bundle::{ClassExport, Exports, Main};
use crate::durable::plan::{Leaving, Upload};
use crate::durable::tag::OurTag;
use crate::durable::{ClassName, MigrationTag, NamespaceId, ScriptName, StableId};
use crate::resources::diagnose;
use crate::resources::waiting::GaveUp;
use crate::tf::{Attr, AttributePath, Diagnostic, Severity, Value};

/// How long another Worker may take to take over what this one leaves.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long until the next look, unless this process uploads something before.
const PAUSE: Duration = Duration::from_secs(2);

/// What stays the same for all uploads of an apply.
struct Run<'r> {
    standing: Option<Standing>,
    code: Option<&'r Modules>,
    ours: &'r OurTag,
    /// What the code exports, as far as that can be told.
    exports: Option<Arc<Exports>>,
    /// Bindings of other Workers' classes that are not there yet.
    missing: Vec<Foreign>,
    /// Whether they are bound under the class that they have at present.
    binds_as_it_is: bool,
    /// The tag that the last upload of this run set.
    tag: Option<MigrationTag>,
    /// All script tags that it set.
    tags: Option<Vec<String>>,
}

/// Why an upload did not end well.
enum Stopped {
    /// It was refused, so nothing is done.
    Refused(Diagnostic),
    /// For another reason, maybe after it landed.
    Otherwise(Diagnostic),
}

impl From<Diagnostic> for Stopped {
    fn from(why: Diagnostic) -> Self {
        Self::Otherwise(why)
    }
}

impl Run<'_> {
    /// Whether the code certainly does not export a class.
    fn lacks(&self, class: &ClassName) -> bool {
        let export = self
            .exports
            .as_ref()
            .map(|it| it.exports_class(class.as_str()));
        matches!(export, Some(ClassExport::Missing))
    }

    /// Whether an earlier run left the Worker between two uploads.
    fn goes_on(&self) -> bool {
        self.standing.as_ref().is_some_and(|standing| {
            let ours = identity::decode(&standing.service.tags).ours;
            ours.is_some_and(|ours| ours.unfinished)
        })
    }
}

impl Apply<'_> {
    /// Makes the planned uploads, and further ones until nothing is left out.
    pub(super) async fn upload(
        &mut self,
        standing: Option<Standing>,
        code: Option<&Modules>,
        ours: &OurTag,
    ) -> Result<(), Diagnostic> {
        let planned = self.planned.uploads.clone();
        let completing = Upload {
            migration: None,
            owned: self.planned.claims.clone(),
            aliases: Vec::new(),
            left_out: BTreeSet::new(),
            awaits: Vec::new(),
            reuses_names: false,
        };
        let uploads = if planned.is_empty() {
            vec![completing.clone()]
        } else {
            planned
        };
        let mut run = Run {
            standing,
            code,
            ours,
            exports: match code {
                Some(modules) => exported::read(&self.worker.session, modules).await,
                None => None,
            },
            missing: Vec::new(),
            binds_as_it_is: false,
            tag: None,
            tags: None,
        };
        let takes = uploads.iter().any(takes);
        let dropped = self.dropped(&run);
        self.look_for_missing(&mut run).await?;
        if !takes && let Waited::Starved(why) = self.wait_until_gone(&dropped).await? {
            return match run.goes_on() {
                true => self.stay_unfinished(*why).await,
                false => Err(*why),
            };
        }
        let hosts = !self.planned.claims.is_empty() || !self.planned.uploads.is_empty();
        if !hosts && let Waited::Starved(why) = self.wait_for_missing(&run).await? {
            // The other Worker waits for this one, so this one goes first: what it binds is bound under the class that it has now,
            // and stays bound when it gets another.
            self.look_for_missing(&mut run).await?;
            if run.missing.iter().any(|it| it.class_now.is_none()) {
                return Err(*why);
            }
            run.binds_as_it_is = true;
            self.upload_step(&mut run, &completing, false).await?;
            return self.stay_unfinished(*why).await;
        }
        let last = uploads.len() - 1;
        let mut complete = false;
        for (number, upload) in uploads.iter().enumerate() {
            let is_taken = |leaving: &&Leaving| upload.awaits.contains(&leaving.class);
            let taken = self.planned.leaving.iter().filter(is_taken);
            let mut awaited: Vec<Leaving> = taken.cloned().collect();
            if number == last && number > 0 {
                awaited.extend(dropped.iter().cloned());
            }
            if let Waited::Starved(why) = self.wait_until_gone(&awaited).await? {
                return match number > 0 || run.goes_on() {
                    true => self.stay_unfinished(*why).await,
                    false => Err(*why),
                };
            }
            if number > 0 {
                if upload.reuses_names {
                    self.settle().await?;
                }
                self.look_for_missing(&mut run).await?;
            }
            complete = self.upload_step(&mut run, upload, number == last).await?;
        }
        while !complete {
            for waited in [
                self.wait_until_gone(&dropped).await?,
                self.wait_for_missing(&run).await?,
            ] {
                if let Waited::Starved(why) = waited {
                    return self.stay_unfinished(*why).await;
                }
            }
            self.look_for_missing(&mut run).await?;
            complete = self.upload_step(&mut run, &completing, true).await?;
        }
        Ok(())
    }

    /// Ends with what was uploaded, so that the Workers that wait for this one get their turn. The tag says that more is to come,
    /// which the next plan sees.
    async fn stay_unfinished(&mut self, why: Diagnostic) -> Result<(), Diagnostic> {
        let service = self.landed(None).await?;
        self.commit(service);
        self.private.etag = None;
        self.diagnostics.push(Diagnostic {
            severity: Severity::Warning,
            summary: format!("Worker {} is not finished yet: {}", self.name, why.summary),
            detail: format!(
                "{}\n\nWhat could be done is done, and nothing is lost. Apply again to finish.",
                why.detail
            ),
            path: why.path,
        });
        Ok(())
    }

    /// What is being left although the code no longer has its class.
    fn dropped(&self, run: &Run<'_>) -> Vec<Leaving> {
        let drops = |leaving: &&Leaving| leaving.name_is_taken || run.lacks(&leaving.class);
        self.planned.leaving.iter().filter(drops).cloned().collect()
    }

    /// The stable IDs of what was to leave and has left.
    pub(super) async fn gone(&self) -> Result<BTreeSet<StableId>, Diagnostic> {
        let leaving = self.planned.leaving.iter();
        let all: BTreeSet<StableId> = leaving.map(|it| it.stable_id.clone()).collect();
        let here = self.still_here(&self.planned.leaving).await?;
        Ok(all
            .into_iter()
            .filter(|id| !here.iter().any(|leaving| leaving.stable_id == *id))
            .collect())
    }

    /// Of what is being left, what no other Worker has taken yet.
    async fn still_here(&self, leaving: &[Leaving]) -> Result<Vec<Leaving>, Diagnostic> {
        if leaving.is_empty() {
            return Ok(Vec::new());
        }
        let listing = self.read(
            "Cannot read the namespaces",
            self.stoppable.namespaces(&self.account),
        );
        let listing = listing.await?;
        let here = |leaving: &&Leaving| {
            listing.iter().any(|live| {
                let same = match &leaving.namespace_id {
                    Some(id) => live.id == *id,
                    None => live.class.as_ref() == Some(&leaving.class),
                };
                same && live.script.as_ref() == Some(&self.name)
            })
        };
        Ok(leaving.iter().filter(here).cloned().collect())
    }

    async fn wait_until_gone(&self, leaving: &[Leaving]) -> Result<Waited, Diagnostic> {
        let deadline = Instant::now() + PATIENCE;
        let applies = &self.worker.session.applies;
        loop {
            let here = self.still_here(leaving).await?;
            let Some(first) = here.first() else {
                return Ok(Waited::Done);
            };
            let cannot_see = |error| diagnose::error("Cannot wait for another Worker", &error);
            tokio::select! {
                outcome = applies.wait(PAUSE, deadline) => match outcome {
                    Ok(()) => {}
                    Err(why @ GaveUp::Starved) => {
                        return Ok(Waited::Starved(Box::new(not_taken(why, first, &self.name))));
                    }
                    Err(why @ GaveUp::TimedOut) => return Err(not_taken(why, first, &self.name)),
                },
                outcome = self.stoppable.wait("wait for another Worker", PATIENCE) => outcome.map_err(cannot_see)?,
            }
        }
    }

    /// Waits until no old version of the Worker starts objects under the names that were given up.
    async fn settle(&self) -> Result<(), Diagnostic> {
        let settle = self.worker.session.settle();
        if settle.is_zero() {
            return Ok(());
        }
        let wait = self
            .stoppable
            .wait("wait for class names to settle", settle);
        self.read("Interrupted between two uploads", wait).await
    }

    async fn look_for_missing(&self, run: &mut Run<'_>) -> Result<(), Diagnostic> {
        let foreign = foreign::foreign(&self.request.planned, &self.name);
        run.missing = match foreign.is_empty() {
            true => Vec::new(),
            false => {
                let look = foreign::unresolved(&self.stoppable, &self.account, &foreign);
                self.read("Cannot see what another Worker hosts", look)
                    .await?
            }
        };
        // What is still here cannot be there, whatever class of that name the other Worker has.
        let here = self.still_here(&self.planned.leaving).await?;
        let leaves = |foreign: &&Foreign| {
            let id = foreign.stable_id.as_ref();
            here.iter().any(|leaving| Some(&leaving.stable_id) == id)
        };
        for foreign in foreign.iter().filter(leaves) {
            if !run
                .missing
                .iter()
                .any(|missing| missing.name == foreign.name)
            {
                run.missing.push(foreign.clone());
            }
        }
        Ok(())
    }

    async fn wait_for_missing(&self, run: &Run<'_>) -> Result<Waited, Diagnostic> {
        let applies = &self.worker.session.applies;
        let missing = run.missing.clone();
        foreign::wait(&self.stoppable, &self.account, applies, missing).await
    }

    /// One upload. Returns whether it left nothing out.
    async fn upload_step(
        &mut self,
        run: &mut Run<'_>,
        upload: &Upload,
        is_last: bool,
    ) -> Result<bool, Diagnostic> {
        loop {
            let here = self.still_here(&self.planned.leaving).await?;
            match self.upload_now(run, upload, is_last, &here).await {
                Ok(complete) => return Ok(complete),
                Err(Stopped::Otherwise(why)) => return Err(why),
                // Another Worker may have taken what a binding still led to here, right before the upload.
                Err(Stopped::Refused(why)) => {
                    if self.still_here(&here).await? == here {
                        return Err(why);
                    }
                    self.look_for_missing(run).await?;
                }
            }
        }
    }

    async fn upload_now(
        &mut self,
        run: &mut Run<'_>,
        upload: &Upload,
        is_last: bool,
        here: &[Leaving],
    ) -> Result<bool, Stopped> {
        if self.request.stop.is_cancelled() {
            let text = "The run was interrupted before the upload. Run apply again to go on.";
            let summary = format!("Worker {} was not uploaded", self.name);
            return Err(Diagnostic::error(summary, text).into());
        }
        let moment = Moment::of(self, run, upload, here);
        let gone: BTreeSet<StableId> = self
            .planned
            .leaving
            .iter()
            .filter(|leaving| !here.contains(leaving))
            .map(|leaving| leaving.stable_id.clone())
            .collect();
        let complete = is_last && moment.is_complete();
        let ours = OurTag {
            claims: identity::without(&upload.owned, &gone),
            unfinished: !complete,
            ..run.ours.clone()
        };
        let live_tags = match (&run.tags, &run.standing) {
            (Some(tags), _) => tags.clone(),
            (None, Some(standing)) => standing.service.tags.clone(),
            (None, None) => Vec::new(),
        };
        let tags = self.tags(&live_tags, &ours);
        let mut migration = upload.migration.clone();
        if let Some(migration) = &mut migration {
            migration.old_tag = match (&run.tag, &run.standing) {
                // Listings may lag behind our own upload, so what it set counts.
                (Some(tag), _) => Some(tag.clone()),
                (None, Some(standing)) => standing.service.migration_tag.clone(),
                (None, None) => None,
            };
            self.find_sources(migration).await?;
            if !migration.deleted.is_empty() {
                self.guard_data().await?; // After all waits: nothing may come between the last look and the delete.
            }
        }
        let with_entry;
        let code = match (run.code, &run.exports) {
            (code, _) if moment.additions.is_empty() => code,
            (Some(modules), Some(exports)) if matches!(exports.main(), Main::EsModule) => {
                let has_default = exports.has_default() == Some(true);
                with_entry = entry::with_additions(modules, has_default, &moment.additions);
                Some(&with_entry)
            }
            (code, _) => {
                let main = code.map(Modules::shown);
                return Err(Diagnostic::error(entry::IMPOSSIBLE, entry::impossible(main)).into());
            }
        };
        let parts = Parts {
            planned: &moment.planned,
            prior: &self.request.prior,
            name: &self.name,
            settings: run.standing.as_ref().map(|standing| &standing.settings),
            has_assets: run
                .standing
                .as_ref()
                .is_some_and(|standing| standing.service.has_assets),
            code: code.map(|modules| (modules.main.as_str(), modules.modules.clone())),
            left_out: &moment.left_out,
            tags: &tags,
        };
        let uploader = Uploader {
            client: &self.client,
            stoppable: &self.stoppable,
            account: &self.account,
            name: &self.name,
            ours: &ours,
            targets_lag: !moment.leads_here,
            expectation: run.tag.is_none().then(|| self.expectation()),
        };
        let outcome = uploader.upload(&parts, migration).await;
        self.client.listings().invalidate(&self.account);
        let uploaded = match outcome {
            Ok(uploaded) => uploaded,
            Err(Failed::Refused(error)) => return Err(Stopped::Refused(self.refused(&error))),
            Err(Failed::Unclear(text)) => {
                let summary = format!("Upload of Worker {} is unclear", self.name);
                return Err(Diagnostic::error(summary, text).into());
            }
        };
        if let Some(migration) = &upload.migration {
            run.tag = Some(migration.new_tag.clone());
        }
        run.tags = Some(tags);
        self.worker.session.applies.uploaded();
        if complete {
            let service = self.landed(uploaded.etag).await?;
            self.commit(service);
        } else {
            self.reach_between(upload, run.tag.as_ref());
        }
        Ok(moment.is_complete())
    }

    /// Makes sure that what moves here is where it was, under whatever class.
    async fn find_sources(
        &self,
        migration: &mut crate::durable::plan::Migration,
    ) -> Result<(), Diagnostic> {
        if migration.transferred.is_empty() {
            return Ok(());
        }
        let listing = self.read(
            "Cannot read the namespaces",
            self.stoppable.namespaces(&self.account),
        );
        let listing = listing.await?;
        for moved in &mut migration.transferred {
            let is_it = |id: &NamespaceId| moved.namespace_id.as_ref() == Some(id);
            let live = listing.iter().find(|live| is_it(&live.id));
            let class = live
                .filter(|live| live.script.as_ref() == Some(&moved.from_script))
                .and_then(|live| live.class.clone());
            let Some(class) = class else {
                return Err(Diagnostic::error(
                    format!(
                        "Class {} is no longer on Worker {}",
                        moved.from, moved.from_script
                    ),
                    format!(
                        "The namespace that moves to Worker `{}` as class `{}` was on Worker `{}` when the plan was made, and is not there any \
                         more. Nothing was moved. Plan again and look at what it shows.",
                        self.name, moved.to, moved.from_script
                    ),
                ));
            };
            moved.from = class;
        }
        Ok(())
    }
}

fn takes(upload: &Upload) -> bool {
    let transferred = upload.migration.as_ref().map(|it| &it.transferred);
    transferred.is_some_and(|transferred| !transferred.is_empty())
}

/// What one upload says, given what is there at that moment.
struct Moment {
    /// The planned state, its bindings with the classes that the server holds then.
    planned: Value,
    /// Bindings that cannot exist then.
    left_out: BTreeSet<String>,
    /// What the generated main module adds.
    additions: Additions,
    /// Whether a binding still leads to the namespace here that is on its way to another Worker.
    leads_here: bool,
}

impl Moment {
    fn of(apply: &Apply<'_>, run: &Run<'_>, upload: &Upload, here: &[Leaving]) -> Moment {
        let own = Attr::Known(apply.name.clone());
        let owned: BTreeMap<&StableId, &ClassName> = upload
            .owned
            .iter()
            .filter_map(|claim| Some((claim.stable_id.exact()?, &claim.class)))
            .collect();
        let mut left_out = upload.left_out.clone();
        let mut leads_here = false;
        let mut planned = apply.request.planned.clone();
        if let Value::Map(mut bindings) = planned.get("bindings").clone() {
            for (name, element) in &mut bindings {
                let Some(Element::DurableObject(object)) = Element::of(element) else {
                    continue;
                };
                let missing = run.missing.iter().find(|it| it.name == *name);
                match (object.home(&own), missing) {
                    (Home::Here(stable_id), _) => match owned.get(&stable_id) {
                        Some(class) => element.set("class_name", class.as_str()),
                        None => {
                            left_out.insert(name.clone());
                        }
                    },
                    (Home::There(_), Some(missing)) => {
                        let id = object.stable_id.known();
                        let leaving = here.iter().find(|it| Some(&it.stable_id) == id);
                        let now = missing.class_now.as_ref().filter(|_| run.binds_as_it_is);
                        match (leaving, now) {
                            (Some(leaving), _) => {
                                element.set("class_name", leaving.class.as_str());
                                element.set("script_name", apply.name.as_str());
                                leads_here = true;
                            }
                            (None, Some(now)) => element.set("class_name", now.as_str()),
                            (None, None) => {
                                left_out.insert(name.clone());
                            }
                        }
                    }
                    _ => {}
                }
            }
            planned.set("bindings", Value::Map(bindings));
        }
        let stubs = here
            .iter()
            .filter(|leaving| leaving.name_is_taken || run.lacks(&leaving.class));
        Moment {
            planned,
            left_out,
            additions: Additions {
                aliases: upload.aliases.clone(),
                stubs: stubs.map(|leaving| leaving.class.clone()).collect(),
            },
            leads_here,
        }
    }

    fn is_complete(&self) -> bool {
        self.left_out.is_empty() && self.additions.is_empty() && !self.leads_here
    }
}

fn not_taken(why: GaveUp, leaving: &Leaving, own: &ScriptName) -> Diagnostic {
    let Leaving {
        stable_id,
        class,
        to,
        ..
    } = leaving;
    let reason = why.reason();
    Diagnostic::error(
        format!("Worker {to} has not taken {class} yet"),
        format!(
            "The namespace `{stable_id}` (class `{class}`) moves from Worker `{own}` to `{to}`, and the code of `{own}` no longer has the \
             class: it can be uploaded only when `{to}` has taken the namespace, which did not happen: {reason}. Keep exporting the class \
             from `{own}` for the apply that moves it, or run with a higher `-parallelism`. If `{own}` refers to `{to}`, apply again. \
             Nothing is lost."
        ),
    )
    .at(AttributePath::root("bindings"))
}
