//! workers.dev: the account's subdomain and each Worker's place on it.

use serde_json::{Value, json};

use super::{Answer, Api, ok, wrong_method};
use crate::cloudflare::failure::ApiFailure;
use crate::cloudflare::script::ScriptSubdomain;
use crate::cloudflare::upload::no_subdomain;

pub(super) async fn of_account(api: &Api) -> Answer {
    match api.method.as_str() {
        "GET" => match &api.seen.subdomain {
            Some(subdomain) => Ok(ok(json!({"subdomain": subdomain}))),
            None => Err(ApiFailure::new(
                404,
                10007,
                "workers.api.error.subdomain_not_found",
            )),
        },
        "PUT" => {
            let body = api.json()?;
            let name = body.get("subdomain").and_then(Value::as_str);
            let name = name.unwrap_or_default().to_owned();
            if !is_subdomain(&name) {
                return Err(ApiFailure::invalid(format!(
                    "The subdomain {name:?} is not valid."
                )));
            }
            api.cloud
                .change(|account| {
                    if account.subdomain.is_some() {
                        return Err(ApiFailure::new(
                            409,
                            10036,
                            "Account already has an associated subdomain",
                        ));
                    }
                    account.subdomain = Some(name.clone());
                    Ok(())
                })
                .await?;
            Ok(ok(json!({"subdomain": name})))
        }
        "DELETE" => {
            api.cloud
                .change(|account| {
                    account.subdomain = None;
                    Ok(())
                })
                .await?;
            Ok(ok(Value::Null))
        }
        _ => Err(wrong_method()),
    }
}

/// Cloudflare's rule for a name on workers.dev.
fn is_subdomain(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=63).contains(&name.len())
        && name.bytes().all(plain)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

pub(super) async fn of_script(api: &Api, name: &str) -> Answer {
    let shown = |subdomain: ScriptSubdomain| {
        ok(json!({"enabled": subdomain.enabled, "previews_enabled": subdomain.previews_enabled}))
    };
    let wanted = match api.method.as_str() {
        "GET" => {
            let script = api
                .seen
                .scripts
                .get(name)
                .ok_or_else(ApiFailure::no_worker)?;
            return Ok(shown(script.subdomain));
        }
        "POST" => {
            let body = api.json()?;
            let flag = |field: &str| match body.get(field) {
                None | Some(Value::Null) => Ok(None),
                Some(value) => value
                    .as_bool()
                    .map(Some)
                    .ok_or_else(|| ApiFailure::invalid(format!("`{field}` must be a boolean"))),
            };
            let enabled = flag("enabled")?
                .ok_or_else(|| ApiFailure::invalid("`enabled` must be a boolean"))?;
            (enabled, flag("previews_enabled")?)
        }
        "DELETE" => (false, Some(false)),
        _ => return Err(wrong_method()),
    };
    let (enabled, previews) = wanted;
    let subdomain = api
        .cloud
        .change(|account| {
            let hosts = account.namespaces_of(name).next().is_some();
            let registered = account.subdomain.is_some();
            let script = account
                .scripts
                .get_mut(name)
                .ok_or_else(ApiFailure::no_worker)?;
            if enabled && !registered {
                return Err(no_subdomain());
            }
            if previews == Some(true) && hosts {
                return Err(ApiFailure::refused(
                    100331,
                    "Cannot use Durable Objects with Preview URLs",
                ));
            }
            script.subdomain = ScriptSubdomain {
                enabled,
                previews_enabled: previews.unwrap_or(script.subdomain.previews_enabled),
            };
            Ok(script.subdomain)
        })
        .await?;
    Ok(shown(subdomain))
}

/// Whether somebody could register a subdomain. The answer is an error either way: 10031 taken, 10032 free.
pub(super) fn availability(api: &Api, name: &str) -> Answer {
    if api.method != "GET" {
        return Err(wrong_method());
    }
    Err(if api.seen.subdomain.as_deref() == Some(name) {
        ApiFailure::new(
            409,
            10031,
            "Subdomain is unavailable, please try a different subdomain",
        )
    } else {
        ApiFailure::new(404, 10032, "Subdomain is available")
    })
}
