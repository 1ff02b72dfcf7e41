//! Values that are known only after apply are no bad input, but for the few that decide what is deleted; and mocks need no account.

use acceptance_tests::stage::Stage;

const CODE: &str = r#"
locals {
  code = <<-JS
    import { DurableObject } from "cloudflare:workers";
    export class Room extends DurableObject {
      async fetch() { return new Response("room"); }
    }
    export default {
      fetch(request, env) {
        return new Response(Object.keys(env).sort().join(" "));
      },
    };
  JS
}

resource "terraform_data" "later" {
  input = "later"
}

variable "on" {
  default = true
}

resource "cloudflare_do_namespace" "rooms" {
  stable_id  = "rooms"
  class_name = "Room"
}
"#;

fn worker(members: &str) -> String {
    format!(
        "{CODE}\nresource \"cloudflare_worker\" \"chat\" {{\n  name = \"chat\"\n  compatibility_date = \"2026-11-01\"\n  \
         script = local.code\n{members}\n}}\n"
    )
}

#[tokio::test]
async fn every_way_to_write_bindings_works() {
    let other = "resource \"cloudflare_worker\" \"other\" {\n  name = \"other\"\n  compatibility_date = \"2026-11-01\"\n  script = \
        \"export default { fetch() { return new Response(\\\"other\\\"); } };\"\n}\n";
    for (bindings, keys) in [
        (
            "merge({ ROOMS = cloudflare_do_namespace.rooms }, var.on ? { UP = cloudflare_worker.other } : {})",
            "ROOMS UP",
        ),
        (
            "{ for name, it in { A = cloudflare_do_namespace.rooms } : \"${name}_1\" => it }",
            "A_1",
        ),
        (
            "{ TEXT = { type = \"plain_text\", text = terraform_data.later.output }, ROOMS = cloudflare_do_namespace.rooms }",
            "ROOMS TEXT",
        ),
        (
            "{ UP = cloudflare_worker.other, ROOMS = cloudflare_do_namespace.rooms, J = { type = \"json\", json = jsonencode({ a = 1 }) } }",
            "J ROOMS UP",
        ),
    ] {
        let stage = Stage::with(&(worker(&format!("  bindings = {bindings}")) + other)).await;
        stage.apply(&[]).await;
        assert_eq!(stage.visit("chat").await, keys);
    }
}

#[tokio::test]
async fn names_classes_and_code_may_be_known_after_apply() {
    let stage = Stage::with(&worker(
        "  vars = { LATER = terraform_data.later.output, ID = terraform_data.later.id }\n  bindings = { ROOMS = cloudflare_do_namespace.late }",
    )
    .replace("script = local.code", "script = \"${local.code}// ${terraform_data.later.id}\"")
    .replace("name = \"chat\"", "name = \"chat-${terraform_data.later.output}\""))
    .await;
    let late = "resource \"cloudflare_do_namespace\" \"late\" {\n  stable_id = \"late\"\n  class_name = terraform_data.class.output\n}\n\
        resource \"terraform_data\" \"class\" {\n  input = \"Room\"\n}\n";
    stage.workspace.write("late.tf", late);
    stage.apply(&[]).await;
    assert_eq!(stage.namespaces()[0].0, "chat-later/Room");
    assert_eq!(stage.visit("chat-later").await, "ID LATER ROOMS");
}

#[tokio::test]
async fn many_namespaces_come_from_one_block() {
    let classes: Vec<String> = (0..12).map(|n| format!("Class{n}")).collect();
    let exports: String = classes
        .iter()
        .map(|class| format!("export class {class} extends DurableObject {{}} "))
        .collect();
    let configuration = format!(
        "resource \"cloudflare_do_namespace\" \"all\" {{\n  for_each = toset({classes:?})\n  stable_id = \"id-${{each.key}}\"\n  \
         class_name = each.key\n}}\nresource \"cloudflare_worker\" \"chat\" {{\n  name = \"chat\"\n  compatibility_date = \
         \"2026-11-01\"\n  script = <<-JS\nimport {{ DurableObject }} from \"cloudflare:workers\"; {exports}\nexport default {{ fetch() \
         {{ return new Response(\"ok\"); }} }};\nJS\n  bindings = {{ for key, it in cloudflare_do_namespace.all : upper(key) => it }}\n}}\n"
    );
    let stage = Stage::with(&configuration).await;
    stage.apply(&[]).await;
    assert_eq!(stage.namespaces().len(), 12);
    assert_eq!(stage.uploads("chat").len(), 1);
}

