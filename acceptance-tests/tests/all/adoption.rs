//! Workers that another tool deployed: imported or adopted without an upload, and without losing anything.

use acceptance_tests::cloudflare::{Action, Misbehaviour};
use acceptance_tests::stage::Stage;
use serde_json::json;

use super::counter::{OTHER, metadata, only_change, upload, upload_as_another_tool, upload_code};

/// What fits the Worker of `upload_as_another_tool`.
const MATCHING: &str = r#"
variable "adopt" {
  type    = bool
  default = null
}

resource "cloudflare_do_namespace" "rooms" {
  stable_id  = "chat-rooms"
  class_name = "Room"
}

resource "cloudflare_worker" "chat" {
  name                = "chat"
  adopt               = var.adopt
  compatibility_date  = "2026-10-01"
  compatibility_flags = ["nodejs_compat"]
  modules = {
    "index.js" = { content_file = "${path.module}/index.js" }
  }
  vars = {
    GREETING = "hi"
  }
  bindings = {
    ROOMS = cloudflare_do_namespace.rooms
  }
}
"#;

/// The Worker is deployed and holds data; the configuration fits it.
async fn deployed(configuration: &str) -> Stage {
    let stage = Stage::with(configuration).await;
    stage.workspace.write("index.js", OTHER);
    upload_as_another_tool(&stage, "chat").await;
    assert_eq!(stage.visit("chat").await, "other 1");
    stage.cloudflare.clear_calls();
    stage
}

/// Nothing but our tag was written, and what the other tool set is still there.
async fn assert_only_our_tag_was_written(stage: &Stage) {
    let writes = stage.writes();
    assert_eq!(writes.len(), 1, "{writes:?}");
    assert!(writes[0].path.ends_with("/script-settings"), "{writes:?}");
    assert_eq!(stage.visit("chat").await, "other 2");
    let account = stage.cloudflare.account();
    let script = &account.scripts["chat"];
    assert_eq!(script.migration_tag.as_deref(), Some("v3"));
    assert!(script.settings.tags.contains(&"team:x".to_owned()));
    let names: Vec<&str> = script.bindings.iter().map(|it| it.name.as_str()).collect();
    assert!(
        names.contains(&"SECRET") && names.contains(&"AI"),
        "{names:?}"
    );
}

/// S28.
#[tokio::test]
async fn an_import_block_takes_a_worker_over_without_an_upload() {
    for id in ["chat", "ACCOUNT/chat"] {
        let stage = deployed(MATCHING).await;
        let id = id.replace("ACCOUNT", stage.cloudflare.account_id());
        let block = format!("import {{\n  to = cloudflare_worker.chat\n  id = {id:?}\n}}\n");
        stage.workspace.write("import.tf", &block);
        let plan = stage.workspace.plan(&[]).await;
        plan.assert_says("1 to import, 1 to add, 1 to change, 0 to destroy");
        plan.assert_says("adopt chat-rooms: Room (data kept)");
        stage.apply(&[]).await;
        assert_only_our_tag_was_written(&stage).await;
    }
}

#[tokio::test]
async fn the_import_command_takes_a_worker_over_without_an_upload() {
    let stage = deployed(MATCHING).await;
    stage
        .workspace
        .import("cloudflare_worker.chat", "chat")
        .await;
    stage.apply(&[]).await;
    assert_only_our_tag_was_written(&stage).await;
}

#[tokio::test]
async fn adoption_needs_consent_and_uploads_nothing_that_is_there() {
    let stage = deployed(MATCHING).await;
    let refused = stage.workspace.plan_expecting_error(&[]).await;
    refused.assert_says("Worker chat exists already");
    refused.assert_says("to = cloudflare_worker.<name of this resource>");
    refused.assert_says("adopt = true");
    assert_eq!(stage.writes(), []);

    let adopt = &["-var", "adopt=true"];
    let run = stage.apply(adopt).await;
    run.assert_says("Nothing will be uploaded.");
    run.assert_says("adopt chat-rooms: Room (data kept)");
    assert_only_our_tag_was_written(&stage).await;
}

