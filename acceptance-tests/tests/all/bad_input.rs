//! What cannot be meant is refused before anything is written, at its place, with a way out.

use acceptance_tests::cloudflare::Action;
use acceptance_tests::cloudflare::account::Plan;
use acceptance_tests::stage::Stage;
use acceptance_tests::terraform::Run;

const CODE: &str = "import { DurableObject } from \"cloudflare:workers\"; export class Room extends DurableObject {} \
    export default { fetch() { return new Response(\"ok\"); } };";

/// A namespace with these members.
fn namespace(name: &str, members: &str) -> String {
    format!("resource \"cloudflare_do_namespace\" \"{name}\" {{\n{members}\n}}\n")
}

/// A Worker with these members; `SCRIPT` stands for code that exports `Room`.
fn worker(members: &str) -> String {
    let script = format!("script = {CODE:?}");
    let members = members.replace("SCRIPT", &script);
    format!(
        "resource \"cloudflare_worker\" \"chat\" {{\n  name = \"chat\"\n  compatibility_date = \"2026-11-01\"\n{members}\n}}\n"
    )
}

/// The run that refuses a configuration; it names the place, and nothing was written.
async fn refused(configuration: &str, says: &[&str]) -> Run {
    let stage = Stage::with(configuration).await;
    let run = stage.workspace.plan_expecting_error(&[]).await;
    for part in says {
        run.assert_says(part);
    }
    run.assert_never_says("panic");
    run.assert_never_says("bug in the provider");
    assert_eq!(stage.writes(), []);
    run
}

const ROOM: &str = "  stable_id = \"rooms\"\n  class_name = \"Room\"";

#[tokio::test]
async fn names_that_cannot_be() {
    for class in ["my-class", "class", "await", "1st", ""] {
        let members = format!("  stable_id = \"a\"\n  class_name = {class:?}");
        refused(
            &namespace("a", &members),
            &["Invalid class name", "`class_name` is"],
        )
        .await;
    }
    let long = "x".repeat(256);
    for id in ["", "class:Room", long.as_str()] {
        let members = format!("  stable_id = {id:?}\n  class_name = \"Room\"");
        refused(&namespace("a", &members), &["Invalid stable ID"]).await;
    }
    let bad_name = worker("SCRIPT").replace("\"chat\"\n  comp", "\"My.Worker\"\n  comp");
    refused(
        &bad_name,
        &["Invalid Worker name", "`name` is \"My.Worker\""],
    )
    .await;
    refused(
        &namespace("a", "  stable_id = \"a\""),
        &["Missing class name"],
    )
    .await;
    refused(
        &namespace("a", "  stable_id = null\n  class_name = \"Room\""),
        &["stable_id"],
    )
    .await;
}

#[tokio::test]
async fn names_that_are_unusual_but_fine() {
    let unusual = namespace(
        "a",
        "  stable_id = \"a:b=c%d \\\"ü\\\" {}\"\n  class_name = \"Größe_$1\"",
    );
    let stage = Stage::with(&unusual).await;
    stage.apply(&[]).await;
}

#[tokio::test]
async fn namespaces_that_contradict_each_other() {
    let two = |first: &str, second: &str| {
        let both = namespace("a", first) + &namespace("b", second);
        both + &worker(
            "SCRIPT\n  bindings = {\n A = cloudflare_do_namespace.a\n B = cloudflare_do_namespace.b\n }",
        )
    };
    let says = ["Room", "with cloudflare_worker.chat"];
    refused(
        &two(ROOM, "  stable_id = \"halls\"\n  class_name = \"Room\""),
        &says,
    )
    .await;
    refused(
        &two(ROOM, "  stable_id = \"rooms\"\n  class_name = \"Hall\""),
        &["rooms"],
    )
    .await;
    refused(&two(ROOM, &format!("{ROOM}\n  sqlite = false")), &["rooms"]).await;
    refused(
        &two(ROOM, &format!("{ROOM}\n  script_name = \"other\"")),
        &["rooms"],
    )
    .await;
    // Two bindings of one namespace are fine.
    let twice = namespace("a", ROOM)
        + &worker(
            "SCRIPT\n  bindings = {\n A = cloudflare_do_namespace.a\n B = cloudflare_do_namespace.a\n }",
        );
    let stage = Stage::with(&twice).await;
    stage.apply(&[]).await;
    assert_eq!(stage.namespaces().len(), 1);
}

