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
    /// Whether a success is a file instead of Cloudflare's JSON.
    raw: bool,
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
            raw: false,
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

    /// A call whose success is a file.
    pub(super) fn raw(self) -> Call {
        Call { raw: true, ..self }
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
        let is_file = call.raw && matches!(status, Some(200..300));
        let read = |body: Bytes| match is_file {
            true => {
                let file = Answer::file(failure.clone(), headers.clone(), body);
                Reading::Success(Box::new(file))
            }
            false => envelope::read(failure.clone(), kind, &body),
        };
        let (trouble, failure) = match body.map(read) {
            Ok(Reading::Success(answer)) => return Ok(Ok(*answer)),
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

#[cfg(test)]
mod tests {
    use super::super::server::{Reply, Server, account, client, json, ok, refusal, script};
    use super::*;
    use tokio_util::sync::CancellationToken;

    use crate::cloudflare::upload::{Metadata, Migrations, Upload};
    use crate::durable::MigrationTag;

    fn html(status: u16) -> Reply {
        Reply::Answer(
            status,
            "content-type: text/html\r\n",
            "<html>secret</html>".to_owned(),
        )
    }

    fn upload(migrations: bool) -> Upload {
        let migrations = migrations.then(|| Migrations {
            old_tag: None,
            new_tag: MigrationTag::new("v1"),
            new_classes: vec![],
            new_sqlite_classes: vec![],
            renamed_classes: vec![],
            deleted_classes: vec![],
            transferred_classes: vec![],
        });
        let metadata = Metadata {
            migrations,
            ..Metadata::default()
        };
        Upload {
            metadata,
            modules: [].into(),
        }
    }

    #[tokio::test]
    async fn a_read_survives_every_passing_trouble() {
        let troubles = [
            html(502),
            refusal(429, 0, "slow"),
            refusal(
                200,
                971,
                "Please wait and consider throttling your request speed",
            ),
            refusal(500, 10013, "An unknown error has occurred."),
            refusal(403, 10000, "Authentication error"),
            refusal(403, 10001, "Unable to authenticate request"),
            Reply::Close,
            Reply::Truncated("{"),
            json(200, r#"{"success":tr"#),
        ];
        for trouble in troubles {
            let server = Server::start([trouble.clone(), ok("[]")]).await;
            let read = server.client().scripts(&account()).await;
            assert!(read.is_ok(), "{trouble:?}: {read:?}");
            assert_eq!(server.asked(), ["GET /accounts/acc/workers/scripts"; 2]);
        }
    }

    #[tokio::test]
    async fn what_does_not_pass_is_an_error_that_names_the_last_answer() {
        for (reply, expect) in [
            (html(502), "Rejected"),
            (html(200), "Decode"),
            (json(200, "[1"), "Decode"),
            (json(200, "null"), "Decode"),
            (json(200, r#"{"result":[]}"#), "Decode"),
            (Reply::Close, "Transport"),
            (refusal(429, 0, "slow"), "RateLimited"),
        ] {
            let server = Server::start(vec![reply; 3]).await;
            let error = server
                .client()
                .scripts(&account())
                .await
                .expect_err("three bad answers");
            assert!(format!("{error:?}").starts_with(expect), "{error:?}");
            assert!(!error.to_string().contains("secret"), "{error}");
            assert_eq!(error.failure().map(|failure| failure.attempts), Some(3));
            assert_eq!(server.asked().len(), 3);
        }
    }

    #[tokio::test]
    async fn a_refusal_is_not_repeated_and_carries_code_text_and_ray() {
        let server = Server::start([refusal(400, 10021, "Uncaught Error")]).await;
        let error = server
            .client()
            .upload(&account(), &script("w"), &upload(false))
            .await
            .expect_err("400");
        assert_eq!(
            error.to_string(),
            "upload the Worker: PUT /accounts/acc/workers/scripts/w answered 400: \
             code 10021: Uncaught Error (ray 8f-TST)"
        );
    }

    #[tokio::test]
    async fn an_upload_without_migrations_is_repeated_whole() {
        let server = Server::start([Reply::Close, html(520), ok("{}")]).await;
        server
            .client()
            .upload(&account(), &script("w"), &upload(false))
            .await
            .expect("the third");
        let requests = server.requests();
        assert_eq!(requests.len(), 3);
        for request in requests {
            let line = "PUT /client/v4/accounts/acc/workers/scripts/w?excludeScript=true&bindings_inherit=strict HTTP/1.1";
            assert_eq!(request.lines().next(), Some(line));
            assert!(
                request.contains("\r\nauthorization: Bearer t0p-secret\r\n"),
                "{request}"
            );
            assert!(request.contains("user-agent: terraform-provider-cloudflare/test"));
            assert!(!request.contains("transfer-encoding"), "{request}");
            assert!(request.ends_with("--\r\n"), "{request}");
        }
    }

    #[tokio::test]
    async fn a_lost_answer_to_migrations_or_a_rename_is_never_repeated() {
        let troubles = [
            Reply::Close,
            html(522),
            html(200),
            json(200, r#"{"success":true,"resu"#),
            refusal(500, 10002, "An unknown error has occurred"),
            refusal(429, 0, "slow"),
        ];
        for trouble in troubles {
            let server = Server::start([trouble.clone(), trouble.clone()]).await;
            let client = server.client();
            let errors = [
                client
                    .upload(&account(), &script("w"), &upload(true))
                    .await
                    .expect_err("lost"),
                client
                    .rename_service(&account(), &script("a"), &script("b"))
                    .await
                    .expect_err("lost"),
            ];
            for error in errors {
                assert!(
                    matches!(error, ApiError::LostAnswer(_)),
                    "{trouble:?}: {error:?}"
                );
                assert!(error.may_have_committed());
            }
            assert_eq!(server.asked().len(), 2);
        }
    }

    #[tokio::test]
    async fn migrations_that_are_clearly_refused_are_not_lost() {
        let text = "Actor migration tag precondition failed, got tag '' when expected tag is 'v1'. Please make sure the tags match and try again.";
        let server = Server::start([refusal(412, 10079, text)]).await;
        let error = server
            .client()
            .upload(&account(), &script("w"), &upload(true))
            .await
            .expect_err("412");
        assert!(
            matches!(error, ApiError::MigrationTagMismatch { .. }) && !error.may_have_committed()
        );
    }

    #[tokio::test]
    async fn a_server_that_nobody_reaches_has_committed_nothing() {
        let server = Server::start([]).await;
        let address = server.address;
        drop(server);
        tokio::task::yield_now().await;
        let client = client(format!("http://{address}"));
        let error = client
            .upload(&account(), &script("w"), &upload(true))
            .await
            .expect_err("nobody there");
        assert!(matches!(error, ApiError::Transport(_)), "{error:?}");
        assert_eq!(error.failure().map(|failure| failure.attempts), Some(3));
    }

    #[tokio::test]
    async fn stop_ends_a_request_and_says_whether_a_write_was_under_way() {
        let stopped = |server: Server, write: bool| async move {
            let stop = CancellationToken::new();
            let client = server.client().with_stop(stop.clone());
            let (account, script, upload) = (account(), script("w"), upload(true));
            let call = async {
                match write {
                    true => client.upload(&account, &script, &upload).await.map(drop),
                    false => client.scripts(&account).await.map(drop),
                }
            };
            let arrival = async {
                while server.asked().is_empty() {
                    tokio::task::yield_now().await;
                }
                stop.cancel();
            };
            tokio::join!(call, arrival).0.expect_err("stopped")
        };
        let write = stopped(Server::start([Reply::Silence]).await, true).await;
        assert!(write.may_have_committed(), "{write:?}");
        let read = stopped(Server::start([Reply::Silence]).await, false).await;
        assert!(
            matches!(
                read,
                ApiError::Stopped {
                    in_flight: false,
                    ..
                }
            ),
            "{read:?}"
        );
    }

    #[tokio::test]
    async fn a_client_that_is_stopped_already_sends_nothing() {
        let server = Server::start([ok("[]")]).await;
        let stop = CancellationToken::new();
        stop.cancel();
        let client = server.client().with_stop(stop);
        let error = client.scripts(&account()).await.expect_err("stopped");
        assert!(matches!(
            error,
            ApiError::Stopped {
                in_flight: false,
                ..
            }
        ));
        assert!(client.wait("wait", Duration::from_secs(600)).await.is_err());
        assert!(server.asked().is_empty());
    }

    #[tokio::test]
    async fn a_redirect_is_not_followed() {
        let away = Reply::Answer(302, "location: http://127.0.0.1:1/\r\n", String::new());
        let server = Server::start([away]).await;
        let error = server
            .client()
            .scripts(&account())
            .await
            .expect_err("a redirect");
        assert!(matches!(error, ApiError::Rejected(_)), "{error:?}");
    }

    #[tokio::test]
    async fn names_are_encoded_and_dots_lead_nowhere_else() {
        let server = Server::start([ok("null")]).await;
        let client = server.client();
        client
            .delete_script(&account(), &script("a/b?c#d %ü"))
            .await
            .expect("deleted");
        assert_eq!(
            server.asked(),
            ["DELETE /accounts/acc/workers/scripts/a%2Fb%3Fc%23d%20%25%C3%BC"]
        );
        for name in ["", ".", ".."] {
            let error = client
                .delete_script(&account(), &script(name))
                .await
                .expect_err("no name");
            assert!(matches!(error, ApiError::Unusable(_)), "{error:?}");
        }
        assert_eq!(server.asked().len(), 1);
    }

    #[tokio::test]
    async fn other_shapes_of_errors_are_understood() {
        for (body, expect) in [
            (r#"{"code":10007,"error":"gone"}"#, "NotFound"),
            (r#"{"success":false,"errors":["text alone"]}"#, "Rejected"),
            (
                r#"{"success":false,"errors":null,"messages":null,"result":null}"#,
                "Rejected",
            ),
            (
                r#"{"success":false,"errors":[{"code":"10023","message":null}]}"#,
                "Forbidden",
            ),
            (
                r#"{"success":false,"errors":[{"code":1,"message":"m","error_chain":[{"code":6111,"message":"x"}]}]}"#,
                "Unauthorized",
            ),
        ] {
            let server = Server::start([json(400, body)]).await;
            let error = server
                .client()
                .scripts(&account())
                .await
                .expect_err("a refusal");
            assert!(
                format!("{error:?}").starts_with(expect),
                "{body}: {error:?}"
            );
        }
    }
}
