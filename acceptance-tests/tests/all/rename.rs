//! A Worker gets another name, from here or from elsewhere, with Workers around it that bind it.

use acceptance_tests::cloudflare::Action;
use acceptance_tests::cloudflare::account::NamespaceNames;
use acceptance_tests::stage::Stage;

use super::counter::{self, CHAT};

const TALK: &[&str] = &["-var", "name=talk"];

/// Binds the host's namespace and the host itself, by reference.
pub const CLIENT: &str = r#"
resource "cloudflare_worker" "client" {
  name               = "client"
  compatibility_date = "2026-11-01"
  workers_dev        = true
  script = <<-JS
    export default {
      fetch(request, env) {
        const path = new URL(request.url).pathname;
        if (path === "/service") return env.CHAT.fetch(request);
        return env.ROOMS.get(env.ROOMS.idFromName("one")).fetch(request);
      },
    };
  JS
  bindings = {
    ROOMS = cloudflare_worker.chat.bindings.ROOMS
    CHAT  = cloudflare_worker.chat
  }
}
"#;

async fn deployed(configuration: &str) -> Stage {
    let stage = Stage::with(configuration).await;
    stage.apply(&[]).await;
    assert_eq!(stage.visit("chat").await, "hello 1");
    stage
}

async fn act(stage: &Stage, action: Action) {
    let done = stage.cloudflare.act(action).await;
    done.expect("another tool can do that");
}

fn renamed(from: &str, to: &str) -> Action {
    Action::RenameWorker {
        from: from.into(),
        to: to.into(),
    }
}

/// S22.
#[tokio::test]
async fn a_renamed_worker_keeps_its_ids_its_data_its_tags_and_who_binds_it() {
    let stage = deployed(&format!("{CHAT}{CLIENT}")).await;
    assert_eq!(stage.visit("client").await, "hello 2");
    let account = stage.cloudflare.account();
    let before = &account.scripts["chat"];
    let mut tags = before.settings.tags.clone();
    tags.push("team:x".into());
    act(
        &stage,
        Action::SetTags {
            script: "chat".into(),
            tags: tags.clone(),
        },
    )
    .await;
    act(
        &stage,
        Action::SetSecret {
            script: "chat".into(),
            name: "TOKEN".into(),
            text: "nobody-may-see-this".into(),
        },
    )
    .await;
    let id = account.namespaces[0].id.clone();
    let state = stage.workspace.resource("cloudflare_worker.chat").await;
    stage.cloudflare.clear_calls();

    let plan = stage.workspace.plan(TALK).await;
    plan.assert_says("Worker will be renamed");
    plan.assert_says("its workers.dev address changes");
    plan.assert_says("0 to add, 2 to change, 0 to destroy");
    stage.apply(TALK).await;

    let account = stage.cloudflare.account();
    let after = &account.scripts["talk"];
    assert_eq!(after.tag, before.tag, "the immutable id");
    assert_eq!(after.settings.tags, tags);
    assert!(after.bindings.iter().any(|it| it.name == "TOKEN"));
    assert_eq!(stage.namespaces(), [("talk/Room".to_owned(), id)]);
    assert_eq!(stage.uploads("talk").len(), 0);
    assert!(
        stage.writes().iter().all(|call| call.method != "DELETE"),
        "{:?}",
        stage.writes()
    );
    let now = stage.workspace.resource("cloudflare_worker.chat").await;
    assert_eq!(now["worker_id"], state["worker_id"]);
    assert_eq!(now["url"], "https://talk.local.workers.dev");
    assert_eq!(stage.visit("talk").await, "hello 3");
    assert_eq!(stage.visit("client").await, "hello 4");
    assert_eq!(stage.visitor.read("client", "/service").await, "hello 5");
    assert_eq!(
        stage.visitor.get("chat", "/").await.expect("an answer").0,
        404
    );
}

