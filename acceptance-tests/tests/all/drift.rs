//! What others do to a Worker between two runs: the plan shows it, and the apply repairs what is ours.

use acceptance_tests::cloudflare::{Action, Misbehaviour};
use acceptance_tests::stage::Stage;

use super::counter::{CHAT, OTHER, upload_as_another_tool, upload_code};

/// The counter with a variable in `vars`, deployed and visited once.
async fn deployed() -> Stage {
    let chat = CHAT.replace(
        "  bindings = {",
        "  vars = {\n    MODE = \"quiet\"\n  }\n  bindings = {",
    );
    let stage = Stage::with(&chat).await;
    stage.apply(&[]).await;
    assert_eq!(stage.visit("chat").await, "hello 1");
    stage.cloudflare.clear_calls();
    stage
}

fn set_var(name: &str, text: &str) -> Action {
    Action::SetVar {
        script: "chat".into(),
        name: name.into(),
        text: text.into(),
    }
}

fn remove_binding(name: &str) -> Action {
    Action::RemoveBinding {
        script: "chat".into(),
        name: name.into(),
    }
}

/// The bindings of the Worker, by name, with the text of those that have one.
fn bindings(stage: &Stage) -> Vec<String> {
    let account = stage.cloudflare.account();
    let mut all: Vec<String> = account.scripts["chat"]
        .bindings
        .iter()
        .map(
            |it| match it.members.get("text").and_then(|it| it.as_str()) {
                Some(text) if it.kind == "plain_text" => format!("{}={text}", it.name),
                _ => it.name.clone(),
            },
        )
        .collect();
    all.sort();
    all
}

#[tokio::test]
async fn changed_bindings_are_shown_and_put_back_in_one_upload() {
    for (action, shown) in [
        (set_var("MODE", "loud"), "MODE"),
        (set_var("EXTRA", "from the dashboard"), "EXTRA"),
        (remove_binding("MODE"), "MODE"),
        (remove_binding("ROOMS"), "ROOMS"),
    ] {
        let stage = deployed().await;
        let before = stage.namespaces();
        stage
            .cloudflare
            .act(action.clone())
            .await
            .expect("the Worker is there");
        let plan = stage.workspace.plan(&[]).await;
        plan.assert_says("0 to add, 1 to change, 0 to destroy");
        plan.assert_says(shown);
        stage.apply(&[]).await;
        assert_eq!(bindings(&stage), ["MODE=quiet", "ROOMS"], "{action:?}");
        assert_eq!(stage.uploads("chat").len(), 1, "{action:?}");
        assert_eq!(stage.namespaces(), before, "{action:?}");
        assert_eq!(stage.visit("chat").await, "hello 2", "{action:?}");
    }
}

#[tokio::test]
async fn what_is_not_ours_is_no_drift() {
    let stage = deployed().await;
    for action in [
        Action::SetSecret {
            script: "chat".into(),
            name: "TOKEN".into(),
            text: "nobody-may-see-this".into(),
        },
        Action::SetSetting {
            script: "chat".into(),
            name: "observability".into(),
            value: serde_json::json!({"enabled": true}),
        },
    ] {
        stage
            .cloudflare
            .act(action)
            .await
            .expect("the Worker is there");
    }
    stage.workspace.assert_plan_is_empty(&[]).await;
    stage.apply(&["-var", "greeting=hi"]).await;
    assert_eq!(bindings(&stage), ["MODE=quiet", "ROOMS", "TOKEN"]);
    assert_eq!(stage.visit("chat").await, "hi 2");
}

/// S18.
#[tokio::test]
async fn an_answer_in_another_order_with_unknown_fields_is_no_drift() {
    let stage = deployed().await;
    stage
        .cloudflare
        .add_fault(Misbehaviour::Unfamiliar.always());
    stage.workspace.assert_plan_is_empty(&[]).await;
    stage.workspace.refresh(&[]).await;
    stage.workspace.assert_plan_is_empty(&[]).await;
}

