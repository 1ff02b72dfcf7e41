//! `/workers/durable_objects/namespaces` and the objects of one.

use serde_json::{Value, json};

use super::{Answer, Api, page, wrong_method};
use crate::cloudflare::dispatch;
use crate::cloudflare::failure::ApiFailure;

pub(super) fn list(api: &Api) -> Answer {
    if api.method != "GET" {
        return Err(wrong_method());
    }
    let (number, size) = (
        api.number("page", 1, 1..=usize::MAX)?,
        api.number("per_page", 20, 1..=1000)?,
    );
    let all = &api.seen.namespaces;
    let found: Vec<Value> = all
        .iter()
        .skip((number - 1).saturating_mul(size))
        .take(size)
        .map(|ns| {
            let mut shown = json!({
                "id": ns.id, "name": ns.name, "script": dispatch::name(&ns.script), "class": ns.class,
                "use_sqlite": ns.sqlite,
            });
            // How Cloudflare shows these is not published; another Worker may have the name.
            if let Some(namespace) = dispatch::namespace(&ns.script) {
                shown["dispatch_namespace"] = json!(namespace);
            }
            shown
        })
        .collect();
    // The number of pages is documented but cannot be relied on, so it is not given.
    let info =
        json!({"page": number, "per_page": size, "count": found.len(), "total_count": all.len()});
    Ok(page(found.into(), Some(info)))
}

pub(super) async fn objects(api: &Api, id: &str) -> Answer {
    if api.method != "GET" {
        return Err(wrong_method());
    }
    if api.seen.namespace_by_id(id).is_none() {
        return Err(ApiFailure::new(
            404,
            10066,
            format!("Durable Object namespace '{id}' not found."),
        ));
    }
    let limit = api.number("limit", 1000, 10..=10_000)?;
    let after = api.query("cursor").unwrap_or_default();
    let rest: Vec<(String, bool)> = api
        .cloud
        .hosting
        .objects(id)
        .await
        .into_iter()
        .filter(|(object, _)| object.as_str() > after)
        .collect();
    let found = &rest[..rest.len().min(limit)];
    let more = found.last().filter(|_| found.len() < rest.len());
    let cursor = more.map(|(object, _)| object.as_str()).unwrap_or_default();
    let info = json!({"count": found.len(), "cursor": cursor, "cursors": {"after": cursor}});
    let objects: Vec<Value> = found
        .iter()
        .map(|(object, stored)| json!({"id": object, "hasStoredData": stored}))
        .collect();
    Ok(page(objects.into(), Some(info)))
}
