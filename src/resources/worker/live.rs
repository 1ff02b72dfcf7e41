//! A live Worker's bindings as elements of HCL.

use serde_json::{Map, Value as Json};

use super::element::{self, BINDING_TYPE, canonical_json};
use super::hosting::Entry;
use super::schema::element_members;
use crate::durable::{NamespaceId, ScriptName};
use crate::tf::Value;

/// The text of a member of a live binding.
pub fn text<'a>(binding: &'a Map<String, Json>, member: &str) -> Option<&'a str> {
    binding
        .get(member)
        .and_then(Json::as_str)
        .filter(|text| !text.is_empty())
}

/// Name and class of every binding of a Durable Object that the Worker hosts itself.
pub fn own_classes(bindings: &[Map<String, Json>]) -> Vec<(&str, &str)> {
    bindings
        .iter()
        .filter(|binding| {
            text(binding, "type") == Some(BINDING_TYPE) && text(binding, "script_name").is_none()
        })
        .filter_map(|binding| Some((text(binding, "name")?, text(binding, "class_name")?)))
        .collect()
}

/// An element without members.
pub fn blank() -> Value {
    Value::object(
        element_members()
            .into_iter()
            .map(|member| (member.name, Value::Null)),
    )
}

/// A live binding as an element. `prior` is the element that the state has under this name.
///
/// `None` for what the configuration cannot say: kinds without an attribute, and secrets that somebody else set.
pub fn element(
    binding: &Map<String, Json>,
    prior: Option<&Value>,
    hosted: &[Entry],
    own: &ScriptName,
) -> Option<Value> {
    let ty = text(binding, "type")?;
    if !element::is_known_type(ty) {
        return None;
    }
    let same_type = prior.filter(|prior| prior.get("type").as_str() == Some(ty));
    let prior_text = |member: &str| same_type.and_then(|prior| prior.get(member).as_str());
    let mut value = blank();
    value.set("type", ty);
    let copy = |value: &mut Value, member: &str, wire: &str| {
        value.set(member, text(binding, wire).map(Value::from))
    };
    match ty {
        BINDING_TYPE => return durable_object(binding, same_type, hosted, own),
        "plain_text" => value.set(
            "text",
            binding
                .get("text")
                .and_then(Json::as_str)
                .unwrap_or_default(),
        ),
        "json" => {
            let live = binding.get("json").map(Json::to_string).unwrap_or_default();
            let live = canonical_json(&live);
            let kept = prior_text("json").filter(|text| canonical_json(text) == live);
            value.set("json", kept.map_or_else(|| live.clone(), str::to_owned));
        }
        // The live value is never shown; ours is the one that we sent.
        "secret_text" => value.set("text", prior_text("text")?),
        "service" => {
            copy(&mut value, "service", "service");
            copy(&mut value, "service_entrypoint", "entrypoint");
            let environment = text(binding, "environment");
            // Cloudflare fills in the only environment that most Workers have.
            let filled_in =
                environment == Some("production") && prior_text("environment").is_none();
            value.set(
                "environment",
                environment.filter(|_| !filled_in).map(Value::from),
            );
        }
        "kv_namespace" => copy(&mut value, "namespace_id", "namespace_id"),
        "r2_bucket" => {
            copy(&mut value, "bucket_name", "bucket_name");
            copy(&mut value, "jurisdiction", "jurisdiction");
        }
        "d1" => {
            let id = text(binding, "database_id").or_else(|| text(binding, "id"));
            value.set("database_id", id.map(Value::from));
        }
        "queue" => copy(&mut value, "queue_name", "queue_name"),
        _ => return None,
    }
    Some(value)
}

fn durable_object(
    binding: &Map<String, Json>,
    prior: Option<&Value>,
    hosted: &[Entry],
    own: &ScriptName,
) -> Option<Value> {
    let class = text(binding, "class_name");
    let id = text(binding, "namespace_id");
    let script = text(binding, "script_name").unwrap_or(own.as_str());
    let member = |value: &Value, name: &str| value.get(name).as_str().map(str::to_owned);
    let same = prior.filter(|prior| match (member(prior, "namespace_id"), id) {
        (Some(before), Some(now)) => before == now,
        _ => member(prior, "class_name").as_deref() == class,
    });
    let mut value = same.cloned().unwrap_or_else(blank);
    value.set("type", BINDING_TYPE);
    value.set("namespace_id", id.map(Value::from));
    if same.is_some_and(|same| same.get("class_name").is_null()) {
        return Some(value); // Bound by id: class and host are not the configuration's business.
    }
    value.set("class_name", class.map(Value::from));
    value.set("script_name", script);
    if same.is_none() && script == own.as_str() {
        let entry = hosted
            .iter()
            .find(|entry| entry.namespace_id == id.map(NamespaceId::new));
        let stable_id = entry.and_then(|entry| entry.stable_id.as_ref());
        value.set("stable_id", stable_id.map(|id| Value::from(id.as_str())));
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn own() -> ScriptName {
        ScriptName::from_api("chat")
    }

    fn live(json: Json, prior: Option<&Value>) -> Option<Value> {
        let Json::Object(map) = json else { return None };
        element(&map, prior, &[], &own())
    }

    #[test]
    fn secrets_of_others_and_kinds_without_an_attribute_are_not_listed() {
        assert_eq!(
            live(json!({"name": "S", "type": "secret_text"}), None),
            None
        );
        assert_eq!(live(json!({"name": "AI", "type": "ai"}), None), None);
    }

    #[test]
    fn what_cloudflare_fills_in_is_no_drift() {
        let mut prior = blank();
        prior.set("type", "service");
        prior.set("service", "other");
        let answer = json!({"name": "S", "type": "service", "service": "other", "environment": "production", "new": 1});
        assert_eq!(live(answer, Some(&prior)), Some(prior));
        let mut prior = blank();
        prior.set("type", "json");
        prior.set("json", "{\"b\": 1,\n \"a\": 2}");
        assert_eq!(
            live(
                json!({"name": "J", "type": "json", "json": {"a": 2, "b": 1}}),
                Some(&prior)
            ),
            Some(prior)
        );
    }

    #[test]
    fn a_class_renamed_by_somebody_else_is_drift_of_the_same_namespace() {
        let mut prior = blank();
        prior.set("type", BINDING_TYPE);
        prior.set("stable_id", "rooms");
        prior.set("class_name", "Room");
        prior.set("namespace_id", "n1");
        let answer =
            json!({"name": "R", "type": BINDING_TYPE, "class_name": "Room2", "namespace_id": "n1"});
        let value = live(answer, Some(&prior)).unwrap_or_default();
        assert_eq!(value.get("stable_id").as_str(), Some("rooms"));
        assert_eq!(value.get("class_name").as_str(), Some("Room2"));
    }
}
