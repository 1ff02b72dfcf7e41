//! `/workers/scripts-search`: finds Workers by name or id, in pages.

use serde_json::{Value, json};

use super::{Answer, Api, page, wrong_method};
use crate::cloudflare::failure::ApiFailure;
use crate::cloudflare::script::Script;

pub(super) fn scripts(api: &Api) -> Answer {
    if api.method != "GET" {
        return Err(wrong_method());
    }
    let (number, size) = (
        api.number("page", 1, 1..=usize::MAX)?,
        api.number("per_page", 10, 1..=100)?,
    );
    let (name, id) = (api.query("name"), api.query("id"));
    let mut found: Vec<(&String, &Script)> = api
        .seen
        .workers()
        .filter(|(script, _)| name.is_none_or(|name| script.contains(name)))
        .filter(|(_, script)| id.is_none_or(|id| script.tag == id))
        .collect();
    // The map is in the order of names.
    match api.query("order_by") {
        None | Some("name") => {}
        Some("created_on") => found.sort_by(|a, b| a.1.created_on.cmp(&b.1.created_on)),
        Some("modified_on") => found.sort_by(|a, b| a.1.modified_on.cmp(&b.1.modified_on)),
        Some(_) => {
            return Err(ApiFailure::refused(
                10077,
                "Invalid value for parameter 'order_by'.",
            ));
        }
    }
    let items: Vec<Value> = found
        .iter()
        .skip((number - 1).saturating_mul(size))
        .take(size)
        .map(|(name, script)| {
            json!({
                "id": script.tag,
                "script_name": name,
                "service_name": name,
                "environment_name": "production",
                "environment_is_default": true,
                "created_on": script.created_on,
                "modified_on": script.modified_on,
            })
        })
        .collect();
    let info = json!({
        "page": number, "per_page": size, "count": items.len(), "total_count": found.len(),
    });
    Ok(page(items.into(), Some(info)))
}
