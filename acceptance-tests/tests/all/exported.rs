//! The plan knows what the code exports: a class that is hosted has to be among it, and nothing that stops a Worker.

use acceptance_tests::stage::Stage;

use super::counter::{CHAT, upload_as_another_tool};

/// How the code of [`CHAT`] exports its class.
const EXPORT: &str = "export class ${var.class} extends DurableObject {";

/// [`CHAT`], in which the class is exported like this instead; what `Counter` stands for counts.
fn chat(exports: &str) -> String {
    let counter = format!("{exports}\n    class Counter extends DurableObject {{");
    let code = CHAT.replace(EXPORT, &counter);
    assert_ne!(code, CHAT);
    code
}

/// The plan is refused with these words, and nothing was written.
async fn refused(stage: &Stage, says: &[&str]) {
    stage.cloudflare.clear_calls();
    let run = stage.workspace.plan_expecting_error(&[]).await;
    for part in says {
        run.assert_says(part);
    }
    run.assert_says("To destroy the Worker all the same: `terraform destroy -refresh=false`.");
    run.assert_never_says("never-in-a-message");
    assert_eq!(stage.writes(), []);
}

#[tokio::test]
async fn a_class_that_is_renamed_only_in_hcl_is_refused_with_what_there_is() {
    let stage = Stage::with(CHAT).await;
    stage.apply(&[]).await;
    assert_eq!(stage.visit("chat").await, "hello 1");
    let before = stage.workspace.state_json().await;

    let class = "class_name    = var.class";
    stage
        .workspace
        .edit("main.tf", class, "class_name = \"Roam\"");
    let says = [
        "Class `Roam` is not exported",
        "with cloudflare_worker.chat",
        "The namespace with the stable ID `rooms` needs the class `Roam`, but the main module `worker.js` does not export it.",
        "It exports `Room`; did you mean `Room`?",
    ];
    refused(&stage, &says).await;
    stage.workspace.apply_expecting_error(&[]).await;
    assert_eq!(stage.writes(), []);
    assert_eq!(stage.workspace.state_json().await, before);
    assert_eq!(stage.visit("chat").await, "hello 2");

    stage.workspace.edit(
        "main.tf",
        EXPORT,
        "export class Roam extends DurableObject {",
    );
    let run = stage.apply(&[]).await;
    run.assert_says("rename rooms: Room -> Roam (data kept)");
    assert_eq!(stage.visit("chat").await, "hello 3");
}

#[tokio::test]
async fn a_class_in_durable_objects_has_to_be_exported_too() {
    let hosted = CHAT
        .replace("bindings = {", "durable_objects = {")
        .replace(EXPORT, "export class Hall extends DurableObject {");
    let stage = Stage::with(&hosted).await;
    refused(
        &stage,
        &[
            "Class `Room` is not exported",
            "`rooms`",
            "It exports `Hall`.",
        ],
    )
    .await;
}

#[tokio::test]
async fn what_is_no_class_is_refused_before_anything_is_written() {
    for (exports, says) in [
        (
            "export const Room = () => {};",
            "exports an arrow function of that name",
        ),
        (
            "export const Room = { a: 1 };",
            "exports an object of that name",
        ),
        (
            "export async function Room() {}",
            "exports an async function of that name",
        ),
    ] {
        let stage = Stage::with(&chat(exports)).await;
        refused(
            &stage,
            &["Export `Room` is no class", "the stable ID `rooms`", says],
        )
        .await;
    }
}

