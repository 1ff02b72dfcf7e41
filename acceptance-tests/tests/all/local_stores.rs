//! KV, D1, R2 and queues of local Cloudflare: what a Worker stores, the API sees, and the other way round.

use std::path::Path;
use std::time::{Duration, Instant};

use acceptance_tests::cloudflare::Action;
use acceptance_tests::cloudflare::stores::UnknownStores;
use reqwest::Method;
use serde_json::{Value, json};

use crate::local_cloudflare::Bench;

const KV: &str = r#"
export default {
  async fetch(request, env) {
    const { pathname } = new URL(request.url);
    if (pathname === "/write") {
      await env.KV.put("text", "hello", { metadata: { by: "worker", "é": "ü" } });
      await env.KV.put("json/1", JSON.stringify({ a: [1] }));
      await env.KV.put("short", "lived", { expirationTtl: 60 });
      await env.KV.put("large", "x".repeat(200_000));
      await env.KV.put("gone", "soon");
      await env.KV.delete("gone");
    }
    const text = await env.KV.getWithMetadata("text");
    const list = await env.KV.list({ prefix: "json/" });
    const short = (await env.KV.list({ prefix: "short" })).keys[0];
    return Response.json({
      text: text.value, metadata: text.metadata, json: await env.KV.get("json/1", "json"),
      many: Object.fromEntries(await env.KV.get(["text", "nothing"])),
      list: list.keys, complete: list.list_complete, expires: short?.expiration > Date.now() / 1000,
      large: (await env.KV.get("large"))?.length, gone: await env.KV.get("gone"), api: await env.KV.get("from api"),
    });
  },
};
"#;

const D1: &str = r#"
export default {
  async fetch(request, env) {
    const { pathname } = new URL(request.url);
    if (pathname === "/write") {
      await env.DB.exec("CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT, age INTEGER)");
      const insert = env.DB.prepare("INSERT INTO people (name, age) VALUES (?, ?)");
      const run = await insert.bind("Ada", 36).run();
      if (run.meta.last_row_id !== 1 || run.meta.changes !== 1) throw new Error(JSON.stringify(run));
      await env.DB.batch([insert.bind("Bob", 20), insert.bind("Eve", null)]);
    }
    let refused;
    try {
      await env.DB.batch([
        env.DB.prepare("INSERT INTO people (name) VALUES ('never')"), env.DB.prepare("SELECT * FROM missing"),
      ]);
    } catch (error) {
      refused = error.message;
    }
    const all = await env.DB.prepare("SELECT name, age FROM people ORDER BY id").all();
    return Response.json({
      all: all.results, first: await env.DB.prepare("SELECT count(*) AS n FROM people").first("n"),
      raw: await env.DB.prepare("SELECT id FROM people WHERE name = ?").bind("Bob").raw(), refused,
    });
  },
};
"#;

const R2: &str = r#"
export default {
  async fetch(request, env) {
    const { pathname } = new URL(request.url);
    if (pathname === "/write") {
      await env.FILES.put("dir/a.txt", "hello world", {
        httpMetadata: { contentType: "text/plain" }, customMetadata: { by: "wörker" },
      });
      await env.FILES.put("dir/sub/b", new Uint8Array(3_000_000).fill(7));
      const upload = await env.FILES.createMultipartUpload("parts");
      const parts = [await upload.uploadPart(1, new Uint8Array(5 << 20)), await upload.uploadPart(2, "end")];
      await upload.complete(parts);
    }
    if (pathname === "/empty") {
      await env.FILES.delete((await env.FILES.list()).objects.map((object) => object.key));
    }
    const object = await env.FILES.get("dir/a.txt");
    const list = await env.FILES.list({ prefix: "dir/", delimiter: "/", include: ["customMetadata"] });
    let refused;
    try {
      await env.FILES.put("x", "y", { md5: "0".repeat(32) });
    } catch (error) {
      refused = error.message;
    }
    return Response.json({
      text: await object?.text(), type: object?.httpMetadata.contentType, custom: object?.customMetadata,
      range: await (await env.FILES.get("dir/a.txt", { range: { offset: 6, length: 3 } }))?.text(),
      unchanged: object && (await env.FILES.put("dir/a.txt", "no", { onlyIf: { etagDoesNotMatch: object.etag } })),
      keys: list.objects.map((object) => object.key), by: list.objects[0]?.customMetadata.by,
      prefixes: list.delimitedPrefixes, large: (await env.FILES.head("dir/sub/b"))?.size,
      end: await (await env.FILES.get("parts", { range: { suffix: 3 } }))?.text(),
      api: await (await env.FILES.get("from/api"))?.text(), refused: refused.includes("(10037)"),
    });
  },
};
"#;

