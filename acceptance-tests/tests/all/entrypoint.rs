//! The life of a Worker whose TypeScript the provider bundles: deployed, edited, renamed, moved, taken over and destroyed like any other.

use acceptance_tests::cloudflare::Misbehaviour;
use acceptance_tests::stage::Stage;
use serde_json::{Value, json};

use super::counter::{CHAT, metadata, only_change, upload, upload_as_another_tool};
use super::interruption::{start_apply, until_called};

/// A Worker `chat` with one namespace that counts visits.
pub const BUNDLED: &str = r#"
variable "class" {
  default = "Room"
}

resource "cloudflare_do_namespace" "rooms" {
  stable_id     = "rooms"
  class_name    = var.class
  force_destroy = true
}

resource "cloudflare_worker" "chat" {
  name               = "chat"
  compatibility_date = "2026-11-01"
  workers_dev        = true
  entrypoint         = "${path.module}/src/worker.ts"
  bindings = {
    ROOMS = cloudflare_do_namespace.rooms
  }
}
"#;

const WORKER_TS: &str = r#"import type { Environment } from "./environment";
export { Room } from "./room";

export default {
  fetch(request: Request, env: Environment): Promise<Response> {
    return env.ROOMS.get(env.ROOMS.idFromName("one")).fetch(request);
  },
} satisfies ExportedHandler<Environment>;
"#;

const ROOM_TS: &str = r#"import { DurableObject } from "cloudflare:workers";
import { greeting } from "./greeting";

export class Room extends DurableObject {
  async fetch(): Promise<Response> {
    const count = ((await this.ctx.storage.get<number>("count")) ?? 0) + 1;
    await this.ctx.storage.put("count", count);
    return new Response(`${greeting} ${count}`);
  }
}
"#;

/// Writes the sources into a folder of the workspace.
pub fn write_sources(stage: &Stage, folder: &str) {
    for (file, text) in [
        ("worker.ts", WORKER_TS),
        ("room.ts", ROOM_TS),
        (
            "greeting.ts",
            "export const greeting: string = \"hello\";\n",
        ),
        (
            "environment.ts",
            "export interface Environment {\n  ROOMS: DurableObjectNamespace;\n}\n",
        ),
    ] {
        stage.workspace.write(&format!("{folder}/{file}"), text);
    }
}

/// A workspace with this configuration and the sources in `src`.
pub async fn bundled(configuration: &str) -> Stage {
    let stage = Stage::with(configuration).await;
    write_sources(&stage, "src");
    stage
}

/// The text of a module that runs; panics if there is none of that name.
#[track_caller]
pub fn uploaded(stage: &Stage, script: &str, module: &str) -> String {
    let account = stage.cloudflare.account();
    let modules = &account.scripts[script].code.modules;
    let mut named = modules.iter().filter(|it| it.name == module);
    let found = named.next().unwrap_or_else(|| {
        let names: Vec<&str> = modules.iter().map(|it| it.name.as_str()).collect();
        panic!("no module `{module}` in {names:?}")
    });
    String::from_utf8_lossy(&found.body).into_owned()
}

async fn attribute(stage: &Stage, name: &str) -> Value {
    stage.workspace.resource("cloudflare_worker.chat").await[name].clone()
}

#[tokio::test]
async fn typescript_with_a_durable_object_is_deployed_edited_and_destroyed() {
    let stage = bundled(BUNDLED).await;
    let run = stage.workspace.plan(&[]).await;
    run.assert_says("create rooms: Room");
    stage.apply(&[]).await;
    assert_eq!(stage.visit("chat").await, "hello 1");
    assert_eq!(stage.visit("chat").await, "hello 2");
    let first = attribute(&stage, "content_sha256").await;

    // The same sources are the same code.
    stage.cloudflare.clear_calls();
    stage.workspace.apply(&[]).await;
    assert_eq!(stage.writes(), []);

    stage.workspace.edit("src/greeting.ts", "hello", "welcome");
    let (actions, names) = only_change(&stage, &[]).await;
    assert_eq!(actions, json!(["update"]));
    assert_eq!(names, ["content_sha256", "etag"]);
    stage.apply(&[]).await;
    assert_eq!(stage.visit("chat").await, "welcome 3");
    assert_ne!(attribute(&stage, "content_sha256").await, first);

    // What changes no code changes nothing.
    stage
        .workspace
        .edit("src/environment.ts", "export", "// A comment.\nexport");
    stage.workspace.assert_plan_is_empty(&[]).await;
    stage.workspace.destroy(&[]).await;
    assert!(stage.cloudflare.account().scripts.is_empty());
    assert_eq!(stage.namespaces(), []);
    stage.workspace.assert_nothing_left_behind();
}

