//! Every write of every flow, answered in every wrong way: applying again always ends where it was meant to, with all data.

use acceptance_tests::cloudflare::Misbehaviour;
use acceptance_tests::stage::Stage;

use super::counter::CHAT;

/// Applies while something goes wrong, and again if that failed; sees that all is as it was meant to be.
async fn converge(stage: &Stage, what: &str, arguments: &[&str]) {
    let all: Vec<&str> = ["apply", "-auto-approve", "-input=false"]
        .iter()
        .chain(arguments)
        .copied()
        .collect();
    let first = stage.workspace.run(&all).await;
    first.assert_never_says("panic");
    first.assert_never_says("bug in the provider");
    stage.cloudflare.faults().clear();
    if !first.status.success() {
        let tainted = stage.workspace.plan(arguments).await;
        tainted.assert_never_says("is tainted");
        tainted.assert_never_says("must be replaced");
        stage.workspace.apply(arguments).await;
    } else if stage.workspace.plan_exit_code(arguments).await == Some(2) {
        // A create that lacks its last step is a success with a warning; the next apply makes that step.
        first.assert_says("Warning:");
        first.assert_says("Run apply again to finish what is missing.");
        stage.workspace.apply(arguments).await;
    }
    stage.workspace.assert_plan_is_empty(arguments).await;
    let account = stage.cloudflare.account();
    assert_eq!(account.scripts.len(), 1, "{what}");
    assert_eq!(account.namespaces.len(), 1, "{what}");
}

fn misbehaviours(method: &str) -> Vec<Misbehaviour> {
    let mut all = vec![Misbehaviour::Truncated, Misbehaviour::Html { status: 502 }];
    if method != "GET" {
        all.extend([
            Misbehaviour::CloseBefore,
            Misbehaviour::CloseAfterCommit,
            Misbehaviour::ErrorAfterCommit,
            Misbehaviour::Error {
                status: 500,
                code: 10013,
                message: "An unknown error has occurred.".into(),
            },
        ]);
    }
    all
}

/// How often in a row a call goes wrong: once, and more often than anybody tries again.
const TIMES: [u32; 2] = [1, 20];

/// S13 on create.
#[tokio::test]
async fn a_create_converges_whichever_answer_is_lost() {
    for (method, path) in [
        ("PUT", "*/workers/scripts/chat"),
        ("POST", "*/subdomain"),
        ("GET", "*/workers/services/chat"),
        ("GET", "*/durable_objects/namespaces"),
    ] {
        for misbehaviour in misbehaviours(method) {
            for times in TIMES {
                let what = format!("{method} {path}: {misbehaviour:?} x {times}");
                let stage = Stage::with(CHAT).await;
                stage
                    .cloudflare
                    .add_fault(misbehaviour.clone().times(times, method, path));
                converge(&stage, &what, &[]).await;
                assert_eq!(stage.visitor.read("chat", "/").await, "hello 1", "{what}");
            }
        }
    }
}

/// Makes one change again and again, each time with another answer lost, on a Worker that holds data.
async fn change_again_and_again(writes: &[(&str, &str)], variable: &str, values: [&str; 2]) {
    let stage = Stage::with(CHAT).await;
    stage.workspace.apply(&[]).await;
    let id = stage.cloudflare.account().namespaces[0].id.clone();
    let (mut count, mut turn) = (0, 0);
    for (method, path) in writes {
        for misbehaviour in misbehaviours(method) {
            for times in TIMES {
                let what = format!("{method} {path}: {misbehaviour:?} x {times}");
                turn += 1;
                let value = values[turn % 2];
                stage
                    .cloudflare
                    .add_fault(misbehaviour.clone().times(times, method, path));
                converge(&stage, &what, &["-var", &format!("{variable}={value}")]).await;
                assert_eq!(stage.cloudflare.account().namespaces[0].id, id, "{what}");
                count += 1;
                let script = if variable == "name" { value } else { "chat" };
                let text = stage.visitor.read(script, "/").await;
                let greeting = if variable == "greeting" {
                    value
                } else {
                    "hello"
                };
                assert_eq!(text, format!("{greeting} {count}"), "{what}");
            }
        }
    }
}

/// S13 on update.
#[tokio::test]
async fn a_change_of_code_converges_whichever_answer_is_lost() {
    let writes = [("PUT", "*/workers/scripts/chat"), ("GET", "*/settings")];
    change_again_and_again(&writes, "greeting", ["hello", "good morning"]).await;
}

/// S13 on update, with a class change.
#[tokio::test]
async fn a_renamed_class_keeps_its_data_whichever_answer_is_lost() {
    let writes = [
        ("PUT", "*/workers/scripts/chat"),
        ("GET", "*/workers/services/chat"),
    ];
    change_again_and_again(&writes, "class", ["Room", "Lounge"]).await;
}

/// S38, a rename of ours whose answer is lost.
#[tokio::test]
async fn a_renamed_worker_keeps_its_data_whichever_answer_is_lost() {
    change_again_and_again(
        &[("PATCH", "*/workers/services/*")],
        "name",
        ["chat", "talk"],
    )
    .await;
}

#[tokio::test]
async fn a_destroy_converges_whichever_answer_is_lost() {
    let stage = Stage::with(CHAT).await;
    let consent = &["-var", "consent=true"];
    for misbehaviour in misbehaviours("DELETE") {
        for times in TIMES {
            stage.workspace.apply(consent).await;
            assert_eq!(stage.visitor.read("chat", "/").await, "hello 1");
            let fault = misbehaviour
                .clone()
                .times(times, "DELETE", "*/workers/scripts/chat");
            stage.cloudflare.add_fault(fault);
            let run = [
                "destroy",
                "-auto-approve",
                "-input=false",
                consent[0],
                consent[1],
            ];
            let first = stage.workspace.run(&run).await;
            stage.cloudflare.faults().clear();
            if !first.status.success() {
                stage.workspace.destroy(consent).await;
            }
            assert!(
                stage.cloudflare.account().scripts.is_empty(),
                "{misbehaviour:?} x {times}"
            );
            let left = stage.workspace.state_json().await;
            assert!(
                left["values"].is_null(),
                "{misbehaviour:?} x {times}: {left}"
            );
        }
    }
}
