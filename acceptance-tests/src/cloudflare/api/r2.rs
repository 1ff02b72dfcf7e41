//! `/r2/buckets`: the buckets and their objects, which are those that Workers see. They are asked in the protocol of
//! the binding: a question as JSON, in a header or at the beginning of the body.

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Response};
use serde_json::{Map, Value, json};

use super::stores::{ask, request, text};
use super::{Answer, Api, ok, page, wrong_method};
use crate::cloudflare::clock;
use crate::cloudflare::failure::ApiFailure;
use crate::cloudflare::runtime::StoreKind;
use crate::cloudflare::stores::Bucket;

/// What HTTP says about an object, and how the binding calls it.
const HTTP_FIELDS: [(&str, &str); 5] = [
    ("content-type", "contentType"),
    ("content-language", "contentLanguage"),
    ("content-disposition", "contentDisposition"),
    ("content-encoding", "contentEncoding"),
    ("cache-control", "cacheControl"),
];

fn shown(bucket: &Bucket) -> Value {
    json!({
        "name": bucket.name, "creation_date": bucket.created_on, "jurisdiction": "default",
        "storage_class": "Standard",
    })
}

pub(super) async fn buckets(api: &Api) -> Answer {
    match api.method.as_str() {
        "GET" => {
            let size = api.number("per_page", 20, 1..=1000)?;
            let wanted = api.query("name_contains").unwrap_or_default();
            let after = api.query("cursor").or(api.query("start_after"));
            let mut found: Vec<&Bucket> = api.seen.stores.buckets.iter().collect();
            found.retain(|bucket| bucket.name.contains(wanted));
            found.sort_by(|a, b| a.name.cmp(&b.name));
            if api.query("direction") == Some("desc") {
                found.reverse();
            }
            if let Some(at) = found
                .iter()
                .position(|bucket| Some(bucket.name.as_str()) == after)
            {
                found.drain(..=at);
            }
            let more = found.len() > size;
            found.truncate(size);
            let cursor = found.last().filter(|_| more).map(|bucket| &bucket.name);
            let info = json!({"per_page": size, "cursor": cursor});
            let buckets: Vec<Value> = found.into_iter().map(shown).collect();
            Ok(page(json!({"buckets": buckets}), Some(info)))
        }
        "POST" => {
            let body = api.json()?;
            let name = text(&body, "name")?;
            let now = clock::now();
            let created = api
                .cloud
                .change(|account| account.create_bucket(name, &now))
                .await?;
            Ok(ok(shown(&created)))
        }
        _ => Err(wrong_method()),
    }
}

pub(super) async fn bucket(api: &Api, name: &str) -> Answer {
    match api.method.as_str() {
        "GET" => api.seen.stores.bucket(name).map(|found| ok(shown(found))),
        "DELETE" => {
            let (listing, _) = read(api, name, json!({"method": "list", "limit": 1})).await?;
            if listing["objects"] != json!([]) {
                return Err(ApiFailure::new(
                    409,
                    10008,
                    "The bucket you tried to delete is not empty.",
                ));
            }
            api.cloud
                .change(|account| account.delete_bucket(name))
                .await?;
            Ok(ok(json!({})))
        }
        _ => Err(wrong_method()),
    }
}

pub(super) async fn objects(api: &Api, bucket: &str) -> Answer {
    if api.method != "GET" {
        return Err(wrong_method());
    }
    let limit = api.number("per_page", 1000, 1..=1000)?;
    let mut question = json!({"method": "list", "limit": limit, "include": [0, 1]});
    for (name, member) in [
        ("prefix", "prefix"),
        ("delimiter", "delimiter"),
        ("cursor", "cursor"),
        ("start_after", "startAfter"),
    ] {
        if let Some(value) = api.query(name) {
            question[member] = json!(value);
        }
    }
    let (listing, _) = read(api, bucket, question).await?;
    let objects = listing["objects"].as_array();
    let objects: Vec<Value> = objects.into_iter().flatten().map(described).collect();
    let info = json!({
        "per_page": limit, "is_truncated": listing["truncated"], "cursor": listing["cursor"],
        "delimited": listing["delimitedPrefixes"],
    });
    Ok(page(objects.into(), Some(info)))
}