/// S24.
#[tokio::test]
async fn what_no_attribute_can_say_survives_every_later_upload() {
    let stage = deployed(MATCHING).await;
    stage.apply(&["-var", "adopt=true"]).await;
    stage.cloudflare.clear_calls();
    stage
        .workspace
        .write("index.js", &OTHER.replace("other", "ours"));
    stage.apply(&["-var", "adopt=true"]).await;
    assert_eq!(stage.visit("chat").await, "ours 2");
    let uploads = stage.uploads("chat");
    assert_eq!(uploads.len(), 1);
    assert_eq!(uploads[0]["observability"], json!({"enabled": true}));
    assert_eq!(uploads[0]["logpush"], json!(true));
    assert_eq!(uploads[0]["placement"], json!({"mode": "smart"}));
    assert!(uploads[0].get("migrations").is_none());
    let account = stage.cloudflare.account();
    let script = &account.scripts["chat"];
    let names: Vec<&str> = script.bindings.iter().map(|it| it.name.as_str()).collect();
    for name in ["ROOMS", "GREETING", "SECRET", "AI"] {
        assert!(names.contains(&name), "{name}: {names:?}");
    }
    assert!(script.settings.tags.contains(&"team:x".to_owned()));
}

#[tokio::test]
async fn a_class_is_taken_over_under_another_name() {
    let renamed = MATCHING.replace(
        "class_name = \"Room\"",
        "class_name = \"Lounge\"\n  previous_class_name = \"Room\"",
    );
    let stage = deployed(&renamed).await;
    stage
        .workspace
        .write("index.js", &OTHER.replace("class Room", "class Lounge"));
    let id = stage.namespaces()[0].1.clone();
    let run = stage.apply(&["-var", "adopt=true"]).await;
    run.assert_says("adopt chat-rooms: Room -> Lounge (data kept)");
    assert_eq!(stage.namespaces(), [("chat/Lounge".to_owned(), id)]);
    assert_eq!(stage.visit("chat").await, "other 2");
}

#[tokio::test]
async fn an_unclaimed_class_is_never_left_beside_a_new_one() {
    let other = MATCHING.replace("class_name = \"Room\"", "class_name = \"Lounge\"");
    let stage = deployed(&other).await;
    stage
        .workspace
        .write("index.js", &OTHER.replace("class Room", "class Lounge"));
    let refused = stage
        .workspace
        .plan_expecting_error(&["-var", "adopt=true"])
        .await;
    refused.assert_says("previous_class_name");
    assert_eq!(stage.writes(), []);
}

#[tokio::test]
async fn alchemys_tags_give_the_stable_ids() {
    for tag in ["alchemy:do:chat-rooms:ROOMS", "alchemy:dos:chat-rooms=Room"] {
        let stage = Stage::with(MATCHING).await;
        stage.workspace.write("index.js", OTHER);
        let mut metadata = metadata();
        metadata["tags"] = json!([tag]);
        upload(&stage, "chat", &metadata).await;
        stage
            .workspace
            .import("cloudflare_worker.chat", "chat")
            .await;
        let state = stage.workspace.resource("cloudflare_worker.chat").await;
        assert_eq!(
            state["durable_object_namespaces"]["chat-rooms"]["class_name"], "Room",
            "{tag}"
        );
        stage.apply(&[]).await;
        let account = stage.cloudflare.account();
        assert!(
            account.scripts["chat"]
                .settings
                .tags
                .contains(&tag.to_owned())
        );
    }
}

