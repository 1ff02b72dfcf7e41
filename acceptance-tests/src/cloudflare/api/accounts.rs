//! `/user/tokens/verify` and `/accounts`.

use serde_json::{Value, json};

use super::{Answer, Api, check_token, ok, page, respond, wrong_method};
use crate::cloudflare::failure::ApiFailure;

pub(super) fn verify_token(api: &Api) -> Answer {
    check_token(api).map_err(|failure| match failure.errors[0].code {
        10000 => ApiFailure::new(401, 1000, "Invalid API Token"),
        _ => failure,
    })?;
    Ok(respond(
        200,
        &json!({
            "success": true,
            "errors": [],
            "messages": [{"code": 10000, "message": "This API Token is valid and active", "type": null}],
            "result": {"id": "5a6b7c8d9e0f5a6b7c8d9e0f5a6b7c8d", "status": "active"},
        }),
    ))
}

fn account(api: &Api) -> Value {
    json!({
        "id": api.cloud.account_id,
        "name": "Local account",
        "type": "standard",
        "settings": {"enforce_twofactor": false},
        "created_on": "2026-01-01T00:00:00.000000Z",
    })
}

pub(super) fn list(api: &Api) -> Answer {
    if api.method != "GET" {
        return Err(wrong_method());
    }
    let (number, size) = (
        api.number("page", 1, 1..=usize::MAX)?,
        api.number("per_page", 20, 1..=50)?,
    );
    let wanted = api
        .query("name")
        .is_none_or(|name| "Local account".contains(name));
    let found: Vec<Value> = (wanted && number == 1)
        .then(|| account(api))
        .into_iter()
        .collect();
    let info = json!({
        "page": number, "per_page": size, "count": found.len(), "total_count": usize::from(wanted),
    });
    Ok(page(found.into(), Some(info)))
}

pub(super) fn one(api: &Api) -> Answer {
    if api.method != "GET" {
        return Err(wrong_method());
    }
    Ok(ok(account(api)))
}

/// `/workers/account-settings`.
pub(super) async fn workers_settings(api: &Api) -> Answer {
    let settings = match api.method.as_str() {
        "GET" => api.seen.settings.clone(),
        "PUT" => {
            let body = api.json()?;
            let model = body.get("default_usage_model").filter(|it| !it.is_null());
            let green = body.get("green_compute").filter(|it| !it.is_null());
            let models = ["standard", "bundled", "unbound"];
            if model.is_some_and(|it| !models.iter().any(|known| it == known)) {
                return Err(ApiFailure::invalid("Invalid `default_usage_model`."));
            }
            if green.is_some_and(|it| !it.is_boolean()) {
                return Err(ApiFailure::invalid("`green_compute` must be a boolean."));
            }
            api.cloud
                .change(|account| {
                    if let Some(model) = model.and_then(Value::as_str) {
                        account.settings.default_usage_model = model.into();
                    }
                    if let Some(green) = green.and_then(Value::as_bool) {
                        account.settings.green_compute = green;
                    }
                    Ok(account.settings.clone())
                })
                .await?
        }
        _ => return Err(wrong_method()),
    };
    Ok(ok(json!(settings)))
}
