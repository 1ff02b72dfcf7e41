//! How requests and cron triggers reach Workers on local Cloudflare: every kind of address, and what survives.

use std::time::Duration;

use acceptance_tests::cloudflare::account::Plan;
use acceptance_tests::cloudflare::{Action, Trigger};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::local_cloudflare::{Bench, code};

/// Says which Worker answers, and at which URL.
fn echo(name: &str) -> String {
    format!("export default {{ fetch(r) {{ return new Response(`{name} at ${{r.url}}`); }} }};")
}

impl Bench {
    /// The status and the text at a path of a host; the host does not have to resolve.
    async fn at(&self, host: &str, path: &str) -> (u16, String) {
        let url = format!("http://{}{path}", self.local.workers_address());
        let request = self.http.get(url).header("host", host);
        let response = request.send().await.expect("the gate answers");
        let status = response.status().as_u16();
        (status, response.text().await.expect("it is text"))
    }

    /// A request below the zone `example.com`.
    async fn zone(&self, method: Method, path: &str, body: Value) -> (u16, Value) {
        let url = format!("{}/zones?name=example.com", self.local.api_url());
        let zones = self.http.get(url).bearer_auth(self.local.token());
        let zones = self.send(zones).await.1;
        let id = zones["result"][0]["id"].as_str().expect("there is a zone");
        let url = format!("{}/zones/{id}{path}", self.local.api_url());
        let request = self.http.request(method, url);
        self.send(request.bearer_auth(self.local.token()).json(&body))
            .await
    }

    async fn with_json(&self, method: Method, path: &str, body: Value) -> (u16, Value) {
        self.send(self.request(method, path).json(&body)).await
    }

    async fn deploy_echo(&self, name: &str) {
        let (status, body) = self.upload(name, &echo(name), json!({})).await;
        assert_eq!(status, 200, "{body}");
    }

