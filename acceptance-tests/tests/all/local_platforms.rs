//! Workers for Platforms on local Cloudflare, over HTTP.

use reqwest::Method;
use serde_json::{Value, json};

use crate::local_cloudflare::{Bench, code};

const NAMESPACES: &str = "/workers/dispatch/namespaces";

const PLAIN: &str = r#"
export default { fetch(request, env) { return new Response(`${env.WORD ?? "nothing"}`); } };
"#;

const ROOM: &str = r#"
import { DurableObject } from "cloudflare:workers";
export class Room extends DurableObject {
  async count() {
    const count = ((await this.ctx.storage.get("count")) ?? 0) + 1;
    await this.ctx.storage.put("count", count);
    return count;
  }
}
export default {
  async fetch(request, env) { return new Response(`${await env.ROOM.getByName("one").count()}`); },
};
"#;

const DISPATCHER: &str = r#"
export default {
  async fetch(request, env) {
    const name = new URL(request.url).searchParams.get("to");
    try {
      return await env.DISPATCHER.get(name).fetch("http://inner/");
    } catch (error) {
      return new Response(`failed: ${error.message}`);
    }
  },
};
"#;

impl Bench {
    async fn with_namespaces(names: &[&str]) -> Self {
        let bench = Self::start().await;
        for name in names {
            let created = bench.send_json(Method::POST, NAMESPACES, json!({"name": name}));
            assert_eq!(created.await.0, 200);
        }
        bench
    }

    async fn send_json(&self, method: Method, path: &str, body: Value) -> (u16, Value) {
        self.send(self.request(method, path).json(&body)).await
    }

    async fn put_in(
        &self,
        namespace: &str,
        script: &str,
        code: &str,
        metadata: Value,
    ) -> (u16, Value) {
        let path = format!("{NAMESPACES}/{namespace}/scripts/{script}");
        let form = Self::form(code, &metadata);
        self.send(self.request(Method::PUT, &path).multipart(form))
            .await
    }

    async fn dispatch(&self, to: &str) -> String {
        let url = format!("http://{}/?to={to}", self.local.workers_address());
        let request = self.http.get(url).header("x-local-worker", "dispatcher");
        let response = request.send().await.expect("the runtime answers");
        response.text().await.expect("the answer is text")
    }

    async fn upload_dispatcher(&self, namespace: &str) {
        let binding =
            json!({"type": "dispatch_namespace", "name": "DISPATCHER", "namespace": namespace});
        let metadata = json!({"bindings": [binding]});
        let (status, body) = self.upload("dispatcher", DISPATCHER, metadata).await;
        assert_eq!(status, 200, "{body}");
    }
}

fn with_room() -> Value {
    json!({
        "bindings": [{"type": "durable_object_namespace", "name": "ROOM", "class_name": "Room"}],
        "migrations": {"new_tag": "v1", "new_sqlite_classes": ["Room"]},
    })
}

