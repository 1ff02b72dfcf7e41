//! Cloudflare's own Terraform provider (5.22), played: its requests in its order, as its source sends them, and whether it would find in
//! the answers what it looks for. It takes an answer that differs from what it applied for a change by somebody else, so
//! a refresh after an apply must show what the upload has shown.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::stream;
use reqwest::Method;
use serde_json::{Value, json};

use crate::local_cloudflare::Bench;

const COUNTER: &str = r#"import { DurableObject } from "cloudflare:workers";
export class Counter extends DurableObject { next() { return 1; } }
export default { async fetch(r, env) { return new Response(env.GREETING + await env.COUNTER.getByName("a").next()); } };
"#;

/// What `cloudflare_workers_script` reads of an upload's answer and, at every refresh, of `services`.
const SCRIPT_FIELDS: [&str; 9] = [
    "created_on",
    "modified_on",
    "etag",
    "handlers",
    "has_assets",
    "has_modules",
    "last_deployed_from",
    "logpush",
    "usage_model",
];

/// Sends the form of `cloudflare_workers_script`: code under the name of the main module, and metadata at the end, with a content type but
/// without a file name. The boundary is that of Go's library.
async fn put_script(bench: &Bench, name: &str, content: &str, metadata: &Value) -> (u16, Value) {
    let boundary = "b0".repeat(30);
    let (part, kind) = match metadata["main_module"].as_str() {
        Some(main) => (main, "application/javascript+module"),
        None => ("script", "application/javascript"),
    };
    let body = format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"{part}\"; filename=\"{part}\"\r\n\
         Content-Type: {kind}\r\n\r\n{content}\r\n\
         --{boundary}\r\nContent-Disposition: form-data; name=\"metadata\"\r\n\
         Content-Type: application/json\r\n\r\n{metadata}\r\n--{boundary}--\r\n"
    );
    let path = format!("/workers/scripts/{name}");
    let request = bench
        .request(Method::PUT, &path)
        .header(
            "content-type",
            format!("multipart/form-data; boundary={boundary}"),
        )
        .body(body);
    bench.send(request).await
}

/// The code that a refresh finds: the first part of `content/v2` if it is a form, otherwise all of it.
async fn content(bench: &Bench, name: &str) -> String {
    let path = format!("/workers/scripts/{name}/content/v2");
    let response = bench.request(Method::GET, &path).send().await;
    let response = response.expect("the API answers");
    assert_eq!(response.status(), 200);
    let kind = response.headers()["content-type"]
        .to_str()
        .expect("it is text")
        .to_owned();
    let body = response.bytes().await.expect("the answer has a body");
    if !kind.starts_with("multipart/") {
        return String::from_utf8(body.to_vec()).expect("code is text");
    }
    let boundary = multer::parse_boundary(&kind).expect("a form has a boundary");
    let body = stream::iter([Ok::<_, multer::Error>(body)]);
    let mut parts = multer::Multipart::new(body, boundary);
    let first = parts.next_field().await.expect("the form can be read");
    first
        .expect("it has a part")
        .text()
        .await
        .expect("code is text")
}

