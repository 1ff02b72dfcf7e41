//! What can go wrong with a call, by meaning.
//!
//! Cloudflare's codes and texts are judged here and nowhere else; everybody else branches on variants.
//! No text in this file ever holds a credential, a request body or a script.

use std::fmt;

use crate::durable::MigrationTag;

/// What was tried, on what, and what came back: enough for a diagnostic that can be acted on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failure {
    /// What the call was for: `upload Worker`.
    pub operation: &'static str,
    /// The HTTP method.
    pub method: &'static str,
    /// The path below the base URL, without the query.
    pub path: String,
    /// The HTTP status, if an answer arrived.
    pub status: Option<u16>,
    /// Cloudflare's codes and texts, verbatim. The code is 0 where an answer had none.
    pub codes: Vec<(i64, String)>,
    /// The id under which Cloudflare's support finds the request.
    pub ray: Option<String>,
    /// What we noticed ourselves: why no answer arrived, or why it could not be read.
    pub detail: Option<String>,
    /// How often the request was made.
    pub attempts: u32,
}

impl Failure {
    /// Whether Cloudflare gave one of these codes.
    pub fn has(&self, codes: &[i64]) -> bool {
        self.codes.iter().any(|(code, _)| codes.contains(code))
    }

    fn says(&self, part: &str) -> bool {
        self.codes.iter().any(|(_, text)| text.contains(part))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} {}", self.operation, self.method, self.path)?;
        if let Some(status) = self.status {
            write!(f, " answered {status}")?;
        }
        for (code, text) in &self.codes {
            match code {
                0 => write!(f, ": {text}")?,
                _ => write!(f, ": code {code}: {text}")?,
            }
        }
        if let Some(detail) = &self.detail {
            write!(f, ": {detail}")?;
        }
        if self.attempts > 1 {
            write!(f, " (after {} attempts)", self.attempts)?;
        }
        match &self.ray {
            Some(ray) => write!(f, " (ray {ray})"),
            None => Ok(()),
        }
    }
}

