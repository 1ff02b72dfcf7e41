//! `/queues`: the queues, who consumes them, and messages sent from outside.

use serde::Deserialize;
use serde_json::{Value, json};

use super::stores::{ask, json_of, paged, reason, request, text};
use super::{Answer, Api, ok, wrong_method};
use crate::cloudflare::account::Account;
use crate::cloudflare::clock;
use crate::cloudflare::failure::ApiFailure;
use crate::cloudflare::queues::{Consumer, ConsumerRequest, Queue};
use crate::cloudflare::runtime::{Delivery, StoreKind};
use crate::cloudflare::stores::store_of;

fn shown(account: &Account, queue: &Queue) -> Value {
    let producers: Vec<Value> = account
        .scripts
        .iter()
        .filter(|(_, script)| {
            let stores = script.bindings.iter().filter_map(store_of);
            stores
                .into_iter()
                .any(|store| store.kind == StoreKind::Queue && store.key == queue.name)
        })
        .map(|(name, _)| json!({"type": "worker", "script": name}))
        .collect();
    let consumers: Vec<Value> = consumer_of(account, queue).into_iter().collect();
    json!({
        "queue_id": queue.id, "queue_name": queue.name,
        "created_on": queue.created_on, "modified_on": queue.created_on,
        "producers_total_count": producers.len(), "producers": producers,
        "consumers_total_count": consumers.len(), "consumers": consumers,
    })
}

fn consumer_of(account: &Account, queue: &Queue) -> Option<Value> {
    Some(shown_consumer(account, queue, queue.consumer.as_ref()?))
}

fn shown_consumer(account: &Account, queue: &Queue, consumer: &Consumer) -> Value {
    let script = account.name_of(&consumer.worker);
    json!({
        "consumer_id": consumer.id, "created_on": consumer.created_on, "type": "worker",
        "queue_id": queue.id, "queue_name": queue.name, "script": script, "script_name": script,
        "service": script, "environment": "production",
        "dead_letter_queue": consumer.dead_letter_queue.as_deref().unwrap_or_default(),
        "settings": consumer.delivery,
    })
}

pub(super) async fn queues(api: &Api) -> Answer {
    match api.method.as_str() {
        "GET" => {
            let wanted = api.query("name");
            let all = api.seen.stores.queues.iter();
            let found = all.filter(|queue| wanted.is_none_or(|name| queue.name == name));
            paged(
                api,
                found.map(|queue| shown(&api.seen, queue)).collect(),
                100,
                1000,
            )
        }
        "POST" => {
            let body = api.json()?;
            let name = text(&body, "queue_name")?;
            let now = clock::now();
            let created = api
                .cloud
                .change(|account| account.create_queue(name, &now))
                .await?;
            Ok(ok(shown(&api.cloud.account(), &created)))
        }
        _ => Err(wrong_method()),
    }
}

pub(super) async fn queue(api: &Api, id: &str) -> Answer {
    match api.method.as_str() {
        "GET" => {
            let found = api.seen.stores.queue(id)?;
            Ok(ok(shown(&api.seen, found)))
        }
        "DELETE" => {
            api.cloud.change(|account| account.delete_queue(id)).await?;
            Ok(ok(Value::Null))
        }
        _ => Err(wrong_method()),
    }
}

pub(super) async fn consumers(api: &Api, queue: &str) -> Answer {
    match api.method.as_str() {
        "GET" => {
            let found = api.seen.stores.queue(queue)?;
            let consumers: Vec<Value> = consumer_of(&api.seen, found).into_iter().collect();
            Ok(ok(consumers.into()))
        }
        "POST" => set_consumer(api, queue, None).await,
        _ => Err(wrong_method()),
    }
}

pub(super) async fn consumer(api: &Api, queue: &str, id: &str) -> Answer {
    match api.method.as_str() {
        "PUT" => set_consumer(api, queue, Some(id)).await,
        "DELETE" => {
            api.cloud
                .change(|account| account.remove_consumer(queue, id))
                .await?;
            Ok(ok(Value::Null))
        }
        _ => Err(wrong_method()),
    }
}

