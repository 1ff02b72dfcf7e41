//! Runs that end in the middle: interrupted by their user, killed, or overtaken by another tool.

use std::time::Duration;

use acceptance_tests::cloudflare::{Action, Misbehaviour};
use acceptance_tests::stage::Stage;
use acceptance_tests::terraform::Running;

use super::counter::{self, CHAT};

/// Waits until the API has seen a call, which is when the core is where the test wants it.
pub async fn until_called(stage: &Stage, method: &str, ending: &str) {
    let seen = async {
        while !stage
            .cloudflare
            .calls()
            .iter()
            .any(|it| it.method == method && it.path.ends_with(ending))
        {
            tokio::task::yield_now().await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(60), seen).await;
    waited.unwrap_or_else(|_| panic!("there was no {method} …{ending}"));
}

pub fn start_apply(stage: &Stage, extra: &[&str]) -> Running {
    let arguments: Vec<&str> = ["apply", "-auto-approve", "-input=false"]
        .iter()
        .chain(extra)
        .copied()
        .collect();
    stage.workspace.spawn(&arguments)
}

/// S15, by Ctrl-C.
#[tokio::test]
async fn ctrl_c_during_a_create_keeps_the_worker_and_does_not_taint_it() {
    let stage = Stage::with(CHAT).await;
    // The upload is under way when the user interrupts, and the call after it is slow.
    let slow = Misbehaviour::Delay { ms: 1500 }.times(1, "POST", "*/subdomain");
    stage.cloudflare.add_fault(slow);
    let apply = start_apply(&stage, &[]);
    until_called(&stage, "PUT", "/scripts/chat").await;
    apply.interrupt();
    let run = apply.wait().await;
    run.assert_never_says("panic");
    assert!(
        !stage
            .workspace
            .resource("cloudflare_worker.chat")
            .await
            .is_null(),
        "{run}"
    );
    let plan = stage.workspace.plan(&[]).await;
    plan.assert_never_says("tainted");
    plan.assert_never_says("must be replaced");
    let before = stage.namespaces();
    stage.apply(&[]).await;
    assert_eq!(stage.namespaces(), before);
    assert_eq!(stage.visit("chat").await, "hello 1");
    stage.workspace.assert_nothing_left_behind();
}

/// S15, by SIGKILL on create.
#[tokio::test]
async fn a_create_that_was_killed_after_its_upload_is_resumed() {
    let stage = Stage::with(CHAT).await;
    let slow = Misbehaviour::Delay { ms: 3000 }.times(1, "POST", "*/subdomain");
    stage.cloudflare.add_fault(slow);
    let mut apply = start_apply(&stage, &[]);
    until_called(&stage, "PUT", "/scripts/chat").await;
    apply.kill();
    drop(apply.wait().await);
    stage.cloudflare.faults().clear();
    let before = stage.namespaces();
    assert_eq!(before.len(), 1);
    stage.cloudflare.clear_calls();

    let run = stage.apply(&[]).await;
    run.assert_says("Going on with an interrupted create");
    assert_eq!(stage.namespaces(), before);
    assert_eq!(
        stage.uploads("chat").len(),
        0,
        "what is there is not uploaded again"
    );
    assert_eq!(stage.visit("chat").await, "hello 1");
}

/// S15, by SIGKILL on update.
#[tokio::test]
async fn an_update_that_was_killed_after_its_upload_converges() {
    let stage = Stage::with(CHAT).await;
    stage.apply(&[]).await;
    assert_eq!(stage.visit("chat").await, "hello 1");
    let before = stage.namespaces()[0].1.clone();
    stage.cloudflare.clear_calls();
    stage
        .cloudflare
        .add_fault(Misbehaviour::Delay { ms: 3000 }.times(
            1,
            "GET",
            "*/durable_objects/namespaces",
        ));
    let renamed = &["-var", "class=Lounge"];
    let mut apply = start_apply(&stage, renamed);
    until_called(&stage, "PUT", "/scripts/chat").await;
    apply.kill();
    drop(apply.wait().await);
    stage.cloudflare.faults().clear();
    stage.apply(renamed).await;
    assert_eq!(stage.namespaces(), [("chat/Lounge".to_owned(), before)]);
    assert_eq!(stage.visit("chat").await, "hello 2");
}

/// Plans, lets another tool act, and applies the plan.
async fn overtaken(action: Action, extra: &[&str]) -> (Stage, acceptance_tests::terraform::Run) {
    let stage = Stage::with(CHAT).await;
    stage.apply(&[]).await;
    assert_eq!(stage.visit("chat").await, "hello 1");
    let plan: Vec<&str> = ["-out=plan.tfplan"].iter().chain(extra).copied().collect();
    stage.workspace.plan(&plan).await;
    stage
        .cloudflare
        .act(action)
        .await
        .expect("another tool can do that");
    stage.cloudflare.clear_calls();
    let run = stage
        .workspace
        .run(&["apply", "-auto-approve", "-input=false", "plan.tfplan"])
        .await;
    (stage, run)
}

/// S6.
#[tokio::test]
async fn a_migration_tag_that_another_tool_moved_is_believed_when_the_namespaces_are_the_same() {
    let moved = Action::SetMigrationTag {
        script: "chat".into(),
        tag: Some("feature-x-9".into()),
    };
    let (stage, run) = overtaken(moved, &["-var", "class=Lounge"]).await;
    assert!(run.status.success(), "{run}");
    assert_eq!(
        stage.uploads("chat")[0]["migrations"]["old_tag"],
        "feature-x-9"
    );
    assert_eq!(stage.visit("chat").await, "hello 2");
    stage
        .workspace
        .assert_plan_is_empty(&["-var", "class=Lounge"])
        .await;
}

/// S6, the variant with a class that is gone.
#[tokio::test]
async fn a_class_that_another_tool_deleted_after_the_plan_stops_the_apply_before_any_write() {
    let deleted = Action::DeleteClass {
        script: "chat".into(),
        class: "Room".into(),
    };
    let (stage, run) = overtaken(deleted, &["-var", "greeting=hi"]).await;
    assert!(!run.status.success(), "{run}");
    run.assert_says("Live namespaces changed since the plan");
    assert_eq!(stage.writes(), []);
}

#[tokio::test]
async fn a_tag_that_moves_between_the_look_and_the_upload_is_looked_at_once_more() {
    let stage = Stage::with(CHAT).await;
    stage.apply(&[]).await;
    let moved = Action::SetMigrationTag {
        script: "chat".into(),
        tag: Some("t2".into()),
    };
    stage
        .cloudflare
        .add_fault(Misbehaviour::Meanwhile { action: moved }.once("PUT", "*/workers/scripts/chat"));
    stage.apply(&["-var", "class=Lounge"]).await;
    assert_eq!(stage.namespaces()[0].0, "chat/Lounge");
}

/// S5.
#[tokio::test]
async fn a_tag_of_another_tool_is_no_reason_to_replay_migrations() {
    let stage = Stage::with(CHAT).await;
    stage.apply(&[]).await;
    let foreign = Action::SetMigrationTag {
        script: "chat".into(),
        tag: Some("feature-x-9".into()),
    };
    stage
        .cloudflare
        .act(foreign)
        .await
        .expect("another tool can do that");
    stage.cloudflare.clear_calls();
    stage.apply(&["-var", "greeting=hi"]).await;
    assert_eq!(stage.uploads("chat").len(), 1);
    assert!(stage.uploads("chat")[0].get("migrations").is_none());
}

/// S38.
#[tokio::test]
async fn a_worker_that_was_renamed_elsewhere_is_found_by_its_id() {
    let stage = Stage::with(CHAT).await;
    stage.apply(&[]).await;
    assert_eq!(stage.visit("chat").await, "hello 1");
    let renamed = Action::RenameWorker {
        from: "chat".into(),
        to: "talk".into(),
    };
    stage
        .cloudflare
        .act(renamed)
        .await
        .expect("another tool can do that");
    let before = stage.namespaces()[0].1.clone();
    let plan = stage.workspace.plan(&[]).await;
    plan.assert_says("0 to add, 1 to change, 0 to destroy");
    stage.apply(&[]).await;
    assert_eq!(stage.namespaces(), [("chat/Room".to_owned(), before)]);
    assert_eq!(stage.visit("chat").await, "hello 2");
}

/// S38, with a different Worker under our name.
#[tokio::test]
async fn another_worker_under_our_name_is_neither_changed_nor_deleted() {
    let stage = Stage::with(CHAT).await;
    stage.apply(&[]).await;
    let account = stage.cloudflare.account();
    let ours = account.scripts["chat"].tag.clone();
    stage
        .cloudflare
        .act(Action::DeleteWorker {
            script: "chat".into(),
        })
        .await
        .expect("another tool can do that");
    counter::upload_as_another_tool(&stage, "chat").await;
    assert_ne!(stage.cloudflare.account().scripts["chat"].tag, ours);
    stage.cloudflare.clear_calls();

    let refused = stage.workspace.plan_expecting_error(&[]).await;
    refused.assert_says("Worker chat exists already");
    refused.assert_says("id = \"chat\"");
    stage
        .workspace
        .run(&["destroy", "-auto-approve", "-input=false", "-refresh=false"])
        .await;
    assert_eq!(stage.writes(), []);
    assert_eq!(stage.visit("chat").await, "other 1");
}

#[tokio::test]
async fn reads_that_go_wrong_change_nothing() {
    let stage = Stage::with(CHAT).await;
    stage.apply(&[]).await;
    let html = Misbehaviour::Html { status: 502 };
    for (misbehaviour, path) in [
        (html.clone(), "*/workers/scripts"),
        (html, "*/settings"),
        (Misbehaviour::Truncated, "*/durable_objects/namespaces"),
        (Misbehaviour::NoVersions, "*/settings"),
        (
            Misbehaviour::Error {
                status: 403,
                code: 10000,
                message: "Authentication error".into(),
            },
            "*/settings",
        ),
    ] {
        stage
            .cloudflare
            .add_fault(misbehaviour.clone().times(50, "GET", path));
        let refused = stage.workspace.plan_expecting_error(&[]).await;
        refused.assert_never_says("panic");
        refused.assert_never_says(stage.cloudflare.token());
        refused.assert_never_says("will be created");
        stage.cloudflare.faults().clear();
        stage.workspace.assert_plan_is_empty(&[]).await;
    }
}

/// S16, and S17 for the rate limit.
#[tokio::test]
async fn what_passes_by_itself_is_waited_for() {
    let stage = Stage::with(&CHAT.replace("max_retries = 1", "max_retries = 4")).await;
    for misbehaviour in [
        Misbehaviour::NoVersions.times(2, "GET", "*/settings"),
        Misbehaviour::RateLimit { retry_after: 1 }.times(2, "GET", "*"),
        Misbehaviour::Throttled.times(1, "GET", "*/workers/scripts"),
        Misbehaviour::Stale.times(3, "GET", "*"),
    ] {
        stage.cloudflare.add_fault(misbehaviour);
    }
    stage.apply(&[]).await;
    assert_eq!(stage.visit("chat").await, "hello 1");
}
