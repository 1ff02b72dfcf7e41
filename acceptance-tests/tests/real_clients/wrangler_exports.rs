//! Wrangler: classes that are declared as `exports` of a Worker instead of being migrated.

use serde_json::{Value, json};

use crate::bench::{Bench, PLAIN, counter};
use crate::wrangler::project;

fn live() -> Value {
    json!({"type": "durable-object", "storage": "sqlite"})
}

fn tombstone(state: &str, more: Value) -> Value {
    let mut entry = json!({"type": "durable-object", "state": state});
    for (field, value) in more.as_object().into_iter().flatten() {
        entry[field] = value.clone();
    }
    entry
}

/// A configuration with exports and, if there is a class, the binding `COUNTER`.
fn config(bound: Option<&str>, exports: Value) -> Value {
    let mut config = json!({"exports": exports});
    if let Some(class) = bound {
        config["durable_objects"] = json!({"bindings": [{"name": "COUNTER", "class_name": class}]});
    }
    config
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "installs and runs wrangler"]
async fn a_declared_class_is_created_kept_renamed_and_deleted() {
    let bench = Bench::wrangler().await;
    project(
        &bench,
        "w",
        &counter("Counter"),
        &config(Some("Counter"), json!({"Counter": live()})),
    );
    bench.run("w", &["deploy"]).await;
    assert_eq!(bench.visit("w").await, "Counter 1");
    bench.run("w", &["deploy"]).await;
    assert_eq!(bench.visit("w").await, "Counter 2");
    assert_eq!(bench.namespaces(), ["w/Counter"]);

    // What holds objects must stay declared.
    project(&bench, "w", PLAIN, &config(None, json!({})));
    bench.fail("w", &["deploy"], "Counter").await;
    assert_eq!(bench.visit("w").await, "Counter 3");

    let renamed = tombstone("renamed", json!({"renamed_to": "Tally"}));
    let exports = json!({"Counter": renamed, "Tally": live()});
    project(
        &bench,
        "w",
        &counter("Tally"),
        &config(Some("Tally"), exports),
    );
    bench.run("w", &["deploy"]).await;
    assert_eq!(bench.visit("w").await, "Tally 4");
    assert_eq!(bench.namespaces(), ["w/Tally"]);

    let deleted = tombstone("deleted", json!({}));
    project(&bench, "w", PLAIN, &config(None, json!({"Tally": deleted})));
    bench.run("w", &["deploy"]).await;
    assert_eq!(bench.visit("w").await, "plain");
    assert_eq!(bench.namespaces(), Vec::<String>::new());
    // A tombstone that has done its work may stay.
    bench.run("w", &["deploy"]).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "installs and runs wrangler"]
async fn a_declared_class_is_handed_over_in_two_phases() {
    let bench = Bench::wrangler().await;
    project(
        &bench,
        "old",
        &counter("Counter"),
        &config(Some("Counter"), json!({"Counter": live()})),
    );
    bench.run("old", &["deploy"]).await;
    assert_eq!(bench.visit("old").await, "Counter 1");

    let mut expecting = tombstone("expecting-transfer", json!({"transfer_from": "old"}));
    expecting["storage"] = json!("sqlite");
    let code = counter("Counter").replace(
        "await env.COUNTER.getByName(\"one\").next()",
        "env.COUNTER ? await env.COUNTER.getByName(\"one\").next() : 'waiting'",
    );
    project(
        &bench,
        "new",
        &code,
        &config(None, json!({"Counter": expecting})),
    );
    bench.run("new", &["deploy"]).await;
    assert_eq!(bench.visit("new").await, "waiting");
    assert_eq!(bench.visit("old").await, "Counter 2");

    let transferred = tombstone("transferred", json!({"transferred_to": "new"}));
    project(
        &bench,
        "old",
        PLAIN,
        &config(None, json!({"Counter": transferred})),
    );
    bench.run("old", &["deploy"]).await;
    assert_eq!(bench.namespaces(), ["new/Counter"]);

    project(
        &bench,
        "new",
        &code,
        &config(Some("Counter"), json!({"Counter": live()})),
    );
    bench.run("new", &["deploy"]).await;
    assert_eq!(bench.visit("new").await, "Counter 3");
}
