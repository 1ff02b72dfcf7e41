//! Sources that cannot be bundled, and bundles that no Worker can be made of, are refused at plan, each at its place.

use acceptance_tests::stage::Stage;
use acceptance_tests::terraform::Run;

use super::entrypoint::{BUNDLED, bundled};

const HINT: &str = "To destroy the Worker all the same: `terraform destroy -refresh=false`.";

/// The plan is refused with these words, and nothing was written.
async fn refused(stage: &Stage, says: &[&str]) -> Run {
    let run = stage.workspace.plan_expecting_error(&[]).await;
    for part in says {
        run.assert_says(part);
    }
    run.assert_never_says("panic");
    run.assert_never_says("bug in the provider");
    assert_eq!(stage.writes(), []);
    run
}

/// A workspace in which one file of the sources is this instead.
async fn with_source(file: &str, text: &str) -> Stage {
    let stage = bundled(BUNDLED).await;
    stage.workspace.write(file, text);
    stage
}

/// What is printed of one error, to the letter.
#[track_caller]
fn assert_prints(run: &Run, error: &str) {
    assert!(run.stderr.contains(error), "not printed: {error}\n{run}");
}

#[tokio::test]
async fn a_syntax_error_is_shown_with_its_place_and_its_line() {
    let stage = with_source(
        "src/greeting.ts",
        "export const greeting = \"hello\";\n\nexport function count() {\n  const n = 1 +;\n  return n;\n}\n",
    )
    .await;
    let run = refused(&stage, &[HINT]).await;
    assert_prints(
        &run,
        r#"Error: Cannot bundle ./src/worker.ts: Unexpected token

  with cloudflare_worker.chat,
  on main.tf line 23, in resource "cloudflare_worker" "chat":
  23:   entrypoint         = "${path.module}/src/worker.ts"

src/greeting.ts:4:16

  3 | export function count() {
  4 |   const n = 1 +;
    |                ^

To destroy the Worker all the same: `terraform destroy -refresh=false`.
"#,
    );
    // Once corrected it is no longer remembered.
    stage.workspace.edit("src/greeting.ts", "1 +;", "1;");
    stage.apply(&[]).await;
    assert_eq!(stage.visit("chat").await, "hello 1");
}

#[tokio::test]
async fn every_problem_is_an_error_of_its_own() {
    let stage = bundled(BUNDLED).await;
    stage.workspace.write(
        "src/greeting.ts",
        "import a from \"./not-there\";\nimport b from \"./nor-there\";\nexport const greeting = a + b;\n",
    );
    let says = ["Cannot find `./not-there`", "Cannot find `./nor-there`"];
    let run = refused(&stage, &says).await;
    assert_eq!(
        run.stderr.matches("Error: Cannot bundle").count(),
        2,
        "{run}"
    );
    assert_eq!(run.stderr.matches("terraform destroy").count(), 1, "{run}");
}

#[tokio::test]
async fn a_package_that_is_not_installed_is_told_with_what_to_do() {
    let stage = with_source(
        "src/greeting.ts",
        "import { Hono } from \"hono\";\nexport const greeting = new Hono();\n",
    )
    .await;
    refused(
        &stage,
        &[
            "Cannot bundle ./src/worker.ts",
            "hono",
            "src/greeting.ts:1:22",
            "npm install",
            HINT,
        ],
    )
    .await;
    // Unless it is meant to stay an import.
    stage.workspace.edit(
        "main.tf",
        "  bindings = {",
        "  bundle = { external = [\"hono\"] }\n  bindings = {",
    );
    stage.workspace.plan(&[]).await;
}

#[tokio::test]
async fn an_entry_that_is_no_file_is_refused() {
    let stage = bundled(BUNDLED).await;
    for (entry, says) in [
        ("src/missing.ts", "Cannot bundle src/missing.ts"),
        ("src", "Cannot bundle src"),
        (
            "src/wor\\u0000ker.ts",
            "Cannot bundle src/wor\u{fffd}ker.ts",
        ),
        ("../../../../../../nowhere.ts", "Cannot bundle ../../"),
        ("main.tf", "Cannot bundle main.tf"),
    ] {
        stage.configure(&BUNDLED.replace("${path.module}/src/worker.ts", entry));
        refused(&stage, &[says, HINT]).await;
    }
}

#[tokio::test]
async fn a_class_that_the_entry_does_not_export_is_told_by_the_name_of_the_entry() {
    let stage = bundled(BUNDLED).await;
    stage.workspace.edit(
        "src/worker.ts",
        "export { Room } from",
        "export { Room as Hall } from",
    );
    let run = refused(
        &stage,
        &[
            "Class `Room` is not exported",
            "The namespace with the stable ID `rooms` needs the class `Room`, but `./src/worker.ts` does not export it. It exports `Hall`.",
            HINT,
        ],
    )
    .await;
    run.assert_never_says("worker.js");
    stage.workspace.write(
        "src/worker.ts",
        "export const Room = () => 1;\nexport default {};\n",
    );
    refused(
        &stage,
        &[
            "Export `Room` is no class",
            "but `./src/worker.ts` exports an arrow function of that name",
        ],
    )
    .await;
}

#[tokio::test]
async fn an_export_that_stops_the_worker_is_told_by_the_name_of_the_entry() {
    let stage = bundled(BUNDLED).await;
    let text = stage.workspace.read("src/worker.ts") + "export const VERSION: number = 3;\n";
    stage.workspace.write("src/worker.ts", &text);
    let run = refused(
        &stage,
        &[
            "Export `VERSION` stops the Worker from starting",
            "but `./src/worker.ts` exports `VERSION`, which is a number. Export it from another file, which this one and others can import.",
            HINT,
        ],
    )
    .await;
    run.assert_never_says("worker.js");
}

#[tokio::test]
async fn a_script_in_the_format_before_modules_is_refused() {
    let stage = with_source(
        "src/worker.ts",
        "addEventListener(\"fetch\", (event: FetchEvent) => event.respondWith(new Response(\"hello\")));\n",
    )
    .await;
    let says = ["exports nothing", "addEventListener", HINT];
    refused(&stage, &says).await;
}

#[tokio::test]
async fn options_that_cannot_be_are_refused_without_looking_at_a_file() {
    for (bundle, says) in [
        (
            "{ define = { \"a-b\" = \"1\" } }",
            ["Not a name to define", "bundle.define[\"a-b\"]"],
        ),
        (
            "{ define = { VERSION = \"1.2.3\" } }",
            ["Not a value to define", "jsonencode"],
        ),
        (
            "{ define = { VERSION = null } }",
            ["Null element", "bundle.define[\"VERSION\"]"],
        ),
        (
            "{ external = [\"\"] }",
            ["Empty text", "bundle.external[0]"],
        ),
        (
            "{ conditions = [null] }",
            ["Null element", "bundle.conditions[0]"],
        ),
        ("{ tsconfig = \" \" }", ["Empty text", "bundle.tsconfig"]),
        ("{ minify = \"yes\" }", ["a bool is required", "bundle"]),
    ] {
        let configuration = BUNDLED
            .replace("${path.module}/src/worker.ts", "not/there.ts")
            .replace(
                "  bindings = {",
                &format!("  bundle = {bundle}\n  bindings = {{"),
            );
        let stage = Stage::with(&configuration).await;
        let run = stage.workspace.validate_expecting_error().await;
        for part in says {
            run.assert_says(part);
        }
    }
    let entrypoint = "entrypoint         = \"${path.module}/src/worker.ts\"";
    for (code, says) in [
        (
            format!("{entrypoint}\n  script = \"x\""),
            "`script` and `entrypoint` exclude each other",
        ),
        (
            format!("{entrypoint}\n  modules = {{ \"a.js\" = {{ content = \"x\" }} }}"),
            "`entrypoint` and `modules` exclude each other",
        ),
        (
            format!("{entrypoint}\n  main_module = \"a.js\""),
            "The runtime starts `entrypoint`",
        ),
        ("entrypoint = \"\"".to_owned(), "Empty entrypoint"),
        (
            "script = \"x\"\n  bundle = { minify = true }".to_owned(),
            "Nothing to bundle",
        ),
    ] {
        let stage = Stage::with(&BUNDLED.replace(entrypoint, &code)).await;
        let run = stage.workspace.validate_expecting_error().await;
        run.assert_says(says);
    }
    // A module that is called with one of two.
    let either = BUNDLED.replace(entrypoint, "entrypoint = var.file\n  script = var.text")
        + "variable \"file\" {\n  default = null\n}\nvariable \"text\" {\n  default = null\n}\n";
    Stage::with(&either).await.workspace.validate().await;
}