#[tokio::test]
async fn a_namespace_is_imported_by_every_form_of_its_id() {
    let stage = deployed(MATCHING).await;
    let (account, id) = (
        stage.cloudflare.account_id().to_owned(),
        stage.namespaces()[0].1.clone(),
    );
    for form in [
        "chat/Room".to_owned(),
        format!("{account}/chat/Room"),
        id.clone(),
        format!("{account}/{id}"),
    ] {
        stage
            .workspace
            .import("cloudflare_do_namespace.rooms", &form)
            .await;
        let state = stage
            .workspace
            .resource("cloudflare_do_namespace.rooms")
            .await;
        assert_eq!(state["stable_id"], "Room", "a provisional one");
        stage
            .workspace
            .run(&["state", "rm", "cloudflare_do_namespace.rooms"])
            .await;
    }
    stage
        .workspace
        .import("cloudflare_do_namespace.rooms", "chat/Room")
        .await;
    stage
        .workspace
        .import("cloudflare_worker.chat", "chat")
        .await;
    let plan = stage.workspace.plan(&[]).await;
    plan.assert_says("0 to add, 2 to change, 0 to destroy");
    stage.apply(&[]).await;
    assert_only_our_tag_was_written(&stage).await;
}

#[tokio::test]
async fn an_id_that_names_nothing_is_a_clear_error() {
    let stage = deployed(MATCHING).await;
    for (address, id, says) in [
        (
            "cloudflare_worker.chat",
            "a/b/c",
            "neither `<name>` nor `<account_id>/<name>`",
        ),
        (
            "cloudflare_worker.chat",
            "missing",
            "non-existent remote object",
        ),
        (
            "cloudflare_do_namespace.rooms",
            "chat",
            "`<script_name>/<class_name>`",
        ),
        (
            "cloudflare_do_namespace.rooms",
            "chat/Missing",
            "lists no such Durable Object namespace",
        ),
    ] {
        let run = stage.workspace.run(&["import", address, id]).await;
        assert!(!run.status.success(), "{run}");
        run.assert_says(says);
    }
}

#[tokio::test]
async fn a_renamed_worker_keeps_everything_but_its_address() {
    let stage = deployed(MATCHING).await;
    stage.apply(&["-var", "adopt=true"]).await;
    upload_as_another_tool(&stage, "taken").await;
    let before = stage.namespaces()[0].1.clone();
    stage.cloudflare.clear_calls();

    stage.workspace.edit(
        "main.tf",
        "name                = \"chat\"",
        "name                = \"taken\"",
    );
    let refused = stage
        .workspace
        .plan_expecting_error(&["-var", "adopt=true"])
        .await;
    refused.assert_says("A Worker of the new name exists");
    assert_eq!(stage.writes(), []);

    stage.workspace.edit(
        "main.tf",
        "name                = \"taken\"",
        "name                = \"talk\"",
    );
    let plan = stage.workspace.plan(&["-var", "adopt=true"]).await;
    plan.assert_says("Worker will be renamed");
    plan.assert_says("1 to change, 0 to destroy");
    stage.apply(&["-var", "adopt=true"]).await;
    assert!(
        stage.writes().iter().all(|call| call.method == "PATCH"),
        "{:?}",
        stage.writes()
    );
    assert_eq!(stage.visit("talk").await, "other 2");
    let namespaces = stage.namespaces();
    assert!(
        namespaces.contains(&("talk/Room".to_owned(), before)),
        "{namespaces:?}"
    );
}

#[tokio::test]
async fn generated_configuration_fits_once_the_code_is_filled_in() {
    let stage = deployed("import {\n  to = cloudflare_worker.chat\n  id = \"chat\"\n}\n").await;
    stage
        .workspace
        .plan(&["-generate-config-out=generated.tf"])
        .await
        .assert_says("1 to import, 0 to add, 0 to change, 0 to destroy");
    stage.workspace.edit(
        "generated.tf",
        "modules             = null",
        "modules = { \"index.js\" = { content_file = \"${path.module}/index.js\" } }",
    );
    let before = stage.namespaces();
    stage.apply(&[]).await;
    assert_eq!(stage.uploads("chat").len(), 0);
    stage
        .workspace
        .write("index.js", &OTHER.replace("other", "ours"));
    stage.apply(&[]).await;
    assert_eq!(stage.uploads("chat").len(), 1);
    assert_eq!(stage.namespaces(), before);
    assert_eq!(stage.visit("chat").await, "ours 2");
}

