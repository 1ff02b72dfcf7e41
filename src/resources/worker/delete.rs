//! Destroys a Worker: only the one in state, only with its data's consent, and never by force.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Worker;
use super::gate::{self, Cause};
use super::hosting::{self, CLASS_KEY};
use super::identity::{self, Before, Deleted, Private, Whose};
use crate::cloudflare::{AccountId, ApiError, Client};
use crate::durable::ScriptName;
use crate::resources::{diagnose, limit};
use crate::tf::{ApplyRequest, ApplyResponse, Diagnostic, Diagnostics, PlanResponse, Value};

/// How long other Workers may take to let go of this one.
const PATIENCE: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_secs(2);
/// Deletes that overlap fail inside Cloudflare; so often one is tried again.
const OVERLAPS: usize = 10;

/// Plans the end of a Worker: what it takes with it, and who is in the way.
pub async fn plan(client: Option<Client>, prior: &Value, private: Private) -> PlanResponse {
    let mut diagnostics = Diagnostics::default();
    if let (Some(client), Some(before)) = (client, before(prior)) {
        diagnostics.extend(judge_destroy(&client, prior, &before, &private).await);
    }
    PlanResponse {
        private: private.kept().encode(),
        diagnostics,
        ..PlanResponse::default()
    }
}

async fn judge_destroy(
    client: &Client,
    prior: &Value,
    before: &Before,
    private: &Private,
) -> Diagnostics {
    let account = AccountId::new(before.account.as_str());
    let script = ScriptName::from_api(&before.name);
    let listed = client.listings().scripts(&account).await;
    let live = listed
        .as_ref()
        .ok()
        .and_then(|all| all.iter().find(|it| it.name == script));
    let (mark, worker_id) = (private.mark.as_deref(), prior.get("worker_id").as_str());
    if live.is_some_and(|live| identity::whose_listed(live, mark, worker_id) == Whose::Another) {
        // Nothing of it goes, so nothing has to be asked for.
        return Diagnostic::warning(
            format!("Worker {script} will not be deleted"),
            format!(
                "The live Worker `{script}` is not the one in this state: it was created again, adopted, or taken over by another \
                 configuration. It is left alone, and only forgotten here."
            ),
        )
        .into();
    }
    let mut diagnostics = gate::judge(
        client,
        &account,
        &before.name,
        &before.namespaces,
        Cause::Destroyed,
    )
    .await;
    if !diagnostics.has_errors() {
        diagnostics.extend(gate::warn_of_references(client, &account, &script, None).await);
    }
    diagnostics
}

/// The Worker of a state, with what would go with it.
pub fn before(prior: &Value) -> Option<Before> {
    let name = prior.get("name").as_str()?;
    let own = ScriptName::from_api(name);
    let entries = hosting::entries(prior);
    Some(Before {
        account: prior.get("account_id").as_str()?.to_owned(),
        name: name.to_owned(),
        namespaces: entries
            .iter()
            .filter(|entry| entry.lives_in(&own))
            .map(|entry| Deleted {
                stable_id: entry.key(),
                class: entry.class.to_string(),
                namespace_id: entry.namespace_id.as_ref().map(ToString::to_string),
                consent: entry.consent,
            })
            .collect(),
    })
}

/// Destroys the Worker of a state.
pub async fn delete(worker: &Worker, request: ApplyRequest) -> ApplyResponse {
    let private = Private::decode(&request.planned_private);
    let mut diagnostics = Diagnostics::default();
    let (stop, _timer) = limit::limited(&request.stop, limit::of(&request.prior, "delete"));
    let _running = worker.session.applies.run();
    let state = match destroy(worker, &request.prior, &private, &stop, &mut diagnostics).await {
        Ok(()) => Value::Null,
        Err(mut diagnostic) => {
            if stop.is_cancelled() && !request.stop.is_cancelled() {
                diagnostic.detail.push_str(
                    "\n\nThe time limit for this was over; `timeouts.delete` sets another one.",
                );
            }
            diagnostics.push(diagnostic);
            request.prior
        }
    };
    let private = if state.is_null() {
        Vec::new()
    } else {
        private.kept().encode()
    };
    ApplyResponse {
        state,
        private,
        diagnostics,
    }
}

