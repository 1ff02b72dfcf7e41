//! Consent to delete data: how it is given, what does not count as consent, and every way that asks for it.

use acceptance_tests::cloudflare::Misbehaviour;
use acceptance_tests::stage::Stage;

use super::counter::CHAT;

const WORKER: &str = "cloudflare_worker.chat";
const NAMESPACE: &str = "cloudflare_do_namespace.rooms";
const CONSENT: &[&str] = &["-var", "consent=true"];

/// The Worker is there and holds data.
async fn visited(configuration: &str, extra: &[&str]) -> Stage {
    let stage = Stage::with(configuration).await;
    stage.apply(extra).await;
    assert_eq!(stage.visit("chat").await, "hello 1");
    stage.cloudflare.clear_calls();
    stage
}

/// The configuration without one of its blocks.
fn without_block(configuration: &str, head: &str) -> String {
    let start = configuration.find(head).expect("the block is there");
    let length = configuration[start..].find("\n}\n").expect("it ends") + "\n}\n".len();
    let (before, after) = (&configuration[..start], &configuration[start + length..]);
    format!("{before}{after}")
}

/// Neither the namespace nor its binding; the code is the same, and still exports the class.
pub fn unbound() -> String {
    without_block(CHAT, "resource \"cloudflare_do_namespace\"").replace(
        "  bindings = {\n    ROOMS = cloudflare_do_namespace.rooms\n  }\n",
        "",
    )
}

/// S10.
#[tokio::test]
async fn consent_is_shown_as_an_update_of_both_and_uploads_nothing() {
    let stage = visited(CHAT, &[]).await;
    let plan = stage.workspace.plan(CONSENT).await;
    plan.assert_says("0 to add, 2 to change, 0 to destroy");
    stage.apply(CONSENT).await;
    assert_eq!(stage.writes(), []);
    let namespace = stage.workspace.resource(NAMESPACE).await;
    assert_eq!(namespace["force_destroy"], true);
    let worker = stage.workspace.resource(WORKER).await;
    let hosted = &worker["durable_object_namespaces"]["rooms"];
    assert_eq!(hosted["force_destroy"], true);
    assert_eq!(stage.visit("chat").await, "hello 2");
}

/// S8, the variant in which the code keeps the class.
#[tokio::test]
async fn a_class_that_the_code_still_exports_is_deleted_with_consent() {
    let stage = visited(CHAT, &[]).await;
    stage.apply(CONSENT).await;
    assert_eq!(stage.writes(), []);
    stage.configure(&unbound());
    let plan = stage.workspace.plan(&[]).await;
    plan.assert_says("Data of Durable Object class Room will be deleted");
    plan.assert_says("delete rooms: Room (its data is deleted)");
    stage.apply(&[]).await;
    assert_eq!(stage.namespaces(), []);
    assert_eq!(stage.uploads("chat").len(), 1);
}

#[tokio::test]
async fn consent_in_the_apply_that_deletes_comes_too_late() {
    let stage = visited(CHAT, &[]).await;
    // The block says so, but the Worker has never seen it: nothing binds it any more.
    stage.configure(&CHAT.replace("    ROOMS = cloudflare_do_namespace.rooms\n", ""));
    let refused = stage.workspace.apply_expecting_error(CONSENT).await;
    refused.assert_says("Durable Object class Room holds data");
    assert_eq!(stage.writes(), []);
    assert_eq!(stage.visit("chat").await, "hello 2");
}

#[tokio::test]
async fn consent_of_an_apply_that_failed_does_not_count() {
    let stage = visited(CHAT, &[]).await;
    let refusal = Misbehaviour::Error {
        status: 400,
        code: 10021,
        message: "Uncaught SyntaxError".into(),
    };
    stage
        .cloudflare
        .add_fault(refusal.times(50, "PUT", "*/workers/scripts/chat"));
    let changed = &["-var", "consent=true", "-var", "greeting=hi"];
    stage.workspace.apply_expecting_error(changed).await;
    stage.cloudflare.faults().clear();
    stage.cloudflare.clear_calls();
    let worker = stage.workspace.resource(WORKER).await;
    assert_eq!(
        worker["durable_object_namespaces"]["rooms"]["force_destroy"],
        false
    );
    stage.configure(&unbound());
    let refused = stage.workspace.plan_expecting_error(&[]).await;
    refused.assert_says("Durable Object class Room holds data");
    assert_eq!(stage.writes(), []);
}

