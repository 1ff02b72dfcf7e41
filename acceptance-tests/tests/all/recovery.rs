//! What a failure leaves behind, and what the next run makes of it: nothing is lost, and nothing is told wrongly.

use acceptance_tests::cloudflare::{Action, Bucket, Fault, Misbehaviour};
use acceptance_tests::stage::Stage;
use acceptance_tests::terraform::Run;
use serde_json::json;

use super::counter::{self, CHAT, only_change};

const WORKER: &str = "cloudflare_worker.chat";

/// A Worker that was visited once.
async fn visited(configuration: &str) -> Stage {
    let stage = Stage::with(configuration).await;
    stage.apply(&[]).await;
    assert_eq!(stage.visit("chat").await, "hello 1");
    stage.cloudflare.clear_calls();
    stage
}

fn subdomain_is_broken() -> Fault {
    let broken = Misbehaviour::Error {
        status: 500,
        code: 10013,
        message: "An unknown error has occurred.".into(),
    };
    broken.times(1000, "POST", "*/subdomain")
}

async fn act(stage: &Stage, action: Action) {
    let done = stage.cloudflare.act(action).await;
    done.expect("another tool can do that");
}

/// S14 on create.
#[tokio::test]
async fn a_create_that_lacks_its_last_step_succeeds_and_the_next_plan_is_that_step() {
    let stage = Stage::with(CHAT).await;
    stage.cloudflare.add_fault(subdomain_is_broken());
    let run = stage.workspace.apply(&[]).await;
    run.assert_says("Warning: Cannot set `workers_dev` of Worker chat");
    run.assert_says("2 added");
    stage.cloudflare.faults().clear();
    let before = stage.namespaces();

    let (actions, attributes) = only_change(&stage, &[]).await;
    assert_eq!(actions, json!(["update"]));
    assert_eq!(attributes, ["url", "workers_dev"]);
    stage.cloudflare.clear_calls();
    stage.apply(&[]).await;
    let writes = stage.writes();
    assert_eq!(writes.len(), 1, "{writes:?}");
    assert!(writes[0].path.ends_with("/subdomain"), "{writes:?}");
    assert_eq!(stage.namespaces(), before);
    assert_eq!(stage.visit("chat").await, "hello 1");
}

/// S14 on update.
#[tokio::test]
async fn an_update_that_lacks_its_last_step_is_an_error_and_keeps_what_was_done() {
    let closed = CHAT.replace("workers_dev        = true", "workers_dev        = false");
    let stage = visited(&closed).await;
    stage
        .workspace
        .edit("main.tf", "= false\n  script", "= true\n  script");
    stage.cloudflare.add_fault(subdomain_is_broken());
    let renamed = &["-var", "class=Lounge"];
    let run = stage.workspace.apply_expecting_error(renamed).await;
    run.assert_says("Error: Cannot set `workers_dev` of Worker chat");
    stage.cloudflare.faults().clear();

    let state = stage.workspace.resource(WORKER).await;
    let hosted = &state["durable_object_namespaces"]["rooms"];
    assert_eq!(hosted["class_name"], "Lounge");
    let (actions, attributes) = only_change(&stage, renamed).await;
    assert_eq!(actions, json!(["update"]));
    assert_eq!(attributes, ["url", "workers_dev"]);
    stage.cloudflare.clear_calls();
    stage.apply(renamed).await;
    assert_eq!(stage.uploads("chat").len(), 0);
    assert_eq!(stage.visit("chat").await, "hello 2");
}

#[tokio::test]
async fn a_worker_that_was_deleted_elsewhere_is_planned_and_created_again() {
    let stage = visited(CHAT).await;
    act(
        &stage,
        Action::DeleteWorker {
            script: "chat".into(),
        },
    )
    .await;
    let plan = stage.workspace.plan(&[]).await;
    plan.assert_says("1 to add, 0 to change, 0 to destroy");
    stage.apply(&[]).await;
    assert_eq!(stage.visit("chat").await, "hello 1");
}

#[tokio::test]
async fn destroying_a_worker_that_is_gone_already_is_no_error() {
    let stage = visited(CHAT).await;
    act(
        &stage,
        Action::DeleteWorker {
            script: "chat".into(),
        },
    )
    .await;
    stage.workspace.destroy(&["-refresh=false"]).await;
    assert_eq!(stage.writes(), []);
}