/// Why a call failed. Every variant reads after "failed to ".
#[derive(Clone, Debug, thiserror::Error)]
pub enum ApiError {
    /// The client cannot be built, or a name cannot be part of a request. Nothing was sent.
    #[error("make a request: {0}")]
    Unusable(String),
    /// The Worker does not exist (10007, 10090, 10092).
    #[error("{0}")]
    NotFound(Box<Failure>),
    /// The path leads nowhere: a wrong account id, or a base URL without `/client/v4`.
    #[error("{0}; is the account id right, and does the base URL end in `/client/v4`?")]
    NoRoute(Box<Failure>),
    /// The Worker exists, but its first version is not readable yet.
    #[error("{0}")]
    NoVersions(Box<Failure>),
    /// The credentials are not valid at all.
    #[error("{0}; the credentials are not valid")]
    Unauthorized(Box<Failure>),
    /// The credentials are valid, or at least well-formed, but this call is not theirs to make.
    #[error("{failure}; the credentials need the permission \"{permission}\" on this account")]
    Forbidden {
        /// What happened.
        failure: Box<Failure>,
        /// The permission that the call needs, as Cloudflare's dashboard calls it.
        permission: &'static str,
    },
    /// Too many requests, also after waiting.
    #[error("{0}")]
    RateLimited(Box<Failure>),
    /// The script's migration tag is not the one that the upload was made for (10079).
    #[error("{failure}")]
    MigrationTagMismatch {
        /// What happened.
        failure: Box<Failure>,
        /// The tag that Cloudflare holds, where the text tells it.
        expected: Option<MigrationTag>,
        /// The tag that the upload named, where the text tells it; empty for none.
        got: Option<String>,
    },
    /// A class to create is not exported by the uploaded code (10070).
    #[error("{0}")]
    ClassNotExported(Box<Failure>),
    /// The uploaded code no longer exports a class that has a namespace (10064).
    #[error("{0}")]
    ClassStillDependedOn(Box<Failure>),
    /// A class to delete is still named by a binding (10061).
    #[error("{0}")]
    ClassStillBound(Box<Failure>),
    /// A migration does not fit the classes that exist (10074).
    #[error("{0}")]
    ClassState(Box<Failure>),
    /// Two migrations of one upload end in the same class.
    #[error("{0}")]
    DuplicateMigrationTarget(Box<Failure>),
    /// What a binding names does not exist, or not yet: a class (10061), a bucket, a Worker, ….
    #[error("{0}")]
    BindingTarget(Box<Failure>),
    /// A binding to inherit is not there (10057).
    #[error("{0}")]
    InheritedBinding(Box<Failure>),
    /// The server name of the new namespace is still held by another one (10065).
    #[error("{0}")]
    NamespaceNameTaken(Box<Failure>),
    /// The account may not have key-value backed namespaces (10097, 10099).
    #[error("{0}")]
    KeyValueRefused(Box<Failure>),
    /// The code or its settings were judged invalid (10021, 10068, …).
    #[error("{0}")]
    InvalidScript(Box<Failure>),
    /// Cloudflare does not accept the Worker's name (10016).
    #[error("{0}")]
    InvalidScriptName(Box<Failure>),
    /// Too many or too long script tags.
    #[error("{0}")]
    TagsRefused(Box<Failure>),
    /// Other Workers still bind the Worker that was to be deleted (10142).
    #[error("{0}")]
    StillReferenced(Box<Failure>),
    /// The Worker that was to be deleted consumes a queue (10064, with another text than the class error).
    #[error("{0}")]
    QueueConsumer(Box<Failure>),
    /// The account has no workers.dev subdomain yet (10063).
    #[error("{0}")]
    NoWorkersDevSubdomain(Box<Failure>),
    /// No namespace has this id (10066): the only proof that it holds nothing.
    #[error("{0}")]
    UnknownNamespace(Box<Failure>),
    /// Any other refusal.
    #[error("{0}")]
    Rejected(Box<Failure>),
    /// A write got no usable answer: it may have been committed.
    #[error("{0}; whether it took effect is not known")]
    LostAnswer(Box<Failure>),
    /// Nothing was sent, or a read got no answer.
    #[error("{0}")]
    Transport(Box<Failure>),
    /// An answer to a read cannot be understood.
    #[error("{0}")]
    Decode(Box<Failure>),
    /// The user stopped the run.
    #[error("{operation}: stopped on request")]
    Stopped {
        /// What was being done.
        operation: &'static str,
        /// Whether a write was under way, which may have been committed.
        in_flight: bool,
    },
}

impl ApiError {
    /// What happened, for every error that came from a request.
    pub fn failure(&self) -> Option<&Failure> {
        use ApiError::*;
        match self {
            Unusable(_) | Stopped { .. } => None,
            Forbidden { failure, .. } | MigrationTagMismatch { failure, .. } => Some(failure),
            NotFound(failure)
            | NoRoute(failure)
            | NoVersions(failure)
            | Unauthorized(failure)
            | RateLimited(failure)
            | ClassNotExported(failure)
            | ClassStillDependedOn(failure)
            | ClassStillBound(failure)
            | ClassState(failure)
            | DuplicateMigrationTarget(failure)
            | BindingTarget(failure)
            | InheritedBinding(failure)
            | NamespaceNameTaken(failure)
            | KeyValueRefused(failure)
            | InvalidScript(failure)
            | InvalidScriptName(failure)
            | TagsRefused(failure)
            | StillReferenced(failure)
            | QueueConsumer(failure)
            | NoWorkersDevSubdomain(failure)
            | UnknownNamespace(failure)
            | Rejected(failure)
            | LostAnswer(failure)
            | Transport(failure)
            | Decode(failure) => Some(failure),
        }
    }

