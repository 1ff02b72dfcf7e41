//! Our script tags, among those of other tools.

use acceptance_tests::cloudflare::Action;
use acceptance_tests::stage::Stage;
use serde_json::json;

use super::counter::{self, OTHER};

const WORKER: &str = "cloudflare_worker.chat";

/// Many namespaces, with IDs of 20 bytes and one of 200.
const MANY: &str = r#"
variable "text" {
  default = "hello"
}

variable "count_of_rooms" {
  default = 14
}

locals {
  rooms = merge(
    { for n in range(var.count_of_rooms) : "Room${n}" => format("namespace-number-%03d", n) },
    { Long = join("", [for n in range(20) : "long id, &"]) },
  )
}

resource "cloudflare_do_namespace" "rooms" {
  for_each   = local.rooms
  stable_id  = each.value
  class_name = each.key
}

resource "cloudflare_worker" "chat" {
  name               = "chat"
  compatibility_date = "2026-11-01"
  workers_dev        = true
  script = <<-JS
    import { DurableObject } from "cloudflare:workers";
    ${join("\n    ", [for it in sort(keys(local.rooms)) : "export class ${it} extends DurableObject {}"])}
    export default { fetch() { return new Response("${var.text}"); } };
  JS
  bindings = { for key, it in cloudflare_do_namespace.rooms : upper(key) => it }
}
"#;

fn tags(stage: &Stage) -> Vec<String> {
    stage.cloudflare.account().scripts["chat"]
        .settings
        .tags
        .clone()
}

async fn set_tags(stage: &Stage, tags: Vec<String>) {
    let action = Action::SetTags {
        script: "chat".into(),
        tags,
    };
    let done = stage.cloudflare.act(action).await;
    done.expect("the Worker is there");
}

fn foreign(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("team:x=ä {n}")).collect()
}

/// S1 with many namespaces: more than a Worker can have tags.
#[tokio::test]
async fn many_namespaces_need_few_tags_and_leave_those_of_others_alone() {
    let stage = Stage::with(MANY).await;
    stage.apply(&[]).await;
    assert_eq!(stage.uploads("chat").len(), 1);
    assert_eq!(stage.namespaces().len(), 15);
    let ours = tags(&stage);
    assert_eq!(ours.len(), 1, "{ours:?}");

    set_tags(&stage, [foreign(9), ours].concat()).await;
    stage.workspace.assert_plan_is_empty(&[]).await;
    let changed = &["-var", "text=hi"];
    stage.apply(changed).await;
    assert_eq!(stage.visit("chat").await, "hi");
    let now = tags(&stage);
    assert_eq!(now.len(), 10);
    assert_eq!(now[..9], foreign(9));

    // The tags alone tell which class is which.
    let all = stage.workspace.resource(WORKER).await;
    stage.workspace.run(&["state", "rm", WORKER]).await;
    stage.workspace.import(WORKER, "chat").await;
    let imported = stage.workspace.resource(WORKER).await;
    assert_eq!(
        imported["durable_object_namespaces"],
        all["durable_object_namespaces"]
    );
    stage.cloudflare.clear_calls();
    stage.apply(changed).await;
    assert_eq!(stage.uploads("chat").len(), 0);
}

#[tokio::test]
async fn a_hundred_namespaces_fit_into_three_tags() {
    let stage = Stage::with(MANY).await;
    let hundred = &["-var", "count_of_rooms=99"];
    stage.workspace.apply(hundred).await;
    stage.workspace.assert_plan_is_empty(hundred).await;
    assert_eq!(stage.namespaces().len(), 100);
    let ours = tags(&stage);
    assert!(ours.len() <= 3, "{ours:?}");
    assert!(ours.iter().all(|tag| tag.len() <= 1024));
}

/// What fits a Worker of another tool.
const MATCHING: &str = r#"
variable "consent" {
  default = false
}

resource "cloudflare_do_namespace" "rooms" {
  stable_id     = "chat-rooms"
  class_name    = "Room"
  force_destroy = var.consent
}

