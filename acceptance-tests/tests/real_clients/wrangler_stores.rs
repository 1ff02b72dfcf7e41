//! Wrangler: key-value namespaces, databases and buckets, and Workers that use them.

use serde_json::json;

use crate::bench::Bench;
use crate::wrangler::project;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "installs and runs wrangler"]
async fn a_key_value_namespace_is_shared_by_wrangler_and_a_worker() {
    let bench = Bench::wrangler().await;
    project(
        &bench,
        "w",
        "export default { fetch() { return new Response('') } };",
        &json!({}),
    );
    bench
        .run("w", &["kv", "namespace", "create", "cache"])
        .await;
    let listed = bench.run("w", &["kv", "namespace", "list"]).await.json();
    assert_eq!(listed[0]["title"], "cache");
    let id = listed[0]["id"]
        .as_str()
        .expect("a namespace has an id")
        .to_owned();
    let at = ["--namespace-id", &id, "--remote"];
    bench
        .run(
            "w",
            &[&["kv", "key", "put", "greeting", "hello"], &at[..]].concat(),
        )
        .await;
    let code = "export default { async fetch(r, env) { return new Response(await env.KV.get('greeting')); } };";
    let binding = json!({"kv_namespaces": [{"binding": "KV", "id": id}]});
    project(&bench, "w", code, &binding);
    bench.run("w", &["deploy"]).await;
    assert_eq!(bench.visit("w").await, "hello");
    let read = bench
        .run("w", &[&["kv", "key", "get", "greeting"], &at[..]].concat())
        .await;
    assert_eq!(read.stdout.trim(), "hello");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "installs and runs wrangler"]
async fn a_database_is_shared_by_wrangler_and_a_worker() {
    let bench = Bench::wrangler().await;
    project(
        &bench,
        "w",
        "export default { fetch() { return new Response('') } };",
        &json!({}),
    );
    bench.run("w", &["d1", "create", "notes"]).await;
    let listed = bench.run("w", &["d1", "list", "--json"]).await.json();
    let id = listed[0]["uuid"]
        .as_str()
        .expect("a database has an id")
        .to_owned();
    let sql = "CREATE TABLE note (text TEXT); INSERT INTO note VALUES ('remember');";
    bench
        .run(
            "w",
            &[
                "d1",
                "execute",
                "notes",
                "--remote",
                "--yes",
                "--command",
                sql,
            ],
        )
        .await;
    let code = "export default { async fetch(r, env) { return new Response(await env.DB.prepare('SELECT text FROM note').first('text')); } };";
    let binding =
        json!({"d1_databases": [{"binding": "DB", "database_name": "notes", "database_id": id}]});
    project(&bench, "w", code, &binding);
    bench.run("w", &["deploy"]).await;
    assert_eq!(bench.visit("w").await, "remember");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "installs and runs wrangler"]
async fn a_bucket_is_shared_by_wrangler_and_a_worker() {
    let bench = Bench::wrangler().await;
    project(
        &bench,
        "w",
        "export default { fetch() { return new Response('') } };",
        &json!({}),
    );
    bench.run("w", &["r2", "bucket", "create", "files"]).await;
    bench.write("w", "hello.txt", "hello");
    let put = [
        "r2",
        "object",
        "put",
        "files/hello.txt",
        "--file",
        "hello.txt",
        "--remote",
    ];
    bench.run("w", &put).await;
    let code = "export default { async fetch(r, env) { return new Response((await env.R2.get('hello.txt')).body); } };";
    let binding = json!({"r2_buckets": [{"binding": "R2", "bucket_name": "files"}]});
    project(&bench, "w", code, &binding);
    bench.run("w", &["deploy"]).await;
    assert_eq!(bench.visit("w").await, "hello");
}