const QUEUE: &str = r#"
export default {
  async fetch(request, env) {
    const { pathname } = new URL(request.url);
    if (pathname === "/send") {
      await env.JOBS.send({ number: 1 });
      await env.JOBS.sendBatch([{ body: "two", contentType: "text" }, { body: new Date(0), contentType: "v8" }]);
    }
    if (pathname === "/poison") await env.JOBS.send("poison");
    return Response.json((await env.KV.list()).keys.map((key) => key.name));
  },
  async queue(batch, env) {
    for (const message of batch.messages) {
      if (message.body === "poison" && batch.queue === "jobs") message.retry();
      else {
        const body = message.body instanceof Date ? "date" : JSON.stringify(message.body);
        await env.KV.put(`${batch.queue} ${body}`, "");
      }
    }
  },
};
"#;

const KV_ID: &str = "00000000000000000000000000000abc";

/// What the Worker answers at a path, as JSON.
async fn ask(bench: &Bench, script: &str, path: &str) -> Value {
    let url = format!("http://{}{path}", bench.local.workers_address());
    let request = bench.http.get(url).header("x-local-worker", script);
    let response = request.send().await.expect("the runtime answers");
    let text = response.text().await.expect("the answer is text");
    serde_json::from_str(&text).unwrap_or_else(|_| panic!("not JSON: {text}"))
}

async fn deploy(bench: &Bench, script: &str, code: &str, bindings: Value) {
    let (status, body) = bench
        .upload(script, code, json!({ "bindings": bindings }))
        .await;
    assert_eq!(status, 200, "{body}");
}

/// A successful call with a body.
async fn call(bench: &Bench, method: Method, path: &str, body: Value) -> Value {
    let (status, answer) = bench.send(bench.request(method, path).json(&body)).await;
    assert_eq!(status, 200, "{path}: {answer}");
    answer["result"].clone()
}

/// The status and code of a refused call.
async fn refusal(bench: &Bench, method: Method, path: &str, body: Value) -> (u16, u64) {
    let (status, answer) = bench.send(bench.request(method, path).json(&body)).await;
    assert_eq!(answer["success"], false, "{path}: {answer}");
    let code = answer["errors"][0]["code"].as_u64();
    (status, code.expect("a refusal has a code"))
}

/// The bytes of a value or object, as text.
async fn text(bench: &Bench, path: &str) -> String {
    let response = bench.request(Method::GET, path).send().await;
    let response = response.expect("the API answers");
    assert_eq!(response.status(), 200, "{path}");
    response.text().await.expect("the value is text")
}

