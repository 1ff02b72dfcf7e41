//! What is planned from what a configuration and a state say, attribute by attribute. Nobody can ask Cloudflare here: the token
//! is not known yet, which is when a plan has to rely on nothing else.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::*;
use crate::bundle::Bundler;
use crate::resources::session::{Access, Login, Session};
use crate::tf::Severity;

const ACCOUNT: &str = "0123456789abcdef0123456789abcdef";
const CODE: &str = "export class Room {}; export { Room as Hall }; export default {};";

fn worker() -> Worker {
    let session = Session::default();
    session.configure(Access {
        login: Login::Unknown("api_token"),
        account: Attr::Known(AccountId::new(ACCOUNT)),
        base_url: Attr::Null,
        max_retries: 0,
        settle: Duration::ZERO,
    });
    Worker::new(Arc::new(session))
}

/// A configuration of a Worker that hosts `rooms`, with these members instead.
fn config(members: &[(&str, Value)]) -> Value {
    let attributes = worker().schema.attributes;
    let mut value = Value::object(attributes.iter().map(|a| (a.name.clone(), Value::Null)));
    for (name, member) in [
        ("name", Value::from("chat")),
        ("script", CODE.into()),
        ("compatibility_date", "2026-11-01".into()),
        ("bindings", bindings(&[("ROOMS", rooms("Room"))])),
    ]
    .iter()
    .chain(members)
    {
        value.set(name, member.clone());
    }
    value
}

fn bindings(elements: &[(&str, Value)]) -> Value {
    Value::object(elements.iter().map(|(name, value)| (*name, value.clone())))
}

fn rooms(class: &str) -> Value {
    Value::object([
        ("type", Value::from(element::BINDING_TYPE)),
        ("stable_id", "rooms".into()),
        ("class_name", class.into()),
        ("sqlite", true.into()),
        ("force_destroy", false.into()),
    ])
}

fn text(value: impl Into<Value>) -> Value {
    Value::object([("type", Value::from("plain_text")), ("text", value.into())])
}

async fn planned(prior: &Value, config: &Value) -> PlanResponse {
    let worker = worker();
    let request = || PlanRequest {
        prior: prior.clone(),
        proposed: config.clone(),
        config: config.clone(),
        prior_private: Vec::new(),
        stop: CancellationToken::new(),
    };
    let first = plan(&worker, request()).await;
    let second = plan(&worker, request()).await;
    assert_eq!(first.planned, second.planned, "a plan is made twice");
    assert_eq!(first.private, second.private);
    assert_eq!(first.requires_replace, second.requires_replace);
    first
}

/// The planned state once all that was unknown has become something.
fn applied(planned: &Value) -> Value {
    fn known(value: &Value) -> Value {
        match value {
            Value::Unknown => "given".into(),
            Value::Map(map) => Value::object(map.iter().map(|(k, v)| (k.as_str(), known(v)))),
            Value::List(list) => Value::List(list.iter().map(known).collect()),
            other => other.clone(),
        }
    }
    let mut state = known(planned);
    if planned.get("workers_dev").is_unknown() {
        state.set("workers_dev", false);
        state.set("url", Value::Null);
    }
    state
}

async fn state(members: &[(&str, Value)]) -> Value {
    let response = planned(&Value::Null, &config(members)).await;
    assert_eq!(errors(&response), [""; 0]);
    applied(&response.planned)
}

fn errors(response: &PlanResponse) -> Vec<String> {
    let all = response.diagnostics.iter();
    all.filter(|it| it.severity == Severity::Error)
        .map(|it| it.path.clone().unwrap_or_default().to_string())
        .collect()
}

/// The attributes whose planned value is not that of the state.
fn changes(prior: &Value, response: &PlanResponse) -> Vec<String> {
    worker()
        .schema
        .attributes
        .iter()
        .filter(|a| response.planned.get(&a.name) != prior.get(&a.name))
        .map(|a| a.name.to_string())
        .collect()
}

/// Plans a change of these members of a Worker that exists, and says what it changes.
#[track_caller]
fn change(members: &[(&str, Value)], expect: &[&str], uploads: bool) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    let config = config(members);
    async move {
        let prior = state(&[]).await;
        let response = planned(&prior, &config).await;
        assert_eq!(errors(&response), [""; 0], "at {caller}");
        assert_eq!(changes(&prior, &response), expect, "at {caller}");
        assert_eq!(response.requires_replace, [], "at {caller}");
        let steps = Private::decode(&response.private).planned;
        assert_eq!(steps.expect("a plan").upload, uploads, "at {caller}");
    }
}

#[tokio::test]
async fn what_is_there_is_planned_as_it_is() {
    change(&[], &[], false).await;
    change(&[("adopt", true.into())], &["adopt"], false).await;
    change(&[("compatibility_date", Value::Null)], &[], false).await;
    change(&[("account_id", ACCOUNT.into())], &[], false).await;
    change(&[("account_id", Value::Unknown)], &[], false).await;
}

