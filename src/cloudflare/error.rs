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
        if failure.has(&[10142]) || failure.says("is still referenced by") {
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
