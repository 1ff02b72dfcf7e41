//! The switches of local Cloudflare over HTTP, as a test in any language flips them.

use std::time::{Duration, Instant};

use acceptance_tests::cloudflare::{LocalCloudflare, Options};
use acceptance_tests::install;
use reqwest::{Method, Response};
use serde_json::{Value, json};

use super::api_client::{ApiClient, COUNTER, counter_metadata};

const HELLO: &str = "export default { fetch() { return new Response('hello'); } };";
const SCRIPTS: &str = "/workers/scripts";
const WORKER: &str = "*/workers/scripts/my-worker";

struct Bench {
    local: LocalCloudflare,
    api: ApiClient,
}

impl Bench {
    async fn start() -> Self {
        let workerd = install::workerd().await.expect("workerd can be installed");
        let local = LocalCloudflare::start(Options::new(workerd)).await;
        let local = local.expect("it starts");
        let api = ApiClient::new(&local.api_url(), local.account_id(), local.token());
        Self { local, api }
    }

    /// What a switch answers.
    async fn flip(&self, method: Method, path: &str, body: &str) -> (u16, Value) {
        let url = format!("{}{path}", self.local.control_url());
        let request = self.api.http.request(method, url).body(body.to_owned());
        let response = request.send().await.expect("the switch answers");
        let status = response.status().as_u16();
        (status, response.json().await.expect("the answer is JSON"))
    }

    async fn fault(&self, body: Value) {
        let (status, answer) = self.flip(Method::POST, "/faults", &body.to_string()).await;
        assert_eq!(status, 200, "{body}: {answer}");
    }

    async fn get(&self, path: &str) -> Response {
        let answer = self.api.request(Method::GET, path).send().await;
        answer.expect("the API answers")
    }

    async fn body(&self, path: &str) -> Value {
        let answer = self.get(path).await.json().await;
        answer.expect("the answer is JSON")
    }

    /// The names of all Workers.
    async fn names(&self) -> Vec<String> {
        let body = self.body(SCRIPTS).await;
        let workers = body["result"].as_array().expect("it is a list");
        let names = workers.iter().filter_map(|worker| worker["id"].as_str());
        names.map(str::to_owned).collect()
    }

    /// The status of an upload.
    async fn upload(&self) -> u16 {
        self.api.upload("my-worker", HELLO, json!({})).await.0
    }

