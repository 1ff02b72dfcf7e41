//! Whose Worker it is when several resources, states or configurations have known it: the mark decides.

use acceptance_tests::stage::Stage;

use super::counter::{self, CHAT};

const WORKER: &str = "cloudflare_worker.chat";
const NAMESPACE: &str = "cloudflare_do_namespace.rooms";
const STATE: &str = "terraform.tfstate";
const CONSENT: &[&str] = &["-var", "consent=true"];

/// The counter, with consent to delete everything: nothing but its mark protects the Worker.
async fn deployed() -> Stage {
    let stage = Stage::with(CHAT).await;
    stage.apply(CONSENT).await;
    assert_eq!(stage.visit("chat").await, "hello 1");
    stage
}

fn adopting() -> String {
    CHAT.replace(
        "  workers_dev        = true\n",
        "  workers_dev        = true\n  adopt              = true\n",
    )
}

async fn forget(stage: &Stage) {
    for address in [WORKER, NAMESPACE] {
        stage.workspace.run(&["state", "rm", address]).await;
    }
}

#[tokio::test]
async fn a_state_from_before_an_adoption_neither_changes_nor_deletes_the_worker() {
    let stage = deployed().await;
    let old = stage.workspace.read(STATE);
    forget(&stage).await;
    stage.configure(&adopting());
    stage.apply(CONSENT).await;
    let (new, before) = (stage.workspace.read(STATE), stage.namespaces());

    stage.workspace.write(STATE, &old);
    stage.cloudflare.clear_calls();
    let changed = &["-var", "consent=true", "-var", "greeting=hi"];
    let refused = stage.workspace.apply_expecting_error(changed).await;
    refused.assert_says("Worker chat is another one");
    let run = stage.workspace.destroy(CONSENT).await;
    run.assert_says("Worker chat will not be deleted");
    run.assert_says("Worker chat was not deleted");
    assert_eq!(stage.writes(), []);
    assert_eq!(stage.namespaces(), before);

    stage.workspace.write(STATE, &new);
    stage.apply(changed).await;
    assert_eq!(stage.namespaces(), before);
    assert_eq!(stage.visit("chat").await, "hi 2");
}

#[tokio::test]
async fn a_worker_that_was_taken_over_is_forgotten_although_it_holds_data() {
    let stage = Stage::with(CHAT).await;
    stage.apply(&[]).await;
    assert_eq!(stage.visit("chat").await, "hello 1");
    let old = stage.workspace.read(STATE);
    forget(&stage).await;
    stage.configure(&adopting());
    stage.apply(&[]).await;

    // No consent anywhere; but nothing is going to be deleted.
    stage.workspace.write(STATE, &old);
    let run = stage.workspace.destroy(&[]).await;
    run.assert_says("Worker chat was not deleted");
    assert_eq!(stage.visit("chat").await, "hello 2");
}

#[tokio::test]
async fn a_moved_block_changes_nothing_and_its_new_address_owns_the_worker() {
    let stage = deployed().await;
    let before = stage.namespaces();
    stage.configure(
        &CHAT
            .replace(
                "\"cloudflare_worker\" \"chat\"",
                "\"cloudflare_worker\" \"talk\"",
            )
            .replace(
                "\"cloudflare_do_namespace\" \"rooms\"",
                "\"cloudflare_do_namespace\" \"lounges\"",
            )
            .replace(
                "cloudflare_do_namespace.rooms",
                "cloudflare_do_namespace.lounges",
            ),
    );
    stage.workspace.write(
        "moved.tf",
        "moved {\n  from = cloudflare_worker.chat\n  to   = cloudflare_worker.talk\n}\n\
         moved {\n  from = cloudflare_do_namespace.rooms\n  to   = cloudflare_do_namespace.lounges\n}\n",
    );
    stage.cloudflare.clear_calls();
    let run = stage.apply(CONSENT).await;
    run.assert_says("0 added, 0 changed, 0 destroyed");
    assert_eq!(stage.writes(), []);
    assert_eq!(stage.namespaces(), before);
    assert_eq!(stage.visit("chat").await, "hello 2");
    stage.workspace.destroy(CONSENT).await;
    assert_eq!(stage.namespaces(), []);
}

