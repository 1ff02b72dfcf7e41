//! The HTTP edge: envelope, token check, faults, the call log and the table of routes. One file a family of endpoints.

mod accounts;
mod assets;
mod d1;
mod deployments;
mod dispatch;
mod domains;
mod form;
mod kv;
mod namespaces;
mod queues;
mod r2;
mod routes;
mod schedules;
mod scripts;
mod search;
mod secrets;
mod services;
mod settings;
mod stores;
mod subdomain;
mod tails;
mod versions;
mod workers_beta;
mod zones;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::account::{Account, check_script_name};
use super::calls::{BodyNote, Call, Refusal};
use super::clock;
use super::failure::{ApiError, ApiFailure};
use super::faults::Misbehaviour;
use super::server::Cloud;

const BASE: &str = "/client/v4";
const LARGEST_BODY: usize = 128 << 20;

/// Told to hyper instead of an answer, which then closes the connection.
#[derive(Debug, thiserror::Error)]
#[error("the connection is closed on purpose")]
pub(super) struct Closed;

/// One API call as the endpoints see it.
struct Api {
    cloud: Arc<Cloud>,
    /// The account that reads see: the present one unless a fault makes reads stale.
    seen: Arc<Account>,
    method: String,
    query: Vec<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
    note: BodyNote,
}

type Answer = Result<Response<Body>, ApiFailure>;

impl Api {
    /// A parameter of the query.
    fn query(&self, name: &str) -> Option<&str> {
        self.query
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// A number in the query: 10077 when it is none or out of range.
    fn number(
        &self,
        name: &str,
        default: usize,
        allowed: std::ops::RangeInclusive<usize>,
    ) -> Result<usize, ApiFailure> {
        let Some(text) = self.query(name) else {
            return Ok(default);
        };
        text.parse()
            .ok()
            .filter(|number| allowed.contains(number))
            .ok_or_else(|| {
                ApiFailure::refused(10077, format!("Invalid value for parameter '{name}'."))
            })
    }

    /// What has sent the request, as far as Cloudflare tells clients apart.
    fn client(&self) -> &'static str {
        let agent = self.headers.get("user-agent");
        match agent.and_then(|value| value.to_str().ok()) {
            Some(agent) if agent.starts_with("wrangler/") => "wrangler",
            _ => "api",
        }
    }

    /// The JSON body.
    fn json(&self) -> Result<Value, ApiFailure> {
        let value: Value = serde_json::from_slice(&self.body)
            .map_err(|_| ApiFailure::refused(10026, "Could not parse the request body."))?;
        self.note.set(value.clone());
        Ok(value)
    }
}

/// A successful answer.
fn ok(result: Value) -> Response<Body> {
    page(result, None)
}

/// A successful answer with `result_info`.
fn page(result: Value, info: Option<Value>) -> Response<Body> {
    let mut body = json!({"success": true, "errors": [], "messages": [], "result": result});
    if let Some(info) = info {
        body["result_info"] = info;
    }
    respond(200, &body)
}

/// A refusal.
pub(super) fn failed(failure: &ApiFailure) -> Response<Body> {
    let mut response = respond(failure.status, &failure.envelope());
    // For the call log, which cannot read a body that is on its way.
    response.extensions_mut().insert(failure.clone());
    response
}

fn respond(status: u16, body: &Value) -> Response<Body> {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(
        "content-type",
        "application/json"
            .parse()
            .expect("it is a valid header value"),
    );
    response
}

fn wrong_method() -> ApiFailure {
    ApiFailure::new(
        405,
        10405,
        "Method not allowed for this authentication scheme",
    )
}

