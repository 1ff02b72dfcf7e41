//! `/versions` of a Worker: upload without deploying, list, read.

use serde_json::{Map, Value, json};

use super::{Answer, Api, form, ok, page, scripts, wrong_method};
use crate::cloudflare::account::Account;
use crate::cloudflare::clock;
use crate::cloudflare::failure::ApiFailure;
use crate::cloudflare::script::Script;
use crate::cloudflare::upload::{Metadata, apply_version, check_request};
use crate::cloudflare::versions::{Version, check_deployable};

/// Whoever holds the token.
pub(super) const AUTHOR_ID: &str = "0a1b2c3d4e5f60718293a4b5c6d7e8f9";
/// Their address.
pub(super) const AUTHOR_EMAIL: &str = "user@local.example";

pub(super) async fn all(api: &Api, name: &str) -> Answer {
    match api.method.as_str() {
        "GET" => list(api, name),
        "POST" => upload(api, name).await,
        _ => Err(wrong_method()),
    }
}

pub(super) fn one(api: &Api, name: &str, id: &str) -> Answer {
    if api.method != "GET" {
        return Err(wrong_method());
    }
    let script = find(&api.seen, name)?;
    let version = script
        .version(id)
        .ok_or_else(|| ApiFailure::new(404, 100146, "The version could not be found."))?;
    Ok(ok(full(&api.seen, name, version)))
}

/// Newest first. All that can be deployed are on one page.
fn list(api: &Api, name: &str) -> Answer {
    let script = find(&api.seen, name)?;
    let (mut number, mut size) = (
        api.number("page", 1, 1..=usize::MAX)?,
        api.number("per_page", 20, 1..=100)?,
    );
    let deployable = api.query("deployable") == Some("true");
    if deployable {
        (number, size) = (1, usize::MAX);
    }
    let versions: Vec<&Version> = script
        .versions
        .iter()
        .rev()
        .map(|version| &**version)
        .filter(|version| !deployable || check_deployable(&api.seen, name, script, version).is_ok())
        .collect();
    let items: Vec<Value> = versions
        .iter()
        .skip((number - 1).saturating_mul(size))
        .take(size)
        .map(|version| Value::Object(outline(version)))
        .collect();
    let info = json!({
        "page": number,
        "per_page": size.min(versions.len().max(20)),
        "count": items.len(),
        "total_count": versions.len(),
    });
    Ok(page(json!({"items": items}), Some(info)))
}

async fn upload(api: &Api, name: &str) -> Answer {
    let form = form::read(api, "metadata").await?;
    let metadata = Metadata::parse(&form.metadata)?;
    let account = api.cloud.account();
    find(&account, name)?;
    check_request(&account, name, &metadata)?;
    let upload = scripts::new_code(api, name, metadata, form.modules, None).await?;
    let version = api
        .cloud
        .change(|account| {
            let id = apply_version(account, upload, &clock::now())?;
            let version = account.scripts[name].version(&id);
            Ok(full(account, name, version.expect("it was just added")))
        })
        .await?;
    Ok(ok(version))
}

pub(super) fn find<'a>(account: &'a Account, name: &str) -> Result<&'a Script, ApiFailure> {
    account.scripts.get(name).ok_or_else(ApiFailure::no_worker)
}

/// A version as lists show it.
fn outline(version: &Version) -> Map<String, Value> {
    let mut fields = Map::new();
    for (field, value) in [
        ("id", json!(version.id)),
        ("number", json!(version.number)),
        (
            "metadata",
            json!({
                "created_on": version.created_on,
                "modified_on": version.created_on,
                "source": version.source,
                "author_id": AUTHOR_ID,
                "author_email": AUTHOR_EMAIL,
                "has_preview": false,
            }),
        ),
        ("annotations", json!(version.annotations)),
    ] {
        fields.insert(field.into(), value);
    }
    fields
}

/// A version with all that it fixes.
fn full(account: &Account, name: &str, version: &Version) -> Value {
    let bindings: Vec<Value> = version
        .bindings
        .iter()
        .map(|binding| binding.shown(account, name))
        .collect();
    let mut runtime = Map::new();
    for field in [
        "compatibility_date",
        "compatibility_flags",
        "usage_model",
        "limits",
    ] {
        let value = version.settings.get(field);
        if !value.is_null() {
            runtime.insert(field.into(), value);
        }
    }
    if let Some(tag) = &version.migration_tag {
        runtime.insert("migration_tag".into(), json!(tag));
    }
    if let Some(exports) = version.declaration.shown() {
        runtime.insert("exports".into(), exports);
    }
    let mut fields = outline(version);
    let resources = json!({
        "bindings": bindings,
        "script": {
            "etag": version.code.etag,
            "handlers": version.code.exports.handlers,
            "named_handlers": version.code.named_handlers(),
            "last_deployed_from": version.source,
        },
        "script_runtime": runtime,
    });
    fields.insert("resources".into(), resources);
    fields.insert("startup_time_ms".into(), json!(version.code.startup_ms));
    fields.into()
}
