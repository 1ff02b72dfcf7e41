//! `/zones`: the domains that the account has at Cloudflare.

use serde_json::{Value, json};

use super::{Answer, Api, ok, page, routes, unroutable, wrong_method};
use crate::cloudflare::failure::ApiFailure;
use crate::cloudflare::routes::Zone;

/// Answers everything below `/zones`.
pub(super) async fn answer(api: &Api, path: &str, rest: &[&str]) -> Answer {
    let [id, rest @ ..] = rest else {
        return list(api);
    };
    if id.len() != 32 || !id.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(unroutable(path));
    }
    let zone = api
        .seen
        .zone(id)
        .ok_or_else(|| ApiFailure::new(403, 9109, "Unauthorized to access requested resource"))?;
    match rest {
        [] if api.method == "GET" => Ok(ok(shown(api, zone))),
        [] => Err(wrong_method()),
        ["workers", "routes"] => routes::of_zone(api, zone).await,
        ["workers", "routes", id] => routes::one(api, zone, id).await,
        _ => Err(unroutable(path)),
    }
}

fn list(api: &Api) -> Answer {
    if api.method != "GET" {
        return Err(wrong_method());
    }
    let (number, size) = (
        api.number("page", 1, 1..=usize::MAX)?,
        api.number("per_page", 20, 1..=50)?,
    );
    let same = |parameter: &str, value: &str| api.query(parameter).is_none_or(|v| v == value);
    let found: Vec<&Zone> = api
        .seen
        .zones
        .iter()
        .filter(|zone| same("name", &zone.name) && same("status", "active"))
        .filter(|_| same("account.id", &api.cloud.account_id))
        .collect();
    let shown: Vec<Value> = found
        .iter()
        .skip((number - 1).saturating_mul(size))
        .take(size)
        .map(|zone| shown(api, zone))
        .collect();
    let info = json!({
        "page": number, "per_page": size, "count": shown.len(), "total_count": found.len(),
        "total_pages": found.len().div_ceil(size),
    });
    Ok(page(shown.into(), Some(info)))
}

fn shown(api: &Api, zone: &Zone) -> Value {
    json!({
        "id": zone.id,
        "name": zone.name,
        "status": "active",
        "paused": false,
        "type": "full",
        "development_mode": 0,
        "name_servers": ["ada.ns.cloudflare.com", "bob.ns.cloudflare.com"],
        "account": {"id": api.cloud.account_id, "name": "Local account"},
        "created_on": "2026-01-01T00:00:00.000000Z",
        "modified_on": "2026-01-01T00:00:00.000000Z",
        "activated_on": "2026-01-01T00:00:00.000000Z",
    })
}
