//! The end of Workers: what is looked at before it, in which order it comes, and what stands in its way.

use acceptance_tests::cloudflare::{Action, Misbehaviour};
use acceptance_tests::stage::Stage;
use serde_json::json;

use super::consent::unbound;
use super::counter::{CHAT, upload};

const CONSENT: &[&str] = &["-var", "consent=true"];

/// A Worker that binds itself, and gives up soon when others are in the way of its end.
fn impatient() -> String {
    CHAT.replace(
        "    ROOMS = cloudflare_do_namespace.rooms\n",
        "    ROOMS = cloudflare_do_namespace.rooms\n    SELF = { type = \"service\", service = \"chat\" }\n",
    )
    .replace(
        "  workers_dev        = true\n",
        "  workers_dev        = true\n  timeouts = {\n    delete = \"3s\"\n  }\n",
    )
}

/// Another tool deploys a Worker that binds the class of `chat`.
async fn bind_from_elsewhere(stage: &Stage) {
    let metadata = json!({
        "main_module": "index.js",
        "compatibility_date": "2026-10-01",
        "bindings": [
            {"name": "ROOMS", "type": "durable_object_namespace", "class_name": "Room", "script_name": "chat"},
        ],
    });
    upload(stage, "binder", &metadata).await;
    stage.cloudflare.clear_calls();
}

/// S20.
#[tokio::test]
async fn everything_is_looked_at_before_the_one_write_that_ends_a_worker() {
    let stage = Stage::with(&impatient()).await;
    stage.apply(CONSENT).await;
    assert_eq!(stage.visit("chat").await, "hello 1");
    stage.cloudflare.clear_calls();
    let run = stage.workspace.destroy(CONSENT).await;
    run.assert_says("Data of Durable Object class Room will be deleted");
    let writes = stage.writes();
    assert_eq!(writes.len(), 1, "{writes:?}");
    assert_eq!(writes[0].method, "DELETE");
    assert_eq!(writes[0].query, "", "never by force");
    let calls = stage.cloudflare.calls();
    for looked in ["/objects", "/references", "/workers/services/chat"] {
        let seen = calls
            .iter()
            .take_while(|call| call.method == "GET")
            .any(|call| call.path.ends_with(looked));
        assert!(seen, "{looked}: {calls:?}");
    }
    assert_eq!(stage.namespaces(), []);
    assert_eq!(
        stage.workspace.state_json().await["values"],
        serde_json::Value::Null
    );
}

/// S20, with a binding in another Worker.
#[tokio::test]
async fn a_worker_that_another_one_goes_on_binding_stays_and_the_other_one_is_named() {
    let stage = Stage::with(&impatient()).await;
    stage.apply(CONSENT).await;
    assert_eq!(stage.visit("chat").await, "hello 1");
    bind_from_elsewhere(&stage).await;
    let refused = stage.workspace.destroy_expecting_error(CONSENT).await;
    refused.assert_says("Other Workers still bind what will be deleted");
    refused.assert_says("Cannot delete Worker chat");
    refused.assert_says("in Workers 'binder'");
    refused.assert_says("timeouts.delete");
    assert!(
        stage
            .writes()
            .iter()
            .filter(|it| it.method == "DELETE")
            .count()
            > 1,
        "it was tried again"
    );
    assert_eq!(stage.visit("chat").await, "hello 2");
    stage.apply(CONSENT).await;

    // The other tool lets go.
    stage
        .cloudflare
        .act(Action::DeleteWorker {
            script: "binder".into(),
        })
        .await
        .expect("it is there");
    stage.workspace.destroy(CONSENT).await;
    assert_eq!(stage.namespaces(), []);
}

