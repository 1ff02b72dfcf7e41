//! Cloudflare's answers: `{success, errors, messages, result, result_info}`, and all that comes instead of it.

use bytes::Bytes;
use reqwest::header::HeaderMap;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::error::{ApiError, Failure};

/// A successful answer.
#[derive(Debug)]
pub(super) struct Answer {
    result: Value,
    info: Value,
    /// What to say if the result turns out to be of another shape.
    failure: Box<Failure>,
    file: Option<(HeaderMap, Bytes)>,
}

/// What the body of one answer says.
#[derive(Debug)]
pub(super) enum Reading {
    Success(Box<Answer>),
    Refused(Box<Failure>),
    /// The status speaks of success, the body cannot be read.
    Unreadable(Box<Failure>),
}

/// Reads one answer. `failure` already carries call, status and ray; `kind` is the content type.
pub(super) fn read(mut failure: Box<Failure>, kind: &str, body: &[u8]) -> Reading {
    let success = matches!(failure.status, Some(200..300));
    if success && body.iter().all(u8::is_ascii_whitespace) {
        return Reading::Success(Box::new(Answer {
            result: Value::Null,
            info: Value::Null,
            failure,
            file: None,
        }));
    }
    let mut envelope = match serde_json::from_slice(body) {
        Ok(Value::Object(envelope)) => envelope,
        other => {
            // The body itself is not shown: it may be a whole page.
            let why = match other {
                Err(error) if error.is_eof() => "the answer ends in the middle",
                _ => "the answer is not Cloudflare's JSON",
            };
            let kind = if kind.is_empty() {
                "no content type"
            } else {
                kind
            };
            failure
                .detail
                .get_or_insert_with(|| format!("{why} ({kind})"));
            return match success {
                true => Reading::Unreadable(failure),
                false => Reading::Refused(failure),
            };
        }
    };
    errors(&mut failure, &envelope);
    let flag = envelope.get("success").and_then(Value::as_bool);
    if !success || flag == Some(false) || !failure.codes.is_empty() && flag.is_none() {
        return Reading::Refused(failure);
    }
    if flag.is_none() {
        failure.detail = Some("the answer is not Cloudflare's JSON (no `success`)".to_owned());
        return Reading::Unreadable(failure);
    }
    failure.codes.clear();
    let result = envelope.remove("result").unwrap_or_default();
    let info = envelope.remove("result_info").unwrap_or_default();
    Reading::Success(Box::new(Answer {
        result,
        info,
        failure,
        file: None,
    }))
}

/// Collects codes and texts, those of an `error_chain` and of the form `{code, error}` included.
fn errors(failure: &mut Failure, envelope: &serde_json::Map<String, Value>) {
    let mut add = |error: &Value| {
        let code = error.get("code").and_then(code);
        let text = error
            .get("message")
            .or_else(|| error.get("error"))
            .and_then(Value::as_str);
        let text = text.or_else(|| error.as_str());
        if code.is_some() || text.is_some() {
            let text = text.unwrap_or("no text").to_owned();
            failure.codes.push((code.unwrap_or_default(), text));
        }
    };
    for error in envelope
        .get("errors")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        add(error);
        error
            .get("error_chain")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .for_each(&mut add);
    }
    if envelope.contains_key("error") {
        add(&Value::Object(envelope.clone()));
    }
}

fn code(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

impl Answer {
    /// A success that is a file.
    pub(super) fn file(failure: Box<Failure>, headers: HeaderMap, body: Bytes) -> Answer {
        Answer {
            result: Value::Null,
            info: Value::Null,
            failure,
            file: Some((headers, body)),
        }
    }

    /// The file, and what to say if it cannot be read.
    pub(super) fn into_file(self) -> (HeaderMap, Bytes, Box<Failure>) {
        let (headers, body) = self.file.unwrap_or_default();
        (headers, body, self.failure)
    }

    /// The result as `T`.
    pub(super) fn decode<T: DeserializeOwned>(self) -> Result<T, ApiError> {
        let Answer {
            result,
            mut failure,
            ..
        } = self;
        serde_json::from_value(result).map_err(|error| {
            failure.detail = Some(format!("the answer has an unexpected shape: {error}"));
            ApiError::Decode(failure)
        })
    }

    /// The result as `T`, and once more with every field it had.
    pub(super) fn decode_with_raw<T: DeserializeOwned>(
        self,
    ) -> Result<(T, serde_json::Map<String, Value>), ApiError> {
        let raw = self.result.as_object().cloned().unwrap_or_default();
        Ok((self.decode()?, raw))
    }

    /// A number of `result_info`: `total_count`, `per_page`.
    pub(super) fn count(&self, name: &str) -> Option<usize> {
        self.info.get(name)?.as_u64()?.try_into().ok()
    }

    /// The cursor of the next page, in either of its two places.
    pub(super) fn next_cursor(&self) -> Option<&str> {
        let after = self.info.pointer("/cursors/after").and_then(Value::as_str);
        let plain = self.info.get("cursor").and_then(Value::as_str);
        [after, plain]
            .into_iter()
            .flatten()
            .find(|cursor| !cursor.is_empty())
    }
}
