//! The data gate: what holds data is deleted with consent only, and the refusal comes before any write.

use acceptance_tests::cloudflare::Misbehaviour;
use acceptance_tests::stage::Stage;

use super::counter::CHAT;

/// The configuration without its namespace, and code without its class.
const WITHOUT: &str = r#"
resource "cloudflare_worker" "chat" {
  name               = "chat"
  compatibility_date = "2026-11-01"
  workers_dev        = true
  script             = "export default { fetch() { return new Response(\"no more rooms\"); } };"
}
"#;

fn with_consent() -> [&'static str; 2] {
    ["-var", "consent=true"]
}

/// The Worker is there, with data if it was visited, and the next configuration has no namespace.
async fn about_to_drop(consent: bool, visited: bool) -> Stage {
    let stage = Stage::with(CHAT).await;
    if consent {
        stage.apply(&with_consent()).await;
    } else {
        stage.apply(&[]).await;
    }
    if visited {
        assert_eq!(stage.visit("chat").await, "hello 1");
    }
    let main = stage.workspace.read("main.tf");
    let provider = &main[..main.find("provider \"cloudflare\"").expect("it is there")];
    stage
        .workspace
        .write("main.tf", &format!("{provider}{WITHOUT}"));
    stage.cloudflare.clear_calls();
    stage
}

/// S7.
#[tokio::test]
async fn a_namespace_with_data_is_not_dropped_without_consent() {
    let stage = about_to_drop(false, true).await;
    let refused = stage.workspace.plan_expecting_error(&[]).await;
    let id = stage.namespaces()[0].1.clone();
    for part in [
        "Durable Object class Room holds data",
        "stable ID `rooms`",
        id.as_str(),
        "at least 1 stored object",
    ] {
        refused.assert_says(part);
    }
    refused.assert_says("bring the stable ID back");
    refused.assert_says("force_destroy = true");
    stage.workspace.apply_expecting_error(&[]).await;
    assert_eq!(stage.writes(), []);
    assert_eq!(stage.visit("chat").await, "hello 2");
}

/// S7, the namespace that holds nothing.
#[tokio::test]
async fn an_empty_namespace_goes_in_one_apply_with_a_warning() {
    let stage = about_to_drop(false, false).await;
    let plan = stage.workspace.plan(&[]).await;
    plan.assert_says("Durable Object class Room will be deleted");
    plan.assert_says("delete rooms: Room (its data is deleted)");
    stage.apply(&[]).await;
    assert_eq!(stage.namespaces(), []);
    assert_eq!(stage.visit("chat").await, "no more rooms");
}

/// S8.
#[tokio::test]
async fn consent_that_was_applied_before_deletes_data_in_one_apply() {
    let stage = about_to_drop(true, true).await;
    let plan = stage.workspace.plan(&[]).await;
    plan.assert_says("Data of Durable Object class Room will be deleted");
    stage.apply(&[]).await;
    assert_eq!(stage.namespaces(), []);
    assert_eq!(stage.uploads("chat").len(), 1);
}

#[tokio::test]
async fn consent_is_withdrawn_by_removing_the_line() {
    let stage = Stage::with(CHAT).await;
    stage.apply(&with_consent()).await;
    assert_eq!(stage.visit("chat").await, "hello 1");
    stage.cloudflare.clear_calls();
    stage.apply(&[]).await;
    assert_eq!(stage.writes(), [], "consent is only kept in state");
    let refused = stage.workspace.destroy_expecting_error(&[]).await;
    refused.assert_says("force_destroy");
    assert_eq!(stage.writes(), []);
}

#[tokio::test]
async fn a_namespace_that_cannot_be_seen_into_counts_as_full() {
    let stage = about_to_drop(false, false).await;
    let broken = Misbehaviour::Error {
        status: 500,
        code: 10013,
        message: "An unknown error has occurred.".into(),
    };
    stage
        .cloudflare
        .add_fault(broken.times(50, "GET", "*/objects"));
    let refused = stage.workspace.plan_expecting_error(&[]).await;
    refused.assert_says("Cannot see whether class Room holds data");
    assert_eq!(stage.writes(), []);
}