#[tokio::test]
async fn adoption_takes_alchemys_stable_ids_over() {
    let adopting = MATCHING.replace("stable_id  = \"chat-rooms\"", "stable_id  = var.id");
    let variable = "variable \"id\" {\n  default = \"chat-rooms\"\n}\n";
    let stage = Stage::with(&format!("{variable}{adopting}")).await;
    stage.workspace.write("index.js", OTHER);
    let mut metadata = metadata();
    metadata["tags"] = json!(["alchemy:do:chat-rooms:ROOMS", "alchemy:stage:prod"]);
    upload(&stage, "chat", &metadata).await;
    assert_eq!(stage.visit("chat").await, "other 1");
    stage.cloudflare.clear_calls();

    // Another ID would be another namespace, and this one would go.
    let refused = stage
        .workspace
        .plan_expecting_error(&["-var", "adopt=true", "-var", "id=rooms"])
        .await;
    refused.assert_says("`chat-rooms`");
    assert_eq!(stage.writes(), []);

    let adopt = &["-var", "adopt=true"];
    let run = stage.apply(adopt).await;
    run.assert_says("Its Durable Object classes do not change.");
    assert_eq!(stage.uploads("chat").len(), 0);
    let account = stage.cloudflare.account();
    let tags = &account.scripts["chat"].settings.tags;
    assert!(tags.contains(&"alchemy:do:chat-rooms:ROOMS".to_owned()));
    assert_eq!(stage.visit("chat").await, "other 2");
}

/// Alchemy's older tags name a binding. What it binds has to be this Worker's own.
#[tokio::test]
async fn a_tag_of_alchemy_for_a_binding_of_another_workers_class_is_no_stable_id() {
    let stage = Stage::with(MATCHING).await;
    upload_as_another_tool(&stage, "host").await;
    let mut metadata = metadata();
    metadata["tags"] = json!(["alchemy:do:theirs:SHARED"]);
    metadata["bindings"] = json!([
        {"name": "ROOMS", "type": "durable_object_namespace", "class_name": "Room"},
        {"name": "SHARED", "type": "durable_object_namespace", "class_name": "Room", "script_name": "host"},
    ]);
    upload(&stage, "chat", &metadata).await;
    stage
        .workspace
        .import("cloudflare_worker.chat", "chat")
        .await;
    let state = stage.workspace.resource("cloudflare_worker.chat").await;
    let hosted = state["durable_object_namespaces"]
        .as_object()
        .expect("it hosts one");
    assert_eq!(hosted.keys().collect::<Vec<_>>(), ["class:Room"]);
    assert!(state["bindings"]["SHARED"]["stable_id"].is_null());
}

/// S28, both at once, with `import` blocks.
#[tokio::test]
async fn import_blocks_take_a_worker_and_its_namespace_over_without_an_upload() {
    let stage = deployed(MATCHING).await;
    let id = stage.namespaces()[0].1.clone();
    stage.workspace.write(
        "import.tf",
        &format!(
            "import {{\n  to = cloudflare_worker.chat\n  id = \"chat\"\n}}\n\
             import {{\n  to = cloudflare_do_namespace.rooms\n  id = {id:?}\n}}\n"
        ),
    );
    let plan = stage.workspace.plan(&[]).await;
    plan.assert_says("2 to import, 0 to add, 2 to change, 0 to destroy");
    plan.assert_never_says("must be replaced");
    plan.assert_never_says("# forces replacement");
    stage.apply(&[]).await;
    assert_only_our_tag_was_written(&stage).await;
    // The secret of the other tool survives a later upload as well.
    stage
        .workspace
        .write("index.js", &OTHER.replace("other", "ours"));
    stage.apply(&[]).await;
    assert_eq!(stage.uploads("chat").len(), 1);
    let account = stage.cloudflare.account();
    let kept = account.scripts["chat"]
        .bindings
        .iter()
        .any(|it| it.name == "SECRET");
    assert!(kept);
    assert_eq!(stage.visit("chat").await, "ours 3");
}

