//! Local Cloudflare over HTTP, as any client of the API sees it.

use std::path::Path;
use std::time::Duration;

use acceptance_tests::cloudflare::{
    Action, Bucket, LocalCloudflare, Misbehaviour, Options, StartError,
};
use acceptance_tests::install;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

pub(crate) const COUNTER: &str = r#"
import { DurableObject } from "cloudflare:workers";
export class CLASS extends DurableObject {
  async increment() {
    const count = ((await this.ctx.storage.get("count")) ?? 0) + 1;
    await this.ctx.storage.put("count", count);
    return count;
  }
}
export default {
  async fetch(request, env) {
    return new Response(`${env.GREETING ?? ""}${await env.COUNTER.getByName("one").increment()}`);
  },
};
"#;

pub(crate) struct Bench {
    pub(crate) local: LocalCloudflare,
    pub(crate) http: reqwest::Client,
}

impl Bench {
    pub(crate) async fn start() -> Self {
        Self::start_in(None).await
    }

    /// With an account that outlives it if there is a folder.
    pub(crate) async fn start_in(folder: Option<&Path>) -> Self {
        // Tests of other files may have chosen it already.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let workerd = install::workerd().await.expect("workerd can be installed");
        let options = Options {
            state_dir: folder.map(Path::to_owned),
            ..Options::new(workerd)
        };
        let local = LocalCloudflare::start(options).await.expect("it starts");
        Self {
            local,
            http: reqwest::Client::new(),
        }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let url = format!(
            "{}/accounts/{}{path}",
            self.local.api_url(),
            self.local.account_id()
        );
        self.http
            .request(method, url)
            .bearer_auth(self.local.token())
    }

    pub(crate) async fn send(&self, request: reqwest::RequestBuilder) -> (u16, Value) {
        let response = request.send().await.expect("the API answers");
        let status = response.status().as_u16();
        (status, response.json().await.expect("the answer is JSON"))
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let (status, body) = self.send(self.request(Method::GET, path)).await;
        assert_eq!(status, 200, "{body}");
        body["result"].clone()
    }

    /// A form of a code part and metadata, in this order.
    pub(crate) fn form(code: &str, metadata: &Value) -> reqwest::multipart::Form {
        let module = reqwest::multipart::Part::text(code.to_owned())
            .file_name("worker.js")
            .mime_str("application/javascript+module")
            .expect("the type is well formed");
        let mut metadata = metadata.clone();
        metadata["main_module"] = json!("worker.js");
        metadata["compatibility_date"] = json!("2026-01-01");
        reqwest::multipart::Form::new()
            .part("worker.js", module)
            .text("metadata", metadata.to_string())
    }

    pub(crate) async fn upload(&self, script: &str, code: &str, metadata: Value) -> (u16, Value) {
        let path = format!("/workers/scripts/{script}");
        self.send(
            self.request(Method::PUT, &path)
                .multipart(Self::form(code, &metadata)),
        )
        .await
    }

    /// Uploads the counter with one class bound as `COUNTER`.
    pub(crate) async fn upload_counter(
        &self,
        script: &str,
        class: &str,
        migrations: Value,
    ) -> Value {
        let metadata = json!({
            "bindings": [{"name": "COUNTER", "type": "durable_object_namespace", "class_name": class}],
            "migrations": migrations,
        });
        let (status, body) = self
            .upload(script, &COUNTER.replace("CLASS", class), metadata)
            .await;
        assert_eq!(status, 200, "{body}");
        body["result"].clone()
    }

    /// What the Worker answers.
    pub(crate) async fn call(&self, script: &str) -> String {
        let url = format!("http://{}/", self.local.workers_address());
        let response = self
            .http
            .get(url)
            .header("x-local-worker", script)
            .send()
            .await;
        response
            .expect("the runtime answers")
            .text()
            .await
            .expect("the answer is text")
    }
}