#[tokio::test]
async fn a_worker_and_its_class_are_renamed_in_one_apply() {
    let stage = deployed(CHAT).await;
    let id = stage.namespaces()[0].1.clone();
    stage.cloudflare.clear_calls();
    let both = &["-var", "name=talk", "-var", "class=Lounge"];
    let plan = stage.workspace.plan(both).await;
    plan.assert_says("rename rooms: Room -> Lounge (data kept)");
    stage.apply(both).await;
    assert_eq!(stage.namespaces(), [("talk/Lounge".to_owned(), id)]);
    assert_eq!(stage.uploads("talk").len(), 1);
    assert_eq!(stage.visit("talk").await, "hello 2");
}

/// S38, with the name that the configuration has by now.
#[tokio::test]
async fn a_rename_in_the_dashboard_that_the_configuration_follows_writes_nothing() {
    let stage = deployed(CHAT).await;
    act(&stage, renamed("chat", "talk")).await;
    stage.cloudflare.clear_calls();
    stage.apply(TALK).await;
    assert_eq!(stage.writes(), []);
    assert_eq!(stage.visit("talk").await, "hello 2");
}

/// S38: ours has another name, and another Worker has ours.
#[tokio::test]
async fn a_name_that_another_worker_has_taken_meanwhile_is_not_taken_back() {
    let stage = deployed(CHAT).await;
    // Otherwise the server name `chat_Room` would be taken.
    act(
        &stage,
        Action::SetNamespaceNames {
            names: NamespaceNames::Follow,
        },
    )
    .await;
    act(&stage, renamed("chat", "talk")).await;
    counter::upload_as_another_tool(&stage, "chat").await;
    assert_eq!(stage.visit("chat").await, "other 1");
    stage.cloudflare.clear_calls();
    let refused = stage.workspace.apply_expecting_error(&[]).await;
    refused.assert_says("A Worker of the new name exists");
    assert_eq!(stage.writes(), []);

    // Without a look at what is there, the other Worker is taken for nobody's.
    let stale = &["-refresh=false", "-var", "greeting=hi"];
    let refused = stage.workspace.apply_expecting_error(stale).await;
    refused.assert_says("Worker chat is another one");
    assert_eq!(stage.writes(), []);

    stage.apply(TALK).await;
    assert_eq!(stage.writes(), []);
    assert_eq!(stage.visit("talk").await, "hello 2");
    assert_eq!(stage.visit("chat").await, "other 2");

    // The end of ours is not the end of the other one.
    let consent = &["-var", "name=talk", "-var", "consent=true"];
    stage.apply(consent).await;
    stage.workspace.destroy(consent).await;
    assert_eq!(stage.visit("chat").await, "other 3");
    assert_eq!(stage.namespaces().len(), 1);
}

#[tokio::test]
async fn a_destroy_that_has_not_seen_a_rename_deletes_nothing() {
    let stage = deployed(CHAT).await;
    let consent = &["-var", "consent=true"];
    stage.apply(consent).await;
    act(&stage, renamed("chat", "talk")).await;
    stage.cloudflare.clear_calls();
    let refused = stage
        .workspace
        .destroy_expecting_error(&["-refresh=false", "-var", "consent=true"])
        .await;
    refused.assert_says("Worker chat was renamed");
    refused.assert_says("It is called `talk` now");
    assert_eq!(stage.writes(), []);
    stage.workspace.destroy(consent).await;
    assert_eq!(stage.namespaces(), []);
}

#[tokio::test]
async fn a_script_name_that_still_says_the_former_name_is_named_in_the_plan() {
    let named = CHAT.replace(
        "  stable_id     = \"rooms\"\n",
        "  stable_id     = \"rooms\"\n  script_name   = \"chat\"\n",
    );
    let stage = deployed(&named).await;
    stage.cloudflare.clear_calls();
    let refused = stage.workspace.plan_expecting_error(TALK).await;
    refused.assert_says("`script_name` is the Worker's former name");
    assert_eq!(stage.writes(), []);
    stage.configure(&named.replace("script_name   = \"chat\"", "script_name   = var.name"));
    stage.apply(TALK).await;
    assert_eq!(stage.visit("talk").await, "hello 2");
}