/// Whether a refresh after an upload would show other values than the upload has shown.
async fn assert_no_drift(bench: &Bench, name: &str, uploaded: &Value) -> Value {
    let service = bench.get(&format!("/workers/services/{name}")).await;
    let script = &service["default_environment"]["script"];
    for field in SCRIPT_FIELDS {
        assert_eq!(script[field], uploaded[field], "{field}");
    }
    let settings = bench
        .get(&format!("/workers/scripts/{name}/settings"))
        .await;
    for field in [
        "logpush",
        "usage_model",
        "compatibility_date",
        "compatibility_flags",
    ] {
        assert_eq!(settings[field], uploaded[field], "{field}");
    }
    // Attributes that are not in the configuration must not come back with a value.
    for field in ["observability", "limits", "assets", "exports"] {
        assert!(settings[field].is_null(), "{field}: {}", settings[field]);
    }
    assert!(settings["placement"]["mode"].is_null());
    settings
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_script_finds_after_an_apply_what_it_has_applied() {
    let bench = Bench::start().await;
    let mut metadata = json!({
        "main_module": "worker.js",
        "compatibility_date": "2026-01-01",
        "logpush": false,
        "bindings": [
            {"name": "COUNTER", "type": "durable_object_namespace", "class_name": "Counter"},
            {"name": "GREETING", "type": "plain_text", "text": "n "},
            {"name": "TOKEN", "type": "secret_text", "text": "s3cr3t"},
        ],
        "migrations": {"new_tag": "v1", "new_sqlite_classes": ["Counter"]},
    });
    let (status, body) = put_script(&bench, "w", COUNTER, &metadata).await;
    assert_eq!(status, 200, "{body}");
    let uploaded = &body["result"];
    // Without these the provider leaves attributes unknown after the apply, which Terraform refuses.
    assert!(uploaded["startup_time_ms"].is_u64(), "{uploaded}");
    assert_eq!(uploaded["handlers"], json!(["fetch"]));
    assert_eq!(
        uploaded["named_handlers"],
        json!([{"name": "Counter", "handlers": ["class"]}])
    );
    assert_eq!(bench.call("w").await, "n 1");

    let settings = assert_no_drift(&bench, "w", uploaded).await;
    let service = bench.get("/workers/services/w").await;
    assert_eq!(
        service["default_environment"]["script"]["migration_tag"],
        "v1"
    );
    let bindings = settings["bindings"].as_array().expect("there are bindings");
    let shown = |name: &str| {
        bindings
            .iter()
            .find(|it| it["name"] == name)
            .expect("it is shown")
    };
    assert_eq!(bindings.len(), 3);
    assert_eq!(shown("COUNTER")["class_name"], "Counter");
    assert!(shown("COUNTER")["namespace_id"].is_string());
    assert!(
        shown("COUNTER").get("script_name").is_none(),
        "it is the Worker's own class"
    );
    assert_eq!(shown("GREETING")["text"], "n ");
    assert!(
        shown("TOKEN").get("text").is_none(),
        "a secret is kept from the state"
    );
    assert_eq!(content(&bench, "w").await, COUNTER);

    // An import asks for the code and then refreshes.
    let (status, _) = {
        let response = bench
            .request(Method::GET, "/workers/scripts/w")
            .send()
            .await;
        let response = response.expect("the API answers");
        (response.status().as_u16(), response.text().await)
    };
    assert_eq!(status, 200);

    // A change of the code sends everything again, the migration included unless the user has moved the tag on.
    let changed = COUNTER.replace("return 1", "return 2");
    let (status, body) = put_script(&bench, "w", &changed, &metadata).await;
    assert_eq!((status, &body["errors"][0]["code"]), (412, &json!(10079)));
    metadata["migrations"] = json!({"old_tag": "v1", "new_tag": "v1"});
    let (status, body) = put_script(&bench, "w", &changed, &metadata).await;
    assert_eq!(status, 200, "{body}");
    assert_no_drift(&bench, "w", &body["result"]).await;
    assert_eq!(content(&bench, "w").await, changed);
    assert_eq!(bench.call("w").await, "n 2");

    let (status, _) = bench
        .send(bench.request(Method::DELETE, "/workers/scripts/w"))
        .await;
    assert_eq!(status, 200);
    // This is how a refresh learns that the Worker is gone.
    let (status, _) = bench
        .send(bench.request(Method::GET, "/workers/services/w"))
        .await;
    assert_eq!(status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_script_deploys_a_script_in_service_worker_syntax() {
    let bench = Bench::start().await;
    let script = "addEventListener('fetch', event => event.respondWith(new Response('classic')));";
    let metadata = json!({"body_part": "script", "logpush": false});
    let (status, body) = put_script(&bench, "w", script, &metadata).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(bench.call("w").await, "classic");
    assert_no_drift(&bench, "w", &body["result"]).await;
    assert_eq!(content(&bench, "w").await, script);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_is_found_by_its_file_name() {
    let bench = Bench::start().await;
    let module = reqwest::multipart::Part::text(
        "export default { fetch() { return new Response('found') } };",
    )
    .file_name("worker.mjs")
    .mime_str("application/javascript+module")
    .expect("the type is well formed");
    let metadata = reqwest::multipart::Part::text(json!({"main_module": "worker.mjs"}).to_string())
        .file_name("metadata.json")
        .mime_str("application/json")
        .expect("the type is well formed");
    let form = reqwest::multipart::Form::new()
        .part("files", module)
        .part("metadata", metadata);
    let request = bench
        .request(Method::PUT, "/workers/scripts/w")
        .multipart(form);
    let (status, body) = bench.send(request).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(bench.call("w").await, "found");
}

/// The modules of a `cloudflare_worker_version`.
fn modules(content: &str) -> Value {
    json!([{
        "name": "index.js", "content_type": "application/javascript+module", "content_base64": STANDARD.encode(content),
    }])
}

#[tokio::test(flavor = "multi_thread")]
async fn worker_and_worker_version_and_workers_deployment_work_together() {
    let bench = Bench::start().await;
    let create = bench
        .request(Method::POST, "/workers/workers")
        .json(&json!({"name": "w", "subdomain": {"enabled": true}, "tags": ["a=b"]}));
    let (status, body) = bench.send(create).await;
    assert_eq!(status, 200, "{body}");
    let worker = body["result"].clone();
    let id = worker["id"]
        .as_str()
        .expect("a Worker has an id")
        .to_owned();
    // The defaults that the provider plans with.
    assert_eq!(
        worker["observability"],
        json!({
            "enabled": false, "head_sampling_rate": 1,
            "logs": {
                "enabled": false, "head_sampling_rate": 1, "invocation_logs": true, "persist": true,
                "destinations": [],
            },
            "traces": {"enabled": false, "head_sampling_rate": 1, "persist": true, "destinations": []},
        })
    );
    assert_eq!(worker["logpush"], false);
    assert_eq!(worker["tail_consumers"], json!([]));
    assert_eq!(worker["tags"], json!(["a=b"]));
    assert_eq!(
        worker["subdomain"]["previews_enabled"], true,
        "as the address, if nothing is said"
    );
    assert_eq!(worker["deployed_on"], Value::Null);

    let code = "export default { fetch() { return new Response('one') } };";
    let path = format!("/workers/workers/{id}/versions");
    let upload = |code: &str| {
        let version = json!({
            "main_module": "index.js", "modules": modules(code),
            "bindings": [{"name": "A", "type": "plain_text", "text": "a"}],
        });
        bench.request(Method::POST, &path).json(&version)
    };
    let (status, body) = bench.send(upload(code)).await;
    assert_eq!(status, 200, "{body}");
    let first = body["result"]["id"]
        .as_str()
        .expect("a version has an id")
        .to_owned();

    let version = bench.get(&format!("{path}/{first}?include=modules")).await;
    assert_eq!(version["modules"], modules(code));
    assert_eq!(version["main_module"], "index.js");
    assert_eq!(version["usage_model"], "standard");
    assert_eq!(version["number"], 1);
    assert!(version["startup_time_ms"].is_u64());
    // What was not said is absent.
    for field in [
        "compatibility_date",
        "compatibility_flags",
        "limits",
        "placement",
        "migrations",
    ] {
        assert!(version[field].is_null(), "{field}: {}", version[field]);
    }
    let without = bench.get(&format!("{path}/{first}")).await;
    assert!(without["modules"].is_null());

    let deploy = |version: &str| {
        let body = json!({"strategy": "percentage", "versions": [{"version_id": version, "percentage": 100}]});
        bench
            .request(Method::POST, "/workers/scripts/w/deployments")
            .json(&body)
    };
    let (status, body) = bench.send(deploy(&first)).await;
    assert_eq!(status, 200, "{body}");
    let deployment = &body["result"];
    assert_eq!(bench.call("w").await, "one");
    let read = format!(
        "/workers/scripts/w/deployments/{}",
        deployment["id"].as_str().unwrap_or_default()
    );
    let found = bench.get(&read).await;
    for field in [
        "id",
        "strategy",
        "versions",
        "author_email",
        "created_on",
        "source",
    ] {
        assert_eq!(found[field], deployment[field], "{field}");
    }

    // A new version is uploaded before it is deployed.
    let (_, body) = bench.send(upload(&code.replace("one", "two"))).await;
    let second = body["result"]["id"]
        .as_str()
        .expect("a version has an id")
        .to_owned();
    assert_eq!(bench.call("w").await, "one");
    let (status, _) = bench.send(deploy(&second)).await;
    assert_eq!(status, 200);
    assert_eq!(bench.call("w").await, "two");

    // Deploying keeps what belongs to the Worker; a rename keeps its id.
    let update = bench
        .request(Method::PUT, &format!("/workers/workers/{id}"))
        .json(
            &json!({"name": "renamed", "subdomain": {"enabled": true, "previews_enabled": false}}),
        );
    let (status, body) = bench.send(update).await;
    assert_eq!((status, &body["result"]["id"]), (200, &json!(id)), "{body}");
    assert_eq!(
        body["result"]["tags"],
        json!([]),
        "what a PUT leaves out is reset"
    );
    let worker = bench.get(&format!("/workers/workers/{id}")).await;
    assert_eq!(worker["name"], "renamed");
    assert!(worker["deployed_on"].is_string());
    assert_eq!(bench.call("renamed").await, "two");

    let (status, _) = bench
        .send(bench.request(Method::DELETE, &format!("{path}/{second}")))
        .await;
    assert_eq!(status, 400, "it is deployed");
    let (status, _) = bench
        .send(bench.request(Method::DELETE, &format!("{path}/{first}")))
        .await;
    assert_eq!(status, 200);
    let listed = bench.get(&path).await;
    assert_eq!(listed.as_array().map(Vec::len), Some(1));

    let gone = format!("/workers/workers/{id}");
    let (status, _) = bench.send(bench.request(Method::DELETE, &gone)).await;
    assert_eq!(status, 200);
    let (status, _) = bench.send(bench.request(Method::GET, &gone)).await;
    assert_eq!(status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_with_a_class_is_deployed_as_it_is_uploaded() {
    let bench = Bench::start().await;
    let create = bench
        .request(Method::POST, "/workers/workers")
        .json(&json!({"name": "w", "tags": ["mine"], "observability": {"enabled": true}}));
    let (status, _) = bench.send(create).await;
    assert_eq!(status, 200);
    let version = json!({
        "main_module": "index.js", "modules": modules(COUNTER), "compatibility_date": "2026-01-01",
        "bindings": [
            {"name": "COUNTER", "type": "durable_object_namespace", "class_name": "Counter"},
            {"name": "GREETING", "type": "plain_text", "text": "n "},
        ],
        "migrations": {"new_tag": "v1", "new_sqlite_classes": ["Counter"]},
    });
    let request = bench
        .request(Method::POST, "/workers/workers/w/versions?deploy=true")
        .json(&version);
    let (status, body) = bench.send(request).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(body["result"]["migration_tag"], "v1");
    assert_eq!(bench.call("w").await, "n 1");
    let worker = bench.get("/workers/workers/w").await;
    assert_eq!(worker["tags"], json!(["mine"]));
    assert_eq!(worker["observability"]["enabled"], true);

    // A part of the settings changes that part; previews and objects do not go together.
    let patch = |body: Value| {
        bench
            .request(Method::PATCH, "/workers/workers/w")
            .json(&body)
    };
    let (_, body) = bench
        .send(patch(json!({"observability": {"logs": {"enabled": true}}})))
        .await;
    let observability = &body["result"]["observability"];
    assert_eq!(
        (&observability["enabled"], &observability["logs"]["enabled"]),
        (&json!(true), &json!(true))
    );
    let (status, body) = bench
        .send(patch(
            json!({"subdomain": {"enabled": true, "previews_enabled": true}}),
        ))
        .await;
    assert_eq!((status, &body["errors"][0]["code"]), (400, &json!(100_331)));
}