#[tokio::test]
async fn consent_that_only_the_namespace_has_does_not_count() {
    let stage = visited(CHAT, &[]).await;
    let target = &[
        "-target=cloudflare_do_namespace.rooms",
        "-var",
        "consent=true",
    ];
    stage.workspace.apply(target).await;
    let refused = stage.workspace.destroy_expecting_error(CONSENT).await;
    refused.assert_says("Durable Object class Room holds data");
    refused.assert_says("force_destroy = true");
    assert_eq!(stage.writes(), []);
    stage.apply(CONSENT).await;
    stage.workspace.destroy(CONSENT).await;
    assert_eq!(stage.namespaces(), []);
}

/// S7 for the whole Worker: its block goes, the namespace's stays.
#[tokio::test]
async fn a_worker_whose_block_is_removed_needs_consent() {
    let stage = visited(CHAT, &[]).await;
    let without = without_block(CHAT, "resource \"cloudflare_worker\"");
    stage.configure(&without);
    let refused = stage.workspace.plan_expecting_error(&[]).await;
    refused.assert_says("Durable Object class Room holds data");
    stage.workspace.apply_expecting_error(&[]).await;
    assert_eq!(stage.writes(), []);

    stage.configure(CHAT);
    stage.apply(CONSENT).await;
    stage.configure(&without);
    let plan = stage.workspace.plan(CONSENT).await;
    plan.assert_says("Data of Durable Object class Room will be deleted");
    stage.apply(CONSENT).await;
    assert_eq!(stage.namespaces(), []);
}

#[tokio::test]
async fn another_account_is_a_replacement_and_needs_consent() {
    let elsewhere = CHAT.replace(
        "  name               = var.name\n",
        "  name               = var.name\n  account_id         = \"fedcba9876543210fedcba9876543210\"\n",
    );
    let stage = visited(CHAT, &[]).await;
    stage.configure(&elsewhere);
    let refused = stage.workspace.plan_expecting_error(&[]).await;
    refused.assert_says("Durable Object class Room holds data");
    refused.assert_says("replacing the Worker would delete it");
    assert_eq!(stage.writes(), []);
    assert_eq!(stage.visit("chat").await, "hello 2");
}

/// A provisioner that fails taints the Worker that was just created.
fn with_provisioner(members: &str) -> String {
    let provisioner = "  provisioner \"local-exec\" {\n    command = \"exit 1\"\n  }\n";
    CHAT.replace(
        "  workers_dev        = true\n",
        &format!("  workers_dev        = true\n{provisioner}{members}"),
    )
}

#[tokio::test]
async fn a_worker_whose_provisioner_failed_keeps_its_data() {
    let stage = Stage::with(&with_provisioner("")).await;
    let failed = stage.workspace.apply_expecting_error(&[]).await;
    failed.assert_says("local-exec provisioner error");
    let before = stage.namespaces();
    assert_eq!(stage.visit("chat").await, "hello 1");
    stage.cloudflare.clear_calls();

    let refused = stage.workspace.apply_expecting_error(CONSENT).await;
    refused.assert_says("Durable Object class Room holds data");
    refused.assert_says("`terraform untaint`");
    assert_eq!(stage.writes(), []);

    stage.workspace.run(&["untaint", WORKER]).await;
    stage.apply(&[]).await;
    assert_eq!(stage.namespaces(), before);
    assert_eq!(stage.visit("chat").await, "hello 2");
}

/// The new half goes on from the Worker, and fails again: the old half stays in the state as a deposed object, which the next
/// run destroys. By then it is the mark that tells that this is not its Worker any more.
#[tokio::test]
async fn a_deposed_object_never_takes_the_worker_with_it() {
    const EARLY: &str = "  lifecycle {\n    create_before_destroy = true\n  }\n";
    let stage = Stage::with(&with_provisioner(EARLY)).await;
    stage.workspace.apply_expecting_error(CONSENT).await;
    let before = stage.namespaces();
    assert_eq!(stage.visit("chat").await, "hello 1");
    let failed = stage.workspace.apply_expecting_error(CONSENT).await;
    failed.assert_says("local-exec provisioner error");
    assert_eq!(stage.namespaces(), before);

    stage.workspace.run(&["untaint", WORKER]).await;
    let plan = stage.workspace.plan(CONSENT).await;
    plan.assert_says("Worker chat will not be deleted");
    stage.cloudflare.clear_calls();
    let run = stage.apply(CONSENT).await;
    run.assert_says("Worker chat was not deleted");
    assert_eq!(stage.writes(), []);
    assert_eq!(stage.namespaces(), before);
    assert_eq!(stage.visit("chat").await, "hello 2");
}

#[tokio::test]
async fn a_worker_whose_provisioner_failed_is_replaced_while_it_holds_nothing() {
    let stage = Stage::with(&with_provisioner("")).await;
    stage.workspace.apply_expecting_error(&[]).await;
    let before = stage.namespaces();
    stage.configure(CHAT);
    stage.apply(&[]).await;
    assert_ne!(stage.namespaces(), before);
    assert_eq!(stage.visit("chat").await, "hello 1");
}

