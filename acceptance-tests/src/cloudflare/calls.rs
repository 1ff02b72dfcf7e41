//! The log of API calls that local Cloudflare has answered.

use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One call of the API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// The HTTP method.
    pub method: String,
    /// The path below `/client/v4`, without the query.
    pub path: String,
    /// The query as sent, without `?`.
    pub query: String,
    /// The HTTP status of the answer; 0 when the connection was closed instead.
    pub status: u16,
    /// The `metadata` of an upload, the `settings` of a change of settings, or a JSON body.
    pub metadata: Option<Value>,
}

/// Where a handler leaves what it read of the request's body.
#[derive(Clone, Default)]
pub(super) struct BodyNote(Arc<Mutex<Option<Value>>>);

impl BodyNote {
    pub(super) fn set(&self, value: Value) {
        *self.0.lock().expect("no holder panics") = Some(value);
    }

    pub(super) fn take(&self) -> Option<Value> {
        self.0.lock().expect("no holder panics").take()
    }
}

#[derive(Default)]
pub(super) struct Calls(Mutex<Vec<Call>>);

impl Calls {
    pub(super) fn push(&self, call: Call) {
        self.0.lock().expect("no holder panics").push(call);
    }

    pub(super) fn all(&self) -> Vec<Call> {
        self.0.lock().expect("no holder panics").clone()
    }

    pub(super) fn clear(&self) {
        self.0.lock().expect("no holder panics").clear();
    }
}
