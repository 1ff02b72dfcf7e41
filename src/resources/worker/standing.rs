//! Which live Worker an apply stands on: the one that was planned for, as it was, or none.

use super::apply::Apply;
use super::attempts;
use super::identity::{self, Intent, Private, Whose};
use super::upload;
use crate::cloudflare::{Service, Settings};
use crate::durable::ScriptName;
use crate::resources::diagnose;
use crate::tf::Diagnostic;

/// A live Worker before the first write.
pub struct Standing {
    /// What identifies it.
    pub service: Service,
    /// Its bindings and settings.
    pub settings: Settings,
}

impl Apply<'_> {
    /// Makes sure that the live Worker is the one that was planned for, and as it was. Renames it if that is planned.
    pub(super) async fn stand(&mut self) -> Result<Option<Standing>, Diagnostic> {
        if !self.creates {
            return self.look_at_live().await;
        }
        let session = &self.worker.session;
        if !session.claim(self.account.clone(), self.name.clone()) {
            return Err(attempts::twin(&self.name));
        }
        let standing = self.look_at_live().await;
        if standing.is_err() {
            session.release(&self.account, &self.name);
        }
        standing
    }

    async fn look_at_live(&mut self) -> Result<Option<Standing>, Diagnostic> {
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
            return Err(attempts::uses_exports(&self.name));
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

    async fn service(&self, name: &ScriptName) -> Result<Option<Service>, Diagnostic> {
        self.read(
            &format!("Cannot read Worker {name}"),
            self.stoppable.service(&self.account, name),
        )
        .await
    }

    async fn refuse_existing(&self) -> Result<(), Diagnostic> {
        match self.service(&self.name).await? {
            Some(_) if self.planned.replaces => Err(attempts::comes_too_early(&self.name)),
            Some(_) => Err(attempts::exists(&self.account, &self.name)),
            None => Ok(()),
        }
    }

    async fn take_over(&mut self) -> Result<Service, Diagnostic> {
        let Some(service) = self.service(&self.name).await? else {
            return Err(gone(&self.name, "It was there when the plan was made."));
        };
        // Always a mark of its own: if this is the new half of a replacement, the old one must not take the Worker for its own.
        self.private = Private {
            mark: Some(identity::new_mark()?),
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
                    self.guard_data().await?; // A rename is a write, and nothing may come before the last look.
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
                    self.worker.session.release(&self.account, &former);
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
}

fn gone(name: &ScriptName, more: &str) -> Diagnostic {
    Diagnostic::error(
        format!("Worker {name} is gone"),
        format!("There is no Worker `{name}` any more. {more} Nothing was changed."),
    )
}
