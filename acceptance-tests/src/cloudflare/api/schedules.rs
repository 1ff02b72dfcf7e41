//! `/workers/scripts/{name}/schedules`: when a Worker is run by the clock.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, Api, ok, wrong_method};
use crate::cloudflare::clock;
use crate::cloudflare::failure::ApiFailure;
use crate::cloudflare::schedules::Schedule;

#[derive(Deserialize)]
struct Entry {
    cron: String,
}

pub(super) async fn of_script(api: &Api, name: &str) -> Answer {
    match api.method.as_str() {
        "GET" => {
            let script = api.seen.scripts.get(name);
            let script = script.ok_or_else(ApiFailure::no_worker)?;
            Ok(ok(shown(&script.schedules)))
        }
        "PUT" => {
            let entries: Vec<Entry> = serde_json::from_value(api.json()?).map_err(|_| {
                ApiFailure::refused(
                    10026,
                    "Could not parse request body. Please ensure the request is valid and try again.",
                )
            })?;
            let crons: Vec<String> = entries.into_iter().map(|entry| entry.cron).collect();
            let change = api.cloud.change(|account| {
                let schedules = account.set_schedules(name, &crons, &clock::now())?;
                Ok(shown(schedules))
            });
            Ok(ok(change.await?))
        }
        _ => Err(wrong_method()),
    }
}

fn shown(schedules: &[Schedule]) -> Value {
    json!({"schedules": schedules})
}