#[tokio::test]
async fn a_class_renamed_in_typescript_keeps_its_data() {
    let stage = bundled(BUNDLED).await;
    stage.apply(&[]).await;
    assert_eq!(stage.visit("chat").await, "hello 1");
    let before = stage.namespaces();
    stage
        .workspace
        .edit("src/room.ts", "class Room", "class Hall");
    stage
        .workspace
        .edit("src/worker.ts", "{ Room }", "{ Hall }");
    let renamed = &["-var", "class=Hall"];
    let run = stage.workspace.plan(renamed).await;
    run.assert_says("rename rooms: Room -> Hall (data kept)");
    stage.apply(renamed).await;
    assert_eq!(stage.visit("chat").await, "hello 2");
    let after = stage.namespaces();
    assert_eq!(before[0].1, after[0].1, "the same namespace");
    assert_eq!(after[0].0, "chat/Hall");
}

#[tokio::test]
async fn where_the_sources_are_changes_nothing() {
    let stage = bundled(BUNDLED).await;
    stage.apply(&[]).await;
    let hash = attribute(&stage, "content_sha256").await;
    write_sources(&stage, "elsewhere/with a space");
    std::fs::remove_dir_all(stage.workspace.path().join("src")).expect("it was written");
    let moved = "${path.module}/elsewhere/with a space/worker.ts";
    stage
        .workspace
        .edit("main.tf", "${path.module}/src/worker.ts", moved);
    let (actions, names) = only_change(&stage, &[]).await;
    assert_eq!(actions, json!(["update"]));
    assert_eq!(names, ["entrypoint"]);
    stage.cloudflare.clear_calls();
    stage.apply(&[]).await;
    assert_eq!(stage.writes(), []);
    assert_eq!(attribute(&stage, "content_sha256").await, hash);

    // By its absolute path it is the same file.
    let absolute = stage
        .workspace
        .path()
        .join("elsewhere/with a space/worker.ts");
    stage
        .workspace
        .edit("main.tf", moved, &absolute.display().to_string());
    let (_, names) = only_change(&stage, &[]).await;
    assert_eq!(names, ["entrypoint"]);
}

#[tokio::test]
async fn sources_that_change_between_plan_and_apply_stop_the_apply() {
    let stage = bundled(BUNDLED).await;
    stage.apply(&[]).await;
    assert_eq!(stage.visit("chat").await, "hello 1");
    stage.workspace.edit("src/greeting.ts", "hello", "welcome");
    stage.workspace.plan(&["-out=edit.tfplan"]).await;
    stage
        .workspace
        .edit("src/greeting.ts", "welcome", "something else");
    stage.cloudflare.clear_calls();
    let run = stage.workspace.run(&["apply", "edit.tfplan"]).await;
    assert!(!run.status.success(), "{run}");
    run.assert_says("content_sha256");
    assert_eq!(stage.writes(), []);
    assert_eq!(stage.visit("chat").await, "hello 2");

    // Back at what was planned, the same plan does.
    stage
        .workspace
        .edit("src/greeting.ts", "something else", "welcome");
    let run = stage.workspace.run(&["apply", "edit.tfplan"]).await;
    assert!(run.status.success(), "{run}");
    assert_eq!(stage.visit("chat").await, "welcome 3");

    // The same before there is a Worker.
    stage.workspace.destroy(&[]).await;
    stage.workspace.plan(&["-out=create.tfplan"]).await;
    stage.workspace.edit("src/greeting.ts", "welcome", "hello");
    stage.cloudflare.clear_calls();
    let run = stage.workspace.run(&["apply", "create.tfplan"]).await;
    assert!(!run.status.success(), "{run}");
    assert_eq!(stage.writes(), []);
    assert!(stage.cloudflare.account().scripts.is_empty());
}

#[tokio::test]
async fn a_script_becomes_an_entrypoint_and_back() {
    let stage = Stage::with(CHAT).await;
    stage.apply(&[]).await;
    assert_eq!(stage.visit("chat").await, "hello 1");
    write_sources(&stage, "src");
    let text = stage.workspace.read("main.tf");
    let (start, end) = (
        text.find("  script = <<-JS").expect("a script"),
        text.find("  JS\n").expect("its end") + "  JS\n".len(),
    );
    let script = text[start..end].to_owned();
    let entrypoint = "  entrypoint = \"${path.module}/src/worker.ts\"\n";
    stage.workspace.edit("main.tf", &script, entrypoint);
    let (_, names) = only_change(&stage, &[]).await;
    assert_eq!(names, ["content_sha256", "entrypoint", "etag", "script"]);
    stage.apply(&[]).await;
    assert_eq!(stage.visit("chat").await, "hello 2");

    // What was bundled is code like any other: as `modules` it is what runs already.
    stage
        .workspace
        .write("built.js", &uploaded(&stage, "chat", "worker.js"));
    let modules =
        "  modules = { \"worker.js\" = { content_file = \"${path.module}/built.js\" } }\n";
    stage.workspace.edit("main.tf", entrypoint, modules);
    let (_, names) = only_change(&stage, &[]).await;
    assert_eq!(names, ["entrypoint", "modules"]);
    stage.cloudflare.clear_calls();
    stage.apply(&[]).await;
    assert_eq!(stage.writes(), []);
    stage.workspace.edit("main.tf", modules, &script);
    stage.apply(&[]).await;
    assert_eq!(stage.visit("chat").await, "hello 3");
}