/// A consumer in a request; absent settings have Cloudflare's defaults.
#[derive(Deserialize)]
struct Asked {
    #[serde(default, alias = "script", alias = "service")]
    script_name: Option<String>,
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    dead_letter_queue: Option<String>,
    #[serde(default)]
    settings: Option<Value>,
}

async fn set_consumer(api: &Api, queue: &str, replaces: Option<&str>) -> Answer {
    let unreadable = |error: serde_json::Error| ApiFailure::invalid(format!("json: {error}"));
    let asked: Asked = serde_json::from_value(api.json()?).map_err(unreadable)?;
    if asked.kind.as_deref().is_some_and(|kind| kind != "worker") {
        return Err(ApiFailure::invalid(
            "consumers other than Workers: not available on local Cloudflare",
        ));
    }
    // Clients send `null` for what is not set.
    let mut settings = asked.settings.unwrap_or_else(|| json!({}));
    if let Some(members) = settings.as_object_mut() {
        members.retain(|_, value| !value.is_null());
    }
    let delivery: Delivery = serde_json::from_value(settings).map_err(unreadable)?;
    if !(1..=100).contains(&delivery.batch_size)
        || delivery.max_retries > 100
        || delivery.max_wait_time_ms > 60_000
    {
        return Err(ApiFailure::invalid(
            "batch_size is 1 to 100, max_retries at most 100, max_wait_time_ms at most 60000",
        ));
    }
    let script = asked
        .script_name
        .ok_or_else(|| ApiFailure::invalid("`script_name` must be a string"))?;
    let request = ConsumerRequest {
        script,
        dead_letter_queue: asked.dead_letter_queue.filter(|name| !name.is_empty()),
        delivery,
    };
    let now = clock::now();
    let shown = api
        .cloud
        .change(|account| {
            let consumer = account.set_consumer(queue, replaces, request, &now)?;
            let queue = account.stores.queue(queue)?;
            Ok(shown_consumer(account, queue, &consumer))
        })
        .await?;
    Ok(ok(shown))
}

/// `/workers/scripts/{n}/queue-consumers`: the queues that a Worker consumes.
pub(super) fn of_script(api: &Api, name: &str) -> Answer {
    if api.method != "GET" {
        return Err(wrong_method());
    }
    let account = &api.seen;
    let script = account
        .scripts
        .get(name)
        .ok_or_else(ApiFailure::no_worker)?;
    let found = account.stores.consumed_by(&script.tag);
    let found = found.map(|(queue, consumer)| shown_consumer(account, queue, consumer));
    paged(api, found.collect(), 100, 1000)
}

/// Sends one message, as a Worker with a binding would.
pub(super) async fn messages(api: &Api, id: &str) -> Answer {
    if api.method != "POST" {
        return Err(wrong_method());
    }
    let queue = api.cloud.account().stores.queue(id)?.name.clone();
    let body = api.json()?;
    let content = body
        .get("body")
        .ok_or_else(|| ApiFailure::invalid("`body` is missing"))?;
    let (format, content) = match (body.get("content_type").and_then(Value::as_str), content) {
        (Some("text"), Value::String(text)) => ("text", text.clone()),
        (None | Some("json"), content) => ("json", content.to_string()),
        _ => return Err(ApiFailure::invalid("`content_type` is `text` or `json`")),
    };
    let delay = body.get("delay_seconds").and_then(Value::as_u64);
    let request = request("POST", "/message")
        .header("x-msg-fmt", format)
        .header("x-msg-delay-secs", delay.unwrap_or(0));
    let response = ask(api, StoreKind::Queue, &queue, request, content).await?;
    if !response.status().is_success() {
        let status = response.status().as_u16();
        return Err(ApiFailure::new(status, 10021, reason(&response)));
    }
    let answer = json_of(&response)?;
    Ok(ok(answer["metadata"].clone()))
}
