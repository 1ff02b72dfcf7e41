//! Misbehaviour on demand: rate limits, errors, lost answers, stale reads, and other tools at work.
//! Knows no endpoint; faults are chosen by method and path.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::account::Account;
use super::control::Action;

/// A misbehaviour and the calls that it meets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    /// Only calls of this method.
    #[serde(default)]
    pub method: Option<String>,
    /// Only calls of this path below `/client/v4`; `*` stands for any text, slashes included.
    #[serde(default)]
    pub path: Option<String>,
    /// Only the next so many matching calls; absent: until cleared.
    #[serde(default)]
    pub times: Option<u32>,
    /// Let so many matching calls pass first.
    #[serde(default)]
    pub after: u32,
    /// What happens.
    #[serde(flatten)]
    pub kind: Misbehaviour,
}

/// What a fault does to a call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Misbehaviour {
    /// HTTP 429 with `retry-after`.
    RateLimit {
        /// Seconds to wait.
        retry_after: u64,
    },
    /// HTTP 429 whose `retry-after` is a date.
    RateLimitUntil {
        /// Seconds to wait.
        seconds: u64,
    },
    /// The rate limit's other form: code 971 in HTTP 200.
    Throttled,
    /// A refusal; nothing is done.
    Error {
        /// HTTP status.
        status: u16,
        /// Cloudflare's code.
        code: u32,
        /// Its text.
        message: String,
    },
    /// The call does its work, then answers HTTP 500.
    ErrorAfterCommit,
    /// The connection is closed; nothing is done.
    CloseBefore,
    /// The call does its work, then the connection is closed without an answer.
    CloseAfterCommit,
    /// The call waits before it does its work.
    Delay {
        /// Milliseconds.
        ms: u64,
    },
    /// The call does its work, then waits before it answers.
    DelayAfterCommit {
        /// Milliseconds.
        ms: u64,
    },
    /// The call does its work, but half of the answer's body is missing.
    Truncated,
    /// The call does its work, then says that it succeeded, with `null` for what it found.
    NullResult,
    /// The call does its work; its answer is held back until [`Faults::release`] or [`Faults::clear`].
    Hold,
    /// An HTML page of the edge instead of an answer; nothing is done.
    Html {
        /// HTTP status.
        status: u16,
    },
    /// The page with which the edge asks whether the client is a person; nothing is done.
    Challenge,
    /// Reads show the account as it was when the fault was added. Only calls that would show anything else count.
    Stale,
    /// HTTP 404 with the text of a Worker whose first version is not visible yet.
    NoVersions,
    /// Answers have lists in reverse order, fields nobody knows and defaults written out.
    Unfamiliar,
    /// Refused with an internal error while another call that this meets is being answered.
    Overlap,
    /// Another tool does this right before the call.
    Meanwhile {
        /// What it does.
        action: Action,
    },
}

/// A rate limit in force for all calls.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bucket {
    /// So many calls at once.
    pub capacity: f64,
    /// So many more every second.
    pub per_second: f64,
}

impl Fault {
    /// What could not happen.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        if self.times == Some(0) {
            return Err("`times` is at least 1; leave it out for a fault that stays");
        }
        match self.kind {
            Misbehaviour::Error { status, .. } | Misbehaviour::Html { status }
                if !(200..600).contains(&status) =>
            {
                Err("`status` is an HTTP status from 200 to 599")
            }
            _ => Ok(()),
        }
    }
}

impl Misbehaviour {
    /// For the next matching call only.
    pub fn once(self, method: &str, path: &str) -> Fault {
        self.times(1, method, path)
    }

    /// For the next `times` matching calls.
    pub fn times(self, times: u32, method: &str, path: &str) -> Fault {
        Fault {
            method: Some(method.into()),
            path: Some(path.into()),
            times: Some(times),
            after: 0,
            kind: self,
        }
    }

    /// For every call until cleared.
    pub fn always(self) -> Fault {
        Fault {
            method: None,
            path: None,
            times: None,
            after: 0,
            kind: self,
        }
    }
}

/// The faults in force.
pub struct Faults {
    state: Mutex<State>,
    /// One permit: for the call that others must not overlap with.
    alone: Arc<Semaphore>,
    /// Whether a call is held back.
    held: watch::Sender<bool>,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            alone: Arc::new(Semaphore::new(1)),
            held: watch::Sender::default(),
        }
    }
}

#[derive(Default)]
struct State {
    next: u64,
    met: u64,
    faults: BTreeMap<u64, (Fault, Arc<Account>)>,
    latency: Duration,
    bucket: Option<(Bucket, f64, Instant)>,
}

