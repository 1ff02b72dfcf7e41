//! `/secrets` and `/secrets-bulk` of a Worker.

use serde_json::{Map, Value, json};

use super::{Answer, Api, ok, wrong_method};
use crate::cloudflare::account::Account;
use crate::cloudflare::bindings::Binding;
use crate::cloudflare::clock;
use crate::cloudflare::failure::ApiFailure;
use crate::cloudflare::script::Script;
use crate::cloudflare::secrets::{Change, change_secrets, no_secret, secrets_of};
use crate::cloudflare::versions::{self, Occasion};

pub(super) async fn all(api: &Api, name: &str) -> Answer {
    match api.method.as_str() {
        "GET" => Ok(ok(shown(&api.seen, name, find(&api.seen, name)?)
            .into_iter()
            .map(|(_, secret)| secret)
            .collect())),
        "PUT" => {
            let body = api.json()?;
            let change = Change::set(&body)?;
            let secrets = apply(api, name, vec![change], Map::new()).await?;
            let set = body.get("name").and_then(Value::as_str).unwrap_or_default();
            Ok(ok(secrets.get(set).cloned().unwrap_or_default()))
        }
        _ => Err(wrong_method()),
    }
}

pub(super) async fn one(api: &Api, name: &str, secret: &str) -> Answer {
    match api.method.as_str() {
        "GET" => shown(&api.seen, name, find(&api.seen, name)?)
            .remove(secret)
            .map(ok)
            .ok_or_else(|| no_secret(secret)),
        "DELETE" => {
            apply(api, name, vec![Change::Remove(secret.into())], Map::new()).await?;
            Ok(ok(Value::Null))
        }
        _ => Err(wrong_method()),
    }
}

/// A merge patch: what is not named stays.
pub(super) async fn bulk(api: &Api, name: &str) -> Answer {
    if api.method != "PATCH" {
        return Err(wrong_method());
    }
    let body = api.json()?;
    let changes = match body.get("secrets") {
        None | Some(Value::Null) => Vec::new(),
        Some(secrets) => Change::patch(secrets)?,
    };
    let annotations = versions::annotations(body.get("version_tags"))?;
    apply(api, name, changes, annotations)
        .await
        .map(|secrets| ok(secrets.into()))
}

async fn apply(
    api: &Api,
    name: &str,
    changes: Vec<Change>,
    annotations: Map<String, Value>,
) -> Result<Map<String, Value>, ApiFailure> {
    let set: Vec<Binding> = changes.iter().filter_map(Change::value).cloned().collect();
    api.cloud.hosting.check_keys(&set).await?;
    api.cloud
        .change(|account| {
            let now = clock::now();
            let occasion = Occasion::new(&now, api.client(), "secret", annotations);
            change_secrets(account, name, &changes, &occasion)?;
            Ok(shown(account, name, &account.scripts[name]))
        })
        .await
}

fn find<'a>(account: &'a Account, name: &str) -> Result<&'a Script, ApiFailure> {
    account.scripts.get(name).ok_or_else(ApiFailure::no_worker)
}

/// The secrets by name, without their values.
fn shown(account: &Account, name: &str, script: &Script) -> Map<String, Value> {
    secrets_of(script)
        .map(|binding| (binding.name.clone(), json!(binding.shown(account, name))))
        .collect()
}