/// Answers one request of any kind.
pub(super) async fn answer(
    cloud: Arc<Cloud>,
    request: Request<Body>,
) -> Result<Response<Body>, Closed> {
    let path = request.uri().path().to_owned();
    let Some(path) = path.strip_prefix(BASE).map(str::to_owned) else {
        return Ok(failed(&ApiFailure::new(
            404,
            10404,
            "No route for that URI",
        )));
    };
    let method = request.method().to_string();
    let query = request.uri().query().unwrap_or_default().to_owned();
    let note = BodyNote::default();
    let (at, started) = (clock::now(), Instant::now());
    let answer = misbehave(&cloud, request, &method, &path, &note).await;
    let status = answer
        .as_ref()
        .map_or(0, |response| response.status().as_u16());
    let failure = answer
        .as_ref()
        .ok()
        .and_then(|response| response.extensions().get::<ApiFailure>());
    cloud.calls.push(Call {
        at,
        method,
        path,
        query,
        status,
        micros: started.elapsed().as_micros().try_into().unwrap_or(u64::MAX),
        errors: failure.map(Refusal::all_of).unwrap_or_default(),
        metadata: note.take(),
    });
    answer.map(|mut response| {
        let headers = response.headers_mut();
        headers.insert(
            "ratelimit",
            "\"default\";r=1000;t=60"
                .parse()
                .expect("a valid header value"),
        );
        headers.insert(
            "ratelimit-policy",
            "\"default\";q=1200;w=300"
                .parse()
                .expect("a valid header value"),
        );
        response
    })
}

/// Lets faults act before, instead of and after the call.
async fn misbehave(
    cloud: &Arc<Cloud>,
    request: Request<Body>,
    method: &str,
    path: &str,
    note: &BodyNote,
) -> Result<Response<Body>, Closed> {
    // A real server reads the request before it answers; without this the client would see a broken pipe.
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, LARGEST_BODY).await else {
        return Ok(failed(&ApiFailure::new(
            413,
            10027,
            "workers.api.error.script_too_large",
        )));
    };
    tokio::time::sleep(cloud.faults.latency()).await;
    if let Some(seconds) = cloud.faults.throttle() {
        return Ok(rate_limited(seconds));
    }
    let mut seen = None;
    let mut _alone = None;
    let mut afterwards = Vec::new();
    for (kind, then) in cloud.faults.meet(method, path, &cloud.account()) {
        match kind {
            Misbehaviour::RateLimit { retry_after } => return Ok(rate_limited(retry_after)),
            Misbehaviour::RateLimitUntil { seconds } => {
                let until = SystemTime::now() + Duration::from_secs(seconds);
                let until = httpdate::fmt_http_date(until);
                let mut response = rate_limited(seconds);
                let until = until.parse().expect("a date is a valid header value");
                response.headers_mut().insert("retry-after", until);
                return Ok(response);
            }
            Misbehaviour::Throttled => {
                return Ok(failed(&ApiFailure::new(
                    200,
                    971,
                    "Please wait and consider throttling your request speed",
                )));
            }
            Misbehaviour::Error {
                status,
                code,
                message,
            } => {
                return Ok(failed(&ApiFailure::new(status, code, message)));
            }
            Misbehaviour::NoVersions => {
                return Ok(failed(&ApiFailure::new(
                    404,
                    10222,
                    "This Worker has no versions.",
                )));
            }
            Misbehaviour::Html { status } => return Ok(html(status, "Bad gateway")),
            Misbehaviour::Challenge => {
                let mut response = html(403, "Just a moment...");
                let mitigated = HeaderValue::from_static("challenge");
                response.headers_mut().insert("cf-mitigated", mitigated);
                return Ok(response);
            }
            Misbehaviour::CloseBefore => return Err(Closed),
            Misbehaviour::Delay { ms } => tokio::time::sleep(Duration::from_millis(ms)).await,
            Misbehaviour::Stale => seen = Some(then),
            Misbehaviour::Overlap => match cloud.faults.alone() {
                Some(permit) => _alone = Some(permit),
                None => return Ok(failed(&ApiFailure::internal())),
            },
            Misbehaviour::Meanwhile { action } => {
                // What another tool fails to do is not this call's business.
                let _ = cloud.change(|account| action.apply(account)).await;
            }
            after => afterwards.push(after),
        }
    }
    let api = Api {
        cloud: cloud.clone(),
        seen: seen.unwrap_or_else(|| cloud.account()),
        method: method.to_owned(),
        query: decode_query(parts.uri.query().unwrap_or_default()),
        headers: parts.headers,
        body,
        note: note.clone(),
    };
    let mut response = route(&api, path)
        .await
        .unwrap_or_else(|failure| failed(&failure));
    for kind in afterwards {
        response = match kind {
            Misbehaviour::CloseAfterCommit => return Err(Closed),
            Misbehaviour::ErrorAfterCommit => failed(&ApiFailure::internal()),
            Misbehaviour::NullResult => ok(Value::Null),
            Misbehaviour::Truncated => {
                let (parts, body) = response.into_parts();
                let body = to_bytes(body, LARGEST_BODY).await.unwrap_or_default();
                Response::from_parts(parts, Body::from(body.slice(..body.len() / 2)))
            }
            Misbehaviour::Unfamiliar => unfamiliar(response).await,
            Misbehaviour::DelayAfterCommit { ms } => {
                tokio::time::sleep(Duration::from_millis(ms)).await;
                response
            }
            Misbehaviour::Hold => {
                cloud.faults.hold().await;
                response
            }
            _ => response,
        };
    }
    Ok(response)
}

