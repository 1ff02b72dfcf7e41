//! What the Workers runtime of local Cloudflare promises to the API in front of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use acceptance_tests::cloudflare::runtime::{
    Export, ExportKind, ModuleFile, ProbeFailureKind, Runtime, RuntimeError, RuntimeOptions,
    ServedBinding, ServedNamespace, ServedWorker,
};
use acceptance_tests::install;
use tempfile::TempDir;

const DATE: &str = "2026-01-01";

const COUNTER: &str = r#"
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
    return new Response(String(await env.COUNTER.getByName("one").increment()));
  },
};
"#;

const HELLO: &str = "export default { fetch() { return new Response('hello'); } };";

struct Bench {
    runtime: Runtime,
    _disk: TempDir,
}

impl Bench {
    async fn start() -> Self {
        let disk = tempfile::tempdir().expect("a temporary folder can be created");
        let workerd = install::workerd().await.expect("workerd can be installed");
        let options = RuntimeOptions {
            workerd,
            disk: disk.path().join("objects"),
            port: 0,
            visits: Default::default(),
            guard: None,
        };
        let runtime = Runtime::start(options).await.expect("the runtime starts");
        Self {
            runtime,
            _disk: disk,
        }
    }

    async fn deploy(&self, workers: &[ServedWorker]) {
        self.runtime
            .deploy(workers.to_vec(), &[])
            .await
            .expect("the Workers deploy");
    }

    async fn get(&self, script: &str) -> (u16, String) {
        get(&reqwest_client(), self.runtime.address(), script)
            .await
            .expect("the gate answers")
    }
}

async fn get(
    client: &reqwest::Client,
    address: SocketAddr,
    script: &str,
) -> Result<(u16, String), reqwest::Error> {
    let url = format!("http://{address}/");
    let response = client
        .get(url)
        .header("x-local-worker", script)
        .send()
        .await?;
    Ok((response.status().as_u16(), response.text().await?))
}

fn reqwest_client() -> reqwest::Client {
    // The client is built with TLS support, which has to be told which cryptography to use even for plain HTTP.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    reqwest::Client::new()
}

fn module(name: &str, source: &str) -> ModuleFile {
    ModuleFile {
        name: name.into(),
        content_type: "application/javascript+module".into(),
        body: source.to_owned().into(),
    }
}

fn worker(name: &str, source: &str) -> ServedWorker {
    ServedWorker {
        name: name.into(),
        syntax: Default::default(),
        main: "index.js".into(),
        modules: Arc::new([module("index.js", source)]),
        compatibility_date: DATE.into(),
        compatibility_flags: Vec::new(),
        ..ServedWorker::default()
    }
}

