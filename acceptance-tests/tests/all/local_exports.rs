//! Durable Object classes declared by `exports`, over HTTP and with Workers that answer: the life of a class as
//! wrangler's own tests lead it.

use acceptance_tests::cloudflare::{LocalCloudflare, Options};
use acceptance_tests::install;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

/// Counts in an object of the class that is bound as `COUNTER`.
const WORKER: &str = r#"
import { DurableObject } from "cloudflare:workers";
class Counting extends DurableObject {
  async increment() {
    const count = ((await this.ctx.storage.get("count")) ?? 0) + 1;
    await this.ctx.storage.put("count", count);
    return count;
  }
}
export default {
  async fetch(request, env) {
    return new Response(env.COUNTER ? String(await env.COUNTER.getByName("one").increment()) : "not bound");
  },
};
"#;

struct Bench {
    local: LocalCloudflare,
    http: reqwest::Client,
}

impl Bench {
    async fn start() -> Self {
        // Tests of other files may have chosen it already.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let workerd = install::workerd().await.expect("workerd can be installed");
        let local = LocalCloudflare::start(Options::new(workerd)).await;
        Self {
            local: local.expect("it starts"),
            http: reqwest::Client::new(),
        }
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: impl FnOnce(RequestBuilder) -> RequestBuilder,
    ) -> (u16, Value) {
        let account = self.local.account_id();
        let url = format!("{}/accounts/{account}/workers/{path}", self.local.api_url());
        let request = self
            .http
            .request(method, url)
            .bearer_auth(self.local.token());
        let response = body(request).send().await.expect("the API answers");
        let status = response.status().as_u16();
        (status, response.json().await.expect("the answer is JSON"))
    }

    async fn get(&self, path: &str) -> Value {
        let (status, body) = self.send(Method::GET, path, |request| request).await;
        assert_eq!(status, 200, "{body}");
        body["result"].clone()
    }

    /// Uploads code that exports some classes. `bound` is the class in `COUNTER`, `lifecycle` has `exports` or `migrations`.
    async fn put(
        &self,
        script: &str,
        classes: &[&str],
        bound: Option<&str>,
        lifecycle: Value,
    ) -> (u16, Value) {
        let classes = classes
            .iter()
            .map(|class| format!("export class {class} extends Counting {{}}\n"));
        let code = format!("{WORKER}{}", classes.collect::<String>());
        let module = reqwest::multipart::Part::text(code)
            .file_name("worker.js")
            .mime_str("application/javascript+module")
            .expect("the type is well formed");
        let bindings: Vec<Value> = bound
            .iter()
            .map(|class| json!({"name": "COUNTER", "type": "durable_object_namespace", "class_name": class}))
            .collect();
        let mut metadata = lifecycle;
        metadata["main_module"] = json!("worker.js");
        metadata["compatibility_date"] = json!("2026-01-01");
        metadata["bindings"] = json!(bindings);
        let form = reqwest::multipart::Form::new()
            .part("worker.js", module)
            .text("metadata", metadata.to_string());
        let path = format!("scripts/{script}");
        self.send(Method::PUT, &path, |request| request.multipart(form))
            .await
    }

    /// The same, and what it did: everything of the report that is not empty.
    async fn deploy(
        &self,
        script: &str,
        classes: &[&str],
        bound: Option<&str>,
        exports: Value,
    ) -> Value {
        let declared = json!({ "exports": exports });
        let (status, body) = self.put(script, classes, bound, declared).await;
        assert_eq!(status, 200, "{body}");
        let report = body["result"]["exports_reconciliation"].as_object();
        let report = report.expect("the map has classes").clone();
        assert_eq!(report.len(), 9, "all lists are there: {report:?}");
        report
            .into_iter()
            .filter(|(_, list)| list.as_array().is_none_or(|list| !list.is_empty()))
            .collect()
    }

    /// What the Worker answers.
    async fn call(&self, script: &str) -> String {
        let url = format!("http://{}/", self.local.workers_address());
        let request = self.http.get(url).header("x-local-worker", script);
        let response = request.send().await.expect("the runtime answers");
        response.text().await.expect("the answer is text")
    }
}

