//! One Worker does its worst; all others go on answering.

use reqwest::Method;
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};

use crate::local_cloudflare::{Bench, code};

const GOOD: &str = r#"export default { fetch() { return new Response("well"); } };"#;
const ES: &str = "application/javascript+module";

/// Name, content type and content of a part.
type Piece = (&'static str, &'static str, &'static str);

impl Bench {
    async fn with_neighbour() -> Self {
        let bench = Self::start().await;
        let (status, body) = bench.upload("neighbour", GOOD, json!({})).await;
        assert_eq!(status, 200, "{body}");
        bench
    }

    /// Uploads parts as they are.
    async fn upload_parts(&self, script: &str, metadata: Value, parts: &[Piece]) -> (u16, Value) {
        let mut metadata = metadata;
        metadata["compatibility_date"] = json!("2026-01-01");
        let mut form = Form::new().text("metadata", metadata.to_string());
        for (name, content_type, body) in parts {
            let part = Part::text((*body).to_owned())
                .file_name((*name).to_owned())
                .mime_str(content_type)
                .expect("the type is well formed");
            form = form.part((*name).to_owned(), part);
        }
        let path = format!("/workers/scripts/{script}");
        self.send(self.request(Method::PUT, &path).multipart(form))
            .await
    }

    async fn patch(&self, script: &str, settings: Value) -> (u16, Value) {
        let form = Form::new().text("settings", settings.to_string());
        let path = format!("/workers/scripts/{script}/settings");
        self.send(self.request(Method::PATCH, &path).multipart(form))
            .await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_binding_to_an_entrypoint_that_is_not_exported_is_no_binding() {
    const TARGET: &str = r#"
import { WorkerEntrypoint, WorkflowEntrypoint } from "cloudflare:workers";
export class Side extends WorkerEntrypoint { hello() { return "hello"; } }
export class Flow extends WorkflowEntrypoint {}
export default { fetch() { return new Response("default"); } };
"#;
    const CLIENT: &str = r#"
export default {
  async fetch(request, env) {
    const main = await (await env.MAIN.fetch("http://x/")).text();
    return new Response(`${main} ${(await env.SIDE?.hello()) ?? "nobody"} ${typeof env.GHOST}`);
  },
};
"#;
    let bench = Bench::with_neighbour().await;
    assert_eq!(bench.upload("target", TARGET, json!({})).await.0, 200);
    let service = |name: &str, entrypoint: &str| json!({"type": "service", "name": name, "service": "target", "entrypoint": entrypoint});
    let bindings = [
        service("MAIN", "default"),
        service("SIDE", "Side"),
        service("FLOW", "Flow"),
        service("GHOST", "Ghost"),
    ];
    let (status, body) = bench
        .upload("client", CLIENT, json!({"bindings": bindings}))
        .await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(bench.call("client").await, "default hello undefined");

    let (status, _) = bench.upload("target", GOOD, json!({})).await;
    assert_eq!(status, 200);
    assert_eq!(bench.call("client").await, "well nobody undefined");
    assert_eq!(bench.call("neighbour").await, "well");
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_the_code_does_not_load_with_are_refused() {
    let bench = Bench::with_neighbour().await;
    assert_eq!(bench.upload("worker", GOOD, json!({})).await.0, 200);
    let before = bench.get("/workers/scripts/worker/settings").await;
    for settings in [
        json!({"compatibility_flags": ["no_such_flag"]}),
        json!({"compatibility_flags": ["nodejs_compat", "nodejs_compat"]}),
        json!({"compatibility_date": "2999-01-01"}),
    ] {
        let (status, body) = bench.patch("worker", settings.clone()).await;
        assert_eq!(
            (status, code(&body)),
            (400, &json!(10021)),
            "{settings}: {body}"
        );
    }
    assert_eq!(bench.get("/workers/scripts/worker/settings").await, before);

    // What a classic script binds is there when it loads.
    let classic =
        "addEventListener('fetch', (event) => event.respondWith(new Response('classic')));";
    let parts = [
        ("main.js", "application/javascript", classic),
        ("not.wasm", "text/plain", "no"),
    ];
    let (status, body) = bench
        .upload_parts("classic", json!({"body_part": "main.js"}), &parts)
        .await;
    assert_eq!(status, 200, "{body}");
    let wasm = json!({"bindings": [{"type": "wasm_module", "name": "W", "part": "not.wasm"}]});
    let (_, body) = bench.patch("classic", wasm).await;
    assert_eq!(code(&body), 10021, "{body}");
    assert_eq!(bench.call("classic").await, "classic");
    assert_eq!(bench.call("neighbour").await, "well");
}

#[tokio::test(flavor = "multi_thread")]
async fn modules_that_cannot_be_served_are_refused() {
    let bench = Bench::with_neighbour().await;
    let lie = r#"export default { fetch() { return Response.json({ default: { kind: "object", handlers: ["fetch"] } }); } };"#;
    let common = "module.exports = { fetch() { return new Response('common'); } };";
    let cases: [(&str, &[Piece]); 8] = [
        (
            "common.js",
            &[("common.js", "application/javascript", common)],
        ),
        (
            "a.js",
            &[
                ("a.js", ES, "not javascript"),
                ("local-cloudflare-probe.js", ES, lie),
            ],
        ),
        ("a.js", &[("a.js", ES, GOOD), ("a.js", ES, lie)]),
        ("a.js", &[("a.js", ES, GOOD), ("../../b.js", ES, GOOD)]),
        (
            "a.js",
            &[("a.js", ES, GOOD), ("cloudflare:workers", ES, GOOD)],
        ),
        ("a.wasm", &[("a.wasm", "application/wasm", "no")]),
        ("a.txt", &[("a.txt", "text/plain", GOOD)]),
        ("a.map", &[("a.map", "application/source-map", GOOD)]),
    ];
    for (main, parts) in cases {
        let (status, body) = bench
            .upload_parts("worker", json!({"main_module": main}), parts)
            .await;
        assert_eq!(
            (status, code(&body)),
            (400, &json!(10021)),
            "{parts:?}: {body}"
        );
        assert_eq!(bench.call("neighbour").await, "well", "{parts:?}");
    }
    // Odd, but fine.
    for (main, parts) in [
        (
            "local-cloudflare-probe.js",
            &[("local-cloudflare-probe.js", ES, GOOD)][..],
        ),
        ("a.js", &[("a.js", ES, GOOD), ("b\"\\é", "text/plain", "")]),
    ] {
        let (status, body) = bench
            .upload_parts("worker", json!({"main_module": main}), parts)
            .await;
        assert_eq!(status, 200, "{parts:?}: {body}");
        for worker in ["worker", "neighbour"] {
            assert_eq!(bench.call(worker).await, "well", "{parts:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_names_are_only_names() {
    let bench = Bench::with_neighbour().await;
    let odd = ["__proto__", "constructor", "internet", "then", "0"];
    let shows = r#"
export default {
  async fetch(request, env) { return new Response(Object.getOwnPropertyNames(env).length + " " + env.then); },
  async scheduled() {},
};"#;
    let text =
        |name: &str| json!({"type": "plain_text", "name": name, "text": "x".repeat(5 * 1024)});
    let mut names: Vec<String> = (0..120).map(|n| format!("V{n}")).collect();
    names.extend(["constructor", "a b", "\u{1}\"\\", "", "é"].map(str::to_owned));
    let bindings: Vec<Value> = names
        .iter()
        .filter(|name| !name.is_empty())
        .map(|name| text(name))
        .collect();
    for name in odd {
        let (status, body) = bench
            .upload(name, shows, json!({"bindings": bindings}))
            .await;
        assert_eq!(status, 200, "{name}: {body}");
        assert_eq!(bench.call(name).await, "124 undefined", "{name}");
        assert_eq!(bench.call("neighbour").await, "well", "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_stops_loading_is_left_out() {
    const PICKY: &str = r#"
import { env } from "cloudflare:workers";
if (env.POISON) throw new Error("poisoned");
export default { fetch() { return new Response("picky"); } };
"#;
    let bench = Bench::with_neighbour().await;
    let poison = json!({"type": "secret_text", "name": "POISON", "text": "yes"});
    let (status, body) = bench
        .upload("picky", PICKY, json!({"bindings": [poison]}))
        .await;
    assert_eq!((status, code(&body)), (400, &json!(10021)), "{body}");

    assert_eq!(bench.upload("picky", PICKY, json!({})).await.0, 200);
    assert_eq!(bench.call("picky").await, "picky");
    let service = json!({"type": "service", "name": "PICKY", "service": "picky"});
    let client = GOOD
        .replace("fetch()", "fetch(request, env)")
        .replace("\"well\"", "typeof env.PICKY");
    let (status, _) = bench
        .upload("client", &client, json!({"bindings": [service]}))
        .await;
    assert_eq!(status, 200);
    // A secret is set without the code being run again.
    let put = bench.request(Method::PUT, "/workers/scripts/picky/secrets");
    assert_eq!(bench.send(put.json(&poison)).await.0, 200);
    assert_eq!(bench.call("neighbour").await, "well");
    assert_eq!(bench.call("client").await, "undefined");
    let answer = bench.call("picky").await;
    assert!(answer.starts_with("There is no Worker"), "{answer}");

    let delete = bench.request(Method::DELETE, "/workers/scripts/picky/secrets/POISON");
    assert_eq!(bench.send(delete).await.0, 200);
    assert_eq!(bench.call("picky").await, "picky");
    assert_eq!(bench.call("client").await, "object");
}
