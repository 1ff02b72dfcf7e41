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
