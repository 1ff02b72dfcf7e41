//! The list of switches that `GET /__local` answers with: what each does, with bodies to copy. The tests flip every one.

use serde_json::{Value, json};

/// Something below `/__local`.
pub(super) struct Switch {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    does: &'static str,
    examples: Vec<(&'static str, Value)>,
}

/// All switches as the API shows them.
pub(super) fn listing() -> Value {
    let shown = |switch: Switch| {
        let examples = switch.examples.into_iter();
        let examples: Vec<Value> = examples
            .map(|(does, body)| json!({"does": does, "body": body}))
            .collect();
        let mut shown = json!({
            "method": switch.method,
            "path": format!("/__local{}", switch.path),
            "does": switch.does,
        });
        if !examples.is_empty() {
            shown["examples"] = examples.into();
        }
        shown
    };
    json!({"switches": all().into_iter().map(shown).collect::<Vec<_>>()})
}

/// All switches.
pub(super) fn all() -> Vec<Switch> {
    let plain = |method, path, does| Switch {
        method,
        path,
        does,
        examples: Vec::new(),
    };
    let with = |method, path, does, examples| Switch {
        method,
        path,
        does,
        examples,
    };
    vec![
        plain("GET", "", "lists the switches"),
        plain("GET", "/status", "what the status page shows, as JSON"),
        plain(
            "GET",
            "/calls",
            "the calls of the API so far, with what they sent",
        ),
        plain("DELETE", "/calls", "forgets the calls so far"),
        plain(
            "GET",
            "/faults",
            "the faults in force, and how often one has met a call",
        ),
        with(
            "POST",
            "/faults",
            "adds a fault. `method` and `path` (`*` is any text) choose the calls, `after` lets so many pass first, \
             `times` ends it after so many; without `times` it stays until it is cleared",
            faults(),
        ),
        plain(
            "POST",
            "/faults/release",
            "lets calls go that the fault `hold` holds back",
        ),
        plain(
            "DELETE",
            "/faults",
            "clears all faults, the latency and the rate limit",
        ),
        with(
            "PUT",
            "/latency",
            "delays every call",
            vec![("every call takes 50 ms longer", json!({"ms": 50}))],
        ),
        with(
            "PUT",
            "/bucket",
            "limits the rate of all calls",
            vec![
                (
                    "10 calls at once, 2 more every second",
                    json!({"capacity": 10, "per_second": 2}),
                ),
                ("no limit", Value::Null),
            ],
        ),
        with(
            "POST",
            "/trigger",
            "runs the `scheduled` handler of a Worker now, and tells how it ended",
            vec![(
                "`cron` and `time` (ms since 1970) may be left out: the first schedule, and now",
                json!({"script": "my-worker", "cron": "*/5 * * * *"}),
            )],
        ),
        with(
            "POST",
            "/act",
            "does what another tool, or the dashboard, could do",
            actions(),
        ),
        plain(
            "POST",
            "/reset",
            "empties the account, and clears faults and calls",
        ),
    ]
}

fn faults() -> Vec<(&'static str, Value)> {
    let upload = "*/workers/scripts/my-worker";
    vec![
        (
            "the next call is refused with 429 and `retry-after` in seconds",
            json!({"kind": "rate_limit", "retry_after": 2, "times": 1}),
        ),
        (
            "the same with a date in `retry-after`",
            json!({"kind": "rate_limit_until", "seconds": 2, "times": 1}),
        ),
        (
            "the rate limit as code 971 in HTTP 200",
            json!({"kind": "throttled", "times": 1}),
        ),
        (
            "an authentication error that goes away by itself",
            json!({"kind": "error", "status": 403, "code": 10000, "message": "Authentication error", "times": 1}),
        ),
        (
            "an upload fails and changes nothing",
            json!({"kind": "error", "status": 500, "code": 10013, "message": "workers.api.error.unknown", "method": "PUT", "path": upload, "times": 1}),
        ),
        (
            "an upload is done, but answered with HTTP 500",
            json!({"kind": "error_after_commit", "method": "PUT", "path": upload, "times": 1}),
        ),
        (
            "the connection is closed, and nothing is done",
            json!({"kind": "close_before", "method": "PUT", "path": upload, "times": 1}),
        ),
        (
            "an upload is done, but the connection is closed instead of an answer",
            json!({"kind": "close_after_commit", "method": "PUT", "path": upload, "times": 1}),
        ),
        (
            "a call waits before it does its work",
            json!({"kind": "delay", "ms": 200, "times": 1}),
        ),
        (
            "a call does its work, then waits before it answers",
            json!({"kind": "delay_after_commit", "ms": 200, "times": 1}),
        ),
        (
            "half of the answer is missing",
            json!({"kind": "truncated", "times": 1}),
        ),
        (
            "the answer says success, with `null` for a result",
            json!({"kind": "null_result", "times": 1}),
        ),
        (
            "an upload is done, but its answer is held back until POST /__local/faults/release",
            json!({"kind": "hold", "method": "PUT", "path": upload, "times": 1}),
        ),
        (
            "an HTML page of the edge, with `cf-ray`",
            json!({"kind": "html", "status": 502, "times": 1}),
        ),
        (
            "the edge asks whether the client is a person (`cf-mitigated: challenge`)",
            json!({"kind": "challenge", "times": 1}),
        ),
        (
            "the next two lists that would show a change made from now on do not show it yet",
            json!({"kind": "stale", "method": "GET", "path": "*/workers/scripts", "times": 2}),
        ),
        (
            "the first version of a Worker is not visible to the next two reads",
            json!({"kind": "no_versions", "method": "GET", "path": "*/settings", "times": 2}),
        ),
        (
            "lists of objects in another order, with fields that nobody knows",
            json!({"kind": "unfamiliar"}),
        ),
        (
            "uploads that overlap are refused with an internal error",
            json!({"kind": "overlap", "method": "PUT", "path": "*/workers/scripts/*"}),
        ),
        (
            "somebody else moves the migration tag right before the next upload",
            json!({
                "kind": "meanwhile",
                "action": {"action": "set_migration_tag", "script": "my-worker", "tag": "theirs"},
                "method": "PUT", "path": upload, "times": 1,
            }),
        ),
    ]
}

fn actions() -> Vec<(&'static str, Value)> {
    let of = |action: &str, members: Value| {
        let mut body = json!({"action": action, "script": "my-worker"});
        for (name, value) in members.as_object().into_iter().flatten() {
            body[name] = value.clone();
        }
        body
    };
    vec![
        (
            "`free`, `paid`, or `paid_without_kv` (no key-value backed classes)",
            json!({"action": "set_plan", "plan": "free"}),
        ),
        (
            "namespace names follow renames (`follow`), or stay and block others with 10065 (`kept`)",
            json!({"action": "set_namespace_names", "names": "follow"}),
        ),
        (
            "secrets that an upload does not mention go (`dropped`), or stay (`kept`)",
            json!({"action": "set_secrets", "secrets": "kept"}),
        ),
        (
            "a KV namespace, database, bucket or queue that is not there is `created` by a binding, or `refused`",
            json!({"action": "set_unknown_stores", "unknown": "refused"}),
        ),
        (
            "gives the account a domain, for routes and custom domains",
            json!({"action": "add_zone", "name": "example.com"}),
        ),
        (
            "registers the workers.dev subdomain; `null` removes it",
            json!({"action": "set_subdomain", "subdomain": "somebody"}),
        ),
        (
            "moves the migration tag",
            of("set_migration_tag", json!({"tag": "theirs"})),
        ),
        (
            "replaces the tags of a Worker",
            of("set_tags", json!({"tags": ["theirs"]})),
        ),
        (
            "gives a namespace to another class",
            of("rename_class", json!({"from": "Counter", "to": "Tally"})),
        ),
        (
            "deletes a class and creates it again, with another namespace",
            of("replace_class", json!({"class": "Tally"})),
        ),
        (
            "deletes a class with its namespace",
            of("delete_class", json!({"class": "Tally"})),
        ),
        (
            "adds or replaces a variable",
            of("set_var", json!({"name": "GREETING", "text": "hello"})),
        ),
        (
            "adds or replaces a secret",
            of("set_secret", json!({"name": "KEY", "text": "hidden"})),
        ),
        (
            "adds or replaces a binding of any kind",
            of(
                "set_binding",
                json!({"binding": {"name": "CACHE", "type": "kv_namespace", "namespace_id": "0f2ac74b498b48028cb68387c421e279"}}),
            ),
        ),
        (
            "removes a binding",
            of("remove_binding", json!({"name": "CACHE"})),
        ),
        (
            "changes a setting that is stored as it is",
            of(
                "set_setting",
                json!({"name": "observability", "value": {"enabled": true}}),
            ),
        ),
        (
            "the content hash of other code",
            of("change_etag", json!({})),
        ),
        (
            "renames a Worker",
            json!({"action": "rename_worker", "from": "my-worker", "to": "your-worker"}),
        ),
        (
            "deletes a Worker, with the data of its Durable Objects",
            json!({"action": "delete_worker", "script": "your-worker"}),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde::de::DeserializeOwned;

    use super::*;
    use crate::cloudflare::control::{Action, read};
    use crate::cloudflare::faults::Fault;

    /// All values of a tag, from the message about one that there is not.
    fn known<T: DeserializeOwned + std::fmt::Debug>(tag: &str) -> BTreeSet<String> {
        let error = serde_json::from_value::<T>(json!({tag: "?"})).expect_err("there is none");
        let text = error.to_string();
        let names = text.split('`').skip(3).step_by(2);
        names.map(str::to_owned).collect()
    }

    #[test]
    fn every_fault_and_every_action_has_an_example_that_is_accepted() {
        let tags = |examples: &[(&str, Value)], tag: &str| -> BTreeSet<String> {
            let tags = examples.iter().filter_map(|(_, body)| body[tag].as_str());
            tags.map(str::to_owned).collect()
        };
        assert_eq!(tags(&faults(), "kind"), known::<Fault>("kind"));
        assert_eq!(tags(&actions(), "action"), known::<Action>("action"));
        for (does, body) in faults() {
            read::<Fault>(body.to_string().as_bytes())
                .unwrap_or_else(|error| panic!("{does}: {error:?}"));
        }
        for (does, body) in actions() {
            read::<Action>(body.to_string().as_bytes())
                .unwrap_or_else(|error| panic!("{does}: {error:?}"));
        }
    }
}
