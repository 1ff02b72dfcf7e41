//! What a Worker can bind, and what changes of bindings upload.

use acceptance_tests::cloudflare::Action;
use acceptance_tests::stage::Stage;

const HOST: &str = r#"
variable "edit" {
  default = ""
}

locals {
  code = <<-JS
    import { DurableObject, WorkerEntrypoint } from "cloudflare:workers";
    export class Room extends DurableObject {
      async fetch() {
        const count = ((await this.ctx.storage.get("count")) ?? 0) + 1;
        await this.ctx.storage.put("count", count);
        return new Response(String(count));
      }
    }
    export class Named extends WorkerEntrypoint {
      fetch() { return new Response("named"); }
    }
    export default {
      async fetch(request, env, ctx) {
        const at = new URL(request.url).pathname.slice(1);
        if (at === "exports") {
          return ctx.exports.Room.get(ctx.exports.Room.idFromName("one")).fetch(request);
        }
        const bound = env[at];
        // A service answers to every name that is asked of it, so it goes first.
        if (at === "NAMED") return bound.fetch(request);
        if (bound?.idFromName) return bound.get(bound.idFromName("one")).fetch(request);
        return new Response(typeof bound === "object" ? JSON.stringify(bound) : String(bound));
      },
    };
  JS
}

resource "cloudflare_do_namespace" "rooms" {
  stable_id  = "rooms"
  class_name = "Room"
}

resource "cloudflare_worker" "host" {
  name               = "host"
  compatibility_date = "2026-11-01"
  script             = local.code
  durable_objects = {
    rooms = cloudflare_do_namespace.rooms
  }
}
"#;