#[tokio::test]
async fn consent_is_recorded_by_the_apply_that_takes_a_worker_over() {
    let consenting = MATCHING.replace(
        "class_name = \"Room\"",
        "class_name = \"Room\"\n  force_destroy = true",
    );
    for imports in [false, true] {
        let stage = deployed(&consenting).await;
        let adopt: &[&str] = if imports {
            stage
                .workspace
                .import("cloudflare_worker.chat", "chat")
                .await;
            &[]
        } else {
            &["-var", "adopt=true"]
        };
        stage.apply(adopt).await;
        assert_eq!(stage.uploads("chat").len(), 0);
        stage.workspace.destroy(adopt).await;
        assert_eq!(stage.namespaces(), []);
    }
}

#[tokio::test]
async fn a_worker_of_the_other_dialect_is_neither_imported_nor_adopted_nor_uploaded() {
    let stage = deployed(MATCHING).await;
    let declared = Action::SetSetting {
        script: "chat".into(),
        name: "exports".into(),
        value: json!({"Room": {"type": "durable-object", "storage": "sqlite"}}),
    };
    let act = || stage.cloudflare.act(declared.clone());
    act().await.expect("the Worker is there");
    let adopt = &["-var", "adopt=true"];
    let refused = stage.workspace.plan_expecting_error(adopt).await;
    refused.assert_says("Worker declares its classes with `exports`");
    let refused = stage
        .workspace
        .run(&["import", "cloudflare_worker.chat", "chat"])
        .await;
    assert!(!refused.status.success(), "{refused}");
    refused.assert_says("Worker declares its classes with `exports`");
    assert_eq!(stage.writes(), []);

    // Deployed that way after it came into our state.
    let migrated = Action::SetSetting {
        script: "chat".into(),
        name: "exports".into(),
        value: json!({}),
    };
    let done = stage.cloudflare.act(migrated).await;
    done.expect("the Worker is there");
    stage.apply(adopt).await;
    act().await.expect("the Worker is there");
    stage
        .workspace
        .write("index.js", &OTHER.replace("other", "ours"));
    stage.cloudflare.clear_calls();
    let refused = stage.workspace.apply_expecting_error(adopt).await;
    refused.assert_says("Worker declares its classes with `exports`");
    assert_eq!(stage.writes(), []);
    assert_eq!(stage.visit("chat").await, "other 2");
}

/// S28 for a Worker that has nothing but code: every optional field is missing.
#[tokio::test]
async fn a_bare_worker_is_taken_over_as_it_is() {
    let bare = r#"
variable "adopt" {
  type    = bool
  default = null
}

resource "cloudflare_worker" "chat" {
  name    = "chat"
  adopt   = var.adopt
  modules = { "index.js" = { content_file = "${path.module}/index.js" } }
}
"#;
    for imports in [true, false] {
        let stage = Stage::with(bare).await;
        stage.workspace.write("index.js", PLAIN);
        let metadata = json!({"main_module": "index.js"});
        upload_code(&stage, "chat", &metadata, PLAIN).await;
        stage.cloudflare.clear_calls();
        let adopt: &[&str] = if imports {
            stage
                .workspace
                .import("cloudflare_worker.chat", "chat")
                .await;
            &[]
        } else {
            &["-var", "adopt=true"]
        };
        stage.apply(adopt).await;
        assert_eq!(stage.uploads("chat").len(), 0);
        stage
            .workspace
            .write("index.js", &PLAIN.replace("plain", "ours"));
        stage.apply(adopt).await;
        let uploads = stage.uploads("chat");
        assert_eq!(uploads.len(), 1);
        // Without a date the runtime behaves as it did: a date would be a change that nobody asked for.
        assert!(
            uploads[0].get("compatibility_date").is_none(),
            "{uploads:?}"
        );
        assert!(uploads[0].get("migrations").is_none(), "{uploads:?}");
    }
}

const PLAIN: &str = "export default { fetch() { return new Response(\"plain\"); } };\n";

