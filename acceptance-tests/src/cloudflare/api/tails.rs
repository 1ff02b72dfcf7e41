//! Tail sessions of a Worker, and who tails into one. A session is kept and ends in time, but no log lines come over
//! its address.

use serde_json::{Value, json};

use super::{Answer, Api, ok, wrong_method};
use crate::cloudflare::clock;
use crate::cloudflare::dispatch;
use crate::cloudflare::failure::ApiFailure;
use crate::cloudflare::script::Tail;

/// How long a session lasts.
const SECONDS: u64 = 6 * 60 * 60;

pub(super) async fn all(api: &Api, name: &str) -> Answer {
    match api.method.as_str() {
        "GET" => {
            let script = api
                .seen
                .scripts
                .get(name)
                .ok_or_else(ApiFailure::no_worker)?;
            let now = clock::now();
            let open = script.tails.iter().filter(|tail| tail.expires_at > now);
            Ok(ok(open.map(|tail| shown(api, tail)).collect()))
        }
        "POST" => {
            let tail = api
                .cloud
                .change(|account| {
                    let id = account.issue_id();
                    let script = account
                        .scripts
                        .get_mut(name)
                        .ok_or_else(ApiFailure::no_worker)?;
                    let (now, expires_at) = (clock::now(), clock::later(SECONDS));
                    script.tails.retain(|tail| tail.expires_at > now);
                    let tail = Tail { id, expires_at };
                    script.tails.push(tail.clone());
                    Ok(tail)
                })
                .await?;
            Ok(ok(shown(api, &tail)))
        }
        _ => Err(wrong_method()),
    }
}

pub(super) async fn one(api: &Api, name: &str, id: &str) -> Answer {
    if api.method != "DELETE" {
        return Err(wrong_method());
    }
    api.cloud
        .change(|account| {
            let script = account
                .scripts
                .get_mut(name)
                .ok_or_else(ApiFailure::no_worker)?;
            let place = script.tails.iter().position(|tail| tail.id == id);
            let place =
                place.ok_or_else(|| ApiFailure::new(404, 10007, "The tail could not be found."))?;
            script.tails.remove(place);
            Ok(())
        })
        .await?;
    Ok(ok(Value::Null))
}

/// The Workers whose `tail_consumers` name a Worker.
pub(super) fn by_consumer(api: &Api, name: &str) -> Answer {
    if api.method != "GET" {
        return Err(wrong_method());
    }
    let producers = api.seen.scripts.iter().filter(|(_, script)| {
        let consumers = script.settings.get("tail_consumers");
        let mut consumers = consumers.as_array().into_iter().flatten();
        consumers.any(|consumer| consumer.get("service").and_then(Value::as_str) == Some(name))
    });
    let tails = producers.map(|(producer, _)| {
        json!({
            "producer": {"service": dispatch::name(producer), "environment": "production"},
            "consumer": {"service": name, "environment": "production"},
        })
    });
    Ok(ok(tails.collect()))
}

fn shown(api: &Api, tail: &Tail) -> Value {
    let host = api.headers.get("host");
    let host = host.and_then(|host| host.to_str().ok());
    json!({
        "id": tail.id,
        "url": format!("ws://{}/tails/{}", host.unwrap_or("localhost"), tail.id),
        "expires_at": tail.expires_at,
    })
}