#[tokio::test]
async fn every_kind_of_binding_is_applied_and_planned_empty() {
    let stage = Stage::with(HOST).await;
    let all = r#"
resource "cloudflare_worker" "all" {
  name               = "all"
  compatibility_date = "2026-11-01"
  compatibility_flags = ["nodejs_compat", "global_fetch_strictly_public"]
  script             = local.code
  vars = { SHORT = "short" }
  bindings = {
    SHARED = {
      type        = "durable_object_namespace"
      class_name  = "Room"
      script_name = cloudflare_worker.host.name
    }
    BY_ID  = { type = "durable_object_namespace", namespace_id = cloudflare_worker.host.durable_object_namespaces["rooms"].namespace_id }
    MINE   = cloudflare_do_namespace.mine
    AGAIN  = cloudflare_do_namespace.mine
    TEXT   = { type = "plain_text", text = "long" }
    JSON   = { type = "json", json = jsonencode({ b = [1, 2.5, null], a = "x" }) }
    SECRET = { type = "secret_text", text = "hush-hush" }
    OTHER  = cloudflare_worker.host
    NAMED  = { type = "service", service = cloudflare_worker.host.name, service_entrypoint = "Named" }
    KV     = { type = "kv_namespace", namespace_id = "0f2ac74b498b48028cb68387c421e279" }
    BUCKET = { type = "r2_bucket", bucket_name = "files" }
    DB     = { type = "d1", database_id = "5c4a8e2a-6f0d-4f6b-9a3c-000000000001" }
    QUEUE  = { type = "queue", queue_name = "jobs" }
  }
}

resource "cloudflare_do_namespace" "mine" {
  stable_id  = "mine"
  class_name = "Room"
}
"#;
    stage.workspace.write("all.tf", all);
    stage.apply(&[]).await;
    let read = async |path: &str| stage.visitor.read("all", path).await;
    assert_eq!(read("/MINE").await, "1");
    assert_eq!(read("/AGAIN").await, "2");
    assert_eq!(stage.visitor.read("host", "/exports").await, "1");
    assert_eq!(read("/SHARED").await, "2");
    assert_eq!(read("/BY_ID").await, "3");
    assert_eq!(read("/SHORT").await, "short");
    assert_eq!(read("/TEXT").await, "long");
    assert_eq!(read("/JSON").await, r#"{"a":"x","b":[1,2.5,null]}"#);
    assert_eq!(read("/SECRET").await, "hush-hush");
    assert_eq!(read("/NAMED").await, "named");

    // Written another way, or elsewhere, it is the same.
    stage.cloudflare.clear_calls();
    stage.workspace.edit(
        "all.tf",
        "vars = { SHORT = \"short\" }",
        "vars = { TEXT = \"long\" }",
    );
    stage.workspace.edit(
        "all.tf",
        "TEXT   = { type = \"plain_text\", text = \"long\" }",
        "SHORT = { type = \"plain_text\", text = \"short\" }",
    );
    stage.workspace.edit(
        "all.tf",
        "jsonencode({ b = [1, 2.5, null], a = \"x\" })",
        "\"{ \\\"b\\\": [1, 2.5, null], \\\"a\\\": \\\"x\\\" }\"",
    );
    stage.workspace.edit(
        "all.tf",
        "[\"nodejs_compat\", \"global_fetch_strictly_public\"]",
        "[\"global_fetch_strictly_public\", \"nodejs_compat\"]",
    );
    stage.apply(&[]).await;
    assert_eq!(stage.writes(), []);

    // A secret of ours that is removed is gone.
    stage.workspace.edit(
        "all.tf",
        "SECRET = { type = \"secret_text\", text = \"hush-hush\" }",
        "",
    );
    stage.apply(&[]).await;
    assert_eq!(stage.uploads("all").len(), 1);
    assert_eq!(
        read("/SECRET").await,
        "undefined",
        "{:?}",
        stage.uploads("all")
    );
}

#[tokio::test]
async fn a_name_is_pointed_elsewhere_and_a_namespace_is_handed_on() {
    let stage = Stage::with(HOST).await;
    let chain = r#"
resource "cloudflare_do_namespace" "halls" {
  stable_id  = "halls"
  class_name = "Hall"
}

resource "cloudflare_worker" "halls" {
  name               = "halls"
  compatibility_date = "2026-11-01"
  script             = "${local.code}\nexport class Hall extends Room {}"
  bindings           = { SHARED = cloudflare_do_namespace.halls }
}

resource "cloudflare_worker" "first" {
  name               = "first"
  compatibility_date = "2026-11-01"
  script             = local.code
  bindings = {
    SHARED = cloudflare_worker.halls.bindings.SHARED
    OTHER  = cloudflare_worker.halls
    NAMED  = { type = "service", service = "first", service_entrypoint = "Named" }
  }
}

resource "cloudflare_worker" "second" {
  name               = "second"
  compatibility_date = "2026-11-01"
  script             = local.code
  bindings           = { SHARED = cloudflare_worker.first.bindings.SHARED }
}
"#;
    stage.workspace.write("chain.tf", chain);
    stage.apply(&[]).await;
    let read = async |script: &str| stage.visitor.read(script, "/SHARED").await;
    assert_eq!(read("halls").await, "1");
    assert_eq!(read("first").await, "2");
    assert_eq!(read("second").await, "3");
    assert_eq!(stage.visitor.read("first", "/NAMED").await, "named");

    // The name leads to the namespace of another Worker from now on, for everybody down the chain.
    stage.workspace.edit(
        "chain.tf",
        "SHARED = cloudflare_worker.halls.bindings.SHARED",
        "SHARED = { type = \"durable_object_namespace\", class_name = \"Room\", script_name = cloudflare_worker.host.name }",
    );
    stage.apply(&[]).await;
    assert_eq!(read("first").await, "1");
    assert_eq!(read("second").await, "2");
    assert_eq!(read("halls").await, "4");
    assert_eq!(stage.namespaces().len(), 2);
}

#[tokio::test]
async fn two_workers_bind_each_others_namespaces_by_name_only() {
    let pair = r#"
resource "cloudflare_do_namespace" "a" {
  stable_id   = "a"
  class_name  = "Room"
  script_name = "first"
}

resource "cloudflare_do_namespace" "b" {
  stable_id   = "b"
  class_name  = "Room"
  script_name = "second"
}

resource "cloudflare_worker" "pair" {
  for_each           = toset(["first", "second"])
  name               = each.key
  compatibility_date = "2026-11-01"
  script             = local.code
  bindings = {
    A = cloudflare_do_namespace.a
    B = cloudflare_do_namespace.b
  }
}
"#;
    let stage = Stage::with(HOST).await;
    stage.workspace.write("pair.tf", pair);
    stage.apply(&[]).await;
    for (script, path, count) in [
        ("first", "/A", "1"),
        ("second", "/A", "2"),
        ("first", "/B", "1"),
        ("second", "/B", "2"),
    ] {
        assert_eq!(stage.visitor.read(script, path).await, count);
    }
}

#[tokio::test]
async fn what_another_tool_changed_is_shown_and_repaired() {
    let stage = Stage::with(HOST).await;
    stage.workspace.edit(
        "main.tf",
        "  durable_objects = {",
        "  vars = { GREETING = \"hi\" }\n  durable_objects = {",
    );
    stage.apply(&[]).await;
    let act = async |action: Action| {
        stage
            .cloudflare
            .act(action)
            .await
            .expect("another tool can do that")
    };
    let script = || "host".to_owned();

    act(Action::SetVar {
        script: script(),
        name: "GREETING".into(),
        text: "changed".into(),
    })
    .await;
    act(Action::SetVar {
        script: script(),
        name: "ADDED".into(),
        text: "by hand".into(),
    })
    .await;
    act(Action::SetSecret {
        script: script(),
        name: "SECRET".into(),
        text: "theirs".into(),
    })
    .await;
    act(Action::SetTags {
        script: script(),
        tags: vec!["team:y".into()],
    })
    .await;
    let plan = stage.workspace.plan(&[]).await;
    plan.assert_says("\"changed\" -> \"hi\"");
    plan.assert_says("\"ADDED\"");
    plan.assert_never_says("theirs");
    stage.apply(&[]).await;
    assert_eq!(stage.visitor.read("host", "/GREETING").await, "hi");
    assert_eq!(stage.visitor.read("host", "/ADDED").await, "undefined");
    assert_eq!(stage.visitor.read("host", "/SECRET").await, "theirs");
    let tags = stage.cloudflare.account().scripts["host"]
        .settings
        .tags
        .clone();
    assert!(
        tags.contains(&"team:y".to_owned()) && tags.len() == 2,
        "{tags:?}"
    );

    act(Action::ChangeEtag { script: script() }).await;
    stage
        .workspace
        .plan(&[])
        .await
        .assert_says("content_sha256");
    stage.cloudflare.clear_calls();
    stage.apply(&[]).await;
    assert_eq!(stage.uploads("host").len(), 1);

    act(Action::DeleteWorker { script: script() }).await;
    stage
        .workspace
        .plan(&[])
        .await
        .assert_says("1 to add, 0 to change, 0 to destroy");
    stage.apply(&[]).await;
    assert_eq!(stage.visitor.read("host", "/exports").await, "1");
}

#[tokio::test]
async fn a_class_that_another_tool_renamed_is_renamed_back_with_its_data() {
    let stage = Stage::with(HOST).await;
    stage.workspace.edit(
        "main.tf",
        "export class Named",
        "export class Hall extends Room {}\n    export class Named",
    );
    stage.apply(&[]).await;
    assert_eq!(stage.visitor.read("host", "/exports").await, "1");
    let renamed = Action::RenameClass {
        script: "host".into(),
        from: "Room".into(),
        to: "Hall".into(),
    };
    stage
        .cloudflare
        .act(renamed)
        .await
        .expect("another tool can do that");
    let plan = stage.workspace.plan(&[]).await;
    plan.assert_says("rename rooms: Hall -> Room (data kept)");
    stage.apply(&[]).await;
    assert_eq!(stage.visitor.read("host", "/exports").await, "2");
}

#[tokio::test]
async fn a_class_that_another_worker_binds_is_named_before_it_is_deleted() {
    let stage = Stage::with(HOST).await;
    let client = r#"
resource "cloudflare_worker" "client" {
  name               = "client"
  compatibility_date = "2026-11-01"
  script             = local.code
  bindings = {
    ROOMS = { type = "durable_object_namespace", class_name = "Room", script_name = "host" }
  }
}
"#;
    stage.workspace.write("client.tf", client);
    stage.apply(&[]).await;
    let plan = stage
        .workspace
        .plan(&["-destroy", "-target=cloudflare_worker.host"])
        .await;
    plan.assert_says("Other Workers still bind what will be deleted");
    plan.assert_says("`client`");
    // Both in one run, in whatever order the core takes them: the host waits for the client to go.
    stage.workspace.destroy(&[]).await;
    assert!(stage.cloudflare.account().scripts.is_empty());
}

#[tokio::test]
async fn a_class_is_deleted_once_the_other_worker_has_let_go_of_it_in_the_same_run() {
    let stage = Stage::with(HOST).await;
    let client = r#"
resource "cloudflare_worker" "client" {
  name               = "client"
  compatibility_date = "2026-11-01"
  script             = local.code
  bindings = {
    ROOMS = { type = "durable_object_namespace", class_name = "Room", script_name = "host" }
  }
}
"#;
    stage.workspace.write("client.tf", client);
    stage.apply(&[]).await;
    let binding = "    ROOMS = { type = \"durable_object_namespace\", class_name = \"Room\", script_name = \"host\" }\n";
    stage.workspace.edit("client.tf", binding, "");
    let hosted = "    rooms = cloudflare_do_namespace.rooms\n";
    stage.workspace.edit("main.tf", hosted, "");
    let plan = stage.workspace.plan(&[]).await;
    plan.assert_says("Other Workers still bind what will be deleted");
    stage.apply(&[]).await;
    assert_eq!(stage.namespaces(), []);
}