fn ids(list: &Value) -> Vec<&str> {
    let list = list.as_array().expect("it is a list").iter();
    list.map(|it| it["id"].as_str().expect("an id is text"))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn namespaces_are_created_listed_and_deleted_with_their_workers() {
    let bench = Bench::with_namespaces(&["customers"]).await;
    let (status, body) = bench
        .send_json(Method::POST, NAMESPACES, json!({"name": "customers"}))
        .await;
    assert_eq!((status, code(&body)), (409, &json!(100_120)));
    let (_, body) = bench
        .send_json(Method::POST, NAMESPACES, json!({"name": "a/b"}))
        .await;
    assert_eq!(code(&body), 10021);
    assert_eq!(
        bench.put_in("customers", "room", ROOM, with_room()).await.0,
        200
    );

    let one = format!("{NAMESPACES}/customers");
    let shown = bench.get(&one).await;
    assert_eq!(
        (&shown["namespace_name"], &shown["script_count"]),
        (&json!("customers"), &json!(1))
    );
    assert_eq!(bench.get(NAMESPACES).await, json!([shown]));

    let (status, _) = bench.send(bench.request(Method::DELETE, &one)).await;
    assert_eq!(status, 200);
    for path in [one.clone(), format!("{one}/scripts/room")] {
        let (status, body) = bench.send(bench.request(Method::GET, &path)).await;
        assert_eq!((status, code(&body)), (404, &json!(100_119)));
        assert_eq!(
            body["errors"][0]["message"],
            "The specified dispatch namespace does not exist on this account."
        );
    }
    let (status, body) = bench.put_in("customers", "room", PLAIN, json!({})).await;
    assert_eq!((status, code(&body)), (404, &json!(100_119)));
    let binding = json!({"type": "dispatch_namespace", "name": "D", "namespace": "customers"});
    let (_, body) = bench
        .upload("dispatcher", DISPATCHER, json!({"bindings": [binding]}))
        .await;
    assert_eq!(code(&body), 100_119);
    let left = bench.get("/workers/durable_objects/namespaces").await;
    assert_eq!(left, json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dispatcher_reaches_the_workers_of_its_namespace_alone() {
    let bench = Bench::with_namespaces(&["customers", "others"]).await;
    bench.upload_dispatcher("customers").await;
    assert_eq!(bench.dispatch("anna").await, "failed: Worker not found.");

    let word =
        |word: &str| json!({"bindings": [{"type": "plain_text", "name": "WORD", "text": word}]});
    for (namespace, script) in [
        ("customers", "anna"),
        ("others", "anna"),
        ("others", "bert"),
    ] {
        let (status, body) = bench
            .put_in(
                namespace,
                script,
                PLAIN,
                word(&format!("{namespace} {script}")),
            )
            .await;
        assert_eq!(
            (status, &body["result"]["id"]),
            (200, &json!(script)),
            "{body}"
        );
    }
    assert_eq!(bench.upload("anna", PLAIN, word("nobody's")).await.0, 200);
    assert_eq!(
        bench.put_in("customers", "room", ROOM, with_room()).await.0,
        200
    );

    assert_eq!(bench.dispatch("anna").await, "customers anna");
    assert_eq!(bench.call("anna").await, "nobody's");
    assert_eq!(bench.dispatch("room").await, "1");
    assert_eq!(bench.dispatch("room").await, "2");
    for name in ["bert", "dispatcher", "__proto__", "constructor"] {
        assert_eq!(bench.dispatch(name).await, "failed: Worker not found.");
    }
    // It has no address of its own.
    let answer = bench.call("customers/anna").await;
    assert!(answer.starts_with("There is no Worker"), "{answer}");

    let path = format!("{NAMESPACES}/customers/scripts/anna");
    let (status, _) = bench.send(bench.request(Method::DELETE, &path)).await;
    assert_eq!(status, 200);
    assert_eq!(bench.dispatch("anna").await, "failed: Worker not found.");
    assert_eq!(bench.call("anna").await, "nobody's");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_workers_of_a_namespace_are_not_among_the_others() {
    let bench = Bench::with_namespaces(&["customers"]).await;
    let metadata = json!({"tags": ["team-x"], "migrations": {"new_tag": "v1", "new_sqlite_classes": ["Room"]}});
    let (status, body) = bench.put_in("customers", "room", ROOM, metadata).await;
    assert_eq!(status, 200, "{body}");
    let one = format!("{NAMESPACES}/customers/scripts/room");
    let shown = bench.get(&one).await;
    assert_eq!(shown["dispatch_namespace"], "customers");
    assert_eq!(shown["script"]["id"], "room");
    assert_eq!(shown["script"]["migration_tag"], "v1");
    assert_eq!(shown["script"]["tags"], json!(["team-x"]));

    for list in [
        "/workers/scripts",
        "/workers/scripts-search",
        "/workers/workers",
    ] {
        assert_eq!(bench.get(list).await, json!([]), "{list}");
    }
    let tag = shown["script"]["tag"].as_str().expect("the tag is text");
    for (path, expected) in [
        ("/workers/scripts/room", 10007),
        ("/workers/services/room", 10090),
        (&format!("/workers/workers/{tag}"), 10007),
        ("/workers/scripts/customers%2Froom", 10016),
        ("/workers/services/customers%2Froom", 10016),
        (&format!("{one}/versions"), 7003),
        (
            &format!("{NAMESPACES}/customers/scripts/customers%2Froom"),
            10092,
        ),
    ] {
        let (_, body) = bench.send(bench.request(Method::GET, path)).await;
        assert_eq!(code(&body), expected, "{path}");
    }
    let service = json!({"type": "service", "name": "S", "service": "customers/room"});
    let (_, body) = bench
        .upload("client", PLAIN, json!({"bindings": [service]}))
        .await;
    assert_eq!(code(&body), 10143);
    let namespaces = bench.get("/workers/durable_objects/namespaces").await;
    assert_eq!(
        (
            &namespaces[0]["script"],
            &namespaces[0]["dispatch_namespace"]
        ),
        (&json!("room"), &json!("customers"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_in_a_namespace_is_an_environment_not_found() {
    let bench = Bench::with_namespaces(&["customers"]).await;
    assert_eq!(bench.upload("room", PLAIN, json!({})).await.0, 200);
    let one = format!("{NAMESPACES}/customers/scripts/room");
    for (method, rest) in [
        (Method::GET, ""),
        (Method::DELETE, ""),
        (Method::GET, "/settings"),
        (Method::GET, "/content"),
        (Method::GET, "/bindings"),
        (Method::GET, "/secrets"),
        (Method::GET, "/tags"),
        (Method::PUT, "/tags/x"),
    ] {
        let request = bench.request(method, &format!("{one}{rest}"));
        let (status, body) = bench.send(request).await;
        assert_eq!(
            (status, code(&body)),
            (404, &json!(10092)),
            "{rest}: {body}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_of_a_namespace_has_settings_content_secrets_and_tags() {
    let bench = Bench::with_namespaces(&["customers"]).await;
    bench.upload_dispatcher("customers").await;
    let scripts = format!("{NAMESPACES}/customers/scripts");
    let one = format!("{scripts}/anna");
    let metadata =
        json!({"tags": ["a"], "bindings": [{"type": "json", "name": "WORD", "json": 1}]});
    assert_eq!(
        bench.put_in("customers", "anna", PLAIN, metadata).await.0,
        200
    );
    assert_eq!(
        bench.put_in("customers", "bert", PLAIN, json!({})).await.0,
        200
    );

    let bindings = bench.get(&format!("{one}/bindings")).await;
    assert_eq!(
        bindings,
        json!([{"type": "json", "name": "WORD", "json": 1}])
    );
    let settings = json!({"bindings": [{"type": "json", "name": "WORD", "json": 2}]});
    let form = reqwest::multipart::Form::new().text("settings", settings.to_string());
    let patch = bench.request(Method::PATCH, &format!("{one}/settings"));
    let (status, body) = bench.send(patch.multipart(form)).await;
    assert_eq!(
        (status, &body["result"]["tags"]),
        (200, &json!(["a"])),
        "{body}"
    );
    assert_eq!(bench.dispatch("anna").await, "2");

    let form = Bench::form(&PLAIN.replace("${", "new ${"), &json!({}));
    let put = bench.request(Method::PUT, &format!("{one}/content"));
    assert_eq!(bench.send(put.multipart(form)).await.0, 200);
    assert_eq!(bench.dispatch("anna").await, "new 2");

    let secret = json!({"type": "secret_text", "name": "KEY", "text": "hidden"});
    let (status, _) = bench
        .send_json(Method::PUT, &format!("{one}/secrets"), secret)
        .await;
    assert_eq!(status, 200);
    let shown = json!([{"type": "secret_text", "name": "KEY"}]);
    assert_eq!(bench.get(&format!("{one}/secrets")).await, shown);

    let tags = format!("{one}/tags");
    let (_, body) = bench.send_json(Method::PUT, &tags, json!(["x", "y"])).await;
    assert_eq!(body["result"], json!(["x", "y"]));
    let put = bench.request(Method::PUT, &format!("{tags}/z"));
    assert_eq!(bench.send(put).await.0, 200);
    let delete = bench.request(Method::DELETE, &format!("{tags}/y"));
    assert_eq!(bench.send(delete).await.0, 200);
    assert_eq!(bench.get(&tags).await, json!(["x", "z"]));
    let nine: Vec<String> = (0..9).map(|n| n.to_string()).collect();
    let (status, _) = bench.send_json(Method::PUT, &tags, json!(nine)).await;
    assert_eq!(status, 403);

    let found = bench.get(&format!("{scripts}?tags=x:yes,y:no")).await;
    assert_eq!(ids(&found), ["anna"]);
    let all = bench.request(Method::DELETE, &scripts);
    assert_eq!(code(&bench.send(all).await.1), 10077);
    let some = bench.request(Method::DELETE, &format!("{scripts}?tags=x:yes"));
    assert_eq!(bench.send(some).await.0, 200);
    assert_eq!(ids(&bench.get(&scripts).await), ["bert"]);
    assert_eq!(bench.dispatch("bert").await, "nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn migrations_keep_to_one_side_of_the_boundary() {
    let bench = Bench::with_namespaces(&["customers"]).await;
    assert_eq!(
        bench.put_in("customers", "room", ROOM, with_room()).await.0,
        200
    );
    let (status, body) = bench.put_in("customers", "room", ROOM, with_room()).await;
    assert_eq!((status, code(&body)), (412, &json!(10079)));
    assert_eq!(
        body["errors"][0]["message"],
        "Migration tag precondition failed; current tag is 'v1'"
    );

    let class = json!({"from": "Room", "from_script": "room", "to": "Room"});
    let transfer = json!({"migrations": {"new_tag": "v1", "transferred_classes": [class]}});
    let (_, body) = bench.upload("target", ROOM, transfer.clone()).await;
    assert_eq!(code(&body), 10074, "{body}");
    let (status, body) = bench.put_in("customers", "target", ROOM, transfer).await;
    assert_eq!(status, 200, "{body}");
    let namespaces = bench.get("/workers/durable_objects/namespaces").await;
    assert_eq!(namespaces[0]["script"], "target");

    // Others can bind its class.
    let binding = json!({
        "type": "durable_object_namespace", "name": "ROOM", "class_name": "Room", "script_name": "target",
    });
    let (_, body) = bench
        .upload(
            "client",
            &ROOM.replace("export class", "class"),
            json!({"bindings": [binding]}),
        )
        .await;
    assert_eq!(code(&body), 10061);
    let mut binding = binding;
    binding["dispatch_namespace"] = json!("customers");
    let (status, body) = bench
        .upload(
            "client",
            &ROOM.replace("export class", "class"),
            json!({"bindings": [binding]}),
        )
        .await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(bench.call("client").await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn declared_classes_keep_to_one_side_of_the_boundary() {
    let bench = Bench::with_namespaces(&["customers"]).await;
    let live = json!({"exports": {"Room": {"type": "durable-object", "storage": "sqlite"}}});
    let expecting = |from: &str| {
        json!({"exports": {"Room": {
            "type": "durable-object", "state": "expecting-transfer", "storage": "sqlite", "transfer_from": from,
        }}})
    };
    let giving = |to: &str| json!({"exports": {"Room": {"type": "durable-object", "state": "transferred", "transferred_to": to}}});
    assert_eq!(
        bench
            .put_in("customers", "inner", ROOM, live.clone())
            .await
            .0,
        200
    );
    assert_eq!(bench.upload("outer", ROOM, live).await.0, 200);

    let (_, into) = bench
        .put_in("customers", "target", ROOM, expecting("outer"))
        .await;
    let (_, out) = bench.upload("target", ROOM, expecting("inner")).await;
    let (_, given_out) = bench
        .put_in("customers", "inner", ROOM, giving("outer"))
        .await;
    let (_, given_in) = bench.upload("outer", ROOM, giving("inner")).await;
    for (body, scenario) in [
        (into, "phase_one_transfer_target_in_dispatch_namespace"),
        (out, "phase_one_transfer_source_in_dispatch_namespace"),
        (given_out, "transferred_source_in_dispatch_namespace"),
        (given_in, "transferred_target_in_dispatch_namespace"),
    ] {
        let text = body["errors"][0]["message"].as_str().unwrap_or_default();
        assert!(text.contains(scenario), "{scenario}: {body}");
    }

    let (status, body) = bench
        .put_in("customers", "target", ROOM, expecting("inner"))
        .await;
    assert_eq!(status, 200, "{body}");
    let (status, body) = bench
        .put_in("customers", "inner", ROOM, giving("target"))
        .await;
    assert_eq!(status, 200, "{body}");
    let namespaces = bench.get("/workers/durable_objects/namespaces").await;
    let owners: Vec<&Value> = namespaces
        .as_array()
        .expect("it is a list")
        .iter()
        .map(|it| &it["script"])
        .collect();
    assert_eq!(owners, ["target", "outer"]);
}
