//! What is asked for in `bundle` shows in what is uploaded, and what a bundle needs of the runtime is told at plan.

use acceptance_tests::stage::Stage;
use acceptance_tests::terraform::Run;
use serde_json::{Value, json};

use super::counter::only_change;
use super::entrypoint::{BUNDLED, bundled, uploaded};

/// [`BUNDLED`] with these members of `bundle`.
fn with_options(options: &str) -> String {
    BUNDLED.replace(
        "  bindings = {",
        &format!("  bundle = {{\n    {options}\n  }}\n  bindings = {{"),
    )
}

/// Applies the same Worker with other options, and returns what runs then.
async fn deployed(stage: &Stage, options: &str) -> String {
    stage.configure(&with_options(options));
    stage.apply(&[]).await;
    uploaded(stage, "chat", "worker.js")
}

#[tokio::test]
async fn minified_code_is_shorter_and_does_the_same() {
    let stage = bundled(BUNDLED).await;
    stage.apply(&[]).await;
    assert_eq!(stage.visit("chat").await, "hello 1");
    let plain = uploaded(&stage, "chat", "worker.js");
    stage.configure(&with_options("minify = true"));
    let (_, names) = only_change(&stage, &[]).await;
    assert_eq!(names, ["bundle", "content_sha256", "etag"]);
    let minified = deployed(&stage, "minify = true").await;
    assert!(minified.len() < plain.len(), "{minified}");
    assert!(
        minified.lines().count() < plain.lines().count(),
        "{minified}"
    );
    assert_eq!(stage.visit("chat").await, "hello 2");

    // What says the same in other words changes nothing that runs.
    stage.cloudflare.clear_calls();
    assert_eq!(
        deployed(&stage, "minify = true\n    external = []").await,
        minified
    );
    assert_eq!(stage.writes(), []);
    stage.configure(BUNDLED);
    stage.apply(&[]).await;
    assert_eq!(uploaded(&stage, "chat", "worker.js"), plain);
}

#[tokio::test]
async fn a_source_map_is_uploaded_beside_the_code() {
    let stage = bundled(&with_options("source_map = true\n    minify = true")).await;
    stage.apply(&[]).await;
    assert_eq!(stage.visit("chat").await, "hello 1");
    let map: Value = serde_json::from_str(&uploaded(&stage, "chat", "worker.js.map"))
        .expect("a source map is JSON");
    let sources = map["sources"].as_array().expect("it lists the sources");
    let has = |ending: &str| {
        sources
            .iter()
            .any(|it| it.as_str().is_some_and(|it| it.ends_with(ending)))
    };
    assert!(has("room.ts") && has("greeting.ts"), "{sources:?}");
    let types: Vec<String> = stage.cloudflare.account().scripts["chat"]
        .code
        .modules
        .iter()
        .map(|it| it.content_type.clone())
        .collect();
    assert_eq!(
        types,
        ["application/javascript+module", "application/source-map"]
    );
    stage.configure(BUNDLED);
    stage.apply(&[]).await;
    let account = stage.cloudflare.account();
    assert_eq!(account.scripts["chat"].code.modules.len(), 1);
}

#[tokio::test]
async fn names_are_replaced_by_what_they_are_defined_as() {
    let stage = bundled(BUNDLED).await;
    stage.workspace.write(
        "src/greeting.ts",
        "export const greeting = `${process.env.STAGE} ${process.env.NODE_ENV}`;\n",
    );
    for (stage_name, visit) in [
        ("live", "live production 1"),
        ("te\\\"st", "te\"st production 2"),
    ] {
        let define = format!("define = {{ \"process.env.STAGE\" = jsonencode(\"{stage_name}\") }}");
        deployed(&stage, &define).await;
        assert_eq!(stage.visit("chat").await, visit);
    }
}

