//! A refusal of the Cloudflare API: HTTP status, codes and exact texts. Knows nothing of HTTP servers.

use serde_json::{Value, json};

/// One entry of `errors` in an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    /// Cloudflare's error code.
    pub code: u32,
    /// The text that people and some clients read.
    pub message: String,
    /// A more precise cause, as `error_chain` of the answer.
    pub cause: Option<(u32, String)>,
    /// What a program may want to know besides.
    pub meta: Option<Value>,
}

/// Why a request was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{status}: {}", .errors.iter().map(|e| format!("{} {}", e.code, e.message)).collect::<Vec<_>>().join("; "))]
pub struct ApiFailure {
    /// The HTTP status of the answer.
    pub status: u16,
    /// At least one error.
    pub errors: Vec<ApiError>,
}

impl ApiFailure {
    /// A failure with one error.
    pub fn new(status: u16, code: u32, message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            status,
            errors: vec![ApiError {
                code,
                message,
                cause: None,
                meta: None,
            }],
        }
    }

    /// The usual refusal of an upload: HTTP 400.
    pub fn refused(code: u32, message: impl Into<String>) -> Self {
        Self::new(400, code, message)
    }

    /// The request's content does not validate: 10021.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::refused(10021, message)
    }

    /// The Worker is not there, on paths below `/workers/scripts`.
    pub fn no_worker() -> Self {
        Self::new(404, 10007, "This Worker does not exist on your account.")
    }

    /// The Worker is not there, on paths below `/workers/services`.
    pub fn no_service() -> Self {
        Self::new(404, 10090, "workers.api.error.service_not_found")
    }

    /// Something failed inside Cloudflare.
    pub fn internal() -> Self {
        Self::new(500, 10013, "An unknown error has occurred.")
    }

    /// The answer's body.
    pub fn envelope(&self) -> Value {
        let errors: Vec<Value> = self
            .errors
            .iter()
            .map(|error| {
                let mut entry = json!({"code": error.code, "message": error.message});
                if let Some((code, message)) = &error.cause {
                    entry["error_chain"] = json!([{"code": code, "message": message}]);
                }
                if let Some(meta) = &error.meta {
                    entry["meta"] = meta.clone();
                }
                entry
            })
            .collect();
        json!({"success": false, "errors": errors, "messages": [], "result": null})
    }
}

/// What a refusal of a wrong JSON type calls the type.
pub fn json_kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Object(_) => "object",
        Value::Array(_) => "array",
        Value::String(_) => "string",
        Value::Number(_) => "number",
        Value::Bool(_) => "bool",
    }
}