fn rate_limited(seconds: u64) -> Response<Body> {
    let text = "Please wait and consider throttling your request speed";
    let mut response = failed(&ApiFailure::new(429, 971, text));
    response.headers_mut().insert("retry-after", seconds.into());
    response
}

/// A page of Cloudflare's edge, which stands before the API.
fn html(status: u16, title: &str) -> Response<Body> {
    let page = format!(
        "<html><head><title>{title}</title></head><body><center><h1>{title}</h1></center></body></html>"
    );
    let mut response = respond(status, &Value::Null);
    *response.body_mut() = Body::from(page);
    let headers = response.headers_mut();
    headers.insert(
        "content-type",
        HeaderValue::from_static("text/html; charset=UTF-8"),
    );
    headers.insert("cf-ray", HeaderValue::from_static("8c0ffee0c0ffee00-LHR"));
    response
}

/// The same answer, as an API that has grown since would write it.
async fn unfamiliar(response: Response<Body>) -> Response<Body> {
    fn change(value: &mut Value) {
        match value {
            Value::Array(list) => {
                // The order of words, such as compatibility flags and tags, has a meaning; that of objects has none.
                if list.iter().all(Value::is_object) {
                    list.reverse();
                }
                list.iter_mut().for_each(change);
            }
            Value::Object(members) => {
                members.values_mut().for_each(change);
                if members.get("type").and_then(Value::as_str) == Some("service") {
                    members.entry("environment").or_insert(json!("production"));
                }
                members.insert(
                    "not_yet_invented".into(),
                    json!({"simple": {}, "list": [1]}),
                );
            }
            _ => {}
        }
    }
    let (mut parts, body) = response.into_parts();
    let body = to_bytes(body, LARGEST_BODY).await.unwrap_or_default();
    let Ok(mut value) = serde_json::from_slice::<Value>(&body) else {
        return Response::from_parts(parts, Body::from(body));
    };
    // What people wrote into a `json` binding is theirs.
    if let Some(result) = value.get_mut("result") {
        change(result);
    }
    parts.headers.remove("content-length");
    Response::from_parts(parts, Body::from(value.to_string()))
}

fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

fn decode_query(query: &str) -> Vec<(String, String)> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(key, value)| {
            (
                decode(&key.replace('+', " ")),
                decode(&value.replace('+', " ")),
            )
        })
        .collect()
}