#[tokio::test]
async fn every_change_of_the_code_or_its_settings_uploads() {
    for (name, value, expect) in [
        (
            "script",
            Value::from("export class Room {}"),
            &["script", "content_sha256", "etag"][..],
        ),
        (
            "script",
            Value::Unknown,
            &["script", "content_sha256", "etag"],
        ),
        (
            "compatibility_date",
            "2026-10-01".into(),
            &["compatibility_date", "etag"],
        ),
        (
            "compatibility_date",
            Value::Unknown,
            &["compatibility_date", "etag"],
        ),
        (
            "compatibility_flags",
            vec!["nodejs_compat"].into(),
            &["compatibility_flags", "etag"],
        ),
        (
            "compatibility_flags",
            Value::Unknown,
            &["compatibility_flags", "etag"],
        ),
        (
            "vars",
            Value::object([("A", Value::from("x"))]),
            &["vars", "etag"],
        ),
        (
            "vars",
            Value::object([("A", Value::Unknown)]),
            &["vars", "etag"],
        ),
        ("vars", Value::Unknown, &["vars", "etag"]),
    ] {
        change(&[(name, value)], expect, true).await;
    }
    for bundle in [Value::Null, Value::Unknown] {
        let members = [
            ("script", Value::Null),
            ("entrypoint", Value::Unknown),
            ("bundle", bundle.clone()),
        ];
        let expect: &[&str] = match bundle {
            Value::Null => &["script", "entrypoint", "content_sha256", "etag"],
            _ => &["script", "entrypoint", "bundle", "content_sha256", "etag"],
        };
        change(&members, expect, true).await;
    }
    for (name, value, expect) in [
        (
            "workers_dev",
            Value::from(true),
            &["workers_dev", "url"][..],
        ),
        ("workers_dev", Value::Unknown, &["workers_dev", "url"]),
        ("workers_dev", false.into(), &[]),
    ] {
        change(&[(name, value)], expect, false).await;
    }
}

#[tokio::test]
async fn a_renamed_class_is_one_more_migration_and_no_other_namespace() {
    let prior = state(&[]).await;
    let renamed = config(&[("bindings", bindings(&[("ROOMS", rooms("Hall"))]))]);
    let response = planned(&prior, &renamed).await;
    assert_eq!(
        changes(&prior, &response),
        [
            "bindings",
            "durable_object_namespaces",
            "migrations",
            "etag",
            "migration_tag"
        ]
    );
    let namespaces = |value: &Value| value.get("durable_object_namespaces").get("rooms").clone();
    let (before, after) = (namespaces(&prior), namespaces(&response.planned));
    assert_eq!(after.get("namespace_id"), before.get("namespace_id"));
    assert_eq!(after.get("class_name"), &"Hall".into());
    let count = |value: &Value| value.get("migrations").as_map().map(|map| map.len());
    assert_eq!(count(&prior), Some(1));
    assert_eq!(count(&response.planned), Some(2));
}

#[tokio::test]
async fn a_class_that_the_code_does_not_export_is_refused_where_it_is_named() {
    let hosted = |attribute: &str, class: &str| {
        let other = match attribute {
            "bindings" => "durable_objects",
            _ => "bindings",
        };
        config(&[
            (attribute, bindings(&[("ROOMS", rooms(class))])),
            (other, Value::Null),
        ])
    };
    let prior = state(&[]).await;
    for attribute in ELEMENT_MAPS {
        let refused = [format!("{attribute}[\"ROOMS\"].class_name")];
        for before in [&Value::Null, &prior] {
            let missing = planned(before, &hosted(attribute, "Roam")).await;
            assert_eq!(errors(&missing), refused);
            let mut unknown = hosted(attribute, "Roam");
            unknown.set("script", Value::Unknown);
            assert_eq!(errors(&planned(before, &unknown).await), [""; 0]);
        }
    }
    // What runs already is not judged again: Cloudflare has.
    let code = "export const Room = () => {}";
    let odd = config(&[("script", code.into())]);
    assert_eq!(errors(&planned(&prior, &odd).await).len(), 1);
    let mut runs = prior.clone();
    let Ok(Code::Known(modules)) =
        code::load(&odd, &Bundler::default(), &CancellationToken::new()).await
    else {
        panic!("the code is known");
    };
    runs.set("content_sha256", modules.sha256.as_str());
    assert_eq!(errors(&planned(&runs, &odd).await), [""; 0]);
}

