//! The status page of local Cloudflare: over HTTP, and as a person sees it in a browser.

use acceptance_tests::cloudflare::{Action, LocalCloudflare, Misbehaviour, Options};
use acceptance_tests::install;
use acceptance_tests::visitor::Visitor;
use reqwest::Method;
use serde_json::{Value, json};

use super::api_client::{ApiClient, COUNTER, counter_metadata};
use super::browser::Browser;

const HELLO: &str = "export default { fetch() { return new Response('hello'); } };";
const HOSTILE: &str = "</code><script>document.title = 'taken'</script><img src=x onerror=\"document.title = 'taken'\">";

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

    fn page_url(&self) -> String {
        self.local.api_url().replace("/client/v4", "/")
    }

    async fn text(&self, url: &str) -> String {
        let response = self.api.http.get(url).send().await.expect("it answers");
        assert_eq!(response.status(), 200, "{url}");
        response.text().await.expect("it is text")
    }

    async fn status(&self) -> Value {
        let url = format!("{}/status", self.local.control_url());
        serde_json::from_str(&self.text(&url).await).expect("it is JSON")
    }

    /// A counter that was visited once, with a secret and a variable, and a refused upload.
    async fn furnish(&self) {
        let mut metadata = counter_metadata();
        let bindings = metadata["bindings"].as_array_mut().expect("it is a list");
        bindings.push(json!({"name": "KEY", "type": "secret_text", "text": "hidden-value"}));
        bindings.push(json!({"name": "GREETING", "type": "plain_text", "text": HOSTILE}));
        metadata["tags"] = json!(["a tag"]);
        let (status, body) = self.api.upload("counter", COUNTER, metadata).await;
        assert_eq!(status, 200, "{body}");
        let visitor = Visitor::new(&self.local);
        assert_eq!(visitor.read("counter", "/").await, "1");
        let broken = format!("throw new Error({})", json!(HOSTILE));
        let (status, body) = self.api.upload("broken", &broken, json!({})).await;
        assert_eq!(status, 400, "{body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_complete_without_scripts_and_holds_no_secret() {
    let bench = Bench::start().await;
    let empty = bench.text(&bench.page_url()).await;
    assert!(
        empty.contains("No Worker has been uploaded yet."),
        "{empty}"
    );
    bench.furnish().await;
    let url = bench.page_url();
    for url in [url.clone(), format!("{url}__local/")] {
        let page = bench.text(&url).await;
        for part in [
            "<bdi>counter</bdi>",
            "http://counter.localhost:",
            "10021",
            "&lt;script&gt;document.title",
            "in all objects",
        ] {
            assert!(page.contains(part), "{part} is not in {page}");
        }
        for secret in [
            "hidden-value",
            "<script>document",
            "<img",
            bench.local.token(),
        ] {
            assert!(!page.contains(secret), "{secret} is in {page}");
        }
    }
    let status = bench.status().await;
    let worker = &status["workers"][0];
    assert_eq!(
        (&worker["name"], &worker["classes"], &worker["handlers"]),
        (&json!("counter"), &json!(["Counter"]), &json!(["fetch"]))
    );
    assert_eq!(
        (&worker["migration_tag"], &worker["tags"]),
        (&json!("v1"), &json!(["a tag"]))
    );
    let namespace = &status["namespaces"][0];
    assert_eq!(
        (&namespace["objects"], &namespace["with_data"]),
        (&json!(1), &json!(1))
    );
    let refused = &status["refused_uploads"][0];
    assert_eq!(
        (&refused["uploads"], &refused["errors"][0]["code"]),
        (&json!("broken"), &json!(10021))
    );
    assert!(!status.to_string().contains("hidden-value"));
    assert!(!status.to_string().contains(bench.local.token()));
    bench.local.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_in_the_browser_gets_no_answer() {
    let bench = Bench::start().await;
    let page = bench.page_url();
    let port = page
        .rsplit(':')
        .next()
        .expect("there is a port")
        .trim_end_matches('/');
    let ask = async |method: Method, path: &str, headers: &[(&str, &str)]| {
        let mut request = bench.api.http.request(method, format!("{page}{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.body("{\"ms\": 0}").send().await;
        response.expect("it answers").status().as_u16()
    };
    for path in [
        "",
        "__local/status",
        "__local",
        "client/v4/user/tokens/verify",
    ] {
        for host in ["rebound.example", "rebound.example:8787", "192.168.1.2"] {
            assert_eq!(
                ask(Method::GET, path, &[("host", host)]).await,
                403,
                "{path}"
            );
        }
        let name = format!("localhost:{port}");
        assert_ne!(
            ask(Method::GET, path, &[("host", &name)]).await,
            403,
            "{path}"
        );
    }
    let own = format!("http://127.0.0.1:{port}");
    for (origin, expected) in [
        ("http://rebound.example", 403),
        ("http://counter.localhost:8788", 403),
        ("null", 403),
        (own.as_str(), 200),
    ] {
        let status = ask(Method::PUT, "__local/latency", &[("origin", origin)]).await;
        assert_eq!(status, expected, "{origin}");
    }
    assert_eq!(ask(Method::PUT, "__local/latency", &[]).await, 200);
    bench.local.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_browser_the_page_shows_what_is_deployed_and_follows_it() {
    let bench = Bench::start().await;
    bench.furnish().await;
    let mut browser = Browser::open(&bench.page_url()).await;

    let workers = browser.text("#workers").await;
    for part in [
        "counter", "Counter", "fetch", "COUNTER", "KEY", "v1", "a tag", HOSTILE,
    ] {
        assert!(
            workers.contains(&part[..part.len().min(80)]),
            "{part} is not in {workers}"
        );
    }
    let link = browser
        .value("document.querySelector('#workers h3 a').href")
        .await;
    assert_eq!(link, format!("{}/", bench.local.worker_url("counter")));
    let objects = "document.querySelector('#namespaces tbody .number').textContent";
    assert_eq!(browser.value(objects).await, "1");
    let refused = browser.text("#refused").await;
    assert!(refused.contains("broken"), "{refused}");
    assert!(
        refused.contains(&format!("10021 Uncaught Error: {HOSTILE}")),
        "{refused}"
    );
    assert!(
        !browser
            .value("document.body.innerText.includes('UTC')")
            .await
            .as_bool()
            .unwrap_or(true)
    );
    // Selected by the reader, as what does not change stays as it is.
    browser
        .value("window.kept = document.querySelector('#refused h3')")
        .await;

    // From here on nobody touches the page.
    let (status, body) = bench.api.upload("second", HELLO, json!({})).await;
    assert_eq!(status, 200, "{body}");
    browser
        .until("document.querySelector('#workers').innerText.includes('second')")
        .await;
    let (status, _) = bench
        .api
        .upload("third", "export default {", json!({}))
        .await;
    assert_eq!(status, 400);
    browser
        .until("document.querySelector('#refused').innerText.includes('third')")
        .await;
    bench.local.add_fault(Misbehaviour::Throttled.always());
    browser
        .until("document.querySelector('#switches').innerText.includes('throttled')")
        .await;
    let script = "counter".into();
    let gone = bench.local.act(Action::DeleteWorker { script }).await;
    gone.expect("the Worker is there");
    browser
        .until("!document.querySelector('#namespaces').innerText.includes('Counter')")
        .await;
    assert_eq!(browser.value("document.title").await, "Local Cloudflare");
    assert_eq!(browser.complaints(), Vec::<&Value>::new());

    bench.local.stop().await;
    browser
        .until("document.querySelector('#connection').innerText.includes('does not answer')")
        .await;
    browser.close().await;
}