/// S23: the code is another tool's business, the namespaces and bindings are ours.
#[tokio::test]
async fn a_worker_without_a_code_attribute_is_deployed_by_another_tool() {
    let unmanaged = MATCHING.replace(
        "  modules = {\n    \"index.js\" = { content_file = \"${path.module}/index.js\" }\n  }\n",
        "",
    );
    let stage = deployed(&unmanaged).await;
    let adopt = &["-var", "adopt=true"];
    stage.apply(adopt).await;
    let before = stage.namespaces();

    let mut again = metadata();
    again["migrations"] = serde_json::Value::Null;
    again["bindings"]
        .as_array_mut()
        .expect("it is a list")
        .push(json!({"name": "NEW", "type": "plain_text", "text": "theirs"}));
    let code: &'static str = Box::leak(OTHER.replace("other", "newer").into_boxed_str());
    upload_code(&stage, "chat", &again, code).await;
    stage.cloudflare.clear_calls();
    let (actions, attributes) = only_change(&stage, adopt).await;
    assert_eq!(actions, json!(["update"]));
    assert_eq!(attributes, ["bindings", "etag"]);
    stage.apply(adopt).await;
    assert_eq!(stage.uploads("chat").len(), 0, "the code is not ours");
    let account = stage.cloudflare.account();
    let script = &account.scripts["chat"];
    let names: Vec<&str> = script.bindings.iter().map(|it| it.name.as_str()).collect();
    for (name, kept) in [
        ("NEW", false),
        ("SECRET", true),
        ("AI", true),
        ("ROOMS", true),
    ] {
        assert_eq!(names.contains(&name), kept, "{name}: {names:?}");
    }
    assert_eq!(stage.namespaces(), before);
    assert_eq!(stage.visit("chat").await, "newer 2");

    // The next deployment brings back what it wants, and nothing of ours is in its way.
    upload_code(&stage, "chat", &again, code).await;
    stage.apply(adopt).await;
    assert_eq!(stage.visit("chat").await, "newer 3");
}

/// S13 for the one write of an adoption.
#[tokio::test]
async fn an_adoption_converges_whichever_answer_is_lost() {
    for misbehaviour in [
        Misbehaviour::CloseBefore,
        Misbehaviour::CloseAfterCommit,
        Misbehaviour::ErrorAfterCommit,
        Misbehaviour::Truncated,
    ] {
        let stage = deployed(MATCHING).await;
        stage
            .cloudflare
            .add_fault(misbehaviour.clone().times(20, "PATCH", "*/script-settings"));
        let adopt = &["-var", "adopt=true"];
        let run = stage
            .workspace
            .run(&[&["apply", "-auto-approve"], &adopt[..]].concat())
            .await;
        run.assert_never_says("panic");
        run.assert_never_says("bug in the provider");
        stage.cloudflare.faults().clear();
        stage.apply(adopt).await;
        assert_eq!(stage.uploads("chat").len(), 0, "{misbehaviour:?}");
        assert_eq!(stage.visit("chat").await, "other 2");
    }
}

#[tokio::test]
async fn an_import_takes_a_class_over_under_another_name() {
    let renamed = MATCHING.replace(
        "class_name = \"Room\"",
        "class_name = \"Lounge\"\n  previous_class_name = \"Room\"",
    );
    let stage = deployed(&renamed).await;
    stage
        .workspace
        .write("index.js", &OTHER.replace("class Room", "class Lounge"));
    let id = stage.namespaces()[0].1.clone();
    stage
        .workspace
        .import("cloudflare_worker.chat", "chat")
        .await;
    let plan = stage.workspace.plan(&[]).await;
    plan.assert_says("adopt chat-rooms: Room -> Lounge (data kept)");
    stage.apply(&[]).await;
    assert_eq!(stage.namespaces(), [("chat/Lounge".to_owned(), id.clone())]);
    // What helped once is in nobody's way when the class is renamed again.
    stage
        .workspace
        .write("index.js", &OTHER.replace("class Room", "class Hall"));
    stage.workspace.edit("main.tf", "\"Lounge\"", "\"Hall\"");
    stage.apply(&[]).await;
    assert_eq!(stage.namespaces(), [("chat/Hall".to_owned(), id)]);
    assert_eq!(stage.visit("chat").await, "other 2");
}