#[tokio::test]
async fn what_another_tool_uploads_is_seen_and_replaced_by_the_bundle() {
    let stage = bundled(BUNDLED).await;
    stage.apply(&[]).await;
    assert_eq!(stage.visit("chat").await, "hello 1");
    let mut metadata = metadata();
    metadata["migrations"] = Value::Null;
    upload(&stage, "chat", &metadata).await;
    assert_eq!(stage.visit("chat").await, "other 2");
    let (actions, names) = only_change(&stage, &[]).await;
    assert_eq!(actions, json!(["update"]));
    assert!(names.contains(&"content_sha256".to_owned()), "{names:?}");
    stage.apply(&[]).await;
    assert_eq!(stage.visit("chat").await, "hello 3");
}

#[tokio::test]
async fn an_imported_worker_with_the_same_bundle_needs_no_upload() {
    let stage = bundled(BUNDLED).await;
    stage.apply(&[]).await;
    assert_eq!(stage.visit("chat").await, "hello 1");
    stage
        .workspace
        .run(&["state", "rm", "cloudflare_worker.chat"])
        .await;
    stage.cloudflare.clear_calls();
    stage
        .workspace
        .import("cloudflare_worker.chat", "chat")
        .await;
    let (actions, names) = only_change(&stage, &[]).await;
    assert_eq!(actions, json!(["update"]));
    assert!(names.contains(&"entrypoint".to_owned()), "{names:?}");
    assert!(!names.contains(&"content_sha256".to_owned()), "{names:?}");
    stage.apply(&[]).await;
    assert_eq!(stage.uploads("chat"), [] as [Value; 0]);
    assert_eq!(stage.visit("chat").await, "hello 2");
}

#[tokio::test]
async fn an_existing_worker_is_adopted_with_bundled_code() {
    let adopting = BUNDLED.replace(
        "  workers_dev ",
        "  adopt              = true\n  workers_dev ",
    );
    let stage = bundled(&adopting).await;
    upload_as_another_tool(&stage, "chat").await;
    assert_eq!(stage.visit("chat").await, "other 1");
    let run = stage.apply(&[]).await;
    run.assert_says("Adopting an existing Worker");
    assert_eq!(stage.visit("chat").await, "hello 2");
}

#[tokio::test]
async fn a_create_that_was_killed_after_its_upload_goes_on_with_the_same_bundle() {
    let stage = bundled(BUNDLED).await;
    let slow = Misbehaviour::Delay { ms: 3000 }.times(1, "POST", "*/subdomain");
    stage.cloudflare.add_fault(slow);
    let mut apply = start_apply(&stage, &[]);
    until_called(&stage, "PUT", "/scripts/chat").await;
    apply.kill();
    drop(apply.wait().await);
    stage.cloudflare.faults().clear();
    stage.cloudflare.clear_calls();
    let run = stage.apply(&[]).await;
    run.assert_says("Going on with an interrupted create");
    assert_eq!(stage.uploads("chat"), [] as [Value; 0]);
    assert_eq!(stage.visit("chat").await, "hello 1");
}

/// Two namespaces whose classes can be swapped by a variable.
const TWO: &str = r#"
variable "swapped" {
  default = false
}

resource "cloudflare_do_namespace" "left" {
  stable_id  = "left"
  class_name = var.swapped ? "Right" : "Left"
}

resource "cloudflare_do_namespace" "right" {
  stable_id  = "right"
  class_name = var.swapped ? "Left" : "Right"
}

resource "cloudflare_worker" "pair" {
  name               = "pair"
  compatibility_date = "2026-11-01"
  workers_dev        = true
  entrypoint         = "src/pair.ts"
  bindings = {
    LEFT  = cloudflare_do_namespace.left
    RIGHT = cloudflare_do_namespace.right
  }
}
"#;

const PAIR_TS: &str = r#"import { DurableObject } from "cloudflare:workers";

class Counter extends DurableObject {
  async count(): Promise<number> {
    const count = ((await this.ctx.storage.get<number>("count")) ?? 0) + 1;
    await this.ctx.storage.put("count", count);
    return count;
  }
}
export class Left extends Counter {}
export class Right extends Counter {}

type Counters = DurableObjectNamespace<Counter>;