#[tokio::test]
async fn data_that_is_stored_after_the_plan_is_seen_before_the_delete() {
    let stage = Stage::with(CHAT).await;
    stage.apply(&[]).await;
    stage
        .workspace
        .plan(&["-destroy", "-out=destroy.tfplan"])
        .await;
    assert_eq!(stage.visit("chat").await, "hello 1");
    stage.cloudflare.clear_calls();
    let refused = stage
        .workspace
        .run(&["apply", "-auto-approve", "-input=false", "destroy.tfplan"])
        .await;
    assert!(!refused.status.success(), "{refused}");
    refused.assert_says("holds data");
    assert_eq!(stage.writes(), []);
    assert_eq!(stage.visit("chat").await, "hello 2");
}

#[tokio::test]
async fn data_that_is_stored_after_the_plan_of_a_drop_is_seen_before_the_upload() {
    let stage = about_to_drop(false, false).await;
    stage.workspace.plan(&["-out=drop.tfplan"]).await;
    assert_eq!(stage.visit("chat").await, "hello 1");
    stage.cloudflare.clear_calls();
    let refused = stage
        .workspace
        .run(&["apply", "-auto-approve", "-input=false", "drop.tfplan"])
        .await;
    assert!(!refused.status.success(), "{refused}");
    refused.assert_says("holds data");
    assert_eq!(stage.writes(), []);
}

/// S37 (a) and (b) without `adopt`.
#[tokio::test]
async fn replacing_a_worker_that_holds_data_is_refused_and_keeps_it() {
    let stage = Stage::with(CHAT).await;
    stage.apply(&[]).await;
    assert_eq!(stage.visit("chat").await, "hello 1");
    stage.cloudflare.clear_calls();
    let replace = &["-replace=cloudflare_worker.chat"];
    stage
        .workspace
        .plan_expecting_error(replace)
        .await
        .assert_says("holds data");
    stage
        .workspace
        .run(&["taint", "cloudflare_worker.chat"])
        .await;
    let refused = stage.workspace.apply_expecting_error(&[]).await;
    refused.assert_says("holds data");
    assert_eq!(stage.writes(), []);
    stage
        .workspace
        .run(&["untaint", "cloudflare_worker.chat"])
        .await;
    stage.workspace.assert_plan_is_empty(&[]).await;
    assert_eq!(stage.visit("chat").await, "hello 2");
}

#[tokio::test]
async fn adoption_left_in_the_configuration_never_loses_the_worker() {
    let adopting = CHAT.replace(
        "workers_dev        = true",
        "workers_dev        = true\n  adopt = true",
    );
    let first = Stage::with(&adopting).await;
    first.apply(&[]).await;
    assert_eq!(first.visit("chat").await, "hello 1");
    let before = first.namespaces();

    // A dependent with create_before_destroy would do the same.
    let early = adopting.replace(
        "  adopt = true",
        "  adopt = true\n  lifecycle {\n    create_before_destroy = true\n  }",
    );
    let main = first.workspace.read("main.tf");
    let provider = &main[..main.find("provider \"cloudflare\"").expect("it is there")];
    first
        .workspace
        .write("main.tf", &format!("{provider}{early}"));
    first
        .workspace
        .run(&[
            "apply",
            "-auto-approve",
            "-input=false",
            "-replace=cloudflare_worker.chat",
        ])
        .await;
    first
        .workspace
        .run(&["taint", "cloudflare_worker.chat"])
        .await;
    first
        .workspace
        .run(&["apply", "-auto-approve", "-input=false"])
        .await;
    first
        .workspace
        .run(&["untaint", "cloudflare_worker.chat"])
        .await;
    assert_eq!(first.namespaces(), before);

    // The block under another name, without `moved`: the old one is destroyed, the new one created.
    let moved = early.replace(
        "\"cloudflare_worker\" \"chat\"",
        "\"cloudflare_worker\" \"talk\"",
    );
    first
        .workspace
        .write("main.tf", &format!("{provider}{moved}"));
    first
        .workspace
        .run(&["apply", "-auto-approve", "-input=false"])
        .await;
    assert_eq!(first.namespaces(), before);
    assert_eq!(first.visit("chat").await, "hello 2");
}