#[tokio::test]
async fn a_removed_block_forgets_the_worker_and_leaves_it_running() {
    let stage = Stage::with(CHAT).await;
    stage.apply(&[]).await;
    assert_eq!(stage.visit("chat").await, "hello 1");
    stage.configure(
        "removed {\n  from = cloudflare_worker.chat\n  lifecycle {\n    destroy = false\n  }\n}\n\
         removed {\n  from = cloudflare_do_namespace.rooms\n  lifecycle {\n    destroy = false\n  }\n}\n",
    );
    stage.cloudflare.clear_calls();
    stage.apply(&[]).await;
    assert_eq!(stage.writes(), []);
    assert!(stage.workspace.resource(WORKER).await.is_null());
    assert_eq!(stage.visit("chat").await, "hello 2");
}

/// S37 (c) without `adopt`: a dependent makes the core create the new Worker before it destroys the old one.
#[tokio::test]
async fn an_inherited_create_before_destroy_never_ends_without_the_worker() {
    let dependent = r#"
resource "terraform_data" "dependent" {
  triggers_replace = cloudflare_worker.chat.worker_id
  lifecycle {
    create_before_destroy = true
  }
}
"#;
    let stage = Stage::with(&format!("{CHAT}{dependent}")).await;
    stage.apply(CONSENT).await;
    assert_eq!(stage.visit("chat").await, "hello 1");
    let before = stage.namespaces();
    let replace = ["-replace=cloudflare_worker.chat", "-var", "consent=true"];
    let run = stage
        .workspace
        .run(&[&["apply", "-auto-approve"], &replace[..]].concat())
        .await;
    run.assert_never_says("bug in the provider");
    assert_eq!(stage.namespaces(), before, "{run}");
    stage.apply(CONSENT).await;
    assert_eq!(stage.namespaces(), before);
    assert_eq!(stage.visit("chat").await, "hello 2");
}

/// A Worker of another tool whose state was made by `import` has no mark yet; then its immutable id decides.
#[tokio::test]
async fn an_imported_worker_that_was_recreated_before_the_first_apply_is_left_alone() {
    let stage = Stage::with(CHAT).await;
    counter::upload_as_another_tool(&stage, "chat").await;
    stage.workspace.import(WORKER, "chat").await;
    stage
        .cloudflare
        .act(acceptance_tests::cloudflare::Action::DeleteWorker {
            script: "chat".into(),
        })
        .await
        .expect("it is there");
    counter::upload_as_another_tool(&stage, "chat").await;
    stage.cloudflare.clear_calls();
    let run = stage.workspace.destroy(&["-refresh=false"]).await;
    run.assert_says("Worker chat was not deleted");
    assert_eq!(stage.writes(), []);
    assert_eq!(stage.visit("chat").await, "other 1");
}

/// The block is a declaration: its stable ID says which namespace it is, not its object in the state.
#[tokio::test]
async fn a_namespace_block_that_is_replaced_tainted_or_forgotten_is_the_same_namespace() {
    let stage = Stage::with(CHAT).await;
    stage.apply(&[]).await;
    assert_eq!(stage.visit("chat").await, "hello 1");
    let before = stage.namespaces();
    stage.cloudflare.clear_calls();
    let replace = format!("-replace={NAMESPACE}");
    stage.workspace.apply(&[&replace]).await;
    stage.workspace.assert_plan_is_empty(&[]).await;
    stage.workspace.run(&["taint", NAMESPACE]).await;
    stage.apply(&[]).await;
    stage.workspace.run(&["state", "rm", NAMESPACE]).await;
    stage.apply(&[]).await;
    stage.configure(&CHAT.replace(
        "  force_destroy = var.consent\n",
        "  force_destroy = var.consent\n  lifecycle {\n    create_before_destroy = true\n  }\n",
    ));
    stage.workspace.apply(&[&replace]).await;
    stage.workspace.assert_plan_is_empty(&[]).await;
    assert_eq!(stage.writes(), []);
    assert_eq!(stage.namespaces(), before);
    assert_eq!(stage.visit("chat").await, "hello 2");
}
