//! When a call is made again, and how long to wait before it is.
//!
//! Knows failures and time, not endpoints.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::error::Failure;

/// How one attempt went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// No connection: the server has seen nothing.
    NotSent,
    /// It was sent, or partly, and no whole answer came back.
    NoAnswer,
    /// A success whose body cannot be read.
    Unreadable,
    /// An answer that says no.
    Refused,
}

/// One attempt that failed.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) trouble: Trouble,
    pub(super) failure: Box<Failure>,
    pub(super) retry_after: Option<Duration>,
}

/// How often and how patiently a call is repeated.
#[derive(Clone, Copy, Debug)]
pub(super) struct Policy {
    pub(super) max_retries: u32,
    /// The wait before the first repetition; it doubles with each.
    pub(super) first: Duration,
    /// The longest wait of our own choice.
    pub(super) longest: Duration,
    /// Between two looks at something that is there but not yet visible.
    pub(super) settle: Duration,
}

/// Cloudflare's rate limit lasts five minutes at most.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(300);

impl Policy {
    pub(super) fn new(max_retries: u32) -> Self {
        Policy {
            max_retries,
            first: Duration::from_millis(500),
            longest: Duration::from_secs(8),
            settle: Duration::from_secs(2),
        }
    }

    /// How long to wait before the next attempt; `None` when there is to be none.
    ///
    /// `attempts` counts those made, `repeatable` says whether making the call twice is the same as making it once,
    /// and `jitter` is between 0 and 1.
    pub(super) fn wait(
        &self,
        attempts: u32,
        repeatable: bool,
        attempt: &Attempt,
        jitter: f64,
    ) -> Option<Duration> {
        if attempts > self.max_retries {
            return None;
        }
        let again = match attempt.trouble {
            Trouble::NotSent => true,
            Trouble::NoAnswer | Trouble::Unreadable => repeatable,
            // Valid credentials are sometimes refused once under load (10000); nothing was done then.
            Trouble::Refused if attempt.failure.has(&[10000]) => attempts == 1,
            Trouble::Refused => repeatable && transient(&attempt.failure),
        };
        if !again {
            return None;
        }
        let doubled = self
            .first
            .saturating_mul(1 << (attempts - 1).min(16))
            .min(self.longest);
        let own = doubled.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0);
        Some(match attempt.retry_after {
            Some(asked) => asked.min(LONGEST_RETRY_AFTER).max(own),
            None => own,
        })
    }
}

/// Whether the same call can succeed in a moment.
pub(super) fn transient(failure: &Failure) -> bool {
    let text_of_10001 = |part| {
        failure
            .codes
            .iter()
            .any(|(c, t)| *c == 10001 && t.contains(part))
    };
    matches!(failure.status, Some(408 | 409 | 429 | 500..))
        || failure.has(&[971, 10002, 10013, 10035])
        || text_of_10001("internal error")
        || text_of_10001("Unable to authenticate request")
}

/// `Retry-After` as seconds or as a date.
pub(super) fn retry_after(header: &str, now: SystemTime) -> Option<Duration> {
    let header = header.trim();
    if let Ok(seconds) = header.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let date = httpdate::parse_http_date(header).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

/// Cloudflare allows 1200 calls in five minutes. 600 at once and two a second never exceed that,
/// and most runs never notice.
#[derive(Debug)]
pub(super) struct Budget {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Calls that may be made at `since`; negative when some are already waiting.
    tokens: f64,
    since: Instant,
    /// Nobody calls before this, because Cloudflare said so.
    closed_until: Option<Instant>,
}

const BURST: f64 = 600.0;
const PER_SECOND: f64 = 2.0;

impl Budget {
    pub(super) fn new() -> Self {
        let state = State {
            tokens: BURST,
            since: Instant::now(),
            closed_until: None,
        };
        Budget {
            state: Mutex::new(state),
        }
    }

    /// Waits until the next call may be made.
    pub(super) async fn take(&self) {
        let wake = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            let gained = (now - state.since).as_secs_f64() * PER_SECOND;
            state.tokens = (state.tokens + gained).min(BURST) - 1.0;
            state.since = now;
            let debt = (-state.tokens).max(0.0) / PER_SECOND;
            let own = now + Duration::from_secs_f64(debt);
            state.closed_until.map_or(own, |until| own.max(until))
        };
        if wake > Instant::now() {
            tokio::time::sleep_until(wake).await;
        }
    }

    /// Keeps every call back for a while: the limit is the account's, not one call's.
    pub(super) fn close_for(&self, wait: Duration) {
        let until = Instant::now() + wait.min(LONGEST_RETRY_AFTER);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.closed_until = Some(state.closed_until.map_or(until, |old| old.max(until)));
    }
}