#[tokio::test]
async fn code_that_another_tool_uploaded_is_overwritten_by_ours() {
    let stage = deployed().await;
    stage
        .cloudflare
        .act(Action::ChangeEtag {
            script: "chat".into(),
        })
        .await
        .expect("the Worker is there");
    let plan = stage.workspace.plan(&[]).await;
    plan.assert_says("0 to add, 1 to change, 0 to destroy");
    plan.assert_says("content_sha256");
    stage.apply(&[]).await;
    assert_eq!(stage.uploads("chat").len(), 1);
    assert_eq!(stage.visit("chat").await, "hello 2");
}

#[tokio::test]
async fn a_class_that_was_renamed_outside_is_renamed_back_with_its_data() {
    let stage = deployed().await;
    let before = stage.namespaces();
    stage
        .cloudflare
        .act(Action::RenameClass {
            script: "chat".into(),
            from: "Room".into(),
            to: "Lounge".into(),
        })
        .await
        .expect("the class is there");
    let plan = stage.workspace.plan(&[]).await;
    plan.assert_says("Lounge");
    stage.apply(&[]).await;
    assert_eq!(stage.namespaces(), before);
    assert_eq!(stage.visit("chat").await, "hello 2");
}

#[tokio::test]
async fn a_class_that_was_deleted_outside_is_created_again() {
    let stage = deployed().await;
    let before = stage.namespaces();
    stage
        .cloudflare
        .act(Action::DeleteClass {
            script: "chat".into(),
            class: "Room".into(),
        })
        .await
        .expect("the class is there");
    stage
        .workspace
        .plan(&[])
        .await
        .assert_says("create rooms: Room");
    stage.apply(&[]).await;
    assert_ne!(stage.namespaces(), before);
    assert_eq!(stage.visit("chat").await, "hello 1");
}

#[tokio::test]
async fn tags_that_another_tool_replaced_do_not_lose_the_classes() {
    let stage = deployed().await;
    let before = stage.namespaces();
    stage
        .cloudflare
        .act(Action::SetTags {
            script: "chat".into(),
            tags: vec!["team:x".into()],
        })
        .await
        .expect("the Worker is there");
    stage
        .apply(&["-var", "class=Lounge", "-var", "greeting=hi"])
        .await;
    assert_eq!(
        stage.namespaces(),
        [("chat/Lounge".to_owned(), before[0].1.clone())]
    );
    assert_eq!(stage.visit("chat").await, "hi 2");
    let account = stage.cloudflare.account();
    let tags = &account.scripts["chat"].settings.tags;
    assert!(tags.contains(&"team:x".to_owned()), "{tags:?}");
    assert!(tags.len() > 1, "ours are back: {tags:?}");
}

#[tokio::test]
async fn a_worker_that_was_deleted_outside_is_created_again_or_forgotten() {
    let delete = Action::DeleteWorker {
        script: "chat".into(),
    };
    let stage = deployed().await;
    stage
        .cloudflare
        .act(delete.clone())
        .await
        .expect("it is there");
    stage
        .workspace
        .plan(&[])
        .await
        .assert_says("1 to add, 0 to change, 0 to destroy");
    stage.apply(&[]).await;
    assert_eq!(stage.visit("chat").await, "hello 1");

    stage.cloudflare.act(delete).await.expect("it is there");
    stage.cloudflare.clear_calls();
    stage.workspace.destroy(&[]).await;
    assert_eq!(stage.writes(), []);
}

#[tokio::test]
async fn a_worker_that_somebody_recreated_is_not_taken_for_ours() {
    let stage = deployed().await;
    stage
        .cloudflare
        .act(Action::DeleteWorker {
            script: "chat".into(),
        })
        .await
        .expect("it is there");
    upload_as_another_tool(&stage, "chat").await;
    assert_eq!(stage.visit("chat").await, "other 1");
    stage.cloudflare.clear_calls();
    let refused = stage.workspace.apply_expecting_error(&[]).await;
    refused.assert_says("Worker chat exists already");
    stage.workspace.run(&["destroy", "-auto-approve"]).await;
    assert_eq!(stage.writes(), []);
    assert_eq!(stage.visit("chat").await, "other 2");
}

