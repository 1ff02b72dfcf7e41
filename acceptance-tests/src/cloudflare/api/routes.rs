//! Routes: of a zone (`/zones/{zone}/workers/routes`), and all of a Worker at once.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, Api, ok, wrong_method};
use crate::cloudflare::failure::ApiFailure;
use crate::cloudflare::routes::{RouteDraft, Zone};

#[derive(Deserialize)]
struct Body {
    pattern: String,
    #[serde(default)]
    script: Option<String>,
    #[serde(default)]
    zone_id: Option<String>,
    #[serde(default)]
    zone_name: Option<String>,
}

pub(super) async fn of_zone(api: &Api, zone: &Zone) -> Answer {
    match api.method.as_str() {
        "GET" => {
            let routes = api.seen.routes.iter().filter(|route| route.zone == zone.id);
            let shown: Vec<Value> = routes.map(|route| api.seen.shown_route(route)).collect();
            Ok(ok(shown.into()))
        }
        "POST" => put(api, zone, None).await,
        _ => Err(wrong_method()),
    }
}

pub(super) async fn one(api: &Api, zone: &Zone, id: &str) -> Answer {
    match api.method.as_str() {
        "GET" => {
            let route = api.seen.route(&zone.id, id)?;
            Ok(ok(api.seen.shown_route(route)))
        }
        "PUT" => put(api, zone, Some(id)).await,
        "DELETE" => {
            let change = api
                .cloud
                .change(|account| account.delete_route(&zone.id, id));
            change.await?;
            Ok(ok(json!({"id": id})))
        }
        _ => Err(wrong_method()),
    }
}

async fn put(api: &Api, zone: &Zone, id: Option<&str>) -> Answer {
    let body: Body = read(api)?;
    let draft = RouteDraft {
        pattern: body.pattern,
        script: body.script,
    };
    let change = api.cloud.change(|account| {
        let route = account.put_route(&zone.id, id, &draft)?;
        Ok(account.shown_route(&route))
    });
    Ok(ok(change.await?))
}

/// `PUT /workers/scripts/{name}/routes`: exactly these routes lead to the Worker from now on.
pub(super) async fn of_script(api: &Api, name: &str) -> Answer {
    match api.method.as_str() {
        "GET" => {
            let script = api.seen.scripts.get(name);
            let tag = &script.ok_or_else(ApiFailure::no_worker)?.tag;
            let routes = api.seen.routes_to(tag);
            let shown: Vec<Value> = routes.map(|route| api.seen.shown_route(route)).collect();
            Ok(ok(shown.into()))
        }
        "PUT" => {
            let wanted: Vec<Body> = read(api)?;
            let wanted: Vec<(String, Option<String>)> = wanted
                .into_iter()
                .map(|route| (route.pattern, route.zone_id.or(route.zone_name)))
                .collect();
            let change = api
                .cloud
                .change(|account| account.replace_routes(name, &wanted));
            change.await?;
            let patterns: Vec<&String> = wanted.iter().map(|(pattern, _)| pattern).collect();
            Ok(ok(json!(patterns)))
        }
        _ => Err(wrong_method()),
    }
}

fn read<T: serde::de::DeserializeOwned>(api: &Api) -> Result<T, ApiFailure> {
    serde_json::from_value(api.json()?)
        .map_err(|_| ApiFailure::refused(10026, "workers.api.error.parse_body"))
}