resource "cloudflare_worker" "chat" {
  name                = "chat"
  adopt               = true
  compatibility_date  = "2026-10-01"
  compatibility_flags = ["nodejs_compat"]
  modules             = { "index.js" = { content_file = "${path.module}/index.js" } }
  vars                = { GREETING = "hi" }
  bindings            = { ROOMS = cloudflare_do_namespace.rooms }
}
"#;

#[tokio::test]
async fn a_worker_without_room_for_our_tag_is_managed_all_the_same() {
    let stage = Stage::with(MATCHING).await;
    stage.workspace.write("index.js", OTHER);
    let mut metadata = counter::metadata();
    metadata["tags"] = json!(foreign(10));
    counter::upload(&stage, "chat", &metadata).await;
    assert_eq!(stage.visit("chat").await, "other 1");
    let before = stage.namespaces();

    let run = stage.apply(&[]).await;
    run.assert_says("Not every stable ID fits into the Worker's tags");
    run.assert_says("`chat-rooms`");
    stage
        .workspace
        .write("index.js", &OTHER.replace("other", "ours"));
    stage.apply(&[]).await;
    assert_eq!(stage.visit("chat").await, "ours 2");
    assert_eq!(tags(&stage), foreign(10));
    assert_eq!(stage.namespaces(), before);

    // A tag that goes makes room for ours.
    set_tags(&stage, foreign(9)).await;
    stage
        .workspace
        .write("index.js", &OTHER.replace("other", "again"));
    let run = stage.apply(&[]).await;
    run.assert_never_says("Not every stable ID");
    assert_eq!(tags(&stage).len(), 10);
    let consent = &["-var", "consent=true"];
    stage.apply(consent).await;
    stage.workspace.destroy(consent).await;
    assert_eq!(stage.namespaces(), []);
}

/// Two namespaces, and a visit to either.
const TWO: &str = r#"
variable "text" {
  default = "hello"
}

resource "cloudflare_do_namespace" "rooms" {
  for_each   = { attic = "Attic", barn = "Barn" }
  stable_id  = each.key
  class_name = each.value
}

resource "cloudflare_worker" "chat" {
  name               = "chat"
  compatibility_date = "2026-11-01"
  workers_dev        = true
  script = <<-JS
    import { DurableObject } from "cloudflare:workers";
    class Base extends DurableObject {
      async fetch(request) {
        const path = new URL(request.url).pathname;
        const all = ((await this.ctx.storage.get("all")) ?? "") + path;
        await this.ctx.storage.put("all", all);
        return new Response(`${var.text} ${"$"}{all}`);
      }
    }
    export class Attic extends Base {}
    export class Barn extends Base {}
    export default {
      fetch(request, env) {
        const room = new URL(request.url).pathname === "/attic" ? env.ATTIC : env.BARN;
        return room.get(room.idFromName("one")).fetch(request);
      },
    };
  JS
  bindings = { for key, it in cloudflare_do_namespace.rooms : upper(key) => it }
}
"#;