async fn route(api: &Api, path: &str) -> Answer {
    let segments: Vec<String> = path
        .split('/')
        .filter(|part| !part.is_empty())
        .map(decode)
        .collect();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    match segments[..] {
        ["user", "tokens", "verify"] => return accounts::verify_token(api),
        ["accounts", account, "workers", "assets", "upload"] if account == api.cloud.account_id => {
            return assets::upload(api).await;
        }
        ["accounts" | "zones", ..] => {}
        _ => return Err(ApiFailure::new(404, 10404, "No route for that URI")),
    }
    check_token(api)?;
    if let ["zones", rest @ ..] = &segments[..] {
        return zones::answer(api, path, rest).await;
    }
    let unroutable = || unroutable(path);
    let ["accounts", account, ref rest @ ..] = segments[..] else {
        return accounts::list(api);
    };
    if account.len() != 32 || !account.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(unroutable());
    }
    if account != api.cloud.account_id {
        return Err(ApiFailure::new(
            403,
            9109,
            "Unauthorized to access requested resource",
        ));
    }
    if let ["workers", "scripts" | "services" | "workers", name, ..] = *rest {
        // A name with a slash would be taken for the key of a Worker in a dispatch namespace.
        if name.contains('/') {
            check_script_name(name)?;
        }
    }
    match *rest {
        [] => accounts::one(api),
        ["tokens", "verify"] => accounts::verify_token(api),
        ["workers", "subdomain"] => subdomain::of_account(api).await,
        ["workers", "subdomains", name] => subdomain::availability(api, name),
        ["workers", "account-settings"] => accounts::workers_settings(api).await,
        ["workers", "scripts-search"] => search::scripts(api),
        ["workers", "tails", "by-consumer", name] => tails::by_consumer(api, name),
        ["containers", "applications"] => containers(api),
        ["workers", "scripts"] => scripts::list(api),
        ["workers", "scripts", name] => scripts::one(api, name).await,
        ["workers", "scripts", name, "content"] => scripts::content_alone(api, name).await,
        ["workers", "scripts", name, "content", "v2"] => scripts::content_v2(api, name),
        ["workers", "scripts", name, "bindings"] => settings::bindings(api, name),
        ["workers", "scripts", name, "versions"] => versions::all(api, name).await,
        ["workers", "scripts", name, "versions", id] => versions::one(api, name, id),
        ["workers", "scripts", name, "deployments"] => deployments::all(api, name).await,
        ["workers", "scripts", name, "deployments", id] => deployments::one(api, name, id).await,
        ["workers", "scripts", name, "secrets"] => secrets::all(api, name).await,
        ["workers", "scripts", name, "secrets", secret] => secrets::one(api, name, secret).await,
        ["workers", "scripts", name, "secrets-bulk"] => secrets::bulk(api, name).await,
        ["workers", "scripts", name, "tails"] => tails::all(api, name).await,
        ["workers", "scripts", name, "tails", id] => tails::one(api, name, id).await,
        ["workers", "scripts", name, "settings"] => settings::of_version(api, name).await,
        ["workers", "scripts", name, "script-settings"] => settings::of_script(api, name).await,
        ["workers", "scripts", name, "subdomain"] => subdomain::of_script(api, name).await,
        ["workers", "scripts", name, "assets-upload-session"] => assets::session(api, name).await,
        ["workers", "scripts", name, "schedules"] => schedules::of_script(api, name).await,
        ["workers", "scripts", name, "routes"] => routes::of_script(api, name).await,
        ["workers", "scripts", name, "domains", "records"] => domains::of_script(api, name).await,
        ["workers", "scripts", name, "domains", "changeset"] => domains::changeset(api, name).await,
        ["workers", "domains"] | ["workers", "domains", "records"] => domains::all(api).await,
        ["workers", "domains", id] | ["workers", "domains", "records", id] => {
            domains::one(api, id).await
        }
        ["workers", "scripts", name, "references"] => scripts::references(api, name),
        ["workers", "services", name] => services::one(api, name).await,
        ["workers", "workers"] => workers_beta::all(api).await,
        ["workers", "workers", id] => workers_beta::one(api, id).await,
        ["workers", "workers", id, "versions"] => workers_beta::versions(api, id).await,
        ["workers", "workers", id, "versions", version] => {
            workers_beta::version(api, id, version).await
        }
        ["workers", "dispatch", "namespaces", ref rest @ ..] => {
            dispatch::answer(api, path, rest).await
        }
        ["workers", "durable_objects", "namespaces"] => namespaces::list(api),
        ["workers", "durable_objects", "namespaces", id, "objects"] => {
            namespaces::objects(api, id).await
        }
        ["workers", "scripts", name, "queue-consumers"] => queues::of_script(api, name),
        ["storage", "kv", "namespaces"] => kv::namespaces(api).await,
        ["storage", "kv", "namespaces", id] => kv::namespace(api, id).await,
        ["storage", "kv", "namespaces", id, "keys"] => kv::keys(api, id).await,
        ["storage", "kv", "namespaces", id, "values", ref key @ ..] if !key.is_empty() => {
            kv::value(api, id, &key.join("/")).await
        }
        ["storage", "kv", "namespaces", id, "metadata", ref key @ ..] if !key.is_empty() => {
            kv::metadata(api, id, &key.join("/")).await
        }
        ["storage", "kv", "namespaces", id, "bulk"] => kv::bulk(api, id).await,
        ["storage", "kv", "namespaces", id, "bulk", "delete"] => kv::bulk_delete(api, id).await,
        ["storage", "kv", "namespaces", id, "bulk", "get"] => kv::bulk_get(api, id).await,
        ["d1", "database"] => d1::databases(api).await,
        ["d1", "database", uuid] => d1::database(api, uuid).await,
        ["d1", "database", uuid, "query"] => d1::query(api, uuid).await,
        ["d1", "database", uuid, "raw"] => d1::raw(api, uuid).await,
        ["r2", "buckets"] => r2::buckets(api).await,
        ["r2", "buckets", name] => r2::bucket(api, name).await,
        ["r2", "buckets", name, "objects"] => r2::objects(api, name).await,
        ["r2", "buckets", name, "objects", ref key @ ..] => {
            r2::object(api, name, &key.join("/")).await
        }
        ["queues"] => queues::queues(api).await,
        ["queues", id] => queues::queue(api, id).await,
        ["queues", id, "messages"] => queues::messages(api, id).await,
        ["queues", id, "consumers"] => queues::consumers(api, id).await,
        ["queues", id, "consumers", consumer] => queues::consumer(api, id, consumer).await,
        _ => Err(unroutable()),
    }
}