async fn destroy(
    worker: &Worker,
    prior: &Value,
    private: &Private,
    stop: &CancellationToken,
    diagnostics: &mut Diagnostics,
) -> Result<(), Diagnostic> {
    let client = |stop| {
        let client = worker.session.client(stop);
        client.map_err(crate::resources::session::NoClient::diagnostic)
    };
    // A stop ends waits, but not a write that is under way.
    let (client, writer) = (client(stop)?, client(&CancellationToken::new())?);
    let (Some(name), Some(account)) =
        (prior.get("name").as_str(), prior.get("account_id").as_str())
    else {
        return Ok(()); // Nothing was ever created.
    };
    let (name, account) = (ScriptName::from_api(name), AccountId::new(account));
    let cannot = |error: &ApiError| diagnose::error(format!("Cannot delete Worker {name}"), error);
    let worker_id = prior.get("worker_id").as_str();
    let Some(service) = client
        .service(&account, &name)
        .await
        .map_err(|e| cannot(&e))?
    else {
        return match client
            .scripts(&account)
            .await
            .map_err(|e| cannot(&e))?
            .iter()
            .find(|listed| worker_id.is_some() && listed.worker_id.as_deref() == worker_id)
        {
            Some(renamed) => Err(Diagnostic::error(
                format!("Worker {name} was renamed"),
                format!(
                    "It is called `{}` now. Run `terraform apply -refresh-only`, then destroy again.",
                    renamed.name
                ),
            )),
            None => Ok(()),
        };
    };
    if identity::whose(&service, private.mark.as_deref(), worker_id) == Whose::Another {
        diagnostics.push(Diagnostic::warning(
            format!("Worker {name} was not deleted"),
            format!(
                "The live Worker `{name}` is not the one in this state: it was created again, adopted, or taken over by another \
                 configuration. It was left alone, and only forgotten here."
            ),
        ));
        return Ok(());
    }
    if worker.session.has_created(&account, &name) {
        // A block that was renamed without `moved`: its new half went on from the Worker of the old one.
        diagnostics.push(Diagnostic::warning(
            format!("Worker {name} was not deleted"),
            format!("Another resource of this run has taken over Worker `{name}`. It was left alone, and only forgotten here."),
        ));
        return Ok(());
    }
    let goes = what_goes(&client, &account, &name, prior)
        .await
        .map_err(|e| cannot(&e))?;
    let verdict = gate::judge(&client, &account, name.as_str(), &goes, Cause::Destroyed).await;
    if let Some(refusal) = verdict
        .into_iter()
        .find(|d| d.severity == crate::tf::Severity::Error)
    {
        return Err(refusal);
    }
    let outcome = delete_when_free(&client, &writer, &account, &name).await;
    client.listings().invalidate(&account);
    outcome.map_err(|error| cannot(&error))?;
    worker.session.release(&account, &name);
    worker.session.applies.uploaded();
    Ok(())
}

/// The namespaces that go: those that the live listing gives to the Worker, and those of the state.
async fn what_goes(
    client: &Client,
    account: &AccountId,
    name: &ScriptName,
    prior: &Value,
) -> Result<Vec<Deleted>, ApiError> {
    let known = before(prior)
        .map(|before| before.namespaces)
        .unwrap_or_default();
    let mut goes: BTreeMap<String, Deleted> = BTreeMap::new();
    let live = client.namespaces(account).await?;
    let elsewhere = |id: &str| {
        live.iter().any(|namespace| {
            namespace.id.as_str() == id && namespace.script.as_ref().is_some_and(|s| s != name)
        })
    };
    for delete in known {
        // What has moved to another Worker stays there.
        let id = delete.namespace_id.clone().filter(|id| !elsewhere(id));
        if let Some(id) = id {
            goes.insert(id, delete);
        }
    }
    for namespace in live
        .iter()
        .filter(|namespace| namespace.script.as_ref() == Some(name))
    {
        let class = namespace
            .class
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default();
        goes.entry(namespace.id.to_string())
            .or_insert_with(|| Deleted {
                stable_id: format!("{CLASS_KEY}{class}"),
                class,
                namespace_id: Some(namespace.id.to_string()),
                consent: false,
            });
    }
    Ok(goes.into_values().collect())
}

/// Deletes, and waits for the Workers that still bind it: the same run may be about to change them.
async fn delete_when_free(
    client: &Client,
    writer: &Client,
    account: &AccountId,
    name: &ScriptName,
) -> Result<(), ApiError> {
    let deadline = Instant::now() + PATIENCE;
    let mut overlaps = 0;
    loop {
        let error = match writer.delete_script(account, name).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        let blocked = matches!(
            error,
            ApiError::StillReferenced(_)
                | ApiError::BindingTarget(_)
                | ApiError::ClassStillBound(_)
        );
        if error.may_have_committed() && writer.service(account, name).await?.is_none() {
            return Ok(());
        }
        let overlapped = error.is_internal() && overlaps < OVERLAPS;
        overlaps += usize::from(overlapped);
        if !(blocked || overlapped) || Instant::now() >= deadline {
            return Err(error);
        }
        let wait = client.wait("wait for other Workers to let go", PAUSE);
        if wait.await.is_err() {
            return Err(error); // Why it was waited says more than that the wait was ended.
        }
    }
}