#[tokio::test]
async fn a_tag_that_somebody_edited_never_leads_to_another_class() {
    let stage = Stage::with(TWO).await;
    stage.apply(&[]).await;
    for room in ["/attic", "/barn"] {
        let answer = stage.visitor.read("chat", room).await;
        assert_eq!(answer, format!("hello {room}"));
    }
    let (before, ours) = (stage.namespaces(), tags(&stage));
    let swapped = ours[0]
        .replace("attic=Attic", "attic=Barn")
        .replace("barn=Barn", "barn=Attic");
    assert_ne!(swapped, ours[0], "the tag can be read by people");
    let half = ours[0][..ours[0].len() / 2].to_owned();
    for (edited, text) in [
        (vec![swapped.clone()], "1"),
        (vec![half], "2"),
        (vec![ours[0].clone(), swapped.clone()], "3"),
        (vec![ours[0].replace("dons1", "dons9")], "4"),
    ] {
        // The state knows better, and the next upload repairs the tag.
        set_tags(&stage, edited.clone()).await;
        stage.workspace.assert_plan_is_empty(&[]).await;
        let variable = format!("text={text}");
        stage.cloudflare.clear_calls();
        stage.apply(&["-var", &variable]).await;
        assert!(stage.uploads("chat")[0].get("migrations").is_none());
        assert_eq!(tags(&stage).len(), 1, "{edited:?}");
        assert_eq!(stage.namespaces(), before);

        // An import believes nothing of it, and the classes are claimed by name.
        set_tags(&stage, edited).await;
        stage.workspace.run(&["state", "rm", WORKER]).await;
        stage.workspace.import(WORKER, "chat").await;
        let imported = stage.workspace.resource(WORKER).await;
        let hosted = &imported["durable_object_namespaces"];
        assert_eq!(hosted["class:Attic"]["class_name"], "Attic", "{hosted}");
        let plan = stage.workspace.plan(&["-var", &variable]).await;
        plan.assert_says("adopt attic: Attic (data kept)");
        plan.assert_says("adopt barn: Barn (data kept)");
        stage.cloudflare.clear_calls();
        stage.apply(&["-var", &variable]).await;
        assert_eq!(stage.uploads("chat").len(), 0);
        assert_eq!(stage.namespaces(), before);
        stage.apply(&[]).await;
    }
    let answer = stage.visitor.read("chat", "/attic").await;
    assert_eq!(answer, "hello /attic/attic");
}

/// So many and such long IDs that hashes of them save a tag. An import cannot show these IDs; the configuration names them.
#[tokio::test]
async fn an_id_that_the_tag_has_as_a_hash_is_recognized_by_the_configuration() {
    let many = MANY
        .replace("namespace-number-%03d", "a-much-longer-namespace-number-%03d")
        .replace("${n}\" => format", "${n}${contains(var.swapped, n) ? \"b\" : \"\"}\" => format")
        .replace("    { Long = join(\"\", [for n in range(20) : \"long id, &\"]) },\n", "")
        .replace("variable \"text\"", "variable \"swapped\" {\n  type    = list(number)\n  default = []\n}\n\nvariable \"text\"");
    let stage = Stage::with(&many).await;
    let count = ["-var", "count_of_rooms=25"];
    stage.apply(&count).await;
    let ours = tags(&stage);
    assert!(ours.len() == 1 && ours[0].contains('*'), "{ours:?}");
    let before = stage.namespaces();
    let all = stage.workspace.resource(WORKER).await;

    stage.workspace.run(&["state", "rm", WORKER]).await;
    stage.workspace.import(WORKER, "chat").await;
    let imported = stage.workspace.resource(WORKER).await;
    let hosted = imported["durable_object_namespaces"].as_object();
    let hosted = hosted.expect("it hosts some");
    assert!(hosted.keys().any(|key| key.starts_with("class:")));

    // Renamed at once, a class is still the same namespace.
    stage.cloudflare.clear_calls();
    let renamed = [&count[..], &["-var", "swapped=[3, 17]"]].concat();
    let plan = stage.workspace.plan(&renamed).await;
    for n in [3, 17] {
        plan.assert_says(&format!(
            "rename a-much-longer-namespace-number-{n:03}: Room{n} -> Room{n}b (data kept)"
        ));
    }
    stage.apply(&count).await;
    assert_eq!(stage.uploads("chat").len(), 0);
    assert_eq!(stage.namespaces(), before);
    let now = stage.workspace.resource(WORKER).await;
    assert_eq!(
        now["durable_object_namespaces"],
        all["durable_object_namespaces"]
    );

    // Another ID does not get the data by the name of the class.
    stage.workspace.edit(
        "main.tf",
        "a-much-longer-namespace",
        "another-long-namespace",
    );
    let all = stage.workspace.run(&["state", "list"]).await;
    for address in all.stdout.lines() {
        stage.workspace.run(&["state", "rm", address]).await;
    }
    stage.workspace.import(WORKER, "chat").await;
    stage.cloudflare.clear_calls();
    let refused = stage.workspace.apply_expecting_error(&count).await;
    refused.assert_says("has another stable ID");
    assert_eq!(stage.writes(), []);
    assert_eq!(stage.namespaces(), before);
}
