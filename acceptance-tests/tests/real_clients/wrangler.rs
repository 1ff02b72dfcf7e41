//! Wrangler: deploys, classes and their migrations, secrets, modules, crons, assets and the deletion of Workers.

use serde_json::{Value, json};

use crate::bench::{Bench, PLAIN, VISITOR, counter};

/// Writes a project whose Worker has the folder's name.
pub fn project(bench: &Bench, name: &str, code: &str, more: &Value) {
    let mut config = json!({"name": name, "main": "index.js", "compatibility_date": "2026-03-01"});
    let more = more
        .as_object()
        .expect("the rest of a configuration is an object");
    for (field, value) in more {
        config[field] = value.clone();
    }
    bench.write(name, "index.js", code);
    bench.write(name, "wrangler.json", config.to_string());
}

/// A binding `COUNTER` to a class, and migrations `v1`, `v2` and so on.
fn with_class(class: &str, migrations: &[Value]) -> Value {
    let mut config = json!({
        "durable_objects": {"bindings": [{"name": "COUNTER", "class_name": class}]},
    });
    config["migrations"] = tagged(migrations);
    config
}

fn tagged(migrations: &[Value]) -> Value {
    let tagged = migrations.iter().zip(1..).map(|(migration, number)| {
        let mut migration = migration.clone();
        migration["tag"] = json!(format!("v{number}"));
        migration
    });
    tagged.collect()
}

