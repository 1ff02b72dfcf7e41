//! `/workers/dispatch/namespaces`: Workers for Platforms. The Workers of a namespace have the endpoints of all others,
//! as far as they are no versions, deployments, triggers or addresses.

use serde_json::{Value, json};

use super::{Answer, Api, assets, ok, scripts, secrets, settings, unroutable, wrong_method};
use crate::cloudflare::account::Account;
use crate::cloudflare::clock;
use crate::cloudflare::dispatch::{self, DispatchNamespace};
use crate::cloudflare::failure::ApiFailure;
use crate::cloudflare::upload::{Metadata, check_request};

/// Answers everything below `/workers/dispatch/namespaces`.
pub(super) async fn answer(api: &Api, path: &str, rest: &[&str]) -> Answer {
    let [namespace, rest @ ..] = rest else {
        return all(api).await;
    };
    api.seen.dispatch_namespace(namespace)?;
    match rest {
        [] => one(api, namespace).await,
        ["scripts"] => workers(api, namespace).await,
        // Such a name would be taken for a key.
        ["scripts", name, ..] if name.contains('/') => Err(dispatch::no_worker()),
        ["scripts", name, rest @ ..] => {
            let answer = worker(api, &dispatch::key(namespace, name), path, rest).await;
            answer.map_err(|failure| match failure == ApiFailure::no_worker() {
                true => dispatch::no_worker(),
                false => failure,
            })
        }
        _ => Err(unroutable(path)),
    }
}

async fn all(api: &Api) -> Answer {
    match api.method.as_str() {
        "GET" => Ok(ok(api
            .seen
            .dispatch_namespaces
            .iter()
            .map(|namespace| shown(&api.seen, namespace))
            .collect())),
        "POST" => {
            let body = api.json()?;
            let name = body.get("name").and_then(Value::as_str);
            let name = name.ok_or_else(|| ApiFailure::invalid("`name` must be a string"))?;
            let created = api
                .cloud
                .change(|account| {
                    let created = account.create_dispatch_namespace(name, &clock::now())?;
                    Ok(shown(account, &created))
                })
                .await?;
            Ok(ok(created))
        }
        _ => Err(wrong_method()),
    }
}

async fn one(api: &Api, namespace: &str) -> Answer {
    match api.method.as_str() {
        "GET" => Ok(ok(shown(
            &api.seen,
            api.seen.dispatch_namespace(namespace)?,
        ))),
        "DELETE" => {
            api.cloud
                .change(|account| account.delete_dispatch_namespace(namespace))
                .await?;
            Ok(ok(Value::Null))
        }
        _ => Err(wrong_method()),
    }
}

fn shown(account: &Account, namespace: &DispatchNamespace) -> Value {
    json!({
        "namespace_id": namespace.id,
        "namespace_name": namespace.name,
        "script_count": account.workers_in(&namespace.name).count(),
        "trusted_workers": false,
        "created_on": namespace.created_on,
        "modified_on": namespace.created_on,
    })
}

/// The list of the Workers, and the deletion of those with certain tags.
async fn workers(api: &Api, namespace: &str) -> Answer {
    let filter = scripts::TagFilter::of(api);
    match api.method.as_str() {
        "GET" => Ok(ok(api
            .seen
            .workers_in(namespace)
            .filter(|(_, script)| filter.fits(script))
            .map(|(key, script)| scripts::listed(key, script))
            .collect())),
        "DELETE" if filter.is_empty() => Err(ApiFailure::refused(
            10077,
            "Invalid value for parameter 'tags'.",
        )),
        "DELETE" => {
            let force = api.query("force") == Some("true");
            api.cloud
                .change(|account| {
                    let found = account.workers_in(namespace);
                    let found = found.filter(|(_, script)| filter.fits(script));
                    let keys: Vec<String> = found.map(|(key, _)| key.clone()).collect();
                    keys.iter()
                        .try_for_each(|key| account.delete_worker(key, force))
                })
                .await?;
            Ok(ok(Value::Null))
        }
        _ => Err(wrong_method()),
    }
}

async fn worker(api: &Api, key: &str, path: &str, rest: &[&str]) -> Answer {
    match rest {
        [] if api.method == "GET" => details(api, key),
        [] => scripts::one(api, key).await,
        ["settings"] => settings::of_version(api, key).await,
        ["content"] => scripts::content_alone(api, key).await,
        ["bindings"] => settings::bindings(api, key),
        ["secrets"] => secrets::all(api, key).await,
        ["secrets", secret] => secrets::one(api, key, secret).await,
        ["secrets-bulk"] => secrets::bulk(api, key).await,
        ["tags"] => tags(api, key).await,
        ["tags", tag] => tag_alone(api, key, tag).await,
        ["assets-upload-session"] => assets::session(api, key).await,
        _ => Err(unroutable(path)),
    }
}

fn details(api: &Api, key: &str) -> Answer {
    let script = api.seen.scripts.get(key).ok_or_else(dispatch::no_worker)?;
    Ok(ok(json!({
        "id": dispatch::name(key),
        "dispatch_namespace": dispatch::namespace(key),
        "created_on": script.created_on,
        "modified_on": script.modified_on,
        "script": scripts::listed(key, script),
    })))
}

async fn tags(api: &Api, key: &str) -> Answer {
    let account = match api.method.as_str() {
        "GET" => api.seen.clone(),
        "PUT" => {
            let wanted = api.json()?;
            set_tags(api, key, |_| wanted).await?;
            api.cloud.account()
        }
        _ => return Err(wrong_method()),
    };
    let script = account.scripts.get(key).ok_or_else(dispatch::no_worker)?;
    Ok(ok(json!(script.settings.tags)))
}

async fn tag_alone(api: &Api, key: &str, tag: &str) -> Answer {
    let adds = match api.method.as_str() {
        "PUT" => true,
        "DELETE" => false,
        _ => return Err(wrong_method()),
    };
    set_tags(api, key, |mut tags| {
        tags.retain(|other| other != tag);
        if adds {
            tags.push(tag.into());
        }
        json!(tags)
    })
    .await?;
    Ok(ok(Value::Null))
}

async fn set_tags(
    api: &Api,
    key: &str,
    change: impl FnOnce(Vec<String>) -> Value,
) -> Result<(), ApiFailure> {
    api.cloud
        .change(|account| {
            let script = account.scripts.get(key).ok_or_else(dispatch::no_worker)?;
            let tags = change(script.settings.tags.clone());
            let metadata = Metadata::parse(&json!({"tags": tags}))?;
            check_request(account, key, &metadata)?;
            let script = account.scripts.get_mut(key).expect("looked up above");
            script.settings = metadata.settings(script.settings.clone());
            script.modified_on = clock::now();
            Ok(())
        })
        .await
}
