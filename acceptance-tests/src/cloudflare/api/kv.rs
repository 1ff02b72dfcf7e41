//! `/storage/kv/namespaces`: the namespaces, and their keys and values, which are those that Workers see.

use axum::body::{Body, Bytes};
use axum::http::request::Builder;
use axum::http::{HeaderValue, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::stream;
use serde_json::{Value, json};

use super::stores::{ask, escaped, json_of, paged, reason, request, text};
use super::{Answer, Api, ok, page, wrong_method};
use crate::cloudflare::failure::ApiFailure;
use crate::cloudflare::runtime::StoreKind;
use crate::cloudflare::stores::KvNamespace;

const METADATA: &str = "cf-kv-metadata";

/// The most keys in one bulk request.
const BULK: usize = 10_000;

fn shown(namespace: &KvNamespace) -> Value {
    json!({"id": namespace.id, "title": namespace.title, "supports_url_encoding": true})
}

pub(super) async fn namespaces(api: &Api) -> Answer {
    match api.method.as_str() {
        "GET" => {
            let mut all: Vec<&KvNamespace> = api.seen.stores.kv.iter().collect();
            match api.query("order") {
                Some("id") => all.sort_by(|a, b| a.id.cmp(&b.id)),
                Some("title") => all.sort_by(|a, b| a.title.cmp(&b.title)),
                _ => {}
            }
            if api.query("direction") == Some("desc") {
                all.reverse();
            }
            paged(api, all.into_iter().map(shown).collect(), 20, 1000)
        }
        "POST" => {
            let body = api.json()?;
            let title = text(&body, "title")?;
            let created = api.cloud.change(|account| account.create_kv(title)).await?;
            Ok(ok(shown(&created)))
        }
        _ => Err(wrong_method()),
    }
}

pub(super) async fn namespace(api: &Api, id: &str) -> Answer {
    match api.method.as_str() {
        "GET" => api.seen.stores.kv(id).map(|found| ok(shown(found))),
        "PUT" => {
            let body = api.json()?;
            let title = text(&body, "title")?;
            let renamed = api
                .cloud
                .change(|account| account.rename_kv(id, title))
                .await?;
            Ok(ok(shown(&renamed)))
        }
        "DELETE" => {
            api.cloud.change(|account| account.delete_kv(id)).await?;
            Ok(ok(Value::Null))
        }
        _ => Err(wrong_method()),
    }
}

pub(super) async fn keys(api: &Api, id: &str) -> Answer {
    if api.method != "GET" {
        return Err(wrong_method());
    }
    let limit = api.number("limit", 1000, 10..=1000)?;
    let mut path = format!("/?key_count_limit={limit}");
    for name in ["prefix", "cursor"] {
        if let Some(value) = api.query(name) {
            path.push_str(&format!("&{name}={}", escaped(value)));
        }
    }
    let response = answer(api, id, request("GET", path), Bytes::new()).await?;
    let mut listing = json_of(&response)?;
    let mut keys = listing["keys"].take();
    for key in keys.as_array_mut().into_iter().flatten() {
        // The engine keeps metadata as JSON text.
        if let Some(metadata) = key.get("metadata").and_then(Value::as_str) {
            key["metadata"] = serde_json::from_str(metadata).unwrap_or_default();
        }
    }
    let count = keys.as_array().map_or(0, Vec::len);
    let cursor = listing["cursor"].as_str().unwrap_or_default();
    Ok(page(keys, Some(json!({"count": count, "cursor": cursor}))))
}

pub(super) async fn value(api: &Api, id: &str, key: &str) -> Answer {
    match api.method.as_str() {
        "GET" => {
            let found = get(api, id, key).await?;
            let (parts, body) = found.into_parts();
            let mut response = Response::new(Body::from(body));
            let headers = response.headers_mut();
            headers.insert(
                "content-type",
                HeaderValue::from_static("application/octet-stream"),
            );
            if let Some(metadata) = parts.headers.get(METADATA) {
                headers.insert(METADATA, metadata.clone());
            }
            Ok(response)
        }
        "PUT" => {
            let (value, metadata) = fields(api).await?;
            let lifetime =
                ["expiration", "expiration_ttl"].map(|name| api.query(name).map(str::to_owned));
            put(api, id, key, value, metadata.as_deref(), lifetime).await?;
            Ok(ok(json!({})))
        }
        "DELETE" => {
            let gone = request("DELETE", path(key)?);
            answer(api, id, gone, Bytes::new()).await?;
            Ok(ok(json!({})))
        }
        _ => Err(wrong_method()),
    }
}

pub(super) async fn metadata(api: &Api, id: &str, key: &str) -> Answer {
    if api.method != "GET" {
        return Err(wrong_method());
    }
    let found = get(api, id, key).await?;
    let metadata = found.headers().get(METADATA).map(HeaderValue::as_bytes);
    let metadata = metadata.and_then(|text| serde_json::from_slice(text).ok());
    Ok(ok(metadata.unwrap_or(Value::Null)))
}

/// Writes many keys; each by itself, as in production.
pub(super) async fn bulk(api: &Api, id: &str) -> Answer {
    match api.method.as_str() {
        "PUT" => {
            let body = api.json()?;
            let entries = listed(&body)?;
            let mut parsed = Vec::new();
            for entry in entries {
                let (key, value) = (text(entry, "key")?, text(entry, "value")?);
                path(key)?;
                let value = match entry.get("base64").and_then(Value::as_bool) {
                    Some(true) => STANDARD.decode(value).map_err(|_| {
                        ApiFailure::invalid(format!("the value of '{key}' is not base64"))
                    })?,
                    _ => value.into(),
                };
                let metadata = entry.get("metadata").filter(|value| !value.is_null());
                let lifetime = ["expiration", "expiration_ttl"].map(|name| {
                    let number = entry.get(name).filter(|value| !value.is_null());
                    number.map(Value::to_string)
                });
                parsed.push((key, value, metadata.map(Value::to_string), lifetime));
            }
            for (key, value, metadata, lifetime) in parsed {
                put(api, id, key, value.into(), metadata.as_deref(), lifetime).await?;
            }
            Ok(bulk_answer(entries.len()))
        }
        "DELETE" => bulk_delete(api, id).await,
        _ => Err(wrong_method()),
    }
}

pub(super) async fn bulk_delete(api: &Api, id: &str) -> Answer {
    if !["POST", "DELETE"].contains(&api.method.as_str()) {
        return Err(wrong_method());
    }
    let body = api.json()?;
    let keys = listed(&body)?;
    for key in keys {
        let key = key
            .as_str()
            .ok_or_else(|| ApiFailure::invalid("an array of keys is expected"))?;
        answer(api, id, request("DELETE", path(key)?), Bytes::new()).await?;
    }
    Ok(bulk_answer(keys.len()))
}

/// Reads many keys.
pub(super) async fn bulk_get(api: &Api, id: &str) -> Answer {
    if api.method != "POST" {
        return Err(wrong_method());
    }
    // The engine takes the API's own question.
    let question = api.json()?.to_string();
    let response = answer(api, id, request("POST", "/bulk/get"), question.into()).await?;
    Ok(ok(json!({"values": json_of(&response)?})))
}

fn listed(body: &Value) -> Result<&Vec<Value>, ApiFailure> {
    body.as_array()
        .filter(|entries| entries.len() <= BULK)
        .ok_or_else(|| ApiFailure::invalid(format!("an array of at most {BULK} is expected")))
}

fn bulk_answer(count: usize) -> Response<Body> {
    ok(json!({"successful_key_count": count, "unsuccessful_keys": []}))
}

async fn get(api: &Api, id: &str, key: &str) -> Result<Response<Bytes>, ApiFailure> {
    answer(api, id, request("GET", path(key)?), Bytes::new()).await
}

async fn put(
    api: &Api,
    id: &str,
    key: &str,
    value: Bytes,
    metadata: Option<&str>,
    [expiration, ttl]: [Option<String>; 2],
) -> Result<(), ApiFailure> {
    let mut path = path(key)?;
    for (name, value) in [("expiration", expiration), ("expiration_ttl", ttl)] {
        if let Some(value) = value {
            let join = if path.contains('?') { '&' } else { '?' };
            path.push_str(&format!("{join}{name}={}", escaped(&value)));
        }
    }
    let mut request = request("PUT", path);
    if let Some(metadata) = metadata {
        request = request.header(METADATA, metadata.as_bytes());
    }
    answer(api, id, request, value).await.map(drop)
}

fn path(key: &str) -> Result<String, ApiFailure> {
    if ["", ".", ".."].contains(&key) {
        return Err(ApiFailure::invalid(format!(
            "Illegal key name \"{key}\". Please use a different name."
        )));
    }
    Ok(format!("/{}", escaped(key)))
}

/// What the engine answers, or its refusal in the API's words.
async fn answer(
    api: &Api,
    id: &str,
    request: Builder,
    body: Bytes,
) -> Result<Response<Bytes>, ApiFailure> {
    api.cloud.account().stores.kv(id)?;
    let response = ask(api, StoreKind::Kv, id, request, body).await?;
    match response.status().as_u16() {
        200..300 => Ok(response),
        404 => Err(ApiFailure::new(404, 10009, "get: 'key not found'")),
        // The codes of these refusals are not published.
        status => Err(ApiFailure::new(status, 10021, reason(&response))),
    }
}

/// A value comes as the body itself, or together with metadata as a form.
async fn fields(api: &Api) -> Result<(Bytes, Option<String>), ApiFailure> {
    let content_type = api.headers.get("content-type");
    let boundary = content_type
        .and_then(|value| value.to_str().ok())
        .and_then(|text| multer::parse_boundary(text).ok());
    let Some(boundary) = boundary else {
        return Ok((api.body.clone(), None));
    };
    let unreadable = |error: multer::Error| {
        ApiFailure::refused(10026, format!("Could not parse the request body: {error}"))
    };
    let body = stream::iter([Ok::<Bytes, multer::Error>(api.body.clone())]);
    let mut parts = multer::Multipart::new(body, boundary);
    let (mut value, mut metadata) = (None, None);
    while let Some(part) = parts.next_field().await.map_err(unreadable)? {
        match part.name() {
            Some("value") => value = Some(part.bytes().await.map_err(unreadable)?),
            Some("metadata") => metadata = Some(part.text().await.map_err(unreadable)?),
            _ => {}
        }
    }
    let value = value
        .ok_or_else(|| ApiFailure::refused(10026, "The request has no part named 'value'."))?;
    let metadata = metadata
        .filter(|text| !text.is_empty())
        .map(|text| {
            serde_json::from_str::<Value>(&text)
                .map(|value| value.to_string())
                .map_err(|_| ApiFailure::invalid("metadata must be valid json"))
        })
        .transpose()?;
    Ok((value, metadata))
}
