//! What the endpoints of KV, D1, R2 and queues share: asking the engine behind a binding, and pages of a list.

use axum::body::Bytes;
use axum::http::request::Builder;
use axum::http::{Request, Response};
use hyper::ext::ReasonPhrase;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::{Answer, Api, page};
use crate::cloudflare::failure::ApiFailure;
use crate::cloudflare::runtime::{Store, StoreKind};

/// Asks a store what a binding would ask.
pub(super) async fn ask(
    api: &Api,
    kind: StoreKind,
    key: &str,
    request: Builder,
    body: impl Into<Bytes>,
) -> Result<Response<Bytes>, ApiFailure> {
    let request: Request<Bytes> = request
        .body(body.into())
        .map_err(|error| ApiFailure::invalid(error.to_string()))?;
    let store = Store {
        kind,
        key: key.into(),
    };
    api.cloud.hosting.ask(&store, request).await
}

/// The beginning of a request to a store.
pub(super) fn request(method: &str, path: impl AsRef<str>) -> Builder {
    Request::builder().method(method).uri(path.as_ref())
}

/// The JSON that a store answers with.
pub(super) fn json_of(response: &Response<Bytes>) -> Result<Value, ApiFailure> {
    serde_json::from_slice(response.body()).map_err(|_| ApiFailure::internal())
}

/// Why a store refused; its engine says so in the status line.
pub(super) fn reason(response: &Response<Bytes>) -> String {
    let phrase = response.extensions().get::<ReasonPhrase>();
    let text = phrase.map(|phrase| String::from_utf8_lossy(phrase.as_bytes()).into_owned());
    text.unwrap_or_else(|| response.status().to_string())
}

/// Text as one part of a path or a query.
pub(super) fn escaped(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// One page of a list, by `page` and `per_page`.
pub(super) fn paged(api: &Api, all: Vec<Value>, default: usize, most: usize) -> Answer {
    let (number, size) = (
        api.number("page", 1, 1..=usize::MAX)?,
        api.number("per_page", default, 1..=most)?,
    );
    let total = all.len();
    let found: Vec<Value> = all
        .into_iter()
        .skip((number - 1).saturating_mul(size))
        .take(size)
        .collect();
    let info = json!({
        "page": number, "per_page": size, "count": found.len(), "total_count": total,
        "total_pages": total.div_ceil(size),
    });
    Ok(page(found.into(), Some(info)))
}

/// A member of a JSON body that has to be text.
pub(super) fn text<'a>(body: &'a Value, member: &str) -> Result<&'a str, ApiFailure> {
    body.get(member)
        .and_then(Value::as_str)
        .ok_or_else(|| ApiFailure::invalid(format!("`{member}` must be a string")))
}