fn live() -> Value {
    json!({"type": "durable-object", "storage": "sqlite"})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declared_class_is_created_renamed_and_deleted() {
    let bench = Bench::start().await;
    let counter = || json!({"Counter": live()});
    let report = bench
        .deploy("app", &["Counter"], Some("Counter"), counter())
        .await;
    assert_eq!(report, json!({"created": ["Counter"]}));
    assert_eq!(bench.call("app").await, "1");
    let report = bench
        .deploy("app", &["Counter"], Some("Counter"), counter())
        .await;
    assert_eq!(report, json!({}), "a repeated deploy does nothing");
    assert_eq!(bench.call("app").await, "2");

    // A class that the code does not have is refused with all that a client can show.
    let missing = json!({"exports": {"Counter": live(), "Nobody": live()}});
    let (status, body) = bench
        .put("app", &["Counter"], Some("Counter"), missing)
        .await;
    let error = &body["errors"][0];
    assert_eq!((status, &error["code"]), (400, &json!(100402)));
    assert_eq!(
        error["meta"]["details"][0]["scenario"],
        "config_references_nonexistent_class"
    );
    assert_eq!(bench.call("app").await, "3", "the old version goes on");

    // The binding follows in the same deploy.
    let renamed = json!({
        "Counter": {"type": "durable-object", "state": "renamed", "renamed_to": "CounterV2"},
        "CounterV2": live(),
    });
    let report = bench
        .deploy("app", &["CounterV2"], Some("CounterV2"), renamed)
        .await;
    let names = json!([{"from": "Counter", "to": "CounterV2"}]);
    assert_eq!(report, json!({ "renamed": names }));
    assert_eq!(bench.call("app").await, "4", "the data is kept");
    let v2 = json!({"CounterV2": live()});
    let report = bench
        .deploy("app", &["CounterV2"], Some("CounterV2"), v2.clone())
        .await;
    assert_eq!(report, json!({}), "the tombstone can go");
    for path in ["scripts/app/settings", "services/app"] {
        let shown = bench.get(path).await;
        let shown = match path {
            "services/app" => &shown["default_environment"]["script"],
            _ => &shown,
        };
        assert_eq!(shown["exports"], v2, "{path}");
    }
    assert_eq!(bench.get("scripts").await[0]["exports"], v2);

    let gone = json!({"CounterV2": {"type": "durable-object", "state": "deleted"}});
    let report = bench.deploy("app", &[], None, gone.clone()).await;
    assert_eq!(report, json!({"deleted": ["CounterV2"]}));
    assert_eq!(
        bench.get("durable_objects/namespaces").await,
        json!([]),
        "the namespace is gone"
    );
    let report = bench.deploy("app", &[], None, gone).await;
    assert_eq!(report["removable_entries"], json!(["CounterV2"]));
    assert_eq!(report["info"][0]["scenario"], "stale_tombstone");
    let report = bench
        .deploy("app", &["CounterV2"], Some("CounterV2"), v2)
        .await;
    assert_eq!(report, json!({"created": ["CounterV2"]}));
    assert_eq!(bench.call("app").await, "1", "and so is its data");
    bench.local.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declared_class_moves_to_another_worker_with_its_data() {
    let bench = Bench::start().await;
    let room = || json!({"Room": live()});
    bench.deploy("old", &["Room"], Some("Room"), room()).await;
    assert_eq!(bench.call("old").await, "1");

    let expects = json!({
        "Room": {"type": "durable-object", "state": "expecting-transfer", "storage": "sqlite", "transfer_from": "old"},
    });
    let report = bench.deploy("new", &["Room"], None, expects).await;
    let pending = json!([{"class": "Room", "from": "old"}]);
    assert_eq!(report, json!({ "transfer_pending": pending }));
    assert_eq!(bench.call("old").await, "2", "it has not moved yet");
    assert_eq!(bench.call("new").await, "not bound");

    let gives = json!({"Room": {"type": "durable-object", "state": "transferred", "transferred_to": "new"}});
    let report = bench.deploy("old", &[], None, gives).await;
    let done = json!([{"class": "Room", "to": "new", "phase": "committed"}]);
    assert_eq!(report, json!({ "transferred": done }));
    let namespaces = bench.get("durable_objects/namespaces").await;
    assert_eq!(
        (
            &namespaces[0]["script"],
            namespaces.as_array().map(Vec::len)
        ),
        (&json!("new"), Some(1))
    );

    let report = bench.deploy("new", &["Room"], Some("Room"), room()).await;
    assert_eq!(
        report["info"][0]["scenario"],
        "transfer_receive_cleanup_complete"
    );
    assert_eq!(bench.call("new").await, "3", "the data has come along");
    bench.local.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migrated_worker_changes_to_declared_classes_and_keeps_its_data() {
    let bench = Bench::start().await;
    let migrate = |old: Option<&str>, new: &str, created: &[&str]| {
        let steps = json!({"old_tag": old, "new_tag": new, "new_sqlite_classes": created});
        json!({ "migrations": steps })
    };
    let classes = ["Counter", "Other"];
    let put = |lifecycle: Value| bench.put("app", &classes, Some("Counter"), lifecycle);
    let (status, body) = put(migrate(None, "v1", &["Counter"])).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(bench.call("app").await, "1");

    let both =
        json!({"exports": {"Counter": live()}, "migrations": {"old_tag": "v1", "new_tag": "v1"}});
    let (status, body) = put(both).await;
    assert_eq!((status, &body["errors"][0]["code"]), (400, &json!(10021)));
    let declared = json!({"Counter": live()});
    let report = bench
        .deploy("app", &classes, Some("Counter"), declared)
        .await;
    assert_eq!(report["info"][0]["scenario"], "code_class_not_in_exports");
    assert_eq!(bench.call("app").await, "2", "no data moves");

    let (status, body) = put(migrate(Some("v1"), "v2", &["Other"])).await;
    assert_eq!((status, &body["errors"][0]["code"]), (400, &json!(100403)));
    let (status, body) = put(json!({})).await;
    assert_eq!(
        (status, &body["errors"][0]["code"]),
        (400, &json!(100402)),
        "no map is an empty map"
    );
    let settings = json!({"exports": {"Counter": live(), "Other": live()}}).to_string();
    let form = reqwest::multipart::Form::new().text("settings", settings);
    let change = bench.send(Method::PATCH, "scripts/app/settings", |request| {
        request.multipart(form)
    });
    let (status, body) = change.await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(
        body["result"]["exports_reconciliation"]["created"],
        json!(["Other"])
    );
    assert_eq!(bench.call("app").await, "3");
    bench.local.stop().await;
}