#[tokio::test]
async fn a_class_may_be_exported_in_every_way() {
    for exports in [
        "export { Counter as Room };",
        "export { Counter as \"Room\" };",
    ] {
        let stage = Stage::with(&chat(exports)).await;
        stage.apply(&[]).await;
        assert_eq!(stage.visit("chat").await, "hello 1", "{exports}");
    }
    // What nobody can tell without running it, and what bundlers write.
    let wrapped = CHAT
        .replace(
            EXPORT,
            "const wrap = (it) => it;\n    export const Room = wrap(class extends DurableObject {",
        )
        .replace("    }\n    export default", "    });\n    export default");
    let late = CHAT
        .replace(
            EXPORT,
            "var Room;\n    const init = () => { Room = class extends DurableObject {",
        )
        .replace(
            "    }\n    export default",
            "    } };\n    init();\n    export { Room };\n    export default",
        );
    for code in [wrapped, late] {
        let stage = Stage::with(&code).await;
        stage.apply(&[]).await;
        assert_eq!(stage.visit("chat").await, "hello 1", "{code}");
    }
}

/// A Worker of several modules, of which the main one only passes on what the others have.
const PASSED_ON: &str = r#"
resource "cloudflare_do_namespace" "rooms" {
  stable_id  = "rooms"
  class_name = "Room"
}

resource "cloudflare_worker" "chat" {
  name               = "chat"
  compatibility_date = "2026-11-01"
  workers_dev        = true
  main_module        = "main.js"
  modules = {
    "main.js" = {
      content = <<-JS
        export * from "./lib/halls.js";
        export * from "./lib/rooms.js";
        export default { fetch: (request, env) => env.ROOMS.get(env.ROOMS.idFromName("one")).fetch(request) };
      JS
    }
    "lib/halls.js" = {
      content = "export class Hall {}"
    }
    "lib/rooms.js" = {
      content = <<-JS
        import { DurableObject } from "cloudflare:workers";
        export class Room extends DurableObject {
          fetch() {
            return new Response("room");
          }
        }
      JS
    }
  }
  bindings = {
    ROOMS = cloudflare_do_namespace.rooms
  }
}
"#;

#[tokio::test]
async fn exports_are_followed_through_the_modules_that_are_uploaded() {
    let stage = Stage::with(PASSED_ON).await;
    stage.apply(&[]).await;
    assert_eq!(stage.visit("chat").await, "room");
    stage
        .workspace
        .edit("main.tf", "export class Room", "class Room");
    refused(
        &stage,
        &["Class `Room` is not exported", "It exports `Hall`."],
    )
    .await;
}

#[tokio::test]
async fn code_that_is_no_module_is_refused_with_its_place_only() {
    let broken = chat("const secret = \"never-in-a-message\"; }\n    export { Counter as Room };");
    let stage = Stage::with(&broken).await;
    refused(
        &stage,
        &[
            "Module `worker.js` is no JavaScript",
            "Line 2, column 38 of `worker.js`: Unexpected token.",
        ],
    )
    .await;
}

#[tokio::test]
async fn an_export_that_stops_the_worker_is_refused_by_its_name() {
    let stopping =
        chat("export { Counter as Room };\n    export const VERSION = \"never-in-a-message\";");
    let stage = Stage::with(&stopping).await;
    refused(
        &stage,
        &[
            "Export `VERSION` stops the Worker from starting",
            "which is a string",
        ],
    )
    .await;
    stage
        .workspace
        .edit("main.tf", "export const VERSION", "const VERSION");
    stage.apply(&[]).await;
    assert_eq!(stage.visit("chat").await, "hello 1");
}

/// Takes over a Worker whose class nobody gave a stable ID, with code that does not have that class.
const WITHOUT_THE_CLASS: &str = r#"
resource "cloudflare_worker" "chat" {
  name               = "chat"
  adopt              = true
  compatibility_date = "2026-11-01"
  script             = "export default { fetch: () => new Response('new') }"
}
"#;

#[tokio::test]
async fn code_without_a_class_that_stays_hosted_is_refused() {
    let stage = Stage::with(WITHOUT_THE_CLASS).await;
    upload_as_another_tool(&stage, "chat").await;
    refused(
        &stage,
        &[
            "Class `Room` is not exported",
            "A namespace that this Worker hosts without a stable ID needs the class `Room`",
            "It exports nothing by name.",
        ],
    )
    .await;
    assert_eq!(stage.visit("chat").await, "other 1");
}
