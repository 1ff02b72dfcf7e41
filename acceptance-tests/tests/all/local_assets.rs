//! Static assets on local Cloudflare: their upload as clients do it, and how they are served.

use acceptance_tests::cloudflare::Action;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use serde_json::{Value, json};

use crate::local_cloudflare::{Bench, code};

/// A client's own hash: any 32 hexadecimal digits will do.
fn hash(content: &str) -> String {
    let sum: u32 = content.bytes().map(u32::from).sum();
    format!("{:032x}", sum as usize * 1000 + content.len())
}

fn manifest(files: &[(&str, &str)]) -> Value {
    let entry = |content: &str| json!({"hash": hash(content), "size": content.len()});
    let entries: serde_json::Map<String, Value> = files
        .iter()
        .map(|(path, content)| ((*path).to_owned(), entry(content)))
        .collect();
    json!({"manifest": entries})
}

impl Bench {
    async fn session(&self, script: &str, manifest: &Value) -> (u16, Value) {
        let path = format!("/workers/scripts/{script}/assets-upload-session");
        let request = self.request(Method::POST, &path).json(manifest);
        self.send(request).await
    }

    async fn send_files(&self, token: &str, contents: &[&str]) -> (u16, Value) {
        let mut form = reqwest::multipart::Form::new();
        for content in contents {
            let part = reqwest::multipart::Part::text(STANDARD.encode(content))
                .file_name(hash(content))
                .mime_str("text/css; charset=utf-8")
                .expect("the type is well formed");
            form = form.part(hash(content), part);
        }
        let url = format!(
            "{}/accounts/{}/workers/assets/upload?base64=true",
            self.local.api_url(),
            self.local.account_id()
        );
        let request = self.http.post(url).bearer_auth(token).multipart(form);
        self.send(request).await
    }

    /// Uploads what is missing; the token for the Worker.
    async fn upload_files(&self, script: &str, files: &[(&str, &str)]) -> String {
        let (status, session) = self.session(script, &manifest(files)).await;
        assert_eq!(status, 200, "{session}");
        let mut jwt = session["result"]["jwt"].clone();
        for bucket in session["result"]["buckets"].as_array().expect("a list") {
            let bucket: Vec<&str> = files
                .iter()
                .map(|(_, content)| *content)
                .filter(|content| {
                    let hashes = bucket.as_array().expect("a list of hashes");
                    hashes.contains(&json!(hash(content)))
                })
                .collect();
            let token = session["result"]["jwt"].as_str().expect("a token");
            let (status, body) = self.send_files(token, &bucket).await;
            assert_eq!(status, 201, "{body}");
            jwt = body["result"]["jwt"].clone();
        }
        jwt.as_str().expect("a token").to_owned()
    }

    /// Deploys a Worker of assets alone.
    async fn upload_site(&self, script: &str, metadata: &Value) -> (u16, Value) {
        let form = reqwest::multipart::Form::new().text("metadata", metadata.to_string());
        let path = format!("/workers/scripts/{script}");
        let request = self.request(Method::PUT, &path).multipart(form);
        self.send(request).await
    }

    /// Status, text, and the header `x-a` of what is at a path of a Worker.
    async fn visit(&self, script: &str, path: &str) -> (u16, String, String) {
        let url = format!("http://{}{path}", self.local.workers_address());
        let request = self.http.get(url).header("x-local-worker", script);
        let response = request.send().await.expect("it answers");
        let header = response.headers().get("x-a");
        let header = header.map_or(String::new(), |value| {
            value.to_str().expect("it is text").to_owned()
        });
        let status = response.status().as_u16();
        (status, response.text().await.expect("it is text"), header)
    }
}

const SERVE: &str = r#"export default { async fetch(request, env) {
  const path = new URL(request.url).pathname;
  return path.startsWith("/api/") ? new Response("code at " + path) : env.ASSETS.fetch(request);
} };"#;