#[tokio::test]
async fn a_worker_that_was_forgotten_comes_back_by_import_without_an_upload() {
    let stage = deployed().await;
    for address in ["cloudflare_worker.chat", "cloudflare_do_namespace.rooms"] {
        stage.workspace.run(&["state", "rm", address]).await;
    }
    stage
        .workspace
        .import("cloudflare_do_namespace.rooms", "chat/Room")
        .await;
    stage
        .workspace
        .import("cloudflare_worker.chat", "chat")
        .await;
    let namespace = stage
        .workspace
        .resource("cloudflare_do_namespace.rooms")
        .await;
    assert_eq!(namespace["stable_id"], "rooms", "our tag says so");
    stage.apply(&[]).await;
    assert_eq!(stage.uploads("chat").len(), 0);
    assert_eq!(stage.visit("chat").await, "hello 2");
}

#[tokio::test]
async fn destroying_what_holds_data_needs_consent_whole_or_in_part() {
    let stage = deployed().await;
    for extra in [&[][..], &["-target=cloudflare_worker.chat"]] {
        let refused = stage.workspace.destroy_expecting_error(extra).await;
        refused.assert_says("holds data");
    }
    assert_eq!(stage.writes(), []);
    let consent = ["-var", "consent=true"];
    stage.apply(&consent).await;
    assert_eq!(stage.writes(), [], "consent is only kept in state");
    stage
        .workspace
        .destroy(&["-target=cloudflare_worker.chat"])
        .await;
    assert_eq!(stage.namespaces(), []);
    stage.workspace.destroy(&[]).await;
    stage.workspace.assert_nothing_left_behind();
}

#[tokio::test]
async fn a_worker_that_another_one_binds_warns_before_it_goes() {
    let stage = deployed().await;
    let binder = OTHER.replace("export class Room extends DurableObject", "class Room");
    stage.workspace.write("binder.js", &binder);
    stage.workspace.write(
        "binder.tf",
        r#"
resource "cloudflare_worker" "binder" {
  name    = "binder"
  compatibility_date = "2026-11-01"
  modules = { "index.js" = { content_file = "${path.module}/binder.js" } }
  bindings = {
    ROOMS = {
      type        = "durable_object_namespace"
      script_name = "chat"
      class_name  = "Room"
    }
  }
}
"#,
    );
    stage.apply(&["-var", "consent=true"]).await;
    let plan = stage
        .workspace
        .plan(&[
            "-destroy",
            "-target=cloudflare_worker.chat",
            "-var",
            "consent=true",
        ])
        .await;
    plan.assert_says("Other Workers still bind what will be deleted");
    plan.assert_says("`binder`");
}

/// What another tool deploys over ours: one class more, and its own tag.
const WITH_ANOTHER_CLASS: &str = r#"import { DurableObject } from "cloudflare:workers";
export class Room extends DurableObject {
  async fetch() {
    const count = ((await this.ctx.storage.get("count")) ?? 0) + 1;
    await this.ctx.storage.put("count", count);
    return new Response(`theirs ${count}`);
  }
}
export class Extra extends Room {}
export default {
  fetch(request, env) {
    const rooms = new URL(request.url).pathname === "/extra" ? env.EXTRA : env.ROOMS;
    return rooms.get(rooms.idFromName("one")).fetch(request);
  },
};
"#;

/// The counter with that class in its code, hosted under a stable ID or not.
fn with_extra(hosted: bool) -> String {
    let exporting = CHAT
        .replace(
            "    export default {",
            "    export class Extra extends ${var.class} {}\n    export default {",
        )
        .replace("env.ROOMS.get(env.ROOMS", "rooms.get(rooms")
        .replace(
            "        return rooms",
            "        const rooms = env[new URL(request.url).pathname === \"/extra\" ? \"EXTRA\" : \"ROOMS\"];\n        return rooms",
        );
    if !hosted {
        return exporting;
    }
    let namespace = "resource \"cloudflare_do_namespace\" \"extra\" {\n  stable_id  = \"extra\"\n  class_name = \"Extra\"\n}\n";
    let bound = exporting.replace(
        "  bindings = {\n",
        "  bindings = {\n    EXTRA = cloudflare_do_namespace.extra\n",
    );
    format!("{namespace}{bound}")
}