/// Three namespaces from one block; each counts by itself.
const MANY: &str = r#"
variable "rooms" {
  type    = set(string)
  default = ["Attic", "Barn", "Cellar"]
}

resource "cloudflare_do_namespace" "rooms" {
  for_each   = var.rooms
  stable_id  = lower(each.key)
  class_name = each.key
}

resource "cloudflare_worker" "chat" {
  name               = "chat"
  compatibility_date = "2026-11-01"
  script = <<-JS
    import { DurableObject } from "cloudflare:workers";
    class Base extends DurableObject {
      async fetch() {
        const count = ((await this.ctx.storage.get("count")) ?? 0) + 1;
        await this.ctx.storage.put("count", count);
        return new Response(`${"$"}{count}`);
      }
    }
    ${join("\n    ", [for it in var.rooms : "export class ${it} extends Base {}"])}
    export default {
      fetch(request, env) {
        const name = new URL(request.url).pathname.slice(1);
        return env[name].get(env[name].idFromName("one")).fetch(request);
      },
    };
  JS
  bindings = { for key, it in cloudflare_do_namespace.rooms : upper(key) => it }
}
"#;

/// S1 with `for_each`, and S7 for one of several.
#[tokio::test]
async fn of_several_namespaces_only_the_one_with_data_is_guarded() {
    let stage = Stage::with(MANY).await;
    stage.apply(&[]).await;
    assert_eq!(stage.uploads("chat").len(), 1);
    assert_eq!(stage.namespaces().len(), 3);
    assert_eq!(stage.visitor.read("chat", "/BARN").await, "1");
    stage.cloudflare.clear_calls();

    let refused = stage
        .workspace
        .plan_expecting_error(&["-var", "rooms=[\"Attic\", \"Cellar\"]"])
        .await;
    refused.assert_says("Durable Object class Barn holds data");
    refused.assert_never_says("Attic will be deleted");
    assert_eq!(stage.writes(), []);

    let fewer = &["-var", "rooms=[\"Barn\"]"];
    let plan = stage.workspace.plan(fewer).await;
    plan.assert_says("Durable Object class Attic will be deleted");
    plan.assert_says("Durable Object class Cellar will be deleted");
    stage.apply(fewer).await;
    assert_eq!(stage.uploads("chat").len(), 1);
    assert_eq!(stage.namespaces().len(), 1);
    assert_eq!(stage.visitor.read("chat", "/BARN").await, "2");
}

/// The look right before the first write, which is the rename.
#[tokio::test]
async fn data_that_is_stored_after_the_plan_of_a_rename_and_a_drop_is_seen_before_both() {
    let stage = Stage::with(CHAT).await;
    stage.apply(&[]).await;
    stage.configure(&unbound());
    let renamed = &["-var", "name=talk"];
    let plan = [&renamed[..], &["-out=drop.tfplan"]].concat();
    stage.workspace.plan(&plan).await;
    assert_eq!(stage.visit("chat").await, "hello 1");
    stage.cloudflare.clear_calls();
    let refused = stage
        .workspace
        .apply_expecting_error(&["drop.tfplan"])
        .await;
    refused.assert_says("Durable Object class Room holds data");
    assert_eq!(stage.writes(), []);
    assert_eq!(stage.visit("chat").await, "hello 2");
}

/// A create whose namespaces were not listed in time leaves a state without their ids.
#[tokio::test]
async fn a_namespace_whose_id_the_state_does_not_know_is_guarded_all_the_same() {
    let stage = Stage::with(CHAT).await;
    stage.cloudflare.add_fault(Misbehaviour::Stale.times(
        1000,
        "GET",
        "*/durable_objects/namespaces",
    ));
    let run = stage.workspace.apply(&[]).await;
    run.assert_says("Namespaces are not listed yet");
    stage.cloudflare.faults().clear();
    assert_eq!(stage.visit("chat").await, "hello 1");
    stage.cloudflare.clear_calls();
    let blind = &["-refresh=false"];
    let refused = stage.workspace.destroy_expecting_error(blind).await;
    refused.assert_says("Cloudflare has not listed its id yet");
    stage.configure(&unbound());
    let refused = stage.workspace.apply_expecting_error(blind).await;
    refused.assert_says("Cloudflare has not listed its id yet");
    assert_eq!(stage.writes(), []);
    stage.configure(CHAT);
    stage.apply(&[]).await;
    assert_eq!(stage.visit("chat").await, "hello 2");
}