export default {
  async fetch(request: Request, env: { LEFT: Counters; RIGHT: Counters }): Promise<Response> {
    const left = env.LEFT.get(env.LEFT.idFromName("one"));
    const right = env.RIGHT.get(env.RIGHT.idFromName("one"));
    await right.count();
    return new Response(`left ${await left.count()} right ${await right.count()}`);
  },
};
"#;

#[tokio::test]
async fn two_bundled_classes_are_swapped_in_several_uploads() {
    let stage = Stage::with(TWO).await;
    stage.workspace.write("src/pair.ts", PAIR_TS);
    stage.apply(&[]).await;
    assert_eq!(stage.visit("pair").await, "left 1 right 2");
    assert_eq!(stage.visit("pair").await, "left 2 right 4");
    let swapped = &["-var", "swapped=true"];
    let run = stage.apply(swapped).await;
    run.assert_says("in 2 uploads");
    assert_eq!(stage.visit("pair").await, "left 3 right 6");
    let uploads = stage.uploads("pair");
    let mains: Vec<&Value> = uploads.iter().map(|it| &it["main_module"]).collect();
    assert_eq!(
        mains,
        ["worker.js", "durable-objects-entry.js", "worker.js"]
    );
}

#[tokio::test]
async fn an_entrypoint_that_is_not_known_before_apply_is_bundled_then() {
    let unknown = BUNDLED.replace(
        "entrypoint         = \"${path.module}/src/worker.ts\"",
        "entrypoint         = \"src/${terraform_data.file.output}\"",
    ) + "resource \"terraform_data\" \"file\" {\n  input = \"worker.ts\"\n}\n";
    let stage = bundled(&unknown).await;
    stage.apply(&[]).await;
    assert_eq!(stage.visit("chat").await, "hello 1");

    // One that turns out to be wrong stops the apply before anything is written.
    stage
        .workspace
        .edit("main.tf", "\"worker.ts\"", "\"missing.ts\"");
    stage.cloudflare.clear_calls();
    let run = stage.workspace.apply_expecting_error(&[]).await;
    run.assert_says("Cannot bundle src/missing.ts");
    assert_eq!(stage.writes(), []);
    assert_eq!(stage.visit("chat").await, "hello 2");
}

#[tokio::test]
async fn options_that_are_not_known_before_apply_leave_the_code_open() {
    let unknown = BUNDLED.replace(
        "  bindings = {",
        "  bundle = { define = { greeting = jsonencode(terraform_data.text.output) } }\n  bindings = {",
    ) + "resource \"terraform_data\" \"text\" {\n  input = \"welcome\"\n}\n";
    let stage = bundled(&unknown).await;
    stage.workspace.write(
        "src/greeting.ts",
        "declare const greeting: string;\nconst text = greeting;\nexport { text as greeting };\n",
    );
    stage.apply(&[]).await;
    assert_eq!(stage.visit("chat").await, "welcome 1");
}

#[tokio::test]
async fn two_workers_share_an_entry() {
    let second = BUNDLED
        .split_once("resource \"cloudflare_worker\" \"chat\"")
        .map(|(_, worker)| format!("resource \"cloudflare_worker\" \"copy\"{worker}"))
        .expect("a Worker")
        .replace("\"chat\"", "\"copy\"")
        .replace(
            "cloudflare_do_namespace.rooms",
            "cloudflare_do_namespace.others",
        );
    let namespace = "resource \"cloudflare_do_namespace\" \"others\" {\n  stable_id  = \"others\"\n  class_name = \"Room\"\n}\n";
    let stage = bundled(&format!("{BUNDLED}{namespace}{second}")).await;
    stage.apply(&[]).await;
    assert_eq!(stage.visit("chat").await, "hello 1");
    assert_eq!(stage.visit("copy").await, "hello 1");
    assert_eq!(stage.visit("chat").await, "hello 2");
    let copy = stage.workspace.resource("cloudflare_worker.copy").await;
    assert_eq!(
        attribute(&stage, "content_sha256").await,
        copy["content_sha256"]
    );
}

#[tokio::test]
async fn broken_sources_do_not_keep_a_worker_alive() {
    let stage = bundled(BUNDLED).await;
    stage.apply(&[]).await;
    stage
        .workspace
        .write("src/room.ts", "export class Room {\n");
    let refused = stage.workspace.destroy_expecting_error(&[]).await;
    refused.assert_says("Cannot bundle ./src/worker.ts");
    refused.assert_says("To destroy the Worker all the same: `terraform destroy -refresh=false`.");
    assert_eq!(stage.cloudflare.account().scripts.len(), 1);
    std::fs::remove_dir_all(stage.workspace.path().join("src")).expect("it was written");
    stage.workspace.destroy(&["-refresh=false"]).await;
    assert!(stage.cloudflare.account().scripts.is_empty());
}
