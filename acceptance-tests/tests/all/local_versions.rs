//! Versions, deployments, secrets and the smaller endpoints of a Worker on local Cloudflare.

use acceptance_tests::cloudflare::Action;
use acceptance_tests::cloudflare::account::Secrets;
use reqwest::Method;
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};

use crate::local_cloudflare::{Bench, code};

/// Answers with the names it is given and a variable and a secret.
fn greeter(word: &str) -> String {
    format!(
        "export default {{ fetch(request, env) {{ \
         return new Response(['{word}', env.TEXT, env.TOKEN].join()); }} }};"
    )
}

fn text(value: &str) -> Value {
    json!({"name": "TEXT", "type": "plain_text", "text": value})
}

fn secret(value: &str) -> Value {
    json!({"name": "TOKEN", "type": "secret_text", "text": value})
}

impl Bench {
    async fn json(&self, method: Method, path: &str, body: &Value) -> (u16, Value) {
        self.send(self.request(method, path).json(body)).await
    }

    async fn bare(&self, method: Method, path: &str) -> (u16, Value) {
        self.send(self.request(method, path)).await
    }

    async fn stage(&self, code: &str, metadata: Value) -> (u16, Value) {
        let request = self.request(Method::POST, "/workers/scripts/w/versions");
        self.send(request.multipart(Self::form(code, &metadata)))
            .await
    }