fn create(class: &str) -> Value {
    json!({"new_sqlite_classes": [class]})
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "installs and runs wrangler"]
async fn a_class_keeps_its_objects_through_redeploy_and_rename_until_it_is_deleted() {
    let bench = Bench::wrangler().await;
    let mut history = vec![create("Counter")];
    project(
        &bench,
        "w",
        &counter("Counter"),
        &with_class("Counter", &history),
    );
    bench.run("w", &["deploy"]).await;
    assert_eq!(bench.visit("w").await, "Counter 1");
    assert_eq!(bench.migration_tag("w").as_deref(), Some("v1"));
    bench.run("w", &["deploy"]).await;
    assert_eq!(bench.visit("w").await, "Counter 2");

    history.push(json!({"renamed_classes": [{"from": "Counter", "to": "MyCounter"}]}));
    project(
        &bench,
        "w",
        &counter("MyCounter"),
        &with_class("MyCounter", &history),
    );
    bench.run("w", &["deploy"]).await;
    assert_eq!(bench.visit("w").await, "MyCounter 3");
    assert_eq!(bench.migration_tag("w").as_deref(), Some("v2"));
    assert_eq!(bench.namespaces(), ["w/MyCounter"]);

    history.push(json!({"deleted_classes": ["MyCounter"]}));
    project(&bench, "w", PLAIN, &json!({"migrations": tagged(&history)}));
    bench.run("w", &["deploy"]).await;
    assert_eq!(bench.visit("w").await, "plain");
    assert_eq!(bench.namespaces(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "installs and runs wrangler"]
async fn code_without_a_class_that_holds_objects_is_refused_and_the_old_code_stays() {
    let bench = Bench::wrangler().await;
    project(
        &bench,
        "w",
        &counter("Counter"),
        &with_class("Counter", &[create("Counter")]),
    );
    bench.run("w", &["deploy"]).await;
    project(&bench, "w", PLAIN, &json!({}));
    let message = "New version of script does not export class 'Counter'";
    bench.fail("w", &["deploy"], message).await;
    let broken = format!(
        "{}\nthrow new Error('broken at start');",
        counter("Counter")
    );
    let config = with_class("Counter", &[create("Counter")]);
    project(&bench, "w", &broken, &config);
    bench.fail("w", &["deploy"], "broken at start").await;
    assert_eq!(bench.visit("w").await, "Counter 1");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "installs and runs wrangler"]
async fn a_class_moves_to_another_worker_with_its_objects() {
    let bench = Bench::wrangler().await;
    project(
        &bench,
        "old",
        &counter("Counter"),
        &with_class("Counter", &[create("Counter")]),
    );
    bench.run("old", &["deploy"]).await;
    assert_eq!(bench.visit("old").await, "Counter 1");
    let transfer = json!({
        "transferred_classes": [{"from": "Counter", "from_script": "old", "to": "Tally"}],
    });
    project(
        &bench,
        "new",
        &counter("Tally"),
        &with_class("Tally", &[transfer]),
    );
    bench.run("new", &["deploy"]).await;
    assert_eq!(bench.visit("new").await, "Tally 2");
    assert_eq!(bench.namespaces(), ["new/Tally"]);
    project(
        &bench,
        "old",
        PLAIN,
        &json!({"migrations": tagged(&[create("Counter")])}),
    );
    bench.run("old", &["deploy"]).await;
    bench.run("old", &["delete", "--force"]).await;
    assert_eq!(bench.visit("new").await, "Tally 3");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "installs and runs wrangler"]
async fn workers_are_deleted_with_and_without_dependents() {
    let bench = Bench::wrangler().await;
    project(
        &bench,
        "host",
        &counter("Counter"),
        &with_class("Counter", &[create("Counter")]),
    );
    bench.run("host", &["deploy"]).await;
    let binding = json!({"name": "COUNTER", "class_name": "Counter", "script_name": "host"});
    let config = json!({"durable_objects": {"bindings": [binding]}});
    project(&bench, "client", VISITOR, &config);
    bench.run("client", &["deploy"]).await;
    assert_eq!(bench.visit("client").await, "Counter 1");
    assert_eq!(bench.visit("host").await, "Counter 2");

    // Nobody depends on the client; on the host the client does, which wrangler finds out and takes for a yes.
    bench.run("client", &["delete", "--dry-run"]).await;
    assert_eq!(bench.workers(), ["client", "host"]);
    let run = bench.run("host", &["delete"]).await;
    assert!(
        run.says("client"),
        "it names who depends on it:\n{}",
        run.stdout
    );
    assert_eq!(bench.workers(), ["client"]);
    assert_eq!(bench.namespaces(), Vec::<String>::new());
    bench.run("client", &["delete"]).await;
    assert_eq!(bench.workers(), Vec::<String>::new());
    project(&bench, "lonely", PLAIN, &json!({}));
    bench.run("lonely", &["deploy"]).await;
    bench.run("lonely", &["delete", "--force"]).await;
    assert_eq!(bench.workers(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "installs and runs wrangler"]
async fn secrets_reach_the_worker_and_survive_deploys_until_they_are_deleted() {
    let bench = Bench::wrangler().await;
    let code =
        "export default { fetch(r, env) { return new Response([env.A, env.B, env.C].join()); } };";
    project(&bench, "w", code, &json!({}));
    bench.run("w", &["deploy"]).await;
    bench.run_with("w", &["secret", "put", "A"], "one").await;
    assert_eq!(bench.visit("w").await, "one,,");
    bench.run("w", &["deploy"]).await;
    assert_eq!(bench.visit("w").await, "one,,");
    let bulk = json!({"B": "two", "C": "three"}).to_string();
    bench.run_with("w", &["secret", "bulk"], &bulk).await;
    assert_eq!(bench.visit("w").await, "one,two,three");
    bench.run("w", &["secret", "delete", "B"]).await;
    assert_eq!(bench.visit("w").await, "one,,three");
    let listed = bench.run("w", &["secret", "list"]).await.json();
    let names = listed
        .as_array()
        .into_iter()
        .flatten()
        .map(|it| &it["name"]);
    assert_eq!(names.collect::<Vec<_>>(), ["A", "C"]);

    // A secret of a Worker that is not there yet makes the Worker.
    bench
        .run_with("w", &["secret", "put", "A", "--name", "ghost"], "boo")
        .await;
    assert_eq!(bench.workers(), ["ghost", "w"]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "installs and runs wrangler"]
async fn modules_variables_and_crons_are_deployed() {
    /// `(module (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add))`
    const ADD: [u8; 41] = *b"\0asm\x01\0\0\0\x01\x07\x01\x60\x02\x7f\x7f\x01\x7f\x03\x02\x01\0\x07\x07\x01\x03add\0\0\
        \x0a\x09\x01\x07\0\x20\0\x20\x01\x6a\x0b";
    let code = r#"
import text from "./note.txt";
import data from "./data.bin";
import wasm from "./add.wasm";
let rings = 0;
export default {
  async fetch(request, env) {
    const { exports } = new WebAssembly.Instance(wasm, {});
    return Response.json([text, [...new Uint8Array(data)], exports.add(2, 3), env.PLAIN, env.JSON, rings]);
  },
  scheduled() { rings++; },
};"#;
    let bench = Bench::wrangler().await;
    bench.write("w", "note.txt", "note");
    bench.write("w", "data.bin", [1, 2, 255]);
    bench.write("w", "add.wasm", ADD);
    let vars = json!({"PLAIN": "plain", "JSON": {"k": [1, true]}});
    let crons = json!(["*/5 * * * *", "0 0 * * *"]);
    project(
        &bench,
        "w",
        code,
        &json!({"vars": vars, "triggers": {"crons": crons}}),
    );
    bench.run("w", &["deploy"]).await;
    let seen = r#"["note",[1,2,255],5,"plain",{"k":[1,true]},0]"#;
    assert_eq!(bench.visit("w").await, seen);
    let schedules = bench.api("/workers/scripts/w/schedules").await;
    let found = schedules["schedules"].as_array().into_iter().flatten();
    assert_eq!(found.map(|it| it["cron"].clone()).collect::<Value>(), crons);

    project(
        &bench,
        "w",
        code,
        &json!({"vars": vars, "triggers": {"crons": []}}),
    );
    bench.run("w", &["deploy"]).await;
    let schedules = bench.api("/workers/scripts/w/schedules").await;
    assert_eq!(schedules["schedules"], json!([]));
    assert_eq!(bench.visit("w").await, seen);

    // Without bundling the files are modules of their own.
    bench.run("w", &["deploy", "--no-bundle"]).await;
    assert_eq!(bench.visit("w").await, seen);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "installs and runs wrangler"]
async fn assets_are_uploaded_once_and_served() {
    let bench = Bench::wrangler().await;
    let assets = json!({"directory": "./public", "binding": "ASSETS"});
    project(&bench, "w", PLAIN, &json!({"assets": assets}));
    bench.write("w", "public/index.html", "<h1>one</h1>");
    bench.write("w", "public/style.css", "h1 { color: red }");
    bench.run("w", &["deploy"]).await;
    assert_eq!(bench.visit("w").await, "<h1>one</h1>");
    assert_eq!(
        bench.get("w", "/style.css").await,
        (200, "h1 { color: red }".into())
    );
    assert_eq!(bench.get("w", "/nothing").await, (200, "plain".into()));

    let uploads = |bench: &Bench| {
        let calls = bench.local.calls();
        calls
            .iter()
            .filter(|call| call.path.ends_with("/workers/assets/upload"))
            .count()
    };
    bench.run("w", &["deploy"]).await;
    assert_eq!(uploads(&bench), 0, "nothing is new");
    assert_eq!(bench.visit("w").await, "<h1>one</h1>");

    bench.write("w", "public/index.html", "<h1>two</h1>");
    bench.run("w", &["deploy"]).await;
    assert_eq!(uploads(&bench), 1);
    assert_eq!(bench.visit("w").await, "<h1>two</h1>");
    assert_eq!(
        bench.get("w", "/style.css").await,
        (200, "h1 { color: red }".into())
    );

    let config = json!({
        "name": "site", "compatibility_date": "2026-03-01",
        "assets": {"directory": "./public", "not_found_handling": "404-page"},
    });
    bench.write("site", "wrangler.json", config.to_string());
    bench.write("site", "public/index.html", "a site");
    bench.write("site", "public/404.html", "no such page");
    bench.run("site", &["deploy"]).await;
    assert_eq!(bench.visit("site").await, "a site");
    assert_eq!(
        bench.get("site", "/nothing").await,
        (404, "no such page".into())
    );
}