    /// Whether the write that failed may have been committed all the same.
    pub fn may_have_committed(&self) -> bool {
        matches!(
            self,
            ApiError::LostAnswer(_)
                | ApiError::Stopped {
                    in_flight: true,
                    ..
                }
        )
    }

    /// Whether Cloudflare answered that something failed inside it, as it does when deletes overlap (10013).
    pub fn is_internal(&self) -> bool {
        self.failure().is_some_and(|failure| failure.has(&[10013]))
    }

    /// The meaning of a refusal. `permission` is what the call needs.
    ///
    /// Texts go before codes where one code means several things, and codes before statuses,
    /// because most statuses are not documented.
    pub(super) fn refusal(failure: Box<Failure>, permission: &'static str) -> Self {
        use ApiError::*;
        let status = failure.status.unwrap_or_default();
        if failure.has(&[10079]) || failure.says("tag precondition failed") {
            let (expected, got) = tags_of_mismatch(&failure);
            return MigrationTagMismatch {
                failure,
                expected,
                got,
            };
        }
        if failure.says("cannot be the target of more than one migration") {
            return DuplicateMigrationTarget(failure);
        }
        if failure.says("has no versions") {
            return NoVersions(failure);
        }
        if failure.says("limit of 10 tags") || failure.says("Tag is too large") {
            return TagsRefused(failure);
        }
        if failure.has(&[10142]) || failure.says("still referenced by") {
            return StillReferenced(failure);
        }
        for &(code, _) in &failure.codes {
            let meaning: fn(Box<Failure>) -> Self = match code {
                971 => RateLimited,
                10007 | 10090 | 10092 => NotFound,
                7000 | 7003 | 10404 => NoRoute,
                10222 => NoVersions,
                1000 | 6003 | 6111 | 9103 | 9106 => Unauthorized,
                10000 if status == 401 => Unauthorized,
                9109 | 10000 | 10001 | 10023 => {
                    return Forbidden {
                        failure,
                        permission,
                    };
                }
                10070 => ClassNotExported,
                10064 if failure.says("onsumer") => QueueConsumer,
                10064 => ClassStillDependedOn,
                10061 if failure.says("--delete-class") => ClassStillBound,
                10074 => ClassState,
                10061 | 10041 | 10042 | 10085 | 10143 | 10144 | 10157 | 10159 | 10181 | 10182
                | 11000 | 100119 | 100143 => BindingTarget,
                10057 => InheritedBinding,
                10065 => NamespaceNameTaken,
                10097 | 10099 => KeyValueRefused,
                10006 | 10021 | 10027 | 10068 | 10069 => InvalidScript,
                10016 => InvalidScriptName,
                10063 => NoWorkersDevSubdomain,
                10066 => UnknownNamespace,
                _ => continue,
            };
            return meaning(failure);
        }
        match status {
            401 => Unauthorized(failure),
            429 => RateLimited(failure),
            // Without a code of Cloudflare's and without an own remark it is the bare refusal.
            403 if failure.codes.is_empty() && failure.detail.is_none() => Forbidden {
                failure,
                permission,
            },
            404 if failure.codes.is_empty() && failure.detail.is_none() => NotFound(failure),
            _ => Rejected(failure),
        }
    }
}

