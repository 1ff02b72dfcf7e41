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

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, code: i64) -> Attempt {
        let codes = vec![(code, "text".to_owned())];
        let failure = Box::new(Failure {
            status: Some(status),
            codes,
            ..Failure::default()
        });
        Attempt {
            trouble: Trouble::Refused,
            failure,
            retry_after: None,
        }
    }

    #[test]
    fn waits_double_up_to_a_limit_and_are_spread() {
        let policy = Policy::new(9);
        let wait = |attempts, jitter| policy.wait(attempts, true, &refused(503, 0), jitter);
        let ms = |ms| Some(Duration::from_millis(ms));
        assert_eq!(wait(1, 1.0), ms(500));
        assert_eq!(wait(1, 0.0), ms(250));
        assert_eq!(wait(2, 1.0), ms(1000));
        assert_eq!(wait(5, 1.0), ms(8000));
        assert_eq!(wait(9, 1.0), ms(8000));
        assert_eq!(wait(10, 1.0), None);
    }

    #[test]
    fn only_what_can_pass_is_repeated() {
        let policy = Policy::new(4);
        let again =
            |repeatable, attempt: &Attempt| policy.wait(1, repeatable, attempt, 0.5).is_some();
        for (status, code) in [
            (429, 0),
            (200, 971),
            (500, 10013),
            (500, 10002),
            (409, 10035),
            (522, 0),
            (408, 0),
        ] {
            assert!(again(true, &refused(status, code)), "{status} {code}");
            assert!(!again(false, &refused(status, code)), "{status} {code}");
        }
        for (status, code) in [
            (400, 10021),
            (404, 10007),
            (412, 10079),
            (403, 10023),
            (400, 10061),
        ] {
            assert!(!again(true, &refused(status, code)), "{status} {code}");
        }
        let trouble = |trouble| Attempt {
            trouble,
            ..refused(0, 0)
        };
        assert!(
            again(false, &trouble(Trouble::NotSent)),
            "nobody has seen the request"
        );
        assert!(!again(false, &trouble(Trouble::NoAnswer)));
        assert!(again(true, &trouble(Trouble::NoAnswer)));
    }

    #[test]
    fn the_first_authentication_error_gets_a_second_chance() {
        let policy = Policy::new(4);
        assert!(policy.wait(1, false, &refused(403, 10000), 0.5).is_some());
        assert!(policy.wait(2, true, &refused(403, 10000), 0.5).is_none());
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_and_has_a_limit() {
        let now = httpdate::parse_http_date("Tue, 24 Nov 2026 10:00:00 GMT").expect("a date");
        let seconds = |header| retry_after(header, now).map(|wait| wait.as_secs());
        assert_eq!(seconds("7"), Some(7));
        assert_eq!(seconds("Tue, 24 Nov 2026 10:00:30 GMT"), Some(30));
        assert_eq!(seconds("Tue, 24 Nov 2026 09:00:00 GMT"), Some(0));
        assert_eq!(seconds("soon"), None);
        assert_eq!(seconds("-5"), None);

        let asked = |seconds| Some(Duration::from_secs(seconds));
        let wait = |retry_after| {
            Policy::new(4).wait(
                1,
                true,
                &Attempt {
                    retry_after,
                    ..refused(429, 0)
                },
                1.0,
            )
        };
        assert_eq!(wait(asked(7)), asked(7));
        assert_eq!(wait(asked(0)), Some(Duration::from_millis(500)));
        assert_eq!(wait(asked(86_400)), Some(LONGEST_RETRY_AFTER));
    }

    #[tokio::test(start_paused = true)]
    async fn hundreds_of_calls_pass_at_once_and_five_minutes_never_see_more_than_the_limit() {
        let budget = Budget::new();
        let start = Instant::now();
        for _ in 0..600 {
            budget.take().await;
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
        for _ in 600..1200 {
            budget.take().await;
        }
        assert!(
            start.elapsed() >= Duration::from_secs(299),
            "{:?}",
            start.elapsed()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_that_one_call_met_holds_every_call_back() {
        let budget = Budget::new();
        let start = Instant::now();
        budget.close_for(Duration::from_secs(40));
        budget.close_for(Duration::from_secs(3));
        budget.take().await;
        assert!(start.elapsed() >= Duration::from_secs(40));
    }
}