/// Installs a package by hand whose exports depend on conditions.
fn install(stage: &Stage) {
    let package = json!({
        "name": "where",
        "exports": {
            "staging": "./staging.js",
            "workerd": "./workerd.js",
            "default": "./default.js",
        },
    });
    stage
        .workspace
        .write("node_modules/where/package.json", &package.to_string());
    for name in ["staging", "workerd", "default"] {
        stage.workspace.write(
            &format!("node_modules/where/{name}.js"),
            &format!("export const greeting = \"{name}\";\n"),
        );
    }
    stage
        .workspace
        .write("src/greeting.ts", "export { greeting } from \"where\";\n");
}

#[tokio::test]
async fn conditions_choose_among_the_exports_of_a_package() {
    let stage = bundled(BUNDLED).await;
    install(&stage);
    for (options, visit) in [
        ("", "workerd 1"),
        ("conditions = [\"staging\"]", "staging 2"),
        ("conditions = []", "default 3"),
        ("conditions = [\"workerd\", \"staging\"]", "staging 4"),
    ] {
        deployed(&stage, options).await;
        assert_eq!(stage.visit("chat").await, visit, "{options}");
    }
}

#[tokio::test]
async fn an_external_package_stays_an_import() {
    let stage = bundled(&with_options("external = [\"where\"]")).await;
    install(&stage);
    // Nothing is there to import it from.
    let run = stage.workspace.apply_expecting_error(&[]).await;
    run.assert_says("Cannot upload Worker chat");
    run.assert_says("where");
    assert!(stage.cloudflare.account().scripts.is_empty());
}

#[tokio::test]
async fn the_configuration_of_typescript_is_the_nearest_or_the_one_that_is_named() {
    let stage = bundled(BUNDLED).await;
    let paths = |folder: &str| {
        json!({"compilerOptions": {"paths": {"@texts/*": [format!("{folder}/*")]}}}).to_string()
    };
    stage.workspace.write(
        "src/greeting.ts",
        "export { greeting } from \"@texts/greeting\";\n",
    );
    for language in ["en", "de"] {
        stage.workspace.write(
            &format!("texts/{language}/greeting.ts"),
            &format!("export const greeting = \"{language}\";\n"),
        );
    }
    stage.workspace.write("tsconfig.json", &paths("./texts/en"));
    stage
        .workspace
        .write("config/de.json", &paths("../texts/de"));
    deployed(&stage, "").await;
    assert_eq!(stage.visit("chat").await, "en 1");
    deployed(&stage, "tsconfig = \"${path.module}/config/de.json\"").await;
    assert_eq!(stage.visit("chat").await, "de 2");
    stage.configure(&with_options("tsconfig = \"config/missing.json\""));
    let run = stage.workspace.plan_expecting_error(&[]).await;
    run.assert_says("Cannot bundle ./src/worker.ts");
    run.assert_says("config/missing.json");
}

#[tokio::test]
async fn what_may_be_wrong_with_the_sources_is_told_when_they_are_uploaded() {
    let stage = bundled(BUNDLED).await;
    stage.workspace.write(
        "src/greeting.ts",
        "export const greeting = \"hello\";\nexport const run = (text: string) => eval(text);\n",
    );
    stage.workspace.edit(
        "src/room.ts",
        "import { greeting }",
        "import { greeting, run }",
    );
    stage.workspace.edit(
        "src/room.ts",
        "return new Response(",
        "run;\n    return new Response(",
    );
    let run = stage.workspace.plan(&[]).await;
    let warning = r#"Warning: Bundling ./src/worker.ts: The runtime refuses `eval`

  with cloudflare_worker.chat,
  on main.tf line 23, in resource "cloudflare_worker" "chat":
  23:   entrypoint         = "${path.module}/src/worker.ts"

src/greeting.ts:2:38

  1 | export const greeting = "hello";
  2 | export const run = (text: string) => eval(text);
    |                                      ^
"#;
    assert!(run.stdout.contains(warning), "{run}");
    stage.apply(&[]).await;
    assert_eq!(stage.visit("chat").await, "hello 1");
    let run = stage.workspace.plan(&[]).await;
    run.assert_never_says("eval");
}

/// A Worker that needs Node.js for some visits only, so that it starts without.
const NODE: &str = r#"
variable "text" {
  default = "x"
}

