//! One call from its parts to its answer: the request, the attempts, the log line.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{Method, redirect};

use super::envelope::{self, Answer, Reading};
use super::error::{ApiError, Failure};
use super::retry::{Attempt, Trouble, transient};
use super::upload::Form;
use super::{Client, Shared};

/// The permissions that calls need, in the words of Cloudflare's dashboard.
pub(super) const READ_SCRIPTS: &str = "Workers Scripts: Read";
pub(super) const EDIT_SCRIPTS: &str = "Workers Scripts: Edit";
pub(super) const READ_ACCOUNTS: &str = "Account Settings: Read";

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// For everything but an upload.
const TIMEOUT: Duration = Duration::from_secs(60);
/// A Worker may have 64 MiB, and the line may be slow.
const UPLOAD_TIMEOUT: Duration = Duration::from_secs(300);

/// What is left alone in a path segment: the unreserved characters of RFC 3986.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// What a request carries.
#[derive(Debug)]
pub(super) enum Body {
    None,
    Json(Bytes),
    Form(Form),
}

/// One call, ready to be made as often as needed.
#[derive(Debug)]
pub(super) struct Call {
    operation: &'static str,
    method: Method,
    path: String,
    query: &'static str,
    paging: String,
    permission: &'static str,
    header: Option<(&'static str, &'static str)>,
    body: Body,
    /// Whether making it twice is the same as making it once.
    repeatable: bool,
}

impl Call {
    /// A call of `method` on the path made of `segments`.
    fn new(
        operation: &'static str,
        method: Method,
        permission: &'static str,
        segments: &[&str],
    ) -> Result<Call, ApiError> {
        let mut path = String::new();
        for segment in segments {
            // URL parsers remove dot segments, also encoded ones: another resource would be meant.
            if matches!(*segment, "" | "." | "..") {
                let text = format!("{operation}: {segment:?} cannot be the name of anything");
                return Err(ApiError::Unusable(text));
            }
            // Writing to a string cannot fail.
            let _ = write!(path, "/{}", utf8_percent_encode(segment, SEGMENT));
        }
        Ok(Call {
            operation,
            repeatable: matches!(method, Method::GET | Method::PUT | Method::DELETE),
            method,
            path,
            query: "",
            paging: String::new(),
            permission,
            header: None,
            body: Body::None,
        })
    }

    /// A read of something of Workers.
    pub(super) fn get(operation: &'static str, segments: &[&str]) -> Result<Call, ApiError> {
        Call::new(operation, Method::GET, READ_SCRIPTS, segments)
    }

    /// A write of something of Workers.
    pub(super) fn write(
        operation: &'static str,
        method: Method,
        segments: &[&str],
    ) -> Result<Call, ApiError> {
        Call::new(operation, method, EDIT_SCRIPTS, segments)
    }

    pub(super) fn permission(self, permission: &'static str) -> Call {
        Call { permission, ..self }
    }

    /// A fixed query, without the question mark.
    pub(super) fn query(self, query: &'static str) -> Call {
        Call { query, ..self }
    }

    /// Asks for one page.
    pub(super) fn page(mut self, page: usize, per_page: usize) -> Call {
        self.paging = format!("page={page}&per_page={per_page}");
        self
    }

    pub(super) fn header(self, name: &'static str, value: &'static str) -> Call {
        Call {
            header: Some((name, value)),
            ..self
        }
    }

    pub(super) fn body(self, body: Body) -> Call {
        Call { body, ..self }
    }

    pub(super) fn json(self, body: &serde_json::Value) -> Call {
        let body = Bytes::from(body.to_string());
        self.body(Body::Json(body))
    }

    pub(super) fn repeatable(self, repeatable: bool) -> Call {
        Call { repeatable, ..self }
    }

    /// An answer that was read and does not make sense.
    pub(super) fn incomprehensible(&self, detail: String) -> ApiError {
        ApiError::Decode(Box::new(Failure {
            detail: Some(detail),
            ..*self.failure(1)
        }))
    }

    fn failure(&self, attempts: u32) -> Box<Failure> {
        let method = match self.method {
            Method::GET => "GET",
            Method::PUT => "PUT",
            Method::POST => "POST",
            Method::PATCH => "PATCH",
            _ => "DELETE",
        };
        let (operation, path) = (self.operation, self.path.clone());
        Box::new(Failure {
            operation,
            method,
            path,
            attempts,
            ..Failure::default()
        })
    }

    /// What the last attempt means for the caller.
    fn error(
        &self,
        Attempt {
            trouble, failure, ..
        }: Attempt,
    ) -> ApiError {
        let write = self.method != Method::GET;
        match trouble {
            Trouble::NotSent => ApiError::Transport(failure),
            Trouble::NoAnswer | Trouble::Unreadable if write => ApiError::LostAnswer(failure),
            Trouble::NoAnswer => ApiError::Transport(failure),
            Trouble::Unreadable => ApiError::Decode(failure),
            // A gateway that fails says nothing about what is behind it. And a call that must not be made twice
            // blindly is looked into wherever repeating it would have been the answer.
            Trouble::Refused if write && matches!(failure.status, Some(500..)) => {
                ApiError::LostAnswer(failure)
            }
            Trouble::Refused if !self.repeatable && transient(&failure) => {
                ApiError::LostAnswer(failure)
            }
            Trouble::Refused => ApiError::refusal(failure, self.permission),
        }
    }
}

