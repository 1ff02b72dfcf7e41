//! What people want to see of local Cloudflare, as plain values. Holds no secret, no token and no code.

use std::sync::Arc;

use serde::Serialize;

use super::account::{Account, Plan};
use super::bindings::{Binding, Target};
use super::calls::{Call, Refusal};
use super::faults::{Bucket, Fault};
use super::script::Script;
use super::server::Cloud;

/// So many calls are shown, and so many refused uploads.
const SHOWN_CALLS: usize = 50;
const SHOWN_REFUSALS: usize = 5;
/// A variable may be a whole document.
const SHOWN_TEXT: usize = 80;

/// Everything that is shown.
#[derive(Debug, Serialize)]
pub(super) struct Status {
    /// The account id.
    pub(super) account: String,
    pub(super) plan: Plan,
    /// The base of the API.
    pub(super) api: String,
    /// Where all Workers listen.
    pub(super) workers_address: String,
    pub(super) workers: Vec<ShownWorker>,
    pub(super) namespaces: Vec<ShownNamespace>,
    /// The latest uploads that were refused, latest first.
    pub(super) refused_uploads: Vec<ShownCall>,
    /// The latest calls of the API, latest first.
    pub(super) calls: Vec<ShownCall>,
    /// What makes calls misbehave.
    pub(super) faults: Vec<Fault>,
    pub(super) latency_ms: u128,
    pub(super) bucket: Option<Bucket>,
}

/// A deployed Worker.
#[derive(Debug, Serialize)]
pub(super) struct ShownWorker {
    pub(super) name: String,
    pub(super) url: String,
    /// The exported classes that can implement Durable Objects.
    pub(super) classes: Vec<String>,
    /// The handlers of the default export.
    pub(super) handlers: Vec<String>,
    /// The other named exports, with what they handle.
    pub(super) entrypoints: Vec<(String, Vec<String>)>,
    pub(super) bindings: Vec<ShownBinding>,
    /// The cron expressions of its schedules.
    pub(super) schedules: Vec<String>,
    pub(super) migration_tag: Option<String>,
    pub(super) tags: Vec<String>,
    pub(super) compatibility_date: Option<String>,
    pub(super) modified_on: String,
}

/// A binding without what may be secret.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct ShownBinding {
    pub(super) name: String,
    pub(super) kind: String,
    /// What it leads to, or its value, if that may be seen.
    pub(super) value: Option<String>,
}

/// A Durable Object namespace.
#[derive(Debug, Serialize)]
pub(super) struct ShownNamespace {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) worker: String,
    pub(super) class: String,
    pub(super) sqlite: bool,
    /// The number of its objects.
    pub(super) objects: usize,
    /// How many of them have stored data.
    pub(super) with_data: usize,
}

/// A call of the API.
#[derive(Debug, Serialize)]
pub(super) struct ShownCall {
    pub(super) at: String,
    pub(super) method: String,
    pub(super) path: String,
    pub(super) query: String,
    pub(super) status: u16,
    pub(super) micros: u64,
    pub(super) errors: Vec<Refusal>,
    /// The Worker that it uploads.
    pub(super) uploads: Option<String>,
    pub(super) refused: bool,
}

impl Status {
    /// What there is now.
    pub(super) async fn of(cloud: &Cloud) -> Self {
        let account: Arc<Account> = cloud.account();
        let workers_address = cloud.hosting.address();
        let mut namespaces = Vec::new();
        for namespace in &account.namespaces {
            let objects = cloud.hosting.objects(&namespace.id).await;
            namespaces.push(ShownNamespace {
                id: namespace.id.clone(),
                name: namespace.name.clone(),
                worker: namespace.script.clone(),
                class: namespace.class.clone(),
                sqlite: namespace.sqlite,
                objects: objects.len(),
                with_data: objects.iter().filter(|(_, stored)| *stored).count(),
            });
        }
        let workers = account.scripts.iter();
        let refused_upload = |call: &Call| call.refused() && call.uploads().is_some();
        let shown = |calls: Vec<Call>| calls.into_iter().map(ShownCall::from).collect();
        Self {
            account: cloud.account_id.clone(),
            plan: account.plan,
            api: format!("http://{}/client/v4", cloud.address),
            workers_address: workers_address.to_string(),
            workers: workers
                .map(|(name, script)| worker(&account, name, script, workers_address.port()))
                .collect(),
            namespaces,
            refused_uploads: shown(cloud.calls.latest(SHOWN_REFUSALS, refused_upload)),
            calls: shown(cloud.calls.latest(SHOWN_CALLS, |_| true)),
            faults: cloud.faults.in_force(),
            latency_ms: cloud.faults.latency().as_millis(),
            bucket: cloud.faults.bucket(),
        }
    }
}