#[tokio::test]
async fn modules_pass_bindings_on_without_naming_their_type() {
    let stage = Stage::with(CODE).await;
    stage.workspace.write(
        "worker/main.tf",
        "terraform {\n  required_providers {\n    cloudflare = {\n      source = \"durable-objects/cloudflare\"\n    }\n  }\n}\n\
         variable \"bindings\" {\n  type = any\n}\nvariable \"script\" {}\nresource \"cloudflare_worker\" \"it\" {\n  name = \
         \"chat\"\n  compatibility_date = \"2026-11-01\"\n  script = var.script\n  bindings = var.bindings\n}\n",
    );
    let caller = "resource \"cloudflare_do_namespace\" \"counted\" {\n  count = 1\n  stable_id = \"counted-${count.index}\"\n  \
        class_name = \"Counted\"\n}\nmodule \"worker\" {\n  source = \"./worker\"\n  script = \"${local.code}\\nexport class \
        Counted extends Room {}\"\n  bindings = {\n    ROOMS = cloudflare_do_namespace.rooms\n    COUNTED = \
        cloudflare_do_namespace.counted[0]\n    LATER = { type = \"service\", service = \"chat\", service_entrypoint = null }\n  }\n}\n";
    stage.workspace.write("caller.tf", caller);
    let init = stage.workspace.run(&["get"]).await;
    assert!(init.status.success(), "{init}");
    stage.apply(&[]).await;
    assert_eq!(stage.visit("chat").await, "COUNTED LATER ROOMS");
}

#[tokio::test]
async fn what_decides_about_deletion_must_be_known() {
    let stage = Stage::with(&worker(
        "  bindings = { ROOMS = cloudflare_do_namespace.rooms }",
    ))
    .await;
    stage.apply(&[]).await;
    stage.cloudflare.clear_calls();
    let main = stage.workspace.read("main.tf");
    let late = "resource \"terraform_data\" \"next\" {\n  input = \"x\"\n}\n";
    for (before, after, path) in [
        (
            "{ ROOMS = cloudflare_do_namespace.rooms }",
            "{ for key in [terraform_data.next.id] : key => cloudflare_do_namespace.rooms }",
            "`bindings`",
        ),
        (
            "stable_id  = \"rooms\"",
            "stable_id  = terraform_data.next.id",
            "`stable_id`",
        ),
    ] {
        let changed = main.replace(before, after);
        assert_ne!(changed, main);
        stage.workspace.write("main.tf", &(changed + late));
        let refused = stage.workspace.plan_expecting_error(&[]).await;
        refused.assert_says(path);
        refused.assert_says("known");
        assert_eq!(stage.writes(), []);
    }
}

#[tokio::test]
async fn mocks_need_no_account() {
    let stage = Stage::with(&worker(
        "  bindings = { ROOMS = cloudflare_do_namespace.rooms }",
    ))
    .await;
    let client = "resource \"cloudflare_worker\" \"client\" {\n  name = \"client\"\n  compatibility_date = \"2026-11-01\"\n  script = \
        local.code\n  bindings = {\n    ROOMS = cloudflare_worker.chat.bindings.ROOMS\n    CHAT = cloudflare_worker.chat\n  }\n}\n";
    stage.workspace.write("client.tf", client);
    let test = "mock_provider \"cloudflare\" {}\n\nrun \"plan\" {\n  command = plan\n  assert {\n    condition = \
        cloudflare_worker.chat.name == \"chat\"\n    error_message = \"name\"\n  }\n}\n\nrun \"apply\" {\n  assert {\n    condition = \
        cloudflare_worker.client.bindings.ROOMS.stable_id == \"rooms\"\n    error_message = \"re-export\"\n  }\n}\n";
    stage.workspace.write("main.tftest.hcl", test);
    let run = stage.workspace.run(&["test"]).await;
    assert!(run.status.success(), "{run}");
    run.assert_says("2 passed, 0 failed");
    assert_eq!(stage.cloudflare.calls(), []);
}
