//! Answers that no client should ever get, and answers of a Cloudflare that has grown since. S34.

use acceptance_tests::cloudflare::{Action, Misbehaviour};
use acceptance_tests::stage::Stage;
use serde_json::json;

use super::counter::CHAT;

/// What a refresh reads.
const READS: [&str; 4] = [
    "*/workers/scripts",
    "*/settings",
    "*/scripts/chat/subdomain",
    "*/durable_objects/namespaces",
];

#[tokio::test]
async fn an_answer_that_makes_no_sense_is_an_error_and_the_state_stays() {
    let stage = Stage::with(CHAT).await;
    stage.apply(&[]).await;
    assert_eq!(stage.visit("chat").await, "hello 1");
    let before = stage.workspace.read("terraform.tfstate");
    for path in READS.into_iter().chain(["*"]) {
        for misbehaviour in [
            Misbehaviour::Html { status: 502 },
            Misbehaviour::Html { status: 200 },
            Misbehaviour::Truncated,
            Misbehaviour::NullResult,
        ] {
            let what = format!("{misbehaviour:?} {path}");
            stage
                .cloudflare
                .add_fault(misbehaviour.times(1000, "GET", path));
            let run = stage
                .workspace
                .run(&["apply", "-refresh-only", "-auto-approve"])
                .await;
            stage.cloudflare.faults().clear();
            assert!(!run.status.success(), "{what}: {run}");
            run.assert_never_says("panic");
            run.assert_says("Cannot read Worker chat");
            let after = stage.workspace.read("terraform.tfstate");
            assert_eq!(after, before, "{what}");
        }
    }
    stage.workspace.assert_plan_is_empty(&[]).await;
    assert_eq!(stage.visit("chat").await, "hello 2");
}

#[tokio::test]
async fn a_kind_of_binding_that_nobody_knows_yet_is_no_drift_and_survives() {
    let stage = Stage::with(CHAT).await;
    stage.apply(&[]).await;
    let binding =
        json!({"name": "STORE", "type": "quantum_store", "store_id": 7, "mode": {"a": []}});
    let action = Action::SetBinding {
        script: "chat".into(),
        binding: binding.as_object().cloned().expect("it is one"),
    };
    let done = stage.cloudflare.act(action).await;
    done.expect("another tool can do that");
    stage.workspace.assert_plan_is_empty(&[]).await;
    stage.apply(&["-var", "greeting=hi"]).await;
    let account = stage.cloudflare.account();
    let kept = account.scripts["chat"]
        .bindings
        .iter()
        .find(|it| it.name == "STORE");
    assert_eq!(kept.map(|it| it.kind.as_str()), Some("quantum_store"));
    assert_eq!(stage.visit("chat").await, "hi 1");
}

/// A delete that cannot look into a namespace is refused, whichever way the look fails.
#[tokio::test]
async fn a_look_into_a_namespace_that_makes_no_sense_is_no_permission() {
    let stage = Stage::with(CHAT).await;
    stage.apply(&[]).await;
    assert_eq!(stage.visit("chat").await, "hello 1");
    stage.cloudflare.clear_calls();
    for misbehaviour in [
        Misbehaviour::Html { status: 502 },
        Misbehaviour::Html { status: 404 },
        Misbehaviour::Truncated,
        Misbehaviour::NullResult,
        Misbehaviour::Error {
            status: 404,
            code: 10007,
            message: "not found".into(),
        },
    ] {
        stage
            .cloudflare
            .add_fault(misbehaviour.clone().times(1000, "GET", "*/objects"));
        let refused = stage.workspace.destroy_expecting_error(&[]).await;
        refused.assert_says("Cannot see whether class Room holds data");
        stage.cloudflare.faults().clear();
        assert_eq!(stage.writes(), [], "{misbehaviour:?}");
    }
    assert_eq!(stage.visit("chat").await, "hello 2");
}