impl Faults {
    pub(super) fn add(&self, fault: Fault, now: Arc<Account>) {
        let mut state = self.lock();
        let key = state.next;
        state.next += 1;
        state.faults.insert(key, (fault, now));
    }

    /// Removes all faults, latency and the bucket, and lets calls go that are held back.
    pub fn clear(&self) {
        *self.lock() = State::default();
        self.release();
    }

    /// Lets calls go that are held back.
    pub fn release(&self) {
        self.held.send_replace(false);
    }

    /// Waits until a call is held back.
    pub async fn until_held(&self) {
        // The sender lives as long as `self`.
        let _ = self.held.subscribe().wait_for(|held| *held).await;
    }

    pub(super) async fn hold(&self) {
        let mut held = self.held.subscribe();
        self.held.send_replace(true);
        let _ = held.wait_for(|held| !held).await;
    }

    /// How often a fault has met a call since the last `clear`.
    pub fn met(&self) -> u64 {
        self.lock().met
    }

    /// The faults that are left, in the order in which they were added.
    pub fn in_force(&self) -> Vec<Fault> {
        let state = self.lock();
        let faults = state.faults.values();
        faults.map(|(fault, _)| fault.clone()).collect()
    }

    /// The rate limit of all calls.
    pub fn bucket(&self) -> Option<Bucket> {
        self.lock().bucket.map(|(bucket, _, _)| bucket)
    }

    /// Delays every call.
    pub fn set_latency(&self, latency: Duration) {
        self.lock().latency = latency;
    }

    /// Limits the rate of all calls.
    pub fn set_bucket(&self, bucket: Option<Bucket>) {
        self.lock().bucket = bucket.map(|bucket| (bucket, bucket.capacity, Instant::now()));
    }

    /// The delay of every call.
    pub fn latency(&self) -> Duration {
        self.lock().latency
    }

    /// The seconds to wait when the bucket is empty; takes a token otherwise.
    pub(super) fn throttle(&self) -> Option<u64> {
        let mut state = self.lock();
        let (bucket, level, filled) = state.bucket.as_mut()?;
        let grown = filled.elapsed().as_secs_f64() * bucket.per_second;
        *level = (*level + grown).min(bucket.capacity);
        *filled = Instant::now();
        if *level >= 1.0 {
            *level -= 1.0;
            return None;
        }
        Some(((1.0 - *level) / bucket.per_second).ceil().max(1.0) as u64)
    }

    /// The faults that meet a call, each counted down, with the account as it was when each was added.
    pub(super) fn meet(
        &self,
        method: &str,
        path: &str,
        current: &Arc<Account>,
    ) -> Vec<(Misbehaviour, Arc<Account>)> {
        let mut state = self.lock();
        let mut met = Vec::new();
        state.faults.retain(|_, (fault, then)| {
            let matches = fault
                .method
                .as_deref()
                .is_none_or(|m| m.eq_ignore_ascii_case(method))
                && fault
                    .path
                    .as_deref()
                    .is_none_or(|pattern| glob(pattern, path));
            if !matches || fault.kind == Misbehaviour::Stale && Arc::ptr_eq(then, current) {
                return true;
            }
            if fault.after > 0 {
                fault.after -= 1;
                return true;
            }
            met.push((fault.kind.clone(), then.clone()));
            match &mut fault.times {
                None => true,
                Some(times) => {
                    *times = times.saturating_sub(1);
                    *times > 0
                }
            }
        });
        state.met += met.len() as u64;
        met
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }

    /// A permit to hold while a call is answered; none while another one has it.
    pub(super) fn alone(&self) -> Option<OwnedSemaphorePermit> {
        self.alone.clone().try_acquire_owned().ok()
    }
}

fn glob(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, rest)) => text.strip_prefix(start).is_some_and(|text| {
            (0..=text.len()).any(|i| text.is_char_boundary(i) && glob(rest, &text[i..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, text, expected) in [
            ("/a/b", "/a/b", true),
            ("/a/b", "/a/b/c", false),
            ("*/scripts/*", "/accounts/x/workers/scripts/y", true),
            ("*/scripts", "/accounts/x/workers/scripts/y", false),
            ("*/settings", "/s/n/settings", true),
        ] {
            assert_eq!(glob(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn a_fault_for_two_calls_meets_two_matching_calls() {
        let faults = Faults::default();
        let account = Arc::new(Account::new("a", "seed"));
        faults.add(
            Misbehaviour::Throttled.times(2, "GET", "/x"),
            account.clone(),
        );
        let met = |method, path| !faults.meet(method, path, &account).is_empty();
        assert!(!met("PUT", "/x"));
        assert!(!met("GET", "/y"));
        assert!(met("GET", "/x"));
        assert!(met("GET", "/x"));
        assert!(!met("GET", "/x"));
    }
}
