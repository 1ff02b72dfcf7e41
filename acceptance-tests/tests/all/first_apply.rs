//! The first applies of a Worker: one upload each, with what it needs and nothing else.

use acceptance_tests::stage::Stage;
use serde_json::json;

use super::counter::{CHAT, only_change};

/// S1.
#[tokio::test]
async fn a_first_apply_is_one_upload_and_the_namespace_is_bound() {
    let stage = Stage::with(CHAT).await;
    let plan = stage.workspace.plan(&[]).await;
    plan.assert_says("2 to add, 0 to change, 0 to destroy");
    plan.assert_says("create rooms: Room (SQLite)");
    stage.apply(&[]).await;
    let uploads = stage.uploads("chat");
    assert_eq!(uploads.len(), 1);
    let bindings = &uploads[0]["bindings"];
    assert_eq!(bindings[0]["class_name"], "Room", "{bindings}");
    let account = stage.cloudflare.account();
    let [namespace] = &account.namespaces[..] else {
        panic!("there should be one: {:?}", account.namespaces);
    };
    assert!(namespace.sqlite);
    let state = stage.workspace.resource("cloudflare_worker.chat").await;
    for id in [
        &state["bindings"]["ROOMS"]["namespace_id"],
        &state["durable_object_namespaces"]["rooms"]["namespace_id"],
    ] {
        assert_eq!(*id, namespace.id);
    }
    assert_eq!(stage.visit("chat").await, "hello 1");
}

/// S2 and S5: whatever the migration tag is by then.
#[tokio::test]
async fn a_change_of_code_shows_its_hash_and_changes_no_class() {
    let stage = Stage::with(CHAT).await;
    stage.apply(&[]).await;
    assert_eq!(stage.visit("chat").await, "hello 1");
    let before = stage.namespaces();
    let tag = || {
        stage.cloudflare.account().scripts["chat"]
            .migration_tag
            .clone()
    };
    for (foreign, text) in [(None, "hi"), (Some("feature-x-9"), "hey")] {
        if let Some(foreign) = foreign {
            let action = acceptance_tests::cloudflare::Action::SetMigrationTag {
                script: "chat".into(),
                tag: Some(foreign.into()),
            };
            let done = stage.cloudflare.act(action).await;
            done.expect("the Worker is there");
            let same = &["-var", "greeting=hi"];
            stage.workspace.assert_plan_is_empty(same).await;
            stage.workspace.refresh(same).await;
        }
        let (before_tag, variable) = (tag(), format!("greeting={text}"));
        let changed = &["-var", variable.as_str()];
        stage.cloudflare.clear_calls();
        let (actions, attributes) = only_change(&stage, changed).await;
        assert_eq!(actions, json!(["update"]));
        assert_eq!(attributes, ["content_sha256", "etag", "script"]);
        stage.apply(changed).await;
        let uploads = stage.uploads("chat");
        assert_eq!(uploads.len(), 1);
        assert!(uploads[0].get("migrations").is_none());
        assert_eq!(tag(), before_tag);
        assert_eq!(stage.namespaces(), before);
    }
    assert_eq!(stage.visit("chat").await, "hey 2");
}