/// The same for one class of a Worker that stays.
#[tokio::test]
async fn a_class_that_another_worker_goes_on_binding_stays_and_the_apply_says_so() {
    let stage = Stage::with(CHAT).await;
    stage.apply(&[]).await;
    bind_from_elsewhere(&stage).await;
    let before = stage.namespaces();
    stage.configure(&unbound().replace(
        "  workers_dev        = true\n",
        "  workers_dev        = true\n  timeouts = {\n    update = \"3s\"\n  }\n",
    ));
    let refused = stage.workspace.apply_expecting_error(&[]).await;
    refused.assert_says("Other Workers still bind what will be deleted");
    refused.assert_says("`binder`");
    refused.assert_says("Cannot apply --delete-class migration to class 'Room'");
    refused.assert_says("timeouts.update");
    assert_eq!(stage.namespaces(), before);

    let gone = Action::DeleteWorker {
        script: "binder".into(),
    };
    let done = stage.cloudflare.act(gone).await;
    done.expect("it is there");
    stage.apply(&[]).await;
    assert_eq!(stage.namespaces(), []);
}

/// The client names the host only by its name, so the core knows no order.
const CLIENT: &str = r#"
resource "cloudflare_worker" "client" {
  name               = "client"
  compatibility_date = "2026-11-01"
  script             = "export default { fetch(request, env) { return env.ROOMS.get(env.ROOMS.idFromName('one')).fetch(request); } };"
  bindings = {
    ROOMS = { type = "durable_object_namespace", script_name = "chat", class_name = "Room" }
  }
}
"#;

#[tokio::test]
async fn a_host_outlives_its_client_in_the_same_destroy() {
    let stage = Stage::with(&format!("{CHAT}{CLIENT}")).await;
    stage.apply(CONSENT).await;
    assert_eq!(stage.visit("client").await, "hello 1");
    stage.cloudflare.clear_calls();
    stage.workspace.destroy(CONSENT).await;
    let account = stage.cloudflare.account();
    assert!(account.scripts.is_empty() && account.namespaces.is_empty());
}

#[tokio::test]
async fn workers_that_bind_each_other_are_destroyed_after_one_of_them_let_go() {
    let client = CLIENT.replace(
        "  bindings = {\n",
        "  timeouts = {\n    delete = \"3s\"\n  }\n  bindings = {\n",
    );
    let host = impatient().replace(
        "service = \"chat\" }\n",
        "service = \"chat\" }\n    CLIENT = cloudflare_worker.client\n",
    );
    let stage = Stage::with(&format!("{host}{client}")).await;
    // The client is created first, and its host is not there yet.
    let alone = format!("{}{client}", impatient());
    stage.configure(&alone);
    stage.apply(CONSENT).await;
    stage.configure(&format!("{host}{client}"));
    stage.apply(CONSENT).await;
    let refused = stage.workspace.destroy_expecting_error(CONSENT).await;
    refused.assert_says("Remove the bindings of the Workers named above first");
    refused.assert_says("Workers that bind each other");
    stage.configure(&alone);
    stage.apply(CONSENT).await;
    stage.workspace.destroy(CONSENT).await;
    assert!(stage.cloudflare.account().scripts.is_empty());
}

/// S20: Cloudflare answers deletes that overlap with an internal error.
#[tokio::test]
async fn ten_workers_are_destroyed_at_once() {
    let stage = Stage::with(
        r#"
resource "cloudflare_worker" "many" {
  count              = 10
  name               = "worker-${count.index}"
  compatibility_date = "2026-11-01"
  script             = "export default { fetch() { return new Response(\"hello\"); } };"
}
"#,
    )
    .await;
    stage.workspace.apply(&[]).await;
    // A delete takes time, or none would meet another.
    for kind in [Misbehaviour::Overlap, Misbehaviour::Delay { ms: 50 }] {
        let mut fault = kind.always();
        fault.method = Some("DELETE".into());
        stage.cloudflare.add_fault(fault);
    }
    stage.workspace.destroy(&["-parallelism=10"]).await;
    assert!(stage.cloudflare.account().scripts.is_empty());
    let refused = stage.cloudflare.calls();
    let refused = refused.iter().filter(|call| call.status == 500).count();
    assert!(refused > 0, "some deletes did overlap");
}