impl Client {
    /// Makes a call, as often as it takes, unless stopped.
    pub(super) async fn send(&self, call: &Call) -> Result<Answer, ApiError> {
        let in_flight = AtomicBool::new(false);
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(ApiError::Stopped {
                operation: call.operation,
                in_flight: in_flight.load(Ordering::Relaxed),
            }),
            outcome = self.attempts(call, &in_flight) => outcome,
        }
    }

    async fn attempts(&self, call: &Call, in_flight: &AtomicBool) -> Result<Answer, ApiError> {
        let mut attempts = 0;
        loop {
            if let Some(budget) = &self.shared.budget {
                budget.take().await;
            }
            attempts += 1;
            in_flight.store(call.method != Method::GET, Ordering::Relaxed);
            let attempt = match self.shared.attempt(call, attempts).await? {
                Ok(answer) => return Ok(answer),
                Err(attempt) => attempt,
            };
            // What a repetition finds is judged by the repetition; only a write without any answer stays open.
            let open = matches!(attempt.trouble, Trouble::NoAnswer | Trouble::Unreadable);
            in_flight.store(open && call.method != Method::GET, Ordering::Relaxed);
            let wait = self
                .shared
                .policy
                .wait(attempts, call.repeatable, &attempt, jitter());
            if let (Some(429), Some(pause)) = (attempt.failure.status, attempt.retry_after)
                && let Some(budget) = &self.shared.budget
            {
                budget.close_for(pause);
            }
            match wait {
                Some(wait) => tokio::time::sleep(wait).await,
                None => return Err(call.error(attempt)),
            }
        }
    }
}

impl Shared {
    fn http(&self) -> Result<&reqwest::Client, ApiError> {
        let build = || {
            // reqwest picks up the process's default; an earlier one is as good.
            let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
            let mut builder = reqwest::Client::builder()
                .default_headers(self.headers.clone())
                .user_agent(&self.user_agent)
                .connect_timeout(CONNECT_TIMEOUT)
                // The API never redirects, and credentials stay with the host they are meant for.
                .redirect(redirect::Policy::none());
            if self.loopback {
                builder = builder.no_proxy();
            }
            builder.build().map_err(|error| causes(&error))
        };
        let built = self.http.get_or_init(build).as_ref();
        built.map_err(|why| ApiError::Unusable(format!("the HTTP client cannot be built: {why}")))
    }

    /// One attempt. The outer error is one that no other attempt can mend.
    async fn attempt(
        &self,
        call: &Call,
        attempts: u32,
    ) -> Result<Result<Answer, Attempt>, ApiError> {
        let separator = if call.query.is_empty() && call.paging.is_empty() {
            ""
        } else {
            "?"
        };
        let both = if call.query.is_empty() || call.paging.is_empty() {
            ""
        } else {
            "&"
        };
        let url = format!(
            "{}{}{separator}{}{both}{}",
            self.base_url, call.path, call.query, call.paging
        );
        let mut request = self
            .http()?
            .request(call.method.clone(), url)
            .timeout(TIMEOUT);
        if let Some((name, value)) = call.header {
            request = request.header(name, value);
        }
        request = match &call.body {
            Body::None => request,
            Body::Json(body) => request
                .header(CONTENT_TYPE, "application/json")
                .body(body.clone()),
            Body::Form(form) => request
                .timeout(UPLOAD_TIMEOUT)
                .header(CONTENT_TYPE, form.content_type())
                .header(CONTENT_LENGTH, form.length())
                .body(form.body()),
        };
        let started = Instant::now();
        let mut failure = call.failure(attempts);
        let sent = request.send().await;
        let (status, headers, body) = match sent {
            Ok(response) => {
                let (status, headers) = (response.status().as_u16(), response.headers().clone());
                (Some(status), headers, response.bytes().await)
            }
            Err(error) => (None, HeaderMap::new(), Err(error)),
        };
        failure.status = status;
        failure.ray = text(&headers, "cf-ray").map(str::to_owned);
        if text(&headers, "cf-mitigated").is_some() {
            let detail = "blocked by a security rule in front of the API";
            failure.detail = Some(detail.to_owned());
        }
        log::debug!(
            "{} {} {} in {} ms, attempt {attempts}, ray {}",
            failure.method,
            failure.path,
            status.map_or_else(|| "no answer".to_owned(), |status| status.to_string()),
            started.elapsed().as_millis(),
            failure.ray.as_deref().unwrap_or("-"),
        );
        let asked = text(&headers, RETRY_AFTER.as_str());
        let retry_after = asked.and_then(|t| super::retry::retry_after(t, SystemTime::now()));
        let kind = text(&headers, CONTENT_TYPE.as_str()).unwrap_or_default();
        let (trouble, failure) = match body.map(|body| envelope::read(failure.clone(), kind, &body))
        {
            Ok(Reading::Success(answer)) => return Ok(Ok(answer)),
            Ok(Reading::Refused(failure)) => (Trouble::Refused, failure),
            Ok(Reading::Unreadable(failure)) => (Trouble::Unreadable, failure),
            Err(error) => {
                let unsent = error.is_connect() || error.is_builder();
                failure.detail = Some(causes(&error.without_url()));
                (
                    if unsent {
                        Trouble::NotSent
                    } else {
                        Trouble::NoAnswer
                    },
                    failure,
                )
            }
        };
        Ok(Err(Attempt {
            trouble,
            failure,
            retry_after,
        }))
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// An error with its causes, in one line.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            let _ = write!(text, ": {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// A number between 0 and 1 that spreads the waits of parallel calls.
fn jitter() -> f64 {
    getrandom::u32().map_or(0.5, |random| f64::from(random) / f64::from(u32::MAX))
}
