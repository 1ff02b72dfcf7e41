//! `cloudflare_worker`: a Worker and the Durable Object namespaces that it hosts.
//!
//! `plan` decides everything and `classes` the class changes; `apply` and `delete` carry it out; `read` says what is there.

mod apply;
mod attempts;
mod bundled;
mod classes;
mod code;
mod delete;
pub(super) mod element;
mod entry;
mod exported;
mod foreign;
mod gate;
mod hosting;
pub(super) mod identity;
pub(super) mod live;
mod node_compat;
mod outcome;
mod plan;
mod read;
mod recognize;
mod schema;
mod standing;
mod upload;
mod uploads;

use std::sync::Arc;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use self::element::Phase;
use self::identity::Private;
use super::session::{NoClient, Session};
use crate::cloudflare::AccountId;
use crate::tf::{
    ApplyRequest, ApplyResponse, Diagnostic, Diagnostics, Imported, PlanRequest, PlanResponse,
    ReadRequest, ReadResponse, Resource, Schema, Value,
};

/// The resource.
pub struct Worker {
    schema: Schema,
    session: Arc<Session>,
}

impl Worker {
    /// The resource, sharing a session with the others.
    pub fn new(session: Arc<Session>) -> Worker {
        Worker {
            schema: schema::schema(),
            session,
        }
    }
}

#[async_trait]
impl Resource for Worker {
    fn type_name(&self) -> &'static str {
        "cloudflare_worker"
    }

    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn validate(&self, config: &Value) -> Diagnostics {
        plan::judge(config, Phase::Validate)
    }

    fn seen(&self, state: &Value) {
        let text = |attribute: &str| state.get(attribute).as_str();
        if let (Some(account), Some(worker_id)) = (text("account_id"), text("worker_id")) {
            self.session.saw(AccountId::new(account), worker_id);
        }
    }

    async fn plan(&self, request: PlanRequest) -> PlanResponse {
        plan::plan(self, request).await
    }

    async fn apply(&self, request: ApplyRequest) -> ApplyResponse {
        if request.planned.is_null() {
            delete::delete(self, request).await
        } else {
            apply::apply(self, request).await
        }
    }

    async fn read(&self, request: ReadRequest) -> ReadResponse {
        read::read(self, request).await
    }

    async fn import(&self, id: &str, stop: CancellationToken) -> Result<Imported, Diagnostics> {
        let (account, name) = match id.split_once('/') {
            Some((account, name)) => (Some(AccountId::new(account)), name),
            None => (None, id),
        };
        let is_account = account.as_ref().is_none_or(|account| {
            account.as_str().len() == 32
                && account
                    .as_str()
                    .bytes()
                    .all(|byte| byte.is_ascii_hexdigit())
        });
        if name.is_empty() || name.contains('/') || !is_account {
            let text = format!("{id:?} is neither `<name>` nor `<account_id>/<name>`.");
            return Err(Diagnostic::error("Invalid import id", text).into());
        }
        let client = self.session.client(&stop).map_err(NoClient::diagnostic)?;
        let account = match account {
            Some(account) => account,
            None => self.session.resolve_account(&client).await?,
        };
        let mut state = Value::object(
            self.schema
                .attributes
                .iter()
                .map(|a| (a.name.clone(), Value::Null)),
        );
        state.set("name", name);
        state.set("account_id", account.as_str());
        let private = Private {
            imported: true,
            ..Private::default()
        };
        Ok(Imported {
            state,
            private: private.encode(),
        })
    }
}