#[tokio::test]
async fn a_destroy_that_meets_another_worker_under_its_name_leaves_it_alone_and_says_so() {
    let stage = Stage::with(CHAT).await;
    stage.apply(&[]).await;
    act(
        &stage,
        Action::DeleteWorker {
            script: "chat".into(),
        },
    )
    .await;
    counter::upload_as_another_tool(&stage, "chat").await;
    stage.cloudflare.clear_calls();
    let plan = stage
        .workspace
        .run(&["plan", "-destroy", "-refresh=false", "-out=plan.tfplan"])
        .await;
    assert!(plan.status.success(), "{plan}");
    let run = stage.workspace.apply(&["plan.tfplan"]).await;
    run.assert_says("Warning: Worker chat was not deleted");
    assert_eq!(stage.writes(), []);
    assert_eq!(stage.visit("chat").await, "other 1");
    assert!(stage.workspace.resource(WORKER).await.is_null());
}

#[tokio::test]
async fn an_update_that_meets_another_worker_under_its_name_stops() {
    let stage = visited(CHAT).await;
    let changed = &["-var", "greeting=hi", "-out=plan.tfplan"];
    stage.workspace.plan(changed).await;
    act(
        &stage,
        Action::DeleteWorker {
            script: "chat".into(),
        },
    )
    .await;
    counter::upload_as_another_tool(&stage, "chat").await;
    stage.cloudflare.clear_calls();
    stage
        .workspace
        .apply_expecting_error(&["plan.tfplan"])
        .await;
    assert_eq!(stage.writes(), []);
    assert_eq!(stage.visit("chat").await, "other 1");
}

#[tokio::test]
async fn a_create_that_is_overtaken_by_another_tool_stops_before_its_upload() {
    let stage = Stage::with(CHAT).await;
    stage.workspace.plan(&["-out=plan.tfplan"]).await;
    counter::upload_as_another_tool(&stage, "chat").await;
    stage.cloudflare.clear_calls();
    let run = stage
        .workspace
        .apply_expecting_error(&["plan.tfplan"])
        .await;
    run.assert_says("Worker chat exists already");
    run.assert_says("id = \"chat\"");
    assert_eq!(stage.writes(), []);
    assert_eq!(stage.visit("chat").await, "other 1");
}

#[tokio::test]
async fn two_resources_never_become_one_worker() {
    // The same code and the same name: neither may take the other for its own interrupted attempt.
    let worker = "resource \"cloudflare_worker\" \"chat\"";
    let (before, rest) = CHAT.split_once(worker).expect("it is there");
    for parallelism in ["-parallelism=1", "-parallelism=10"] {
        let stage = Stage::with(before).await;
        for twin in ["chat", "twin"] {
            let block = format!("{}{rest}", worker.replace("chat", twin));
            stage.workspace.write(&format!("{twin}.tf"), &block);
        }
        let run = stage.workspace.apply_expecting_error(&[parallelism]).await;
        run.assert_says("Error: Two resources are Worker chat");
        run.assert_never_says("bug in the provider");
        // One of them is in state by now, and the other one has its name and its code.
        let run = stage.workspace.plan_expecting_error(&[parallelism]).await;
        run.assert_says("Error: Two resources are Worker chat");
        assert_eq!(stage.uploads("chat").len(), 1, "{run}");
        assert_eq!(stage.namespaces().len(), 1);

        let second = stage.workspace.resource(WORKER).await.is_null();
        stage
            .workspace
            .remove(if second { "chat.tf" } else { "twin.tf" });
        stage.apply(&[]).await;
        assert_eq!(stage.visit("chat").await, "hello 1");
    }
}

/// A Worker that holds data, with `adopt = true` left in its configuration.
const ADOPTED: &str = "  name               = var.name\n  adopt              = true\n";

fn adopting() -> String {
    CHAT.replace("  name               = var.name\n", ADOPTED)
}

/// Whatever the run said: the Worker is there, and so is its data.
async fn assert_data_survived(stage: &Stage, run: &Run, before: &[(String, String)]) {
    run.assert_never_says("panic");
    assert_eq!(stage.namespaces(), before, "{run}");
    assert_eq!(stage.visit("chat").await, "hello 2", "{run}");
}

async fn apply_anyhow(stage: &Stage, extra: &[&str]) -> Run {
    let arguments = [&["apply", "-auto-approve", "-input=false"], extra].concat();
    stage.workspace.run(&arguments).await
}

/// S37 (a).
#[tokio::test]
async fn adoption_and_replace_never_lose_the_worker() {
    let stage = visited(&adopting()).await;
    let before = stage.namespaces();
    let run = apply_anyhow(&stage, &["-replace=cloudflare_worker.chat"]).await;
    assert_data_survived(&stage, &run, &before).await;
    stage.apply(&[]).await;
}

/// S37 (b).
#[tokio::test]
async fn adoption_and_taint_never_lose_the_worker() {
    let stage = visited(&adopting()).await;
    let before = stage.namespaces();
    stage.workspace.run(&["taint", WORKER]).await;
    let run = apply_anyhow(&stage, &[]).await;
    assert_data_survived(&stage, &run, &before).await;
    stage.workspace.run(&["untaint", WORKER]).await;
    stage.apply(&[]).await;
}

