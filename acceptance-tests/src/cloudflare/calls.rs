//! The log of API calls that local Cloudflare has answered, and of visits to Workers.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::failure::ApiFailure;
use super::runtime::Visit;

/// One call of the API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// When the call came, as `2026-11-01T10:00:00.000000Z`.
    pub at: String,
    /// The HTTP method.
    pub method: String,
    /// The path below `/client/v4`, without the query.
    pub path: String,
    /// The query as sent, without `?`.
    pub query: String,
    /// The HTTP status of the answer; 0 when the connection was closed instead.
    pub status: u16,
    /// Microseconds until the answer was there.
    pub micros: u64,
    /// Why the call was refused; empty if it was not.
    pub errors: Vec<Refusal>,
    /// The `metadata` of an upload, the `settings` of a change of settings, or a JSON body.
    pub metadata: Option<Value>,
}

/// One entry of `errors` in an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Cloudflare's code.
    pub code: u32,
    /// Its text.
    pub message: String,
}

impl Refusal {
    pub(super) fn all_of(failure: &ApiFailure) -> Vec<Self> {
        let errors = failure.errors.iter();
        errors
            .map(|error| Self {
                code: error.code,
                message: error.message.clone(),
            })
            .collect()
    }
}

impl Call {
    /// The Worker whose code this call uploads, whether it succeeded or not.
    pub fn uploads(&self) -> Option<&str> {
        let segments: Vec<&str> = self.path.split('/').filter(|it| !it.is_empty()).collect();
        let ["accounts", _, "workers", rest @ ..] = &segments[..] else {
            return None;
        };
        match (self.method.as_str(), rest) {
            ("PUT", ["scripts", name] | ["scripts", name, "content"])
            | ("POST", ["scripts", name, "versions"])
            | ("PUT", ["dispatch", "namespaces", _, "scripts", name])
            | ("PUT", ["dispatch", "namespaces", _, "scripts", name, "content"]) => Some(name),
            _ => None,
        }
    }

    /// Whether the caller did not get what it asked for.
    pub fn refused(&self) -> bool {
        self.status == 0 || self.status >= 400 || !self.errors.is_empty()
    }
}

/// Something that local Cloudflare has answered.
#[derive(Clone, Debug)]
pub enum Answered {
    /// A call of the API.
    Call(Call),
    /// A request to a Worker.
    Visit(Visit),
}

/// A number of microseconds with the unit that people read.
pub fn took(micros: u64) -> String {
    match micros {
        0..10_000 => format!("{:.1} ms", micros as f64 / 1e3),
        10_000..10_000_000 => format!("{} ms", micros / 1000),
        _ => format!("{} s", micros / 1_000_000),
    }
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

/// Enough for any test, and for a day's work; somebody may leave local Cloudflare running for months.
const REMEMBERED: usize = 20_000;

#[derive(Default)]
pub(super) struct Calls(Mutex<Log>);

#[derive(Default)]
struct Log {
    calls: VecDeque<Call>,
    follower: Option<UnboundedSender<Answered>>,
}

impl Calls {
    pub(super) fn push(&self, call: Call) {
        let mut log = self.lock();
        if log.calls.len() == REMEMBERED {
            log.calls.pop_front();
        }
        if let Some(follower) = &log.follower {
            // Nobody has to listen until the end.
            let _ = follower.send(Answered::Call(call.clone()));
        }
        log.calls.push_back(call);
    }

    /// Tells of every call from now on.
    pub(super) fn follow(&self) -> (UnboundedSender<Answered>, UnboundedReceiver<Answered>) {
        let (sender, receiver) = unbounded_channel();
        self.lock().follower = Some(sender.clone());
        (sender, receiver)
    }

    pub(super) fn all(&self) -> Vec<Call> {
        self.lock().calls.iter().cloned().collect()
    }

    /// The latest calls that are of interest, latest first.
    pub(super) fn latest(&self, most: usize, of_interest: impl Fn(&Call) -> bool) -> Vec<Call> {
        let log = self.lock();
        let calls = log.calls.iter().rev().filter(|call| of_interest(call));
        calls.take(most).cloned().collect()
    }

    pub(super) fn clear(&self) {
        self.lock().calls.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Log> {
        self.0.lock().expect("no holder panics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(method: &str, path: &str) -> Call {
        Call {
            at: String::new(),
            method: method.into(),
            path: path.into(),
            query: String::new(),
            status: 200,
            micros: 0,
            errors: Vec::new(),
            metadata: None,
        }
    }

    #[test]
    fn an_upload_is_known_by_its_path() {
        for (method, path, expected) in [
            ("PUT", "/accounts/a/workers/scripts/w", Some("w")),
            ("POST", "/accounts/a/workers/scripts/w/versions", Some("w")),
            ("GET", "/accounts/a/workers/scripts/w", None),
            ("PUT", "/accounts/a/workers/scripts/w/schedules", None),
            (
                "PUT",
                "/accounts/a/workers/dispatch/namespaces/n/scripts/w",
                Some("w"),
            ),
        ] {
            assert_eq!(call(method, path).uploads(), expected, "{method} {path}");
        }
    }

    #[test]
    fn the_log_forgets_its_oldest_calls() {
        let calls = Calls::default();
        for number in 0..=REMEMBERED {
            calls.push(call("GET", &number.to_string()));
        }
        let all = calls.all();
        assert_eq!((all.len(), all[0].path.as_str()), (REMEMBERED, "1"));
        assert_eq!(calls.latest(1, |_| true)[0].path, REMEMBERED.to_string());
    }

    #[test]
    fn a_duration_has_the_unit_that_people_read() {
        for (micros, expected) in [
            (400, "0.4 ms"),
            (9_999, "10.0 ms"),
            (12_345, "12 ms"),
            (12_000_000, "12 s"),
        ] {
            assert_eq!(took(micros), expected);
        }
    }
}