#[tokio::test(flavor = "multi_thread")]
async fn assets_are_uploaded_once_and_served_beside_the_code() {
    let bench = Bench::start().await;
    let files = [
        ("/index.html", "<h1>home</h1>"),
        ("/sub dir/a.css", "body{}"),
        ("/404.html", "not here"),
    ];
    let (_, session) = bench.session("w", &manifest(&files)).await;
    let token = session["result"]["jwt"].as_str().expect("a token");
    assert_eq!(token.split('.').count(), 3, "it looks like a JWT");
    let mut missing = session["result"]["buckets"][0].clone();
    let mut expected: Vec<String> = files.iter().map(|(_, content)| hash(content)).collect();
    expected.sort();
    assert_eq!(missing.take(), json!(expected));
    let (status, body) = bench.send_files(token, &["<h1>home</h1>"]).await;
    assert_eq!((status, &body["result"]["jwt"]), (202, &Value::Null));
    let (_, session) = bench.session("w", &manifest(&files)).await;
    let buckets = &session["result"]["buckets"];
    assert_eq!(buckets[0].as_array().map(Vec::len), Some(2), "{buckets}");
    let (status, body) = bench.send_files(token, &["body{}", "not here"]).await;
    assert_eq!(status, 201, "{body}");

    let metadata = json!({
        "bindings": [{"name": "ASSETS", "type": "assets"}],
        "assets": {
            "jwt": body["result"]["jwt"],
            "config": {
                "not_found_handling": "404-page",
                "run_worker_first": ["/api/*"],
                "_headers": "/*\n  X-A: 1\n",
                "_redirects": "/old /sub%20dir/a.css 200\n",
            },
        },
    });
    let (status, body) = bench.upload("w", SERVE, metadata.clone()).await;
    assert_eq!(status, 200, "{body}");
    let shown = &body["result"];
    assert_eq!(
        (&shown["has_assets"], &shown["has_modules"]),
        (&json!(true), &json!(true))
    );
    for (path, status, text, header) in [
        ("/", 200, "<h1>home</h1>", "1"),
        ("/sub%20dir/a.css", 200, "body{}", "1"),
        ("/old", 200, "body{}", "1"),
        ("/nothing", 404, "not here", "1"),
        ("/api/x", 200, "code at /api/x", ""),
    ] {
        let expected = (status, text.to_owned(), header.to_owned());
        assert_eq!(bench.visit("w", path).await, expected, "{path}");
    }
    let settings = bench.get("/workers/scripts/w/settings").await;
    assert_eq!(
        settings["bindings"],
        json!([{"name": "ASSETS", "type": "assets"}])
    );

    // A change of one file uploads this file; no change uploads nothing, and the session's token is complete.
    let changed = [files[0], ("/sub dir/a.css", "body{color:red}"), files[2]];
    let token = bench.upload_files("w", &changed).await;
    let mut next = metadata.clone();
    next["assets"]["jwt"] = json!(token);
    assert_eq!(bench.upload("w", SERVE, next).await.0, 200);
    assert_eq!(
        bench.visit("w", "/sub%20dir/a.css").await.1,
        "body{color:red}"
    );
    let (_, session) = bench.session("other", &manifest(&changed)).await;
    assert_eq!(session["result"]["buckets"], json!([]));
    let mut next = metadata.clone();
    next["assets"]["jwt"] = session["result"]["jwt"].clone();
    assert_eq!(bench.upload("other", SERVE, next).await.0, 200);
    assert_eq!(bench.visit("other", "/").await.1, "<h1>home</h1>");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_of_assets_alone_is_served_and_has_no_content() {
    let bench = Bench::start().await;
    let jwt = bench.upload_files("site", &[("/index.html", "home")]).await;
    let metadata =
        json!({"assets": {"jwt": jwt, "config": {}}, "compatibility_date": "2026-01-01"});
    let (status, body) = bench.upload_site("site", &metadata).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(body["result"]["has_assets"], true);
    assert_eq!(body["result"]["has_modules"], false);
    assert_eq!(bench.visit("site", "/").await.1, "home");
    assert_eq!(bench.visit("site", "/nothing").await.0, 404);
    let content = bench.request(Method::GET, "/workers/scripts/site/content/v2");
    let content = content.send().await.expect("it answers");
    assert_eq!(content.status(), 204);

    // Another Worker reaches the files through a service binding, and code can be put behind them later.
    let client = "export default { fetch(r, env) { return env.SITE.fetch(r); } };";
    let binding = json!({"name": "SITE", "type": "service", "service": "site"});
    let metadata = json!({"bindings": [binding]});
    assert_eq!(bench.upload("client", client, metadata).await.0, 200);
    assert_eq!(bench.visit("client", "/").await.1, "home");
    let code = "export default { fetch() { return new Response('code'); } };";
    let (status, body) = bench
        .upload("site", code, json!({"keep_assets": true}))
        .await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(bench.visit("client", "/").await.1, "home");
    assert_eq!(bench.visit("client", "/nothing").await.1, "code");
    assert_eq!(bench.upload("site", code, json!({})).await.0, 200);
    assert_eq!(
        bench.visit("site", "/").await.1,
        "code",
        "assets that are not kept are gone"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_of_assets_that_cannot_be_right_are_refused() {
    let bench = Bench::start().await;
    let hello = "export default { fetch() { return new Response('hello'); } };";
    assert_eq!(bench.upload("w", hello, json!({})).await.0, 200);
    let good = hash("home");
    for (path, entry) in [
        ("index.html", json!({"hash": good, "size": 4})),
        ("/../index.html", json!({"hash": good, "size": 4})),
        ("/a//b", json!({"hash": good, "size": 4})),
        (
            "/index.html",
            json!({"hash": "../../../../../../../etc/passwd!", "size": 4}),
        ),
        ("/index.html", json!({"hash": "abc", "size": 4})),
        ("/index.html", json!({"hash": good, "size": 26 << 20})),
    ] {
        let request = json!({"manifest": {path: entry}});
        let (status, body) = bench.session("w", &request).await;
        assert_eq!((status, code(&body)), (400, &json!(10021)), "{path} {body}");
    }
    for request in [json!({}), json!([]), json!({"manifest": {"/a": 1}})] {
        let (status, body) = bench.session("w", &request).await;
        assert_eq!((status, code(&body)), (400, &json!(10026)), "{body}");
    }
    let many: serde_json::Map<String, Value> = (0..=20_000)
        .map(|n| (format!("/{n}"), json!({"hash": good, "size": 4})))
        .collect();
    let free = Action::SetPlan {
        plan: acceptance_tests::cloudflare::account::Plan::Free,
    };
    bench.local.act(free).await.expect("the plan changes");
    let (status, body) = bench.session("w", &json!({"manifest": many})).await;
    assert_eq!((status, code(&body)), (400, &json!(10021)));

    let (_, session) = bench
        .session("w", &manifest(&[("/index.html", "home")]))
        .await;
    let token = session["result"]["jwt"].as_str().expect("a token");
    for wrong in ["", "a.b.c", bench.local.token(), &token[..token.len() - 2]] {
        let (status, body) = bench.send_files(wrong, &["home"]).await;
        assert_eq!((status, code(&body)), (401, &json!(10000)), "{wrong}");
    }
    let (status, body) = bench.send_files(token, &["something else"]).await;
    assert_eq!((status, code(&body)), (400, &json!(10021)), "{body}");

    let done = bench.upload_files("w", &[("/index.html", "home")]).await;
    let binding = json!([{"name": "ASSETS", "type": "assets"}]);
    for (metadata, text) in [
        (json!({"assets": {"jwt": token}}), "assets token"),
        (json!({"assets": {"config": {}}}), "jwt"),
        (
            json!({"bindings": binding}),
            "Cannot use an assets binding without assets",
        ),
        (
            json!({"assets": {"jwt": done, "config": {"html_handling": "sometimes"}}}),
            "assets.config: unknown variant `sometimes`",
        ),
        (
            json!({"assets": {"jwt": done, "config": {"run_worker_first": ["!/a"]}}}),
            "run_worker_first",
        ),
    ] {
        let (status, body) = bench.upload("w", hello, metadata).await;
        assert_eq!((status, code(&body)), (400, &json!(10021)), "{body}");
        let message = body["errors"][0]["message"].as_str().expect("a text");
        assert!(message.contains(text), "{message}");
    }
    let (status, body) = bench.upload_site("new", &json!({"bindings": []})).await;
    assert_eq!((status, code(&body)), (400, &json!(10021)));
    let (status, body) = bench
        .upload_site("new", &json!({"keep_assets": true}))
        .await;
    assert_eq!((status, code(&body)), (400, &json!(10021)), "{body}");
    assert_eq!(bench.call("w").await, "hello");
    assert_eq!(bench.local.account().scripts.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn assets_survive_a_restart_of_an_account_with_a_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    let bench = Bench::start_in(Some(folder.path())).await;
    assert!(
        !folder.path().join("assets").exists(),
        "an account without assets has no place for them"
    );
    let jwt = bench.upload_files("site", &[("/index.html", "home")]).await;
    let metadata = json!({"assets": {"jwt": jwt}, "compatibility_date": "2026-01-01"});
    assert_eq!(bench.upload_site("site", &metadata).await.0, 200);
    bench.local.stop().await;

    let bench = Bench::start_in(Some(folder.path())).await;
    assert_eq!(bench.visit("site", "/").await.1, "home");
    let (_, session) = bench.session("site", &manifest(&[("/a", "home")])).await;
    assert_eq!(session["result"]["buckets"], json!([]), "files stay");
    bench.local.stop().await;
}