/// S37 (c).
#[tokio::test]
async fn adoption_and_a_create_before_destroy_of_a_dependent_never_lose_the_worker() {
    let dependent = r#"
resource "terraform_data" "dependent" {
  input            = cloudflare_worker.chat.name
  triggers_replace = cloudflare_worker.chat.worker_id
  lifecycle {
    create_before_destroy = true
  }
}
"#;
    let stage = visited(&format!("{}{dependent}", adopting())).await;
    let before = stage.namespaces();
    let run = apply_anyhow(&stage, &["-replace=cloudflare_worker.chat"]).await;
    assert_data_survived(&stage, &run, &before).await;
    stage.apply(&[]).await;
}

/// S37 (d).
#[tokio::test]
async fn adoption_and_a_block_renamed_without_moved_never_lose_the_worker() {
    for configuration in [adopting(), CHAT.to_owned()] {
        let stage = visited(&configuration).await;
        let before = stage.namespaces();
        stage.workspace.edit(
            "main.tf",
            "\"cloudflare_worker\" \"chat\"",
            "\"cloudflare_worker\" \"talk\"",
        );
        let run = apply_anyhow(&stage, &["-parallelism=1"]).await;
        assert_data_survived(&stage, &run, &before).await;
        // The way out that the core offers.
        if !run.status.success() && stage.workspace.resource(WORKER).await.is_object() {
            let moved =
                "moved {\n  from = cloudflare_worker.chat\n  to   = cloudflare_worker.talk\n}\n";
            stage.workspace.write("moved.tf", moved);
        }
        stage.apply(&[]).await;
        assert_eq!(stage.namespaces(), before);
    }
}

/// S16.
#[tokio::test]
async fn a_worker_without_a_visible_version_is_never_taken_for_one_without_classes() {
    let stage = visited(CHAT).await;
    stage
        .cloudflare
        .add_fault(Misbehaviour::NoVersions.times(1000, "GET", "*/settings"));
    let renamed = &["-var", "class=Lounge", "-refresh=false"];
    stage.workspace.apply_expecting_error(renamed).await;
    assert_eq!(stage.writes(), []);
    stage.cloudflare.faults().clear();
    stage.apply(&["-var", "class=Lounge"]).await;
    assert_eq!(stage.visit("chat").await, "hello 2");
}

#[tokio::test]
async fn a_rate_limit_slows_a_plan_down_and_nothing_else() {
    let stage = Stage::with(
        r#"
resource "cloudflare_worker" "many" {
  count              = 12
  name               = "worker-${count.index}"
  compatibility_date = "2026-11-01"
  script             = "export default { fetch() { return new Response(\"hello\"); } };"
}
"#,
    )
    .await;
    stage.workspace.apply(&[]).await;
    stage.cloudflare.clear_calls();
    let few = Bucket {
        capacity: 10.0,
        per_second: 10.0,
    };
    stage.cloudflare.faults().set_bucket(Some(few));
    stage.workspace.assert_plan_is_empty(&[]).await;
    assert_eq!(stage.writes(), []);
}

#[tokio::test]
async fn a_listing_that_lags_behind_a_create_loses_nothing() {
    let stage = Stage::with(CHAT).await;
    for path in ["*/workers/scripts", "*/durable_objects/namespaces"] {
        stage
            .cloudflare
            .add_fault(Misbehaviour::Stale.times(1000, "GET", path));
    }
    stage.workspace.apply(&[]).await;
    let before = stage.namespaces();
    // The Worker itself answers, so nobody takes it for deleted.
    let plan = stage.workspace.plan(&[]).await;
    plan.assert_says("0 to add, 1 to change, 0 to destroy");
    stage.cloudflare.faults().clear();
    stage.apply(&[]).await;
    assert_eq!(stage.namespaces(), before);
    assert_eq!(stage.visit("chat").await, "hello 1");
}

#[tokio::test]
async fn a_listing_that_lags_behind_a_rename_of_a_class_is_no_reason_to_undo_it() {
    let stage = visited(CHAT).await;
    let before = stage.namespaces()[0].1.clone();
    stage
        .cloudflare
        .add_fault(Misbehaviour::Stale.times(6, "GET", "*/durable_objects/namespaces"));
    let renamed = &["-var", "class=Lounge"];
    stage.workspace.apply(renamed).await;
    apply_anyhow(&stage, renamed).await;
    stage.cloudflare.faults().clear();
    stage.apply(renamed).await;
    assert_eq!(stage.namespaces(), [("chat/Lounge".to_owned(), before)]);
    assert_eq!(stage.visit("chat").await, "hello 2");
}