resource "cloudflare_worker" "chat" {
  name                = "chat"
  compatibility_date  = "2025-01-01"
  compatibility_flags = ["nodejs_compat"]
  workers_dev         = true
  entrypoint          = "src/worker.ts"
  vars = {
    TEXT = var.text
  }
}
"#;

fn warns(run: &Run) -> bool {
    run.says("Warning: The Worker imports Node.js modules")
}

#[tokio::test]
async fn modules_of_node_that_the_date_does_not_have_are_told_when_something_is_uploaded() {
    let stage = Stage::with(NODE).await;
    stage.workspace.write(
        "src/worker.ts",
        "import { Buffer } from \"node:buffer\";\n\
         export default {\n\
           async fetch(request: Request): Promise<Response> {\n\
             if (request.url.endsWith(\"/server\")) {\n\
               return new Response(String((await import(\"node:http\")).createServer));\n\
             }\n\
             return new Response(Buffer.from(\"hello\").toString(\"hex\"));\n\
           },\n\
         };\n",
    );
    let run = stage.workspace.plan(&[]).await;
    for part in [
        "Warning: The Worker imports Node.js modules that it will not have",
        "entrypoint",
        "node:http (from 2025-08-15 on), imported by src/worker.ts",
        "Set `compatibility_date` to 2025-08-15 or later.",
    ] {
        run.assert_says(part);
    }
    run.assert_never_says("node:buffer");
    stage.apply(&[]).await;
    assert_eq!(stage.visit("chat").await, "68656c6c6f");

    // Nothing that it depends on changes.
    assert!(!warns(&stage.workspace.plan(&[]).await));
    assert!(!warns(&stage.workspace.plan(&["-var", "text=y"]).await));
    stage.workspace.edit("main.tf", "2025-01-01", "2025-02-01");
    assert!(warns(&stage.workspace.plan(&[]).await));
    stage.workspace.edit("main.tf", "2025-02-01", "2025-08-15");
    assert!(!warns(&stage.workspace.plan(&[]).await));
    stage.apply(&[]).await;

    // Without Node.js compatibility it does not even start.
    stage.workspace.edit("main.tf", "[\"nodejs_compat\"]", "[]");
    let run = stage.workspace.plan(&[]).await;
    run.assert_says("The Worker will not start: Node.js compatibility is off");
    stage.workspace.edit("main.tf", "2025-08-15", "2026-11-01");
    let run = stage.apply(&[]).await;
    run.assert_never_says("Node.js");
    assert_eq!(stage.visit("chat").await, "68656c6c6f");
}

/// Fifty Workers with an entry of their own, and fifty that share one.
const FIFTY: &str = r#"
locals {
  numbers = toset([for number in range(50) : tostring(number)])
}

resource "cloudflare_worker" "own" {
  for_each           = local.numbers
  name               = "own-${each.key}"
  compatibility_date = "2026-11-01"
  entrypoint         = "src/${each.key}.ts"
}

resource "cloudflare_worker" "shared" {
  for_each           = local.numbers
  name               = "shared-${each.key}"
  compatibility_date = "2026-11-01"
  entrypoint         = "src/0.ts"
}
"#;

#[tokio::test]
async fn fifty_workers_are_bundled_at_once() {
    let stage = Stage::with(FIFTY).await;
    for number in 0..50 {
        stage.workspace.write(
            &format!("src/{number}.ts"),
            &format!("export default {{ fetch: (): Response => new Response(\"{number}\") }};\n"),
        );
    }
    let plan = stage.workspace.plan_json(&["-parallelism=50"]).await;
    let hashes = |name: &str| {
        let changes = plan["resource_changes"].as_array().expect("it lists them");
        let mut hashes: Vec<String> = changes
            .iter()
            .filter(|it| it["name"] == name)
            .map(|it| it["change"]["after"]["content_sha256"].to_string())
            .collect();
        assert_eq!(hashes.len(), 50);
        hashes.sort();
        hashes.dedup();
        hashes
    };
    let (own, shared) = (hashes("own"), hashes("shared"));
    assert_eq!((own.len(), shared.len()), (50, 1));
    assert!(own.contains(&shared[0]));
}