pub(crate) fn code(body: &Value) -> &Value {
    &body["errors"][0]["code"]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_counter_keeps_its_data_through_a_class_rename_and_a_worker_rename() {
    let bench = Bench::start().await;
    let created = bench
        .upload_counter(
            "counter",
            "Counter",
            json!({"new_tag": "v1", "new_sqlite_classes": ["Counter"]}),
        )
        .await;
    assert_eq!(
        created["named_handlers"],
        json!([{"name": "Counter", "handlers": ["class"]}])
    );
    assert_eq!(bench.call("counter").await, "1");
    assert_eq!(bench.call("counter").await, "2");

    let renamed = json!({"old_tag": "v1", "new_tag": "v2", "renamed_classes": [{"from": "Counter", "to": "Tally"}]});
    let updated = bench.upload_counter("counter", "Tally", renamed).await;
    assert_eq!(updated["tag"], created["tag"], "the immutable id stays");
    assert_eq!(bench.call("counter").await, "3");

    let rename = bench
        .request(Method::PATCH, "/workers/services/counter")
        .json(&json!({"id": "tally"}));
    let (status, body) = bench.send(rename).await;
    assert_eq!((status, &body["result"]["id"]), (200, &json!("tally")));
    assert_eq!(bench.call("tally").await, "4");

    let service = bench.get("/workers/services/tally").await;
    assert_eq!(
        service["default_environment"]["script"]["migration_tag"],
        "v2"
    );
    let settings = bench.get("/workers/scripts/tally/settings").await;
    let namespaces = bench.get("/workers/durable_objects/namespaces").await;
    assert_eq!(settings["bindings"][0]["namespace_id"], namespaces[0]["id"]);
    assert_eq!(
        (
            &namespaces[0]["name"],
            &namespaces[0]["script"],
            &namespaces[0]["class"]
        ),
        (&json!("counter_Counter"), &json!("tally"), &json!("Tally"))
    );
    let id = namespaces[0]["id"]
        .as_str()
        .expect("ids are strings")
        .to_owned();
    let objects = bench
        .get(&format!("/workers/durable_objects/namespaces/{id}/objects"))
        .await;
    assert_eq!(objects.as_array().map(Vec::len), Some(1));
    assert_eq!(objects[0]["hasStoredData"], true);

    let (status, body) = bench
        .send(bench.request(Method::DELETE, "/workers/scripts/tally"))
        .await;
    assert_eq!((status, &body["result"]), (200, &Value::Null));
    let gone = format!("/workers/durable_objects/namespaces/{id}/objects");
    let (status, body) = bench.send(bench.request(Method::GET, &gone)).await;
    assert_eq!((status, code(&body)), (404, &json!(10066)));
    bench
        .upload_counter("tally", "Tally", json!({"new_sqlite_classes": ["Tally"]}))
        .await;
    assert_eq!(
        bench.call("tally").await,
        "1",
        "the data went with the Worker"
    );
    bench.local.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_keeps_reaching_a_namespace_whose_class_was_renamed() {
    let bench = Bench::start().await;
    bench
        .upload_counter(
            "host",
            "Counter",
            json!({"new_tag": "v1", "new_sqlite_classes": ["Counter"]}),
        )
        .await;
    let client = "export default { async fetch(r, env) { return new Response(String(await env.C.getByName('one').increment())); } };";
    let binding = json!({"name": "C", "type": "durable_object_namespace", "class_name": "Counter", "script_name": "host"});
    let (status, body) = bench
        .upload("client", client, json!({"bindings": [binding]}))
        .await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(bench.call("host").await, "1");
    assert_eq!(bench.call("client").await, "2");
    let steps = json!({"old_tag": "v1", "new_tag": "v2", "renamed_classes": [{"from": "Counter", "to": "Tally"}]});
    bench.upload_counter("host", "Tally", steps).await;
    assert_eq!(bench.call("client").await, "3");
    let references = bench.get("/workers/scripts/host/references").await;
    let users: Vec<&Value> = references["durable_objects"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|entry| &entry["service"])
        .collect();
    assert_eq!(users, ["client", "host"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_come_with_cloudflares_codes() {
    let bench = Bench::start().await;
    for (script, code_text, status, expected) in [
        ("Upper", "export default { fetch() {} };", 400, 10016),
        ("w", "export default { fetch( };", 400, 10021),
        (
            "w",
            "import 'nope.js'; export default { fetch() {} };",
            400,
            10021,
        ),
        ("w", "const nothing = 1;", 400, 10068),
    ] {
        let (found, body) = bench.upload(script, code_text, json!({})).await;
        assert_eq!((found, code(&body)), (status, &json!(expected)), "{body}");
    }
    for (method, path, status, expected) in [
        (Method::GET, "/workers/scripts/none", 404, 10007),
        (Method::GET, "/workers/scripts/none/settings", 404, 10007),
        (Method::DELETE, "/workers/scripts/none", 404, 10007),
        (Method::GET, "/workers/services/none", 404, 10090),
        (Method::GET, "/workers/scripts/none/nothing", 404, 7003),
        (Method::POST, "/workers/scripts/none", 405, 10405),
        (
            Method::GET,
            "/workers/durable_objects/namespaces/00/objects",
            404,
            10066,
        ),
    ] {
        let (found, body) = bench.send(bench.request(method, path)).await;
        assert_eq!(
            (found, code(&body)),
            (status, &json!(expected)),
            "{path} {body}"
        );
        assert_eq!(body["success"], false);
    }
    let json = bench
        .request(Method::PATCH, "/workers/scripts/none/settings")
        .json(&json!({}));
    assert_eq!(
        code(&bench.send(json).await.1),
        10001,
        "settings are a form"
    );
    let verify = format!("{}/user/tokens/verify", bench.local.api_url());
    let (status, body) = bench
        .send(bench.http.get(&verify).bearer_auth("wrong"))
        .await;
    assert_eq!((status, code(&body)), (401, &json!(1000)));
    let (status, body) = bench.send(bench.http.get(&verify)).await;
    assert_eq!((status, code(&body)), (400, &json!(9106)));
    let (status, body) = bench
        .send(bench.http.get(&verify).bearer_auth(bench.local.token()))
        .await;
    assert_eq!((status, &body["result"]["status"]), (200, &json!("active")));
    assert!(
        bench.local.account().scripts.is_empty(),
        "a refused upload leaves nothing behind"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_change_without_code_and_never_show_secrets() {
    let bench = Bench::start().await;
    let bindings = json!([
        {"name": "SECRET", "type": "secret_text", "text": "hidden"},
        {"name": "TEXT", "type": "plain_text", "text": "hello"},
    ]);
    let code =
        "export default { fetch(r, env) { return new Response([env.TEXT, env.SECRET].join()); } };";
    bench
        .upload("w", code, json!({"bindings": bindings, "tags": ["a"]}))
        .await;
    assert_eq!(bench.call("w").await, "hello,hidden");
    // Bindings are given as a whole, and only what inherits a secret can repeat it.
    let settings = json!({"bindings": [
        {"name": "TEXT", "type": "plain_text", "text": "bye"},
        {"name": "SECRET", "type": "inherit"},
    ]});
    let form = reqwest::multipart::Form::new().text("settings", settings.to_string());
    let (status, body) = bench
        .send(
            bench
                .request(Method::PATCH, "/workers/scripts/w/settings")
                .multipart(form),
        )
        .await;
    assert_eq!(status, 200, "{body}");
    assert!(!body.to_string().contains("hidden"));
    assert_eq!(
        body["result"]["tags"],
        json!(["a"]),
        "what is not given stays"
    );
    assert_eq!(bench.call("w").await, "bye,hidden");
    let patch = bench
        .request(Method::PATCH, "/workers/scripts/w/script-settings")
        .json(&json!({"tags": ["b"]}));
    assert_eq!(bench.send(patch).await.1["result"]["tags"], json!(["b"]));
    bench
        .local
        .act(Action::SetVar {
            script: "w".into(),
            name: "TEXT".into(),
            text: "other".into(),
        })
        .await
        .expect("the Worker is there");
    assert_eq!(bench.call("w").await, "other,hidden");
    let uploads: Vec<_> = bench
        .local
        .calls()
        .into_iter()
        .filter(|call| call.method == "PUT")
        .collect();
    assert_eq!(uploads.len(), 1);
    assert_eq!(
        uploads[0].metadata.as_ref().map(|m| m["tags"].clone()),
        Some(json!(["a"]))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_misbehave_on_demand() {
    let bench = Bench::start().await;
    let (local, scripts) = (&bench.local, "*/workers/scripts");
    let list = || bench.request(Method::GET, "/workers/scripts");

    local.add_fault(Misbehaviour::RateLimit { retry_after: 7 }.once("GET", scripts));
    let response = list().send().await.expect("the API answers");
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(response.headers()["retry-after"], "7");

    local.add_fault(Misbehaviour::Throttled.once("GET", scripts));
    let (status, body) = bench.send(list()).await;
    assert_eq!(
        (status, &body["success"], code(&body)),
        (200, &json!(false), &json!(971))
    );

    local.add_fault(Misbehaviour::CloseBefore.once("GET", scripts));
    list().send().await.expect_err("the connection is closed");

    local.add_fault(Misbehaviour::CloseAfterCommit.once("PUT", "*/workers/scripts/w"));
    let hello = "export default { fetch() { return new Response('hello'); } };";
    let form = Bench::form(hello, &json!({}));
    bench
        .request(Method::PUT, "/workers/scripts/w")
        .multipart(form)
        .send()
        .await
        .expect_err("no answer");
    assert_eq!(local.calls().last().map(|call| call.status), Some(0));
    assert_eq!(bench.call("w").await, "hello", "the upload was committed");

    local.add_fault(Misbehaviour::Stale.times(2, "GET", scripts));
    bench.upload("x", hello, json!({})).await;
    for expected in [1, 1, 2] {
        assert_eq!(
            bench.get("/workers/scripts").await.as_array().map(Vec::len),
            Some(expected)
        );
    }

    local.add_fault(Misbehaviour::Truncated.once("GET", scripts));
    let text = list()
        .send()
        .await
        .expect("it answers")
        .text()
        .await
        .expect("it is text");
    serde_json::from_str::<Value>(&text).expect_err("half of it is missing");

    local.add_fault(Misbehaviour::Html { status: 502 }.once("GET", scripts));
    let response = list().send().await.expect("it answers");
    assert_eq!(
        response.headers()["content-type"],
        "text/html; charset=UTF-8"
    );

    local.add_fault(Misbehaviour::NoVersions.once("GET", "*/settings"));
    let (status, body) = bench
        .send(bench.request(Method::GET, "/workers/scripts/w/settings"))
        .await;
    assert_eq!(status, 404);
    assert!(
        body["errors"][0]["message"]
            .as_str()
            .is_some_and(|text| text.contains("has no versions"))
    );

    let action = Action::SetMigrationTag {
        script: "w".into(),
        tag: Some("theirs".into()),
    };
    local.add_fault(Misbehaviour::Meanwhile { action }.once("PUT", "*/workers/scripts/w"));
    let (status, body) = bench
        .upload("w", hello, json!({"migrations": {"new_tag": "mine"}}))
        .await;
    assert_eq!((status, code(&body)), (412, &json!(10079)));

    local.faults().set_bucket(Some(Bucket {
        capacity: 1.0,
        per_second: 0.001,
    }));
    assert_eq!(bench.send(list()).await.0, 200);
    assert_eq!(bench.send(list()).await.0, 429);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_process_can_flip_the_switches() {
    let bench = Bench::start().await;
    let control = |path: &str| format!("{}{path}", bench.local.control_url());
    let fault = json!({"kind": "error", "status": 403, "code": 10000, "message": "Authentication error", "times": 1, "method": "GET"});
    let (status, body) = bench
        .send(bench.http.post(control("/faults")).json(&fault))
        .await;
    assert_eq!(status, 200, "{body}");
    let list = || bench.request(Method::GET, "/workers/scripts");
    assert_eq!(bench.send(list()).await.0, 403);
    assert_eq!(bench.send(list()).await.0, 200);
    let action = json!({"action": "set_plan", "plan": "free"});
    assert_eq!(
        bench
            .send(bench.http.post(control("/act")).json(&action))
            .await
            .0,
        200
    );
    let metadata = json!({"migrations": {"new_classes": ["Counter"]}});
    let (_, body) = bench
        .upload("w", &COUNTER.replace("CLASS", "Counter"), metadata)
        .await;
    assert_eq!(code(&body), 10097);
    let (_, calls) = bench.send(bench.http.get(control("/calls"))).await;
    assert_eq!(calls.as_array().map(Vec::len), Some(3));
    assert_eq!(bench.send(bench.http.post(control("/reset"))).await.0, 200);
    assert!(bench.local.calls().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn code_is_read_back_as_it_was_uploaded() {
    let bench = Bench::start().await;
    let main = "import text from \"./a.txt\"; export default { fetch: () => new Response(text) };";
    for path in [
        "/workers/scripts/w",
        "/workers/scripts/w/content/v2",
        "/workers/scripts/w/content/v3",
    ] {
        let (status, body) = bench.send(bench.request(Method::GET, path)).await;
        let expected = if path.ends_with("v3") { 7003 } else { 10007 };
        assert_eq!((status, code(&body)), (404, &json!(expected)), "{path}");
    }

    let data = b"\r\n--not the end\xff".as_slice();
    let text = reqwest::multipart::Part::bytes(data)
        .file_name("a.txt")
        .mime_str("text/plain")
        .expect("the type is well formed");
    let form = Bench::form(main, &json!({})).part("a.txt", text);
    let put = bench.request(Method::PUT, "/workers/scripts/w");
    let (status, body) = bench.send(put.multipart(form)).await;
    assert_eq!(status, 200, "{body}");

    for path in ["/workers/scripts/w", "/workers/scripts/w/content/v2"] {
        let response = bench
            .request(Method::GET, path)
            .send()
            .await
            .expect("it answers");
        let header = |name: &str| response.headers()[name].to_str().expect("it is text");
        assert_eq!(header("cf-entrypoint"), "worker.js");
        let boundary = multer::parse_boundary(header("content-type")).expect("it is a form");
        let body = response.bytes().await.expect("it is complete");
        let body = futures_util::stream::iter([Ok::<_, std::io::Error>(body)]);
        let mut form = multer::Multipart::new(body, boundary);
        for (name, kind, content) in [
            (
                "worker.js",
                "application/javascript+module",
                main.as_bytes(),
            ),
            ("a.txt", "text/plain", data),
        ] {
            let part = form.next_field().await.expect("a form").expect("a part");
            assert_eq!(part.name(), Some(name), "{path}");
            assert_eq!(part.content_type().map(AsRef::as_ref), Some(kind));
            assert_eq!(part.bytes().await.expect("its bytes"), content);
        }
        assert!(form.next_field().await.expect("the end").is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_with_a_folder_survives_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let bench = Bench::start_in(Some(folder.path())).await;
    let migrations = json!({"new_tag": "v1", "new_sqlite_classes": ["Counter"]});
    bench.upload_counter("counter", "Counter", migrations).await;
    assert_eq!(bench.call("counter").await, "1");
    let paths = [
        "/workers/scripts",
        "/workers/services/counter",
        "/workers/scripts/counter/settings",
        "/workers/durable_objects/namespaces",
    ];
    let mut before = Vec::new();
    for path in paths {
        before.push(bench.get(path).await);
    }
    bench.local.stop().await;

    let bench = Bench::start_in(Some(folder.path())).await;
    for (path, before) in paths.into_iter().zip(before) {
        assert_eq!(bench.get(path).await, before, "{path}");
    }
    assert_eq!(bench.call("counter").await, "2");
    let renamed = json!({"old_tag": "v1", "new_tag": "v2", "renamed_classes": [{"from": "Counter", "to": "Tally"}]});
    bench.upload_counter("counter", "Tally", renamed).await;
    assert_eq!(bench.call("counter").await, "3");
    bench.local.stop().await;

    std::fs::write(folder.path().join("account.json"), "{").expect("it is written");
    let workerd = install::workerd().await.expect("workerd can be installed");
    let options = Options {
        state_dir: Some(folder.path().to_owned()),
        ..Options::new(workerd)
    };
    let error = LocalCloudflare::start(options).await.err();
    assert!(matches!(error, Some(StartError::Account(_))), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alarm_rings_after_a_restart_though_nobody_calls() {
    const CODE: &str = r#"
        import { DurableObject } from "cloudflare:workers";
        export class Clock extends DurableObject {
          async wind() { await this.ctx.storage.setAlarm(Date.now() + 500); }
          async alarm() { await this.env.CLOCK.getByName("rung").note(); }
          async note() { await this.ctx.storage.put("rung", true); }
        }
        export default {
          async fetch(request, env) {
            await env.CLOCK.getByName("wound").wind();
            return new Response("wound");
          },
        };
    "#;
    let folder = tempfile::tempdir().expect("a temporary folder can be created");
    let bench = Bench::start_in(Some(folder.path())).await;
    let metadata = json!({
        "bindings": [{"name": "CLOCK", "type": "durable_object_namespace", "class_name": "Clock"}],
        "migrations": {"new_tag": "v1", "new_sqlite_classes": ["Clock"]},
    });
    let (status, body) = bench.upload("clock", CODE, metadata).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(bench.call("clock").await, "wound");
    let id = bench.local.account().namespaces[0].id.clone();
    bench.local.stop().await;

    let bench = Bench::start_in(Some(folder.path())).await;
    let path = format!("/workers/durable_objects/namespaces/{id}/objects");
    let rung = async {
        while bench.get(&path).await.as_array().map(Vec::len) != Some(2) {
            tokio::task::yield_now().await;
        }
    };
    let rung = tokio::time::timeout(Duration::from_secs(20), rung).await;
    rung.expect("the alarm rings");
}

/// More at once than a machine has cores: nobody may wait so long that a limit is reached.
#[tokio::test(flavor = "multi_thread")]
async fn fifty_accounts_at_once_do_not_disturb_each_other() {
    let lives = (0..50).map(|number| async move {
        let bench = Bench::start().await;
        let migrations = json!({"new_tag": "v1", "new_sqlite_classes": ["Counter"]});
        bench.upload_counter("counter", "Counter", migrations).await;
        assert_eq!(bench.call("counter").await, "1", "account {number}");
        let class = format!("Tally{number}");
        let renamed = json!({
            "old_tag": "v1", "new_tag": "v2", "renamed_classes": [{"from": "Counter", "to": class}],
        });
        bench.upload_counter("counter", &class, renamed).await;
        assert_eq!(bench.call("counter").await, "2", "account {number}");
        let (status, body) = bench.upload("broken", "export default {", json!({})).await;
        assert_eq!((status, code(&body)), (400, &json!(10021)), "{body}");
        assert_eq!(bench.call("counter").await, "3", "account {number}");
        bench.local.stop().await;
    });
    futures_util::future::join_all(lives).await;
}