#[tokio::test]
async fn a_class_that_another_tool_created_is_never_deleted_and_can_be_claimed() {
    let stage = Stage::with(CHAT).await;
    stage.apply(&[]).await;
    assert_eq!(stage.visit("chat").await, "hello 1");
    let tag = stage.cloudflare.account().scripts["chat"]
        .migration_tag
        .clone();
    let metadata = serde_json::json!({
        "main_module": "index.js",
        "compatibility_date": "2026-11-01",
        "bindings": [
            {"name": "ROOMS", "type": "durable_object_namespace", "class_name": "Room"},
            {"name": "EXTRA", "type": "durable_object_namespace", "class_name": "Extra"},
        ],
        "migrations": {"old_tag": tag, "new_tag": "w1", "steps": [{"new_sqlite_classes": ["Extra"]}]},
    });
    upload_code(&stage, "chat", &metadata, WITH_ANOTHER_CLASS).await;
    assert_eq!(stage.visitor.read("chat", "/extra").await, "theirs 1");
    let before = stage.namespaces();
    assert_eq!(before.len(), 2);
    stage.cloudflare.clear_calls();

    // Our code does not have the class.
    let refused = stage.workspace.plan_expecting_error(&[]).await;
    refused.assert_says("Class `Extra` is not exported");
    stage.workspace.apply_expecting_error(&[]).await;
    assert_eq!(stage.writes().len(), 0);
    assert_eq!(stage.namespaces(), before);
    assert_eq!(stage.visit("chat").await, "theirs 2");

    // Exported, it stays, and nobody claims it.
    stage.configure(&with_extra(false));
    stage.apply(&[]).await;
    assert_eq!(stage.namespaces(), before);
    let state = stage.workspace.resource("cloudflare_worker.chat").await;
    let hosted = &state["durable_object_namespaces"];
    assert_eq!(hosted["class:Extra"]["class_name"], "Extra");
    assert_eq!(stage.visit("chat").await, "hello 3");

    // A block claims it, with its data.
    stage.configure(&with_extra(true));
    let plan = stage.workspace.plan(&[]).await;
    plan.assert_says("adopt extra: Extra (data kept)");
    stage.apply(&[]).await;
    assert_eq!(stage.namespaces(), before);
    assert_eq!(stage.visitor.read("chat", "/extra").await, "hello 2");
}

/// A class without a stable ID has no block that could give consent; the refusal says how it gets one.
#[tokio::test]
async fn a_worker_with_data_in_an_unclaimed_class_is_not_destroyed() {
    let stage = Stage::with(CHAT).await;
    let consent = ["-var", "consent=true"];
    stage.apply(&consent).await;
    let tag = stage.cloudflare.account().scripts["chat"]
        .migration_tag
        .clone();
    let metadata = serde_json::json!({
        "main_module": "index.js",
        "compatibility_date": "2026-11-01",
        "bindings": [
            {"name": "ROOMS", "type": "durable_object_namespace", "class_name": "Room"},
            {"name": "EXTRA", "type": "durable_object_namespace", "class_name": "Extra"},
        ],
        "migrations": {"old_tag": tag, "new_tag": "w1", "steps": [{"new_sqlite_classes": ["Extra"]}]},
    });
    upload_code(&stage, "chat", &metadata, WITH_ANOTHER_CLASS).await;
    assert_eq!(stage.visitor.read("chat", "/extra").await, "theirs 1");
    stage.cloudflare.clear_calls();
    // A destroy plans normally first, and the code does not have the class.
    let refused = stage.workspace.destroy_expecting_error(&consent).await;
    refused.assert_says("Class `Extra` is not exported");
    refused.assert_says("terraform destroy -refresh=false");
    let without_it = [&consent[..], &["-refresh=false"]].concat();
    let refused = stage.workspace.destroy_expecting_error(&without_it).await;
    refused.assert_says("Durable Object class Extra holds data");
    refused.assert_says("`class_name = \"Extra\"`");
    assert_eq!(stage.writes(), []);
    assert_eq!(stage.visitor.read("chat", "/extra").await, "theirs 2");

    let claimed = with_extra(true).replace(
        "class_name = \"Extra\"\n",
        "class_name = \"Extra\"\n  force_destroy = true\n",
    );
    stage.configure(&claimed);
    stage.apply(&consent).await;
    stage.workspace.destroy(&consent).await;
    assert_eq!(stage.namespaces(), []);
}