/// A Worker that counts its requests in one object of the namespace `key`.
fn counter(name: &str, class: &str, key: &str) -> ServedWorker {
    ServedWorker {
        namespaces: vec![ServedNamespace {
            class: class.into(),
            unique_key: key.into(),
            sqlite: true,
        }],
        bindings: vec![ServedBinding::DurableObject {
            name: "COUNTER".into(),
            namespace_id: key.into(),
        }],
        ..worker(name, &COUNTER.replace("CLASS", class))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_first_deploy_and_after_the_last_worker_is_gone_every_request_is_answered_404() {
    let bench = Bench::start().await;
    assert_eq!(bench.get("hello").await.0, 404);
    bench.deploy(&[worker("hello", HELLO)]).await;
    assert_eq!(bench.get("hello").await, (200, "hello".into()));
    assert_eq!(
        bench.get("other").await,
        (404, "There is no Worker \"other\" here.\n".into())
    );
    bench.deploy(&[]).await;
    assert_eq!(bench.get("hello").await.0, 404);
    bench.runtime.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_host_chooses_the_worker_and_the_request_arrives_unchanged() {
    let bench = Bench::start().await;
    let echo = r#"export default { async fetch(request) {
        return new Response([request.method, request.url, request.headers.get("x-local-worker"),
            request.headers.get("x-mine"), await request.text()].join(" "));
    } };"#;
    bench
        .deploy(&[worker("echo", echo), worker("hello", HELLO)])
        .await;
    let address = bench.runtime.address();
    let answer = reqwest_client()
        .post(format!("http://{address}/path?query=1"))
        .header("host", format!("echo.localhost:{}", address.port()))
        .header("x-mine", "yes")
        .body("body")
        .send()
        .await
        .expect("the gate answers");
    assert_eq!(
        answer.text().await.expect("the answer is text"),
        format!(
            "POST http://echo.localhost:{}/path?query=1  yes body",
            address.port()
        )
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_keep_their_data_through_redeploy_rename_and_transfer_until_the_namespace_is_dropped()
 {
    let bench = Bench::start().await;
    bench.deploy(&[counter("a", "Counter", "k1")]).await;
    assert_eq!(bench.get("a").await.1, "1");
    bench.deploy(&[counter("a", "Counter", "k1")]).await;
    assert_eq!(bench.get("a").await.1, "2");
    bench.deploy(&[counter("a", "Renamed", "k1")]).await;
    assert_eq!(bench.get("a").await.1, "3");
    bench.deploy(&[counter("b", "Transferred", "k1")]).await;
    assert_eq!(bench.get("b").await.1, "4");
    bench
        .runtime
        .deploy(
            vec![worker("b", HELLO)],
            &["k1".into(), "never-written".into()],
        )
        .await
        .expect("the Worker deploys");
    bench.deploy(&[counter("b", "Counter", "k1")]).await;
    assert_eq!(bench.get("b").await.1, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_worker_reaches_objects_and_entrypoints_and_finds_no_binding_to_what_is_gone() {
    let bench = Bench::start().await;
    let host = counter("host", "Counter", "k1");
    let source = r#"export default { async fetch(request, env) {
        const parts = [env.TEXT, env.JSON?.a];
        parts.push(env.COUNTER ? await env.COUNTER.getByName("one").increment() : "none");
        parts.push(env.HOST ? await (await env.HOST.fetch(request)).text() : "none");
        parts.push(env.NAMED ? await env.NAMED.greet() : "none");
        return Response.json(parts);
    } };"#;
    let named = worker(
        "named",
        r#"import { WorkerEntrypoint } from "cloudflare:workers";
        export class Greeter extends WorkerEntrypoint { greet() { return "greetings"; } }
        export default { fetch() { return new Response("default"); } };"#,
    );
    let service = |name: &str, worker: &str, entrypoint: Option<&str>| ServedBinding::Service {
        name: name.into(),
        worker: worker.into(),
        entrypoint: entrypoint.map(Into::into),
    };
    let client = ServedWorker {
        bindings: vec![
            ServedBinding::Text {
                name: "TEXT".into(),
                value: "a\"b\\c\u{1}\né".into(),
            },
            ServedBinding::Json {
                name: "JSON".into(),
                value: r#"{"a":[1]}"#.into(),
            },
            ServedBinding::DurableObject {
                name: "COUNTER".into(),
                namespace_id: "k1".into(),
            },
            service("HOST", "host", None),
            service("NAMED", "named", Some("Greeter")),
        ],
        ..worker("client", source)
    };
    bench.deploy(&[client.clone(), host, named]).await;
    let json = |text: &str| -> serde_json::Value { serde_json::from_str(text).expect("JSON") };
    let (_, answer) = bench.get("client").await;
    assert_eq!(
        json(&answer),
        serde_json::json!(["a\"b\\c\u{1}\né", [1], 1, "2", "greetings"]),
        "{answer}"
    );
    bench.deploy(&[client]).await;
    let (_, answer) = bench.get("client").await;
    assert_eq!(
        json(&answer),
        serde_json::json!(["a\"b\\c\u{1}\né", [1], "none", "none", "none"])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_and_no_count_is_lost_during_five_redeploys() {
    let bench = Bench::start().await;
    bench.deploy(&[counter("a", "Counter", "k1")]).await;
    let address = bench.runtime.address();
    let done = Arc::new(AtomicBool::new(false));
    let answered = Arc::new(AtomicUsize::new(0));
    // Two clients keep their connection, two open a new one for each request.
    let hammers: Vec<_> = (0..4)
        .map(|index| {
            let (done, answered) = (Arc::clone(&done), Arc::clone(&answered));
            tokio::spawn(async move {
                let mut client = reqwest_client();
                while !done.load(Ordering::SeqCst) {
                    if index % 2 == 0 {
                        client = reqwest_client();
                    }
                    let (status, text) = get(&client, address, "a")
                        .await
                        .expect("no connection is refused or cut");
                    assert_eq!(status, 200, "{text}");
                    answered.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    for round in 0..5 {
        let before = answered.load(Ordering::SeqCst);
        let class = if round % 2 == 0 { "Renamed" } else { "Counter" };
        bench.deploy(&[counter("a", class, "k1")]).await;
        // The next redeploy starts when this one has seen traffic.
        while answered.load(Ordering::SeqCst) < before + 20 {
            tokio::task::yield_now().await;
        }
    }
    done.store(true, Ordering::SeqCst);
    for hammer in hammers {
        hammer.await.expect("no request failed");
    }
    let answered = answered.load(Ordering::SeqCst);
    assert_eq!(bench.get("a").await.1, (answered + 1).to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_set_changes_nothing() {
    let bench = Bench::start().await;
    bench.deploy(&[counter("a", "Counter", "k1")]).await;
    assert_eq!(bench.get("a").await.1, "1");
    let broken = worker("b", "export default {");
    let error = bench
        .runtime
        .deploy(vec![broken], &["k1".into()])
        .await
        .expect_err("workerd refuses a syntax error");
    assert!(
        matches!(&error, RuntimeError::Refused(text) if text.contains("SyntaxError")),
        "{error}"
    );
    assert_eq!(bench.get("a").await.1, "2");

    let twice = vec![counter("a", "Counter", "k1"), counter("b", "Counter", "k1")];
    let error = bench
        .runtime
        .deploy(twice, &[])
        .await
        .expect_err("one key has one owner");
    assert!(matches!(error, RuntimeError::SharedKey(key) if key == "k1"));
    let outside = bench
        .runtime
        .deploy(Vec::new(), &["../objects".into()])
        .await;
    assert!(matches!(outside, Err(RuntimeError::BadKey(_))));
    assert_eq!(bench.get("a").await.1, "3");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_tells_what_each_export_is() {
    let bench = Bench::start().await;
    let source = r#"
        import { DurableObject, WorkerEntrypoint, WorkflowEntrypoint } from "cloudflare:workers";
        import text from "./note.txt";
        class Base extends DurableObject {}
        export class Chat extends Base {}
        export class Api extends WorkerEntrypoint {}
        export class Flow extends WorkflowEntrypoint {}
        export class Old { fetch() {} }
        export const events = { queue() {}, scheduled() {} };
        export const arrow = () => text;
        export default { fetch() {}, email() {}, own() {} };"#;
    let note = ModuleFile {
        content_type: "text/plain".into(),
        ..module("note.txt", "a note")
    };
    let probed = bench
        .runtime
        .probe(
            &[note, module("index.js", source)],
            "index.js",
            &[],
            "2022-03-01",
            &[],
        )
        .await
        .expect("the upload loads");
    assert_eq!(probed.default_handlers, ["fetch", "email"]);
    let expected = [
        ("Api", ExportKind::WorkerEntrypoint),
        ("Chat", ExportKind::DurableObject),
        ("Flow", ExportKind::Workflow),
        ("Old", ExportKind::LegacyClass),
        ("arrow", ExportKind::Other),
        (
            "events",
            ExportKind::Handlers(vec!["scheduled".into(), "queue".into()]),
        ),
    ];
    let expected = expected.map(|(name, kind)| Export {
        name: name.into(),
        kind,
    });
    assert_eq!(probed.exports, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_says_why_an_upload_cannot_be_served() {
    use ProbeFailureKind::{NoHandlers, Startup, TimedOut};
    let bench = Bench::start().await;
    for (source, date, flags, kind, text) in [
        (
            "return 1;",
            DATE,
            "",
            Startup,
            "Uncaught SyntaxError: Illegal return statement\n  at index.js:1",
        ),
        (
            "throw new Error('boom');",
            DATE,
            "",
            Startup,
            "Uncaught Error: boom\n  at index.js:1:7",
        ),
        (
            "import './nope.js';",
            DATE,
            "",
            Startup,
            "Uncaught Error: No such module \"nope.js\".\n  imported from \"index.js\"",
        ),
        (
            "export const x = 1;",
            DATE,
            "",
            Startup,
            "Uncaught TypeError: Incorrect type for map entry 'x': the provided value is not of type 'function or ExportedHandler'.",
        ),
        (
            HELLO,
            "banana",
            "",
            Startup,
            "Invalid compatibility date: banana",
        ),
        (
            HELLO,
            DATE,
            "no_such_flag",
            Startup,
            "No such compatibility flag: no_such_flag",
        ),
        (
            "",
            DATE,
            "",
            NoHandlers,
            "The uploaded script has no registered event handlers.",
        ),
        (
            "export default {};",
            DATE,
            "",
            NoHandlers,
            "The uploaded script has no registered event handlers.",
        ),
        (
            "for (;;) {}",
            DATE,
            "",
            TimedOut,
            "Script startup exceeded CPU time limit.",
        ),
    ] {
        let flags: Vec<String> = flags.split_whitespace().map(Into::into).collect();
        let failure = bench
            .runtime
            .probe(&[module("index.js", source)], "index.js", &[], date, &flags)
            .await
            .expect_err(source);
        assert_eq!(
            (failure.text.as_str(), failure.kind),
            (text, kind),
            "{source}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_in_progress_is_finished_by_the_old_code() {
    let bench = Bench::start().await;
    let slow = r#"
    export default { async fetch(request) {
        return new Response(new ReadableStream({ async start(stream) {
            stream.enqueue(new TextEncoder().encode("begun "));
            await scheduler.wait(300);
            stream.enqueue(new TextEncoder().encode("finished"));
            stream.close();
        } }));
    } };"#;
    bench.deploy(&[worker("a", slow)]).await;
    let mut response = reqwest_client()
        .get(format!("http://{}/", bench.runtime.address()))
        .header("x-local-worker", "a")
        .send()
        .await
        .expect("the gate answers");
    let begun = response
        .chunk()
        .await
        .expect("the answer begins")
        .expect("with a chunk");
    let next = [worker("a", HELLO)];
    let (rest, ()) = tokio::join!(response.text(), bench.deploy(&next));
    assert_eq!(
        (begun.as_ref(), rest.expect("it ends").as_str()),
        (&b"begun "[..], "finished")
    );
    assert_eq!(bench.get("a").await.1, "hello");
}
