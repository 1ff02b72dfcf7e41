//! `plan -generate-config-out` after `import` blocks: what it writes fits, once the code is filled in.

use acceptance_tests::stage::Stage;
use serde_json::json;

use super::counter::{CHAT, OTHER, metadata, upload, upload_as_another_tool};
use super::rename::CLIENT;

const WORKER: &str = "import {\n  to = cloudflare_worker.chat\n  id = \"chat\"\n}\n";
const FILE: &str = "generated.tf";
const CODE: &str = "{ \"index.js\" = { content_file = \"${path.module}/index.js\" } }";

/// Imports, generates, and fills in the code.
async fn generate(stage: &Stage, imports: &str) {
    stage.configure(imports);
    stage.workspace.write("index.js", OTHER);
    stage
        .workspace
        .plan(&["-generate-config-out=generated.tf"])
        .await;
    let generated = stage.workspace.read(FILE);
    let line = generated
        .lines()
        .find(|line| line.trim_start().starts_with("modules "))
        .expect("the attribute is generated");
    stage
        .workspace
        .edit(FILE, line, &format!("  modules = {CODE}"));
    stage.cloudflare.clear_calls();
}

#[tokio::test]
async fn a_worker_and_its_namespace_fit_as_they_are_generated() {
    let stage = Stage::empty().await;
    upload_as_another_tool(&stage, "chat").await;
    assert_eq!(stage.visit("chat").await, "other 1");
    let before = stage.namespaces();
    let namespace = "import {\n  to = cloudflare_do_namespace.rooms\n  id = \"chat/Room\"\n}\n";
    generate(&stage, &format!("{WORKER}{namespace}")).await;
    let run = stage.apply(&[]).await;
    run.assert_says("2 imported, 0 added");
    assert_eq!(stage.uploads("chat").len(), 0);

    // Then the literal element becomes a reference, and the namespace gets the ID that shall last.
    let element = stage.workspace.read(FILE);
    let start = element.find("    ROOMS = {").expect("it is bound");
    let end = start + element[start..].find("    }\n").expect("it ends") + "    }\n".len();
    stage.workspace.edit(
        FILE,
        &element[start..end],
        "    ROOMS = cloudflare_do_namespace.rooms\n",
    );
    stage.workspace.edit(
        FILE,
        "= \"Room\"\n  transferred_from",
        "= \"chat-rooms\"\n  transferred_from",
    );
    let plan = stage.workspace.plan(&[]).await;
    plan.assert_says("adopt chat-rooms: Room (data kept)");
    stage.apply(&[]).await;
    assert_eq!(stage.uploads("chat").len(), 0);
    assert_eq!(stage.namespaces(), before);
    assert_eq!(stage.visit("chat").await, "other 2");
}

#[tokio::test]
async fn a_class_with_a_stable_id_and_without_a_binding_is_generated_too() {
    let stage = Stage::empty().await;
    let mut metadata = metadata();
    metadata["bindings"] = json!([]);
    metadata["tags"] = json!(["alchemy:dos:chat-rooms=Room"]);
    upload(&stage, "chat", &metadata).await;
    let before = stage.namespaces();
    generate(&stage, WORKER).await;
    let run = stage.apply(&[]).await;
    run.assert_never_says("will be deleted");
    assert_eq!(stage.uploads("chat").len(), 0);
    assert_eq!(stage.namespaces(), before);
}

/// A Worker of ours that left the state, with every kind of binding that reaches another Worker.
#[tokio::test]
async fn a_worker_that_was_made_here_fits_as_it_is_generated() {
    let stage = Stage::with(&format!("{CHAT}{CLIENT}")).await;
    stage.apply(&[]).await;
    assert_eq!(stage.visit("client").await, "hello 1");
    let before = stage.namespaces();
    for address in [
        "cloudflare_worker.client",
        "cloudflare_worker.chat",
        "cloudflare_do_namespace.rooms",
    ] {
        stage.workspace.run(&["state", "rm", address]).await;
    }
    let client = WORKER.replace("chat", "client");
    stage.configure(&format!("{WORKER}{client}"));
    stage
        .workspace
        .plan(&["-generate-config-out=generated.tf"])
        .await
        .assert_says("2 to import, 0 to add, 0 to change, 0 to destroy");
    stage.cloudflare.clear_calls();
    // Without the code, which is what it was: nobody manages it then.
    stage.apply(&[]).await;
    assert_eq!(stage.writes(), []);
    let state = stage.workspace.resource("cloudflare_worker.chat").await;
    assert_eq!(state["bindings"]["ROOMS"]["stable_id"], "rooms");
    assert_eq!(stage.namespaces(), before);
    assert_eq!(stage.visit("client").await, "hello 2");
}