/// S24: settings that no attribute says yet.
#[tokio::test]
async fn settings_that_nobody_manages_survive_a_change_of_code_and_of_a_class() {
    let stage = deployed().await;
    let settings = [
        ("tail_consumers", serde_json::json!([{"service": "tail"}])),
        ("limits", serde_json::json!({"cpu_ms": 50})),
        ("placement", serde_json::json!({"mode": "smart"})),
        (
            "observability",
            serde_json::json!({"enabled": true, "head_sampling_rate": 0.5}),
        ),
    ];
    for (name, value) in &settings {
        let action = Action::SetSetting {
            script: "chat".into(),
            name: (*name).into(),
            value: value.clone(),
        };
        let done = stage.cloudflare.act(action).await;
        done.expect("the Worker is there");
    }
    stage.workspace.assert_plan_is_empty(&[]).await;
    for extra in [
        &["-var", "greeting=hi"][..],
        &["-var", "greeting=hi", "-var", "class=Lounge"],
    ] {
        stage.apply(extra).await;
        let account = stage.cloudflare.account();
        for (name, value) in &settings {
            let now = account.scripts["chat"].settings.get(name);
            assert_eq!(now, *value, "{name}");
        }
    }
    assert_eq!(stage.visit("chat").await, "hi 2");
}

#[tokio::test]
async fn tags_that_another_tool_removed_come_back_with_the_next_upload() {
    let stage = deployed().await;
    let ours = stage.cloudflare.account().scripts["chat"]
        .settings
        .tags
        .clone();
    let removed = Action::SetTags {
        script: "chat".into(),
        tags: Vec::new(),
    };
    let done = stage.cloudflare.act(removed).await;
    done.expect("the Worker is there");
    // By its immutable id it is still ours.
    stage.workspace.assert_plan_is_empty(&[]).await;
    stage.apply(&["-var", "greeting=hi"]).await;
    let account = stage.cloudflare.account();
    let tags = &account.scripts["chat"].settings.tags;
    assert_eq!(tags.len(), ours.len());
    let consent = ["-var", "greeting=hi", "-var", "consent=true"];
    stage.apply(&consent).await;
    stage.workspace.destroy(&consent).await;
    assert_eq!(stage.namespaces(), []);
}

#[tokio::test]
async fn dates_flags_and_addresses_that_others_changed_are_shown_and_put_back() {
    let flagged = CHAT.replace(
        "  compatibility_date = \"2026-11-01\"\n",
        "  compatibility_date = \"2026-11-01\"\n  compatibility_flags = [\"nodejs_compat\"]\n",
    );
    let stage = Stage::with(&flagged).await;
    stage.apply(&[]).await;
    assert_eq!(stage.visit("chat").await, "hello 1");
    let metadata = serde_json::json!({
        "main_module": "index.js",
        "compatibility_date": "2026-10-01",
        "bindings": [{"name": "ROOMS", "type": "durable_object_namespace", "class_name": "Room"}],
    });
    upload_code(&stage, "chat", &metadata, OTHER).await;
    let (api, account) = (stage.cloudflare.api_url(), stage.cloudflare.account_id());
    let off = reqwest::Client::new()
        .post(format!(
            "{api}/accounts/{account}/workers/scripts/chat/subdomain"
        ))
        .bearer_auth(stage.cloudflare.token())
        .json(&serde_json::json!({"enabled": false}))
        .send()
        .await
        .expect("local Cloudflare answers");
    assert!(off.status().is_success());
    let plan = stage.workspace.plan(&[]).await;
    for shown in [
        "\"2026-10-01\" -> \"2026-11-01\"",
        "nodejs_compat",
        "false -> true",
        "content_sha256",
    ] {
        plan.assert_says(shown);
    }
    stage.apply(&[]).await;
    let account = stage.cloudflare.account();
    let script = &account.scripts["chat"];
    assert!(script.subdomain.enabled);
    assert_eq!(script.settings.compatibility_flags, ["nodejs_compat"]);
    assert_eq!(stage.visit("chat").await, "hello 2");
}