/// Deploys again, renames the Worker, and starts local Cloudflare again; each time the Worker has to say the same.
async fn survives(bench: Bench, folder: &Path, code: &str, bindings: Value) -> Bench {
    let before = ask(&bench, "first", "/").await;
    deploy(&bench, "first", &format!("{code}// again"), bindings).await;
    assert_eq!(ask(&bench, "first", "/").await, before, "after a redeploy");
    let name = json!({"id": "second"});
    call(&bench, Method::PATCH, "/workers/services/first", name).await;
    assert_eq!(ask(&bench, "second", "/").await, before, "after a rename");
    bench.local.stop().await;
    let bench = Bench::start_in(Some(folder)).await;
    assert_eq!(ask(&bench, "second", "/").await, before, "after a restart");
    let objects = bench.get("/workers/durable_objects/namespaces").await;
    assert_eq!(objects, json!([]), "stores are not Durable Objects");
    bench
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_and_the_api_share_a_kv_namespace() {
    let folder = tempfile::tempdir().expect("a temporary folder can be created");
    let bench = Bench::start_in(Some(folder.path())).await;
    let created = call(
        &bench,
        Method::POST,
        "/storage/kv/namespaces",
        json!({"title": "cache"}),
    )
    .await;
    let id = created["id"].as_str().expect("ids are strings");
    let path = format!("/storage/kv/namespaces/{id}");
    // Without any Worker.
    let form = reqwest::multipart::Form::new()
        .text("value", "written by the API")
        .text("metadata", r#"{"by": "äpi"}"#);
    let put = bench
        .request(Method::PUT, &format!("{path}/values/from%20api"))
        .multipart(form);
    assert_eq!(bench.send(put).await.0, 200);

    let bindings = json!([{"name": "KV", "type": "kv_namespace", "namespace_id": id}]);
    deploy(&bench, "first", KV, bindings.clone()).await;
    assert_eq!(
        ask(&bench, "first", "/write").await,
        json!({
            "text": "hello", "metadata": {"by": "worker", "é": "ü"}, "json": {"a": [1]},
            "many": {"text": "hello", "nothing": null},
            "list": [{"name": "json/1"}], "complete": true, "expires": true, "large": 200_000, "gone": null,
            "api": "written by the API",
        })
    );
    assert_eq!(
        text(&bench, &format!("{path}/values/json%2F1")).await,
        r#"{"a":[1]}"#
    );
    assert_eq!(
        text(&bench, &format!("{path}/values/large")).await.len(),
        200_000
    );
    assert_eq!(
        bench.get(&format!("{path}/metadata/text")).await,
        json!({"by": "worker", "é": "ü"})
    );
    let keys = bench.get(&format!("{path}/keys?prefix=from")).await;
    assert_eq!(
        keys,
        json!([{"name": "from api", "metadata": {"by": "äpi"}}])
    );

    let bench = survives(bench, folder.path(), KV, bindings).await;
    let bulk: Vec<Value> = (0..25)
        .map(|n| json!({"key": format!("bulk/{n:02}"), "value": "aGk=", "base64": true, "metadata": n}))
        .collect();
    let written = call(&bench, Method::PUT, &format!("{path}/bulk"), json!(bulk)).await;
    assert_eq!(written["successful_key_count"], 25);
    let first = bench.request(Method::GET, &format!("{path}/keys?prefix=bulk/&limit=20"));
    let (_, page) = bench.send(first).await;
    assert_eq!(page["result_info"]["count"], 20);
    let cursor = page["result_info"]["cursor"]
        .as_str()
        .expect("there is more");
    let rest = format!("{path}/keys?prefix=bulk/&limit=20&cursor={cursor}");
    let rest = bench.get(&rest).await;
    assert_eq!(rest[4], json!({"name": "bulk/24", "metadata": 24}));
    assert_eq!(text(&bench, &format!("{path}/values/bulk/07")).await, "hi");

    let many = json!({"keys": ["text", "nothing"], "withMetadata": true});
    let many = call(&bench, Method::POST, &format!("{path}/bulk/get"), many).await;
    let metadata = json!({"by": "worker", "é": "ü"});
    assert_eq!(
        many["values"],
        json!({"text": {"value": "hello", "metadata": metadata}, "nothing": null})
    );

    let missing = format!("{path}/values/nothing");
    assert_eq!(
        refusal(&bench, Method::GET, &missing, json!({})).await,
        (404, 10009)
    );
    let short = format!("{path}/values/a?expiration_ttl=5");
    assert_eq!(refusal(&bench, Method::PUT, &short, json!({})).await.0, 400);
    let again = json!({"title": "cache"});
    let namespaces = "/storage/kv/namespaces";
    assert_eq!(
        refusal(&bench, Method::POST, namespaces, again).await,
        (400, 10014)
    );
    call(&bench, Method::PUT, &path, json!({"title": "renamed"})).await;
    let page = format!("{namespaces}?page=1&per_page=100&order=title");
    assert_eq!(bench.get(&page).await[0]["title"], "renamed");
    call(&bench, Method::DELETE, &path, json!({})).await;
    assert_eq!(
        refusal(&bench, Method::GET, &path, json!({})).await,
        (404, 10013)
    );
    let keys = format!("{path}/keys");
    assert_eq!(
        refusal(&bench, Method::GET, &keys, json!({})).await,
        (404, 10013)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_and_the_api_share_a_database() {
    let folder = tempfile::tempdir().expect("a temporary folder can be created");
    let bench = Bench::start_in(Some(folder.path())).await;
    let name = json!({"name": "people"});
    let created = call(&bench, Method::POST, "/d1/database", name.clone()).await;
    let uuid = created["uuid"].as_str().expect("ids are strings");
    let path = format!("/d1/database/{uuid}");
    let bindings = json!([{"name": "DB", "type": "d1", "id": uuid}]);
    deploy(&bench, "first", D1, bindings.clone()).await;
    let seen = ask(&bench, "first", "/write").await;
    assert_eq!(
        seen["all"],
        json!([{"name": "Ada", "age": 36}, {"name": "Bob", "age": 20}, {"name": "Eve", "age": null}])
    );
    assert_eq!((&seen["first"], &seen["raw"]), (&json!(3), &json!([[2]])));
    let refused = seen["refused"].as_str().expect("the batch is refused");
    assert!(refused.contains("no such table: missing"), "{refused}");

    let select = json!({"sql": "SELECT name FROM people WHERE age > ?", "params": [30]});
    let found = call(
        &bench,
        Method::POST,
        &format!("{path}/query"),
        select.clone(),
    )
    .await;
    assert_eq!(found[0]["results"], json!([{"name": "Ada"}]));
    assert_eq!(found[0]["success"], true);
    let raw = call(&bench, Method::POST, &format!("{path}/raw"), select).await;
    assert_eq!(
        raw[0]["results"],
        json!({"columns": ["name"], "rows": [["Ada"]]})
    );
    let several =
        json!({"sql": "UPDATE people SET age = 21 WHERE name = 'Bob'; SELECT changes() AS n;"});
    let changed = call(&bench, Method::POST, &format!("{path}/query"), several).await;
    assert_eq!(changed[1]["results"], json!([{"n": 1}]));
    assert_eq!(ask(&bench, "first", "/").await["all"][1]["age"], 21);

    let bench = survives(bench, folder.path(), D1, bindings).await;
    let shown = bench.get(&path).await;
    assert_eq!(
        (&shown["name"], &shown["num_tables"]),
        (&json!("people"), &json!(1))
    );
    assert!(shown["file_size"].as_u64() > Some(0), "{shown}");
    assert_eq!(bench.get("/d1/database?name=people").await[0]["uuid"], uuid);

    let wrong = json!({"sql": "SELECT * FROM"});
    let query = format!("{path}/query");
    assert_eq!(
        refusal(&bench, Method::POST, &query, wrong).await,
        (400, 7500)
    );
    assert_eq!(
        refusal(&bench, Method::POST, "/d1/database", name).await,
        (400, 7502)
    );
    call(&bench, Method::DELETE, &path, json!({})).await;
    assert_eq!(
        refusal(&bench, Method::GET, &path, json!({})).await,
        (404, 7404)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_and_the_api_share_a_bucket() {
    let folder = tempfile::tempdir().expect("a temporary folder can be created");
    let bench = Bench::start_in(Some(folder.path())).await;
    let name = json!({"name": "files"});
    call(&bench, Method::POST, "/r2/buckets", name.clone()).await;
    let put = bench
        .request(Method::PUT, "/r2/buckets/files/objects/from%2Fapi")
        .header("content-type", "text/html")
        .body("written by the API");
    assert_eq!(bench.send(put).await.0, 200);

    let bindings = json!([{"name": "FILES", "type": "r2_bucket", "bucket_name": "files"}]);
    deploy(&bench, "first", R2, bindings.clone()).await;
    assert_eq!(
        ask(&bench, "first", "/write").await,
        json!({
            "text": "hello world", "type": "text/plain", "custom": {"by": "wörker"}, "range": "wor",
            "unchanged": null, "keys": ["dir/a.txt"], "by": "wörker", "prefixes": ["dir/sub/"],
            "large": 3_000_000, "end": "end", "api": "written by the API", "refused": true,
        })
    );
    assert_eq!(
        text(&bench, "/r2/buckets/files/objects/dir/a.txt").await,
        "hello world"
    );
    let listed = bench.get("/r2/buckets/files/objects?prefix=from").await;
    assert_eq!(listed[0]["key"], "from/api");
    assert_eq!(listed[0]["http_metadata"]["contentType"], "text/html");

    let bench = survives(bench, folder.path(), R2, bindings).await;
    assert_eq!(
        bench.get("/r2/buckets").await["buckets"][0]["name"],
        "files"
    );
    let path = "/r2/buckets/files";
    assert_eq!(
        refusal(&bench, Method::DELETE, path, json!({})).await,
        (409, 10008)
    );
    assert_eq!(
        refusal(&bench, Method::POST, "/r2/buckets", name).await,
        (409, 10004)
    );
    let object = "/r2/buckets/files/objects/dir%2Fa.txt";
    call(&bench, Method::DELETE, object, json!({})).await;
    assert_eq!(
        refusal(&bench, Method::GET, object, json!({})).await,
        (404, 10007)
    );
    assert_eq!(ask(&bench, "second", "/empty").await["api"], Value::Null);
    call(&bench, Method::DELETE, path, json!({})).await;
    assert_eq!(
        refusal(&bench, Method::GET, path, json!({})).await,
        (404, 10006)
    );
}

/// Asks the Worker until it has seen as many messages as it should.
async fn delivered(bench: &Bench, script: &str, count: usize) -> Value {
    let start = Instant::now();
    loop {
        let seen = ask(bench, script, "/").await;
        let messages = seen.as_array().expect("it is a list").len();
        if messages >= count || start.elapsed() > Duration::from_secs(20) {
            return seen;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_a_queue_reach_its_consumer() {
    let bench = Bench::start().await;
    let name = json!({"queue_name": "jobs"});
    let queue = call(&bench, Method::POST, "/queues", name.clone()).await;
    let id = queue["queue_id"].as_str().expect("ids are strings");
    let consumers = format!("/queues/{id}/consumers");
    assert_eq!(
        refusal(&bench, Method::POST, "/queues", name).await,
        (409, 11009)
    );
    let bindings = json!([
        {"name": "JOBS", "type": "queue", "queue_name": "jobs"},
        {"name": "KV", "type": "kv_namespace", "namespace_id": KV_ID},
    ]);
    let consumer = json!({
        "type": "worker", "script_name": "worker", "dead_letter_queue": "letters",
        "settings": {"batch_size": 2, "max_wait_time_ms": 0, "max_retries": 1, "retry_delay": null},
    });
    assert_eq!(
        refusal(&bench, Method::POST, &consumers, consumer.clone()).await,
        (404, 10007)
    );
    deploy(&bench, "worker", KV, bindings.clone()).await;
    assert_eq!(
        refusal(&bench, Method::POST, &consumers, consumer.clone()).await,
        (400, 11001)
    );

    deploy(&bench, "worker", QUEUE, bindings.clone()).await;
    // Messages wait for their consumer.
    assert_eq!(ask(&bench, "worker", "/send").await, json!([]));
    let created = call(&bench, Method::POST, &consumers, consumer.clone()).await;
    assert_eq!(
        delivered(&bench, "worker", 3).await,
        json!(["jobs \"two\"", "jobs date", "jobs {\"number\":1}"])
    );
    assert_eq!(
        refusal(&bench, Method::POST, &consumers, consumer.clone()).await,
        (400, 11004)
    );
    assert_eq!(bench.get(&consumers).await[0]["settings"]["batch_size"], 2);

    // A message that fails too often ends in another queue; here with the same consumer.
    let all = bench.get("/queues").await;
    let letters = all[1]["queue_id"].as_str().expect("it was created");
    let mut of_letters = consumer.clone();
    of_letters["dead_letter_queue"] = Value::Null;
    let path = format!("/queues/{letters}/consumers");
    call(&bench, Method::POST, &path, of_letters).await;
    ask(&bench, "worker", "/poison").await;
    let message = json!({"body": {"from": "api"}});
    call(
        &bench,
        Method::POST,
        &format!("/queues/{id}/messages"),
        message,
    )
    .await;
    let seen = delivered(&bench, "worker", 5).await;
    assert_eq!(seen[2], "jobs {\"from\":\"api\"}");
    assert_eq!(seen[4], "letters \"poison\"");

    let queues = bench.get("/workers/scripts/worker/queue-consumers").await;
    assert_eq!(queues[0]["queue_name"], "jobs");
    let (status, body) = bench
        .upload("worker", KV, json!({ "bindings": bindings }))
        .await;
    assert_eq!((status, &body["errors"][0]["code"]), (400, &json!(11001)));
    let worker = "/workers/scripts/worker";
    assert_eq!(
        refusal(&bench, Method::DELETE, worker, json!({})).await,
        (400, 10064)
    );
    let letters = format!("/queues/{letters}");
    assert_eq!(
        refusal(&bench, Method::DELETE, &letters, json!({})).await,
        (400, 11005)
    );
    let consumer = created["consumer_id"].as_str().expect("ids are strings");
    call(
        &bench,
        Method::DELETE,
        &format!("{consumers}/{consumer}"),
        json!({}),
    )
    .await;
    call(&bench, Method::DELETE, &letters, json!({})).await;
    call(&bench, Method::DELETE, worker, json!({})).await;
    call(&bench, Method::DELETE, &format!("/queues/{id}"), json!({})).await;
    assert_eq!(bench.get("/queues").await, json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_store_takes_its_data_with_it() {
    let folder = tempfile::tempdir().expect("a temporary folder can be created");
    let bench = Bench::start_in(Some(folder.path())).await;
    let kv = json!([{"name": "KV", "type": "kv_namespace", "namespace_id": KV_ID}]);
    let db = json!([{"name": "DB", "type": "d1", "id": "a-database"}]);
    deploy(&bench, "kv", KV, kv.clone()).await;
    deploy(&bench, "db", D1, db.clone()).await;
    assert_eq!(ask(&bench, "kv", "/write").await["large"], 200_000);
    assert_eq!(ask(&bench, "db", "/write").await["first"], 3);

    let path = format!("/storage/kv/namespaces/{KV_ID}");
    call(&bench, Method::DELETE, &path, json!({})).await;
    call(&bench, Method::DELETE, "/d1/database/a-database", json!({})).await;
    // An upload makes stores of the same ids; nothing of the old ones is in them, even if nobody came in between.
    deploy(&bench, "kv", KV, kv).await;
    deploy(&bench, "db", D1, db).await;
    bench.local.stop().await;
    let bench = Bench::start_in(Some(folder.path())).await;
    let seen = ask(&bench, "kv", "/").await;
    assert_eq!((&seen["text"], &seen.get("large")), (&Value::Null, &None));
    let tables = json!({"sql": "SELECT name FROM sqlite_schema WHERE name = 'people'"});
    let found = call(
        &bench,
        Method::POST,
        "/d1/database/a-database/query",
        tables,
    )
    .await;
    assert_eq!(found[0]["results"], json!([]));

    assert_eq!(ask(&bench, "kv", "/write").await["text"], "hello");
    bench.local.stop().await;
    let bench = Bench::start_in(Some(folder.path())).await;
    let seen = ask(&bench, "kv", "/").await;
    assert_eq!(
        seen["text"], "hello",
        "what came later is not deleted again"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_forgets_all_stores_and_messages() {
    let bench = Bench::start().await;
    let bindings = json!([
        {"name": "JOBS", "type": "queue", "queue_name": "jobs"},
        {"name": "KV", "type": "kv_namespace", "namespace_id": KV_ID},
    ]);
    deploy(&bench, "worker", QUEUE, bindings.clone()).await;
    ask(&bench, "worker", "/send").await;
    let reset = format!("{}/reset", bench.local.control_url());
    let answer = bench.http.post(reset).send().await.expect("it answers");
    assert_eq!(answer.status(), 200);
    assert_eq!(bench.get("/queues").await, json!([]));
    assert_eq!(bench.get("/storage/kv/namespaces").await, json!([]));

    deploy(&bench, "worker", QUEUE, bindings).await;
    let queues = bench.get("/queues").await;
    let id = queues[0]["queue_id"].as_str().expect("ids are strings");
    let consumer = json!({"script_name": "worker", "settings": {"max_wait_time_ms": 0}});
    let path = format!("/queues/{id}/consumers");
    call(&bench, Method::POST, &path, consumer).await;
    let message = json!({"body": "after", "content_type": "text"});
    call(
        &bench,
        Method::POST,
        &format!("/queues/{id}/messages"),
        message,
    )
    .await;
    // Messages come in order: what was sent before the reset would have come first.
    assert_eq!(
        delivered(&bench, "worker", 1).await,
        json!(["jobs \"after\""])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strict_account_refuses_bindings_to_what_is_not_there() {
    let bench = Bench::start().await;
    let strict = Action::SetUnknownStores {
        unknown: UnknownStores::Refused,
    };
    bench.local.act(strict).await.expect("it is switched");
    for (binding, code, message) in [
        (
            json!({"name": "KV", "type": "kv_namespace", "namespace_id": KV_ID}),
            10041,
            format!("KV namespace '{KV_ID}' not found."),
        ),
        (
            json!({"name": "DB", "type": "d1", "id": "x"}),
            10181,
            "D1 binding 'DB' references database 'x' which was not found.".into(),
        ),
        (
            json!({"name": "B", "type": "r2_bucket", "bucket_name": "x"}),
            10085,
            "R2 bucket 'x' not found.".into(),
        ),
        (
            json!({"name": "Q", "type": "queue", "queue_name": "x"}),
            11000,
            "Queue 'x' not found.".into(),
        ),
    ] {
        let metadata = json!({ "bindings": [binding] });
        let (status, body) = bench.upload("worker", KV, metadata).await;
        assert_eq!(status, 400, "{body}");
        assert_eq!(body["errors"][0], json!({"code": code, "message": message}));
    }
    assert!(bench.local.account().scripts.is_empty());
    let created = call(&bench, Method::POST, "/queues", json!({"queue_name": "x"})).await;
    assert_eq!(created["queue_name"], "x");
    deploy(
        &bench,
        "worker",
        KV,
        json!([{"name": "Q", "type": "queue", "queue_name": "x"}]),
    )
    .await;
    assert_eq!(
        bench.get("/queues").await[0]["producers"][0]["script"],
        "worker"
    );
}