/// The tags that a 10079 names: `got tag 'x' when expected tag is 'y'`, or the older `current tag is y`.
fn tags_of_mismatch(failure: &Failure) -> (Option<MigrationTag>, Option<String>) {
    let find = |start: &str, ends: &[&str]| {
        failure.codes.iter().find_map(|(_, text)| {
            let rest = text.split_once(start)?.1;
            let end = ends
                .iter()
                .find_map(|end| rest.rfind(end))
                .unwrap_or(rest.len());
            let tag = rest[..end].trim();
            let bare = tag
                .strip_prefix(['\'', '"'])
                .and_then(|t| t.strip_suffix(['\'', '"']));
            Some(bare.unwrap_or(tag).to_owned())
        })
    };
    let got = find("got tag ", &[" when expected tag is "]);
    let expected = find("when expected tag is ", &[". Please "])
        .or_else(|| find("current tag is ", &[". Please "]))
        .filter(|tag| !tag.is_empty())
        .map(|tag| MigrationTag::new(&tag));
    (expected, got)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The variant's name that one status with these codes and texts becomes.
    fn meaning(status: u16, codes: &[(i64, &str)]) -> String {
        let codes = codes
            .iter()
            .map(|&(code, text)| (code, text.to_owned()))
            .collect();
        let failure = Failure {
            status: Some(status),
            codes,
            ..Failure::default()
        };
        let debug = format!("{:?}", ApiError::refusal(Box::new(failure), "P"));
        debug
            .split(['(', ' '])
            .next()
            .unwrap_or_default()
            .to_owned()
    }

    #[test]
    fn recorded_refusals_get_their_meaning() {
        let new_version = "New version of script does not export class 'C' which is depended on by existing Durable Objects. Did you forget to include it?";
        let queue = "Cannot delete this Worker as it is a consumer for a Queue. Remove it from the Queue's consumers first, then retry.";
        let delete = "Cannot apply --delete-class migration to class 'C' without also removing the binding that references it.";
        let bind = "Cannot create binding for class 'C' because it is not currently configured to implement Durable Objects. Configure a migration in your configuration to add this class.";
        let target = "class 'C' cannot be the target of more than one migration";
        let referenced = "Cannot delete service 'X' because it is still referenced by service bindings in Workers 'Y'. Please remove bindings pointing to it and try again.";
        let tags =
            "You have exceeded the limit of 10 tags per Worker. Remove a tag to add another.";
        for (status, code, text, expect) in [
            (
                404,
                10007,
                "This Worker does not exist on your account.",
                "NotFound",
            ),
            (
                404,
                10090,
                "workers.api.error.service_not_found",
                "NotFound",
            ),
            (
                404,
                10092,
                "workers.api.error.environment_not_found",
                "NotFound",
            ),
            (404, 10007, "Worker has no versions", "NoVersions"),
            (404, 10222, "none", "NoVersions"),
            (
                404,
                7003,
                "Could not route to /accounts/x, perhaps …?",
                "NoRoute",
            ),
            (404, 10404, "No route for that URI", "NoRoute"),
            (404, 10056, "binding not found", "Rejected"),
            (404, 10066, "namespace not found", "UnknownNamespace"),
            (403, 10000, "Authentication error", "Forbidden"),
            (401, 10000, "Authentication error", "Unauthorized"),
            (400, 6003, "Invalid request headers", "Unauthorized"),
            (400, 9106, "Missing X-Auth-Key", "Unauthorized"),
            (403, 10023, "workers.api.error.unauthorized", "Forbidden"),
            (403, 0, tags, "TagsRefused"),
            (400, 0, "Tag is too large", "TagsRefused"),
            (
                403,
                10034,
                "workers.api.error.email_verification_required",
                "Rejected",
            ),
            (
                400,
                10021,
                "Uncaught ReferenceError: x is not defined",
                "InvalidScript",
            ),
            (400, 10021, target, "DuplicateMigrationTarget"),
            (400, 10074, target, "DuplicateMigrationTarget"),
            (
                400,
                10074,
                "Cannot apply rename-class migration …",
                "ClassState",
            ),
            (400, 10064, new_version, "ClassStillDependedOn"),
            (400, 10064, queue, "QueueConsumer"),
            (400, 10061, delete, "ClassStillBound"),
            (400, 10061, bind, "BindingTarget"),
            (400, 10041, "KV namespace 'ID' not found.", "BindingTarget"),
            (
                400,
                10057,
                "inherit binding 'X' is invalid",
                "InheritedBinding",
            ),
            (
                400,
                10065,
                "Durable Object namespace name 'x_Y' already in use.",
                "NamespaceNameTaken",
            ),
            (
                400,
                10070,
                "Cannot apply new-class migration …",
                "ClassNotExported",
            ),
            (400, 10097, "In order to use …", "KeyValueRefused"),
            (400, 10099, "Creating new key-value …", "KeyValueRefused"),
            (400, 10142, referenced, "StillReferenced"),
            (400, 19999, referenced, "StillReferenced"),
            (
                400,
                10063,
                "You need a workers.dev subdomain",
                "NoWorkersDevSubdomain",
            ),
            (
                400,
                10016,
                "workers.api.error.invalid_script_name",
                "InvalidScriptName",
            ),
            (
                200,
                971,
                "Please wait and consider throttling",
                "RateLimited",
            ),
            (429, 4242, "slow down", "RateLimited"),
            (418, 4242, "new", "Rejected"),
        ] {
            assert_eq!(
                meaning(status, &[(code, text)]),
                expect,
                "{status} {code} {text}"
            );
        }
        assert_eq!(meaning(404, &[]), "NotFound");
        assert_eq!(meaning(403, &[]), "Forbidden");
        assert_eq!(
            meaning(404, &[(7003, "Could not route"), (7000, "No route")]),
            "NoRoute"
        );
    }

    #[test]
    fn a_page_of_somebody_else_is_not_a_missing_worker() {
        let detail = Some("the answer is not Cloudflare's JSON (text/html)".to_owned());
        let failure = Failure {
            status: Some(404),
            detail,
            ..Failure::default()
        };
        let error = ApiError::refusal(Box::new(failure), "P");
        assert!(matches!(error, ApiError::Rejected(_)), "{error:?}");
    }

    #[track_caller]
    fn mismatch(text: &str, expect: Option<&str>, sent: Option<&str>) {
        let codes = vec![(10079, text.to_owned())];
        let failure = Failure {
            status: Some(412),
            codes,
            ..Failure::default()
        };
        let error = ApiError::refusal(Box::new(failure), "P");
        let ApiError::MigrationTagMismatch { expected, got, .. } = error else {
            panic!("{error:?}")
        };
        assert_eq!(expected.as_ref().map(MigrationTag::as_str), expect);
        assert_eq!(got.as_deref(), sent);
    }

    #[test]
    fn the_live_tag_is_read_from_both_forms_of_the_mismatch() {
        let long = |got: &str, expected: &str| {
            format!(
                "Actor migration tag precondition failed, got tag '{got}' when expected tag is '{expected}'. Please make sure the tags match and try again."
            )
        };
        mismatch(&long("", "v1"), Some("v1"), Some(""));
        mismatch(&long("x", "it's. v2"), Some("it's. v2"), Some("x"));
        mismatch(&long("v1", ""), None, Some("v1"));
        mismatch(
            "Migration tag precondition failed; current tag is v1",
            Some("v1"),
            None,
        );
        mismatch(
            "Migration tag precondition failed; current tag is 'v1'",
            Some("v1"),
            None,
        );
        mismatch("something new", None, None);
    }

    #[test]
    fn a_failure_says_what_was_tried_and_what_cloudflare_said() {
        let failure = Failure {
            operation: "upload the Worker",
            method: "PUT",
            path: "/accounts/a/workers/scripts/w".to_owned(),
            status: Some(403),
            codes: vec![(10023, "workers.api.error.unauthorized".to_owned())],
            ray: Some("8f1".to_owned()),
            detail: None,
            attempts: 2,
        };
        let error = ApiError::refusal(Box::new(failure), "Workers Scripts: Edit");
        assert_eq!(
            error.to_string(),
            "upload the Worker: PUT /accounts/a/workers/scripts/w answered 403: code 10023: \
             workers.api.error.unauthorized (after 2 attempts) (ray 8f1); the credentials need \
             the permission \"Workers Scripts: Edit\" on this account"
        );
    }
}