    async fn trigger(&self, trigger: Value) -> (u16, Value) {
        let url = format!("{}/trigger", self.local.control_url());
        self.send(self.http.post(url).json(&trigger)).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_is_reached_by_name_by_path_and_on_workers_dev() {
    let bench = Bench::start().await;
    bench.deploy_echo("w").await;
    let port = bench.local.workers_address().port();
    let host = format!("w.localhost:{port}");
    assert_eq!(
        bench.at(&host, "/a?b=1").await,
        (200, format!("w at http://{host}/a?b=1"))
    );
    let here = format!("127.0.0.1:{port}");
    for (path, seen) in [
        ("/__worker/w/a?b=1", "/a?b=1"),
        ("/__worker/w", "/"),
        ("/__worker/w?b=1", "/?b=1"),
        ("/__worker/w//a", "//a"),
    ] {
        let expected = (200, format!("w at http://{here}{seen}"));
        assert_eq!(bench.at(&here, path).await, expected, "{path}");
    }
    assert_eq!(bench.at(&here, "/__worker/none/").await.0, 404);
    assert_eq!(bench.at(&here, "/").await.0, 404);

    let dev = "w.local.workers.dev";
    assert_eq!(bench.at(dev, "/").await.0, 404, "it is not enabled yet");
    let subdomain = "/workers/scripts/w/subdomain";
    let (status, _) = bench
        .with_json(Method::POST, subdomain, json!({"enabled": true}))
        .await;
    assert_eq!(status, 200);
    assert_eq!(
        bench.at(dev, "/a").await,
        (200, format!("w at http://{dev}/a"))
    );
    bench.send(bench.request(Method::DELETE, subdomain)).await;
    assert_eq!(bench.at(dev, "/").await.0, 404);
    assert_eq!(bench.at(&host, "/").await.0, 200, "the name always works");
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_lead_to_workers_and_the_most_specific_one_wins() {
    let bench = Bench::start().await;
    for name in ["wide", "narrow"] {
        bench.deploy_echo(name).await;
    }
    let routes = "/workers/routes";
    let post = |pattern: &str, script: Option<&str>| {
        let body = json!({"pattern": pattern, "script": script});
        bench.zone(Method::POST, routes, body)
    };
    let (status, body) = post("*example.com/*", Some("wide")).await;
    assert_eq!(status, 200, "{body}");
    let wide = body["result"].clone();
    assert_eq!(
        (&wide["pattern"], &wide["script"]),
        (&json!("*example.com/*"), &json!("wide"))
    );
    assert_eq!(post("shop.example.com/api/*", Some("narrow")).await.0, 200);
    assert_eq!(post("shop.example.com/static/*", None).await.0, 200);
    for (host, path, worker) in [
        ("example.com", "/", Some("wide")),
        ("shop.example.com", "/x", Some("wide")),
        ("shop.example.com", "/api/x", Some("narrow")),
        ("SHOP.example.com:80", "/api/x", Some("narrow")),
        ("shop.example.com", "/static/x", None),
        ("example.org", "/", None),
    ] {
        let (status, text) = bench.at(host, path).await;
        assert_eq!(
            status,
            if worker.is_some() { 200 } else { 404 },
            "{host}{path}"
        );
        let worker = worker.unwrap_or("There is nothing here yet");
        assert!(text.starts_with(worker), "{host}{path}: {text}");
    }

    let id = wide["id"].as_str().expect("routes have ids");
    let one = format!("{routes}/{id}");
    let narrow = json!({"pattern": "*example.com/*", "script": "narrow"});
    let (status, body) = bench.zone(Method::PUT, &one, narrow.clone()).await;
    assert_eq!((status, &body["result"]["id"]), (200, &json!(id)), "{body}");
    assert!(bench.at("example.com", "/").await.1.starts_with("narrow"));
    for (pattern, script, status, expected) in [
        ("*example.com/*", Some("wide"), 409, 10020),
        ("example.com/*/x", Some("wide"), 400, 10022),
        ("example.org/*", Some("wide"), 400, 10022),
        ("badexample.com/*", Some("wide"), 400, 10022),
        ("www.example.com/*", Some("none"), 400, 10019),
    ] {
        let (found, body) = post(pattern, script).await;
        assert_eq!(
            (found, code(&body)),
            (status, &json!(expected)),
            "{pattern}"
        );
    }
    let unknown = format!("{routes}/00000000000000000000000000000000");
    for method in [Method::GET, Method::PUT, Method::DELETE] {
        let (status, body) = bench.zone(method, &unknown, narrow.clone()).await;
        assert_eq!((status, code(&body)), (404, &json!(10009)));
    }

    // Routes follow a renamed Worker and go with a deleted one.
    let renamed = json!({"id": "renamed"});
    bench
        .with_json(Method::PATCH, "/workers/services/narrow", renamed)
        .await;
    assert!(
        bench
            .at("example.com", "/")
            .await
            .1
            .starts_with("narrow at")
    );
    let (_, body) = bench.zone(Method::GET, &one, Value::Null).await;
    assert_eq!(body["result"]["script"], "renamed");
    let listed = bench.get("/workers/scripts").await;
    let shown = listed.as_array().expect("a list");
    let routes_of = |name: &str| {
        let script = shown.iter().find(|script| script["id"] == name);
        script.expect("it is listed")["routes"].clone()
    };
    assert_eq!(routes_of("renamed").as_array().map(Vec::len), Some(2));
    assert_eq!(routes_of("wide"), Value::Null);
    bench
        .send(bench.request(Method::DELETE, "/workers/scripts/renamed"))
        .await;
    let (_, body) = bench.zone(Method::GET, routes, Value::Null).await;
    assert_eq!(body["result"].as_array().map(Vec::len), Some(1));
    assert_eq!(bench.at("example.com", "/").await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn custom_domains_belong_to_one_worker_until_they_are_taken_over() {
    let bench = Bench::start().await;
    for name in ["a", "b"] {
        bench.deploy_echo(name).await;
    }
    let domains = "/workers/domains";
    let shop = |service: &str| json!({"hostname": "shop.example.com", "service": service, "environment": "production"});
    let (status, body) = bench.with_json(Method::PUT, domains, shop("a")).await;
    assert_eq!(status, 200, "{body}");
    let created = body["result"].clone();
    assert_eq!(created["zone_name"], "example.com");
    let (status, body) = bench.with_json(Method::PUT, domains, shop("a")).await;
    assert_eq!(
        (status, &body["result"]),
        (200, &created),
        "again is no change"
    );
    assert_eq!(
        bench.at("shop.example.com", "/x").await,
        (200, "a at http://shop.example.com/x".into())
    );
    // A route runs before the custom domain of the same host.
    let route = json!({"pattern": "shop.example.com/api/*", "script": "b"});
    bench.zone(Method::POST, "/workers/routes", route).await;
    assert!(
        bench
            .at("shop.example.com", "/api/x")
            .await
            .1
            .starts_with("b at")
    );

    for (method, body, status, expected) in [
        (Method::PUT, shop("b"), 409, 100116),
        (Method::PUT, shop("none"), 404, 10007),
        (Method::POST, shop("a"), 405, 10405),
        (
            Method::PUT,
            json!({"hostname": "a.example.org", "service": "a"}),
            404,
            100117,
        ),
        (
            Method::PUT,
            json!({"hostname": "not a host", "service": "a"}),
            400,
            10021,
        ),
        (
            Method::PUT,
            json!({"hostname": "a.example.com"}),
            400,
            10026,
        ),
    ] {
        let (found, answer) = bench.with_json(method, domains, body).await;
        assert_eq!(
            (found, code(&answer)),
            (status, &json!(expected)),
            "{answer}"
        );
    }
    let mut taken = shop("b");
    taken["override_existing_origin"] = json!(true);
    let (status, body) = bench.with_json(Method::PUT, domains, taken).await;
    assert_eq!((status, &body["result"]["id"]), (200, &created["id"]));
    assert_eq!(bench.get("/workers/domains?service=a").await, json!([]));
    let of_b = bench
        .get("/workers/domains?service=b&zone_name=example.com&hostname=shop.example.com")
        .await;
    assert_eq!(of_b[0]["id"], created["id"]);
    let one = format!("{domains}/{}", created["id"].as_str().expect("an id"));
    assert_eq!(bench.get(&one).await["service"], "b");
    assert_eq!(bench.send(bench.request(Method::DELETE, &one)).await.0, 200);
    let (status, body) = bench.send(bench.request(Method::DELETE, &one)).await;
    assert_eq!((status, code(&body)), (404, &json!(100114)));
    assert_eq!(bench.at("shop.example.com", "/x").await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrangler_replaces_all_routes_and_domains_of_a_worker_at_once() {
    let bench = Bench::start().await;
    for name in ["a", "b"] {
        bench.deploy_echo(name).await;
    }
    bench
        .local
        .act(Action::AddZone {
            name: "sub.example.com".into(),
        })
        .await
        .expect("the zone is added");
    let routes = "/workers/scripts/a/routes";
    let wanted = json!([
        {"pattern": "example.com/a"},
        {"pattern": "x.sub.example.com/*", "zone_name": "sub.example.com"},
    ]);
    let (status, body) = bench.with_json(Method::PUT, routes, wanted).await;
    assert_eq!(status, 200, "{body}");
    assert!(
        bench
            .at("x.sub.example.com", "/")
            .await
            .1
            .starts_with("a at")
    );
    let (_, kept) = bench
        .zone(Method::GET, "/workers/routes", Value::Null)
        .await;
    let taken = json!([{"pattern": "example.com/a"}, {"pattern": "example.com/b"}]);
    let (status, body) = bench
        .with_json(Method::PUT, "/workers/scripts/b/routes", taken.clone())
        .await;
    assert_eq!((status, code(&body)), (409, &json!(10020)));
    assert_eq!(
        bench.at("example.com", "/b").await.0,
        404,
        "a refused request changes nothing"
    );
    assert_eq!(bench.with_json(Method::PUT, routes, taken).await.0, 200);
    let (_, body) = bench
        .zone(Method::GET, "/workers/routes", Value::Null)
        .await;
    assert_eq!(body["result"][0], kept["result"][0], "the same id");
    assert_eq!(bench.at("x.sub.example.com", "/").await.0, 404);

    let changeset = "/workers/scripts/a/domains/changeset?replace_state=true";
    let put = |script: &str, origins: &Value, force: bool| {
        let path = format!("/workers/scripts/{script}/domains/records");
        let body = json!({
            "override_scope": true, "override_existing_origin": force,
            "override_existing_dns_record": force, "origins": origins,
        });
        bench.send(bench.request(Method::PUT, &path).json(&body))
    };
    let one = json!([{"hostname": "one.example.com"}]);
    let two = json!([{"hostname": "two.example.com", "zone_name": "example.com"}]);
    assert_eq!(put("a", &one, false).await.0, 200);
    assert_eq!(put("b", &two, false).await.0, 200);
    let (_, changes) = bench.with_json(Method::POST, changeset, two.clone()).await;
    let changes = &changes["result"];
    assert_eq!(changes["removed"][0]["hostname"], "one.example.com");
    assert_eq!(changes["updated"][0]["modified"], true);
    assert_eq!(changes["updated"][0]["service"], "b");
    let record = format!(
        "/workers/domains/records/{}",
        changes["updated"][0]["id"].as_str().expect("an id")
    );
    assert_eq!(bench.get(&record).await["hostname"], "two.example.com");
    let (status, body) = put("a", &two, false).await;
    assert_eq!((status, code(&body)), (409, &json!(100116)));
    assert!(bench.at("one.example.com", "/").await.1.starts_with("a at"));
    assert_eq!(put("a", &two, true).await.0, 200);
    assert_eq!(bench.at("one.example.com", "/").await.0, 404);
    assert!(bench.at("two.example.com", "/").await.1.starts_with("a at"));
}

#[tokio::test(flavor = "multi_thread")]
async fn zones_are_listed_and_looked_up() {
    let bench = Bench::start().await;
    let list = |query: &str| {
        let url = format!("{}/zones{query}", bench.local.api_url());
        bench.send(bench.http.get(url).bearer_auth(bench.local.token()))
    };
    let (_, body) = list("?name=example.com&status=active").await;
    assert_eq!(body["result_info"]["total_count"], 1);
    let id = body["result"][0]["id"].as_str().expect("an id");
    let (status, body) = list(&format!("/{id}")).await;
    assert_eq!(
        (status, &body["result"]["name"]),
        (200, &json!("example.com"))
    );
    assert_eq!(list("?name=example.org").await.1["result"], json!([]));
    assert_eq!(list("?account.id=other").await.1["result"], json!([]));
    let (status, body) = list("/00000000000000000000000000000000").await;
    assert_eq!((status, code(&body)), (403, &json!(9109)));
    let (status, body) = list("/example.com").await;
    assert_eq!((status, code(&body)), (404, &json!(7003)));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_subdomain_gives_workers_other_addresses() {
    let bench = Bench::start().await;
    bench.deploy_echo("w").await;
    let enable = json!({"enabled": true});
    let path = "/workers/scripts/w/subdomain";
    assert_eq!(bench.with_json(Method::POST, path, enable).await.0, 200);
    for body in [
        json!({}),
        json!({"enabled": 1}),
        json!({"enabled": true, "previews_enabled": "no"}),
    ] {
        let (status, answer) = bench.with_json(Method::POST, path, body).await;
        assert_eq!((status, code(&answer)), (400, &json!(10021)));
    }
    let path = "/workers/subdomain";
    let taken = json!({"subdomain": "other"});
    let (status, body) = bench.with_json(Method::PUT, path, taken.clone()).await;
    assert_eq!((status, code(&body)), (409, &json!(10036)));
    bench.send(bench.request(Method::DELETE, path)).await;
    assert_eq!(bench.at("w.local.workers.dev", "/").await.0, 404);
    for (name, status, expected) in [("other", 404, 10032), ("local", 404, 10032)] {
        let path = format!("/workers/subdomains/{name}");
        let (found, body) = bench.send(bench.request(Method::GET, &path)).await;
        assert_eq!((found, code(&body)), (status, &json!(expected)));
    }
    let (status, body) = bench
        .with_json(Method::PUT, path, json!({"subdomain": "a.b"}))
        .await;
    assert_eq!((status, code(&body)), (400, &json!(10021)));
    assert_eq!(bench.with_json(Method::PUT, path, taken).await.0, 200);
    assert_eq!(bench.at("w.other.workers.dev", "/").await.0, 200);
    let mine = bench.request(Method::GET, "/workers/subdomains/other");
    assert_eq!(code(&bench.send(mine).await.1), 10031);
}

const SCHEDULED: &str = r#"
import { DurableObject } from "cloudflare:workers";
export class Log extends DurableObject {
  async add(text) { await this.ctx.storage.put("last", text); }
  async last() { return (await this.ctx.storage.get("last")) ?? "never"; }
}
export default {
  async fetch(request, env) { return new Response(await env.LOG.getByName("one").last()); },
  async scheduled(event, env) {
    if (event.cron === "0 0 * * *") throw new Error("midnight");
    await env.LOG.getByName("one").add(`${event.cron} at ${event.scheduledTime}`);
  },
};
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_cron_trigger_runs_the_scheduled_handler_on_demand() {
    let bench = Bench::start().await;
    let metadata = json!({
        "bindings": [{"name": "LOG", "type": "durable_object_namespace", "class_name": "Log"}],
        "migrations": {"new_sqlite_classes": ["Log"]},
    });
    let (status, body) = bench.upload("timer", SCHEDULED, metadata).await;
    assert_eq!(status, 200, "{body}");
    bench.deploy_echo("w").await;
    let crons = json!([{"cron": "*/5 * * * *"}, {"cron": "0 0 * * *"}]);
    let path = "/workers/scripts/timer/schedules";
    assert_eq!(bench.with_json(Method::PUT, path, crons).await.0, 200);
    assert_eq!(bench.call("timer").await, "never");
    let (status, body) = bench
        .trigger(json!({"script": "timer", "time": 1000}))
        .await;
    assert_eq!(
        (status, &body),
        (
            200,
            &json!({"outcome": "ok", "cron": "*/5 * * * *", "time": 1000})
        )
    );
    assert_eq!(bench.call("timer").await, "*/5 * * * * at 1000");
    let trigger = Trigger {
        script: "timer".into(),
        cron: Some("0 0 * * *".into()),
        time: None,
    };
    let done = bench.local.trigger(trigger).await.expect("it runs");
    assert_eq!(done.outcome, "exception");
    let (status, body) = bench.trigger(json!({"script": "w"})).await;
    assert_eq!(status, 400);
    assert!(
        body.to_string().contains("no `scheduled` handler"),
        "{body}"
    );
    assert_eq!(bench.trigger(json!({"script": "none"})).await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn schedules_are_replaced_as_a_whole_and_checked() {
    let bench = Bench::start().await;
    bench.deploy_echo("w").await;
    let path = "/workers/scripts/w/schedules";
    let put = |crons: Value| bench.with_json(Method::PUT, path, crons);
    let crons = |list: &[&str]| {
        json!(
            list.iter()
                .map(|cron| json!({"cron": cron}))
                .collect::<Vec<_>>()
        )
    };
    assert_eq!(bench.get(path).await, json!({"schedules": []}));
    let (status, first) = put(crons(&["*/5 * * * *", "0 17 * * sun"])).await;
    assert_eq!(status, 200, "{first}");
    let (_, second) = put(crons(&["0 17 * * sun", "0 0 L * *"])).await;
    let (first, second) = (
        &first["result"]["schedules"],
        &second["result"]["schedules"],
    );
    assert_eq!(second[0]["created_on"], first[1]["created_on"]);
    assert_eq!(second.as_array().map(Vec::len), Some(2));
    assert_eq!(&bench.get(path).await["schedules"], second);
    for (body, expected) in [
        (crons(&["0 22 * * 0"]), 10100),
        (crons(&["every day"]), 10100),
        (json!({"cron": "* * * * *"}), 10026),
        (json!([{"cron": {"cron": "* * * * *"}}]), 10026),
    ] {
        let (status, answer) = put(body).await;
        assert_eq!((status, code(&answer)), (400, &json!(expected)), "{answer}");
    }
    // A new version keeps them.
    bench.deploy_echo("w").await;
    assert_eq!(&bench.get(path).await["schedules"], second);
    let free = Action::SetPlan { plan: Plan::Free };
    bench.local.act(free).await.expect("the plan changes");
    let many: Vec<String> = (0..6).map(|minute| format!("{minute} * * * *")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let (status, body) = put(crons(&many)).await;
    assert_eq!((status, code(&body)), (400, &json!(10072)), "{body}");
    assert_eq!(put(crons(&many[..5])).await.0, 200);
    assert_eq!(put(crons(&[])).await.1["result"], json!({"schedules": []}));
    let none = Action::SetSubdomain { subdomain: None };
    bench.local.act(none).await.expect("the subdomain goes");
    let (_, body) = put(crons(&["* * * * *"])).await;
    assert_eq!(code(&body), 10063);
    for method in [Method::GET, Method::PUT] {
        let (status, body) = bench
            .with_json(method, "/workers/scripts/none/schedules", json!([]))
            .await;
        assert_eq!((status, code(&body)), (404, &json!(10007)));
    }
}

const ROOM: &str = r#"
import { DurableObject } from "cloudflare:workers";
export class Room extends DurableObject {
  fetch() {
    const [client, server] = Object.values(new WebSocketPair());
    this.ctx.acceptWebSocket(server);
    return new Response(null, { status: 101, webSocket: client });
  }
  webSocketMessage(socket, message) { socket.send(`echo ${message}`); }
}
export default { fetch(request, env) { return env.ROOM.getByName("one").fetch(request); } };
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_goes_through_to_an_object_until_the_next_deploy() {
    let bench = Bench::start().await;
    let metadata = json!({
        "bindings": [{"name": "ROOM", "type": "durable_object_namespace", "class_name": "Room"}],
        "migrations": {"new_sqlite_classes": ["Room"]},
    });
    assert_eq!(bench.upload("room", ROOM, metadata).await.0, 200);
    let request = bench
        .http
        .get(format!("http://{}/", bench.local.workers_address()))
        .header("x-local-worker", "room")
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    let response = request.send().await.expect("it answers");
    assert_eq!(response.status(), 101);
    assert_eq!(
        response.headers()["sec-websocket-accept"],
        "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    );
    let mut socket = response.upgrade().await.expect("it is a WebSocket");
    for message in ["hello", "again"] {
        // A final text frame, masked with zeros.
        let mut frame = vec![0x81, 0x80 | message.len() as u8, 0, 0, 0, 0];
        frame.extend_from_slice(message.as_bytes());
        socket.write_all(&frame).await.expect("it is sent");
        let expected = format!("echo {message}");
        let mut answer = vec![0; 2 + expected.len()];
        socket.read_exact(&mut answer).await.expect("it answers");
        assert_eq!(answer[..2], [0x81, expected.len() as u8]);
        assert_eq!(answer[2..], *expected.as_bytes());
    }
    bench.deploy_echo("other").await;
    let mut rest = Vec::new();
    // How a cut connection shows is up to the operating system.
    let end = socket.read_to_end(&mut rest);
    let _ = tokio::time::timeout(Duration::from_secs(10), end)
        .await
        .expect("the deploy ends it");
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_are_served_again_after_the_runtime_was_killed() {
    let bench = Bench::start().await;
    assert_eq!(bench.local.runtime_process().await, None);
    let migrations = json!({"new_sqlite_classes": ["Counter"]});
    bench.upload_counter("counter", "Counter", migrations).await;
    assert_eq!(bench.call("counter").await, "1");
    for expected in ["2", "3"] {
        let process = bench.local.runtime_process().await.expect("it runs");
        let pid = rustix::process::Pid::from_raw(process as i32).expect("it is an id");
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("it is killed");
        // What is under way at that moment may be lost; everything after it is answered.
        let again = async {
            loop {
                let (status, text) = bench.at("counter.localhost", "/").await;
                if status == 200 {
                    return text;
                }
            }
        };
        let text = tokio::time::timeout(Duration::from_secs(20), again).await;
        assert_eq!(text.expect("it is served again"), expected);
        assert_ne!(bench.local.runtime_process().await, Some(process));
    }
    bench.local.stop().await;
}