/// There is nothing at a path, or an id in it has a wrong shape.
fn unroutable(path: &str) -> ApiFailure {
    let mut failure = ApiFailure::new(
        404,
        7003,
        format!("Could not route to {path}, perhaps your object identifier is invalid?"),
    );
    failure.errors.push(ApiError {
        code: 7000,
        message: "No route for that URI".into(),
        cause: None,
        meta: None,
    });
    failure
}

/// There are no containers here; clients look for them before they delete a Worker.
fn containers(api: &Api) -> Answer {
    if api.method != "GET" {
        return Err(wrong_method());
    }
    let info = json!({"page": 1, "per_page": 50, "count": 0, "total_count": 0, "total_pages": 1});
    Ok(page(json!([]), Some(info)))
}

/// Accepts the one token; everything else is refused in Cloudflare's words.
fn check_token(api: &Api) -> Result<(), ApiFailure> {
    let Some(header) = api.headers.get("authorization") else {
        return Err(ApiFailure::refused(
            9106,
            "Missing X-Auth-Key, X-Auth-Email or Authorization headers",
        ));
    };
    let token = header
        .to_str()
        .ok()
        .and_then(|text| text.strip_prefix("Bearer "));
    match token {
        Some(token) if token == api.cloud.token => Ok(()),
        Some(token) if !token.is_empty() && !token.contains(['"', '\'', ' ']) => {
            Err(ApiFailure::new(403, 10000, "Authentication error"))
        }
        _ => {
            let mut failure = ApiFailure::refused(6003, "Invalid request headers");
            failure.errors[0].cause =
                Some((6111, "Invalid format for Authorization header".into()));
            Err(failure)
        }
    }
}