impl From<Call> for ShownCall {
    fn from(call: Call) -> Self {
        Self {
            uploads: call.uploads().map(str::to_owned),
            refused: call.refused(),
            at: call.at,
            method: call.method,
            path: call.path,
            query: call.query,
            status: call.status,
            micros: call.micros,
            errors: call.errors,
        }
    }
}

fn worker(account: &Account, name: &str, script: &Script, port: u16) -> ShownWorker {
    let exports = &script.code.exports;
    let bindings = script.bindings.iter();
    ShownWorker {
        name: name.to_owned(),
        url: format!("http://{name}.localhost:{port}/"),
        classes: exports.classes.iter().cloned().collect(),
        handlers: exports.handlers.clone(),
        entrypoints: exports.entrypoints.clone(),
        bindings: bindings.map(|it| binding(account, it)).collect(),
        schedules: script.schedules.iter().map(|it| it.cron.clone()).collect(),
        migration_tag: script.migration_tag.clone(),
        tags: script.settings.tags.clone(),
        compatibility_date: script.settings.compatibility_date.clone(),
        modified_on: script.modified_on.clone(),
    }
}

/// Only what is known to be no secret is shown.
fn binding(account: &Account, binding: &Binding) -> ShownBinding {
    let text = |member: &str| binding.text(member).map(str::to_owned);
    let value = match (binding.kind.as_str(), &binding.target) {
        (_, Target::Namespace(id)) => account
            .namespace_by_id(id)
            .map(|namespace| format!("{} of {}", namespace.class, namespace.script)),
        (_, Target::Worker(tag)) => account.name_of(tag).map(str::to_owned),
        ("plain_text", _) => text("text"),
        ("json", _) => binding.members.get("json").map(ToString::to_string),
        ("kv_namespace", _) => text("namespace_id"),
        ("r2_bucket", _) => text("bucket_name"),
        ("d1", _) => text("id").or_else(|| text("database_id")),
        ("queue", _) => text("queue_name"),
        ("service", _) => text("service"),
        ("durable_object_namespace", _) => text("class_name"),
        _ => None,
    };
    ShownBinding {
        name: binding.name.clone(),
        kind: binding.kind.clone(),
        value: value.map(shortened),
    }
}

fn shortened(text: String) -> String {
    match text.char_indices().nth(SHOWN_TEXT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_binding_shows_where_it_leads_and_no_secret() {
        for (kind, member, expected) in [
            ("plain_text", "text", Some("value")),
            ("kv_namespace", "namespace_id", Some("value")),
            ("secret_text", "text", None),
            ("secret_key", "key_base64", None),
            ("not_yet_invented", "text", None),
        ] {
            let members = json!({"name": "N", "type": kind, member: "value"});
            let stored = Binding {
                name: "N".into(),
                kind: kind.into(),
                members: members.as_object().cloned().expect("it is an object"),
                target: Target::Elsewhere,
            };
            let shown = binding(&Account::new("a", "seed"), &stored);
            assert_eq!(shown.value.as_deref(), expected, "{kind}");
        }
    }

    #[test]
    fn a_long_value_is_shortened_between_characters() {
        let short = shortened("ü".repeat(SHOWN_TEXT));
        assert_eq!(short.chars().count(), SHOWN_TEXT);
        let long = shortened("ü".repeat(SHOWN_TEXT + 1));
        assert_eq!(long, format!("{}…", "ü".repeat(SHOWN_TEXT)));
    }
}
