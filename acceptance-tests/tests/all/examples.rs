//! Every example, applied as a user would: what it deploys answers, and nothing is left to plan afterwards.

use std::fs;
use std::path::PathBuf;

use acceptance_tests::stage::Stage;
use serde_json::json;

/// An example on a stage of its own.
async fn stage_of(example: &str) -> Stage {
    Stage::of(&examples().join(example)).await
}

/// Destroys what holds data: refused until every namespace consents, which takes an apply but no upload.
async fn destroy_with_consent(stage: &Stage, extra: &[&str]) {
    let refused = stage.workspace.destroy_expecting_error(extra).await;
    refused.assert_says("force_destroy");
    stage
        .workspace
        .write("consent_override.tf", &consent(stage).await);
    stage.cloudflare.clear_calls();
    stage.apply(extra).await;
    let written = stage.writes();
    assert!(written.is_empty(), "consent is kept in state: {written:?}");
    destroy(stage, extra).await;
}

async fn destroy(stage: &Stage, extra: &[&str]) {
    stage.workspace.destroy(extra).await;
    let account = stage.cloudflare.account();
    assert!(account.scripts.is_empty());
    assert!(account.namespaces.is_empty());
    stage.workspace.assert_nothing_left_behind();
}

/// An override file that gives every namespace of the example `force_destroy`.
async fn consent(stage: &Stage) -> String {
    let state = stage.workspace.state_json().await;
    let resources = &state["values"]["root_module"]["resources"];
    let resources = resources.as_array().expect("the example was applied");
    let namespaces = resources
        .iter()
        .filter(|it| it["type"] == "cloudflare_do_namespace");
    namespaces
        .map(|it| {
            let name = it["name"].as_str().expect("a resource has a name");
            format!("resource \"cloudflare_do_namespace\" \"{name}\" {{ force_destroy = true }}\n")
        })
        .collect()
}

fn examples() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples"))
}

#[test]
fn every_example_is_applied_by_a_test() {
    for entry in fs::read_dir(examples()).expect("the examples are there") {
        let name = entry.expect("the examples are readable").file_name();
        let test = format!("stage_of({name:?})");
        assert!(
            include_str!("examples.rs").contains(&test),
            "no test has {test}"
        );
    }
}

#[tokio::test]
async fn minimal_keeps_one_count_for_each_room() {
    let stage = stage_of("minimal").await;
    let run = stage.apply(&[]).await;
    run.assert_says("2 added, 0 changed, 0 destroyed");
    run.assert_says("create chat-rooms: ChatRoom");
    assert_eq!(stage.visitor.read("chat", "/lobby").await, "1");
    assert_eq!(stage.visitor.read("chat", "/lobby").await, "2");
    assert_eq!(stage.visitor.read("chat", "/garden").await, "1");
    assert_eq!(stage.uploads("chat").len(), 1);
    destroy_with_consent(&stage, &[]).await;
}

#[tokio::test]
async fn minimal_is_destroyed_without_consent_while_it_holds_no_data() {
    let stage = stage_of("minimal").await;
    stage.apply(&[]).await;
    destroy(&stage, &[]).await;
}

#[tokio::test]
async fn sqlite_keeps_rows() {
    let stage = stage_of("sqlite").await;
    stage.apply(&[]).await;
    assert_eq!(stage.visitor.read("users", "/?user=ada").await, "1");
    assert_eq!(stage.visitor.read("users", "/?user=ada").await, "2");
    assert_eq!(stage.visitor.read("users", "/?user=grace").await, "1");
    let account = stage.cloudflare.account();
    assert!(account.namespaces.iter().all(|it| it.sqlite));
    destroy_with_consent(&stage, &[]).await;
}

#[tokio::test]
async fn production_plays_one_game_from_two_workers() {
    let stage = stage_of("production").await;
    stage.apply(&[]).await;
    assert_eq!(stage.visit("game-worker").await, "1");
    assert_eq!(stage.visit("lobby").await, "2");
    assert_eq!(stage.visit("game-worker").await, "3");
    let uploads = stage.uploads("lobby");
    let binding = &uploads.last().expect("it was uploaded")["bindings"][0];
    assert_eq!(binding["script_name"], "game-worker");
    assert_eq!(binding["environment"], "production");
    destroy_with_consent(&stage, &[]).await;
}

#[tokio::test]
async fn typescript_bundles_code_sql_and_text() {
    let stage = stage_of("typescript").await;
    stage.apply(&["-var=stage=live"]).await;
    let visit = async |path: &str| stage.visitor.read("guests", path).await;
    let welcome = "Welcome to our guest book (live):";
    assert_eq!(visit("/?name=Ada").await, format!("{welcome} Ada"));
    assert_eq!(visit("/?name=Grace").await, format!("{welcome} Ada, Grace"));
    stage.apply(&["-var=stage=test"]).await;
    let welcome = "Welcome to our guest book (test):";
    assert_eq!(visit("/").await, format!("{welcome} Ada, Grace"));
    destroy_with_consent(&stage, &["-var=stage=test"]).await;
}

