//! `/settings` (bindings and all, a form) and `/script-settings` (JSON) of a Worker.

use serde_json::{Map, Value, json};

use super::{Answer, Api, form, ok, wrong_method};
use crate::cloudflare::account::Account;
use crate::cloudflare::clock;
use crate::cloudflare::failure::ApiFailure;
use crate::cloudflare::script::{SCRIPT_SETTINGS, STORED_SETTINGS, Script};
use crate::cloudflare::upload::{Metadata, Unmentioned, Upload, apply_upload, check_request};

pub(super) async fn of_version(api: &Api, name: &str) -> Answer {
    match api.method.as_str() {
        "GET" => shown(&api.seen, name).map(ok),
        "PATCH" => {
            let form = form::read(api, "settings").await?;
            change(api, name, &form.metadata).await?;
            shown(&api.cloud.account(), name).map(ok)
        }
        _ => Err(wrong_method()),
    }
}

pub(super) async fn of_script(api: &Api, name: &str) -> Answer {
    match api.method.as_str() {
        "GET" => script_settings(&api.seen, name).map(ok),
        "PATCH" => {
            let mut body = api.json()?;
            if let Some(fields) = body.as_object_mut() {
                fields.retain(|field, _| SCRIPT_SETTINGS.contains(&field.as_str()));
            }
            let metadata = Metadata::parse(&body)?;
            // No new version: only the settings change.
            api.cloud
                .change(|account| {
                    check_request(account, name, &metadata)?;
                    let script = account
                        .scripts
                        .get_mut(name)
                        .ok_or_else(ApiFailure::no_worker)?;
                    script.settings = metadata.settings(script.settings.clone());
                    script.modified_on = clock::now();
                    Ok(())
                })
                .await?;
            script_settings(&api.cloud.account(), name).map(ok)
        }
        _ => Err(wrong_method()),
    }
}

async fn change(api: &Api, name: &str, settings: &Value) -> Result<(), ApiFailure> {
    let metadata = Metadata::parse(settings)?;
    let account = api.cloud.account();
    check_request(&account, name, &metadata)?;
    if let Some(before) = account.scripts.get(name) {
        let bindings = match metadata.gives_bindings() {
            true => metadata.expected_bindings(&before.bindings, account.secrets),
            false => before.bindings.clone(),
        };
        let settings = metadata.settings(before.settings.clone());
        let hosting = &api.cloud.hosting;
        hosting
            .check_again(&before.code, &settings, &bindings)
            .await?;
    }
    let upload = Upload {
        script: name.into(),
        metadata,
        code: None,
        unmentioned: Unmentioned::Stay,
        source: api.client().into(),
        strict: api.query("bindings_inherit") == Some("strict"),
    };
    api.cloud
        .change(|account| apply_upload(account, upload, &clock::now()))
        .await
}

fn script_settings(account: &Account, name: &str) -> Result<Value, ApiFailure> {
    let script = account
        .scripts
        .get(name)
        .ok_or_else(ApiFailure::no_worker)?;
    let fields: Map<String, Value> = SCRIPT_SETTINGS
        .iter()
        .map(|field| ((*field).to_owned(), script.settings.get(field)))
        .collect();
    Ok(fields.into())
}

/// The bindings alone.
pub(super) fn bindings(api: &Api, name: &str) -> Answer {
    if api.method != "GET" {
        return Err(wrong_method());
    }
    let script = api
        .seen
        .scripts
        .get(name)
        .ok_or_else(ApiFailure::no_worker)?;
    Ok(ok(shown_bindings(&api.seen, name, script)))
}

fn shown_bindings(account: &Account, name: &str, script: &Script) -> Value {
    let bindings = script.bindings.iter();
    bindings
        .map(|binding| binding.shown(account, name))
        .collect()
}

fn shown(account: &Account, name: &str) -> Result<Value, ApiFailure> {
    let script = account
        .scripts
        .get(name)
        .ok_or_else(ApiFailure::no_worker)?;
    let mut fields = Map::new();
    fields.insert("bindings".into(), shown_bindings(account, name, script));
    let plain = [
        "compatibility_date",
        "compatibility_flags",
        "tags",
        "logpush",
    ];
    for field in plain.into_iter().chain(STORED_SETTINGS) {
        fields.insert(field.into(), script.settings.get(field));
    }
    let version = script.served_version();
    fields.insert(
        "annotations".into(),
        json!(version.map(|version| &version.annotations)),
    );
    if let Some(exports) = script.exports.shown() {
        fields.insert("exports".into(), exports);
    }
    if let Some(report) = script.exports.report() {
        fields.insert("exports_reconciliation".into(), json!(report));
    }
    Ok(fields.into())
}
