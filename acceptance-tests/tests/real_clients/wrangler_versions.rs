//! Wrangler: versions that are not deployed at once, deployments, and the way back.

use serde_json::{Value, json};

use crate::bench::Bench;
use crate::wrangler::project;

fn says(text: &str) -> String {
    format!("export default {{ fetch() {{ return new Response('{text}'); }} }};")
}

/// The ids of all versions, the newest last.
async fn versions(bench: &Bench) -> Vec<String> {
    let listed = bench.run("w", &["versions", "list", "--json"]).await.json();
    let mut listed: Vec<Value> = listed.as_array().cloned().unwrap_or_default();
    listed.sort_by_key(|version| version["number"].as_u64());
    let ids = listed
        .iter()
        .map(|it| it["id"].as_str().unwrap_or_default().to_owned());
    ids.collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "installs and runs wrangler"]
async fn a_version_is_uploaded_deployed_and_rolled_back() {
    let bench = Bench::wrangler().await;
    project(&bench, "w", &says("one"), &json!({}));
    bench.run("w", &["deploy"]).await;
    assert_eq!(bench.visit("w").await, "one");

    project(&bench, "w", &says("two"), &json!({}));
    let upload = [
        "versions",
        "upload",
        "--message",
        "the second",
        "--tag",
        "two",
    ];
    bench.run("w", &upload).await;
    assert_eq!(bench.visit("w").await, "one", "an upload is no deployment");
    let ids = versions(&bench).await;
    assert_eq!(ids.len(), 2);
    let shown = bench.run("w", &["versions", "view", &ids[1]]).await;
    assert!(shown.says("the second"), "{}", shown.stdout);

    let whole = format!("{}@100%", ids[1]);
    bench
        .run("w", &["versions", "deploy", &whole, "--yes"])
        .await;
    assert_eq!(bench.visit("w").await, "two");

    bench
        .run("w", &["rollback", &ids[0], "--yes", "--message", "back"])
        .await;
    assert_eq!(bench.visit("w").await, "one");

    let deployments = bench
        .run("w", &["deployments", "list", "--json"])
        .await
        .json();
    let mut deployed: Vec<&Value> = deployments.as_array().into_iter().flatten().collect();
    deployed.sort_by_key(|it| it["created_on"].as_str());
    let served: Vec<&Value> = deployed
        .iter()
        .map(|it| &it["versions"][0]["version_id"])
        .collect();
    assert_eq!(served, [&ids[0], &ids[1], &ids[0]]);
    let status = bench
        .run("w", &["deployments", "status", "--json"])
        .await
        .json();
    assert_eq!(status["versions"][0]["version_id"], json!(ids[0]));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "installs and runs wrangler"]
async fn a_secret_belongs_to_a_version() {
    let bench = Bench::wrangler().await;
    let code = "export default { fetch(r, env) { return new Response(env.TOKEN ?? 'none'); } };";
    project(&bench, "w", code, &json!({}));
    bench.run("w", &["deploy"]).await;
    bench
        .run_with("w", &["versions", "secret", "put", "TOKEN"], "s3cr3t")
        .await;
    assert_eq!(bench.visit("w").await, "none");
    let ids = versions(&bench).await;
    let whole = format!("{}@100%", ids.last().expect("there are versions"));
    bench
        .run("w", &["versions", "deploy", &whole, "--yes"])
        .await;
    assert_eq!(bench.visit("w").await, "s3cr3t");
}