#[tokio::test]
async fn bind_to_worker_greets_and_counts() {
    let stage = stage_of("bind-to-worker").await;
    stage.apply(&[]).await;
    assert_eq!(stage.visit("my-worker").await, "Hello, world! 1");
    assert_eq!(stage.visit("my-worker").await, "Hello, world! 2");
    destroy_with_consent(&stage, &[]).await;
}

#[tokio::test]
async fn rename_is_one_line_of_the_plan_and_keeps_the_count() {
    let stage = stage_of("rename").await;
    let renamed = &["-var", "class_name=MyCounter"];
    stage.apply(&[]).await;
    for count in ["1", "2", "3"] {
        assert_eq!(stage.visit("counter").await, count);
    }
    let id = stage.cloudflare.account().namespaces[0].id.clone();

    let plan = stage.workspace.plan(renamed).await;
    plan.assert_says("Plan: 0 to add, 2 to change, 0 to destroy.");
    let sentence = "rename counter: Counter -> MyCounter (data kept)";
    // Before that stand the core's remarks on development overrides.
    let actions = plan
        .stdout
        .lines()
        .skip_while(|it| !it.contains("will perform the following actions"));
    let lines = actions.map(str::trim);
    let told: Vec<_> = lines.clone().filter(|it| it.contains(sentence)).collect();
    assert_eq!(told.len(), 1, "{plan}");
    assert!(told[0].starts_with('+'), "{plan}");
    let gone = lines.filter(|it| it.starts_with("- ") || it.starts_with("-/+"));
    assert_eq!(gone.collect::<Vec<_>>(), Vec::<&str>::new(), "{plan}");

    let plan = stage.workspace.plan_json(renamed).await;
    for change in plan["resource_changes"].as_array().expect("there are some") {
        assert_eq!(change["change"]["actions"], json!(["update"]), "{change}");
    }

    stage.apply(renamed).await.assert_says("2 changed");
    assert_eq!(stage.visit("counter").await, "4");
    let account = stage.cloudflare.account();
    assert_eq!(account.namespaces.len(), 1);
    assert_eq!(account.namespaces[0].id, id);
    assert_eq!(account.namespaces[0].class, "MyCounter");
    destroy_with_consent(&stage, renamed).await;
}

/// S9.
#[tokio::test]
async fn stable_id_change_is_a_replacement_and_refused_while_data_is_there() {
    let stage = stage_of("stable-id").await;
    let changed = &["-var", "stable_id=visits"];
    stage.apply(&[]).await;
    assert_eq!(stage.visit("counter").await, "1");

    stage.cloudflare.clear_calls();
    let refused = stage.workspace.plan_expecting_error(changed).await;
    refused.assert_says("must be replaced");
    refused.assert_says("# forces replacement");
    refused.assert_says("force_destroy");
    stage.workspace.apply_expecting_error(changed).await;
    let calls = stage.cloudflare.calls();
    assert!(calls.iter().all(|call| call.method == "GET"), "{calls:?}");

    stage.workspace.assert_plan_is_empty(&[]).await;
    assert_eq!(stage.visit("counter").await, "2");
    destroy_with_consent(&stage, &[]).await;
}

#[tokio::test]
async fn cross_script_by_reexport_reaches_the_hosts_objects() {
    share_one_counter(stage_of("cross-script-reexport").await).await;
}

#[tokio::test]
async fn cross_script_by_script_name_deploys_both_workers_in_parallel() {
    share_one_counter(stage_of("cross-script-script-name").await).await;
}

async fn share_one_counter(stage: Stage) {
    stage.apply(&[]).await;
    for (script, count) in [("host", "1"), ("client", "2"), ("host", "3")] {
        assert_eq!(stage.visit(script).await, count);
    }
    assert_eq!(stage.cloudflare.account().namespaces.len(), 1);
    destroy_with_consent(&stage, &[]).await;
}

#[tokio::test]
async fn transfer_moves_both_namespaces_and_swaps_their_classes() {
    let stage = stage_of("transfer").await;
    let moved = &["-var", "host=warehouse"];
    let swapped = &["-var", "host=warehouse", "-var", "swapped=true"];
    let both = async |number: usize| {
        for (path, what) in [("/", "visitor"), ("/orders", "order")] {
            let said = stage.visitor.read("shop", path).await;
            assert_eq!(said, format!("{what} {number}"));
        }
    };
    stage.apply(&[]).await;
    both(1).await;
    let ids = |stage: &Stage| {
        let account = stage.cloudflare.account();
        let mut ids: Vec<String> = account.namespaces.iter().map(|it| it.id.clone()).collect();
        ids.sort();
        ids
    };
    let before = ids(&stage);

    let plan = stage.workspace.plan(moved).await;
    plan.assert_says("leave orders: Orders to warehouse (data kept)");
    plan.assert_says("transfer orders: Orders of shop -> Orders (data kept)");
    stage.apply(moved).await;
    both(2).await;
    assert_eq!(ids(&stage), before);

    let plan = stage.workspace.plan(swapped).await;
    plan.assert_says("rename orders: Orders -> Visitors (data kept)");
    plan.assert_says("in 2 uploads");
    stage.apply(swapped).await;
    both(3).await;
    assert_eq!(ids(&stage), before);
    destroy_with_consent(&stage, swapped).await;
}
