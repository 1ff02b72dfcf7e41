//! Bindings of namespaces that other Workers host, and waiting until these Workers have them.
//!
//! Terraform knows no order between a Worker and one that it merely names in `script_name`, so both may be applied at once.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use super::element::{Element, Home};
use super::identity;
use crate::cloudflare::{AccountId, ApiError, Client};
use crate::durable::tag::Claim;
use crate::durable::{ClassName, ScriptName, StableId};
use crate::resources::diagnose;
use crate::resources::waiting::{Applies, GaveUp};
use crate::tf::{Attr, AttributePath, Diagnostic, Value};

/// How long another Worker may take to get the class.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long until the next look, unless this process uploads something before.
const PAUSE: Duration = Duration::from_secs(2);

/// A binding of a class of another Worker.
#[derive(Clone, Debug, PartialEq)]
pub struct Foreign {
    /// The binding's name.
    pub name: String,
    /// The hosting Worker.
    pub script: ScriptName,
    /// The class over there.
    pub class: ClassName,
    /// Its identity, if the binding says it.
    pub stable_id: Option<StableId>,
    /// The class that the host's tag gives for that identity at present, while it is not this one.
    pub class_now: Option<ClassName>,
}

/// Every binding of a planned Worker to a class of another one.
pub fn foreign(planned: &Value, own: &ScriptName) -> Vec<Foreign> {
    let mut found = Vec::new();
    for (name, value) in planned.get("bindings").as_map().into_iter().flatten() {
        let Some(Element::DurableObject(object)) = Element::of(value) else {
            continue;
        };
        let Home::There(script) = object.home(&Attr::Known(own.clone())) else {
            continue;
        };
        if let Some(class) = object.class_name.known() {
            found.push(Foreign {
                name: name.clone(),
                script,
                class: class.clone(),
                stable_id: object.stable_id.known().cloned(),
                class_now: None,
            });
        }
    }
    found
}

/// Those whose class is not there yet. What a host's own tag says of a stable ID counts more than that a class of that name exists.
pub async fn unresolved(
    client: &Client,
    account: &AccountId,
    foreign: &[Foreign],
) -> Result<Vec<Foreign>, ApiError> {
    let mut missing = Vec::new();
    let scripts: BTreeSet<&ScriptName> = foreign.iter().map(|foreign| &foreign.script).collect();
    for script in scripts {
        let bound: Vec<&Foreign> = foreign
            .iter()
            .filter(|foreign| foreign.script == *script)
            .collect();
        let Some(service) = client.service(account, script).await? else {
            missing.extend(bound.into_iter().cloned());
            continue;
        };
        let claims = identity::decode(&service.tags).ours.map(|ours| ours.claims);
        let namespaces = client.namespaces(account).await?;
        let exists = |class: &ClassName| {
            namespaces.iter().any(|namespace| {
                namespace.script.as_ref() == Some(script) && namespace.class.as_ref() == Some(class)
            })
        };
        for binding in bound {
            let there = match (&claims, &binding.stable_id) {
                (Some(claims), Some(id)) => {
                    let names_id = |claim: &Claim| claim.stable_id.names(id);
                    let names_class = |claim: &Claim| claim.class == binding.class;
                    claims.iter().any(|claim| names_id(claim) && names_class(claim))
                        // A tag without room for the ID says nothing of the class either.
                        || !claims.iter().any(|claim| names_id(claim) || names_class(claim)) && exists(&binding.class)
                }
                _ => exists(&binding.class),
            };
            if !there {
                let id = binding.stable_id.as_ref();
                let mut claims = claims.iter().flatten();
                let claim = claims.find(|claim| id.is_some_and(|id| claim.stable_id.names(id)));
                let now = claim.map(|claim| claim.class.clone());
                missing.push(Foreign {
                    class_now: now.filter(exists),
                    ..binding.clone()
                });
            }
        }
    }
    Ok(missing)
}

/// How a wait for another Worker ended.
pub enum Waited {
    /// With what was waited for.
    Done,
    /// With every apply of this process waiting for another one: what it was that this one waited for.
    Starved(Box<Diagnostic>),
}

/// Waits until all of them are there.
pub async fn wait(
    client: &Client,
    account: &AccountId,
    applies: &Applies,
    mut missing: Vec<Foreign>,
) -> Result<Waited, Diagnostic> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let cannot_see =
            |error: ApiError| diagnose::error("Cannot see what another Worker hosts", &error);
        missing = unresolved(client, account, &missing)
            .await
            .map_err(cannot_see)?;
        let Some(first) = missing.first() else {
            return Ok(Waited::Done);
        };
        // The client's own wait notices a stop; the other one notices uploads of this process.
        tokio::select! {
            outcome = applies.wait(PAUSE, deadline) => match outcome {
                Ok(()) => {}
                Err(why @ GaveUp::Starved) => return Ok(Waited::Starved(Box::new(gave_up(why, first)))),
                Err(why @ GaveUp::TimedOut) => return Err(gave_up(why, first)),
            },
            outcome = client.wait("wait for another Worker", PATIENCE) => outcome.map_err(cannot_see)?,
        }
    }
}

fn gave_up(why: GaveUp, missing: &Foreign) -> Diagnostic {
    let Foreign {
        name,
        script,
        class,
        stable_id,
        ..
    } = missing;
    let path = AttributePath::root("bindings").key(name);
    let named = match stable_id {
        Some(id) => format!("class `{class}` for the stable ID `{id}`"),
        None => format!("class `{class}`"),
    };
    let reason = why.reason();
    Diagnostic::error(
        format!("Worker {script} does not host {class} yet"),
        format!(
            "`{path}` needs {named} in Worker `{script}`, which does not have it: {reason}. Is that Worker part of this run? Then let this \
             one refer to it (`cloudflare_worker.….bindings.…`, or its `name` in `script_name`), so that Terraform applies it first, or \
             run with a higher `-parallelism`. Does that Worker take the class over from this one? Then keep exporting the class here for \
             one apply. Otherwise check `script_name` and `class_name`. Apply again to finish."
        ),
    )
    .at(path)
}
