//! Turns errors of the API into diagnostics: what was tried, on what, why it failed, what to do.

use crate::cloudflare::ApiError;
use crate::tf::Diagnostic;

/// An error that names the object and repeats Cloudflare's codes and texts.
///
/// `summary` is what could not be done, such as "Cannot read Worker `chat`".
pub fn error(summary: impl Into<String>, error: &ApiError) -> Diagnostic {
    let mut detail = format!("Failed to {error}.");
    if let Some(advice) = advice(error) {
        detail.push_str("\n\n");
        detail.push_str(advice);
    }
    Diagnostic::error(summary, detail)
}

/// What a person can do about it, where that is known.
fn advice(error: &ApiError) -> Option<&'static str> {
    Some(match error {
        ApiError::Unauthorized(_) => {
            "Check `CLOUDFLARE_API_TOKEN` (or `api_token`): it may have expired, or have been copied with a line break."
        }
        ApiError::Forbidden { .. } => {
            "Give the API token the permission named above for this account, or set `account_id` to the account that it belongs to."
        }
        ApiError::NoRoute(_) => {
            "Check `account_id` (32 hex digits) and `base_url` (it ends in `/client/v4`)."
        }
        ApiError::RateLimited(_) => {
            "Cloudflare allows 1200 calls in 5 minutes for all that one user or token does. Run again later, or with a lower `-parallelism`."
        }
        ApiError::MigrationTagMismatch { .. } => {
            "Another tool changed the Worker's classes in the meantime. Nothing was written. Run plan again and look at what it shows."
        }
        ApiError::ClassNotExported(_) => {
            "The code does not export this class. Export it (`export class …`), or set `class_name` to a class that is exported."
        }
        ApiError::ClassStillDependedOn(_) => {
            "The new code dropped a class that still implements a namespace. Export it again; or, if it has another name now, change \
             `class_name` of its `cloudflare_do_namespace` in the same apply; or remove the namespace."
        }
        ApiError::NamespaceNameTaken(_) => {
            "A namespace keeps the server name `<script>_<class>` that it was created with, even after it was renamed. Use another \
             `class_name` for the new namespace; it can be renamed afterwards."
        }
        ApiError::KeyValueRefused(_) => {
            "This account can only create SQLite-backed namespaces. Remove `sqlite = false`; the key-value API works there too."
        }
        ApiError::NoWorkersDevSubdomain(_) => {
            "Open Workers & Pages in the Cloudflare dashboard once; that registers the account's workers.dev subdomain."
        }
        ApiError::StillReferenced(_) => {
            "Remove the bindings of the Workers named above first, or destroy those Workers in the same run. Of Workers that bind each \
             other, one has to let go in an apply of its own."
        }
        ApiError::ClassStillBound(_) => {
            "A Worker still binds the class that was to be deleted. Where it is another Worker, a warning of the plan names it: change or \
             destroy that one first, or let it refer to this Worker in HCL, so that Terraform changes it first."
        }
        ApiError::QueueConsumer(_) => "Detach the Worker from the queue that it consumes first.",
        ApiError::TagsRefused(_) => {
            "A Worker has at most 10 tags; this provider needs one to three of them. Remove tags that other tools have set."
        }
        ApiError::LostAnswer(_) => {
            "Run apply again: it looks at what is there before it writes anything."
        }
        ApiError::Stopped { .. } => "Run apply again to go on.",
        _ => return None,
    })
}