pub(super) async fn object(api: &Api, bucket: &str, key: &str) -> Answer {
    match api.method.as_str() {
        "GET" => {
            let question = json!({"method": "get", "object": key});
            let (object, value) = read(api, bucket, question).await?;
            let mut response = Response::new(Body::from(value));
            let headers = response.headers_mut();
            headers.insert(
                "content-type",
                HeaderValue::from_static("application/octet-stream"),
            );
            let header = |value: &Value| HeaderValue::from_str(value.as_str()?).ok();
            for (name, member) in HTTP_FIELDS {
                if let Some(value) = header(&object["httpFields"][member]) {
                    headers.insert(name, value);
                }
            }
            if let Some(etag) = header(&object["etag"]) {
                headers.insert("etag", etag);
            }
            Ok(response)
        }
        "PUT" => {
            let mut fields = Map::new();
            for (name, member) in HTTP_FIELDS {
                if let Some(value) = api.headers.get(name).and_then(|v| v.to_str().ok()) {
                    fields.insert(member.into(), json!(value));
                }
            }
            let class = api.headers.get("cf-r2-storage-class");
            let class = class.and_then(|value| value.to_str().ok());
            let question = json!({
                "method": "put", "object": key, "httpFields": fields, "storageClass": class,
            });
            let written = write(api, bucket, question, &api.body).await?;
            Ok(ok(described(&written)))
        }
        "DELETE" => {
            let question = json!({"method": "delete", "object": key});
            write(api, bucket, question, &[]).await?;
            Ok(ok(json!({"key": key})))
        }
        _ => Err(wrong_method()),
    }
}

/// An object as the API shows it.
fn described(object: &Value) -> Value {
    let custom: Map<String, Value> = object["customFields"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|field| Some((field["k"].as_str()?.to_owned(), field["v"].clone())))
        .collect();
    json!({
        "key": object["name"], "version": object["version"], "size": object["size"], "etag": object["etag"],
        "last_modified": clock::from_millis(object["uploaded"].as_u64().unwrap_or_default()),
        "storage_class": object["storageClass"], "http_metadata": object["httpFields"],
        "custom_metadata": custom,
    })
}

async fn read(api: &Api, bucket: &str, mut question: Value) -> Result<(Value, Bytes), ApiFailure> {
    question["version"] = json!(1);
    // A header holds bytes, but reaches the engine as Latin-1.
    let question = ascii(&question.to_string());
    let request = request("GET", "/").header("cf-r2-request", question);
    answer(api, bucket, request, Bytes::new()).await
}

async fn write(
    api: &Api,
    bucket: &str,
    mut question: Value,
    value: &[u8],
) -> Result<Value, ApiFailure> {
    question["version"] = json!(1);
    let question = question.to_string();
    let request = request("PUT", "/").header("cf-r2-metadata-size", question.len());
    let body = [question.as_bytes(), value].concat();
    let (object, _) = answer(api, bucket, request, body.into()).await?;
    Ok(object)
}

/// The JSON and the bytes of the engine's answer, or its refusal.
async fn answer(
    api: &Api,
    bucket: &str,
    request: axum::http::request::Builder,
    body: Bytes,
) -> Result<(Value, Bytes), ApiFailure> {
    api.cloud.account().stores.bucket(bucket)?;
    let response = ask(api, StoreKind::R2, bucket, request, body).await?;
    let header = |name: &str| response.headers().get(name)?.to_str().ok();
    if let Some(error) = header("cf-r2-error") {
        let error: Value = serde_json::from_str(error).map_err(|_| ApiFailure::internal())?;
        let code = error["v4code"]
            .as_u64()
            .and_then(|code| code.try_into().ok());
        return Err(ApiFailure::new(
            response.status().as_u16(),
            code.unwrap_or(10001),
            error["message"].as_str().unwrap_or_default(),
        ));
    }
    let length = header("cf-r2-metadata-size").and_then(|length| length.parse::<usize>().ok());
    let body = response.body();
    let Some(length) = length.filter(|length| *length <= body.len()) else {
        return Ok((Value::Null, Bytes::new()));
    };
    let object = serde_json::from_slice(&body[..length]).map_err(|_| ApiFailure::internal())?;
    Ok((object, body.slice(length..)))
}

/// JSON text without any character outside ASCII.
fn ascii(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_ascii() {
            text.push(c);
        } else {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                text.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    text
}
