//! `/workers/services/{name}`: the read that gives the migration tag, and the rename of a Worker.

use serde_json::{Map, Value, json};

use super::{Answer, Api, ok, scripts, wrong_method};
use crate::cloudflare::failure::ApiFailure;
use crate::cloudflare::script::Script;

pub(super) async fn one(api: &Api, name: &str) -> Answer {
    match api.method.as_str() {
        "GET" => {
            let script = api
                .seen
                .scripts
                .get(name)
                .ok_or_else(ApiFailure::no_service)?;
            Ok(ok(shown(name, script)))
        }
        "PATCH" => {
            let body = api.json()?;
            let new = body
                .get("id")
                .and_then(Value::as_str)
                .unwrap_or(name)
                .to_owned();
            let service = api
                .cloud
                .change(|account| {
                    account.rename_worker(name, &new)?;
                    Ok(shown(&new, &account.scripts[&new]))
                })
                .await?;
            Ok(ok(service))
        }
        "DELETE" => scripts::delete(api, name).await,
        _ => Err(wrong_method()),
    }
}

fn shown(name: &str, script: &Script) -> Value {
    let mut fields: Map<String, Value> = scripts::shown(name, script);
    fields.remove("named_handlers");
    fields.insert("deployment_id".into(), json!(script.deployment_id()));
    if let Some(tag) = &script.migration_tag {
        fields.insert("migration_tag".into(), json!(tag));
    }
    let environment = json!({
        "environment": "production",
        "created_on": script.created_on,
        "modified_on": script.modified_on,
    });
    let mut default = environment.clone();
    default["script"] = fields.into();
    json!({
        "id": name,
        "created_on": script.created_on,
        "modified_on": script.modified_on,
        "usage_model": script.settings.get("usage_model"),
        "default_environment": default,
        "environments": [environment],
    })
}