    async fn delete(&self) {
        let path = format!("{SCRIPTS}/my-worker");
        let request = self.api.request(Method::DELETE, &path).send().await;
        assert_eq!(request.expect("it answers").status(), 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_listed_example_works() {
    let bench = Bench::start().await;
    let code = COUNTER.replace("export default {", "export default { scheduled() {},");
    let code = format!("{code}\nexport class Tally extends Counter {{}}");
    let (status, body) = bench
        .api
        .upload("my-worker", &code, counter_metadata())
        .await;
    assert_eq!(status, 200, "{body}");
    let (status, listing) = bench.flip(Method::GET, "", "").await;
    assert_eq!(status, 200, "{listing}");
    let switches = listing["switches"].as_array().expect("it is a list");
    for switch in switches {
        let method = switch["method"].as_str().and_then(|it| it.parse().ok());
        let method: Method = method.expect("it is a method");
        let path = switch["path"]
            .as_str()
            .and_then(|it| it.strip_prefix("/__local"));
        let path = path.expect("it is below /__local");
        let examples = switch["examples"].as_array().cloned().unwrap_or_default();
        let bodies = examples.iter().map(|example| example["body"].to_string());
        for body in bodies.chain(examples.is_empty().then(String::new)) {
            let (status, answer) = bench.flip(method.clone(), path, &body).await;
            assert_eq!(status, 200, "{method} {path} {body}: {answer}");
        }
    }
    assert!(bench.names().await.is_empty(), "the last switch is a reset");
    bench.local.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_switch_or_body_is_refused_with_advice() {
    let bench = Bench::start().await;
    for (method, path, body, status, part) in [
        (Method::POST, "/fault", "{}", 404, "/__local/fault"),
        (Method::GET, "/act", "", 405, "POST"),
        (
            Method::PATCH,
            "/faults",
            "{}",
            405,
            "GET and POST and DELETE",
        ),
        (Method::POST, "/faults", "kind", 400, "expected value"),
        (
            Method::POST,
            "/faults",
            r#"{"kind": "flood"}"#,
            400,
            "`rate_limit`",
        ),
        (
            Method::POST,
            "/faults",
            r#"{"kind": "rate_limit"}"#,
            400,
            "`retry_after`",
        ),
        (
            Method::POST,
            "/faults",
            r#"{"kind": "throttled", "time": 1}"#,
            400,
            "`time`",
        ),
        (
            Method::POST,
            "/faults",
            r#"{"kind": "throttled", "times": 0}"#,
            400,
            "`times`",
        ),
        (
            Method::POST,
            "/faults",
            r#"{"kind": "html", "status": 99}"#,
            400,
            "`status`",
        ),
        (
            Method::POST,
            "/act",
            r#"{"action": "set_plan", "plan": "gold"}"#,
            400,
            "`free`",
        ),
        (
            Method::POST,
            "/act",
            r#"{"action": "delete_worker", "script": "none"}"#,
            400,
            "10007",
        ),
        (
            Method::PUT,
            "/bucket",
            r#"{"capacity": 1, "per_second": 0}"#,
            400,
            "`per_second`",
        ),
        (Method::PUT, "/latency", r#"{"ms": -1}"#, 400, "number"),
    ] {
        let (found, answer) = bench.flip(method.clone(), path, body).await;
        assert_eq!(found, status, "{method} {path} {body}: {answer}");
        let error = answer["error"].as_str().unwrap_or_default();
        assert!(error.contains(part), "{method} {path} {body}: {answer}");
        assert!(
            answer["advice"]
                .as_str()
                .is_some_and(|it| it.contains("GET /__local"))
        );
    }
    let (_, faults) = bench.flip(Method::GET, "/faults", "").await;
    assert_eq!(faults, json!({"faults": [], "met": 0}));
    bench.local.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_and_pages_take_the_place_of_answers() {
    let bench = Bench::start().await;
    bench
        .fault(json!({"kind": "rate_limit", "retry_after": 7, "times": 1}))
        .await;
    let answer = bench.get(SCRIPTS).await;
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["retry-after"]),
        (429, &"7".parse().expect("a value"))
    );

    bench
        .fault(json!({"kind": "rate_limit_until", "seconds": 7, "times": 1}))
        .await;
    let answer = bench.get(SCRIPTS).await;
    let until = answer.headers()["retry-after"]
        .to_str()
        .expect("it is text");
    assert_eq!(answer.status(), 429);
    assert!(until.ends_with(" GMT") && until.contains(", "), "{until}");

    bench.fault(json!({"kind": "throttled", "times": 1})).await;
    let body = bench.body(SCRIPTS).await;
    assert_eq!(
        (&body["success"], &body["errors"][0]["code"]),
        (&json!(false), &json!(971))
    );

    let flake = json!({"kind": "error", "status": 403, "code": 10000, "message": "Authentication error", "times": 1});
    bench.fault(flake).await;
    assert_eq!(bench.get(SCRIPTS).await.status(), 403);
    assert_eq!(bench.get(SCRIPTS).await.status(), 200);

    bench
        .fault(json!({"kind": "html", "status": 520, "times": 1}))
        .await;
    let answer = bench.get(SCRIPTS).await;
    assert_eq!(answer.status(), 520);
    assert!(answer.headers().contains_key("cf-ray"));
    assert_eq!(answer.headers()["content-type"], "text/html; charset=UTF-8");

    bench.fault(json!({"kind": "challenge", "times": 1})).await;
    let answer = bench.get(SCRIPTS).await;
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["cf-mitigated"]),
        (403, &"challenge".parse().expect("a value"))
    );

    bench.fault(json!({"kind": "truncated", "times": 1})).await;
    let text = bench.get(SCRIPTS).await.text().await.expect("it is text");
    assert!(serde_json::from_str::<Value>(&text).is_err(), "{text}");

    bench
        .fault(json!({"kind": "null_result", "times": 1}))
        .await;
    assert_eq!(bench.body(SCRIPTS).await["result"], Value::Null);
    bench.local.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_fails_before_or_after_it_is_done() {
    let bench = Bench::start().await;
    let upload = |kind: Value| {
        let mut fault = json!({"method": "PUT", "path": WORKER, "times": 1});
        for (name, value) in kind.as_object().into_iter().flatten() {
            fault[name] = value.clone();
        }
        fault
    };
    for (fault, done) in [
        (
            json!({"kind": "error", "status": 500, "code": 10013, "message": "no"}),
            false,
        ),
        (json!({"kind": "error_after_commit"}), true),
    ] {
        bench.fault(upload(fault.clone())).await;
        assert_eq!(bench.upload().await, 500, "{fault}");
        assert_eq!(!bench.names().await.is_empty(), done, "{fault}");
    }
    bench.delete().await;
    for (kind, done) in [("close_before", false), ("close_after_commit", true)] {
        bench.fault(upload(json!({"kind": kind}))).await;
        let form = reqwest::multipart::Form::new()
            .text("metadata", json!({"main_module": "w.js"}).to_string())
            .part(
                "w.js",
                reqwest::multipart::Part::text(HELLO)
                    .file_name("w.js")
                    .mime_str("application/javascript+module")
                    .expect("a type"),
            );
        let request = bench
            .api
            .request(Method::PUT, &format!("{SCRIPTS}/my-worker"));
        let answer = request.multipart(form).send().await;
        assert!(answer.is_err(), "{kind}: {answer:?}");
        assert_eq!(!bench.names().await.is_empty(), done, "{kind}");
    }
    let action = json!({"action": "set_migration_tag", "script": "my-worker", "tag": "theirs"});
    bench
        .fault(upload(json!({"kind": "meanwhile", "action": action})))
        .await;
    let metadata = json!({"migrations": {"new_tag": "mine", "steps": []}});
    let (status, body) = bench.api.upload("my-worker", HELLO, metadata).await;
    assert_eq!(
        (status, &body["errors"][0]["code"]),
        (412, &json!(10079)),
        "{body}"
    );
    bench.local.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_come_late() {
    let bench = Bench::start().await;
    let took = async |path: &str| {
        let started = Instant::now();
        assert_eq!(bench.get(path).await.status(), 200);
        started.elapsed()
    };
    let slow = Duration::from_millis(200);
    for kind in ["delay", "delay_after_commit"] {
        bench
            .fault(json!({"kind": kind, "ms": 200, "times": 1}))
            .await;
        assert!(took(SCRIPTS).await >= slow, "{kind}");
    }
    assert_eq!(
        bench
            .flip(Method::PUT, "/latency", r#"{"ms": 200}"#)
            .await
            .0,
        200
    );
    assert!(took(SCRIPTS).await >= slow);
    assert_eq!(bench.flip(Method::DELETE, "/faults", "").await.0, 200);

    bench
        .fault(json!({"kind": "overlap", "method": "PUT", "path": WORKER}))
        .await;
    bench
        .fault(json!({"kind": "hold", "method": "PUT", "path": WORKER, "times": 1}))
        .await;
    let release = async {
        bench.local.faults().until_held().await;
        assert_eq!(bench.names().await, ["my-worker"], "it is done");
        assert_eq!(bench.upload().await, 500, "another one overlaps");
        assert_eq!(bench.flip(Method::POST, "/faults/release", "").await.0, 200);
    };
    let (held, ()) = tokio::join!(bench.upload(), release);
    assert_eq!(held, 200);

    let limit = r#"{"capacity": 1, "per_second": 0.001}"#;
    assert_eq!(bench.flip(Method::PUT, "/bucket", limit).await.0, 200);
    assert_eq!(bench.get(SCRIPTS).await.status(), 200);
    assert_eq!(bench.get(SCRIPTS).await.status(), 429);
    assert_eq!(bench.flip(Method::PUT, "/bucket", "null").await.0, 200);
    assert_eq!(bench.get(SCRIPTS).await.status(), 200);
    bench.local.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_show_another_account_than_there_is() {
    let bench = Bench::start().await;
    bench
        .fault(json!({"kind": "stale", "method": "GET", "path": "*/workers/scripts", "times": 2}))
        .await;
    assert_eq!(bench.upload().await, 200);
    for expected in [0, 0, 1] {
        assert_eq!(bench.names().await.len(), expected);
    }
    bench
        .fault(json!({"kind": "no_versions", "method": "GET", "path": "*/settings", "times": 2}))
        .await;
    let settings = format!("{SCRIPTS}/my-worker/settings");
    for expected in [404, 404, 200] {
        assert_eq!(bench.get(&settings).await.status(), expected);
    }
    bench.fault(json!({"kind": "unfamiliar", "times": 1})).await;
    let body = bench.body(SCRIPTS).await;
    assert!(body["result"][0]["not_yet_invented"].is_object(), "{body}");

    let kv = json!({"migrations": {"new_tag": "v1", "new_classes": ["Counter"]}, "bindings": counter_metadata()["bindings"]});
    for (plan, expected) in [("free", 10097), ("paid_without_kv", 10099)] {
        let action = json!({"action": "set_plan", "plan": plan}).to_string();
        assert_eq!(bench.flip(Method::POST, "/act", &action).await.0, 200);
        let (_, body) = bench.api.upload("kv", COUNTER, kv.clone()).await;
        assert_eq!(body["errors"][0]["code"], expected, "{body}");
    }
    let action = json!({"action": "set_plan", "plan": "paid"}).to_string();
    assert_eq!(bench.flip(Method::POST, "/act", &action).await.0, 200);
    assert_eq!(bench.api.upload("kv", COUNTER, kv).await.0, 200);
    bench.local.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_name_of_a_renamed_namespace_is_free_or_taken() {
    let bench = Bench::start().await;
    let tally = COUNTER.replace("Counter", "Tally");
    let tally = format!("{tally}\nexport class Counter extends DurableObject {{}}");
    for (names, script, expected) in [("kept", "strict", 10065), ("follow", "lenient", 0)] {
        let action = json!({"action": "set_namespace_names", "names": names}).to_string();
        assert_eq!(bench.flip(Method::POST, "/act", &action).await.0, 200);
        assert_eq!(
            bench
                .api
                .upload(script, COUNTER, counter_metadata())
                .await
                .0,
            200
        );
        let steps = [
            json!({"old_tag": "v1", "new_tag": "v2", "renamed_classes": [{"from": "Counter", "to": "Tally"}]}),
            json!({"old_tag": "v2", "new_tag": "v3", "new_sqlite_classes": ["Counter"]}),
        ];
        let mut last = Value::Null;
        for step in steps {
            let bindings = json!([{"name": "COUNTER", "type": "durable_object_namespace", "class_name": "Tally"}]);
            let metadata = json!({"migrations": step, "bindings": bindings});
            last = bench.api.upload(script, &tally, metadata).await.1;
        }
        let code = last["errors"][0]["code"].as_u64().unwrap_or_default();
        assert_eq!(code, expected, "{names}: {last}");
    }
    bench.local.stop().await;
}