    async fn deploy(&self, versions: &Value) -> (u16, Value) {
        let body = json!({"strategy": "percentage", "versions": versions});
        self.json(Method::POST, "/workers/scripts/w/deployments", &body)
            .await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_is_uploaded_deployed_and_rolled_back() {
    let bench = Bench::start().await;
    let metadata = json!({"bindings": [text("one"), secret("s")]});
    let (status, body) = bench.upload("w", &greeter("first"), metadata).await;
    assert_eq!(status, 200, "{body}");
    let first = body["result"]["deployment_id"].clone();
    assert_eq!(bench.call("w").await, "first,one,s");

    let metadata = json!({
        "bindings": [text("two")],
        "keep_bindings": ["secret_text"],
        "annotations": {"workers/message": "second", "workers/tag": "2"},
        "limits": {"cpu_ms": 50},
    });
    let (status, body) = bench.stage(&greeter("second"), metadata).await;
    assert_eq!(status, 200, "{body}");
    let second = body["result"].clone();
    assert_eq!(second["number"], 2);
    assert_eq!(second["annotations"]["workers/tag"], "2");
    assert_eq!(second["resources"]["script"]["handlers"], json!(["fetch"]));
    assert!(second["resources"]["script"]["etag"].is_string());
    assert_eq!(
        second["resources"]["script_runtime"],
        json!({
            "compatibility_date": "2026-01-01", "compatibility_flags": [], "usage_model": "standard",
            "limits": {"cpu_ms": 50},
        })
    );
    assert_eq!(
        second["resources"]["bindings"],
        json!([text("two"), {"name": "TOKEN", "type": "secret_text"}])
    );
    assert_eq!(bench.call("w").await, "first,one,s", "it is not served yet");

    let share = json!([{"version_id": second["id"], "percentage": 100}]);
    let (status, body) = bench.deploy(&share).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(body["result"]["versions"], share);
    assert_eq!(bench.call("w").await, "second,two,s");

    let versions = bench.get("/workers/scripts/w/versions").await;
    let ids: Vec<&Value> = versions["items"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|version| &version["id"])
        .collect();
    assert_eq!(ids.len(), 2);
    assert_eq!(ids[0], &second["id"], "the newest comes first");
    let plain = ids[1].as_str().unwrap_or_default().replace('-', "");
    assert_eq!(json!(plain), first, "an upload shows its version's id");

    let (status, body) = bench
        .deploy(&json!([
            {"version_id": ids[1], "percentage": 70},
            {"version_id": ids[0], "percentage": 30},
        ]))
        .await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(bench.call("w").await, "first,one,s");
    let deployments = bench.get("/workers/scripts/w/deployments").await;
    let deployments = deployments["deployments"].as_array().expect("a list");
    assert_eq!(deployments.len(), 3);
    assert_eq!(deployments[0]["versions"][0]["percentage"], 70);

    let current = deployments[0]["id"].as_str().unwrap_or_default();
    let oldest = deployments[2]["id"].as_str().unwrap_or_default();
    let path = |id: &str| format!("/workers/scripts/w/deployments/{id}");
    let (status, _) = bench.bare(Method::DELETE, &path(current)).await;
    assert_eq!(status, 400, "what is served is not deleted");
    let (status, _) = bench.bare(Method::DELETE, &path(oldest)).await;
    assert_eq!(status, 200);
    let (status, body) = bench.bare(Method::GET, &path(oldest)).await;
    assert_eq!((status, code(&body)), (404, &json!(10336)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_said_in_cloudflares_codes() {
    let bench = Bench::start().await;
    for path in [
        "versions",
        "deployments",
        "secrets",
        "tails",
        "queue-consumers",
        "bindings",
        "content",
    ] {
        let path = format!("/workers/scripts/none/{path}");
        let (status, body) = bench.bare(Method::GET, &path).await;
        assert_eq!((status, code(&body)), (404, &json!(10007)), "{path}");
    }
    let form = Bench::form(&greeter("x"), &json!({}));
    let request = bench.request(Method::POST, "/workers/scripts/none/versions");
    let (status, body) = bench.send(request.multipart(form)).await;
    assert_eq!((status, code(&body)), (404, &json!(10007)));

    bench.upload("w", &greeter("x"), json!({})).await;
    let id = "00000000-0000-4000-a000-000000000000";
    for (path, expected) in [
        (format!("versions/{id}"), 100146),
        (format!("deployments/{id}"), 10336),
        ("secrets/NONE".into(), 10056),
    ] {
        let path = format!("/workers/scripts/w/{path}");
        let (status, body) = bench.bare(Method::GET, &path).await;
        assert_eq!((status, code(&body)), (404, &json!(expected)), "{path}");
    }
    let share = json!([{"version_id": id, "percentage": 100}]);
    let (status, body) = bench.deploy(&share).await;
    assert_eq!((status, code(&body)), (404, &json!(10071)));
    let (status, body) = bench.bare(Method::PUT, "/workers/scripts/w/versions").await;
    assert_eq!((status, code(&body)), (405, &json!(10405)));
    assert_eq!(bench.get("/containers/applications").await, json!([]));
    let (status, body) = bench.bare(Method::GET, "/workers/subdomains/local").await;
    assert_eq!((status, code(&body)), (409, &json!(10031)));
    let (status, body) = bench.bare(Method::GET, "/workers/subdomains/free").await;
    assert_eq!((status, code(&body)), (404, &json!(10032)));
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_change_without_an_upload_and_are_never_shown() {
    let bench = Bench::start().await;
    bench
        .upload("w", &greeter("w"), json!({"bindings": [text("t")]}))
        .await;
    let secrets = "/workers/scripts/w/secrets";
    let (status, body) = bench.json(Method::PUT, secrets, &secret("one")).await;
    assert_eq!(status, 200, "{body}");
    let shown = json!({"name": "TOKEN", "type": "secret_text"});
    assert_eq!(body["result"], shown);
    assert_eq!(bench.call("w").await, "w,t,one");
    assert_eq!(bench.get(secrets).await, json!([shown]));
    assert_eq!(bench.get(&format!("{secrets}/TOKEN")).await, shown);

    let clash = json!({"name": "TEXT", "type": "secret_text", "text": "x"});
    let (status, body) = bench.json(Method::PUT, secrets, &clash).await;
    assert_eq!((status, code(&body)), (400, &json!(10053)));
    assert_eq!(
        body["errors"][0]["message"],
        "Binding name 'TEXT' already in use. Please use a different name and try again."
    );
    let large = secret(&"x".repeat(5 * 1024 + 1));
    let (status, body) = bench.json(Method::PUT, secrets, &large).await;
    assert_eq!((status, code(&body)), (400, &json!(10054)));
    let variable = text("not a secret");
    let (status, body) = bench.json(Method::PUT, secrets, &variable).await;
    assert_eq!((status, code(&body)), (400, &json!(10021)));

    let many: serde_json::Map<String, Value> = (0..128)
        .map(|n| (format!("S{n}"), json!({"type": "secret_text", "text": "x"})))
        .collect();
    let bulk = "/workers/scripts/w/secrets-bulk";
    let (status, body) = bench
        .json(Method::PATCH, bulk, &json!({"secrets": many}))
        .await;
    assert_eq!((status, code(&body)), (400, &json!(10055)));
    let patch = json!({"secrets": {
        "TOKEN": null,
        "OTHER": {"name": "OTHER", "type": "secret_text", "text": "two"},
        "KEY": {"type": "secret_key", "format": "raw", "algorithm": {"name": "HMAC", "hash": "SHA-256"},
                "usages": ["sign"], "key_base64": "c2VjcmV0"},
    }});
    let (status, body) = bench.json(Method::PATCH, bulk, &patch).await;
    assert_eq!(status, 200, "{body}");
    assert!(!body.to_string().contains("c2VjcmV0"));
    assert_eq!(body["result"]["KEY"]["usages"], json!(["sign"]));
    let mut names: Vec<String> = bench.get(secrets).await.as_array().map_or(vec![], |list| {
        list.iter()
            .map(|secret| secret["name"].to_string())
            .collect()
    });
    names.sort();
    assert_eq!(names, ["\"KEY\"", "\"OTHER\""]);

    let one = format!("{secrets}/OTHER?url_encoded=true");
    let (status, body) = bench.bare(Method::DELETE, &one).await;
    assert_eq!((status, &body["result"]), (200, &Value::Null));
    let (status, body) = bench.bare(Method::DELETE, &one).await;
    assert_eq!((status, code(&body)), (404, &json!(10056)));
    let variable = format!("{secrets}/TEXT");
    let (status, body) = bench.bare(Method::DELETE, &variable).await;
    assert_eq!(
        (status, code(&body)),
        (404, &json!(10056)),
        "a variable is no secret"
    );
    let versions = bench.get("/workers/scripts/w/versions").await;
    assert_eq!(
        versions["items"].as_array().map(Vec::len),
        Some(4),
        "every change made a version, no refusal did"
    );
    assert_eq!(
        versions["items"][0]["annotations"]["workers/triggered_by"],
        "secret"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_and_settings_wait_for_the_newest_version() {
    let bench = Bench::start().await;
    bench.upload("w", &greeter("w"), json!({})).await;
    let (status, body) = bench.stage(&greeter("v"), json!({})).await;
    assert_eq!(status, 200, "{body}");
    let secrets = "/workers/scripts/w/secrets";
    let (status, body) = bench.json(Method::PUT, secrets, &secret("one")).await;
    assert_eq!((status, code(&body)), (400, &json!(10215)));
    let form = Form::new().text("settings", json!({"bindings": []}).to_string());
    let request = bench.request(Method::PATCH, "/workers/scripts/w/settings");
    let (status, body) = bench.send(request.multipart(form)).await;
    assert_eq!((status, code(&body)), (400, &json!(10214)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_can_be_put_before_there_is_code() {
    let bench = Bench::start().await;
    let secrets = "/workers/scripts/ghost/secrets";
    let (status, body) = bench.json(Method::PUT, secrets, &secret("s")).await;
    assert_eq!((status, code(&body)), (404, &json!(10007)));
    let draft = Part::text("export default { fetch() {} }")
        .file_name("ghost")
        .mime_str("application/javascript+module")
        .expect("the type is well formed");
    let metadata = json!({"main_module": "ghost", "bindings": [], "logpush": false});
    let form = Form::new()
        .text("metadata", metadata.to_string())
        .part("ghost", draft);
    let request = bench.request(Method::PUT, "/workers/scripts/ghost");
    let (status, body) = bench.send(request.multipart(form)).await;
    assert_eq!(status, 200, "{body}");
    let (status, body) = bench.json(Method::PUT, secrets, &secret("s")).await;
    assert_eq!(status, 200, "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whether_unmentioned_secrets_survive_an_upload_can_be_chosen() {
    let bench = Bench::start().await;
    let metadata = json!({"bindings": [text("t"), secret("s")]});
    bench.upload("w", &greeter("w"), metadata.clone()).await;
    bench
        .local
        .act(Action::SetSecrets {
            secrets: Secrets::Kept,
        })
        .await
        .expect("the switch exists");
    bench.upload("w", &greeter("w"), json!({})).await;
    assert_eq!(bench.call("w").await, "w,,s");
    bench
        .local
        .act(Action::SetSecrets {
            secrets: Secrets::Dropped,
        })
        .await
        .expect("the switch exists");
    bench.upload("w", &greeter("w"), json!({})).await;
    assert_eq!(bench.call("w").await, "w,,");
}

#[tokio::test(flavor = "multi_thread")]
async fn code_alone_is_replaced_and_everything_else_stays() {
    let bench = Bench::start().await;
    let metadata = json!({"bindings": [text("t"), secret("s")], "tags": ["a"]});
    bench.upload("w", &greeter("one"), metadata).await;
    let module = |word: &str| {
        Part::text(greeter(word))
            .file_name("other.js")
            .mime_str("application/javascript+module")
            .expect("the type is well formed")
    };
    let content = "/workers/scripts/w/content";
    let request = bench
        .request(Method::PUT, content)
        .header("CF-WORKER-MAIN-MODULE-PART", "other.js")
        .multipart(Form::new().part("other.js", module("two")));
    let (status, body) = bench.send(request).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(body["result"]["tags"], json!(["a"]));
    assert_eq!(body["result"]["compatibility_date"], "2026-01-01");
    assert_eq!(bench.call("w").await, "two,t,s");
    let form = Form::new()
        .text("metadata", json!({"main_module": "other.js"}).to_string())
        .part("other.js", module("three"));
    let (status, body) = bench
        .send(bench.request(Method::PUT, content).multipart(form))
        .await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(bench.call("w").await, "three,t,s");
    let answer = bench.request(Method::GET, content).send().await;
    let code = answer.expect("the API answers").text().await;
    assert!(code.expect("the code is text").contains("'three'"));
    let (status, _) = bench
        .send(
            bench
                .request(Method::PUT, content)
                .multipart(Form::new().part("other.js", module("four"))),
        )
        .await;
    assert_eq!(status, 400, "nothing says which part is started");
    assert_eq!(
        bench.get("/workers/scripts/w/bindings").await,
        json!([text("t"), {"name": "TOKEN", "type": "secret_text"}])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_are_listed_searched_and_tailed() {
    let bench = Bench::start().await;
    for (name, metadata) in [
        ("alpha", json!({"tags": ["team:x", "live"]})),
        (
            "beta",
            json!({"tags": ["team:x"], "tail_consumers": [{"service": "alpha"}]}),
        ),
    ] {
        let (status, body) = bench.upload(name, &greeter(name), metadata).await;
        assert_eq!(status, 200, "{body}");
    }
    let names = |list: &Value, field: &str| -> Vec<String> {
        let list = list.as_array().into_iter().flatten();
        list.map(|it| it[field].as_str().unwrap_or_default().to_owned())
            .collect()
    };
    for (filter, expected) in [
        ("team:x:yes", vec!["alpha", "beta"]),
        ("team:x:yes,live:no", vec!["beta"]),
        ("live:yes", vec!["alpha"]),
        ("none:yes", vec![]),
    ] {
        let found = bench.get(&format!("/workers/scripts?tags={filter}")).await;
        assert_eq!(names(&found, "id"), expected, "{filter}");
    }
    let found = bench.get("/workers/scripts-search?name=et").await;
    assert_eq!(names(&found, "script_name"), ["beta"]);
    let found = bench
        .get("/workers/scripts-search?order_by=modified_on&per_page=1&page=2")
        .await;
    assert_eq!(names(&found, "script_name"), ["beta"]);

    let tails = bench.get("/workers/tails/by-consumer/alpha").await;
    assert_eq!(tails[0]["producer"]["service"], "beta");
    assert_eq!(
        bench.get("/workers/tails/by-consumer/beta").await,
        json!([])
    );
    let sessions = "/workers/scripts/alpha/tails";
    let (status, body) = bench.bare(Method::POST, sessions).await;
    assert_eq!(status, 200, "{body}");
    let session = body["result"].clone();
    assert!(session["expires_at"].is_string() && session["url"].is_string());
    assert_eq!(bench.get(sessions).await, json!([session]));
    let one = format!("{sessions}/{}", session["id"].as_str().unwrap_or_default());
    assert_eq!(bench.bare(Method::DELETE, &one).await.0, 200);
    assert_eq!(bench.get(sessions).await, json!([]));

    let settings = "/workers/account-settings";
    let green = json!({"green_compute": true});
    let (status, body) = bench.json(Method::PUT, settings, &green).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(
        bench.get(settings).await,
        json!({"default_usage_model": "standard", "green_compute": true})
    );
}

/// A WebAssembly module that exports `answer`, which returns 42.
const WASM: &[u8] =
    b"\0asm\x01\0\0\0\x01\x05\x01\x60\0\x01\x7f\x03\x02\x01\0\x07\x0a\x01\x06answer\0\0\
\x0a\x06\x01\x04\0\x41\x2a\x0b";

impl Bench {
    /// Uploads a classic script with a WebAssembly part.
    async fn upload_script(&self, code: &str, metadata: Value) -> (u16, Value) {
        let part = |body: Vec<u8>, name: &str, kind: &str| {
            Part::bytes(body)
                .file_name(name.to_owned())
                .mime_str(kind)
                .expect("the type is well formed")
        };
        let mut metadata = metadata;
        metadata["body_part"] = json!("script");
        let form = Form::new()
            .text("metadata", metadata.to_string())
            .part(
                "script",
                part(code.into(), "script", "application/javascript"),
            )
            .part("wasm", part(WASM.into(), "wasm", "application/wasm"));
        let request = self.request(Method::PUT, "/workers/scripts/classic");
        self.send(request.multipart(form)).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_classic_script_finds_its_bindings_as_globals() {
    let bench = Bench::start().await;
    let script = "const wasm = new WebAssembly.Instance(WASM);\n\
        addEventListener('fetch', event => event.respondWith(\
        new Response([TEXT, TOKEN, BLOB.length, wasm.exports.answer()].join())));\
        addEventListener('scheduled', event => {});";
    let metadata = json!({"bindings": [
        text("t"),
        secret("s"),
        {"name": "WASM", "type": "wasm_module", "part": "wasm"},
        {"name": "BLOB", "type": "text_blob", "part": "script"},
    ]});
    let (status, body) = bench.upload_script(script, metadata).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(body["result"]["has_modules"], false);
    assert_eq!(body["result"]["handlers"], json!(["fetch", "scheduled"]));
    let expected = format!("t,s,{},42", script.len());
    assert_eq!(bench.call("classic").await, expected);

    for (script, metadata, expected, says) in [
        (
            "const x = 1;",
            json!({}),
            10068,
            "no registered event handlers",
        ),
        (
            "addEventListener('fetch', ",
            json!({}),
            10021,
            "SyntaxError",
        ),
        (
            "\nNOT_BOUND; addEventListener('fetch', () => {});",
            json!({}),
            10021,
            "ReferenceError: NOT_BOUND is not defined",
        ),
        (
            script,
            json!({"bindings": [{"name": "WASM", "type": "wasm_module", "part": "none"}]}),
            10021,
            "No such module",
        ),
        (
            "addEventListener('fetch', () => {});",
            json!({"migrations": {"new_sqlite_classes": ["Room"]}}),
            10070,
            "'Room' that is not exported",
        ),
    ] {
        let (status, body) = bench.upload_script(script, metadata).await;
        assert_eq!((status, code(&body)), (400, &json!(expected)), "{body}");
        assert!(body.to_string().contains(says), "{body}");
    }
    let wasm = json!({"bindings": [{"name": "W", "type": "wasm_module", "part": "worker.js"}]});
    let (status, body) = bench.upload("modules", &greeter("m"), wasm).await;
    assert_eq!((status, code(&body)), (400, &json!(10021)), "{body}");
    assert_eq!(bench.call("classic").await, expected, "it still answers");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_key_signs_and_a_broken_one_is_refused() {
    let bench = Bench::start().await;
    let signer = "export default { async fetch(request, env) {\
        const mac = await crypto.subtle.sign('HMAC', env.KEY, new TextEncoder().encode('text'));\
        return new Response([env.KEY.extractable, mac.byteLength].join()); } };";
    let key = |hash: &str| {
        json!({"name": "KEY", "type": "secret_key", "format": "raw", "usages": ["sign"],
               "algorithm": {"name": "HMAC", "hash": hash}, "key_base64": "c2VjcmV0"})
    };
    let (status, body) = bench
        .upload("w", signer, json!({"bindings": [key("SHA-256")]}))
        .await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(bench.call("w").await, "false,32");
    let secrets = "/workers/scripts/w/secrets";
    let (status, body) = bench.json(Method::PUT, secrets, &key("SHA-0")).await;
    assert_eq!((status, code(&body)), (400, &json!(10021)), "{body}");
    let mut unusable = key("SHA-256");
    unusable["usages"] = json!(["admire"]);
    let (status, body) = bench.json(Method::PUT, secrets, &unusable).await;
    assert_eq!((status, code(&body)), (400, &json!(10021)), "{body}");
    let (status, body) = bench.json(Method::PUT, secrets, &key("SHA-512")).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(bench.call("w").await, "false,64");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_survives_a_restart_and_keeps_each_code_once() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let bench = Bench::start_in(Some(folder.path())).await;
    bench
        .upload("w", &greeter("first"), json!({"bindings": [text("one")]}))
        .await;
    for value in ["two", "three"] {
        let metadata = json!({"bindings": [text(value)]});
        bench.upload("w", &greeter("second"), metadata).await;
    }
    bench.local.stop().await;
    let codes = || {
        let entries = std::fs::read_dir(folder.path().join("code"));
        entries.expect("code is kept").count()
    };
    assert_eq!(codes(), 2);

    let bench = Bench::start_in(Some(folder.path())).await;
    assert_eq!(bench.call("w").await, "second,three,");
    let versions = bench.get("/workers/scripts/w/versions").await;
    let oldest = json!([{"version_id": versions["items"][2]["id"], "percentage": 100}]);
    let (status, body) = bench.deploy(&oldest).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(bench.call("w").await, "first,one,");
    bench.bare(Method::DELETE, "/workers/scripts/w").await;
    bench.local.stop().await;

    let bench = Bench::start_in(Some(folder.path())).await;
    assert_eq!(codes(), 0, "nobody needs it any more");
    bench.local.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_without_code_has_no_content() {
    let bench = Bench::start().await;
    let (status, body) = bench
        .json(Method::POST, "/workers/workers", &json!({"name": "bare"}))
        .await;
    assert_eq!(status, 200, "{body}");
    for path in ["content", "content/v2"] {
        let path = format!("/workers/scripts/bare/{path}");
        let answer = bench.request(Method::GET, &path).send().await;
        assert_eq!(answer.expect("the API answers").status(), 204, "{path}");
    }
}