#[tokio::test]
async fn bindings_that_bind_nothing() {
    for (element, says) in [
        (
            "{ type = \"kv\" }",
            ["Unknown binding type", "bindings[\"X\"].type"],
        ),
        (
            "{ type = \"kv_namespace\" }",
            [
                "Missing member of a kv_namespace binding",
                "bindings[\"X\"].namespace_id",
            ],
        ),
        (
            "{ type = \"kv_namespace\", namspace_id = \"x\" }",
            ["Missing member", "misspelt"],
        ),
        (
            "{ type = \"plain_text\", text = \"a\", queue_name = \"q\" }",
            ["does not belong", "bindings[\"X\"].queue_name"],
        ),
        (
            "{ type = \"json\", json = \"{\" }",
            ["Invalid JSON", "jsonencode"],
        ),
        ("{ foo = \"bar\" }", ["Not a binding", "bindings[\"X\"]"]),
        ("null", ["Null element", "bindings[\"X\"]"]),
        (
            "{ type = \"durable_object_namespace\" }",
            ["Missing class name", "bindings[\"X\"].class_name"],
        ),
        (
            "{ type = \"durable_object_namespace\", class_name = \"Room\" }",
            ["has no stable ID", "cloudflare_do_namespace"],
        ),
    ] {
        refused(
            &worker(&format!("SCRIPT\n  bindings = {{ X = {element} }}")),
            &says,
        )
        .await;
    }
    let id =
        namespace("a", ROOM) + &worker("SCRIPT\n  bindings = { X = cloudflare_do_namespace.a.id }");
    refused(&id, &["bindings", "object required"]).await;
    let wrong = "resource \"terraform_data\" \"a\" {}\n".to_owned()
        + &worker("SCRIPT\n  durable_objects = { X = { type = \"plain_text\", text = \"a\" } }");
    refused(
        &wrong,
        &["Not a Durable Object namespace", "durable_objects[\"X\"]"],
    )
    .await;
    refused(
        &worker("SCRIPT\n  vars = { A = null }"),
        &["Null element", "vars[\"A\"]"],
    )
    .await;
    let both = worker(
        "SCRIPT\n  vars = { A = \"x\" }\n  bindings = { A = { type = \"plain_text\", text = \"y\" } }",
    );
    refused(&both, &["Two bindings of one name"]).await;
}

#[tokio::test]
async fn code_that_is_none() {
    for (members, says) in [
        ("  script = \"\"", "Empty script"),
        ("", "Worker without code"),
        (
            "SCRIPT\n  modules = { \"a.js\" = { content = \"x\" } }",
            "Two sources of code",
        ),
        ("  modules = {}", "No modules"),
        (
            "  modules = { \"a.js\" = { content_file = \"missing.js\" } }",
            "Cannot read module `a.js`",
        ),
        ("  modules = { \"a.js\" = {} }", "A module needs one source"),
        (
            "  modules = { \"a.js\" = { content_base64 = \"%\" } }",
            "is not base64",
        ),
        (
            "  modules = { \"a.js\" = { content = \"x\" }, \"b.js\" = { content = \"y\" } }",
            "Missing main module",
        ),
        (
            "  modules = { \"a.unheard\" = { content = \"x\" } }",
            "Unknown type of module",
        ),
        ("SCRIPT\n  main_module = \"a.js\"", "No modules to start"),
        (
            "SCRIPT\n  timeouts = { create = \"soon\" }",
            "Invalid duration",
        ),
        (
            "SCRIPT\n  url = \"https://example.com\"",
            "read-only attribute",
        ),
    ] {
        refused(&worker(members), &[says]).await;
    }
    let date = worker("SCRIPT").replace("2026-11-01", "yesterday");
    refused(&date, &["Invalid compatibility date"]).await;
}

/// S11.
#[tokio::test]
async fn storage_never_changes() {
    let before = namespace("a", ROOM)
        + &worker("SCRIPT\n  bindings = { ROOMS = cloudflare_do_namespace.a }");
    let stage = Stage::with(&before).await;
    stage.apply(&[]).await;
    stage.cloudflare.clear_calls();
    stage
        .workspace
        .edit("main.tf", ROOM, &format!("{ROOM}\n  sqlite = false"));
    let run = stage.workspace.plan_expecting_error(&[]).await;
    run.assert_says("Storage of a namespace cannot change");
    run.assert_says("Set `sqlite = true`");
    run.assert_never_says("forces replacement");
    assert_eq!(stage.writes(), []);
}

/// S12, and S4 for an export that only Cloudflare misses.
#[tokio::test]
async fn what_only_cloudflare_knows_is_said_at_the_element() {
    let bound = |members: &str| {
        namespace("a", members)
            + &worker("SCRIPT\n  bindings = { ROOMS = cloudflare_do_namespace.a }")
    };
    let stage = Stage::with(&bound(&format!("{ROOM}\n  sqlite = false"))).await;
    stage
        .cloudflare
        .act(Action::SetPlan {
            plan: Plan::PaidWithoutKv,
        })
        .await
        .expect("the plan changes");
    let run = stage.workspace.apply_expecting_error(&[]).await;
    for part in [
        "10099",
        "The stable ID is `rooms`",
        "Remove `sqlite = false`",
        "cloudflare_do_namespace.a",
    ] {
        run.assert_says(part);
    }
    assert!(stage.cloudflare.account().scripts.is_empty());

    // What only running the code tells: these exports are no classes.
    let hall = bound("  stable_id = \"rooms\"\n  class_name = \"Hall\"").replace(
        "export default",
        "export const Hall = Object.freeze({}); export default",
    );
    let stage = Stage::with(&hall).await;
    let run = stage.workspace.apply_expecting_error(&[]).await;
    for part in ["10070", "`rooms`", "does not export this class"] {
        run.assert_says(part);
    }
    assert!(stage.cloudflare.account().scripts.is_empty());
    stage.workspace.edit("main.tf", "\"Hall\"", "\"Room\"");
    stage.apply(&[]).await;

    // A class that loses its export while it has a namespace.
    stage.workspace.edit(
        "main.tf",
        "export class Room extends DurableObject {}",
        "export const Room = Object.freeze({});",
    );
    let run = stage.workspace.apply_expecting_error(&[]).await;
    run.assert_says("10064");
    run.assert_says("dropped a class");
}