#[tokio::test]
async fn what_decides_classes_and_is_unknown_makes_only_the_preview_unknown() {
    for member in [
        "class_name",
        "script_name",
        "transferred_from",
        "previous_class_name",
        "sqlite",
    ] {
        let mut element = rooms("Room");
        element.set(member, Value::Unknown);
        let config = config(&[("bindings", bindings(&[("ROOMS", element)]))]);
        for prior in [Value::Null, state(&[]).await] {
            let response = planned(&prior, &config).await;
            assert_eq!(errors(&response), [""; 0], "{member}");
            for attribute in ["migrations", "durable_object_namespaces"] {
                assert!(
                    response.planned.get(attribute).is_unknown(),
                    "{member}: {attribute}"
                );
            }
            assert_eq!(response.planned.get("name"), &"chat".into());
        }
    }
}

#[tokio::test]
async fn what_decides_deletion_must_be_known_once_there_is_something_to_delete() {
    let mut unnamed = rooms("Room");
    unnamed.set("stable_id", Value::Unknown);
    let prior = state(&[]).await;
    for (value, place) in [
        (Value::Unknown, "bindings"),
        (
            bindings(&[("ROOMS", Value::Unknown)]),
            "bindings[\"ROOMS\"]",
        ),
        (
            bindings(&[("ROOMS", unnamed)]),
            "bindings[\"ROOMS\"].stable_id",
        ),
    ] {
        let config = config(&[("bindings", value)]);
        assert_eq!(errors(&planned(&Value::Null, &config).await), [""; 0]);
        assert_eq!(errors(&planned(&prior, &config).await), [place]);
    }
    // Under a key of its own nothing that is hosted can be meant.
    let more = config(&[(
        "bindings",
        bindings(&[("ROOMS", rooms("Room")), ("MORE", Value::Unknown)]),
    )]);
    assert_eq!(errors(&planned(&prior, &more).await), [""; 0]);
    // A Worker that hosts nothing has nothing to lose.
    let empty = state(&[("bindings", Value::Null)]).await;
    let unknown = config(&[("bindings", Value::Unknown)]);
    assert_eq!(errors(&planned(&empty, &unknown).await), [""; 0]);
}

#[tokio::test]
async fn an_entry_moves_between_vars_and_bindings_without_an_upload() {
    let short = [("vars", Value::object([("A", Value::from("x"))]))];
    let long = [(
        "bindings",
        bindings(&[("ROOMS", rooms("Room")), ("A", text("x"))]),
    )];
    for (before, after) in [(&short, &long), (&long, &short)] {
        let prior = state(before).await;
        let response = planned(&prior, &config(after)).await;
        let steps = Private::decode(&response.private).planned;
        assert!(!steps.expect("a plan").upload);
        assert_eq!(response.planned.get("etag"), prior.get("etag"));
    }
}

#[tokio::test]
async fn json_is_compared_by_what_it_means() {
    let json = |text: &str| {
        let element = Value::object([("type", Value::from("json")), ("json", text.into())]);
        [("bindings", bindings(&[("J", element)]))]
    };
    let prior = state(&json(r#"{"a":1,"b":[1,2]}"#)).await;
    for (text, uploads) in [
        (r#"{ "b": [1, 2], "a": 1 }"#, false),
        (r#"{"a":1,"b":[2,1]}"#, true),
        (r#"{"a":1}"#, true),
    ] {
        let response = planned(&prior, &config(&json(text))).await;
        let steps = Private::decode(&response.private).planned;
        assert_eq!(steps.expect("a plan").upload, uploads, "{text}");
    }
}

#[tokio::test]
async fn only_another_account_forces_replacement() {
    let prior = state(&[]).await;
    let other = config(&[("account_id", "ffffffffffffffffffffffffffffffff".into())]);
    let response = planned(&prior, &other).await;
    assert_eq!(
        response.requires_replace,
        [AttributePath::root("account_id")]
    );
    let renamed = planned(&prior, &config(&[("name", "talk".into())])).await;
    assert_eq!(renamed.requires_replace, []);
    assert_eq!(renamed.planned.get("worker_id"), prior.get("worker_id"));
    assert_eq!(
        renamed
            .planned
            .get("bindings")
            .get("ROOMS")
            .get("script_name"),
        &"talk".into()
    );
}

#[tokio::test]
async fn a_create_leaves_unknown_what_cloudflare_gives() {
    let response = planned(&Value::Null, &config(&[])).await;
    let mut unknown: Vec<String> = Vec::new();
    for attribute in &worker().schema.attributes {
        let value = response.planned.get(&attribute.name);
        if value.is_unknown() {
            unknown.push(attribute.name.to_string());
        }
    }
    assert_eq!(unknown, ["workers_dev", "url", "worker_id", "etag"]);
}

#[test]
fn dates_are_days_of_the_calendar() {
    for (text, expect) in [
        ("2026-11-01", true),
        ("2024-02-29", true),
        ("2026-02-29", false),
        ("2026-04-31", false),
        ("2026-13-01", false),
        ("2026-00-10", false),
        ("2026-01-00", false),
        ("2026-1-01", false),
        ("2026/11/01", false),
        ("20261101", false),
        ("2026-11-01T", false),
        ("", false),
    ] {
        assert_eq!(is_date(text), expect, "{text}");
    }
}
